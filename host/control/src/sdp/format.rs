//! What `a=fmtp` says that tells one form of a codec from another, and which forms a decoder takes. Knows nothing of
//! sections, payload types or who sends.

use tidegate_types::rtp::{Codec, CodecParameters};

/// The parameters that matter of one `a=fmtp` line, in one spelling and with defaults filled in. `Ok(None)` for a form
/// that this host does not forward; an error says what would do.
pub(super) fn canonical(codec: Codec, fmtp: &str) -> Result<Option<String>, &'static str> {
    let number = |name, default| match parameter(fmtp, name) {
        None => Ok(default),
        Some(value) => value.parse::<u8>().map_err(|_| "a number from 0 to 255"),
    };
    Ok(Some(match codec {
        Codec::Opus | Codec::Vp8 => String::new(),
        Codec::Vp9 => format!("profile-id={}", number("profile-id", 0)?),
        Codec::Av1 => format!("profile={}", number("profile", 0)?),
        Codec::H264 => return canonical_h264(fmtp, number("packetization-mode", 0)?),
        // RFC 2198: the payload types inside, the primary one's first.
        Codec::Red => fmtp.split_whitespace().next().unwrap_or("").to_owned(),
    }))
}

/// RFC 6184, section 8.1. Mode 2 interleaves what this host reads in order.
fn canonical_h264(fmtp: &str, mode: u8) -> Result<Option<String>, &'static str> {
    // Without it: baseline, level 1.
    let level = parameter(fmtp, "profile-level-id").unwrap_or("420010").to_ascii_lowercase();
    if ProfileLevel::parse(&level).is_none() {
        return Err("a profile-level-id of six hexadecimal digits (RFC 6184)");
    }
    Ok((mode < 2).then(|| format!("packetization-mode={mode};profile-level-id={level}")))
}

/// The value of one `name=value` of a list; names are compared without regard to case.
fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|part| {
        let (known, value) = part.split_once('=')?;
        known.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What an answer says of a codec in `a=fmtp`: the form that the offer gave that payload type. Level asymmetry holds
/// where both sides allow it (RFC 6184, section 8.2.2), and a forwarder doesn't mind.
pub(super) fn answered(codec: &CodecParameters) -> String {
    match codec.codec {
        Codec::Opus => "minptime=10;useinbandfec=1".to_owned(),
        Codec::H264 => format!("level-asymmetry-allowed=1;{}", codec.format),
        Codec::Red | Codec::Vp8 | Codec::Vp9 | Codec::Av1 => codec.format.clone(),
    }
}

/// How far a decoder's form is from a stream's: 0 is the very same, `None` cannot be decoded. Levels do not count:
/// browsers declare the lowest that suits them, and decode more.
pub(super) fn distance(stream: &CodecParameters, decoder: &CodecParameters) -> Option<u8> {
    if stream.codec != decoder.codec {
        return None;
    }
    let number = |form: &CodecParameters, name| -> u8 {
        parameter(&form.format, name).and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    match stream.codec {
        Codec::Opus | Codec::Vp8 => Some(0),
        // The blocks inside name their payload type, so both ends must call it the same.
        Codec::Red => (stream.format == decoder.format).then_some(0),
        Codec::Vp9 => (number(stream, "profile-id") == number(decoder, "profile-id")).then_some(0),
        // Each profile holds the ones below it (AV1 specification, annex A.2).
        Codec::Av1 => number(decoder, "profile").checked_sub(number(stream, "profile")),
        Codec::H264 => {
            // Mode 1 takes what mode 0 sends, too (RFC 6184, section 5.4).
            let mode =
                number(decoder, "packetization-mode").checked_sub(number(stream, "packetization-mode"))?;
            let profile = profile(decoder)?.distance_from(profile(stream)?)?;
            Some(mode + 2 * profile)
        }
    }
}

/// Whether this is H.264's full baseline profile. Browsers name it and send the constrained one, which more of them
/// decode.
pub(super) fn is_full_baseline(form: &CodecParameters) -> bool {
    form.codec == Codec::H264 && profile(form) == Some(Profile::Baseline)
}

fn profile(form: &CodecParameters) -> Option<Profile> {
    ProfileLevel::parse(parameter(&form.format, "profile-level-id")?).map(|level| level.profile)
}

/// The first two bytes of a `profile-level-id`; the third is the level.
struct ProfileLevel {
    profile: Profile,
}

impl ProfileLevel {
    fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = valid.then(|| u32::from_str_radix(text, 16).ok())??;
        let [_, idc, iop, _] = number.to_be_bytes();
        Some(Self { profile: Profile::of(idc, iop) })
    }
}

/// Subsets of H.264's tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    Other(u8, u8),
}

impl Profile {
    /// RFC 6184, table 5; constrained high from H.264, annex A.2.4.2.
    fn of(idc: u8, iop: u8) -> Self {
        let is = |mask, value| iop & mask == value;
        match idc {
            0x42 if is(0x4f, 0x40) => Self::ConstrainedBaseline,
            0x4d if is(0x8f, 0x80) => Self::ConstrainedBaseline,
            0x58 if is(0xcf, 0xc0) => Self::ConstrainedBaseline,
            0x42 if is(0x4f, 0) => Self::Baseline,
            0x58 if is(0xcf, 0x80) => Self::Baseline,
            0x4d if is(0xaf, 0) => Self::Main,
            0x64 if iop == 0x0c => Self::ConstrainedHigh,
            0x64 if iop == 0 => Self::High,
            _ => Self::Other(idc, iop),
        }
    }

    /// How much more than `stream` this decoder knows; `None` where it lacks something.
    fn distance_from(self, stream: Self) -> Option<u8> {
        match (stream, self) {
            (stream, decoder) if stream == decoder => Some(0),
            (Self::ConstrainedBaseline, Self::Baseline) => Some(1),
            (Self::ConstrainedBaseline, Self::Main | Self::ConstrainedHigh) | (Self::Main, Self::High) => {
                Some(2)
            }
            (Self::ConstrainedBaseline, Self::High) | (Self::ConstrainedHigh, Self::High) => Some(3),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(codec: Codec, fmtp: &str) -> CodecParameters {
        let format = canonical(codec, fmtp).expect("readable").expect("forwarded");
        CodecParameters {
            codec,
            payload_type: 96,
            rtx_payload_type: None,
            nack: true,
            pli: true,
            transport_cc: true,
            format,
        }
    }

    fn h264(level: &str, mode: u8) -> CodecParameters {
        form(Codec::H264, &format!("profile-level-id={level};packetization-mode={mode}"))
    }

    #[test]
    fn profiles_of_one_subset_are_the_same_however_they_are_written() {
        let same = ["42e01f", "42E034", "42c00a", "4d801f", "58c01f"];
        for (one, other) in same.iter().flat_map(|one| same.map(|other| (one, other))) {
            assert_eq!(distance(&h264(one, 1), &h264(other, 1)), Some(0), "{one} by {other}");
        }
        for (one, other) in
            [("42001f", "42801f"), ("4d001f", "4d0028"), ("640c1f", "640c2a"), ("f4001f", "f4001f")]
        {
            assert_eq!(distance(&h264(one, 1), &h264(other, 1)), Some(0), "{one} by {other}");
        }
    }

    #[test]
    fn a_decoder_takes_the_subsets_of_its_profile_and_no_more() {
        let cases = [
            ("42e01f", "42001f", true),
            ("42e01f", "4d001f", true),
            ("42e01f", "64001f", true),
            ("42e01f", "640c1f", true),
            ("4d001f", "64001f", true),
            ("42001f", "42e01f", false),
            ("42001f", "4d001f", false),
            ("4d001f", "42e01f", false),
            ("64001f", "4d001f", false),
            ("64001f", "f4001f", false),
        ];
        for (stream, decoder, decodes) in cases {
            assert_eq!(
                distance(&h264(stream, 1), &h264(decoder, 1)).is_some(),
                decodes,
                "{stream} by {decoder}"
            );
        }
    }

    #[test]
    fn non_interleaved_mode_takes_single_units_but_not_the_other_way_round() {
        assert_eq!(distance(&h264("42e01f", 0), &h264("42e01f", 1)), Some(1));
        assert_eq!(distance(&h264("42e01f", 1), &h264("42e01f", 0)), None);
        assert_eq!(canonical(Codec::H264, "packetization-mode=2"), Ok(None));
    }

    #[test]
    fn the_very_same_form_is_nearer_than_any_other() {
        let stream = h264("42e01f", 1);
        let offered = ["64001f", "4d001f", "42001f", "42e01f"].map(|level| h264(level, 1));
        let nearest = offered.iter().min_by_key(|decoder| distance(&stream, decoder).unwrap_or(u8::MAX));
        assert_eq!(nearest, Some(&offered[3]));
    }

    #[test]
    fn profiles_of_the_other_codecs_are_compared() {
        let cases = [
            (Codec::Vp9, "", "profile-id=0", Some(0)),
            (Codec::Vp9, "profile-id=2", "profile-id=0", None),
            (Codec::Av1, "", "level-idx=8; profile=0; tier=0", Some(0)),
            (Codec::Av1, "profile=0", "profile=1", Some(1)),
            (Codec::Av1, "profile=1", "profile=0", None),
            (Codec::Red, "111/111", "111/111", Some(0)),
            (Codec::Red, "111/111", "109/109", None),
        ];
        for (codec, stream, decoder, expected) in cases {
            assert_eq!(distance(&form(codec, stream), &form(codec, decoder)), expected, "{codec:?} {stream}");
        }
        assert_eq!(distance(&form(Codec::Vp8, ""), &form(Codec::Vp9, "")), None);
    }

    #[test]
    fn what_cannot_be_read_says_what_would_do() {
        assert!(canonical(Codec::H264, "profile-level-id=42e0").is_err());
        assert!(canonical(Codec::H264, "profile-level-id=+2e01f").is_err());
        assert!(canonical(Codec::Vp9, "profile-id=two").is_err());
        assert!(canonical(Codec::Av1, "profile=999").is_err());
    }
}
