//! In which form a packet goes out: payload type, and how much of the payload. Knows nothing of numbers' order and of
//! layers.

use super::Consumer;
use crate::rtp::Outgoing;
use crate::vp8;
use tidegate_types::packet::PayloadInfo;
use tidegate_types::rtp::{Codec, CodecParameters};
use tidegate_types::{MediaKind, MediaPacket};

/// One payload type that the peer takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    pub(super) rtx_payload_type: Option<u8>,
}

impl Format {
    pub(super) const fn of(parameters: &CodecParameters) -> Self {
        Self {
            codec: parameters.codec,
            payload_type: parameters.payload_type,
            rtx_payload_type: parameters.rtx_payload_type,
        }
    }
}

/// What of a packet's payload the peer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
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
    pub(super) format: Format,
    pub(super) carried: Carried,
    /// The packet began a new segment: what its encoding's history holds behind it has to follow.
    pub switched: bool,
}

impl Ticket {
    /// What goes out of a packet's payload.
    #[must_use]
    #[inline]
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
    #[inline]
    pub fn descriptor<'a>(&self, packet: &'a MediaPacket) -> &'a [u8] {
        if self.carried == Carried::Nothing { &[] } else { packet.dependency_descriptor() }
    }
}

impl Consumer {
    /// How a codec is sent to this peer; `None` if it doesn't take it. A change of codec begins at a keyframe.
    #[inline]
    pub(super) fn carry(&mut self, codec: Codec) -> Option<(Format, Carried)> {
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

    /// The header of a first transmission.
    #[must_use]
    #[inline]
    pub fn header(&self, ticket: &Ticket) -> Outgoing {
        Outgoing {
            marker: ticket.marker,
            payload_type: ticket.format.payload_type,
            sequence: ticket.sequence as u16,
            timestamp: ticket.timestamp,
            ssrc: self.ssrc,
        }
    }
}
