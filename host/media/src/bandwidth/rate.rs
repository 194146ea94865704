//! The delay-based estimate: up while the queue rests, down when it grows, below what the path carries for as long
//! as a queue has to drain (draft-ietf-rmcat-gcc-02, section 5.5; the draining is ours). Knows nothing of packets.

use super::trend::Usage;

/// What is kept of the measured rate when the queue grows.
const KEPT: f64 = 0.85;
/// Growth a second while the limit is far or unknown.
const GROWTH: f64 = 1.08;
/// Without its being used the estimate does not grow beyond this times what arrives (and a little).
const BEYOND_ARRIVING: f64 = 1.5;
const BEYOND_ARRIVING_BPS: f64 = 10_000.0;
/// Additive growth: one packet of this many bits in the time that a change needs to show.
const PACKET_BITS: f64 = 9_600.0;
const RESPONSE_US: i64 = 100_000;
/// Weight of a new measurement in what is known of the capacity.
const CAPACITY_WEIGHT: f64 = 0.1;
/// A queue shorter than this drains by itself.
const DRAINABLE_US: i64 = 40_000;
/// The part of what arrives without a queue that is believed at once.
const CARRIED: f64 = 0.9;
/// A queue shorter than this is drained.
const DRAINED_US: i64 = 12_000;
/// A queue is drained at a rate that empties it in about this time. Shorter starves the pictures meanwhile.
const DRAIN_TIME_US: f64 = 800_000.0;
const DRAIN_LEAST: f64 = 0.10;
/// What does not drain in twice the time that it should, and this, is somebody else's queue.
const DRAIN_SPARE_US: i64 = 1_000_000;
/// After a drain, what of the measured rate is dared again.
const AFTER_DRAIN: f64 = 0.90;
/// Less queue than this is no reason to send less, whatever its slope.
const QUEUE_OF_NOTE_US: i64 = 8_000;
/// When nearly all that is sent arrives, a growing queue may be somebody else's: steps are small, and nothing is
/// drained.
const NEARLY_ALL: f64 = 0.9;
const EVEN_LEAST: f64 = 0.87;
const EVEN_MOST: f64 = 1.13;
const CAREFUL: f64 = 0.75;
/// So much queue while much less arrives than is sent needs no second look.
const EVIDENT_US: i64 = 80_000;
const EVIDENT_STEP_US: i64 = 5_000;
const EVIDENT_SHARE: f64 = 0.8;

/// While a queue as long as this stands nothing grows; after so long it is as good as growing.
const STANDING_US: i64 = 40_000;
const STANDING_TIME_US: i64 = 2_000_000;
/// A queue that keeps this share of itself while less is sent for so long, is kept up by
/// somebody who does not care for delay. For a while its growth is then no reason to give way any further.
const STUBBORN: f64 = 0.85;
const STUBBORN_LEAST_US: i64 = 40_000;
const SETTLING_US: i64 = 50_000;
const TRIAL_US: i64 = 600_000;
const RIVALRY_US: i64 = 8_000_000;
const RIVALRY_GROWTH_US: i64 = 50_000;

/// What the path is believed to carry, from what arrived whenever its queue grew.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    mean: f64,
    /// Mean square of the deviation, divided by the mean.
    spread: f64,
}

impl Capacity {
    fn learn(known: Option<Self>, measured: f64) -> Self {
        let Some(known) = known.filter(|known| known.is_near(measured)) else {
            return Self { mean: measured, spread: measured * 0.0025 };
        };
        let mean = known.mean + CAPACITY_WEIGHT * (measured - known.mean);
        let off = measured - mean;
        let spread = (1.0 - CAPACITY_WEIGHT) * known.spread + CAPACITY_WEIGHT * off * off / mean;
        Self { mean, spread: spread.clamp(mean * 0.0004, mean * 0.01) }
    }

    fn deviation(&self) -> f64 {
        (self.spread * self.mean).sqrt()
    }

    fn is_near(&self, rate: f64) -> bool {
        (rate - self.mean).abs() <= 3.0 * self.deviation()
    }
}

/// What a feedback says, in numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed {
    /// Now.
    pub(super) now_us: i64,
    /// What the delays say.
    pub(super) usage: Usage,
    /// What arrives, in bit/s; while a queue grows over less time.
    pub(super) arriving: Option<f64>,
    /// What arrived over the same time as what is sent.
    pub(super) arrived: Option<f64>,
    /// What is sent, in bit/s.
    pub(super) sending: Option<f64>,
    /// The queue on the way.
    pub(super) queue_us: i64,
    /// The round trip, feedback's wait included.
    pub(super) round_trip_us: i64,
}

impl Observed {
    /// Less arrives than is sent.
    fn is_saturated(&self) -> bool {
        let both = self.arriving.zip(self.sending);
        both.is_none_or(|(arriving, sending)| arriving < NEARLY_ALL * sending)
    }

    /// As much arrives as is sent: what is in the queue neither grows by it nor makes up for it.
    fn is_even(&self) -> bool {
        let both = self.arrived.zip(self.sending);
        both.is_some_and(|(arrived, sending)| (EVEN_LEAST..EVEN_MOST).contains(&(arrived / sending)))
    }

    /// What the way carries without doubt: all that is sent arrives, and there is no queue. More may be sent than the
    /// estimate allows where a track has no lower layer.
    fn carried(&self) -> f64 {
        let arrived = self.arrived.filter(|_| self.is_even() && self.queue_us < DRAINED_US);
        arrived.map_or(0.0, |arrived| arrived * CARRIED)
    }

    /// There is a queue, it was shorter before, and it must go on growing.
    fn is_evident(&self, before_us: i64) -> bool {
        let both = self.arriving.zip(self.sending);
        self.queue_us > EVIDENT_US
            && self.queue_us > before_us + EVIDENT_STEP_US
            && both.is_some_and(|(arriving, sending)| arriving < EVIDENT_SHARE * sending)
    }

    /// The queue as it will be when a change begins to show.
    fn queue_to_come_us(&self, arriving: f64) -> i64 {
        let excess = self.sending.map_or(0.0, |sending| (sending / arriving - 1.0).clamp(0.0, 4.0));
        self.queue_us + (excess * self.round_trip_us as f64) as i64
    }
}

#[derive(Clone, Copy, Debug)]
struct Drain {
    /// What arrived when it began.
    measured: f64,
    until_us: i64,
}

/// A step down whose effect on the queue is awaited.
#[derive(Clone, Copy, Debug)]
struct Trial {
    due_us: i64,
    /// The queue when the step began to show; `None` before.
    queue_us: Option<i64>,
}

/// The estimate.
#[derive(Debug)]
pub(super) struct Rate {
    estimate: f64,
    least: f64,
    most: f64,
    holds: bool,
    capacity: Option<Capacity>,
    drain: Option<Drain>,
    changed_us: Option<i64>,
    decreased_us: Option<i64>,
    trial: Option<Trial>,
    rivalry_ends_us: i64,
    /// A queue beyond this was not the rival's alone.
    rivalry_queue_us: i64,
    standing_since_us: Option<i64>,
    /// The queue at the last feedback.
    queue_us: i64,
}

impl Rate {
    /// Begins at `start`, in bit/s, and stays between `least` and `most`.
    #[must_use]
    pub(super) fn new(start: f64, least: f64, most: f64) -> Self {
        Self {
            estimate: start,
            least,
            most,
            holds: false,
            capacity: None,
            drain: None,
            changed_us: None,
            decreased_us: None,
            trial: None,
            rivalry_ends_us: 0,
            rivalry_queue_us: 0,
            standing_since_us: None,
            queue_us: 0,
        }
    }

    /// In bit/s.
    #[must_use]
    pub(super) fn estimate(&self) -> f64 {
        self.estimate
    }

    /// A queue is being drained.
    pub(super) fn drains(&self) -> bool {
        self.drain.is_some()
    }

    /// A queue is being drained, or the rate was just taken down.
    #[must_use]
    pub(super) fn recovers(&self, now_us: i64) -> bool {
        self.drain.is_some() || self.decreased_us.is_some_and(|at| now_us - at < 1_000_000)
    }

    /// A probe found that so much arrives.
    pub(super) fn raise(&mut self, found: f64) {
        if self.drain.is_none() && found > self.estimate {
            self.set(found);
            self.capacity = None;
        }
    }

    /// Something else than delay says that it is less.
    pub(super) fn cap(&mut self, most: f64) {
        self.estimate = self.estimate.min(most.max(self.least));
    }

    fn set(&mut self, estimate: f64) {
        self.estimate = estimate.clamp(self.least, self.most);
    }

    /// One feedback.
    pub(super) fn update(&mut self, seen: &Observed) {
        let since_us = seen.now_us - self.changed_us.unwrap_or(seen.now_us);
        self.changed_us = Some(seen.now_us);
        self.await_trial(seen);
        if seen.queue_us > self.rivalry_queue_us {
            self.rivalry_ends_us = seen.now_us;
        }
        let rivalry = seen.now_us < self.rivalry_ends_us;
        let grows = seen.usage == Usage::Over && seen.queue_us > QUEUE_OF_NOTE_US && !rivalry;
        let stands = self.stands(seen) && !rivalry;
        let before_us = std::mem::replace(&mut self.queue_us, seen.queue_us);
        if grows || stands || seen.is_evident(before_us) {
            return self.decrease(seen);
        }
        if let Some(drain) = self.drain {
            return self.drain_on(seen, drain);
        }
        self.holds = match seen.usage {
            Usage::Under => true,
            Usage::Over => self.holds && !rivalry,
            Usage::Normal => false,
        };
        if !self.holds && (seen.queue_us < STANDING_US || rivalry) {
            self.increase(seen, since_us);
        }
    }

    fn decrease(&mut self, seen: &Observed) {
        let Some(arriving) = seen.arriving else {
            // Nothing is measured yet: the start was too bold.
            if self.may_decrease(seen) {
                self.decreased_us = Some(seen.now_us);
                self.set(self.estimate / 2.0);
            }
            return;
        };
        if !self.may_decrease(seen) {
            return;
        }
        let saturated = seen.is_saturated();
        self.decreased_us = Some(seen.now_us);
        self.standing_since_us = None;
        self.holds = true;
        let due_us = seen.now_us + seen.round_trip_us + SETTLING_US;
        self.trial = Some(Trial { due_us, queue_us: None });
        if saturated || arriving > 0.8 * self.estimate {
            self.capacity = Some(Capacity::learn(self.capacity, arriving));
        }
        let mut kept = KEPT;
        let queue_us = seen.queue_to_come_us(arriving);
        if saturated && queue_us > DRAINABLE_US || self.drain.is_some() {
            kept = (1.0 - queue_us as f64 / DRAIN_TIME_US).clamp(DRAIN_LEAST, KEPT);
            let measured = self.drain.map_or(arriving, |drain| drain.measured.min(arriving));
            let takes_us = (queue_us as f64 / (1.0 - kept)) as i64;
            self.drain = Some(Drain { measured, until_us: seen.now_us + 2 * takes_us + DRAIN_SPARE_US });
        }
        let mut lower = kept * self.drain.map_or(arriving, |drain| drain.measured);
        if !saturated {
            lower = lower.max(CAREFUL * self.estimate);
        }
        self.set(lower.min(self.estimate));
    }

    /// A queue has been standing for a while: it grows no more, but nobody drains it either.
    fn stands(&mut self, seen: &Observed) -> bool {
        if seen.queue_us < STANDING_US || self.drain.is_some() {
            self.standing_since_us = None;
            return false;
        }
        let since_us = *self.standing_since_us.get_or_insert(seen.now_us);
        seen.now_us - since_us > STANDING_TIME_US
    }

    /// Judges whether the last step down did anything to the queue.
    fn await_trial(&mut self, seen: &Observed) {
        if seen.queue_us < DRAINED_US {
            self.trial = None;
        }
        let Some(trial) = self.trial.filter(|trial| seen.now_us >= trial.due_us) else { return };
        let Some(before_us) = trial.queue_us else {
            self.trial = Some(Trial { due_us: seen.now_us + TRIAL_US, queue_us: Some(seen.queue_us) });
            return;
        };
        self.trial = None;
        let stays = seen.queue_us as f64 > STUBBORN * before_us as f64;
        if stays && seen.queue_us > STUBBORN_LEAST_US && seen.is_even() {
            self.rivalry_ends_us = seen.now_us + RIVALRY_US;
            self.rivalry_queue_us = seen.queue_us * 3 / 2 + RIVALRY_GROWTH_US;
            self.capacity = None;
            if let Some(drain) = self.drain.take() {
                self.set((drain.measured * KEPT).max(self.estimate));
            }
        }
    }

    /// A change needs a round trip to show.
    fn may_decrease(&self, seen: &Observed) -> bool {
        let wait_us = seen.round_trip_us.clamp(50_000, 300_000);
        self.decreased_us.is_none_or(|at| seen.now_us - at >= wait_us)
    }

    fn drain_on(&mut self, seen: &Observed, drain: Drain) {
        let drained = seen.queue_us < DRAINED_US;
        if !drained && seen.now_us < drain.until_us {
            return;
        }
        self.drain = None;
        self.set((drain.measured * AFTER_DRAIN).max(self.estimate));
        if !drained {
            self.rivalry_ends_us = seen.now_us + RIVALRY_US;
            self.rivalry_queue_us = seen.queue_us * 3 / 2 + RIVALRY_GROWTH_US;
        }
    }

    fn increase(&mut self, seen: &Observed, since_us: i64) {
        let seconds = since_us.clamp(0, 1_000_000) as f64 / 1e6;
        let Some(arriving) = seen.arriving else { return };
        if self.capacity.is_some_and(|capacity| arriving > capacity.mean + 3.0 * capacity.deviation()) {
            self.capacity = None;
        }
        let response = (seen.round_trip_us + RESPONSE_US) as f64 / 1e6;
        let added = self.estimate + PACKET_BITS.max(self.estimate * 0.006) / response * seconds;
        let grown = match self.capacity {
            Some(_) => added,
            None if seen.now_us < self.rivalry_ends_us => added,
            None => added.max(self.estimate * GROWTH.powf(seconds)),
        };
        let most = arriving * BEYOND_ARRIVING + BEYOND_ARRIVING_BPS;
        if self.estimate < most {
            let carried = if self.capacity.is_none() { seen.carried() } else { 0.0 };
            self.set(grown.min(most).max(carried));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Observed, Rate, Usage};

    fn seen(now_ms: i64, usage: Usage, arriving: f64, queue_ms: i64) -> Observed {
        Observed {
            now_us: now_ms * 1_000,
            usage,
            arriving: Some(arriving),
            arrived: Some(arriving),
            sending: Some(arriving * 1.2),
            queue_us: queue_ms * 1_000,
            round_trip_us: 100_000,
        }
    }

    #[test]
    fn it_grows_while_used_falls_with_a_queue_and_comes_back_when_that_has_drained() {
        let mut rate = Rate::new(600e3, 50e3, 100e6);
        for step in 0..200 {
            let used = rate.estimate();
            rate.update(&seen(step * 50, Usage::Normal, used, 1));
        }
        let grown = rate.estimate();
        assert!((1.2e6..1.4e6).contains(&grown), "8% a second over ten seconds: {grown}");
        rate.update(&seen(10_050, Usage::Over, 1e6, 300));
        assert!((5e5..6.5e5).contains(&rate.estimate()), "below what arrives: {}", rate.estimate());
        rate.update(&seen(10_100, Usage::Under, 6e5, 100));
        assert!(rate.estimate() < 7e5, "still draining");
        rate.update(&seen(10_600, Usage::Normal, 6e5, 5));
        assert!((8.9e5..9.1e5).contains(&rate.estimate()), "{}", rate.estimate());
    }

    #[test]
    fn what_arrives_without_a_queue_is_believed_and_what_stands_in_one_is_not() {
        let even =
            |now_ms, queue_ms| Observed { sending: Some(5e6), ..seen(now_ms, Usage::Normal, 5e6, queue_ms) };
        let mut rate = Rate::new(600e3, 50e3, 100e6);
        rate.update(&even(0, 40));
        assert!(rate.estimate() < 700e3, "it may be the queue that arrives: {}", rate.estimate());
        rate.update(&Observed { sending: Some(6e6), ..even(50, 1) });
        assert!(rate.estimate() < 700e3, "not all of it arrives: {}", rate.estimate());
        rate.update(&even(100, 1));
        assert_eq!(rate.estimate() as u64, 4_500_000);
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut rate = Rate::new(1e6, 50e3, 100e6);
        for step in 0..200 {
            rate.update(&seen(step * 50, Usage::Normal, 100e3, 1));
        }
        assert_eq!(rate.estimate() as u64, 1_000_000);
    }
}
