//! The engine, sans-IO: datagrams, crossings, commands and time in; datagrams, crossings, replies and reports
//! out. One engine serves one shard.
//!
//! The law of the run loop: after every input the owner drains [`Engine::output`], and calls
//! [`Engine::timeout`] no earlier than [`Engine::next_timeout`]. Nothing here asks a clock, opens a socket,
//! starts a thread or draws chance by itself.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "virtual time has to start somewhere"))]

pub mod arrivals;
pub mod association;
pub mod clock;
pub mod consumer;
pub mod engine;
#[doc(hidden)]
pub mod fuzzing;
pub mod history;
pub mod io;
pub mod missing;
#[cfg(feature = "peer")]
pub mod peer;
pub mod producer;
pub mod replay;
pub mod rtcp;
pub mod rtp;
pub mod station;
pub mod transport;
pub mod vp8;

pub use engine::{Engine, EngineConfig, EngineCounters};
