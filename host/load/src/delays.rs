//! Spans of time on a logarithmic scale, in memory of fixed size. Knows nothing of what they are spans of.

use std::time::Duration;

/// Parts of an octave: a quantile is off by at most a sixteenth.
const PARTS: u64 = 16;
/// Exact below 16 µs, then sixteen an octave up to 2^32 µs (an hour).
const BUCKETS: usize = (PARTS + PARTS * 28) as usize;

/// A histogram.
#[derive(Clone, Debug)]
pub(crate) struct Delays {
    buckets: Box<[u64; BUCKETS]>,
}

impl Default for Delays {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]) }
    }
}

impl Delays {
    /// One more.
    pub(crate) fn record(&mut self, span: Duration) {
        let us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)] += 1;
    }

    /// Those of another one, too.
    pub(crate) fn add(&mut self, other: &Self) {
        for (own, other) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *own += other;
        }
    }

    /// Without those of an earlier state.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut rest = self.clone();
        for (own, earlier) in rest.buckets.iter_mut().zip(earlier.buckets.iter()) {
            *own = own.saturating_sub(*earlier);
        }
        rest
    }

    /// What `permille` of a thousand do not exceed (the bucket's upper edge); zero of none.
    pub(crate) fn quantile(&self, permille: u64) -> Duration {
        let count: u64 = self.buckets.iter().sum();
        let wanted = (count * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(upper_edge(bucket as u64));
            }
        }
        Duration::ZERO
    }
}

fn bucket(us: u64) -> usize {
    if us < PARTS {
        return us as usize;
    }
    let octave = u64::from(us.ilog2()) - 4;
    let part = (us >> octave) & (PARTS - 1);
    ((PARTS + octave * PARTS + part) as usize).min(BUCKETS - 1)
}

fn upper_edge(bucket: u64) -> u64 {
    if bucket < PARTS {
        return bucket;
    }
    let (octave, part) = (bucket / PARTS - 1, bucket % PARTS);
    ((PARTS + part + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::{Delays, Duration};

    #[test]
    fn a_quantile_is_never_too_low_and_at_most_a_sixteenth_too_high() {
        for us in (0..300).chain((300..400_000).step_by(41)).chain([1 << 20, 77_777_777]) {
            let mut delays = Delays::default();
            delays.record(Duration::from_micros(us));
            let told = delays.quantile(500).as_micros() as u64;
            assert!(told >= us && told <= us + us / 16, "{us} µs told as {told}");
        }
    }

    #[test]
    fn what_was_before_a_window_does_not_count_in_it() {
        let mut delays = Delays::default();
        (0..1_000).for_each(|_| delays.record(Duration::from_secs(1)));
        let before = delays.clone();
        delays.record(Duration::from_micros(9));
        assert_eq!(delays.since(&before).quantile(990), Duration::from_micros(9));
        assert_eq!(Delays::default().quantile(500), Duration::ZERO);
    }
}
