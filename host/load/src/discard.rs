//! Sockets that take whatever comes and do nothing with it: the far side of a bench's own loops, which read as bots
//! do. Knows nothing of what it reads.

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Datagrams so far.
#[derive(Clone, Debug, Default)]
pub struct Discarded(Arc<AtomicU64>);

impl Discarded {
    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens that many sockets on 127.0.0.1 and reads them on a thread of their own until the process ends.
///
/// # Errors
/// The system has no socket or thread left.
pub fn start(sockets: usize) -> io::Result<(Vec<SocketAddr>, Discarded)> {
    let mut poll = Poll::new()?;
    let mut addresses = Vec::with_capacity(sockets);
    let mut open = Vec::with_capacity(sockets);
    for number in 0..sockets {
        let mut socket = UdpSocket::bind(([127, 0, 0, 1], 0).into())?;
        poll.registry().register(&mut socket, Token(number), Interest::READABLE)?;
        addresses.push(socket.local_addr()?);
        open.push(socket);
    }
    let discarded = Discarded::default();
    let counts = discarded.clone();
    std::thread::Builder::new().name("discard".to_owned()).spawn(move || {
        let mut events = Events::with_capacity(1_024);
        let mut bytes = [0; 2_048];
        // Ends with the process, or where the system can watch no more.
        while poll.poll(&mut events, None).is_ok() {
            for event in &events {
                while open[event.token().0].recv(&mut bytes).is_ok() {
                    counts.0.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    })?;
    Ok((addresses, discarded))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    #[test]
    fn what_comes_is_counted() {
        let (addresses, discarded) = super::start(2).expect("two sockets");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for address in addresses {
            socket.send_to(&[1, 2, 3], address).expect("it is sent");
        }
        while discarded.count() < 2 {
            std::thread::yield_now();
        }
    }
}
