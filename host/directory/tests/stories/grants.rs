//! Grants of those inside: asked about again, narrowed, widened, ended. Each at once, and with a reason.

use crate::harness::{World, code, consume, join, produce, produce_from};
use std::time::Duration;
use tidegate_types::command::CommandBody;
use tidegate_types::decision::{
    Action, AuthorizeAnswer, AuthorizeRequest, Failure, Grant, QuestionBody, Refusal, ToPolicy,
};
use tidegate_types::request::{NoticeBody, Reauthorized, ReplyBody, RequestBody};
use tidegate_types::{MediaKind, PersonId, ShardIndex};

const OPERATOR: u64 = 0;
/// What harness's clock begins at.
const START_UNIX_MS: u64 = 1_800_000_000_000;

/// Everything at the join; what `renewed` says from then on.
fn then(
    joined: Grant,
    renewed: impl Fn(&AuthorizeRequest) -> Result<AuthorizeAnswer, Failure> + 'static,
) -> World {
    let mut world = World::new(2);
    world.authorize = Box::new(move |request| match request.action {
        Action::Renew => renewed(request),
        _ => Ok(AuthorizeAnswer::Grant(joined.clone())),
    });
    world
}

fn granted(grant: Grant) -> impl Fn(&AuthorizeRequest) -> Result<AuthorizeAnswer, Failure> {
    move |_| Ok(AuthorizeAnswer::Grant(grant.clone()))
}

fn reauthorize(world: &mut World, person: PersonId) -> Reauthorized {
    match world.ask(OPERATOR, RequestBody::Reauthorize { person }) {
        Ok(ReplyBody::Reauthorized(done)) => done,
        other => panic!("not asked again: {other:?}"),
    }
}

/// When renewals were asked about, since the story began.
fn renewals(world: &World) -> Vec<u64> {
    let asked = world.policy_log.iter().filter_map(|message| match message {
        ToPolicy::Ask(question) => match &question.body {
            QuestionBody::Authorize(asked) if asked.action == Action::Renew => Some(asked.moment.unix_ms),
            _ => None,
        },
        ToPolicy::Feed(_) => None,
    });
    asked.map(|unix_ms| unix_ms.saturating_sub(START_UNIX_MS)).collect()
}

#[test]
fn an_operator_narrows_a_grant_and_what_is_beyond_it_ends_at_once() {
    let narrow = Grant {
        sources: Some(vec!["microphone".into(), "screen".into()]),
        max_tracks: Some(1),
        subscribe: false,
        data: false,
        egress_kbps: Some(300),
        ..Grant::open()
    };
    let mut world = then(Grant::open(), granted(narrow.clone()));
    let (ann, ben) = (world.join(1, "tea"), world.join(2, "tea"));
    let sound = world.produce(1, ann.transport, MediaKind::Audio);
    let picture = world.produce(1, ann.transport, MediaKind::Video);
    let screen = match world.ask(1, produce_from(ann.transport, MediaKind::Video, "screen")) {
        Ok(ReplyBody::Producer(screen)) => screen,
        other => panic!("no screen: {other:?}"),
    };
    let theirs = world.produce(2, ben.transport, MediaKind::Audio);
    let consumer = world.consume(1, ann.transport, theirs);
    world.notices.clear();
    world.commanded();
    assert_eq!(reauthorize(&mut world, ann.person), Reauthorized::Stays(Box::new(narrow.clone())));
    let told = world.told(1);
    assert_eq!(told[0], NoticeBody::GrantChanged(Box::new(narrow)));
    let revoked: Vec<_> = told[1..]
        .iter()
        .map(|notice| match notice {
            NoticeBody::TrackRevoked { producer, code, message } if !message.is_empty() => {
                (*producer, code.as_str())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(revoked, [(picture, "source-not-allowed"), (screen, "too-many-tracks")]);
    assert_eq!(world.told(2), [NoticeBody::TrackEnded(picture), NoticeBody::TrackEnded(screen)]);
    let commands: Vec<CommandBody> = world.commanded().into_iter().map(|(_, body)| body).collect();
    let limit = CommandBody::LimitTransport {
        transport: ann.transport,
        ingress_kbps: None,
        egress_kbps: Some(300),
        may_send: Some(false),
    };
    assert!(commands.contains(&limit), "{commands:?}");
    assert!(commands.contains(&CommandBody::CloseConsumer { consumer }), "{commands:?}");
    assert_eq!(code(world.ask(1, consume(ann.transport, theirs))), "may-not-subscribe");
    assert_eq!(code(world.ask(1, produce(ann.transport, MediaKind::Video))), "source-not-allowed");
    let text = RequestBody::SendMessage { transport: ann.transport, text: "hello".into() };
    assert_eq!(code(world.ask(1, text)), "may-not-send");
    let dump = world.dump();
    let tracks = dump.rooms[0].people[0].tracks.iter().map(|track| track.producer);
    assert_eq!(tracks.collect::<Vec<_>>(), [sound]);
    assert_eq!(dump.rooms[0].people[0].grant.max_tracks, Some(1));
    for (client, person) in [(1, ann.person), (2, ben.person)] {
        assert!(world.ask(client, RequestBody::Leave { person }).is_ok());
    }
    world.assert_empty();
}

#[test]
fn a_grant_that_grows_counts_from_then_on() {
    let mut world = then(Grant { subscribe: false, ..Grant::open() }, granted(Grant::open()));
    let (ann, ben) = (world.join(1, "tea"), world.join(2, "tea"));
    let track = world.produce(2, ben.transport, MediaKind::Audio);
    assert_eq!(code(world.ask(1, consume(ann.transport, track))), "may-not-subscribe");
    world.notices.clear();
    reauthorize(&mut world, ann.person);
    let told = world.told(1);
    assert!(
        matches!(&told[..], [NoticeBody::GrantChanged(_), NoticeBody::TrackPublished(view)] if view.producer == track),
        "{told:?}"
    );
    world.consume(1, ann.transport, track);
}

#[test]
fn a_refusal_ends_the_presence_with_the_policys_own_words() {
    let mut world =
        then(Grant::open(), |_| Ok(AuthorizeAnswer::Refuse(Refusal::new("banned", "You were banned."))));
    let ann = world.join(1, "tea");
    let (code, message) = ("banned".to_owned(), "You were banned.".to_owned());
    let ended = Reauthorized::Ended { code: code.clone(), message: message.clone() };
    assert_eq!(reauthorize(&mut world, ann.person), ended);
    assert_eq!(world.told(1), [NoticeBody::Ended { code, message }]);
    world.assert_empty();
}

#[test]
fn a_grant_for_another_room_person_or_time_ends_the_presence() {
    let ann = || Grant { identity: Some("ann".into()), ..Grant::open() };
    let unfit = [
        (Grant { room: Some("coffee".into()), ..ann() }, "wrong-room"),
        (Grant { identity: Some("eve".into()), ..ann() }, "identity-changed"),
        (Grant { expires_unix_ms: Some(START_UNIX_MS), ..ann() }, "grant-expired"),
    ];
    for (unfit, expected) in unfit {
        let mut world = then(ann(), granted(unfit));
        let person = world.join(1, "tea").person;
        let done = reauthorize(&mut world, person);
        assert!(matches!(&done, Reauthorized::Ended { code, .. } if code == expected), "{done:?}");
        world.assert_empty();
    }
    let mut world = then(ann(), granted(Grant::open()));
    let person = world.join(1, "tea").person;
    let kept = reauthorize(&mut world, person);
    assert_eq!(kept, Reauthorized::Stays(Box::new(ann())), "nobody said that it is someone else");
}

#[test]
fn an_operator_ends_a_presence_with_a_sentence() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    let end = |person| RequestBody::EndPerson { person, message: "Closing time.".into() };
    assert_eq!(world.ask(OPERATOR, end(ann.person)), Ok(ReplyBody::Done));
    let ended = NoticeBody::Ended { code: "ended-by-operator".into(), message: "Closing time.".into() };
    assert_eq!(world.told(1), [ended]);
    assert_eq!(code(world.ask(OPERATOR, end(ann.person))), "no-such-person");
    let again = world.ask(OPERATOR, RequestBody::Reauthorize { person: ann.person });
    assert_eq!(code(again), "no-such-person");
    world.assert_empty();
}

#[test]
fn a_policy_that_wishes_it_is_asked_again_with_the_same_facts() {
    let wish = Grant { ask_again_ms: Some(60_000), identity: Some("ann".into()), ..Grant::open() };
    let mut world = then(wish.clone(), move |request| {
        assert_eq!((request.token.expose(), request.identity.as_deref()), ("token", Some("ann")));
        assert_eq!((request.room.as_deref(), request.room_people), (Some("tea"), 1));
        Ok(AuthorizeAnswer::Grant(wish.clone()))
    });
    world.join(1, "tea");
    world.notices.clear();
    world.pass(Duration::from_secs(300));
    let asked = renewals(&world);
    assert!((5..=6).contains(&asked.len()), "{asked:?}");
    let gaps = asked.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.into_iter().all(|gap| (47_900..=60_100).contains(&gap)), "{asked:?}");
    assert_eq!(world.told(1), [], "the same grant is no news");
}

#[test]
fn a_span_beyond_the_bounds_counts_as_the_nearest() {
    for (wished_ms, asked_in) in [(1, 2..=5), (u32::MAX, 0..=0)] {
        let wish = Grant { ask_again_ms: Some(wished_ms), ..Grant::open() };
        let mut world = then(wish.clone(), granted(wish));
        world.join(1, "tea");
        world.pass(Duration::from_millis(4_100));
        let asked = renewals(&world).len();
        assert!(asked_in.contains(&asked), "{wished_ms} ms: {asked}");
    }
}

#[test]
fn without_an_answer_the_grant_stays_and_is_asked_about_later_each_time_until_it_expires() {
    let wish =
        Grant { ask_again_ms: Some(10_000), expires_unix_ms: Some(START_UNIX_MS + 600_000), ..Grant::open() };
    let mut world = then(wish, |_| Err(Failure::Trap));
    let ann = world.join(1, "tea");
    let failed = world.ask(OPERATOR, RequestBody::Reauthorize { person: ann.person });
    assert_eq!(code(failed), "authorize-trap");
    world.pass(Duration::from_secs(599));
    assert_eq!(world.metrics().people, 1);
    let asked = renewals(&world);
    let gaps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (index, gap) in gaps.iter().enumerate() {
        let most = 1_000 << index.min(6);
        assert!((most * 4 / 5 - 100..=most + 100).contains(gap), "{index}: {gaps:?}");
    }
    assert!(gaps.len() >= 12, "{gaps:?}");
    world.notices.clear();
    world.pass(Duration::from_secs(2));
    assert!(matches!(&world.told(1)[..], [NoticeBody::Ended { code, .. }] if code == "grant-expired"));
    world.assert_empty();
}

#[test]
fn a_thousand_who_came_together_are_not_asked_about_together() {
    let wish = Grant { ask_again_ms: Some(60_000), ..Grant::open() };
    let mut world = then(wish.clone(), granted(wish));
    for client in 1..=1_000 {
        world.join(client, &format!("room-{}", client / 10));
    }
    world.pass(Duration::from_millis(61_000));
    let asked = renewals(&world);
    assert!(asked.len() >= 1_000, "{}", asked.len());
    let first = &asked[..1_000];
    let busiest = (48..=60).map(|second| first.iter().filter(|at| **at / 1_000 == second).count()).max();
    assert!(busiest < Some(150), "{busiest:?} in one second");
}

#[test]
fn at_most_so_many_are_asked_about_at_once() {
    let mut world = then(Grant::open(), granted(Grant::open()));
    let people: Vec<PersonId> = (1..=40).map(|client| world.join(client, "tea").person).collect();
    let numbers: Vec<_> =
        people.iter().map(|&person| world.request(OPERATOR, RequestBody::Reauthorize { person })).collect();
    assert_eq!((renewals(&world).len(), world.metrics().pending_questions), (16, 16));
    // Who leaves meanwhile holds nobody up, asked about or in line.
    let leave = |person| RequestBody::Leave { person };
    let left = [world.request(1, leave(people[0])), world.request(40, leave(people[39]))];
    world.settle();
    for number in left {
        world.reply(number).expect("leaves");
    }
    for (number, person) in numbers.into_iter().zip(people) {
        let done = world.reply(number);
        assert!(matches!(done, Ok(ReplyBody::Reauthorized(_))), "{person}: {done:?}");
    }
    assert_eq!(world.metrics().pending_questions, 0);
}

#[test]
fn a_grant_that_comes_while_its_transport_moves_waits_until_it_has_arrived() {
    let narrow = Grant { egress_kbps: Some(100), ..Grant::open() };
    let mut world = then(Grant::open(), granted(narrow));
    let ann = world.join(1, "tea");
    let to = ShardIndex(1 - ann.place.shard.0);
    // The answer arrives before the transport does.
    let asked = world.request(OPERATOR, RequestBody::Reauthorize { person: ann.person });
    let moving = world.request(OPERATOR, RequestBody::Move { transport: ann.transport, to });
    world.settle();
    assert_eq!(world.reply(moving), Ok(ReplyBody::Done));
    world.pass(Duration::from_secs(1));
    assert!(matches!(world.reply(asked), Ok(ReplyBody::Reauthorized(Reauthorized::Stays(_)))));
    let limited = world.commanded().into_iter().find_map(|(place, body)| match body {
        CommandBody::LimitTransport { egress_kbps, .. } => Some((place.shard, egress_kbps)),
        _ => None,
    });
    assert_eq!(limited, Some((to, Some(100))), "where it stands now");
}

#[test]
fn a_timer_that_fires_while_an_operator_asks_asks_once() {
    let wish = Grant { ask_again_ms: Some(1_000), ..Grant::open() };
    let mut world = then(wish.clone(), granted(wish));
    let ann = world.join(1, "tea");
    let number = world.request(OPERATOR, RequestBody::Reauthorize { person: ann.person });
    let other = world.request(OPERATOR, RequestBody::Reauthorize { person: ann.person });
    assert_eq!(renewals(&world).len(), 1);
    world.settle();
    assert!(world.reply(number).is_ok() && world.reply(other).is_ok());
    assert_eq!(code(world.ask(1, join("tea"))), "already-joined");
}
