//! What a hostile component costs those who wait beside it: nothing. `tests/hostile` has the misdeeds themselves.

use crate::desk::{Desk, PATIENCE, config_with, join, open, place, shard};
use crate::guest::push_text;
use crate::misdeeds::{LOOP, guest};
use std::time::{Duration, Instant};
use tidegate_policy::Deadlines;
use tidegate_types::decision::{Decision, Failure};

#[test]
fn a_loop_ends_at_its_deadline() {
    let mut config = config_with(Decision::Authorize, guest().misbehave(LOOP));
    config.deadlines = Deadlines::usual();
    let desk = open(config);
    let began = Instant::now();
    assert_eq!(desk.ask(join(1)), Err(Failure::Deadline));
    let deadline = Duration::from_millis(Decision::Authorize.deadline_ms());
    // Not before; and not much later, though other tests keep this machine busy.
    assert!((deadline..deadline * 20).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[test]
fn a_looping_authorize_leaves_time_for_placements() {
    let desk = open(config_with(Decision::Authorize, guest().misbehave(LOOP)));
    desk.reset(1, 1);
    for _ in 0..3 {
        let placed = place_among_loops(&desk);
        assert_eq!(placed, Ok(0));
    }
}

/// Two joins that loop, then a placement; its outcome.
fn place_among_loops(desk: &Desk) -> Result<u16, Failure> {
    let loops = [desk.send(join(1)), desk.send(join(1))];
    let question = desk.send(place());
    let mut placed = None;
    for _ in 0..3 {
        let answer = desk.receive();
        if answer.number == question {
            placed = Some(answer.result);
        } else {
            assert!(loops.contains(&answer.number));
            assert_eq!(answer.result, Err(Failure::Deadline));
        }
    }
    shard(placed.expect("an answer"))
}

#[test]
fn waiting_counts_against_the_deadline() {
    let desk = open(config_with(Decision::Authorize, guest().misbehave(LOOP)));
    let began = Instant::now();
    for _ in 0..20 {
        desk.send(join(1));
    }
    for _ in 0..20 {
        assert_eq!(desk.receive().result, Err(Failure::Deadline));
    }
    // One after the other would take twenty deadlines.
    assert!(began.elapsed() < PATIENCE * 10);
}

#[test]
fn one_that_waits_is_answered_at_its_own_deadline() {
    let told = format!("(call $add {} (i64.const 1)) {LOOP}", push_text("test"));
    let mut config = config_with(Decision::Authorize, guest().misbehave(&told));
    config.threads = 1;
    config.deadlines.authorize = PATIENCE * 5;
    config.deadlines.allocate = PATIENCE / 8;
    let desk = open(config);
    desk.send(join(1));
    while desk.policies.counters() != [(Decision::Authorize, "test".into(), 1)] {
        std::thread::yield_now();
    }
    let question = desk.send(place());
    let first = desk.receive();
    assert_eq!(
        (first.number, first.result),
        (question, Err(Failure::Deadline)),
        "while the only thread loops"
    );
}

#[test]
fn one_question_too_many_is_told_so_at_once() {
    let mut config = config_with(Decision::Authorize, guest().misbehave(LOOP));
    config.queue = 2;
    let desk = open(config);
    let numbers: Vec<_> = (0..6).map(|_| desk.send(join(1))).collect();
    let answers: Vec<_> = numbers.iter().map(|_| desk.receive()).collect();
    let full = answers.iter().filter(|answer| answer.result == Err(Failure::QueueFull)).count();
    assert!((3..=4).contains(&full), "{answers:?}");
    assert_eq!(answers[0].result, Err(Failure::QueueFull), "the others still run or wait");
}

#[test]
fn stopping_answers_all_who_wait_and_ends_a_loop() {
    let desk = open(config_with(Decision::Authorize, guest().misbehave(LOOP)));
    for _ in 0..5 {
        desk.send(join(1));
    }
    let Desk { policies, .. } = desk;
    let began = Instant::now();
    policies.stop();
    assert!(began.elapsed() < Duration::from_secs(2));
}
