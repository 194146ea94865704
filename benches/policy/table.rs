//! The lines of the table: how a pair of calls is measured, and how what was measured is told. Knows nothing of what is
//! called.

use crate::plugins;
use criterion::Criterion;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tidegate_policy::plugin::Loader;
use tidegate_shard::floor::cpu_time;

/// What one batch is to take at least, so that the clock's own cost vanishes.
const BATCH: Duration = Duration::from_micros(200);
const MOST_CALLS: u64 = 1 << 20;
/// How long criterion takes samples of one line, and how many.
const WARM_UP: Duration = Duration::from_millis(100);
const MEASURED: Duration = Duration::from_millis(500);
const SAMPLES: usize = 10;

const BEGIN: &str = "<!-- measured: cargo bench --bench policy -- --readme -->";
const END: &str = "<!-- end of measured -->";

/// One line.
pub struct Row {
    pub name: String,
    pub native: String,
    pub wasm: String,
    pub ratio: String,
    pub target: String,
    pub over: bool,
}

/// What is measured, and what was.
pub struct Bench {
    /// Makes every plugin of the pairs.
    pub loader: Loader,
    /// `cargo test --benches` only asks whether it runs.
    pub measures: bool,
    criterion: Criterion,
    wanted: Option<String>,
    readme: bool,
    rows: Vec<Row>,
}

impl Bench {
    pub fn new() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let criterion = Criterion::default()
            .sample_size(SAMPLES)
            .warm_up_time(WARM_UP)
            .measurement_time(MEASURED)
            .without_plots();
        Self {
            loader: plugins::loader(),
            measures: has("--bench"),
            criterion,
            wanted: arguments.iter().find(|argument| !argument.starts_with('-')).cloned(),
            readme: has("--readme"),
            rows: Vec::new(),
        }
    }

    /// Is a line of this name asked for?
    pub fn wants(&self, name: &str) -> bool {
        self.wanted.as_ref().is_none_or(|word| format!("policy/{name}").contains(word.as_str()))
    }

    /// Measures a native call and the same to a component in turn, once `make` has made both.
    pub fn pair<N: FnMut(), W: FnMut()>(
        &mut self,
        name: &str,
        target_ns: Option<u64>,
        make: impl FnOnce(&Loader) -> (N, W),
    ) {
        if !self.wants(name) {
            return;
        }
        let (native, wasm) = make(&self.loader);
        let mut pair = Pair { native, wasm, batch: 0, native_ns: Vec::new(), wasm_ns: Vec::new() };
        if !self.measures {
            pair.run(1);
            return;
        }
        self.criterion.bench_function(&format!("policy/{name}"), |bencher| {
            bencher.iter_custom(|calls| pair.run(calls));
        });
        self.tell_pair(name, &pair.native_ns, &pair.wasm_ns, target_ns.map(|target| target as f64));
    }

    /// A line of nanoseconds that were taken in turn.
    pub fn tell_pair(&mut self, name: &str, native_ns: &[f64], wasm_ns: &[f64], target_ns: Option<f64>) {
        let ratios = native_ns.iter().zip(wasm_ns).map(|(native, wasm)| wasm / native.max(0.1)).collect();
        let wasm = median(wasm_ns.to_vec());
        self.tell(Row {
            name: name.into(),
            native: time(median(native_ns.to_vec())),
            wasm: time(wasm),
            ratio: format!("{:.1}×", median(ratios)),
            target: target_ns.map_or_else(String::new, time),
            over: target_ns.is_some_and(|target| wasm > target),
        });
    }

    /// One more line.
    pub fn tell(&mut self, row: Row) {
        println!("{}", line(&row));
        self.rows.push(row);
    }

    /// Prints the whole table, and writes what has a target into README.md if that was asked for.
    pub fn finish(self) {
        if !self.measures {
            return;
        }
        println!("\n{:<56} {:>10} {:>10} {:>8} {:>12}", "", "native", "wasm", "ratio", "target");
        self.rows.iter().for_each(|row| println!("{}", line(row)));
        if self.readme {
            write_readme(&self.rows);
        }
    }
}

/// Nanoseconds that a step took, each time that it was made ready for anew.
pub fn each_time<T>(times: u32, on: &mut T, ready: impl Fn(&mut T), step: impl Fn(&mut T)) -> f64 {
    let mut took = Duration::ZERO;
    for _ in 0..times {
        ready(on);
        took += timed(&mut || step(on), 1);
    }
    each(took, times.into())
}

/// A native call, the same to a component, and what each took, batch by batch.
struct Pair<N, W> {
    native: N,
    wasm: W,
    /// Calls in a batch; 0 until it is known.
    batch: u64,
    native_ns: Vec<f64>,
    wasm_ns: Vec<f64>,
}

impl<N: FnMut(), W: FnMut()> Pair<N, W> {
    /// So many of each, in turn; what the component's took.
    fn run(&mut self, calls: u64) -> Duration {
        if self.batch == 0 {
            self.batch = batch_of(&mut self.wasm);
        }
        let (mut left, mut took) = (calls, Duration::ZERO);
        while left > 0 {
            let batch = self.batch.min(left);
            let (native, wasm) = (timed(&mut self.native, batch), timed(&mut self.wasm, batch));
            if batch == self.batch {
                self.native_ns.push(each(native, batch));
                self.wasm_ns.push(each(wasm, batch));
            }
            took += wasm;
            left -= batch;
        }
        took
    }
}

/// CPU time of this thread, so that whatever else runs here counts little; time itself where that is not known.
pub fn spent(began: Instant) -> Duration {
    match cpu_time() {
        Duration::ZERO => began.elapsed(),
        spent => spent,
    }
}

fn timed(call: &mut impl FnMut(), calls: u64) -> Duration {
    let began = Instant::now();
    let before = spent(began);
    (0..calls).for_each(|_| call());
    spent(began) - before
}

/// Nanoseconds of one call.
pub fn each(took: Duration, calls: u64) -> f64 {
    took.as_nanos() as f64 / calls.max(1) as f64
}

/// So many calls that a batch is long enough.
fn batch_of(call: &mut impl FnMut()) -> u64 {
    let mut calls = 1;
    while timed(call, calls) < BATCH && calls < MOST_CALLS {
        calls *= 2;
    }
    calls
}

pub fn median(values: Vec<f64>) -> f64 {
    at_hundredth(values, 50)
}

/// What so many hundredths of the values do not exceed.
pub fn at_hundredth(mut values: Vec<f64>, hundredths: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * hundredths).div_ceil(100).saturating_sub(1);
    values.get(rank).copied().unwrap_or(f64::NAN)
}

pub fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

fn line(row: &Row) -> String {
    let Row { name, native, wasm, ratio, target, over } = row;
    let over = if *over { "  over" } else { "" };
    format!("{name:<56} {native:>10} {wasm:>10} {ratio:>8} {target:>12}{over}")
}

fn write_readme(rows: &[Row]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let (head, rest) = readme.split_once(BEGIN).expect("the README has the mark where the table begins");
    let (_, tail) = rest.split_once(END).expect("the README has the mark where the table ends");
    let mut table = String::from("| | native | component | ratio | aim |\n|---|---|---|---|---|\n");
    for Row { name, native, wasm, ratio, target, .. } in rows.iter().filter(|row| !row.target.is_empty()) {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {name} | {native} | {wasm} | {ratio} | {target} |");
    }
    std::fs::write(path, format!("{head}{BEGIN}\n{table}{END}{tail}")).expect("README.md can be written");
}
