//! What a host recorded is decided again: the same to the last bit, or otherwise where a policy is another.

use crate::desk::{Desk, Outcome, config_with, join, open, order, place, plugin};
use crate::guest::{GRANT, GRANT_TEST, Guest, PLACEMENT, REFUSAL};
use crate::misdeeds::LOOP;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;
use tidegate_policy::{Instead, PluginConfig, RecordTo, Replay, ReplayError, Replayed, replay};
use tidegate_types::RequestNumber;
use tidegate_types::decision::{Decision, Failure};

/// Somebody who makes a guest trap, and somebody who makes it loop.
const TRAPS: u32 = 100;
const LOOPS: u32 = 101;

/// A record that goes with the test.
struct Record(PathBuf);

impl Record {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("tidegate-record-{}-{name}", std::process::id())))
    }

    fn to(&self, bytes: u64) -> Option<RecordTo> {
        Some(RecordTo { path: self.0.clone(), bytes, secrets: false })
    }

    fn older(&self) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(".1");
        path.into()
    }

    fn replay(&self, components: &[PluginConfig], instead: Option<Instead>) -> Replayed {
        let file = BufReader::new(File::open(&self.0).expect("the record"));
        let with = Replay { components: components.to_vec(), instead };
        replay(file, with).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let _ = (std::fs::remove_file(&self.0), std::fs::remove_file(self.older()));
    }
}

/// Answers every third room size in its own way; traps and loops for those who make it.
fn authorize(special: u32) -> Guest {
    let people = "(i32.load offset=20 (local.get $request))";
    Guest::new(Decision::Authorize).decide(format!(
        "(if (i32.eq {people} (i32.const {TRAPS})) (then (unreachable))) \
         (if (i32.eq {people} (i32.const {LOOPS})) (then {LOOP})) \
         (if (i32.eqz (i32.rem_u {people} (i32.const 3))) (then (return (i32.const {special})))) \
         (i32.const {REFUSAL})"
    ))
}

/// Places on the next row each time, plus whatever the last change said: what it answers depends on all that it met.
fn allocate() -> Guest {
    let (answer, last) = (PLACEMENT + 4, 1_900);
    Guest::new(Decision::Allocate)
        .functions("(global $rows (mut i32) (i32.const 1)) (global $met (mut i32) (i32.const 0))")
        .reset("(global.set $rows (local.get $rows))")
        .delta(format!(
            "(i32.store (i32.const {last}) (i32.load (local.get $values))) (i32.const {})",
            crate::guest::APPLIED
        ))
        .decide(format!(
            "(global.set $met (i32.add (global.get $met) (i32.const 1))) \
             (i32.store (i32.const {answer}) (i32.rem_u (i32.add (global.get $met) (i32.load (i32.const {last}))) \
             (global.get $rows))) (i32.const {PLACEMENT})"
        ))
}

/// Ten thousand decisions with everything in them; who got what.
fn live(record: &Record, first: &Make, second: &Make) -> BTreeMap<RequestNumber, (u32, Outcome)> {
    const DECISIONS: u32 = 10_000;
    let mut config = config_with(Decision::Authorize, first());
    config.allocate = plugin("allocate", allocate().build());
    config.deadlines.authorize = Duration::from_millis(60);
    config.recycle_calls = 700;
    config.record = record.to(1 << 30);
    let desk = open(config);
    desk.reset(1, 11);
    let mut asked = BTreeMap::new();
    let mut outcomes = BTreeMap::new();
    let mut next = [second, first].into_iter().cycle();
    for turn in 0..DECISIONS {
        let people = match turn % 1_000 {
            500 => LOOPS,
            at if at % 100 == 50 => TRAPS,
            at => (at % 5) * 3 + at % 2,
        };
        if turn % 7 == 0 {
            desk.cpu(1, u64::from(turn));
        }
        let body = if turn % 4 == 3 { place() } else { join(people) };
        let kind = if turn % 4 == 3 { u32::MAX } else { people };
        asked.insert(desk.send(body), kind);
        if turn % 1_250 == 600 {
            let guest = next.next().expect("it goes on for ever")();
            desk.policies.swap(order(Decision::Authorize, guest)).expect("it fits");
        }
        if asked.len() - outcomes.len() >= 20 {
            take(&desk, &asked, &mut outcomes);
        }
    }
    while outcomes.len() < asked.len() {
        take(&desk, &asked, &mut outcomes);
    }
    assert_eq!(desk.policies.record_left_out(), 0);
    desk.policies.stop();
    outcomes
}

type Make = dyn Fn() -> Guest;

/// What a host says of it.
fn digest_of(guest: Guest) -> String {
    open(config_with(Decision::Authorize, guest)).policies.info().swap_remove(0).digest
}

fn take(
    desk: &Desk,
    asked: &BTreeMap<RequestNumber, u32>,
    outcomes: &mut BTreeMap<RequestNumber, (u32, Outcome)>,
) {
    let answer = desk.receive();
    outcomes.insert(answer.number, (asked[&answer.number], answer.result));
}

#[test]
fn ten_thousand_decisions_come_out_the_same_and_a_changed_line_changes_what_it_must() {
    let record = Record::new("many");
    let (first, second) = (|| authorize(GRANT), || authorize(GRANT_TEST));
    let outcomes = live(&record, &first, &second);
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
    assert_eq!((replayed.decisions, replayed.left_out), (10_000, 0), "{:?}", replayed.warnings);
    assert_eq!(replayed.warnings, [] as [String; 0]);
    assert!(replayed.calls > 5_000 && replayed.interrupted > 0, "{replayed:?}");

    // One line changed: who would have been let in without a name is refused.
    let digest = digest_of(first());
    let instead = Instead {
        decision: Decision::Authorize,
        digest: Some(digest),
        plugin: plugin("changed", authorize(REFUSAL).build()),
    };
    let changed = record.replay(&given, Some(instead));
    let listed: Vec<RequestNumber> = changed.affected.iter().map(|affected| affected.number).collect();
    let granted = crate::desk::granted(None);
    let expected: Vec<RequestNumber> = outcomes
        .iter()
        .filter(|(_, (people, outcome))| *people != u32::MAX && *outcome == granted)
        .map(|(number, _)| *number)
        .collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    assert!(expected.len() > 500);
    assert_eq!(sorted, expected, "exactly the affected ones");
    assert!(changed.affected[0].after.contains("go away"), "{:?}", changed.affected[0]);

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
fn a_record_stays_within_its_bound_and_its_last_file_comes_out_the_same() {
    let record = Record::new("turned");
    let mut config = config_with(Decision::Authorize, authorize(GRANT));
    config.allocate = plugin("allocate", allocate().build());
    config.record = record.to(400_000);
    let given = [config.authorize.clone(), config.allocate.clone(), config.balance.clone()];
    let desk = open(config);
    desk.reset(1, 11);
    let mut turns = 0;
    while !record.older().exists() || turns < 500 {
        desk.ask(join(turns % 5)).expect("an answer");
        desk.ask(place()).expect("a place");
        turns += 1;
    }
    desk.policies.stop();
    let sizes = [record.0.clone(), record.older()].map(|path| path.metadata().expect("both are there").len());
    assert!(sizes.iter().sum::<u64>() <= 400_000, "{sizes:?}");
    let replayed = record.replay(&given, None);
    // What was on its way to the writer when a file began lacks its instance's beginning, and is left out.
    assert!(replayed.affected.is_empty() && replayed.decisions > 0, "{replayed:?}");
}

#[test]
fn what_is_no_record_is_told() {
    let with = || Replay { components: vec![plugin("any", authorize(GRANT).build())], instead: None };
    assert!(matches!(replay(&b"no record\n"[..], with()), Err(ReplayError::NotARecord)));
    let newer = br#"{"header":{"tidegate_record":9,"engine":"other","salt":"","secrets":false}}
"#;
    assert!(matches!(replay(&newer[..], with()), Err(ReplayError::OtherFormat { found: 9 })));
}
