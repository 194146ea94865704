//! Which of a room's sounds are forwarded: at most so many, the loudest. Knows nothing of people, places or commands.
//!
//! In a small room all are, at most [`SMALL`] times as many. In a larger one there are so many places, and none is ever
//! given up for silence: who spoke last keeps its place until somebody else needs it. Who begins to speak takes that of
//! whoever has been silent longest, at once; from those who speak themselves only by being louder for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_types::ProducerId;
use tidegate_types::router::AudioLevel;

/// A room with at most so many times the places forwards everyone: there is little to gain, and the first tenths of a
/// second of who begins to speak are not lost.
const SMALL: usize = 2;
/// Each report moves the average loudness by a third: what counts is a syllable, not a click.
const SMOOTHING: u32 = 3;
/// Averages are kept in hundredths of a dB.
const SCALE: u32 = 100;
/// Reports in a row with voice before someone takes a place: a cough is one.
const BEGINS: u8 = 2;
/// Who had no voice for so long has stopped speaking.
const STOPPED: Duration = Duration::from_millis(800);
/// Louder by this is louder.
const MARGIN: u32 = 6 * SCALE;
/// For how long before the place of someone who speaks is taken.
const HOLD: Duration = Duration::from_millis(500);
/// Share of packets with the voice flag, in 1/255, that counts as voice.
const VOICED: u8 = 128;
/// This loud counts as voice without the flag too: some senders set none.
const LOUD: u8 = 40;

/// One sound.
#[derive(Clone, Copy, Debug)]
struct Voice {
    forwarded: bool,
    average: u32,
    /// Reports with voice in a row.
    row: u8,
    voiced: Option<Instant>,
    /// Since when it is louder than the softest that is forwarded.
    louder_since: Option<Instant>,
}

impl Voice {
    fn speaks(&self, now: Instant) -> bool {
        self.voiced.is_some_and(|voiced| now.saturating_duration_since(voiced) < STOPPED)
    }
}

/// The sounds of one room that tell their level; others are always forwarded and not known here.
#[derive(Debug)]
pub(crate) struct Loudest {
    /// 0: everyone.
    places: usize,
    /// Bounded by the room's tracks.
    voices: BTreeMap<ProducerId, Voice>,
}

impl Loudest {
    pub(crate) const fn new(places: usize) -> Self {
        Self { places, voices: BTreeMap::new() }
    }

    /// A track began; it is being forwarded.
    pub(crate) fn add(&mut self, producer: ProducerId) {
        let voice = Voice { forwarded: true, average: 0, row: 0, voiced: None, louder_since: None };
        self.voices.entry(producer).or_insert(voice);
    }

    /// A track ended.
    pub(crate) fn remove(&mut self, producer: ProducerId) {
        self.voices.remove(&producer);
    }

    /// Takes one track's level over the last interval.
    pub(crate) fn hear(&mut self, now: Instant, heard: AudioLevel) {
        let Some(voice) = self.voices.get_mut(&heard.producer) else { return };
        if !voice.speaks(now) {
            (voice.average, voice.row, voice.louder_since) = (0, 0, None);
        }
        let loudness = u32::from(127 - heard.level.min(127)) * SCALE;
        voice.average = (voice.average * (SMOOTHING - 1) + loudness) / SMOOTHING;
        if heard.voice >= VOICED || heard.level <= LOUD {
            voice.row = voice.row.saturating_add(1);
            voice.voiced = Some(now);
        } else {
            voice.row = 0;
        }
    }

    /// Settles who is forwarded; gives what changes: the track, and whether it is hushed now.
    pub(crate) fn settle(&mut self, now: Instant) -> Vec<(ProducerId, bool)> {
        let before: Vec<ProducerId> = self.forwarded();
        if self.places == 0 || self.voices.len() <= self.places * SMALL {
            self.voices.values_mut().for_each(|voice| voice.forwarded = true);
        } else {
            self.fill(now);
            self.take_over(now);
        }
        let is = |producer: &ProducerId| self.voices.get(producer).is_some_and(|voice| voice.forwarded);
        let came = self.forwarded().into_iter().filter(|producer| !before.contains(producer));
        let gone = before.iter().filter(|producer| !is(producer));
        gone.map(|producer| (*producer, true)).chain(came.map(|producer| (producer, false))).collect()
    }

    /// Whether a track tells its level.
    pub(crate) fn knows(&self, producer: ProducerId) -> bool {
        self.voices.contains_key(&producer)
    }

    /// Whether a track is held back.
    pub(crate) fn is_hushed(&self, producer: ProducerId) -> bool {
        self.voices.get(&producer).is_some_and(|voice| !voice.forwarded)
    }

    fn forwarded(&self) -> Vec<ProducerId> {
        self.voices.iter().filter(|(_, voice)| voice.forwarded).map(|(producer, _)| *producer).collect()
    }

    /// Exactly as many are forwarded as there are places: who spoke last first, and of those who never did who came
    /// first.
    fn fill(&mut self, now: Instant) {
        loop {
            let forwarded = self.voices.values().filter(|voice| voice.forwarded).count();
            let chosen = match forwarded.cmp(&self.places) {
                std::cmp::Ordering::Equal => return,
                std::cmp::Ordering::Greater => self.weakest(now),
                std::cmp::Ordering::Less => {
                    let waiting = self.voices.iter().filter(|(_, voice)| !voice.forwarded);
                    waiting
                        .max_by_key(|(producer, voice)| (voice.voiced, std::cmp::Reverse(**producer)))
                        .map(|(producer, _)| *producer)
                }
            };
            let Some(voice) = chosen.and_then(|producer| self.voices.get_mut(&producer)) else { return };
            voice.forwarded = !voice.forwarded;
        }
    }

    /// Who is forwarded and would give way first: the longest silent, of those who speak the softest.
    fn weakest(&self, now: Instant) -> Option<ProducerId> {
        let forwarded = self.voices.iter().filter(|(_, voice)| voice.forwarded);
        let key = |producer: ProducerId, voice: &Voice| {
            let loudness = if voice.speaks(now) { voice.average } else { 0 };
            (voice.speaks(now), loudness, voice.voiced, std::cmp::Reverse(producer))
        };
        forwarded.min_by_key(|(producer, voice)| key(**producer, voice)).map(|(producer, _)| *producer)
    }

    /// Who begins to speak takes a place.
    fn take_over(&mut self, now: Instant) {
        let mut challengers: Vec<(ProducerId, u32)> = self
            .voices
            .iter()
            .filter(|(_, voice)| !voice.forwarded && voice.speaks(now) && voice.row >= BEGINS)
            .map(|(producer, voice)| (*producer, voice.average))
            .collect();
        challengers.sort_by_key(|(producer, average)| (std::cmp::Reverse(*average), *producer));
        for (challenger, average) in challengers {
            let Some(weakest) = self.weakest(now) else { return };
            let Some(holder) = self.voices.get(&weakest).copied() else { return };
            let louder = average > holder.average + MARGIN;
            let Some(voice) = self.voices.get_mut(&challenger) else { return };
            let since = if louder { *voice.louder_since.get_or_insert(now) } else { now };
            voice.louder_since = louder.then_some(since);
            let held = louder && now.saturating_duration_since(since) >= HOLD;
            if !holder.speaks(now) || held {
                (voice.forwarded, voice.louder_since) = (true, None);
                if let Some(holder) = self.voices.get_mut(&weakest) {
                    holder.forwarded = false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Room {
        now: Instant,
        loudest: Loudest,
        changes: usize,
    }

    impl Room {
        fn new(places: usize, people: u64) -> Self {
            #[expect(clippy::disallowed_methods, reason = "virtual time has to start somewhere")]
            let mut room = Self { now: Instant::now(), loudest: Loudest::new(places), changes: 0 };
            (1..=people).for_each(|person| room.loudest.add(ProducerId(person)));
            room.loudest.settle(room.now);
            room
        }

        /// A while in which these make sound.
        fn hear(&mut self, ms: u64, sounds: &[(u64, u8)]) {
            for _ in 0..ms / 100 {
                self.now += Duration::from_millis(100);
                for (person, level) in sounds {
                    let heard = AudioLevel { producer: ProducerId(*person), level: *level, voice: 255 };
                    self.loudest.hear(self.now, heard);
                }
                self.changes += self.loudest.settle(self.now).len();
            }
        }

        fn heard(&self) -> Vec<u64> {
            self.loudest.forwarded().into_iter().map(|producer| producer.0).collect()
        }
    }

    #[test]
    fn in_a_small_room_all_are_heard_and_one_more_changes_that() {
        let mut room = Room::new(3, 6);
        assert_eq!(room.heard().len(), 6);
        room.hear(1_000, &[(5, 30)]);
        room.loudest.add(ProducerId(7));
        let changes = room.loudest.settle(room.now);
        assert_eq!(changes.iter().filter(|(_, hushed)| *hushed).count(), 4);
        assert!(room.heard().contains(&5) && room.heard().len() == 3, "{:?}", room.heard());
        room.loudest.remove(ProducerId(5));
        room.loudest.settle(room.now);
        assert_eq!(room.heard().len(), 6);
        assert_eq!(Room::new(0, 50).heard().len(), 50);
    }

    #[test]
    fn who_begins_to_speak_is_heard_within_a_quarter_of_a_second_and_keeps_the_place() {
        let mut room = Room::new(3, 10);
        room.hear(200, &[(9, 40)]);
        assert_eq!(room.heard(), [1, 2, 9]);
        room.hear(60_000, &[]);
        assert_eq!(room.heard(), [1, 2, 9]);
        room.hear(200, &[(8, 35)]);
        room.hear(1_000, &[]);
        room.hear(200, &[(7, 35)]);
        assert_eq!(room.heard(), [7, 8, 9]);
        room.hear(2_000, &[]);
        room.hear(200, &[(6, 35)]);
        assert_eq!(room.heard(), [6, 7, 8], "the longest silent gives way");
    }

    #[test]
    fn a_cough_takes_no_place() {
        let mut room = Room::new(3, 10);
        room.hear(100, &[(9, 10)]);
        room.hear(2_000, &[]);
        assert_eq!(room.heard(), [1, 2, 3]);
    }

    #[test]
    fn among_those_who_speak_only_the_clearly_louder_takes_over_and_nobody_flickers() {
        let mut room = Room::new(2, 10);
        room.hear(2_000, &[(1, 30), (2, 40)]);
        room.hear(5_000, &[(1, 30), (2, 40), (3, 37), (4, 42)]);
        assert_eq!(room.heard(), [1, 2]);
        room.hear(400, &[(1, 30), (2, 40), (3, 20)]);
        assert_eq!(room.heard(), [1, 2], "too short");
        room.hear(1_000, &[(1, 30), (2, 40), (3, 20)]);
        assert_eq!(room.heard(), [1, 3]);
        let before = room.changes;
        room.hear(20_000, &[(1, 30), (2, 30), (3, 31), (4, 29)]);
        assert_eq!(room.changes, before);
    }
}
