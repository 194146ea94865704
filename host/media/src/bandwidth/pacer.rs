//! When a packet may leave: what exceeds a multiple of the estimate waits, in steps, so that what waits leaves in
//! runs. A clock of debt, no queue: whoever holds the packet holds it until then. Knows nothing of packets' content.

/// The pace is this multiple of the estimate. Publishers pace their own pictures; what is left to spread are
/// keyframes and replays. Turning it up makes bursts, turning it down makes delay.
const FACTOR: f64 = 2.5;
/// What may leave at once: so long at the pace ...
const BURST_US: f64 = 20_000.0;
/// ... or so many bytes, a picture of a few packets, if that is more.
const BURST_BYTES: f64 = 6_500.0;
/// Packets that wait leave in steps of this.
const STEP_US: i64 = 5_000;
/// Nothing waits longer; beyond it packets leave faster than the pace.
const MOST_WAIT_US: f64 = 250_000.0;

/// What a packet is, as far as its pace goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Sound: never waits, owes nothing.
    Audio,
    /// Repairs are late already: they never wait, but what follows does.
    Repair,
    /// Pictures wait their turn.
    Video,
}

/// The debt of one transport.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    us_per_byte: Option<f64>,
    /// When all that was sent will have been paid for.
    paid_us: f64,
    /// When the last picture's packet leaves that had to wait: a change of pace lets none overtake it.
    last_us: i64,
    /// How many packets waited.
    pub(super) waited: u64,
}

impl Pacer {
    /// Paces around an estimate in bit/s; `None`: nothing waits.
    pub(super) fn set(&mut self, estimate: Option<f64>) {
        self.us_per_byte = estimate.map(|estimate| 8e6 / (estimate * FACTOR).max(1.0));
    }

    /// When a packet that is ready at `now_us` may leave.
    #[inline]
    pub(super) fn stamp(&mut self, now_us: i64, bytes: usize, lane: Lane) -> i64 {
        let Some(us_per_byte) = self.us_per_byte.filter(|_| lane != Lane::Audio) else { return now_us };
        let now = now_us as f64;
        let burst = BURST_US.max(BURST_BYTES * us_per_byte);
        let owed = self.paid_us.max(now);
        self.paid_us = (owed + bytes as f64 * us_per_byte).min(now + burst + MOST_WAIT_US);
        if lane == Lane::Repair {
            return now_us;
        }
        let free = (owed - burst).min(now + MOST_WAIT_US);
        if free > now {
            self.last_us = self.last_us.max((free as i64 + STEP_US - 1) / STEP_US * STEP_US);
        }
        self.waited += u64::from(self.last_us > now_us);
        self.last_us.max(now_us)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lane, Pacer};

    #[test]
    fn a_picture_leaves_at_once_a_keyframe_in_steps_and_sound_never_waits() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.stamp(7, 1_200, Lane::Video), 7, "nothing is known: nothing waits");
        pacer.set(Some(1e6));
        for frame in 1..100 {
            let now_us = frame * 33_000;
            (0..4).for_each(|_| assert_eq!(pacer.stamp(now_us, 1_000, Lane::Video), now_us));
        }
        let now_us = 10_000_000;
        let times: Vec<i64> = (0..60).map(|_| pacer.stamp(now_us, 1_200, Lane::Video)).collect();
        assert!(times.is_sorted());
        assert_eq!(times.iter().filter(|at| **at == now_us).count(), 6);
        // 72 kB at 2.5 Mbit/s are 230 ms.
        let last = times[59] - now_us;
        assert!((190_000..215_000).contains(&last), "{last}");
        assert!(times.chunk_by(|one, next| one == next).all(|run| run.len() <= 6));
        assert_eq!(pacer.stamp(now_us, 100, Lane::Audio), now_us);
        assert_eq!(pacer.stamp(now_us, 1_200, Lane::Repair), now_us);
        pacer.set(Some(f64::INFINITY));
        let next = pacer.stamp(now_us, 1_200, Lane::Video);
        assert!((times[59]..times[59] + 20_000).contains(&next), "nothing overtakes what waits: {next}");
        let now_us = next + 20_000;
        assert!((0..10_000).all(|_| pacer.stamp(now_us, 1_200, Lane::Video) == now_us), "no bound, no wait");
        pacer.set(Some(1e6));
        let flood = (0..1_000).map(|_| pacer.stamp(now_us, 1_200, Lane::Video)).max();
        assert!(flood.is_some_and(|at| at - now_us <= 260_000), "{flood:?}");
    }
}
