//! One plugin asked on the caller's thread: what a host would get, and what it cost.

use crate::desk::{config, join, place, plugin, refused, shard};
use crate::guest::{Guest, NEED};
use crate::misdeeds::{answers, guest, hostile};
use std::sync::Arc;
use tidegate_policy::Source;
use tidegate_policy::sandbox::{Metering, Workshop};
use tidegate_types::Place;
use tidegate_types::cluster::{Column, Feed, ShardRow};
use tidegate_types::decision::{AnswerBody, AuthorizeAnswer, Decision, Failure};

fn workshop(metering: Metering) -> Workshop {
    Workshop::new(&config(), metering, Arc::new(|| 1_000)).expect("an engine")
}

#[test]
fn misdeeds_end_as_in_a_host_and_the_next_answer_is_sound() {
    let workshop = workshop(Metering::Off);
    for (name, guest, failure) in hostile() {
        // No lookup is made here: see below.
        if failure == Failure::Lookup {
            continue;
        }
        let component = plugin("hostile", guest.build());
        let mut sandbox = workshop.open(Decision::Authorize, &component, &[]).expect("it starts");
        assert_eq!(sandbox.ask(&join(1)).result, Err(failure), "{name}");
        assert_eq!(sandbox.ask(&join(0)).result, refused(), "{name}");
    }
}

#[test]
fn a_need_is_given_as_it_is() {
    let mut sandbox = workshop(Metering::Off)
        .open(Decision::Authorize, &plugin("needing", answers(NEED).build()), &[])
        .expect("it starts");
    let need = AuthorizeAnswer::Need { lookup: "table".into(), key: "key".into() };
    assert_eq!(sandbox.ask(&join(1)).result, Ok(AnswerBody::Authorize(need)));
}

#[test]
fn fuel_is_counted_alike_each_time_and_memory_as_it_stands() {
    let grows = guest().misbehave("(drop (memory.grow (i32.const 3)))");
    let component = plugin("growing", grows.build());
    let workshop = workshop(Metering::Fuel);
    let spent = || {
        let mut sandbox = workshop.open(Decision::Authorize, &component, &[]).expect("it starts");
        let small = sandbox.ask(&join(0));
        let large = sandbox.ask(&join(1));
        let pages = |came: &tidegate_policy::sandbox::Asked| came.memory_bytes / 65_536;
        assert_eq!((pages(&small), pages(&large)), (32, 35), "the guest begins with 32 pages");
        (small.fuel.expect("counted"), large.fuel.expect("counted"))
    };
    let (small, large) = spent();
    assert!(small > 0 && large > small, "{small} {large}");
    assert_eq!(spent(), (small, large));
    let plain = self::workshop(Metering::Off);
    let mut uncounted = plain.open(Decision::Authorize, &component, &[]).expect("it starts");
    assert_eq!(uncounted.ask(&join(0)).fuel, None);
}

#[test]
fn what_was_told_and_remembered_ends_with_the_sandbox() {
    let row = |index| ShardRow {
        place: Place::local(index),
        region: String::new(),
        node_name: String::new(),
        values: [0; Column::ALL.len()],
    };
    let component = plugin("placing", Guest::new(Decision::Allocate).build());
    let mut sandbox = workshop(Metering::Off).open(Decision::Allocate, &component, &[]).expect("it starts");
    sandbox.feed(Feed::Reset { generation: 1, rows: vec![row(7)] });
    assert_eq!(shard(sandbox.ask(&place()).result), Ok(7));
    let mut anew = sandbox.anew(&serde_json::Value::Null, &[]).expect("it starts again");
    assert_eq!(shard(anew.ask(&place()).result), Err(Failure::Stale), "row 0 is of another cluster");
}

#[test]
fn a_look_tells_decisions_and_every_problem() {
    let workshop = workshop(Metering::Off);
    let look = |guest: Guest| {
        workshop
            .inspect(&Source::Embedded { name: "guest", bytes: guest.build().into() })
            .expect("a component")
    };
    let good = look(Guest::new(Decision::Balance));
    assert_eq!(good.decisions, [Decision::Balance]);
    assert!(good.problems.is_empty() && good.digest.len() == 64, "{good:?}");
    assert!(good.exports.iter().any(|name| name.contains("balancing")), "{good:?}");
    let foreign = guest().with_foreign_import().misbehave("(drop (call $now))");
    let foreign = look(foreign);
    assert!(foreign.problems.len() == 1 && foreign.problems[0].contains("test:guest/clock"), "{foreign:?}");
    let newer = look(guest().of_version("2.0.0"));
    assert!(newer.decisions.is_empty() && newer.problems[0].contains("2.0.0"), "{newer:?}");
}
