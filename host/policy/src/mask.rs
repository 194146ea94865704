//! What a record may hold of a bearer token. Knows nothing of files.
//!
//! A signed token (JWS compact form, RFC 7515) is worth something by its signature alone: header and claims stay, the
//! signature becomes other bytes of the same length. A policy that has signatures checked by the host decides the
//! same again, for the host's answer is in the record. Of any other token nothing stays but its length and whether two
//! are the same: a policy that looks into one may decide otherwise in a replay, and the replay says so.

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How much of a token is not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Masked {
    /// Nothing: it is empty, or the operator wanted tokens in the record.
    Nothing,
    /// The signature.
    Signature,
    /// All of it.
    Whole,
}

/// Replaces what must not be kept, under a key that is drawn for each record and never written.
pub(crate) struct Mask {
    /// `None` keeps tokens as they are.
    key: Option<hmac::Key>,
}

impl Mask {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key: Some(hmac::Key::new(hmac::HMAC_SHA256, &key)) }
    }

    pub(crate) const fn none() -> Self {
        Self { key: None }
    }

    /// The token as it is kept.
    pub(crate) fn token(&self, token: &str) -> (String, Masked) {
        let Some(key) = self.key.as_ref().filter(|_| !token.is_empty()) else {
            return (token.to_owned(), Masked::Nothing);
        };
        match signature(token) {
            Some(at) => {
                let (signed, signature) = token.split_at(at);
                (format!("{signed}{}", pseudonym(key, signature)), Masked::Signature)
            }
            None => (pseudonym(key, token), Masked::Whole),
        }
    }

    /// A text in which the token may stand, with the token as it is kept.
    pub(crate) fn within(&self, text: &mut String, token: &str) {
        if self.key.is_some() && !token.is_empty() && text.contains(token) {
            *text = text.replace(token, &self.token(token).0);
        }
    }

    /// A text of which nothing is to stay; says whether something went.
    pub(crate) fn whole(&self, text: &mut String) -> bool {
        let Some(key) = self.key.as_ref().filter(|_| !text.is_empty()) else { return false };
        *text = pseudonym(key, text);
        true
    }
}

/// Where the signature of a signed token begins.
fn signature(token: &str) -> Option<usize> {
    let base64url = |part: &str| !part.is_empty() && part.bytes().all(|byte| DIGITS.contains(&byte));
    let mut parts = token.split('.');
    let fits = parts.by_ref().take(3).filter(|part| base64url(part)).count() == 3 && parts.next().is_none();
    fits.then(|| token.rfind('.').map(|dot| dot + 1)).flatten()
}

/// Other text of the same length, the same for the same text; what decodes as base64url still does.
fn pseudonym(key: &hmac::Key, text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len() + 32);
    let mut counter = 0_u32;
    while bytes.len() < text.len() {
        bytes.extend_from_slice(hmac::sign(key, format!("{counter} {text}").as_bytes()).as_ref());
        counter += 1;
    }
    bytes.truncate(text.len() * 3 / 4);
    let mut masked = String::with_capacity(text.len());
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        let digits = (0..=chunk.len()).map(|at| char::from(DIGITS[(word >> (18 - 6 * at)) as usize & 63]));
        masked.extend(digits);
    }
    // A length that base64url cannot have.
    while masked.len() < text.len() {
        masked.push('A');
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::{Mask, Masked};

    #[test]
    fn a_signed_token_keeps_all_but_its_signature() {
        let mask = Mask::new([7; 32]);
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let (kept, masked) = mask.token(token);
        assert_eq!((kept.len(), masked), (token.len(), Masked::Signature));
        let signature = token.rfind('.').expect("it has one");
        assert_eq!(kept[..=signature], token[..=signature]);
        assert_ne!(kept[signature..], token[signature..]);
        assert_eq!(mask.token(token).0, kept, "the same token is recognised");
        assert_ne!(Mask::new([8; 32]).token(token).0, kept, "in one record only");
    }

    #[test]
    fn of_any_other_token_nothing_stays() {
        let mask = Mask::new([7; 32]);
        for token in ["letmein", "a.b", "a.b.c.d", "a.b.ü", "x", "..", "Straße"] {
            let (kept, masked) = mask.token(token);
            assert_eq!((kept.len(), masked), (token.len(), Masked::Whole), "{token}");
            assert!(!kept.contains(token), "{token}");
        }
        assert_eq!(mask.token(""), (String::new(), Masked::Nothing));
        assert_eq!(Mask::none().token("letmein"), ("letmein".to_owned(), Masked::Nothing));
    }
}
