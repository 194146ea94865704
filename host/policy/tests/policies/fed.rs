//! What allocate and balance are told of the cluster, and what their answers may name.

use crate::desk::{Desk, balance, config, config_with, open, place, shard};
use crate::guest::{APPLIED, Guest, PLACEMENT, RESYNC};
use tidegate_types::Place;
use tidegate_types::decision::{
    AnswerBody, BalanceAnswer, Decision, Failure, Parent, PlaceKind, QuestionBody,
};

/// Places on the row whose number the last delta told.
fn obedient() -> Guest {
    let remember = format!(
        "(i32.store (i32.const {}) (i32.load (local.get $values))) (i32.const {APPLIED})",
        PLACEMENT + 4
    );
    Guest::new(Decision::Allocate).delta(remember)
}

fn ask(desk: &Desk) -> Result<u16, Failure> {
    shard(desk.ask(place()))
}

#[test]
fn each_decision_knows_all_that_was_told_before_it() {
    let desk = open(config_with(Decision::Allocate, obedient()));
    desk.reset(1, 4);
    assert_eq!(ask(&desk), Ok(0));
    for row in [3, 1, 2] {
        desk.cpu(1, row);
        assert_eq!(ask(&desk), Ok(u16::try_from(row).expect("small")));
    }
}

#[test]
fn an_instance_made_anew_is_told_the_cluster_first() {
    // Traps at row 3; remembers at a reset how many rows there are, and places on the last.
    let body = format!(
        "(if (i32.eq (i32.load (i32.const {0})) (i32.const 3)) (then (unreachable))) (i32.const {PLACEMENT})",
        PLACEMENT + 4
    );
    let last_row =
        format!("(i32.store (i32.const {}) (i32.sub (local.get $rows) (i32.const 1)))", PLACEMENT + 4);
    let guest = obedient().reset(&last_row).decide(body);
    let desk = open(config_with(Decision::Allocate, guest));
    desk.reset(1, 3);
    assert_eq!(ask(&desk), Ok(2));
    desk.cpu(1, 3);
    assert_eq!(ask(&desk), Err(Failure::Trap));
    assert_eq!(ask(&desk), Ok(2), "its memory began anew and was told the reset again");
}

#[test]
fn a_row_that_is_not_in_the_feed_is_stale() {
    let desk = open(config_with(Decision::Allocate, obedient()));
    assert_eq!(ask(&desk), Err(Failure::Stale), "nothing was told yet");
    desk.reset(1, 2);
    assert_eq!(ask(&desk), Ok(0));
    desk.cpu(1, 2);
    assert_eq!(ask(&desk), Err(Failure::Stale));
    desk.cpu(1, 1);
    assert_eq!(ask(&desk), Ok(1), "the instance was kept");
}

#[test]
fn a_stale_answer_is_asked_for_again_after_a_reset() {
    // Row 9 until a reset that is not its first.
    let at = PLACEMENT + 4;
    let reset = format!(
        "(i32.store (i32.const {at}) (select (i32.const 0) (i32.const 9) (i32.load (i32.const 1900)))) \
         (i32.store (i32.const 1900) (i32.const 1))"
    );
    let desk = open(config_with(Decision::Allocate, Guest::new(Decision::Allocate).reset(&reset)));
    desk.reset(1, 1);
    assert_eq!(ask(&desk), Ok(0));
}

#[test]
fn a_guest_that_lost_the_thread_gets_a_reset_before_it_decides() {
    let count = format!(
        "(i32.store (i32.const {0}) (i32.add (i32.load (i32.const {0})) (i32.const 1)))",
        PLACEMENT + 4
    );
    let guest = Guest::new(Decision::Allocate).reset(&count).delta(format!("(i32.const {RESYNC})"));
    let desk = open(config_with(Decision::Allocate, guest));
    desk.reset(1, 9);
    assert_eq!(ask(&desk), Ok(1));
    desk.cpu(1, 5);
    assert_eq!(ask(&desk), Ok(2), "one more reset");
}

#[test]
fn a_relay_is_placed_on_one_of_its_parents() {
    let desk = open(config());
    desk.reset(1, 2);
    let relay = |parent: u16| {
        let QuestionBody::Place(mut request) = place() else { unreachable!("a place request") };
        request.kind = PlaceKind::Relay;
        request.parents = vec![Parent { place: Place::local(parent), depth: 0, fan_out: 0 }];
        shard(desk.ask(QuestionBody::Place(request)))
    };
    assert_eq!(relay(0), Ok(0));
    assert_eq!(relay(1), Err(Failure::Nonsense));
}

#[test]
fn balance_answers_with_its_wishes() {
    let desk = open(config());
    desk.reset(1, 2);
    assert_eq!(desk.ask(balance()), Ok(AnswerBody::Balance(BalanceAnswer::default())));
}
