//! How much the way to one peer carries, and when a packet may leave: Google's congestion control
//! (draft-ietf-rmcat-gcc-02) over transport-wide feedback, with probes, and a pacer. REMB where the peer sends no
//! feedback. Knows nothing of tracks, layers or who gets what of it.
//!
//! ```text
//!            ┌─▶ pacer ─▶ not before                     ┌─▶ standing queue ─┐
//! packet ────┤                                           ├─▶ groups ─▶ trend ┼─▶ rate ──┐
//!            └─▶ sent (ring) ◀── feedback ─▶ arrivals ───┼─▶ meter ──────────┘    ▲     ├─ min ─▶ estimate
//!                                      └─▶ losses ─┐     └─▶ probes ──────────────┘     │
//!                                                  └────────────────────────▶ loss ─────┘
//! ```

mod feedback;
mod groups;
mod loss;
mod meter;
mod pacer;
mod probe;
mod rate;
mod repairs;
mod sent;
mod standing;
mod trend;

pub use feedback::{Feedback, Told};
pub use pacer::Lane;

use groups::Groups;
use loss::Loss;
use meter::Meter;
use pacer::Pacer;
use probe::Probes;
use rate::{Observed, Rate};
use repairs::Repairs;
use sent::{Arrived, Sent};
use standing::Standing;
use std::time::{Duration, Instant};
use tidegate_types::Bitrate;
use trend::{Trend, Usage};

/// What is believed before anything is known.
pub const START: Bitrate = Bitrate::from_kbps(600);
/// Until the peer tells anything packets are paced as if the way carried this: all layers are allowed then, and replays
/// run ahead of time, so what leaves in the first round trip would otherwise be a queue of seconds on a narrow way.
const OPENING: Bitrate = Bitrate::from_kbps(4_000);
/// Who has told nothing by then never will, and is not held back any longer.
const OPENING_US: i64 = 500_000;
/// The estimate's bounds.
const LEAST: Bitrate = Bitrate::from_kbps(50);
const MOST: Bitrate = Bitrate::from_kbps(100_000);
/// Rates are measured over this long; where less is known, or the queue grows, over less.
const SPAN_US: i64 = 500_000;
const SHORT_SPAN_US: i64 = 200_000;
const GROWING_US: i64 = 50_000;
/// Feedback that stays away for so long while packets fly means that the way is blocked.
const SILENCE_US: i64 = 1_000_000;
/// ... and takes this much of the estimate, each time that it is looked at.
const SILENCED: f64 = 0.8;
/// No probe while more is lost or a longer queue stands.
const PROBE_LOSS: f64 = 0.10;
const PROBE_QUEUE_US: i64 = 20_000;
/// Where nobody says what is wanted: this times what is sent.
const WANTED: f64 = 2.0;

/// Packets that most feedbacks tell of at most.
const FEW: usize = 64;

/// What the peer tells about the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// Its own estimate (draft-alvestrand-rmcat-remb-03).
    Remb(Bitrate),
    /// When each packet arrived.
    Feedback,
}

/// The way to one peer.
#[derive(Debug)]
pub struct Bandwidth {
    origin: Instant,
    heard: Heard,
    sent: Sent,
    sending: Meter,
    arriving: Meter,
    groups: Groups,
    trend: Trend,
    standing: Standing,
    rate: Rate,
    loss: Loss,
    probes: Probes,
    pacer: Pacer,
    repairs: Repairs,
    reference_us: Option<i64>,
    round_trip_us: i64,
    /// Since when packets fly that no feedback followed.
    unanswered_us: Option<i64>,
    wanted: Option<Bitrate>,
}

impl Bandwidth {
    /// A way that nothing is known of.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let bps = |rate: Bitrate| rate.bits_per_second() as f64;
        Self {
            origin: now,
            heard: Heard::Nothing,
            sent: Sent::default(),
            sending: Meter::default(),
            arriving: Meter::default(),
            groups: Groups::default(),
            trend: Trend::default(),
            standing: Standing::default(),
            rate: Rate::new(bps(START), bps(LEAST), bps(MOST)),
            loss: Loss::default(),
            probes: Probes::default(),
            pacer: Pacer::default(),
            repairs: Repairs::default(),
            reference_us: None,
            round_trip_us: 100_000,
            unanswered_us: None,
            wanted: None,
        }
    }

    /// What the way carries; `None` as long as the peer has told nothing about it.
    #[must_use]
    pub fn estimate(&self) -> Option<Bitrate> {
        let bps = match self.heard {
            Heard::Nothing => return None,
            Heard::Remb(rate) => rate.bits_per_second() as f64,
            Heard::Feedback => self.rate.estimate(),
        };
        let limited = self.loss.limit().map_or(bps, |limit| limit.min(bps)).max(bps_of(LEAST));
        Some(Bitrate::from_bps(limited as u64))
    }

    /// What would be sent if the way carried it; above the estimate it is probed for. `None`: nobody knows.
    pub fn want(&mut self, wanted: Option<Bitrate>) {
        self.wanted = wanted;
    }

    /// The queue on the way, as the last feedback told it.
    #[must_use]
    pub fn queue(&self) -> Duration {
        Duration::from_micros(self.standing.queue_us().max(0) as u64)
    }

    /// Padding sent so far, in bytes.
    #[must_use]
    pub fn padding_bytes(&self) -> u64 {
        self.probes.sent_bytes
    }

    /// Packets that waited for their time so far.
    #[must_use]
    pub fn waited(&self) -> u64 {
        self.pacer.waited
    }

    /// Notes a packet of so many bytes that is ready at `now`, and says when it may leave. `sequence` is its
    /// transport-wide number, if it has one.
    #[inline]
    pub fn sent(&mut self, now: Instant, sequence: Option<u16>, bytes: usize, lane: Lane) -> Instant {
        if sequence.is_none() && self.heard == Heard::Nothing {
            return now;
        }
        let now_us = self.micros(now);
        if self.heard == Heard::Nothing {
            self.open(now_us);
        }
        let at_us = self.pacer.stamp(now_us, bytes, lane);
        if let Some(sequence) = sequence {
            self.note(at_us, sequence, bytes);
        }
        if at_us == now_us { now } else { self.origin + Duration::from_micros(at_us as u64) }
    }

    /// A packet leaves that the peer could tell of, and has told of none so far.
    fn open(&mut self, now_us: i64) {
        match self.unanswered_us {
            None => {
                self.pacer.set(Some(bps_of(OPENING)));
                self.probes.open(now_us);
            }
            // What waits is not overtaken.
            Some(since) if now_us - since > OPENING_US => self.pacer.set(Some(f64::INFINITY)),
            Some(_) => {}
        }
    }

    /// Whether so many bytes may go out again now: repairs take a share of the estimate.
    pub fn admits_repair(&mut self, now: Instant, bytes: usize) -> bool {
        let now_us = self.micros(now);
        self.repairs.admit(now_us, bytes)
    }

    #[expect(clippy::cast_possible_truncation)]
    fn note(&mut self, at_us: i64, sequence: u16, bytes: usize) {
        self.sent.note(sequence, at_us, bytes);
        self.sending.add(at_us, bytes as u32);
        self.unanswered_us.get_or_insert(at_us);
    }

    /// When the next packet of padding is to leave, if one is to be written now. Follow up with
    /// [`Bandwidth::padded`], or with [`Bandwidth::stop_padding`] if there is nothing to pad.
    pub fn padding(&mut self, now: Instant) -> Option<Instant> {
        let now_us = self.micros(now);
        let at_us = self.probes.padding(now_us)?;
        Some(self.origin + Duration::from_micros(at_us as u64))
    }

    /// Notes a packet of padding that leaves at `at`.
    pub fn padded(&mut self, at: Instant, sequence: u16, bytes: usize) {
        let at_us = self.micros(at);
        self.note(at_us, sequence, bytes);
        self.probes.padded(at_us, bytes);
    }

    /// Nothing can be padded.
    pub fn stop_padding(&mut self) {
        self.probes.stop();
    }

    /// When padding is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let due_us = self.probes.due_us(0)?;
        Some(self.origin + Duration::from_micros(due_us.max(0) as u64))
    }

    /// Looks whether feedback stays away. Call it a few times a second.
    pub fn look(&mut self, now: Instant) {
        let now_us = self.micros(now);
        let silent = self.unanswered_us.is_some_and(|since| now_us - since > SILENCE_US);
        if silent && self.heard == Heard::Feedback {
            self.rate.cap(self.rate.estimate() * SILENCED);
            self.probes.stop();
            self.pace();
        }
    }

    /// The peer's own estimate. Feedback outweighs it.
    pub fn remb(&mut self, rate: Bitrate) {
        if self.heard != Heard::Feedback {
            self.heard = Heard::Remb(rate.clamp(LEAST, MOST));
            self.pace();
        }
    }

    /// A receiver report's loss, in 1/256: counts where there is no feedback.
    pub fn report(&mut self, now: Instant, fraction_lost: u8) {
        if let Heard::Remb(rate) = self.heard {
            self.loss.count(256, i32::from(fraction_lost));
            self.loss.judge(self.micros(now), bps_of(rate), i64::MAX);
            self.pace();
        }
    }

    /// Transport-wide feedback, from the base sequence on.
    pub fn feedback(&mut self, now: Instant, information: &[u8]) {
        let Some(feedback) = Feedback::read(information) else { return };
        let now_us = self.micros(now);
        let reference_us = feedback.reference_us(self.reference_us);
        self.reference_us = Some(reference_us);
        let first = self.heard != Heard::Feedback;
        self.unanswered_us = None;
        self.take(now_us, reference_us, &feedback);
        if first {
            self.heard = Heard::Feedback;
            if let Some(found) = self.probes.close() {
                self.rate.raise(found);
            }
            self.probes.begin(now_us, bps_of(START), self.rate.estimate());
        }
        self.judge(now_us);
        self.pace();
    }

    /// What a feedback says about each packet. The room for it is the stack's, for most feedbacks tell of few: kept, it
    /// would be the largest part of a transport.
    fn take(&mut self, now_us: i64, reference_us: i64, feedback: &Feedback<'_>) {
        if feedback.count() <= FEW {
            self.take_up_to::<FEW>(now_us, reference_us, feedback);
        } else {
            self.take_up_to::<{ sent::REMEMBERED }>(now_us, reference_us, feedback);
        }
    }

    #[inline(never)]
    fn take_up_to<const MOST: usize>(&mut self, now_us: i64, reference_us: i64, feedback: &Feedback<'_>) {
        let mut space = [Arrived::default(); MOST];
        let (mut came, mut told, mut lost, mut complete) = (0, 0, 0, true);
        for (sequence, at_us) in feedback.arrivals() {
            let Some(at_us) = at_us else {
                complete = false;
                continue;
            };
            if let Some((arrived, was_lost)) = self.sent.arrived(now_us, sequence, reference_us + at_us) {
                // Nothing is news twice, so there is always room.
                let Some(vacant) = space.get_mut(came) else { break };
                *vacant = arrived;
                came += 1;
                told += u32::from(!was_lost);
                lost -= i32::from(was_lost);
            }
        }
        let fresh = &mut space[..came];
        // Paced packets leave later than their numbers say.
        fresh.sort_unstable_by_key(|arrived| arrived.sent_us);
        if let Some(newest) = fresh.last().filter(|_| !complete) {
            let missing = feedback.arrivals().filter(|(_, at_us)| at_us.is_none());
            let is_lost = |(sequence, _): &(u16, _)| self.sent.missing(now_us, *sequence, newest.sent_us);
            let gone = missing.filter(is_lost).count();
            told += gone as u32;
            lost += gone as i32;
        }
        self.loss.count(told, lost);
        for arrived in &*fresh {
            self.arriving.add(arrived.arrival_us, arrived.bytes);
            self.probes.note(arrived);
            if let Some(delta) = self.groups.add(arrived.sent_us, arrived.arrival_us) {
                self.trend.update(delta);
            }
        }
        if let Some(least) = fresh.iter().map(|arrived| arrived.arrival_us - arrived.sent_us).min() {
            self.standing.note(now_us, least);
        }
        if let Some(newest) = fresh.last() {
            let round_trip_us = (now_us - newest.sent_us).clamp(0, 5_000_000);
            self.round_trip_us += (round_trip_us - self.round_trip_us) / 8;
        }
    }

    fn judge(&mut self, now_us: i64) {
        let queue_us = self.standing.queue_us();
        let usage = self.trend.usage();
        let seen = Observed {
            now_us,
            usage,
            arriving: self.arriving_now(usage, queue_us),
            arrived: self.arriving.rate(SPAN_US),
            sending: self.sending.rate_at(now_us, SPAN_US),
            queue_us,
            round_trip_us: self.round_trip_us,
        };
        self.rate.update(&seen);
        if self.rate.drains() {
            // What is lost now was sent at a rate that is history.
            self.loss.forget();
        }
        self.loss.judge(now_us, self.rate.estimate(), queue_us);
        let estimate = self.estimate().map_or(0.0, bps_of);
        let wanted = self.wanted.map_or_else(|| seen.sending.unwrap_or(0.0) * WANTED, bps_of);
        if let Some(found) = self.probes.judge(now_us, wanted)
            && usage != Usage::Over
        {
            self.rate.raise(found);
        }
        let calm = usage == Usage::Normal
            && queue_us < PROBE_QUEUE_US
            && self.loss.fraction() < PROBE_LOSS
            && !self.rate.recovers(now_us);
        if calm {
            self.probes.plan(now_us, estimate, wanted);
        }
    }

    /// What arrives. While the queue grows the last moments count: the way may have become narrower.
    fn arriving_now(&self, usage: Usage, queue_us: i64) -> Option<f64> {
        let long = self.arriving.rate(SPAN_US);
        let short = self.arriving.rate(SHORT_SPAN_US);
        match (long, short) {
            (Some(long), Some(short)) if usage == Usage::Over || queue_us > GROWING_US => {
                Some(long.min(short))
            }
            (long, short) => long.or(short),
        }
    }

    fn pace(&mut self) {
        let estimate = self.estimate().map(bps_of);
        self.pacer.set(estimate);
        self.repairs.set(estimate);
    }

    fn micros(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.origin);
        (since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())) as i64
    }
}

fn bps_of(rate: Bitrate) -> f64 {
    rate.bits_per_second() as f64
}
