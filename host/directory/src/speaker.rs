//! Who speaks, the most dominant first, out of the level reports of one router. Knows nothing of people, rooms or
//! notices.
//!
//! Each track's loudness (127 minus its level) is averaged over about 0.5 s. A track enters once it has had voice
//! for long enough that the average passes a threshold, and leaves after 1 s without voice. It passes those ahead
//! of it only when it has been louder than its predecessor by a margin, for a while: so a cough doesn't take the
//! floor, and two people of equal loudness don't flicker. The order is told on change, and at most twice a second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_types::ProducerId;
use tidegate_types::router::AudioLevel;

/// What one level report covers.
const INTERVAL: Duration = Duration::from_millis(100);
/// Each interval moves the average by a fifth: 0.5 s until it is two thirds there. More is steadier and slower.
const SMOOTHING: u32 = 5;
/// Averages are kept in thousandths of a dB.
const SCALE: u32 = 1_000;
/// Average loudness that enters: two to three intervals of ordinary speech.
const ENTRY: u32 = 25 * SCALE;
/// Louder by this is louder.
const MARGIN: u32 = 6 * SCALE;
/// For how long before the order changes.
const HOLD: Duration = Duration::from_millis(300);
/// Silence after which a track leaves.
const EXIT: Duration = Duration::from_secs(1);
/// Between two tellings.
const SPACING: Duration = Duration::from_millis(500);
/// Share of packets with the voice flag, in 1/255, that counts as voice.
const VOICED: u8 = 128;
/// This loud counts as voice without the flag too: some senders set none.
const LOUD: u8 = 40;

/// A track that was heard lately.
#[derive(Clone, Debug)]
struct Track {
    average: u32,
    level: u8,
    updated: Instant,
    /// When it last had voice.
    voiced: Option<Instant>,
    /// Since when it is louder than its predecessor by the margin.
    louder_since: Option<Instant>,
}

impl Track {
    fn hear(&mut self, now: Instant, heard: AudioLevel) {
        self.fade(now);
        let loudness = u32::from(127 - heard.level.min(127)) * SCALE;
        self.average = (self.average * (SMOOTHING - 1) + loudness) / SMOOTHING;
        self.level = heard.level;
        self.updated = now;
        if heard.voice >= VOICED || heard.level <= LOUD {
            self.voiced = Some(now);
        }
    }

    /// Intervals that brought no report were silent.
    fn fade(&mut self, now: Instant) {
        // Half an interval of grace for reports that come late.
        let mut silent = now.saturating_duration_since(self.updated).saturating_sub(INTERVAL * 3 / 2);
        while !silent.is_zero() && self.average > 0 {
            self.average = self.average * (SMOOTHING - 1) / SMOOTHING;
            self.updated += INTERVAL;
            silent = silent.saturating_sub(INTERVAL);
        }
    }

    fn has_voice(&self, now: Instant) -> bool {
        self.voiced.is_some_and(|voiced| now.saturating_duration_since(voiced) < EXIT)
    }
}

/// The speakers of one router.
#[derive(Debug, Default)]
pub(crate) struct SpeakerOrder {
    /// Bounded by the router's producers: the caller passes those only, and removes what ends.
    tracks: BTreeMap<ProducerId, Track>,
    order: Vec<ProducerId>,
    /// The order as last told, and when.
    told: Vec<ProducerId>,
    told_at: Option<Instant>,
}

impl SpeakerOrder {
    /// Takes one track's level over the last interval.
    pub(crate) fn hear(&mut self, now: Instant, heard: AudioLevel) {
        let fresh = Track { average: 0, level: heard.level, updated: now, voiced: None, louder_since: None };
        self.tracks.entry(heard.producer).or_insert(fresh).hear(now, heard);
    }

    /// A track ended.
    pub(crate) fn remove(&mut self, producer: ProducerId) {
        self.tracks.remove(&producer);
        self.order.retain(|speaker| *speaker != producer);
    }

    /// Settles the order; gives it if it is to be told now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Vec<(ProducerId, u8)>> {
        self.tracks.values_mut().for_each(|track| track.fade(now));
        self.tracks.retain(|_, track| track.average > 0 || track.has_voice(now));
        self.exit(now);
        self.enter(now);
        self.climb(now);
        if self.order == self.told || self.telling_at().is_some_and(|at| at > now) {
            return None;
        }
        self.told.clone_from(&self.order);
        self.told_at = Some(now);
        Some(self.speakers())
    }

    /// When to poll again though nothing is heard; later than now, once polled.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        if self.order != self.told {
            return self.telling_at();
        }
        let exits = self.order.iter().filter_map(|speaker| self.tracks.get(speaker)?.voiced);
        let fades = (!self.tracks.is_empty()).then_some(now);
        exits.chain(fades).min().map(|heard| (heard + EXIT).max(now + INTERVAL))
    }

    /// The order as it is, with levels.
    pub(crate) fn speakers(&self) -> Vec<(ProducerId, u8)> {
        self.order
            .iter()
            .map(|producer| (*producer, self.tracks.get(producer).map_or(127, |track| track.level)))
            .collect()
    }

    fn telling_at(&self) -> Option<Instant> {
        self.told_at.map(|told| told + SPACING)
    }

    fn exit(&mut self, now: Instant) {
        let tracks = &self.tracks;
        self.order.retain(|speaker| tracks.get(speaker).is_some_and(|track| track.has_voice(now)));
    }

    fn enter(&mut self, now: Instant) {
        for (producer, track) in &self.tracks {
            if track.average >= ENTRY && track.has_voice(now) && !self.order.contains(producer) {
                self.order.push(*producer);
            }
        }
    }

    /// One pass from the front: who has been louder for long enough passes everyone that it exceeds.
    fn climb(&mut self, now: Instant) {
        for position in 1..self.order.len() {
            let exceeds = self.exceeds(position, position - 1);
            let Some(track) = self.tracks.get_mut(&self.order[position]) else { continue };
            if !exceeds {
                track.louder_since = None;
                continue;
            }
            let since = *track.louder_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= HOLD {
                track.louder_since = None;
                self.pass(position);
            }
        }
    }

    fn pass(&mut self, mut position: usize) {
        while position > 0 && self.exceeds(position, position - 1) {
            self.order.swap(position, position - 1);
            position -= 1;
        }
    }

    fn exceeds(&self, challenger: usize, holder: usize) -> bool {
        let average =
            |position: usize| self.tracks.get(&self.order[position]).map_or(0, |track| track.average);
        average(challenger) > average(holder) + MARGIN
    }
}
