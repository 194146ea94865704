//! One room around one engine: a publisher or a relay, and many who watch, each with its own transport and AES-256-GCM
//! keys, a real handshake, reports and transport-wide feedback. Knows nothing of what is measured.
//!
//! ```text
//! publisher or ring ─▶ [ engine.timeout, engine.cross, engine.receive, output drained ] ─▶ counted      (timed)
//! ```
// Two benches use it, neither all of it.
#![allow(dead_code)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_media::arrivals::Arrivals;
use tidegate_media::association::{AssociationConfig, Identity, Received, SealStream};
use tidegate_media::io::{Class, Crossing, Incoming, Tuple};
use tidegate_media::peer::Peer;
use tidegate_media::peer::video::{MID_ID, Numbers, PAYLOAD_TYPE, SEQUENCE_ID, parameters};
use tidegate_media::rtcp::{ReportBlock, Writer};
use tidegate_media::rtp::{HopValues, Mid, Outgoing, OutgoingExtensions, write_header};
use tidegate_media::{Engine, EngineConfig, clock};
use tidegate_shard::floor::cpu_time;
use tidegate_types::command::{Command, CommandBody, Done, TransportLimits};
use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
use tidegate_types::packet::Extensions;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::transport::{Candidate, SrtpProfile};
use tidegate_types::{
    ConsumerId, MediaKind, Now, NtpTime, Place, ProducerId, RelayId, RequestNumber, RouterId, TransportId,
};

/// Bytes of the published packet, before it is sealed.
pub(crate) const PACKET_BYTES: usize = 1_200;
/// Virtual time from packet to packet: 1.9 Mbit/s.
const PACKET_INTERVAL: Duration = Duration::from_millis(5);
/// Packets of a block: as long as the interval of RTCP reports, so that blocks are alike.
pub(crate) const BLOCK_PACKETS: u32 = 100;
/// Blocks between two rounds of connectivity checks, which are not timed.
pub(crate) const CHECK_BLOCKS: u32 = 5;
/// Packets from one transport-wide feedback to a consumer's next: 50 ms, as browsers do at this rate.
const FEEDBACK_PACKETS: u32 = 10;
/// A datagram shorter than this is a probe's padding, or RTCP.
const MEDIA_BYTES: usize = 1_000;

const PUBLISHED_SSRC: u32 = 1_000;
const CONSUMED_SSRC: u32 = 5_000;
const PRODUCER: ProducerId = ProducerId(1);
/// RTP header, extension header, and the elements: mid and transport-wide sequence.
pub(crate) const HEADER_BYTES: usize = 12 + 4 + 8;

const ENGINE: ([u8; 4], u16) = ([10, 0, 0, 1], 7_000);

/// Many who watch, around one engine.
pub(crate) struct Room {
    place: Place,
    began: Instant,
    engine: Engine,
    /// The first publishes, where somebody does.
    peers: Vec<Peer>,
    /// The first who watches.
    first: usize,
    /// What each of them tells of what arrived.
    arrivals: Vec<Arrivals>,
    /// The transport-wide sequence of each one's next packet.
    sequences: Vec<u16>,
    /// Who was sent a numbered packet in the last block, and at which of its moments.
    log: Vec<(u32, u32)>,
    stream: SealStream,
    now: Now,
    packets: u64,
    pub(crate) blocks: u32,
    pub(crate) forwarded: u64,
    requests: u64,
}

/// What arrives at one moment.
pub(crate) struct Moment {
    pub(crate) now: Now,
    arrivals: Vec<Incoming>,
}

/// CPU time of this thread, so that whatever else runs here counts little; time itself where that is not known.
pub(crate) fn spent(began: Instant) -> Duration {
    match cpu_time() {
        Duration::ZERO => began.elapsed(),
        spent => spent,
    }
}

fn address(peer: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, (peer / 200) as u8, (peer % 200) as u8], 5_000))
}

fn peer_at(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { panic!("only IPv4 here") };
    let [_, _, high, low] = address.ip().octets();
    usize::from(high) * 200 + usize::from(low)
}

/// A room's clock begins at the same moment at every place.
pub(crate) fn start() -> Now {
    Now { instant: Instant::now(), wall: NtpTime::from_unix(Duration::from_secs(1_700_000_000)) }
}

impl Room {
    /// One publisher, and so many who watch.
    pub(crate) fn new(consumers: usize) -> Self {
        let mut room = Self::empty(start(), Place::local(0), 1, consumers, true);
        room.connect();
        room.publish();
        room.consume();
        room
    }

    /// Whoever is connected, at one of several places; nothing is published or consumed yet.
    pub(crate) fn empty(now: Now, place: Place, places: u16, consumers: usize, publishes: bool) -> Self {
        let first = usize::from(publishes);
        let association = || AssociationConfig {
            identity: Arc::new(Identity::generate().expect("a certificate")),
            profiles: vec![SrtpProfile::AeadAes256Gcm],
        };
        let config = EngineConfig {
            place,
            shards: places,
            candidates: vec![Candidate { address: ENGINE.into(), tcp: false }],
            association: association(),
            max_transports: consumers + first,
        };
        let theirs = association();
        let people = consumers + first;
        Self {
            place,
            began: now.instant,
            engine: Engine::new(config, Box::new(Numbers(7 + u64::from(place.shard.0)))),
            peers: (0..people).map(|peer| Peer::new(&theirs, &peer.to_string(), now)).collect(),
            first,
            arrivals: (0..people).map(|_| Arrivals::new(now.instant)).collect(),
            sequences: vec![0; people],
            log: Vec::with_capacity(people * (BLOCK_PACKETS as usize + 1)),
            stream: SealStream::new(PUBLISHED_SSRC),
            now,
            packets: 0,
            blocks: 0,
            forwarded: 0,
            requests: 0,
        }
    }

    pub(crate) fn command(&mut self, body: CommandBody) -> Done {
        self.requests += 1;
        self.engine.command(self.now, Command { request: RequestNumber(self.requests), body });
        let reply = self.engine.output().replies.pop().expect("every command is answered");
        reply.result.expect("every command is possible")
    }

    /// A real handshake with each.
    pub(crate) fn connect(&mut self) {
        for peer in 0..self.peers.len() {
            let transport = self.transport(peer);
            let (router, limits) = (RouterId(1), TransportLimits::default());
            let made = self.command(CommandBody::CreateTransport { transport, router, limits });
            let Done::Transport(local) = made else { panic!("{made:?}") };
            let remote = self.peers[peer].remote();
            self.command(CommandBody::ConnectTransport { transport, remote });
            self.peers[peer].meet(&local, ENGINE.into(), self.now);
        }
        let begun = self.now;
        while !self.peers.iter().all(Peer::is_connected) {
            assert!(
                self.now.instant - begun.instant < Duration::from_secs(5),
                "no handshake takes that long"
            );
            self.pass(Duration::from_millis(1));
        }
    }

    fn transport(&self, peer: usize) -> TransportId {
        TransportId(u64::from(self.place.shard.0) * 10_000 + peer as u64)
    }

    fn published() -> ProducerParameters {
        ProducerParameters { kind: MediaKind::Video, rtp: parameters("0", PUBLISHED_SSRC) }
    }

    /// The first peer publishes the one video.
    pub(crate) fn publish(&mut self) {
        let (transport, paused, parameters) = (self.transport(0), false, Self::published());
        self.command(CommandBody::CreateProducer { producer: PRODUCER, transport, parameters, paused });
    }

    /// The video will come from another place.
    pub(crate) fn accept_relay(&mut self, relay: RelayId, from: Place) {
        let (router, parameters) = (RouterId(1), Self::published());
        let (producer, paused) = (PRODUCER, false);
        self.command(CommandBody::AcceptRelay { relay, router, producer, parameters, paused, from });
    }

    /// The video goes to another place, too.
    pub(crate) fn open_relay(&mut self, relay: RelayId, to: Place) {
        self.command(CommandBody::OpenRelay { relay, producer: PRODUCER, to });
    }

    /// Everyone else watches it.
    pub(crate) fn consume(&mut self) {
        for peer in self.first..self.peers.len() {
            let parameters = ConsumerParameters {
                kind: MediaKind::Video,
                rtp: parameters("v1", CONSUMED_SSRC),
                paused: false,
                preferred: LayerPreference::HIGHEST,
            };
            let transport = self.transport(peer);
            let consumer = ConsumerId(transport.0);
            self.command(CommandBody::CreateConsumer { consumer, transport, producer: PRODUCER, parameters });
        }
    }

    /// Its own clock.
    pub(crate) fn now(&self) -> Now {
        self.now
    }

    /// What other places are sent, in order.
    pub(crate) fn crossings(&mut self) -> std::vec::Drain<'_, (Place, Crossing)> {
        self.engine.output().crossings.drain(..)
    }

    /// What another place sent.
    pub(crate) fn cross(&mut self, now: Now, from: Place, crossing: Crossing) {
        self.engine.cross(now, from, crossing);
    }

    /// Time passes, and everything that anyone wants sent arrives. Not timed.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        for peer in 0..self.peers.len() {
            self.peers[peer].timeout(self.now);
        }
        let mut arrivals = Vec::new();
        (0..self.peers.len()).for_each(|peer| self.collect(peer, &mut arrivals));
        self.engine.timeout(self.now);
        self.engine.receive(self.now, &mut arrivals);
        let out = self.engine.output();
        let mut datagrams = std::mem::take(&mut out.datagrams);
        out.reports.clear();
        for head in datagrams.heads() {
            if head.class == Class::Video {
                self.log.push((peer_at(head.tuple.remote) as u32, BLOCK_PACKETS - 1));
            }
            let mut bytes = datagrams.bytes(head).to_vec();
            let received = self.peers[peer_at(head.tuple.remote)].receive(self.now, &mut bytes);
            assert!(!matches!(received, Received::Dropped(_)), "{received:?}");
        }
        datagrams.clear();
        self.engine.output().datagrams = datagrams;
    }

    /// Every consumer's way must have been estimated from what it told.
    pub(crate) fn check_estimates(&mut self) {
        for peer in self.first..self.peers.len() {
            let Done::Stats(dump) = self.command(CommandBody::ReadStats { transport: self.transport(peer) })
            else {
                panic!("asked for statistics")
            };
            assert!(dump.transport.estimate_kbps.is_some(), "{dump:?}");
        }
    }

    /// Moves what a peer wants sent into buffers of the engine's pool.
    fn collect(&mut self, peer: usize, arrivals: &mut Vec<Incoming>) {
        let out = self.peers[peer].output();
        for head in out.heads() {
            let mut buffer = self.engine.pool().take();
            Arc::get_mut(&mut buffer).expect("a fresh buffer is unshared").fill(out.bytes(head));
            let tuple = Tuple { socket: 0, remote: address(peer) };
            arrivals.push(Incoming { tuple, at: self.now.instant, buffer });
        }
        out.clear();
    }

    /// Half a second of what arrives, sealed and ready.
    pub(crate) fn prepare(&mut self) -> Vec<Moment> {
        self.blocks += 1;
        if self.blocks.is_multiple_of(CHECK_BLOCKS) {
            (0..self.peers.len()).for_each(|peer| self.peers[peer].check(self.now));
            self.pass(Duration::ZERO);
        }
        let log = std::mem::take(&mut self.log);
        let mut rest = log.as_slice();
        let block = (0..BLOCK_PACKETS)
            .map(|nth| {
                let moment = self.prepare_moment(nth);
                // What was sent a block ago has arrived by now.
                let arrived = rest.partition_point(|(_, at)| *at <= nth);
                rest[..arrived].iter().for_each(|(peer, _)| self.note_arrival(*peer as usize));
                rest = &rest[arrived..];
                moment
            })
            .collect();
        self.log = log;
        self.log.clear();
        block
    }

    fn note_arrival(&mut self, peer: usize) {
        self.arrivals[peer].note(self.sequences[peer], self.now.instant);
        self.sequences[peer] = self.sequences[peer].wrapping_add(1);
    }

    fn prepare_moment(&mut self, nth: u32) -> Moment {
        self.now = self.now.after(PACKET_INTERVAL);
        let mut arrivals = Vec::new();
        if self.first > 0 {
            self.publish_packet();
            if nth == 0 {
                self.report_as_sender();
            }
            self.collect(0, &mut arrivals);
        }
        // Receivers' reports, spread over the block.
        for peer in (self.first..self.peers.len()).filter(|peer| *peer as u32 % BLOCK_PACKETS == nth) {
            self.report_as_receiver(peer);
            self.collect(peer, &mut arrivals);
        }
        // Their feedback likewise.
        for peer in (self.first..self.peers.len())
            .filter(|peer| *peer as u32 % FEEDBACK_PACKETS == nth % FEEDBACK_PACKETS)
        {
            self.tell_arrivals(peer);
            self.collect(peer, &mut arrivals);
        }
        Moment { now: self.now, arrivals }
    }

    fn publish_packet(&mut self) {
        self.packets += 1;
        let timestamp = clock::units(PACKET_INTERVAL, 90_000).wrapping_mul(self.packets as u32);
        let outgoing = Outgoing {
            marker: true,
            payload_type: PAYLOAD_TYPE,
            sequence: self.packets as u16,
            timestamp,
            ssrc: PUBLISHED_SSRC,
        };
        let ids = OutgoingExtensions {
            mid: Mid::new("0").map(|mid| (MID_ID, mid)),
            transport_sequence: Some(SEQUENCE_ID),
            ..OutgoingExtensions::default()
        };
        let hop = HopValues { transport_sequence: self.packets as u16, absolute_send_time: 0 };
        let mut packet = [0x55; PACKET_BYTES];
        let at = write_header(&mut packet, &outgoing, &ids, &hop, &Extensions::default());
        // One picture a packet: descriptor with a 15-bit picture id, then a keyframe's first byte for the first.
        let [high, low] = (self.packets as u16 | 0x8000).to_be_bytes();
        let inter = u8::from(self.packets > 1);
        packet[at..at + 5].copy_from_slice(&[0x90, 0x80, high, low, inter]);
        self.peers[0].send_rtp(self.now, &mut self.stream, self.packets, &packet);
    }

    fn report_as_sender(&mut self) {
        let rtp = clock::units(PACKET_INTERVAL, 90_000).wrapping_mul(self.packets as u32);
        let mut space = [0; 100];
        let mut writer = Writer::new(&mut space);
        writer.sender_report(PUBLISHED_SSRC, self.now.wall, rtp, 0, 0);
        let length = writer.len();
        self.peers[0].send_rtcp(self.now, &space[..length]);
    }

    fn report_as_receiver(&mut self, peer: usize) {
        let mut space = [0; 100];
        let mut writer = Writer::new(&mut space);
        writer.receiver_report(1, &[ReportBlock { ssrc: CONSUMED_SSRC, ..ReportBlock::default() }]);
        let length = writer.len();
        self.peers[peer].send_rtcp(self.now, &space[..length]);
    }

    fn tell_arrivals(&mut self, peer: usize) {
        let mut information = [0; 1_000];
        let Some(length) = self.arrivals[peer].feedback(self.now.instant, &mut information) else { return };
        let mut space = [0; 1_300];
        let mut writer = Writer::new(&mut space);
        writer.transport_feedback(1, CONSUMED_SSRC, &information[..length]);
        let length = writer.len();
        self.peers[peer].send_rtcp(self.now, &space[..length]);
    }

    /// The measured part: what a shard's loop does with each moment, but for the kernel.
    pub(crate) fn forward(&mut self, block: &mut [Moment]) -> Duration {
        let begun = spent(self.began);
        for (nth, moment) in (0..).zip(block) {
            self.take(nth, moment);
        }
        spent(self.began) - begun
    }

    /// One moment of a block.
    pub(crate) fn take(&mut self, nth: u32, moment: &mut Moment) {
        if self.engine.next_timeout().is_some_and(|at| at <= moment.now.instant) {
            self.engine.timeout(moment.now);
        }
        self.engine.receive(moment.now, &mut moment.arrivals);
        let out = self.engine.output();
        for head in out.datagrams.heads() {
            if head.class == Class::Video {
                self.forwarded += u64::from(head.length() > MEDIA_BYTES);
                self.log.push((peer_at(head.tuple.remote) as u32, nth));
            }
            black_box(out.datagrams.bytes(head));
        }
        out.datagrams.clear();
        out.reports.clear();
    }

    /// One block: how long the engine took.
    pub(crate) fn run_block(&mut self) -> Duration {
        let mut block = self.prepare();
        let before = self.forwarded;
        let took = self.forward(&mut block);
        let expected = (self.peers.len() as u64 - 1) * u64::from(BLOCK_PACKETS);
        assert_eq!(self.forwarded - before, expected, "every packet goes to every consumer");
        took
    }
}
