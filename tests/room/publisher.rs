//! What someone publishes: sound, and pictures in three encodings of two temporal layers each, whose payload tells what
//! they are; retransmissions and keyframes for whoever asks. Knows nothing of who receives it.

use std::collections::VecDeque;
use std::time::Duration;
use tidegate_media::association::SealStream;
use tidegate_media::clock;
use tidegate_media::peer::Peer;
use tidegate_media::rtcp::{self, Writer};
use tidegate_media::rtp::{Header, HopValues, Outgoing, OutgoingExtensions, write_header};
use tidegate_types::packet::Extensions;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::rtp::{Codec, CodecParameters, EncodingParameters, ExtensionKind, ExtensionParameters};
use tidegate_types::{MediaKind, Now, RtpParameters};

/// Little enough for many rooms, and more than a narrow way carries.
pub(crate) const PICTURES_EVERY: Duration = Duration::from_millis(200);
pub(crate) const SOUND_EVERY: Duration = Duration::from_millis(200);
/// Packets of a picture and bytes of each, one entry an encoding: 10, 40 and 80 kbit/s.
const ENCODINGS: [(u8, usize); 3] = [(1, 250), (1, 1_000), (2, 1_000)];
const SOUND_BYTES: usize = 40;
const HISTORY: usize = 100;
const AUDIO: u8 = 111;
const VIDEO: u8 = 96;
const REPAIR: u8 = 97;
pub(crate) const LEVEL_ID: u8 = 1;
pub(crate) const SEQUENCE_ID: u8 = 3;
const MID_ID: u8 = 4;

struct Stream {
    seal: SealStream,
    repair_seal: SealStream,
    ssrc: u32,
    next: u64,
    next_repair: u64,
    /// Somebody watches it, as far as its publisher was told.
    watched: bool,
    keyframe_wanted: bool,
    sent: VecDeque<(u64, Vec<u8>)>,
    offset: u32,
    picture: u16,
    base: u8,
}

/// All of someone's tracks.
pub(crate) struct Publisher {
    sound: Stream,
    encodings: Vec<Stream>,
    pub(crate) pictures_sent: u32,
    sounds_sent: u32,
    pub(crate) paused: bool,
}

/// Whose a published SSRC is.
pub(crate) fn person_of(ssrc: u32) -> usize {
    ssrc as usize / 1_000 - 1
}

pub(crate) fn parameters(kind: MediaKind, mid: &str, encodings: Vec<EncodingParameters>) -> RtpParameters {
    let video = kind == MediaKind::Video;
    let extension = |id, kind| ExtensionParameters { id, kind };
    RtpParameters {
        mid: Some(mid.to_owned()),
        codecs: vec![CodecParameters {
            codec: if video { Codec::Vp8 } else { Codec::Opus },
            format: String::new(),
            payload_type: if video { VIDEO } else { AUDIO },
            rtx_payload_type: video.then_some(REPAIR),
            nack: video,
            pli: video,
            transport_cc: video,
        }],
        extensions: vec![
            extension(LEVEL_ID, ExtensionKind::AudioLevel),
            extension(SEQUENCE_ID, ExtensionKind::TransportSequence),
            extension(MID_ID, ExtensionKind::Mid),
        ],
        encodings,
        cname: "someone".to_owned(),
        reduced_size_rtcp: true,
    }
}

impl Stream {
    fn new(person: usize, index: u32) -> Self {
        let ssrc = (person as u32 + 1) * 1_000 + index * 10;
        Self {
            seal: SealStream::new(ssrc),
            repair_seal: SealStream::new(ssrc + 1),
            ssrc,
            next: 1_000,
            next_repair: 1,
            watched: true,
            keyframe_wanted: true,
            sent: VecDeque::new(),
            offset: ssrc.wrapping_mul(2_654_435_761),
            picture: (ssrc % 30_000) as u16,
            base: ssrc as u8,
        }
    }

    fn parameters(&self, repaired: bool) -> EncodingParameters {
        let rtx_ssrc = repaired.then_some(self.ssrc + 1);
        EncodingParameters { ssrc: Some(self.ssrc), rtx_ssrc, rid: None }
    }

    fn send(&mut self, now: Now, peer: &mut Peer, head: Outgoing, level: Option<u8>, payload: &[u8]) {
        let mut packet = [0; 1_400];
        let ids = OutgoingExtensions { audio_level: level.map(|_| LEVEL_ID), ..Default::default() };
        let hop = HopValues { transport_sequence: 0, absolute_send_time: 0 };
        let end = Extensions { audio_level: level.map(|level| (level, true)), ..Default::default() };
        let at = write_header(&mut packet, &head, &ids, &hop, &end);
        packet[at..at + payload.len()].copy_from_slice(payload);
        let packet = &packet[..at + payload.len()];
        peer.send_rtp(now, &mut self.seal, self.next, packet);
        if level.is_none() {
            self.sent.push_back((self.next, packet.to_vec()));
            if self.sent.len() > HISTORY {
                self.sent.pop_front();
            }
        }
        self.next += 1;
    }

    /// One picture; an upper one builds on the base picture before it alone.
    fn send_picture(&mut self, now: Now, peer: &mut Peer, number: u32, encoding: usize, since: Duration) {
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        let (parts, bytes) = ENCODINGS[encoding];
        let upper = !keyframe && number % 2 == 1;
        self.picture = self.picture.wrapping_add(1) & 0x7fff;
        self.base = self.base.wrapping_add(u8::from(!upper));
        let timestamp = self.offset.wrapping_add(clock::units(since, 90_000));
        for part in 0..parts {
            let [high, low] = (self.picture | 0x8000).to_be_bytes();
            let starts = if part == 0 { 0x10 } else { 0 };
            let layer = if upper { 0x60 } else { 0 };
            let mut payload = vec![0x80 | starts, 0xe0, high, low, self.base, layer, u8::from(!keyframe)];
            payload.extend(number.to_be_bytes());
            payload.extend([part, parts, u8::from(keyframe), encoding as u8]);
            payload.resize(bytes, 0);
            let sequence = self.next as u16;
            let marker = part + 1 == parts;
            let head = Outgoing { marker, payload_type: VIDEO, sequence, timestamp, ssrc: self.ssrc };
            self.send(now, peer, head, None, &payload);
        }
    }

    fn repair(&mut self, now: Now, peer: &mut Peer, sequence: u16) {
        let Some((_, sent)) = self.sent.iter().find(|(known, _)| *known as u16 == sequence) else { return };
        let header = Header::parse(sent).expect("own packet");
        let mut again = sent[..header.payload_start].to_vec();
        again[1] = (again[1] & 0x80) | REPAIR;
        again[2..4].copy_from_slice(&(self.next_repair as u16).to_be_bytes());
        again[8..12].copy_from_slice(&(self.ssrc + 1).to_be_bytes());
        again.extend(sequence.to_be_bytes());
        again.extend(&sent[header.payload_start..]);
        peer.send_rtp(now, &mut self.repair_seal, self.next_repair, &again);
        self.next_repair += 1;
    }

    fn report(&self, now: Now, peer: &mut Peer, since: Duration, hz: u32) {
        let mut space = [0; 100];
        let mut writer = Writer::new(&mut space);
        let rtp = self.offset.wrapping_add(clock::units(since, hz));
        writer.sender_report(self.ssrc, now.wall, rtp, 0, 0);
        let length = writer.len();
        peer.send_rtcp(now, &space[..length]);
    }
}

impl Publisher {
    pub(crate) fn new(person: usize) -> Self {
        Self {
            sound: Stream::new(person, 0),
            encodings: (1..=ENCODINGS.len() as u32).map(|index| Stream::new(person, index)).collect(),
            pictures_sent: 0,
            sounds_sent: 0,
            paused: false,
        }
    }

    pub(crate) fn sound(&self) -> ProducerParameters {
        let encodings = vec![self.sound.parameters(false)];
        ProducerParameters { kind: MediaKind::Audio, rtp: parameters(MediaKind::Audio, "0", encodings) }
    }

    pub(crate) fn pictures(&self) -> ProducerParameters {
        let encodings = self.encodings.iter().map(|stream| stream.parameters(true)).collect();
        ProducerParameters { kind: MediaKind::Video, rtp: parameters(MediaKind::Video, "1", encodings) }
    }

    pub(crate) fn send_sound(&mut self, now: Now, peer: &mut Peer, since: Duration, level: u8) {
        self.sounds_sent += 1;
        let stream = &mut self.sound;
        let head = Outgoing {
            marker: false,
            payload_type: AUDIO,
            sequence: stream.next as u16,
            timestamp: stream.offset.wrapping_add(clock::units(since, 48_000)),
            ssrc: stream.ssrc,
        };
        let mut payload = [0; SOUND_BYTES];
        payload[..4].copy_from_slice(&self.sounds_sent.to_be_bytes());
        stream.send(now, peer, head, Some(level), &payload);
    }

    pub(crate) fn send_pictures(&mut self, now: Now, peer: &mut Peer, since: Duration) {
        self.pictures_sent += 1;
        for (encoding, stream) in self.encodings.iter_mut().enumerate().filter(|(_, stream)| stream.watched) {
            stream.send_picture(now, peer, self.pictures_sent, encoding, since);
        }
    }

    pub(crate) fn report(&mut self, now: Now, peer: &mut Peer, since: Duration, pictures: bool) {
        self.sound.report(now, peer, since, 48_000);
        for stream in self.encodings.iter().filter(|stream| pictures && stream.watched) {
            stream.report(now, peer, since, 90_000);
        }
    }

    pub(crate) fn nacked(&mut self, now: Now, peer: &mut Peer, ssrc: u32, pairs: &[u8]) {
        if let Some(stream) = self.encodings.iter_mut().find(|stream| stream.ssrc == ssrc) {
            rtcp::nacked(pairs).for_each(|sequence| stream.repair(now, peer, sequence));
        }
    }

    pub(crate) fn make_keyframe(&mut self, ssrc: u32) {
        if let Some(stream) = self.encodings.iter_mut().find(|stream| stream.ssrc == ssrc) {
            stream.keyframe_wanted = true;
        }
    }

    /// Does what a client does that is told who watches; what begins again begins with a keyframe.
    pub(crate) fn watch(&mut self, encodings: u32) {
        for (index, stream) in self.encodings.iter_mut().enumerate() {
            let watched = encodings >> index & 1 == 1;
            stream.keyframe_wanted |= watched && !stream.watched;
            stream.watched = watched;
        }
    }
}
