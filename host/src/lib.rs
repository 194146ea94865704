//! The node: reads its configuration, builds the parts, joins their mailboxes and stops them in order. It
//! knows all parts and decides nothing.
//!
//! ```no_run
//! # async fn example() -> Result<(), tidegate::StartError> {
//! let node = tidegate::Node::start(tidegate::Config::local()).await?;
//! println!("open http://{}/?room=hello", node.address());
//! node.stop().await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod assets;
pub mod banner;
mod change;
mod clock;
mod components;
pub mod config;
pub mod load;
pub mod logs;
mod lookups;
mod mailbox;
mod metrics;
mod node;
mod office;
mod operations;
pub mod options;
mod secrets;
pub mod stock;
mod watch;

pub use components::ComponentError;
pub use config::Config;
pub use node::{Node, StartError};
