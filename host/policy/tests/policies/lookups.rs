//! Questions that wait for a lookup: what the policy is told, and who waits meanwhile.

use crate::desk::{Desk, PATIENCE, config, config_with, granted, join, open, order, place, plugin, refused};
use crate::guest::{GRANT, GRANT_TEST, Guest, NEED, REFUSAL};
use crate::misdeeds::answers;
use crate::recorded::{Record, allocate};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidegate_policy::lookups::{BUDGET, Found, LARGEST_VALUE_BYTES};
use tidegate_policy::{Instead, Lookups, PolicyConfig, RecordTo, Replay, Reply, replay};
use tidegate_types::RequestNumber;
use tidegate_types::decision::{Decision, DecisionRecord, Failure, LookupError};

const LONG: Duration = Duration::from_secs(10);

/// Performs nothing; the story gives the replies.
#[derive(Debug)]
struct Held(Mutex<Sender<Asked>>);

#[derive(Debug)]
struct Asked {
    lookup: String,
    key: String,
    until: Instant,
    reply: Reply,
}

impl Lookups for Held {
    fn names(&self) -> Vec<String> {
        vec!["table".into()]
    }

    fn look_up(&self, lookup: &str, key: &str, until: Instant, reply: Reply) {
        let asked = Asked { lookup: lookup.into(), key: key.into(), until, reply };
        self.0.lock().expect("no panic").send(asked).expect("the story listens");
    }
}

/// Finds the same at once, whatever is asked for.
#[derive(Debug)]
struct Always {
    found: Found,
    secret: bool,
}

impl Lookups for Always {
    fn names(&self) -> Vec<String> {
        vec!["table".into()]
    }

    fn look_up(&self, _lookup: &str, _key: &str, _until: Instant, reply: Reply) {
        reply.give(self.found.clone());
    }

    fn is_secret(&self, lookup: &str) -> bool {
        self.secret && lookup == "table"
    }
}

/// Needs one lookup where somebody is in already; grants if something was found, else refuses.
fn needing() -> Guest {
    Guest::new(Decision::Authorize).decide(format!(
        "(if (i32.eqz (i32.load offset=20 (local.get $request))) (then (return (i32.const {REFUSAL})))) \
         (if (i32.eqz (i32.load offset=124 (local.get $request))) (then (return (i32.const {NEED})))) \
         (if (i32.eqz (i32.load8_u offset=16 (i32.load offset=120 (local.get $request)))) \
         (then (return (i32.const {GRANT})))) (i32.const {REFUSAL})"
    ))
}

fn held(mut config: PolicyConfig) -> (Desk, Receiver<Asked>) {
    let (sender, asked) = channel();
    config.lookups = Some(Arc::new(Held(Mutex::new(sender))));
    (open(config), asked)
}

fn always(guest: Guest, found: Found) -> Desk {
    let mut config = config_with(Decision::Authorize, guest);
    config.lookups = Some(Arc::new(Always { found, secret: false }));
    open(config)
}

/// The next lookup that is asked for.
fn next(asked: &Receiver<Asked>) -> Asked {
    asked.recv_timeout(LONG).expect("something is looked up")
}

fn last(desk: &Desk) -> DecisionRecord {
    loop {
        if let Some(record) = desk.policies.records(1).pop() {
            return record;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_policy_is_asked_again_with_what_was_found() {
    let (desk, asked) = held(config_with(Decision::Authorize, needing()));
    desk.send(join(1));
    let lookup = next(&asked);
    assert_eq!((lookup.lookup.as_str(), lookup.key.as_str()), ("table", "key"));
    lookup.reply.give(Ok("a value".into()));
    assert_eq!(desk.receive().result, granted(None));
    let made = last(&desk).lookups;
    assert_eq!((made.len(), made[0].lookup.as_str(), made[0].outcome.as_str()), (1, "table", "found"));
    let calls = desk.policies.info()[0].calls;
    assert_eq!(calls, 1, "one decision");
}

#[test]
fn a_lookup_that_fails_is_told_by_its_name() {
    for (error, name) in [
        (LookupError::Timeout, "timeout"),
        (LookupError::Status(404), "status-404"),
        (LookupError::TooLarge, "too-large"),
    ] {
        let desk = always(needing(), Err(error));
        assert_eq!(desk.ask(join(1)), refused());
        assert_eq!(last(&desk).lookups[0].outcome, name);
    }
    let long = "x".repeat(LARGEST_VALUE_BYTES + 1);
    let desk = always(needing(), Ok(long));
    assert_eq!(desk.ask(join(1)), refused());
    assert_eq!(last(&desk).lookups[0].outcome, "too-large");
}

#[test]
fn one_that_is_not_configured_is_told_as_such() {
    let desk = open(config_with(Decision::Authorize, needing()));
    assert_eq!(desk.ask(join(1)), refused());
    let made = last(&desk).lookups;
    assert_eq!((made[0].lookup.as_str(), made[0].outcome.as_str()), ("unknown-lookup", "unknown-lookup"));
}

#[test]
fn others_are_decided_while_one_waits() {
    let mut config = config_with(Decision::Authorize, needing());
    config.threads = 1;
    let (desk, asked) = held(config);
    let waiting = desk.send(join(1));
    let lookup = next(&asked);
    for _ in 0..10 {
        assert_eq!(desk.ask(join(0)), refused());
    }
    lookup.reply.give(Ok(String::new()));
    let answer = desk.receive();
    assert_eq!((answer.number, answer.result), (waiting, granted(None)));
}

#[test]
fn the_time_of_a_lookup_is_not_the_policys() {
    let (desk, asked) = held(config_with(Decision::Authorize, needing()));
    desk.send(join(1));
    let lookup = next(&asked);
    let began = Instant::now();
    while began.elapsed() < PATIENCE * 2 {
        std::thread::yield_now();
    }
    lookup.reply.give(Ok(String::new()));
    assert_eq!(desk.receive().result, granted(None));
    assert!(last(&desk).lookups[0].took_ns >= 2 * PATIENCE.as_nanos() as u64);
}

#[test]
fn a_question_is_looked_up_for_at_most_three_times_within_one_budget() {
    let desk = always(answers(NEED), Ok("value".into()));
    assert_eq!(desk.ask(join(1)), Err(Failure::Lookup));
    assert_eq!(last(&desk).lookups.len(), 3);

    let (desk, asked) = held(config_with(Decision::Authorize, answers(NEED)));
    desk.send(join(1));
    let first = next(&asked);
    let began = Instant::now();
    let most = first.until.saturating_duration_since(began);
    assert!(most <= BUDGET);
    while began.elapsed() < BUDGET / 20 {
        std::thread::yield_now();
    }
    first.reply.give(Err(LookupError::Timeout));
    let second = next(&asked);
    assert!(second.until.saturating_duration_since(Instant::now()) <= BUDGET - BUDGET / 20);
}

#[test]
fn one_too_many_that_would_wait_is_told_busy() {
    let mut config = config_with(Decision::Authorize, needing());
    config.queue = 2;
    let (desk, asked) = held(config);
    desk.send(join(1));
    let first = next(&asked);
    desk.send(join(1));
    let second = next(&asked);
    assert_eq!(desk.ask(join(1)), refused());
    assert_eq!(last(&desk).lookups[0].outcome, "busy");
    for lookup in [first, second] {
        lookup.reply.give(Ok(String::new()));
        assert_eq!(desk.receive().result, granted(None));
    }
}

#[test]
fn a_reply_that_is_lost_is_a_failure() {
    let (desk, asked) = held(config_with(Decision::Authorize, needing()));
    desk.send(join(1));
    drop(next(&asked));
    assert_eq!(desk.receive().result, refused());
    assert_eq!(last(&desk).lookups[0].outcome, "failed");
}

#[test]
fn stopping_answers_those_who_wait_for_a_lookup() {
    let (desk, asked) = held(config_with(Decision::Authorize, needing()));
    desk.send(join(1));
    let lookup = next(&asked);
    let Desk { policies, answers, .. } = desk;
    policies.stop();
    assert_eq!(answers.recv_timeout(LONG).expect("an answer").result, Err(Failure::Unavailable));
    lookup.reply.give(Ok(String::new()));
}

#[test]
fn the_second_of_a_chain_may_need_one_and_the_first_is_not_asked_again() {
    let mut config =
        config_with(Decision::Authorize, Guest::new(Decision::Authorize).decide(grant(GRANT_TEST)));
    config.authorize_next = vec![plugin("next", needing().build())];
    let (desk, asked) = held(config);
    desk.send(join(1));
    next(&asked).reply.give(Ok(String::new()));
    assert_eq!(desk.receive().result, granted(Some("test")));
    let infos = desk.policies.info();
    assert_eq!((infos[0].calls, infos[1].calls), (1, 1));
    assert!(last(&desk).by.iter().all(|by| by.asked));
}

fn grant(address: u32) -> String {
    format!("(i32.const {address})")
}

#[test]
fn who_began_decides_to_the_end_though_another_is_in_force_by_then() {
    let (desk, asked) = held(config_with(Decision::Authorize, needing()));
    let first = desk.policies.info()[0].generation;
    desk.send(join(1));
    let lookup = next(&asked);
    let next_one = Guest::new(Decision::Authorize).decide(grant(GRANT_TEST));
    desk.policies.swap(order(Decision::Authorize, next_one)).expect("it fits");
    assert_eq!(desk.ask(join(0)), granted(Some("test")));
    lookup.reply.give(Ok(String::new()));
    assert_eq!(desk.receive().result, granted(None));
    let by = || last(&desk).by[0].generation;
    while by() != first {
        std::thread::yield_now();
    }
}

#[test]
fn a_decision_with_lookups_replays_and_secret_values_are_not_in_the_record() {
    for (secret, kept) in [(false, true), (true, false)] {
        let path = std::env::temp_dir().join(format!("tidegate-lookups-{}-{secret}", std::process::id()));
        let mut config = config_with(Decision::Authorize, needing());
        let components = vec![config.authorize.clone(), self::config().allocate, self::config().balance];
        config.lookups = Some(Arc::new(Always { found: Ok("the-value".into()), secret }));
        config.record = Some(RecordTo { path: path.clone(), bytes: 1 << 24, secrets: false });
        let desk = open(config);
        for people in [1, 0, 1] {
            desk.ask(join(people)).expect("an answer");
        }
        desk.policies.stop();
        let text = std::fs::read_to_string(&path).expect("the record");
        std::fs::remove_file(&path).expect("it is there");
        assert_eq!(text.contains("the-value"), kept);
        let replayed = replay([text.as_bytes()], Replay { components, instead: None }).expect("it is one");
        assert_eq!((replayed.decisions, replayed.calls, replayed.affected.len()), (3, 5, 0), "{replayed:?}");
    }
}

#[test]
fn a_question_that_waits_while_a_new_file_begins_is_whole_in_both_files_and_told_in_one() {
    let record = Record::new("waiting");
    let mut config = config_with(Decision::Authorize, Guest::new(Decision::Authorize).decide(grant(GRANT)));
    config.authorize_next = vec![plugin("second", needing().build())];
    config.allocate = plugin("allocate", allocate().build());
    config.record = record.to(1 << 18);
    let given = [
        config.authorize.clone(),
        config.authorize_next[0].clone(),
        config.allocate.clone(),
        config.balance.clone(),
    ];
    let (desk, asked) = held(config);
    desk.reset(1, 11);
    let waits = desk.send(join(1));
    let lookup = next(&asked);
    while !record.older().exists() {
        desk.ask(place()).expect("a place");
        // A writer that a busy machine keeps waiting is another story.
        while desk.policies.record_waiting() > 16 {
            std::thread::yield_now();
        }
    }
    // The writer has turned the page for good only once it comes to what was said after that.
    desk.ask(place()).expect("a place");
    while desk.policies.record_waiting() > 0 {
        std::thread::yield_now();
    }
    lookup.reply.give(Ok(String::new()));
    assert_eq!(desk.receive().result, granted(None));
    desk.policies.stop();

    let (older, newer) = ([record.older()], [record.0.clone()]);
    let both = [record.older(), record.0.clone()];
    let whole = record.replay_files(&both, &given, None);
    assert_eq!((whole.same, whole.affected.len()), (whole.decisions, 0), "{whole:?}");
    assert_eq!(whole.warnings, [] as [String; 0]);
    let beginning = record.replay_files(&older, &given, None);
    assert_eq!(beginning.same, beginning.decisions, "{beginning:?}");
    assert_eq!(beginning.warnings, ["1 decisions are not whole in the record"]);
    let end = record.replay_files(&newer, &given, None);
    assert_eq!((end.same, end.not_again.values().sum::<u64>()), (end.decisions - 1, 1), "{end:?}");

    // One that refuses at once, in the place of the second: that is in the calls of the older file alone.
    let second = record.survey().seats.into_iter().find(|seat| seat.position == 2).expect("it was asked");
    let refusing = || Instead {
        decision: Decision::Authorize,
        generations: [second.generation].into(),
        plugin: plugin("refusing", Guest::new(Decision::Authorize).build()),
    };
    let changed = record.replay_files(&both, &[], Some(refusing()));
    let listed: Vec<RequestNumber> = changed.affected.iter().map(|affected| affected.number).collect();
    assert_eq!((listed, changed.not_again.len()), (vec![waits], 0), "{changed:?}");
    let end = record.replay_files(&newer, &[], Some(refusing()));
    assert_eq!((end.affected.len(), end.same, end.not_again.len()), (0, 0, 1), "{end:?}");
    assert!(end.not_again.keys().all(|why| why.contains("while a new file began")), "{end:?}");
}
