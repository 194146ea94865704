//! The bodies of the fuzz targets behind decryption, and of the one for a whole engine: ordinary functions, which
//! stable tests call over the checked-in corpus too. Nothing of the engine calls them.

use crate::arrivals::Arrivals;
use crate::association::AssociationConfig;
use crate::association::fuzzing::{credentials, identity, now};
use crate::bandwidth::{Bandwidth, Feedback, Lane};
use crate::io::Datagrams;
use crate::layers::{Frames, Selection};
use crate::payload::{Arrived, StreamReader};
use crate::producer::{Accepted, Producer};
use crate::rtcp::{Packet, ReportBlock, Writer, fir_sources, nacked};
use crate::rtp::{Header, HopValues, Mid, Outgoing, OutgoingExtensions, read_extensions, write_full_header};
use crate::transport::Transport;
use crate::vp8::Shift;
use crate::{rtcp, rtp, vp8};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::command::TransportLimits;
use tidegate_types::consumer::LayerPreference;
use tidegate_types::layer::{Dependence, LayerView, SPATIAL_LAYERS, TEMPORAL_LAYERS, Targets};
use tidegate_types::packet::{Extensions, PayloadInfo};
use tidegate_types::producer::ProducerParameters;
use tidegate_types::rtp::{Codec, CodecParameters, EncodingParameters, ExtensionKind, ExtensionParameters};
use tidegate_types::transport::SrtpProfile;
use tidegate_types::{Bitrate, Buffer, MediaKind, ProducerId, RouterId, RtpParameters, TransportId};

/// Wire ids of the tracks below; an RTP corpus is written with them in mind.
const EXTENSIONS: [(u8, ExtensionKind); 10] = [
    (1, ExtensionKind::AudioLevel),
    (2, ExtensionKind::AbsoluteSendTime),
    (3, ExtensionKind::TransportSequence),
    (4, ExtensionKind::Mid),
    (5, ExtensionKind::Orientation),
    (6, ExtensionKind::AbsoluteCapture),
    (7, ExtensionKind::PlayoutDelay),
    (8, ExtensionKind::DependencyDescriptor),
    (10, ExtensionKind::StreamId),
    (11, ExtensionKind::RepairedStreamId),
];

/// Splits an input into pieces, each behind a byte that says its length in eights.
fn pieces(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first()?;
        let (piece, behind) = behind.split_at(behind.len().min(8 * usize::from(*length)));
        rest = behind;
        Some(piece)
    })
}

/// Pieces as decrypted RTP packets of one peer with a sound and a simulcast picture track: header, extensions,
/// whose stream, the track's order and losses, the reports about it.
pub fn fuzz_rtp(bytes: &[u8]) {
    let config = AssociationConfig { identity: identity(), profiles: vec![SrtpProfile::AeadAes256Gcm] };
    let limits = TransportLimits::default();
    let mut transport = Transport::new(TransportId(1), RouterId(1), limits, &config, credentials(), now());
    for (index, parameters) in tracks().into_iter().enumerate() {
        let producer = Producer::new(ProducerId(index as u64), index, parameters, now().instant);
        transport.add_producer(producer, now().instant);
    }
    let mut out = Datagrams::default();
    for (number, packet) in pieces(bytes).enumerate() {
        let now = now().after(Duration::from_millis(7 * number as u64));
        take_packet(&mut transport, now, packet);
        transport.timeout(now, &mut out);
    }
    for producer in transport.producers.iter_mut().flatten() {
        for encoding in &mut producer.encodings {
            assert!(encoding.missing.awaited() <= crate::missing::MOST);
            encoding.report(now().instant);
        }
    }
    assert!(out.is_empty(), "nobody is connected");
}

fn take_packet(transport: &mut Transport, now: tidegate_types::Now, packet: &[u8]) {
    let Some(header) = Header::parse(packet) else { return };
    assert!(rtp::FIXED_BYTES <= header.payload_start && header.payload_start <= header.payload_end);
    assert!(header.payload_end <= packet.len());
    rewrite_header(&header, packet);
    let (Some(key), extensions) = transport.identify(now, &header, packet) else { return };
    let producer =
        transport.producers[usize::from(key.producer)].as_mut().expect("a stream of a known track");
    let mut buffer = Arc::<Buffer>::default();
    Arc::get_mut(&mut buffer).expect("unshared").fill(packet);
    let Accepted::Packet(accepted) = producer.accept(now.instant, key, &header, extensions, buffer) else {
        return;
    };
    assert_eq!(accepted.payload().len(), usize::from(accepted.payload.end - accepted.payload.start));
    if let PayloadInfo::Vp8(descriptor) = accepted.payload_info {
        rewrite_descriptor(accepted.payload(), &descriptor, Shift { picture_id: 77, tl0_picture_index: 7 });
    }
}

/// What was read of a packet's extensions reads back from an outgoing header.
fn rewrite_header(header: &Header, packet: &[u8]) {
    let mut map = rtp::ExtensionMap::default();
    EXTENSIONS.iter().for_each(|(id, kind)| map.insert(*id, *kind));
    let (hop, end) = read_extensions(header, packet, &map);
    let mid = hop.mid.and_then(|mid| Mid::new(std::str::from_utf8(mid).ok()?));
    let ids = OutgoingExtensions {
        mid: mid.map(|mid| (4, mid)),
        transport_sequence: hop.transport_sequence.map(|_| 3),
        absolute_send_time: Some(2),
        audio_level: Some(1),
        orientation: Some(5),
        absolute_capture: Some(6),
        playout_delay: Some(7),
        dependency_descriptor: Some(8),
    };
    let outgoing = Outgoing {
        marker: header.marker,
        payload_type: header.payload_type,
        sequence: header.sequence,
        timestamp: header.timestamp,
        ssrc: header.ssrc,
    };
    let values = HopValues {
        transport_sequence: hop.transport_sequence.unwrap_or_default(),
        absolute_send_time: 0x0012_3456,
    };
    let told = |packet: &[u8], end: &Extensions| {
        end.dependency_descriptor.map_or_else(Vec::new, |span| packet[span.range()].to_vec())
    };
    let descriptor = told(packet, &end);
    let mut space = [0xa5; 400];
    let length = write_full_header(&mut space, &outgoing, &ids, &values, &end, &descriptor);
    let written = Header::parse(&space[..length]).expect("what is written can be read");
    assert_eq!((written.sequence, written.ssrc), (header.sequence, header.ssrc));
    assert_eq!((written.marker, written.payload_type), (header.marker, header.payload_type));
    let (hop_again, end_again) = read_extensions(&written, &space[..length], &map);
    assert_eq!(told(&space[..length], &end_again), descriptor);
    let dependency_descriptor = end.dependency_descriptor;
    assert_eq!(Extensions { dependency_descriptor, ..end_again }, end);
    assert_eq!(hop_again.mid, mid.as_ref().map(Mid::bytes));
    assert_eq!(hop_again.transport_sequence, hop.transport_sequence);
}

/// Any bytes as a decrypted compound RTCP packet; what this host writes too is written again and reads the same.
pub fn fuzz_rtcp(bytes: &[u8]) {
    let mut packets = 0;
    for packet in rtcp::Reader::new(bytes) {
        packets += 1;
        match packet {
            Packet::SenderReport { ssrc, ntp, rtp, blocks } => {
                rewrite_blocks(blocks);
                let again = |writer: &mut Writer<'_>| writer.sender_report(ssrc, ntp, rtp, 1, 2);
                rewrite(again, |packet| {
                    let Packet::SenderReport { ssrc: ssrc2, ntp: ntp2, rtp: rtp2, .. } = packet else {
                        return false;
                    };
                    (ssrc2, ntp2, rtp2) == (ssrc, ntp, rtp)
                });
            }
            Packet::ReceiverReport(blocks) => rewrite_blocks(blocks),
            Packet::Nack { media, pairs } => rewrite_nack(media, pairs),
            Packet::Pli { media } => {
                rewrite(|writer| writer.pli(1, media), |packet| packet == Packet::Pli { media });
            }
            Packet::Fir(entries) => assert!(fir_sources(entries).count() <= entries.len() / 8),
            Packet::TransportFeedback(information) => rewrite_feedback(information),
            Packet::Bye(ssrc) => rewrite(|writer| writer.bye(ssrc), |packet| packet == Packet::Bye(ssrc)),
            Packet::Remb(_) | Packet::Other => {}
        }
    }
    assert!(packets <= bytes.len() / 4);
}

fn rewrite(write: impl FnOnce(&mut Writer<'_>), same: impl FnOnce(Packet<'_>) -> bool) {
    let mut space = [0x5a; 1_500];
    let mut writer = Writer::new(&mut space);
    write(&mut writer);
    let length = writer.len();
    let mut again = rtcp::Reader::new(&space[..length]);
    assert!(again.next().is_some_and(same));
    assert_eq!(again.next(), None);
}

fn rewrite_blocks(blocks: rtcp::Blocks<'_>) {
    let blocks: Vec<ReportBlock> = blocks.iter().collect();
    assert!(blocks.len() <= 31);
    rewrite(
        |writer| writer.receiver_report(1, &blocks),
        |packet| matches!(packet, Packet::ReceiverReport(again) if again.iter().eq(blocks.iter().copied())),
    );
}

fn rewrite_nack(media: u32, pairs: &[u8]) {
    let sequences: Vec<u16> = nacked(pairs).collect();
    assert!(sequences.len() <= pairs.len() / 4 * 17);
    if sequences.is_empty() {
        return;
    }
    let named = Cell::new(0);
    rewrite(
        |writer| named.set(writer.nack(1, media, &sequences)),
        |packet| {
            let Packet::Nack { media: again, pairs } = packet else { return false };
            // As a set: a pair names its sequences in order, and each once.
            let wanted: BTreeSet<u16> = sequences[..named.get()].iter().copied().collect();
            again == media && nacked(pairs).collect::<BTreeSet<u16>>() == wanted
        },
    );
}

fn rewrite_feedback(information: &[u8]) {
    let information = &information[..information.len().min(1_000)];
    rewrite(
        |writer| writer.transport_feedback(1, 2, information),
        |packet| matches!(packet, Packet::TransportFeedback(again) if again.starts_with(information)),
    );
}

/// Pieces as transport-wide feedback about what is sent meanwhile, a packet each millisecond: the estimate keeps its
/// bounds, and nothing waits longer than it may.
pub fn fuzz_bandwidth(bytes: &[u8]) {
    let mut at = now().instant;
    let mut bandwidth = Bandwidth::new(at);
    let mut sequence = 0_u16;
    for piece in pieces(bytes) {
        for _ in 0..20 {
            at += Duration::from_millis(1);
            let leaves = bandwidth.sent(at, Some(sequence), 1_200, Lane::Video);
            assert!(leaves >= at && leaves < at + Duration::from_millis(300));
            sequence = sequence.wrapping_add(1);
        }
        if let Some(feedback) = Feedback::read(piece) {
            assert!(feedback.arrivals().count() <= 1_024);
        }
        bandwidth.feedback(at, piece);
        bandwidth.look(at);
        let mut padded = 0;
        while let Some(leaves) = bandwidth.padding(at) {
            padded += 1;
            assert!(padded < 1_000, "padding without end");
            bandwidth.padded(leaves, sequence, 250);
            sequence = sequence.wrapping_add(1);
        }
        let kbps = bandwidth.estimate().map_or(50, Bitrate::kbps);
        assert!((50..=100_000).contains(&kbps), "{kbps} kbit/s");
    }
}

/// Three bytes of shift, then any bytes as a VP8 payload: the shifted numbers read back and nothing else moved.
pub fn fuzz_vp8(bytes: &[u8]) {
    let Some((shift, payload)) = bytes.split_first_chunk::<3>() else { return };
    let Some((descriptor, _)) = vp8::parse(payload) else { return };
    let picture_id = u16::from_be_bytes([shift[0], shift[1]]);
    rewrite_descriptor(payload, &descriptor, Shift { picture_id, tl0_picture_index: shift[2] });
}

fn rewrite_descriptor(payload: &[u8], descriptor: &tidegate_types::packet::Vp8Descriptor, shift: Shift) {
    assert!(usize::from(descriptor.length) <= payload.len());
    let mut written = payload.to_vec();
    vp8::rewrite(&mut written, descriptor, shift);
    let (again, keyframe) = vp8::parse(&written).expect("what is written can be read");
    let shifted = descriptor.picture_id.map(|(id, wide)| {
        let mask = if wide { 0x7fff } else { 0x7f };
        (id.wrapping_add(shift.picture_id) & mask, wide)
    });
    assert_eq!(again.picture_id, shifted);
    let index = descriptor.tl0_picture_index.map(|index| index.wrapping_add(shift.tl0_picture_index));
    assert_eq!(again.tl0_picture_index, index);
    assert_eq!((again.temporal, again.layer_sync), (descriptor.temporal, descriptor.layer_sync));
    assert_eq!((again.length, again.starts_picture), (descriptor.length, descriptor.starts_picture));
    assert_eq!(Some(keyframe), vp8::parse(payload).map(|(_, keyframe)| keyframe));
    let length = usize::from(descriptor.length);
    assert_eq!(written[length..], payload[length..]);
}

/// Pieces as the packets of one stream. The first byte of each says codec, marker and whether a descriptor of so many
/// bytes as the second says comes first; the rest is payload. What was read is in range, and a watcher who wants now
/// this and now that is told the same about a frame however often it asks.
pub fn fuzz_payload(bytes: &[u8]) {
    let mut reader = StreamReader::new(true);
    let (mut selection, mut frames) = (Selection::new(), Frames::new());
    for (number, piece) in pieces(bytes).enumerate() {
        let Some((&choice, rest)) = piece.split_first() else { continue };
        let (descriptor, payload) = match rest.split_first().filter(|_| choice & 0x80 != 0) {
            Some((length, rest)) => rest.split_at(rest.len().min(usize::from(*length))),
            None => (&[][..], rest),
        };
        let codec = Codec::ALL[usize::from(choice & 7) % Codec::ALL.len()];
        let (timestamp, marker) = (number as u32 / 2, choice & 0x40 != 0);
        let reading = reader.read(&Arrived { codec, timestamp, marker, payload, descriptor });
        match reading.info {
            PayloadInfo::Vp8(descriptor) => assert!(usize::from(descriptor.length) <= payload.len()),
            PayloadInfo::Red { primary } => assert!(usize::from(primary) <= payload.len()),
            PayloadInfo::Opaque => {}
        }
        let Some(view) = reading.layers else { continue };
        assert_fits(&view);
        selection.want(LayerPreference { spatial: choice >> 3 & 3, temporal: choice >> 5 });
        let once = selection.wants(&mut frames, &view);
        assert_eq!(selection.wants(&mut frames, &view), once, "a frame has one fate");
    }
}

fn assert_fits(view: &LayerView) {
    assert!(view.layer.spatial < SPATIAL_LAYERS && view.layer.temporal < TEMPORAL_LAYERS);
    assert!(view.switch.without(view.present).is_empty());
    assert!(view.discardable.without(view.present).is_empty());
    assert_ne!(view.depends, Dependence::Frames(0));
    assert_eq!(view.exist.best(view.layer).is_none(), view.exist == Targets::NONE);
}

/// Fours of bytes as arrivals: how far the transport-wide sequence steps (two bytes), how much time passes (one, in
/// 2 ms; doubled nine times in the upper half), and whether feedback is written, and into how little space. Nothing
/// is told that did not arrive, nor at another time. (Twice it may be: with one before it that comes late.)
pub fn fuzz_arrivals(bytes: &[u8]) {
    let origin = now().instant;
    let (mut at, mut sequence) = (origin, 0_u16);
    let mut arrivals = Arrivals::new(origin);
    let mut noted: BTreeSet<(u16, u64)> = BTreeSet::new();
    for step in bytes.chunks_exact(4) {
        sequence = sequence.wrapping_add(u16::from_be_bytes([step[0], step[1]]));
        let milliseconds = 2 * u64::from(step[2]);
        at += Duration::from_millis(if step[2] < 128 { milliseconds } else { milliseconds << 9 });
        arrivals.note(sequence, at);
        noted.insert((sequence, quarters(at, origin)));
        if step[3] & 3 == 0 {
            let mut space = [0; 64 + 4 * 63];
            tell(&mut arrivals, at, &mut space[..64 + usize::from(step[3] & 0xfc)], &noted);
        }
    }
}

/// Units of 250 µs since the origin.
fn quarters(at: Instant, origin: Instant) -> u64 {
    (at - origin).as_micros() as u64 / 250
}

fn tell(arrivals: &mut Arrivals, now: Instant, space: &mut [u8], noted: &BTreeSet<(u16, u64)>) {
    let mut rounds = 0;
    while arrivals.due().is_some_and(|due| due <= now) {
        rounds += 1;
        assert!(rounds <= 600, "feedback is due for ever");
        let Some(length) = arrivals.feedback(now, space) else { continue };
        for arrival in read_feedback(&space[..length]) {
            assert!(noted.contains(&arrival), "{arrival:?} never arrived");
        }
    }
}

/// Reads each arrival that a feedback tells, as a sender would: its sequence and its time in units of 250 µs.
fn read_feedback(information: &[u8]) -> Vec<(u16, u64)> {
    let word = |at: usize| u16::from_be_bytes([information[at], information[at + 1]]);
    let (base, count) = (word(0), usize::from(word(2)));
    let mut time = i64::from(word(4)) << 16 | i64::from(information[6]) << 8;
    let mut at = 8 + count.div_ceil(7) * 2;
    let mut told = Vec::new();
    for index in 0..count {
        match word(8 + index / 7 * 2) >> (12 - 2 * (index % 7)) & 3 {
            0 => continue,
            1 => {
                time += i64::from(information[at]);
                at += 1;
            }
            _ => {
                time += i64::from(word(at) as i16);
                at += 2;
            }
        }
        told.push((base.wrapping_add(index as u16), u64::try_from(time).expect("after the origin")));
    }
    assert_eq!(at, information.len());
    told
}

/// A sound track, and a picture track with two rids.
fn tracks() -> [ProducerParameters; 2] {
    let codec = |kind| {
        let video = kind == MediaKind::Video;
        CodecParameters {
            codec: if video { Codec::Vp8 } else { Codec::Opus },
            format: String::new(),
            payload_type: if video { 96 } else { 111 },
            rtx_payload_type: video.then_some(97),
            nack: video,
            pli: video,
            transport_cc: true,
        }
    };
    let track = |kind, mid: &str, encodings| {
        let rtp = RtpParameters {
            mid: Some(mid.to_owned()),
            codecs: vec![codec(kind)],
            extensions: EXTENSIONS
                .iter()
                .map(|(id, kind)| ExtensionParameters { id: *id, kind: *kind })
                .collect(),
            encodings,
            cname: "someone".to_owned(),
            reduced_size_rtcp: true,
        };
        ProducerParameters { kind, rtp }
    };
    let known = EncodingParameters { ssrc: Some(1_000), rtx_ssrc: None, rid: None };
    let rid = |rid: &str| EncodingParameters { ssrc: None, rtx_ssrc: None, rid: Some(rid.to_owned()) };
    [track(MediaKind::Audio, "0", vec![known]), track(MediaKind::Video, "1", vec![rid("l"), rid("h")])]
}

#[cfg(feature = "peer")]
pub use whole::fuzz_engine;

/// A whole engine needs a peer to connect with.
#[cfg(feature = "peer")]
mod whole {
    use super::{pieces, tracks};
    use crate::association::AssociationConfig;
    use crate::association::fuzzing::{identity, now};
    use crate::io::{Incoming, Secrets, Tuple};
    use crate::peer::Peer;
    use crate::{Engine, EngineConfig};
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;
    use tidegate_types::command::{Command, CommandBody, Done, TransportLimits};
    use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
    use tidegate_types::rtp::EncodingParameters;
    use tidegate_types::transport::{Candidate, SrtpProfile};
    use tidegate_types::{ConsumerId, Now, Place, ProducerId, RequestNumber, RouterId, TransportId};

    /// Secrets that are none.
    struct Counting(u8);

    impl Secrets for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_add(97);
                *byte = self.0;
            }
        }
    }

    /// An engine and its one peer, which sends two tracks and is sent them too.
    struct Call {
        engine: Engine,
        peer: Peer,
        now: Now,
        requests: u64,
    }

    fn here() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 7_000))
    }

    fn there() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 2], 5_000))
    }

    fn elsewhere() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 3], 5_000))
    }

    /// Pieces as what happens to an engine whose one peer is connected: the first byte of each chooses, the rest is
    /// a datagram as it is, a datagram from another address, an RTP packet or a compound that the peer seals, or a
    /// time that passes.
    pub fn fuzz_engine(bytes: &[u8]) {
        let mut call = Call::connect();
        for piece in pieces(bytes) {
            let Some((choice, rest)) = piece.split_first() else { continue };
            match choice % 8 {
                0 => call.hand_over(there(), rest),
                1 => call.hand_over(elsewhere(), rest),
                2 | 3 => drop(call.peer.send_any_rtp(call.now, &rest[..rest.len().min(1_400)])),
                4 | 5 => call.peer.send_rtcp(call.now, &rest[..rest.len().min(1_400)]),
                6 => call.pass(Duration::from_millis(10 * u64::from(rest.first().copied().unwrap_or(1)))),
                _ => call.peer.check(call.now),
            }
            call.exchange();
        }
        call.pass(Duration::from_secs(2));
        call.command(CommandBody::CloseTransport { transport: TransportId(1) });
        assert_eq!(call.engine.counters().transports, 0);
    }

    impl Call {
        fn connect() -> Self {
            let association =
                AssociationConfig { identity: identity(), profiles: vec![SrtpProfile::AeadAes256Gcm] };
            let config = EngineConfig {
                place: Place::local(0),
                shards: 2,
                candidates: vec![Candidate { address: here(), tcp: false }],
                association: association.clone(),
                max_transports: 4,
            };
            let engine = Engine::new(config, Box::new(Counting(0)));
            let mut call =
                Self { engine, peer: Peer::new(&association, "0", now()), now: now(), requests: 0 };
            let (transport, router) = (TransportId(1), RouterId(1));
            let limits = TransportLimits::default();
            let made = call.command(CommandBody::CreateTransport { transport, router, limits });
            let Done::Transport(local) = made else { panic!("{made:?}") };
            let remote = call.peer.remote();
            call.command(CommandBody::ConnectTransport { transport, remote });
            call.peer.meet(&local, here(), call.now);
            // A ClientHello that overtakes the first check is sent again after a while.
            for _ in 0..100 {
                call.exchange();
                if call.peer.is_connected() {
                    break;
                }
                call.pass(Duration::from_millis(50));
            }
            assert!(call.peer.is_connected());
            call.publish();
            call
        }

        fn publish(&mut self) {
            let transport = TransportId(1);
            for (index, parameters) in tracks().into_iter().enumerate() {
                let (producer, kind) = (ProducerId(index as u64), parameters.kind);
                let mut rtp = parameters.rtp.clone();
                let ssrc = 5_000 + 2 * index as u32;
                rtp.encodings =
                    vec![EncodingParameters { ssrc: Some(ssrc), rtx_ssrc: Some(ssrc + 1), rid: None }];
                self.command(CommandBody::CreateProducer { producer, transport, parameters, paused: false });
                let parameters =
                    ConsumerParameters { kind, rtp, paused: false, preferred: LayerPreference::HIGHEST };
                let consumer = ConsumerId(index as u64);
                self.command(CommandBody::CreateConsumer { consumer, transport, producer, parameters });
            }
        }

        fn command(&mut self, body: CommandBody) -> Done {
            self.requests += 1;
            self.engine.command(self.now, Command { request: RequestNumber(self.requests), body });
            let reply = self.engine.output().replies.pop().expect("every command is answered");
            reply.result.expect("a command that fits")
        }

        /// One datagram. An address that passed no check gets no more than it sent.
        fn hand_over(&mut self, from: SocketAddr, bytes: &[u8]) {
            let mut buffer = self.engine.pool().take();
            Arc::get_mut(&mut buffer).expect("a fresh buffer is unshared").fill(bytes);
            let tuple = Tuple { socket: 0, remote: from };
            self.engine.receive(self.now, &mut vec![Incoming { tuple, at: self.now.instant, buffer }]);
            let out = &self.engine.output().datagrams;
            let answered = out.heads().iter().filter(|head| head.tuple.remote == elsewhere());
            assert!(answered.map(|head| out.bytes(head).len()).sum::<usize>() <= bytes.len());
        }

        fn pass(&mut self, by: Duration) {
            self.now = self.now.after(by);
            self.engine.timeout(self.now);
            assert!(self.engine.next_timeout().is_none_or(|at| at > self.now.instant), "due for ever");
            self.peer.timeout(self.now);
        }

        /// Both sides hear all that the other said.
        fn exchange(&mut self) {
            let out = std::mem::take(self.peer.output());
            for head in out.heads() {
                self.hand_over(there(), out.bytes(head));
            }
            let output = self.engine.output();
            let out = std::mem::take(&mut output.datagrams);
            output.reports.clear();
            output.crossings.clear();
            for head in out.heads().iter().filter(|head| head.tuple.remote == there()) {
                self.peer.receive(self.now, &mut out.bytes(head).to_vec());
            }
        }
    }
}
