//! A consumer: chooses which encoding and which of its layers its peer is sent, and renumbers those packets into one
//! continuous stream. Knows nothing of sockets, keys, rooms or policies.
//!
//! Numbering is piecewise: a [`Segment`] says where a run of one encoding's packets stands in the outgoing numbering.
//! Inside it numbers run in parallel until a layer is left out, and follow from counting bits from then on; so a
//! retransmission needs no more than a bit per packet.

use crate::association::SealStream;
use crate::bits::BitRing;
use crate::clock;
use crate::layers::{Frames, Selection};
use crate::numbers::Numbers;
use crate::replay::{Chain, Cursor};
use crate::rtp::{Mid, Outgoing, OutgoingExtensions};
use crate::share::Share;
use crate::vp8;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_types::consumer::{Allowance, ConsumerParameters, ConsumerStats, LayerPreference};
use tidegate_types::layer::Target;
use tidegate_types::packet::PayloadInfo;
use tidegate_types::relay::SourceClock;
use tidegate_types::rtp::{Codec, CodecParameters, ExtensionKind};
use tidegate_types::{ConsumerId, MediaKind, MediaPacket, ProducerId};

/// Segments remembered; older packets can't be sent again. Each costs a quarter of a kilobyte.
const SEGMENTS: usize = 8;
/// Words of the ring that remembers added markers: as long as the numbers' own.
const MARKER_WORDS: usize = 8;
/// Retransmissions that a peer may ask for per 100 ms; more are ignored and counted.
const REPAIRS_PER_INTERVAL: u32 = 200;
const REPAIR_INTERVAL: Duration = Duration::from_millis(100);
/// A timestamp step that differs from the elapsed time by more than this comes from a wrong clock.
const CLOCK_TRUST: Duration = Duration::from_secs(3);
/// A frame number that lies farther back begins a new count. More would let a publisher that counts anew wait longer
/// for its first keyframe to be taken.
const FRAMES_BACK: u16 = 256;
/// Sent sender reports remembered for round-trip times.
const REPORTS: usize = 4;

/// A run of one encoding's packets in the outgoing numbering.
#[derive(Clone, Copy, Debug)]
struct Segment {
    encoding: u8,
    numbers: Numbers,
    timestamp_shift: u32,
    /// Of the pictures before the first that was left out.
    shift: vp8::Shift,
    frames: Frames,
    /// Source packets that got a marker bit here: the last of a picture whose upper layers are left out.
    marked: BitRing<MARKER_WORDS>,
}

impl Segment {
    /// Frames that are left out leave no gap in VP8's picture ids, or a receiver would wait for them.
    fn shift_of(&self, packet: &MediaPacket) -> vp8::Shift {
        match (packet.payload_info, &packet.layers) {
            (PayloadInfo::Vp8(_), Some(view)) => {
                let skipped = self.frames.skipped_before(view.frame) as u16;
                vp8::Shift { picture_id: self.shift.picture_id.wrapping_sub(skipped), ..self.shift }
            }
            _ => self.shift,
        }
    }
}

/// One payload type that the peer takes.
#[derive(Clone, Copy, Debug)]
struct Format {
    codec: Codec,
    payload_type: u8,
    rtx_payload_type: Option<u8>,
}

/// What of a packet's payload the peer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    /// All of it.
    Whole,
    /// The newest block of redundant audio, for a peer that takes it plain.
    Primary,
    /// Nothing: its number was kept for it, and then it turned out not to be wanted.
    Nothing,
}

/// How one packet is to be written for the peer.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Extended outgoing sequence.
    pub sequence: u64,
    /// Outgoing timestamp.
    pub timestamp: u32,
    /// Outgoing marker bit.
    pub marker: bool,
    /// VP8's renumbering.
    pub shift: vp8::Shift,
    format: Format,
    carried: Carried,
    /// The packet began a new segment: what its encoding's history holds behind it has to follow.
    pub switched: bool,
}

impl Ticket {
    /// What goes out of a packet's payload.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a MediaPacket) -> &'a [u8] {
        let payload = packet.payload();
        match (self.carried, packet.payload_info) {
            (Carried::Nothing, _) => &[],
            (Carried::Primary, PayloadInfo::Red { primary }) => {
                payload.get(usize::from(primary)..).unwrap_or_default()
            }
            _ => payload,
        }
    }

    /// The dependency descriptor that goes out with it.
    #[must_use]
    pub fn descriptor<'a>(&self, packet: &'a MediaPacket) -> &'a [u8] {
        if self.carried == Carried::Nothing { &[] } else { packet.dependency_descriptor() }
    }
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
    /// What the division of its transport's bit rate gave it last.
    pub share: Share,
    /// What the peer takes, the first preferred.
    formats: Box<[Format]>,
    /// How the codec that came last is sent.
    carriage: (Codec, Format, Carried),
    paused: bool,
    preferred: LayerPreference,
    /// What its share of the bit rate allows; `None`: nothing.
    allowed: Option<LayerPreference>,
    /// That is all that it wants.
    full: bool,
    /// What its shard has not shed; `None`: nothing is left.
    left: Option<LayerPreference>,
    target: u8,
    /// What would be the target if nothing were shed.
    unshed: u8,
    current: Option<u8>,
    selection: Selection,
    segments: VecDeque<Segment>,
    /// The next fresh outgoing sequence; extended, so that it tells the rollover counter.
    next_sequence: u64,
    next_rtx_sequence: u64,
    last_timestamp: Option<(u32, Instant)>,
    last_picture: u16,
    last_tl0: u8,
    /// The newest frame's number in the dependency descriptors sent.
    last_frame: Option<u16>,
    repairs: (Instant, u32),
    reports: [(u32, Option<Instant>); REPORTS],
    report_count: usize,
}

impl Format {
    const fn of(parameters: &CodecParameters) -> Self {
        Self {
            codec: parameters.codec,
            payload_type: parameters.payload_type,
            rtx_payload_type: parameters.rtx_payload_type,
        }
    }
}

/// What both bounds leave.
fn lower(one: LayerPreference, other: LayerPreference) -> LayerPreference {
    LayerPreference { spatial: one.spatial.min(other.spatial), temporal: one.temporal.min(other.temporal) }
}

/// The highest encoding up to `wanted` among those that send (bits in `alive`), else the lowest of them.
fn sending(wanted: u8, alive: u32) -> u8 {
    if alive == 0 {
        return wanted;
    }
    (0..=wanted).rev().find(|encoding| alive >> encoding & 1 == 1).unwrap_or(alive.trailing_zeros() as u8)
}

/// Whether a packet is the last of its picture for someone who is sent no layer above its own.
fn ends_picture(packet: &MediaPacket, selection: &Selection) -> bool {
    let top = selection.current().map(|current| current.spatial);
    packet.layers.is_some_and(|view| view.ends_frame && Some(view.layer.spatial) == top)
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
        let formats: Box<[Format]> = parameters.rtp.codecs.iter().map(Format::of).collect();
        let codec = *formats.first()?;
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
                dependency_descriptor: extension(ExtensionKind::DependencyDescriptor),
            },
            cname: parameters.rtp.cname.as_str().into(),
            stats: ConsumerStats::default(),
            replay: None,
            share: Share::default(),
            formats,
            carriage: (codec.codec, codec, Carried::Whole),
            paused: parameters.paused,
            preferred: parameters.preferred,
            allowed: Some(LayerPreference::HIGHEST),
            full: true,
            left: Some(LayerPreference::HIGHEST),
            target: 0,
            unshed: 0,
            current: None,
            selection: Selection::new(),
            segments: VecDeque::with_capacity(SEGMENTS),
            // Below 2^15, so that a receiver that joins late can't mistake the first wrap (RFC 3711, 3.3.1).
            next_sequence: u64::from(seed & 0x3fff) + 1,
            next_rtx_sequence: u64::from(seed >> 16 & 0x3fff) + 1,
            last_timestamp: None,
            last_picture: 0,
            last_tl0: 0,
            last_frame: None,
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

    /// Which encodings it can use now, as bits: the one being sent, the one awaited, and the one that it would
    /// have if that were sent.
    #[must_use]
    pub fn demand(&self, encodings: usize) -> u32 {
        if self.is_stopped() {
            return 0;
        }
        1 << self.target | 1 << self.wanted(encodings) | self.current.map_or(0, |current| 1 << current)
    }

    /// Nothing is to be sent: its peer paused it, there is no room for it, or its shard has shed it.
    fn is_stopped(&self) -> bool {
        self.paused || self.allowed.is_none() || self.left.is_none()
    }

    /// The highest layers that are wanted and allowed, and left by its shard.
    fn bound(&self) -> LayerPreference {
        let lowest = LayerPreference { spatial: 0, temporal: 0 };
        lower(self.unshed_bound(), self.left.unwrap_or(lowest))
    }

    /// The same if nothing were shed.
    fn unshed_bound(&self) -> LayerPreference {
        let lowest = LayerPreference { spatial: 0, temporal: 0 };
        lower(self.preferred, self.allowed.unwrap_or(lowest))
    }

    /// The highest encoding that is wanted, allowed and left.
    fn wanted(&self, encodings: usize) -> u8 {
        self.bound().spatial.min(encodings.saturating_sub(1) as u8)
    }

    /// What its peer wants at most, of what is left; `None` while that is nothing.
    #[must_use]
    pub fn wish(&self) -> Option<LayerPreference> {
        self.left.filter(|_| !self.paused).map(|left| lower(self.preferred, left))
    }

    /// Which layers of the current encoding are being sent, where that has any.
    #[must_use]
    pub fn current_layers(&self) -> Option<Target> {
        self.current.and_then(|_| self.selection.current())
    }

    /// The encoding whose keyframe it waits for: to begin with it, or to change to another picture size inside it.
    #[must_use]
    pub fn awaits_keyframe(&self) -> Option<u8> {
        let elsewhere = self.current != Some(self.target) || self.selection.needs_keyframe();
        let waits = self.kind == MediaKind::Video && !self.is_stopped() && elsewhere;
        waits.then_some(self.target)
    }

    /// Chooses the target among the encodings that send (bits in `alive`): the highest wanted, else the lowest.
    /// Returns whether it changed.
    pub fn choose(&mut self, encodings: usize, alive: u32) -> bool {
        let bound = self.bound();
        // Where there are several encodings, they are the spatial layers.
        let spatial = if encodings > 1 { u8::MAX } else { bound.spatial };
        self.selection.want(LayerPreference { spatial, temporal: bound.temporal });
        let highest = encodings.saturating_sub(1) as u8;
        let target = sending(bound.spatial.min(highest), alive);
        self.unshed = sending(self.unshed_bound().spatial.min(highest), alive);
        let changed = target != self.target;
        self.target = target;
        changed
    }

    /// Says what is wanted at most; [`Consumer::choose`] heeds it.
    pub fn prefer(&mut self, preferred: LayerPreference) {
        self.preferred = preferred;
    }

    /// Says what its share of the transport's bit rate allows at most, `None` being nothing, and whether that is all
    /// that it wants. Returns whether either changed. What begins again does so at the next keyframe.
    pub fn limit(&mut self, allowed: Option<LayerPreference>, full: bool) -> bool {
        if self.allowed.is_some() != allowed.is_some() {
            self.resync();
        }
        let changed = self.allowed != allowed;
        (self.allowed, self.full) = (allowed, full);
        self.settle_allowance() || changed
    }

    /// Says what its shard's shedding leaves of it at most, `None` being nothing. Returns whether that changed anything.
    /// What begins again does so at the next keyframe.
    pub fn leave(&mut self, left: Option<LayerPreference>) -> bool {
        if self.left.is_some() != left.is_some() {
            self.resync();
        }
        let changed = self.left != left;
        self.left = left;
        self.settle_allowance() || changed
    }

    /// Returns whether it changed.
    fn settle_allowance(&mut self) -> bool {
        let reduced = self.wish().is_some_and(|wish| wish != self.preferred);
        let allowance = match self.allowed.and(self.left) {
            None => Allowance::Nothing,
            Some(_) if self.full && !reduced => Allowance::Full,
            Some(_) => Allowance::Reduced,
        };
        std::mem::replace(&mut self.stats.allowance, allowance) != allowance
    }

    /// Whether a packet that it is not sent would be sent, had its shard not shed it.
    #[must_use]
    pub fn is_shed(&self, packet: &MediaPacket) -> bool {
        let whole = self.left == Some(LayerPreference::HIGHEST);
        !whole && !self.paused && self.allowed.is_some() && packet.encoding == self.unshed
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
        if self.is_stopped() || self.replay.is_some_and(|replay| replay.withholds(packet)) {
            return None;
        }
        let Some((format, carried)) = self.carry(packet.codec) else {
            // It begins anew once the track comes back in a codec that the peer takes.
            self.resync();
            return None;
        };
        let switches = match self.current {
            Some(current) if current == packet.encoding => false,
            // What comes late and was sent before it stopped, a repair on a relay, is no place to begin again.
            _ if self.kind == MediaKind::Audio => !self.has_been_sent(packet),
            Some(_) => packet.encoding == self.target && packet.keyframe && !self.has_newer(packet),
            None => packet.encoding <= self.target && packet.keyframe && !self.has_newer(packet),
        };
        if switches {
            self.begin_segment(packet, clocks);
        } else if self.current != Some(packet.encoding) {
            return None;
        }
        let segment = self.segments.back_mut()?;
        let wanted = match &packet.layers {
            Some(view) => self.selection.wants(&mut segment.frames, view),
            None => true,
        };
        let sequence = segment.numbers.take(packet.sequence, wanted)?;
        let marker = packet.marker || ends_picture(packet, &self.selection);
        segment.marked.set(packet.sequence, marker);
        let ticket = Ticket {
            sequence,
            timestamp: packet.timestamp.wrapping_add(segment.timestamp_shift),
            marker: marker && wanted,
            shift: segment.shift_of(packet),
            format,
            carried: if wanted { carried } else { Carried::Nothing },
            switched: switches,
        };
        self.next_sequence = self.next_sequence.max(segment.numbers.next_out());
        if wanted {
            self.remember(packet, ticket.timestamp, ticket.shift);
            self.remember_frame(packet);
        }
        Some(ticket)
    }

    /// Whether it belongs to the part of its encoding's packets that the peer was offered last.
    fn has_been_sent(&self, packet: &MediaPacket) -> bool {
        let last = self.segments.back().filter(|segment| segment.encoding == packet.encoding);
        last.is_some_and(|segment| packet.sequence < segment.numbers.next_source())
    }

    /// Whether the peer was sent a later frame by the descriptors' count. Browsers number the frames of all encodings
    /// in one row. Of one picture's keyframes either may come first; a receiver that has the later one drops the
    /// other, then everything that builds on it, and asks for nothing. So that one is let go and a new one awaited.
    fn has_newer(&self, packet: &MediaPacket) -> bool {
        let Some((last, frame)) = self.last_frame.zip(self.described_frame(packet)) else { return false };
        (1..FRAMES_BACK).contains(&last.wrapping_sub(frame))
    }

    fn remember_frame(&mut self, packet: &MediaPacket) {
        if let Some(frame) = self.described_frame(packet)
            && !self.has_newer(packet)
        {
            self.last_frame = Some(frame);
        }
    }

    /// The number that the dependency descriptor tells the peer, where it is told.
    fn described_frame(&self, packet: &MediaPacket) -> Option<u16> {
        self.ids.dependency_descriptor?;
        let [_, high, low] = packet.dependency_descriptor().first_chunk()?;
        Some(u16::from_be_bytes([*high, *low]))
    }

    /// How a codec is sent to this peer; `None` if it doesn't take it. A change of codec begins at a keyframe.
    fn carry(&mut self, codec: Codec) -> Option<(Format, Carried)> {
        if self.carriage.0 != codec {
            let format = |codec| self.formats.iter().find(|format| format.codec == codec).copied();
            let plain = || format(Codec::Opus).filter(|_| codec == Codec::Red);
            let whole = format(codec).map(|format| (format, Carried::Whole));
            let (format, carried) = whole.or_else(|| Some((plain()?, Carried::Primary)))?;
            self.carriage = (codec, format, carried);
            if self.kind == MediaKind::Video {
                self.resync();
            }
        }
        Some((self.carriage.1, self.carriage.2))
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
            numbers: Numbers::new(packet.sequence, self.next_sequence),
            timestamp_shift,
            shift,
            frames: Frames::new(),
            marked: BitRing::all(false),
        });
        self.selection.begin();
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
    pub fn header(&self, ticket: &Ticket) -> Outgoing {
        Outgoing {
            marker: ticket.marker,
            payload_type: ticket.format.payload_type,
            sequence: ticket.sequence as u16,
            timestamp: ticket.timestamp,
            ssrc: self.ssrc,
        }
    }

    /// Which source packet a NACKed sequence stands for: encoding, source sequence, and its own extended sequence.
    /// `None` if it was never sent, is too old, or too much is asked for.
    pub fn repair(&mut self, sequence: u16, now: Instant) -> Option<(u8, u64, u64)> {
        self.stats.nacks_received += 1;
        if now.saturating_duration_since(self.repairs.0) >= REPAIR_INTERVAL {
            self.repairs = (now, 0);
        }
        if self.repairs.1 >= REPAIRS_PER_INTERVAL {
            self.stats.refused_repairs += 1;
            return None;
        }
        let behind = (self.next_sequence as u16).wrapping_sub(sequence);
        let out = self.next_sequence.checked_sub(u64::from(behind)).filter(|_| behind > 0)?;
        let segment = self.segment_of(out)?;
        let (encoding, source) = (segment.encoding, segment.numbers.source(out)?);
        self.repairs.1 += 1;
        Some((encoding, source, out))
    }

    fn segment_of(&self, out: u64) -> Option<&Segment> {
        self.segments.iter().rev().find(|segment| segment.numbers.out_start() <= out)
    }

    /// How a packet was written that went out as `out`. `None` where nothing of it did.
    #[must_use]
    pub fn ticket_again(&self, packet: &MediaPacket, out: u64) -> Option<Ticket> {
        let segment = self.segment_of(out)?;
        if packet.layers.is_some_and(|view| segment.frames.was_dropped(view.frame)) {
            return None;
        }
        let format = self.formats.iter().find(|format| format.codec == packet.codec);
        let (format, carried) = match format {
            Some(format) => (*format, Carried::Whole),
            None => (*self.formats.iter().find(|format| format.codec == Codec::Opus)?, Carried::Primary),
        };
        Some(Ticket {
            sequence: out,
            timestamp: packet.timestamp.wrapping_add(segment.timestamp_shift),
            marker: segment.marked.get(packet.sequence),
            shift: segment.shift_of(packet),
            format,
            carried,
            switched: false,
        })
    }

    /// The header of a retransmission and its extended sequence; `ticket` comes from [`Consumer::ticket_again`].
    pub fn rtx_header(&mut self, ticket: &Ticket) -> Option<(Outgoing, u64)> {
        let (ssrc, _) = self.rtx?;
        let payload_type = ticket.format.rtx_payload_type?;
        let sequence = self.next_rtx_sequence;
        self.next_rtx_sequence += 1;
        let outgoing = Outgoing {
            marker: ticket.marker,
            payload_type,
            sequence: sequence as u16,
            timestamp: ticket.timestamp,
            ssrc,
        };
        Some((outgoing, sequence))
    }

    /// The header of a packet of padding on the retransmission stream, and its extended sequence; `None` before
    /// any media: the peer knows nothing of it yet.
    pub fn padding_header(&mut self) -> Option<(Outgoing, u64)> {
        let (ssrc, payload_type) = self.rtx?;
        let (timestamp, _) = self.last_timestamp?;
        let sequence = self.next_rtx_sequence;
        self.next_rtx_sequence += 1;
        Some((Outgoing { marker: false, payload_type, sequence: sequence as u16, timestamp, ssrc }, sequence))
    }

    /// Padding can be sent to its peer, and is told about.
    #[must_use]
    pub fn pads(&self) -> bool {
        self.rtx.is_some() && self.last_timestamp.is_some() && self.ids.transport_sequence.is_some()
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
        self.segments.back().map(|segment| (current, segment.numbers.source_start()))
    }

    /// Which encoding it is in, and the source sequence that it has not been offered yet.
    #[must_use]
    pub fn source_next(&self) -> Option<(u8, u64)> {
        let current = self.current?;
        self.segments.back().map(|segment| (current, segment.numbers.next_source()))
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
    use tidegate_types::layer::{Dependence, LayerView, Targets};
    use tidegate_types::packet::{Extensions, Vp8Descriptor};
    use tidegate_types::rtp::{EncodingParameters, RtpParameters};

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
}
