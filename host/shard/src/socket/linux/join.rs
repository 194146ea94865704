//! Linux: how a socket joins another's port and takes one flow of it, and no other. Knows nothing of whose flow it is.
//!
//! The kernel gives a datagram to the socket that fits it best: one that is connected to its sender before one that is
//! not. Between bind and connect, though, the new socket fits every flow of the port as well as the old one. So both
//! are then one group of SO_REUSEPORT whose program always names the group's first member, the old socket:
//!
//! | | the port's own socket | the new one |
//! |---|---|---|
//! | before its own bind | becomes the first of a group, then leaves SO_REUSEPORT: alone on its port | |
//! | to join | SO_REUSEPORT, the program | SO_REUSEPORT, SO_REUSEADDR, bind, connect |
//! | afterwards | no SO_REUSEPORT | no SO_REUSEPORT |
//!
//! Only while one joins may another process bind the port, too, and only one of the same user that asks for
//! SO_REUSEPORT itself; it gets nothing then but what it connects to. A process of that user could do worse without.
//! SO_REUSEADDR lets connected sockets stand beside each other; the port's own has not got it.

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::mem::size_of;
use std::net::{SocketAddr, UdpSocket as BoundSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

/// Returns 0, the position of a group's first member, for whatever comes.
const FIRST_MEMBER: libc::sock_filter =
    libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };

/// Makes a socket that is not bound yet the first member of a group that others can join later.
pub(super) fn found_group(socket: BorrowedFd<'_>) -> io::Result<()> {
    sockopt::set_socket_reuseport(socket, true)?;
    let attached = name_first_member(socket);
    // Without it nobody shares its port, and what binds is refused where another has it.
    sockopt::set_socket_reuseport(socket, false)?;
    attached
}

/// Opens a non-blocking socket at the address of `own` that takes what `remote` sends there, and nothing else.
pub(crate) fn join(own: &BoundSocket, remote: SocketAddr) -> io::Result<BoundSocket> {
    sockopt::set_socket_reuseport(own, true)?;
    let joined = bind_beside(own).and_then(|socket| connect(socket, remote));
    sockopt::set_socket_reuseport(own, false)?;
    joined
}

/// A socket at the same address that takes nothing yet. `own` takes part in SO_REUSEPORT.
fn bind_beside(own: &BoundSocket) -> io::Result<OwnedFd> {
    name_first_member(own.as_fd())?;
    let address = own.local_addr()?;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // The kernel tells twice what was asked for.
    super::set_queues(
        &socket,
        sockopt::socket_recv_buffer_size(own)? / 2,
        sockopt::socket_send_buffer_size(own)? / 2,
    );
    super::merge_arrivals(socket.as_raw_fd())?;
    sockopt::set_socket_reuseport(&socket, true)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

fn connect(socket: OwnedFd, remote: SocketAddr) -> io::Result<BoundSocket> {
    rustix::net::connect(&socket, &remote)?;
    sockopt::set_socket_reuseport(&socket, false)?;
    Ok(BoundSocket::from(socket))
}

/// Lets a connected socket take nothing any more but what it sends to itself, which is nothing. (Disconnecting it would
/// have it take every flow of the port.)
pub(crate) fn turn_away(socket: impl AsFd) -> io::Result<()> {
    let own = rustix::net::getsockname(&socket)?;
    Ok(rustix::net::connect(&socket, &own)?)
}

/// Has the group of a socket give whatever fits several of its members to its first one.
fn name_first_member(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut filter = FIRST_MEMBER;
    let program = libc::sock_fprog { len: 1, filter: &raw mut filter };
    let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF);
    // SAFETY: the option's value is the local `program`, which points at the one instruction of the local `filter` and
    // says so; both live through the call, `length` is the value's size, and the kernel only reads and copies them.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const program).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, open};
    use super::{BoundSocket, SocketAddr, bind_beside, connect, join, sockopt, turn_away};
    use std::net::IpAddr;

    const OPTIONS: Options =
        Options { shared: false, receive_queue_bytes: 4 << 20, send_queue_bytes: 1 << 20 };

    /// A port and peers that send to it, at an address of this machine.
    struct Story {
        own: BoundSocket,
        to: SocketAddr,
        peers: Vec<BoundSocket>,
    }

    impl Story {
        /// Bound at `bound`, reached at `reached`; `None` where the machine has no such address.
        fn new(bound: &str, reached: &str) -> Option<Self> {
            let own = open(SocketAddr::new(bound.parse().expect("an address"), 0), OPTIONS).ok()?;
            let ip: IpAddr = reached.parse().expect("an address");
            let to = SocketAddr::new(ip, own.local_addr().expect("bound").port());
            let peers = (0..200).map(|_| BoundSocket::bind((ip, 0)).expect("loopback")).collect();
            Some(Self { own, to, peers })
        }

        fn everywhere() -> impl Iterator<Item = Self> {
            let places = [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1")];
            places.into_iter().filter_map(|(bound, reached)| Self::new(bound, reached))
        }

        fn peer(&self, nth: usize) -> SocketAddr {
            self.peers[nth].local_addr().expect("bound")
        }

        /// Everyone says their number; on loopback it has arrived when this returns.
        fn everyone_speaks(&self) {
            for (number, peer) in (0_u32..).zip(&self.peers) {
                peer.send_to(&number.to_be_bytes(), self.to).expect("loopback takes it");
            }
        }
    }

    /// Whose words a socket holds.
    fn heard(socket: &BoundSocket) -> Vec<usize> {
        let mut bytes = [0; 4];
        let next = || socket.recv(&mut bytes).ok().map(|_| u32::from_be_bytes(bytes) as usize);
        let mut heard: Vec<usize> = std::iter::from_fn(next).collect();
        heard.sort_unstable();
        heard
    }

    #[test]
    fn who_joins_takes_one_flow_and_at_no_time_another() {
        for story in Story::everywhere() {
            let mut joined: Vec<BoundSocket> = Vec::new();
            for flow in 0..5 {
                sockopt::set_socket_reuseport(&story.own, true).expect("an option");
                let beside = BoundSocket::from(bind_beside(&story.own).expect("there is room"));
                story.everyone_speaks();
                assert_eq!(heard(&beside), [], "before it is connected");
                assert_eq!(heard(&story.own), (flow..200).collect::<Vec<_>>());
                let beside = connect(beside.into(), story.peer(flow)).expect("loopback");
                sockopt::set_socket_reuseport(&story.own, false).expect("an option");
                joined.push(beside);
                joined.iter().for_each(|socket| drop(heard(socket)));
            }
            story.everyone_speaks();
            for (flow, socket) in joined.iter().enumerate() {
                assert_eq!(heard(socket), [flow]);
            }
            assert_eq!(heard(&story.own), (5..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_turns_away_keeps_what_it_holds_and_takes_no_more() {
        for story in Story::everywhere() {
            let joined: Vec<BoundSocket> =
                (0..5).map(|flow| join(&story.own, story.peer(flow)).expect("there is room")).collect();
            story.everyone_speaks();
            turn_away(&joined[3]).expect("it does");
            assert_eq!(heard(&story.own).len(), 195);
            story.everyone_speaks();
            assert_eq!(heard(&joined[3]), [3], "what came before");
            assert_eq!(heard(&story.own).first(), Some(&3));
            drop(joined);
            story.everyone_speaks();
            assert_eq!(heard(&story.own), (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_port_that_was_joined_is_still_one_programs_own() {
        for story in Story::everywhere() {
            let _joined = join(&story.own, story.peer(0)).expect("there is room");
            let address = story.own.local_addr().expect("bound");
            for shared in [false, true] {
                assert!(open(address, Options { shared, ..OPTIONS }).is_err(), "{address} is shared");
            }
        }
    }
}
