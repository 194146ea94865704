//! Who sends over a link: a call whose rate follows the estimator under test, with a receiver that tells it back
//! what arrived; and rivals that know nothing of it.

use super::chance::Chance;
use super::link::{Fate, Link};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};
use tidegate_media::arrivals::Arrivals;
use tidegate_media::bandwidth::{Bandwidth, Lane};
use tidegate_media::share::{Claim, Ladder, Rung, Share, divide};
use tidegate_types::Bitrate;
use tidegate_types::consumer::LayerPreference;

const PACKET_BYTES: usize = 1_200;
const SOUND_BYTES: usize = 110;
const PADDING_BYTES: usize = 300;
pub(crate) const SOUND_BPS: f64 = SOUND_BYTES as f64 * 8.0 * 50.0;
const FRAME: f64 = 1.0 / 30.0;
/// How often an engine divides.
const SHARED: f64 = 0.2;

/// What a call has to send.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Pictures at whatever rate the estimate allows, up to so many kbit/s.
    Elastic(f64),
    /// So many people's sound, and their pictures, each in layers of so many kbit/s, as an engine divides them. Up to
    /// each frame rate but the best, a layer takes such a part of it.
    Layers { people: usize, layers: Vec<f64>, frames: Vec<f64> },
}

/// What one person's pictures may be given: of the smallest all frame rates, of larger ones half of the best.
pub(crate) fn ladder(layers: &[f64], frames: &[f64]) -> Ladder {
    let mut ladder = Ladder::default();
    for (size, kbps) in layers.iter().enumerate() {
        let lowest = if size == 0 { 0 } else { frames.len().saturating_sub(1) };
        for rate in lowest..=frames.len() {
            let temporal = if rate == frames.len() { u8::MAX } else { rate as u8 };
            let part = frames.get(rate).copied().unwrap_or(1.0);
            let layer = LayerPreference { spatial: size as u8, temporal };
            ladder.push(Rung { layer, kbps: (kbps * part) as u64 });
        }
    }
    ladder
}

impl Source {
    /// What one person's pictures may take, lowest first, in kbit/s.
    pub(crate) fn rungs(&self) -> Vec<f64> {
        match self {
            Self::Elastic(most) => vec![*most],
            Self::Layers { layers, frames, .. } => {
                ladder(layers, frames).rungs().iter().map(|rung| rung.kbps as f64).collect()
            }
        }
    }
}

/// Something that is to happen at a time.
struct Due<T>(f64, u64, T);

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<T> Eq for Due<T> {}
impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Due<T> {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

/// Things to come, in order of time, then of creation.
struct Agenda<T>(BinaryHeap<Due<T>>, u64);

impl<T> Agenda<T> {
    fn new() -> Self {
        Self(BinaryHeap::new(), 0)
    }
    fn add(&mut self, at: f64, what: T) {
        self.1 += 1;
        self.0.push(Due(at, self.1, what));
    }
    fn next(&mut self, now: f64) -> Option<(f64, T)> {
        if self.0.peek()?.0 > now {
            return None;
        }
        self.0.pop().map(|Due(at, _, what)| (at, what))
    }
}

/// Anything that sends over the link.
pub(crate) trait Flow {
    /// Takes what has come back by `now`, and hands over what leaves by then.
    fn run(&mut self, now: f64, leaving: &mut Vec<(f64, usize, u64)>);
    /// What became of a packet.
    fn fate(&mut self, sent_at: f64, tag: u64, bytes: usize, fate: Fate);
    /// Bytes delivered, each with the time of arrival.
    fn delivered(&self) -> &[(f64, usize)];
}

/// A call with the estimator under test.
pub(crate) struct Call {
    pub(crate) bandwidth: Bandwidth,
    source: Source,
    origin: Instant,
    back: f64,
    sequence: u64,
    waiting: Agenda<(usize, u64)>,
    arriving: Agenda<u64>,
    feedback: Agenda<Vec<u8>>,
    arrivals: Arrivals,
    next_frame: f64,
    next_sound: f64,
    next_look: f64,
    chance: Chance,
    target: f64,
    chosen: Chosen,
    delivered: Vec<(f64, usize)>,
    /// Arrival, and how long it stood in the queue.
    pub(crate) queued: Vec<(f64, f64)>,
    begins: f64,
}

/// The layers in use.
#[derive(Default)]
struct Chosen {
    shares: Vec<Share>,
    /// When whose layer changed, and whether upwards.
    changes: Vec<(f64, usize, bool)>,
    /// When it is divided next.
    next: f64,
}

impl Call {
    pub(crate) fn new(source: Source, back: f64, begins: f64, seed: u64) -> Self {
        let origin = Instant::now();
        Self {
            bandwidth: Bandwidth::new(origin),
            source,
            origin,
            back,
            sequence: 0,
            waiting: Agenda::new(),
            arriving: Agenda::new(),
            feedback: Agenda::new(),
            arrivals: Arrivals::new(origin),
            next_frame: begins,
            next_sound: begins,
            next_look: begins,
            chance: Chance::new(seed),
            target: 300e3,
            chosen: Chosen::default(),
            delivered: Vec::new(),
            queued: Vec::new(),
            begins,
        }
    }

    fn instant(&self, at: f64) -> Instant {
        self.origin + Duration::from_secs_f64(at)
    }

    pub(crate) fn estimate(&self) -> f64 {
        self.bandwidth.estimate().map_or(0.0, |rate| rate.bits_per_second() as f64)
    }

    /// What the pictures may take now.
    pub(crate) fn target(&self) -> f64 {
        self.target
    }

    fn send(&mut self, now: f64, bytes: usize, lane: Lane) {
        let sequence = self.sequence;
        self.sequence += 1;
        let leaves = self.bandwidth.sent(self.instant(now), Some(sequence as u16), bytes, lane);
        self.waiting.add((leaves - self.origin).as_secs_f64(), (bytes, sequence));
    }

    fn pad(&mut self, now: f64) {
        while let Some(at) = self.bandwidth.padding(self.instant(now)) {
            let sequence = self.sequence;
            self.sequence += 1;
            self.bandwidth.padded(at, sequence as u16, PADDING_BYTES);
            self.waiting.add((at - self.origin).as_secs_f64(), (PADDING_BYTES, sequence));
        }
    }

    /// How many people are heard.
    fn sounds(&self) -> usize {
        match &self.source {
            Source::Elastic(_) => 1,
            Source::Layers { people, .. } => *people,
        }
    }

    fn choose(&mut self, now: f64) {
        let sound = SOUND_BPS * self.sounds() as f64;
        let budget = self.estimate() - sound;
        let instant = self.instant(now);
        match &self.source {
            Source::Elastic(most) => {
                self.bandwidth.want(Some(Bitrate::from_bps((most * 1e3 + sound) as u64)));
                // An encoder follows with some inertia downwards, too.
                let wanted = budget.clamp(50e3, most * 1e3);
                self.target += 0.5 * (wanted - self.target);
            }
            Source::Layers { people, layers, frames } => {
                if now < self.chosen.next {
                    return;
                }
                self.chosen.next = now + SHARED;
                self.chosen.shares.resize(*people, Share::default());
                let ladder = ladder(layers, frames);
                let room = Bitrate::from_bps(budget.max(0.0) as u64);
                let (given, wanted) = self.chosen.divide(instant, now, ladder, room);
                self.target = given.bits_per_second() as f64;
                self.bandwidth.want(Some(Bitrate::from_bps(wanted.bits_per_second() + sound as u64)));
            }
        }
    }

    fn frames(&mut self, now: f64) {
        while self.next_frame <= now {
            let at = self.next_frame;
            self.next_frame += FRAME;
            self.choose(at);
            let noise = self.chance.between(0.8, 1.2);
            let mut bytes = (self.target * FRAME / 8.0 * noise) as usize;
            while bytes > 0 {
                let packet = bytes.min(PACKET_BYTES);
                self.send(at, packet + 30, Lane::Video);
                bytes -= packet;
            }
        }
        while self.next_sound <= now {
            let at = self.next_sound;
            self.next_sound += 0.02;
            for _ in 0..self.sounds() {
                self.send(at, SOUND_BYTES, Lane::Audio);
            }
        }
    }

    fn receive(&mut self, now: f64) {
        while let Some((at, sequence)) = self.arriving.next(now) {
            let instant = self.instant(at);
            self.arrivals.note(sequence as u16, instant);
        }
        let instant = self.instant(now);
        while self.arrivals.due().is_some_and(|due| due <= instant) {
            let mut space = [0; 1_000];
            let Some(length) = self.arrivals.feedback(instant, &mut space) else { break };
            self.feedback.add(now + self.back, space[..length].to_vec());
        }
        while let Some((at, information)) = self.feedback.next(now) {
            let instant = self.instant(at);
            self.bandwidth.feedback(instant, &information);
        }
        if self.next_look <= now {
            self.next_look += 0.5;
            self.bandwidth.look(instant);
        }
    }

    pub(crate) fn layer_changes(&self) -> &[(f64, usize, bool)] {
        &self.chosen.changes
    }
}

impl Chosen {
    /// Divides what there is beside the sound among the pictures, as an engine does. Returns what they take, and what
    /// they would if everyone had all.
    fn divide(&mut self, now: Instant, at: f64, ladder: Ladder, room: Bitrate) -> (Bitrate, Bitrate) {
        let claim = |(person, share): (usize, &Share)| Claim::new(person, 1, ladder, *share);
        let mut claims: Vec<Claim> = self.shares.iter().enumerate().map(claim).collect();
        let division = divide(now, room.kbps(), &mut claims);
        let height = |share: Share| share.layer.map(|layer| (layer.spatial, layer.temporal));
        for (person, (share, claim)) in self.shares.iter_mut().zip(&claims).enumerate() {
            if height(claim.share) != height(*share) {
                self.changes.push((at, person, height(claim.share) > height(*share)));
            }
            *share = claim.share;
        }
        (Bitrate::from_kbps(division.given_kbps), Bitrate::from_kbps(division.wanted_kbps))
    }
}

impl Flow for Call {
    fn run(&mut self, now: f64, leaving: &mut Vec<(f64, usize, u64)>) {
        if now < self.begins {
            return;
        }
        self.receive(now);
        self.frames(now);
        self.pad(now);
        while let Some((at, (bytes, sequence))) = self.waiting.next(now) {
            leaving.push((at, bytes, sequence));
        }
    }

    fn fate(&mut self, _sent_at: f64, tag: u64, bytes: usize, fate: Fate) {
        if let Fate::Arrives { at, queued } = fate {
            self.arriving.add(at, tag);
            self.delivered.push((at, bytes));
            self.queued.push((at, queued));
        }
    }

    fn delivered(&self) -> &[(f64, usize)] {
        &self.delivered
    }
}

/// Sends at a constant rate between two times.
pub(crate) struct Constant {
    bps: f64,
    next: f64,
    ends: f64,
    delivered: Vec<(f64, usize)>,
}

impl Constant {
    pub(crate) fn new(kbps: f64, begins: f64, ends: f64) -> Self {
        Self { bps: kbps * 1e3, next: begins, ends, delivered: Vec::new() }
    }
}

impl Flow for Constant {
    fn run(&mut self, now: f64, leaving: &mut Vec<(f64, usize, u64)>) {
        while self.next <= now && self.next < self.ends {
            leaving.push((self.next, PACKET_BYTES, 0));
            self.next += PACKET_BYTES as f64 * 8.0 / self.bps;
        }
    }
    fn fate(&mut self, _sent_at: f64, _tag: u64, bytes: usize, fate: Fate) {
        if let Fate::Arrives { at, .. } = fate {
            self.delivered.push((at, bytes));
        }
    }
    fn delivered(&self) -> &[(f64, usize)] {
        &self.delivered
    }
}

/// A download that fills queues: a window that grows by one packet a round trip and halves at a loss (RFC 5681).
pub(crate) struct Download {
    window: f64,
    threshold: f64,
    flying: f64,
    begins: f64,
    back: f64,
    calm_until: f64,
    /// Acknowledgements (true) and losses (false), with when the packet was sent.
    news: Agenda<(bool, f64)>,
    delivered: Vec<(f64, usize)>,
}

impl Download {
    pub(crate) fn new(begins: f64, back: f64) -> Self {
        Self {
            window: 10.0,
            threshold: f64::INFINITY,
            flying: 0.0,
            begins,
            back,
            calm_until: 0.0,
            news: Agenda::new(),
            delivered: Vec::new(),
        }
    }

    fn hear(&mut self, at: f64, arrived: bool, sent_at: f64) {
        self.flying -= 1.0;
        if arrived {
            self.window += if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
        } else if sent_at >= self.calm_until {
            self.window = (self.window / 2.0).max(2.0);
            self.threshold = self.window;
            self.calm_until = at;
        }
    }
}

impl Flow for Download {
    fn run(&mut self, now: f64, leaving: &mut Vec<(f64, usize, u64)>) {
        if now < self.begins {
            return;
        }
        while let Some((at, (arrived, sent_at))) = self.news.next(now) {
            self.hear(at, arrived, sent_at);
        }
        while self.flying < self.window {
            self.flying += 1.0;
            leaving.push((now, PACKET_BYTES, 0));
        }
    }
    fn fate(&mut self, sent_at: f64, _tag: u64, bytes: usize, fate: Fate) {
        match fate {
            Fate::Arrives { at, .. } => {
                self.news.add(at + self.back, (true, sent_at));
                self.delivered.push((at, bytes));
            }
            Fate::Lost => self.news.add(sent_at + 2.0 * self.back + 0.05, (false, sent_at)),
        }
    }
    fn delivered(&self) -> &[(f64, usize)] {
        &self.delivered
    }
}

/// Runs flows over one link for so long, a millisecond at a time; calls `sample` each 50 ms.
pub(crate) fn run(
    link: &mut Link,
    call: &mut Call,
    rivals: &mut [Box<dyn Flow>],
    seconds: f64,
    mut sample: impl FnMut(f64, &Call),
) {
    let mut leaving = Vec::new();
    let mut batch: Vec<(f64, usize, u64, usize)> = Vec::new();
    for millisecond in 1..=(seconds * 1e3) as u64 {
        let now = millisecond as f64 / 1e3;
        batch.clear();
        for index in 0..=rivals.len() {
            leaving.clear();
            flow(call, rivals, index).run(now, &mut leaving);
            batch.extend(leaving.iter().map(|(at, bytes, tag)| (*at, *bytes, *tag, index)));
        }
        batch.sort_by(|one, other| one.0.total_cmp(&other.0));
        for (at, bytes, tag, index) in batch.iter().copied() {
            let fate = link.enter(at.max(now - 1e-3), bytes);
            flow(call, rivals, index).fate(at, tag, bytes, fate);
        }
        if millisecond % 50 == 0 {
            sample(now, call);
        }
    }
}

fn flow<'a>(call: &'a mut Call, rivals: &'a mut [Box<dyn Flow>], index: usize) -> &'a mut dyn Flow {
    match index.checked_sub(1) {
        None => call,
        Some(rival) => rivals[rival].as_mut(),
    }
}
