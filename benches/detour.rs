//! What a moved transport's datagrams cost the host when they come by a connected socket, and when the old shard hands
//! them over; beside both, what they cost where their transport has never moved. Two shards on threads of their own,
//! real UDP on loopback, real DTLS peers that each publish pictures of 5 packets of 1,200 bytes; all three in turn, in one
//! run. Knows nothing of how either way is built.
//!
//! ```text
//! 40 peers ─ 50 pictures a second each ─▶ port of shard 0 ─┬─ transport here                    (at home)
//!                                                          ├─ connected socket ─▶ shard 1       (moved)
//!                                                          └─ shard 0 ─ ring ─▶ shard 1         (handed over)
//! ```
//!
//! `cargo bench --bench detour`: CPU of the shards' threads a packet, medians over rounds.
#![forbid(unsafe_code)]

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tidegate_media::association::{AssociationConfig, Identity, SealStream};
use tidegate_media::peer::Peer;
use tidegate_media::peer::video::{MID_ID, Numbers, PAYLOAD_TYPE, SEQUENCE_ID, parameters};
use tidegate_media::rtp::{HopValues, Mid, Outgoing, OutgoingExtensions, write_header};
use tidegate_media::{Engine, EngineConfig};
use tidegate_shard::{CONNECTED_SOCKETS, FromShard, ShardSetup, Shards, ShardsConfig, Sink, start};
use tidegate_types::command::{Command, CommandBody, CommandReply, Done, TransportLimits};
use tidegate_types::packet::Extensions;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::transport::SrtpProfile;
use tidegate_types::{
    MediaKind, Now, NtpTime, Place, ProducerId, RequestNumber, RouterId, ShardIndex, TransportId,
};

/// Fewer than may have a connected socket.
const PEERS: u64 = 40;
const _: () = assert!(PEERS <= CONNECTED_SOCKETS as u64);
const PICTURE_PACKETS: usize = 5;
const PACKET_BYTES: usize = 1_200;
/// From picture to picture of one peer; peers take turns.
const PICTURE_INTERVAL: Duration = Duration::from_millis(20);
const CHECKS: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
/// How long each measurement takes.
const SPAN: Duration = Duration::from_secs(2);
const SSRC: u32 = 1_000;

fn now() -> Now {
    Now { instant: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

/// One way of arriving: a host of two shards, and its peers.
struct Way {
    name: &'static str,
    shards: Shards,
    replies: Receiver<CommandReply>,
    requests: u64,
    peers: Vec<Sender>,
    next_check: Instant,
}

struct Sender {
    peer: Peer,
    socket: UdpSocket,
    stream: SealStream,
    sequence: u64,
}

impl Way {
    fn new(name: &'static str, connected_sockets: u16, moved: bool) -> Self {
        let association = AssociationConfig {
            identity: Arc::new(Identity::generate().expect("a certificate")),
            profiles: vec![SrtpProfile::AeadAes256Gcm],
        };
        let (sender, replies) = channel();
        let sender = Mutex::new(sender);
        let sink: Sink = Arc::new(move |_, said| {
            if let (FromShard::Reply(reply), Ok(sender)) = (said, sender.lock()) {
                drop(sender.send(reply));
            }
        });
        let own = association.clone();
        let engine = move |setup: ShardSetup| {
            let association = own.clone();
            let (place, candidates) = (setup.place, setup.candidates);
            let config = EngineConfig { place, shards: 2, candidates, association, max_transports: 100 };
            Engine::new(config, Box::new(Numbers(u64::from(place.shard.0) + 1)))
        };
        let config = ShardsConfig { shards: 2, connected_sockets, ..ShardsConfig::loopback() };
        let shards = start(&config, engine, sink).expect("loopback");
        let mut way =
            Self { name, shards, replies, requests: 0, peers: Vec::new(), next_check: Instant::now() };
        (0..PEERS).for_each(|number| way.enter(number, &association));
        if moved {
            way.move_everyone();
        }
        way
    }

    fn command(&mut self, body: CommandBody) -> Done {
        self.requests += 1;
        let command = Command { request: RequestNumber(self.requests), body };
        self.shards.command(Place::local(0), command).expect("it has room");
        self.replies.recv().expect("it answers").result.expect("possible")
    }

    /// A peer with one track and its handshake done.
    fn enter(&mut self, number: u64, association: &AssociationConfig) {
        let transport = TransportId(number);
        let (router, limits) = (RouterId(1), TransportLimits::default());
        let Done::Transport(local) = self.command(CommandBody::CreateTransport { transport, router, limits })
        else {
            panic!("no transport")
        };
        let mut peer = Peer::new(association, &number.to_string(), now());
        self.command(CommandBody::ConnectTransport { transport, remote: peer.remote() });
        let rtp = parameters("0", SSRC);
        let parameters = ProducerParameters { kind: MediaKind::Video, rtp };
        let producer = ProducerId(number);
        self.command(CommandBody::CreateProducer { producer, transport, parameters, paused: false });
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        socket.connect(local.candidates[0].address).expect("loopback");
        socket.set_nonblocking(true).expect("an option");
        peer.meet(&local, local.candidates[0].address, now());
        let mut sender = Sender { peer, socket, stream: SealStream::new(SSRC), sequence: 0 };
        while !sender.peer.is_connected() {
            sender.turn();
            thread::sleep(Duration::from_micros(200));
        }
        self.peers.push(sender);
    }

    fn move_everyone(&mut self) {
        for number in 0..PEERS {
            let (transport, to) = (TransportId(number), ShardIndex(1));
            self.command(CommandBody::MoveTransport { transport, to, stand_ins: Vec::new() });
        }
    }

    /// Everyone publishes for a while; CPU of both shards' threads a datagram that they took in.
    fn measure(&mut self) -> Duration {
        let received =
            |way: &Self| -> u64 { way.shards.counters().iter().map(|shard| shard.received_datagrams).sum() };
        let (cpu, before) = (cpu_of_shards(), received(self));
        let end = Instant::now() + SPAN;
        let mut due = Instant::now();
        let mut turn = 0;
        while Instant::now() < end {
            if self.next_check <= due {
                self.next_check = due + CHECKS;
                self.peers.iter_mut().for_each(|sender| sender.peer.check(now()));
            }
            let sender = &mut self.peers[turn % PEERS as usize];
            sender.picture();
            sender.turn();
            turn += 1;
            due += PICTURE_INTERVAL / PEERS as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        (cpu_of_shards() - cpu) / u32::try_from(received(self) - before).expect("a few seconds' worth")
    }

    /// Datagrams handed over so far, and connected sockets now.
    fn arrivals(&self) -> (u64, u64) {
        let counters = self.shards.counters();
        let sum = |of: fn(&tidegate_shard::ShardCounters) -> u64| counters.iter().map(of).sum();
        (sum(|shard| shard.handed_over), sum(|shard| shard.connected_sockets))
    }
}

impl Sender {
    fn picture(&mut self) {
        let ids = OutgoingExtensions {
            transport_sequence: Some(SEQUENCE_ID),
            mid: Mid::new("0").map(|mid| (MID_ID, mid)),
            ..Default::default()
        };
        let timestamp = (self.sequence * 360) as u32;
        for part in 1..=PICTURE_PACKETS {
            self.sequence += 1;
            let outgoing = Outgoing {
                marker: part == PICTURE_PACKETS,
                payload_type: PAYLOAD_TYPE,
                sequence: self.sequence as u16,
                timestamp,
                ssrc: SSRC,
            };
            let hop = HopValues { transport_sequence: self.sequence as u16, absolute_send_time: 0 };
            let mut packet = [0x10; PACKET_BYTES];
            write_header(&mut packet, &outgoing, &ids, &hop, &Extensions::default());
            self.peer.send_rtp(now(), &mut self.stream, self.sequence, &packet);
        }
    }

    /// Sends what it has to say and takes what arrived.
    fn turn(&mut self) {
        self.peer.timeout(now());
        let mut bytes = [0; 2_048];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            self.peer.receive(now(), &mut bytes[..length]);
        }
        let out = self.peer.output();
        for head in out.heads() {
            self.socket.send(out.bytes(head)).expect("loopback takes it");
        }
        out.clear();
    }
}

/// CPU time of all threads that are named as shards' are.
fn cpu_of_shards() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let spent = tasks.filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let spent = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        name.starts_with("shard-").then(|| spent.split(' ').next()?.parse::<u64>().ok())?
    });
    Duration::from_nanos(spent.sum())
}

fn main() {
    let mut ways = [
        Way::new("at home", CONNECTED_SOCKETS, false),
        Way::new("moved, by connected sockets", CONNECTED_SOCKETS, true),
        Way::new("moved, handed over", 0, true),
    ];
    let mut spent = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for (way, spent) in ways.iter_mut().zip(&mut spent) {
            spent.push(way.measure());
        }
    }
    println!("CPU of the shards' threads a received packet, median of {ROUNDS} rounds:");
    for (way, spent) in ways.iter().zip(&mut spent) {
        spent.sort_unstable();
        let (handed_over, connected) = way.arrivals();
        let micros = spent[ROUNDS / 2].as_secs_f64() * 1e6;
        println!(
            "  {:<28} {micros:.2} µs   ({handed_over} handed over, {connected} connected sockets)",
            way.name
        );
    }
}
