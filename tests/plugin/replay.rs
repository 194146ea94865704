//! `replay`: a day on record, decided again through the command. Knows nothing of how a record is written.

use crate::author::Author;
use crate::desk::{config_with, granted, join, open};
use crate::guest::{GRANT, GRANT_TEST, Guest, REFUSAL};
use crate::recorded::{Record, allocate, authorize, live};
use serde_json::Value;
use std::path::Path;
use tidegate_types::RequestNumber;
use tidegate_types::decision::Decision;

/// The day's components as files, as `--with` takes them.
fn components(author: &Author) -> Vec<String> {
    let balance = Guest::new(Decision::Balance);
    let files = [
        ("first.wasm", authorize(GRANT).build()),
        ("second.wasm", authorize(GRANT_TEST).build()),
        ("allocate.wasm", allocate().build()),
        ("balance.wasm", balance.build()),
    ];
    let with = |(name, bytes): (&str, Vec<u8>)| ["--with".to_owned(), text(&author.write(name, bytes))];
    files.into_iter().flat_map(with).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_day_with_swaps_traps_and_late_answers_replays_and_a_changed_line_is_listed() {
    let author = Author::new();
    let record = Record::new("command");
    let outcomes = live(&record, &|| authorize(GRANT), &|| authorize(GRANT_TEST));
    let file = text(&record.0);

    // By its own components: to the last bit.
    let with = components(&author);
    let said = author.plugin(&[&words(&["replay", &file])[..], &with].concat());
    said.ended(
        0,
        &[
            "10000 decisions",
            "authorize 1: hand-written",
            "by the same components",
            " 0 otherwise, 0 could not",
        ],
    );
    assert!(!said.out.contains("note:"), "{said:?}");
    said.ended(0, &["an answer to authorize took p50", "µs in the host", "µs here"]);

    // One line changed, in the place of the first alone: the second is named, and stays.
    let changed = text(&author.write("changed.wasm", authorize(REFUSAL).build()));
    let said = author.plugin(&words(&["replay", &file, &changed, "--json", "--limit", "100000"]));
    assert_eq!(said.code, 3, "{}", said.err);
    let told = said.json();
    // Whoever was let in by either component, and nobody else.
    let test = granted(Some("test"));
    let expected: Vec<RequestNumber> = outcomes
        .iter()
        .filter(|(_, (people, outcome))| {
            *people != u32::MAX && (*outcome == granted(None) || *outcome == test)
        })
        .map(|(number, _)| *number)
        .collect();
    let listed = told["affected"].as_array().expect("a list");
    // What a busy machine interrupted then is told with that doubt.
    let sure = listed.iter().filter(|affected| affected["before"] != "deadline");
    let mut numbers: Vec<RequestNumber> =
        sure.filter_map(|affected| affected["number"].as_u64()).map(RequestNumber).collect();
    numbers.sort_unstable();
    assert!(expected.len() > 1_000 && numbers == expected, "exactly the affected ones");
    let count = |field: &str| told[field].as_u64().expect("a count");
    assert_eq!(count("same") + count("otherwise") + count("not_concerned"), 10_000, "{}", said.err);
    assert_eq!(told["warnings"], Value::from(Vec::<Value>::new()));
    assert!(told["costs"]["authorize"]["now_p99_ns"].as_u64().is_some_and(|p99| p99 > 0));

    let said = author.plugin(&words(&["replay", &file, &changed, "--limit", "2"]));
    said.ended(
        3,
        &[
            "in the place of authorize 1, generation ",
            "asked   join name=Ada room=hello",
            "token=sha256:",
            "before  grant data publish subscribe",
            "now     refuse no: \"go away\"",
            "more: --limit",
        ],
    );
    assert_eq!(said.out.matches("  before  ").count(), 2);

    // Cut in the middle of a line.
    let whole = std::fs::read(&record.0).expect("the record");
    std::fs::write(&record.0, &whole[..whole.len() / 2]).expect("written");
    author
        .plugin(&[&words(&["replay", &file])[..], &with].concat())
        .ended(0, &["note: the record is cut in line", "everything before it was replayed", " 0 otherwise"]);
}

#[test]
fn what_another_computes_is_told_in_fuel_beside_the_recorded_one() {
    const ASKED: u32 = 60;
    let author = Author::new();
    let record = Record::new("fuel");
    let mut config = config_with(Decision::Authorize, authorize(GRANT));
    config.record = record.to(1 << 20);
    let desk = open(config);
    (0..ASKED).for_each(|turn| drop(desk.ask(join(turn % 5)).expect("an answer")));
    desk.policies.stop();
    let file = text(&record.0);
    let first = text(&author.write("first.wasm", authorize(GRANT).build()));
    let slow = "(local.set $left (i32.const 100)) \
        (loop $more (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))";
    let slow = Guest::new(Decision::Authorize).decide(format!("{slow} (i32.const {GRANT})")).build();
    let slow = text(&author.write("slow.wasm", slow));

    let counted = ["replay", &file, &slow, "--fuel", "--policy-memory", "32", "--with", &first];
    let fuel = || author.plugin(&[&counted[..], &["--json"]].concat()).json()["fuel"]["authorize"].clone();
    let told = fuel();
    let number = |who: &str, what: &str| told[who][what].as_u64().unwrap_or_else(|| panic!("{told}"));
    assert_eq!((number("now", "calls"), number("recorded", "calls")), (ASKED.into(), ASKED.into()));
    assert!(number("now", "p50") > number("recorded", "p50") + 300, "{told}");
    assert!(number("now", "total") >= number("now", "p50") * 30, "{told}");
    assert_eq!(told, fuel(), "another time the same");
    author
        .plugin(&counted)
        .ended(3, &["its fuel, authorize: p50 ", "the recorded component's: p50 ", " times that"]);
    author.plugin(&counted[..6]).ended(3, &["the recorded component is not at hand"]);
    author.plugin(&["replay", &file, "--with", &first, "--fuel"]).ended(0, &["its fuel, authorize: p50 "]);
    author.plugin(&["replay", &file, &slow, "--policy-memory", "0"]).ended(2, &["1 to 1024"]);
}

#[test]
fn what_cannot_be_replayed_is_told_with_what_to_do() {
    let author = Author::new();
    let no_record = text(&author.write("no-record", "{}\n"));
    author
        .plugin(&["replay", &no_record])
        .ended(1, &["no-record", "no record of decisions", "--record FILE"]);
    author.plugin(&["replay", "absent"]).ended(1, &["absent"]);
    author.plugin(&["replay"]).ended(2, &["RECORD"]);
    let open = text(&author.stock("auth-open"));
    let empty =
        r#"{"header":{"tidegate_record":2,"engine":"wasmtime 48","salt":"x","secrets":false,"file":1}}"#;
    let empty = text(&author.write("empty", format!("{empty}\n")));
    author
        .plugin(&["replay", &empty, &open])
        .ended(1, &["nothing in it was decided by a policy for authorize"]);
}
