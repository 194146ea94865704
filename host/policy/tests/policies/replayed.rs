//! What a host recorded is decided again: the same to the last bit, or otherwise where a policy is another.

use crate::desk::{config_with, granted, join, open, place, plugin};
use crate::guest::{GRANT, GRANT_TEST, Guest, REFUSAL};
use crate::recorded::{Record, allocate, authorize, live};
use std::collections::BTreeSet;
use tidegate_policy::{Instead, PluginConfig, Replay, ReplayError, Survey, replay};
use tidegate_types::RequestNumber;
use tidegate_types::decision::{Decision, Failure};

/// Whose component this is in a record.
fn generations(survey: &Survey, component: &PluginConfig) -> BTreeSet<u64> {
    survey.seats.iter().filter(|seat| survey.is(seat, component)).map(|seat| seat.generation).collect()
}

#[test]
fn ten_thousand_decisions_come_out_the_same_and_a_changed_line_changes_what_it_must() {
    let record = Record::new("many");
    let (first, second) = (|| authorize(GRANT), || authorize(GRANT_TEST));
    let outcomes = live(&record, &first, &second);
    let survey = record.survey();
    let failed = |failure| outcomes.values().filter(|(_, outcome)| *outcome == Err(failure)).count();
    assert!(failed(Failure::Trap) > 20 && failed(Failure::Deadline) > 5, "all kinds of ends are in it");

    let given = [
        plugin("first", first().build()),
        plugin("second", second().build()),
        plugin("allocate", allocate().build()),
        config_with(Decision::Authorize, first()).balance,
    ];
    let replayed = record.replay(&given, None);
    assert_eq!(replayed.affected, [], "to the last bit");
    assert_eq!((replayed.decisions, replayed.same + replayed.untouched), (10_000, 10_000), "{replayed:?}");
    assert_eq!(replayed.warnings, [] as [String; 0]);
    let cost = replayed.costs[&Decision::Authorize];
    assert!(cost.calls > 5_000 && cost.then_p50_ns > 0 && cost.now_p99_ns >= cost.now_p50_ns, "{cost:?}");
    assert!(replayed.calls > 5_000 && replayed.interrupted > 0, "{replayed:?}");

    // One line changed: who would have been let in without a name is refused.
    let instead = Instead {
        decision: Decision::Authorize,
        generations: generations(&survey, &given[0]),
        plugin: plugin("changed", authorize(REFUSAL).build()),
    };
    assert!(instead.generations.len() > 2, "it came and went: {survey:?}");
    let changed = record.replay(&given, Some(instead));
    // What a busy machine interrupted then is told with that doubt.
    let (cut, sure): (Vec<_>, Vec<_>) =
        changed.affected.iter().partition(|affected| affected.before == "deadline");
    let interrupted =
        |doubt: &Option<String>| doubt.as_deref().is_some_and(|doubt| doubt.contains("interrupted"));
    assert!(cut.iter().all(|affected| interrupted(&affected.doubt)), "{cut:?}");
    let listed: Vec<RequestNumber> = sure.iter().map(|affected| affected.number).collect();
    let granted = granted(None);
    let expected: Vec<RequestNumber> = outcomes
        .iter()
        .filter(|(_, (people, outcome))| *people != u32::MAX && *outcome == granted)
        .map(|(number, _)| *number)
        .collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    assert!(expected.len() > 500);
    assert!(sorted == expected, "exactly the affected ones");
    assert!(changed.not_again.is_empty() && changed.warnings.is_empty(), "{:?}", changed.warnings);
    assert!(sure[0].after.contains("go away"), "{:?}", sure[0]);

    // Cut in the middle of a line: everything before it, and a warning.
    let whole = std::fs::read(&record.0).expect("the record");
    std::fs::write(&record.0, &whole[..whole.len() / 2]).expect("written");
    let cut = record.replay(&given, None);
    assert!(cut.warnings[0].contains("cut in line"), "{:?}", cut.warnings);
    assert!(cut.affected.is_empty() && (3_000..7_000).contains(&cut.decisions), "{}", cut.decisions);
    let text = String::from_utf8_lossy(&whole);
    assert!(!text.contains(&"t".repeat(500)), "the token is not in it");
}

#[test]
fn a_record_stays_within_its_bound_and_its_files_come_out_the_same_each_and_together() {
    const BYTES: u64 = 1 << 20;
    let record = Record::new("turned");
    let mut config = config_with(Decision::Authorize, authorize(GRANT));
    config.allocate = plugin("allocate", allocate().build());
    config.record = record.to(BYTES);
    let given = [config.authorize.clone(), config.allocate.clone(), config.balance.clone()];
    let desk = open(config);
    desk.reset(1, 11);
    let mut turns = 0;
    while !record.older().exists() || turns < 1_000 {
        desk.ask(join(turns % 5)).expect("an answer");
        desk.cpu(1, u64::from(turns));
        desk.ask(place()).expect("a place");
        turns += 1;
        // A writer that a busy machine keeps waiting is another story.
        while desk.policies.record_waiting() > 64 {
            std::thread::yield_now();
        }
    }
    assert_eq!(desk.policies.record_left_out(), 0);
    desk.policies.stop();
    let files = [record.older(), record.0.clone()];
    let sizes = files.clone().map(|path| path.metadata().expect("both are there").len());
    assert!(sizes.iter().sum::<u64>() <= BYTES, "{sizes:?}");
    let [older, newer] = files.clone();
    let mut decisions = Vec::new();
    for set in [vec![older.clone()], vec![newer.clone()], vec![older, newer]] {
        let replayed = record.replay_files(&set, &given, None);
        assert_eq!((replayed.same, replayed.affected.len()), (replayed.decisions, 0), "{replayed:?}");
        assert_eq!(replayed.warnings, [] as [String; 0]);
        decisions.push(replayed.decisions);
    }
    assert_eq!(decisions[0] + decisions[1], decisions[2]);
    assert!(decisions[2] > 100, "{decisions:?}");
}

#[test]
fn a_host_that_starts_again_keeps_what_the_one_before_recorded() {
    let record = Record::new("again");
    let day = |people| {
        let mut config = config_with(Decision::Authorize, authorize(GRANT));
        config.record = record.to(1 << 20);
        let given = [config.authorize.clone(), config.allocate.clone(), config.balance.clone()];
        let desk = open(config);
        desk.ask(join(people)).expect("an answer");
        desk.policies.stop();
        given
    };
    day(3);
    let given = day(4);
    let both = record.replay_files(&[record.older(), record.0.clone()], &given, None);
    assert!(both.warnings[0].contains("another run"), "{both:?}");
    assert_eq!((both.decisions, both.same), (1, 1), "{both:?}");
    assert_eq!(record.replay(&given, None).same, 1);
}

#[test]
fn more_than_is_kept_of_one_call_is_told() {
    let record = Record::new("long");
    // Asks the host five thousand times.
    let remove = "(import \"tidegate:policy/host-store@1.0.0\" \"remove\" (func $remove (param i32 i32) (result i32)))";
    let curious = format!(
        "(loop $more (drop (call $remove (i32.const 2048) (i32.const 4))) \
         (br_if $more (i32.lt_u (local.tee $left (i32.add (local.get $left) (i32.const 1))) (i32.const 5000)))) \
         (i32.const {REFUSAL})"
    );
    let guest = Guest::new(Decision::Authorize).functions(remove).decide(curious);
    let mut config = config_with(Decision::Authorize, guest);
    config.record = record.to(1 << 26);
    let given = [config.authorize.clone(), config.allocate.clone(), config.balance.clone()];
    let desk = open(config);
    desk.ask(join(1)).expect("an answer");
    desk.policies.stop();
    let replayed = record.replay(&given, None);
    assert!(replayed.warnings[0].contains("not exact from some call on"), "{replayed:?}");
    assert_eq!(replayed.same, 1);
}

#[test]
fn whoever_was_not_asked_then_is_told_where_a_refusal_is_none_any_more() {
    let record = Record::new("chain");
    let mut config = config_with(Decision::Authorize, authorize(REFUSAL));
    config.authorize_next = vec![plugin("second", authorize(GRANT).build())];
    config.record = record.to(1 << 20);
    let desk = open(config);
    let refused = desk.ask(join(3)).expect("an answer");
    desk.policies.stop();
    let survey = record.survey();
    let seats: Vec<_> = survey.seats.iter().filter(|seat| seat.decision == Decision::Authorize).collect();
    assert_eq!(seats.iter().map(|seat| (seat.position, seat.asked)).collect::<Vec<_>>(), [(1, 1), (2, 0)]);
    let instead = Instead {
        decision: Decision::Authorize,
        generations: [seats[0].generation].into(),
        plugin: plugin("changed", authorize(GRANT).build()),
    };
    let changed = record.replay(&[], Some(instead));
    let affected = &changed.affected[0];
    assert!(affected.before.contains("go away") && refused == crate::desk::refused().expect("one"));
    assert!(affected.after.contains("Grant") && affected.position == 1, "{affected:?}");
    assert!(affected.doubt.as_deref().is_some_and(|doubt| doubt.contains("not asked then")), "{affected:?}");
}

#[test]
fn what_is_no_record_is_told() {
    let with = || Replay { components: vec![plugin("any", authorize(GRANT).build())], instead: None };
    assert!(matches!(replay([&b"no record\n"[..]], with()), Err(ReplayError::NotARecord)));
    let newer = br#"{"header":{"tidegate_record":9,"engine":"other","salt":"","secrets":false}}
"#;
    assert!(matches!(replay([&newer[..]], with()), Err(ReplayError::OtherFormat { found: 9 })));
}
