//! Bytes over the last second, in steps of 25 ms. Knows nothing of whose bytes.

/// Length of a step, in microseconds.
const STEP_US: i64 = 25_000;
const STEPS: usize = 40;

/// A sliding sum.
#[derive(Debug)]
pub(super) struct Meter {
    steps: [u32; STEPS],
    /// Number of the newest step, and of the first ever.
    newest: i64,
    first: Option<i64>,
    last_us: i64,
}

impl Default for Meter {
    fn default() -> Self {
        Self { steps: [0; STEPS], newest: 0, first: None, last_us: 0 }
    }
}

impl Meter {
    /// Counts bytes at a time; late ones count in their own step.
    pub(super) fn add(&mut self, at_us: i64, bytes: u32) {
        let step = at_us.div_euclid(STEP_US);
        if self.first.is_none() {
            (self.first, self.newest, self.last_us) = (Some(step), step, at_us);
        }
        self.advance(step);
        self.last_us = self.last_us.max(at_us);
        if step > self.newest - STEPS as i64 {
            let slot = &mut self.steps[step.rem_euclid(STEPS as i64) as usize];
            *slot = slot.saturating_add(bytes);
        }
    }

    fn advance(&mut self, step: i64) {
        let passed = (step - self.newest).clamp(0, STEPS as i64);
        for passed in (0..passed).map(|back| step - back) {
            self.steps[passed.rem_euclid(STEPS as i64) as usize] = 0;
        }
        self.newest = self.newest.max(step);
    }

    /// Bits per second over the last `span_us` (at most a second) before the newest bytes; `None` as long as less
    /// than that is known.
    #[must_use]
    pub(super) fn rate(&self, span_us: i64) -> Option<f64> {
        let steps = (span_us / STEP_US).clamp(2, STEPS as i64);
        let oldest = self.newest - steps + 1;
        if self.first? > oldest {
            return None;
        }
        let bytes: u64 = (oldest..=self.newest)
            .map(|step| u64::from(self.steps[step.rem_euclid(STEPS as i64) as usize]))
            .sum();
        let span = self.last_us - oldest * STEP_US;
        (span > 0).then(|| bytes as f64 * 8e6 / span as f64)
    }

    /// The same up to `now_us`, so that silence counts.
    #[must_use]
    pub(super) fn rate_at(&self, now_us: i64, span_us: i64) -> Option<f64> {
        let oldest = (now_us - span_us).div_euclid(STEP_US) + 1;
        if self.first? > oldest {
            return None;
        }
        let known = oldest.max(self.newest - STEPS as i64 + 1)..=self.newest;
        let bytes: u64 =
            known.map(|step| u64::from(self.steps[step.rem_euclid(STEPS as i64) as usize])).sum();
        let span = now_us - oldest * STEP_US;
        (span > 0).then(|| bytes as f64 * 8e6 / span as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::Meter;

    #[test]
    fn a_steady_flow_is_measured_and_silence_counts() {
        let mut meter = Meter::default();
        assert_eq!(meter.rate(500_000), None);
        for millisecond in 0..3_000 {
            meter.add(7_000_000 + millisecond * 1_000, 125);
        }
        let rate = meter.rate(500_000).unwrap();
        assert!((rate - 1e6).abs() < 3e4, "{rate}");
        let halved = meter.rate_at(10_250_000, 500_000).unwrap();
        assert!((halved - 5e5).abs() < 6e4, "{halved}");
        assert_eq!(meter.rate_at(20_000_000, 500_000).map(|rate| rate as u64), Some(0));
    }
}
