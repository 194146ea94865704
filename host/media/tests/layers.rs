//! Layers through a whole engine, and over a relay to another: pictures that nobody here can read are forwarded by
//! their dependency descriptors alone, and each watcher gets the layers that it wants.

#![allow(clippy::disallowed_methods, reason = "virtual time has to start somewhere")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tidegate_media::Engine;
use tidegate_media::association::{Received, SealStream};
use tidegate_media::io::Crossing;
use tidegate_media::peer::{Peer, host};
use tidegate_media::rtcp::{Packet, Reader};
use tidegate_media::rtp::{
    ExtensionMap, Header, HopValues, Outgoing, OutgoingExtensions, read_extensions, write_full_header,
};
use tidegate_types::command::{CommandBody, Done, TransportLimits};
use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
use tidegate_types::packet::Extensions;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::rtp::{Codec, CodecParameters, EncodingParameters, ExtensionKind, ExtensionParameters};
use tidegate_types::{
    ConsumerId, MediaKind, Now, Place, ProducerId, RelayId, RouterId, RtpParameters, TransportId,
};

/// A structure of two spatial layers, each picture built on the one before and the layer below: the templates are the
/// lower layer's key picture, its other pictures, and the upper layer's likewise.
const STRUCTURE: [u8; 9] = [0x80, 0x01, 0x23, 0xab, 0x23, 0x45, 0x04, 0x60, 0x00];
const PRODUCER: ProducerId = ProducerId(1);
const ROUTER: RouterId = RouterId(1);
const PUBLISHED_SSRC: u32 = 1_000;
const CONSUMED_SSRC: u32 = 7_000;
/// Needs the two-byte form on the way out.
const DESCRIPTOR_ID: u8 = 20;
const PACKETS_A_FRAME: u8 = 2;

/// What a watcher got of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    sequence: u16,
    marker: bool,
    descriptor: Vec<u8>,
    payload: Vec<u8>,
}

impl Heard {
    fn spatial(&self) -> u8 {
        self.payload[3]
    }
}

struct Watcher {
    peer: Peer,
    heard: Vec<Heard>,
}

/// One publisher at the first engine, and a watcher at each.
struct Call {
    engines: Vec<Engine>,
    publisher: Peer,
    watchers: Vec<Watcher>,
    seal: SealStream,
    now: Now,
    requests: u64,
    sequence: u64,
    frame: u16,
    picture: u32,
    keyframe_requests: u64,
}

fn publisher_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 5_000))
}

fn watcher_address(watcher: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 3], 5_000 + watcher as u16))
}

fn parameters(ssrc: u32) -> RtpParameters {
    let codec = CodecParameters {
        codec: Codec::Av1,
        format: "profile=0".to_owned(),
        payload_type: 45,
        rtx_payload_type: Some(46),
        nack: true,
        pli: true,
        transport_cc: false,
    };
    RtpParameters {
        mid: Some("0".to_owned()),
        codecs: vec![codec],
        extensions: vec![ExtensionParameters {
            id: DESCRIPTOR_ID,
            kind: ExtensionKind::DependencyDescriptor,
        }],
        encodings: vec![EncodingParameters { ssrc: Some(ssrc), rtx_ssrc: Some(ssrc + 1), rid: None }],
        cname: "someone".to_owned(),
        reduced_size_rtcp: true,
    }
}

impl Call {
    fn new(engines: usize) -> Self {
        let now = host::begin(Instant::now());
        let association = host::association();
        let watcher = |number: usize| Watcher {
            peer: Peer::new(&association, &format!("watcher{number}"), now),
            heard: Vec::new(),
        };
        let mut call = Self {
            engines: (0..engines).map(|shard| host::engine(shard, engines, 0, &association)).collect(),
            publisher: Peer::new(&association, "publisher", now),
            watchers: (0..engines).map(watcher).collect(),
            seal: SealStream::new(PUBLISHED_SSRC),
            now,
            requests: 0,
            sequence: 100,
            frame: 65_500,
            picture: 0,
            keyframe_requests: 0,
        };
        call.connect();
        call.publish();
        call
    }

    fn command(&mut self, engine: usize, body: CommandBody) -> Done {
        self.requests += 1;
        let done = host::command(&mut self.engines[engine], self.now, self.requests, body);
        self.deliver();
        done.expect("a command that fits")
    }

    fn connect(&mut self) {
        for number in 0..=self.watchers.len() {
            let engine = number.saturating_sub(1);
            let transport = TransportId(number as u64);
            let limits = TransportLimits::default();
            let body = CommandBody::CreateTransport { transport, router: ROUTER, limits };
            let Done::Transport(local) = self.command(engine, body) else { panic!("a transport") };
            let peer = if number == 0 { &mut self.publisher } else { &mut self.watchers[engine].peer };
            let remote = peer.remote();
            peer.meet(&local, host::address(engine), self.now);
            self.command(engine, CommandBody::ConnectTransport { transport, remote });
        }
        for _ in 0..100 {
            self.pass(50);
        }
        assert!(self.publisher.is_connected());
        assert!(self.watchers.iter().all(|watcher| watcher.peer.is_connected()));
    }

    fn publish(&mut self) {
        let kind = MediaKind::Video;
        let producer = PRODUCER;
        let parameters_of = ProducerParameters { kind, rtp: parameters(PUBLISHED_SSRC) };
        let create = CommandBody::CreateProducer {
            producer,
            transport: TransportId(0),
            parameters: parameters_of.clone(),
            paused: false,
        };
        self.command(0, create);
        for engine in 1..self.engines.len() {
            let relay = RelayId(engine as u64);
            let accept = CommandBody::AcceptRelay {
                relay,
                router: ROUTER,
                producer,
                parameters: parameters_of.clone(),
                paused: false,
                from: Place::local(0),
            };
            self.command(engine, accept);
            let open = CommandBody::OpenRelay { relay, producer, to: Place::local(engine as u16) };
            self.command(0, open);
        }
        for engine in 0..self.engines.len() {
            let parameters = ConsumerParameters {
                kind,
                rtp: parameters(CONSUMED_SSRC),
                paused: false,
                preferred: LayerPreference::HIGHEST,
            };
            let (consumer, transport) = (ConsumerId(engine as u64), TransportId(engine as u64 + 1));
            self.command(engine, CommandBody::CreateConsumer { consumer, transport, producer, parameters });
        }
    }

    fn prefer(&mut self, spatial: u8) {
        let preferred = LayerPreference { spatial, temporal: u8::MAX };
        for engine in 0..self.engines.len() {
            let consumer = ConsumerId(engine as u64);
            self.command(engine, CommandBody::SetPreferredLayers { consumer, preferred });
        }
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now = self.now.after(Duration::from_millis(milliseconds));
        for engine in 0..self.engines.len() {
            self.engines[engine].timeout(self.now);
        }
        self.publisher.timeout(self.now);
        for watcher in &mut self.watchers {
            watcher.peer.timeout(self.now);
        }
        self.deliver();
    }

    /// One picture of both layers, 33 ms after the one before, then whatever follows from it.
    fn picture(&mut self, key: bool) {
        self.picture += 1;
        for spatial in 0..2_u8 {
            self.frame = self.frame.wrapping_add(1);
            for part in 0..PACKETS_A_FRAME {
                self.packet(spatial, part, key);
            }
        }
        self.deliver();
        self.pass(33);
    }

    fn packet(&mut self, spatial: u8, part: u8, key: bool) {
        let template = spatial * 2 + u8::from(!key);
        let (starts, ends) = (part == 0, part + 1 == PACKETS_A_FRAME);
        let [high, low] = self.frame.to_be_bytes();
        let mut descriptor = vec![u8::from(starts) << 7 | u8::from(ends) << 6 | template, high, low];
        if key && spatial == 0 && starts {
            descriptor.extend(STRUCTURE);
        }
        let outgoing = Outgoing {
            marker: spatial == 1 && ends,
            payload_type: 45,
            sequence: self.sequence as u16,
            timestamp: self.picture.wrapping_mul(3_000),
            ssrc: PUBLISHED_SSRC,
        };
        let ids = OutgoingExtensions { dependency_descriptor: Some(DESCRIPTOR_ID), ..Default::default() };
        let hop = HopValues { transport_sequence: 0, absolute_send_time: 0 };
        let mut packet = [0xee; 500];
        let end = Extensions::default();
        let at = write_full_header(&mut packet, &outgoing, &ids, &hop, &end, &descriptor);
        // What a codec would read first says nothing: it is encrypted.
        packet[at..at + 5].copy_from_slice(&[0x08, high, low, spatial, part]);
        self.publisher.send_rtp(self.now, &mut self.seal, self.sequence, &packet[..at + 300]);
        self.sequence += 1;
    }

    /// Everything that was said reaches who it is for, until nobody says anything.
    fn deliver(&mut self) {
        loop {
            let mut quiet = true;
            let mut sent = vec![(0, publisher_address(), std::mem::take(self.publisher.output()))];
            for (number, watcher) in self.watchers.iter_mut().enumerate() {
                sent.push((number, watcher_address(number), std::mem::take(watcher.peer.output())));
            }
            for (engine, from, out) in sent {
                for head in out.heads() {
                    quiet = false;
                    self.hand_over(engine, from, out.bytes(head));
                }
            }
            for engine in 0..self.engines.len() {
                let output = self.engines[engine].output();
                output.reports.clear();
                let (out, crossings) =
                    (std::mem::take(&mut output.datagrams), std::mem::take(&mut output.crossings));
                for head in out.heads() {
                    quiet = false;
                    self.hear(head.tuple.remote, &mut out.bytes(head).to_vec());
                }
                for (to, crossing) in crossings {
                    quiet = false;
                    assert!(matches!(crossing, Crossing::Relay(_)));
                    let from = Place::local(engine as u16);
                    self.engines[usize::from(to.shard.0)].cross(self.now, from, crossing);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn hand_over(&mut self, engine: usize, from: SocketAddr, bytes: &[u8]) {
        host::deliver(&mut self.engines[engine], self.now, from, bytes);
    }

    fn hear(&mut self, to: SocketAddr, bytes: &mut [u8]) {
        if to == publisher_address() {
            if let Received::Rtcp(length) = self.publisher.receive(self.now, bytes) {
                let asks =
                    Reader::new(&bytes[..length]).filter(|packet| matches!(packet, Packet::Pli { .. }));
                self.keyframe_requests += asks.count() as u64;
            }
            return;
        }
        let watcher = usize::from(to.port() - watcher_address(0).port());
        let watcher = &mut self.watchers[watcher];
        if let Received::Rtp(length) = watcher.peer.receive(self.now, bytes) {
            let packet = &bytes[..length];
            let header = Header::parse(packet).expect("the host sends well-formed packets");
            let mut map = ExtensionMap::default();
            map.insert(DESCRIPTOR_ID, ExtensionKind::DependencyDescriptor);
            let (_, end) = read_extensions(&header, packet, &map);
            watcher.heard.push(Heard {
                sequence: header.sequence,
                marker: header.marker,
                descriptor: end
                    .dependency_descriptor
                    .map_or_else(Vec::new, |span| packet[span.range()].to_vec()),
                payload: packet[header.payload_start..header.payload_end].to_vec(),
            });
        }
    }

    /// What each watcher got since this was last asked; it must be the same for all.
    fn heard(&mut self) -> Vec<Heard> {
        let mut heard = self.watchers.iter_mut().map(|watcher| std::mem::take(&mut watcher.heard));
        let first = heard.next().expect("someone watches");
        for other in heard {
            let shown = |all: &[Heard]| all.iter().map(|one| one.payload[1..5].to_vec()).collect::<Vec<_>>();
            assert_eq!(shown(&first), shown(&other), "both places show the same");
        }
        first
    }
}

#[test]
fn what_nobody_can_read_is_forwarded_by_layers_here_and_over_a_relay() {
    let mut call = Call::new(2);
    call.picture(false);
    assert!(call.heard().is_empty(), "nothing before a keyframe");
    assert!(call.keyframe_requests > 0);
    call.picture(true);
    call.picture(false);
    let heard = call.heard();
    assert_eq!(heard.iter().map(Heard::spatial).collect::<Vec<_>>(), [0, 0, 1, 1, 0, 0, 1, 1]);
    assert!(heard[0].descriptor.ends_with(&STRUCTURE), "the structure travels");
    assert!(heard.iter().all(|one| one.descriptor[1..3] == one.payload[1..3]), "with its own packet");
    let markers: Vec<bool> = heard.iter().map(|one| one.marker).collect();
    assert_eq!(markers, [false, false, false, true, false, false, false, true]);

    call.prefer(0);
    let last = heard.last().unwrap().sequence;
    call.picture(false);
    call.picture(false);
    let heard = call.heard();
    assert_eq!(heard.iter().map(Heard::spatial).collect::<Vec<_>>(), [0; 4], "at once, with no keyframe");
    let numbers: Vec<u16> = heard.iter().map(|one| one.sequence.wrapping_sub(last)).collect();
    assert_eq!(numbers, [1, 2, 3, 4], "without a gap");
    assert_eq!(heard.iter().map(|one| one.marker).collect::<Vec<_>>(), [false, true, false, true]);

    let before = call.keyframe_requests;
    call.prefer(9);
    // Longer than the time in which two requests become one.
    call.pass(400);
    assert_eq!(call.keyframe_requests, before + 1, "the larger picture needs one, however many ask");
    call.picture(false);
    assert_eq!(call.heard().len(), 2);
    call.picture(true);
    call.picture(false);
    assert_eq!(call.heard().iter().map(Heard::spatial).collect::<Vec<_>>(), [0, 0, 1, 1, 0, 0, 1, 1]);
}
