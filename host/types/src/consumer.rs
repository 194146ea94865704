//! A consumer: a track as sent to one peer.

use crate::{MediaKind, RtpParameters};
use serde::{Deserialize, Serialize};

/// How a track is sent to one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerParameters {
    /// Audio or video.
    pub kind: MediaKind,
    /// What was negotiated with the receiver; exactly one encoding, SSRCs given and unique in the transport.
    pub rtp: RtpParameters,
    /// Start paused.
    pub paused: bool,
    /// The highest layer wanted.
    pub preferred: LayerPreference,
}

/// The highest layers that a consumer wants. What is sent may be lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerPreference {
    /// Spatial layer or simulcast encoding, 0 is the lowest; larger than what exists means the highest.
    pub spatial: u8,
    /// Temporal layer likewise.
    pub temporal: u8,
}

impl LayerPreference {
    /// Whatever is best.
    pub const HIGHEST: Self = Self { spatial: u8::MAX, temporal: u8::MAX };
}

impl Default for LayerPreference {
    fn default() -> Self {
        Self::HIGHEST
    }
}

/// Whether a consumer's share of what its transport can send suffices for what it wants and may have: what a policy's
/// ceiling keeps from it, it does not lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Allowance {
    /// All that it wants.
    #[default]
    Full,
    /// A lower layer.
    Reduced,
    /// Nothing: there is no room even for the lowest layer.
    Nothing,
}

/// Counters of one consumer since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerStats {
    /// Media packets sent first time.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Retransmissions sent.
    pub retransmitted: u64,
    /// Asked for by NACK, but no longer held.
    pub unavailable: u64,
    /// NACKed sequence numbers received.
    pub nacks_received: u64,
    /// Those of them that exceeded what one peer may ask for in a while.
    pub refused_repairs: u64,
    /// PLI and FIR received.
    pub keyframe_requests: u64,
    /// Fraction lost in the last receiver report, in 1/256.
    pub fraction_lost: u8,
    /// Which encoding is being sent.
    pub encoding: Option<u8>,
    /// What its share of the bit rate allows.
    pub allowance: Allowance,
    /// How often the encoding changed.
    pub switches: u64,
    /// How often it began with what was held since the last keyframe, so that none had to be asked for.
    pub replays: u64,
}
