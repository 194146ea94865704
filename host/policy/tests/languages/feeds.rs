//! Policies that hold the cluster, in every language, told and asked the same by chance: whole states and changes, rows
//! that go, states that nobody was told of, handles that lead nowhere. Knows nothing of what the answers should be but
//! that all are Rust's.
//!
//! Components are called as they are, without the runtime: it does not tell everything that the interface allows.

use crate::{LANGUAGES, component};
use tidegate_types::decision::Decision;
use wasmtime::component::{Component, Func, Linker, Val};
use wasmtime::{Config, Engine, OptLevel, Store};

const SEEDS: [u64; 3] = [1, 2, 3];
const STEPS: usize = 300;
/// Fewer than what is drawn from: handles beyond them come, too.
const ROWS: u64 = 6;
const HANDLES: u64 = 8;
const COLUMNS: [(&str, &str, u64); 5] = [
    ("tide-height", "m", 9),
    ("forward-delay-p99", "us", 4),
    ("transports", "count", 5),
    ("reserved-transports", "count", 3),
    ("draining", "bool", 2),
];

/// Draws, the same from one seed (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn list<T>(&mut self, length: u64, mut each: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..length).map(|_| each(self)).collect()
    }
}

// ---- values as components take them

fn text(text: &str) -> Val {
    Val::String(text.into())
}

fn none() -> Val {
    Val::Option(None)
}

fn some(value: Val) -> Val {
    Val::Option(Some(Box::new(value)))
}

fn record<const N: usize>(fields: [(&str, Val); N]) -> Val {
    Val::Record(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

fn handles(values: Vec<u64>) -> Val {
    Val::List(values.into_iter().map(|value| Val::U32(value as u32)).collect())
}

fn numbers(values: Vec<u64>) -> Val {
    Val::List(values.into_iter().map(Val::U64).collect())
}

// ---- what is told and asked

/// A function of a component, and what it is given.
#[derive(Clone, Debug)]
struct Call {
    interface: &'static str,
    function: &'static str,
    given: Vec<Val>,
}

fn feed(function: &'static str, given: Vec<Val>) -> Call {
    Call { interface: "cluster-feed", function, given }
}

fn script(seed: u64, decision: Decision) -> Vec<Call> {
    let mut chance = Chance(seed);
    let mut generation = 0;
    // Of a state that nobody was told of.
    let mut calls = vec![feed("delta", changes(&mut chance, 9))];
    for _ in 0..STEPS {
        match chance.below(12) {
            0 => {
                generation += 1;
                calls.push(reset(&mut chance, generation));
            }
            1 => {
                let another = generation + 1 + chance.below(2);
                calls.push(feed("delta", changes(&mut chance, another)));
            }
            // Nothing can change yet.
            _ if generation == 0 => {}
            2..6 => calls.push(feed("delta", changes(&mut chance, generation))),
            _ => calls.push(question(&mut chance, decision)),
        }
    }
    calls
}

fn reset(chance: &mut Chance, generation: u64) -> Call {
    let rows = chance.below(ROWS + 1);
    let mut columns = Vec::new();
    for (name, unit, bound) in COLUMNS {
        // A host that is older or newer may tell less.
        if chance.below(8) > 0 {
            let values = numbers(chance.list(rows, |chance| chance.below(bound)));
            columns.push(record([("name", text(name)), ("unit", text(unit)), ("values", values)]));
        }
    }
    let regions = record([
        ("name", text("region")),
        ("texts", Val::List(vec![text("north"), text(""), text("süd")])),
        ("values", handles(chance.list(rows, |chance| chance.below(4)))),
    ]);
    let labels = if chance.below(8) > 0 { vec![regions] } else { Vec::new() };
    let given = vec![Val::U64(generation), Val::U32(rows as u32), Val::List(columns), Val::List(labels)];
    feed("reset", given)
}

fn changes(chance: &mut Chance, generation: u64) -> Vec<Val> {
    let count = chance.below(4);
    let columns = handles(chance.list(count, |chance| chance.below(COLUMNS.len() as u64 + 1)));
    let rows = handles(chance.list(count, |chance| chance.below(HANDLES)));
    let values = numbers(chance.list(count, |chance| chance.below(5)));
    let gone = chance.below(6) / 5;
    let removed = handles(chance.list(gone, |chance| chance.below(HANDLES)));
    vec![Val::U64(generation), columns, rows, values, removed]
}

fn question(chance: &mut Chance, decision: Decision) -> Call {
    let moment = record([("unix-ms", Val::U64(0)), ("seed", Val::U64(chance.0))]);
    let nothing = Val::List(Vec::new());
    if decision == Decision::Balance {
        let cause = ["tick", "drain", "full-moon"][chance.below(3) as usize];
        let request = record([
            ("cause", text(cause)),
            ("row", none()),
            ("moment", moment),
            ("tables", nothing.clone()),
            ("attrs", nothing),
        ]);
        return Call { interface: "balancing", function: "balance", given: vec![request] };
    }
    let kind = ["transport", "relay", "router", "aquarium"][chance.below(4) as usize];
    let hint = ["north", "", "süd", "west"][chance.below(4) as usize];
    let request = record([
        ("kind", text(kind)),
        ("room", none()),
        ("router-at", none()),
        ("expected-ingress-kbps", Val::U64(0)),
        ("expected-egress-kbps", Val::U64(2_500)),
        ("region-hint", if chance.below(2) == 0 { none() } else { some(text(hint)) }),
        ("parents", if kind == "relay" { some(parents(chance)) } else { none() }),
        ("moment", moment),
        ("attrs", nothing),
    ]);
    Call { interface: "allocation", function: "place", given: vec![request] }
}

fn parents(chance: &mut Chance) -> Val {
    let count = chance.below(4);
    record([
        ("rows", handles(chance.list(count, |chance| chance.below(HANDLES)))),
        ("depth", handles(chance.list(count, |chance| chance.below(3)))),
        ("fan-out", handles(chance.list(count, |chance| 5 + chance.below(6)))),
        ("more", Val::List(Vec::new())),
    ])
}

// ---- who is told and asked

/// A component by itself: what it asks of a host that is no policy's business traps, or is zero.
struct Guest {
    component: Component,
    linker: Linker<()>,
}

impl Guest {
    fn read(engine: &Engine, language: &str, decision: Decision) -> Self {
        let component = Component::from_file(engine, component(language, decision))
            .unwrap_or_else(|error| panic!("{language}: {error:#}"));
        let mut linker = Linker::new(engine);
        linker.allow_shadowing(true);
        linker.define_unknown_imports_as_traps(&component).expect("functions and resources");
        // Go's runtime asks for both as it starts.
        let mut random = linker.instance("wasi:random/random@0.2.0").expect("a name");
        random
            .func_new("get-random-u64", |_, _, _, results| {
                results[0] = Val::U64(0);
                Ok(())
            })
            .expect("a name");
        let mut clock = linker.instance("wasi:clocks/wall-clock@0.2.0").expect("a name");
        clock
            .func_new("now", |_, _, _, results| {
                results[0] = record([("seconds", Val::U64(0)), ("nanoseconds", Val::U32(0))]);
                Ok(())
            })
            .expect("a name");
        Self { component, linker }
    }

    /// What a fresh instance answers to all of them.
    fn answers(&self, calls: &[Call]) -> Vec<Vec<Val>> {
        let mut store = Store::new(self.component.engine(), ());
        let instance = self.linker.instantiate(&mut store, &self.component).expect("an instance");
        let mut function = |call: &Call| -> Func {
            let interface = format!("tidegate:policy/{}@1.0.0", call.interface);
            let interface = self.component.get_export_index(None, interface.as_str()).expect("an interface");
            let function = self.component.get_export_index(Some(&interface), call.function);
            instance.get_func(&mut store, function.expect("a function")).expect("it is one")
        };
        let functions: Vec<Func> = calls.iter().map(&mut function).collect();
        let ask = |(call, function): (&Call, Func)| {
            let mut results = vec![Val::Bool(false); usize::from(call.function != "reset")];
            let told = function.call(&mut store, &call.given, &mut results);
            told.unwrap_or_else(|error| panic!("{call:?}: {error:#}"));
            results
        };
        calls.iter().zip(functions).map(ask).collect()
    }
}

fn all_answer_alike(decision: Decision) {
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::None);
    let engine = Engine::new(&config).expect("an engine");
    let scripts = SEEDS.map(|seed| script(seed, decision));
    let [(rust, _), others @ ..] = LANGUAGES;
    let rust = Guest::read(&engine, rust, decision);
    let expected = scripts.each_ref().map(|calls| rust.answers(calls));
    for (language, _) in others {
        let guest = Guest::read(&engine, language, decision);
        for ((seed, calls), expected) in SEEDS.iter().zip(&scripts).zip(&expected) {
            let found = guest.answers(calls);
            let first = (0..calls.len()).find(|&index| found[index] != expected[index]);
            if let Some(index) = first {
                let (call, found, expected) = (&calls[index], &found[index], &expected[index]);
                panic!(
                    "{language}, seed {seed}, call {index}: {call:?}: {found:?} where Rust says {expected:?}"
                );
            }
        }
    }
}

#[test]
#[ignore = "tests/languages/build makes what it needs"]
fn every_language_places_alike_whatever_it_is_told() {
    all_answer_alike(Decision::Allocate);
}

#[test]
#[ignore = "tests/languages/build makes what it needs"]
fn every_language_balances_alike_whatever_it_is_told() {
    all_answer_alike(Decision::Balance);
}

/// Scripts that told too little would let everything pass.
#[test]
fn chance_tells_and_asks_enough() {
    for decision in [Decision::Allocate, Decision::Balance] {
        let calls: Vec<Call> = SEEDS.into_iter().flat_map(|seed| script(seed, decision)).collect();
        let count = |fits: fn(&Call) -> bool| calls.iter().filter(|call| fits(call)).count();
        let is_removal = |call: &Call| {
            call.function == "delta" && matches!(call.given.last(), Some(Val::List(gone)) if !gone.is_empty())
        };
        assert!(count(|call| call.function == "reset") > 30);
        assert!(count(is_removal) > 20);
        assert!(count(|call| call.interface != "cluster-feed") > 200);
    }
}
