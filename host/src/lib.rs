//! The node: reads its configuration, builds the parts, joins their mailboxes and stops them in order. It
//! knows all parts and decides nothing.
//!
#![forbid(unsafe_code)]

pub mod config;
pub mod options;

pub use config::Config;
