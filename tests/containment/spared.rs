//! The story of a call that goes on while plugins misbehave. Knows nothing of how they are contained.

use crate::call::{Call, Seen};
use crate::crowd::{self, Outcomes};
use crate::host::Host;
use crate::plugins;
use std::time::{Duration, Instant};

/// A gap may be longer than any before by so much.
const GAP: Duration = Duration::from_millis(50);
/// What a misdeed causes comes again; what the machine caused by chance does not. So often a case is met before its
/// longest gap counts.
const MEETINGS: usize = 3;
/// What is answered where an honest plugin is late, as any may be on a busy machine.
const LATE: &str = "503 authorize-deadline";
/// What is answered while a plugin that failed again and again is left alone.
const LEFT_ALONE: &str = "503 authorize-breaker-open";
/// So many misdeeds at least are met before that.
const MISDEEDS: usize = 10;
/// How long it may take until somebody honest gets in again.
const OPEN_AGAIN_WITHIN: Duration = Duration::from_secs(20);
/// One in so many honest decisions may be late.
const LATE_ONE_IN: usize = 10;
/// How long a host may take to hand memory back.
const RETURNS_WITHIN: Duration = Duration::from_secs(10);
/// What one misdeed may write into the log a second, in bytes: fifty lines at once, ten a second after that, and what
/// the host itself says of it.
const LOGGED_BYTES_A_SECOND: u64 = 256 << 10;

/// Who misbehaves, how, and what the caller gets.
struct Case {
    room: &'static str,
    name: &'static str,
    expected: &'static str,
}

/// The person's name tells the misdeed.
const fn authorize(name: &'static str, expected: &'static str) -> Case {
    Case { room: "visitors", name, expected }
}

/// The room names the misdeed. Whatever it is, the built-in placement takes over.
const fn allocate(room: &'static str) -> Case {
    Case { room, name: "Visitor", expected: HONEST }
}

/// What honest people are answered.
const HONEST: &str = "ok";

const CASES: [Case; 12] = [
    authorize("evil-loop", LATE),
    authorize("evil-bomb", "503 authorize-trap"),
    authorize("evil-recursion", "503 authorize-trap"),
    authorize("evil-answer", "503 authorize-nonsense"),
    authorize("evil-trap", "503 authorize-trap"),
    authorize("evil-flood", LATE),
    allocate("evil-loop"),
    allocate("evil-bomb"),
    allocate("evil-recursion"),
    allocate("evil-answer"),
    allocate("evil-trap"),
    allocate("evil-flood"),
];

fn length() -> Duration {
    let seconds = std::env::var("TIDEGATE_CONTAINMENT_S").ok();
    Duration::from_secs(seconds.map_or(3, |text| text.parse().expect("TIDEGATE_CONTAINMENT_S is a number")))
}

/// Everything about one case, printed for the record.
struct Findings {
    outcomes: Outcomes,
    during: Seen,
    before_kib: u64,
    after_kib: u64,
    logged: u64,
}

#[test]
fn a_call_goes_on_while_plugins_misbehave() {
    let hostile = plugins::hostile();
    let policies = [("authorize", &hostile.authorize), ("allocate", &hostile.allocate)]
        .map(|(decision, path)| format!("{decision}={}", path.display()));
    let host = Host::start("misdeeds", &["--policy", &policies[0], "--policy", &policies[1]]);
    // The peers have threads of their own: what is measured is the host, not the crowd.
    let peers = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let crowd = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (peers, crowd) = (peers.expect("threads"), crowd.expect("threads"));
    let address = host.address;
    let call = peers.block_on(peers.spawn(Call::start(address, "call"))).expect("a call");

    // An honest crowd: what the joins themselves cost, and what the gaps are while people come and go.
    crowd.block_on(crowd::come(address, "visitors", "Visitor", Duration::from_secs(1)));
    call.seen();
    let outcomes = crowd.block_on(crowd::come(address, "visitors", "Visitor", length()));
    let before = call.seen();
    println!("honest: {outcomes:?} {before:?} {} KiB", host.resident_kib());
    assert_eq!(strays(HONEST, &outcomes), Vec::<String>::new(), "honest people get in");
    assert!(before.packets > 0, "the call runs");
    for case in &CASES {
        for meeting in 1..=MEETINGS {
            let found = meet(case, &host, &call, &crowd);
            println!(
                "{} in {}: {:?} {:?} {} -> {} KiB, {} bytes logged",
                case.name,
                case.room,
                found.outcomes,
                found.during,
                found.before_kib,
                found.after_kib,
                found.logged
            );
            judge(case, &found);
            let again = crowd::let_in_again(address, "visitors", OPEN_AGAIN_WITHIN);
            assert!(crowd.block_on(again), "{}: nobody honest gets in any more", case.name);
            if found.during.gap <= before.gap + GAP {
                break;
            }
            let what = format!("{} in {}", case.name, case.room);
            assert!(meeting < MEETINGS, "{what}: {:?}, before {before:?}", found.during);
        }
    }
}

fn meet(case: &Case, host: &Host, call: &Call, crowd: &tokio::runtime::Runtime) -> Findings {
    let (before_kib, logged) = (host.resident_kib(), host.logged_bytes());
    call.seen();
    let outcomes = crowd.block_on(crowd::come(host.address, case.room, case.name, length()));
    let during = call.seen();
    let after_kib = settled_kib(host, before_kib);
    Findings { outcomes, during, before_kib, after_kib, logged: host.logged_bytes() - logged }
}

/// Memory once it has returned, or when it should have.
fn settled_kib(host: &Host, before_kib: u64) -> u64 {
    let end = Instant::now() + RETURNS_WITHIN;
    loop {
        let now_kib = host.resident_kib();
        if returned(before_kib, now_kib) || Instant::now() > end {
            return now_kib;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

const fn returned(before_kib: u64, after_kib: u64) -> bool {
    after_kib <= before_kib + before_kib / 10
}

/// Answers that nobody should get: what is not `expected`, but for being late, which honest people may seldom be.
fn strays(expected: &str, outcomes: &Outcomes) -> Vec<String> {
    let all: usize = outcomes.values().sum();
    let late = outcomes.get(LATE).copied().unwrap_or(0);
    let honest = expected == HONEST;
    let may_be_late = !honest || late * LATE_ONE_IN <= all;
    let may_be = |outcome: &str| outcome == LATE && may_be_late || outcome == LEFT_ALONE && !honest;
    outcomes.keys().filter(|outcome| **outcome != expected && !may_be(outcome)).cloned().collect()
}

fn judge(case: &Case, found: &Findings) {
    let what = format!("{} in {}", case.name, case.room);
    let strays = strays(case.expected, &found.outcomes);
    assert!(strays.is_empty(), "{what}: {strays:?}");
    let misdeeds = found.outcomes.iter().filter(|(outcome, _)| *outcome != LEFT_ALONE);
    let met: usize = misdeeds.map(|(_, count)| count).sum();
    assert!(met >= MISDEEDS, "{what}: only {met} misdeeds: {:?}", found.outcomes);
    assert!(
        returned(found.before_kib, found.after_kib),
        "{what}: {} -> {} KiB",
        found.before_kib,
        found.after_kib
    );
    assert!(found.during.packets > 0, "{what}: the call stands still");
    assert!(
        found.logged < LOGGED_BYTES_A_SECOND * length().as_secs(),
        "{what}: {} bytes logged",
        found.logged
    );
}
