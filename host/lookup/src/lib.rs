//! Lookups that policies need: a value by its key, over HTTP, from a key set (JWKS) or by a command.
//!
//! Knows nothing of policies, of who asks or of what a value means. Whatever a server or a program does, an answer or a
//! named error comes by the time that was agreed on; what is kept, what waits and what is under way is bounded.
//!
//! ```text
//! ask ─▶ kept? ─▶ the value
//!          └─▶ under way? ─▶ wait for it      (one flight a key)
//!                └─▶ permit ─▶ HTTP / command ─▶ kept, and told to all who wait
//! ```
//!
//! ```
//! use std::collections::BTreeMap;
//! use tidegate_lookup::LookupConfig;
//!
//! let config = serde_json::json!({ "kind": "http", "url": "http://db.example/{key}" });
//! let refused = LookupConfig::read("people", &config).expect_err("not over a network in the clear");
//! assert!(refused.to_string().contains("insecure"), "{refused}");
//! ```
#![forbid(unsafe_code)]

mod cache;
mod command;
mod config;
mod counts;
mod http;
mod keys;
mod lookup;
mod spki;
mod template;
mod tls;

pub use config::{ConfigError, LookupConfig};
pub use counts::LookupCounts;
pub use lookup::{Found, Lookups};
