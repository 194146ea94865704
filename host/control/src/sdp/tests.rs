//! Stories of offers and their answers.

use super::fixtures::{
    ALL, DATA, FIREFOX, FLAT, NO_VP8, PUBLISH, RECEIVE, restarted, stopped, with_direction,
};
use super::offer::{OFFER_BYTES, OfferError, SECTIONS};
use super::{
    AnswerHead, Offer, Verdict, fuzz_offer, parse_offer, receive_parameters, send_parameters, write_answer,
};
use tidegate_types::rtp::{Codec, ExtensionKind};
use tidegate_types::transport::DtlsRole;

fn parse(text: &str) -> Offer {
    parse_offer(text).unwrap_or_else(|error| panic!("{error}"))
}

fn answer(offer: &Offer, verdicts: &[Verdict]) -> String {
    write_answer(offer, &AnswerHead::example(), verdicts)
}

fn widest(offer: &Offer) -> String {
    answer(offer, &offer.sections.iter().map(Verdict::widest).collect::<Vec<_>>())
}

/// The answer's sections, each with its m-line first.
fn sections(answer: &str) -> Vec<Vec<&str>> {
    let mut sections: Vec<Vec<&str>> = Vec::new();
    for line in answer.split("\r\n").filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push(line);
        }
    }
    sections
}

#[test]
fn a_simulcast_camera_is_read_in_the_offers_order() {
    let offer = parse(PUBLISH);
    let media = offer.sections[1].media.as_ref().expect("a camera");
    let rids: Vec<_> = media.encodings.iter().filter_map(|encoding| encoding.rid.as_deref()).collect();
    assert_eq!(rids, ["q", "h", "f"]);
    assert!(media.encodings.iter().all(|encoding| encoding.ssrc.is_none()));
    let codecs: Vec<_> = media.codecs.iter().map(|codec| (codec.payload_type, codec.codec)).collect();
    let h264 = [(103, Codec::H264), (107, Codec::H264)];
    assert_eq!(
        codecs,
        [[(96, Codec::Vp8)].as_slice(), &h264, &[(39, Codec::Av1), (98, Codec::Vp9)]].concat()
    );
    let vp8 = &media.codecs[0];
    assert_eq!((vp8.payload_type, vp8.rtx_payload_type), (96, Some(97)));
    assert!(vp8.nack && vp8.pli && vp8.transport_cc);
    let rtp = receive_parameters("1", media, "fallback");
    assert_eq!(rtp.extension_id(ExtensionKind::StreamId), Some(10));
    assert_eq!(rtp.extension_id(ExtensionKind::RepairedStreamId), Some(11));
    assert_eq!(rtp.extension_id(ExtensionKind::TransportSequence), Some(3));
    assert_eq!(rtp.cname, "fallback");
}

#[test]
fn a_microphone_is_read_with_its_ssrc_and_name() {
    let offer = parse(PUBLISH);
    let media = offer.sections[0].media.as_ref().expect("a microphone");
    assert_eq!(media.encodings[0].ssrc, Some(3_735_928_559));
    assert_eq!(media.cname.as_deref(), Some("KfJ0aLk3XhVYcDQ1"));
    let opus = &media.codecs[0];
    assert_eq!((opus.codec, opus.payload_type, opus.nack, opus.pli), (Codec::Opus, 111, false, false));
    assert!(opus.transport_cc);
}

#[test]
fn a_flat_video_is_read_with_its_repair_stream_whichever_line_comes_first() {
    let offer = parse(FLAT);
    let media = offer.sections[1].media.as_ref().expect("a video");
    assert_eq!((media.encodings[0].ssrc, media.encodings[0].rtx_ssrc), (Some(1001), Some(1002)));
    assert!(media.extensions.iter().all(|extension| extension.kind != ExtensionKind::StreamId));
    let turned = FLAT.replace("a=ssrc:1001 cname:KfJ0aLk3XhVYcDQ1\r\n", "");
    let turned = parse(&turned.replace("a=ssrc:1001 msid:- aa\r\n", ""));
    let media = turned.sections[1].media.as_ref().expect("a video");
    assert_eq!((media.encodings[0].ssrc, media.encodings[0].rtx_ssrc), (Some(1001), Some(1002)));
}

#[test]
fn the_answer_takes_simulcast_and_leaves_out_what_is_not_forwarded() {
    let offer = parse(PUBLISH);
    let text = widest(&offer);
    let sections = sections(&text);
    assert!(text.contains("a=ice-lite\r\n") && text.contains("a=group:BUNDLE 0 1 2 3 4\r\n"));
    assert_eq!(sections[1][0], "m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 107 108 39 40 98 99");
    for line in ["a=recvonly", "a=rid:q recv", "a=rid:f recv", "a=simulcast:recv q;h;f", "a=setup:passive"] {
        assert!(sections[1].contains(&line), "{line} in {:#?}", sections[1]);
    }
    assert!(!text.contains("ulpfec") && !text.contains("goog-remb") && !text.contains("toffset"));
    let candidates = text.matches("a=candidate:").count();
    assert_eq!(
        (candidates, text.matches("a=end-of-candidates").count()),
        (2, 1),
        "in the tagged section only, one for UDP and one for TCP"
    );
    assert!(text.contains("a=candidate:tcp1 1 tcp 1520435199 127.0.0.1 7000 typ host tcptype passive\r\n"));
}

#[test]
fn a_section_that_the_host_sends_in_names_stream_track_and_repair() {
    let offer = parse(PUBLISH);
    let text = widest(&offer);
    let section = &sections(&text)[3];
    for line in [
        "a=sendonly",
        "a=msid:stream track",
        "a=ssrc-group:FID 2 1",
        "a=ssrc:2 cname:host",
        "a=ssrc:1 cname:host",
    ] {
        assert!(section.contains(&line), "{line} in {section:#?}");
    }
    assert!(section.iter().all(|line| !line.contains("rtp-stream-id")));
}

#[test]
fn an_unused_section_stays_reusable() {
    let offer = parse(RECEIVE);
    let idle = vec![Verdict::Accept { receive: true, send: None }; 2];
    let text = answer(&offer, &idle);
    assert!(
        sections(&text).iter().all(|section| section.contains(&"a=inactive") && section[0].contains(" 9 "))
    );
}

#[test]
fn data_channels_are_answered_with_port_and_limit() {
    let offer = parse(DATA);
    let text = widest(&offer);
    let sections = sections(&text);
    assert_eq!(sections[0][0], "m=application 9 UDP/DTLS/SCTP webrtc-datachannel");
    for line in ["a=mid:0", "a=sctp-port:5000", "a=max-message-size:262144", "a=setup:passive"] {
        assert!(sections[0].contains(&line), "{line} in {:#?}", sections[0]);
    }
    assert!(text.contains("a=group:BUNDLE 0 1\r\n"));
    for (said, taken) in [
        ("a=max-message-size:262144\r\n", 262_144),
        ("a=max-message-size:0\r\n", 262_144),
        ("a=max-message-size:1073741823\r\n", 262_144),
        ("a=max-message-size:1000\r\n", 1_000),
        ("", 65_536),
    ] {
        let offer = parse(&DATA.replace("a=max-message-size:262144\r\n", said));
        assert_eq!(offer.sections[0].data.map(|data| data.max_message_bytes), Some(taken), "{said}");
    }
}

#[test]
fn a_refused_data_section_leaves_the_bundle() {
    let offer = parse(DATA);
    let mut verdicts: Vec<_> = offer.sections.iter().map(Verdict::widest).collect();
    verdicts[0] = Verdict::Reject;
    let text = answer(&offer, &verdicts);
    let sections = sections(&text);
    assert_eq!(sections[0][0], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
    assert!(text.contains("a=group:BUNDLE 1\r\n"), "a rejected section leaves the bundle");
    assert!(sections[1].iter().any(|line| line.starts_with("a=candidate:")), "the tag moves on");
}

#[test]
fn m_lines_keep_their_order_when_one_is_stopped_and_reused() {
    let offer = parse(&stopped(PUBLISH, "3"));
    assert!(offer.sections[3].media.is_none());
    let text = widest(&offer);
    assert_eq!(sections(&text).len(), 5);
    assert!(sections(&text)[3][0].starts_with("m=video 0 "));
    assert!(text.contains("a=group:BUNDLE 0 1 2 4\r\n"));
    let idle = parse(&with_direction(PUBLISH, "1", "inactive"));
    let media = idle.sections[1].media.as_ref().expect("still a section");
    assert!(!media.sends && !media.receives && media.encodings.is_empty());
    assert!(sections(&widest(&idle))[1].contains(&"a=inactive"));
}

#[test]
fn firefox_is_understood_with_what_it_says_once_for_all() {
    let offer = parse(FIREFOX);
    let transport = offer.transport.as_ref().expect("a transport");
    assert_eq!(transport.ice.ufrag, "1f3a9bd0");
    let video = offer.sections[1].media.as_ref().expect("bundle-only is no rejection");
    assert!(video.sends && video.receives);
    assert_eq!(video.encodings[0].rtx_ssrc, Some(3_111_290_731));
    let text = widest(&offer);
    assert!(sections(&text)[1].contains(&"a=sendrecv"));
    assert!(sections(&text)[1].contains(&"m=video 9 UDP/TLS/RTP/SAVPF 120 124 121 125"));
}

#[test]
fn the_host_takes_the_other_part_of_dtls() {
    for (offered, own, line) in [
        ("actpass", DtlsRole::Passive, "a=setup:passive"),
        ("active", DtlsRole::Passive, "a=setup:passive"),
        ("passive", DtlsRole::Active, "a=setup:active"),
    ] {
        let offer = parse(&RECEIVE.replace("setup:actpass", &format!("setup:{offered}")));
        assert_eq!(offer.transport.as_ref().map(|transport| transport.role), Some(own));
        assert!(widest(&offer).contains(line));
    }
    assert!(parse_offer(&RECEIVE.replace("setup:actpass", "setup:holdconn")).is_err());
}

#[test]
fn a_consumer_is_sent_the_tracks_codec_or_nothing() {
    let published = parse(PUBLISH);
    let codecs = |section: usize| published.sections[section].media.clone().expect("a track").codecs;
    let offer = parse(NO_VP8);
    let video = offer.sections[1].media.as_ref().expect("a video");
    assert!(send_parameters("1", video, &codecs(1), "name", || 1).is_none());
    let audio = offer.sections[0].media.as_ref().expect("an audio");
    let rtp = send_parameters("0", audio, &codecs(0), "name", || 7).expect("Opus");
    assert_eq!((rtp.codecs[0].codec, rtp.encodings.len(), rtp.encodings[0].ssrc), (Codec::Opus, 1, Some(7)));
    assert_eq!(rtp.encodings[0].rtx_ssrc, None);
}

#[test]
fn an_error_names_the_section_and_the_line() {
    let cases = [
        (RECEIVE.replace("a=rtcp-mux\r\n", ""), "section 0 lacks a=rtcp-mux"),
        (RECEIVE.replace("a=ice-pwd:2/1muCWoOi3uLifh0NuRHlig\r\n", ""), "section 0 lacks a=ice-pwd"),
        (RECEIVE.replace("sha-256", "sha-1"), "a=fingerprint"),
        (RECEIVE.replace("D2:FA", "D2:F"), "a=fingerprint"),
        (RECEIVE.replace("a=group:BUNDLE 0 1", "a=x:y"), "a=group:BUNDLE"),
        (RECEIVE.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0"), "section 1 is not in"),
        (RECEIVE.replace("a=mid:1", "a=mid:0"), "a=mid:0 appears twice"),
        (RECEIVE.replace("a=mid:1", "a=mid:a b"), "a=mid:a b"),
        (PUBLISH.replace("simulcast:send q;h;f", "simulcast:send q;h;x"), "a=simulcast"),
        (PUBLISH.replace("simulcast:send q;h;f", "simulcast:send q;q"), "a=simulcast"),
        (PUBLISH.replace("=42001f", "=42001"), "a=fmtp:103 level-asymmetry-allowed=1"),
        (PUBLISH.replace("profile-id=0", "profile-id=x"), "a=fmtp:98 profile-id=x"),
        (PUBLISH.replace("a=ssrc:3735928559", "a=ssrc:99999999999"), "a=ssrc"),
        (RECEIVE.replace("v=0", "v=one"), "not SDP"),
        (DATA.replace("a=sctp-port:5000\r\n", ""), "section 0 lacks a=sctp-port"),
        (DATA.replace("size:262144", "size:many"), "a=max-message-size:many"),
    ];
    for (text, part) in cases {
        let error = parse_offer(&text).map(|_| ()).expect_err(part).to_string();
        assert!(error.contains(part), "{part:?} in {error:?}");
    }
}

#[test]
fn more_than_the_bounds_is_not_read() {
    let long = format!("{RECEIVE}{}", "a=x:y\r\n".repeat(OFFER_BYTES / 7));
    assert_eq!(parse_offer(&long).map(|_| ()), Err(OfferError::TooLong(long.len())));
    let many = format!("{RECEIVE}{}", "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n".repeat(SECTIONS - 1));
    assert_eq!(parse_offer(&many).map(|_| ()), Err(OfferError::TooManySections));
    let few = format!("{RECEIVE}{}", "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n".repeat(SECTIONS - 2));
    assert_eq!(parse(&few).sections.len(), SECTIONS);
}

#[test]
fn an_ice_restart_changes_credentials_only() {
    let (before, after) = (parse(PUBLISH), parse(&restarted(PUBLISH)));
    assert_ne!(before.transport, after.transport);
    let parameters =
        |offer: &Offer| offer.sections.iter().map(|section| section.media.clone()).collect::<Vec<_>>();
    assert_eq!(parameters(&before), parameters(&after));
}

/// A small generator (splitmix64): the same seed gives the same run.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn mutated_offers_never_panic() {
    let seed = 7;
    let mut state = seed;
    let mut pick = |below: usize| (splitmix(&mut state) % below.max(1) as u64) as usize;
    for offer in ALL {
        fuzz_offer(offer.as_bytes());
        for _ in 0..400 {
            let mut bytes = offer.as_bytes().to_vec();
            for _ in 0..=pick(6) {
                let at = pick(bytes.len());
                match pick(4) {
                    0 => bytes[at] = b" \r\n:;=/0a~\xff"[pick(11)],
                    1 => drop(bytes.drain(at..(at + pick(40)).min(bytes.len()))),
                    2 => {
                        let piece = bytes[at..(at + pick(80)).min(bytes.len())].to_vec();
                        let to = pick(bytes.len());
                        bytes.splice(to..to, piece);
                    }
                    _ => bytes.truncate(at.max(200)),
                }
            }
            fuzz_offer(&bytes);
        }
    }
}
