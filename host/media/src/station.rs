//! Where a producer stands in one engine: its history, its seats (consumers here) and its relays (copies to
//! other places). A local producer and one that is relayed to here look the same from this point on.
//! Knows nothing of transports, keys or sockets. What its layers take is in `rates`.

mod rates;

use crate::history::History;
use crate::missing::{Missing, Noted, Pace};
use crate::replay::{Chain, Cursor};
use crate::watch::Watch;
use rates::Measured;
use std::time::{Duration, Instant};
use tidegate_types::producer::ProducerParameters;
use tidegate_types::relay::{
    ENCODINGS, LayerRates, MissingSet, RelayClock, RelayMessage, RelayPacket, RelayStats, SourceClock,
};
use tidegate_types::router::AudioLevel;
use tidegate_types::sharing::Portion;
use tidegate_types::{MediaPacket, Place, Pool, ProducerId, RelayId, RouterId};

/// At most one keyframe request an encoding in this time; more are folded into the next.
pub const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);
/// How long a request may go unanswered before it is taken for lost: a busy encoder needs this long, and would make
/// two keyframes of two requests.
pub const KEYFRAME_PATIENCE: Duration = Duration::from_millis(600);
/// An encoding that sent nothing for this long is not chosen.
const ALIVE: Duration = Duration::from_millis(1_500);
/// A keyframe request that comes so soon after a replay began crossed it on its way; its asker asks again if not.
const REPLAYED: Duration = Duration::from_millis(200);
/// Relay packets that can be sent again.
const SENT: usize = 1_024;
/// A producer that sent nothing for this long is reported silent.
const SILENT: Duration = Duration::from_secs(10);

/// One encoding as it stands here.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its last packets.
    pub history: History,
    /// Its publisher's clock.
    pub clock: Option<SourceClock>,
    last_packet: Option<Instant>,
    /// Where its last keyframe begins, and when that came here.
    keyframe: Option<(u64, Instant)>,
    /// A keyframe is wanted, and when one was last asked for.
    wanted: bool,
    asked: Option<Instant>,
}

impl Standing {
    fn may_ask(&self, now: Instant) -> bool {
        let Some(asked) = self.asked else { return true };
        let answered = self.keyframe.is_some_and(|(_, came)| came >= asked);
        let pause = if answered { KEYFRAME_INTERVAL } else { KEYFRAME_PATIENCE };
        now.saturating_duration_since(asked) >= pause
    }
}

/// Where the packets come from.
#[derive(Debug)]
pub enum Source {
    /// A transport of this engine (its slot) and the producer's index there.
    Local {
        /// Slot of the transport.
        transport: usize,
        /// Index of the producer in it.
        producer: u16,
    },
    /// Another place.
    Relay(RelaySink),
}

/// The receiving end of a relay.
#[derive(Debug)]
pub struct RelaySink {
    /// Which.
    pub id: RelayId,
    /// From where.
    pub from: Place,
    /// What is lacking.
    pub missing: Missing,
    /// Counters.
    pub stats: RelayStats,
    /// Which encodings send at the source, as bits.
    alive: u32,
    demanded: u32,
}

/// The sending end of a relay.
#[derive(Debug)]
pub struct RelaySource {
    /// Which.
    pub id: RelayId,
    /// To where.
    pub to: Place,
    /// Counters.
    pub stats: RelayStats,
    /// Which encodings are wanted there, as bits.
    pub demand: u32,
    next: u64,
    sent: Box<[(u64, u8)]>,
    /// Encodings that begin with what was held.
    replays: Vec<Cursor>,
    /// When each encoding's replay began last.
    replayed: [Option<Instant>; ENCODINGS],
    /// Something was sent since the tail was last told.
    untold: bool,
    /// `None` before anything was told: the far end answers what it wants.
    told_alive: Option<u32>,
}

impl RelaySource {
    /// A relay that has sent nothing; nothing is wanted until the far end says so.
    #[must_use]
    pub fn new(id: RelayId, to: Place) -> Self {
        Self {
            id,
            to,
            stats: RelayStats::default(),
            demand: 0,
            next: 0,
            sent: vec![(0, 0); SENT].into_boxed_slice(),
            replays: Vec::new(),
            replayed: [None; ENCODINGS],
            untold: false,
            told_alive: None,
        }
    }

    /// Numbers a packet for this relay; `None` if its encoding is not wanted there, or a replay will come to it.
    pub fn carry(&mut self, packet: &MediaPacket) -> Option<RelayPacket> {
        let waits = self.replays.iter().any(|replay| replay.withholds(packet));
        if waits || self.demand >> packet.encoding & 1 == 0 {
            return None;
        }
        let sequence = self.next;
        self.next += 1;
        self.untold = true;
        self.stats.packets += 1;
        self.sent[sequence as usize % SENT] = (packet.sequence, packet.encoding);
        #[cfg(feature = "broken-relay")]
        if sequence % 50 == 49 {
            // Deliberately wrong, for the simulation's own test: a packet is numbered but never carried.
            self.sent[sequence as usize % SENT] = (u64::MAX, packet.encoding);
            return None;
        }
        Some(RelayPacket { relay: self.id, sequence, repair: false, packet: packet.clone() })
    }

    /// Learns what is wanted there. What is wanted newly begins with its chain, where there is one. Returns whether
    /// there is.
    pub fn want(&mut self, encodings: u32, now: Instant, chain: impl Fn(u8) -> Option<Chain>) -> bool {
        let added = encodings & !self.demand;
        self.demand = encodings;
        self.replays.retain(|replay| encodings >> replay.encoding & 1 == 1);
        let before = self.replays.len();
        for encoding in (0..ENCODINGS as u8).filter(|encoding| added >> encoding & 1 == 1) {
            if let Some(chain) = chain(encoding) {
                self.replays.push(Cursor::new(encoding, &chain, now));
                self.replayed[usize::from(encoding)] = Some(now);
            }
        }
        self.replays.len() > before
    }

    /// An encoding that is not wanted there yet goes on where its receiver left off elsewhere.
    pub fn resume(&mut self, encoding: u8, sequence: u64, now: Instant) {
        if usize::from(encoding) < ENCODINGS && self.demand >> encoding & 1 == 0 {
            self.demand |= 1 << encoding;
            self.replays.push(Cursor::resume(encoding, sequence, now));
        }
    }

    /// Whether a keyframe request is answered by a replay that is under way.
    #[must_use]
    pub fn is_replaying(&self, encoding: u8, now: Instant) -> bool {
        let began = self.replayed.get(usize::from(encoding)).copied().flatten();
        began.is_some_and(|began| now.saturating_duration_since(began) < REPLAYED)
            || self.replays.iter().any(|replay| replay.encoding == encoding)
    }

    /// Moves on with what it replays; when it wants that again.
    pub fn replay(
        &mut self,
        encodings: &[Standing],
        now: Instant,
        mut each: impl FnMut(Place, RelayMessage),
    ) -> Option<Instant> {
        let mut at = 0;
        while let Some(cursor) = self.replays.get(at).copied() {
            let standing = encodings.get(usize::from(cursor.encoding));
            if cursor.due > now && standing.is_some() {
                at += 1;
                continue;
            }
            self.replays.swap_remove(at);
            let Some(standing) = standing else { continue };
            let (range, rest) = cursor.step(&standing.history, now);
            for packet in standing.history.from(range.start).take_while(|held| held.sequence < range.end) {
                if let Some(carried) = self.carry(packet) {
                    each(self.to, RelayMessage::Media(carried));
                }
            }
            self.replays.extend(rest);
        }
        self.replays.iter().map(|replay| replay.due).min()
    }

    /// What a relay sequence stood for: the producer's sequence and encoding.
    #[must_use]
    pub fn original(&self, sequence: u64) -> Option<(u64, u8)> {
        let age = self.next.checked_sub(sequence)?;
        (1..=SENT as u64).contains(&age).then(|| self.sent[sequence as usize % SENT])
    }
}

/// Someone here who consumes it: slot of the transport, index of the consumer in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Slot of the transport.
    pub transport: usize,
    /// Index of the consumer.
    pub consumer: usize,
}

/// Sums of one interval's audio levels.
#[derive(Clone, Copy, Debug, Default)]
struct LevelSum {
    packets: u32,
    level: u32,
    voice: u32,
}

/// A producer as it stands in one engine.
#[derive(Debug)]
pub struct Station {
    /// Whose.
    pub producer: ProducerId,
    /// In which router.
    pub router: RouterId,
    /// What it is.
    pub parameters: ProducerParameters,
    /// Where its packets come from.
    pub source: Source,
    /// Stopped at its source.
    pub paused: bool,
    /// Its encodings, lowest first.
    pub encodings: Vec<Standing>,
    /// Consumers here.
    pub seats: Vec<Seat>,
    /// Copies to other places.
    pub relays: Vec<RelaySource>,
    /// What its publisher was told of who watches; the source's business alone.
    watch: Watch,
    /// What comes, where it is sent.
    measured: Measured,
    /// What its layers take where they are sent.
    pub rates: LayerRates,
    /// Others of its room are louder: it is heard, but not forwarded from its source.
    pub hushed: bool,
    /// Its publisher holds the floor.
    pub speaks: bool,
    /// What a policy says it is worth, and until when that holds.
    pub told: Option<(Portion, Instant)>,
    levels: LevelSum,
    last_packet: Instant,
    reported_silent: bool,
}

impl Station {
    /// A station without seats.
    #[must_use]
    pub fn new(
        producer: ProducerId,
        router: RouterId,
        parameters: ProducerParameters,
        source: Source,
        now: Instant,
    ) -> Self {
        let encodings: Vec<Standing> = (0..parameters.rtp.encodings.len().clamp(1, ENCODINGS))
            .map(|_| Standing {
                history: History::new(parameters.kind),
                clock: None,
                last_packet: None,
                keyframe: None,
                wanted: false,
                asked: None,
            })
            .collect();
        let watch = Watch::new(encodings.len(), now);
        Self {
            producer,
            router,
            parameters,
            source,
            paused: false,
            encodings,
            seats: Vec::new(),
            relays: Vec::new(),
            watch,
            measured: Measured::new(now),
            rates: LayerRates::default(),
            hushed: false,
            speaks: false,
            told: None,
            levels: LevelSum::default(),
            last_packet: now,
            reported_silent: false,
        }
    }

    /// What a policy says it is worth, while that holds.
    #[must_use]
    pub fn portion(&self, now: Instant) -> Option<Portion> {
        self.told.filter(|(_, until)| now < *until).map(|(portion, _)| portion)
    }

    /// Leaves its seats to a stand-in that will be fed by `relay` from `to`, where those seats want `wanted`; what
    /// is left of this one is on its way there from `here`.
    pub fn part(&mut self, relay: RelayId, here: Place, to: Place, wanted: u32) -> Self {
        let alive = self.alive(self.last_packet);
        let sink = RelaySink { alive, demanded: wanted, ..RelaySink::new(relay, to) };
        self.relays.push(RelaySource { demand: wanted, ..RelaySource::new(relay, here) });
        let mut encodings = self.encodings.clone();
        for standing in &mut encodings {
            standing.wanted = false;
        }
        Self {
            producer: self.producer,
            router: self.router,
            parameters: self.parameters.clone(),
            source: Source::Relay(sink),
            paused: self.paused,
            encodings,
            seats: std::mem::take(&mut self.seats),
            relays: Vec::new(),
            watch: self.watch,
            measured: self.measured.clone(),
            rates: self.rates,
            hushed: self.hushed,
            speaks: self.speaks,
            told: self.told,
            levels: LevelSum::default(),
            last_packet: self.last_packet,
            reported_silent: self.reported_silent,
        }
    }

    /// Stands at `here` from now on. A relay to here has come to its end; the far ends of the others are told anew.
    pub fn arrive(&mut self, source: Source, here: Place) {
        self.source = source;
        self.relays.retain(|relay| relay.to != here);
        for relay in &mut self.relays {
            relay.told_alive = None;
            relay.untold = relay.next > 0;
        }
    }

    /// Takes over what sat at the stand-in that it replaces.
    pub fn adopt(&mut self, stand_in: Self) {
        self.seats.extend(stand_in.seats);
        self.relays.extend(stand_in.relays);
        for (standing, stood) in self.encodings.iter_mut().zip(stand_in.encodings) {
            standing.wanted |= stood.wanted;
        }
    }

    /// The publisher's clock of one encoding.
    #[must_use]
    pub fn clock(&self, encoding: u8) -> Option<SourceClock> {
        self.encodings.get(usize::from(encoding))?.clock
    }

    /// Which encodings send, as bits.
    #[must_use]
    pub fn alive(&self, now: Instant) -> u32 {
        if let Source::Relay(sink) = &self.source {
            return sink.alive;
        }
        self.encodings.iter().enumerate().fold(0, |bits, (index, standing)| {
            let recent = standing.last_packet.is_some_and(|at| now.saturating_duration_since(at) < ALIVE);
            bits | u32::from(recent) << index
        })
    }

    /// Notes that a packet came in. Returns whether its encoding was not alive before.
    pub fn note(&mut self, packet: &MediaPacket, now: Instant) -> bool {
        self.last_packet = packet.ingress;
        if let Some((level, voice)) = packet.extensions.audio_level {
            self.levels.packets += 1;
            self.levels.level += u32::from(level);
            self.levels.voice += u32::from(voice);
        }
        self.measured.note(packet, self.encodings.len());
        let Some(standing) = self.encodings.get_mut(usize::from(packet.encoding)) else { return false };
        if packet.keyframe {
            standing.wanted = false;
            standing.keyframe = standing.keyframe.max(Some((packet.sequence, now)));
        }
        let woke =
            standing.last_packet.is_none_or(|at| packet.ingress.saturating_duration_since(at) >= ALIVE);
        standing.last_packet = Some(packet.ingress);
        woke
    }

    /// Whether nothing is to be forwarded. What is hushed stops at its source alone: what still comes out of a relay
    /// was sent before.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.paused || self.hushed && matches!(self.source, Source::Local { .. })
    }

    /// Keeps the packet for those who may need it again.
    pub fn keep(&mut self, packet: MediaPacket, pool: &mut Pool) {
        if let Some(standing) = self.encodings.get_mut(usize::from(packet.encoding)) {
            match self.source {
                Source::Local { .. } => standing.history.insert(packet, pool),
                // Another shard's pool waits for these: only the reference is dropped.
                Source::Relay(_) => standing.history.insert(packet, &mut Pool::new(0)),
            }
        }
    }

    /// What a joiner can begin with: an encoding's packets since its last keyframe, if all of them are held.
    #[must_use]
    pub fn chain(&self, encoding: u8, now: Instant) -> Option<Chain> {
        let standing = self.encodings.get(usize::from(encoding)).filter(|_| !self.paused)?;
        Chain::find(&standing.history, standing.keyframe?.0, now)
    }

    /// Someone waits for a keyframe of this encoding. One that is just being routed is what it waits for.
    pub fn want_keyframe(&mut self, encoding: u8, now: Instant) {
        if let Some(standing) = self.encodings.get_mut(usize::from(encoding)) {
            standing.wanted |= standing.keyframe.is_none_or(|(_, came)| came != now);
        }
    }

    /// Whoever waited for a keyframe of an encoding that is needed no longer, waits no more. A relay would not bring it
    /// any more, and it would be asked for again and again.
    pub fn forget_unneeded(&mut self, needed: u32) {
        for (index, standing) in self.encodings.iter_mut().enumerate() {
            standing.wanted &= needed >> index & 1 == 1;
        }
    }

    /// Whether a keyframe of this encoding was asked for just now, or will be as soon as it may.
    #[must_use]
    pub fn is_asking(&self, encoding: u8, now: Instant) -> bool {
        let standing = self.encodings.get(usize::from(encoding));
        standing.is_some_and(|standing| standing.wanted || !standing.may_ask(now))
    }

    /// Calls `each` for every encoding whose keyframe is to be asked for now, and counts it as asked.
    pub fn ask_keyframes(&mut self, now: Instant, mut each: impl FnMut(u8)) {
        if self.paused {
            return;
        }
        for (index, standing) in self.encodings.iter_mut().enumerate() {
            if standing.wanted && standing.may_ask(now) {
                standing.asked = Some(now);
                each(index as u8);
            }
        }
    }

    /// The mean level since it was last taken; `None` where nothing was heard.
    pub fn take_level(&mut self) -> Option<AudioLevel> {
        let sum = std::mem::take(&mut self.levels);
        let level = sum.level.checked_div(sum.packets)? as u8;
        let voice = (sum.voice * 255 / sum.packets) as u8;
        (level < 127).then_some(AudioLevel { producer: self.producer, level, voice })
    }

    /// Whether the producer fell silent or came back since this was last asked; local ones only.
    pub fn silence_changed(&mut self, now: Instant) -> Option<bool> {
        let silent = !self.paused && now.saturating_duration_since(self.last_packet) >= SILENT;
        let changed = matches!(self.source, Source::Local { .. }) && silent != self.reported_silent;
        self.reported_silent = silent;
        changed.then_some(silent)
    }

    /// What every relay's far end is told from time to time: the tail, who sends, and the clocks. Calls `each`.
    pub fn tell_relays(&mut self, now: Instant, mut each: impl FnMut(Place, RelayMessage)) {
        let alive = self.alive(now);
        for relay in &mut self.relays {
            if std::mem::take(&mut relay.untold) {
                each(relay.to, RelayMessage::Highest { relay: relay.id, sequence: relay.next - 1 });
            }
            if relay.told_alive != Some(alive) {
                relay.told_alive = Some(alive);
                each(relay.to, RelayMessage::Alive { relay: relay.id, encodings: alive });
            }
        }
    }

    /// All clocks known here, for a relay that begins.
    pub fn clocks(&self, relay: RelayId) -> impl Iterator<Item = RelayMessage> + '_ {
        self.encodings.iter().enumerate().filter_map(move |(index, standing)| {
            let clock = standing.clock?;
            Some(RelayMessage::Clock(RelayClock { relay, encoding: index as u8, clock }))
        })
    }
}

impl RelaySink {
    /// A sink that has received nothing.
    #[must_use]
    pub fn new(id: RelayId, from: Place) -> Self {
        let mut missing = Missing::new(Pace::RELAY);
        missing.expect_from(0);
        Self { id, from, missing, stats: RelayStats::default(), alive: 0, demanded: 0 }
    }

    /// Takes one packet; `None` if it was had before.
    pub fn accept(&mut self, now: Instant, carried: RelayPacket) -> Option<MediaPacket> {
        if self.missing.note(now, carried.sequence) == Noted::Duplicate {
            return None;
        }
        self.stats.packets += 1;
        self.stats.repaired += u64::from(carried.repair);
        self.stats.lost = self.missing.given_up();
        Some(carried.packet)
    }

    /// Learns which encodings send.
    pub fn set_alive(&mut self, encodings: u32) {
        self.alive = encodings;
    }

    /// Notes what the seats need; the message for the source if that changed.
    pub fn demand(&mut self, encodings: u32) -> Option<RelayMessage> {
        let changed = self.demanded != encodings;
        self.demanded = encodings;
        changed.then_some(RelayMessage::Demand { relay: self.id, encodings })
    }

    /// Someone sat down here who was sent an encoding elsewhere; the message for the source, unless it comes anyway.
    pub fn resume(&mut self, encoding: u8, sequence: u64) -> Option<RelayMessage> {
        let known = self.demanded >> encoding & 1 == 1;
        self.demanded |= 1 << encoding;
        (!known).then_some(RelayMessage::Resume { relay: self.id, encoding, sequence })
    }

    /// The demand once more, in case it was lost.
    #[must_use]
    pub fn demand_again(&self) -> RelayMessage {
        RelayMessage::Demand { relay: self.id, encodings: self.demanded }
    }

    /// Asks for what is due, as much in one message as lies close together.
    pub fn ask(&mut self, now: Instant, mut each: impl FnMut(RelayMessage)) {
        let relay = self.id;
        let mut gathered: Option<MissingSet> = None;
        let mut count = 0;
        self.missing.ask(now, |sequence| {
            count += 1;
            let added = gathered.as_mut().is_some_and(|missing| missing.add(sequence));
            if !added && let Some(missing) = gathered.replace(MissingSet::new(sequence)) {
                each(RelayMessage::Nack { relay, missing });
            }
        });
        if let Some(missing) = gathered {
            each(RelayMessage::Nack { relay, missing });
        }
        self.stats.nacked += count;
        self.stats.lost = self.missing.given_up();
    }
}
