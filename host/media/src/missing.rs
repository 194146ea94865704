//! What a numbered flow still lacks, and when to ask for it. Serves publishers' streams (NACK) and relays
//! alike. Knows nothing of packets' content or of how a request travels.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many sequences are awaited at most; a larger gap is given up at once and costs a keyframe.
pub const MOST: usize = 512;

/// How patiently to ask.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Wait this long for a reordered packet before the first request.
    pub patience: Duration,
    /// Wait this long between requests; longer than a round trip, or duplicates come.
    pub retry: Duration,
    /// Give up after so many requests.
    pub tries: u8,
}

impl Pace {
    /// For a publisher across the internet.
    pub const PUBLISHER: Self =
        Self { patience: Duration::from_millis(5), retry: Duration::from_millis(70), tries: 10 };
    /// For a relay inside one machine.
    pub const RELAY: Self =
        Self { patience: Duration::from_millis(1), retry: Duration::from_millis(10), tries: 20 };
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sequence: u64,
    ask_at: Instant,
    asked: u8,
}

/// What one arrival was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The newest so far, directly behind the previous one (or the very first).
    Next,
    /// The newest so far, behind a gap of so many.
    AfterGap(u64),
    /// One that was missing.
    Filled,
    /// Had before, or given up.
    Duplicate,
}

/// The missing sequences of one flow, ascending.
#[derive(Debug)]
pub struct Missing {
    pace: Pace,
    highest: Option<u64>,
    entries: VecDeque<Entry>,
    given_up: u64,
}

impl Missing {
    /// Nothing missing.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, highest: None, entries: VecDeque::new(), given_up: 0 }
    }

    /// The newest sequence so far.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// How many were given up so far.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// How many are awaited now.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.entries.len()
    }

    /// Starts the flow at `sequence`: everything from it on is expected.
    pub fn expect_from(&mut self, sequence: u64) {
        self.highest.get_or_insert(sequence.wrapping_sub(1));
    }

    /// Notes one arrival.
    pub fn note(&mut self, now: Instant, sequence: u64) -> Noted {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            return Noted::Next;
        };
        // `wrapping`: a flow expected from 0 has "minus one" as its highest.
        let ahead = sequence.wrapping_sub(highest) as i64;
        if ahead > 0 {
            self.highest = Some(sequence);
            if ahead == 1 {
                return Noted::Next;
            }
            self.expect(now, highest.wrapping_add(1), ahead as u64 - 1);
            return Noted::AfterGap(ahead as u64 - 1);
        }
        match self.entries.binary_search_by_key(&sequence, |entry| entry.sequence) {
            Ok(index) => {
                self.entries.remove(index);
                Noted::Filled
            }
            Err(_) => Noted::Duplicate,
        }
    }

    /// Learns that everything up to `sequence` was sent, though it did not arrive.
    pub fn note_sent(&mut self, now: Instant, sequence: u64) {
        if let Some(highest) = self.highest {
            let ahead = sequence.wrapping_sub(highest) as i64;
            if ahead > 0 {
                self.highest = Some(sequence);
                self.expect(now, highest.wrapping_add(1), ahead as u64);
            }
        }
    }

    fn expect(&mut self, now: Instant, first: u64, count: u64) {
        if count as usize > MOST {
            self.given_up += count + self.entries.len() as u64;
            self.entries.clear();
            return;
        }
        let ask_at = now + self.pace.patience;
        for step in 0..count {
            if self.entries.len() == MOST {
                self.entries.pop_front();
                self.given_up += 1;
            }
            self.entries.push_back(Entry { sequence: first.wrapping_add(step), ask_at, asked: 0 });
        }
    }

    /// When something is to be asked for.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.entries.iter().map(|entry| entry.ask_at).min()
    }

    /// Hands over, ascending, all that is due now, and gives up what was asked for too often. Returns how many
    /// were given up.
    pub fn ask(&mut self, now: Instant, mut each: impl FnMut(u64)) -> u64 {
        let before = self.entries.len();
        let pace = self.pace;
        self.entries.retain(|entry| entry.asked < pace.tries || entry.ask_at > now);
        let given_up = (before - self.entries.len()) as u64;
        self.given_up += given_up;
        for entry in self.entries.iter_mut().filter(|entry| entry.ask_at <= now) {
            entry.asked += 1;
            entry.ask_at = now + pace.retry;
            each(entry.sequence);
        }
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_asked_for_after_patience_then_again_then_given_up() {
        let start = Instant::now();
        let mut missing = Missing::new(Pace { tries: 2, ..Pace::PUBLISHER });
        assert_eq!(missing.note(start, 10), Noted::Next);
        assert_eq!(missing.note(start, 13), Noted::AfterGap(2));
        assert_eq!(missing.due(), Some(start + Pace::PUBLISHER.patience));
        let ask = |missing: &mut Missing, at: Duration| {
            let mut asked = Vec::new();
            missing.ask(start + at, |sequence| asked.push(sequence));
            asked
        };
        assert_eq!(ask(&mut missing, Duration::from_millis(4)), []);
        assert_eq!(ask(&mut missing, Duration::from_millis(5)), [11, 12]);
        assert_eq!(missing.note(start, 12), Noted::Filled);
        assert_eq!(missing.note(start, 12), Noted::Duplicate);
        assert_eq!(ask(&mut missing, Duration::from_millis(75)), [11]);
        assert_eq!(ask(&mut missing, Duration::from_millis(200)), []);
        assert_eq!((missing.given_up(), missing.awaited()), (1, 0));
    }

    #[test]
    fn a_lost_start_and_a_lost_tail_are_noticed() {
        let start = Instant::now();
        let mut missing = Missing::new(Pace::RELAY);
        missing.expect_from(0);
        assert_eq!(missing.note(start, 2), Noted::AfterGap(2));
        missing.note_sent(start, 4);
        let mut asked = Vec::new();
        missing.ask(start + Pace::RELAY.patience, |sequence| asked.push(sequence));
        assert_eq!(asked, [0, 1, 3, 4]);
    }

    #[test]
    fn a_gap_beyond_the_bound_is_given_up_at_once() {
        let start = Instant::now();
        let mut missing = Missing::new(Pace::PUBLISHER);
        missing.note(start, 0);
        missing.note(start, 2 + MOST as u64);
        assert_eq!((missing.awaited(), missing.given_up()), (0, MOST as u64 + 1));
    }
}
