//! `tidegate-wrap plugin.wasm component.wasm`. Knows nothing of how a plugin is built.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tidegate_wrap::{describe, wrap, wrap_with_wasi};

const USAGE: &str = "tidegate-wrap [--world NAME] [--wasi] MODULE COMPONENT

Turns a core module into a component for `tidegate --policy DECISION=COMPONENT`.

  --world NAME  the module does not describe its interface (Rust's does): it is for the world `authorize`,
                `allocate`, `balance` or `share`
  --wasi        the module's compiler cannot do without WASI (Go): its system calls become imports that the host
                answers without reaching anything";

#[derive(Default)]
struct Arguments {
    world: Option<String>,
    wasi: bool,
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = arguments();
    let Some((arguments, module, component)) =
        arguments.as_ref().and_then(|arguments| match arguments.files.as_slice() {
            [module, component] => Some((arguments, module, component)),
            _ => None,
        })
    else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match make(arguments, module, component) {
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

/// None where they make no sense.
fn arguments() -> Option<Arguments> {
    let mut given = std::env::args_os().skip(1);
    let mut arguments = Arguments::default();
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--world") => arguments.world = Some(given.next()?.into_string().ok()?),
            Some("--wasi") => arguments.wasi = true,
            Some(option) if option.starts_with('-') => return None,
            _ => arguments.files.push(argument.into()),
        }
    }
    Some(arguments)
}

fn make(arguments: &Arguments, module: &Path, component: &Path) -> Result<usize, String> {
    let read = std::fs::read(module).map_err(|error| format!("{}: {error}", module.display()))?;
    let described = match &arguments.world {
        Some(world) => describe(&read, world),
        None => Ok(read),
    };
    let wrapped = described
        .and_then(|bytes| if arguments.wasi { wrap_with_wasi(&bytes) } else { wrap(&bytes) })
        .map_err(|error| format!("{}: {error}", module.display()))?;
    std::fs::write(component, &wrapped).map_err(|error| format!("{}: {error}", component.display()))?;
    Ok(wrapped.len())
}
