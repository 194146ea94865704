//! What has come to one bot's socket, each datagram with the time at which the system had it: a bot that is late to read
//! does not look like a slow network, neither to the host, which is told arrival times, nor in the report. Browsers do
//! the same. Knows nothing of what it reads.

use mio::net::UdpSocket;
use std::io;
use std::time::Instant;

/// Datagrams longer than this are cut, and then rejected.
pub(crate) const DATAGRAM_BYTES: usize = 2_048;

#[cfg(target_os = "linux")]
pub(crate) use stamped::Arrivals;
#[cfg(not(target_os = "linux"))]
pub(crate) use unstamped::Arrivals;

#[cfg(target_os = "linux")]
mod stamped {
    use super::{DATAGRAM_BYTES, Instant, UdpSocket, io};
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt};
    use std::io::IoSliceMut;
    use std::os::fd::AsRawFd as _;
    use std::time::{Duration, SystemTime};

    /// Datagrams of one call.
    const BATCH: usize = 16;

    /// The memory of a batch.
    pub(crate) struct Arrivals {
        bytes: Box<[[u8; DATAGRAM_BYTES]; BATCH]>,
        headers: MultiHeaders<()>,
        /// Length and stamp of each that came, the stamp as time since 1970.
        came: Vec<(usize, Option<Duration>)>,
    }

    impl Arrivals {
        pub(crate) fn new() -> Self {
            Self {
                bytes: Box::new([[0; DATAGRAM_BYTES]; BATCH]),
                headers: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(nix::sys::time::TimeSpec))),
                came: Vec::with_capacity(BATCH),
            }
        }

        /// Makes the system note when something comes to this socket.
        pub(crate) fn prepare(socket: &UdpSocket) -> io::Result<()> {
            Ok(setsockopt(socket, sockopt::ReceiveTimestampns, &true)?)
        }

        /// Hands over everything that waits; returns when there is nothing more.
        pub(crate) fn read(&mut self, socket: &UdpSocket, mut each: impl FnMut(Instant, &mut [u8])) {
            loop {
                match self.fill(socket) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                    // An error that an earlier datagram caused; reading it has cleared it.
                    Err(_) => continue,
                }
                let (now, wall) = (Instant::now(), SystemTime::now());
                let wall = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                for (bytes, &(length, stamp)) in self.bytes.iter_mut().zip(&self.came) {
                    let waited = stamp.map_or(Duration::ZERO, |stamp| wall.saturating_sub(stamp));
                    each(now.checked_sub(waited).unwrap_or(now), &mut bytes[..length]);
                }
                if self.came.len() < BATCH {
                    return;
                }
            }
        }

        fn fill(&mut self, socket: &UdpSocket) -> io::Result<()> {
            self.came.clear();
            let mut slices = self.bytes.each_mut().map(|bytes| [IoSliceMut::new(bytes)]);
            let received =
                recvmmsg(socket.as_raw_fd(), &mut self.headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
            for message in received {
                let stamp = message.cmsgs()?.find_map(|note| match note {
                    ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                    _ => None,
                });
                self.came.push((message.bytes, stamp));
            }
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod unstamped {
    use super::{DATAGRAM_BYTES, Instant, UdpSocket, io};

    /// The memory of one datagram.
    pub(crate) struct Arrivals(Box<[u8; DATAGRAM_BYTES]>);

    impl Arrivals {
        pub(crate) fn new() -> Self {
            Self(Box::new([0; DATAGRAM_BYTES]))
        }

        /// Nothing to do: each datagram counts as having come when it is read.
        pub(crate) fn prepare(_: &UdpSocket) -> io::Result<()> {
            Ok(())
        }

        /// Hands over everything that waits; returns when there is nothing more.
        pub(crate) fn read(&mut self, socket: &UdpSocket, mut each: impl FnMut(Instant, &mut [u8])) {
            loop {
                match socket.recv(&mut *self.0) {
                    Ok(length) => each(Instant::now(), &mut self.0[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                    // An error that an earlier datagram caused; reading it has cleared it.
                    Err(_) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, UdpSocket};
    use std::time::{Duration, Instant};

    /// Sends 40 datagrams and reads them 20 ms later. Returns by how much the last seems to have come after it was sent.
    fn lateness(near: &UdpSocket, far: &std::net::UdpSocket) -> Duration {
        let to = near.local_addr().expect("it is bound");
        let before = Instant::now();
        (0..40_u8).for_each(|number| assert_eq!(far.send_to(&[number], to).expect("it is sent"), 1));
        let sent = Instant::now();
        while sent.elapsed() < Duration::from_millis(20) {
            std::thread::yield_now();
        }
        let mut came = Vec::new();
        Arrivals::new().read(near, |at, bytes| came.push((at, bytes.to_vec())));
        assert!(came.iter().map(|(_, bytes)| bytes[0]).eq(0..40), "each once and in order: {came:?}");
        // The two clocks are read one after the other.
        assert!(came.iter().all(|(at, _)| *at + Duration::from_millis(5) >= before), "dated too early");
        came.last().map_or(Duration::ZERO, |(at, _)| at.saturating_duration_since(sent))
    }

    #[test]
    fn what_came_is_dated_when_it_came() {
        let near = UdpSocket::bind(([127, 0, 0, 1], 0).into()).expect("a socket");
        let far = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        Arrivals::prepare(&near).expect("it is stamped");
        // The system begins to stamp a while after it was told to.
        let least = (0..50).map(|_| lateness(&near, &far)).find(|late| *late < Duration::from_millis(10));
        assert_eq!(least.is_some(), cfg!(target_os = "linux"), "dated when it was read");
    }
}
