//! A policy that fails again and again: who decides then, who is told, and how it comes back.

use crate::desk::{Desk, config_with, granted, join, open, order, place, refused};
use crate::guest::{GRANT, Guest};
use crate::misdeeds::guest;
use std::time::{Duration, Instant};
use tidegate_types::decision::{
    AnswerBody, BreakerState, Decision, DecisionRecord, Failure, OnFailure, PlaceAnswer, PolicyInfo,
};

fn info(desk: &Desk) -> PolicyInfo {
    desk.policies.info().swap_remove(0)
}

/// Traps while there are people in the room, in a function that has a name.
fn trapping() -> Guest {
    guest().functions("(func $stumble (unreachable))").misbehave("(call $stumble)")
}

fn recorded(desk: &Desk) -> DecisionRecord {
    loop {
        if let Some(record) = desk.policies.records(1).pop() {
            return record;
        }
        std::thread::yield_now();
    }
}

#[test]
fn after_ten_failures_in_a_row_it_is_left_alone_and_then_tried_again() {
    let desk = open(config_with(Decision::Authorize, trapping()));
    for _ in 0..10 {
        assert_eq!(desk.ask(join(1)), Err(Failure::Trap));
    }
    assert_eq!(info(&desk).breaker, BreakerState::Open);
    assert_eq!(desk.ask(join(0)), Err(Failure::BreakerOpen), "it is not asked");
    assert!(info(&desk).failures.contains(&("breaker-open".into(), 1)));
    let began = Instant::now();
    while desk.ask(join(0)) == Err(Failure::BreakerOpen) {
        assert!(began.elapsed() < Duration::from_secs(10), "it is tried again");
        std::thread::yield_now();
    }
    assert_eq!(desk.ask(join(0)), refused());
    assert_eq!(info(&desk).breaker, BreakerState::Closed);
}

#[test]
fn a_failure_now_and_then_opens_nothing() {
    let desk = open(config_with(Decision::Authorize, trapping()));
    for _ in 0..4 {
        for _ in 0..9 {
            assert_eq!(desk.ask(join(1)), Err(Failure::Trap));
        }
        assert_eq!(desk.ask(join(0)), refused(), "one person's trouble is not everybody's");
    }
}

#[test]
fn a_trap_is_remembered_with_its_place() {
    let desk = open(config_with(Decision::Authorize, trapping()));
    assert_eq!(desk.ask(join(1)), Err(Failure::Trap));
    let trouble = recorded(&desk).trouble.expect("what went wrong");
    assert!(trouble.contains("stumble") && trouble.contains("unreachable"), "{trouble}");
}

#[test]
fn the_previous_generation_stands_in_where_that_was_chosen() {
    let good = Guest::new(Decision::Authorize).decide(format!("(i32.const {GRANT})"));
    let mut config = config_with(Decision::Authorize, good);
    config.on_failure.authorize = OnFailure::LastGood;
    let desk = open(config);
    let first = info(&desk).generation;
    desk.policies.swap(order(Decision::Authorize, trapping())).expect("it fits");
    assert_eq!(desk.ask(join(0)), refused(), "the new one decides while it can");
    for _ in 0..20 {
        assert_eq!(desk.ask(join(1)), granted(None), "the one before stands in");
    }
    assert_eq!(info(&desk).breaker, BreakerState::Open);
    let record = recorded(&desk);
    assert_eq!((record.by[0].instead, record.failure), (Some(first), None));
    assert!(record.by[0].failure.is_some());
}

#[test]
fn without_a_previous_one_nobody_is_let_in() {
    let mut config = config_with(Decision::Authorize, trapping());
    config.on_failure.authorize = OnFailure::LastGood;
    assert_eq!(open(config).ask(join(1)), Err(Failure::Trap));
}

#[test]
fn placements_can_be_refused_instead_of_built_in() {
    let trap = || Guest::new(Decision::Allocate).decide("(unreachable)");
    let desk = open(config_with(Decision::Allocate, trap()));
    assert_eq!(desk.ask(place()), Err(Failure::Trap), "the directory's own rule decides");
    let mut config = config_with(Decision::Allocate, trap());
    config.on_failure.allocate = OnFailure::Refuse;
    match open(config).ask(place()) {
        Ok(AnswerBody::Place(PlaceAnswer::Refuse(refusal))) => assert_eq!(refusal.code, "policy-failed"),
        other => panic!("{other:?}"),
    }
}
