//! Negotiated RTP parameters: what SDP (or mediasoup's JSON) says, in numbers. The engine gets these and
//! invents none.

use serde::{Deserialize, Serialize};

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl MediaKind {
    /// `audio` or `video`, as SDP writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// A codec that this host forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// Redundant audio around Opus (RFC 2198).
    Red,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// The Alliance for Open Media's RTP payload format for AV1.
    Av1,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 6] = [Self::Opus, Self::Red, Self::Vp8, Self::Vp9, Self::H264, Self::Av1];

    /// The name in SDP's `rtpmap`.
    #[must_use]
    pub const fn sdp_name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Red => "red",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::Av1 => "AV1",
        }
    }

    /// RTP clock in Hz.
    #[must_use]
    pub const fn clock_hz(self) -> u32 {
        match self {
            Self::Opus | Self::Red => 48_000,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => 90_000,
        }
    }

    /// What it encodes.
    #[must_use]
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::Opus | Self::Red => MediaKind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => MediaKind::Video,
        }
    }
}

/// One codec's payload types and agreed feedback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecParameters {
    /// Which.
    pub codec: Codec,
    /// What of `fmtp` two sides have to agree on, canonical, so that equal formats are equal strings: H.264's
    /// `packetization-mode` and `profile-level-id`, VP9's `profile-id`, AV1's `profile`. Empty where there is nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub format: String,
    /// Payload type of the media.
    pub payload_type: u8,
    /// Payload type of its retransmissions (RFC 4588), where agreed.
    pub rtx_payload_type: Option<u8>,
    /// Generic NACK agreed.
    pub nack: bool,
    /// Picture loss indication agreed.
    pub pli: bool,
    /// Transport-wide congestion control agreed.
    pub transport_cc: bool,
}

/// Header extensions by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtensionKind {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (hop by hop).
    Mid,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (hop by hop).
    StreamId,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (hop by hop).
    RepairedStreamId,
    /// Transport-wide sequence (hop by hop).
    TransportSequence,
    /// Absolute send time (hop by hop).
    AbsoluteSendTime,
    /// RFC 6464 (end to end).
    AudioLevel,
    /// Video orientation (end to end).
    Orientation,
    /// Absolute capture time (end to end).
    AbsoluteCapture,
    /// Playout delay (end to end).
    PlayoutDelay,
    /// Layers and dependencies of each frame, beside the payload (end to end).
    DependencyDescriptor,
}

impl ExtensionKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Mid,
        Self::StreamId,
        Self::RepairedStreamId,
        Self::TransportSequence,
        Self::AbsoluteSendTime,
        Self::AudioLevel,
        Self::Orientation,
        Self::AbsoluteCapture,
        Self::PlayoutDelay,
        Self::DependencyDescriptor,
    ];

    /// The URI in SDP's `extmap`.
    #[must_use]
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::StreamId => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedStreamId => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::TransportSequence => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::AbsoluteSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::Orientation => "urn:3gpp:video-orientation",
            Self::AbsoluteCapture => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
        }
    }
}

/// One agreed header extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionParameters {
    /// Its id on the wire (RFC 8285): 1 to 14, or to 255 where the two-byte form is agreed.
    pub id: u8,
    /// What it means.
    pub kind: ExtensionKind,
}

/// One stream of a track: an SSRC known beforehand, or a rid to learn it by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodingParameters {
    /// The stream's SSRC; `None` where it is learnt from rid (or mid) on the first packet.
    pub ssrc: Option<u32>,
    /// The SSRC of its retransmissions.
    pub rtx_ssrc: Option<u32>,
    /// RFC 8851 restriction id of a simulcast stream.
    pub rid: Option<String>,
}

/// All that was negotiated for one track on one transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtpParameters {
    /// The m-line's identification tag.
    pub mid: Option<String>,
    /// Agreed codecs; the first is the one that a consumer is sent.
    pub codecs: Vec<CodecParameters>,
    /// Agreed header extensions.
    pub extensions: Vec<ExtensionParameters>,
    /// Streams, lowest resolution first. A consumer has exactly one, with its SSRCs given.
    pub encodings: Vec<EncodingParameters>,
    /// RTCP's canonical name; tracks that are to be played in sync share it.
    pub cname: String,
    /// Reduced-size RTCP agreed (RFC 5506).
    pub reduced_size_rtcp: bool,
}

impl RtpParameters {
    /// The id that `kind` has on the wire, if it was agreed.
    #[must_use]
    pub fn extension_id(&self, kind: ExtensionKind) -> Option<u8> {
        self.extensions.iter().find(|extension| extension.kind == kind).map(|extension| extension.id)
    }
}
