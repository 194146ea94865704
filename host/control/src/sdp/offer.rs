//! Reads an offer: its sections, and the one transport that they share. Knows nothing of what is done with them.

use super::media::{MediaSection, read_media};
use rtc_sdp::SessionDescription;
use rtc_sdp::description::media::MediaDescription;
use std::collections::BTreeSet;
use std::io::Cursor;
use tidegate_types::data::MESSAGE_BYTES;
use tidegate_types::transport::{DtlsRole, Fingerprint, IceCredentials, RemoteTransport};
use tidegate_types::{MediaKind, Secret};

/// The most bytes of an offer that are read. Browsers spend about 5 KiB on a video section, so 64 KiB would end
/// rooms at a dozen people.
pub(crate) const OFFER_BYTES: usize = 256 * 1024;
/// The most m-lines of an offer.
pub(crate) const SECTIONS: usize = 128;
/// What fits a one-byte header extension (RFC 8285), in which mid and rid travel.
const NAME_BYTES: usize = 16;

/// A browser's offer.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// What the peer says of itself; `None` where every section is to be rejected.
    pub(crate) transport: Option<RemoteTransport>,
    /// Its m-lines in order.
    pub(crate) sections: Vec<Section>,
}

/// One m-line.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// Its identification tag; empty only where it is to be rejected.
    pub(crate) mid: String,
    /// `audio`, `video`, `application`, … as the m-line says.
    pub(crate) name: String,
    /// The m-line's protocol.
    pub(crate) protocol: String,
    /// The m-line's first format, for a rejection to repeat.
    pub(crate) format: String,
    /// What can be negotiated; `None` for what this host rejects or the peer stopped.
    pub(crate) media: Option<MediaSection>,
    /// Data channels that can be negotiated.
    pub(crate) data: Option<DataSection>,
}

/// A section for data channels (RFC 8841).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataSection {
    /// The most bytes of a message that the peer takes.
    pub(crate) max_message_bytes: u32,
}

/// Why an offer cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OfferError {
    /// Longer than what is read.
    #[error("the offer holds {0} bytes, at most {OFFER_BYTES} are read")]
    TooLong(usize),
    /// More m-lines than are read.
    #[error("the offer holds more than {SECTIONS} m-lines")]
    TooManySections,
    /// Not SDP at all.
    #[error("the offer is not SDP: {0}")]
    Grammar(String),
    /// No BUNDLE group.
    #[error("the offer lacks a=group:BUNDLE; all sections must share one transport")]
    NoBundle,
    /// A section outside the BUNDLE group.
    #[error("section {0} is not in a=group:BUNDLE")]
    NotBundled(String),
    /// Two sections of one name.
    #[error("a=mid:{0} appears twice")]
    MidTwice(String),
    /// A line that a section needs.
    #[error("section {section} lacks {line}")]
    Missing {
        /// Its mid, or its number.
        section: String,
        /// How the line begins.
        line: &'static str,
    },
    /// A line that cannot be used.
    #[error("section {section}: cannot use {line}: {expected}")]
    Unfit {
        /// Its mid, or its number.
        section: String,
        /// The line, shortened.
        line: String,
        /// What would do.
        expected: &'static str,
    },
}

impl OfferError {
    pub(super) fn unfit(section: &str, line: impl std::fmt::Display, expected: &'static str) -> Self {
        let line: String = line.to_string().chars().filter(|letter| !letter.is_control()).take(80).collect();
        Self::Unfit { section: section.to_owned(), line, expected }
    }
}

/// Reads an offer.
pub(crate) fn parse_offer(text: &str) -> Result<Offer, OfferError> {
    let description = read(text)?;
    let bundle = bundled(&description);
    let mut sections = Vec::with_capacity(description.media_descriptions.len());
    let mut transport = None;
    let mut mids = BTreeSet::new();
    for (index, media) in description.media_descriptions.iter().enumerate() {
        let lines = Lines { session: &description, media };
        let section = read_section(index, &lines)?;
        if !section.mid.is_empty() && !mids.insert(section.mid.clone()) {
            return Err(OfferError::MidTwice(section.mid));
        }
        if section.media.is_some() || section.data.is_some() {
            let bundle = bundle.as_ref().ok_or(OfferError::NoBundle)?;
            if !bundle.contains(section.mid.as_str()) {
                return Err(OfferError::NotBundled(section.mid));
            }
            if transport.is_none() {
                transport = Some(read_transport(&section.mid, &lines)?);
            }
        }
        sections.push(section);
    }
    Ok(Offer { transport, sections })
}

fn read(text: &str) -> Result<SessionDescription, OfferError> {
    if text.len() > OFFER_BYTES {
        return Err(OfferError::TooLong(text.len()));
    }
    if text.lines().filter(|line| line.starts_with("m=")).count() > SECTIONS {
        return Err(OfferError::TooManySections);
    }
    SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes())).map_err(|error| {
        OfferError::Grammar(
            error.to_string().chars().filter(|letter| !letter.is_control()).take(120).collect(),
        )
    })
}

/// The mids of the BUNDLE group, if there is one.
fn bundled(description: &SessionDescription) -> Option<BTreeSet<&str>> {
    description
        .attributes
        .iter()
        .filter(|attribute| attribute.key == "group")
        .filter_map(|attribute| attribute.value.as_deref()?.strip_prefix("BUNDLE"))
        .map(|mids| mids.split_whitespace().collect())
        .next()
}

/// One section's attributes, and the session's that hold for it.
pub(super) struct Lines<'a> {
    session: &'a SessionDescription,
    media: &'a MediaDescription,
}

impl<'a> Lines<'a> {
    /// The section's own attributes of this name.
    pub(super) fn all(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |attribute: &&rtc_sdp::description::common::Attribute| attribute.key == name;
        self.media.attributes.iter().filter(named).map(|attribute| attribute.value.as_deref().unwrap_or(""))
    }

    /// Whether the section itself has it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.media.attributes.iter().any(|attribute| attribute.key == name)
    }

    /// The section's own value, else the session's.
    pub(super) fn value(&self, name: &'a str) -> Option<&'a str> {
        self.all(name).next().or_else(|| {
            let named = self.session.attributes.iter().find(|attribute| attribute.key == name)?;
            Some(named.value.as_deref().unwrap_or(""))
        })
    }

    /// The m-line's formats, as many as there are payload types.
    pub(super) fn formats(&self) -> &'a [String] {
        let formats = &self.media.media_name.formats;
        &formats[..formats.len().min(128)]
    }
}

fn read_section(index: usize, lines: &Lines<'_>) -> Result<Section, OfferError> {
    let head = &lines.media.media_name;
    let mid = lines.all("mid").next().unwrap_or("").to_owned();
    let kind = match head.media.as_str() {
        "audio" => Some(MediaKind::Audio),
        "video" => Some(MediaKind::Video),
        _ => None,
    };
    // Port 0 stops a section, unless the section lives in its bundle alone (RFC 9143, section 6).
    let stopped = head.port.value == 0 && !lines.has("bundle-only");
    let protocol = head.protos.join("/");
    let spoken =
        matches!(protocol.as_str(), "UDP/TLS/RTP/SAVPF" | "TCP/TLS/RTP/SAVPF" | "TCP/DTLS/RTP/SAVPF");
    let media = match kind {
        Some(kind) if !stopped && spoken => {
            check_name(index, "a=mid", &mid)?;
            require(&mid, lines, "rtcp-mux", "a=rtcp-mux")?;
            Some(read_media(&mid, kind, lines)?)
        }
        _ => None,
    };
    let data = if stopped { None } else { read_data(&protocol, lines)? };
    if data.is_some() {
        check_name(index, "a=mid", &mid)?;
    }
    let format = head.formats.first().cloned().unwrap_or_else(|| "0".to_owned());
    let mid = if is_name(&mid) { mid } else { String::new() };
    Ok(Section { mid, name: head.media.clone(), protocol, format, media, data })
}

/// What a peer takes that says nothing (RFC 8841, section 6.1).
const SILENT_MESSAGE_BYTES: u32 = 65_536;

fn read_data(protocol: &str, lines: &Lines<'_>) -> Result<Option<DataSection>, OfferError> {
    let head = &lines.media.media_name;
    let spoken = matches!(protocol, "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP");
    if head.media != "application" || !spoken || !head.formats.iter().any(|name| name == "webrtc-datachannel")
    {
        return Ok(None);
    }
    let mid = lines.all("mid").next().unwrap_or("");
    require(mid, lines, "sctp-port", "a=sctp-port")?;
    let Some(line) = lines.all("max-message-size").next() else {
        return Ok(Some(DataSection { max_message_bytes: SILENT_MESSAGE_BYTES }));
    };
    let bytes = line.trim().parse::<u64>().map_err(|_| {
        OfferError::unfit(mid, format_args!("a=max-message-size:{line}"), "a number of bytes, or 0 for any")
    })?;
    let any = u64::from(MESSAGE_BYTES);
    let bytes = if bytes == 0 { any } else { bytes.min(any) };
    Ok(Some(DataSection { max_message_bytes: u32::try_from(bytes).unwrap_or(MESSAGE_BYTES) }))
}

fn require(mid: &str, lines: &Lines<'_>, name: &'static str, line: &'static str) -> Result<(), OfferError> {
    if lines.has(name) { Ok(()) } else { Err(OfferError::Missing { section: mid.to_owned(), line }) }
}

fn check_name(index: usize, line: &'static str, name: &str) -> Result<(), OfferError> {
    let section = format!("number {index}");
    if name.is_empty() {
        return Err(OfferError::Missing { section, line });
    }
    if is_name(name) {
        return Ok(());
    }
    Err(OfferError::unfit(&section, format_args!("{line}:{name}"), "1 to 16 letters, digits, - or _"))
}

/// Whether a mid or rid can travel in a header extension and be repeated in an answer.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn read_transport(mid: &str, lines: &Lines<'_>) -> Result<RemoteTransport, OfferError> {
    let missing = |line| OfferError::Missing { section: mid.to_owned(), line };
    let ufrag = lines.value("ice-ufrag").ok_or_else(|| missing("a=ice-ufrag"))?;
    let password = lines.value("ice-pwd").ok_or_else(|| missing("a=ice-pwd"))?;
    if !is_ice(ufrag, 4) {
        return Err(OfferError::unfit(mid, "a=ice-ufrag", "4 to 256 ICE characters (RFC 8839)"));
    }
    if !is_ice(password, 22) {
        return Err(OfferError::unfit(mid, "a=ice-pwd", "22 to 256 ICE characters (RFC 8839)"));
    }
    let ice = IceCredentials { ufrag: ufrag.to_owned(), password: Secret::new(password) };
    Ok(RemoteTransport { ice, fingerprint: read_fingerprint(mid, lines)?, role: read_role(mid, lines)? })
}

/// Whether a text is made of at least so many ICE characters (RFC 8839, section 5.4).
pub(crate) fn is_ice(text: &str, least: usize) -> bool {
    (least..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

fn read_fingerprint(mid: &str, lines: &Lines<'_>) -> Result<Fingerprint, OfferError> {
    let line = lines
        .value("fingerprint")
        .ok_or_else(|| OfferError::Missing { section: mid.to_owned(), line: "a=fingerprint" })?;
    let (algorithm, print) = line.split_once(' ').unwrap_or((line, ""));
    Some(print.trim())
        .filter(|_| algorithm.eq_ignore_ascii_case("sha-256"))
        .and_then(Fingerprint::from_sdp)
        .ok_or_else(|| OfferError::unfit(mid, format_args!("a=fingerprint:{line}"), "sha-256 and 32 bytes"))
}

/// The host's own role, which is the other one of what the peer offers.
fn read_role(mid: &str, lines: &Lines<'_>) -> Result<DtlsRole, OfferError> {
    match lines
        .value("setup")
        .ok_or_else(|| OfferError::Missing { section: mid.to_owned(), line: "a=setup" })?
    {
        "actpass" | "active" => Ok(DtlsRole::Passive),
        "passive" => Ok(DtlsRole::Active),
        other => Err(OfferError::unfit(mid, format_args!("a=setup:{other}"), "actpass, active or passive")),
    }
}
