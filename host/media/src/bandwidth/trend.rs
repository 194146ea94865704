//! Whether the queue on the way grows: a straight line through the last delays, and a threshold that adapts so that
//! flows that fill queues do not starve this one (Carlucci et al., "Congestion control for web real-time
//! communication", IEEE/ACM ToN 2017, section IV; the line instead of the paper's Kalman filter is what browsers
//! do). Knows nothing of bit rates.

use super::groups::Delta;

/// Points of the line. More see smaller slopes and see them later.
const POINTS: usize = 20;
/// Points that are added up side by side.
const LANES: usize = 4;
const _: () = assert!(POINTS.is_multiple_of(LANES), "no point is left out");
/// Weight of the past in the smoothed delay.
const SMOOTHING: f64 = 0.9;
/// The slope is compared with the threshold after multiplication with the number of deltas (at most this) ...
const MOST_DELTAS: u32 = 60;
/// ... and with this.
const GAIN: f64 = 4.0;
/// Threshold in milliseconds: where it begins, and its limits.
const THRESHOLD_MS: f64 = 12.5;
const THRESHOLD_LEAST_MS: f64 = 6.0;
const THRESHOLD_MOST_MS: f64 = 600.0;
/// How fast the threshold follows a larger and a smaller signal, per millisecond.
const FOLLOW_UP: f64 = 0.0087;
const FOLLOW_DOWN: f64 = 0.039;
/// A signal that exceeds the threshold by more is a spike and is not followed.
const SPIKE_MS: f64 = 15.0;
/// The signal has to stand above the threshold for so long.
const SUSTAINED_MS: f64 = 10.0;

/// What the delays say about the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    /// The queue stays as it is.
    #[default]
    Normal,
    /// It grows: more is sent than the path carries.
    Over,
    /// It shrinks.
    Under,
}

/// The filter and the detector behind it.
#[derive(Debug)]
pub(super) struct Trend {
    /// Arrival and smoothed delay, in milliseconds; a ring.
    points: [(f64, f64); POINTS],
    deltas: u32,
    origin_us: i64,
    accumulated_ms: f64,
    smoothed_ms: f64,
    slope: f64,
    threshold_ms: f64,
    adapted_us: i64,
    over_ms: Option<f64>,
    over_count: u32,
    usage: Usage,
}

impl Default for Trend {
    fn default() -> Self {
        Self {
            points: [(0.0, 0.0); POINTS],
            deltas: 0,
            origin_us: 0,
            accumulated_ms: 0.0,
            smoothed_ms: 0.0,
            slope: 0.0,
            threshold_ms: THRESHOLD_MS,
            adapted_us: 0,
            over_ms: None,
            over_count: 0,
            usage: Usage::Normal,
        }
    }
}

impl Trend {
    /// What was said last.
    #[must_use]
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Takes one delta.
    pub(super) fn update(&mut self, delta: Delta) {
        if self.deltas == 0 {
            self.origin_us = delta.at_us;
            self.adapted_us = delta.at_us;
        }
        self.accumulated_ms += (delta.arrival_us - delta.sent_us) as f64 / 1_000.0;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.accumulated_ms;
        let at_ms = (delta.at_us - self.origin_us) as f64 / 1_000.0;
        self.points[self.deltas as usize % POINTS] = (at_ms, self.smoothed_ms);
        self.deltas = self.deltas.saturating_add(1);
        let before = self.slope;
        if self.deltas as usize >= POINTS
            && let Some(slope) = self.fit()
        {
            self.slope = slope;
        }
        self.detect(delta, before);
    }

    /// The slope of the least-squares line; `None` if all points lie at one time.
    fn fit(&self) -> Option<f64> {
        let [sum_x, sum_y] = self.sums(|x, y| [x, y]);
        let (mean_x, mean_y) = (sum_x / POINTS as f64, sum_y / POINTS as f64);
        let [above, below] = self.sums(|x, y| [(x - mean_x) * (y - mean_y), (x - mean_x) * (x - mean_x)]);
        (below > 0.0).then(|| above / below)
    }

    /// Two sums over all points, in lanes: each addition would otherwise wait for the one before.
    #[inline]
    fn sums(&self, terms: impl Fn(f64, f64) -> [f64; 2]) -> [f64; 2] {
        let (lanes, _) = self.points.as_chunks::<LANES>();
        let mut sums = [[0.0; 2]; LANES];
        for points in lanes {
            for (sum, &(x, y)) in sums.iter_mut().zip(points) {
                let [one, other] = terms(x, y);
                *sum = [sum[0] + one, sum[1] + other];
            }
        }
        sums.into_iter().fold([0.0; 2], |all, sum| [all[0] + sum[0], all[1] + sum[1]])
    }

    fn detect(&mut self, delta: Delta, before: f64) {
        let signal = f64::from(self.deltas.min(MOST_DELTAS)) * self.slope * GAIN;
        if signal > self.threshold_ms {
            let step_ms = delta.sent_us as f64 / 1_000.0;
            let over_ms = self.over_ms.map_or(step_ms / 2.0, |over| over + step_ms);
            self.over_ms = Some(over_ms);
            self.over_count += 1;
            if over_ms > SUSTAINED_MS && self.over_count > 1 && self.slope >= before {
                self.over_ms = Some(0.0);
                self.over_count = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_ms = None;
            self.over_count = 0;
            self.usage = if signal < -self.threshold_ms { Usage::Under } else { Usage::Normal };
        }
        self.adapt(signal.abs(), delta.at_us);
    }

    fn adapt(&mut self, signal: f64, at_us: i64) {
        let passed_ms = ((at_us - self.adapted_us) as f64 / 1_000.0).clamp(0.0, 100.0);
        self.adapted_us = at_us;
        if signal > self.threshold_ms + SPIKE_MS {
            return;
        }
        let follow = if signal < self.threshold_ms { FOLLOW_DOWN } else { FOLLOW_UP };
        self.threshold_ms += follow * (signal - self.threshold_ms) * passed_ms;
        self.threshold_ms = self.threshold_ms.clamp(THRESHOLD_LEAST_MS, THRESHOLD_MOST_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::{Delta, Trend, Usage};

    fn feed(trend: &mut Trend, from_us: i64, deltas: i64, growth_us: i64) -> (i64, bool, bool) {
        let mut at_us = from_us;
        let (mut over, mut under) = (false, false);
        for _ in 0..deltas {
            at_us += 20_000 + growth_us;
            trend.update(Delta { sent_us: 20_000, arrival_us: 20_000 + growth_us, at_us });
            over |= trend.usage() == Usage::Over;
            under |= trend.usage() == Usage::Under;
        }
        (at_us, over, under)
    }

    #[test]
    fn a_growing_queue_is_overuse_a_shrinking_one_underuse_and_jitter_neither() {
        let mut trend = Trend::default();
        let mut at_us = 0;
        for nth in 0..200 {
            at_us += 20_000;
            let jitter = if nth % 2 == 0 { 3_000 } else { -3_000 };
            trend.update(Delta { sent_us: 20_000, arrival_us: 20_000 + jitter, at_us });
            assert_eq!(trend.usage(), Usage::Normal, "after {nth}");
        }
        let (at_us, over, _) = feed(&mut trend, at_us, 20, 4_000);
        assert!(over);
        let (_, _, under) = feed(&mut trend, at_us, 40, -4_000);
        assert!(under);
    }
}
