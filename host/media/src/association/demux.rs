//! Says what a datagram is and whom a binding request names, before any state is looked at. Knows nothing of
//! associations.

use super::stun;

/// What a datagram on a shared port is (RFC 7983, and RFC 5761 for RTCP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// STUN.
    Stun,
    /// DTLS.
    Dtls,
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
    /// None of these.
    Other,
}

/// What a datagram is, by its first two bytes.
#[must_use]
pub const fn classify(first: &[u8]) -> Kind {
    match first {
        [0..=3, ..] => Kind::Stun,
        [20..=63, ..] => Kind::Dtls,
        [128..=191, 192..=223, ..] => Kind::Rtcp,
        [128..=191, _, ..] => Kind::Rtp,
        _ => Kind::Other,
    }
}

/// The local ufrag that a binding request names: its USERNAME up to the colon. Nothing is authenticated yet.
#[must_use]
pub fn stun_ufrag(bytes: &[u8]) -> Option<&str> {
    let username = stun::Request::read(bytes).ok()?.username;
    username.split_once(':').map(|(local, _)| local)
}

#[cfg(test)]
mod tests {
    use super::{Kind, classify, stun_ufrag};

    #[test]
    fn datagrams_are_told_apart_by_their_first_two_bytes() {
        assert_eq!(classify(&[]), Kind::Other);
        assert_eq!(classify(&[0, 1]), Kind::Stun);
        assert_eq!(classify(&[4, 1]), Kind::Other);
        assert_eq!(classify(&[22, 254]), Kind::Dtls);
        assert_eq!(classify(&[64, 0]), Kind::Other);
        assert_eq!(classify(&[128, 96]), Kind::Rtp);
        assert_eq!(classify(&[144, 0x80 | 111]), Kind::Rtp);
        assert_eq!(classify(&[128, 200]), Kind::Rtcp);
        assert_eq!(classify(&[129, 206]), Kind::Rtcp);
        assert_eq!(classify(&[128]), Kind::Other);
        assert_eq!(classify(&[192, 0]), Kind::Other);
    }

    #[test]
    fn what_is_not_a_binding_request_names_nobody() {
        for length in 0..40 {
            assert_eq!(stun_ufrag(&vec![0; length]), None);
        }
    }
}
