//! A shard's sockets: one batch of datagrams in, one batch of messages out, readiness. It reads its own only, and may
//! send from any of its node: a peer whose transport moved here hears from the address that it knows. What such a peer
//! sends comes by a connected socket of its own. Knows nothing of what is sent to whom, or why.

mod connected;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;

use crate::counters::{Counters, Dropped};
use crate::group::{Batch, Message, answerable};
use crate::send::{Blame, Outlet, range};
use crate::stream::{FIRST, Streams};
use connected::Connected;
use mio::event::Event;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_media::io::{FlowChange, Incoming, Tuple};
use tidegate_types::packet::BUFFER_BYTES;
use tidegate_types::{Buffer, Pool};

pub(crate) use connected::Port;
pub(crate) use system::{MAY_JOIN, cpu_time, listen, open, pin_to_core};

/// How one socket is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Several sockets share the address.
    pub(crate) shared: bool,
    /// Wanted size of the receive queue.
    pub(crate) receive_queue_bytes: usize,
    /// Wanted size of the send queue.
    pub(crate) send_queue_bytes: usize,
}

/// All sockets of a node as one shard has them; a tuple's socket index is a position here, or names a stream.
pub(crate) struct Sockets {
    /// Other shards' are opened once something is sent from them.
    sockets: Vec<Option<Watched>>,
    ports: Arc<[Port]>,
    own: Range<usize>,
    connected: Connected,
    streams: Streams,
    receive: system::ReceiveSpace,
    send: system::SendSpace,
}

struct Watched {
    udp: UdpSocket,
    /// May hold datagrams: readiness is told once per arrival, so this stays set until a read finds fewer than it could
    /// take. What comes after that read is told anew.
    readable: bool,
    /// Since when it has not been found empty.
    since: Option<Instant>,
    /// Writability is watched only while a backlog waits: else every sent packet would wake the shard.
    watched_writable: bool,
    /// Became writable while watched.
    writable: bool,
}

impl Watched {
    const fn new(udp: UdpSocket, readable: bool) -> Self {
        Self { udp, readable, since: None, watched_writable: false, writable: false }
    }

    const fn found_empty(&mut self) {
        self.readable = false;
        self.since = None;
    }
}

impl Sockets {
    /// Takes a node's bound, non-blocking sockets and has `registry` watch this shard's own for datagrams; tokens are
    /// positions.
    pub(crate) fn new(ports: Arc<[Port]>, own: Range<usize>, registry: &Registry) -> io::Result<Self> {
        let mut sockets: Vec<Option<Watched>> = ports.iter().map(|_| None).collect();
        for position in own.clone() {
            let mut udp = UdpSocket::from_std(ports[position].socket.try_clone()?);
            registry.register(&mut udp, Token(position), Interest::READABLE)?;
            let watched = Watched::new(udp, true);
            sockets[position] = Some(watched);
        }
        let (receive, send) = (system::ReceiveSpace::new(), system::SendSpace::new());
        let (connected, streams) = (Connected::default(), Streams::none());
        Ok(Self { sockets, ports, own, connected, streams, receive, send })
    }

    /// With TCP beside them.
    pub(crate) fn with(self, streams: Streams) -> Self {
        Self { streams, ..self }
    }

    /// How many the node has, without streams.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// How many may be read: connected ones stand behind the node's.
    pub(crate) fn readers(&self) -> usize {
        self.sockets.len() + self.connected.len()
    }

    /// The poll said something about a token; other tokens than ours are ignored.
    pub(crate) fn note(&mut self, event: &Event) {
        let position = event.token().0;
        let arrived = event.is_readable() || event.is_error();
        if let Some(slot) = self.connected.slot(event.token()) {
            return self.connected.note(slot, arrived);
        }
        if position >= self.sockets.len() {
            return self.streams.note(event);
        }
        let Some(socket) = self.sockets.get_mut(position).and_then(Option::as_mut) else { return };
        socket.readable |= self.own.contains(&position) && arrived;
        socket.writable |= event.is_writable();
    }

    /// Whether a read may find something.
    pub(crate) fn is_readable(&self, reader: usize) -> bool {
        match reader.checked_sub(self.sockets.len()) {
            None => self.sockets[reader].as_ref().is_some_and(|socket| socket.readable),
            Some(slot) => self.connected.is_readable(slot),
        }
    }

    /// Whether any read may find something.
    pub(crate) fn any_readable(&self) -> bool {
        self.own.clone().any(|index| self.is_readable(index))
            || self.connected.iter().any(|socket| socket.readable)
            || self.streams.any_ready()
    }

    /// A transport's flow arrives here from now on, or no more. What arrives here anyhow, or at a stream, stays so.
    pub(crate) fn follow(&mut self, change: FlowChange, registry: &Registry, counters: &Counters) {
        let (FlowChange::Here(tuple) | FlowChange::Left(tuple)) = change;
        let index = usize::from(tuple.socket);
        let Some(port) = self.ports.get(index).filter(|_| tuple.socket < FIRST && !self.own.contains(&index))
        else {
            return;
        };
        match change {
            FlowChange::Here(_) => self.connected.follow(tuple, port, registry, counters),
            FlowChange::Left(_) => self.connected.leave(tuple, Instant::now()),
        }
    }

    /// Closes what is no longer wanted, about once a second.
    pub(crate) fn sweep(&mut self, now: Instant, counters: &Counters) {
        self.connected.sweep(now, &self.ports, counters);
        self.streams.sweep(now);
    }

    /// How long the receive queue that is longest not empty has been so: what waits in it is no older.
    fn receive_age(&self, now: Instant) -> Duration {
        let all = self.sockets.iter().flatten().chain(self.connected.iter());
        let oldest = all.filter_map(|socket| socket.since).min();
        oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// How long what is unread will wait, where `taken` bytes of such memory were read within `span`: no longer than since
    /// all was read last.
    pub(crate) fn receive_delay(&self, now: Instant, taken: u64, span: Duration) -> Duration {
        let age = self.receive_age(now);
        if age.is_zero() {
            return age;
        }
        let own = self.sockets[self.own.clone()].iter().flatten().chain(self.connected.iter());
        let Some(unread) = own.map(|socket| system::unread_bytes(&socket.udp)).sum::<Option<u64>>() else {
            return age;
        };
        let nanos = span.as_nanos() * u128::from(unread) / u128::from(taken.max(1));
        age.min(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// As if a read had not come to the end of what there is.
    #[cfg(test)]
    pub(crate) fn leave_unread(&mut self, index: usize, since: Instant) {
        if let Some(socket) = &mut self.sockets[index] {
            socket.since = Some(since);
        }
    }

    /// Some time has passed since the last read: the next may find something that no poll has told of yet.
    pub(crate) fn look_again(&mut self, reader: usize) {
        match reader.checked_sub(self.sockets.len()) {
            Some(slot) => self.connected.note(slot, true),
            None if !self.own.contains(&reader) => {}
            None => self.sockets[reader].iter_mut().for_each(|socket| socket.readable = true),
        }
    }

    /// The shard's TCP streams.
    pub(crate) fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Whether a watched socket became writable since the last call.
    pub(crate) fn take_writable(&mut self, index: usize) -> bool {
        self.sockets[index].as_mut().is_some_and(|socket| std::mem::take(&mut socket.writable))
    }

    /// Opens another shard's socket, to send from it.
    fn open_to_send(&mut self, index: usize) -> io::Result<()> {
        let port = self.ports.get(index).ok_or(io::ErrorKind::NotFound)?;
        let udp = UdpSocket::from_std(port.socket.try_clone()?);
        self.sockets[index] = Some(Watched::new(udp, false));
        Ok(())
    }

    /// Watches a socket for writability, or no longer.
    pub(crate) fn watch_writable(
        &mut self,
        index: usize,
        watch: bool,
        registry: &Registry,
    ) -> io::Result<()> {
        let is_own = self.own.contains(&index);
        let Some(socket) = self.sockets[index].as_mut().filter(|socket| socket.watched_writable != watch)
        else {
            return Ok(());
        };
        socket.watched_writable = watch;
        match (is_own, watch) {
            (true, true) => {
                let both = Interest::READABLE | Interest::WRITABLE;
                registry.reregister(&mut socket.udp, Token(index), both)
            }
            (true, false) => registry.reregister(&mut socket.udp, Token(index), Interest::READABLE),
            (false, true) => registry.register(&mut socket.udp, Token(index), Interest::WRITABLE),
            (false, false) => registry.deregister(&mut socket.udp),
        }
    }

    /// Reads one batch into buffers of `pool` and appends it to `into`.
    pub(crate) fn receive(
        &mut self,
        reader: usize,
        pool: &mut Pool,
        into: &mut Vec<Incoming>,
        counters: &Counters,
    ) {
        counters.receive_calls.add(1);
        let found = match reader.checked_sub(self.sockets.len()) {
            None => self.sockets[reader].as_mut().map(|socket| (socket, reader)),
            Some(slot) => self.connected.get_mut(slot),
        };
        let Some((socket, port)) = found else { return };
        socket.since.get_or_insert_with(Instant::now);
        let mut arrivals = Arrivals { socket: port, at: None, pool, into, counters };
        match self.receive.receive(&socket.udp, &mut arrivals) {
            Ok(count) if count < system::RECEIVE_MESSAGES => socket.found_empty(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.found_empty(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // An error that an earlier datagram caused; reading it has cleared it.
            Err(error) => tracing::trace!(%error, "receive error"),
        }
    }
}

impl Outlet for Sockets {
    fn send<B: Batch>(&mut self, batch: &B, order: &[u32], messages: &[Message]) -> io::Result<usize> {
        let Some(first) = messages.first() else { return Ok(0) };
        if Streams::holder(first.tuple.socket).is_some() {
            for message in messages {
                for &index in &order[range(message)] {
                    self.streams.send(message.tuple, batch.class(index), batch.bytes(index));
                }
            }
            self.streams.flush_to(first.tuple.socket);
            return Ok(messages.len());
        }
        let index = usize::from(first.tuple.socket);
        if self.sockets.get(index).is_none_or(Option::is_none) {
            self.open_to_send(index)?;
        }
        let Some(Some(socket)) = self.sockets.get(index) else { return Err(io::ErrorKind::NotFound.into()) };
        self.send.send(&socket.udp, batch, order, messages)
    }

    fn may_segment(&self) -> bool {
        system::MAY_SEGMENT
    }

    fn blames_segments(&self, error: &io::Error) -> Blame {
        system::blames_segments(error)
    }
}

/// Takes what a system's reader found.
struct Arrivals<'a> {
    socket: usize,
    /// One look at the clock for all that one call brought.
    at: Option<Instant>,
    pool: &'a mut Pool,
    into: &'a mut Vec<Incoming>,
    counters: &'a Counters,
}

impl Arrivals<'_> {
    /// One datagram in its buffer.
    #[expect(clippy::cast_possible_truncation)]
    fn take(&mut self, remote: Option<SocketAddr>, buffer: Arc<Buffer>) {
        self.counters.received_datagrams.add(1);
        self.counters.received_bytes.add(buffer.bytes().len() as u64);
        let Some(remote) = remote.filter(|remote| answerable(remote) && !buffer.bytes().is_empty()) else {
            self.counters.drop_one(Dropped::Unanswerable);
            self.pool.put(buffer);
            return;
        };
        let at = *self.at.get_or_insert_with(Instant::now);
        self.into.push(Incoming { tuple: Tuple { socket: self.socket as u16, remote }, at, buffer });
    }

    /// One that does not fit a buffer.
    fn drop_oversize(&mut self) {
        self.counters.received_datagrams.add(1);
        self.counters.drop_one(Dropped::Oversize);
    }

    /// A copy of one datagram that arrived merged with others.
    fn take_copy(&mut self, remote: Option<SocketAddr>, parts: [&[u8]; 2]) {
        let [head, tail] = parts;
        let length = head.len() + tail.len();
        if length > BUFFER_BYTES {
            self.drop_oversize();
            return;
        }
        let mut buffer = self.pool.take();
        if let Some(space) = Arc::get_mut(&mut buffer) {
            space.space()[..head.len()].copy_from_slice(head);
            space.space()[head.len()..length].copy_from_slice(tail);
            space.set_length(length);
        }
        self.take(remote, buffer);
    }
}

#[cfg(test)]
mod tests;
