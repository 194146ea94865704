//! How long a guest may run, held against the real clock at each tick. Knows nothing of what it decides.
//!
//! A low priority is no way to spare those who forward packets: with five steps of niceness a thread waited up to
//! 45 ms for its turn on a busy machine, twice what authorize has in all. So it is the guest that gives way: one that
//! has run for some milliseconds, as none does that means well, rests every other tick, and a loop leaves half of its
//! core to others.

use crate::engine::TICK;
use std::time::{Duration, Instant};
use wasmtime::UpdateDeadline;

/// A guest that has run for so long rests. Longer lets a slow guest finish undisturbed; shorter spares the core.
const UNDISTURBED: Duration = Duration::from_millis(5);

/// What one call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    rests_from: Instant,
    until: Instant,
}

impl Allowance {
    /// So much, from now on.
    pub(crate) fn new(now: Instant, time: Duration) -> Self {
        Self { rests_from: now + UNDISTURBED, until: now + time }
    }

    /// What becomes of a guest that still runs at a tick. The tick itself proves nothing: on a busy machine several
    /// come at once, long after their time.
    pub(crate) fn at_tick(self) -> UpdateDeadline {
        match self.turn(Instant::now()) {
            // A decision that woke on the same core waits a tick at most, not a whole slice of the scheduler's.
            Turn::Run => std::thread::yield_now(),
            Turn::Rest => std::thread::sleep(TICK),
            Turn::Over => return UpdateDeadline::Interrupt,
        }
        UpdateDeadline::Continue(1)
    }

    fn turn(self, now: Instant) -> Turn {
        if now >= self.until {
            Turn::Over
        } else if now >= self.rests_from {
            Turn::Rest
        } else {
            Turn::Run
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Run,
    Rest,
    Over,
}

#[cfg(test)]
mod tests {
    use super::{Allowance, Turn, UNDISTURBED};
    use std::time::{Duration, Instant};

    #[test]
    fn a_guest_runs_then_rests_then_ends() {
        let (start, time) = (Instant::now(), Duration::from_millis(20));
        let allowance = Allowance::new(start, time);
        let turn = |after: Duration| allowance.turn(start + after);
        assert_eq!(turn(Duration::ZERO), Turn::Run);
        assert_eq!(turn(UNDISTURBED), Turn::Rest);
        assert_eq!(turn(time - Duration::from_nanos(1)), Turn::Rest);
        assert_eq!(turn(time), Turn::Over);
    }

    #[test]
    fn a_short_deadline_is_not_stretched_by_a_rest() {
        let (start, time) = (Instant::now(), UNDISTURBED / 2);
        let allowance = Allowance::new(start, time);
        assert_eq!(allowance.turn(start + time), Turn::Over);
    }
}
