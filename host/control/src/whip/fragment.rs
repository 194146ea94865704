//! ICE in pieces (`application/trickle-ice-sdpfrag`, RFC 8840; RFC 9725, section 4.3): reads what a client sends,
//! puts new credentials into an offer, writes what a restart is answered. Knows nothing of HTTP.

use crate::sdp::is_ice;

/// The most bytes of a fragment that are read; a browser's candidates take about 150 each.
pub(super) const FRAGMENT_BYTES: usize = 32 * 1024;

/// What a client said. Its candidates are checked and dropped: this host is ICE-lite and answers wherever a check
/// comes from (RFC 8445, section 7.3.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) ufrag: String,
    pub(super) password: String,
}

/// Why a fragment cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FragmentError {
    #[error("the fragment holds {0} bytes, at most {FRAGMENT_BYTES} are read")]
    TooLong(usize),
    #[error("the fragment lacks {0}")]
    Missing(&'static str),
    #[error("line {number} of the fragment: cannot use {line}: {expected}")]
    Unfit { number: usize, line: String, expected: &'static str },
}

impl Fragment {
    /// Reads one.
    pub(super) fn read(text: &str) -> Result<Self, FragmentError> {
        if text.len() > FRAGMENT_BYTES {
            return Err(FragmentError::TooLong(text.len()));
        }
        let (mut ufrag, mut password) = (None, None);
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            let unfit = |expected| FragmentError::Unfit { number, line: shown(line), expected };
            if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
                set(&mut ufrag, value, 4).ok_or_else(|| unfit("one of 4 to 256 ICE characters"))?;
            } else if let Some(value) = line.strip_prefix("a=ice-pwd:") {
                set(&mut password, value, 22).ok_or_else(|| unfit("one of 22 to 256 ICE characters"))?;
            } else if let Some(value) = line.strip_prefix("a=candidate:") {
                is_candidate(value).then_some(()).ok_or_else(|| unfit("a candidate as in RFC 8839"))?;
            } else if !line.is_empty() && !line.starts_with("a=") && !line.starts_with("m=") {
                return Err(unfit("a= and m= lines only"));
            }
        }
        Ok(Self {
            ufrag: ufrag.ok_or(FragmentError::Missing("a=ice-ufrag"))?.to_owned(),
            password: password.ok_or(FragmentError::Missing("a=ice-pwd"))?.to_owned(),
        })
    }
}

/// A value may stand at the session and again at a section, but must be the same: there is one transport.
fn set<'a>(known: &mut Option<&'a str>, value: &'a str, least: usize) -> Option<()> {
    (is_ice(value, least) && known.is_none_or(|known| known == value)).then(|| *known = Some(value))
}

fn is_candidate(value: &str) -> bool {
    let words: Vec<&str> = value.split(' ').collect();
    let [_, component, _, priority, _, port, "typ", _, ..] = words.as_slice() else { return false };
    component.parse::<u16>().is_ok() && priority.parse::<u32>().is_ok() && port.parse::<u16>().is_ok()
}

fn shown(line: &str) -> String {
    line.chars().filter(|letter| !letter.is_control()).take(80).collect()
}

/// The offer as it would be after an ICE restart with these credentials: nothing else changes by one (RFC 9725,
/// section 4.3.3).
pub(super) fn restarted(offer: &str, fragment: &Fragment) -> String {
    let mut text = String::with_capacity(offer.len());
    for line in offer.lines().filter(|line| !is_of_candidates(line)) {
        match line.split_once(':') {
            Some((name @ "a=ice-ufrag", _)) => push(&mut text, &[name, ":", &fragment.ufrag]),
            Some((name @ "a=ice-pwd", _)) => push(&mut text, &[name, ":", &fragment.password]),
            _ => push(&mut text, &[line]),
        }
    }
    text
}

/// The part of an answer that says where to reach the host: what a restart is answered.
pub(super) fn of_answer(answer: &str) -> String {
    let mut text = String::new();
    let mut section: Vec<&str> = Vec::new();
    for line in answer.lines().chain(["m="]) {
        if line.starts_with("m=") {
            // The first section that stands carries the candidates of all.
            if section.iter().any(|line| line.starts_with("a=ice-ufrag:")) {
                section.iter().for_each(|line| push(&mut text, &[line]));
                return text;
            }
            section.clear();
            section.push(line);
        } else if section.is_empty() {
            if line.starts_with("a=ice-lite") || line.starts_with("a=group:BUNDLE") {
                push(&mut text, &[line]);
            }
        } else if ["a=mid:", "a=ice-ufrag:", "a=ice-pwd:"].iter().any(|name| line.starts_with(name))
            || is_of_candidates(line)
        {
            section.push(line);
        }
    }
    text
}

fn is_of_candidates(line: &str) -> bool {
    line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates")
}

fn push(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
    text.push_str("\r\n");
}

/// What a fuzzer calls: reads arbitrary bytes as a fragment. Must not panic; what is read must fit an offer and be
/// read back from it.
pub fn fuzz_fragment(bytes: &[u8]) {
    let Ok(fragment) = Fragment::read(&String::from_utf8_lossy(bytes)) else { return };
    let offer = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n";
    let text = restarted(offer, &fragment);
    let again = Fragment::read(text.strip_prefix("v=0\r\n").unwrap_or_default());
    assert_eq!(again.as_ref(), Ok(&fragment));
}

#[cfg(test)]
mod tests {
    use super::{Fragment, FragmentError, of_answer, restarted};

    const CHROMIUM: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n\
        a=candidate:3471623853 1 tcp 1518280447 a-b-c.local 9 typ host tcptype active\r\na=end-of-candidates\r\n";

    #[test]
    fn credentials_are_read_and_candidates_checked() {
        let fragment = Fragment::read(CHROMIUM).expect("a fragment");
        assert_eq!((fragment.ufrag.as_str(), fragment.password.len()), ("EsAw", 24));
    }

    #[test]
    fn what_is_none_names_its_line() {
        let cases = [
            ("a=ice-ufrag:EsAw", "the fragment lacks a=ice-pwd"),
            ("", "the fragment lacks a=ice-ufrag"),
            ("a=mid:0\r\na=ice-ufrag:E w", "line 2"),
            ("a=ice-ufrag:EsAw\r\na=ice-ufrag:Other", "line 2"),
            ("a=candidate:1 1 udp x 192.0.2.1 1 typ host", "RFC 8839"),
            ("a=candidate:1 1 udp", "line 1"),
            ("hello", "line 1 of the fragment: cannot use hello"),
        ];
        for (text, part) in cases {
            let said = Fragment::read(text).expect_err(text).to_string();
            assert!(said.contains(part), "{said}");
        }
        let long = "a=x\r\n".repeat(10_000);
        assert_eq!(Fragment::read(&long), Err(FragmentError::TooLong(long.len())));
    }

    #[test]
    fn a_restarted_offer_differs_in_its_ice_alone() {
        let offer = "v=0\r\nm=audio 9 X 1\r\na=ice-ufrag:old1\r\na=ice-pwd:oldoldoldoldoldoldoldold\r\n\
                     a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=sendonly\r\n";
        let fragment = Fragment::read(CHROMIUM).expect("a fragment");
        assert_eq!(
            restarted(offer, &fragment),
            "v=0\r\nm=audio 9 X 1\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=sendonly\r\n"
        );
    }

    #[test]
    fn the_first_section_that_stands_is_told() {
        let answer = "v=0\r\na=group:BUNDLE 1 2\r\na=ice-lite\r\nm=audio 0 X 0\r\na=mid:0\r\na=inactive\r\n\
                      m=video 9 X 96\r\na=mid:1\r\na=recvonly\r\na=ice-ufrag:host\r\na=ice-pwd:secret\r\n\
                      a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=end-of-candidates\r\nm=video 9 X 96\r\n\
                      a=mid:2\r\na=ice-ufrag:host\r\na=ice-pwd:secret\r\n";
        assert_eq!(
            of_answer(answer),
            "a=group:BUNDLE 1 2\r\na=ice-lite\r\nm=video 9 X 96\r\na=mid:1\r\na=ice-ufrag:host\r\n\
             a=ice-pwd:secret\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=end-of-candidates\r\n"
        );
    }
}
