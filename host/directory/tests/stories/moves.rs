//! Moves: relays to the new place first, one command, books turned once it has arrived; damped, and nothing lost on
//! the way.

use crate::harness::{World, code, consume};
use crate::relays::spread;
use std::time::Duration;
use tidegate_directory::Input;
use tidegate_types::command::{CommandBody, CommandError};
use tidegate_types::decision::{BalanceAnswer, Wish};
use tidegate_types::report::LoadReport;
use tidegate_types::request::{ClientId, ReplyBody, RequestBody};
use tidegate_types::{MediaKind, Place, ShardIndex, TransportId};

const OPERATOR: u64 = 1_000;

fn to(transport: TransportId, shard: u16) -> RequestBody {
    RequestBody::Move { transport, to: ShardIndex(shard) }
}

/// From where to where each relay goes.
fn ends(world: &mut World) -> Vec<(u16, u16)> {
    let mut ends: Vec<_> =
        world.dump().relays.iter().map(|relay| (relay.from.shard.0, relay.to.shard.0)).collect();
    ends.sort_unstable();
    ends
}

fn all_go(world: &mut World, people: u64) {
    (1..=people).for_each(|client| world.send(Input::ClientGone(ClientId(client))));
    world.assert_empty();
}

fn is_media_command(body: &CommandBody) -> bool {
    !matches!(body, CommandBody::ReadRelays)
}

#[test]
fn a_publisher_moves_by_one_command_and_its_relays_begin_at_its_new_place() {
    let (mut world, people, track) = spread(3, 4);
    for client in 2..=4 {
        world.consume(client, people[client as usize - 1].transport, track);
    }
    assert_eq!(ends(&mut world), [(0, 1), (0, 2)]);
    world.commanded();
    assert_eq!(world.ask(OPERATOR, to(people[0].transport, 1)), Ok(ReplyBody::Done));
    let commands = world.commanded();
    assert!(
        matches!(&commands[..], [(_, CommandBody::MoveTransport { stand_ins, .. })] if stand_ins.len() == 1),
        "{commands:?}"
    );
    // Back to who stayed, on to the third; the one that ended where it is now has gone.
    assert_eq!(ends(&mut world), [(1, 0), (1, 2)]);
    assert_eq!(world.dump().rooms[0].people[0].place, Place::local(1));
    // Who comes later finds its way, and a track goes home again.
    let later = world.join(5, "tea");
    world.consume(5, later.transport, track);
    assert_eq!(world.ask(OPERATOR, to(people[0].transport, 0)), Ok(ReplyBody::Done));
    assert_eq!(ends(&mut world), [(0, 1), (0, 2)]);
    assert_eq!(world.metrics().moves_total, 2);
    all_go(&mut world, 5);
}

#[test]
fn a_receiver_moves_once_what_it_receives_is_relayed_to_its_new_place() {
    let (mut world, people, track) = spread(3, 3);
    world.consume(2, people[1].transport, track);
    world.commanded();
    assert_eq!(world.ask(OPERATOR, to(people[1].transport, 2)), Ok(ReplyBody::Done));
    let commands: Vec<_> = world.commanded().into_iter().filter(|(_, body)| is_media_command(body)).collect();
    assert!(
        matches!(
            &commands[..],
            [
                (_, CommandBody::AcceptRelay { .. }),
                (_, CommandBody::OpenRelay { .. }),
                (_, CommandBody::MoveTransport { .. })
            ]
        ),
        "its consumer goes along and is not made again: {commands:?}"
    );
    assert_eq!(ends(&mut world), [(0, 1), (0, 2)]);
    world.pass(Duration::from_secs(3));
    assert_eq!(ends(&mut world), [(0, 2)], "the old relay closes after a while");
    assert_eq!(world.ask(OPERATOR, to(people[1].transport, 0)), Ok(ReplyBody::Done));
    world.pass(Duration::from_secs(3));
    assert_eq!(ends(&mut world), [], "beside its producer it needs none");
    all_go(&mut world, 3);
}

#[test]
fn what_is_asked_about_a_transport_on_its_way_is_done_where_it_arrives() {
    let (mut world, people, _) = spread(2, 2);
    let moving = world.request(OPERATOR, to(people[1].transport, 0));
    let produced = world.request(2, crate::harness::produce(people[1].transport, MediaKind::Audio));
    assert!(!world.commanded().iter().any(|(_, body)| matches!(body, CommandBody::CreateProducer { .. })));
    world.settle();
    assert_eq!(world.reply(moving), Ok(ReplyBody::Done));
    assert!(matches!(world.reply(produced), Ok(ReplyBody::Producer(_))));
    assert_eq!(world.places[&Place::local(0)].producers.len(), 2);
    all_go(&mut world, 2);
}

#[test]
fn what_is_said_is_heard_at_the_new_place_before_anyone_is_sent_there() {
    let (mut world, people, _) = spread(3, 2);
    let say = |text: &str| RequestBody::SendMessage { transport: people[0].transport, text: text.into() };
    assert_eq!(world.ask(1, say("tea?")), Ok(ReplyBody::Done));
    world.commanded();
    let moving = world.request(OPERATOR, to(people[0].transport, 2));
    let told = |world: &mut World| -> Vec<u16> {
        let commands = world.commanded().into_iter();
        let relays = commands.filter(|(_, body)| matches!(body, CommandBody::RelayData { .. }));
        relays.map(|(place, _)| place.shard.0).collect()
    };
    assert_eq!(told(&mut world), [0, 1, 2], "each hears of the new place, which hears of them");
    // Two have answered.
    for _ in 0..2 {
        let input = world.inbox.pop_front().expect("places answer");
        world.send(input);
        assert!(world.commanded().is_empty(), "not all know yet");
    }
    let input = world.inbox.pop_front().expect("places answer");
    world.send(input);
    assert!(matches!(&world.commanded()[..], [(_, CommandBody::MoveTransport { .. })]));
    let said = world.request(1, say("anyone?"));
    assert!(world.commanded().is_empty(), "what someone says who is on the way waits");
    world.settle();
    assert_eq!((world.reply(moving), world.reply(said)), (Ok(ReplyBody::Done), Ok(ReplyBody::Done)));
    let last = world.commanded().pop();
    assert!(matches!(last, Some((place, CommandBody::SendMessage { .. })) if place == Place::local(2)));
    all_go(&mut world, 2);
}

#[test]
fn who_goes_while_it_moves_leaves_nothing_behind() {
    for (gone, steps) in (0..6).flat_map(|steps| [(1, steps), (2, steps)]) {
        let (mut world, people, track) = spread(3, 3);
        world.consume(2, people[1].transport, track);
        world.consume(3, people[2].transport, track);
        let first = world.request(OPERATOR, to(people[0].transport, 1));
        let second = world.request(OPERATOR, to(people[1].transport, 2));
        for _ in 0..steps {
            if let Some(input) = world.inbox.pop_front() {
                world.send(input);
            }
        }
        world.send(Input::ClientGone(ClientId(gone)));
        world.settle();
        world.pass(Duration::from_secs(10));
        assert!(world.is_answered(first) && world.is_answered(second), "{gone} after {steps}");
        all_go(&mut world, 3);
    }
}

#[test]
fn a_move_that_a_place_refuses_changes_nothing() {
    let (mut world, people, track) = spread(3, 2);
    world.consume(2, people[1].transport, track);
    world.sabotage = Box::new(|_, body| {
        matches!(body, CommandBody::MoveTransport { .. }).then(|| CommandError::Full("ring".into()))
    });
    assert_eq!(code(world.ask(OPERATOR, to(people[1].transport, 2))), "place-full");
    assert_eq!(world.metrics().moves_failed_total, 1);
    world.pass(Duration::from_secs(3));
    assert_eq!(ends(&mut world), [(0, 1)]);
    all_go(&mut world, 2);
}

#[test]
fn nobody_moves_to_where_nobody_may_go_or_twice_at_once() {
    let (mut world, people, _) = spread(2, 2);
    let transport = people[0].transport;
    assert_eq!(code(world.ask(OPERATOR, to(transport, 7))), "no-such-place");
    world.send(Input::Drain { place: Place::local(1), draining: true });
    assert_eq!(code(world.ask(OPERATOR, to(transport, 1))), "no-such-place");
    world.send(Input::Drain { place: Place::local(1), draining: false });
    let first = world.request(OPERATOR, to(transport, 1));
    assert_eq!(code(world.ask(OPERATOR, to(transport, 1))), "moving-already");
    assert_eq!(world.reply(first), Ok(ReplyBody::Done));
    assert_eq!(code(world.ask(OPERATOR, to(TransportId(999), 1))), "no-transport");
    assert_eq!(world.ask(OPERATOR, to(transport, 1)), Ok(ReplyBody::Done), "it stands there");
    all_go(&mut world, 2);
}

#[test]
fn wishes_are_carried_out_with_the_fewest_tracks_first_and_so_many_a_minute() {
    let mut config = crate::harness::config(2);
    config.bounds.moves_per_minute = 3;
    let mut world = World::with(config);
    let mut people = Vec::new();
    for client in 1..=6 {
        people.push(world.join(client, "tea"));
    }
    assert!(people.iter().all(|one| one.place == Place::local(0)), "all together at first");
    let track = world.produce(1, people[0].transport, MediaKind::Audio);
    for client in 2..=6 {
        assert!(world.ask(client, consume(people[client as usize - 1].transport, track)).is_ok());
    }
    world.balance = Box::new(|| {
        let wish = Wish {
            action: "move".into(),
            from: Some(Place::local(0)),
            to: Some(Place::local(1)),
            amount: 2,
            unit: "transports".into(),
            reason: "too slow".into(),
        };
        Ok(BalanceAnswer { wishes: vec![wish], attrs: Vec::new() })
    });
    let there = |world: &World| world.places[&Place::local(1)].transports.len();
    world.load(0, LoadReport::default());
    assert_eq!(there(&world), 2);
    world.pass(Duration::from_secs(50));
    assert_eq!(there(&world), 3, "three a minute");
    assert!(world.places[&Place::local(0)].transports.contains_key(&people[0].transport));
    world.pass(Duration::from_secs(60));
    assert_eq!(there(&world), 6, "the publisher last");
    all_go(&mut world, 6);
}
