//! Turns a plugin's core WebAssembly module into the component that the host loads. Knows nothing of what a
//! plugin decides.
//!
//! `cargo build --target wasm32-unknown-unknown` leaves a core module that carries its interfaces' description;
//! wrapping turns both into a component. Compilers of other languages leave that description out: it is added for the
//! world that the caller names. A module that asks for more than Tidegate's own interfaces is refused here already,
//! with the name of what it asks for, unless the caller says that its compiler cannot do without WASI.
#![forbid(unsafe_code)]

#[cfg(feature = "languages")]
mod interface;
#[cfg(feature = "languages")]
mod wasi;

#[cfg(feature = "languages")]
pub use interface::{WORLDS, describe};
#[cfg(feature = "languages")]
pub use wasi::wrap_with_wasi;

use wit_component::ComponentEncoder;

/// The imports that a host grants begin like this.
const GRANTED: &str = "tidegate:policy/";
/// Stands in each module that carries its interfaces' description.
const DESCRIBED: &[u8] = b"component-type";

/// Why a module could not be wrapped.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// It is one already.
    #[error("this is a component already: give it to the host as it is")]
    Component,
    /// Its bytes are not those of a module.
    #[error("this is not a WebAssembly module")]
    NotAModule,
    /// It imports what no policy may.
    #[error(
        "the module imports {0:?}, which no policy is granted: build for wasm32-unknown-unknown, without WASI"
    )]
    NotGranted(String),
    /// It exports no policy.
    #[error(
        "the module describes no interface: in Rust, does it call tidegate_sdk::register! and is it a cdylib? In \
         another language, say which world it is for"
    )]
    NoInterface,
    /// There is no such world.
    #[error("there is no world {0:?}: there are authorize, allocate, balance and share")]
    NoSuchWorld(String),
    /// Module and interfaces contradict each other.
    #[error("the module does not fit its interfaces: {0}")]
    Encode(String),
}

/// The component of a core module that needs no WASI.
///
/// # Errors
/// What the module is instead, or asks for too much.
pub fn wrap(module: &[u8]) -> Result<Vec<u8>, WrapError> {
    check_described(module)?;
    let encoder = ComponentEncoder::default().module(module);
    encode(encoder).map_err(|error| told(&error))
}

fn check_described(module: &[u8]) -> Result<(), WrapError> {
    check(module)?;
    contains(module, DESCRIBED).then_some(()).ok_or(WrapError::NoInterface)
}

fn check(module: &[u8]) -> Result<(), WrapError> {
    match module.get(..8) {
        Some(b"\0asm\x01\0\0\0") => Ok(()),
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Err(WrapError::Component),
        _ => Err(WrapError::NotAModule),
    }
}

fn encode<E: std::fmt::Display>(encoder: Result<ComponentEncoder, E>) -> Result<Vec<u8>, String> {
    let mut encoder = encoder.map_err(|error| format!("{error:#}"))?.validate(true);
    encoder.encode().map_err(|error| format!("{error:#}"))
}

/// wit-component names an import that nothing describes; everything else is told as it is.
fn told(error: &str) -> WrapError {
    let import = error.split("module requires an import interface named `").nth(1);
    match import.and_then(|rest| rest.split('`').next()) {
        Some(name) if !name.starts_with(GRANTED) => WrapError::NotGranted(name.to_owned()),
        _ => WrapError::Encode(error.to_owned()),
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::{WrapError, told, wrap};

    #[test]
    fn what_is_no_plugin_is_told_by_what_it_is() {
        assert!(matches!(wrap(b""), Err(WrapError::NotAModule)));
        assert!(matches!(wrap(b"#!/bin/sh\n"), Err(WrapError::NotAModule)));
        assert!(matches!(wrap(b"\0asm\x0d\0\x01\0"), Err(WrapError::Component)));
        assert!(matches!(wrap(b"\0asm\x01\0\0\0"), Err(WrapError::NoInterface)));
    }

    #[test]
    fn an_import_that_is_not_granted_is_named() {
        let error = "failed to decode: module requires an import interface named `wasi_snapshot_preview1`";
        assert!(matches!(told(error), WrapError::NotGranted(name) if name == "wasi_snapshot_preview1"));
        let error = "module requires an import interface named `tidegate:policy/moon@1.0.0`";
        assert!(matches!(told(error), WrapError::Encode(_)), "granted by name, but not in the interfaces");
    }
}
