//! A consumer: chooses which encoding its peer is sent and renumbers its packets into one continuous stream.
//! Knows nothing of sockets, keys, rooms or policies.
//!
//! Numbering is piecewise linear: a [`Segment`] says where a run of one encoding's packets stands in the
//! outgoing numbering, so a retransmission needs no per-packet record.

use crate::association::SealStream;
use crate::clock;
use crate::replay::{Chain, Cursor};
use crate::rtp::{Mid, Outgoing, OutgoingExtensions};
use crate::vp8;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_types::consumer::{ConsumerParameters, ConsumerStats, LayerPreference};
use tidegate_types::packet::PayloadInfo;
use tidegate_types::relay::SourceClock;
use tidegate_types::rtp::{Codec, ExtensionKind};
use tidegate_types::{ConsumerId, MediaKind, MediaPacket, ProducerId};

/// Segments remembered; older packets can't be sent again.
const SEGMENTS: usize = 16;
/// Retransmissions that a peer may ask for per 100 ms; more are ignored and counted.
const REPAIRS_PER_INTERVAL: u32 = 200;
const REPAIR_INTERVAL: Duration = Duration::from_millis(100);
/// A timestamp step that differs from the elapsed time by more than this comes from a wrong clock.
const CLOCK_TRUST: Duration = Duration::from_secs(3);
/// Sent sender reports remembered for round-trip times.
const REPORTS: usize = 4;

/// A run of one encoding's packets in the outgoing numbering.
#[derive(Clone, Copy, Debug)]
struct Segment {
    encoding: u8,
    source_start: u64,
    out_start: u64,
    timestamp_shift: u32,
    shift: vp8::Shift,
}

/// How one packet is to be written for the peer.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Extended outgoing sequence.
    pub sequence: u64,
    /// Outgoing timestamp.
    pub timestamp: u32,
    /// VP8's renumbering.
    pub shift: vp8::Shift,
    /// The packet began a new segment: what its encoding's history holds behind it has to follow.
    pub switched: bool,
}

/// A track as sent to one peer.
#[derive(Debug)]
pub struct Consumer {
    /// Its id.
    pub id: ConsumerId,
    /// Of what.
    pub producer: ProducerId,
    /// The producer's station in this engine, once it stands there.
    pub station: Option<usize>,
    /// Audio or video.
    pub kind: MediaKind,
    /// What its peer decodes.
    pub codec: Codec,
    /// Outgoing SSRC.
    pub ssrc: u32,
    /// SSRC and payload type of retransmissions.
    pub rtx: Option<(u32, u8)>,
    /// Sealing state of the media.
    pub stream: SealStream,
    /// Sealing state of the retransmissions.
    pub rtx_stream: SealStream,
    /// Wire ids.
    pub ids: OutgoingExtensions,
    /// RTCP's canonical name.
    pub cname: Box<str>,
    /// Counters.
    pub stats: ConsumerStats,
    /// What it is sent from the history before it gets live packets.
    pub replay: Option<Cursor>,
    payload_type: u8,
    paused: bool,
    preferred: LayerPreference,
    target: u8,
    current: Option<u8>,
    segments: VecDeque<Segment>,
    /// The next fresh outgoing sequence; extended, so that it tells the rollover counter.
    next_sequence: u64,
    next_rtx_sequence: u64,
    last_timestamp: Option<(u32, Instant)>,
    last_picture: u16,
    last_tl0: u8,
    repairs: (Instant, u32),
    reports: [(u32, Option<Instant>); REPORTS],
    report_count: usize,
}

impl Consumer {
    /// A consumer that has sent nothing. `seed` makes its first sequence numbers unpredictable.
    /// `None` if the parameters lack a codec or an SSRC.
    #[must_use]
    pub fn new(
        id: ConsumerId,
        producer: ProducerId,
        parameters: &ConsumerParameters,
        seed: u32,
        now: Instant,
    ) -> Option<Self> {
        let codec = parameters.rtp.codecs.first()?;
        let encoding = parameters.rtp.encodings.first()?;
        let ssrc = encoding.ssrc?;
        let rtx = encoding.rtx_ssrc.zip(codec.rtx_payload_type);
        let extension = |kind| parameters.rtp.extension_id(kind);
        let mid = parameters.rtp.mid.as_deref().and_then(Mid::new);
        Some(Self {
            id,
            producer,
            station: None,
            kind: parameters.kind,
            codec: codec.codec,
            ssrc,
            rtx,
            stream: SealStream::new(ssrc),
            rtx_stream: SealStream::new(rtx.map_or(0, |(ssrc, _)| ssrc)),
            ids: OutgoingExtensions {
                mid: extension(ExtensionKind::Mid).zip(mid),
                transport_sequence: extension(ExtensionKind::TransportSequence),
                absolute_send_time: extension(ExtensionKind::AbsoluteSendTime),
                audio_level: extension(ExtensionKind::AudioLevel),
                orientation: extension(ExtensionKind::Orientation),
                absolute_capture: extension(ExtensionKind::AbsoluteCapture),
                playout_delay: extension(ExtensionKind::PlayoutDelay),
            },
            cname: parameters.rtp.cname.as_str().into(),
            stats: ConsumerStats::default(),
            replay: None,
            payload_type: codec.payload_type,
            paused: parameters.paused,
            preferred: parameters.preferred,
            target: 0,
            current: None,
            segments: VecDeque::with_capacity(SEGMENTS),
            // Below 2^15, so that a receiver that joins late can't mistake the first wrap (RFC 3711, 3.3.1).
            next_sequence: u64::from(seed & 0x3fff) + 1,
            next_rtx_sequence: u64::from(seed >> 16 & 0x3fff) + 1,
            last_timestamp: None,
            last_picture: 0,
            last_tl0: 0,
            repairs: (now, 0),
            reports: [(0, None); REPORTS],
            report_count: 0,
        })
    }

    /// Which encoding is being sent.
    #[must_use]
    pub fn current(&self) -> Option<u8> {
        self.current
    }

    /// Which encodings it can use now, as bits: the one being sent and the one awaited.
    #[must_use]
    pub fn demand(&self) -> u32 {
        if self.paused {
            return 0;
        }
        1 << self.target | self.current.map_or(0, |current| 1 << current)
    }

    /// The encoding whose keyframe it waits for.
    #[must_use]
    pub fn awaits_keyframe(&self) -> Option<u8> {
        let waits = self.kind == MediaKind::Video && !self.paused && self.current != Some(self.target);
        waits.then_some(self.target)
    }

    /// Chooses the target among the encodings that send (bits in `alive`): the highest wanted, else the lowest.
    /// Returns whether it changed.
    pub fn choose(&mut self, encodings: usize, alive: u32) -> bool {
        let wanted = self.preferred.spatial.min(encodings.saturating_sub(1) as u8);
        let target = if alive == 0 {
            wanted
        } else {
            (0..=wanted)
                .rev()
                .find(|encoding| alive >> encoding & 1 == 1)
                .unwrap_or(alive.trailing_zeros() as u8)
        };
        let changed = target != self.target;
        self.target = target;
        changed
    }

    /// Says what is wanted at most.
    pub fn prefer(&mut self, preferred: LayerPreference) {
        self.preferred = preferred;
    }

    /// Stops or resumes; returns whether anything changed. Resuming starts at the next keyframe.
    pub fn pause(&mut self, paused: bool) -> bool {
        let changed = self.paused != paused;
        self.paused = paused;
        if changed {
            self.resync();
        }
        changed
    }

    /// Forgets where it was: the source's numbering jumped (pause, move of the source).
    pub fn resync(&mut self) {
        self.current = None;
        self.replay = None;
    }

    /// Begins to replay a chain of the awaited encoding, unless what was sent before is newer: its timestamps would
    /// run backwards. Returns whether it did.
    pub fn join(&mut self, encoding: u8, chain: &Chain, now: Instant) -> bool {
        let newer = self.last_timestamp.is_some_and(|(_, sent)| sent > chain.began);
        if !newer {
            self.replay = Some(Cursor::new(encoding, chain, now));
            self.stats.replays += 1;
        }
        !newer
    }

    /// Decides about one packet, in the source's arrival order. `None`: not for this peer. `clocks` are the
    /// publisher's, one an encoding.
    pub fn select(
        &mut self,
        packet: &MediaPacket,
        clocks: impl Fn(u8) -> Option<SourceClock>,
    ) -> Option<Ticket> {
        if self.paused || self.replay.is_some_and(|replay| replay.withholds(packet)) {
            return None;
        }
        let switches = match self.current {
            Some(current) if current == packet.encoding => false,
            _ if self.kind == MediaKind::Audio => true,
            Some(_) => packet.encoding == self.target && packet.keyframe,
            None => packet.encoding <= self.target && packet.keyframe,
        };
        if switches {
            self.begin_segment(packet, clocks);
        } else if self.current != Some(packet.encoding) {
            return None;
        }
        let segment = *self.segments.back()?;
        let sequence = segment.out_start + packet.sequence.checked_sub(segment.source_start)?;
        self.next_sequence = self.next_sequence.max(sequence + 1);
        let timestamp = packet.timestamp.wrapping_add(segment.timestamp_shift);
        self.remember(packet, timestamp, segment.shift);
        Some(Ticket { sequence, timestamp, shift: segment.shift, switched: switches })
    }

    fn begin_segment(&mut self, packet: &MediaPacket, clocks: impl Fn(u8) -> Option<SourceClock>) {
        let timestamp_shift = self.timestamp_shift(packet, clocks);
        let shift = match (packet.payload_info, self.last_timestamp) {
            (PayloadInfo::Vp8(descriptor), Some(_)) => vp8::Shift {
                picture_id: descriptor
                    .picture_id
                    .map_or(0, |(id, _)| self.last_picture.wrapping_add(1).wrapping_sub(id)),
                tl0_picture_index: descriptor
                    .tl0_picture_index
                    .map_or(0, |index| self.last_tl0.wrapping_add(1).wrapping_sub(index)),
            },
            _ => vp8::Shift::default(),
        };
        if self.segments.len() == SEGMENTS {
            self.segments.pop_front();
        }
        self.segments.push_back(Segment {
            encoding: packet.encoding,
            source_start: packet.sequence,
            out_start: self.next_sequence,
            timestamp_shift,
            shift,
        });
        if self.current.is_some_and(|current| current != packet.encoding) {
            self.stats.switches += 1;
        }
        self.current = Some(packet.encoding);
        self.stats.encoding = self.current;
    }

    /// What to add to the source's timestamps in a new segment: the same as before for the same encoding; by the
    /// publisher's clocks between encodings; by elapsed time where those are unknown or lie.
    fn timestamp_shift(&self, packet: &MediaPacket, clocks: impl Fn(u8) -> Option<SourceClock>) -> u32 {
        let (Some(previous), Some((last, sent))) = (self.segments.back(), self.last_timestamp) else {
            return 0;
        };
        let hz = self.codec.clock_hz();
        let elapsed = clock::units(packet.ingress.saturating_duration_since(sent), hz).max(1);
        let by_clock = if previous.encoding == packet.encoding {
            Some(previous.timestamp_shift)
        } else {
            clocks(previous.encoding)
                .zip(clocks(packet.encoding))
                .map(|(from, to)| previous.timestamp_shift.wrapping_add(clock::shift_between(&from, &to, hz)))
        };
        if let Some(shift) = by_clock {
            let step = packet.timestamp.wrapping_add(shift).wrapping_sub(last) as i32;
            let off = i64::from(step) - i64::from(elapsed);
            if step > 0 && off.unsigned_abs() < u64::from(clock::units(CLOCK_TRUST, hz)) {
                return shift;
            }
            if step <= 0 && off.unsigned_abs() < u64::from(clock::units(CLOCK_TRUST, hz)) {
                return last.wrapping_add(1).wrapping_sub(packet.timestamp);
            }
        }
        last.wrapping_add(elapsed).wrapping_sub(packet.timestamp)
    }

    fn remember(&mut self, packet: &MediaPacket, timestamp: u32, shift: vp8::Shift) {
        match self.last_timestamp {
            Some((last, _)) if (timestamp.wrapping_sub(last) as i32) < 0 => return,
            _ => self.last_timestamp = Some((timestamp, packet.ingress)),
        }
        if let PayloadInfo::Vp8(descriptor) = packet.payload_info {
            if let Some((id, _)) = descriptor.picture_id {
                self.last_picture = id.wrapping_add(shift.picture_id) & 0x7fff;
            }
            if let Some(index) = descriptor.tl0_picture_index {
                self.last_tl0 = index.wrapping_add(shift.tl0_picture_index);
            }
        }
    }

    /// The header of a first transmission.
    #[must_use]
    pub fn header(&self, packet: &MediaPacket, ticket: &Ticket) -> Outgoing {
        Outgoing {
            marker: packet.marker,
            payload_type: self.payload_type,
            sequence: ticket.sequence as u16,
            timestamp: ticket.timestamp,
            ssrc: self.ssrc,
        }
    }

    /// Which source packet a NACKed sequence stands for: encoding, source sequence, and how it was written.
    /// `None` if it was never sent, is too old, or too much is asked for.
    pub fn repair(&mut self, sequence: u16, now: Instant) -> Option<(u8, u64, Ticket)> {
        self.stats.nacks_received += 1;
        if now.saturating_duration_since(self.repairs.0) >= REPAIR_INTERVAL {
            self.repairs = (now, 0);
        }
        if self.repairs.1 >= REPAIRS_PER_INTERVAL {
            return None;
        }
        let behind = (self.next_sequence as u16).wrapping_sub(sequence);
        let out = self.next_sequence.checked_sub(u64::from(behind)).filter(|_| behind > 0)?;
        let segment = self.segments.iter().rev().find(|segment| segment.out_start <= out)?;
        self.repairs.1 += 1;
        let ticket = Ticket {
            sequence: out,
            timestamp: segment.timestamp_shift,
            shift: segment.shift,
            switched: false,
        };
        Some((segment.encoding, segment.source_start + (out - segment.out_start), ticket))
    }

    /// The header of a retransmission of `packet` and its extended sequence; `ticket` comes from
    /// [`Consumer::repair`].
    pub fn rtx_header(&mut self, packet: &MediaPacket, ticket: &Ticket) -> Option<(Outgoing, u64)> {
        let (ssrc, payload_type) = self.rtx?;
        let sequence = self.next_rtx_sequence;
        self.next_rtx_sequence += 1;
        let outgoing = Outgoing {
            marker: packet.marker,
            payload_type,
            sequence: sequence as u16,
            timestamp: packet.timestamp.wrapping_add(ticket.timestamp),
            ssrc,
        };
        Some((outgoing, sequence))
    }

    /// What the source's RTP time `rtp` is called towards the peer, for sender reports.
    #[must_use]
    pub fn outgoing_timestamp(&self, rtp: u32) -> Option<u32> {
        self.segments.back().map(|segment| rtp.wrapping_add(segment.timestamp_shift))
    }

    /// The source sequence from which on this consumer is in its current segment.
    #[must_use]
    pub fn source_start(&self) -> Option<(u8, u64)> {
        let current = self.current?;
        self.segments.back().map(|segment| (current, segment.source_start))
    }

    /// Remembers a sent report by the middle of its NTP time.
    pub fn note_report(&mut self, middle: u32, now: Instant) {
        self.reports[self.report_count % REPORTS] = (middle, Some(now));
        self.report_count += 1;
    }

    /// The round trip that a report block tells (RFC 3550, section 6.4.1).
    #[must_use]
    pub fn round_trip(&self, last_report: u32, delay: u32, now: Instant) -> Option<Duration> {
        let sent = self.reports.iter().find(|(middle, _)| *middle == last_report && last_report != 0)?.1?;
        let held = Duration::from_nanos(u64::from(delay) * 1_000_000_000 / 65_536);
        now.saturating_duration_since(sent).checked_sub(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tidegate_types::packet::{Extensions, Vp8Descriptor};
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
        assert!(
            consumer.select(&packet(late, 1, 899, 70, false, 2_999), clocks).is_none(),
            "before the switch"
        );
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
        let mut consumer = consumer(MediaKind::Audio);
        let ticket = consumer.select(&packet(start, 0, 1, 0, false, 0), |_| None).unwrap();
        let served = (0..1_000).filter(|_| consumer.repair(ticket.sequence as u16, start).is_some()).count();
        assert_eq!(served, REPAIRS_PER_INTERVAL as usize);
    }
}
