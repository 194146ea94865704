//! What one transport's peer can make it remember.

use super::*;
use crate::association::Identity;
use std::sync::Arc;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::rtp::{Codec, CodecParameters, EncodingParameters, RtpParameters};
use tidegate_types::transport::SrtpProfile;
use tidegate_types::{NtpTime, Secret};

fn transport(now: Now) -> Transport {
    let identity = Arc::new(Identity::generate().unwrap());
    let config = AssociationConfig { identity, profiles: vec![SrtpProfile::AeadAes128Gcm] };
    let local = IceCredentials { ufrag: "0000".into(), password: Secret::new("secret".to_owned()) };
    Transport::new(TransportId(1), RouterId(1), TransportLimits::default(), &config, local, now)
}

/// A sound that announces no SSRC.
fn sound(payload_type: u8) -> ProducerParameters {
    let codec = CodecParameters {
        codec: Codec::Opus,
        format: String::new(),
        payload_type,
        rtx_payload_type: None,
        nack: false,
        pli: false,
        transport_cc: false,
    };
    let rtp = RtpParameters {
        mid: None,
        codecs: vec![codec],
        extensions: Vec::new(),
        encodings: vec![EncodingParameters { ssrc: None, rtx_ssrc: None, rid: None }],
        cname: String::new(),
        reduced_size_rtcp: true,
    };
    ProducerParameters { kind: MediaKind::Audio, rtp }
}

fn packet(payload_type: u8, ssrc: u32) -> [u8; 12] {
    let mut packet = [0; 12];
    (packet[0], packet[1]) = (0x80, payload_type);
    packet[8..].copy_from_slice(&ssrc.to_be_bytes());
    packet
}

#[test]
fn new_sources_are_learnt_up_to_a_bound_then_counted_and_the_first_go_on() {
    let now = Now { instant: Instant::now(), wall: NtpTime(0) };
    let mut transport = transport(now);
    let parameters = sound(111);
    transport.add_producer(Producer::new(ProducerId(1), 0, parameters, now.instant), now.instant);
    let mut identify = |payload_type, ssrc| {
        let packet = packet(payload_type, ssrc);
        transport.identify(now, &Header::parse(&packet).unwrap(), &packet).0
    };
    assert_eq!(identify(112, 1), None, "no track that was granted");
    let learnt = (1..=1_000).filter(|ssrc| identify(111, *ssrc).is_some()).count();
    assert_eq!(learnt, STREAMS);
    assert!(identify(111, 1).is_some());
    assert_eq!(transport.dump().transport.refused_streams, 1_000 - STREAMS as u64);
}
