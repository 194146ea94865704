//! Writes the answer to an offer. Knows nothing of how it was decided what to send and receive.

use super::format;
use super::media::MediaSection;
use super::offer::{Offer, Section};
use std::fmt::Write as _;
use std::net::SocketAddr;
use tidegate_types::data::MESSAGE_BYTES;
use tidegate_types::rtp::{CodecParameters, RtpParameters};
use tidegate_types::transport::{DtlsRole, Fingerprint, IceCredentials, LocalTransport};
use tidegate_types::{MediaKind, Secret};

/// Where a browser's estimate of a video section begins, in kbit/s. It starts at 300 by itself, and the top
/// simulcast layer then stays off for many seconds; a start above what a thin line carries costs a second of
/// loss before the estimate falls.
const START_KBPS: u32 = 1_500;

/// What all sections of an answer share.
#[derive(Clone, Debug)]
pub(crate) struct AnswerHead {
    /// A number for the session, the same in all its answers.
    pub(crate) session: u64,
    /// Counts the session's answers.
    pub(crate) version: u64,
    /// The host's side of the transport.
    pub(crate) local: LocalTransport,
}

/// What becomes of one section.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// Nothing, for good.
    Reject,
    /// It stands.
    Accept {
        /// The host takes what the peer sends.
        receive: bool,
        /// What the host sends in it.
        send: Option<Sending>,
    },
    /// Its data channels are served.
    AcceptData,
}

/// A track that the host sends in a section.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    /// The stream that the peer's player keeps in sync.
    pub(crate) stream: String,
    /// The track's name in it.
    pub(crate) track: String,
    /// Its parameters.
    pub(crate) rtp: RtpParameters,
}

impl AnswerHead {
    /// One for tests and fuzzers.
    pub(super) fn example() -> Self {
        let ice = IceCredentials { ufrag: "abcd".into(), password: Secret::new("0123456789012345678901") };
        let address = SocketAddr::from(([127, 0, 0, 1], 7_000));
        let local = LocalTransport {
            ice,
            candidates: vec![tidegate_types::transport::Candidate { address, tcp: true }],
            fingerprint: Fingerprint([7; 32]),
        };
        Self { session: 1, version: 1, local }
    }
}

impl Verdict {
    /// As much as a section allows.
    pub(super) fn widest(section: &Section) -> Self {
        if section.data.is_some() {
            return Self::AcceptData;
        }
        let Some(media) = section.media.as_ref().filter(|media| !media.codecs.is_empty()) else {
            return Self::Reject;
        };
        let mut next = 0;
        let ssrc = || {
            next += 1;
            next
        };
        let send = media.receives.then_some(&media.codecs).and_then(|codecs| {
            let rtp = super::send_parameters(&section.mid, media, codecs, "host", ssrc)?;
            Some(Sending { stream: "stream".into(), track: "track".into(), rtp })
        });
        Self::Accept { receive: media.sends, send }
    }
}

/// Writes the answer; `verdicts` are those of the offer's sections in order. What the offer doesn't allow is
/// not answered, whatever a verdict says.
pub(crate) fn write_answer(offer: &Offer, head: &AnswerHead, verdicts: &[Verdict]) -> String {
    let mut text = String::with_capacity(1_024 * (1 + offer.sections.len()));
    let accepted: Vec<_> =
        offer.sections.iter().zip(verdicts).map(|(section, verdict)| accept(section, verdict)).collect();
    write_head(&mut text, head, offer, &accepted);
    let role = offer.transport.as_ref().map_or(DtlsRole::Passive, |transport| transport.role);
    let mut tagged = true;
    for (section, accepted) in offer.sections.iter().zip(&accepted) {
        match accepted {
            None => write_rejection(&mut text, section),
            Some(accepted) => {
                match accepted {
                    Taken::Media(accepted) => write_section(&mut text, section, accepted),
                    Taken::Data => write_data(&mut text, section),
                }
                write_transport(&mut text, &head.local, role, std::mem::take(&mut tagged));
            }
        }
    }
    text
}

/// A section that stands.
enum Taken<'a> {
    Media(Accepted<'a>),
    Data,
}

/// A section of sound or pictures that stands.
struct Accepted<'a> {
    media: &'a MediaSection,
    receive: bool,
    send: Option<&'a Sending>,
}

fn accept<'a>(section: &'a Section, verdict: &'a Verdict) -> Option<Taken<'a>> {
    if section.data.is_some() && matches!(verdict, Verdict::AcceptData) {
        return Some(Taken::Data);
    }
    let media = section.media.as_ref().filter(|media| !media.codecs.is_empty())?;
    let Verdict::Accept { receive, send } = verdict else { return None };
    let (receive, send) = (*receive && media.sends, send.as_ref().filter(|_| media.receives));
    Some(Taken::Media(Accepted { media, receive, send }))
}

macro_rules! line {
    ($text:expr, $($format:tt)*) => {{
        // Writing to a string cannot fail.
        let _ = write!($text, $($format)*);
        $text.push_str("\r\n");
    }};
}

fn write_head(text: &mut String, head: &AnswerHead, offer: &Offer, accepted: &[Option<Taken<'_>>]) {
    line!(text, "v=0");
    line!(text, "o=- {} {} IN IP4 127.0.0.1", head.session, head.version);
    line!(text, "s=-");
    line!(text, "t=0 0");
    let mids: Vec<_> = offer
        .sections
        .iter()
        .zip(accepted)
        .filter(|(_, accepted)| accepted.is_some())
        .map(|(section, _)| section.mid.as_str())
        .collect();
    if !mids.is_empty() {
        line!(text, "a=group:BUNDLE {}", mids.join(" "));
    }
    line!(text, "a=msid-semantic: WMS *");
    line!(text, "a=ice-lite");
}

fn write_rejection(text: &mut String, section: &Section) {
    line!(text, "m={} 0 {} {}", section.name, section.protocol, section.format);
    line!(text, "c=IN IP4 0.0.0.0");
    if !section.mid.is_empty() {
        line!(text, "a=mid:{}", section.mid);
    }
    line!(text, "a=inactive");
}

fn write_section(text: &mut String, section: &Section, accepted: &Accepted<'_>) {
    let media = accepted.media;
    let codecs: Vec<_> = match accepted.send {
        Some(sending) => sending.rtp.codecs.iter().collect(),
        None if accepted.receive => media.codecs.iter().collect(),
        None => media.first_forms().collect(),
    };
    let formats: Vec<_> = codecs
        .iter()
        .flat_map(|codec| [Some(codec.payload_type), codec.rtx_payload_type])
        .flatten()
        .map(|payload_type| payload_type.to_string())
        .collect();
    line!(text, "m={} 9 {} {}", section.name, section.protocol, formats.join(" "));
    line!(text, "c=IN IP4 0.0.0.0");
    line!(text, "a=mid:{}", section.mid);
    line!(text, "a={}", direction(accepted));
    line!(text, "a=rtcp-mux");
    if media.reduced_size {
        line!(text, "a=rtcp-rsize");
    }
    if media.mixed_extensions {
        line!(text, "a=extmap-allow-mixed");
    }
    for extension in &media.extensions {
        line!(text, "a=extmap:{} {}", extension.id, extension.kind.uri());
    }
    for codec in codecs {
        write_codec(text, codec, accepted.receive);
    }
    if accepted.receive && media.simulcast() {
        write_simulcast(text, media);
    }
    if let Some(sending) = accepted.send {
        write_sending(text, sending);
    }
}

fn write_data(text: &mut String, section: &Section) {
    line!(text, "m=application 9 {} webrtc-datachannel", section.protocol);
    line!(text, "c=IN IP4 0.0.0.0");
    line!(text, "a=mid:{}", section.mid);
    line!(text, "a=sctp-port:5000");
    line!(text, "a=max-message-size:{MESSAGE_BYTES}");
}

fn direction(accepted: &Accepted<'_>) -> &'static str {
    match (accepted.send.is_some(), accepted.receive) {
        (true, true) => "sendrecv",
        (true, false) => "sendonly",
        (false, true) => "recvonly",
        (false, false) => "inactive",
    }
}

fn write_codec(text: &mut String, codec: &CodecParameters, receive: bool) {
    let number = codec.payload_type;
    let channels = if codec.codec.kind() == MediaKind::Audio { "/2" } else { "" };
    line!(text, "a=rtpmap:{number} {}/{}{channels}", codec.codec.sdp_name(), codec.codec.clock_hz());
    for (agreed, feedback) in
        [(codec.nack, "nack"), (codec.pli, "nack pli"), (codec.transport_cc, "transport-cc")]
    {
        if agreed {
            line!(text, "a=rtcp-fb:{number} {feedback}");
        }
    }
    let start = (receive && codec.codec.kind() == MediaKind::Video)
        .then(|| format!("x-google-start-bitrate={START_KBPS}"));
    let parameters: Vec<_> =
        [Some(format::answered(codec)), start].into_iter().flatten().filter(|one| !one.is_empty()).collect();
    if !parameters.is_empty() {
        line!(text, "a=fmtp:{number} {}", parameters.join(";"));
    }
    if let Some(repair) = codec.rtx_payload_type {
        line!(text, "a=rtpmap:{repair} rtx/{}", codec.codec.clock_hz());
        line!(text, "a=fmtp:{repair} apt={number}");
    }
}

fn write_simulcast(text: &mut String, media: &MediaSection) {
    debug_assert_eq!(media.kind, MediaKind::Video);
    let rids: Vec<_> = media.encodings.iter().filter_map(|encoding| encoding.rid.as_deref()).collect();
    for rid in &rids {
        line!(text, "a=rid:{rid} recv");
    }
    line!(text, "a=simulcast:recv {}", rids.join(";"));
}

fn write_sending(text: &mut String, sending: &Sending) {
    line!(text, "a=msid:{} {}", sending.stream, sending.track);
    for encoding in &sending.rtp.encodings {
        let Some(ssrc) = encoding.ssrc else { continue };
        if let Some(repair) = encoding.rtx_ssrc {
            line!(text, "a=ssrc-group:FID {ssrc} {repair}");
        }
        for ssrc in [Some(ssrc), encoding.rtx_ssrc].into_iter().flatten() {
            line!(text, "a=ssrc:{ssrc} cname:{}", sending.rtp.cname);
        }
    }
}

fn write_transport(text: &mut String, local: &LocalTransport, role: DtlsRole, tagged: bool) {
    line!(text, "a=ice-ufrag:{}", local.ice.ufrag);
    line!(text, "a=ice-pwd:{}", local.ice.password.expose());
    line!(text, "a=fingerprint:sha-256 {}", local.fingerprint.to_sdp());
    line!(text, "a=setup:{}", if role == DtlsRole::Active { "active" } else { "passive" });
    // In a bundle only its first section carries candidates (RFC 9143, section 7.1.4).
    if tagged {
        for (index, candidate) in (0..).zip(&local.candidates) {
            write_candidate(text, index, candidate.address);
        }
        for (index, candidate) in (0..).zip(&local.candidates).filter(|(_, candidate)| candidate.tcp) {
            write_tcp_candidate(text, index, candidate.address);
        }
        line!(text, "a=end-of-candidates");
    }
}

fn write_candidate(text: &mut String, index: u32, address: SocketAddr) {
    // RFC 8445, section 5.1.2.1, for a host candidate of component 1.
    let priority = (126 << 24) | (65_535_u32.saturating_sub(index) << 8) | 255;
    let (ip, port) = (address.ip(), address.port());
    line!(text, "a=candidate:{} 1 udp {priority} {ip} {port} typ host", index + 1);
}

/// Where media goes if UDP does not get through: below any candidate of UDP (RFC 6544, section 4.2: direction
/// preference 4, passive).
fn write_tcp_candidate(text: &mut String, index: u32, address: SocketAddr) {
    let preference = (4 << 13) | 8_191_u32.saturating_sub(index);
    let priority = (90 << 24) | (preference << 8) | 255;
    let (ip, port) = (address.ip(), address.port());
    line!(text, "a=candidate:tcp{} 1 tcp {priority} {ip} {port} typ host tcptype passive", index + 1);
}
