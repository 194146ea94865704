//! One synthetic track as it is sent: packets with valid headers and descriptors, keyframes when asked, repetitions on
//! demand. Knows nothing of sockets, nor of what an encoder would put into a payload.

use crate::header::{HEADER_ROOM, write_header};
use crate::sdp::{
    AUDIO_PAYLOAD_TYPE, LEVEL_ID, MID_ID, REPAIR_PAYLOAD_TYPE, REPAIRED_ID, RID_ID, SEQUENCE_ID,
    VIDEO_PAYLOAD_TYPE,
};
use crate::stamp::{STAMP_BYTES, Stamps};
use crate::tally::Tally;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_media::association::SealStream;
use tidegate_media::clock;
use tidegate_media::peer::Peer;
use tidegate_media::rtcp::Writer;
use tidegate_media::rtp::{Header, Outgoing};
use tidegate_types::{MediaKind, Now};

/// A keyframe has so many times the packets of another picture.
pub(crate) const KEYFRAME_PACKETS: u16 = 3;
/// Packets kept for repetition: two seconds of a rich video.
const HISTORY_PACKETS: usize = 512;
/// Whoever is later than this leaves pictures out rather than send them in one burst.
pub(crate) const LATE: Duration = Duration::from_millis(200);
/// Opus frames as browsers send them.
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// Payload of one: 40 kbit/s.
pub(crate) const AUDIO_BYTES: usize = 100;
/// RFC 6716, section 3.1: one CELT frame of 20 ms, full band.
pub(crate) const OPUS: u8 = 0xf8;
/// How long one person talks before the next one does.
const TURN: Duration = Duration::from_secs(4);
/// Levels of a voice, which its top bit marks as one, and of a quiet room, in -dBov (RFC 6464).
const VOICE: u8 = 0x80 | 25;
const QUIET: u8 = 85;
/// Room for the largest packet.
const PACKET_SPACE: usize = 1_460;

const _: () = assert!(AUDIO_BYTES > STAMP_BYTES && HEADER_ROOM + 1_300 < PACKET_SPACE);

/// What a source is made of.
#[derive(Clone, Debug)]
pub(crate) struct SourcePlan {
    pub(crate) mid: String,
    pub(crate) ssrc: u32,
    /// SSRC of repetitions; video only.
    pub(crate) repair_ssrc: Option<u32>,
    /// What tells it from the other encodings of the same track, where there are any.
    pub(crate) rid: Option<&'static str>,
    pub(crate) content: Content,
}

/// What a source sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// Pictures of that many packets of that many bytes (header included), so many pixels wide and high.
    Video { interval: Duration, packets: u16, bytes: u16, pixels: (u16, u16) },
    /// Sound; the n-th of so many who talk in turn.
    Audio { nth: u32, of: u32 },
}

impl Content {
    /// Pictures at a rate; their packets are equal and hold at most `most_bytes`.
    pub(crate) fn video(kbps: u32, fps: u32, most_bytes: u16, pixels: (u16, u16)) -> Self {
        let picture = (u64::from(kbps) * 1_000 / 8 / u64::from(fps.max(1))).max(100);
        let packets = picture.div_ceil(u64::from(most_bytes.max(100))).max(1);
        Self::Video {
            interval: Duration::from_secs(1) / fps.max(1),
            packets: u16::try_from(packets).unwrap_or(u16::MAX / KEYFRAME_PACKETS).min(2_000),
            bytes: u16::try_from(picture / packets).unwrap_or(most_bytes).clamp(100, most_bytes.max(100)),
            pixels,
        }
    }

    /// What it is.
    pub(crate) const fn kind(&self) -> MediaKind {
        match self {
            Self::Video { .. } => MediaKind::Video,
            Self::Audio { .. } => MediaKind::Audio,
        }
    }

    pub(crate) const fn interval(&self) -> Duration {
        match self {
            Self::Video { interval, .. } => *interval,
            Self::Audio { .. } => AUDIO_INTERVAL,
        }
    }

    pub(crate) const fn clock_hz(&self) -> u32 {
        match self {
            Self::Video { .. } => 90_000,
            Self::Audio { .. } => 48_000,
        }
    }
}

/// What a source sends through.
pub(crate) struct Wire<'a> {
    pub(crate) peer: &'a mut Peer,
    /// The transport-wide sequence of the next packet.
    pub(crate) sequence: &'a mut u16,
    pub(crate) stamps: Stamps,
    pub(crate) tally: &'a mut Tally,
}

/// One track.
#[derive(Debug)]
pub(crate) struct Source {
    plan: SourcePlan,
    /// Somebody watches it, as far as the host said.
    watched: bool,
    stream: SealStream,
    repair: Option<(u32, SealStream)>,
    /// Of the next packet; begins low, so that receivers know its rollover.
    sequence: u64,
    repair_sequence: u64,
    picture: u16,
    began: Instant,
    due: Instant,
    keyframe_wanted: bool,
    packets: u32,
    octets: u32,
    history: VecDeque<(u64, Vec<u8>)>,
}

impl Source {
    /// One whose first packet is due now.
    pub(crate) fn new(plan: SourcePlan, now: Instant) -> Self {
        Self {
            watched: true,
            stream: SealStream::new(plan.ssrc),
            repair: plan.repair_ssrc.map(|ssrc| (ssrc, SealStream::new(ssrc))),
            sequence: u64::from(plan.ssrc & 0x0fff),
            repair_sequence: u64::from(plan.ssrc >> 20),
            picture: (plan.ssrc & 0x7fff) as u16,
            began: now,
            due: now,
            keyframe_wanted: true,
            packets: 0,
            octets: 0,
            history: VecDeque::new(),
            plan,
        }
    }

    pub(crate) const fn ssrc(&self) -> u32 {
        self.plan.ssrc
    }

    pub(crate) fn mid(&self) -> &str {
        &self.plan.mid
    }

    /// When [`Source::send`] wants to be called.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.watched.then_some(self.due)
    }

    /// What nobody watches is not sent; what is watched again begins with a keyframe.
    pub(crate) fn watch(&mut self, watched: bool, now: Instant) {
        if watched && !self.watched {
            self.keyframe_wanted = true;
            self.due = self.due.max(now);
        }
        self.watched = watched;
    }

    /// The media begins now: nothing before was heard.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.due = now;
    }

    /// The next picture is to be a keyframe.
    pub(crate) fn want_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// One picture, or one frame of sound.
    pub(crate) fn send(&mut self, now: Now, wire: &mut Wire<'_>) {
        let timestamp =
            clock::units(self.due.saturating_duration_since(self.began), self.plan.content.clock_hz())
                .wrapping_add(self.plan.ssrc);
        match self.plan.content {
            Content::Video { packets, bytes, pixels, .. } => {
                self.send_picture(now, timestamp, packets, usize::from(bytes), pixels, wire);
            }
            Content::Audio { nth, of } => self.send_sound(now, timestamp, (nth, of), wire),
        }
        let interval = self.plan.content.interval();
        self.due += interval;
        if now.instant.saturating_duration_since(self.due) > LATE {
            self.due = now.instant + interval;
        }
    }

    fn send_picture(
        &mut self,
        now: Now,
        timestamp: u32,
        packets: u16,
        bytes: usize,
        pixels: (u16, u16),
        wire: &mut Wire<'_>,
    ) {
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        let packets = if keyframe { packets * KEYFRAME_PACKETS } else { packets };
        self.picture = (self.picture + 1) & 0x7fff;
        for nth in 0..packets {
            let mut packet = [0x55; PACKET_SPACE];
            let (first, last) = (nth == 0, nth + 1 == packets);
            let head = self.head(VIDEO_PAYLOAD_TYPE, timestamp, last);
            let at = self.write_header(&mut packet, &head, None, *wire.sequence);
            write_vp8(&mut packet[at..], self.picture, first, keyframe.then_some(pixels));
            let end = bytes.max(at + 16 + STAMP_BYTES).min(PACKET_SPACE);
            self.seal(now, &mut packet[..end], at, wire);
        }
    }

    fn send_sound(&mut self, now: Now, timestamp: u32, who: (u32, u32), wire: &mut Wire<'_>) {
        let level = level(self.due.saturating_duration_since(self.began), who);
        let mut packet = [0x55; HEADER_ROOM + AUDIO_BYTES];
        let head = self.head(AUDIO_PAYLOAD_TYPE, timestamp, self.packets == 0);
        let at = self.write_header(&mut packet, &head, Some(level), *wire.sequence);
        packet[at] = OPUS;
        self.seal(now, &mut packet[..at + AUDIO_BYTES], at, wire);
    }

    const fn head(&self, payload_type: u8, timestamp: u32, marker: bool) -> Outgoing {
        Outgoing { marker, payload_type, sequence: self.sequence as u16, timestamp, ssrc: self.plan.ssrc }
    }

    fn write_header(
        &self,
        packet: &mut [u8],
        head: &Outgoing,
        level: Option<u8>,
        transport_sequence: u16,
    ) -> usize {
        let (level, rid) = (level.map(|level| [level]), self.plan.rid.map(str::as_bytes));
        let sequence = transport_sequence.to_be_bytes();
        // An empty value is left out.
        let elements = [
            (MID_ID, self.plan.mid.as_bytes()),
            (RID_ID, rid.unwrap_or_default()),
            (SEQUENCE_ID, sequence.as_slice()),
            (LEVEL_ID, level.as_ref().map(<[u8; 1]>::as_slice).unwrap_or_default()),
        ];
        write_header(packet, head, &elements)
    }

    /// Stamps, seals, sends and remembers one packet whose payload begins at `payload`.
    fn seal(&mut self, now: Now, packet: &mut [u8], payload: usize, wire: &mut Wire<'_>) {
        wire.stamps.write(&mut packet[payload..], now.instant);
        wire.peer.send_rtp(now, &mut self.stream, self.sequence, packet);
        wire.tally.sent_packets += 1;
        *wire.sequence = wire.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add((packet.len() - payload) as u32);
        if self.repair.is_some() {
            self.keep(packet);
        }
        self.sequence += 1;
    }

    fn keep(&mut self, packet: &[u8]) {
        let full = self.history.len() >= HISTORY_PACKETS;
        let mut space =
            if full { self.history.pop_front().map(|(_, space)| space) } else { None }.unwrap_or_default();
        space.clear();
        space.extend_from_slice(packet);
        self.history.push_back((self.sequence, space));
    }

    /// Sends a packet again, by RFC 4588; `false` if it is not there any more.
    pub(crate) fn resend(&mut self, now: Now, sequence: u16, wire: &mut Wire<'_>) -> bool {
        let kept = self.history.iter().rev().find(|(kept, _)| *kept as u16 == sequence);
        let (Some((_, original)), Some((ssrc, stream))) = (kept, &mut self.repair) else { return false };
        let Some(header) = Header::parse(original) else { return false };
        let mut packet = [0; PACKET_SPACE + 2];
        let outgoing = Outgoing {
            marker: header.marker,
            payload_type: REPAIR_PAYLOAD_TYPE,
            sequence: self.repair_sequence as u16,
            timestamp: header.timestamp,
            ssrc: *ssrc,
        };
        let (number, rid) = (wire.sequence.to_be_bytes(), self.plan.rid.map(str::as_bytes));
        let elements = [
            (MID_ID, self.plan.mid.as_bytes()),
            (REPAIRED_ID, rid.unwrap_or_default()),
            (SEQUENCE_ID, number.as_slice()),
        ];
        let at = write_header(&mut packet, &outgoing, &elements);
        let payload = &original[header.payload_start..];
        packet[at..at + 2].copy_from_slice(&sequence.to_be_bytes());
        packet[at + 2..at + 2 + payload.len()].copy_from_slice(payload);
        wire.peer.send_rtp(now, stream, self.repair_sequence, &packet[..at + 2 + payload.len()]);
        wire.tally.sent_packets += 1;
        *wire.sequence = wire.sequence.wrapping_add(1);
        self.repair_sequence += 1;
        true
    }

    /// Its clocks, for receivers.
    pub(crate) fn report(&self, now: Now, writer: &mut Writer<'_>) {
        let since = now.instant.saturating_duration_since(self.began);
        let rtp = clock::units(since, self.plan.content.clock_hz()).wrapping_add(self.plan.ssrc);
        writer.sender_report(self.plan.ssrc, now.wall, rtp, self.packets, self.octets);
    }
}

/// What a speaker's packet says of its level (RFC 6464): each talks for a while, in turn; `who` is the n-th of so many.
pub(crate) fn level(since: Duration, (nth, of): (u32, u32)) -> u8 {
    let turn = since.as_secs() / TURN.as_secs();
    let talks = turn % u64::from(of.max(1)) == u64::from(nth);
    if talks { VOICE } else { QUIET }
}

/// VP8's payload descriptor with a 15-bit picture id (RFC 7741, section 4.2) and, in a picture's first packet, the
/// frame header (section 9.1 of RFC 6386); a keyframe says how many pixels it has.
pub(crate) fn write_vp8(payload: &mut [u8], picture: u16, first: bool, keyframe: Option<(u16, u16)>) {
    let [high, low] = (picture | 0x8000).to_be_bytes();
    payload[..4].copy_from_slice(&[if first { 0x90 } else { 0x80 }, 0x80, high, low]);
    match keyframe {
        Some((width, height)) if first => {
            // Shown, first partition of 1 KiB; start code; the size.
            payload[4..10].copy_from_slice(&[0x10, 0x80, 0x00, 0x9d, 0x01, 0x2a]);
            payload[10..12].copy_from_slice(&width.to_le_bytes());
            payload[12..14].copy_from_slice(&height.to_le_bytes());
        }
        None if first => payload[4..7].copy_from_slice(&[0x11, 0x80, 0x00]),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Duration, QUIET, VOICE, level, write_vp8};
    use tidegate_media::vp8;

    #[test]
    fn a_picture_is_cut_into_equal_packets_that_make_up_the_rate() {
        let Content::Video { interval, packets, bytes, .. } = Content::video(4_800, 100, 1_200, (2, 1))
        else {
            panic!("not video");
        };
        assert_eq!((interval, packets, bytes), (Duration::from_millis(10), 5, 1_200));
        let Content::Video { packets, bytes, .. } = Content::video(1_000, 30, 1_200, (2, 1)) else {
            panic!("not video");
        };
        assert_eq!((packets, bytes), (4, 1_041));
    }

    #[test]
    fn descriptors_read_back_as_what_they_are() {
        let mut payload = [0x55; 40];
        write_vp8(&mut payload, 0x1234, true, Some((640, 360)));
        let (descriptor, keyframe) = vp8::parse(&payload).expect("a descriptor");
        assert!(keyframe && descriptor.starts_picture);
        assert_eq!((descriptor.picture_id, descriptor.length), (Some((0x1234, true)), 4));
        write_vp8(&mut payload, 0x1234, true, None);
        assert!(!vp8::parse(&payload).expect("a descriptor").1);
        write_vp8(&mut payload, 0x1234, false, Some((640, 360)));
        let (descriptor, keyframe) = vp8::parse(&payload).expect("a descriptor");
        assert!(!keyframe && !descriptor.starts_picture);
    }

    #[test]
    fn one_talks_at_a_time() {
        let levels = |second| [0, 1, 2].map(|nth| level(Duration::from_secs(second), (nth, 3)));
        assert_eq!(levels(1), [VOICE, QUIET, QUIET]);
        assert_eq!(levels(5), [QUIET, VOICE, QUIET]);
        assert_eq!(levels(13), [VOICE, QUIET, QUIET]);
    }
}
