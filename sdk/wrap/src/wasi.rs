//! For compilers whose runtime insists on WASI. Knows nothing of what the host answers to it.

use crate::{WrapError, check_described, encode, told};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// The component of a core module that makes WASI's system calls. They become imports of WASI 0.2, which the host
/// answers with stand-ins that reach nothing. Costs 20 KB.
///
/// # Errors
/// What the module is instead.
pub fn wrap_with_wasi(module: &[u8]) -> Result<Vec<u8>, WrapError> {
    check_described(module)?;
    let (name, adapter) = (WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
    let encoder = ComponentEncoder::default().module(module);
    // Go's own allocator cannot be called before its runtime has started, and the adapter comes before that.
    let adapted = encoder.and_then(|encoder| encoder.realloc_via_memory_grow(true).adapter(name, adapter));
    encode(adapted).map_err(|error| told(&error))
}
