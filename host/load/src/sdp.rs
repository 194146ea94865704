//! The offers that a bot makes and what it takes from the answers. Knows nothing of when that happens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use tidegate_types::transport::{Candidate, Fingerprint, IceCredentials, LocalTransport};
use tidegate_types::{MediaKind, Secret};

/// What bots speak; the host's answers repeat these numbers.
pub(crate) const VIDEO_PAYLOAD_TYPE: u8 = 96;
/// Of video's repetitions (RFC 4588).
pub(crate) const REPAIR_PAYLOAD_TYPE: u8 = 97;
/// Opus.
pub(crate) const AUDIO_PAYLOAD_TYPE: u8 = 111;
/// Header extensions: audio level, transport-wide sequence, mid; which encoding a packet is of, or repeats.
pub(crate) const LEVEL_ID: u8 = 1;
/// See [`LEVEL_ID`].
pub(crate) const SEQUENCE_ID: u8 = 3;
/// See [`LEVEL_ID`].
pub(crate) const MID_ID: u8 = 4;
/// See [`LEVEL_ID`].
pub(crate) const RID_ID: u8 = 5;
/// See [`LEVEL_ID`].
pub(crate) const REPAIRED_ID: u8 = 6;

/// The most m-lines that the host reads.
pub(crate) const SECTIONS: u32 = 128;

const LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const SEQUENCE_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

/// What a section sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sends {
    /// One stream: its SSRC, and that of its repetitions.
    One(u32, Option<u32>),
    /// Several encodings, told apart by rid, lowest first.
    Encodings(Vec<&'static str>),
}

/// One m-line; once offered it keeps its place.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) mid: String,
    pub(crate) kind: MediaKind,
    /// It receives where there is nothing.
    pub(crate) sends: Option<Sends>,
}

impl Section {
    /// One that receives.
    pub(crate) fn receiving(mid: String, kind: MediaKind) -> Self {
        Self { mid, kind, sends: None }
    }
}

macro_rules! line {
    ($text:expr, $($format:tt)*) => {{
        // Writing to a string cannot fail.
        let _ = write!($text, $($format)*);
        $text.push_str("\r\n");
    }};
}

/// An offer of these sections, all on one transport.
pub(crate) fn offer(
    sections: &[Section],
    credentials: &IceCredentials,
    fingerprint: Fingerprint,
    version: u32,
) -> String {
    let mut text = String::with_capacity(900 * (1 + sections.len()));
    line!(text, "v=0");
    line!(text, "o=- 1 {version} IN IP4 127.0.0.1");
    line!(text, "s=-");
    line!(text, "t=0 0");
    let mids: Vec<&str> = sections.iter().map(|section| section.mid.as_str()).collect();
    line!(text, "a=group:BUNDLE {}", mids.join(" "));
    for section in sections {
        write_section(&mut text, section);
        line!(text, "a=ice-ufrag:{}", credentials.ufrag);
        line!(text, "a=ice-pwd:{}", credentials.password.expose());
        line!(text, "a=fingerprint:sha-256 {}", fingerprint.to_sdp());
        line!(text, "a=setup:active");
    }
    text
}

fn write_section(text: &mut String, section: &Section) {
    let formats = match section.kind {
        MediaKind::Audio => AUDIO_PAYLOAD_TYPE.to_string(),
        MediaKind::Video => format!("{VIDEO_PAYLOAD_TYPE} {REPAIR_PAYLOAD_TYPE}"),
    };
    line!(text, "m={} 9 UDP/TLS/RTP/SAVPF {formats}", section.kind.name());
    line!(text, "c=IN IP4 0.0.0.0");
    line!(text, "a=mid:{}", section.mid);
    line!(text, "a={}", if section.sends.is_some() { "sendonly" } else { "recvonly" });
    line!(text, "a=rtcp-mux");
    line!(text, "a=rtcp-rsize");
    line!(text, "a=extmap:{SEQUENCE_ID} {SEQUENCE_URI}");
    line!(text, "a=extmap:{MID_ID} {MID_URI}");
    match section.kind {
        MediaKind::Audio => write_audio(text),
        MediaKind::Video => write_video(text),
    }
    match &section.sends {
        Some(Sends::One(ssrc, repair)) => write_stream(text, *ssrc, *repair),
        Some(Sends::Encodings(rids)) => write_encodings(text, rids),
        None => {}
    }
}

fn write_stream(text: &mut String, ssrc: u32, repair: Option<u32>) {
    if let Some(repair) = repair {
        line!(text, "a=ssrc-group:FID {ssrc} {repair}");
    }
    for ssrc in [Some(ssrc), repair].into_iter().flatten() {
        line!(text, "a=ssrc:{ssrc} cname:bot");
    }
}

/// RFC 8853, RFC 8852.
fn write_encodings(text: &mut String, rids: &[&str]) {
    line!(text, "a=extmap:{RID_ID} {RID_URI}");
    line!(text, "a=extmap:{REPAIRED_ID} {REPAIRED_URI}");
    for rid in rids {
        line!(text, "a=rid:{rid} send");
    }
    line!(text, "a=simulcast:send {}", rids.join(";"));
}

fn write_audio(text: &mut String) {
    line!(text, "a=extmap:{LEVEL_ID} {LEVEL_URI}");
    line!(text, "a=rtpmap:{AUDIO_PAYLOAD_TYPE} opus/48000/2");
    line!(text, "a=rtcp-fb:{AUDIO_PAYLOAD_TYPE} transport-cc");
    line!(text, "a=fmtp:{AUDIO_PAYLOAD_TYPE} minptime=10;useinbandfec=1");
}

fn write_video(text: &mut String) {
    line!(text, "a=rtpmap:{VIDEO_PAYLOAD_TYPE} VP8/90000");
    for feedback in ["transport-cc", "ccm fir", "nack", "nack pli"] {
        line!(text, "a=rtcp-fb:{VIDEO_PAYLOAD_TYPE} {feedback}");
    }
    line!(text, "a=rtpmap:{REPAIR_PAYLOAD_TYPE} rtx/90000");
    line!(text, "a=fmtp:{REPAIR_PAYLOAD_TYPE} apt={VIDEO_PAYLOAD_TYPE}");
}

/// What a bot takes from an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The host's side of the transport.
    pub local: LocalTransport,
    /// The streams that the host sends, each with the SSRC of its repetitions.
    pub streams: BTreeMap<u32, Option<u32>>,
}

/// Why an answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A line is missing or cannot be read.
    #[error("the host's answer lacks a usable {0}")]
    Lacks(&'static str),
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// The line that it cannot do without.
    pub fn read(text: &str) -> Result<Self, AnswerError> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let lacks = AnswerError::Lacks;
        let ufrag = value("a=ice-ufrag:").ok_or(lacks("a=ice-ufrag"))?;
        let password = value("a=ice-pwd:").ok_or(lacks("a=ice-pwd"))?;
        let fingerprint = value("a=fingerprint:sha-256 ")
            .and_then(Fingerprint::from_sdp)
            .ok_or(lacks("a=fingerprint:sha-256"))?;
        let candidates: Vec<_> = text.lines().filter_map(read_candidate).collect();
        if candidates.is_empty() {
            return Err(lacks("a=candidate over UDP"));
        }
        let ice = IceCredentials { ufrag: ufrag.to_owned(), password: Secret::new(password) };
        Ok(Self { local: LocalTransport { ice, candidates, fingerprint }, streams: read_streams(text) })
    }

    /// The address to send media to: the one that the session uses where it is offered, else one of its family,
    /// else any.
    #[must_use]
    pub fn engine(&self, session: IpAddr) -> Option<SocketAddr> {
        let addresses = || self.local.candidates.iter().map(|candidate| candidate.address);
        addresses()
            .find(|address| address.ip() == session)
            .or_else(|| addresses().find(|address| address.is_ipv4() == session.is_ipv4()))
            .or_else(|| addresses().next())
    }
}

/// A host candidate of component 1 over UDP (RFC 8839, section 5.1).
fn read_candidate(line: &str) -> Option<Candidate> {
    let words: Vec<&str> = line.strip_prefix("a=candidate:")?.split_whitespace().collect();
    let [_, "1", protocol, _, ip, port, "typ", "host", ..] = words.as_slice() else { return None };
    let address = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
    protocol.eq_ignore_ascii_case("udp").then_some(Candidate { address, tcp: false })
}

fn read_streams(text: &str) -> BTreeMap<u32, Option<u32>> {
    let mut streams = BTreeMap::new();
    let mut repairs = Vec::new();
    for line in text.lines() {
        if let Some(pair) = line.strip_prefix("a=ssrc-group:FID ") {
            let mut numbers = pair.split_whitespace().map(str::parse);
            if let (Some(Ok(media)), Some(Ok(repair))) = (numbers.next(), numbers.next()) {
                streams.insert(media, Some(repair));
                repairs.push(repair);
            }
        } else if let Some(ssrc) = line.strip_prefix("a=ssrc:").and_then(|rest| rest.split(' ').next())
            && let Ok(ssrc) = ssrc.parse()
            && !repairs.contains(&ssrc)
        {
            streams.entry(ssrc).or_insert(None);
        }
    }
    streams
}

#[cfg(test)]
mod tests {
    use super::{Answer, AnswerError, IceCredentials, MediaKind, Secret, Section, Sends, offer};
    use tidegate_types::transport::Fingerprint;

    const ANSWER: &str = "v=0\r\na=ice-lite\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:v0\r\na=sendonly\r\n\
        a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:x\r\na=ssrc:12 cname:x\r\na=ice-ufrag:0000abcd\r\n\
        a=ice-pwd:0123456789012345678901\r\na=setup:passive\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.1 7100 typ host\r\n\
        a=candidate:2 1 tcp 2130706431 127.0.0.1 7100 typ host tcptype passive\r\n\
        a=candidate:3 1 UDP 2130706430 127.0.0.1 7101 typ host\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a0\r\na=ssrc:13 cname:x\r\n";

    fn answer() -> String {
        format!("{ANSWER}a=fingerprint:sha-256 {}\r\n", Fingerprint([7; 32]).to_sdp())
    }

    #[test]
    fn an_answer_says_where_the_host_is_and_what_it_sends() {
        let answer = Answer::read(&answer()).expect("an answer");
        assert_eq!(answer.local.ice.ufrag, "0000abcd");
        assert_eq!(answer.streams.into_iter().collect::<Vec<_>>(), [(11, Some(12)), (13, None)]);
        let engine = |ip: &str| {
            let answer = Answer::read(&super::tests::answer()).expect("an answer");
            answer.engine(ip.parse().expect("an address")).expect("a candidate").to_string()
        };
        assert_eq!(engine("127.0.0.1"), "127.0.0.1:7101");
        assert_eq!(engine("198.51.100.1"), "192.0.2.1:7100");
    }

    #[test]
    fn an_answer_without_a_udp_candidate_is_named() {
        let text = answer().replace(" udp ", " tcp ").replace(" UDP ", " tcp ");
        assert_eq!(Answer::read(&text).unwrap_err(), AnswerError::Lacks("a=candidate over UDP"));
        assert_eq!(Answer::read("").unwrap_err(), AnswerError::Lacks("a=ice-ufrag"));
    }

    #[test]
    fn an_offer_names_what_is_sent_and_what_is_received() {
        let sections = [
            Section { mid: "s0".into(), kind: MediaKind::Video, sends: Some(Sends::One(5, Some(6))) },
            Section {
                mid: "s1".into(),
                kind: MediaKind::Video,
                sends: Some(Sends::Encodings(vec!["q", "f"])),
            },
            Section::receiving("a0".into(), MediaKind::Audio),
        ];
        let ice = IceCredentials { ufrag: "botx".into(), password: Secret::new("p") };
        let text = offer(&sections, &ice, Fingerprint([1; 32]), 2);
        for line in [
            "a=group:BUNDLE s0 s1 a0",
            "a=sendonly",
            "a=recvonly",
            "a=ssrc-group:FID 5 6",
            "a=rid:q send",
            "a=simulcast:send q;f",
            "a=setup:active",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} not in {text}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("m=")).count(), 3);
    }
}
