//! Memory returns after hundreds of misdeeds. Alone in its process, so that nothing else grows.
#![allow(missing_docs, unreachable_pub, dead_code)]
#![cfg(target_os = "linux")]

#[path = "hostile/abuse.rs"]
mod abuse;
#[path = "hostile/answers.rs"]
mod answers;
#[path = "hostile/case.rs"]
mod case;
#[path = "policies/desk.rs"]
mod desk;
#[path = "hostile/files.rs"]
mod files;
#[path = "policies/guest.rs"]
mod guest;
#[path = "hostile/later.rs"]
mod later;
#[path = "hostile/log.rs"]
mod log;
#[path = "policies/misdeeds.rs"]
mod misdeeds;
#[path = "hostile/space.rs"]
mod space;
#[path = "hostile/time.rs"]
mod time;

use case::{Case, THIRTEEN, harmless, provocation};
use desk::{Desk, config, plugin, start};
use tidegate_policy::{Deadlines, PolicyConfig};
use tidegate_types::decision::Decision;

/// How often each plugin that can be in force is provoked.
const ROUNDS: usize = 12;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// All that take room or can leave something behind; those that only loop are told apart by their families.
fn cases() -> Vec<Case> {
    let families = [
        time::in_the_host(),
        space::memory(),
        space::tables(),
        space::stacks(),
        answers::shapes(),
        answers::sizes(),
        answers::names(),
        answers::introductions(),
        abuse::log(),
        abuse::megabytes(),
        abuse::counters(),
        abuse::store(),
        abuse::crypto(),
        later::bombs(),
        files::other_things(),
        files::other_versions(),
        files::other_interfaces(),
    ];
    families.into_iter().flatten().collect()
}

/// With the deadlines of production: how late a good answer is on a busy machine does not matter here.
fn config_of(case: &Case) -> PolicyConfig {
    let (mut config, own) = (config(), plugin(case.name, case.component.clone()));
    config.deadlines = Deadlines::usual();
    // Full before the first look: what is remembered of questions is no memory that returns.
    config.records = 8;
    match case.decision {
        Decision::Authorize => config.authorize = own,
        Decision::Allocate => config.allocate = own,
        Decision::Balance => config.balance = own,
        Decision::Share => config.share = Some(own),
    }
    config
}

fn provoke(desk: &Desk, case: &Case, generation: u64) {
    desk.reset(generation, THIRTEEN);
    let _ = desk.ask(provocation(case.decision));
    let _ = desk.ask(harmless(case.decision));
}

/// Memory after `round` was done twice, and after it was done twice more, in KiB.
fn twice(mut round: impl FnMut()) -> (u64, u64) {
    // Every ring and pool has its full size after these.
    (0..2).for_each(|_| round());
    let before = resident_kib();
    (0..2).for_each(|_| round());
    (before, resident_kib())
}

#[test]
fn memory_returns_after_hundreds_of_misdeeds() {
    let cases = cases();
    let desks: Vec<_> = cases.iter().filter_map(|case| Some((start(config_of(case)).ok()?, case))).collect();
    assert!(desks.len() >= 30, "{} in force", desks.len());
    let mut generation = 0;
    let (before, after) = twice(|| {
        for _ in 0..ROUNDS {
            generation += 1;
            desks.iter().for_each(|(desk, case)| provoke(desk, case, generation));
        }
    });
    println!("{} plugins, kept: {before} KiB before, {after} KiB after", desks.len());
    assert!(after <= before + before / 10, "{before} KiB before, {after} KiB after");
    drop(desks);

    let (before, after) = twice(|| {
        for case in &cases {
            if let Ok(desk) = start(config_of(case)) {
                provoke(&desk, case, 1);
            }
        }
    });
    println!("{} plugins, started and stopped: {before} KiB before, {after} KiB after", cases.len());
    assert!(after <= before + before / 10, "{before} KiB before, {after} KiB after");
}
