//! Ends: who is told, and that everything of it goes.

use crate::harness::{World, code, join, round_robin};
use tidegate_directory::Input;
use tidegate_types::command::CommandBody;
use tidegate_types::consumer::Allowance;
use tidegate_types::report::Report;
use tidegate_types::request::{ClientId, ConsumerDump, NoticeBody, ReplyBody, RequestBody};
use tidegate_types::transport::{TransportEnd, TransportState};
use tidegate_types::{MediaKind, Place, TransportId};

#[test]
fn leaving_takes_everything_along_and_closes_the_empty_router_everywhere() {
    let mut world = World::new(2);
    world.allocate = round_robin(2);
    let ann = world.join(1, "tea");
    let ben = world.join(2, "tea");
    let track = world.produce(1, ann.transport, MediaKind::Audio);
    world.consume(2, ben.transport, track);
    world.notices.clear();
    assert_eq!(world.ask(1, RequestBody::Leave { person: ann.person }), Ok(ReplyBody::Done));
    assert_eq!(world.told(2), [NoticeBody::TrackEnded(track), NoticeBody::PersonLeft(ann.person)]);
    assert_eq!(world.told(1), [], "who leaves need not be told");
    world.commanded();
    world.send(Input::ClientGone(ClientId(2)));
    let closed = world.commanded();
    let routers: Vec<_> = closed
        .iter()
        .filter(|(_, body)| *body == CommandBody::CloseRouter { router: ann.router })
        .map(|(place, _)| place.shard.0)
        .collect();
    assert_eq!(routers, [0, 1]);
    world.assert_empty();
    assert_ne!(world.join(3, "tea").router, ann.router, "a room begins anew");
}

#[test]
fn a_transport_that_ends_by_itself_ends_the_presence_with_a_reason() {
    let ends = [
        (TransportEnd::ConsentLost, "consent-lost"),
        (TransportEnd::WrongFingerprint, "wrong-fingerprint"),
        (TransportEnd::DtlsFailed, "dtls-failed"),
        (TransportEnd::PeerClosed, "peer-closed"),
    ];
    for (end, expected) in ends {
        let mut world = World::new(1);
        let ann = world.join(1, "tea");
        world.join(2, "tea");
        world.notices.clear();
        world.places.get_mut(&Place::local(0)).expect("exists").end_transport(ann.transport);
        let state = TransportState::Closed;
        world.report(0, Report::Transport { transport: ann.transport, state, end: Some(end) });
        let ended = NoticeBody::Ended { code: expected.into(), message: end.sentence().into() };
        assert_eq!(world.told(1), [NoticeBody::Transport { transport: ann.transport, state }, ended]);
        assert_eq!(world.told(2), [NoticeBody::PersonLeft(ann.person)]);
        world.join(1, "tea");
    }
}

#[test]
fn a_disconnected_transport_is_told_of_and_kept() {
    let mut world = World::new(1);
    let transport = world.join(1, "tea").transport;
    for state in [TransportState::Connected, TransportState::Disconnected, TransportState::Disconnected] {
        world.report(0, Report::Transport { transport, state, end: None });
    }
    let told = [TransportState::Connected, TransportState::Disconnected]
        .map(|state| NoticeBody::Transport { transport, state });
    assert_eq!(world.told(1), told, "once for each change");
    assert_eq!(world.dump().rooms[0].people[0].state, TransportState::Disconnected);
}

#[test]
fn reports_about_what_is_gone_or_never_was_change_nothing() {
    let mut world = World::new(1);
    let state = TransportState::Closed;
    world.report(0, Report::Transport { transport: TransportId(5), state, end: None });
    world.report(7, Report::Transport { transport: TransportId(5), state, end: None });
    let consumer = tidegate_types::ConsumerId(5);
    world.report(0, Report::LayersChanged { consumer, encoding: Some(1), allowance: Allowance::Full });
    world.report(0, Report::EncodingsWatched { producer: tidegate_types::ProducerId(5), encodings: 1 });
    assert_eq!((world.metrics().late_total, world.notices.len()), (4, 0));
}

#[test]
fn layer_changes_reach_their_receiver_and_the_dump() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    let track = world.produce(1, ann.transport, MediaKind::Audio);
    let consumer = world.consume(1, ann.transport, track);
    let (encoding, allowance) = (Some(2), Allowance::Reduced);
    world.report(0, Report::LayersChanged { consumer, encoding, allowance });
    assert_eq!(world.told(1), [NoticeBody::LayersChanged { consumer, encoding, allowance }]);
    let dumped = ConsumerDump { consumer, producer: track, encoding, allowance };
    assert_eq!(world.dump().rooms[0].people[0].consumers, [dumped]);
}

#[test]
fn a_publisher_alone_is_told_what_is_watched_of_its_track() {
    let mut world = World::new(1);
    let ann = world.join(1, "tea");
    world.join(2, "tea");
    let producer = world.produce(1, ann.transport, MediaKind::Video);
    world.notices.clear();
    world.report(0, Report::EncodingsWatched { producer, encodings: 0b011 });
    assert_eq!(world.told(1), [NoticeBody::EncodingsWatched { producer, encodings: 0b011 }]);
    assert_eq!(world.told(2), []);
}

#[test]
fn stopping_tells_everyone_and_lets_nobody_in() {
    let mut world = World::new(1);
    world.join(1, "tea");
    let entering = world.request(2, join("tea"));
    world.send(Input::Stop { code: "host-stops".into(), message: "The host restarts.".into() });
    let ended = NoticeBody::Ended { code: "host-stops".into(), message: "The host restarts.".into() };
    assert_eq!(world.told(1), [ended]);
    assert_eq!(code(world.reply(entering)), "host-stops");
    assert_eq!(code(world.ask(3, join("tea"))), "stopping");
    world.assert_empty();
}
