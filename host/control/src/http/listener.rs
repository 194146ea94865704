//! Accepts connections: bounded in number, with TLS where there is a certificate, and ended when idle. Knows
//! nothing of HTTP.

use crate::config::Limits;
use crate::count::Counters;
use crate::limit::{Counted, Counts};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

/// A connection on which nothing moves for so long is closed. A WebSocket's pings keep it.
const IDLE: Duration = Duration::from_secs(60);
/// How many finished handshakes wait for the HTTP server; at the bound, handshakes wait too.
const READY: usize = 64;
/// How long accepting pauses when the system has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The far end of its connection.
    pub(crate) address: SocketAddr,
}

impl Connected<IncomingStream<'_, Gate>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        Self { address: *stream.remote_addr() }
    }
}

/// Yields connections that are ready for HTTP.
pub(crate) struct Gate {
    local: SocketAddr,
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
}

impl Gate {
    /// Begins to accept; ends with the returned gate.
    pub(crate) fn new(
        listener: TcpListener,
        local: SocketAddr,
        tls: Option<TlsAcceptor>,
        limits: &Limits,
        counters: Arc<Counters>,
    ) -> Self {
        let (done, ready) = mpsc::channel(READY);
        let counts = Counts::new(limits.connections_per_address, limits.connections);
        let accept = Accept { counts, counters, tls, handshake: limits.handshake, done };
        tokio::spawn(accept.run(listener));
        Self { local, ready }
    }
}

impl Listener for Gate {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task ended with its runtime: nothing will come.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

struct Accept {
    counts: Arc<Counts>,
    counters: Arc<Counters>,
    tls: Option<TlsAcceptor>,
    handshake: Duration,
    done: mpsc::Sender<(Connection, SocketAddr)>,
}

impl Accept {
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.done.closed() => return,
            };
            let Ok((stream, address)) = accepted else {
                tokio::time::sleep(EXHAUSTED).await;
                continue;
            };
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            let Some(place) = self.counts.enter(address.ip()) else {
                self.counters.connections_bounded.add();
                continue;
            };
            // Small messages shouldn't wait for each other; where it fails they do.
            let _ = stream.set_nodelay(true);
            self.hand_over(stream, address, place).await;
        }
    }

    /// Handshakes run beside each other, as many as connections are let in.
    async fn hand_over(&self, stream: TcpStream, address: SocketAddr, place: Counted) {
        let Some(tls) = self.tls.clone() else {
            let _ = self.done.send((Connection::new(Box::new(stream), place), address)).await;
            return;
        };
        let (done, counters, limit) = (self.done.clone(), Arc::clone(&self.counters), self.handshake);
        tokio::spawn(async move {
            match tokio::time::timeout(limit, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let _ = done.send((Connection::new(Box::new(stream), place), address)).await;
                }
                Ok(Err(_)) | Err(_) => counters.handshakes_failed.add(),
            }
        });
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection, plain or TLS; counted while it lives, ended when idle.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    idle: Pin<Box<Sleep>>,
    _place: Counted,
}

impl Connection {
    fn new(stream: Box<dyn Stream>, place: Counted) -> Self {
        Self { stream, idle: Box::pin(tokio::time::sleep(IDLE)), _place: place }
    }

    fn moved(&mut self) {
        self.idle.as_mut().reset(Instant::now() + IDLE);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.moved();
            return Poll::Ready(result);
        }
        ready!(self.idle.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.moved();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
