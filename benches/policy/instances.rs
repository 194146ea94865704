//! What an instance costs that was just made: the first decision of a fresh one, the way from a trap to serving again,
//! and what a thousand of them hold. Knows nothing of queues.

use crate::decisions::{
    SIZES, balanced, cluster, counted, granted, open, place_request, placed, shards, spread, steady,
};
use crate::native::{LeastLoaded, Open, Steady, Token};
use crate::plugins::{self, UNIX_MS, allocator, authorizer, balancer, load, stock_plugin};
use crate::table::{Bench, Row, each_time};
use crate::tokens::{Signed, join, signed};
use std::sync::Arc;
use tidegate_policy::floor::Sitting;
use tidegate_policy::host::{Authorize, Fed as _};
use tidegate_policy::plugin::{Loader, Plugin};
use tidegate_types::cluster::Feed;
use tidegate_types::decision::{AnswerBody, Decision, PlaceAnswer, QuestionBody};

const INSTANCES: usize = 1_000;
/// Threads that one engine has slots for.
const THREADS: usize = 64;

pub fn measure(bench: &mut Bench) {
    authorize(bench);
    place(bench);
    trap(bench);
    balance(bench);
    memory(bench);
}

fn authorize(bench: &mut Bench) {
    bench.pair("fresh instance: authorize, token unread", Some(20_000), |loader| {
        let request = join(&signed("HS256").token);
        let plugin = load(loader, Decision::Authorize, &open());
        let same = request.clone();
        (move || granted(&mut Open, &request), move || granted(authorizer(&plugin).as_mut(), &same))
    });
    for algorithm in ["HS256", "RS256", "ES256"] {
        bench.pair(&format!("fresh instance: authorize, {algorithm}"), None, |loader| {
            let Signed { algorithm, token, key, configuration } = signed(algorithm);
            let (request, same) = (join(&token), join(&token));
            let plugin = load(loader, Decision::Authorize, &stock_plugin("auth-token", configuration));
            (
                move || granted(&mut Token { algorithm, key: &key }, &request),
                move || granted(authorizer(&plugin).as_mut(), &same),
            )
        });
    }
}

/// An instance that is made, told of the cluster, places, and goes.
fn place(bench: &mut Bench) {
    for rows in SIZES {
        let name = format!("fresh instance: told {} rows, and a place", counted(rows));
        bench.pair(&name, None, |loader| {
            let (all, same) = (cluster(rows), cluster(rows));
            let plugin = load(loader, Decision::Allocate, &spread());
            let (request, asked) = (place_request(), place_request());
            (
                move || {
                    let mut native = LeastLoaded::default();
                    native.reset(&all).expect("told");
                    placed(&mut native, &request);
                },
                move || {
                    let mut wasm = allocator(&plugin);
                    wasm.reset(&same).expect("told");
                    placed(wasm.as_mut(), &asked);
                },
            )
        });
    }
}

/// What a host does from a trap to the next answer: the instance goes, the one that was made ahead takes its seat, is told of
/// the cluster and places. Once that answer is out, and not counted here, the next one is made ahead.
fn trap(bench: &mut Bench) {
    const TARGET_NS: f64 = 50_000.0;
    const ROWS: u64 = 1_000;
    let name = "trap to serving: told 1,000 rows, and a place";
    if !bench.wants(name) {
        return;
    }
    let config = spread();
    let plugin = load(&bench.loader, Decision::Allocate, &config);
    let mut sitting = Sitting::new(plugin, config, Feed::Reset { generation: 1, rows: shards(ROWS) });
    let (all, request) = (cluster(ROWS), place_request());
    let question = QuestionBody::Place(Box::new(request.clone()));
    let serve = |sitting: &mut Sitting| {
        sitting.fall();
        let answer = sitting.decide(&question);
        assert!(matches!(answer, Ok(AnswerBody::Place(PlaceAnswer::Place(_)))), "{answer:?}");
    };
    let (rounds, times) = if bench.measures { (40, 50) } else { (1, 1) };
    let (mut native, mut native_ns, mut wasm_ns) = (LeastLoaded::default(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        native_ns.push(each_time(
            times,
            &mut native,
            |native| *native = LeastLoaded::default(),
            |native| {
                native.reset(&all).expect("told");
                placed(native, &request);
            },
        ));
        wasm_ns.push(each_time(times, &mut sitting, Sitting::rest, serve));
    }
    bench.tell_pair(name, &native_ns, &wasm_ns, Some(TARGET_NS));
}

fn balance(bench: &mut Bench) {
    bench.pair("fresh instance: told 1,000 rows, and a balance", None, |loader| {
        let (all, same) = (cluster(1_000), cluster(1_000));
        let plugin = load(loader, Decision::Balance, &steady());
        (
            move || {
                let mut native = Steady::default();
                native.reset(&all).expect("told");
                balanced(&mut native);
            },
            move || {
                let mut wasm = balancer(&plugin);
                wasm.reset(&same).expect("told");
                balanced(wasm.as_mut());
            },
        )
    });
}

/// What a thousand live instances hold, each of which has decided once.
fn memory(bench: &mut Bench) {
    const TARGET_MIB: f64 = 30.0;
    let name = "memory of 1,000 instances (auth-open)";
    if !bench.wants(name) || !bench.measures {
        return;
    }
    let request = join(&signed("HS256").token);
    let mut config = plugins::config();
    config.threads = THREADS;
    let mut held: Vec<(Plugin, Vec<Box<dyn Authorize>>)> = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    while count < INSTANCES {
        let loader = Loader::new(&config, Arc::new(|| UNIX_MS)).expect("an engine");
        let plugin = load(&loader, Decision::Authorize, &open());
        let before = resident_bytes();
        let mut deciders = Vec::new();
        for _ in 0..(INSTANCES - count).min(THREADS * 3) {
            let mut decider = authorizer(&plugin);
            granted(decider.as_mut(), &request);
            deciders.push(decider);
        }
        bytes += resident_bytes().saturating_sub(before);
        count += deciders.len();
        held.push((plugin, deciders));
    }
    let mib = bytes as f64 / f64::from(1 << 20);
    bench.tell(Row {
        name: name.into(),
        native: String::new(),
        wasm: format!("{mib:.1} MiB"),
        ratio: String::new(),
        target: format!("{TARGET_MIB:.0} MiB"),
        over: mib > TARGET_MIB,
    });
}

/// What this process holds in memory; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1_024
}
