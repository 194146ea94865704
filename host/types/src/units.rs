//! Units as types: bit rates, wall-clock time as RTP senders tell it, and the pair of clocks that every input
//! carries.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A bit rate in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bitrate(u64);

impl Bitrate {
    /// From bits per second.
    #[must_use]
    pub const fn from_bps(bits: u64) -> Self {
        Self(bits)
    }

    /// From kilobits (1,000 bits) per second.
    #[must_use]
    pub const fn from_kbps(kilobits: u64) -> Self {
        Self(kilobits * 1_000)
    }

    /// In bits per second.
    #[must_use]
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }

    /// In kilobits per second, rounded down.
    #[must_use]
    pub const fn kbps(self) -> u64 {
        self.0 / 1_000
    }
}

/// A moment of the wall clock as 32.32 fixed-point seconds since 1900 (RFC 3550, section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Seconds from 1900 to the Unix epoch.
    const UNIX_OFFSET: u64 = 2_208_988_800;

    /// From seconds and nanoseconds since the Unix epoch.
    #[must_use]
    pub fn from_unix(since_epoch: Duration) -> Self {
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        Self((since_epoch.as_secs().wrapping_add(Self::UNIX_OFFSET) << 32) | fraction)
    }

    /// From the system's wall clock; a clock before 1970 counts as 1970.
    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        Self::from_unix(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// The middle 32 bits, as report blocks carry them (RFC 3550, section 6.4.1, LSR).
    #[must_use]
    #[expect(clippy::cast_possible_truncation)]
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// This moment moved forward by `by`; wraps with the era in 2036.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let fraction = (u64::from(by.subsec_nanos()) << 32) / 1_000_000_000;
        Self(self.0.wrapping_add((by.as_secs() << 32).wrapping_add(fraction)))
    }

    /// How long this moment lies after `earlier`; negative spans give zero.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let span = self.0.wrapping_sub(earlier.0);
        if span >> 63 == 1 {
            return Duration::ZERO;
        }
        let nanos = ((span & 0xffff_ffff) * 1_000_000_000) >> 32;
        Duration::from_secs(span >> 32) + Duration::from_nanos(nanos)
    }
}

/// The time of an input: monotonic for every interval, wall clock for what peers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic.
    pub instant: Instant,
    /// Wall clock.
    pub wall: NtpTime,
}

impl Now {
    /// The same pair, later by `by`.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self { instant: self.instant + by, wall: self.wall.after(by) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, NtpTime};

    #[test]
    fn ntp_spans_survive_a_round_trip_to_a_microsecond() {
        let start = NtpTime::from_unix(Duration::new(1_700_000_000, 250_000_000));
        let span = Duration::new(3, 141_592_653);
        let measured = start.after(span).since(start);
        assert!(measured.abs_diff(span) < Duration::from_micros(1), "{measured:?}");
        assert_eq!(start.since(start.after(span)), Duration::ZERO);
    }
}
