//! Datagrams that reach another shard than the one where their transport stands. Behind one port the kernel spreads
//! flows by their addresses and knows nothing of transports, so about half of them do; after a move all of that
//! transport's do; and of TCP's streams half stay at the wrong shard, and their datagrams cross both ways. Real sockets,
//! real handshakes, real media.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tidegate_media::association::{AssociationConfig, Identity, Received, SealStream};
use tidegate_media::io::{Datagram, Secrets};
use tidegate_media::peer::Peer;
use tidegate_media::rtp::{HopValues, Outgoing, OutgoingExtensions, write_header};
use tidegate_media::{Engine, EngineConfig};
use tidegate_shard::{FromShard, Shards, ShardsConfig, start};
use tidegate_types::command::{Command, CommandBody, CommandReply, Done, TransportLimits};
use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
use tidegate_types::packet::Extensions;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::rtp::{Codec, CodecParameters, EncodingParameters};
use tidegate_types::transport::{LocalTransport, SrtpProfile};
use tidegate_types::{
    ConsumerId, MediaKind, Now, NtpTime, Place, ProducerId, RelayId, RequestNumber, RouterId, RtpParameters,
    ShardIndex, TransportId,
};

const SHARDS: u16 = 2;
/// One in 2^16 runs would see every flow at its own shard by chance.
const PEOPLE: u64 = 16;
const PATIENCE: Duration = Duration::from_secs(20);

struct System;

impl Secrets for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let mut state = seed ^ bytes.as_ptr() as u64;
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 33) as u8;
        }
    }
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

struct Host {
    shards: Shards,
    replies: Receiver<CommandReply>,
    requests: u64,
}

impl Host {
    fn start(identity: &AssociationConfig, single_port: bool) -> Self {
        let (sender, replies) = channel();
        let sender = Mutex::new(sender);
        let sink = Arc::new(move |_place: Place, from: FromShard| {
            if let FromShard::Reply(reply) = from {
                sender.lock().unwrap().send(reply).unwrap();
            }
        });
        let config = ShardsConfig { shards: SHARDS, single_port, ..ShardsConfig::loopback() };
        let association = identity.clone();
        let engine = move |setup: tidegate_shard::ShardSetup| {
            let config = EngineConfig {
                place: setup.place,
                shards: SHARDS,
                candidates: setup.candidates,
                association: association.clone(),
                max_transports: 100,
            };
            Engine::new(config, Box::new(System))
        };
        Self { shards: start(&config, engine, sink).unwrap(), replies, requests: 0 }
    }

    fn command(&mut self, place: Place, body: CommandBody) -> Done {
        self.requests += 1;
        let request = RequestNumber(self.requests);
        self.shards.command(place, Command { request, body }).unwrap();
        let reply = self.replies.recv_timeout(PATIENCE).expect("every command is answered");
        assert_eq!(reply.request, request);
        reply.result.unwrap()
    }

    fn crossed(&self) -> u64 {
        self.shards.counters().iter().map(|counters| counters.crossings_in).sum()
    }
}

struct Person {
    peer: Peer,
    link: Link,
    heard: u64,
}

/// How a person reaches the host.
enum Link {
    Udp(UdpSocket),
    /// With what has arrived of the frames (RFC 4571).
    Tcp(TcpStream, Vec<u8>),
}

impl Link {
    fn udp(host: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(host).unwrap();
        Self::Udp(socket)
    }

    fn tcp(host: SocketAddr) -> Self {
        let stream = TcpStream::connect(host).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self::Tcp(stream, Vec::new())
    }

    fn send(&mut self, datagram: &[u8]) {
        match self {
            Self::Udp(socket) => assert_eq!(socket.send(datagram).unwrap(), datagram.len()),
            Self::Tcp(stream, _) => {
                let length = u16::try_from(datagram.len()).unwrap();
                stream.write_all(&[&length.to_be_bytes(), datagram].concat()).unwrap();
            }
        }
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut bytes = [0; 2_048];
        match self {
            Self::Udp(socket) => socket.recv(&mut bytes).ok().map(|length| bytes[..length].to_vec()),
            Self::Tcp(stream, arrived) => {
                match stream.read(&mut bytes) {
                    Ok(0) => panic!("the host closed the stream"),
                    Ok(length) => arrived.extend_from_slice(&bytes[..length]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                let length = usize::from(u16::from_be_bytes(*arrived.first_chunk()?));
                (arrived.len() >= 2 + length).then(|| arrived.drain(..2 + length).skip(2).collect())
            }
        }
    }
}

impl Person {
    /// Sends what it has to say and takes what arrived.
    fn turn(&mut self) {
        let now = now();
        self.peer.timeout(now);
        while let Some(mut bytes) = self.link.receive() {
            if let Received::Rtp(_) = self.peer.receive(now, &mut bytes) {
                self.heard += 1;
            }
        }
        let out = self.peer.output();
        // A real agent's check comes before anything else; a stream that begins otherwise is closed.
        let is_check = |head: &&Datagram| out.bytes(head).first().is_some_and(|first| *first < 4);
        let (checks, others): (Vec<&Datagram>, Vec<&Datagram>) = out.heads().iter().partition(is_check);
        for head in checks.into_iter().chain(others) {
            self.link.send(out.bytes(head));
        }
        out.clear();
    }
}

/// Turns everyone until `done`, at most [`PATIENCE`]; `each` runs once a turn, about every millisecond.
fn until(
    people: &mut [Person],
    what: &str,
    mut each: impl FnMut(&mut [Person]),
    done: impl Fn(&[Person]) -> bool,
) {
    let end = Instant::now() + PATIENCE;
    while !done(people) {
        assert!(Instant::now() < end, "{what} did not happen");
        each(people);
        people.iter_mut().for_each(Person::turn);
        // Paces the loop; nothing depends on its length.
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn opus(ssrc: u32) -> RtpParameters {
    RtpParameters {
        mid: None,
        codecs: vec![CodecParameters {
            codec: Codec::Opus,
            format: String::new(),
            payload_type: 111,
            rtx_payload_type: None,
            nack: false,
            pli: false,
            transport_cc: false,
        }],
        extensions: Vec::new(),
        encodings: vec![EncodingParameters { ssrc: Some(ssrc), rtx_ssrc: None, rid: None }],
        cname: "someone".to_owned(),
        reduced_size_rtcp: true,
    }
}

fn home(person: u64) -> Place {
    Place::local((person % u64::from(SHARDS)) as u16)
}

fn association() -> AssociationConfig {
    AssociationConfig {
        identity: Arc::new(Identity::generate().unwrap()),
        profiles: vec![SrtpProfile::AeadAes256Gcm],
    }
}

/// Everyone with a transport at home, handshake done. Nobody hears what comes from another address than it knows.
fn connect(host: &mut Host, identity: &AssociationConfig, link: fn(SocketAddr) -> Link) -> Vec<Person> {
    let mut people: Vec<Person> = (0..PEOPLE)
        .map(|number| {
            let transport = TransportId(number);
            let limits = TransportLimits::default();
            let create = CommandBody::CreateTransport { transport, router: RouterId(1), limits };
            let Done::Transport(local) = host.command(home(number), create) else { panic!("no transport") };
            let local: LocalTransport = local;
            let mut peer = Peer::new(identity, &number.to_string(), now());
            host.command(home(number), CommandBody::ConnectTransport { transport, remote: peer.remote() });
            let address = local.candidates[0].address;
            peer.meet(&local, address, now());
            Person { peer, link: link(address), heard: 0 }
        })
        .collect();
    until(
        &mut people,
        "everyone's handshake",
        |_| {},
        |people| people.iter().all(|person| person.peer.is_connected()),
    );
    people
}

/// The first person's sound, to everyone else at both places.
fn publish(host: &mut Host) -> ProducerId {
    let producer = ProducerId(1);
    let parameters = ProducerParameters { kind: MediaKind::Audio, rtp: opus(7) };
    let produce = CommandBody::CreateProducer {
        producer,
        transport: TransportId(0),
        parameters: parameters.clone(),
        paused: false,
    };
    host.command(home(0), produce);
    let accept = CommandBody::AcceptRelay {
        relay: RelayId(1),
        router: RouterId(1),
        producer,
        parameters,
        paused: false,
        from: home(0),
    };
    host.command(home(1), accept);
    host.command(home(0), CommandBody::OpenRelay { relay: RelayId(1), producer, to: home(1) });
    for listener in 1..PEOPLE {
        let parameters = ConsumerParameters {
            kind: MediaKind::Audio,
            rtp: opus(100),
            paused: false,
            preferred: LayerPreference::HIGHEST,
        };
        let (consumer, transport) = (ConsumerId(listener), TransportId(listener));
        host.command(
            home(listener),
            CommandBody::CreateConsumer { consumer, transport, producer, parameters },
        );
    }
    producer
}

/// What the first person says: one packet a turn.
struct Voice {
    stream: SealStream,
    sequence: u64,
}

impl Voice {
    fn new() -> Self {
        Self { stream: SealStream::new(7), sequence: 0 }
    }

    fn speak(&mut self, people: &mut [Person]) {
        self.sequence += 1;
        let outgoing = Outgoing {
            marker: false,
            payload_type: 111,
            sequence: self.sequence as u16,
            timestamp: self.sequence as u32,
            ssrc: 7,
        };
        let mut packet = [0; 200];
        let hop = HopValues { transport_sequence: 0, absolute_send_time: 0 };
        let head = write_header(
            &mut packet,
            &outgoing,
            &OutgoingExtensions::default(),
            &hop,
            &Extensions::default(),
        );
        people[0].peer.send_rtp(now(), &mut self.stream, self.sequence, &packet[..head + 40]);
    }
}

#[test]
fn datagrams_that_reach_the_wrong_shard_are_handed_over() {
    everyone_hears_the_first(Link::udp);
}

#[test]
fn streams_that_reach_the_wrong_shard_carry_what_crosses() {
    everyone_hears_the_first(Link::tcp);
}

fn everyone_hears_the_first(link: fn(SocketAddr) -> Link) {
    let identity = association();
    let mut host = Host::start(&identity, true);
    let mut people = connect(&mut host, &identity, link);
    assert!(host.crossed() > 0, "every flow met its own shard: nothing was tested");
    publish(&mut host);
    let mut voice = Voice::new();
    until(
        &mut people,
        "everyone's hearing",
        |people| voice.speak(people),
        |people| people[1..].iter().all(|person| person.heard >= 50),
    );
    assert_eq!(host.shards.stop(Duration::from_secs(1)), []);
}

#[test]
fn who_moves_between_ports_keeps_speaking_and_hearing_at_the_address_that_it_knows() {
    let identity = association();
    let mut host = Host::start(&identity, false);
    let mut people = connect(&mut host, &identity, Link::udp);
    let producer = publish(&mut host);
    let mut voice = Voice::new();
    let mut heard = 0;
    for number in 0..6_u64 {
        heard += 20;
        until(
            &mut people,
            "everyone's hearing",
            |people| voice.speak(people),
            |people| people[1..].iter().all(|person| person.heard >= heard),
        );
        // The speaker, and a listener of the other place, change places.
        let (here, there) = (number % 2, (number + 1) % 2);
        let back = vec![(producer, RelayId(100 + number))];
        let moves = [(TransportId(0), here, there, back), (TransportId(1), there, here, Vec::new())];
        for (transport, from, to, stand_ins) in moves {
            let to = ShardIndex(to as u16);
            host.command(home(from), CommandBody::MoveTransport { transport, to, stand_ins });
        }
    }
    heard += 20;
    until(
        &mut people,
        "everyone's hearing",
        |people| voice.speak(people),
        |people| people[1..].iter().all(|person| person.heard >= heard),
    );
    let spoken = voice.sequence;
    let least = people[1..].iter().map(|person| person.heard).min();
    assert!(least.is_some_and(|least| least + 20 >= spoken), "{spoken} spoken, {least:?} heard by someone");
    assert_eq!(host.shards.stop(Duration::from_secs(1)), []);
}
