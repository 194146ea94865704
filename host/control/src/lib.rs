//! The front door for people and operators: WebSocket sessions with their SDP, the pages, the admin API,
//! metrics, TLS. It asks the directory and never touches a packet.
//!
//! Knows nothing of the engine, the shards, links or policies' inner life.
//!
//! ```
//! use std::sync::Arc;
//! use tidegate_control::{Asset, Control, ControlConfig, Operations};
//! # use tidegate_types::decision::{DecisionRecord, PolicyInfo};
//!
//! struct Host;
//! impl Operations for Host {
//!     fn policies(&self) -> Vec<PolicyInfo> { Vec::new() }
//!     fn decisions(&self, _limit: usize) -> Vec<DecisionRecord> { Vec::new() }
//!     fn metrics(&self) -> String { String::new() }
//!     fn health(&self) -> Result<(), String> { Ok(()) }
//! }
//!
//! static PAGES: [Asset; 1] = [Asset { path: "/index.html", mime: "text/html", bytes: b"<p>hello" }];
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let (to_directory, _requests) = tokio::sync::mpsc::channel(64);
//! let config = ControlConfig::new(([127, 0, 0, 1], 0).into(), &PAGES);
//! let control = Control::start(config, to_directory, Arc::new(Host)).await?;
//! assert_ne!(control.local_addr().port(), 0);
//! control.stop("until later").await;
//! # Ok::<(), tidegate_control::StartError>(()) }).unwrap();
//! ```
#![forbid(unsafe_code)]

mod admin;
mod chance;
mod config;
mod control;
mod count;
mod door;
mod http;
mod limit;
mod operations;
mod problem;
mod sdp;
mod session;
mod whip;

pub use admin::openapi;
pub use config::{Asset, Assets, ControlConfig, Limits, Tls, TlsFiles};
pub use control::{Control, StartError};
pub use operations::{
    FromDirectory, Operations, PolicyAct, PolicyChange, PolicyChanged, PolicyRefusal, ToDirectory,
};
pub use problem::Problem;
#[doc(hidden)]
pub use sdp::fuzz_offer;
#[doc(hidden)]
pub use session::fuzz_message;
#[doc(hidden)]
pub use whip::fuzz_fragment;
