//! `tidegate-wrap plugin.wasm component.wasm`. Knows nothing of how a plugin is built.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "tidegate-wrap MODULE COMPONENT

Turns the core module that `cargo build --target wasm32-unknown-unknown` left into a component for
`tidegate --policy DECISION=COMPONENT`.";

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [module, component] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match wrap(module, component) {
        Ok(bytes) => {
            println!("{}: {bytes} bytes", component.display());
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn wrap(module: &Path, component: &Path) -> Result<usize, String> {
    let bytes = std::fs::read(module).map_err(|error| format!("{}: {error}", module.display()))?;
    let wrapped = tidegate_wrap::wrap(&bytes).map_err(|error| format!("{}: {error}", module.display()))?;
    std::fs::write(component, &wrapped).map_err(|error| format!("{}: {error}", component.display()))?;
    Ok(wrapped.len())
}
