//! When a policy that fails again and again is left alone, and when it is tried again. Knows nothing of why it
//! failed, and asks no clock.
//!
//! It goes by failures in a row, not by their number: a person whose token makes a policy trap must not shut the
//! door on those whose tokens do not. And it opens for seconds, not for good, for the same reason.

use std::time::{Duration, Instant};
use tidegate_types::decision::BreakerState;

/// So many failures in a row open it. Fewer would let one client's retries do it; more cost that many instances and
/// deadlines before the fallback serves.
pub(crate) const FAILURES: u32 = 10;
/// How long it stays open the first time; twice as long each time that the probe fails, too.
pub(crate) const FIRST_OPEN: Duration = Duration::from_millis(500);
/// The longest that it stays open.
const LONGEST_OPEN: Duration = Duration::from_secs(5);

/// What a counted answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It opened, for so long.
    Opened(Duration),
    /// It closed.
    Closed,
}

/// One policy's breaker.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    in_a_row: u32,
    /// Until when it is open, and how long that is; `None` while closed.
    open: Option<(Instant, Duration)>,
    probing: bool,
}

impl Breaker {
    /// May it be asked now? Once it was open for its time, one question may, and its answer decides.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        match self.open {
            None => true,
            Some((until, _)) if now < until || self.probing => false,
            Some(_) => {
                self.probing = true;
                true
            }
        }
    }

    /// Counts an answer, or that there was none.
    pub(crate) fn count(&mut self, answered: bool, now: Instant) -> Option<Turn> {
        self.probing = false;
        if answered {
            self.in_a_row = 0;
            return self.open.take().map(|_| Turn::Closed);
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let length = match self.open {
            // One that was under way when it opened proves nothing new.
            Some((until, _)) if now < until => return None,
            Some((_, length)) => (length * 2).min(LONGEST_OPEN),
            None if self.in_a_row >= FAILURES => FIRST_OPEN,
            None => return None,
        };
        self.open = Some((now + length, length));
        Some(Turn::Opened(length))
    }

    /// Shown to operators.
    pub(crate) fn state(&self, now: Instant) -> BreakerState {
        match self.open {
            None => BreakerState::Closed,
            Some((until, _)) if now < until => BreakerState::Open,
            Some(_) => BreakerState::Probing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, FAILURES, FIRST_OPEN, LONGEST_OPEN, Turn};
    use std::time::{Duration, Instant};
    use tidegate_types::decision::BreakerState;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert_eq!(breaker.count(false, now), None);
            assert!(breaker.admits(now));
        }
        assert_eq!(breaker.count(false, now), Some(Turn::Opened(FIRST_OPEN)));
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES {
                assert_eq!(breaker.count(false, now), None);
            }
            assert_eq!(breaker.count(true, now), None);
        }
        assert_eq!(breaker.state(now), BreakerState::Closed);
        let mut breaker = opened(now);
        assert!(!breaker.admits(now + FIRST_OPEN / 2));
        assert_eq!(breaker.state(now), BreakerState::Open);
    }

    #[test]
    fn one_probe_decides_whether_it_closes() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST_OPEN;
        assert_eq!(breaker.state(later), BreakerState::Probing);
        assert!(breaker.admits(later));
        assert!(!breaker.admits(later), "one at a time");
        assert_eq!(breaker.count(true, later), Some(Turn::Closed));
        assert!(breaker.admits(later) && breaker.admits(later));
    }

    #[test]
    fn a_failed_probe_doubles_the_wait_up_to_a_bound() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut length = FIRST_OPEN;
        for _ in 0..10 {
            now += length;
            assert!(breaker.admits(now));
            length = (length * 2).min(LONGEST_OPEN);
            assert_eq!(breaker.count(false, now), Some(Turn::Opened(length)));
            assert_eq!(
                breaker.count(false, now + Duration::from_millis(1)),
                None,
                "a straggler changes nothing"
            );
        }
        assert_eq!(length, LONGEST_OPEN);
    }
}
