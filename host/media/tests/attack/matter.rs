//! What is mutated: RTP and RTCP of every kind as a browser would send them, and records of real handshakes.

use super::Chance;
use std::collections::VecDeque;
use tidegate_media::association::{Kind, classify};
use tidegate_media::rtcp::{ReportBlock, Writer};
use tidegate_types::producer::ProducerParameters;
use tidegate_types::rtp::{Codec, CodecParameters, EncodingParameters, ExtensionKind, ExtensionParameters};
use tidegate_types::{MediaKind, Now, ProducerId, RtpParameters};

/// Wire ids of every track.
pub(crate) const EXTENSIONS: [(u8, ExtensionKind); 10] = [
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
/// SSRCs of what comes back to the attacker; its second track is pictures, ten above.
pub(crate) const BACK: u32 = 700_000;
/// Records kept.
const RECORDS: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub(crate) producer: ProducerId,
    pub(crate) parameters: ProducerParameters,
}

/// Sound with a known SSRC, and pictures with two rids.
pub(crate) fn tracks(number: u64) -> [Track; 2] {
    let base = number as u32 * 1_000;
    let known = EncodingParameters { ssrc: Some(base), rtx_ssrc: None, rid: None };
    let rid = |rid: &str| EncodingParameters { ssrc: None, rtx_ssrc: None, rid: Some(rid.to_owned()) };
    let track = |index, kind, mid: &str, encodings| Track {
        producer: ProducerId(number * 10 + index),
        parameters: ProducerParameters { kind, rtp: parameters(kind, mid, encodings) },
    };
    [track(0, MediaKind::Audio, "0", vec![known]), track(1, MediaKind::Video, "1", vec![rid("l"), rid("h")])]
}

fn parameters(kind: MediaKind, mid: &str, encodings: Vec<EncodingParameters>) -> RtpParameters {
    let video = kind == MediaKind::Video;
    RtpParameters {
        mid: Some(mid.to_owned()),
        codecs: vec![CodecParameters {
            codec: if video { Codec::Vp8 } else { Codec::Opus },
            format: String::new(),
            payload_type: if video { 96 } else { 111 },
            rtx_payload_type: video.then_some(97),
            nack: video,
            pli: video,
            transport_cc: true,
        }],
        extensions: EXTENSIONS.map(|(id, kind)| ExtensionParameters { id, kind }).to_vec(),
        encodings,
        cname: "someone".to_owned(),
        reduced_size_rtcp: true,
    }
}

/// The same as a receiver negotiates it.
pub(crate) fn as_sent(rtp: &RtpParameters, ssrc: u32) -> RtpParameters {
    let encoding = EncodingParameters { ssrc: Some(ssrc), rtx_ssrc: Some(ssrc + 1), rid: None };
    RtpParameters { encodings: vec![encoding], mid: Some(ssrc.to_string()), ..rtp.clone() }
}

/// One packet of the sound of `number`.
pub(crate) fn sound(number: u64, sequence: u16) -> Vec<u8> {
    let mut packet = header(0x90, 111, sequence, u32::from(sequence) * 960, number as u32 * 1_000);
    packet.extend([0xbe, 0xde, 0, 2, 0x10, 0x85, 0x31]);
    packet.extend(sequence.to_be_bytes());
    packet.extend([0x40, b'0', 0]);
    packet.extend([0x5a; 80]);
    packet
}

fn header(first: u8, payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
    let mut bytes = vec![first, payload_type];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes
}

#[derive(Debug, Default)]
pub(crate) struct Matter {
    number: u64,
    /// Of sound, low and high pictures, repairs.
    sequences: [u16; 4],
    transport_sequence: u16,
    frame: u16,
    records: VecDeque<Vec<u8>>,
    previous: Vec<u8>,
}

impl Matter {
    /// A new attacker's streams begin.
    pub(crate) fn begin(&mut self, number: u64, tracks: &[Track; 2]) {
        assert_eq!(tracks[0].producer, ProducerId(number * 10));
        self.number = number;
        self.sequences = [60_000, 1, 100, 1];
        self.frame = 0;
    }

    /// A packet was sealed: its stream goes on behind it, or nothing more of the stream could be sealed.
    pub(crate) fn note_sealed(&mut self, packet: &[u8]) {
        let Some(&[high, low, _, _, _, _, a, b, c, d]) = packet.get(2..).and_then(<[u8]>::first_chunk::<10>)
        else {
            return;
        };
        let (sequence, ssrc) = (u16::from_be_bytes([high, low]), u32::from_be_bytes([a, b, c, d]));
        for (stream, known) in self.sequences.iter_mut().enumerate() {
            let ahead = sequence.wrapping_sub(*known) as i16 > 0;
            if ahead && ssrc == self.number as u32 * 1_000 + 10 * stream as u32 {
                *known = sequence;
            }
        }
    }

    /// Keeps what is a record of a handshake.
    pub(crate) fn note_record(&mut self, bytes: &[u8]) {
        if classify(bytes) == Kind::Dtls {
            self.records.push_back(bytes.to_vec());
            if self.records.len() > RECORDS {
                self.records.pop_front();
            }
        }
    }

    pub(crate) fn record(&self, chance: &mut Chance) -> Vec<u8> {
        self.records[chance.below(self.records.len())].clone()
    }

    /// Another packet, to borrow from.
    pub(crate) fn other(&self) -> &[u8] {
        &self.previous
    }

    fn number_of(&mut self, stream: usize) -> u16 {
        self.sequences[stream] = self.sequences[stream].wrapping_add(1);
        self.sequences[stream]
    }

    pub(crate) fn rtp(&mut self, chance: &mut Chance) -> Vec<u8> {
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        let packet = match chance.below(10) {
            0 | 1 => sound(self.number, self.number_of(0)),
            2..=6 => {
                let high = chance.below(2) == 0;
                self.picture(chance, high)
            }
            7 => self.repair(chance),
            8 => self.two_byte_form(),
            _ => self.padded(),
        };
        self.previous.clone_from(&packet);
        packet
    }

    /// Carries every extension; one in sixteen begins a keyframe.
    fn picture(&mut self, chance: &mut Chance, high: bool) -> Vec<u8> {
        let (stream, rid) = if high { (2, b'h') } else { (1, b'l') };
        let sequence = self.number_of(stream);
        self.frame = self.frame.wrapping_add(1) & 0x7fff;
        let ssrc = self.number as u32 * 1_000 + 10 * stream as u32;
        let mut packet = header(0x90, 0x80 | 96, sequence, u32::from(self.frame) * 3_000, ssrc);
        packet.extend([0xbe, 0xde, 0, 8, 0x31]);
        packet.extend(self.transport_sequence.to_be_bytes());
        packet.extend([0x40, b'1', 0xa0, rid, 0x22, 1, 2, 3, 0x50, 0x11, 0x67, 0, 0, 0, 1, 2, 3, 4, 5]);
        packet.extend([0x72, 0, 0x10, 0x20, 0, 0]);
        packet.resize(12 + 4 + 32, 0);
        let [id_high, id_low] = (self.frame | 0x8000).to_be_bytes();
        let is_delta = u8::from(chance.below(16) != 0);
        packet.extend([0x90, 0xf0, id_high, id_low, self.frame as u8, 0x20, is_delta]);
        packet.extend(std::iter::repeat_n(0x5a, chance.below(200)));
        packet
    }

    fn repair(&mut self, chance: &mut Chance) -> Vec<u8> {
        let sequence = self.number_of(3);
        let ssrc = self.number as u32 * 1_000 + 30;
        let mut packet = header(0x90, 97, sequence, u32::from(self.frame) * 3_000, ssrc);
        packet.extend([0xbe, 0xde, 0, 1, 0x40, b'1', 0xb0, b'l']);
        packet.extend(self.sequences[1].wrapping_sub(chance.below(40) as u16).to_be_bytes());
        packet.extend([0x90, 0x80, 5, 1, 2, 3]);
        packet
    }

    fn two_byte_form(&mut self) -> Vec<u8> {
        let sequence = self.number_of(0);
        let ssrc = self.number as u32 * 1_000;
        let mut packet = header(0x91, 111, sequence, u32::from(sequence) * 960, ssrc);
        packet.extend(77_u32.to_be_bytes());
        packet
            .extend([0x10, 0, 0, 5, 1, 1, 0x20, 4, 1, b'0', 6, 8, 1, 2, 3, 4, 5, 6, 7, 8, 7, 3, 0, 1, 2, 0]);
        packet.extend([0x5a; 40]);
        packet
    }

    fn padded(&mut self) -> Vec<u8> {
        let sequence = self.number_of(0);
        let mut packet = header(0xa0, 111, sequence, u32::from(sequence) * 960, self.number as u32 * 1_000);
        packet.extend([9, 8, 7, 6, 5, 4, 0, 0, 0, 4]);
        packet
    }

    /// One to three packets of RTCP.
    pub(crate) fn rtcp(&mut self, chance: &mut Chance, now: Now) -> Vec<u8> {
        let mut compound = Vec::new();
        for _ in 0..=chance.below(3) {
            self.append_rtcp(chance, now, &mut compound);
        }
        self.previous.clone_from(&compound);
        compound
    }

    fn append_rtcp(&self, chance: &mut Chance, now: Now, compound: &mut Vec<u8>) {
        let own = self.number as u32 * 1_000 + 10 * chance.below(4) as u32;
        let back = BACK + 10 * chance.below(2) as u32;
        let block = ReportBlock { ssrc: back, fraction_lost: 7, highest: 9, ..ReportBlock::default() };
        let mut space = [0; 400];
        let mut writer = Writer::new(&mut space);
        match chance.below(9) {
            0 => writer.sender_report(own, now.wall, chance.next() as u32, 5, 500),
            1 => writer.receiver_report(1, &[block, block]),
            2 => {
                let first = chance.next() as u16 & 0x3fff;
                let lost: Vec<u16> = (0..40).map(|step| first.wrapping_add(step * 3)).collect();
                writer.nack(1, back, &lost);
            }
            3 => writer.pli(1, back),
            4 => return compound.extend(full_intra_request(back)),
            5 => writer.transport_feedback(1, back, &[0, 1, 0, 2, 0, 0, 1, 0, 0xd4, 0, 1, 1]),
            6 => writer.bye(own),
            7 => writer.source_description(own, "someone"),
            _ => return compound.extend([0x80, 204, 0, 2, 0, 0, 0, 1, b't', b'e', b's', b't']),
        }
        let length = writer.len();
        compound.extend(&space[..length]);
    }
}

/// RFC 5104, section 4.3.1.
fn full_intra_request(media: u32) -> Vec<u8> {
    let mut packet = vec![0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0];
    packet.extend(media.to_be_bytes());
    packet.extend([1, 0, 0, 0]);
    packet
}
