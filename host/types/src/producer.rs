//! A producer: a track as it arrives.

use crate::{MediaKind, RtpParameters};
use serde::{Deserialize, Serialize};

/// What a producer is, for everyone who consumes or relays it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerParameters {
    /// Audio or video.
    pub kind: MediaKind,
    /// What was negotiated with its publisher.
    pub rtp: RtpParameters,
}

/// Counters of one encoding of a producer since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodingStats {
    /// SSRC once known.
    pub ssrc: Option<u32>,
    /// Media packets accepted, repaired ones included.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets still missing when given up.
    pub lost: u64,
    /// Packets that came back by retransmission.
    pub repaired: u64,
    /// Duplicates dropped.
    pub duplicates: u64,
    /// Keyframes seen.
    pub keyframes: u64,
    /// NACKed packets, each once per request.
    pub nacks_sent: u64,
    /// Keyframe requests sent upstream.
    pub keyframe_requests: u64,
    /// Interarrival jitter in RTP clock units (RFC 3550).
    pub jitter: u32,
}

/// Stats of a producer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerStats {
    /// One per encoding, lowest first.
    pub encodings: Vec<EncodingStats>,
}
