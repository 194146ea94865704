//! Where transports go: one at a time, promises first, and what stands in when the policy fails.

use crate::harness::{World, code, config, join, seeds, there};
use std::time::Duration;
use tidegate_directory::{Input, Watermarks, concentrate_then_spill};
use tidegate_types::cluster::{Column, Feed, ShardRow};
use tidegate_types::decision::{BalanceAnswer, Failure, PlaceAnswer, QuestionBody, Refusal, ToPolicy, Wish};
use tidegate_types::report::LoadReport;
use tidegate_types::request::{ErrorKind, NoticeBody};
use tidegate_types::{PersonId, Place};

fn questions(log: &[ToPolicy], wanted: fn(&QuestionBody) -> bool) -> usize {
    log.iter().filter(|message| matches!(message, ToPolicy::Ask(question) if wanted(&question.body))).count()
}

fn row(shard: u16, cells: &[(Column, u64)]) -> ShardRow {
    let mut values = [0; Column::ALL.len()];
    for (column, value) in cells {
        values[column.index()] = *value;
    }
    ShardRow { place: Place::local(shard), region: String::new(), node_name: String::new(), values }
}

#[test]
fn the_built_in_fills_the_fullest_below_its_watermark_and_then_spills() {
    let marks = Watermarks { transports: 10, ..Watermarks::default() };
    let transports = |shard, count| row(shard, &[(Column::Transports, count)]);
    let choose = |rows: &[ShardRow]| concentrate_then_spill(rows, &marks).map(|place| place.shard.0);
    assert_eq!(choose(&[transports(0, 3), transports(1, 9), transports(2, 0)]), Some(1));
    assert_eq!(choose(&[transports(0, 3), transports(1, 10), transports(2, 0)]), Some(0));
    assert_eq!(choose(&[transports(0, 12), transports(1, 11)]), Some(1));
    let promised = row(1, &[(Column::Transports, 4), (Column::ReservedTransports, 6)]);
    assert_eq!(choose(&[transports(0, 3), promised]), Some(0));
    let slow = row(0, &[(Column::Transports, 5), (Column::ForwardDelayP99, 9_000)]);
    assert_eq!(choose(&[slow, transports(1, 0)]), Some(1));
    let sheds = row(0, &[(Column::Transports, 5), (Column::Shedding, 1)]);
    assert_eq!(choose(&[sheds, transports(1, 0)]), Some(1));
    let draining = row(0, &[(Column::Transports, 5), (Column::Draining, 1)]);
    assert_eq!(choose(&[draining.clone(), transports(1, 0)]), Some(1));
    assert_eq!(choose(&[draining]), None);
    assert_eq!(choose(&[]), None);
}

/// A thousand people at once, and no load report among them.
fn herd(world: &mut World, watermark: u64) {
    let numbers: Vec<_> =
        (0..1_000).map(|client| world.request(client, join(&format!("r{}", client % 50)))).collect();
    world.settle();
    for number in numbers {
        assert!(world.reply(number).is_ok());
    }
    for (place, books) in &world.places {
        assert!(books.transports.len() as u64 <= watermark + 1, "{place} holds {}", books.transports.len());
    }
}

#[test]
fn a_thousand_joins_at_once_pass_no_watermark_by_more_than_one() {
    let mut config = config(11);
    config.watermarks = Watermarks { transports: 100, ..Watermarks::default() };
    let mut world = World::with(config);
    herd(&mut world, 100);
    // The policy decided, and had been told of every promise before its next decision.
    assert_eq!(world.metrics().builtin_placements_total, 0);
    let mut told = true;
    for message in &world.policy_log {
        match message {
            ToPolicy::Feed(_) => told = true,
            ToPolicy::Ask(question) if matches!(question.body, QuestionBody::Place(_)) => {
                assert!(std::mem::take(&mut told), "a placement without the last promise");
            }
            ToPolicy::Ask(_) => {}
        }
    }
}

#[test]
fn the_built_in_does_not_herd_either() {
    let mut config = config(11);
    config.watermarks = Watermarks { transports: 100, ..Watermarks::default() };
    let mut world = World::with(config);
    world.allocate = Box::new(|_, _| Err(Failure::Trap));
    herd(&mut world, 100);
    assert_eq!(world.metrics().builtin_placements_total, 1_000);
}

#[test]
fn promises_lapse_when_reports_show_them_or_after_ten_seconds() {
    let mut world = World::new(1);
    world.join(1, "tea");
    world.join(2, "tea");
    assert_eq!(world.rows[0].value(Column::ReservedTransports), 2);
    assert_eq!(world.rows[0].value(Column::ReservedIngress), 200);
    world.load(0, LoadReport { transports: 2, ingress_kbps: 100, ..LoadReport::default() });
    assert_eq!(world.rows[0].value(Column::ReservedTransports), 0);
    assert_eq!(world.rows[0].value(Column::ReservedIngress), 100);
    assert_eq!(world.metrics().reservations, 1);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.rows[0].value(Column::ReservedIngress), 0);
    assert_eq!(world.metrics().reservations, 0);
}

#[test]
fn who_leaves_takes_its_promise_along_at_once() {
    let mut world = World::new(1);
    world.join(1, "tea");
    world.send(Input::ClientGone(tidegate_types::request::ClientId(1)));
    assert_eq!((world.metrics().reservations, world.rows[0].value(Column::ReservedTransports)), (0, 0));
}

#[test]
fn a_report_tells_changed_cells_once() {
    let mut world = World::new(2);
    let load = LoadReport { cpu_permille: 100, packets_in_per_s: 5, ..LoadReport::default() };
    world.load(1, load);
    world.pass(Duration::from_millis(10));
    world.policy_log.clear();
    world.load(1, load);
    assert_eq!(world.policy_log, []);
    world.load(1, LoadReport { cpu_permille: 200, ..load });
    let [ToPolicy::Feed(Feed::Delta { changes, .. })] = &world.policy_log[..] else { panic!("one delta") };
    assert_eq!((changes.len(), changes[0].row, changes[0].value), (1, 1, 200));
}

#[test]
fn a_stale_placement_is_asked_again_over_a_fresh_feed_and_then_decided_here() {
    for (answers, expected_builtin) in [([7, 1], 0), ([7, 8], 1)] {
        let mut world = World::new(2);
        let mut answers = answers.into_iter();
        world.allocate =
            Box::new(move |_, _| there(Place::local(answers.next().expect("two are asked for"))));
        let joined = world.join(1, "tea");
        assert_eq!(joined.place, Place::local(u16::from(expected_builtin == 0)));
        assert_eq!(world.metrics().builtin_placements_total, expected_builtin);
        assert_eq!(world.metrics().stale_placements_total, 1 + expected_builtin);
        assert_eq!(world.generation, 2);
    }
}

#[test]
fn a_draining_place_takes_nobody() {
    let mut world = World::new(2);
    world.send(Input::Drain { place: Place::local(0), draining: true });
    world.settle();
    world.allocate = Box::new(|_, _| there(Place::local(0)));
    assert_eq!(world.join(1, "tea").place, Place::local(1));
    world.send(Input::Drain { place: Place::local(1), draining: true });
    assert_eq!(code(world.ask(2, join("tea"))), "no-place");
    world.send(Input::Drain { place: Place::local(0), draining: false });
    assert_eq!(world.join(2, "tea").place, Place::local(0));
}

#[test]
fn a_policy_that_places_nobody_is_obeyed() {
    let mut world = World::new(1);
    world.allocate = Box::new(|_, _| Ok(PlaceAnswer::Refuse(Refusal::new("full", "We are full."))));
    let error = world.ask(1, join("tea")).expect_err("full");
    assert_eq!((error.kind, &*error.code), (ErrorKind::Full, "full"));
    world.assert_empty();
}

#[test]
fn a_stuck_placement_holds_up_the_others_for_a_second_at_most() {
    let mut world = World::new(1);
    let first = world.request(1, join("tea"));
    let second = world.request(2, join("tea"));
    // Both are let in; the answer about the first one's place is lost.
    for _ in 0..2 {
        let granted = world.inbox.pop_front().expect("an authorize answer");
        world.send(granted);
    }
    world.inbox.clear();
    world.pass(Duration::from_secs(1));
    world.settle();
    assert!(world.reply(first).is_ok() && world.reply(second).is_ok());
    assert_eq!(world.metrics().builtin_placements_total, 1);
}

#[test]
fn balance_is_asked_once_load_is_known_and_its_wishes_are_shown() {
    let mut world = World::new(1);
    let wish = |number| Wish {
        action: "move".into(),
        from: None,
        to: None,
        amount: number,
        unit: "transports".into(),
        reason: "because".into(),
    };
    let mut asked = 0;
    world.balance = Box::new(move || {
        asked += 1;
        Ok(BalanceAnswer { wishes: vec![wish(asked); 10], attrs: Vec::new() })
    });
    let balance = |body: &QuestionBody| matches!(body, QuestionBody::Balance(_));
    world.pass(Duration::from_secs(60));
    assert_eq!(questions(&world.policy_log, balance), 0);
    world.load(0, LoadReport::default());
    assert_eq!(questions(&world.policy_log, balance), 1);
    world.pass(Duration::from_secs(50));
    assert_eq!(questions(&world.policy_log, balance), 11);
    let wishes = world.dump().wishes;
    assert_eq!((wishes.len(), wishes[63].1.amount), (64, 11));
    world.balance = Box::new(|| Err(Failure::Trap));
    world.pass(Duration::from_secs(5));
    assert_eq!((world.dump().wishes, world.metrics().balance_failures_total), (wishes, 1));
}

#[test]
fn who_stood_at_a_lost_place_is_told_and_others_stay() {
    let mut world = World::new(2);
    world.allocate = crate::harness::round_robin(2);
    world.join(1, "tea");
    let ben = world.join(2, "tea");
    world.told(1);
    world.send(Input::Shards(seeds(1)));
    world.places.remove(&Place::local(1));
    assert_eq!((world.generation, world.rows.len()), (2, 1));
    assert!(matches!(&world.told(2)[..], [.., NoticeBody::Ended { code, .. }] if code == "place-lost"));
    assert_eq!(world.told(1), [NoticeBody::PersonLeft(ben.person)]);
    assert_ne!(ben.person, PersonId(0));
    world.send(Input::ClientGone(tidegate_types::request::ClientId(1)));
    world.assert_empty();
}
