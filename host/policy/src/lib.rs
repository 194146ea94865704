//! Policies: WebAssembly components that decide who may, where, what should change and how bit rates divide; loaded,
//! bounded, asked and remembered.
//!
//! Knows nothing of rooms, transports or packets beyond what a question says, and does nothing with an answer: it
//! answers, the directory acts. Each failure has a name; each component has a bound on time, memory, stack, tables,
//! log lines and stored bytes, and reaches nothing but `tidegate:policy`'s host interfaces.
//!
//! ```
//! use std::sync::Arc;
//! use tidegate_policy::{LoadError, Policies, PluginConfig, PolicyConfig, Source};
//!
//! let plugin = |name| PluginConfig::new(Source::Embedded { name, bytes: b"not wasm".as_slice().into() });
//! let config = PolicyConfig::new(plugin("who"), plugin("where"), plugin("what"));
//! let refused = Policies::start(config, Arc::new(|| 0), Arc::new(|answer| println!("{answer:?}")));
//! assert!(matches!(refused, Err(LoadError::NotAComponent { origin, .. }) if origin == "who"));
//! ```
#![forbid(unsafe_code)]

mod allowance;
mod bindings;
mod book;
mod bounds;
mod breaker;
mod chain;
mod compile;
mod config;
mod convert;
mod crypto;
mod decide;
mod engine;
mod error;
pub mod feed;
#[cfg(feature = "floor")]
pub mod floor;
pub mod fuzzing;
pub mod host;
mod imports;
pub mod inspect;
mod instance;
mod journal;
mod limits;
pub mod lookups;
mod mask;
mod meet;
mod native;
pub mod plugin;
mod queue;
mod record;
mod recorder;
mod replay;
mod runtime;
pub mod sandbox;
mod schema;
mod seat;
mod slot;
mod source;
mod store;
mod swap;
pub mod tape;
mod tick;
mod wasi;

pub use config::{Deadlines, LARGEST_MEMORY_BYTES, OnFailures, PluginConfig, PolicyConfig, RecordTo, Source};
pub use error::{LoadError, Problem};
pub use lookups::{Lookups, Reply};
pub use native::Native;
pub use plugin::Clock;
pub use replay::{
    Affected, Cost, Fuel, Instead, Replay, ReplayError, Replayed, Seated, Survey, fuel, replay, run_of,
    survey,
};
pub use runtime::{Policies, Sink};
pub use swap::{SwapError, SwapOrder, Swapped};
