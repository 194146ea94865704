//! How latencies are spread: percentiles, and bars for a terminal. Knows nothing of what was measured.

use std::fmt;
use std::time::Duration;

/// The longest bar, in characters.
const BAR: usize = 40;

/// Latencies in order.
pub(crate) struct Spread(Vec<Duration>);

impl Spread {
    pub(crate) fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }

    /// What so many hundredths of them do not exceed; nothing where there are none.
    pub(crate) fn part(&self, hundredths: usize) -> Duration {
        let rank = (self.0.len() * hundredths).div_ceil(100).saturating_sub(1);
        self.0.get(rank).copied().unwrap_or_default()
    }

    /// How many lie in each power of two of microseconds, from the least that occurs to the most.
    fn powers(&self) -> Vec<(u32, usize)> {
        let power = |latency: &Duration| {
            u32::try_from(latency.as_micros())
                .unwrap_or(u32::MAX)
                .checked_ilog2()
                .map_or(0, |power| power + 1)
        };
        let mut powers: Vec<(u32, usize)> = Vec::new();
        for latency in &self.0 {
            let power = power(latency);
            while powers.last().is_some_and(|(last, _)| *last + 1 < power) {
                powers.push((powers[powers.len() - 1].0 + 1, 0));
            }
            match powers.last_mut() {
                Some((last, count)) if *last == power => *count += 1,
                _ => powers.push((power, 1)),
            }
        }
        powers
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "all cases together:")?;
        for (power, count) in self.powers() {
            let bar = "#".repeat((count * BAR).div_ceil(self.0.len().max(1)));
            write!(formatter, "\n  below {:>8} µs {count:>8}  {bar}", 1_u64 << power)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;
    use std::time::Duration;

    fn spread(micros: &[u64]) -> Spread {
        Spread::of(micros.iter().map(|micros| Duration::from_micros(*micros)).collect())
    }

    #[test]
    fn a_percentile_is_one_that_occurred() {
        let spread = spread(&[4, 1, 3, 2]);
        let parts = [0, 25, 50, 75, 99, 100].map(|part| spread.part(part).as_micros());
        assert_eq!(parts, [1, 1, 2, 3, 4, 4]);
        assert_eq!(Spread::of(Vec::new()).part(50), Duration::ZERO);
    }

    #[test]
    fn bars_have_no_gap_between_the_least_and_the_most() {
        assert_eq!(spread(&[0, 1, 3, 3, 9]).powers(), [(0, 1), (1, 1), (2, 2), (3, 0), (4, 1)]);
        assert!(
            spread(&[3, 3]).to_string().ends_with(&format!("below        4 µs        2  {}", "#".repeat(40)))
        );
        assert!(Spread::of(Vec::new()).powers().is_empty());
    }
}
