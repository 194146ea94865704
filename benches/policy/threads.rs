//! The same decisions by 2 to 8 threads at once, each with an instance of its own, as the runtime's threads have. Knows
//! nothing of queues.
//!
//! What is told is CPU time of a call, so that more threads than cores may be measured: what threads cost each other
//! inside a call (locks, shared lines of cache, the system's own) shows, waiting for a core does not.

use crate::decisions::{cluster, granted, open, place_request, placed, spread};
use crate::native::{LeastLoaded, Open, Token};
use crate::plugins::{allocator, authorizer, load, stock_plugin};
use crate::table::{Bench, each, median, spent};
use crate::tokens::{join, signed};
use std::sync::Barrier;
use std::time::{Duration, Instant};
use tidegate_policy::host::Fed as _;
use tidegate_types::decision::Decision;

const THREADS: [usize; 3] = [2, 4, 8];
const ROUNDS: usize = 15;
/// How long each round takes, on either side.
const ROUND: Duration = Duration::from_millis(10);
/// Calls between two looks at the clock.
const CALLS: u64 = 16;

/// One thread's calls.
type Call<'a> = Box<dyn FnMut() + Send + 'a>;

pub fn measure(bench: &mut Bench) {
    let signed = signed("HS256");
    let (algorithm, key, request) = (signed.algorithm, &signed.key, &join(&signed.token));
    let (all, asked) = (&cluster(1_000), &place_request());
    if wanted(bench, UNREAD) {
        let plugin = load(&bench.loader, Decision::Authorize, &open());
        let native = || Box::new(move || granted(&mut Open, request)) as Call<'_>;
        let wasm = || {
            let mut decider = authorizer(&plugin);
            Box::new(move || granted(decider.as_mut(), request)) as Call<'_>
        };
        lines(bench, UNREAD, &native, &wasm);
        let fresh = || Box::new(|| granted(authorizer(&plugin).as_mut(), request)) as Call<'_>;
        lines(bench, FRESH, &native, &fresh);
    }
    if wanted(bench, CHECKED) {
        let plugin = stock_plugin("auth-token", signed.configuration.clone());
        let plugin = load(&bench.loader, Decision::Authorize, &plugin);
        let native = || Box::new(move || granted(&mut Token { algorithm, key }, request)) as Call<'_>;
        let wasm = || {
            let mut decider = authorizer(&plugin);
            Box::new(move || granted(decider.as_mut(), request)) as Call<'_>
        };
        lines(bench, CHECKED, &native, &wasm);
    }
    if wanted(bench, PLACED) {
        let plugin = load(&bench.loader, Decision::Allocate, &spread());
        let native = || {
            let mut decider = LeastLoaded::default();
            decider.reset(all).expect("told");
            Box::new(move || placed(&mut decider, asked)) as Call<'_>
        };
        let wasm = || {
            let mut decider = allocator(&plugin);
            decider.reset(all).expect("told");
            Box::new(move || placed(decider.as_mut(), asked)) as Call<'_>
        };
        lines(bench, PLACED, &native, &wasm);
    }
}

const UNREAD: &str = "authorize, token unread";
const FRESH: &str = "fresh instance: authorize, token unread";
const CHECKED: &str = "authorize, HS256";
const PLACED: &str = "place, 1,000 rows, scan (allocate-spread)";

fn wanted(bench: &Bench, name: &str) -> bool {
    bench.measures && THREADS.into_iter().any(|threads| bench.wants(&named(name, threads)))
}

fn named(name: &str, threads: usize) -> String {
    format!("{name}, {threads} threads")
}

fn lines<'a>(bench: &mut Bench, name: &str, native: &dyn Fn() -> Call<'a>, wasm: &dyn Fn() -> Call<'a>) {
    for threads in THREADS {
        let mut native: Vec<Call<'a>> = (0..threads).map(|_| native()).collect();
        let mut wasm: Vec<Call<'a>> = (0..threads).map(|_| wasm()).collect();
        let (mut native_ns, mut wasm_ns) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            native_ns.push(at_once(&mut native));
            wasm_ns.push(at_once(&mut wasm));
        }
        bench.tell_pair(&named(name, threads), &native_ns, &wasm_ns, None);
    }
}

/// What a call takes while all of these are made at once: the median of the threads.
fn at_once(calls: &mut [Call<'_>]) -> f64 {
    let start = Barrier::new(calls.len());
    let took = std::thread::scope(|scope| {
        let threads: Vec<_> = calls.iter_mut().map(|call| scope.spawn(|| calling(call, &start))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    median(took)
}

fn calling(call: &mut Call<'_>, start: &Barrier) -> f64 {
    start.wait();
    let began = Instant::now();
    let (before, mut made) = (spent(began), 0);
    while began.elapsed() < ROUND {
        (0..CALLS).for_each(|_| call());
        made += CALLS;
    }
    each(spent(began) - before, made)
}
