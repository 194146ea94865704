//! The moment and the chance that decisions are given: both are inputs, so that a run can be replayed. Knows
//! nothing of clocks.

use std::time::Duration;
use tidegate_types::decision::Moment;
use tidegate_types::{Now, NtpTime};

/// Seconds from 1900 to the Unix epoch.
const UNIX_OFFSET: u32 = 2_208_988_800;

/// Milliseconds since the Unix epoch; right until NTP's second era ends in 2106.
pub(crate) fn unix_ms(wall: NtpTime) -> u64 {
    let seconds = ((wall.0 >> 32) as u32).wrapping_sub(UNIX_OFFSET);
    u64::from(seconds) * 1_000 + (((wall.0 & 0xffff_ffff) * 1_000) >> 32)
}

/// How long from now until `unix_ms`, at most a day: who waits longer looks again, so that a clock that is set
/// anew is noticed.
pub(crate) fn wait_until(now: Now, end_unix_ms: u64) -> Duration {
    Duration::from_millis(end_unix_ms.saturating_sub(unix_ms(now.wall))).min(Duration::from_secs(86_400))
}

/// A stream of numbers drawn from a seed (splitmix64, Steele and others, 2014). Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn moment(&mut self, now: Now) -> Moment {
        Moment { unix_ms: unix_ms(now.wall), seed: self.draw() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, NtpTime, unix_ms};

    #[test]
    fn unix_time_goes_on_through_the_end_of_the_first_ntp_era() {
        for seconds in [0, 1_700_000_000, 2_085_978_496, 4_000_000_000] {
            let told = unix_ms(NtpTime::from_unix(Duration::from_millis(seconds * 1_000 + 250)));
            assert!(told.abs_diff(seconds * 1_000 + 250) <= 1, "{told}");
        }
    }
}
