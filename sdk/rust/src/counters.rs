//! Numbers in the host's metrics, under the policy's name. Knows nothing of who reads them.
//!
//! At most 64 names a policy, of `a-z`, `0-9`, `-` and `_`, each of at most 64 bytes; others are ignored.

#[cfg(target_arch = "wasm32")]
use crate::bindings::host::tidegate::policy::host_counters as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::native as host;

/// Adds to a counter that only grows.
pub fn add(name: &str, by: u64) {
    host::add(name, by);
}

/// Sets a gauge.
pub fn set(name: &str, value: u64) {
    #[cfg(target_arch = "wasm32")]
    host::set(name, value);
    #[cfg(not(target_arch = "wasm32"))]
    host::set_gauge(name, value);
}
