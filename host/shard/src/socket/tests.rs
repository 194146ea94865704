//! Stories over real loopback sockets.

use super::{Options, Port, Sockets, open};
use crate::counters::{Counters, Dropped};
use crate::load::Delays;
use crate::send::{Meter, Sender};
use mio::{Events, Poll};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_media::io::{Class, Datagrams, Incoming, Tuple};
use tidegate_types::Pool;

/// Long enough for a condition that holds at once on any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

const OPTIONS: Options = Options { shared: false, receive_queue_bytes: 4 << 20, send_queue_bytes: 1 << 20 };

/// A shard's sockets (one) without a shard.
struct Story {
    poll: Poll,
    sockets: Sockets,
    address: SocketAddr,
    sender: Sender,
    pool: Pool,
    counters: Counters,
    delays: Delays,
    datagrams: Datagrams,
}

impl Story {
    fn new() -> Self {
        let poll = Poll::new().expect("poll");
        let bound = open(SocketAddr::from(([127, 0, 0, 1], 0)), OPTIONS).expect("loopback");
        let address = bound.local_addr().expect("bound");
        let sockets = Sockets::new(Arc::new([Port::new(bound, 0)]), 0..1, poll.registry()).expect("watched");
        Self {
            poll,
            sockets,
            address,
            sender: Sender::new(1),
            pool: Pool::new(512),
            counters: Counters::default(),
            delays: Delays::default(),
            datagrams: Datagrams::default(),
        }
    }

    fn add(&mut self, remote: SocketAddr, bytes: &[u8]) {
        self.datagrams.push(Tuple { socket: 0, remote }, Instant::now(), Class::Video, bytes);
    }

    fn send(&mut self) {
        let mut meter = Meter { counters: &self.counters, delays: &mut self.delays };
        self.sender.send(Instant::now(), &self.datagrams, &mut self.sockets, &mut meter);
        self.datagrams.clear();
    }

    /// Reads until so many datagrams have been seen, dropped ones included.
    fn receive(&mut self, count: u64) -> Vec<Incoming> {
        let until = Instant::now() + PATIENCE;
        let mut incoming = Vec::new();
        let mut events = Events::with_capacity(8);
        while self.counters.received_datagrams.get() < count {
            assert!(Instant::now() < until, "{} of {count}", self.counters.received_datagrams.get());
            if !self.sockets.any_readable() {
                self.poll.poll(&mut events, Some(PATIENCE)).expect("poll");
                events.iter().for_each(|event| self.sockets.note(event));
            }
            self.sockets.receive(0, &mut self.pool, &mut incoming, &self.counters);
        }
        incoming
    }
}

fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

fn received(peer: &UdpSocket) -> Vec<u8> {
    let mut bytes = [0; 4_096];
    let length = peer.recv(&mut bytes).expect("a datagram");
    bytes[..length].to_vec()
}

/// The n-th datagram: its number, then a pattern; sizes change now and then.
fn datagram(number: usize) -> Vec<u8> {
    let length = [1_200, 1_200, 1_200, 300, 1_200, 80][number / 3 % 6];
    let mut bytes: Vec<u8> = (0..length).map(|at| (at * 31 + number) as u8).collect();
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    bytes
}

#[test]
fn any_number_of_datagrams_to_several_destinations_arrives_intact_and_in_order() {
    for count in [1_usize, 2, 3, 63, 64, 65, 130, 400, 1_000] {
        let mut story = Story::new();
        // So few at each that the system's default receive queue holds them.
        let peers: Vec<_> = (0..count.div_ceil(40)).map(|_| peer()).collect();
        for number in 0..count {
            story.add(peers[number % peers.len()].1, &datagram(number));
        }
        story.send();
        for (nth, (socket, _)) in peers.iter().enumerate() {
            for number in (nth..count).step_by(peers.len()) {
                assert!(received(socket) == datagram(number), "number {number} of {count}");
            }
        }
        assert_eq!(story.counters.sent_datagrams.get(), count as u64);
        assert_eq!(story.counters.dropped_total(), 0);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn runs_are_received_merged_and_come_out_as_they_went_in() {
    let mut story = Story::new();
    let mut other = Story::new();
    for number in 0..200 {
        other.add(story.address, &datagram(number));
    }
    other.send();
    let incoming = story.receive(200);
    let from = Tuple { socket: 0, remote: other.address };
    for (number, incoming) in incoming.iter().enumerate() {
        assert_eq!(incoming.tuple, from);
        assert!(incoming.buffer.bytes() == datagram(number), "number {number}");
    }
    assert_eq!(incoming.len(), 200);
}

#[test]
fn unreachable_destinations_do_not_harm_the_others() {
    let mut story = Story::new();
    let (peer, address) = peer();
    let closed = self::peer().1;
    let unreachable = [
        SocketAddr::from(([127, 0, 0, 1], 0)),
        SocketAddr::from(([255, 255, 255, 255], 9)),
        SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9)),
    ];
    for number in 0..30 {
        for remote in unreachable.into_iter().chain([closed]) {
            story.add(remote, &[number; 200]);
        }
        story.add(address, &[number; 200]);
    }
    story.send();
    for number in 0..30 {
        assert_eq!(received(&peer), [number; 200]);
    }
    assert_eq!(story.counters.dropped(Dropped::Refused), 90);
    // And afterwards, with the errors come back.
    story.add(address, b"still there");
    story.send();
    assert_eq!(received(&peer), b"still there");
    assert!(!story.sender.is_full(0));
}

#[test]
fn what_fits_no_buffer_or_says_nothing_is_dropped_and_counted() {
    let mut story = Story::new();
    let (peer, _) = peer();
    let sizes = [2_048, 2_049, 9_000, 60_000, 0, 1];
    for size in sizes {
        peer.send_to(&vec![7; size], story.address).expect("sent");
    }
    let lengths: Vec<usize> =
        story.receive(sizes.len() as u64).iter().map(|incoming| incoming.buffer.bytes().len()).collect();
    assert_eq!(lengths, [2_048, 1]);
    assert_eq!(story.counters.dropped(Dropped::Oversize), 3);
    assert_eq!(story.counters.dropped(Dropped::Unanswerable), 1);
}

#[test]
fn an_ipv6_peer_is_answered_where_it_asked_from() {
    let Ok(peer) = UdpSocket::bind("[::1]:0") else { return };
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut story = Story::new();
    let bound = open("[::1]:0".parse().expect("address"), OPTIONS).expect("loopback");
    story.address = bound.local_addr().expect("bound");
    story.sockets =
        Sockets::new(Arc::new([Port::new(bound, 0)]), 0..1, story.poll.registry()).expect("watched");
    peer.send_to(b"hello", story.address).expect("sent");
    let incoming = story.receive(1);
    assert_eq!(incoming[0].tuple.remote, peer.local_addr().expect("bound"));
    story.add(incoming[0].tuple.remote, b"hello yourself");
    story.send();
    assert_eq!(received(&peer), b"hello yourself");
}

#[test]
fn buffers_go_round() {
    let mut story = Story::new();
    let (peer, _) = peer();
    for round in 0..200_u64 {
        peer.send_to(&[1; 500], story.address).expect("sent");
        for incoming in story.receive(round + 1) {
            story.pool.put(incoming.buffer);
        }
    }
    assert!(story.pool.allocated() < 40, "{} buffers", story.pool.allocated());
}

#[test]
fn a_socket_tells_of_room_while_it_is_watched_for_that_and_only_then() {
    let mut story = Story::new();
    let mut events = Events::with_capacity(8);
    let mut room = |story: &mut Story, watch: bool| {
        story.sockets.watch_writable(0, watch, story.poll.registry()).expect("watched");
        story.poll.poll(&mut events, Some(if watch { PATIENCE } else { Duration::ZERO })).expect("poll");
        events.iter().for_each(|event| story.sockets.note(event));
        story.sockets.take_writable(0)
    };
    assert!(!room(&mut story, false));
    assert!(room(&mut story, true));
    assert!(!room(&mut story, false));
}
