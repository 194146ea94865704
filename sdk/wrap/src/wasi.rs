//! For compilers whose runtime insists on WASI. Knows nothing of what the host answers to it.

use crate::interface::embed;
use crate::{WrapError, check_described, encode, told};
use wit_component::ComponentEncoder;

/// The module that such a runtime's system calls come from.
const CALLED: &str = "wasi_snapshot_preview1";
/// What answers them.
const ANSWERS: &str = include_str!("wasip1.wat");
/// What that asks of the host.
const ASKED: (&str, &str) = ("wasip1.wit", include_str!("wasip1.wit"));

/// The component of a core module that makes WASI's system calls. What they cannot do without (time, chance, a place to
/// complain) becomes imports of WASI 0.2, which the host answers with stand-ins that reach nothing. Costs 3 KB.
///
/// # Errors
/// What the module is instead.
pub fn wrap_with_wasi(module: &[u8]) -> Result<Vec<u8>, WrapError> {
    check_described(module)?;
    let adapter = adapter().map_err(WrapError::Encode)?;
    let encoder = ComponentEncoder::default().module(module);
    let adapted = encoder.and_then(|encoder| encoder.adapter(CALLED, &adapter));
    encode(adapted).map_err(|error| told(&error))
}

fn adapter() -> Result<Vec<u8>, String> {
    let mut adapter = wat::parse_str(ANSWERS).map_err(|error| error.to_string())?;
    embed(&mut adapter, &[ASKED], "wasip1")?;
    Ok(adapter)
}

#[cfg(test)]
mod tests {
    use super::{ANSWERS, wrap_with_wasi};
    use crate::describe;
    use crate::interface::embed;

    /// A program that calls some of WASI.
    const PROGRAM: &str = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_open"
            (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (memory (export "memory") 1))"#;
    const NO_POLICY: (&str, &str) = ("none.wit", "package test:none; world none {}");

    fn program() -> Vec<u8> {
        let mut module = wat::parse_str(PROGRAM).expect("a module");
        embed(&mut module, &[NO_POLICY], "none").expect("described");
        module
    }

    fn mentions(component: &[u8], name: &str) -> bool {
        component.windows(name.len()).any(|window| window == name.as_bytes())
    }

    #[test]
    fn only_what_a_program_calls_is_asked_of_the_host() {
        let component = wrap_with_wasi(&program()).expect("a component");
        assert!(mentions(&component, "wasi:clocks/wall-clock@0.2.0"));
        assert!(mentions(&component, "wasi:io/streams@0.2.0"));
        assert!(!mentions(&component, "wasi:filesystem"), "files are refused without asking the host");
        assert!(!mentions(&component, "wasi:random"), "nobody asks for chance");
    }

    #[test]
    fn the_adapter_takes_no_memory() {
        // A runtime that grows its memory itself would use what somebody else takes.
        assert!(!["memory.grow", "cabi_realloc"].iter().any(|call| ANSWERS.contains(call)));
    }

    #[test]
    fn a_program_without_an_interface_is_told_so() {
        let module = wat::parse_str(PROGRAM).expect("a module");
        assert!(wrap_with_wasi(&module).is_err());
        assert!(describe(&module, "authorize").is_ok());
    }
}
