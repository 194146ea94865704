//! What the front door is told at its start: where it listens, what it serves, what it bounds. Knows nothing of
//! flags or files of configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tidegate_types::Secret;

/// Everything that [`Control::start`](crate::Control::start) needs to know.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Serve HTTPS with this; plain HTTP where `None`.
    pub tls: Option<Tls>,
    /// Opens admin API, metrics and console to whoever bears it, from anywhere, and closes them to everyone
    /// else, loopback included (a reverse proxy's requests come from loopback too). Without it they answer on
    /// loopback only.
    pub admin_token: Option<Secret>,
    /// Origins (`https://app.example`) whose pages may open sessions, besides the host's own.
    pub allowed_origins: Vec<String>,
    /// Names, without port, that this host may be called by, besides `localhost` and IP addresses. A request for
    /// another name is refused: that is what keeps a rebound DNS name out.
    pub public_hosts: Vec<String>,
    /// The pages to serve.
    pub assets: &'static Assets,
    /// Bounds.
    pub limits: Limits,
}

impl ControlConfig {
    /// Plain HTTP at `listen` with the default bounds.
    #[must_use]
    pub fn new(listen: SocketAddr, assets: &'static Assets) -> Self {
        Self {
            listen,
            tls: None,
            admin_token: None,
            allowed_origins: Vec::new(),
            public_hosts: Vec::new(),
            assets,
            limits: Limits::default(),
        }
    }
}

/// What HTTPS shows.
#[derive(Clone, Debug)]
pub enum Tls {
    /// An authority's certificate.
    Files(TlsFiles),
    /// One of its own, made at each start; browsers warn of it.
    SelfSigned {
        /// DNS names and IP addresses that it stands for.
        names: Vec<String>,
    },
}

/// Where the certificate and its key lie, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, followed by its chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Embedded files.
pub type Assets = [Asset];

/// One embedded file.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Where it is served. A request for `/x` finds, in this order, `/x`, `/x.html`, `/x/index.html`; one for
    /// `/` finds `/index.html`. Whatever begins with `/console` is the operators' page.
    pub path: &'static str,
    /// Its media type, such as `text/html; charset=utf-8`.
    pub mime: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

/// Bounds, each with what happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Joins (and failed resumptions and admin attempts) that one address may make at once; then 429.
    pub joins_burst: u32,
    /// How many of them it gets back a second.
    pub joins_per_s: u32,
    /// Messages that one session may send at once; then 429.
    pub messages_burst: u32,
    /// How many of them it gets back a second.
    pub messages_per_s: u32,
    /// WebSockets open from one address; then 429.
    pub sockets_per_address: u32,
    /// TCP connections open from one address; then closed unanswered.
    pub connections_per_address: u32,
    /// TCP connections open in all; then closed unanswered.
    pub connections: u32,
    /// Sessions alive in all; then 503.
    pub sessions: u32,
    /// WHIP and WHEP resources alive from one address; then 429.
    pub resources_per_address: u32,
    /// WHIP and WHEP resources alive in all; then 429.
    pub resources: u32,
    /// Messages waiting for a slow socket; then the socket is closed, the session may be resumed.
    pub socket_queue: usize,
    /// Replies and notices waiting for a session; then the session ends.
    pub session_queue: usize,
    /// How long a session outlives its socket.
    pub kept: Duration,
    /// How long a new socket may take to say `join` or `resume`.
    pub first_message: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            joins_burst: 20,
            joins_per_s: 5,
            messages_burst: 200,
            messages_per_s: 50,
            sockets_per_address: 256,
            connections_per_address: 1_024,
            connections: 16_384,
            sessions: 10_000,
            resources_per_address: 256,
            resources: 8_192,
            socket_queue: 512,
            session_queue: 1_024,
            kept: Duration::from_secs(30),
            first_message: Duration::from_secs(10),
            handshake: Duration::from_secs(5),
        }
    }
}
