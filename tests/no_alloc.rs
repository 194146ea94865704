//! The forwarding path allocates nothing: two real shard loops with a relay between them, real sockets and peers,
//! losses on every hop and RTCP, under an allocator that counts what is allocated within a turn. Alone in its
//! process, since an allocator is the process's.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tidegate_media::arrivals::Arrivals;
use tidegate_media::association::{AssociationConfig, Identity, Received, SealStream};
use tidegate_media::peer::Peer;
use tidegate_media::peer::video::{Numbers, PAYLOAD_TYPE, REPAIR_PAYLOAD_TYPE, SEQUENCE_ID, parameters};
use tidegate_media::rtcp::{Packet, Reader, ReportBlock, Writer, nacked};
use tidegate_media::rtp::{Header, HopValues, Outgoing, OutgoingExtensions, write_header};
use tidegate_media::{Engine, EngineConfig};
use tidegate_shard::{FromShard, ShardLoop, ShardSetup, Shards, ShardsConfig, prepare};
use tidegate_types::command::{Command, CommandBody, Done, TransportLimits};
use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
use tidegate_types::packet::Extensions;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::relay::RelayStats;
use tidegate_types::transport::SrtpProfile;
use tidegate_types::{
    ConsumerId, MediaKind, Now, NtpTime, Place, ProducerId, RelayId, RequestNumber, RouterId, TransportId,
};

/// Long enough for what soon happens on any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Packets published in one go.
const BURST: u64 = 20;
/// Every so often a burst is doubled: more than the ring holds, so that the relay loses some and repairs them.
const DOUBLED_ONE_IN: u64 = 10;
const RING_SLOTS: usize = 32;
const _: () = assert!(BURST < RING_SLOTS as u64 && BURST * 2 > RING_SLOTS as u64);
/// Bursts before counting begins, longer ones: they fill histories, pools and queues beyond what comes later.
const WARM_UP_BURSTS: u64 = 150;
const WARM_UP_FACTOR: u64 = 2;
/// Bursts while counting.
const COUNTED_BURSTS: u64 = 400;
/// One in so many is lost, at the publisher and at each consumer.
const LOST_ONE_IN: u64 = 37;
/// What a publisher keeps to send again.
const KEPT_PACKETS: usize = 1_000;
const REPORTS: Duration = Duration::from_millis(100);

const PUBLISHED_SSRC: u32 = 1_000;
const CONSUMED_SSRC: u32 = 5_000;
const RELAY: RelayId = RelayId(1);

/// Counts what a turn allocates, on the thread that runs it.
struct Counting;

thread_local! {
    static IN_TURN: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Where the first few allocations of counted turns came from.
static OFFENDERS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note_allocation() {
    if !IN_TURN.replace(false) {
        return;
    }
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    if let Ok(mut offenders) = OFFENDERS.lock()
        && offenders.len() < 3
    {
        offenders.push(Backtrace::force_capture().to_string());
    }
    IN_TURN.set(true);
}

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of the caller, and what it
// allocates itself it allocates with counting off.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_allocation();
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and the block came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note_allocation();
        // SAFETY: the caller keeps `realloc`'s contract, and the block came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn now() -> Now {
    Now { instant: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

fn association() -> AssociationConfig {
    AssociationConfig {
        identity: Arc::new(Identity::generate().expect("a certificate")),
        profiles: vec![SrtpProfile::AeadAes256Gcm],
    }
}

fn engine(setup: ShardSetup) -> Engine {
    let seed = u64::from(setup.place.shard.0);
    let config = EngineConfig {
        place: setup.place,
        shards: 2,
        candidates: setup.candidates,
        association: association(),
        max_transports: 16,
    };
    Engine::new(config, Box::new(Numbers(seed)))
}

/// A peer with a socket of its own.
struct Client {
    peer: Peer,
    socket: UdpSocket,
    /// What it tells the host's estimator, if it tells anything: more is published than any estimate soon allows.
    arrivals: Option<Arrivals>,
    /// How much of everything it received.
    heard: Heard,
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    media: u64,
    repairs: u64,
    sender_reports: u64,
    receiver_reports: u64,
    transport_feedback: u64,
    /// Feedback that it gave.
    told: u64,
}

impl Client {
    fn new(config: &AssociationConfig, number: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        socket.set_nonblocking(true).expect("a socket can be non-blocking");
        let peer = Peer::new(config, &number.to_string(), now());
        let arrivals = TELL.contains(&number).then(|| Arrivals::new(Instant::now()));
        Self { peer, socket, arrivals, heard: Heard::default() }
    }

    fn send(&mut self) {
        let out = self.peer.output();
        for head in out.heads() {
            self.socket.send_to(out.bytes(head), head.tuple.remote).expect("loopback takes it");
        }
        out.clear();
    }

    /// Takes everything that has arrived; `each` sees it opened.
    fn receive(&mut self, mut each: impl FnMut(&mut Peer, Received, &[u8])) {
        let mut space = [0; 2_048];
        while let Ok(length) = self.socket.recv(&mut space) {
            let received = self.peer.receive(now(), &mut space[..length]);
            self.heard.note(received, &space);
            self.note_arrival(received, &space);
            each(&mut self.peer, received, &space);
        }
        self.tell_arrivals();
        self.peer.timeout(now());
        self.send();
    }

    fn note_arrival(&mut self, received: Received, space: &[u8]) {
        let (Received::Rtp(length), Some(arrivals)) = (received, &mut self.arrivals) else { return };
        let header = Header::parse(&space[..length]).expect("the host sends well-formed packets");
        header.each_extension(&space[..length], |id, value| {
            if let (SEQUENCE_ID, Some(sequence)) = (id, value.first_chunk::<2>()) {
                arrivals.note(u16::from_be_bytes(*sequence), Instant::now());
            }
        });
    }

    /// Transport-wide feedback, as often as a browser gives it.
    fn tell_arrivals(&mut self) {
        let mut information = [0; 1_000];
        let Some(arrivals) = &mut self.arrivals else { return };
        while arrivals.due().is_some_and(|due| due <= Instant::now())
            && let Some(length) = arrivals.feedback(Instant::now(), &mut information)
        {
            let mut space = [0; 1_300];
            let mut writer = Writer::new(&mut space);
            writer.transport_feedback(1, CONSUMED_SSRC, &information[..length]);
            let length = writer.len();
            self.peer.send_rtcp(now(), &space[..length]);
            self.heard.told += 1;
        }
    }
}

impl Heard {
    fn note(&mut self, received: Received, space: &[u8]) {
        match received {
            Received::Rtp(length) => {
                let header = Header::parse(&space[..length]).expect("the host sends well-formed packets");
                let repair = header.ssrc != CONSUMED_SSRC;
                self.media += u64::from(!repair);
                self.repairs += u64::from(repair);
            }
            Received::Rtcp(length) => {
                for packet in Reader::new(&space[..length]) {
                    match packet {
                        Packet::SenderReport { .. } => self.sender_reports += 1,
                        Packet::ReceiverReport(_) => self.receiver_reports += 1,
                        Packet::TransportFeedback(_) => self.transport_feedback += 1,
                        _ => {}
                    }
                }
            }
            Received::Handled | Received::Dropped(_) => {}
        }
    }
}

/// What the publisher sends, loses and sends again.
struct Publisher {
    stream: SealStream,
    repairs: SealStream,
    next: u64,
    next_repair: u64,
    kept: VecDeque<(u16, Vec<u8>)>,
    keyframe_wanted: bool,
    /// Packets of a burst.
    burst: u64,
    bursts: u64,
    resent: u64,
}

impl Publisher {
    fn publish(&mut self, client: &mut Client) {
        self.bursts += 1;
        let doubled = self.bursts.is_multiple_of(DOUBLED_ONE_IN);
        let packets = self.burst * if doubled { 2 } else { 1 };
        for _ in 0..packets {
            let packet = self.packet();
            if !self.next.is_multiple_of(LOST_ONE_IN) {
                client.peer.send_rtp(now(), &mut self.stream, self.next, &packet);
            }
            self.kept.push_back((self.next as u16, packet));
            if self.kept.len() > KEPT_PACKETS {
                self.kept.pop_front();
            }
            self.next += 1;
        }
        client.send();
    }

    fn packet(&mut self) -> Vec<u8> {
        let outgoing = Outgoing {
            marker: true,
            payload_type: PAYLOAD_TYPE,
            sequence: self.next as u16,
            timestamp: self.next as u32 * 90,
            ssrc: PUBLISHED_SSRC,
        };
        let ids =
            OutgoingExtensions { transport_sequence: Some(SEQUENCE_ID), ..OutgoingExtensions::default() };
        let hop = HopValues { transport_sequence: self.next as u16, absolute_send_time: 0 };
        let mut packet = vec![0x55; 1_100];
        let at = write_header(&mut packet, &outgoing, &ids, &hop, &Extensions::default());
        let [high, low] = (self.next as u16 | 0x8000).to_be_bytes();
        let inter = u8::from(!std::mem::take(&mut self.keyframe_wanted));
        packet[at..at + 5].copy_from_slice(&[0x90, 0x80, high, low, inter]);
        packet
    }

    fn report(&self, client: &mut Client) {
        let mut space = [0; 100];
        let mut writer = Writer::new(&mut space);
        writer.sender_report(PUBLISHED_SSRC, now().wall, self.next as u32 * 90, 0, 0);
        let length = writer.len();
        client.peer.send_rtcp(now(), &space[..length]);
        client.send();
    }

    fn listen(&mut self, client: &mut Client) {
        client.receive(|peer, received, bytes| {
            let Received::Rtcp(length) = received else { return };
            for packet in Reader::new(&bytes[..length]) {
                match packet {
                    Packet::Pli { .. } => self.keyframe_wanted = true,
                    Packet::Nack { pairs, .. } => {
                        nacked(pairs).for_each(|sequence| self.resend(peer, sequence));
                    }
                    _ => {}
                }
            }
        });
    }

    fn resend(&mut self, peer: &mut Peer, sequence: u16) {
        let Some((_, packet)) = self.kept.iter().find(|(kept, _)| *kept == sequence) else { return };
        let header = Header::parse(packet).expect("its own packet");
        let mut again = packet[..header.payload_start].to_vec();
        again[1] = (again[1] & 0x80) | REPAIR_PAYLOAD_TYPE;
        again[2..4].copy_from_slice(&(self.next_repair as u16).to_be_bytes());
        again[8..12].copy_from_slice(&(PUBLISHED_SSRC + 1).to_be_bytes());
        again.extend(sequence.to_be_bytes());
        again.extend(&packet[header.payload_start..]);
        peer.send_rtp(now(), &mut self.repairs, self.next_repair, &again);
        self.next_repair += 1;
        self.resent += 1;
    }
}

/// A consumer pretends that it lost one in so many, and asks for it at once.
fn consume(client: &mut Client) {
    client.receive(|peer, received, bytes| {
        let Received::Rtp(length) = received else { return };
        let header = Header::parse(&bytes[..length]).expect("the host sends well-formed packets");
        if header.ssrc == CONSUMED_SSRC && u64::from(header.sequence).is_multiple_of(LOST_ONE_IN) {
            let mut space = [0; 100];
            let mut writer = Writer::new(&mut space);
            writer.receiver_report(1, &[ReportBlock { ssrc: CONSUMED_SSRC, ..ReportBlock::default() }]);
            writer.nack(1, CONSUMED_SSRC, &[header.sequence]);
            let length = writer.len();
            peer.send_rtcp(now(), &space[..length]);
        }
    });
}

/// Two shards on the test's own thread; the publisher and two consumers at the first, two at the second.
struct Node {
    shards: Shards,
    loops: Vec<ShardLoop>,
    said: Receiver<FromShard>,
    clients: Vec<Client>,
    publisher: Publisher,
    next_report: Instant,
    requests: u64,
    counting: bool,
}

/// Whose home is which shard.
const HOMES: [u16; 5] = [0, 0, 0, 1, 1];
/// Who tells what arrives: their ways are estimated, their packets paced, their shares divided. The others get all.
const TELL: [usize; 2] = [2, 4];

impl Node {
    fn new() -> Self {
        let config = ShardsConfig { shards: 2, ring_slots: RING_SLOTS, ..ShardsConfig::loopback() };
        let (say, said) = channel();
        let sink = move |_, what: FromShard| {
            // Reports go to the directory, which is not here.
            if matches!(what, FromShard::Reply(_)) {
                say.send(what).expect("the test listens");
            }
        };
        let (shards, seats) = prepare(&config, Arc::new(sink)).expect("loopback");
        let sit = |seat: tidegate_shard::Seat| {
            let engine = engine(seat.setup().clone());
            ShardLoop::new(seat, engine).expect("sockets can be watched")
        };
        let theirs = association();
        let publisher = Publisher {
            stream: SealStream::new(PUBLISHED_SSRC),
            repairs: SealStream::new(PUBLISHED_SSRC + 1),
            next: 1,
            next_repair: 1,
            kept: VecDeque::new(),
            keyframe_wanted: true,
            burst: BURST,
            bursts: 0,
            resent: 0,
        };
        Self {
            shards,
            loops: seats.into_iter().map(sit).collect(),
            said,
            clients: (0..HOMES.len()).map(|client| Client::new(&theirs, client)).collect(),
            publisher,
            next_report: Instant::now(),
            requests: 0,
            counting: false,
        }
    }

    /// One turn of each loop. Only what happens within is counted.
    fn turn(&mut self) {
        for shard in &mut self.loops {
            IN_TURN.set(self.counting);
            shard.turn(Some(Duration::from_millis(1)));
            IN_TURN.set(false);
        }
    }

    fn command(&mut self, shard: u16, body: CommandBody) -> Done {
        self.requests += 1;
        let request = RequestNumber(self.requests);
        self.shards.command(Place::local(shard), Command { request, body }).expect("room for a command");
        let until = Instant::now() + PATIENCE;
        loop {
            self.turn();
            if let Ok(FromShard::Reply(reply)) = self.said.try_recv() {
                assert_eq!(reply.request, request);
                return reply.result.expect("every command is possible");
            }
            assert!(Instant::now() < until, "no answer");
        }
    }

    fn connect(&mut self) {
        for (client, home) in HOMES.into_iter().enumerate() {
            let transport = TransportId(client as u64);
            let (router, limits) = (RouterId(1), TransportLimits::default());
            let made = self.command(home, CommandBody::CreateTransport { transport, router, limits });
            let Done::Transport(local) = made else { panic!("{made:?}") };
            let remote = self.clients[client].peer.remote();
            self.command(home, CommandBody::ConnectTransport { transport, remote });
            let address: SocketAddr = self.shards.candidates(Place::local(home))[0].address;
            self.clients[client].peer.meet(&local, address, now());
        }
        let until = Instant::now() + PATIENCE;
        while !self.clients.iter().all(|client| client.peer.is_connected()) {
            assert!(Instant::now() < until, "no handshake takes that long");
            self.clients.iter_mut().for_each(|client| client.receive(|_, _, _| ()));
            self.turn();
        }
    }

    fn publish_and_consume(&mut self) {
        let (producer, transport) = (ProducerId(1), TransportId(0));
        let kind = MediaKind::Video;
        let published = ProducerParameters { kind, rtp: parameters("0", PUBLISHED_SSRC) };
        let parameters_of =
            |rtp| ConsumerParameters { kind, rtp, paused: false, preferred: LayerPreference::HIGHEST };
        let create =
            CommandBody::CreateProducer { producer, transport, parameters: published.clone(), paused: false };
        self.command(0, create);
        let accept = CommandBody::AcceptRelay {
            relay: RELAY,
            router: RouterId(1),
            producer,
            parameters: published,
            paused: false,
            from: Place::local(0),
        };
        self.command(1, accept);
        self.command(0, CommandBody::OpenRelay { relay: RELAY, producer, to: Place::local(1) });
        for (client, home) in HOMES.into_iter().enumerate().skip(1) {
            let body = CommandBody::CreateConsumer {
                consumer: ConsumerId(client as u64),
                transport: TransportId(client as u64),
                producer,
                parameters: parameters_of(parameters("v1", CONSUMED_SSRC)),
            };
            self.command(home, body);
        }
    }

    /// A burst of packets, and everything that anyone says to it.
    fn burst(&mut self) {
        let (publisher, consumers) = self.clients.split_first_mut().expect("five clients");
        self.publisher.publish(publisher);
        if self.next_report <= Instant::now() {
            self.next_report = Instant::now() + REPORTS;
            self.publisher.report(publisher);
        }
        self.publisher.listen(publisher);
        consumers.iter_mut().for_each(consume);
        self.turn();
    }

    /// So many bursts, and on until every consumer has heard two sender reports more: a second at least, so that
    /// all that is due by time has been due. Returns how many packets that were.
    fn run(&mut self, bursts: u64) -> u64 {
        let before = self.heard();
        let until = Instant::now() + PATIENCE;
        let first = self.publisher.next;
        let mut done = 0;
        while done < bursts || !self.heard_reports_since(&before) {
            assert!(Instant::now() < until, "sender reports did not come: {:?}", self.heard());
            self.burst();
            done += 1;
        }
        self.publisher.next - first
    }

    fn heard_reports_since(&self, before: &[Heard]) -> bool {
        let consumers = self.clients.iter().zip(before).skip(1);
        consumers.into_iter().all(|(client, before)| client.heard.sender_reports >= before.sender_reports + 2)
    }

    /// The relay's counters at its sink.
    fn relay(&mut self) -> RelayStats {
        let Done::Relays(relays) = self.command(1, CommandBody::ReadRelays) else {
            panic!("asked for relays")
        };
        relays.into_iter().find(|(relay, ..)| *relay == RELAY).expect("the relay stands").2
    }

    fn heard(&self) -> [Heard; HOMES.len()] {
        std::array::from_fn(|client| self.clients[client].heard)
    }
}

#[test]
fn a_forwarded_packet_allocates_nothing() {
    let mut node = Node::new();
    node.connect();
    node.publish_and_consume();
    node.publisher.burst = BURST * WARM_UP_FACTOR;
    node.run(WARM_UP_BURSTS);
    node.publisher.burst = BURST;
    node.run(WARM_UP_BURSTS);

    let (heard, relay, resent) = (node.heard(), node.relay(), node.publisher.resent);
    node.counting = true;
    let published = node.run(COUNTED_BURSTS);
    node.counting = false;
    let (heard_after, relay_after, resent_after) = (node.heard(), node.relay(), node.publisher.resent);

    // First of all it must have been the whole path: media at every consumer, repairs of every hop, RTCP each way.
    for client in 1..HOMES.len() {
        let (before, after) = (heard[client], heard_after[client]);
        if TELL.contains(&client) {
            assert!(after.told > before.told, "consumer {client} told nothing of what arrived");
            continue;
        }
        let media = after.media - before.media;
        assert!(media > published * 9 / 10, "consumer {client} got {media} of {published}");
        assert!(after.repairs > before.repairs, "consumer {client}: {before:?}, {after:?}");
    }
    assert!(heard_after[0].receiver_reports > heard[0].receiver_reports);
    assert!(heard_after[0].transport_feedback > heard[0].transport_feedback);
    assert!(resent_after > resent, "the publisher was asked for what it lost");
    assert!(relay_after.repaired > relay.repaired, "the relay repaired itself: {relay:?}, {relay_after:?}");

    let offenders = OFFENDERS.lock().expect("unpoisoned").join("\n\n");
    let allocations = ALLOCATIONS.get();
    assert_eq!(
        allocations, 0,
        "allocations while {published} packets were forwarded; the first:\n{offenders}"
    );
}
