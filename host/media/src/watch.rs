//! Which of a publisher's encodings somebody watches, so that it need not send the others. Knows nothing of who
//! watches, and of how the publisher is told.

use std::time::{Duration, Instant};

/// How long an encoding must have been unwatched before its publisher is told. Shorter saves more of its upload;
/// longer spares a viewer who turns back the second that an encoder takes to start again.
pub const UNWATCHED: Duration = Duration::from_secs(4);
/// How long an encoding that was asked for again may take to come.
const STARTING: Duration = Duration::from_secs(3);
/// How long a new publisher may take to show all that it can send. Until an encoding has been measured nothing can
/// be planned with it, and its sender has not learnt that the path carries it.
const LEARNING: Duration = Duration::from_secs(30);

/// What one publisher was told of its encodings, as bits.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    told: u32,
    began: Instant,
    /// The smaller set that is needed, and since when.
    less: Option<(u32, Instant)>,
    grown: Option<Instant>,
    /// Since when nobody needs any.
    unneeded: Option<Instant>,
}

impl Watch {
    /// A publisher of so many encodings, which sends them all.
    #[must_use]
    pub const fn new(encodings: usize, now: Instant) -> Self {
        Self { told: all(encodings), began: now, less: None, grown: None, unneeded: None }
    }

    /// Notes which encodings are needed now. Gives what the publisher is to be told: at once where one more is
    /// needed, after [`UNWATCHED`] where fewer are. The lowest is always needed: whoever comes next begins there. Those
    /// that are not yet `settled` (measured) are left alone at first.
    pub fn note(&mut self, now: Instant, encodings: usize, needed: u32, settled: u32) -> Option<u32> {
        self.unneeded = (needed == 0).then(|| self.unneeded.unwrap_or(now));
        let needed = (needed | 1) & all(encodings);
        if needed & !self.told != 0 {
            self.told |= needed;
            self.less = None;
            self.grown = Some(now);
            return Some(self.told);
        }
        if needed == self.told {
            self.less = None;
            return None;
        }
        let since = match self.less {
            Some((before, since)) if before == needed => since,
            _ => now,
        };
        self.less = Some((needed, since));
        let kept = if self.learns(now) { needed | self.told & !settled } else { needed };
        if kept == self.told || now.saturating_duration_since(since) < UNWATCHED {
            return None;
        }
        self.told = kept;
        Some(kept)
    }

    /// Whether it may still have to show what it can send.
    fn learns(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) < LEARNING
    }

    /// What its publisher was told, as bits.
    #[must_use]
    pub const fn told(&self) -> u32 {
        self.told
    }

    /// Whether nobody has needed any for [`UNWATCHED`], and those that come are `settled` (measured).
    #[must_use]
    pub fn is_idle(&self, now: Instant, settled: u32) -> bool {
        let known = !self.learns(now) || self.told & !settled == 0;
        known && self.unneeded.is_some_and(|since| now.saturating_duration_since(since) >= UNWATCHED)
    }

    /// Encodings that would come if they were asked for, given those that send: the others rest because nobody
    /// watches them, or are just starting again.
    #[must_use]
    pub fn available(&self, now: Instant, encodings: usize, alive: u32) -> u32 {
        let starting = self.grown.is_some_and(|at| now.saturating_duration_since(at) < STARTING);
        if starting { all(encodings) } else { (alive | !self.told) & all(encodings) }
    }
}

const fn all(encodings: usize) -> u32 {
    if encodings >= 32 { u32::MAX } else { (1 << encodings) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u32 = 0b111;

    #[test]
    fn less_is_told_after_a_while_and_more_at_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::new(3, start);
        assert_eq!(watch.note(at(0), 3, 0b111, ALL), None);
        assert_eq!(watch.note(at(100), 3, 0b011, ALL), None);
        assert_eq!(watch.note(at(4_000), 3, 0b011, ALL), None);
        assert_eq!(watch.note(at(4_100), 3, 0b011, ALL), Some(0b011));
        assert_eq!(watch.note(at(9_000), 3, 0b011, ALL), None, "told once");
        assert_eq!(watch.note(at(9_001), 3, 0b100, ALL), Some(0b111));
    }

    #[test]
    fn the_lowest_stays_and_whoever_turns_back_in_time_changes_nothing() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::new(3, start);
        assert_eq!(watch.note(at(0), 3, 0, ALL), None);
        assert_eq!(watch.note(at(3_900), 3, 0b111, ALL), None);
        assert_eq!(watch.note(at(4_000), 3, 0, ALL), None);
        assert_eq!(watch.note(at(7_900), 3, 0, ALL), None, "counted anew");
        assert_eq!(watch.note(at(8_000), 3, 0, ALL), Some(0b001));
        assert_eq!(watch.available(at(9_000), 3, 0b001), 0b111);
    }

    #[test]
    fn what_was_not_measured_yet_is_left_alone_for_a_while() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut watch = Watch::new(3, start);
        assert_eq!(watch.note(at(0), 3, 0b001, 0b001), None);
        assert_eq!(watch.note(at(5), 3, 0b001, 0b001), None);
        assert_eq!(watch.note(at(6), 3, 0b001, 0b011), Some(0b101));
        assert_eq!(watch.note(at(29), 3, 0b001, 0b011), None);
        assert_eq!(watch.note(at(30), 3, 0b001, 0b011), Some(0b001));
    }

    #[test]
    fn whom_nobody_watches_at_all_is_idle_after_a_while_and_at_once_no_longer() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::new(1, start);
        watch.note(at(0), 1, 0, 0);
        assert!(!watch.is_idle(at(3_999), 1));
        assert!(watch.is_idle(at(4_000), 1));
        assert!(!watch.is_idle(at(4_000), 0), "not measured yet");
        assert!(watch.is_idle(at(30_000), 0));
        watch.note(at(30_001), 1, 1, 1);
        assert!(!watch.is_idle(at(30_001), 1));
        watch.note(at(30_002), 1, 0, 1);
        assert!(!watch.is_idle(at(30_003), 1), "counted anew");
    }

    #[test]
    fn what_its_publisher_leaves_out_by_itself_is_not_available() {
        let start = Instant::now();
        let mut watch = Watch::new(3, start);
        watch.note(start, 3, 0b111, ALL);
        assert_eq!(watch.available(start, 3, 0b011), 0b011);
    }
}
