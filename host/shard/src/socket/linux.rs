//! Linux: `recvmmsg` with UDP_GRO, `sendmmsg` with UDP_SEGMENT. All unsafe code of the host is here and in `join`, in
//! the functions that prepare and read what system calls are given. Knows nothing of queues or order.

mod join;

use super::{Arrivals, Options};
use crate::group::{Batch, Message};
use crate::send::{Blame, CALL_MESSAGES};
use mio::net::UdpSocket;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{
    SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener as BoundListener, UdpSocket as BoundSocket,
};
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd, RawFd};
use std::ptr::{null_mut, read_unaligned, write_unaligned};
use std::sync::Arc;
use std::time::Duration;
use tidegate_types::Buffer;
use tidegate_types::packet::BUFFER_BYTES;

pub(crate) use join::{join, turn_away};

/// A moved transport's datagrams can be had by a socket that joins the port.
pub(crate) const MAY_JOIN: bool = true;

/// UDP_SEGMENT is tried, and rested where it is refused.
pub(super) const MAY_SEGMENT: bool = true;

/// Messages of one `recvmmsg`. Turning it up saves calls under load and costs [`OVERFLOW_BYTES`] each.
pub(super) const RECEIVE_MESSAGES: usize = 32;

/// Where the part of a merged (UDP_GRO) arrival goes that exceeds the first buffer: together 65,536 bytes, more
/// than a UDP datagram or a merged arrival can hold.
const OVERFLOW_BYTES: usize = 65_536 - BUFFER_BYTES;

/// Send queue of each TCP stream. Turning it up trades the choice of what to drop for throughput on long lines.
const STREAM_SEND_BYTES: usize = 128 * 1_024;

/// Connections that may wait to be accepted.
const STREAM_BACKLOG: i32 = 128;

/// Opens, sets up and binds one non-blocking socket.
pub(crate) fn open(address: SocketAddr, options: Options) -> io::Result<BoundSocket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if options.shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    } else if let Err(error) = join::found_group(socket.as_fd()) {
        tracing::debug!(%error, "no connected sockets: what moves goes on arriving at its old shard");
    }
    set_queues(&socket, options.receive_queue_bytes, options.send_queue_bytes);
    if let Err(error) = merge_arrivals(socket.as_raw_fd()) {
        tracing::debug!(%error, "no UDP_GRO: bursts are received one by one");
    }
    rustix::net::bind(&socket, &address)?;
    Ok(BoundSocket::from(socket))
}

/// Forcing needs a privilege; without it the system's limit applies, and the default is a last resort.
fn set_queues(socket: &OwnedFd, receive_bytes: usize, send_bytes: usize) {
    if sockopt::set_socket_recv_buffer_size_force(socket, receive_bytes).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, receive_bytes);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, send_bytes).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, send_bytes);
    }
}

/// Opens, binds and opens for connections one non-blocking TCP socket.
pub(crate) fn listen(address: SocketAddr, shared: bool) -> io::Result<BoundListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // Connections of a host that ended a moment ago must not keep the next one from its port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    // What the kernel queues beyond this is delay; accepted streams inherit it.
    sockopt::set_socket_send_buffer_size(&socket, STREAM_SEND_BYTES)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, STREAM_BACKLOG)?;
    Ok(BoundListener::from(socket))
}

/// Memory that a socket's unread datagrams take.
pub(super) fn unread_bytes(socket: &impl AsRawFd) -> Option<u64> {
    let mut memory = [0_u32; 9];
    let mut length = size_of_val(&memory) as libc::socklen_t;
    // SAFETY: `memory` and `length` live through the call, `length` says how much there is room for, and any bytes make
    // valid numbers.
    let result = unsafe {
        let option = libc::SO_MEMINFO;
        let value = memory.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, &raw mut length)
    };
    // The first one is SK_MEMINFO_RMEM_ALLOC.
    (result == 0 && length >= size_of::<u32>() as libc::socklen_t).then(|| u64::from(memory[0]))
}

/// CPU time of the calling thread.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Binds the calling thread to the n-th of the cores it may use; an error where there are not that many.
pub(crate) fn pin_to_core(nth: usize) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let core = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).nth(nth);
    let core = core.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let mut one = CpuSet::new();
    one.set(core);
    Ok(sched_setaffinity(None, &one)?)
}

/// What an error of a run may mean. EMSGSIZE and EINVAL also come from one path's small MTU, and EINVAL from a bad
/// destination: whether the pieces pass tells.
pub(super) fn blames_segments(error: &io::Error) -> Blame {
    match error.raw_os_error() {
        Some(libc::EIO | libc::EINVAL) => Blame::Socket,
        Some(libc::EMSGSIZE) => Blame::Run,
        _ => Blame::Destination,
    }
}

/// Lets the kernel merge a flow's burst into one arrival.
fn merge_arrivals(socket: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option's value is the local `on`, alive during the call, and `length` is its size.
    let result =
        unsafe { libc::setsockopt(socket, libc::SOL_UDP, libc::UDP_GRO, (&raw const on).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A socket address of either family, as the kernel reads and writes it. Both members are plain integers and share
/// their first field, the family; a zeroed value is a valid one.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    fn empty() -> Self {
        // SAFETY: all members are integers and arrays of integers, for which all bits zero is valid.
        unsafe { zeroed() }
    }

    fn of(address: &SocketAddr) -> (Self, libc::socklen_t) {
        let mut name = Self::empty();
        match address {
            SocketAddr::V4(address) => {
                name.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                    sin_zero: [0; 8],
                };
                (name, size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(address) => {
                name.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                (name, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
            }
        }
    }

    fn address(&self, length: libc::socklen_t) -> Option<SocketAddr> {
        // SAFETY: every bit pattern is a valid integer, and the whole union was initialised by `empty` or `of`.
        let (v4, v6) = unsafe { (self.v4, self.v6) };
        match libc::c_int::from(v4.sin_family) {
            libc::AF_INET if length as usize >= size_of::<libc::sockaddr_in>() => {
                let ip = v4.sin_addr.s_addr.to_ne_bytes();
                Some(SocketAddrV4::new(ip.into(), u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 if length as usize >= size_of::<libc::sockaddr_in6>() => {
                let ip = v6.sin6_addr.s6_addr;
                Some(SocketAddrV6::new(ip.into(), u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// Space for one control message: UDP_GRO's integer in, UDP_SEGMENT's 16 bits out. Aligned as `cmsghdr` must be.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

const CONTROL_BYTES: usize = 32;

// SAFETY: CMSG_SPACE only computes.
const _: () =
    assert!(unsafe { libc::CMSG_SPACE(size_of::<libc::c_int>() as libc::c_uint) } as usize <= CONTROL_BYTES);
const _: () = assert!(align_of::<libc::cmsghdr>() <= align_of::<Control>());

/// Memory that `recvmmsg` writes to, reused.
pub(super) struct ReceiveSpace {
    /// Unshared buffers that await a datagram each.
    buffers: Vec<Arc<Buffer>>,
    overflow: Vec<u8>,
    names: Vec<Name>,
    controls: Vec<Control>,
    /// Two a message: its buffer, its part of `overflow`.
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl ReceiveSpace {
    /// Nothing is received yet.
    pub(super) fn new() -> Self {
        Self {
            buffers: Vec::with_capacity(RECEIVE_MESSAGES),
            overflow: vec![0; RECEIVE_MESSAGES * OVERFLOW_BYTES],
            names: vec![Name::empty(); RECEIVE_MESSAGES],
            controls: vec![Control([0; CONTROL_BYTES]); RECEIVE_MESSAGES],
            vectors: Vec::with_capacity(RECEIVE_MESSAGES * 2),
            headers: Vec::with_capacity(RECEIVE_MESSAGES),
        }
    }

    /// Receives one batch; says how many messages came (each one datagram, or several merged).
    pub(super) fn receive(&mut self, socket: &UdpSocket, arrivals: &mut Arrivals<'_>) -> io::Result<usize> {
        while self.buffers.len() < RECEIVE_MESSAGES {
            self.buffers.push(arrivals.pool.take());
        }
        let count = self.call(socket.as_raw_fd())?;
        for nth in 0..count {
            let fresh = arrivals.pool.take();
            let buffer = std::mem::replace(&mut self.buffers[nth], fresh);
            self.take(nth, buffer, arrivals);
        }
        Ok(count)
    }

    fn call(&mut self, socket: RawFd) -> io::Result<usize> {
        self.prepare()?;
        // SAFETY: `prepare` has just pointed every header at memory that `self` owns (names, controls, vectors, and
        // through them buffers and overflow), nothing has moved since, `self` is borrowed mutably until the call
        // returns, and the count is that of the headers. A null timeout means none.
        let count = unsafe {
            libc::recvmmsg(
                socket,
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                null_mut(),
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Points the headers at the space.
    fn prepare(&mut self) -> io::Result<()> {
        self.vectors.clear();
        self.headers.clear();
        for (buffer, overflow) in self.buffers.iter_mut().zip(self.overflow.chunks_exact_mut(OVERFLOW_BYTES))
        {
            self.vectors.push(vector(space(buffer)?));
            self.vectors.push(vector(overflow));
        }
        let pairs = self.vectors.chunks_exact_mut(2);
        for ((pair, name), control) in pairs.zip(&mut self.names).zip(&mut self.controls) {
            let mut header = empty_header();
            header.msg_name = (&raw mut *name).cast();
            header.msg_namelen = size_of::<Name>() as libc::socklen_t;
            header.msg_iov = pair.as_mut_ptr();
            header.msg_iovlen = 2;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
            self.headers.push(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        }
        Ok(())
    }

    /// Hands over what the n-th message brought.
    fn take(&mut self, nth: usize, mut buffer: Arc<Buffer>, arrivals: &mut Arrivals<'_>) {
        let header = &self.headers[nth];
        let length = header.msg_len as usize;
        let remote = self.names[nth].address(header.msg_hdr.msg_namelen);
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            arrivals.drop_oversize();
            arrivals.pool.put(buffer);
            return;
        }
        let segment = merged_segment(&header.msg_hdr).filter(|&segment| segment < length);
        let Some(segment) = segment else {
            if length > BUFFER_BYTES {
                arrivals.drop_oversize();
                arrivals.pool.put(buffer);
                return;
            }
            set_length(&mut buffer, length);
            arrivals.take(remote, buffer);
            return;
        };
        self.split(nth, segment, length, remote, buffer, arrivals);
    }

    /// Copies the second and later datagrams of a merged arrival out; the first stays where it is.
    fn split(
        &self,
        nth: usize,
        segment: usize,
        length: usize,
        remote: Option<SocketAddr>,
        mut buffer: Arc<Buffer>,
        arrivals: &mut Arrivals<'_>,
    ) {
        if segment > BUFFER_BYTES {
            (0..length.div_ceil(segment)).for_each(|_| arrivals.drop_oversize());
            arrivals.pool.put(buffer);
            return;
        }
        // The first is handed over last of all by its buffer but must come first: keep its place.
        let place = arrivals.into.len();
        set_length(&mut buffer, BUFFER_BYTES);
        let overflow = &self.overflow[nth * OVERFLOW_BYTES..][..OVERFLOW_BYTES];
        for start in (segment..length).step_by(segment) {
            let end = length.min(start + segment);
            let head = &buffer.bytes()[start.min(BUFFER_BYTES)..end.min(BUFFER_BYTES)];
            let tail =
                &overflow[start.max(BUFFER_BYTES) - BUFFER_BYTES..end.max(BUFFER_BYTES) - BUFFER_BYTES];
            arrivals.take_copy(remote, [head, tail]);
        }
        set_length(&mut buffer, segment);
        arrivals.take(remote, buffer);
        arrivals.into[place..].rotate_right(1);
    }
}

/// The space of an unshared buffer.
fn space(buffer: &mut Arc<Buffer>) -> io::Result<&mut [u8; BUFFER_BYTES]> {
    if Arc::get_mut(buffer).is_none() {
        // A pool hands out unshared buffers; were one shared, its reader must not see it change.
        *buffer = Arc::default();
    }
    Arc::get_mut(buffer).map(Buffer::space).ok_or_else(|| io::Error::from(io::ErrorKind::ResourceBusy))
}

fn set_length(buffer: &mut Arc<Buffer>, length: usize) {
    if let Some(buffer) = Arc::get_mut(buffer) {
        buffer.set_length(length);
    }
}

/// The size of the datagrams that were merged into this arrival, if the kernel says so.
fn merged_segment(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: `recvmmsg` set `msg_controllen` to what it wrote into the control space that `msg_control` points at,
    // which lives in the same `ReceiveSpace` as the header; CMSG_FIRSTHDR returns null if that is less than a header.
    let message = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    let expected = (message.cmsg_level, message.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO);
    // SAFETY: CMSG_LEN only computes.
    let needed = unsafe { libc::CMSG_LEN(size_of::<libc::c_int>() as libc::c_uint) } as usize;
    if !expected || (message.cmsg_len as usize) < needed {
        return None;
    }
    // SAFETY: the message is long enough for one integer, which CMSG_DATA points at, aligned or not.
    let segment = unsafe { read_unaligned(libc::CMSG_DATA(message).cast::<libc::c_int>()) };
    usize::try_from(segment).ok().filter(|&segment| segment > 0)
}

/// Memory that `sendmmsg` reads from, reused. The pointers in it are good only during one [`SendSpace::send`].
pub(super) struct SendSpace {
    names: Vec<(Name, libc::socklen_t)>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl SendSpace {
    /// Room for a full call, so that it is never allocated on a packet's way.
    pub(super) fn new() -> Self {
        Self {
            names: Vec::with_capacity(CALL_MESSAGES),
            controls: Vec::with_capacity(CALL_MESSAGES),
            vectors: Vec::with_capacity(CALL_MESSAGES * 4),
            headers: Vec::with_capacity(CALL_MESSAGES),
        }
    }

    /// Sends messages in order; says how many went.
    pub(super) fn send<B: Batch>(
        &mut self,
        socket: &UdpSocket,
        batch: &B,
        order: &[u32],
        messages: &[Message],
    ) -> io::Result<usize> {
        self.prepare(batch, order, messages);
        // SAFETY: `prepare` has just pointed every header at names, controls and vectors that `self` owns, nothing
        // has moved since, and at bytes of `batch`, which is borrowed until this function returns; the kernel only
        // reads them. The count is that of the headers.
        let count = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Points the headers at names, controls and bytes. First everything is put into its vector, then, when no
    /// vector moves any more, pointers are taken.
    fn prepare<B: Batch>(&mut self, batch: &B, order: &[u32], messages: &[Message]) {
        self.names.clear();
        self.controls.clear();
        self.vectors.clear();
        self.headers.clear();
        for message in messages {
            self.names.push(Name::of(&message.tuple.remote));
            self.controls.push(Control([0; CONTROL_BYTES]));
            let datagrams = &order[message.first as usize..][..usize::from(message.count)];
            self.vectors.extend(datagrams.iter().map(|&index| read_vector(batch.bytes(index))));
        }
        let mut vectors = self.vectors.as_mut_slice();
        for ((message, name), control) in messages.iter().zip(&mut self.names).zip(&mut self.controls) {
            let (own, rest) = vectors.split_at_mut(usize::from(message.count));
            vectors = rest;
            let mut header = empty_header();
            header.msg_name = (&raw mut name.0).cast();
            header.msg_namelen = name.1;
            header.msg_iov = own.as_mut_ptr();
            header.msg_iovlen = own.len() as _;
            if message.count > 1 {
                ask_for_segments(&mut header, control, message.segment);
            }
            self.headers.push(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        }
    }
}

/// Asks the kernel to cut a message into datagrams of `segment` bytes.
fn ask_for_segments(header: &mut libc::msghdr, control: &mut Control, segment: u16) {
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute. CMSG_FIRSTHDR and CMSG_DATA point into `control`, which is
    // aligned for `cmsghdr` and holds CMSG_SPACE(4) bytes (asserted above), more than the two written here.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as libc::c_uint) as _;
        if let Some(message) = libc::CMSG_FIRSTHDR(header).as_mut() {
            message.cmsg_level = libc::SOL_UDP;
            message.cmsg_type = libc::UDP_SEGMENT;
            message.cmsg_len = libc::CMSG_LEN(size_of::<u16>() as libc::c_uint) as _;
            write_unaligned(libc::CMSG_DATA(message).cast::<u16>(), segment);
        }
    }
}

fn vector(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

/// A vector that is only read from.
fn read_vector(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

fn empty_header() -> libc::msghdr {
    // SAFETY: `msghdr` is made of integers and raw pointers, for which all bits zero is valid (null).
    unsafe { zeroed() }
}
