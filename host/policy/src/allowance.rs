//! How long a guest may run, held against the real clock at each tick. Knows nothing of what it decides.
//!
//! A low priority is no way to spare those who forward packets: with five steps of niceness a thread waited up to
//! 45 ms for its turn on a busy machine, twice what authorize has in all. So it is the guest that gives way. Where
//! another thread woke on its core it yields: the scheduler alone would let that one wait for a slice of some
//! milliseconds. And one that has run for some milliseconds, as none does that means well, rests for as long as it ran,
//! and a loop leaves half of its core to others.

use crate::engine::TICK;
use std::time::{Duration, Instant};
use wasmtime::UpdateDeadline;

/// A guest that has run for less is as good as done and gives way to nobody: what it yields is a whole slice. Longer
/// lets others wait for longer.
pub(crate) const BRIEF: Duration = Duration::from_micros(100);
/// A guest that has run for so long rests. Longer lets a slow guest finish undisturbed; shorter spares the core.
const UNDISTURBED: Duration = Duration::from_millis(5);

/// What one call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    began: Instant,
    /// The end of its last rest.
    rested: Instant,
    until: Instant,
}

impl Allowance {
    /// So much, from now on.
    pub(crate) fn new(now: Instant, time: Duration) -> Self {
        Self { began: now, rested: now, until: now + time }
    }

    /// What becomes of a guest that still runs at a tick. The tick itself proves nothing: on a busy machine several
    /// come at once, long after their time.
    pub(crate) fn at_tick(&mut self) -> UpdateDeadline {
        match self.turn(Instant::now()) {
            Turn::Run => {}
            Turn::Yield => std::thread::yield_now(),
            Turn::Rest => {
                std::thread::sleep(TICK);
                self.rested = Instant::now();
            }
            Turn::Over => return UpdateDeadline::Interrupt,
        }
        UpdateDeadline::Continue(1)
    }

    fn turn(self, now: Instant) -> Turn {
        let since = |then| now.saturating_duration_since(then);
        if now >= self.until {
            Turn::Over
        } else if since(self.began) >= UNDISTURBED && since(self.rested) >= TICK {
            Turn::Rest
        } else if since(self.began) >= BRIEF {
            Turn::Yield
        } else {
            Turn::Run
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Run,
    Yield,
    Rest,
    Over,
}

#[cfg(test)]
mod tests {
    use super::{Allowance, BRIEF, Turn, UNDISTURBED};
    use crate::engine::{LOOK, TICK};
    use std::time::{Duration, Instant};

    #[test]
    fn a_guest_runs_then_gives_way_then_rests_then_ends() {
        let (start, time) = (Instant::now(), Duration::from_millis(20));
        let allowance = Allowance::new(start, time);
        let turn = |after: Duration| allowance.turn(start + after);
        assert_eq!(turn(Duration::ZERO), Turn::Run);
        assert_eq!(turn(BRIEF), Turn::Yield);
        assert_eq!(turn(UNDISTURBED), Turn::Rest);
        assert_eq!(turn(time - Duration::from_nanos(1)), Turn::Rest);
        assert_eq!(turn(time), Turn::Over);
    }

    #[test]
    fn a_guest_that_is_looked_at_more_often_rests_no_more_than_half_of_its_time() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start, Duration::from_millis(20));
        allowance.rested = start + UNDISTURBED;
        assert_eq!(allowance.turn(allowance.rested + LOOK), Turn::Yield);
        assert_eq!(allowance.turn(allowance.rested + TICK), Turn::Rest);
    }

    #[test]
    fn a_short_deadline_is_not_stretched_by_a_rest() {
        let (start, time) = (Instant::now(), UNDISTURBED / 2);
        let allowance = Allowance::new(start, time);
        assert_eq!(allowance.turn(start + time), Turn::Over);
    }
}
