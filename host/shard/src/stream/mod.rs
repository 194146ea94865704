//! ICE over TCP, passive (RFC 6544): accepts streams beside the shard's UDP sockets and makes datagrams of them. A
//! stream stays at the shard that accepted it; where its transport stands at another, single datagrams cross both
//! ways, as those of UDP do one way. So a shared port, and a move, need no descriptor to travel.
//!
//! Knows nothing of ICE but that a stranger's first word is a check, and that only who passes one is answered.

mod frame;
#[cfg(test)]
mod tests;

use crate::counters::{Counters, Dropped};
use crate::group::answerable;
pub use frame::fuzz_frames;
use frame::{Inbound, Outbound};
use mio::event::{Event, Source as _};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener as BoundListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_media::io::{Class, Incoming, Tuple};
use tidegate_types::{Pool, ShardIndex};

/// Streams of one shard; then new ones are closed unread. A tuple's socket index has 8 bits for it.
const STREAMS: usize = 256;
/// Streams of one address that have not passed a check yet; then new ones are closed unread.
const STRANGERS: u32 = 16;
/// How long a stream may take to pass a check.
const FIRST_CHECK: Duration = Duration::from_secs(10);
/// A stream on which nothing comes for so long is closed: its consent ended before that (RFC 7675).
const SILENCE: Duration = Duration::from_secs(45);
/// Streams accepted in one turn.
const TURN_ACCEPTS: usize = 16;
/// Reads of one stream in one turn.
const TURN_READS: usize = 4;
/// Datagrams that wait to cross to the shards of their streams; then they are dropped. Emptied after each batch.
const CROSSING: usize = 1_024;

/// A socket index from here on names a stream: this bit, 7 of the shard that holds it, 8 of its slot there.
pub(crate) const FIRST: u16 = 0x8000;

/// Listeners' tokens begin here, streams' behind them; sockets' are small, the bell's is the largest.
const LISTENER_TOKENS: usize = 1 << 20;
const STREAM_TOKENS: usize = 1 << 21;

const _: () = assert!(crate::config::MOST_SHARDS as usize * STREAMS <= FIRST as usize);

/// One shard's streams.
pub(crate) struct Streams {
    shard: ShardIndex,
    listeners: Vec<Listener>,
    slots: Vec<Option<Stream>>,
    strangers: BTreeMap<IpAddr, u32>,
    /// For streams of other shards.
    crossing: Vec<Parcel>,
    counters: Arc<Counters>,
}

/// A datagram for another shard's stream.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) tuple: Tuple,
    pub(crate) class: Class,
    /// A copy: streams that cross are too few to pool for.
    pub(crate) bytes: Box<[u8]>,
}

struct Listener {
    tcp: TcpListener,
    /// May hold connections: readiness is told once per arrival.
    ready: bool,
}

struct Stream {
    tcp: TcpStream,
    remote: SocketAddr,
    inbound: Inbound,
    outbound: Outbound,
    readable: bool,
    /// It has been answered, which happens only to whoever passed a check.
    proven: bool,
    /// When it was accepted or last brought something.
    heard: Instant,
    /// Anything came at all.
    spoke: bool,
}

/// What a stream is no more good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Over;

impl Streams {
    /// Of a shard that takes UDP alone.
    pub(crate) fn none() -> Self {
        Self {
            shard: ShardIndex(0),
            listeners: Vec::new(),
            slots: Vec::new(),
            strangers: BTreeMap::new(),
            crossing: Vec::new(),
            counters: Arc::default(),
        }
    }

    /// Watches bound, non-blocking listeners.
    pub(crate) fn new(
        shard: ShardIndex,
        bound: Vec<BoundListener>,
        counters: Arc<Counters>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut listeners = Vec::with_capacity(bound.len());
        for (position, listener) in bound.into_iter().enumerate() {
            let mut tcp = TcpListener::from_std(listener);
            tcp.register(registry, Token(LISTENER_TOKENS + position), Interest::READABLE)?;
            listeners.push(Listener { tcp, ready: true });
        }
        Ok(Self { shard, listeners, counters, ..Self::none() })
    }

    /// The shard that holds the stream that a socket index names; `None` for a UDP socket's.
    pub(crate) fn holder(socket: u16) -> Option<ShardIndex> {
        (socket >= FIRST).then_some(ShardIndex((socket & !FIRST) >> 8))
    }

    /// The poll said something about a token; other tokens than ours are ignored.
    pub(crate) fn note(&mut self, event: &Event) {
        let token = event.token().0;
        if let Some(listener) = token.checked_sub(LISTENER_TOKENS).and_then(|at| self.listeners.get_mut(at)) {
            listener.ready = true;
        } else if let Some(slot) = token.checked_sub(STREAM_TOKENS).filter(|slot| *slot < self.slots.len()) {
            if let Some(stream) = &mut self.slots[slot] {
                stream.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            }
            if event.is_writable() {
                self.flush(slot);
            }
        }
    }

    /// Whether accepting or reading may find something.
    pub(crate) fn any_ready(&self) -> bool {
        self.listeners.iter().any(|listener| listener.ready)
            || self.slots.iter().flatten().any(|stream| stream.readable)
    }

    /// Accepts what waits, reads what came, and appends its datagrams to `into`.
    pub(crate) fn receive(&mut self, registry: &Registry, pool: &mut Pool, into: &mut Vec<Incoming>) {
        for position in 0..self.listeners.len() {
            if self.listeners[position].ready {
                self.accept(position, registry);
            }
        }
        for slot in 0..self.slots.len() {
            let Some(stream) = self.slots[slot].as_mut().filter(|stream| stream.readable) else { continue };
            let tuple = tuple(self.shard, slot, stream.remote);
            if stream.read(tuple, pool, into, &self.counters) == Err(Over) {
                self.close(slot);
            }
        }
    }

    fn accept(&mut self, position: usize, registry: &Registry) {
        for _ in 0..TURN_ACCEPTS {
            match self.listeners[position].tcp.accept() {
                Ok((tcp, remote)) => self.admit(tcp, remote, registry),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of descriptors: the next sweep looks again.
                    self.listeners[position].ready = false;
                    if error.kind() != io::ErrorKind::WouldBlock {
                        tracing::debug!(%error, "a stream could not be accepted");
                    }
                    return;
                }
            }
        }
    }

    fn admit(&mut self, mut tcp: TcpStream, remote: SocketAddr, registry: &Registry) {
        let strangers = self.strangers.get(&remote.ip()).copied().unwrap_or_default();
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot >= STREAMS || strangers >= STRANGERS || !answerable(&remote) {
            self.counters.drop_one(Dropped::StreamRefused);
            return;
        }
        let watched =
            tcp.register(registry, Token(STREAM_TOKENS + slot), Interest::READABLE | Interest::WRITABLE);
        // Small packets must not wait for each other.
        if watched.and_then(|()| tcp.set_nodelay(true)).is_err() {
            self.counters.drop_one(Dropped::StreamRefused);
            return;
        }
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(Stream {
            tcp,
            remote,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            readable: true,
            proven: false,
            heard: Instant::now(),
            spoke: false,
        });
        *self.strangers.entry(remote.ip()).or_default() += 1;
        self.counters.streams_accepted.add(1);
    }

    /// Takes a datagram for a stream, here or at another shard. Nothing is written before [`Streams::flush_to`].
    pub(crate) fn send(&mut self, tuple: Tuple, class: Class, bytes: &[u8]) {
        if Self::holder(tuple.socket) != Some(self.shard) {
            if self.crossing.len() < CROSSING {
                self.crossing.push(Parcel { tuple, class, bytes: bytes.into() });
            } else {
                self.counters.drop_one(Dropped::StreamFull);
            }
            return;
        }
        let slot = usize::from(tuple.socket & 0xff);
        let Some(stream) = self.slots.get_mut(slot).and_then(Option::as_mut) else {
            return self.counters.drop_one(Dropped::StreamGone);
        };
        if stream.remote != tuple.remote {
            return self.counters.drop_one(Dropped::StreamGone);
        }
        if !stream.outbound.push(class, bytes) {
            self.counters.drop_one(Dropped::StreamFull);
        }
        if !std::mem::replace(&mut stream.proven, true) {
            let remote = stream.remote.ip();
            self.forget_stranger(remote);
        }
    }

    /// Writes what was taken for a stream.
    pub(crate) fn flush_to(&mut self, socket: u16) {
        if Self::holder(socket) == Some(self.shard) {
            self.flush(usize::from(socket & 0xff));
        }
    }

    /// What is to go over the rings, with the shard it goes to.
    pub(crate) fn take_crossing(&mut self) -> impl Iterator<Item = (ShardIndex, Parcel)> + '_ {
        self.crossing.drain(..).filter_map(|parcel| Some((Self::holder(parcel.tuple.socket)?, parcel)))
    }

    fn flush(&mut self, slot: usize) {
        let Some(stream) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        if stream.write() == Err(Over) {
            self.close(slot);
        }
    }

    /// Ends streams that are silent or whose peer has proven nothing, about once a second.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.listeners.iter_mut().for_each(|listener| listener.ready = true);
        for slot in 0..self.slots.len() {
            let Some(stream) = &self.slots[slot] else { continue };
            let most = if stream.proven { SILENCE } else { FIRST_CHECK };
            if now.saturating_duration_since(stream.heard) >= most {
                self.close(slot);
            }
        }
    }

    fn close(&mut self, slot: usize) {
        // Dropping it closes it, and the poll forgets what is closed.
        if let Some(stream) = self.slots[slot].take()
            && !stream.proven
        {
            self.forget_stranger(stream.remote.ip());
        }
    }

    fn forget_stranger(&mut self, address: IpAddr) {
        if let Some(count) = self.strangers.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.strangers.remove(&address);
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation)]
const fn tuple(shard: ShardIndex, slot: usize, remote: SocketAddr) -> Tuple {
    Tuple { socket: FIRST | shard.0 << 8 | slot as u16, remote }
}

impl Stream {
    fn read(
        &mut self,
        tuple: Tuple,
        pool: &mut Pool,
        into: &mut Vec<Incoming>,
        counters: &Counters,
    ) -> Result<(), Over> {
        for _ in 0..TURN_READS {
            counters.receive_calls.add(1);
            match self.tcp.read(self.inbound.space()) {
                Ok(0) => return Err(Over),
                Ok(count) => self.inbound.filled(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(());
                }
                Err(_) => return Err(Over),
            }
            self.take_frames(tuple, pool, into, counters)?;
        }
        Ok(())
    }

    fn take_frames(
        &mut self,
        tuple: Tuple,
        pool: &mut Pool,
        into: &mut Vec<Incoming>,
        counters: &Counters,
    ) -> Result<(), Over> {
        let at = Instant::now();
        loop {
            let frame = match self.inbound.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(frame::TooLong) => {
                    counters.drop_one(Dropped::Oversize);
                    return Err(Over);
                }
            };
            // RFC 7983: what begins with less than 4 is STUN.
            if !self.spoke && frame[0] > 3 {
                counters.drop_one(Dropped::StreamRefused);
                return Err(Over);
            }
            // A stranger's words don't lengthen its stay.
            if self.proven || !self.spoke {
                self.heard = at;
            }
            self.spoke = true;
            counters.received_datagrams.add(1);
            counters.received_bytes.add(frame.len() as u64);
            let mut buffer = pool.take();
            if let Some(space) = Arc::get_mut(&mut buffer) {
                space.fill(frame);
            }
            into.push(Incoming { tuple, at, buffer });
        }
    }

    fn write(&mut self) -> Result<(), Over> {
        while !self.outbound.waiting().is_empty() {
            match self.tcp.write(self.outbound.waiting()) {
                Ok(0) => return Err(Over),
                Ok(count) => self.outbound.written(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A connection that is not made yet says so, too.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    return Ok(());
                }
                Err(_) => return Err(Over),
            }
        }
        Ok(())
    }
}
