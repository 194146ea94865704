//! Stories of codecs: which forms are taken from an offer, and which of them a consumer is sent.

use super::fixtures::{FORMS, PUBLISH, RECEIVE, with_codecs};
use super::{Offer, Verdict, parse_offer, send_parameters, write_answer};
use tidegate_types::rtp::{Codec, CodecParameters, ExtensionKind};

const DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

fn parse(text: &str) -> Offer {
    parse_offer(text).unwrap_or_else(|error| panic!("{error}"))
}

fn answer(offer: &Offer) -> String {
    let verdicts: Vec<_> = offer.sections.iter().map(Verdict::widest).collect();
    write_answer(offer, &super::AnswerHead::example(), &verdicts)
}

/// What a publisher of these codecs agrees to.
fn published(mid: usize, codecs: &[(u8, &str, &str)]) -> Vec<CodecParameters> {
    let offer = parse(&with_codecs(PUBLISH, &mid.to_string(), codecs));
    offer.sections[mid].media.clone().expect("a track").codecs
}

/// What a receiver that offers `codecs` is sent of a track.
fn sent(mid: usize, codecs: &[(u8, &str, &str)], track: &[CodecParameters]) -> Option<u8> {
    let offer = parse(&with_codecs(RECEIVE, &mid.to_string(), codecs));
    let media = offer.sections[mid].media.as_ref().expect("a section");
    send_parameters("0", media, track, "name", || 1).map(|rtp| rtp.codecs[0].payload_type)
}

fn h264(level: &str, mode: u8) -> String {
    format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={level}")
}

#[test]
fn each_codec_is_answered_in_the_form_that_was_offered() {
    let text = answer(&parse(PUBLISH));
    let camera = text.split("m=").nth(2).expect("the camera's section");
    for line in [
        "a=fmtp:96 x-google-start-bitrate=1500",
        "a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f;x-google-start-bitrate=1500",
        "a=fmtp:107 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f;x-google-start-bitrate=1500",
        "a=fmtp:39 profile=0;x-google-start-bitrate=1500",
        "a=fmtp:98 profile-id=0;x-google-start-bitrate=1500",
        "a=rtpmap:98 VP9/90000",
        "a=fmtp:99 apt=98",
    ] {
        assert!(camera.contains(&format!("{line}\r\n")), "{line} in {camera}");
    }
    for line in
        ["m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\n", "a=rtpmap:63 red/48000/2\r\n", "a=fmtp:63 111/111\r\n"]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn a_consumer_is_sent_the_payload_type_that_its_browser_decodes() {
    let forms = [
        (100, "H264/90000", &*h264("64001f", 1)),
        (101, "H264/90000", &*h264("42e01f", 0)),
        (102, "VP9/90000", "profile-id=2"),
        (103, "H264/90000", &*h264("42e034", 1)),
        (104, "VP9/90000", ""),
        (105, "AV1/90000", ""),
        (106, "H264/90000", &*h264("4d001f", 1)),
    ];
    let cases = [
        ("H264/90000", h264("42e01f", 1), Some(103)),
        ("H264/90000", h264("42c01f", 0), Some(101)),
        ("H264/90000", h264("4d0029", 1), Some(106)),
        ("H264/90000", h264("4d0029", 0), Some(106)),
        ("H264/90000", h264("640028", 1), Some(100)),
        ("H264/90000", h264("42001f", 1), None),
        ("VP9/90000", "profile-id=0".into(), Some(104)),
        ("VP9/90000", "profile-id=2".into(), Some(102)),
        ("VP9/90000", "profile-id=1".into(), None),
        ("AV1/90000", "level-idx=9;profile=0;tier=0".into(), Some(105)),
        ("VP8/90000", String::new(), None),
    ];
    for (map, form, expected) in cases {
        let track = published(1, &[(96, map, &form)]);
        assert_eq!(sent(1, &forms, &track), expected, "{map} {form}");
    }
}

#[test]
fn of_a_dozen_forms_a_section_is_answered_with_the_one_that_is_sent_and_one_of_each_other_codec() {
    let offer = parse(FORMS);
    let video = offer.sections[0].media.as_ref().expect("a video");
    assert_eq!(video.codecs.len(), 15);
    let track = published(1, &[(96, "H264/90000", &h264("4d001f", 1))]);
    let rtp = send_parameters("0", video, &track, "name", || 1).expect("H.264");
    let forms: Vec<_> = rtp.codecs.iter().map(|codec| (codec.payload_type, &*codec.format)).collect();
    let main = (116, "packetization-mode=1;profile-level-id=4d001f");
    assert_eq!(forms, [main, (96, ""), (98, "profile-id=0"), (45, "profile=0")]);
    let sending = super::Sending { stream: "stream".into(), track: "track".into(), rtp };
    let head = super::AnswerHead::example();
    let verdicts = [Some(sending), None].map(|send| Verdict::Accept { receive: false, send });
    let text = write_answer(&offer, &head, &verdicts);
    assert!(text.contains("m=video 9 UDP/TLS/RTP/SAVPF 116 117 96 97 98 99 45 46\r\n"), "{text}");
    let idle = write_answer(&offer, &head, &[const { Verdict::Accept { receive: false, send: None } }; 2]);
    assert!(idle.contains("m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 108 109 45 46\r\n"), "{idle}");
}

#[test]
fn only_what_is_sent_counts_not_what_could_be() {
    let track = published(1, &[(96, "VP8/90000", ""), (98, "VP9/90000", "profile-id=0")]);
    assert_eq!(sent(1, &[(98, "VP9/90000", "profile-id=0")], &track), None);
}

#[test]
fn the_full_baseline_comes_last_of_its_codec_and_others_keep_their_places() {
    let names =
        |codecs: &[CodecParameters]| codecs.iter().map(|codec| codec.payload_type).collect::<Vec<_>>();
    let forms = [
        (96, "VP8/90000", ""),
        (100, "H264/90000", &*h264("42001f", 1)),
        (101, "VP9/90000", ""),
        (102, "H264/90000", &*h264("42e01f", 1)),
        (103, "H264/90000", &*h264("4d001f", 1)),
    ];
    assert_eq!(names(&published(1, &forms)), [96, 102, 101, 103, 100]);
}

#[test]
fn a_form_that_is_not_forwarded_or_comes_twice_is_left_out() {
    let forms = [
        (96, "VP8/90000", ""),
        (97, "VP8/90000", ""),
        (98, "H264/90000", "packetization-mode=2;profile-level-id=42e01f"),
        (99, "H265/90000", ""),
        (100, "red/90000", ""),
    ];
    assert_eq!(published(1, &forms).len(), 1);
}

#[test]
fn redundant_audio_is_sent_to_whom_it_suits_and_plain_audio_to_the_others() {
    let plain = (111, "opus/48000/2", "minptime=10;useinbandfec=1");
    let redundant = (63, "red/48000/2", "111/111");
    let track = published(0, &[redundant, plain]);
    assert_eq!(track.iter().map(|codec| codec.codec).collect::<Vec<_>>(), [Codec::Red, Codec::Opus]);
    assert_eq!(sent(0, &[plain, redundant], &track), Some(63));
    assert_eq!(sent(0, &[plain], &track), Some(111));
    let elsewhere = [(109, "opus/48000/2", ""), (62, "red/48000/2", "109/109")];
    assert_eq!(sent(0, &elsewhere, &track), Some(109), "the blocks name another payload type");
    assert_eq!(sent(0, &[plain, redundant], &published(0, &[plain, redundant])), Some(111));
    let foreign = published(0, &[plain, (63, "red/48000/2", "0/0"), (62, "red/48000/2", "")]);
    assert_eq!(foreign.len(), 1, "redundancy of another codec");
}

#[test]
fn the_descriptor_and_long_ids_are_taken_where_the_forms_may_be_mixed() {
    let extmap =
        format!("a=extmap:12 {DESCRIPTOR}\r\na=extmap:17 urn:3gpp:video-orientation\r\na=rtcp-rsize\r\n");
    let offer = RECEIVE
        .replace("a=extmap:13 urn:3gpp:video-orientation\r\n", "")
        .replace("a=rtcp-rsize\r\n", &extmap);
    let ids = |text: &str| {
        let offer = parse(text);
        let media = offer.sections[1].media.clone().expect("a video");
        let id = |kind| media.extensions.iter().find(|one| one.kind == kind).map(|one| one.id);
        (id(ExtensionKind::DependencyDescriptor), id(ExtensionKind::Orientation))
    };
    assert_eq!(ids(&offer), (Some(12), Some(17)));
    let answered = answer(&parse(&offer));
    assert!(answered.contains(&format!("a=extmap:12 {DESCRIPTOR}\r\n")) && answered.contains("a=extmap:17 "));
    assert_eq!(answered.matches("a=extmap-allow-mixed\r\n").count(), 2, "once a section");
    let unmixed = offer.replace("a=extmap-allow-mixed\r\n", "");
    assert_eq!(ids(&unmixed), (None, None));
    assert!(!answer(&parse(&unmixed)).contains("extmap-allow-mixed"));
    let reserved = offer.replace("a=extmap:17 ", "a=extmap:15 ");
    assert_eq!(ids(&reserved), (Some(12), None), "15 is reserved (RFC 8285, section 4.2)");
}
