//! The load client: bots that join a Tidegate host over its real session protocol, ICE, DTLS and SRTP, send
//! synthetic sound and pictures, and measure what reaches them. Knows nothing of the host's inside; it is not linked
//! into the server.
//!
//! ```text
//! options ─ run ─┬─ attend (one task a person: WebSocket, offers) ─┬─ crew ─ worker (one thread: sockets, clock)
//!                │                                                 │         └ bot (sans-IO) ─┬ source: sends
//!                │                                                 └─ foreign (`webrtc`) ─────┴ sink: accounts
//!                ├─ probe (what the host spends)
//!                └─ report (table, JSON) ─ plot (SVG)
//! ```
#![forbid(unsafe_code)]

mod arrive;
mod attend;
mod bot;
mod channel;
mod crew;
mod delays;
pub mod discard;
mod foreign;
mod header;
mod limits;
mod options;
mod plot;
pub mod probe;
mod report;
mod run;
mod scenario;
mod sdp;
mod sink;
mod source;
mod stamp;
pub mod started;
mod tally;
mod worker;

pub use options::{Kind, Options};
pub use report::Report;
pub use run::{RunError, run};
pub use sdp::{Answer, AnswerError};

use std::ffi::OsString;
use std::process::ExitCode;

/// The command: reads a command line (program name first), runs, prints the table. 2 for flags that cannot be, 1 for
/// whatever else went wrong.
#[must_use]
pub fn command(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = Options::read(arguments).unwrap_or_else(|error| error.exit());
    match run(&options) {
        Ok(report) => {
            print!("{}", report.table());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tidegate-load: {error}");
            ExitCode::FAILURE
        }
    }
}
