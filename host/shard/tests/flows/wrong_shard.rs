//! Datagrams that reach another shard than the one where their transport stands. Behind one port the kernel spreads
//! flows by their addresses and knows nothing of transports, so about half of them do; and of TCP's streams half stay at
//! the wrong shard, and their datagrams cross both ways.

use crate::host::{Host, association, home, other};
use crate::people::{Link, Person, connect, opus, until, voice};
use std::net::SocketAddr;
use std::time::Duration;
use tidegate_shard::ShardsConfig;
use tidegate_types::command::CommandBody;
use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
use tidegate_types::producer::ProducerParameters;
use tidegate_types::{ConsumerId, MediaKind, ProducerId, RelayId, TransportId};

/// One in 2^16 runs would see every flow at its own shard by chance.
const PEOPLE: u64 = 16;

/// The first person's sound, to everyone else at both places.
fn publish(host: &mut Host) -> ProducerId {
    let producer = ProducerId(1);
    let parameters = ProducerParameters { kind: MediaKind::Audio, rtp: voice() };
    host.produce(0, producer, parameters.clone());
    host.relay(0, producer, parameters);
    for listener in 1..PEOPLE {
        let parameters = ConsumerParameters {
            kind: MediaKind::Audio,
            rtp: opus(100),
            paused: false,
            preferred: LayerPreference::HIGHEST,
        };
        let (consumer, transport) = (ConsumerId(listener), TransportId(listener));
        let consume = CommandBody::CreateConsumer { consumer, transport, producer, parameters };
        host.command(home(listener), consume);
    }
    producer
}

/// The first person speaks until everyone else has heard so much.
fn until_heard(people: &mut [Person], heard: u64) {
    until(
        people,
        "everyone's hearing",
        |people| people[0].speak(),
        |people| people[1..].iter().all(|person| person.heard >= heard),
    );
}

#[test]
fn datagrams_that_reach_the_wrong_shard_are_handed_over() {
    everyone_hears_the_first(Link::udp);
}

#[test]
fn streams_that_reach_the_wrong_shard_carry_what_crosses() {
    everyone_hears_the_first(Link::tcp);
}

fn everyone_hears_the_first(link: fn(SocketAddr) -> Link) {
    let identity = association();
    let mut host = Host::start(&identity, ShardsConfig { single_port: true, ..ShardsConfig::loopback() });
    let mut people = connect(&mut host, &identity, 0..PEOPLE, link);
    assert!(host.total(|of| of.crossings_in) > 0, "every flow met its own shard: nothing was tested");
    publish(&mut host);
    until_heard(&mut people, 50);
    assert!(host.total(|of| of.handed_over) > 0);
    assert_eq!(host.total(|of| of.connected_sockets), 0, "who shares a port takes no flow from another");
    assert_eq!(host.shards.stop(Duration::from_secs(1)), []);
}

#[test]
fn who_moves_between_ports_keeps_speaking_and_hearing_at_the_address_that_it_knows() {
    for connected_sockets in [0, ShardsConfig::loopback().connected_sockets] {
        there_and_back(ShardsConfig { connected_sockets, ..ShardsConfig::loopback() });
    }
}

fn there_and_back(config: ShardsConfig) {
    let identity = association();
    let mut host = Host::start(&identity, config);
    let mut people = connect(&mut host, &identity, 0..PEOPLE, Link::udp);
    let producer = publish(&mut host);
    let mut places = [home(0), home(1)];
    for number in 0..6 {
        until_heard(&mut people, 20 * (number + 1));
        // The speaker, and a listener of the other place, change places.
        let back = vec![(producer, RelayId(100 + number))];
        for (person, stand_ins) in [(0, back), (1, Vec::new())] {
            let place = &mut places[person as usize];
            let request = host.give_away(person, *place, stand_ins);
            until(&mut people, "a move", |_| {}, |_| host.answer(request).is_some());
            *place = other(*place);
        }
    }
    until_heard(&mut people, 140);
    let spoken = people[0].spoken;
    let least = people[1..].iter().map(|person| person.heard).min();
    assert!(least.is_some_and(|least| least + 20 >= spoken), "{spoken} spoken, {least:?} heard by someone");
    assert_eq!(host.shards.stop(Duration::from_secs(1)), []);
}
