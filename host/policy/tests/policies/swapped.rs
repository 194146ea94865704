//! One component takes another's place while questions go on.

use crate::desk::{Desk, config, config_with, granted, join, open, order, place, plugin, refused, shard};
use crate::guest::{GRANT, GRANT_TEST, Guest, PLACEMENT, REFUSAL};
use tidegate_policy::{LoadError, SwapError, SwapOrder};
use tidegate_types::decision::{Decision, DecisionRecord, PolicyInfo};

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
    assert_eq!(swapped.before.generation, first.generation);
    assert_eq!(desk.ask(join(1)), granted(None));
    let second = info(&desk);
    assert_eq!(
        (second.generation, &second.digest),
        (swapped.generation.generation, &swapped.generation.digest)
    );
    assert!(second.generation > first.generation && second.digest != first.digest);
    assert_eq!(second.previous.as_ref().map(|before| before.generation), Some(first.generation));

    let back = desk.policies.back(Decision::Authorize, 1).expect("there was one");
    assert_eq!(back.generation.generation, first.generation);
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
    assert_eq!(shadow.generation.generation, swapped.generation.generation);
    assert_eq!((shadow.differences, shadow.failures), (3, 0));
    assert!(shadow.last[0].in_force.contains("go away") && shadow.last[0].instead.contains("test"));
    desk.policies.enforce(Decision::Authorize, 1).expect("it is on trial");
    assert_eq!(desk.ask(join(1)), granted(Some("test")));
    assert!(info(&desk).shadow.is_none());
    assert_eq!(info(&desk).digest, swapped.generation.digest);
    assert!(matches!(desk.policies.dismiss(Decision::Authorize, 1), Err(SwapError::NoShadow(_))));
}
