//! Connected sockets: where a transport stands at another shard than the one whose port its peer knows, its datagrams
//! arrive here all the same, without a detour over the port's owner. Knows nothing of transports, nor how such a socket
//! is opened.
//!
//! ```text
//!   peer ──▶ port of shard 0 ─┬─ the port's own socket ──────▶ shard 0
//!                             └─ connected to that peer ─────▶ shard 1
//! ```
//!
//! A socket that is no longer wanted turns to itself first, so that the next datagram arrives at the port's own again,
//! and is closed a while later, when all that it held has been read: nothing is lost by the way.

use super::{Watched, system};
use crate::counters::Counters;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use std::io;
use std::net::{SocketAddr, UdpSocket as BoundSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidegate_media::io::Tuple;

/// Connected sockets' tokens begin here, above streams'.
const TOKENS: usize = 1 << 22;

/// How long a socket that is no longer wanted stays open: longer than a datagram takes that the kernel has chosen this
/// socket for already.
const LINGER: Duration = Duration::from_millis(100);

/// One of a node's ports: its own socket, and how many connected ones stand beside it.
pub(crate) struct Port {
    pub(super) socket: BoundSocket,
    /// Connected sockets that it may have; 0 where there can be none.
    most: u16,
    /// How many there are. Held while one joins, so that the port is open to others for one at a time.
    connected: Mutex<u16>,
}

impl Port {
    /// A bound socket with room for `most` connected ones.
    pub(crate) const fn new(socket: BoundSocket, most: u16) -> Self {
        Self { socket, most, connected: Mutex::new(0) }
    }

    fn count(&self) -> MutexGuard<'_, u16> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a connected socket beside it; `None` where there are as many as may be.
    fn join(&self, remote: SocketAddr) -> io::Result<Option<BoundSocket>> {
        let mut connected = self.count();
        if *connected >= self.most {
            return Ok(None);
        }
        let socket = system::join(&self.socket, remote)?;
        *connected += 1;
        Ok(Some(socket))
    }
}

/// One shard's connected sockets.
#[derive(Default)]
pub(super) struct Connected {
    slots: Vec<Option<Branch>>,
    failed_before: bool,
}

/// A connected socket, by the port that it belongs to and the flow that it carries.
struct Branch {
    watched: Watched,
    tuple: Tuple,
    /// Since when it is no longer wanted.
    left: Option<Instant>,
}

impl Connected {
    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The socket of a slot, and the port that it belongs to.
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<(&mut Watched, usize)> {
        let branch = self.slots.get_mut(slot)?.as_mut()?;
        Some((&mut branch.watched, usize::from(branch.tuple.socket)))
    }

    /// A read of a slot may find something, if `arrived`.
    pub(super) fn note(&mut self, slot: usize, arrived: bool) {
        if let Some(Some(branch)) = self.slots.get_mut(slot) {
            branch.watched.readable |= arrived;
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Watched> {
        self.slots.iter().flatten().map(|branch| &branch.watched)
    }

    /// Whether a read of a slot may find something.
    pub(super) fn is_readable(&self, slot: usize) -> bool {
        self.slots.get(slot).and_then(Option::as_ref).is_some_and(|branch| branch.watched.readable)
    }

    /// The slot that a token means, if it is one of these.
    pub(super) fn slot(&self, token: Token) -> Option<usize> {
        token.0.checked_sub(TOKENS).filter(|slot| *slot < self.slots.len())
    }

    /// Has a flow that arrives at another shard's port arrive here from now on. Where that cannot be, its datagrams go on
    /// being handed over.
    pub(super) fn follow(&mut self, tuple: Tuple, port: &Port, registry: &Registry, counters: &Counters) {
        if self.wanted(tuple).is_some() {
            return;
        }
        let error = match port.join(tuple.remote) {
            Ok(None) => return,
            Ok(Some(socket)) => match self.enter(socket, tuple, registry) {
                Ok(()) => return counters.connected_sockets.add(1),
                Err(error) => {
                    *port.count() -= 1;
                    error
                }
            },
            Err(error) => error,
        };
        counters.connected_failures.add(1);
        if !std::mem::replace(&mut self.failed_before, true) {
            tracing::warn!(
                %error,
                "no connected socket for a transport that moved here: datagrams go on being handed over, by this shard's \
                 other transports, too, where the same happens"
            );
        }
    }

    fn enter(&mut self, socket: BoundSocket, tuple: Tuple, registry: &Registry) -> io::Result<()> {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        let mut udp = UdpSocket::from_std(socket);
        registry.register(&mut udp, Token(TOKENS + slot), Interest::READABLE)?;
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(Branch { watched: Watched::new(udp, true), tuple, left: None });
        Ok(())
    }

    /// Lets a flow arrive at its port's own socket again.
    pub(super) fn leave(&mut self, tuple: Tuple, now: Instant) {
        let Some(branch) = self.wanted(tuple) else { return };
        branch.left = Some(now);
        branch.watched.readable = true;
        if let Err(error) = system::turn_away(&branch.watched.udp) {
            // It is closed all the same; what arrives until then is read here and handed over.
            tracing::debug!(%error, remote = %tuple.remote, "a connected socket does not turn away");
        }
    }

    /// Closes what has been left for long enough.
    pub(super) fn sweep(&mut self, now: Instant, ports: &[Port], counters: &Counters) {
        for slot in &mut self.slots {
            let is_over = |branch: &mut Branch| {
                let waited = branch.left.map(|left| now.saturating_duration_since(left));
                waited.is_some_and(|waited| waited >= LINGER) && !branch.watched.readable
            };
            let Some(branch) = slot.take_if(is_over) else { continue };
            counters.connected_sockets.take(1);
            if let Some(port) = ports.get(usize::from(branch.tuple.socket)) {
                *port.count() -= 1;
            }
        }
    }

    fn wanted(&mut self, tuple: Tuple) -> Option<&mut Branch> {
        let mut branches = self.slots.iter_mut().flatten();
        branches.find(|branch| branch.tuple == tuple && branch.left.is_none())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::{Options, Sockets, open};
    use super::{Duration, Instant, LINGER, Port, Tuple};
    use crate::counters::Counters;
    use mio::{Events, Poll};
    use std::net::{SocketAddr, UdpSocket};
    use std::sync::Arc;
    use tidegate_media::io::FlowChange;
    use tidegate_types::Pool;

    const OPTIONS: Options =
        Options { shared: false, receive_queue_bytes: 1 << 20, send_queue_bytes: 1 << 20 };

    /// A shard with its poll.
    struct Shard {
        poll: Poll,
        events: Events,
        sockets: Sockets,
        counters: Counters,
        pool: Pool,
    }

    impl Shard {
        fn new(ports: &Arc<[Port]>, own: usize) -> Self {
            let poll = Poll::new().expect("poll");
            let sockets = Sockets::new(Arc::clone(ports), own..own + 1, poll.registry()).expect("watched");
            let events = Events::with_capacity(8);
            Self { poll, events, sockets, counters: Counters::default(), pool: Pool::new(64) }
        }

        fn follow(&mut self, change: FlowChange) {
            self.sockets.follow(change, self.poll.registry(), &self.counters);
        }

        /// Everything that has arrived: which way, and its first byte.
        fn heard(&mut self) -> Vec<(Tuple, u8)> {
            self.poll.poll(&mut self.events, Some(Duration::ZERO)).expect("poll");
            self.events.iter().for_each(|event| self.sockets.note(event));
            let mut arrived = Vec::new();
            for reader in 0..self.sockets.readers() {
                while self.sockets.is_readable(reader) {
                    self.sockets.receive(reader, &mut self.pool, &mut arrived, &self.counters);
                }
            }
            arrived.iter().map(|one| (one.tuple, one.buffer.bytes()[0])).collect()
        }
    }

    fn ports(most: u16) -> Arc<[Port]> {
        let open = || open(SocketAddr::from(([127, 0, 0, 1], 0)), OPTIONS).expect("loopback");
        Arc::new([Port::new(open(), most), Port::new(open(), most)])
    }

    /// A peer of the first shard's port, and the way it comes.
    fn peer(ports: &[Port]) -> (UdpSocket, Tuple) {
        let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        peer.connect(ports[0].socket.local_addr().expect("bound")).expect("loopback");
        let remote = peer.local_addr().expect("bound");
        (peer, Tuple { socket: 0, remote })
    }

    #[test]
    fn a_flow_follows_its_transport_and_comes_back_and_none_of_it_is_lost() {
        let ports = ports(64);
        let (mut old, mut new) = (Shard::new(&ports, 0), Shard::new(&ports, 1));
        let (peer, tuple) = peer(&ports);
        let mut now = Instant::now();
        for round in 0..5 {
            peer.send(&[round]).expect("loopback takes it");
            new.follow(FlowChange::Here(tuple));
            peer.send(&[100 + round]).expect("loopback takes it");
            assert_eq!(old.heard(), [(tuple, round)]);
            assert_eq!(new.heard(), [(tuple, 100 + round)], "under the name of the old shard's socket");
            peer.send(&[200 + round]).expect("loopback takes it");
            new.follow(FlowChange::Left(tuple));
            peer.send(&[50 + round]).expect("loopback takes it");
            now += LINGER;
            new.sockets.sweep(now, &new.counters);
            assert_eq!(new.counters.connected_sockets.get(), 1, "not before it was read");
            assert_eq!(new.heard(), [(tuple, 200 + round)]);
            now += LINGER;
            new.sockets.sweep(now, &new.counters);
            assert_eq!(new.counters.connected_sockets.get(), 0);
            assert_eq!(old.heard(), [(tuple, 50 + round)]);
        }
        assert_eq!(*ports[0].count(), 0);
    }

    #[test]
    fn beyond_the_bound_flows_stay_where_they_are_until_there_is_room() {
        let ports = ports(2);
        let (mut old, mut new) = (Shard::new(&ports, 0), Shard::new(&ports, 1));
        let peers: Vec<_> = (0..3).map(|_| peer(&ports)).collect();
        for (_, tuple) in &peers {
            new.follow(FlowChange::Here(*tuple));
        }
        for (peer, _) in &peers {
            peer.send(&[1]).expect("loopback takes it");
        }
        assert_eq!((new.heard().len(), old.heard()), (2, vec![(peers[2].1, 1)]));
        new.follow(FlowChange::Left(peers[0].1));
        new.heard();
        new.sockets.sweep(Instant::now() + LINGER, &new.counters);
        new.follow(FlowChange::Here(peers[2].1));
        peers[2].0.send(&[2]).expect("loopback takes it");
        assert_eq!((new.heard(), old.heard()), (vec![(peers[2].1, 2)], Vec::new()));
        assert_eq!((*ports[0].count(), new.counters.connected_failures.get()), (2, 0));
    }

    #[test]
    fn where_a_port_cannot_be_joined_its_flows_stay_and_that_is_counted() {
        // Bound by other means than ours, it is no group's first member.
        let bound = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        bound.set_nonblocking(true).expect("an option");
        let other = open(SocketAddr::from(([127, 0, 0, 1], 0)), OPTIONS).expect("loopback");
        let ports: Arc<[Port]> = Arc::new([Port::new(bound, 64), Port::new(other, 64)]);
        let (mut old, mut new) = (Shard::new(&ports, 0), Shard::new(&ports, 1));
        let (peer, tuple) = peer(&ports);
        new.follow(FlowChange::Here(tuple));
        peer.send(&[1]).expect("loopback takes it");
        assert_eq!(old.heard(), [(tuple, 1)]);
        new.follow(FlowChange::Left(tuple));
        let counters = &new.counters;
        assert_eq!((counters.connected_failures.get(), counters.connected_sockets.get()), (1, 0));
        assert_eq!(*ports[0].count(), 0);
    }

    #[test]
    fn what_arrives_here_anyhow_needs_no_socket() {
        let ports = ports(64);
        let mut shard = Shard::new(&ports, 0);
        let (peer, tuple) = peer(&ports);
        shard.follow(FlowChange::Here(tuple));
        shard.follow(FlowChange::Here(Tuple { socket: 7, ..tuple }));
        shard.follow(FlowChange::Here(Tuple { socket: crate::stream::FIRST, ..tuple }));
        peer.send(&[1]).expect("loopback takes it");
        assert_eq!(shard.heard(), [(tuple, 1)]);
        assert_eq!(shard.counters.connected_sockets.get(), 0);
    }
}
