//! What the engine spends on forwarding one 1,200-byte VP8 packet to 1, 10, 100 and 1,000 consumers, each with its
//! own transport and AES-256-GCM keys (what DTLS agrees on with browsers), history, transport-wide sequence and
//! feedback, estimator, pacer, mid, statistics and RTCP both ways; beside it, and in turn with it, a loop that only
//! copies and seals under as many keys. Knows nothing of sockets or policies.
//!
//! ```text
//! publisher ─ seal ─▶ [ engine.timeout, engine.receive, output drained ] ─▶ counted      (timed)
//!                     [ copy, AES-GCM in place ] × consumers                             (timed, in turn)
//! ```
//!
//! `cargo bench --bench forward`. The lines at the end are medians over blocks of half a second of virtual time, so
//! that everything that is due by time is in each block.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::Criterion;
use std::fmt;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_media::arrivals::Arrivals;
use tidegate_media::association::{AssociationConfig, Identity, Received, SealStream};
use tidegate_media::io::{Class, DATAGRAM_BYTES, Incoming, Secrets as _, Tuple};
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
    ConsumerId, MediaKind, Now, NtpTime, Place, ProducerId, RequestNumber, RouterId, TransportId,
};

/// Bytes of the published packet, before it is sealed.
const PACKET_BYTES: usize = 1_200;
/// Virtual time from packet to packet: 1.9 Mbit/s.
const PACKET_INTERVAL: Duration = Duration::from_millis(5);
/// Packets of a block: as long as the interval of RTCP reports, so that blocks are alike.
const BLOCK_PACKETS: u32 = 100;
/// Blocks between two rounds of connectivity checks, which are not timed.
const CHECK_BLOCKS: u32 = 5;
/// Packets from one transport-wide feedback to a consumer's next: 50 ms, as browsers do at this rate.
const FEEDBACK_PACKETS: u32 = 10;
/// A datagram shorter than this is a probe's padding, or RTCP.
const MEDIA_BYTES: usize = 1_000;

const PUBLISHED_SSRC: u32 = 1_000;
const CONSUMED_SSRC: u32 = 5_000;
/// RTP header, extension header, and the elements: mid and transport-wide sequence.
const HEADER_BYTES: usize = 12 + 4 + 8;

const ENGINE: ([u8; 4], u16) = ([10, 0, 0, 1], 7_000);

/// One publisher and many who watch, around one engine.
struct Room {
    began: Instant,
    engine: Engine,
    /// The first publishes.
    peers: Vec<Peer>,
    /// What each of them tells of what arrived.
    arrivals: Vec<Arrivals>,
    /// The transport-wide sequence of each one's next packet.
    sequences: Vec<u16>,
    /// Who was sent a numbered packet in the last block, and at which of its moments.
    log: Vec<(u32, u32)>,
    stream: SealStream,
    now: Now,
    packets: u64,
    blocks: u32,
    forwarded: u64,
    requests: u64,
}

/// What arrives at one moment.
struct Moment {
    now: Now,
    arrivals: Vec<Incoming>,
}

/// CPU time of this thread, so that whatever else runs here counts little; time itself where that is not known.
fn spent(began: Instant) -> Duration {
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

impl Room {
    fn new(consumers: usize) -> Self {
        let now =
            Now { instant: Instant::now(), wall: NtpTime::from_unix(Duration::from_secs(1_700_000_000)) };
        let association = || AssociationConfig {
            identity: Arc::new(Identity::generate().expect("a certificate")),
            profiles: vec![SrtpProfile::AeadAes256Gcm],
        };
        let config = EngineConfig {
            place: Place::local(0),
            shards: 1,
            candidates: vec![Candidate { address: ENGINE.into(), tcp: false }],
            association: association(),
            max_transports: consumers + 1,
        };
        let theirs = association();
        let mut room = Self {
            began: now.instant,
            engine: Engine::new(config, Box::new(Numbers(7))),
            peers: (0..=consumers).map(|peer| Peer::new(&theirs, &peer.to_string(), now)).collect(),
            arrivals: (0..=consumers).map(|_| Arrivals::new(now.instant)).collect(),
            sequences: vec![0; consumers + 1],
            log: Vec::with_capacity((consumers + 1) * (BLOCK_PACKETS as usize + 1)),
            stream: SealStream::new(PUBLISHED_SSRC),
            now,
            packets: 0,
            blocks: 0,
            forwarded: 0,
            requests: 0,
        };
        room.connect();
        room.publish_and_consume();
        room
    }

    fn command(&mut self, body: CommandBody) -> Done {
        self.requests += 1;
        self.engine.command(self.now, Command { request: RequestNumber(self.requests), body });
        let reply = self.engine.output().replies.pop().expect("every command is answered");
        reply.result.expect("every command is possible")
    }

    /// A real handshake with each.
    fn connect(&mut self) {
        for peer in 0..self.peers.len() {
            let transport = TransportId(peer as u64);
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

    fn publish_and_consume(&mut self) {
        let producer = ProducerId(1);
        let published = ProducerParameters { kind: MediaKind::Video, rtp: parameters("0", PUBLISHED_SSRC) };
        let (transport, paused) = (TransportId(0), false);
        self.command(CommandBody::CreateProducer { producer, transport, parameters: published, paused });
        for peer in 1..self.peers.len() {
            let parameters = ConsumerParameters {
                kind: MediaKind::Video,
                rtp: parameters("v1", CONSUMED_SSRC),
                paused: false,
                preferred: LayerPreference::HIGHEST,
            };
            let (consumer, transport) = (ConsumerId(peer as u64), TransportId(peer as u64));
            self.command(CommandBody::CreateConsumer { consumer, transport, producer, parameters });
        }
    }

    /// Time passes, and everything that anyone wants sent arrives. Not timed.
    fn pass(&mut self, time: Duration) {
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
    fn check_estimates(&mut self) {
        for peer in 1..self.peers.len() {
            let Done::Stats(dump) =
                self.command(CommandBody::ReadStats { transport: TransportId(peer as u64) })
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
    fn prepare(&mut self) -> Vec<Moment> {
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
        self.publish_packet();
        if nth == 0 {
            self.report_as_sender();
        }
        self.collect(0, &mut arrivals);
        // Receivers' reports, spread over the block.
        for peer in (1..self.peers.len()).filter(|peer| *peer as u32 % BLOCK_PACKETS == nth) {
            self.report_as_receiver(peer);
            self.collect(peer, &mut arrivals);
        }
        // Their feedback likewise.
        for peer in
            (1..self.peers.len()).filter(|peer| *peer as u32 % FEEDBACK_PACKETS == nth % FEEDBACK_PACKETS)
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
    fn forward(&mut self, block: &mut [Moment]) -> Duration {
        let begun = spent(self.began);
        for (nth, moment) in (0..).zip(block) {
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
        spent(self.began) - begun
    }

    /// One block: how long the engine took.
    fn run_block(&mut self) -> Duration {
        let mut block = self.prepare();
        let before = self.forwarded;
        let took = self.forward(&mut block);
        let expected = (self.peers.len() as u64 - 1) * u64::from(BLOCK_PACKETS);
        assert_eq!(self.forwarded - before, expected, "every packet goes to every consumer");
        took
    }
}

/// Copies and seals, and does nothing else: the floor under any SFU that gives each receiver keys of its own.
struct CipherOnly {
    began: Instant,
    keys: Vec<LessSafeKey>,
    packet: [u8; PACKET_BYTES],
    arena: Vec<u8>,
    sequence: u64,
}

impl CipherOnly {
    fn new(keys: usize) -> Self {
        let mut chance = Numbers(11);
        let key = |_| {
            let mut bytes = [0; 32];
            chance.fill(&mut bytes);
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).expect("32 bytes make a key"))
        };
        let keys: Vec<_> = (0..keys).map(key).collect();
        let arena = vec![0; keys.len() * DATAGRAM_BYTES];
        Self { began: Instant::now(), keys, packet: [0x55; PACKET_BYTES], arena, sequence: 0 }
    }

    fn run_block(&mut self) -> Duration {
        let begun = spent(self.began);
        for _ in 0..BLOCK_PACKETS {
            self.sequence += 1;
            let mut rest = self.arena.as_mut_slice();
            for key in &self.keys {
                let (packet, behind) = rest.split_at_mut(PACKET_BYTES + 16);
                let (plain, tag_place) = packet.split_at_mut(PACKET_BYTES);
                plain.copy_from_slice(black_box(&self.packet));
                let (header, payload) = plain.split_at_mut(HEADER_BYTES);
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&self.sequence.to_be_bytes());
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload);
                tag_place.copy_from_slice(tag.expect("it seals").as_ref());
                rest = behind;
            }
            black_box(&self.arena);
        }
        spent(self.began) - begun
    }
}

/// Nanoseconds of one packet to one consumer, both ways.
struct Line {
    name: String,
    engine: f64,
    cipher: f64,
    blocks: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, engine, cipher, blocks } = self;
        let ratio = engine / cipher;
        write!(
            formatter,
            "{name:<13} engine {engine:6.0} ns  cipher only {cipher:6.0} ns  ratio {ratio:.2}  ({blocks} blocks)"
        )
    }
}

fn median(spans: &mut [Duration]) -> f64 {
    spans.sort_unstable();
    spans.get(spans.len() / 2).map_or(0.0, Duration::as_secs_f64) * 1e9
}

fn measure(criterion: &mut Criterion, consumers: usize) -> Line {
    let name = format!("forward/{consumers}");
    let mut room = Room::new(consumers);
    let mut cipher = CipherOnly::new(consumers);
    let (mut engine_spans, mut cipher_spans) = (Vec::new(), Vec::new());
    criterion.bench_function(&name, |bencher| {
        bencher.iter_custom(|packets| {
            let blocks = packets.div_ceil(u64::from(BLOCK_PACKETS));
            let before = engine_spans.len();
            for _ in 0..blocks {
                engine_spans.push(room.run_block());
                cipher_spans.push(cipher.run_block());
            }
            let took: Duration = engine_spans[before..].iter().sum();
            took.mul_f64(packets as f64 / (blocks * u64::from(BLOCK_PACKETS)) as f64)
        });
    });
    if room.blocks > CHECK_BLOCKS {
        room.check_estimates();
    }
    let each = consumers as f64 * f64::from(BLOCK_PACKETS);
    Line {
        name,
        blocks: engine_spans.len(),
        engine: median(&mut engine_spans) / each,
        cipher: median(&mut cipher_spans) / each,
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    // `cargo test --benches` only asks whether it runs.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let most = if measures { 1_000 } else { 10 };
    let counts = [1, 10, 100, 1_000].into_iter().filter(|consumers| *consumers <= most);
    let lines: Vec<_> = counts.map(|consumers| measure(&mut criterion, consumers)).collect();
    criterion.final_summary();
    println!("\nns for one packet to one consumer, reports and everything else included:");
    for line in lines.iter().filter(|line| line.blocks > 0) {
        println!("{line}");
    }
}
