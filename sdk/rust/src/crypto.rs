//! Signatures, checked by the host: faster and safer than in a guest. Knows nothing of tokens.

use std::fmt;

#[cfg(target_arch = "wasm32")]
use crate::bindings::host::tidegate::policy::host_crypto as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::native as host;

/// Why a signature could not be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// The host does not know this algorithm.
    UnknownAlgorithm,
    /// The key is not one for this algorithm.
    BadKey,
    /// The message is over 65,536 bytes.
    TooLarge,
    /// Another of the host's codes.
    Other(String),
}

impl VerifyError {
    fn from_code(code: String) -> Self {
        match code.as_str() {
            "unknown-algorithm" => Self::UnknownAlgorithm,
            "bad-key" => Self::BadKey,
            "too-large" => Self::TooLarge,
            _ => Self::Other(code),
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAlgorithm => formatter.write_str("the host does not know this algorithm"),
            Self::BadKey => formatter.write_str("this is not a key for this algorithm"),
            Self::TooLarge => formatter.write_str("the message is over 65,536 bytes"),
            Self::Other(code) => write!(formatter, "the host answered {code}"),
        }
    }
}

impl std::error::Error for VerifyError {}

/// Is `signature` a valid signature of `message` under `key`?
///
/// - `HS256`: HMAC with SHA-256; `key` is the secret itself.
/// - `RS256`: RSASSA-PKCS1-v1_5 with SHA-256, 2,048 to 8,192 bits.
/// - `ES256`: ECDSA on P-256 with SHA-256; `signature` is r and s, 32 bytes each.
///
/// For `RS256` and `ES256`, `key` is a SubjectPublicKeyInfo, as DER or as PEM (`PUBLIC KEY`).
///
/// # Errors
/// When the question itself is wrong; a signature that doesn't fit is `Ok(false)`.
pub fn verify(algorithm: &str, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, VerifyError> {
    host::verify(algorithm, key, message, signature).map_err(VerifyError::from_code)
}
