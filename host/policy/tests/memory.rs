//! Memory returns after hundreds of misdeeds. Alone in its process, so that nothing else grows.
#![allow(missing_docs, unreachable_pub, dead_code)]
#![cfg(target_os = "linux")]

#[path = "policies/desk.rs"]
mod desk;
#[path = "policies/guest.rs"]
mod guest;
#[path = "policies/misdeeds.rs"]
mod misdeeds;

use desk::{Desk, config_with, join, open, refused};
use misdeeds::hostile;
use tidegate_types::decision::{Decision, Failure};

const ROUNDS: usize = 100;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn memory_returns_after_hundreds_of_misdeeds() {
    let misdeeds = || hostile().into_iter().filter(|(_, _, failure)| *failure != Failure::Deadline);
    let desks: Vec<Desk> =
        misdeeds().map(|(_, guest, _)| open(config_with(Decision::Authorize, guest))).collect();
    let round = || {
        for desk in &desks {
            assert!(desk.ask(join(1)).is_err());
            assert_eq!(desk.ask(join(0)), refused());
        }
    };
    // Every ring and pool has its full size after these.
    (0..ROUNDS).for_each(|_| round());
    let before = resident_kib();
    (0..ROUNDS).for_each(|_| round());
    let after = resident_kib();
    assert!(after <= before + before / 10, "{before} KiB before, {after} KiB after");
}
