//! Is this a token that one of the keys signed? Knows nothing of what its claims mean.
//!
//! The compact form of RFC 7515: three parts, base64url without padding, joined by dots; the signature covers the
//! first two as they came.

use crate::configuration::{Algorithm, Configuration, Key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tidegate_sdk::authorize::Refusal;
use tidegate_sdk::crypto;

/// More than any browser sends in a header line.
const TOKEN_BYTES_MAX: usize = 8_192;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// RFC 7515, section 4.1.11: extensions that must be understood. None is.
    crit: Option<serde_json::Value>,
}

/// The payload of a token whose signature is right.
pub(crate) fn verified(token: &str, configuration: &Configuration) -> Result<Vec<u8>, Refusal> {
    if token.is_empty() {
        return Err(Refusal::new("token-missing", "You need an invitation to enter here."));
    }
    let parts = Parts::of(token).ok_or_else(malformed)?;
    let header: Header = serde_json::from_slice(&decoded(parts.header)?).map_err(|_| malformed())?;
    if header.crit.is_some() {
        return Err(malformed());
    }
    let algorithm = Algorithm::named(&header.alg)
        .filter(|wanted| configuration.keys.iter().any(|key| key.algorithm == *wanted))
        .ok_or_else(|| {
            Refusal::new(
                "algorithm-not-allowed",
                "Your invitation is signed in a way that is not accepted here.",
            )
        })?;
    let signature = decoded(parts.signature)?;
    let suitable = |key: &&Key| key.algorithm == algorithm && fits(key, header.kid.as_deref());
    let signed_by = |key: &Key| {
        crypto::verify(algorithm.name(), &key.bytes, parts.signed.as_bytes(), &signature) == Ok(true)
    };
    if !configuration.keys.iter().filter(suitable).any(signed_by) {
        return Err(Refusal::new("token-signature", "Your invitation was not issued for this host."));
    }
    decoded(parts.payload)
}

/// A key without an id serves every token; a token without one is tried with every key.
fn fits(key: &Key, wanted: Option<&str>) -> bool {
    match (key.id.as_deref(), wanted) {
        (Some(id), Some(wanted)) => id == wanted,
        _ => true,
    }
}

pub(crate) fn malformed() -> Refusal {
    Refusal::new("token-malformed", "Your invitation is damaged. Open the link you were given once more.")
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
