//! The load client's command. Knows nothing of what it does.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate_load::command(std::env::args_os())
}
