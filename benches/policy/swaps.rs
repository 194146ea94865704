//! A hundred swaps of a running host's policies while a thousand people a second join: how long each takes to come in
//! force once it is ready, and what the joins notice. Knows nothing of what is decided.

use crate::decisions::{cluster, open, place_request};
use crate::plugins::{self, UNIX_MS, stock_plugin};
use crate::table::{Bench, Row, at_hundredth, median, time};
use crate::tokens::{join, signed};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidegate_policy::{PluginConfig, Policies, SwapOrder};
use tidegate_types::RequestNumber;
use tidegate_types::cluster::{Column, Feed, ShardRow};
use tidegate_types::decision::{
    Answer, AnswerBody, AuthorizeAnswer, AuthorizeRequest, BalanceCause, BalanceRequest, Decision, Moment,
    PlaceAnswer, Question, QuestionBody, ToPolicy,
};

const SWAPS: usize = 100;
const TARGET: Duration = Duration::from_millis(1);
/// Rows of the cluster that each new instance is told.
const ROWS: u64 = 16;
/// A join is two questions: who may, and where; one in a hundred comes with a third, what to change.
const QUESTIONS: u64 = 3;
const BALANCE_EVERY: u64 = 100;

pub fn measure(bench: &mut Bench) {
    let name = "swap in force, 1,000 joins/s meanwhile, p99";
    if !bench.wants(name) || !bench.measures {
        return;
    }
    let token = signed("HS256");
    let post = |turn: usize| plugin(turn, &token.configuration);
    let mut config = plugins::config();
    (config.authorize, config.authorize_next) = (post(0).1, vec![post(1).1]);
    (config.allocate, config.balance) = (post(2).1, post(3).1);
    let answers: Arc<Mutex<Vec<(RequestNumber, Instant, bool)>>> = Arc::default();
    let heard = answers.clone();
    let sink = move |answer: Answer| {
        let heard = &mut heard.lock().expect("no panic");
        heard.push((answer.number, Instant::now(), is_yes(&answer)));
    };
    let policies = Policies::start(config, Arc::new(|| UNIX_MS), Arc::new(sink)).expect("it starts");
    policies.send(ToPolicy::Feed(feed()));
    let done = AtomicBool::new(false);
    let (mut took, mut prepared) = (Vec::new(), Vec::new());
    let asked = std::thread::scope(|scope| {
        let joins = scope.spawn(|| paced_joins(&policies, &join(&token.token), &done));
        // The first of each post is in force already.
        for turn in 4..4 + SWAPS {
            let ((decision, position), plugin) = post(turn);
            let order = SwapOrder { decision, position, plugin, shadow: false };
            let swapped = policies.swap(order).unwrap_or_else(|error| panic!("{error}"));
            took.push(swapped.took.as_nanos() as f64);
            prepared.push(swapped.prepared_in.as_nanos() as f64);
        }
        done.store(true, Ordering::Relaxed);
        joins.join().expect("no panic")
    });
    policies.stop();
    let answers = answers.lock().expect("no panic");
    let waits = answers.iter().map(|(number, at, _)| {
        (*at - asked[usize::try_from(number.0 / QUESTIONS).expect("small")]).as_nanos() as f64
    });
    let waits: Vec<f64> = waits.collect();
    let p99 = at_hundredth(took.clone(), 99);
    bench.tell(Row {
        name: name.into(),
        native: String::new(),
        wasm: time(p99),
        ratio: String::new(),
        target: time(TARGET.as_nanos() as f64),
        over: p99 > TARGET.as_nanos() as f64,
    });
    println!(
        "  {SWAPS} swaps: in force in {} (p50), made ready in {} at low priority; {} joins, {} of {} questions \
         answered with yes, an answer took {} (p50) and {} (p99)",
        time(median(took)),
        time(median(prepared)),
        asked.len(),
        answers.iter().filter(|(.., yes)| *yes).count(),
        questions(asked.len() as u64),
        time(median(waits.clone())),
        time(at_hundredth(waits, 99)),
    );
}

/// Whose turn it is, and what stands there then: each time another configuration or component.
fn plugin(turn: usize, keys: &Value) -> ((Decision, usize), PluginConfig) {
    let round = turn / 4;
    match turn % 4 {
        0 => {
            let mut configuration = keys.clone();
            configuration["leeway_s"] = json!(10 + round);
            ((Decision::Authorize, 1), stock_plugin("auth-token", configuration))
        }
        1 => ((Decision::Authorize, 2), if round.is_multiple_of(2) { open() } else { also_open() }),
        2 => {
            let name = if round.is_multiple_of(2) { "allocate-pack" } else { "allocate-spread" };
            ((Decision::Allocate, 1), stock_plugin(name, json!({})))
        }
        _ => ((Decision::Balance, 1), stock_plugin("balance-steady", json!({ "ticks": 3 + round }))),
    }
}

/// The same component: another configuration makes it another generation.
fn also_open() -> PluginConfig {
    stock_plugin("auth-open", json!({}))
}

fn is_yes(answer: &Answer) -> bool {
    matches!(
        answer.result,
        Ok(AnswerBody::Authorize(AuthorizeAnswer::Grant(_))
            | AnswerBody::Place(PlaceAnswer::Place(_))
            | AnswerBody::Balance(_))
    )
}

fn feed() -> Feed {
    let cluster = cluster(ROWS);
    let row = |row: u32| ShardRow {
        place: cluster.place(row).expect("a row"),
        region: String::new(),
        node_name: String::new(),
        values: [0; Column::ALL.len()],
    };
    Feed::Reset { generation: 1, rows: (0..ROWS as u32).map(row).collect() }
}

fn questions(joins: u64) -> u64 {
    2 * joins + joins.div_ceil(BALANCE_EVERY)
}

/// A join each millisecond until told to end; when each was asked.
fn paced_joins(policies: &Policies, request: &AuthorizeRequest, done: &AtomicBool) -> Vec<Instant> {
    let mut asked = Vec::new();
    let began = Instant::now();
    while !done.load(Ordering::Relaxed) {
        let due = began + Duration::from_millis(asked.len() as u64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let number = asked.len() as u64;
        asked.push(Instant::now());
        let ask = |which: u64, body: QuestionBody| {
            policies
                .send(ToPolicy::Ask(Question { number: RequestNumber(number * QUESTIONS + which), body }));
        };
        ask(0, QuestionBody::Authorize(Box::new(request.clone())));
        ask(1, QuestionBody::Place(Box::new(place_request())));
        if number.is_multiple_of(BALANCE_EVERY) {
            let moment = Moment { unix_ms: UNIX_MS, seed: number };
            let (cause, place) = (BalanceCause::Tick, None);
            ask(2, QuestionBody::Balance(Box::new(BalanceRequest { cause, place, moment, attrs: vec![] })));
        }
    }
    // The last ones are answered within their deadline.
    std::thread::sleep(Duration::from_millis(Decision::Balance.deadline_ms() * 3));
    asked
}
