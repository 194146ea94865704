//! Entering: what authorize and the grant decide, and each failure's named default.

use crate::harness::{World, code, config, grant, join};
use std::time::Duration;
use tidegate_directory::Input;
use tidegate_types::Place;
use tidegate_types::cluster::Feed;
use tidegate_types::command::{CommandBody, CommandError};
use tidegate_types::decision::{AuthorizeAnswer, Failure, Grant, Refusal, ToPolicy};
use tidegate_types::request::{
    ClientId, ErrorKind, JoinRequest, NoticeBody, ReplyBody, Request, RequestBody,
};

#[test]
fn policies_are_told_of_the_cluster_before_anything_else() {
    let world = World::new(2);
    assert!(
        matches!(&world.policy_log[..], [ToPolicy::Feed(Feed::Reset { generation: 1, rows })] if rows.len() == 2)
    );
}

#[test]
fn two_people_meet_and_hear_of_each_other() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    let ben = world.join(2, "tea");
    assert_eq!((ann.people.len(), ben.people.len()), (0, 1));
    assert_eq!(ann.router, ben.router);
    assert_ne!(ann.transport, ben.transport);
    assert!(matches!(&world.told(1)[..], [NoticeBody::PersonJoined(view)] if view.person == ben.person));
    assert_eq!(world.ask(2, RequestBody::Leave { person: ben.person }), Ok(ReplyBody::Done));
    assert_eq!(world.told(1), [NoticeBody::PersonLeft(ben.person)]);
    world.send(Input::ClientGone(ClientId(1)));
    world.assert_empty();
}

#[test]
fn a_publisher_that_hears_no_messages_gets_a_transport_that_is_told_by_a_ceiling() {
    for told_by_ceiling in [false, true] {
        let mut world = World::new(1);
        let RequestBody::Join(request) = join("tea") else { panic!("a join") };
        world.commanded();
        world.ask(1, RequestBody::Join(JoinRequest { told_by_ceiling, ..request })).expect("enters");
        let limits = world.commanded().into_iter().find_map(|(_, body)| match body {
            CommandBody::CreateTransport { limits, .. } => Some(limits),
            _ => None,
        });
        assert_eq!(limits.map(|limits| limits.told_by_ceiling), Some(told_by_ceiling));
    }
}

#[test]
fn no_answer_from_authorize_is_a_no_that_names_the_failure() {
    for failure in [Failure::Deadline, Failure::Trap, Failure::QueueFull, Failure::Lookup] {
        let mut world = World::new(1);
        world.authorize = Box::new(move |_| Err(failure));
        let error = world.ask(1, join("tea")).expect_err("nobody enters undecided");
        assert_eq!((error.kind, error.code), (ErrorKind::Failed, format!("authorize-{}", failure.name())));
        world.assert_empty();
    }
}

#[test]
fn a_policy_that_never_answers_is_a_missed_deadline() {
    let mut world = World::new(1);
    let number = world.request(1, join("tea"));
    let late = world.inbox.pop_front();
    world.pass(Duration::from_secs(15));
    assert_eq!(code(world.reply(number)), "authorize-deadline");
    world.inbox.extend(late);
    world.assert_empty();
}

#[test]
fn a_refusal_reaches_the_person_in_the_policys_own_words() {
    let mut world = World::new(1);
    world.authorize = Box::new(|_| Ok(AuthorizeAnswer::Refuse(Refusal::new("not-invited", "Only guests."))));
    let error = world.ask(1, join("tea")).expect_err("refused");
    assert_eq!(
        (error.kind, &*error.code, &*error.message),
        (ErrorKind::Refused, "not-invited", "Only guests.")
    );
    assert_eq!(world.metrics().refused_total, 1);
}

#[test]
fn a_grant_for_another_room_opens_no_door() {
    let mut world = World::new(1);
    world.authorize = grant(Grant { room: Some("coffee".into()), ..Grant::open() });
    assert_eq!(code(world.ask(1, join("tea"))), "wrong-room");
    assert_eq!(world.join(1, "coffee").room, "coffee");
}

#[test]
fn a_presence_ends_with_its_grant() {
    let mut world = World::new(1);
    world.authorize = grant(Grant { expires_unix_ms: Some(1_800_000_060_000), ..Grant::open() });
    world.join(1, "tea");
    world.pass(Duration::from_secs(59));
    assert_eq!(world.metrics().people, 1);
    world.pass(Duration::from_secs(2));
    assert!(matches!(&world.told(1)[..], [NoticeBody::Ended { code, .. }] if code == "grant-expired"));
    assert_eq!(code(world.ask(1, join("tea"))), "grant-expired");
    world.assert_empty();
}

#[test]
fn a_grant_that_ends_in_a_thousand_years_is_kept() {
    let mut world = World::new(1);
    world.authorize = grant(Grant { expires_unix_ms: Some(u64::MAX), ..Grant::open() });
    world.join(1, "tea");
    world.pass(Duration::from_secs(3 * 86_400));
    assert_eq!(world.metrics().people, 1);
}

#[test]
fn a_transport_that_cannot_be_made_fails_the_join_and_frees_its_promise() {
    let mut world = World::new(1);
    world.sabotage = Box::new(|_, body| {
        matches!(body, CommandBody::CreateTransport { .. }).then(|| CommandError::Full("transports".into()))
    });
    let error = world.ask(1, join("tea")).expect_err("no transport");
    assert_eq!((error.kind, &*error.code), (ErrorKind::Full, "transport-failed"));
    assert_eq!((world.metrics().reservations, world.metrics().rooms), (0, 0));
    world.assert_empty();
}

#[test]
fn a_place_that_says_nothing_keeps_nobody_waiting() {
    let mut world = World::new(1);
    world.mute = true;
    let number = world.request(1, join("tea"));
    world.settle();
    world.pass(Duration::from_secs(5));
    assert_eq!(code(world.reply(number)), "place-silent");
    world.assert_empty();
}

#[test]
fn a_repeated_join_is_answered_again_and_does_nothing() {
    let mut world = World::new(1);
    let number = world.request(1, join("tea"));
    let again = Input::Request(Request { number, client: ClientId(1), body: join("tea") });
    world.send(again.clone());
    world.settle();
    let Ok(ReplyBody::Joined(first)) = world.reply(number) else { panic!("joined") };
    world.send(again);
    world.settle();
    let Ok(ReplyBody::Joined(second)) = world.reply(number) else { panic!("joined") };
    assert_eq!(first, second);
    assert_eq!(world.metrics().people, 1);
    assert_eq!(code(world.ask(1, join("tea"))), "already-joined");
}

#[test]
fn who_goes_while_entering_leaves_nothing_behind() {
    // After how many deliveries the client goes: each cuts the join at another step.
    for steps in 0..4 {
        let mut world = World::new(1);
        world.request(1, join("tea"));
        for _ in 0..steps {
            if let Some(input) = world.inbox.pop_front() {
                world.send(input);
            }
        }
        world.send(Input::ClientGone(ClientId(1)));
        world.assert_empty();
    }
}

#[test]
fn every_bound_says_its_name() {
    let mut config = config(1);
    config.bounds.rooms = 2;
    config.bounds.people_per_room = 2;
    config.bounds.people = 3;
    config.bounds.pending_per_client = 1;
    let mut world = World::with(config);
    world.join(1, "tea");
    world.join(2, "tea");
    assert_eq!(code(world.ask(3, join("tea"))), "full-people-in-this-room");
    world.join(3, "coffee");
    assert_eq!(code(world.ask(4, join("coffee"))), "full-people");
    world.send(Input::ClientGone(ClientId(2)));
    assert_eq!(code(world.ask(4, join("cocoa"))), "full-rooms");
    world.request(5, join("tea"));
    let second = world.request(5, RequestBody::Dump);
    let error = world.reply(second).expect_err("one at a time");
    assert_eq!((error.kind, &*error.code), (ErrorKind::Full, "full-pending-requests-of-yours"));
    assert_eq!(code(world.ask(6, join(&"x".repeat(300)))), "name-too-long");
    assert_eq!(code(world.ask(6, join(""))), "room-missing");
}

#[test]
fn a_burst_of_joins_cannot_overfill_a_room() {
    let mut config = config(1);
    config.bounds.people_per_room = 5;
    let mut world = World::with(config);
    let numbers: Vec<_> = (0..20).map(|client| world.request(client, join("tea"))).collect();
    world.settle();
    let inside = numbers.into_iter().filter(|number| world.reply(*number).is_ok()).count();
    assert_eq!(inside, 5);
}

#[test]
fn authorize_sees_those_on_the_way_in() {
    let mut world = World::new(1);
    world.authorize = Box::new(|request| {
        if request.room_people > 0 {
            return Ok(AuthorizeAnswer::Refuse(Refusal::new("started", "It has started.")));
        }
        assert_eq!(request.room_since_unix_ms, None);
        Ok(AuthorizeAnswer::Grant(Grant::open()))
    });
    world.request(1, join("tea"));
    let decided = world.inbox.pop_front().expect("an answer");
    world.send(decided);
    assert_eq!(code(world.ask(2, join("tea"))), "started");
}

#[test]
fn admin_asks_for_a_grant_that_says_so() {
    let mut world = World::new(1);
    let ask = || RequestBody::AuthorizeAdmin { token: tidegate_types::Secret::new("t"), address: None };
    assert_eq!(code(world.ask(1, ask())), "not-admin");
    world.authorize = grant(Grant { admin: true, ..Grant::default() });
    assert_eq!(world.ask(1, ask()), Ok(ReplyBody::Done));
    world.authorize = Box::new(|_| Err(Failure::Trap));
    assert_eq!(code(world.ask(1, ask())), "authorize-trap");
}

#[test]
fn a_restarted_ice_is_what_a_repeated_join_is_told() {
    let mut world = World::new(1);
    let number = world.request(1, join("tea"));
    world.settle();
    let Ok(ReplyBody::Joined(joined)) = world.reply(number) else { panic!("joined") };
    let restarted = world.ask(1, RequestBody::RestartIce { transport: joined.transport });
    let Ok(ReplyBody::Transport(local)) = restarted else { panic!("restarted") };
    assert_ne!(local, joined.local);
    world.send(Input::Request(Request { number, client: ClientId(1), body: join("tea") }));
    let Ok(ReplyBody::Joined(again)) = world.reply(number) else { panic!("joined") };
    assert_eq!(again.local, local);
    assert_eq!(again.place, Place::local(0));
}
