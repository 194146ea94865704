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
pub mod av1;
pub mod bandwidth;
mod bits;
pub mod ceiling;
pub mod clock;
pub mod consumer;
pub mod data;
pub mod descriptor;
pub mod engine;
#[doc(hidden)]
pub mod fuzzing;
pub mod h264;
pub mod history;
pub mod io;
mod layers;
pub mod missing;
mod numbers;
pub mod payload;
#[cfg(feature = "peer")]
pub mod peer;
pub mod producer;
pub mod rates;
pub mod red;
pub mod replay;
pub mod rtcp;
pub mod rtp;
pub mod share;
pub mod shed;
pub mod station;
pub mod transport;
pub mod upload;
pub mod vp8;
pub mod vp9;
pub mod watch;

pub use engine::{Engine, EngineConfig, EngineCounters, Held};
