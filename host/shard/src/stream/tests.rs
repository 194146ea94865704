//! Stories of streams on real loopback connections.

use super::{Class, FIRST, FIRST_CHECK, Incoming, SILENCE, STRANGERS, ShardIndex, Streams, Tuple};
use crate::counters::{Counters, Dropped};
use crate::socket::listen;
use mio::{Events, Poll};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::Pool;

/// Long enough for a condition that holds at once on any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// What begins like a check.
const CHECK: &[u8] = &[0, 1, 0, 0, 33, 18, 164, 66];

/// Shard 3's streams without a shard.
struct Story {
    poll: Poll,
    events: Events,
    streams: Streams,
    counters: Arc<Counters>,
    address: SocketAddr,
    pool: Pool,
    arrived: Vec<Incoming>,
}

impl Story {
    fn new() -> Self {
        let poll = Poll::new().expect("poll");
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), false).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let counters = Arc::<Counters>::default();
        let streams = Streams::new(ShardIndex(3), vec![listener], Arc::clone(&counters), poll.registry());
        Self {
            poll,
            events: Events::with_capacity(64),
            streams: streams.expect("watched"),
            counters,
            address,
            pool: Pool::new(64),
            arrived: Vec::new(),
        }
    }

    fn turn(&mut self) {
        self.poll.poll(&mut self.events, Some(Duration::from_millis(5))).expect("poll");
        self.events.iter().for_each(|event| self.streams.note(event));
        self.streams.receive(self.poll.registry(), &mut self.pool, &mut self.arrived);
    }

    fn turn_until(&mut self, done: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < until, "not in time");
            self.turn();
        }
    }

    /// A peer whose first words have arrived, and its tuple.
    fn peer(&mut self) -> (TcpStream, Tuple) {
        let mut peer = TcpStream::connect(self.address).expect("the kernel accepts");
        peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        peer.write_all(&framed(CHECK)).expect("room");
        self.turn_until(|story| !story.arrived.is_empty());
        let tuple = self.arrived.remove(0).tuple;
        (peer, tuple)
    }

    fn is_closed(&mut self, peer: &mut TcpStream) -> bool {
        self.turn();
        // What was said before comes first.
        let ended = peer.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        matches!(ended, Ok(_) | Err(ErrorKind::ConnectionReset))
    }

    fn open(&self) -> usize {
        self.streams.slots.iter().flatten().count()
    }
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    let length = u16::try_from(datagram.len()).expect("a datagram");
    [&length.to_be_bytes(), datagram].concat()
}

#[test]
fn datagrams_come_and_go_in_frames_and_the_tuple_names_shard_and_stream() {
    let mut story = Story::new();
    let (mut peer, tuple) = story.peer();
    assert_eq!((tuple.socket & FIRST, Streams::holder(tuple.socket)), (FIRST, Some(ShardIndex(3))));
    assert_eq!(tuple.remote, peer.local_addr().expect("connected"));
    let media: Vec<u8> = [framed(&[128, 1]), framed(&[9; 1_200])].concat();
    peer.write_all(&media).expect("room");
    story.turn_until(|story| story.arrived.len() == 2);
    assert_eq!(story.arrived[1].buffer.bytes(), [9; 1_200]);
    story.streams.send(tuple, Class::Control, &[1, 2, 3]);
    story.streams.send(tuple, Class::Video, &[4]);
    story.streams.flush_to(tuple.socket);
    let mut heard = [0; 8];
    peer.read_exact(&mut heard).expect("an answer");
    assert_eq!(heard, [0, 3, 1, 2, 3, 0, 1, 4]);
}

#[test]
fn what_is_for_another_shards_stream_crosses_and_what_is_for_none_is_counted() {
    let mut story = Story::new();
    let (_peer, tuple) = story.peer();
    let elsewhere = Tuple { socket: FIRST | 5 << 8 | 7, ..tuple };
    story.streams.send(elsewhere, Class::Audio, &[1]);
    let crossing: Vec<_> = story.streams.take_crossing().collect();
    assert_eq!((crossing.len(), crossing[0].0), (1, ShardIndex(5)));
    assert_eq!((crossing[0].1.tuple, &*crossing[0].1.bytes), (elsewhere, &[1][..]));
    let stranger = Tuple { remote: ([192, 0, 2, 1], 9).into(), ..tuple };
    story.streams.send(stranger, Class::Audio, &[1]);
    story.streams.send(Tuple { socket: tuple.socket + 1, ..tuple }, Class::Audio, &[1]);
    assert_eq!(story.counters.dropped(Dropped::StreamGone), 2);
}

#[test]
fn whoever_does_not_begin_with_a_check_is_closed() {
    let mut story = Story::new();
    for first in [&b"GET / HTTP/1.1\r\n"[..], &framed(&[128, 1])] {
        let mut peer = TcpStream::connect(story.address).expect("the kernel accepts");
        peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        peer.write_all(first).expect("room");
        let before = story.counters.dropped_total();
        story.turn_until(|story| story.counters.dropped_total() > before);
        assert!(story.is_closed(&mut peer) && story.open() == 0 && story.arrived.is_empty());
    }
}

#[test]
fn a_stranger_has_a_while_and_who_passed_a_check_has_longer() {
    let mut story = Story::new();
    let (mut proven, tuple) = story.peer();
    story.streams.send(tuple, Class::Control, &[1]);
    let (mut stranger, _) = story.peer();
    let start = Instant::now();
    story.streams.sweep(start + FIRST_CHECK - Duration::from_secs(1));
    assert_eq!(story.open(), 2);
    story.streams.sweep(start + FIRST_CHECK + Duration::from_secs(1));
    assert!(story.open() == 1 && story.is_closed(&mut stranger));
    story.streams.sweep(start + SILENCE + Duration::from_secs(1));
    assert!(story.open() == 0 && story.is_closed(&mut proven));
    assert!(story.streams.strangers.is_empty());
}

#[test]
fn strangers_of_one_address_are_bounded_and_make_room_for_others_as_they_go() {
    let mut story = Story::new();
    let connect = |story: &Story| TcpStream::connect(story.address).expect("the kernel accepts");
    let mut peers: Vec<TcpStream> = (0..STRANGERS).map(|_| connect(&story)).collect();
    story.turn_until(|story| story.open() == STRANGERS as usize);
    let _extra = connect(&story);
    story.turn_until(|story| story.counters.dropped(Dropped::StreamRefused) == 1);
    peers.pop();
    story.turn_until(|story| story.open() == STRANGERS as usize - 1);
    peers.push(connect(&story));
    story.turn_until(|story| story.open() == STRANGERS as usize);
}

#[test]
fn a_peer_that_does_not_read_loses_its_own_packets_only() {
    let mut story = Story::new();
    let (_slow, slow) = story.peer();
    let (mut other, quick) = story.peer();
    for _ in 0..20_000 {
        story.streams.send(slow, Class::Video, &[7; 1_200]);
        story.streams.flush_to(slow.socket);
    }
    assert!(story.counters.dropped(Dropped::StreamFull) > 1_000);
    story.streams.send(quick, Class::Video, &[5]);
    story.streams.flush_to(quick.socket);
    let mut heard = [0; 3];
    other.read_exact(&mut heard).expect("not held up");
    assert_eq!(heard, [0, 1, 5]);
}
