//! A thousand people a second join while every policy of the host is swapped again and again.
//!
//! Two kinds of component take turns in each post, and what a question is answered tells which kind answered it. How
//! long a swap takes is the bench's business (`cargo bench --bench policy -- swap`).

use crate::desk::{Desk, Outcome, balance, config, join, open, order, place, plugin, shard};
use crate::guest::{GRANT, GRANT_TEST, Guest, NO_WISHES, PLACEMENT, REFUSAL};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidegate_policy::{Policies, SwapOrder};
use tidegate_types::RequestNumber;
use tidegate_types::decision::{DecidedBy, Decision, DecisionRecord};

const SWAPS: usize = 100;
const JOINS: usize = 1_000;
/// From join to join, and how many questions may be open before the next ones wait.
const PACE: Duration = Duration::from_millis(1);
const OPEN: usize = 200;
/// One join in so many comes with a question to balance.
const BALANCE_EVERY: usize = 20;

/// Where policies stand: of which decision, and in which position.
const POSTS: [(Decision, usize); 4] =
    [(Decision::Authorize, 1), (Decision::Authorize, 2), (Decision::Allocate, 1), (Decision::Balance, 1)];

/// What stands in a post before the first swap of it, and after each second one; or after the others.
fn standing(post: usize, other: bool) -> Guest {
    let (decision, _) = POSTS[post];
    let answering = |address: u32| Guest::new(decision).decide(format!("(i32.const {address})"));
    match (post, other) {
        (0, false) => answering(GRANT),
        (0, true) => answering(REFUSAL),
        (1, false) => answering(GRANT_TEST),
        (1, true) => Guest::new(decision).decide(format!("(nop) (i32.const {GRANT})")),
        (2, false) => answering(PLACEMENT),
        (2, true) => Guest::new(decision).decide(format!(
            "(i32.store (i32.const {}) (i32.const 1)) (i32.const {PLACEMENT})",
            PLACEMENT + 4
        )),
        (_, false) => answering(NO_WISHES),
        (_, true) => Guest::new(decision).decide(format!("(nop) (i32.const {NO_WISHES})")),
    }
}

/// Which kind each generation is: its post, and whether it is the other one there.
type Kinds = BTreeMap<u64, (usize, bool)>;

fn swap_all(policies: &Policies) -> Kinds {
    let swap = |turn: usize| {
        let (post, other) = (turn % POSTS.len(), (turn / POSTS.len()).is_multiple_of(2));
        let (decision, position) = POSTS[post];
        let order = SwapOrder { position, ..order(decision, standing(post, other)) };
        let swapped = policies.swap(order).unwrap_or_else(|error| panic!("{error}"));
        (swapped.generation.expect("it is in force").generation, (post, other))
    };
    (0..SWAPS).map(swap).collect()
}

/// Joins, one a millisecond, until all swaps are done and a thousand have come; what each question was answered.
fn paced_joins(desk: &Desk, done: &AtomicBool) -> BTreeMap<RequestNumber, Outcome> {
    let (began, mut joins, mut asked) = (Instant::now(), 0, 0);
    let mut answers = BTreeMap::new();
    loop {
        let enough = done.load(Ordering::Relaxed) && joins >= JOINS;
        let due = began + PACE * u32::try_from(joins).expect("fewer");
        if !enough && asked - answers.len() < OPEN && Instant::now() >= due {
            desk.send(join(1));
            desk.send(place());
            asked += 2;
            if joins.is_multiple_of(BALANCE_EVERY) {
                desk.send(balance());
                asked += 1;
            }
            joins += 1;
        } else if answers.len() < asked {
            let answer = desk.receive();
            assert!(answer.result.is_ok(), "no join is lost: {answer:?}");
            let again = answers.insert(answer.number, answer.result);
            assert_eq!(again, None, "each question is answered once");
        } else if enough {
            return answers;
        } else {
            std::thread::sleep(PACE);
        }
    }
}

#[test]
fn no_join_is_lost_while_policies_are_swapped_and_each_meets_one_generation_of_each() {
    let component = |post: usize| plugin("first", standing(post, false).build());
    let mut config = config();
    (config.authorize, config.authorize_next) = (component(0), vec![component(1)]);
    (config.allocate, config.balance) = (component(2), component(3));
    config.records = 1 << 20;
    // Lost is what is never answered, or not decided; how soon on a busy machine is the bench's business.
    let patience = Duration::from_secs(20);
    (config.deadlines.authorize, config.deadlines.allocate, config.deadlines.balance) =
        (patience, patience, patience);
    let desk = open(config);
    desk.reset(1, 2);
    let at = |decision, position| POSTS.iter().position(|post| *post == (decision, position));
    let mut kinds: Kinds = Kinds::new();
    for info in desk.policies.info() {
        if let Some(post) = at(info.decision, info.position) {
            kinds.insert(info.generation, (post, false));
        }
    }
    let done = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let (policies, done) = (&desk.policies, &done);
        let swaps = scope.spawn(|| {
            let made = swap_all(policies);
            done.store(true, Ordering::Relaxed);
            made
        });
        let answers = paced_joins(&desk, done);
        kinds.extend(swaps.join().expect("every swap is done"));
        answers
    });
    assert_eq!(kinds.len(), POSTS.len() + SWAPS, "each load is a generation of its own");
    // An answer is out before it is remembered.
    let records = loop {
        let records = desk.policies.records(usize::MAX);
        if records.len() == answers.len() {
            break records;
        }
        std::thread::yield_now();
    };
    let recorded: BTreeMap<RequestNumber, &DecisionRecord> =
        records.iter().map(|record| (record.number, record)).collect();
    assert_eq!(recorded.len(), answers.len(), "each question is remembered once");
    let mut met = BTreeMap::new();
    for (number, answer) in &answers {
        let record = recorded[number];
        let answered = serde_json::to_string(answer.as_ref().expect("an answer")).expect("JSON");
        assert_eq!(record.outcome, answered);
        is_what_its_generations_answer(record, answer, &kinds);
        record.by.iter().for_each(|by| *met.entry(by.generation).or_insert(0) += 1);
    }
    assert!(met.len() > POSTS.len() + SWAPS / 2, "the joins met the swaps: {met:?}");
}

/// Which kind stood in a post when a question met its chain.
fn kind(by: &[DecidedBy], at: usize, post: usize, kinds: &Kinds) -> bool {
    let (stood_in, other) = kinds[&by[at].generation];
    assert_eq!(stood_in, post, "{by:?}");
    other
}

/// What it was answered is what exactly these generations answer, and nothing between.
fn is_what_its_generations_answer(record: &DecisionRecord, answer: &Outcome, kinds: &Kinds) {
    let by = &record.by;
    match record.decision {
        Decision::Authorize => {
            assert_eq!(by.len(), 2, "{record:?}");
            let (refuses, nobody) = (kind(by, 0, 0, kinds), kind(by, 1, 1, kinds));
            let expected = match (refuses, nobody) {
                (true, _) => "go away",
                (false, false) => "\"identity\":\"test\"",
                (false, true) => "\"identity\":null",
            };
            assert!(record.outcome.contains(expected), "{expected} in {record:?}");
            assert_eq!((by[0].asked, by[1].asked), (true, !refuses), "a refusal ends the asking: {record:?}");
        }
        Decision::Allocate => {
            assert_eq!((by.len(), by[0].asked), (1, true), "{record:?}");
            assert_eq!(shard(answer.clone()), Ok(u16::from(kind(by, 0, 2, kinds))), "{record:?}");
        }
        _ => {
            assert_eq!((by.len(), by[0].asked), (1, true), "{record:?}");
            kind(by, 0, 3, kinds);
        }
    }
    assert!(by.iter().all(|by| by.failure.is_none() && by.instead.is_none()), "{record:?}");
}
