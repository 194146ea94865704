//! What a producer's layers take: measured where it is sent, planned with wherever someone is sent it. Knows nothing of
//! who is sent what.

use super::{Source, Station};
use crate::rates::{Meter, Mix};
use crate::share::{Ladder, Rung};
use crate::upload;
use std::time::Instant;
use tidegate_types::consumer::LayerPreference;
use tidegate_types::layer::Target;
use tidegate_types::relay::{ENCODINGS, FRAME_RATES, LayerRates, RelayMessage};
use tidegate_types::{MediaKind, MediaPacket, Place};

/// What a track is taken to need before it was measured, in kbit/s; a higher encoding three times the one below.
const UNMEASURED_AUDIO_KBPS: u32 = 40;
const UNMEASURED_VIDEO_KBPS: u32 = 150;
/// More than any layer takes.
const MOST_KBPS: u64 = 1_000_000;
/// A part that is the whole.
const WHOLE: u64 = 256;

/// What comes of each encoding; where there is only one, of each of its spatial layers.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    meters: [Meter; ENCODINGS],
    mixes: [Mix; ENCODINGS],
    /// The most that each ever took over a whole window, in kbit/s.
    most: [u32; ENCODINGS],
}

impl Measured {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            meters: std::array::from_fn(|_| Meter::new(now)),
            mixes: [Mix::default(); ENCODINGS],
            most: [0; ENCODINGS],
        }
    }

    /// Counts one packet of a producer with so many encodings.
    #[inline]
    pub(super) fn note(&mut self, packet: &MediaPacket, encodings: usize) {
        let Target { spatial, temporal } =
            packet.layers.map_or(Target { spatial: 0, temporal: 0 }, |view| view.layer);
        let layer = usize::from(if encodings > 1 { packet.encoding } else { spatial });
        if let (Some(meter), Some(mix)) = (self.meters.get_mut(layer), self.mixes.get_mut(layer)) {
            meter.note(packet.ingress, packet.payload().len());
            mix.note(temporal, packet.payload().len());
        }
    }

    /// Which were sent for a whole window, as bits.
    fn settled(&self, now: Instant) -> u32 {
        let meters = self.meters.iter().enumerate();
        meters.fold(0, |bits, (index, meter)| bits | u32::from(meter.is_settled(now)) << index)
    }

    /// What one takes, in kbit/s, and how that divides among its frame rates; `None` before it is known.
    fn read(&mut self, index: usize, now: Instant) -> Option<(u32, [u8; FRAME_RATES - 1])> {
        let parts = self.mixes[index].parts();
        let meter = &mut self.meters[index];
        let kbps = meter.expected(now)?.kbps().clamp(1, MOST_KBPS) as u32;
        if meter.is_settled(now) {
            self.most[index] = self.most[index].max(kbps);
        }
        Some((kbps, parts))
    }

    /// What one takes at most, before that is known so much.
    fn most(&self, index: usize, guess: u32) -> u32 {
        self.most.get(index).copied().filter(|most| *most > 0).unwrap_or(guess)
    }
}

impl Station {
    /// Learns what its layers take. A relay's sink is told by its source instead: it sees only what is wanted here. To
    /// be called at even intervals.
    pub fn measure(&mut self, now: Instant) {
        if let Source::Relay(_) = self.source {
            return;
        }
        let available = self.watch.available(now, self.encodings.len(), self.alive(now));
        self.rates = if let [_] = self.encodings[..] {
            self.measure_layers(now, available != 0)
        } else {
            self.measure_encodings(now, available)
        };
    }

    fn unmeasured(&self) -> u32 {
        match self.parameters.kind {
            MediaKind::Audio => UNMEASURED_AUDIO_KBPS,
            MediaKind::Video => UNMEASURED_VIDEO_KBPS,
        }
    }

    /// Spatial layers build on each other: what is told of one is what all up to it take.
    fn measure_layers(&mut self, now: Instant, available: bool) -> LayerRates {
        let mut rates = LayerRates::default();
        let mut sum = 0_u64;
        let mut below = [0_u64; FRAME_RATES - 1];
        for index in 0..ENCODINGS {
            let unknown = (index == 0).then(|| (self.unmeasured(), [0; FRAME_RATES - 1]));
            let read = self.measured.read(index, now).or(unknown).filter(|_| available);
            let Some((kbps, parts)) = read else { continue };
            sum += u64::from(kbps);
            for ((below, part), told) in below.iter_mut().zip(parts).zip(&mut rates.parts[index]) {
                *below += u64::from(kbps) * if part == 0 { WHOLE } else { u64::from(part) };
                *told = u8::try_from(*below / sum).unwrap_or(0);
            }
            rates.kbps[index] = sum.min(MOST_KBPS) as u32;
        }
        rates
    }

    fn measure_encodings(&mut self, now: Instant, available: u32) -> LayerRates {
        let mut rates = LayerRates::default();
        let mut guess = self.unmeasured();
        for index in 0..ENCODINGS {
            let (kbps, parts) = self.measured.read(index, now).unwrap_or((guess, [0; FRAME_RATES - 1]));
            guess = kbps.saturating_mul(3);
            if available >> index & 1 == 1 {
                (rates.kbps[index], rates.parts[index]) = (kbps, parts);
            }
        }
        rates
    }

    /// Notes which encodings are needed here and at the relays' ends; what its publisher is to be told, if that changed.
    pub fn note_needed(&mut self, now: Instant, needed: u32) -> Option<u32> {
        let settled = self.measured.settled(now);
        self.watch.note(now, self.encodings.len(), needed, settled)
    }

    /// How much its publisher need bring in of it at most, in kbit/s; `None`: all that it has.
    #[must_use]
    pub fn needed_kbps(&self, now: Instant) -> Option<u64> {
        if self.parameters.kind == MediaKind::Audio {
            return Some(upload::of_sound(self.measured.most(0, 0).into()));
        }
        if self.watch.is_idle(now, self.measured.settled(now)) {
            return Some(upload::PICTURE_KBPS);
        }
        let highest = self.watch.told().checked_ilog2()? as usize;
        if highest + 1 >= self.encodings.len() {
            return None;
        }
        let mut guess = UNMEASURED_VIDEO_KBPS;
        let watched = (0..=highest).map(|index| {
            let most = self.measured.most(index, guess);
            guess = most.saturating_mul(3);
            u64::from(most)
        });
        Some(upload::of_picture(watched.sum()))
    }

    /// What comes in of it, all encodings together, in kbit/s.
    #[must_use]
    pub fn ingress_kbps(&self) -> u64 {
        let known = self.rates.kbps.iter().copied().map(u64::from);
        // Layers of a single encoding build on each other, and each tells what all up to it take.
        if self.encodings.len() == 1 { known.max().unwrap_or(0) } else { known.sum() }
    }

    /// The highest encoding or, where there is one alone, spatial layer that is known to come.
    #[must_use]
    pub fn highest_layer(&self) -> u8 {
        let known = self.rates.kbps.iter().rposition(|kbps| *kbps > 0);
        known.unwrap_or(self.encodings.len() - 1) as u8
    }

    /// The layers that a peer may be sent which wants no higher ones than `preferred`; empty where nothing comes. Of the
    /// smallest picture all frame rates, of a larger one half of its best: less is worth less than a smaller picture.
    #[must_use]
    pub fn ladder(&self, preferred: LayerPreference) -> Ladder {
        let mut ladder = Ladder::default();
        let coming = || (0..ENCODINGS).filter(|layer| self.rates.kbps[*layer] > 0);
        // Of a single encoding of which one layer is known there may be others.
        let whole = self.encodings.len() == 1 && coming().count() == 1;
        for layer in coming() {
            // Where nothing as low as wanted comes, the lowest that does.
            let lowest = ladder.rungs().is_empty();
            if layer <= usize::from(preferred.spatial) || lowest {
                let spatial = if whole { u8::MAX } else { layer as u8 };
                self.add_frame_rates(&mut ladder, layer, LayerPreference { spatial, ..preferred }, lowest);
            }
        }
        ladder
    }

    fn add_frame_rates(&self, ladder: &mut Ladder, layer: usize, wanted: LayerPreference, all: bool) {
        let highest = self.rates.highest_temporal(layer);
        let best = highest.min(wanted.temporal);
        for temporal in if all { 0 } else { best.saturating_sub(1) }..=best {
            let kbps = u64::from(self.rates.up_to(layer, temporal));
            let below = ladder.rungs().last().map_or(0, |below| below.kbps);
            if temporal < best && kbps <= below {
                continue;
            }
            // There may be more than are known.
            let temporal = if temporal == highest { u8::MAX } else { temporal };
            ladder.push(Rung { layer: LayerPreference { temporal, ..wanted }, kbps });
        }
    }

    /// What its layers take, for every relay's far end. Calls `each`.
    pub fn tell_rates(&self, mut each: impl FnMut(Place, RelayMessage)) {
        for relay in &self.relays {
            each(relay.to, RelayMessage::Rates { relay: relay.id, rates: self.rates });
        }
    }
}
