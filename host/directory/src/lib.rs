//! What exists and where: rooms, people, routers, transports, producers, consumers, places, relays and
//! reservations. Knows nothing of packets, sockets, SDP, WebAssembly, threads or clocks.
//!
//! Sans-IO: [`Input`]s with their time go into [`Directory::handle`]; [`Output`]s come out of
//! [`Directory::poll`], and are all taken before the next input. Nothing in here asks the clock: [`Input::Tick`]
//! comes when [`Directory::next_timeout`] is due.
//!
//! ```text
//! front doors ── request ─▶ ┌───────────┐ ◀─ answer ──── policies
//!             ◀─ reply ──── │ directory │ ── question ─▶
//!             ◀─ notice ─── └───────────┘ ── feed ─────▶
//!                              │      ▲
//!                      command ▼      │ reply, report
//!                              places
//! ```
//!
//! ```
//! use tidegate_directory::{Directory, DirectoryConfig, Input, Output, ShardSeed};
//! use tidegate_types::request::{ClientId, Request, RequestBody};
//! use tidegate_types::{Now, NtpTime, Place, RequestNumber};
//!
//! # #[expect(clippy::disallowed_methods)]
//! let now = Now { instant: std::time::Instant::now(), wall: NtpTime::default() };
//! let shard = ShardSeed { place: Place::local(0), node_name: "a".into(), region: String::new() };
//! let mut directory = Directory::new(DirectoryConfig::new(vec![shard], 1), now);
//! assert!(matches!(directory.poll(), Some(Output::Policy(_))), "policies are told of the cluster first");
//!
//! let request = Request { number: RequestNumber(1), client: ClientId(1), body: RequestBody::Dump };
//! directory.handle(now, Input::Request(request));
//! assert!(matches!(directory.poll(), Some(Output::Reply(_))));
//! ```
#![forbid(unsafe_code)]

mod builtin;
mod cluster;
mod config;
mod consume;
mod data;
mod directory;
mod dump;
mod floor;
mod join;
mod leave;
mod ledger;
mod loudest;
mod metrics;
mod moment;
mod moves;
mod objects;
mod placement;
mod produce;
mod questions;
mod refusal;
mod relay;
mod renew;
mod reports;
mod share;
mod speaker;
mod tell;
mod timers;

pub use builtin::{Watermarks, concentrate_then_spill};
pub use config::{Bounds, DirectoryConfig, ExpectedRates, Patience, ShardSeed};
pub use directory::{Directory, Input, Output};
pub use metrics::DirectoryMetrics;
