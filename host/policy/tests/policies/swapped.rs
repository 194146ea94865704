//! One component takes another's place while questions go on.

use crate::desk::{
    Desk, Outcome, config, config_with, granted, join, open, order, place, plugin, refused, shard, share,
};
use crate::guest::{GRANT, GRANT_TEST, Guest, PLACEMENT, REFUSAL};
use tidegate_policy::{LoadError, SwapError, SwapOrder};
use tidegate_types::decision::{AnswerBody, Decision, DecisionRecord, Failure, PolicyInfo};

fn answering(address: u32) -> Guest {
    Guest::new(Decision::Authorize).decide(format!("(i32.const {address})"))
}

fn info(desk: &Desk) -> PolicyInfo {
    desk.policies.info().swap_remove(0)
}

fn last(desk: &Desk) -> DecisionRecord {
    // An answer is out before it is remembered.
    loop {
        if let Some(record) = desk.policies.records(1).pop() {
            return record;
        }
        std::thread::yield_now();
    }
}

#[test]
fn another_decides_from_the_next_question_on_and_the_one_before_comes_back() {
    let desk = open(config_with(Decision::Authorize, answering(REFUSAL)));
    assert_eq!(desk.ask(join(1)), refused());
    let first = info(&desk);
    let swapped = desk.policies.swap(order(Decision::Authorize, answering(GRANT))).expect("it fits");
    assert_eq!(swapped.before.map(|before| before.generation), Some(first.generation));
    let now = swapped.generation.expect("it is in force");
    assert_eq!(desk.ask(join(1)), granted(None));
    let second = info(&desk);
    assert_eq!((second.generation, &second.digest), (now.generation, &now.digest));
    assert!(second.generation > first.generation && second.digest != first.digest);
    assert_eq!(second.previous.as_ref().map(|before| before.generation), Some(first.generation));

    let back = desk.policies.back(Decision::Authorize, 1).expect("there was one");
    assert_eq!(back.generation.map(|back| back.generation), Some(first.generation));
    assert_eq!(desk.ask(join(1)), refused());
    desk.policies.back(Decision::Authorize, 1).expect("and forth");
    assert_eq!(desk.ask(join(1)), granted(None));
}

#[test]
fn each_record_names_the_generation_that_decided() {
    let desk = open(config_with(Decision::Authorize, answering(REFUSAL)));
    desk.ask(join(1)).expect("an answer");
    let by = last(&desk).by;
    assert_eq!((by.len(), by[0].generation, by[0].asked), (1, info(&desk).generation, true));
    assert_eq!(by[0].digest, info(&desk).digest);
}

#[test]
fn what_does_not_fit_leaves_the_one_in_force() {
    let desk = open(config_with(Decision::Authorize, answering(REFUSAL)));
    let swap = |plugin| {
        desk.policies.swap(SwapOrder { decision: Decision::Authorize, position: 1, plugin, shadow: false })
    };
    let wrong = swap(plugin("wrong", Guest::new(Decision::Balance).build()));
    assert!(matches!(wrong, Err(SwapError::Load(LoadError::WrongWorld { .. }))), "{wrong:?}");
    let problems = answering(GRANT).configure(format!("(i32.const {})", crate::guest::PROBLEMS));
    let wrong = swap(plugin("choosy", problems.build()));
    assert!(matches!(wrong, Err(SwapError::Load(LoadError::Configuration { .. }))), "{wrong:?}");
    let stale = swap(plugin("again", answering(REFUSAL).build()));
    assert!(matches!(stale, Err(SwapError::Unchanged { .. })), "a stale build is no new one: {stale:?}");
    let mut far = order(Decision::Authorize, answering(GRANT));
    far.position = 2;
    assert!(matches!(desk.policies.swap(far), Err(SwapError::NoPosition { length: 1, .. })));
    assert!(matches!(desk.policies.back(Decision::Authorize, 1), Err(SwapError::NothingBefore(_))));
    assert_eq!(desk.ask(join(1)), refused());
}

#[test]
fn one_that_comes_in_force_knows_the_cluster() {
    let last_row = |more: &str| {
        let at = PLACEMENT + 4;
        let reset = format!("(i32.store (i32.const {at}) (i32.sub (local.get $rows) (i32.const 1))) {more}");
        Guest::new(Decision::Allocate).reset(&reset)
    };
    let desk = open(config());
    desk.reset(1, 5);
    assert_eq!(shard(desk.ask(place())), Ok(0));
    desk.policies.swap(order(Decision::Allocate, last_row(""))).expect("it fits");
    assert_eq!(shard(desk.ask(place())), Ok(4));
    desk.reset(2, 3);
    desk.policies.swap(order(Decision::Allocate, last_row("(nop)"))).expect("it fits");
    assert_eq!(shard(desk.ask(place())), Ok(2));
}

#[test]
fn the_shadow_decides_too_and_does_not_count_until_it_is_put_in_force() {
    let desk = open(config_with(Decision::Authorize, answering(REFUSAL)));
    let mut trial = order(Decision::Authorize, answering(GRANT_TEST));
    trial.shadow = true;
    let swapped = desk.policies.swap(trial).expect("it fits");
    for _ in 0..3 {
        assert_eq!(desk.ask(join(1)), refused());
    }
    // It decides after the answer is out.
    let shadow = loop {
        let shadow = info(&desk).shadow.expect("one is on trial");
        if shadow.calls == 3 {
            break shadow;
        }
        std::thread::yield_now();
    };
    let trial = swapped.generation.expect("it is on trial");
    assert_eq!(shadow.generation.generation, trial.generation);
    assert_eq!((shadow.differences, shadow.failures), (3, 0));
    assert!(shadow.last[0].in_force.contains("go away") && shadow.last[0].instead.contains("test"));
    desk.policies.enforce(Decision::Authorize, 1).expect("it is on trial");
    assert_eq!(desk.ask(join(1)), granted(Some("test")));
    assert!(info(&desk).shadow.is_none());
    assert_eq!(info(&desk).digest, trial.digest);
    assert!(matches!(desk.policies.dismiss(Decision::Authorize, 1), Err(SwapError::NoShadow(_))));
}

/// Leaves everything to the host, for so many milliseconds.
fn sharing(valid_ms: u32) -> Guest {
    Guest::new(Decision::Share)
        .decide(format!("(i32.store (i32.const 6008) (i32.const {valid_ms})) (i32.const 6000)"))
}

fn valid_ms(outcome: Outcome) -> Result<u32, Failure> {
    match outcome? {
        AnswerBody::Share(answer) => Ok(answer.valid_ms),
        other => panic!("no answer of share: {other:?}"),
    }
}

fn shares(desk: &Desk) -> Option<PolicyInfo> {
    desk.policies.info().into_iter().find(|info| info.decision == Decision::Share)
}

#[test]
fn a_decision_that_nobody_made_is_made_from_the_swap_on_and_left_to_the_host_again() {
    let mut config = config();
    config.share = None;
    let desk = open(config);
    assert!(!desk.policies.decides(Decision::Share) && shares(&desk).is_none());
    assert_eq!(desk.ask(share()), Err(Failure::Unavailable));
    let mut beside = order(Decision::Share, sharing(1));
    beside.shadow = true;
    assert!(matches!(desk.policies.swap(beside), Err(SwapError::NothingBeside(_))));
    let mut far = order(Decision::Share, sharing(1));
    far.position = 2;
    assert!(matches!(desk.policies.swap(far), Err(SwapError::NoPosition { length: 0, .. })));
    assert!(matches!(desk.policies.back(Decision::Share, 1), Err(SwapError::NothingBefore(_))));

    let first = desk.policies.swap(order(Decision::Share, sharing(1))).expect("it fits");
    assert!(first.before.is_none() && desk.policies.decides(Decision::Share));
    let first = first.generation.expect("it is in force").generation;
    assert_eq!(valid_ms(desk.ask(share())), Ok(1));
    assert_eq!(shares(&desk).map(|info| (info.generation, info.calls)), Some((first, 1)));

    // Beside it another may stand now, and take its place.
    let second = desk.policies.swap(order(Decision::Share, sharing(2))).expect("it fits");
    assert_eq!(valid_ms(desk.ask(share())), Ok(2));
    let second = second.generation.expect("it is in force").generation;

    let left = desk.policies.leave(Decision::Share, 1).expect("it can be done without");
    assert_eq!((left.generation, left.before.map(|before| before.generation)), (None, Some(second)));
    assert!(!desk.policies.decides(Decision::Share));
    assert_eq!(desk.ask(share()), Err(Failure::Unavailable));
    assert!(matches!(desk.policies.leave(Decision::Share, 1), Err(SwapError::NotChosen(_))));
    assert!(matches!(desk.policies.leave(Decision::Allocate, 1), Err(SwapError::Needed(_))));

    let back = desk.policies.back(Decision::Share, 1).expect("it is kept");
    assert_eq!(back.generation.map(|back| back.generation), Some(second));
    assert_eq!(valid_ms(desk.ask(share())), Ok(2));
    let again = desk.policies.back(Decision::Share, 1).expect("and forth");
    assert!(again.generation.is_none() && !desk.policies.decides(Decision::Share));
}
