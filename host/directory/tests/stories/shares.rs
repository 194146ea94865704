//! What share is asked about rooms, how often, and what places are told of its answers.

use crate::harness::{Share, World, config, consume_kind, produce};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tidegate_directory::{DirectoryConfig, Input};
use tidegate_types::MediaKind;
use tidegate_types::command::CommandBody;
use tidegate_types::decision::{Failure, QuestionBody, ToPolicy};
use tidegate_types::request::ClientId;
use tidegate_types::sharing::{Portion, ShareAnswer};

const PERIOD: Duration = Duration::from_millis(500);
const CEILING: Portion = Portion { weight_percent: 0, floor_kbps: 0, ceiling_kbps: 300, priority: 0 };

fn with_share(shards: u16) -> DirectoryConfig {
    DirectoryConfig { share: true, ..config(shards) }
}

/// Gives every track of a room that is asked about the same portion.
fn everyone(portion: Portion, valid_ms: u32) -> Share {
    Box::new(move |request| {
        let portions = vec![portion; request.tracks.len()];
        Ok(ShareAnswer { portions, valid_ms, clamped: 2, ..ShareAnswer::default() })
    })
}

/// Rooms that were asked about since this was last looked at, each with how often.
fn asked(world: &mut World) -> BTreeMap<String, usize> {
    let mut rooms = BTreeMap::new();
    for message in world.policy_log.drain(..) {
        if let ToPolicy::Ask(question) = message
            && let QuestionBody::Share(request) = question.body
        {
            *rooms.entry(request.room).or_default() += 1;
        }
    }
    rooms
}

/// What places were told since then: how many portions, and for how long.
fn told(world: &mut World) -> Vec<(usize, u32)> {
    let commands = std::mem::take(&mut world.commands);
    let told = commands.into_iter().filter_map(|(_, body)| match body {
        CommandBody::SetShares { portions, valid_ms, .. } => Some((portions.len(), valid_ms)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_room_is_asked_about_from_two_people_on_and_its_places_are_told_once_a_period() {
    let mut world = World::with(with_share(2));
    world.share = everyone(CEILING, 1_500);
    let ada = world.join(1, "tea");
    world.produce(1, ada.transport, MediaKind::Video);
    world.pass(Duration::from_secs(2));
    assert_eq!(asked(&mut world), BTreeMap::new(), "one person divides with nobody");
    world.join(2, "tea");
    world.commands.clear();
    world.pass(PERIOD * 10);
    let times = asked(&mut world)["tea"];
    assert!((8..=10).contains(&times), "{times} in ten periods");
    let said = told(&mut world);
    assert_eq!((said.len(), said[0]), (times, (1, 1_500)), "{said:?}");
    let metrics = world.directory.metrics();
    assert_eq!(metrics.share_asked_total, times as u64);
    assert_eq!((metrics.share_clamped_total, metrics.share_stale_total), (2 * times as u64, 0));
}

#[test]
fn without_the_policy_nobody_is_asked_and_nothing_is_measured() {
    let mut world = World::new(1);
    let ada = world.join(1, "tea");
    world.join(2, "tea");
    world.produce(1, ada.transport, MediaKind::Video);
    world.pass(Duration::from_secs(5));
    assert_eq!(asked(&mut world), BTreeMap::new());
    assert!(!world.commands.iter().any(|(_, body)| matches!(body, CommandBody::ReadRates { .. })));
}

#[test]
fn a_policy_that_comes_or_goes_meanwhile_is_asked_about_all_rooms_or_none() {
    let mut world = World::new(1);
    world.share = everyone(CEILING, 1_500);
    let full: Vec<String> = (0..45).map(|room| format!("room-{room:02}")).collect();
    for (room, client) in full.iter().zip((1..).step_by(2)) {
        let joined = world.join(client, room);
        world.join(client + 1, room);
        world.produce(client, joined.transport, MediaKind::Video);
    }
    world.join(1_000, "alone");
    world.pass(PERIOD * 2);
    assert_eq!(asked(&mut world), BTreeMap::new(), "nobody is there to ask");

    world.send(Input::Share(true));
    world.pass(PERIOD);
    assert!(asked(&mut world).into_keys().eq(full.iter().cloned()), "all who have something to divide");
    let late = world.join(1_002, "late");
    world.join(1_003, "late");
    world.produce(1_002, late.transport, MediaKind::Video);
    world.pass(PERIOD * 2);
    assert!(asked(&mut world).contains_key("late"));

    // What places were told ends, for twenty rooms in a tenth of a second.
    world.commands.clear();
    world.send(Input::Share(false));
    world.pass(Duration::from_millis(100));
    assert_eq!(told(&mut world), [(0, 0); 20]);
    world.pass(PERIOD);
    assert_eq!((told(&mut world).len(), asked(&mut world)), (26, BTreeMap::new()));
    world.pass(Duration::from_secs(5));
    assert!(asked(&mut world).is_empty() && told(&mut world).is_empty());
    assert_eq!(world.directory.metrics().share_stale_total, 0, "it was ended, not forgotten");

    world.send(Input::Share(true));
    world.pass(PERIOD);
    assert_eq!(asked(&mut world).len(), 46, "and it may come back");
}

#[test]
fn what_is_under_way_when_the_policy_goes_is_nobodys_answer() {
    let mut world = World::with(with_share(1));
    world.share = everyone(CEILING, 1_500);
    let ada = world.join(1, "tea");
    world.produce(1, ada.transport, MediaKind::Video);
    world.join(2, "tea");
    // Its places owe their rates when the policy goes, and its turn ends only once they have said them.
    world.mute = true;
    world.commands.clear();
    world.pass(PERIOD);
    assert!(world.commands.iter().any(|(_, body)| matches!(body, CommandBody::ReadRates { .. })));
    world.send(Input::Share(false));
    world.mute = false;
    world.pass(Duration::from_secs(20));
    assert!(asked(&mut world).is_empty() && told(&mut world).is_empty());
    world.send(Input::Share(true));
    world.pass(PERIOD);
    assert_eq!(asked(&mut world)["tea"], 1);
}

#[test]
fn a_question_tells_people_and_tracks_in_the_order_that_the_answer_has() {
    let mut world = World::with(with_share(1));
    let ada = world.join(1, "tea");
    let bob = world.join(2, "tea");
    let picture = world.produce(1, ada.transport, MediaKind::Video);
    let sound = world.produce(2, bob.transport, MediaKind::Audio);
    world.ask(2, consume_kind(bob.transport, picture, MediaKind::Video)).expect("it is sent");
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    world.share = Box::new(move |request| {
        log.borrow_mut().push(request.clone());
        Err(Failure::Deadline)
    });
    world.pass(PERIOD);
    let request = seen.borrow()[0].clone();
    assert_eq!((request.room.as_str(), request.period_ms), ("tea", 500));
    let people: Vec<_> =
        request.people.iter().map(|one| (one.sends, one.receives, one.rates.egress_kbps)).collect();
    assert_eq!(people, [(1, 0, 1_000), (1, 1, 1_000)]);
    let tracks: Vec<_> = request
        .tracks
        .iter()
        .map(|track| (track.producer, track.person, track.ingress_kbps, track.receivers, &*track.source))
        .collect();
    assert_eq!(tracks, [(picture, 0, 500, 1, "camera"), (sound, 1, 500, 0, "microphone")]);
    assert!(world.directory.metrics().share_failures_total > 0);
}

#[test]
fn a_policy_that_falls_silent_is_stale_once_its_last_answer_runs_out() {
    let mut world = World::with(with_share(1));
    world.share = everyone(CEILING, 1_500);
    let ada = world.join(1, "tea");
    world.produce(1, ada.transport, MediaKind::Video);
    world.join(2, "tea");
    world.pass(PERIOD);
    assert!(!told(&mut world).is_empty());
    world.share = Box::new(|_| Err(Failure::Trap));
    world.pass(Duration::from_secs(5));
    // What places know runs out by itself: nothing need tell them, and nothing more is counted.
    assert_eq!(told(&mut world), []);
    let metrics = world.directory.metrics();
    assert_eq!(metrics.share_stale_total, 1);
    assert!(metrics.share_failures_total >= 8, "{metrics:?}");
}

#[test]
fn an_answer_that_leaves_all_to_the_host_ends_what_was_told_before_and_is_silent_else() {
    let mut world = World::with(with_share(1));
    world.share = everyone(CEILING, 1_500);
    let ada = world.join(1, "tea");
    world.produce(1, ada.transport, MediaKind::Video);
    world.join(2, "tea");
    world.pass(PERIOD);
    assert_eq!(told(&mut world), [(1, 1_500)]);
    world.share = everyone(Portion::default(), 1_500);
    world.pass(PERIOD * 6);
    assert_eq!(told(&mut world), [(0, 1_500)], "once");
}

#[test]
fn a_room_whose_places_say_nothing_is_not_asked_about_a_second_time_meanwhile() {
    let mut world = World::with(with_share(1));
    let ada = world.join(1, "tea");
    world.produce(1, ada.transport, MediaKind::Video);
    world.join(2, "tea");
    world.mute = true;
    world.commands.clear();
    world.pass(PERIOD * 6);
    let measured = world.commands.iter().filter(|(_, body)| matches!(body, CommandBody::ReadRates { .. }));
    assert_eq!((measured.count(), asked(&mut world).len()), (1, 0));
}

#[test]
fn many_rooms_take_turns_and_none_is_forgotten() {
    const ROOMS: u64 = 150;
    let mut world = World::with(with_share(1));
    world.share = everyone(Portion::default(), 1_000);
    for room in 0..ROOMS {
        let name = format!("room-{room}");
        let joined = world.join(2 * room + 1, &name);
        world.join(2 * room + 2, &name);
        let _ = world.ask(2 * room + 1, produce(joined.transport, MediaKind::Video));
    }
    world.pass(Duration::from_secs(1));
    asked(&mut world);
    // 200 rooms in a second: everyone's period is 750 ms.
    world.pass(Duration::from_millis(7_500));
    let times = asked(&mut world);
    assert_eq!(times.len(), ROOMS as usize);
    assert!(times.values().all(|times| (9..=11).contains(times)), "{times:?}");
    let total: usize = times.values().sum();
    assert!(total <= 1_520, "{total} questions in 7.5 s");
}

#[test]
fn an_empty_room_leaves_nothing_behind() {
    let mut world = World::with(with_share(2));
    world.share = everyone(CEILING, 1_500);
    let ada = world.join(1, "tea");
    world.produce(1, ada.transport, MediaKind::Video);
    world.join(2, "tea");
    world.pass(PERIOD);
    world.send(Input::ClientGone(ClientId(1)));
    world.send(Input::ClientGone(ClientId(2)));
    world.pass(PERIOD * 2);
    asked(&mut world);
    world.pass(Duration::from_secs(5));
    assert_eq!(asked(&mut world), BTreeMap::new());
    world.assert_empty();
}
