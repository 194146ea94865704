//! Messages between people: who may send, and which places hand them to each other.

use crate::harness::{World, code, grant, round_robin};
use tidegate_types::command::CommandBody;
use tidegate_types::data::{DataParameters, DataRefusal, TEXT_BYTES};
use tidegate_types::decision::{Action, AuthorizeAnswer, Grant, Refusal};
use tidegate_types::report::Report;
use tidegate_types::request::{NoticeBody, ReplyBody, RequestBody};
use tidegate_types::{Place, TransportId};

fn open(transport: TransportId) -> RequestBody {
    RequestBody::OpenData { transport, max_message_bytes: 1_000 }
}

fn say(transport: TransportId, text: &str) -> RequestBody {
    RequestBody::SendMessage { transport, text: text.to_owned() }
}

/// What transports were told of data channels, by what their people may.
fn opened(world: &mut World) -> Vec<DataParameters> {
    let opened = |(_, body)| match body {
        CommandBody::OpenData { parameters, .. } => Some(parameters),
        _ => None,
    };
    world.commanded().into_iter().filter_map(opened).collect()
}

#[test]
fn a_transport_learns_whose_messages_it_carries_and_whether_it_may() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    world.authorize = grant(Grant { data: false, ..Grant::open() });
    let mute = world.join(2, "tea");
    world.commanded();
    assert_eq!(world.ask(1, open(ann.transport)), Ok(ReplyBody::Done));
    assert_eq!(world.ask(2, open(mute.transport)), Ok(ReplyBody::Done));
    let told: Vec<_> = opened(&mut world).iter().map(|told| (told.person, told.may_send)).collect();
    assert_eq!(told, [(ann.person, true), (mute.person, false)]);
    assert_eq!(code(world.ask(2, say(mute.transport, "hm"))), "may-not-send");
    assert_eq!(code(world.ask(1, open(mute.transport))), "no-transport");
    assert_eq!(code(world.ask(1, say(mute.transport, "hm"))), "no-transport");
    assert_eq!(code(world.ask(1, say(ann.transport, &"x".repeat(TEXT_BYTES + 1)))), "message-too-long");
    assert_eq!(world.ask(1, say(ann.transport, &"x".repeat(TEXT_BYTES))), Ok(ReplyBody::Done));
}

#[test]
fn a_policy_that_is_to_be_asked_about_data_is_asked() {
    let mut world = World::new(1);
    world.authorize = grant(Grant { consult: vec!["data".into()], ..Grant::open() });
    let ann = world.join(1, "tea");
    for (allowed, answer) in [
        (true, AuthorizeAnswer::Grant(Grant::open())),
        (false, AuthorizeAnswer::Grant(Grant { data: false, ..Grant::open() })),
        (false, AuthorizeAnswer::Refuse(Refusal::new("hush", "Not now."))),
    ] {
        world.commanded();
        world.authorize = Box::new(move |question| {
            assert_eq!((question.action, question.kind), (Action::Data, None));
            Ok(answer.clone())
        });
        assert_eq!(world.ask(1, open(ann.transport)), Ok(ReplyBody::Done));
        assert_eq!(opened(&mut world)[0].may_send, allowed);
    }
    assert_eq!(code(world.ask(1, say(ann.transport, "hm"))), "may-not-send");
}

#[test]
fn places_learn_of_each_other_with_the_first_message_and_with_every_new_place() {
    let mut world = World::new(3);
    world.allocate = round_robin(3);
    let ann = world.join(1, "tea");
    let ben = world.join(2, "tea");
    let to = |world: &World, shard| {
        let books = &world.places[&Place::local(shard)].messages;
        books.values().next().map(|places| places.iter().map(|place| place.shard.0).collect::<Vec<_>>())
    };
    assert_eq!(to(&world, 0), None, "nothing is said yet");
    world.ask(1, say(ann.transport, "tea?")).expect("it is sent");
    assert_eq!((to(&world, 0), to(&world, 1)), (Some(vec![1]), Some(vec![0])));
    world.ask(2, open(ben.transport)).expect("it opens");
    world.join(3, "tea");
    let all = [0, 1, 2].map(|shard| to(&world, shard));
    assert_eq!(all, [Some(vec![1, 2]), Some(vec![0, 2]), Some(vec![0, 1])]);
    for client in 1..=3 {
        world.send(tidegate_directory::Input::ClientGone(tidegate_types::request::ClientId(client)));
    }
    assert!(world.places.values().all(|books| books.messages.is_empty()), "a room that ended is forgotten");
}

#[test]
fn what_a_place_tells_reaches_the_person() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    let ben = world.join(2, "tea");
    world.told(1);
    world.told(2);
    let text = "tea?".to_owned();
    world.report(0, Report::RoomMessage { transport: ben.transport, from: ann.person, text: text.clone() });
    assert_eq!(world.told(2), [NoticeBody::RoomMessage { from: ann.person, text }]);
    let (label, refusal) = ("room".to_owned(), DataRefusal::TooLong);
    world.report(0, Report::DataRefused { transport: ann.transport, label: label.clone(), refusal });
    assert_eq!(world.told(1), [NoticeBody::DataRefused { label, refusal }]);
    assert_eq!(world.told(2), []);
}
