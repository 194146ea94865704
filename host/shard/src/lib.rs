//! One core's worth of a node: a thread, its sockets, its clock, the rings to its siblings, and batches. It
//! carries bytes between the kernel and an engine; knows nothing of what they mean, of rooms or of policies.
//!
//! ```text
//!   commands ─┐                                   ┌─> group by destination ─> sendmmsg + UDP_SEGMENT
//!      rings ─┼─> engine ─> output ─> datagrams ──┼─> later (not before)
//!   recvmmsg ─┤               │                   └─> backlog (socket full) ─> again when writable
//!      timer ─┘               ├─> crossings ─> rings (one wake a batch, only if the target sleeps)
//!                             └─> replies, reports ─> sink
//! ```
//!
//! [`start`] runs shards on threads of their own; [`prepare`] and [`ShardLoop`] let a test or a bench drive the
//! very same loop on its own thread, turn by turn.
//!
//! ```
//! use std::sync::Arc;
//! use tidegate_shard::{ShardsConfig, prepare};
//! use tidegate_types::Place;
//!
//! let config = ShardsConfig { shards: 2, ..ShardsConfig::loopback() };
//! let (shards, seats) = prepare(&config, Arc::new(|place, said| println!("{place}: {said:?}")))?;
//! assert_eq!(seats.len(), 2);
//! assert!(shards.candidates(Place::local(1))[0].address.ip().is_loopback());
//! # Ok::<(), tidegate_shard::StartError>(())
//! ```
//!
//! The only crate with unsafe code: the few system calls that no safe binding covers, in `socket::linux`, and one word
//! to the allocator, in `heap`.
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(feature = "floor")]
pub mod bare_rings;
mod bell;
mod bind;
mod config;
mod counters;
#[cfg(feature = "floor")]
pub mod floor;
mod group;
mod heap;
mod load;
mod ring;
mod send;
mod shards;
mod socket;
mod stream;
pub mod turn;
mod waiting;

pub use config::{CONNECTED_SOCKETS, MOST_SHARDS, ShardsConfig, StartError};
pub use counters::ShardCounters;
pub use heap::share_heaps;
pub use shards::{FromShard, QueueError, Seat, ShardSetup, Shards, Sink, prepare, start};
pub use stream::fuzz_frames;
pub use turn::{Flow, ShardLoop};
