//! `tidegate plugin …`: what a policy's author does between an empty folder and a policy in force; `tidegate policy …`:
//! what an operator does with it in a running host; `tidegate people`: who is inside there. Knows nothing of nodes, rooms
//! and media.
//!
//! Components run in the engine and under the bounds of production ([`tidegate_policy::sandbox`]); requests, cases
//! and answers are written in the SDK's words ([`tidegate_sdk::cases`]), so that `cargo test` and these commands
//! cannot differ about them.
//!
//! ```
//! // What `tidegate plugin check nothing.wasm` does, with no stock policies to compare with.
//! let arguments = ["plugin", "check", "nothing.wasm"].map(Into::into);
//! let code = tidegate_cli::plugin(arguments, &[]);
//! assert_eq!(code, std::process::ExitCode::FAILURE);
//! ```
#![forbid(unsafe_code)]

mod asking;
mod bench;
mod carried;
mod check;
mod decision;
mod error;
mod explain;
mod host;
mod make;
mod name;
mod new;
mod operate;
mod options;
mod people;
mod project;
mod question;
mod replay;
mod replayed;
mod run;
mod spread;
mod subject;
mod trial;
mod words;

pub use operate::policy;
pub use people::people;

use clap::Parser as _;
use error::CommandError;
use host::Host;
use options::{Command, Options};
use std::ffi::OsString;
use std::process::ExitCode;

/// Every stock policy: its name and its component.
pub type Stock = &'static [(&'static str, &'static [u8])];

/// A replay was made, and differs.
const OTHERWISE: u8 = 3;

/// Runs the command that these arguments name, the first of which is the program's name.
///
/// 0: all is well. 1: the plugin, its answer or a file is not; standard error or the list of problems says what and
/// what to do. 2: the command line is wrong. 3: decisions of a record come out otherwise.
pub fn plugin(arguments: impl IntoIterator<Item = OsString>, stock: Stock) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let otherwise = if matches!(options.command, Command::Replay(_)) { OTHERWISE } else { 1 };
    match act(options.command, stock) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(otherwise),
        Err(error) => {
            eprintln!("tidegate plugin: {error}");
            ExitCode::FAILURE
        }
    }
}

/// False where what was asked for was done, and the plugin did not pass.
fn act(command: Command, stock: Stock) -> Result<bool, CommandError> {
    match command {
        Command::New(new) => new::new(&new),
        Command::Build(build) => make::build(&build, stock),
        Command::Test(test) => trial::test(&test, stock),
        Command::Bench(bench) => bench::bench(&bench, stock),
        Command::Check(check) => check::check(&check, stock),
        Command::Run(run) => run::run(&run, stock),
        Command::Replay(replay) => replay::replay(&replay, stock),
        Command::Explain(of) => {
            let told = Host::at(&of.reach).and_then(|host| explain::explain(&host, &of.explain));
            print!("{}", told.map_err(CommandError::Host)?);
            Ok(true)
        }
    }
}
