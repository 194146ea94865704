//! Brings a panic's words to the host's log before the instance ends. Knows nothing of what panicked.

use std::sync::Once;

static INSTALLED: Once = Once::new();

/// Installs the hook, once. Natively the usual hook stays.
pub(crate) fn tell_host() {
    INSTALLED.call_once(|| {
        #[cfg(target_arch = "wasm32")]
        std::panic::set_hook(Box::new(|panic| crate::log::write("error", format_args!("{panic}"))));
    });
}
