//! How long a plugin takes beside each misdeed, with the deadlines of production: a measurement for a quiet machine,
//! which tells how quiet it was.
//!
//! `cargo test --release --workspace --test hostile -- --ignored --nocapture`

use crate::all;
use crate::case::{Case, harmless, provocation};
use crate::desk::{config, plugin, start};
use std::time::{Duration, Instant};
use tidegate_policy::Deadlines;
use tidegate_types::decision::{Answer, Decision, Failure};

/// Questions to the plugin beside it, for each misdeed.
const QUESTIONS: usize = 200;
/// One comes each of these, as joins do.
const PACE: Duration = Duration::from_millis(1);

/// Latencies of the questions beside one misdeed, which is done again as soon as it is over; and how many were late.
fn beside(case: &Case) -> Option<(Vec<Duration>, usize)> {
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
    let (mut latencies, mut late) = (Vec::new(), 0);
    let mut misdeed = desk.send(provocation(case.decision));
    for _ in 0..QUESTIONS {
        let asked = Instant::now();
        let question = desk.send(harmless(other));
        loop {
            let Answer { number, result } = desk.receive();
            if number == question {
                latencies.push(asked.elapsed());
                late += usize::from(result == Err(Failure::Deadline));
                break;
            }
            if number == misdeed {
                misdeed = desk.send(provocation(case.decision));
            }
        }
        std::thread::sleep(PACE.saturating_sub(asked.elapsed()));
    }
    Some((latencies, late))
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
    let (mut all_of_them, mut late) = (Vec::new(), 0);
    let line = |name: &str, latencies: &mut Vec<Duration>, late: usize| {
        latencies.sort_unstable();
        let at = |permille: usize| latencies[(latencies.len() - 1) * permille / 1_000];
        println!("{:>9.1?} {:>9.1?} {:>9.1?} {late:>5}  {name}", at(500), at(990), at(1_000));
    };
    println!("{:>9} {:>9} {:>9} {:>5}", "p50", "p99", "longest", "late");
    for case in all() {
        let Some((mut latencies, too_late)) = beside(&case) else { continue };
        line(case.name, &mut latencies, too_late);
        all_of_them.append(&mut latencies);
        late += too_late;
    }
    line("all together", &mut all_of_them, late);
    let after = processor();
    let [total, busy, own] = std::array::from_fn(|at| after[at] - before[at]);
    println!("other processes took {}% of the machine", 100 * busy.saturating_sub(own) / total.max(1));
}
