//! Is this a token that one of the keys signed? Knows nothing of what its claims mean.
//!
//! The compact form of RFC 7515: three parts, base64url without padding, joined by dots; the signature covers the
//! first two as they came.

use crate::configuration::{Algorithm, Configuration, Key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tidegate_sdk::authorize::{Answer, AuthorizeRequest, Refusal};
use tidegate_sdk::crypto;

/// More than any browser sends in a header line.
const TOKEN_BYTES_MAX: usize = 8_192;
/// The longest key id that is looked up; it ends up in a question to the host, which takes no more.
const KEY_ID_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// RFC 7515, section 4.1.11: extensions that must be understood. None is.
    crit: Option<serde_json::Value>,
}

/// Why a token is not verified, yet or at all.
pub(crate) enum Unverified {
    Refused(Refusal),
    /// Its key is to be looked up in the key set first.
    NeedsKey {
        key_set: String,
        id: String,
    },
}

impl From<Refusal> for Unverified {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Unverified> for Answer {
    fn from(unverified: Unverified) -> Self {
        match unverified {
            Unverified::Refused(refusal) => refusal.into(),
            Unverified::NeedsKey { key_set, id } => Self::need(key_set, id),
        }
    }
}

/// The payload of a token whose signature is right.
pub(crate) fn verified(
    request: &AuthorizeRequest,
    configuration: &Configuration,
) -> Result<Vec<u8>, Unverified> {
    if request.token.is_empty() {
        return Err(Refusal::new("token-missing", "You need an invitation to enter here.").into());
    }
    let parts = Parts::of(&request.token).ok_or_else(malformed)?;
    let header: Header = serde_json::from_slice(&decoded(parts.header)?).map_err(|_| malformed())?;
    if header.crit.is_some() {
        return Err(malformed().into());
    }
    let algorithm = Algorithm::named(&header.alg).filter(|wanted| configuration.takes(*wanted));
    let algorithm = algorithm.ok_or_else(not_allowed)?;
    let signature = decoded(parts.signature)?;
    let signed_by = |key: &Key| {
        key.algorithm == algorithm
            && crypto::verify(algorithm.name(), &key.bytes, parts.signed.as_bytes(), &signature) == Ok(true)
    };
    let suitable = |key: &&Key| fits(key, header.kid.as_deref());
    if configuration.keys.iter().filter(suitable).any(signed_by) {
        return Ok(decoded(parts.payload)?);
    }
    let of_set = configuration.key_set.as_deref().filter(|_| algorithm.has_public_key());
    let Some(key_set) = of_set else { return Err(foreign().into()) };
    let key = key_of_set(request, key_set, header.kid.unwrap_or_default())?;
    if key.algorithm != algorithm {
        return Err(not_allowed().into());
    }
    if signed_by(&key) { Ok(decoded(parts.payload)?) } else { Err(foreign().into()) }
}

/// A key without an id serves every token; a token without one is tried with every key.
fn fits(key: &Key, wanted: Option<&str>) -> bool {
    match (key.id.as_deref(), wanted) {
        (Some(id), Some(wanted)) => id == wanted,
        _ => true,
    }
}

/// The key of this id, once the host has looked it up. An empty id is the only key of the set.
fn key_of_set(request: &AuthorizeRequest, key_set: &str, id: String) -> Result<Key, Unverified> {
    if id.len() > KEY_ID_BYTES_MAX {
        return Err(malformed().into());
    }
    match request.lookup(key_set, &id) {
        None => Err(Unverified::NeedsKey { key_set: key_set.to_owned(), id }),
        Some(Ok(found)) => Key::of_set(found).ok_or_else(|| unavailable().into()),
        Some(Err("not-found")) => {
            Err(Refusal::new("token-key-unknown", "Your invitation was not issued for this host.").into())
        }
        Some(Err(_)) => Err(unavailable().into()),
    }
}

pub(crate) fn malformed() -> Refusal {
    Refusal::new("token-malformed", "Your invitation is damaged. Open the link you were given once more.")
}

fn not_allowed() -> Refusal {
    Refusal::new("algorithm-not-allowed", "Your invitation is signed in a way that is not accepted here.")
}

fn foreign() -> Refusal {
    Refusal::new("token-signature", "Your invitation was not issued for this host.")
}

fn unavailable() -> Refusal {
    Refusal::new("keys-unavailable", "Your invitation cannot be checked right now. Try again in a moment.")
}

struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// Header, dot and payload.
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        (!payload.contains('.')).then_some(Self { header, payload, signature, signed })
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed())
}
