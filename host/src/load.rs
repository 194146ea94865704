//! `tidegate load`: hands over to the load client, a program of its own that is built apart from the server. Knows
//! nothing of what it does.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// How to come by the load client.
const ADVICE: &str = "the load client is a program of its own: build it with `cargo build --release -p tidegate-load`, \
     and it runs as target/release/tidegate-load, or as `tidegate load` where both programs lie in one folder";

/// Runs the load client with these arguments in this process's place; returns only where that cannot be.
pub fn hand_over(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(program) = beside() else {
        eprintln!("tidegate: {ADVICE}");
        return ExitCode::FAILURE;
    };
    match replace(Command::new(&program).args(arguments)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tidegate: {}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}

/// The load client in this program's own folder.
fn beside() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let program = own.with_file_name(format!("tidegate-load{}", std::env::consts::EXE_SUFFIX));
    program.is_file().then_some(program)
}

#[cfg(unix)]
fn replace(command: &mut Command) -> io::Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec())
}

#[cfg(not(unix))]
fn replace(command: &mut Command) -> io::Result<ExitCode> {
    let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
