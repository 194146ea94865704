//! The keys and bounds that tokens are held against. Knows nothing of tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::time::Duration;
use tidegate_sdk::authorize::{Problem, Setup};
use tidegate_sdk::crypto::{self, VerifyError};

/// RFC 7518, section 3.2: an HS256 key has at least as many bytes as the hash.
const HS256_KEY_BYTES_MIN: usize = 32;
/// Beyond this a wrong token would cost too many checks.
const KEYS_MAX: usize = 16;

/// What an operator sets.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    pub(crate) keys: Vec<Key>,
    /// The lookup that gives more of them, by their id.
    pub(crate) key_set: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    /// How far the clocks of issuer and host may differ.
    pub(crate) leeway: Duration,
    /// After how long a token of someone inside is looked at again: keys may have changed.
    pub(crate) ask_again: Option<Duration>,
}

impl Configuration {
    /// Is there, or may there be, a key that serves this algorithm?
    pub(crate) fn takes(&self, algorithm: Algorithm) -> bool {
        let own = self.keys.iter().any(|key| key.algorithm == algorithm);
        own || (self.key_set.is_some() && algorithm.has_public_key())
    }
}

/// One key, for one algorithm only: what a token says of its algorithm chooses among keys, never how a key is
/// used.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) id: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

/// A signature algorithm of RFC 7518 that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Algorithm {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// A secret is never taken from a set that others can read.
    pub(crate) const fn has_public_key(self) -> bool {
        matches!(self, Self::Rs256 | Self::Es256)
    }

    /// `none` and everything else that isn't taken gives nothing.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Hs256, Self::Rs256, Self::Es256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default)]
    keys: Vec<WireKey>,
    key_set: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    #[serde(default = "default_leeway_s")]
    leeway_s: u64,
    ask_again_s: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireKey {
    alg: Algorithm,
    kid: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
}

const fn default_leeway_s() -> u64 {
    10
}

impl Configuration {
    pub(crate) fn read(setup: &Setup) -> Result<Self, Vec<Problem>> {
        let wire: Wire = setup.parse()?;
        let mut problems = Vec::new();
        if (wire.keys.is_empty() && wire.key_set.is_none()) || wire.keys.len() > KEYS_MAX {
            let message = format!("must hold 1 to {KEYS_MAX} keys, or be left out where there is a key_set");
            problems.push(Problem::at("/keys", message));
        }
        if let Some(name) = wire.key_set.as_ref().filter(|name| !setup.lookups.contains(name)) {
            problems.push(Problem::at("/key_set", no_lookup(name, &setup.lookups)));
        }
        if wire.leeway_s > 300 {
            problems.push(Problem::at("/leeway_s", "must be at most 300 seconds"));
        }
        let mut keys = Vec::new();
        for (index, key) in wire.keys.into_iter().take(KEYS_MAX).enumerate() {
            match key.check() {
                Ok(key) => keys.push(key),
                Err((field, message)) => {
                    problems.push(Problem::at(format!("/keys/{index}/{field}"), message));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let leeway = Duration::from_secs(wire.leeway_s);
        let ask_again = wire.ask_again_s.map(|seconds| Duration::from_secs(u64::from(seconds)));
        Ok(Self {
            keys,
            key_set: wire.key_set,
            issuer: wire.issuer,
            audience: wire.audience,
            leeway,
            ask_again,
        })
    }
}

fn no_lookup(name: &str, there: &[String]) -> String {
    let there = if there.is_empty() { "no lookup".to_owned() } else { there.join(", ") };
    format!("there is no lookup {name}, the host has {there}: add one of the kind jwks")
}

impl Key {
    /// A key as the host gives it of a key set; never a secret.
    pub(crate) fn of_set(found: &str) -> Option<Self> {
        let key: WireKey = serde_json::from_str(found).ok()?;
        let key = Self { algorithm: key.alg, bytes: key.bytes().ok()?.1, id: key.kid };
        key.algorithm.has_public_key().then_some(key)
    }
}

impl WireKey {
    fn check(self) -> Result<Key, (&'static str, String)> {
        let (field, bytes) = self.bytes()?;
        if self.alg == Algorithm::Hs256 && bytes.len() < HS256_KEY_BYTES_MIN {
            let message =
                format!("an HS256 key needs at least {HS256_KEY_BYTES_MIN} bytes, this has {}", bytes.len());
            return Err((field, message));
        }
        // The host reads the key as it will for a token; that the empty signature is wrong is not asked.
        if crypto::verify(self.alg.name(), &bytes, b"", b"") == Err(VerifyError::BadKey) {
            return Err((
                field,
                format!("this is not a public key for {} (SPKI, PEM or DER)", self.alg.name()),
            ));
        }
        Ok(Key { algorithm: self.alg, id: self.kid, bytes })
    }

    fn bytes(&self) -> Result<(&'static str, Vec<u8>), (&'static str, String)> {
        match (&self.key, &self.key_base64) {
            (Some(key), None) => Ok(("key", key.clone().into_bytes())),
            (None, Some(key)) => {
                let bytes =
                    STANDARD.decode(key).map_err(|error| ("key_base64", format!("not base64: {error}")))?;
                Ok(("key_base64", bytes))
            }
            _ => Err(("key", "give either key (text or PEM) or key_base64".to_owned())),
        }
    }
}
