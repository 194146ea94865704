//! The log: standard error, filtered, for people or as JSON. Knows nothing of what is logged.

use crate::options::LogFormat;
use clap::CommandFactory;
use clap::error::ErrorKind;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Logs from here on.
///
/// # Errors
/// As a command-line error, if the filter is not one.
pub fn start(filter: &str, format: LogFormat) -> Result<(), clap::Error> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| refusal(filter, &error.to_string()))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let _already_logging = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}

fn refusal(filter: &str, reason: &str) -> clap::Error {
    let text = format!(
        "invalid value '{filter}' for '--log <FILTER>': {reason}; expected error, warn, info, debug, trace or \
         a list such as info,tidegate_control=debug\n"
    );
    clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(&crate::options::Options::command())
}
