//! What one transport's peer can make it remember, and when a transport's reports are due.

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

#[test]
fn transports_made_at_different_times_report_and_pace_together() {
    let instant = Instant::now();
    let second = Now { instant, wall: NtpTime::from_unix(Duration::from_secs(9)) };
    let made = |us| second.after(Duration::from_micros(us));
    let reports = [1, 17_300, 49_990].map(|us| next_report(made(us)));
    let waits = [3, 4_990].map(|us| made(us).instant - past(made(us), PACE_GRID));
    for times in [&reports[..], &waits[..]] {
        let apart = times.iter().max().zip(times.iter().min()).map(|(last, first)| *last - *first);
        assert!(apart.is_some_and(|apart| apart < Duration::from_micros(1)), "{times:?}");
    }
    let away = REPORT_INTERVAL.abs_diff(reports[0] - instant);
    assert!(away < Duration::from_micros(1), "{away:?}");
}
