//! What a consumer sends besides fresh packets: what its peer asks for again, and padding. Knows nothing of histories.

use super::format::Carried;
use super::selection::Segment;
use super::{Consumer, Ticket};
use crate::rtp::Outgoing;
use std::time::{Duration, Instant};
use tidegate_types::MediaPacket;
use tidegate_types::rtp::Codec;

/// Retransmissions that a peer may ask for per 100 ms; more are ignored and counted.
pub(super) const REPAIRS_PER_INTERVAL: u32 = 200;

const REPAIR_INTERVAL: Duration = Duration::from_millis(100);

impl Consumer {
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
}
