//! One shard's engine: finds each datagram's transport and carries its packets through
//! `open → accept → route(each seat: select → rewrite → seal)`. Knows nothing of sockets, threads, rooms or
//! policies.
//!
//! ```text
//! datagrams ─ demux ─ association.receive ─┬─ RTP ── producer.accept ─ route ─┬─ seats ── transport.send ─ datagrams
//!                                          ├─ RTCP ─ feedback                 ├─ relays ─ crossings
//! crossings ─ relay sink.accept ───────────┴─────────────────────── route ────┴─ history
//! ```

mod checks;
mod commands;
mod data;
mod feedback;
mod flows;
mod heard;
mod housekeeping;
mod moves;
mod relays;
mod replay;
mod routes;
mod sharing;
mod shedding;
mod uploads;

use crate::association::{AssociationConfig, AssociationEvent, Received};
use crate::io::{Crossing, Incoming, Output, Secrets};
use crate::producer::{Accepted, StreamKey};
use crate::rtp::Header;
use crate::shed::{Level, Shedder};
use crate::station::{Source, Station};
use crate::transport::Transport;
use routes::{Route, Routes};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::Instant;
use tidegate_types::command::Command;
use tidegate_types::relay::RelayMessage;
use tidegate_types::report::Report;
use tidegate_types::transport::{Candidate, TransportState};
use tidegate_types::{MediaKind, MediaPacket, Now, Place, Pool, ProducerId, RelayId, RouterId, TransportId};

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Buffers that the pool keeps: 16 MiB.
const POOL_BUFFERS: usize = 8_192;

/// What floods of feedback are counted as; known from the start, so that none of them makes the map grow.
const FLOODS: [&str; 2] = [REPAIR_FLOOD, FOLDED];
/// Retransmissions beyond a consumer's bound.
const REPAIR_FLOOD: &str = "repair-flood";
/// Keyframe requests that one under way answers.
const FOLDED: &str = "keyframe-request-folded";

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The place that it serves.
    pub place: Place,
    /// How many shards its node has; ufrags of others are handed over.
    pub shards: u16,
    /// What its transports announce.
    pub candidates: Vec<Candidate>,
    /// Certificate and allowed SRTP profiles.
    pub association: AssociationConfig,
    /// Transports that may stand here at most.
    pub max_transports: usize,
}

/// Counters of an engine, for load reports and metrics.
#[derive(Clone, Debug, Default)]
pub struct EngineCounters {
    /// Transports that stand here.
    pub transports: u64,
    /// Consumers that stand here.
    pub consumers: u64,
    /// How much is shed now, as [`crate::shed::Level::number`] tells it.
    pub shed_level: u64,
    /// Packets that were not forwarded to someone because of it, since the start.
    pub shed_packets: u64,
    /// Dropped datagrams by kind, since the start.
    pub dropped: Vec<(&'static str, u64)>,
}

/// What an engine holds: all of it is nothing once everyone has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Transports that stand here.
    pub transports: usize,
    /// Producers that stand here, and stand-ins of relayed ones.
    pub producers: usize,
    /// Consumers with a seat at a producer.
    pub consumers: usize,
    /// Ends of relays.
    pub relays: usize,
    /// Flows and user names that lead to a transport, here or at another shard.
    pub routes: usize,
    /// Routers whose messages go to other places, and messages kept for those who arrive.
    pub messages: usize,
    /// Deadlines of transports that stand here.
    pub deadlines: usize,
    /// Packets under way from history to someone who joined.
    pub replays: usize,
}

/// One shard's engine.
pub struct Engine {
    config: EngineConfig,
    secrets: Box<dyn Secrets>,
    output: Output,
    pool: Pool,
    transports: Vec<Option<Box<Transport>>>,
    transport_ids: BTreeMap<TransportId, usize>,
    stations: Vec<Option<Station>>,
    station_ids: BTreeMap<ProducerId, usize>,
    relay_sources: BTreeMap<RelayId, usize>,
    relay_sinks: BTreeMap<RelayId, usize>,
    routes: Routes,
    deadlines: BinaryHeap<Reverse<(Instant, usize)>>,
    housekeeping: Option<Instant>,
    housekept: u64,
    replays: replay::Replays,
    sharing: sharing::Sharing,
    shedder: Shedder,
    shed_packets: u64,
    dropped: BTreeMap<&'static str, u64>,
    /// Who is where, and who else is told, for messages.
    data: data::Rooms,
    /// Reused: seats whose consumer began a new segment with the packet being routed.
    switched: Vec<usize>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Engine({}, {} transports)", self.config.place, self.transport_ids.len())
    }
}

impl Engine {
    /// An engine without transports.
    #[must_use]
    pub fn new(config: EngineConfig, mut secrets: Box<dyn Secrets>) -> Self {
        let mut key = [0; 8];
        secrets.fill(&mut key);
        let hasher = foldhash::fast::FixedState::with_seed(u64::from_ne_bytes(key));
        let routes = Routes::new(config.place.shard, config.shards, &hasher);
        Self {
            config,
            secrets,
            output: Output::default(),
            pool: Pool::new(POOL_BUFFERS),
            transports: Vec::new(),
            transport_ids: BTreeMap::new(),
            stations: Vec::new(),
            station_ids: BTreeMap::new(),
            relay_sources: BTreeMap::new(),
            relay_sinks: BTreeMap::new(),
            routes,
            deadlines: BinaryHeap::new(),
            housekeeping: None,
            housekept: 0,
            replays: replay::Replays::default(),
            sharing: sharing::Sharing::default(),
            shedder: Shedder::default(),
            shed_packets: 0,
            dropped: FLOODS.into_iter().map(|kind| (kind, 0)).collect(),
            data: data::Rooms::default(),
            switched: Vec::new(),
        }
    }

    /// Where receive buffers come from and go back to.
    pub fn pool(&mut self) -> &mut Pool {
        &mut self.pool
    }

    /// One command of the directory; its reply appears in the output.
    pub fn command(&mut self, now: Now, command: Command) {
        self.run_command(now, command);
    }

    /// A batch of received datagrams, drained.
    pub fn receive(&mut self, now: Now, batch: &mut Vec<Incoming>) {
        for incoming in batch.drain(..) {
            self.receive_one(now, incoming);
        }
    }

    /// Something from another shard.
    pub fn cross(&mut self, now: Now, from: Place, crossing: Crossing) {
        match crossing {
            Crossing::Datagram(incoming) => {
                let tuple = incoming.tuple;
                if !self.receive_one(now, incoming) {
                    // Whoever handed it over is to do so no more, until a check says otherwise.
                    let nobody = Crossing::Forget { ufrags: Vec::new(), flows: vec![tuple] };
                    self.output.crossings.push((from, nobody));
                }
            }
            Crossing::Relay(message) => self.receive_relay(now, from, message),
            Crossing::Message { router, number, message } => {
                self.hear_message(now, router, (from, number), &message);
            }
            Crossing::Transport(departure) => self.arrive(now, *departure),
            Crossing::Forget { ufrags, flows } => self.routes.end_foreign(&ufrags, &flows),
        }
    }

    /// When [`Engine::timeout`] wants to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let transport = self.deadlines.peek().map(|Reverse((at, _))| *at);
        [transport, self.housekeeping, self.replays.due].into_iter().flatten().min()
    }

    /// What is to be done; the owner drains it.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Counters.
    #[must_use]
    pub fn counters(&self) -> EngineCounters {
        let mut counters = EngineCounters::default();
        self.count_into(&mut counters);
        counters
    }

    /// Counters into memory that is reused.
    pub fn count_into(&self, counters: &mut EngineCounters) {
        counters.transports = self.transport_ids.len() as u64;
        counters.consumers = self.stations.iter().flatten().map(|station| station.seats.len() as u64).sum();
        counters.shed_level = u64::from(self.shedder.level().number());
        counters.shed_packets = self.shed_packets;
        counters.dropped.clear();
        let known = self.dropped.iter().filter(|(_, count)| **count > 0);
        counters.dropped.extend(known.map(|(kind, count)| (*kind, *count)));
    }

    /// What is held just now.
    #[must_use]
    pub fn held(&self) -> Held {
        Held {
            transports: self.transport_ids.len(),
            producers: self.station_ids.len(),
            consumers: self.stations.iter().flatten().map(|station| station.seats.len()).sum(),
            relays: self.relay_sources.len() + self.relay_sinks.len(),
            routes: self.routes.len(),
            messages: self.data.len(),
            deadlines: self.deadlines.iter().filter(|Reverse((at, slot))| self.awaits(*slot, *at)).count(),
            replays: self.replays.len(),
        }
    }

    /// Whether a transport stands in this slot that still wants to be called at this time.
    fn awaits(&self, slot: usize, at: Instant) -> bool {
        self.transports.get(slot).and_then(Option::as_ref).is_some_and(|one| one.armed == Some(at))
    }

    fn drop_datagram(&mut self, kind: &'static str, incoming: Incoming) {
        *self.dropped.entry(kind).or_default() += 1;
        self.pool.put(incoming.buffer);
    }

    /// Whether it was somebody's.
    fn receive_one(&mut self, now: Now, mut incoming: Incoming) -> bool {
        let slot = match self.routes.find(&incoming) {
            Ok(Route::Here(slot)) => slot,
            Ok(Route::Shard(shard)) => {
                let place = Place { shard, ..self.config.place };
                self.output.crossings.push((place, Crossing::Datagram(incoming)));
                return true;
            }
            Err(kind) => {
                self.drop_datagram(kind, incoming);
                return false;
            }
        };
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else {
            self.drop_datagram("unknown-flow", incoming);
            return false;
        };
        let Some(buffer) = std::sync::Arc::get_mut(&mut incoming.buffer) else {
            self.drop_datagram("shared-buffer", incoming);
            return true;
        };
        transport.count_received(buffer.bytes().len());
        let received = transport.association.receive(
            now,
            incoming.tuple,
            buffer.bytes_mut(),
            &mut self.output.datagrams,
        );
        match received {
            Received::Rtp(length) => {
                buffer.set_length(length);
                self.accept(now, slot, incoming);
            }
            Received::Rtcp(length) => {
                buffer.set_length(length);
                self.receive_feedback(now, slot, incoming.buffer.bytes());
                self.pool.put(incoming.buffer);
            }
            Received::Handled => {
                self.pool.put(incoming.buffer);
                self.drain_association(now, slot);
                self.receive_data(now, slot);
            }
            Received::Dropped(kind) => {
                transport.count_rejected();
                self.drop_datagram(kind.name(), incoming);
                self.drain_association(now, slot);
            }
        }
        self.arm(slot);
        true
    }

    /// Carries out what an association says after an input.
    fn drain_association(&mut self, now: Now, slot: usize) {
        while let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) {
            let id = transport.id;
            match transport.association.poll_event() {
                None => break,
                Some(AssociationEvent::Validated(tuple)) => {
                    self.routes.flow_here(tuple, slot);
                }
                Some(AssociationEvent::Forgotten(tuple)) => {
                    self.routes.end(slot, &[], &[tuple]);
                    self.tell_trail(slot, &[], &[tuple]);
                }
                Some(AssociationEvent::State(state, end)) => {
                    self.output.reports.push(Report::Transport { transport: id, state, end });
                    match state {
                        TransportState::Connected => self.wake_consumers(now, slot),
                        TransportState::Closed => self.remove_transport(now, slot),
                        _ => {}
                    }
                }
            }
        }
        self.note_flow(slot);
    }

    /// A peer became reachable: whatever it waits for is asked for now.
    fn wake_consumers(&mut self, now: Now, slot: usize) {
        let Some(transport) = self.transports.get(slot).and_then(Option::as_ref) else { return };
        let stations: Vec<usize> =
            transport.consumers.iter().flatten().filter_map(|consumer| consumer.station).collect();
        for station in stations {
            self.choose_layers(now, station);
        }
    }

    /// One decrypted RTP packet of a transport that stands here.
    fn accept(&mut self, now: Now, slot: usize, incoming: Incoming) {
        let Some(header) = Header::parse(incoming.buffer.bytes()) else {
            return self.drop_datagram("malformed-rtp", incoming);
        };
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        let (key, extensions) = transport.identify(now, &header, incoming.buffer.bytes());
        let Some((key, producer)) = key.and_then(|key: StreamKey| {
            Some((key, transport.producers.get_mut(usize::from(key.producer))?.as_mut()?))
        }) else {
            return self.drop_datagram("unknown-stream", incoming);
        };
        let (station, kind) = (producer.station, producer.parameters.kind);
        match producer.accept(incoming.at, key, &header, extensions, incoming.buffer) {
            Accepted::Packet(packet)
                if transport.admit(packet.ingress, kind, packet.buffer.bytes().len()) =>
            {
                self.route(now, station, packet);
            }
            Accepted::Packet(MediaPacket { buffer, .. }) => {
                let kind = if kind == MediaKind::Audio { "audio-over-ceiling" } else { "video-over-ceiling" };
                *self.dropped.entry(kind).or_default() += 1;
                self.pool.put(buffer);
            }
            Accepted::Dropped(buffer) => self.pool.put(buffer),
        }
    }

    /// One packet at its router: to every seat, every relay, and into the history. Local and relayed packets
    /// meet here.
    fn route(&mut self, now: Now, index: usize, packet: MediaPacket) {
        let Some(station) = self.stations.get_mut(index).and_then(Option::as_mut) else { return };
        if station.note(&packet, now.instant) {
            self.choose_layers(now, index);
        }
        let Some(station) = self.stations.get_mut(index).and_then(Option::as_mut) else { return };
        if station.is_closed() {
            return self.keep(index, packet);
        }
        self.switched.clear();
        let sheds = self.shedder.level() > Level::Nothing;
        let clocks =
            |encoding| station.encodings.get(usize::from(encoding)).and_then(|standing| standing.clock);
        for (number, seat) in station.seats.iter().enumerate() {
            let Some(transport) = self.transports.get_mut(seat.transport).and_then(Option::as_mut) else {
                continue;
            };
            let ticket = transport.send(
                now,
                seat.consumer,
                &packet,
                packet.ingress,
                clocks,
                &mut self.output.datagrams,
            );
            match ticket {
                Some(ticket) if ticket.switched => self.switched.push(number),
                None if sheds && transport.is_shed(seat.consumer, &packet) => self.shed_packets += 1,
                _ => {}
            }
        }
        for relay in &mut station.relays {
            if let Some(carried) = relay.carry(&packet) {
                self.output.crossings.push((relay.to, Crossing::Relay(RelayMessage::Media(carried))));
            }
        }
        let (encoding, sequence) = (packet.encoding, packet.sequence);
        self.keep(index, packet);
        if !self.switched.is_empty() {
            self.follow_up(now, index, encoding, sequence);
        }
        self.housekeep_by(now);
    }

    fn keep(&mut self, index: usize, packet: MediaPacket) {
        if let Some(station) = self.stations.get_mut(index).and_then(Option::as_mut) {
            station.keep(packet, &mut self.pool);
        }
    }

    /// Seats that switched at a packet which came late get what their encoding's history holds behind it: those
    /// packets had arrived before and were not theirs yet.
    fn follow_up(&mut self, now: Now, index: usize, encoding: u8, sequence: u64) {
        let Some(station) = self.stations.get(index).and_then(Option::as_ref) else { return };
        let Some(standing) = station.encodings.get(usize::from(encoding)) else { return };
        for seat in self.switched.iter().filter_map(|number| station.seats.get(*number)) {
            let Some(transport) = self.transports.get_mut(seat.transport).and_then(Option::as_mut) else {
                continue;
            };
            for packet in standing.history.from(sequence + 1) {
                transport.send(now, seat.consumer, packet, now.instant, |_| None, &mut self.output.datagrams);
            }
        }
        let switched = std::mem::take(&mut self.switched);
        for number in &switched {
            self.report_layers(index, *number);
        }
        self.switched = switched;
    }

    fn report_layers(&mut self, station: usize, number: usize) {
        let Some(station) = self.stations.get(station).and_then(Option::as_ref) else { return };
        let Some(seat) = station.seats.get(number) else { return };
        let Some(transport) = self.transports.get(seat.transport).and_then(Option::as_ref) else { return };
        if let Some(Some(consumer)) = transport.consumers.get(seat.consumer)
            && consumer.kind == MediaKind::Video
        {
            self.output.reports.push(Report::LayersChanged {
                consumer: consumer.id,
                encoding: consumer.current(),
                allowance: consumer.stats.allowance,
            });
        }
    }

    /// Lets every seat of a station choose again, tells the source what is needed, and asks for keyframes that
    /// someone waits for.
    fn choose_layers(&mut self, now: Now, index: usize) {
        let Some(station) = self.stations.get_mut(index).and_then(Option::as_mut) else { return };
        let (count, alive) = (station.encodings.len(), station.alive(now.instant));
        let mut needed = 0;
        let mut awaited = 0_u32;
        let mut replays = false;
        for seat in &station.seats {
            let Some(transport) = self.transports.get_mut(seat.transport).and_then(Option::as_mut) else {
                continue;
            };
            let reachable = transport.association.profile().is_some();
            let selected = transport.association.selected().is_some();
            let Some(Some(consumer)) = transport.consumers.get_mut(seat.consumer) else { continue };
            consumer.choose(count, alive);
            needed |= consumer.demand(count);
            if let Some(encoding) = consumer.awaits_keyframe().filter(|_| reachable) {
                let chain = station.chain(encoding, now.instant).filter(|_| selected);
                if chain.is_some_and(|chain| consumer.join(encoding, &chain, now.instant)) {
                    replays = true;
                } else {
                    awaited |= 1 << encoding;
                }
            }
        }
        for relay in &station.relays {
            needed |= relay.demand;
        }
        station.forget_unneeded(needed);
        for encoding in (0..count as u8).filter(|encoding| awaited >> encoding & 1 == 1) {
            station.want_keyframe(encoding, now.instant);
        }
        let mut publisher = None;
        match &mut station.source {
            Source::Relay(sink) => {
                let message = sink.demand(needed);
                self.output.crossings.extend(message.map(|message| (sink.from, Crossing::Relay(message))));
            }
            Source::Local { transport, .. } => {
                publisher = Some(*transport);
                let told = station.note_needed(now.instant, needed);
                let producer = station.producer;
                self.output
                    .reports
                    .extend(told.map(|encodings| Report::EncodingsWatched { producer, encodings }));
            }
        }
        if let Some(slot) = publisher {
            self.bound_upload(now, slot);
        }
        if replays {
            self.begin_replays(now, index);
        }
        self.ask_keyframes(now, index);
        self.housekeep_by(now);
    }

    /// Sends the keyframe requests of a station that are due towards its source.
    fn ask_keyframes(&mut self, now: Now, index: usize) {
        let Some(station) = self.stations.get_mut(index).and_then(Option::as_mut) else { return };
        let mut asked = 0_u32;
        station.ask_keyframes(now.instant, |encoding| asked |= 1 << encoding);
        for encoding in (0..32_u8).filter(|encoding| asked >> encoding & 1 == 1) {
            match &station.source {
                Source::Local { transport, producer } => {
                    if let Some(transport) = self.transports.get_mut(*transport).and_then(Option::as_mut) {
                        transport.request_keyframe(now, *producer, encoding, &mut self.output.datagrams);
                    }
                }
                Source::Relay(sink) => {
                    let message = RelayMessage::KeyframeRequest { relay: sink.id, encoding };
                    self.output.crossings.push((sink.from, Crossing::Relay(message)));
                }
            }
        }
    }

    /// Notes a transport's deadline, if it is earlier than the one noted.
    fn arm(&mut self, slot: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        if let Some(deadline) = transport.next_timeout()
            && transport.armed.is_none_or(|armed| deadline < armed)
        {
            transport.armed = Some(deadline);
            self.deadlines.push(Reverse((deadline, slot)));
        }
    }

    fn router_is_empty(&self, router: RouterId) -> bool {
        let transports = self.transports.iter().flatten().any(|transport| transport.router == router);
        !transports && !self.stations.iter().flatten().any(|station| station.router == router)
    }
}
