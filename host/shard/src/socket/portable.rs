//! Every other system: one datagram a call, through the standard library. Correct, and not fast. Knows nothing of
//! queues or order.

use super::{Arrivals, Options};
use crate::group::{Batch, Message};
use crate::send::Blame;
use mio::net::UdpSocket;
use std::io;
use std::net::{SocketAddr, TcpListener as BoundListener, UdpSocket as BoundSocket};
use std::time::Duration;

/// No runs here.
pub(super) const MAY_SEGMENT: bool = false;

/// Datagrams of one batch.
pub(super) const RECEIVE_MESSAGES: usize = 32;

/// Opens and binds one non-blocking socket; sharing an address is refused before.
pub(crate) fn open(address: SocketAddr, _options: Options) -> io::Result<BoundSocket> {
    let socket = BoundSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Opens one TCP socket for connections; only Linux shares its port.
pub(crate) fn listen(address: SocketAddr, _shared: bool) -> io::Result<BoundListener> {
    let listener = BoundListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Only Linux gives one flow of a port to another socket.
pub(crate) const MAY_JOIN: bool = false;

/// Not possible here.
pub(crate) fn join(_own: &BoundSocket, _remote: SocketAddr) -> io::Result<BoundSocket> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is none to turn away.
pub(crate) fn turn_away(_socket: &UdpSocket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// CPU time of the calling thread: not known here.
pub(crate) fn cpu_time() -> Duration {
    Duration::ZERO
}

/// Not possible here.
pub(crate) fn pin_to_core(_nth: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There are no runs to blame.
pub(super) fn blames_segments(_error: &io::Error) -> Blame {
    Blame::Destination
}

/// Room for any datagram, so that one too long for a buffer shows its length.
pub(super) struct ReceiveSpace {
    bytes: Vec<u8>,
}

impl ReceiveSpace {
    /// Nothing is received yet.
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; 65_536] }
    }

    /// Receives one batch; says how many came.
    pub(super) fn receive(&mut self, socket: &UdpSocket, arrivals: &mut Arrivals<'_>) -> io::Result<usize> {
        for received in 0..RECEIVE_MESSAGES {
            match socket.recv_from(&mut self.bytes) {
                Ok((length, remote)) => arrivals.take_copy(Some(remote), [&self.bytes[..length], &[]]),
                Err(error) if received == 0 => return Err(error),
                Err(_) => return Ok(received),
            }
        }
        Ok(RECEIVE_MESSAGES)
    }
}

/// Not known here.
pub(super) fn unread_bytes(_: &UdpSocket) -> Option<u64> {
    None
}

/// Nothing needs to be kept.
pub(super) struct SendSpace;

impl SendSpace {
    /// Nothing is sent yet.
    pub(super) fn new() -> Self {
        Self
    }

    /// Sends messages in order; says how many went.
    pub(super) fn send<B: Batch>(
        &mut self,
        socket: &UdpSocket,
        batch: &B,
        order: &[u32],
        messages: &[Message],
    ) -> io::Result<usize> {
        for (sent, message) in messages.iter().enumerate() {
            let result = socket.send_to(batch.bytes(order[message.first as usize]), message.tuple.remote);
            match result {
                Ok(_) => {}
                Err(error) if sent == 0 => return Err(error),
                Err(_) => return Ok(sent),
            }
        }
        Ok(messages.len())
    }
}
