//! The front door as the node holds it: start, deliver, stop. Knows nothing of what a session says.

use crate::admin::ITSELF;
use crate::config::ControlConfig;
use crate::door::Door;
use crate::http::{Gate, Peer, acceptor, routes};
use crate::operations::{FromDirectory, Operations, ToDirectory};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidegate_types::transport::Fingerprint;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long sessions may take to say goodbye when the host stops.
const GOODBYE: Duration = Duration::from_secs(1);

/// The running front door.
pub struct Control {
    local: SocketAddr,
    fingerprint: Option<Fingerprint>,
    door: Arc<Door>,
    stop: watch::Sender<Option<String>>,
    server: Mutex<Option<JoinHandle<()>>>,
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
    /// A TLS file cannot be used, or none made.
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
        let address = config.listen;
        let (tls, fingerprint) = config.tls.as_ref().map(acceptor).transpose()?.unzip();
        let cannot = |reason| StartError::Listen { address, reason };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let local = listener.local_addr().map_err(cannot)?;
        let (stop, stopping) = watch::channel(None);
        let limits = config.limits;
        let door = Door::new(config, to_directory, operations, stopping);
        let gate = Gate::new(listener, local, tls, &limits, Arc::clone(&door.counters));
        let service = routes(Arc::clone(&door)).into_make_service_with_connect_info::<Peer>();
        let mut stopping = stop.subscribe();
        let server = tokio::spawn(async move {
            let stopped = async move {
                // A sender that is gone means stop just as well.
                let _ = stopping.wait_for(Option::is_some).await;
            };
            if let Err(error) = axum::serve(gate, service).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the HTTP server ended");
            }
        });
        Ok(Self { local, fingerprint, door, stop, server: Mutex::new(Some(server)) })
    }

    /// Hands over what the directory said. Never blocks; callable from any thread. A client that doesn't keep up
    /// is disconnected.
    pub fn deliver(&self, message: FromDirectory) {
        match message {
            FromDirectory::Reply(reply) if reply.client == ITSELF => self.door.inquiries.deliver(reply),
            message => self.door.sessions.deliver(message),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The SHA-256 of the certificate that HTTPS shows; `None` where plain HTTP is served.
    #[must_use]
    pub const fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    /// Tells every session that the host stops and asks it to rejoin, closes the sockets; at most a second.
    pub async fn stop(&self, message: &str) {
        self.stop.send_replace(Some(message.to_owned()));
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut server) = server else { return };
        let quiet = async {
            // Whether it ended well or not, it ended.
            let _ = (&mut server).await;
            while self.door.sessions.len() > 0 || self.door.sockets.open() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(GOODBYE, quiet).await.is_err() {
            server.abort();
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Control").field("local", &self.local).finish_non_exhaustive()
    }
}
