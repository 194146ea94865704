//! A small memory of the policy on this node, shared by all its instances. It survives the loss of an instance
//! and a swap of the policy, not the end of the host. Knows nothing of what is kept.
//!
//! Bounds: 1,000 entries, keys of 1 to 256 bytes, values of at most 65,536 bytes, 4 MiB together.

use crate::moment::UnixTime;
use std::fmt;

#[cfg(target_arch = "wasm32")]
use crate::bindings::host::tidegate::policy::host_store as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::native as host;

/// Why a value could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The key is empty or over 256 bytes.
    KeySize,
    /// The value is over 65,536 bytes.
    ValueSize,
    /// There is no room for more.
    Full,
    /// Another of the host's codes.
    Other(String),
}

impl StoreError {
    fn from_code(code: String) -> Self {
        match code.as_str() {
            "key-size" => Self::KeySize,
            "value-size" => Self::ValueSize,
            "full" => Self::Full,
            _ => Self::Other(code),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeySize => formatter.write_str("a key needs 1 to 256 bytes"),
            Self::ValueSize => formatter.write_str("a value has at most 65,536 bytes"),
            Self::Full => formatter.write_str("the store is full"),
            Self::Other(code) => write!(formatter, "the host answered {code}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The value under a key, if there is one that has not expired.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::get(key)
}

/// Writes a value; after `expires` it is gone, `None` keeps it.
///
/// # Errors
/// When the key or value is out of bounds or the store is full.
pub fn set(key: &str, value: &[u8], expires: Option<UnixTime>) -> Result<(), StoreError> {
    host::set(key, value, expires.map(UnixTime::as_millis)).map_err(StoreError::from_code)
}

/// Writes a value only if `expected` is what stands there now (`None`: nothing does), in one step against all
/// other instances. Says whether it did.
///
/// # Errors
/// As [`set`].
pub fn replace(
    key: &str,
    expected: Option<&[u8]>,
    value: &[u8],
    expires: Option<UnixTime>,
) -> Result<bool, StoreError> {
    host::replace(key, expected, value, expires.map(UnixTime::as_millis)).map_err(StoreError::from_code)
}

/// Forgets a key. Says whether there was one.
pub fn remove(key: &str) -> bool {
    host::remove(key)
}

/// Keys that begin with `prefix` and come after `after` (empty: from the first), in byte order, at most `limit`
/// and at most 100.
#[must_use]
pub fn keys(prefix: &str, after: &str, limit: u32) -> Vec<String> {
    host::keys(prefix, after, limit)
}
