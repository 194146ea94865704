//! What the benches and tests that send one video agree on: what is negotiated, and secrets that are none. Knows nothing
//! of who sends it.

use crate::io::Secrets;
use tidegate_types::RtpParameters;
use tidegate_types::rtp::{Codec, CodecParameters, EncodingParameters, ExtensionKind, ExtensionParameters};

/// Payload types of the video and of its repetitions.
pub const PAYLOAD_TYPE: u8 = 96;
/// See [`PAYLOAD_TYPE`].
pub const REPAIR_PAYLOAD_TYPE: u8 = 97;
/// Header extension ids.
pub const SEQUENCE_ID: u8 = 3;
/// See [`SEQUENCE_ID`].
pub const MID_ID: u8 = 4;

/// One encoding of VP8 with everything that browsers agree on for it; repetitions have the next SSRC.
#[must_use]
pub fn parameters(mid: &str, ssrc: u32) -> RtpParameters {
    let codec = CodecParameters {
        codec: Codec::Vp8,
        format: String::new(),
        payload_type: PAYLOAD_TYPE,
        rtx_payload_type: Some(REPAIR_PAYLOAD_TYPE),
        nack: true,
        pli: true,
        transport_cc: true,
    };
    RtpParameters {
        mid: Some(mid.to_owned()),
        codecs: vec![codec],
        extensions: vec![
            ExtensionParameters { id: SEQUENCE_ID, kind: ExtensionKind::TransportSequence },
            ExtensionParameters { id: MID_ID, kind: ExtensionKind::Mid },
        ],
        encodings: vec![EncodingParameters { ssrc: Some(ssrc), rtx_ssrc: Some(ssrc + 1), rid: None }],
        cname: "someone".to_owned(),
        reduced_size_rtcp: true,
    }
}

/// Secrets that are none, from a seed: only a bench or a test may do this.
#[derive(Clone, Copy, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one, of 31 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

impl Secrets for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.draw() as u8);
    }
}
