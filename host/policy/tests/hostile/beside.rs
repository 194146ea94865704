//! How long a plugin takes beside each misdeed, with the deadlines of production: a measurement for a quiet machine,
//! which tells how quiet it was.
//!
//! `cargo test --release --workspace --test hostile -- --ignored --nocapture`

use crate::all;
use crate::case::{Case, harmless, provocation};
use crate::desk::{Desk, config, plugin, start};
use std::time::{Duration, Instant};
use tidegate_policy::Deadlines;
use tidegate_types::RequestNumber;
use tidegate_types::decision::{Answer, Decision, Failure};

/// Questions to the plugin beside it, for each misdeed.
const QUESTIONS: usize = 200;
/// One comes each of these, as joins do.
const PACE: Duration = Duration::from_millis(1);

/// So many decisions at most come between one and its record.
const RECENT: usize = 64;

/// What became of the questions beside misdeeds.
#[derive(Default)]
struct Beside {
    /// From the question until its asker had the answer. Whoever asks may wake beneath a loop, too, and wait for the
    /// scheduler: that is in it.
    asked: Vec<Duration>,
    /// In the queue and in the plugin, as the host's records and metrics have it.
    decided: Vec<Duration>,
    late: usize,
}

impl Beside {
    fn line(&mut self, name: &str) {
        self.asked.sort_unstable();
        self.decided.sort_unstable();
        let at = |of: &[Duration], permille: usize| of[(of.len() - 1) * permille / 1_000];
        let [asked, decided] =
            [&self.asked, &self.decided].map(|of| [500, 990, 1_000].map(|part| at(of, part)));
        println!(
            "{:>9.1?} {:>9.1?} {:>9.1?}   {:>9.1?} {:>9.1?} {:>9.1?} {:>5}  {name}",
            decided[0], decided[1], decided[2], asked[0], asked[1], asked[2], self.late
        );
    }

    fn append(&mut self, mut other: Self) {
        self.asked.append(&mut other.asked);
        self.decided.append(&mut other.decided);
        self.late += other.late;
    }
}

/// How long the host took for a question that is answered; its record follows the answer.
fn decided(desk: &Desk, question: RequestNumber) -> Duration {
    loop {
        let mut records = desk.policies.records(RECENT).into_iter();
        if let Some(record) = records.find(|record| record.number == question) {
            return Duration::from_nanos(record.waited_ns + record.latency_ns);
        }
        std::thread::yield_now();
    }
}

/// Questions beside one misdeed, which is done again as soon as it is over.
fn beside(case: &Case) -> Option<Beside> {
    let (mut config, own) = (config(), plugin(case.name, case.component.clone()));
    config.deadlines = Deadlines::usual();
    let other = match case.decision {
        Decision::Authorize => Decision::Allocate,
        Decision::Allocate | Decision::Balance | Decision::Share => Decision::Authorize,
    };
    match case.decision {
        Decision::Authorize => config.authorize = own,
        Decision::Allocate => config.allocate = own,
        Decision::Balance => config.balance = own,
        Decision::Share => config.share = Some(own),
    }
    let desk = start(config).ok()?;
    desk.reset(1, 2);
    let mut beside = Beside::default();
    let mut misdeed = desk.send(provocation(case.decision));
    for _ in 0..QUESTIONS {
        let asked = Instant::now();
        let question = desk.send(harmless(other));
        loop {
            let Answer { number, result } = desk.receive();
            if number == question {
                beside.asked.push(asked.elapsed());
                beside.late += usize::from(result == Err(Failure::Deadline));
                break;
            }
            if number == misdeed {
                misdeed = desk.send(provocation(case.decision));
            }
        }
        beside.decided.push(decided(&desk, question));
        std::thread::sleep(PACE.saturating_sub(asked.elapsed()));
    }
    Some(beside)
}

/// Processor time so far, in ticks of the system's clock: of all that the machine has, what is not idle, and this
/// process's own.
fn processor() -> [u64; 3] {
    let numbers = |path: &str, after: char| -> Vec<u64> {
        let text = std::fs::read_to_string(path).expect("the system tells");
        let line = text.lines().next().and_then(|line| line.rsplit_once(after)).expect("a line of numbers").1;
        line.split_whitespace().map(|number| number.parse().unwrap_or(0)).collect()
    };
    let all = numbers("/proc/stat", 'u');
    let own = numbers("/proc/self/stat", ')');
    let total = all[..8].iter().sum::<u64>();
    [total, total - all[3] - all[4], own[11] + own[12]]
}

#[test]
#[ignore = "a measurement"]
fn how_long_the_plugin_beside_takes() {
    let before = processor();
    let mut all_of_them = Beside::default();
    println!("{:^29}   {:^29}", "decided", "answered to who asked");
    let heads = ["p50", "p99", "longest"].map(|head| format!("{head:>9}")).join(" ");
    println!("{heads}   {heads} {:>5}", "late");
    for case in all() {
        let Some(mut beside) = beside(&case) else { continue };
        beside.line(case.name);
        all_of_them.append(beside);
    }
    all_of_them.line("all together");
    let after = processor();
    let [total, busy, own] = std::array::from_fn(|at| after[at] - before[at]);
    println!("other processes took {}% of the machine", 100 * busy.saturating_sub(own) / total.max(1));
}
