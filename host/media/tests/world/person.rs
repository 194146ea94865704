//! Someone in a simulated call: publishes sound and pictures whose payload tells what they are, answers NACK and
//! PLI as a browser would, asks for what it lacks, and keeps account of what it could have decoded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use tidegate_media::association::{AssociationConfig, Received, SealStream};
use tidegate_media::missing::{Missing, Noted, Pace};
use tidegate_media::peer::Peer;
use tidegate_media::rtcp::{self, Packet, Reader, Writer};
use tidegate_media::rtp::{Extender, Header, HopValues, Outgoing, OutgoingExtensions, write_header};
use tidegate_media::{clock, vp8};
use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
use tidegate_types::packet::Extensions;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::rtp::{Codec, CodecParameters, EncodingParameters, ExtensionKind, ExtensionParameters};
use tidegate_types::{Bitrate, ConsumerId, MediaKind, Now, ProducerId, RtpParameters};

const CHECKS: Duration = Duration::from_secs(2);
const REPORTS: Duration = Duration::from_millis(500);
const HISTORY: usize = 600;

/// What everyone publishes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) frame_interval: Duration,
    /// Packets a frame, one entry an encoding, lowest first.
    pub(crate) packets: Vec<u8>,
    pub(crate) payload: usize,
    pub(crate) audio_interval: Duration,
    /// The publishers' audio and video start so many seconds in.
    pub(crate) until: Duration,
    /// Every other picture is of a second temporal layer.
    pub(crate) layers: bool,
    /// Who doesn't publish.
    pub(crate) listeners: usize,
    /// Those consume nothing until they are told to.
    pub(crate) late: bool,
    /// What the first person may be sent.
    pub(crate) first_kbps: Option<u32>,
    /// What each publisher may bring in.
    pub(crate) ceiling_kbps: Option<u32>,
    /// They hear no session messages, and heed ceilings instead.
    pub(crate) told_by_ceiling: bool,
    /// Bytes of the canonical names of what someone is sent, in turn.
    pub(crate) names: &'static [usize],
}

struct Stream {
    seal: SealStream,
    rtx_seal: SealStream,
    ssrc: u32,
    next: u64,
    next_rtx: u64,
    packets: u8,
    /// Somebody watches it, as far as its publisher was told.
    watched: bool,
    keyframe_wanted: bool,
    sent: VecDeque<(u64, Vec<u8>)>,
    rtp_offset: u32,
    picture: u16,
    base_picture: u8,
    pub(crate) keyframes: u64,
}

/// A track as it is received.
struct Incoming {
    producer: ProducerId,
    kind: MediaKind,
    ssrc: u32,
    extender: Extender,
    missing: Missing,
    picture: Option<u64>,
    /// Outgoing picture number to what has come of it.
    frames: BTreeMap<u64, Frame>,
    audio: BTreeSet<u32>,
    timestamps: BTreeMap<u64, u32>,
    last_arrival: Option<Instant>,
    /// The longest time without a packet.
    gap: Duration,
}

#[derive(Default)]
struct Frame {
    number: u32,
    keyframe: bool,
    /// Running number of base pictures, and the layer; only with layers.
    base: Option<(u8, u8)>,
    count: u8,
    have: BTreeSet<u8>,
}

impl Frame {
    /// Whether it can be shown behind the picture `last`, with the base picture `base`.
    fn follows(&self, picture: u64, last: Option<u64>, base: Option<u8>) -> bool {
        match self.base {
            _ if self.keyframe => true,
            Some((number, 0)) => base == Some(number.wrapping_sub(1)),
            Some((number, _)) => base == Some(number),
            None => last.is_some() && picture.checked_sub(1) == last,
        }
    }
}

pub(crate) struct Person {
    pub(crate) number: usize,
    pub(crate) peer: Peer,
    pub(super) plan: Plan,
    start: Instant,
    streams: Vec<Stream>,
    incoming: Vec<Incoming>,
    next_frame: Instant,
    next_audio: Instant,
    next_check: Instant,
    next_report: Instant,
    frame: u32,
    sound: u32,
    next_consumer: u64,
    asked: u64,
    /// Each other ceiling that it was told, in kbit/s.
    pub(crate) ceilings: Vec<u64>,
    /// Sender reports so far, by SSRC.
    pub(crate) reported: BTreeMap<u32, u64>,
    pub(crate) highest_preferred: bool,
}

fn ssrc(person: usize, stream: usize) -> u32 {
    (person as u32 + 1) * 1_000 + stream as u32 * 10
}

fn codec(kind: MediaKind) -> CodecParameters {
    let video = kind == MediaKind::Video;
    CodecParameters {
        codec: if video { Codec::Vp8 } else { Codec::Opus },
        format: String::new(),
        payload_type: if video { 96 } else { 111 },
        rtx_payload_type: video.then_some(97),
        nack: video,
        pli: video,
        transport_cc: video,
    }
}

fn parameters(kind: MediaKind, mid: &str, encodings: Vec<EncodingParameters>) -> RtpParameters {
    let extension = |id, kind| ExtensionParameters { id, kind };
    RtpParameters {
        mid: Some(mid.to_owned()),
        codecs: vec![codec(kind)],
        extensions: vec![
            extension(1, ExtensionKind::AudioLevel),
            extension(3, ExtensionKind::TransportSequence),
            extension(4, ExtensionKind::Mid),
        ],
        encodings,
        cname: "someone".to_owned(),
        reduced_size_rtcp: true,
    }
}

impl Person {
    pub(crate) fn new(number: usize, config: &AssociationConfig, plan: &Plan, now: Now) -> Self {
        let streams = (0..=plan.packets.len()).map(|index| {
            let ssrc = ssrc(number, index);
            Stream {
                seal: SealStream::new(ssrc),
                rtx_seal: SealStream::new(ssrc + 1),
                ssrc,
                next: 1_000,
                next_rtx: 1,
                packets: if index == 0 { 1 } else { plan.packets[index - 1] },
                watched: true,
                keyframe_wanted: true,
                sent: VecDeque::new(),
                rtp_offset: ssrc.wrapping_mul(2_654_435_761),
                picture: (ssrc % 30_000) as u16,
                base_picture: ssrc as u8,
                keyframes: 0,
            }
        });
        // Publishers are out of step, as people are.
        let offset = Duration::from_millis(number as u64 * 3 % 60);
        Self {
            number,
            peer: Peer::new(config, &number.to_string(), now),
            plan: plan.clone(),
            start: now.instant,
            streams: streams.collect(),
            incoming: Vec::new(),
            next_frame: now.instant + Duration::from_millis(500) + offset,
            next_audio: now.instant + Duration::from_millis(500) + offset,
            next_check: now.instant + CHECKS,
            next_report: now.instant + REPORTS + offset,
            frame: 0,
            sound: 0,
            next_consumer: 0,
            asked: 0,
            ceilings: Vec::new(),
            reported: BTreeMap::new(),
            highest_preferred: number.is_multiple_of(2),
        }
    }

    fn publishes(&self) -> bool {
        self.number >= self.plan.listeners
    }

    pub(crate) fn comes_late(&self) -> bool {
        self.plan.late && !self.publishes()
    }

    /// Its next pictures are keyframes.
    pub(crate) fn make_keyframes(&mut self) {
        self.streams[1..].iter_mut().for_each(|stream| stream.keyframe_wanted = true);
    }

    /// The longest that any of its tracks was without a packet, since this was last asked.
    pub(crate) fn take_longest_gap(&mut self) -> Duration {
        let gaps = self.incoming.iter_mut().map(|track| std::mem::take(&mut track.gap));
        gaps.max().unwrap_or_default()
    }

    /// How often it asked for a keyframe.
    pub(crate) fn keyframes_asked(&self) -> u64 {
        self.asked
    }

    pub(crate) fn producers(&self) -> Vec<(ProducerId, ProducerParameters)> {
        if !self.publishes() {
            return Vec::new();
        }
        let encoding = |stream: &Stream, rtx: bool| EncodingParameters {
            ssrc: Some(stream.ssrc),
            rtx_ssrc: rtx.then_some(stream.ssrc + 1),
            rid: None,
        };
        let audio = parameters(MediaKind::Audio, "0", vec![encoding(&self.streams[0], false)]);
        let video = self.streams[1..].iter().map(|stream| encoding(stream, true)).collect();
        let id = self.number as u64 * 10 + 1;
        vec![
            (ProducerId(id), ProducerParameters { kind: MediaKind::Audio, rtp: audio }),
            (
                ProducerId(id + 1),
                ProducerParameters { kind: MediaKind::Video, rtp: parameters(MediaKind::Video, "1", video) },
            ),
        ]
    }

    pub(crate) fn consume(
        &mut self,
        producer: ProducerId,
        of: &ProducerParameters,
    ) -> (ConsumerId, ConsumerParameters) {
        self.next_consumer += 1;
        let ssrc = 500_000 + self.next_consumer as u32 * 2;
        self.incoming.push(Incoming {
            producer,
            kind: of.kind,
            ssrc,
            extender: Extender::default(),
            missing: Missing::new(Pace::PUBLISHER),
            picture: None,
            frames: BTreeMap::new(),
            audio: BTreeSet::new(),
            timestamps: BTreeMap::new(),
            last_arrival: None,
            gap: Duration::ZERO,
        });
        let rtx_ssrc = (of.kind == MediaKind::Video).then_some(ssrc + 1);
        let encodings = vec![EncodingParameters { ssrc: Some(ssrc), rtx_ssrc, rid: None }];
        let names = self.plan.names;
        let name = names[(self.next_consumer as usize - 1) % names.len()];
        let mid = self.next_consumer.to_string();
        let rtp = RtpParameters { cname: "n".repeat(name), ..parameters(of.kind, &mid, encodings) };
        let preferred = if self.highest_preferred {
            LayerPreference::HIGHEST
        } else {
            LayerPreference { spatial: 0, temporal: 0 }
        };
        let id = ConsumerId(self.number as u64 * 10_000 + self.next_consumer);
        (id, ConsumerParameters { kind: of.kind, rtp, paused: false, preferred })
    }

    pub(crate) fn next_moment(&self) -> Instant {
        let videos = self.incoming.iter().filter(|track| track.kind == MediaKind::Video);
        let missing = videos.filter_map(|track| track.missing.due());
        let media = [self.next_frame, self.next_audio].into_iter().filter(|_| self.publishes());
        [self.next_check, self.next_report]
            .into_iter()
            .chain(media)
            .chain(self.peer.next_timeout())
            .chain(missing)
            .min()
            .unwrap_or(self.next_check)
    }

    pub(crate) fn run(&mut self, now: Now) {
        self.peer.timeout(now);
        if self.next_check <= now.instant {
            self.next_check = now.instant + CHECKS;
            self.peer.check(now);
        }
        let ended = now.instant.duration_since(self.start) > self.plan.until;
        if self.next_audio <= now.instant {
            self.next_audio += self.plan.audio_interval;
            if self.peer.is_connected() && self.publishes() && !ended {
                self.sound += 1;
                self.send_media(now, 0, false, self.sound, self.plan.audio_interval);
            }
        }
        if self.next_frame <= now.instant {
            self.next_frame += self.plan.frame_interval;
            if self.peer.is_connected() && self.publishes() && !ended {
                self.frame += 1;
                for stream in
                    (1..self.streams.len()).filter(|stream| self.streams[*stream].watched).collect::<Vec<_>>()
                {
                    let keyframe = std::mem::take(&mut self.streams[stream].keyframe_wanted);
                    self.streams[stream].keyframes += u64::from(keyframe);
                    self.send_media(now, stream, keyframe, self.frame, self.plan.frame_interval);
                }
            }
        }
        if self.next_report <= now.instant {
            self.next_report = now.instant + REPORTS;
            self.report(now);
            self.ask_keyframes(now);
        }
        self.ask_missing(now);
    }

    fn send_media(&mut self, now: Now, index: usize, keyframe: bool, number: u32, interval: Duration) {
        let hz = if index == 0 { 48_000 } else { 90_000 };
        let stream = &mut self.streams[index];
        let timestamp = stream.rtp_offset.wrapping_add(clock::units(interval * number, hz));
        stream.picture = stream.picture.wrapping_add(1) & 0x7fff;
        let upper = self.plan.layers && !keyframe && number % 2 == 1;
        stream.base_picture = stream.base_picture.wrapping_add(u8::from(!upper));
        for part in 0..stream.packets {
            let mut packet = [0; 1_400];
            let outgoing = Outgoing {
                marker: part + 1 == stream.packets,
                payload_type: if index == 0 { 111 } else { 96 },
                sequence: stream.next as u16,
                timestamp,
                ssrc: stream.ssrc,
            };
            let ids = OutgoingExtensions { audio_level: (index == 0).then_some(1), ..Default::default() };
            let end_to_end =
                Extensions { audio_level: (index == 0).then_some((30, true)), ..Default::default() };
            let hop = HopValues { transport_sequence: 0, absolute_send_time: 0 };
            let mut at = write_header(&mut packet, &outgoing, &ids, &hop, &end_to_end);
            if index > 0 {
                let [high, low] = (stream.picture | 0x8000).to_be_bytes();
                let starts = if part == 0 { 0x10 } else { 0 };
                packet[at..at + 5].copy_from_slice(&[0x80 | starts, 0x80, high, low, u8::from(!keyframe)]);
                at += 5;
                if self.plan.layers {
                    // Base picture and layer as well; an upper picture builds on the base one only.
                    let layer = if upper { 0x60 } else { 0 };
                    packet[at - 4] = 0xe0;
                    packet[at - 1..at + 2].copy_from_slice(&[
                        stream.base_picture,
                        layer,
                        u8::from(!keyframe),
                    ]);
                    at += 2;
                }
            }
            packet[at..at + 4].copy_from_slice(&number.to_be_bytes());
            packet[at + 4..at + 7].copy_from_slice(&[part, stream.packets, u8::from(keyframe)]);
            at += if index == 0 { 7 } else { self.plan.payload };
            let bytes = packet[..at].to_vec();
            self.peer.send_rtp(now, &mut stream.seal, stream.next, &bytes);
            stream.sent.push_back((stream.next, bytes));
            if stream.sent.len() > HISTORY {
                stream.sent.pop_front();
            }
            stream.next += 1;
        }
    }

    /// Does what a client does that is told who watches its video; what begins again begins with a keyframe.
    pub(crate) fn watch(&mut self, encodings: u32) {
        for (index, stream) in self.streams[1..].iter_mut().enumerate() {
            let watched = encodings >> index & 1 == 1;
            stream.keyframe_wanted |= watched && !stream.watched;
            stream.watched = watched;
        }
    }

    /// Does what an encoder does that may bring in so much: its lowest encodings get what they want first.
    fn heed(&mut self, ceiling_kbps: u64) {
        if self.ceilings.last() != Some(&ceiling_kbps) {
            self.ceilings.push(ceiling_kbps);
        }
        let mut left = ceiling_kbps;
        let mut watched = 1;
        for (index, stream) in self.streams[1..].iter().enumerate() {
            let bits = u64::from(stream.packets) * (self.plan.payload as u64 + 77) * 8;
            let kbps = bits * 1_000 / self.plan.frame_interval.as_micros() as u64;
            if left < kbps {
                break;
            }
            left -= kbps;
            watched |= 1 << index;
        }
        self.watch(watched);
    }

    /// Outgoing sequences of a track as they came, ascending.
    pub(crate) fn sequences(&self, producer: ProducerId) -> Vec<u64> {
        let track = self.incoming.iter().find(|track| track.producer == producer);
        track.into_iter().flat_map(|track| track.timestamps.keys().copied()).collect()
    }

    /// Which of its encodings it sends.
    pub(crate) fn sends(&self) -> Vec<bool> {
        self.streams[1..].iter().map(|stream| stream.watched).collect()
    }

    fn report(&mut self, now: Now) {
        if !self.peer.is_connected() || !self.publishes() {
            return;
        }
        for index in 0..self.streams.len() {
            let hz = if index == 0 { 48_000 } else { 90_000 };
            let since = now.instant.duration_since(self.start);
            let rtp = self.streams[index].rtp_offset.wrapping_add(clock::units(since, hz));
            let mut space = [0; 200];
            let mut writer = Writer::new(&mut space);
            writer.sender_report(self.streams[index].ssrc, now.wall, rtp, 0, 0);
            let length = writer.len();
            self.peer.send_rtcp(now, &space[..length]);
        }
    }

    /// Asks for a keyframe of every picture that began with a loss, as a decoder would.
    fn ask_keyframes(&mut self, now: Now) {
        for track in
            self.incoming.iter().filter(|track| track.kind == MediaKind::Video && !track.frames.is_empty())
        {
            let complete = |frame: &Frame| frame.keyframe && frame.have.len() == usize::from(frame.count);
            if !track.frames.values().any(complete) {
                self.asked += 1;
                let mut space = [0; 100];
                let mut writer = Writer::new(&mut space);
                writer.receiver_report(1, &[]);
                writer.pli(1, track.ssrc);
                let length = writer.len();
                self.peer.send_rtcp(now, &space[..length]);
            }
        }
    }

    /// Asks for a keyframe and for its last packets again, more often than anyone has cause to.
    pub(crate) fn flood(&mut self, now: Now) {
        for track in self.incoming.iter().filter(|track| track.kind == MediaKind::Video) {
            let highest = track.timestamps.keys().next_back().copied().unwrap_or_default();
            let wanted: Vec<u16> = (0..100).map(|back| highest.wrapping_sub(back) as u16).collect();
            for _ in 0..10 {
                let mut space = [0; 1_200];
                let mut writer = Writer::new(&mut space);
                writer.receiver_report(1, &[]);
                writer.nack(1, track.ssrc, &wanted);
                writer.pli(1, track.ssrc);
                let length = writer.len();
                self.peer.send_rtcp(now, &space[..length]);
            }
        }
    }

    /// Tells what its way carries (REMB).
    pub(crate) fn tell_rate(&mut self, now: Now, rate: Bitrate) {
        let mut space = [0; 200];
        let mut writer = Writer::new(&mut space);
        writer.receiver_report(1, &[]);
        writer.ceiling(1, rate, &[]);
        let length = writer.len();
        self.peer.send_rtcp(now, &space[..length]);
    }

    fn ask_missing(&mut self, now: Now) {
        for track in self.incoming.iter_mut().filter(|track| track.kind == MediaKind::Video) {
            let mut wanted = Vec::new();
            let given_up = track.missing.ask(now.instant, |sequence| wanted.push(sequence as u16));
            let mut space = [0; 1_200];
            let mut writer = Writer::new(&mut space);
            writer.receiver_report(1, &[]);
            if !wanted.is_empty() {
                writer.nack(1, track.ssrc, &wanted);
            }
            if given_up > 0 {
                self.asked += 1;
                writer.pli(1, track.ssrc);
            }
            let length = writer.len();
            if !wanted.is_empty() || given_up > 0 {
                self.peer.send_rtcp(now, &space[..length]);
            }
        }
    }

    pub(crate) fn receive(&mut self, now: Now, bytes: &mut [u8]) {
        match self.peer.receive(now, bytes) {
            Received::Rtp(length) => self.receive_media(now, &bytes[..length]),
            Received::Rtcp(length) => self.receive_feedback(now, &bytes[..length]),
            Received::Handled | Received::Dropped(_) => {}
        }
    }

    fn receive_feedback(&mut self, now: Now, compound: &[u8]) {
        for packet in Reader::new(compound) {
            match packet {
                Packet::Nack { media, pairs } => {
                    let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == media) else {
                        continue;
                    };
                    for sequence in rtcp::nacked(pairs) {
                        let Some((_, sent)) = stream.sent.iter().find(|(known, _)| *known as u16 == sequence)
                        else {
                            continue;
                        };
                        let header = Header::parse(sent).expect("own packet");
                        let mut again = sent[..header.payload_start].to_vec();
                        again[1] = (again[1] & 0x80) | 97;
                        again[2..4].copy_from_slice(&(stream.next_rtx as u16).to_be_bytes());
                        again[8..12].copy_from_slice(&(stream.ssrc + 1).to_be_bytes());
                        again.extend(sequence.to_be_bytes());
                        again.extend(&sent[header.payload_start..]);
                        self.peer.send_rtp(now, &mut stream.rtx_seal, stream.next_rtx, &again);
                        stream.next_rtx += 1;
                    }
                }
                Packet::Remb(ceiling) if self.plan.told_by_ceiling => self.heed(ceiling.kbps()),
                Packet::SenderReport { ssrc, .. } => *self.reported.entry(ssrc).or_default() += 1,
                Packet::Pli { media } => {
                    if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == media) {
                        stream.keyframe_wanted = true;
                    }
                }
                _ => {}
            }
        }
    }

    fn receive_media(&mut self, now: Now, packet: &[u8]) {
        let header = Header::parse(packet).expect("the host sends well-formed packets");
        let found =
            self.incoming.iter_mut().find(|track| track.ssrc == header.ssrc || track.ssrc + 1 == header.ssrc);
        let track = found.expect("the host sends only what was agreed");
        let repair = header.ssrc != track.ssrc;
        let mut payload = &packet[header.payload_start..header.payload_end];
        let mut sequence = header.sequence;
        if repair {
            sequence = u16::from_be_bytes([payload[0], payload[1]]);
            payload = &payload[2..];
        }
        let extended = if repair { track.extender.peek(sequence) } else { track.extender.extend(sequence) };
        if track.missing.note(now.instant, extended) == Noted::Duplicate {
            return;
        }
        if let Some(before) = track.last_arrival.replace(now.instant) {
            track.gap = track.gap.max(now.instant.duration_since(before));
        }
        track.timestamps.insert(extended, header.timestamp);
        if track.kind == MediaKind::Audio {
            track.audio.insert(u32::from_be_bytes(payload[..4].try_into().expect("its number")));
            return;
        }
        if payload.is_empty() {
            // It was kept for a picture that was then not for this person.
            return;
        }
        let (descriptor, _) = vp8::parse(payload).expect("a descriptor");
        let (picture, _) = descriptor.picture_id.expect("a picture id");
        let previous = track.picture.unwrap_or(0x8000 + u64::from(picture));
        let step = (i64::from(picture) - (previous & 0x7fff) as i64 + 0x4000).rem_euclid(0x8000) - 0x4000;
        let picture = previous.saturating_add_signed(step);
        track.picture = Some(previous.max(picture));
        let told = &payload[usize::from(descriptor.length) + 1..];
        let frame = track.frames.entry(picture).or_default();
        frame.number = u32::from_be_bytes(told[..4].try_into().expect("its number"));
        frame.count = told[5];
        frame.keyframe = told[6] == 1;
        frame.base = descriptor.tl0_picture_index.zip(descriptor.temporal);
        frame.have.insert(told[4]);
    }

    /// Numbers of the frames of each video producer that could be decoded: complete, on an unbroken chain from a
    /// keyframe.
    pub(crate) fn decodable(&self) -> BTreeMap<ProducerId, BTreeSet<u32>> {
        let videos = self.incoming.iter().filter(|track| track.kind == MediaKind::Video);
        videos
            .map(|track| {
                let mut decoded = BTreeSet::new();
                let (mut last, mut base) = (None, None);
                for (picture, frame) in &track.frames {
                    let complete = frame.have.len() == usize::from(frame.count);
                    if complete && frame.follows(*picture, last, base) {
                        decoded.insert(frame.number);
                        last = Some(*picture);
                        base = frame.base.map_or(base, |(number, _)| Some(number));
                    }
                }
                (track.producer, decoded)
            })
            .collect()
    }

    /// Whether every track's timestamps never went backwards with its sequence.
    pub(crate) fn timestamps_ascend(&self) -> bool {
        self.incoming.iter().all(|track| {
            let mut previous = None;
            track.timestamps.values().all(|timestamp| {
                let fine = previous.is_none_or(|before: u32| timestamp.wrapping_sub(before) as i32 >= 0);
                previous = Some(*timestamp);
                fine
            })
        })
    }

    pub(crate) fn sounds(&self) -> usize {
        self.incoming.iter().map(|track| track.audio.len()).sum()
    }

    pub(crate) fn frames_sent(&self) -> u32 {
        self.frame
    }

    pub(crate) fn keyframes_sent(&self) -> u64 {
        self.streams.iter().map(|stream| stream.keyframes).sum()
    }
}
