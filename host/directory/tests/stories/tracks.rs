//! Sending and receiving in one place: what a grant allows, and who is told.

use crate::harness::{World, code, config, consume, consume_kind, grant, produce, produce_from};
use tidegate_directory::Input;
use tidegate_types::command::{CommandBody, CommandError};
use tidegate_types::decision::{Action, AuthorizeAnswer, Failure, Grant, Refusal};
use tidegate_types::request::{ClientId, ErrorKind, NoticeBody, ReplyBody, Request, RequestBody};
use tidegate_types::{ConsumerId, MediaKind, Place, ProducerId, TransportId};

#[test]
fn a_track_is_published_heard_paused_and_ended() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    let ben = world.join(2, "tea");
    let track = world.produce(1, ann.transport, MediaKind::Audio);
    assert!(matches!(&world.told(2)[..], [NoticeBody::TrackPublished(view)] if view.producer == track));
    world.consume(2, ben.transport, track);
    assert_eq!(
        world.ask(1, RequestBody::PauseProducer { producer: track, paused: true }),
        Ok(ReplyBody::Done)
    );
    assert_eq!(world.told(2), [NoticeBody::TrackPaused { producer: track, paused: true }]);
    assert!(world.join(3, "tea").tracks[0].paused);
    world.told(2);
    let again = world.ask(2, consume(ben.transport, track));
    assert!(matches!(again, Ok(ReplyBody::Consumer(_, true))));
    assert_eq!(world.ask(1, RequestBody::CloseProducer { producer: track }), Ok(ReplyBody::Done));
    assert_eq!(world.told(2), [NoticeBody::TrackEnded(track)]);
    assert_eq!((world.metrics().producers, world.metrics().consumers), (0, 0));
    assert!(world.places[&Place::local(0)].consumers.is_empty());
}

#[test]
fn a_grant_is_held_to() {
    let mut world = World::new(1);
    world.authorize = grant(Grant::default());
    let mute = world.join(1, "tea");
    world.authorize = grant(Grant {
        sources: Some(vec!["microphone".into()]),
        max_tracks: Some(1),
        subscribe: false,
        ..Grant::open()
    });
    let ann = world.join(2, "tea");
    world.authorize = grant(Grant::open());
    let ben = world.join(3, "tea");
    world.told(1);
    assert_eq!(code(world.ask(1, produce(mute.transport, MediaKind::Audio))), "may-not-publish");
    assert_eq!(code(world.ask(2, produce(ann.transport, MediaKind::Video))), "source-not-allowed");
    let track = world.produce(2, ann.transport, MediaKind::Audio);
    assert_eq!(code(world.ask(2, produce(ann.transport, MediaKind::Audio))), "too-many-tracks");
    assert_eq!(code(world.ask(1, consume(mute.transport, track))), "may-not-subscribe");
    assert_eq!(world.told(1), [], "who may not receive hears of no track");
    let other = world.produce(3, ben.transport, MediaKind::Audio);
    assert_eq!(code(world.ask(2, consume(ann.transport, other))), "may-not-subscribe");
    world.authorize = grant(Grant::default());
    assert_eq!(world.join(4, "tea").tracks, []);
}

#[test]
fn policies_are_asked_about_tracks_only_where_the_grant_says_so() {
    let mut world = World::new(1);
    world.authorize = Box::new(|request| {
        assert_eq!(request.action, Action::Join);
        Ok(AuthorizeAnswer::Grant(Grant::open()))
    });
    let ann = world.join(1, "tea");
    let track = world.produce(1, ann.transport, MediaKind::Audio);
    world.authorize = grant(Grant {
        consult: vec!["publish".into(), "subscribe".into()],
        identity: Some("ben@example".into()),
        ..Grant::open()
    });
    let ben = world.join(2, "tea");
    world.authorize = Box::new(|request| {
        assert_eq!(
            (request.room.as_deref(), request.identity.as_deref()),
            (Some("tea"), Some("ben@example"))
        );
        assert_eq!((request.token.expose(), request.room_people), ("token", 2));
        assert_eq!((request.kind, request.source.as_deref()), (Some(MediaKind::Audio), Some("microphone")));
        match request.action {
            Action::Publish => Ok(AuthorizeAnswer::Refuse(Refusal::new("later", "Not now."))),
            Action::Subscribe => Ok(AuthorizeAnswer::Grant(Grant::open())),
            other => panic!("nobody asked about {other:?}"),
        }
    });
    assert_eq!(code(world.ask(2, produce(ben.transport, MediaKind::Audio))), "later");
    world.consume(2, ben.transport, track);
    world.authorize = Box::new(|_| Err(Failure::Deadline));
    assert_eq!(code(world.ask(2, consume(ben.transport, track))), "authorize-deadline");
    world.authorize = grant(Grant::default());
    assert_eq!(code(world.ask(2, produce(ben.transport, MediaKind::Audio))), "may-not-publish");
}

#[test]
fn a_consulted_policy_that_answers_too_late_starts_nothing() {
    let mut world = World::new(1);
    world.authorize = grant(Grant { consult: vec!["publish".into()], ..Grant::open() });
    let ann = world.join(1, "tea");
    let number = world.request(1, produce(ann.transport, MediaKind::Audio));
    let yes = world.inbox.pop_front().expect("an answer");
    assert_eq!(world.ask(1, RequestBody::Leave { person: ann.person }), Ok(ReplyBody::Done));
    world.send(yes);
    assert_eq!(code(world.reply(number)), "no-transport");
    world.assert_empty();
}

#[test]
fn nobody_touches_what_belongs_to_others() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    let ben = world.join(2, "tea");
    let eve = world.join(3, "coffee");
    let track = world.produce(1, ann.transport, MediaKind::Audio);
    let consumer = world.consume(2, ben.transport, track);
    let forbidden = [
        (RequestBody::Leave { person: ann.person }, "no-person"),
        (produce(ann.transport, MediaKind::Audio), "no-transport"),
        (RequestBody::RestartIce { transport: ann.transport }, "no-transport"),
        (RequestBody::PauseProducer { producer: track, paused: true }, "no-track"),
        (RequestBody::CloseProducer { producer: track }, "no-track"),
        (RequestBody::PauseConsumer { consumer, paused: true }, "no-consumer"),
        (RequestBody::CloseConsumer { consumer }, "no-consumer"),
        (consume(ann.transport, track), "no-transport"),
        // Another room's track.
        (consume(eve.transport, track), "no-track"),
        // What never was.
        (consume(eve.transport, ProducerId(99_999)), "no-track"),
        (RequestBody::CloseConsumer { consumer: ConsumerId(99_999) }, "no-consumer"),
        (RequestBody::ReadStats { transport: TransportId(99_999) }, "no-transport"),
    ];
    for (body, expected) in forbidden {
        let error = world.ask(3, body.clone()).expect_err("not its own");
        assert_eq!((error.kind, &*error.code), (ErrorKind::Missing, expected), "{body:?}");
    }
    assert_eq!(code(world.ask(2, consume_kind(ben.transport, track, MediaKind::Video))), "wrong-kind");
}

#[test]
fn a_track_that_its_place_refuses_is_no_track() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    world.join(2, "tea");
    world.told(2);
    world.sabotage = Box::new(|_, body| match body {
        CommandBody::CreateProducer { .. } => Some(CommandError::Unfit("two tracks share an SSRC".into())),
        _ => None,
    });
    let error = world.ask(1, produce(ann.transport, MediaKind::Audio)).expect_err("unfit");
    assert_eq!((error.kind, &*error.code), (ErrorKind::Unfit, "unfit-parameters"));
    assert!(error.message.contains("two tracks share an SSRC"));
    assert_eq!((world.told(2), world.metrics().producers), (vec![], 0));
}

#[test]
fn consumers_are_paused_preferred_and_closed_at_their_place() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    let ben = world.join(2, "tea");
    let track = world.produce(1, ann.transport, MediaKind::Audio);
    let consumer = world.consume(2, ben.transport, track);
    world.commanded();
    assert_eq!(world.ask(2, RequestBody::PauseConsumer { consumer, paused: true }), Ok(ReplyBody::Done));
    let preferred = tidegate_types::consumer::LayerPreference { spatial: 0, temporal: 1 };
    assert_eq!(world.ask(2, RequestBody::SetPreferredLayers { consumer, preferred }), Ok(ReplyBody::Done));
    assert_eq!(world.ask(2, RequestBody::CloseConsumer { consumer }), Ok(ReplyBody::Done));
    let here = Place::local(0);
    let expected = [
        (here, CommandBody::PauseConsumer { consumer, paused: true }),
        (here, CommandBody::SetPreferredLayers { consumer, preferred }),
        (here, CommandBody::CloseConsumer { consumer }),
    ];
    assert_eq!(world.commanded(), expected);
    assert_eq!(code(world.ask(2, RequestBody::CloseConsumer { consumer })), "no-consumer");
}

#[test]
fn repeated_requests_are_answered_alike_and_done_once() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    let body = produce(ann.transport, MediaKind::Audio);
    let number = world.request(1, body.clone());
    world.settle();
    let first = world.reply(number);
    world.send(Input::Request(Request { number, client: ClientId(1), body }));
    world.settle();
    assert_eq!((world.reply(number), world.metrics().producers), (first, 1));
}

#[test]
fn replies_may_come_in_any_order() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    let first = world.request(1, produce(ann.transport, MediaKind::Audio));
    let second = world.request(1, produce(ann.transport, MediaKind::Video));
    let inbox = std::mem::take(&mut world.inbox);
    world.inbox = inbox.into_iter().rev().collect();
    world.settle();
    let (Ok(ReplyBody::Producer(first)), Ok(ReplyBody::Producer(second))) =
        (world.reply(first), world.reply(second))
    else {
        panic!("both stand")
    };
    assert_ne!(first, second);
    let dump = world.dump();
    let kinds: Vec<_> = dump.rooms[0].people[0].tracks.iter().map(|track| track.parameters.kind).collect();
    assert_eq!(kinds, [MediaKind::Audio, MediaKind::Video]);
}

#[test]
fn tracks_have_bounds_that_say_their_name() {
    let mut config = config(1);
    config.bounds.tracks_per_person = 1;
    config.bounds.consumers_per_person = 1;
    let mut world = World::with(config);
    let ann = world.join(1, "tea");
    let track = world.produce(1, ann.transport, MediaKind::Audio);
    assert_eq!(code(world.ask(1, produce(ann.transport, MediaKind::Audio))), "full-tracks-of-one-person");
    world.consume(1, ann.transport, track);
    let second = code(world.ask(1, consume(ann.transport, track)));
    assert_eq!(second, "full-tracks-that-one-person-receives");
    let long = produce_from(ann.transport, MediaKind::Audio, &"x".repeat(65));
    assert_eq!(code(world.ask(1, long)), "source-too-long");
}

#[test]
fn stats_are_read_where_the_transport_stands() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    assert!(matches!(
        world.ask(9, RequestBody::ReadStats { transport: ann.transport }),
        Ok(ReplyBody::Stats(_))
    ));
}
