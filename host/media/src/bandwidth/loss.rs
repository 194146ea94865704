//! The loss-based limit (draft-ietf-rmcat-gcc-02, section 6): much loss takes the estimate down, little lets it
//! go. Radio links lose packets without being full, so loss alone limits less than loss with a queue. Knows nothing
//! of who counted.

/// Loss below this is nothing.
const LITTLE: f64 = 0.02;
/// Loss above this is too much, unless it turned out not to depend on the rate.
const MUCH: f64 = 0.10;
/// A judgement needs so many packets.
const PACKETS: u32 = 40;
/// ... and so much time since the one before.
const INTERVAL_US: i64 = 300_000;
/// With a queue below this the way is not full.
const SHORT_QUEUE_US: i64 = 15_000;
/// How fast a limit gives way, a judgement.
const EASING: f64 = 0.06;
const EASING_BPS: f64 = 15_000.0;
/// With a queue above this, every loss counts: a full queue loses what does not fit and grows no more.
const LONG_QUEUE_US: i64 = 40_000;
/// ... and takes this much, a judgement.
const GIVING: f64 = 0.95;
/// A rate reduced to this part that leaves as much loss proves that the rate is not its cause.
const PROOF: f64 = 0.8;
/// For how long such a proof holds.
const PROVEN_US: i64 = 30_000_000;

/// What losses allow.
#[derive(Debug, Default)]
pub(super) struct Loss {
    lost: u32,
    told: u32,
    judged_us: i64,
    limit: Option<f64>,
    /// Loss and estimate when the present descent began.
    descent: Option<(f64, f64)>,
    /// Loss that was proven to be the way's own, and until when that is believed.
    own: Option<(f64, i64)>,
    smoothed: f64,
}

impl Loss {
    /// Counts one feedback's news: how many were told about, and how many of them are missing. Those that were
    /// missing and came nevertheless are taken off by a negative number.
    pub(super) fn count(&mut self, told: u32, lost: i32) {
        self.told += told;
        self.lost = self.lost.saturating_add_signed(lost);
    }

    /// Forgets what was counted and not judged yet.
    pub(super) fn forget(&mut self) {
        (self.lost, self.told) = (0, 0);
    }

    /// The limit in bit/s, if there is one.
    #[must_use]
    pub(super) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// The share of packets that is lost, smoothed.
    #[must_use]
    pub(super) fn fraction(&self) -> f64 {
        self.smoothed
    }

    /// Judges what was counted, if it is enough. `estimate` is what is believed now.
    pub(super) fn judge(&mut self, now_us: i64, estimate: f64, queue_us: i64) {
        if self.told < PACKETS || now_us - self.judged_us < INTERVAL_US {
            return;
        }
        let fraction = f64::from(self.lost.min(self.told)) / f64::from(self.told);
        (self.lost, self.told, self.judged_us) = (0, 0, now_us);
        self.smoothed += 0.3 * (fraction - self.smoothed);
        let own = self.own.filter(|(_, until)| now_us < *until).map_or(0.0, |(own, _)| own);
        if self.smoothed > MUCH.max(own * 1.3 + 0.03) && fraction > MUCH {
            self.descend(now_us, estimate, fraction, queue_us);
        } else if self.smoothed < LITTLE || queue_us < SHORT_QUEUE_US {
            self.descent = None;
            let eased = |limit: f64| limit + (limit * EASING).max(EASING_BPS);
            self.limit = self.limit.map(eased).filter(|limit| *limit < estimate * 1.2);
        } else if queue_us > LONG_QUEUE_US && fraction > LITTLE {
            self.limit = Some(estimate * GIVING);
        } else if self.limit.is_none_or(|limit| limit > estimate) {
            self.limit = Some(estimate);
        }
    }

    fn descend(&mut self, now_us: i64, estimate: f64, fraction: f64, queue_us: i64) {
        let (loss, from) = *self.descent.get_or_insert((self.smoothed, estimate));
        let proven = estimate <= from * PROOF && self.smoothed >= loss * 0.8;
        if proven && queue_us < SHORT_QUEUE_US {
            self.own = Some((self.smoothed, now_us + PROVEN_US));
            self.descent = None;
            self.limit = Some(from);
            return;
        }
        self.limit = Some(estimate * (1.0 - 0.5 * fraction));
    }
}

#[cfg(test)]
mod tests {
    use super::Loss;

    /// Ten seconds of feedback about 100 packets each 100 ms.
    fn run(
        loss: &mut Loss,
        from_us: i64,
        estimate: &mut f64,
        mut lost: impl FnMut(f64) -> i32,
        queue_us: i64,
    ) {
        for step in 1..=100 {
            loss.count(100, lost(*estimate));
            loss.judge(from_us + step * 100_000, *estimate, queue_us);
            *estimate = loss.limit().map_or(*estimate * 1.01, |limit| limit.min(*estimate * 1.01));
        }
    }

    #[test]
    fn loss_that_comes_with_the_rate_limits_it_and_loss_of_the_way_does_not() {
        let mut estimate = 2e6;
        let mut loss = Loss::default();
        let full = |estimate: f64| ((1.0 - 1e6 / estimate).max(0.0) * 100.0) as i32;
        run(&mut loss, 0, &mut estimate, full, 100_000);
        assert!((0.8e6..1.3e6).contains(&estimate), "{estimate}");

        let mut estimate = 1e6;
        let mut loss = Loss::default();
        run(&mut loss, 0, &mut estimate, |_| 15, 1_000);
        assert!(estimate > 0.8e6, "{estimate}");
    }
}
