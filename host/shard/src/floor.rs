//! A shard's system calls with nothing behind them: the floor that a bench compares a whole host with. Knows nothing of
//! engines; not in the server.

use crate::group::{Batch, Message};
use crate::send::{CALL_MESSAGES, Outlet as _};
use crate::socket::{Port, Sockets};
use mio::Poll;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_media::io::{Class, Tuple};

/// CPU time of the calling thread, zero where the system does not tell: what a bench counts beside other load.
#[must_use]
pub fn cpu_time() -> Duration {
    crate::socket::cpu_time()
}

/// One socket and the memory of its calls.
pub struct Floor {
    sockets: Sockets,
    /// Watches the socket for as long as it lives.
    _poll: Poll,
    order: Vec<u32>,
    messages: Vec<Message>,
}

/// The same number of datagrams, all of one size, to each destination.
#[derive(Clone, Copy, Debug)]
pub struct Burst<'a> {
    /// To whom, in order.
    pub destinations: &'a [SocketAddr],
    /// How many to each, one behind the other in `bytes`.
    pub each: u16,
    /// Bytes of one.
    pub length: u16,
    /// All of them.
    pub bytes: &'a [u8],
}

impl Burst<'_> {
    fn destination(&self, index: u32) -> SocketAddr {
        self.destinations[index as usize / usize::from(self.each)]
    }
}

impl Batch for Burst<'_> {
    fn tuple(&self, index: u32) -> Tuple {
        Tuple { socket: 0, remote: self.destination(index) }
    }

    fn class(&self, _index: u32) -> Class {
        Class::Video
    }

    fn due(&self, _index: u32) -> Instant {
        Instant::now()
    }

    fn bytes(&self, index: u32) -> &[u8] {
        let length = usize::from(self.length);
        &self.bytes[index as usize * length..][..length]
    }
}

impl Floor {
    /// Takes a bound socket.
    ///
    /// # Errors
    /// The system cannot watch it.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let poll = Poll::new()?;
        let sockets = Sockets::new(Arc::new([Port::new(socket, 0)]), 0..1, poll.registry())?;
        Ok(Self { sockets, _poll: poll, order: Vec::new(), messages: Vec::new() })
    }

    /// Sends a burst in as few calls as the kernel allows: each destination's datagrams as one run where `segmented`
    /// says so, else one message each.
    ///
    /// # Errors
    /// The kernel's; what it refused and what stands behind is not sent.
    pub fn send(&mut self, burst: &Burst<'_>, segmented: bool) -> io::Result<()> {
        let count = burst.destinations.len() as u32 * u32::from(burst.each);
        let run = if segmented { burst.each } else { 1 };
        self.order.clear();
        self.order.extend(0..count);
        self.messages.clear();
        self.messages.extend((0..count).step_by(usize::from(run)).map(|first| Message {
            tuple: burst.tuple(first),
            first,
            count: run,
            segment: burst.length,
        }));
        let mut rest = self.messages.as_slice();
        while !rest.is_empty() {
            let went = self.sockets.send(burst, &self.order, &rest[..rest.len().min(CALL_MESSAGES)])?;
            if went == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            rest = &rest[went..];
        }
        Ok(())
    }
}
