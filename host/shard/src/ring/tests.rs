//! Stories of rings: what is lost when one is full, and that no wake is.

use super::{Bell, Counters, Crossing, Dropped, HELD_MESSAGES, Passed, Place, RelayMessage, Rings, mesh};
use mio::{Events, Poll};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_media::io::{Incoming, Tuple};
use tidegate_types::packet::{Buffer, MediaPacket};
use tidegate_types::relay::RelayPacket;
use tidegate_types::{NodeId, RelayId};

/// A sleep this long means that a wake was lost.
const LOST: Duration = Duration::from_secs(20);

fn message(sequence: u64) -> Crossing {
    Crossing::Relay(RelayMessage::Highest { relay: RelayId(1), sequence })
}

fn sequence(crossing: &Crossing) -> u64 {
    match crossing {
        Crossing::Relay(RelayMessage::Highest { sequence, .. }) => *sequence,
        other => panic!("{other:?}"),
    }
}

fn datagram() -> Crossing {
    let tuple = Tuple { socket: 0, remote: ([192, 0, 2, 1], 9).into() };
    Crossing::Datagram(Incoming { tuple, at: Instant::now(), buffer: Arc::new(Buffer::default()) })
}

fn media() -> Crossing {
    let packet = MediaPacket {
        encoding: 0,
        sequence: 0,
        timestamp: 0,
        marker: false,
        keyframe: false,
        ingress: Instant::now(),
        codec: tidegate_types::rtp::Codec::Vp8,
        payload_info: tidegate_types::packet::PayloadInfo::Opaque,
        layers: None,
        extensions: tidegate_types::packet::Extensions::default(),
        payload: 0..0,
        buffer: Arc::new(Buffer::default()),
    };
    Crossing::Relay(RelayMessage::Media(RelayPacket {
        relay: RelayId(1),
        sequence: 0,
        repair: false,
        packet,
    }))
}

/// A shard that only has rings.
struct Stand {
    poll: Poll,
    bell: Arc<Bell>,
    rings: Rings,
    counters: Counters,
}

fn stands(count: usize, slots: usize) -> Vec<Stand> {
    let polls: Vec<Poll> = (0..count).map(|_| Poll::new().expect("poll")).collect();
    let bells: Vec<Arc<Bell>> = polls.iter().map(|poll| Arc::new(Bell::new(poll).expect("bell"))).collect();
    let meshed = mesh(NodeId(0), &bells, slots);
    let parts = polls.into_iter().zip(bells).zip(meshed);
    parts.map(|((poll, bell), rings)| Stand { poll, bell, rings, counters: Counters::default() }).collect()
}

impl Stand {
    fn send(&mut self, to: u16, crossing: Crossing) {
        self.rings.send(Place::local(to), crossing, &self.counters);
    }

    fn take(&mut self) -> Vec<(Place, Crossing)> {
        let mut taken = Vec::new();
        for ring in 0..self.rings.inbound() {
            while let Some((from, Passed::Crossing(crossing))) = self.rings.next(ring) {
                let crossing = (from, crossing);
                taken.push(crossing);
            }
        }
        taken
    }

    /// Sleeps as the loop does; a sleep that nobody ends fails the test.
    fn sleep(&mut self, events: &mut Events) {
        self.bell.announce_sleep();
        if !self.rings.has_arrivals() {
            let begun = Instant::now();
            self.poll.poll(events, Some(LOST)).expect("poll");
            assert!(begun.elapsed() < LOST, "a wake was lost");
        }
        self.bell.awake();
    }
}

#[test]
fn a_full_ring_drops_media_and_datagrams_and_holds_messages_in_order() {
    let mut stands = stands(2, 4);
    let [source, sink] = &mut stands[..] else { panic!("two") };
    (0..4).for_each(|number| source.send(1, message(number)));
    source.send(1, media());
    source.send(1, media());
    source.send(1, datagram());
    (4..9).for_each(|number| source.send(1, message(number)));
    assert_eq!(source.counters.dropped(Dropped::RingMedia), 2);
    assert_eq!(source.counters.dropped(Dropped::RingDatagram), 1);
    assert!(source.rings.holds_back());
    let mut arrived: Vec<u64> = Vec::new();
    while source.rings.holds_back() {
        arrived.extend(sink.take().iter().map(|(_, crossing)| sequence(crossing)));
        source.rings.retry(&source.counters);
    }
    arrived.extend(sink.take().iter().map(|(_, crossing)| sequence(crossing)));
    assert_eq!(arrived, (0..9).collect::<Vec<_>>());
}

#[test]
fn nothing_overtakes_what_is_held() {
    let mut stands = stands(2, 2);
    let [source, sink] = &mut stands[..] else { panic!("two") };
    (0..3).for_each(|number| source.send(1, message(number)));
    sink.take();
    // There is room now, and message 2 is held: it goes first, also if the room came after the last retry.
    let outbound = source.rings.outbound[1].as_mut().expect("a ring");
    assert!(outbound.push(message(9).into(), &source.counters).is_some());
    source.send(1, message(3));
    let arrived: Vec<u64> = sink.take().iter().map(|(_, crossing)| sequence(crossing)).collect();
    assert_eq!(arrived, [2, 3]);
}

#[test]
fn messages_are_held_up_to_a_bound() {
    let mut stands = stands(2, 1);
    let held = HELD_MESSAGES as u64;
    (0..held + 11).for_each(|number| stands[0].send(1, message(number)));
    assert_eq!(stands[0].counters.dropped(Dropped::RingMessage), 10);
}

#[test]
fn a_crossing_to_nowhere_is_counted() {
    let mut stands = stands(2, 4);
    stands[0].send(0, message(0));
    stands[0].send(7, message(0));
    let elsewhere = Place { node: NodeId(9), ..Place::local(1) };
    let Stand { rings, counters, .. } = &mut stands[0];
    rings.send(elsewhere, message(0), counters);
    assert_eq!(stands[0].counters.dropped(Dropped::Astray), 3);
}

#[test]
fn a_batch_wakes_a_sleeper_once_and_a_waking_shard_not_at_all() {
    let mut stands = stands(2, 64);
    (0..10).for_each(|number| stands[0].send(1, message(number)));
    stands[0].rings.wake();
    assert_eq!(stands[1].bell.wakes.get(), 0, "it does not sleep");
    stands[1].bell.announce_sleep();
    (0..10).for_each(|number| stands[0].send(1, message(number)));
    stands[0].rings.wake();
    (0..10).for_each(|number| stands[0].send(1, message(number)));
    stands[0].rings.wake();
    assert_eq!(stands[1].bell.wakes.get(), 1);
    let mut events = Events::with_capacity(8);
    stands[1].poll.poll(&mut events, Some(LOST)).expect("poll");
    assert_eq!(events.iter().count(), 1, "the wake waits for the sleeper");
}

/// Two shards that answer each other and sleep in between: each message needs its wake.
#[test]
fn no_wake_is_lost_between_two_that_answer_each_other() {
    const ROUNDS: u64 = 20_000;
    let mut stands = stands(2, 8);
    stands[0].send(1, message(0));
    let play = |mut stand: Stand, other: u16| {
        let mut events = Events::with_capacity(8);
        let mut last = 0;
        while last + 1 < ROUNDS {
            for (_, crossing) in stand.take() {
                last = sequence(&crossing);
                stand.send(other, message(last + 1));
            }
            stand.rings.wake();
            if last + 1 < ROUNDS {
                stand.sleep(&mut events);
            }
        }
    };
    std::thread::scope(|scope| {
        for (stand, other) in stands.drain(..).zip([1, 0]) {
            scope.spawn(move || play(stand, other));
        }
    });
}

/// Three shards, each to each, through rings so small that they are full most of the time.
#[test]
fn everything_arrives_once_and_in_order_under_stress() {
    const EACH: u64 = 5_000;
    const SHARDS: u16 = 3;
    let mut stands = stands(usize::from(SHARDS), 16);
    let play = |mut stand: Stand, own: u16| {
        let mut events = Events::with_capacity(8);
        let mut expected = [0; SHARDS as usize];
        let mut sent = 0;
        let mut missing = EACH * u64::from(SHARDS - 1);
        while missing > 0 || sent < EACH || stand.rings.holds_back() {
            for (from, crossing) in stand.take() {
                let expected = &mut expected[usize::from(from.shard.0)];
                assert_eq!(sequence(&crossing), *expected);
                *expected += 1;
                missing -= 1;
            }
            stand.rings.retry(&stand.counters);
            if sent < EACH && !stand.rings.holds_back() {
                (0..SHARDS).filter(|&to| to != own).for_each(|to| stand.send(to, message(sent)));
                sent += 1;
            }
            stand.rings.wake();
            if stand.rings.holds_back() {
                std::thread::yield_now();
            }
            if sent == EACH && missing > 0 && !stand.rings.holds_back() {
                stand.sleep(&mut events);
            }
        }
        assert_eq!(stand.counters.dropped_total(), 0);
        stand
    };
    std::thread::scope(|scope| {
        for (stand, own) in stands.drain(..).zip(0..) {
            scope.spawn(move || play(stand, own));
        }
    });
}
