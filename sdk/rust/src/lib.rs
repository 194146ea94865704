//! Write a Tidegate policy: who may enter, where media runs, what moves, what pictures are worth. Knows nothing of the host's own code:
//! `wit/v1` is the only door.
//!
//! A policy is a type, one trait and one [`register!`]:
//!
//! ```
//! use tidegate_sdk::allocate::*;
//!
//! /// Places each new transport on the shard with the shortest forwarding delay.
//! struct Shortest;
//!
//! impl Allocate for Shortest {
//!     fn place(&self, _request: &PlaceRequest, cluster: &Cluster) -> Result<Placement, Refusal> {
//!         cluster.shards().min_by_key(|shard| shard.forward_delay_p99())
//!             .map(Placement::on).ok_or(Refusal::full("no shard is alive"))
//!     }
//! }
//!
//! tidegate_sdk::register!(allocate: Shortest);
//! ```
//!
//! Built for `wasm32-unknown-unknown` and wrapped, that is a component which imports nothing but Tidegate's own
//! interfaces. Built natively (`cargo test`), the same traits run without WebAssembly: [`log`] writes to
//! standard error, [`store`] and [`counters`] keep to their thread, and [`native`] stands in for the host.
//!
//! There is no clock, no randomness, no file and no socket: time and chance come with each request, as its
//! [`Moment`].
#![forbid(unsafe_code)]

// The generated code names this crate by its public path, here as in a plugin.
extern crate self as tidegate_sdk;

pub mod allocate;
pub mod authorize;
pub mod balance;
#[doc(hidden)]
pub mod bindings;
#[cfg(not(target_arch = "wasm32"))]
pub mod cases;
mod choose;
pub mod cluster;
pub mod counters;
pub mod crypto;
pub mod lifecycle;
pub mod log;
mod moment;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
mod panic;
mod register;
#[cfg(not(target_arch = "wasm32"))]
pub mod schema;
#[doc(hidden)]
pub mod seat;
pub mod share;
pub mod store;
mod words;

pub use cluster::{Cluster, Column, Shard};
pub use lifecycle::{Description, Package, Problem, Setup};
pub use moment::{Moment, Random, UnixTime};
pub use words::{Attr, Bitrate, Refusal};

#[doc(hidden)]
pub use wit_bindgen::rt as wit_runtime;

/// The guide's snippets are built and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Guide;
