//! Offers as browsers write them, for tests. Knows nothing of what is tested.

/// Chromium: microphone (0), camera with three rids (1), receiving sections for audio (2) and video (3, 4).
pub(crate) const PUBLISH: &str = include_str!("../../fixtures/chromium-publish.sdp");
/// Chromium: microphone (0) and a video without simulcast (1).
pub(crate) const FLAT: &str = include_str!("../../fixtures/chromium-flat.sdp");
/// Chromium: a data channel (0) and a receiving section (1).
pub(crate) const DATA: &str = include_str!("../../fixtures/chromium-data.sdp");
/// Chromium: receiving sections for audio (0) and video (1).
pub(crate) const RECEIVE: &str = include_str!("../../fixtures/chromium-receive.sdp");
/// Receiving sections of a browser without VP8: audio (0), video (1).
pub(crate) const NO_VP8: &str = include_str!("../../fixtures/no-vp8.sdp");
/// Firefox: audio (0) and video (1), both ways, bundle-only, attributes of the session level.
pub(crate) const FIREFOX: &str = include_str!("../../fixtures/firefox-both-ways.sdp");

/// Chromium: receiving sections for video (0) and audio (1), every form of every codec, the descriptor asked for.
pub(crate) const FORMS: &str = include_str!("../../fixtures/chromium-forms.sdp");

/// All of them.
pub(crate) const ALL: [&str; 7] = [PUBLISH, FLAT, DATA, RECEIVE, NO_VP8, FIREFOX, FORMS];

/// The same offer after an ICE restart.
pub(crate) fn restarted(offer: &str) -> String {
    offer
        .replace("ufrag:4ZcD", "ufrag:9xYz")
        .replace("pwd:2/1muCWoOi3uLifh0NuRHlig", "pwd:AAAAAAAAAAAAAAAAAAAAAAAA")
}

/// The offer with one section's direction changed.
pub(crate) fn with_direction(offer: &str, mid: &str, direction: &str) -> String {
    let (before, section) = split_at_mid(offer, mid);
    let old = ["sendrecv", "sendonly", "recvonly", "inactive"]
        .into_iter()
        .filter_map(|name| Some((section.find(&format!("a={name}\r\n"))?, name)))
        .min()
        .map(|(_, name)| format!("a={name}\r\n"))
        .expect("a direction");
    format!("{before}{}", section.replacen(&old, &format!("a={direction}\r\n"), 1))
}

/// The offer with the m-line of one section stopped.
pub(crate) fn stopped(offer: &str, mid: &str) -> String {
    let (before, section) = split_at_mid(offer, mid);
    let line = before.rfind("m=").expect("an m-line");
    format!("{}{}{section}", &before[..line], before[line..].replacen(" 9 ", " 0 ", 1))
}

/// The offer with other codecs in one section: payload type, `rtpmap`, `fmtp` (empty for none).
pub(crate) fn with_codecs(offer: &str, mid: &str, codecs: &[(u8, &str, &str)]) -> String {
    let (before, _) = split_at_mid(offer, mid);
    let start = before.rfind("m=").expect("an m-line");
    let end = offer[start..].find("\r\nm=").map_or(offer.len(), |at| start + at + 2);
    let mut lines = offer[start..end].split_terminator("\r\n");
    let head: Vec<_> = lines.next().expect("an m-line").split(' ').take(3).collect();
    let formats: Vec<_> = codecs.iter().map(|(number, _, _)| number.to_string()).collect();
    let mut section = format!("{} {}\r\n", head.join(" "), formats.join(" "));
    let of_a_codec =
        |line: &&str| ["a=rtpmap", "a=fmtp", "a=rtcp-fb"].iter().any(|name| line.starts_with(name));
    for line in lines.filter(|line| !of_a_codec(line)) {
        section.push_str(line);
        section.push_str("\r\n");
    }
    for (number, map, form) in codecs {
        section.push_str(&format!("a=rtpmap:{number} {map}\r\n"));
        if !form.is_empty() {
            section.push_str(&format!("a=fmtp:{number} {form}\r\n"));
        }
    }
    format!("{}{section}{}", &offer[..start], &offer[end..])
}

fn split_at_mid<'a>(offer: &'a str, mid: &str) -> (&'a str, &'a str) {
    let line = format!("a=mid:{mid}\r\n");
    offer.split_at(offer.find(&line).expect("the mid"))
}
