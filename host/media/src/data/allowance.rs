//! How many of something may happen: a burst that fills up again at a steady rate. Time is an argument.

use std::time::{Duration, Instant};

/// One bucket of tokens.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    burst: u32,
    per_second: u32,
    tokens: u32,
    /// Up to when tokens were given.
    at: Option<Instant>,
}

impl Allowance {
    /// A full one.
    #[must_use]
    pub const fn new(burst: u32, per_second: u32) -> Self {
        Self { burst, per_second, tokens: burst, at: None }
    }

    /// Takes one token; `false` if there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let at = *self.at.get_or_insert(now);
        let each = Duration::from_secs(1) / self.per_second.max(1);
        let grown = now.saturating_duration_since(at).as_nanos() / each.as_nanos().max(1);
        let grown = u32::try_from(grown).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(grown).min(self.burst);
        self.at = Some(if self.tokens == self.burst { now } else { at + each * grown });
        let enough = self.tokens > 0;
        self.tokens -= u32::from(enough);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowance, Duration, Instant};

    #[test]
    fn a_burst_passes_and_then_a_rate() {
        let start = Instant::now();
        let mut allowance = Allowance::new(3, 10);
        let taken = |allowance: &mut Allowance, at: u64| {
            (0..10).filter(|_| allowance.take(start + Duration::from_millis(at))).count()
        };
        assert_eq!(taken(&mut allowance, 0), 3);
        assert_eq!(taken(&mut allowance, 99), 0);
        assert_eq!(taken(&mut allowance, 100), 1);
        assert_eq!(taken(&mut allowance, 250), 1);
        assert_eq!(taken(&mut allowance, 300), 1);
        assert_eq!(taken(&mut allowance, 60_000), 3);
    }
}
