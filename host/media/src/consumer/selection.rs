//! Decides which packets a consumer is sent, and under which number, timestamp and picture id. Knows nothing of why an
//! encoding or a layer is wanted.
//!
//! Numbering is piecewise: a [`Segment`] says where a run of one encoding's packets stands in the outgoing numbering.
//! Inside it numbers run in parallel until a layer is left out, and follow from counting bits from then on; so a
//! retransmission needs no more than a bit per packet.

use super::format::Carried;
use super::{Consumer, Ticket};
use crate::bits::BitRing;
use crate::clock;
use crate::layers::{Frames, Selection};
use crate::numbers::Numbers;
use crate::vp8;
use std::time::Duration;
use tidegate_types::packet::PayloadInfo;
use tidegate_types::relay::SourceClock;
use tidegate_types::{MediaKind, MediaPacket};

/// Segments remembered; older packets can't be sent again. Each costs a quarter of a kilobyte.
pub(super) const SEGMENTS: usize = 8;

/// Words of the ring that remembers added markers: as long as the numbers' own.
const MARKER_WORDS: usize = 8;

/// A timestamp step that differs from the elapsed time by more than this comes from a wrong clock.
const CLOCK_TRUST: Duration = Duration::from_secs(3);

/// A frame number that lies farther back begins a new count. More would let a publisher that counts anew wait longer
/// for its first keyframe to be taken.
const FRAMES_BACK: u16 = 256;

/// A run of one encoding's packets in the outgoing numbering.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) encoding: u8,
    pub(super) numbers: Numbers,
    pub(super) timestamp_shift: u32,
    /// Of the pictures before the first that was left out.
    pub(super) shift: vp8::Shift,
    pub(super) frames: Frames,
    /// Source packets that got a marker bit here: the last of a picture whose upper layers are left out.
    pub(super) marked: BitRing<MARKER_WORDS>,
}

impl Segment {
    /// Frames that are left out leave no gap in VP8's picture ids, or a receiver would wait for them.
    #[inline]
    pub(super) fn shift_of(&self, packet: &MediaPacket) -> vp8::Shift {
        match (packet.payload_info, &packet.layers) {
            (PayloadInfo::Vp8(_), Some(view)) => {
                let skipped = self.frames.skipped_before(view.frame) as u16;
                vp8::Shift { picture_id: self.shift.picture_id.wrapping_sub(skipped), ..self.shift }
            }
            _ => self.shift,
        }
    }
}

impl Consumer {
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
}

/// Whether a packet is the last of its picture for someone who is sent no layer above its own.
fn ends_picture(packet: &MediaPacket, selection: &Selection) -> bool {
    let top = selection.current().map(|current| current.spatial);
    packet.layers.is_some_and(|view| view.ends_frame && Some(view.layer.spatial) == top)
}
