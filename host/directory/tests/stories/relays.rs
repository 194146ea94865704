//! Relays on demand: opened by the first consumer elsewhere, shared, closed after the last, planned anew on moves.

use crate::harness::{World, code, consume, move_transport, round_robin, there};
use std::time::Duration;
use tidegate_directory::Input;
use tidegate_types::command::{CommandBody, CommandError};
use tidegate_types::decision::{Failure, PlaceAnswer, PlaceKind, Refusal};
use tidegate_types::request::{ClientId, Joined, NoticeBody, ReplyBody, RequestBody};
use tidegate_types::{MediaKind, Place, ProducerId};

/// People 1, 2, … in one room, each on the next shard; the first one sends.
pub(crate) fn spread(shards: u16, people: u64) -> (World, Vec<Joined>, ProducerId) {
    let mut world = World::new(shards);
    world.allocate = round_robin(shards);
    let joined: Vec<Joined> = (1..=people).map(|client| world.join(client, "tea")).collect();
    let track = world.produce(1, joined[0].transport, MediaKind::Audio);
    world.notices.clear();
    world.commanded();
    (world, joined, track)
}

fn names(commands: &[(Place, CommandBody)]) -> Vec<(u16, &'static str)> {
    let name = |body: &CommandBody| match body {
        CommandBody::AcceptRelay { .. } => "accept",
        CommandBody::OpenRelay { .. } => "open",
        CommandBody::CloseRelay { .. } => "close-relay",
        CommandBody::CreateConsumer { .. } => "consumer",
        CommandBody::CloseConsumer { .. } => "close-consumer",
        CommandBody::PauseProducer { .. } => "pause",
        CommandBody::CloseProducer { .. } => "close-producer",
        _ => "other",
    };
    let told = commands.iter().filter(|(_, body)| !matches!(body, CommandBody::ReadRelays));
    told.map(|(place, body)| (place.shard.0, name(body))).collect()
}

#[test]
fn the_sink_awaits_before_the_source_sends_and_then_the_consumer_is_made() {
    let (mut world, people, track) = spread(2, 2);
    world.consume(2, people[1].transport, track);
    assert_eq!(names(&world.commanded()), [(1, "accept"), (0, "open"), (1, "consumer")]);
    let dump = world.dump();
    assert_eq!((dump.relays.len(), dump.relays[0].consumers), (1, 1));
    assert_eq!((dump.relays[0].from, dump.relays[0].to), (Place::local(0), Place::local(1)));
    world.pass(Duration::from_secs(2));
    let relay = world.dump().relays.remove(0);
    assert_eq!(relay.source.map(|stats| stats.packets), Some(7));
    assert_eq!(relay.sink.map(|stats| stats.packets), Some(5));
}

#[test]
fn who_stands_with_the_producer_needs_no_relay() {
    let (mut world, people, track) = spread(1, 2);
    world.consume(2, people[1].transport, track);
    assert_eq!(names(&world.commanded()), [(0, "consumer")]);
}

#[test]
fn consumers_at_one_place_share_a_relay_even_while_it_opens() {
    let (mut world, people, track) = spread(2, 6);
    let waiting: Vec<_> = [2, 4, 6]
        .map(|client| world.request(client, consume(people[client as usize - 1].transport, track)))
        .into();
    assert_eq!(world.metrics().relays, 1);
    world.settle();
    for number in waiting {
        assert!(matches!(world.reply(number), Ok(ReplyBody::Consumer(..))));
    }
    assert_eq!((world.metrics().relays, world.dump().relays[0].consumers), (1, 3));
}

#[test]
fn the_last_consumer_closes_the_relay_after_a_while() {
    let (mut world, people, track) = spread(2, 4);
    let first = world.consume(2, people[1].transport, track);
    let second = world.consume(4, people[3].transport, track);
    world.commanded();
    assert_eq!(world.ask(2, RequestBody::CloseConsumer { consumer: first }), Ok(ReplyBody::Done));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.metrics().relays, 1);
    assert_eq!(world.ask(4, RequestBody::CloseConsumer { consumer: second }), Ok(ReplyBody::Done));
    world.pass(Duration::from_millis(1_500));
    let again = world.consume(4, people[3].transport, track);
    world.pass(Duration::from_secs(5));
    assert_eq!(
        (world.metrics().relays, world.metrics().relays_total),
        (1, 1),
        "a quick return finds it open"
    );
    assert_eq!(world.ask(4, RequestBody::CloseConsumer { consumer: again }), Ok(ReplyBody::Done));
    world.commanded();
    world.pass(Duration::from_secs(3));
    assert_eq!(names(&world.commanded()), [(1, "close-relay"), (0, "close-relay")]);
    assert_eq!(world.metrics().relays, 0);
}

#[test]
fn a_track_that_ends_takes_its_relays_along() {
    let (mut world, people, track) = spread(3, 3);
    world.consume(2, people[1].transport, track);
    world.consume(3, people[2].transport, track);
    assert_eq!(world.ask(1, RequestBody::CloseProducer { producer: track }), Ok(ReplyBody::Done));
    assert_eq!((world.metrics().relays, world.metrics().consumers), (0, 0));
    assert_eq!(world.told(2), [NoticeBody::TrackEnded(track)]);
    assert!(world.places.values().all(|books| books.producers.is_empty() && books.sources.is_empty()));
}

#[test]
fn a_pause_reaches_every_stand_in() {
    let (mut world, people, track) = spread(3, 3);
    world.consume(2, people[1].transport, track);
    world.consume(3, people[2].transport, track);
    world.commanded();
    assert_eq!(
        world.ask(1, RequestBody::PauseProducer { producer: track, paused: true }),
        Ok(ReplyBody::Done)
    );
    let mut told = names(&world.commanded());
    told.sort_unstable();
    assert_eq!(told, [(0, "pause"), (1, "pause"), (2, "pause")]);
}

#[test]
fn a_relay_may_copy_from_another_whose_place_the_policy_names() {
    let (mut world, people, track) = spread(3, 3);
    world.consume(2, people[1].transport, track);
    world.allocate = Box::new(|request, _| {
        assert_eq!(request.kind, PlaceKind::Relay);
        let seen: Vec<_> = request
            .parents
            .iter()
            .map(|parent| (parent.place.shard.0, parent.depth, parent.fan_out))
            .collect();
        assert_eq!(seen, [(0, 0, 1), (1, 1, 0)]);
        there(Place::local(1))
    });
    let last = world.consume(3, people[2].transport, track);
    let from: Vec<_> = world.dump().relays.iter().map(|relay| relay.from.shard.0).collect();
    assert_eq!(from, [0, 1]);
    // The parent has no consumers of its own any more, but a child.
    world.send(Input::ClientGone(ClientId(2)));
    world.settle();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.metrics().relays, 2);
    assert_eq!(world.ask(3, RequestBody::CloseConsumer { consumer: last }), Ok(ReplyBody::Done));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.metrics().relays, 0, "the child's end lets the parent end");
}

#[test]
fn without_an_answer_a_relay_copies_from_the_producers_own_place() {
    for answer in [Err(Failure::Trap), there(Place::local(1)), there(Place::local(9))] {
        let (mut world, people, track) = spread(2, 2);
        world.allocate = Box::new(move |_, _| answer.clone());
        world.consume(2, people[1].transport, track);
        assert_eq!(world.dump().relays[0].from, Place::local(0));
        assert_eq!(world.metrics().builtin_placements_total, 1);
    }
}

#[test]
fn a_relay_that_fails_fails_its_consumers_and_leaves_nothing() {
    type Fails = fn(&CommandBody) -> bool;
    let sink: Fails = |body| matches!(body, CommandBody::AcceptRelay { .. });
    let source: Fails = |body| matches!(body, CommandBody::OpenRelay { .. });
    for fails in [sink, source] {
        let (mut world, people, track) = spread(2, 4);
        world.sabotage = Box::new(move |_, body| fails(body).then(|| CommandError::Full("relays".into())));
        let first = world.request(2, consume(people[1].transport, track));
        let second = world.request(4, consume(people[3].transport, track));
        world.settle();
        assert_eq!(code(world.reply(first)), "place-full");
        assert_eq!(code(world.reply(second)), "place-full");
        assert_eq!((world.metrics().relays, world.metrics().consumers), (0, 0));
        world.sabotage = Box::new(|_, _| None);
        world.consume(2, people[1].transport, track);
        (1..=4).for_each(|client| world.send(Input::ClientGone(ClientId(client))));
        world.assert_empty();
    }
}

#[test]
fn a_policy_that_refuses_a_relay_refuses_the_consumer() {
    let (mut world, people, track) = spread(2, 2);
    world.allocate = Box::new(|_, _| Ok(PlaceAnswer::Refuse(Refusal::new("no-bandwidth", "Too busy."))));
    assert_eq!(code(world.ask(2, consume(people[1].transport, track))), "no-bandwidth");
    assert_eq!(world.metrics().relays, 0);
}

#[test]
fn who_goes_while_a_relay_opens_leaves_nothing_behind() {
    for (gone, steps) in (0..4).flat_map(|steps| [(1, steps), (2, steps)]) {
        let (mut world, people, track) = spread(2, 2);
        let number = world.request(2, consume(people[1].transport, track));
        for _ in 0..steps {
            if let Some(input) = world.inbox.pop_front() {
                world.send(input);
            }
        }
        world.send(Input::ClientGone(ClientId(gone)));
        world.settle();
        assert_eq!(world.is_answered(number), gone == 1 || steps == 4, "{gone} after {steps}");
        (1..=2).for_each(|client| world.send(Input::ClientGone(ClientId(client))));
        world.assert_empty();
    }
}

fn move_to(world: &mut World, joined: &Joined, from: u16, to: u16) {
    let report = move_transport(world, (joined.transport, joined.router), from, to);
    world.send(report);
    world.settle();
}

#[test]
fn relays_are_planned_anew_when_a_producer_moves() {
    let (mut world, people, track) = spread(3, 4);
    let far = world.consume(2, people[1].transport, track);
    let near = world.consume(4, people[3].transport, track);
    move_to(&mut world, &people[0], 0, 2);
    let mut ends: Vec<_> =
        world.dump().relays.iter().map(|relay| (relay.from.shard.0, relay.to.shard.0)).collect();
    ends.sort_unstable();
    assert_eq!(ends, [(2, 0), (2, 1)]);
    assert!(world.places[&Place::local(1)].consumers.contains_key(&far));
    assert!(world.places[&Place::local(0)].consumers.contains_key(&near));
    assert_eq!(world.dump().rooms[0].people[0].place, Place::local(2));
    (1..=4).for_each(|client| world.send(Input::ClientGone(ClientId(client))));
    world.assert_empty();
}

#[test]
fn relays_are_planned_anew_when_a_receiver_moves() {
    let (mut world, people, track) = spread(3, 3);
    let consumer = world.consume(2, people[1].transport, track);
    move_to(&mut world, &people[1], 1, 2);
    assert!(world.places[&Place::local(2)].consumers.contains_key(&consumer));
    world.pass(Duration::from_secs(3));
    let relays = world.dump().relays;
    assert_eq!((relays.len(), relays[0].to), (1, Place::local(2)), "the old one closes");
    move_to(&mut world, &people[1], 2, 0);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.metrics().relays, 0, "beside its producer it needs none");
    assert!(world.places[&Place::local(0)].consumers.contains_key(&consumer));
    (1..=3).for_each(|client| world.send(Input::ClientGone(ClientId(client))));
    world.assert_empty();
}

#[test]
fn a_reply_from_before_a_move_does_not_decide_about_the_consumer_made_after_it() {
    let (mut world, people, track) = spread(2, 3);
    world.sabotage = Box::new(|place, body| {
        let old = place == Place::local(0) && matches!(body, CommandBody::CreateConsumer { .. });
        old.then(|| CommandError::Unfit("it is leaving".into()))
    });
    let number = world.request(3, consume(people[2].transport, track));
    // It moves before its old place's no arrives.
    let report = move_transport(&mut world, (people[2].transport, people[2].router), 0, 1);
    world.inbox.push_front(report);
    world.settle();
    assert!(matches!(world.reply(number), Ok(ReplyBody::Consumer(..))));
}

#[test]
fn a_consumer_that_nobody_was_told_of_cannot_be_closed() {
    let (mut world, people, track) = spread(1, 2);
    world.request(2, consume(people[1].transport, track));
    let [(_, CommandBody::CreateConsumer { consumer, .. })] = world.commanded()[..] else { panic!("one") };
    let number = world.request(2, RequestBody::CloseConsumer { consumer });
    assert_eq!(code(world.reply(number)), "no-consumer");
}
