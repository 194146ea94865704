//! What one audio or video section offers, cut down to what this host forwards. Knows nothing of transports.

use super::format;
use super::offer::{Lines, OfferError, is_name};
use tidegate_types::MediaKind;
use tidegate_types::rtp::{
    Codec, CodecParameters, EncodingParameters, ExtensionKind, ExtensionParameters, RtpParameters,
};

/// The most simulcast streams of one section; what is offered beyond is left out of the answer.
const ENCODINGS: usize = 4;

/// The names of what this host forwards of a kind, for people to read.
pub(crate) fn forwarded(kind: MediaKind) -> String {
    let names: Vec<_> =
        Codec::ALL.into_iter().filter(|codec| codec.kind() == kind).map(Codec::sdp_name).collect();
    names.join(", ")
}

/// One section that can be negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaSection {
    /// Audio or video.
    pub(crate) kind: MediaKind,
    /// The peer would send.
    pub(crate) sends: bool,
    /// The peer would receive.
    pub(crate) receives: bool,
    /// Offered codecs that this host forwards, in the offer's order, with the feedback both speak.
    pub(crate) codecs: Vec<CodecParameters>,
    /// Offered header extensions that this host knows.
    pub(crate) extensions: Vec<ExtensionParameters>,
    /// The streams it would send, lowest first; one of unknown SSRC where nothing is said.
    pub(crate) encodings: Vec<EncodingParameters>,
    /// The peer's canonical name, where it is told.
    pub(crate) cname: Option<String>,
    /// Reduced-size RTCP offered.
    pub(crate) reduced_size: bool,
    /// One-byte and two-byte header extensions may be mixed (RFC 8285, section 6).
    pub(crate) mixed_extensions: bool,
}

impl MediaSection {
    /// Whether its streams are told apart by rid.
    pub(crate) fn simulcast(&self) -> bool {
        self.encodings.iter().any(|encoding| encoding.rid.is_some())
    }

    /// The offer's first form of each codec. Browsers offer a dozen of them in every section, 3 KiB of an answer, and
    /// no track changes among the forms of one codec.
    pub(crate) fn first_forms(&self) -> impl Iterator<Item = &CodecParameters> {
        self.codecs.iter().enumerate().filter_map(|(at, codec)| {
            let first = self.codecs[..at].iter().all(|earlier| earlier.codec != codec.codec);
            first.then_some(codec)
        })
    }

    /// What the peer would decode a track as, whose publisher agreed to `track`: the offered form nearest to the
    /// one that it sends, which is its first. Redundant audio (RFC 2198) is taken apart for whom it doesn't suit.
    pub(crate) fn fitting(&self, track: &[CodecParameters]) -> Option<&CodecParameters> {
        let sent = track.first()?;
        let plain = track.iter().find(|codec| sent.codec == Codec::Red && codec.codec == Codec::Opus);
        self.nearest(sent).or_else(|| self.nearest(plain?))
    }

    fn nearest(&self, sent: &CodecParameters) -> Option<&CodecParameters> {
        let fits = |offered| Some((format::distance(sent, offered)?, offered));
        self.codecs.iter().filter_map(fits).min_by_key(|(distance, _)| *distance).map(|(_, offered)| offered)
    }
}

/// What a producer of this section would be.
pub(crate) fn receive_parameters(mid: &str, section: &MediaSection, fallback_cname: &str) -> RtpParameters {
    RtpParameters {
        mid: Some(mid.to_owned()),
        codecs: section.codecs.clone(),
        extensions: section.extensions.clone(),
        encodings: section.encodings.clone(),
        cname: section.cname.clone().unwrap_or_else(|| fallback_cname.to_owned()),
        reduced_size_rtcp: section.reduced_size,
    }
}

/// What a consumer in this section would be, of a track whose publisher agreed to the codecs `track`: `None` where
/// the peer lacks the one that is sent. `ssrc` is called once for the media and once for its retransmissions.
pub(crate) fn send_parameters(
    mid: &str,
    section: &MediaSection,
    track: &[CodecParameters],
    cname: &str,
    mut ssrc: impl FnMut() -> u32,
) -> Option<RtpParameters> {
    let chosen = section.fitting(track)?.clone();
    let rtx_ssrc = chosen.rtx_payload_type.map(|_| ssrc());
    let others = section.first_forms().filter(|other| other.codec != chosen.codec).cloned();
    Some(RtpParameters {
        mid: Some(mid.to_owned()),
        encodings: vec![EncodingParameters { ssrc: Some(ssrc()), rtx_ssrc, rid: None }],
        codecs: std::iter::once(chosen.clone()).chain(others).collect(),
        extensions: section
            .extensions
            .iter()
            .copied()
            .filter(|extension| !names_stream(extension.kind))
            .collect(),
        cname: cname.to_owned(),
        reduced_size_rtcp: section.reduced_size,
    })
}

/// Only simulcast needs these.
fn names_stream(kind: ExtensionKind) -> bool {
    matches!(kind, ExtensionKind::StreamId | ExtensionKind::RepairedStreamId)
}

pub(super) fn read_media(mid: &str, kind: MediaKind, lines: &Lines<'_>) -> Result<MediaSection, OfferError> {
    let (sends, receives) = read_direction(lines);
    let rids = if sends && kind == MediaKind::Video { read_rids(mid, lines)? } else { Vec::new() };
    let mixed_extensions = lines.value("extmap-allow-mixed").is_some();
    let mut extensions = read_extensions(mixed_extensions, lines);
    if rids.is_empty() {
        extensions.retain(|extension| !names_stream(extension.kind));
    }
    let (encodings, cname) = match (sends, rids.is_empty()) {
        (false, _) => (Vec::new(), None),
        (true, false) => (rids, read_cname(lines, None)),
        (true, true) => read_ssrcs(mid, lines)?,
    };
    let codecs = read_codecs(mid, kind, lines)?;
    let reduced_size = lines.has("rtcp-rsize");
    Ok(MediaSection {
        kind,
        sends,
        receives,
        codecs,
        extensions,
        encodings,
        cname,
        reduced_size,
        mixed_extensions,
    })
}

fn read_direction(lines: &Lines<'_>) -> (bool, bool) {
    for (name, direction) in [
        ("sendrecv", (true, true)),
        ("sendonly", (true, false)),
        ("recvonly", (false, true)),
        ("inactive", (false, false)),
    ] {
        if lines.has(name) {
            return direction;
        }
    }
    (true, true)
}

/// The first payload type of each form of a codec.
fn read_codecs(mid: &str, kind: MediaKind, lines: &Lines<'_>) -> Result<Vec<CodecParameters>, OfferError> {
    let mut codecs: Vec<CodecParameters> = Vec::new();
    for payload_type in lines.formats().iter().filter_map(|format| read_payload_type(format)) {
        let Some(codec) = read_codec(payload_type, lines).filter(|codec| codec.kind() == kind) else {
            continue;
        };
        let Some(format) = read_format(mid, payload_type, codec, lines)? else { continue };
        if codecs.iter().any(|known| known.codec == codec && known.format == format) {
            continue;
        }
        codecs.push(CodecParameters {
            codec,
            format,
            payload_type,
            rtx_payload_type: find_rtx(payload_type, codec, lines),
            nack: has_feedback(payload_type, "nack", lines),
            pli: kind == MediaKind::Video && has_feedback(payload_type, "nack pli", lines),
            transport_cc: has_feedback(payload_type, "transport-cc", lines),
        });
    }
    drop_foreign_redundancy(&mut codecs);
    put_full_baseline_last(&mut codecs);
    Ok(codecs)
}

fn read_format(
    mid: &str,
    payload_type: u8,
    codec: Codec,
    lines: &Lines<'_>,
) -> Result<Option<String>, OfferError> {
    let fmtp = of_payload_type(payload_type, "fmtp", lines).next().unwrap_or("");
    format::canonical(codec, fmtp)
        .map_err(|expected| OfferError::unfit(mid, format_args!("a=fmtp:{payload_type} {fmtp}"), expected))
}

/// Redundancy of other codecs than Opus is not taken apart here.
fn drop_foreign_redundancy(codecs: &mut Vec<CodecParameters>) {
    let opus: Vec<_> =
        codecs.iter().filter(|codec| codec.codec == Codec::Opus).map(|codec| codec.payload_type).collect();
    let carries_opus = |format: &str| {
        format.split('/').all(|inner| inner.parse().is_ok_and(|inner: u8| opus.contains(&inner)))
    };
    codecs.retain(|codec| codec.codec != Codec::Red || carries_opus(&codec.format));
}

/// A publisher sends the first form that the answer names. Browsers encode the constrained baseline under the full
/// one's name, too, but not all of them decode what is called so: among the places that H.264 has in the offer, the
/// full baseline gets the last ones.
fn put_full_baseline_last(codecs: &mut [CodecParameters]) {
    let places: Vec<_> = (0..codecs.len()).filter(|at| codecs[*at].codec == Codec::H264).collect();
    let mut forms: Vec<_> = places.iter().map(|at| codecs[*at].clone()).collect();
    forms.sort_by_key(format::is_full_baseline);
    for (at, form) in places.into_iter().zip(forms) {
        codecs[at] = form;
    }
}

/// 64 to 95 would be taken for RTCP on a multiplexed port (RFC 5761, section 4).
fn read_payload_type(text: &str) -> Option<u8> {
    text.parse().ok().filter(|number| matches!(number, 0..=63 | 96..=127))
}

/// The value of `a=<name>:<payload type> <value>`.
fn of_payload_type<'a>(payload_type: u8, name: &'a str, lines: &Lines<'a>) -> impl Iterator<Item = &'a str> {
    lines.all(name).filter_map(move |line| {
        let (number, value) = line.split_once(' ')?;
        (number.parse() == Ok(payload_type)).then(|| value.trim())
    })
}

fn read_codec(payload_type: u8, lines: &Lines<'_>) -> Option<Codec> {
    let map = of_payload_type(payload_type, "rtpmap", lines).next()?;
    let mut parts = map.split('/');
    let (name, clock): (_, u32) = (parts.next()?, parts.next()?.parse().ok()?);
    Codec::ALL
        .into_iter()
        .find(|codec| codec.sdp_name().eq_ignore_ascii_case(name) && codec.clock_hz() == clock)
}

fn find_rtx(payload_type: u8, codec: Codec, lines: &Lines<'_>) -> Option<u8> {
    let map = format!("rtx/{}", codec.clock_hz());
    let repairs = |candidate: &u8| {
        of_payload_type(*candidate, "rtpmap", lines).any(|value| value.eq_ignore_ascii_case(&map))
            && of_payload_type(*candidate, "fmtp", lines).flat_map(|value| value.split(';')).any(|value| {
                value.trim().strip_prefix("apt=").is_some_and(|apt| apt.parse() == Ok(payload_type))
            })
    };
    lines.formats().iter().filter_map(|format| read_payload_type(format)).find(repairs)
}

fn has_feedback(payload_type: u8, feedback: &str, lines: &Lines<'_>) -> bool {
    lines.all("rtcp-fb").any(|line| {
        let (number, value) = line.split_once(' ').unwrap_or((line, ""));
        (number == "*" || number.parse() == Ok(payload_type)) && value.trim() == feedback
    })
}

/// The first of an id or meaning counts. Ids above 14 need the two-byte form, and so does the dependency descriptor,
/// whose structures are longer than the 16 bytes of the other: both only where the forms may be mixed.
fn read_extensions(mixed: bool, lines: &Lines<'_>) -> Vec<ExtensionParameters> {
    let mut extensions: Vec<ExtensionParameters> = Vec::new();
    for line in lines.all("extmap") {
        let mut words = line.split_whitespace();
        let id = words.next().and_then(|id| id.split('/').next()).and_then(|id| id.parse().ok());
        let uri = words.next().unwrap_or("");
        let kind = ExtensionKind::ALL.into_iter().find(|kind| kind.uri() == uri);
        let (Some(id @ (1..=14 | 16..=255)), Some(kind)) = (id, kind) else { continue };
        if !mixed && (id > 14 || kind == ExtensionKind::DependencyDescriptor) {
            continue;
        }
        if extensions.iter().all(|known| known.id != id && known.kind != kind) {
            extensions.push(ExtensionParameters { id, kind });
        }
    }
    extensions
}

/// The rids that `a=simulcast:send` names, in its order; of alternatives the first.
fn read_rids(mid: &str, lines: &Lines<'_>) -> Result<Vec<EncodingParameters>, OfferError> {
    let Some(simulcast) = lines.all("simulcast").next() else { return Ok(Vec::new()) };
    let mut words = simulcast.split_whitespace();
    let mut send = None;
    while let (Some(direction), Some(list)) = (words.next(), words.next()) {
        if direction == "send" {
            send = Some(list);
        }
    }
    let Some(send) = send else { return Ok(Vec::new()) };
    let mut encodings: Vec<EncodingParameters> = Vec::new();
    for stream in send.split(';').take(ENCODINGS) {
        let rid = stream.split(',').next().unwrap_or("").trim_start_matches('~');
        let declared = lines.all("rid").any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(rid) && words.next() == Some("send")
        });
        let repeated = encodings.iter().any(|known| known.rid.as_deref() == Some(rid));
        if !is_name(rid) || !declared || repeated {
            return Err(OfferError::unfit(
                mid,
                format_args!("a=simulcast:{simulcast}"),
                "each rid once, 1 to 16 letters, digits, - or _, with its a=rid:… send",
            ));
        }
        encodings.push(EncodingParameters { ssrc: None, rtx_ssrc: None, rid: Some(rid.to_owned()) });
    }
    Ok(encodings)
}

/// The first stream that `a=ssrc` names, with its retransmissions; one of unknown SSRC where none is named.
fn read_ssrcs(mid: &str, lines: &Lines<'_>) -> Result<(Vec<EncodingParameters>, Option<String>), OfferError> {
    let Some(line) = lines.all("ssrc").next() else { return Ok((vec![EncodingParameters::default()], None)) };
    let bad = || OfferError::unfit(mid, format_args!("a=ssrc:{line}"), "a number of 32 bits");
    let named: u32 = line.split_whitespace().next().unwrap_or("").parse().map_err(|_| bad())?;
    let group = lines.all("ssrc-group").find_map(|line| {
        let mut words = line.split_whitespace();
        let is_repair = words.next() == Some("FID");
        let pair: (u32, u32) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (is_repair && (pair.0 == named || pair.1 == named)).then_some(pair)
    });
    let (ssrc, rtx_ssrc) = group.map_or((named, None), |(media, repair)| (media, Some(repair)));
    let encoding = EncodingParameters { ssrc: Some(ssrc), rtx_ssrc, rid: None };
    Ok((vec![encoding], read_cname(lines, Some(ssrc))))
}

fn read_cname(lines: &Lines<'_>, ssrc: Option<u32>) -> Option<String> {
    lines
        .all("ssrc")
        .filter_map(|line| {
            let (number, attribute) = line.split_once(' ')?;
            let matches = ssrc.is_none_or(|ssrc| number.parse() == Ok(ssrc));
            attribute.trim().strip_prefix("cname:").filter(|_| matches)
        })
        .map(|cname| cname.chars().filter(char::is_ascii_graphic).take(64).collect())
        .next()
}
