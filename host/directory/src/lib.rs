//! What exists and where: rooms, people, routers, transports, producers, consumers, places, relays and
//! reservations. Knows nothing of packets, sockets, SDP, WebAssembly, threads or clocks.
//!
//! Sans-IO: [`Input`]s with their time go into [`Directory::handle`]; [`Output`]s come out of
//! [`Directory::poll`], and are all taken before the next input.
#![forbid(unsafe_code)]

mod builtin;
mod config;
mod directory;
mod metrics;

pub use builtin::{Watermarks, concentrate_then_spill};
pub use config::{Bounds, DirectoryConfig, ExpectedRates, Patience, ShardSeed};
pub use directory::{Directory, Input, Output};
pub use metrics::DirectoryMetrics;
