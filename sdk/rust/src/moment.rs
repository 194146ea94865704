//! Time and chance as inputs, so that a recorded question can be decided again with the same result. Knows
//! nothing of clocks.

use crate::bindings::host::tidegate::policy::types as wire;
use std::time::Duration;

/// A moment of the wall clock, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From seconds since the Unix epoch; ends at the largest number.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// In milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment moved forward; ends at the largest number.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long this moment lies after `earlier`; negative spans give zero.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The moment and the chance that a decision may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// When the question was asked.
    pub now: UnixTime,
    /// A fresh random number; not for secrets.
    pub seed: u64,
}

impl Moment {
    /// Random numbers that follow from the seed, always the same ones.
    #[must_use]
    pub const fn random(&self) -> Random {
        Random(self.seed)
    }
}

impl From<wire::Moment> for Moment {
    fn from(moment: wire::Moment) -> Self {
        Self { now: UnixTime::from_millis(moment.unix_ms), seed: moment.seed }
    }
}

/// A sequence of random numbers (SplitMix64); not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The next number.
    pub const fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_number() as u128 * bound as u128) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, UnixTime};

    #[test]
    fn the_same_seed_gives_the_same_numbers_within_the_bound() {
        let moment = Moment { now: UnixTime::from_secs(1), seed: 7 };
        let (mut one, mut other) = (moment.random(), moment.random());
        for _ in 0..1_000 {
            let number = one.below(10);
            assert!(number < 10);
            assert_eq!(number, other.below(10));
        }
        assert_eq!(moment.random().below(0), 0);
    }
}
