//! A million mutated datagrams against one engine that serves two calls. Half are mutated as they travel, half before
//! sealing, by a peer that holds the keys, so that the parsers of RTP, its extensions, VP8 and RTCP are reached. The
//! engine must not panic, nor answer a stranger with more than it got; the other call must go on without a loss;
//! memory must stay flat. `TIDEGATE_MUTATIONS=n` says how many, `TIDEGATE_SEED=n` replays.

mod attack;

use attack::{Attack, Chance};
use std::time::Duration;

/// A tenth warms up caches and histories; memory is compared behind it.
const WARM_UP: usize = 10;
/// So many datagrams a peer lives before it leaves and another comes.
const LIFE: usize = 5_000;
/// Between so many datagrams someone's handshake is mutated.
const HANDSHAKES: usize = 1_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Resident memory of this process, where the system tells.
fn resident_kilobytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[test]
fn a_million_mutated_datagrams_leave_the_engine_up_and_its_memory_flat() {
    let seed = number("TIDEGATE_SEED", 1);
    let total = number("TIDEGATE_MUTATIONS", 1_000_000) as usize;
    println!("seed {seed}, {total} mutated datagrams");
    let mut attack = Attack::new(Chance(seed));
    let mut before = None;
    for number in 0..total {
        if number == total / WARM_UP {
            before = resident_kilobytes();
        }
        if number % LIFE == 0 {
            attack.renew_attacker();
        }
        if number % HANDSHAKES == 0 {
            attack.mutate_a_handshake();
        }
        if number % 2 == 0 {
            attack.mutate_in_transit();
        } else {
            attack.mutate_before_sealing();
        }
        attack.pass(Duration::from_micros(100));
    }
    let after = resident_kilobytes();
    attack.finish();
    println!("{}", attack.account());
    println!("resident {before:?} kB after the warm-up, {after:?} kB at the end");
    attack.assert_everything_was_reached(total);
    if let (Some(before), Some(after)) = (before, after) {
        assert!(after * 10 <= before * 11, "seed {seed}: {before} kB grew to {after} kB");
    }
}
