//! The front door for people and operators: WebSocket sessions with their SDP, the pages, the admin API,
//! metrics, TLS. It asks the directory and never touches a packet.
//!
//! Knows nothing of the engine, the shards, links or policies' inner life.
#![forbid(unsafe_code)]

mod config;
mod control;
mod operations;

pub use config::{Asset, Assets, ControlConfig, Limits, TlsFiles};
pub use control::{Control, StartError};
pub use operations::{FromDirectory, Operations, ToDirectory};
