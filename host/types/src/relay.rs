//! A relay: one copy of one producer's demanded layers, carried from the place where it stands to another.
//!
//! It has its own continuous sequence, so that the far side sees its own gaps and asks for exactly them; the
//! producer's numbering, timestamps and clock travel unchanged inside.

use crate::{MediaPacket, NtpTime, RelayId};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What goes over a relay, in either direction.
#[derive(Clone, Debug)]
pub enum RelayMessage {
    /// Source to sink: one packet.
    Media(RelayPacket),
    /// Source to sink: the publisher's clock for one encoding.
    Clock(RelayClock),
    /// Source to sink: the highest sequence sent so far, so that a lost tail is noticed.
    Highest {
        /// On which relay.
        relay: RelayId,
        /// The last relay sequence sent.
        sequence: u64,
    },
    /// Source to sink: these encodings send at the source (bit n: encoding n).
    Alive {
        /// On which relay.
        relay: RelayId,
        /// Bit n set: encoding n sends.
        encodings: u32,
    },
    /// Sink to source: these are missing.
    Nack {
        /// On which relay.
        relay: RelayId,
        /// Relay sequences, at most [`NACK_SEQUENCES`].
        sequences: Vec<u64>,
    },
    /// Sink to source: a consumer needs a keyframe of this encoding.
    KeyframeRequest {
        /// On which relay.
        relay: RelayId,
        /// Which encoding.
        encoding: u8,
    },
    /// Sink to source: only these encodings are wanted (bit n: encoding n).
    Demand {
        /// On which relay.
        relay: RelayId,
        /// Bit n set: encoding n is wanted.
        encodings: u32,
    },
}

impl RelayMessage {
    /// On which relay it goes.
    #[must_use]
    pub const fn relay(&self) -> RelayId {
        match self {
            Self::Media(packet) => packet.relay,
            Self::Clock(clock) => clock.relay,
            Self::Highest { relay, .. }
            | Self::Alive { relay, .. }
            | Self::Nack { relay, .. }
            | Self::KeyframeRequest { relay, .. }
            | Self::Demand { relay, .. } => *relay,
        }
    }
}

/// How many sequences one relay NACK carries at most; the rest goes into the next.
pub const NACK_SEQUENCES: usize = 64;

/// One packet on a relay.
#[derive(Clone, Debug)]
pub struct RelayPacket {
    /// On which relay.
    pub relay: RelayId,
    /// The relay's own running number, starting at 0.
    pub sequence: u64,
    /// Sent in answer to a NACK.
    pub repair: bool,
    /// The packet; its own numbering is the producer's.
    pub packet: MediaPacket,
}

/// A sender report of the publisher, as it stood when received.
#[derive(Clone, Copy, Debug)]
pub struct RelayClock {
    /// On which relay.
    pub relay: RelayId,
    /// Of which encoding.
    pub encoding: u8,
    /// The publisher's clock.
    pub clock: SourceClock,
}

/// A pair of the publisher's NTP and RTP times (its last sender report), and when it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceClock {
    /// The publisher's NTP time.
    pub ntp: NtpTime,
    /// The encoding's RTP time at that moment.
    pub rtp: u32,
    /// When it entered the first shard.
    pub received: Instant,
}

/// Counters of one end of a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStats {
    /// Packets first time.
    pub packets: u64,
    /// Packets sent or received as repair.
    pub repaired: u64,
    /// Sequences asked for (sink) or asked of (source).
    pub nacked: u64,
    /// Given up (sink) or no longer held (source).
    pub lost: u64,
}
