//! Ten flows are given from shard to shard and back while nearly two hundred others come to the same ports: by count of
//! what each of them said, nobody's word is lost, and once a move is over nothing takes a detour any more.

use crate::host::{Host, PATIENCE, association, home, other};
use crate::people::{Link, Person, connect, until, voice};
use std::time::{Duration, Instant};
use tidegate_shard::ShardsConfig;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::{MediaKind, ProducerId, RequestNumber};

const PEOPLE: u64 = 200;
const MOVERS: u64 = 10;
/// An even number: all are home again after that.
const ROUNDS: u64 = 10;

/// Everyone says one word, and the host has read all of them when this returns.
fn burst(host: &Host, people: &mut [Person]) {
    people.iter_mut().for_each(Person::speak);
    people.iter_mut().for_each(Person::turn);
    let sent = people.iter().map(|person| person.sent).sum();
    let end = Instant::now() + PATIENCE;
    while host.total(|of| of.received_datagrams) < sent {
        assert!(Instant::now() < end, "what was sent did not arrive");
        std::thread::yield_now();
    }
}

/// Everyone goes on speaking until all these moves are done and nothing is handed over any more.
fn speak_until_settled(host: &mut Host, people: &mut [Person], mut moves: Vec<RequestNumber>) {
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "datagrams still take a detour: {:?}", host.shards.counters());
        let before = host.total(|of| of.handed_over);
        (0..3).for_each(|_| burst(host, people));
        moves.retain(|request| host.answer(*request).is_none());
        if moves.is_empty() && host.total(|of| of.handed_over) == before {
            return;
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn while_ten_flows_move_back_and_forth_no_word_of_anyone_on_their_ports_is_lost() {
    let identity = association();
    let mut host = Host::start(&identity, ShardsConfig::loopback());
    let mut people = connect(&mut host, &identity, 0..PEOPLE, Link::udp);
    for person in 0..PEOPLE {
        let parameters = ProducerParameters { kind: MediaKind::Audio, rtp: voice() };
        host.produce(person, ProducerId(person), parameters);
    }
    speak_until_settled(&mut host, &mut people, Vec::new());
    assert_eq!(host.total(|of| of.handed_over), 0, "nobody has moved yet");
    for round in 0..ROUNDS {
        let place = |person| if round % 2 == 0 { home(person) } else { other(home(person)) };
        let moves = (0..MOVERS).map(|person| host.give_away(person, place(person), Vec::new())).collect();
        speak_until_settled(&mut host, &mut people, moves);
        if round % 2 == 0 {
            assert!(host.total(|of| of.connected_sockets) >= MOVERS, "{:?}", host.shards.counters());
        }
    }
    assert_eq!(host.total(|of| of.connected_failures), 0);
    let counted = |host: &mut Host, person: u64| {
        let (_, stats) = &host.stats(person, home(person)).producers[0];
        stats.encodings[0].packets
    };
    for person in 0..PEOPLE {
        let spoken = people[person as usize].spoken;
        assert_eq!(counted(&mut host, person), spoken, "person {person}'s words");
    }
    // Left sockets are closed by themselves.
    let none = |host: &Host| host.total(|of| of.connected_sockets) == 0;
    until(&mut people, "closing what was left", |_| {}, |_| none(&host));
    assert_eq!(host.shards.stop(Duration::from_secs(1)), []);
}
