//! What one consumer sends: which packets, under which numbers, and again when asked.

use super::repair::REPAIRS_PER_INTERVAL;
use super::*;
use std::sync::Arc;
use tidegate_types::MediaPacket;
use tidegate_types::layer::{Dependence, LayerView, Targets};
use tidegate_types::packet::{Extensions, PayloadInfo, Vp8Descriptor};
use tidegate_types::relay::SourceClock;
use tidegate_types::rtp::{CodecParameters, EncodingParameters, RtpParameters};

fn consumer(kind: MediaKind) -> Consumer {
    let codec = if kind == MediaKind::Audio { Codec::Opus } else { Codec::Vp8 };
    let rtp = RtpParameters {
        mid: None,
        codecs: vec![CodecParameters {
            codec,
            format: String::new(),
            payload_type: 96,
            rtx_payload_type: Some(97),
            nack: true,
            pli: true,
            transport_cc: true,
        }],
        extensions: Vec::new(),
        encodings: vec![EncodingParameters { ssrc: Some(1), rtx_ssrc: Some(2), rid: None }],
        cname: String::new(),
        reduced_size_rtcp: true,
    };
    let parameters = ConsumerParameters { kind, rtp, paused: false, preferred: LayerPreference::HIGHEST };
    Consumer::new(ConsumerId(1), ProducerId(1), &parameters, 0, Instant::now()).unwrap()
}

fn packet(
    at: Instant,
    encoding: u8,
    sequence: u64,
    timestamp: u32,
    keyframe: bool,
    picture: u16,
) -> MediaPacket {
    MediaPacket {
        encoding,
        sequence,
        timestamp,
        marker: true,
        keyframe,
        ingress: at,
        codec: Codec::Vp8,
        layers: None,
        payload_info: PayloadInfo::Vp8(Vp8Descriptor {
            picture_id: Some((picture, true)),
            starts_picture: true,
            ..Vp8Descriptor::default()
        }),
        extensions: Extensions::default(),
        payload: 0..0,
        buffer: Arc::default(),
    }
}

/// The packet with a dependency descriptor of this frame number.
fn described(packet: MediaPacket, frame: u16) -> MediaPacket {
    let [high, low] = frame.to_be_bytes();
    let mut buffer = tidegate_types::Buffer::default();
    buffer.set_length(3);
    buffer.bytes_mut().copy_from_slice(&[0xc0, high, low]);
    let span = tidegate_types::packet::Span { start: 0, length: 3 };
    let extensions = Extensions { dependency_descriptor: Some(span), ..packet.extensions };
    MediaPacket { extensions, buffer: Arc::new(buffer), ..packet }
}

#[test]
fn a_keyframe_that_is_older_than_what_was_sent_is_no_place_to_switch() {
    let start = Instant::now();
    let clocks = |_| None;
    for descriptor in [Some(13), None] {
        let mut consumer = consumer(MediaKind::Video);
        consumer.ids.dependency_descriptor = descriptor;
        consumer.choose(2, 0b11);
        let sends = |consumer: &mut Consumer, encoding, sequence, frame| {
            let packet = described(packet(start, encoding, sequence, 0, true, 7), frame);
            consumer.select(&packet, clocks).is_some()
        };
        assert!(sends(&mut consumer, 0, 100, 2), "the low encoding's");
        assert_eq!(
            sends(&mut consumer, 1, 900, 1),
            descriptor.is_none(),
            "the same picture's, numbered before"
        );
        assert_eq!(consumer.awaits_keyframe(), descriptor.map(|_| 1));
        assert!(sends(&mut consumer, 1, 950, 3), "the next one");
        assert_eq!(consumer.awaits_keyframe(), None);
        consumer.resync();
        assert!(sends(&mut consumer, 0, 200, 40_000), "a publisher that counts anew");
    }
}

#[test]
fn a_switch_continues_sequence_timestamp_and_picture_and_can_be_repaired() {
    let start = Instant::now();
    let mut consumer = consumer(MediaKind::Video);
    consumer.choose(2, 0b11);
    let clocks = |_| None;
    assert!(consumer.select(&packet(start, 1, 50, 0, false, 7), clocks).is_none(), "no keyframe yet");
    let low = consumer.select(&packet(start, 0, 100, 1_000, true, 7), clocks).unwrap();
    let late = start + Duration::from_millis(100);
    let high = consumer.select(&packet(late, 1, 900, 77, true, 3_000), clocks).unwrap();
    assert!(high.switched);
    assert_eq!(high.sequence, low.sequence + 1);
    assert_eq!(high.timestamp.wrapping_sub(low.timestamp), 9_000);
    assert_eq!(3_000_u16.wrapping_add(high.shift.picture_id) & 0x7fff, 8);
    assert!(consumer.select(&packet(late, 0, 101, 2_000, false, 8), clocks).is_none());
    assert!(consumer.select(&packet(late, 1, 899, 70, false, 2_999), clocks).is_none(), "before the switch");
    let (encoding, sequence, _) = consumer.repair(low.sequence as u16, late).unwrap();
    assert_eq!((encoding, sequence), (0, 100));
    let (encoding, sequence, _) = consumer.repair(high.sequence as u16, late).unwrap();
    assert_eq!((encoding, sequence), (1, 900));
    assert!(consumer.repair(high.sequence as u16 + 1, late).is_none(), "not sent yet");
    assert_eq!(consumer.stats.switches, 1);
}

#[test]
fn clocks_of_the_publisher_align_encodings_exactly() {
    let start = Instant::now();
    let mut consumer = consumer(MediaKind::Video);
    consumer.choose(2, 0b11);
    let clocks = |encoding| {
        Some(SourceClock {
            ntp: tidegate_types::NtpTime(1 << 40),
            rtp: if encoding == 0 { 10_000 } else { 500_000 },
            received: start,
        })
    };
    let low = consumer.select(&packet(start, 0, 1, 10_000, true, 1), clocks).unwrap();
    // Captured 40 ms later on the same camera, arriving 70 ms later.
    let later = start + Duration::from_millis(70);
    let high = consumer.select(&packet(later, 1, 1, 503_600, true, 1), clocks).unwrap();
    assert_eq!(high.timestamp.wrapping_sub(low.timestamp), 3_600);
}

#[test]
fn floods_of_repair_requests_are_bounded() {
    let start = Instant::now();
    let mut consumer = consumer(MediaKind::Video);
    let ticket = consumer.select(&packet(start, 0, 1, 0, true, 0), |_| None).unwrap();
    let served = (0..1_000).filter(|_| consumer.repair(ticket.sequence as u16, start).is_some()).count();
    assert_eq!(served, REPAIRS_PER_INTERVAL as usize);
    assert_eq!(consumer.stats.refused_repairs, 1_000 - u64::from(REPAIRS_PER_INTERVAL));
}

/// A picture of a stream with three temporal layers, one packet each.
fn layered(at: Instant, sequence: u64, picture: u16, temporal: u8, keyframe: bool) -> MediaPacket {
    let plain = packet(at, 0, sequence, u32::from(picture) * 3_000, keyframe, picture);
    let layer = Target { spatial: 0, temporal };
    let all = Targets::from(Target { spatial: 0, temporal: 0 });
    let opens = keyframe || temporal == 0;
    MediaPacket {
        layers: Some(LayerView {
            frame: picture,
            layer,
            starts_frame: true,
            ends_frame: true,
            depends: if keyframe { Dependence::Nothing } else { Dependence::Any(Targets::from(layer)) },
            present: Targets::from(layer),
            switch: if opens { all } else { Targets::NONE },
            discardable: Targets::NONE,
            exist: all.without(Targets::from(Target { spatial: 0, temporal: 3 })),
        }),
        ..plain
    }
}

fn picture_of(packet: &MediaPacket, ticket: &Ticket) -> u16 {
    let PayloadInfo::Vp8(descriptor) = packet.payload_info else { panic!("VP8") };
    descriptor.picture_id.unwrap().0.wrapping_add(ticket.shift.picture_id) & 0x7fff
}

#[test]
fn a_dropped_layer_leaves_no_gap_in_numbers_and_pictures_and_repairs_find_their_packets() {
    let start = Instant::now();
    let mut consumer = consumer(MediaKind::Video);
    consumer.limit(Some(LayerPreference { spatial: 9, temporal: 0 }), false);
    consumer.choose(1, 1);
    let mut sent = Vec::new();
    for picture in 0..40_u16 {
        let temporal = [0, 2, 1, 2][usize::from(picture) % 4];
        let packet = layered(start, 100 + u64::from(picture), 500 + picture, temporal, picture == 0);
        if picture == 20 {
            consumer.limit(Some(LayerPreference::HIGHEST), false);
            consumer.choose(1, 1);
        }
        if let Some(ticket) = consumer.select(&packet, |_| None) {
            sent.push((packet, ticket));
        }
    }
    assert_eq!(sent.len(), 5 + 20);
    for pair in sent.windows(2) {
        let [(before, first), (after, second)] = pair else { unreachable!() };
        assert_eq!(second.sequence, first.sequence + 1);
        assert_eq!(picture_of(after, second), picture_of(before, first) + 1);
    }
    for (packet, ticket) in &sent {
        let (_, source, out) = consumer.repair(ticket.sequence as u16, start).unwrap();
        assert_eq!((source, out), (packet.sequence, ticket.sequence));
        let again = consumer.ticket_again(packet, out).unwrap();
        assert_eq!((again.timestamp, again.shift), (ticket.timestamp, ticket.shift));
        consumer.repairs.1 = 0;
    }
}

#[test]
fn a_number_kept_for_a_packet_that_turns_out_unwanted_goes_out_empty() {
    let start = Instant::now();
    let mut consumer = consumer(MediaKind::Video);
    consumer.limit(Some(LayerPreference { spatial: 9, temporal: 0 }), false);
    consumer.choose(1, 1);
    let first = consumer.select(&layered(start, 1, 1, 0, true), |_| None).unwrap();
    // 2 is lost on its way in; nobody knows of which layer it was.
    let third = consumer.select(&layered(start, 3, 3, 0, false), |_| None).unwrap();
    assert_eq!(third.sequence, first.sequence + 2);
    let late = layered(start, 2, 2, 2, false);
    let second = consumer.select(&late, |_| None).unwrap();
    assert_eq!((second.sequence, second.carried), (first.sequence + 1, Carried::Nothing));
    assert!(second.payload(&late).is_empty() && !second.marker);
    assert!(consumer.ticket_again(&late, second.sequence).is_none(), "there is nothing to send again");
}

#[test]
fn the_last_packet_of_the_highest_layer_sent_ends_the_picture() {
    let start = Instant::now();
    let mut consumer = consumer(MediaKind::Video);
    consumer.limit(Some(LayerPreference { spatial: 0, temporal: 9 }), false);
    consumer.choose(1, 1);
    let lower = Target { spatial: 0, temporal: 0 };
    let upper = Target { spatial: 1, temporal: 0 };
    let both = Targets::of(lower).with(Targets::of(upper));
    let of = |sequence, layer, present, keyframe| {
        let mut packet = layered(start, sequence, sequence as u16, 0, keyframe);
        packet.marker = layer == upper;
        let view = packet.layers.as_mut().unwrap();
        (view.layer, view.present, view.exist) = (layer, present, both);
        packet
    };
    let small = of(1, lower, both, true);
    let ticket = consumer.select(&small, |_| None).unwrap();
    assert!(ticket.marker);
    assert!(consumer.ticket_again(&small, ticket.sequence).unwrap().marker);
    assert!(consumer.select(&of(2, upper, Targets::of(upper), false), |_| None).is_none());
    assert_eq!(consumer.current_layers(), Some(lower));
    assert_eq!(consumer.awaits_keyframe(), None);
    consumer.limit(Some(LayerPreference::HIGHEST), false);
    consumer.choose(1, 1);
    assert_eq!(consumer.awaits_keyframe(), Some(0));
}

#[test]
fn redundant_sound_is_stripped_for_who_takes_it_plain_and_silence_stays_a_gap_in_time() {
    let start = Instant::now();
    let mut consumer = consumer(MediaKind::Audio);
    let mut buffer = tidegate_types::Buffer::default();
    buffer.fill(&[0x80 | 111, 0x0f, 0x00, 2, 111, 8, 8, 1, 2]);
    let mut red = packet(start, 0, 10, 48_000, false, 0);
    (red.codec, red.payload_info) = (Codec::Red, PayloadInfo::Red { primary: 7 });
    (red.payload, red.buffer) = (0..9, Arc::new(buffer));
    let ticket = consumer.select(&red, |_| None).unwrap();
    assert_eq!(ticket.payload(&red), [1, 2]);
    assert_eq!(consumer.header(&ticket).payload_type, 96);
    // Discontinuous transmission: 400 ms later, the very next number.
    let mut plain = packet(start + Duration::from_millis(400), 0, 11, 67_200, false, 0);
    plain.codec = Codec::Opus;
    let next = consumer.select(&plain, |_| None).unwrap();
    assert_eq!((next.sequence, next.timestamp), (ticket.sequence + 1, ticket.timestamp + 19_200));
}

#[test]
fn a_track_that_changes_its_codec_pauses_for_who_lacks_it_and_comes_back_with_a_keyframe() {
    let start = Instant::now();
    let mut consumer = consumer(MediaKind::Video);
    let first = consumer.select(&packet(start, 0, 1, 0, true, 1), |_| None).unwrap();
    let mut other = packet(start, 0, 2, 3_000, true, 2);
    other.codec = Codec::Av1;
    assert!(consumer.select(&other, |_| None).is_none());
    assert_eq!(consumer.awaits_keyframe(), Some(0));
    assert!(consumer.select(&packet(start, 0, 3, 6_000, false, 3), |_| None).is_none());
    let back = consumer.select(&packet(start, 0, 4, 9_000, true, 4), |_| None).unwrap();
    assert_eq!(back.sequence, first.sequence + 1);
}
