//! One decision by an instance that lives on: authorize with and without signatures, place over clusters of every size,
//! balance, and what each is told before. Knows nothing of how instances come about.

use crate::guest::{Guest, PLACEMENT};
use crate::native::{BetterOfTwo, LeastLoaded, Open, Steady, Token};
use crate::plugins::{UNIX_MS, allocator, authorizer, balancer, component, load, stock_plugin};
use crate::table::Bench;
use crate::tokens::{Signed, join, signed};
use serde_json::{Value, json};
use std::hint::black_box;
use tidegate_policy::feed::Cluster;
use tidegate_policy::floor::Bare;
use tidegate_policy::host::{Allocate, Authorize, Balance, Fed as _};
use tidegate_policy::plugin::Loader;
use tidegate_policy::{PluginConfig, Source};
use tidegate_types::cluster::{CellChange, Column, ShardRow};
use tidegate_types::decision::{
    AuthorizeAnswer, AuthorizeRequest, BalanceCause, BalanceRequest, Decision, Moment, PlaceAnswer,
    PlaceKind, PlaceRequest,
};
use tidegate_types::{NodeId, Place, ShardIndex};

/// The sizes of clusters; the targets are for the third.
pub const SIZES: [u64; 4] = [10, 100, 1_000, 10_000];
const ROWS: u64 = 1_000;

pub fn measure(bench: &mut Bench) {
    nothing(bench);
    authorize(bench);
    place(bench);
    feed(bench);
    balance(bench);
}

/// What every call costs before a guest does anything, and what the smallest question does, which is answered with nothing:
/// each text and list of a question is one more call into the guest.
fn nothing(bench: &mut Bench) {
    bench.pair("empty call", Some(200), |loader| {
        let mut bare = bare(loader);
        (|| black_box(nothing_at_all)(), move || bare.nothing())
    });
    bench.pair("call with ten texts", None, |loader| {
        let mut bare = bare(loader);
        (|| black_box(nothing_at_all)(), move || bare.take(black_box(&["tide"; 10])))
    });
    bench.pair("smallest question (balance, answered with nothing)", None, |loader| {
        let hand_written = component("nothing", Guest::new(Decision::Balance).build().into(), Value::Null);
        let mut wasm = balancer(&load(loader, Decision::Balance, &hand_written));
        let mut native = Steady::default();
        (move || balanced(&mut native), move || balanced(wasm.as_mut()))
    });
}

#[inline(never)]
fn nothing_at_all() {}

/// A component that does nothing with what it is given, and keeps everything at the same place.
fn bare(loader: &Loader) -> Bare {
    let text = r#"(component
        (core module $module
            (memory (export "memory") 1)
            (func (export "nothing"))
            (func (export "take") (param i32 i32))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16)))
        (core instance $core (instantiate $module))
        (func (export "nothing") (canon lift (core func $core "nothing")))
        (func (export "take") (param "texts" (list string)) (canon lift (core func $core "take")
            (memory (core memory $core "memory")) (realloc (core func $core "cabi_realloc")))))"#;
    let component = wat::parse_str(text).expect("a component");
    Bare::new(loader, &component).unwrap_or_else(|error| panic!("{error}"))
}

/// By which algorithm, and what it may take.
const SIGNATURES: [(&str, Option<u64>); 3] = [("HS256", Some(10_000)), ("RS256", None), ("ES256", None)];

fn authorize(bench: &mut Bench) {
    bench.pair("authorize, 500-byte token, unread", Some(4_500), |loader| {
        let request = join(&signed("HS256").token);
        let mut wasm = authorizer(&load(loader, Decision::Authorize, &open()));
        let same = request.clone();
        (move || granted(&mut Open, &request), move || granted(wasm.as_mut(), &same))
    });
    for (algorithm, target_ns) in SIGNATURES {
        bench.pair(&format!("authorize, 500-byte token, {algorithm}"), target_ns, |loader| {
            let Signed { algorithm, token, key, configuration } = signed(algorithm);
            let (request, same) = (join(&token), join(&token));
            let plugin = stock_plugin("auth-token", configuration);
            let mut wasm = authorizer(&load(loader, Decision::Authorize, &plugin));
            (
                move || granted(&mut Token { algorithm, key: &key }, &request),
                move || granted(wasm.as_mut(), &same),
            )
        });
    }
}

pub fn open() -> PluginConfig {
    stock_plugin("auth-open", Value::Null)
}

pub fn spread() -> PluginConfig {
    stock_plugin("allocate-spread", json!({}))
}

pub fn granted(decider: &mut dyn Authorize, request: &AuthorizeRequest) {
    let answer = decider.authorize(black_box(request));
    assert!(matches!(answer, Ok(AuthorizeAnswer::Grant(_))), "{answer:?}");
    black_box(answer).ok();
}

fn place(bench: &mut Bench) {
    for rows in SIZES {
        let target_ns = (rows == ROWS).then_some(3_500);
        place_line(bench, "scan", rows, target_ns, LeastLoaded::default, &spread());
    }
    let pack = stock_plugin("allocate-pack", json!({}));
    place_line(bench, "scan", ROWS, Some(3_500), LeastLoaded::default, &pack);
    let two = stock_plugin("allocate-two-choice", json!({}));
    place_line(bench, "two choices", ROWS, Some(250), BetterOfTwo::default, &two);
    let smallest = component("hand-written", better_of_two().build().into(), Value::Null);
    place_line(bench, "two choices", ROWS, Some(250), BetterOfTwo::default, &smallest);
}

fn place_line<D: Allocate>(
    bench: &mut Bench,
    how: &str,
    rows: u64,
    target_ns: Option<u64>,
    native: impl FnOnce() -> D,
    plugin: &PluginConfig,
) {
    let name = format!("place, {} rows, {how} ({})", counted(rows), name_of(plugin));
    bench.pair(&name, target_ns, |loader| {
        let cluster = cluster(rows);
        let (mut native, mut wasm) = (native(), allocator(&load(loader, Decision::Allocate, plugin)));
        native.reset(&cluster).expect("told");
        wasm.reset(&cluster).expect("told");
        let (request, same) = (place_request(), place_request());
        (move || placed(&mut native, &request), move || placed(wasm.as_mut(), &same))
    });
}

fn name_of(plugin: &PluginConfig) -> &'static str {
    match plugin.source {
        Source::Embedded { name, .. } => name,
        Source::Path(_) => "a file",
        Source::Native(_) => "native code",
    }
}

pub fn counted(rows: u64) -> String {
    if rows < 1_000 { rows.to_string() } else { format!("{},{:03}", rows / 1_000, rows % 1_000) }
}

/// The better of two in WebAssembly, by hand: the cluster's egress is kept at 1 MiB.
fn better_of_two() -> Guest {
    let egress = Column::Egress.index() * 24 + 16;
    let keep = format!(
        "(global.set $count (local.get $rows)) (memory.copy (i32.const 1048576) \
         (i32.load offset={egress} (local.get 2)) (i32.mul (local.get $rows) (i32.const 8)))"
    );
    let load = |row: &str| format!("(i64.load offset=1048576 (i32.mul (global.get {row}) (i32.const 8)))");
    let choose = format!(
        "(global.set $one (i32.rem_u (i32.load offset=144 (local.get $request)) (global.get $count))) \
         (global.set $other (i32.rem_u (i32.load offset=148 (local.get $request)) (global.get $count))) \
         (i32.store (i32.const {}) (select (global.get $one) (global.get $other) (i64.le_u {} {}))) \
         (i32.const {PLACEMENT})",
        PLACEMENT + 4,
        load("$one"),
        load("$other")
    );
    Guest::new(Decision::Allocate)
        .functions(
            "(global $count (mut i32) (i32.const 0)) (global $one (mut i32) (i32.const 0)) \
             (global $other (mut i32) (i32.const 0))",
        )
        .reset(&keep)
        .decide(choose)
}

/// Shards of which none is idle and none is full.
pub fn cluster(rows: u64) -> Cluster {
    Cluster::new(1, &shards(rows))
}

pub fn shards(rows: u64) -> Vec<ShardRow> {
    let row = |index: u64| {
        let mut values = [0; Column::ALL.len()];
        values[Column::Egress.index()] = 1_000 + index * 7_919 % 100_000;
        values[Column::Transports.index()] = 10 + index % 13;
        values[Column::Cpu.index()] = 100 + index % 400;
        let place = Place { node: NodeId(index / 16), shard: ShardIndex((index % 16) as u16) };
        ShardRow { place, region: "north".into(), node_name: format!("node-{}", index / 16), values }
    };
    (0..rows).map(row).collect()
}

pub fn place_request() -> PlaceRequest {
    PlaceRequest {
        kind: PlaceKind::Transport,
        room: Some("hello".into()),
        router_at: vec![],
        expected_ingress_kbps: 2_000,
        expected_egress_kbps: 6_000,
        region_hint: None,
        parents: vec![],
        moment: Moment { unix_ms: UNIX_MS, seed: 0x9e37_79b9_7f4a_7c15 },
        attrs: vec![],
    }
}

pub fn placed(decider: &mut dyn Allocate, request: &PlaceRequest) {
    let answer = decider.place(black_box(request));
    assert!(matches!(answer, Ok(PlaceAnswer::Place(_))), "{answer:?}");
    black_box(answer).ok();
}

fn feed(bench: &mut Bench) {
    let one = vec![CellChange { row: 500, column: Column::Egress, value: 2_000 }];
    let all = (0..ROWS as u32).map(|row| CellChange { row, column: Column::Egress, value: 2_000 }).collect();
    for (name, changes) in [("delta, one change", one), ("delta, 1,000 changes", all)] {
        bench.pair(name, None, |loader| {
            let cluster = cluster(ROWS);
            let (mut native, mut wasm) =
                (LeastLoaded::default(), allocator(&load(loader, Decision::Allocate, &spread())));
            native.reset(&cluster).expect("told");
            wasm.reset(&cluster).expect("told");
            let same: Vec<CellChange> = changes.clone();
            (
                move || assert!(native.delta(1, black_box(&changes)).expect("told")),
                move || assert!(wasm.delta(1, black_box(&same)).expect("told")),
            )
        });
    }
    for rows in SIZES {
        bench.pair(&format!("reset, {} rows", counted(rows)), None, |loader| {
            let (all, same) = (cluster(rows), cluster(rows));
            let (mut native, mut wasm) =
                (LeastLoaded::default(), allocator(&load(loader, Decision::Allocate, &spread())));
            (
                move || native.reset(black_box(&all)).expect("told"),
                move || wasm.reset(black_box(&same)).expect("told"),
            )
        });
    }
}

fn balance(bench: &mut Bench) {
    for rows in SIZES {
        let name = format!("balance, {} rows (balance-steady)", counted(rows));
        bench.pair(&name, None, |loader| {
            let mut wasm = balancer(&load(loader, Decision::Balance, &steady()));
            let mut native = Steady::default();
            let cluster = cluster(rows);
            native.reset(&cluster).expect("told");
            wasm.reset(&cluster).expect("told");
            (move || balanced(&mut native), move || balanced(wasm.as_mut()))
        });
    }
}

pub fn steady() -> PluginConfig {
    stock_plugin("balance-steady", json!({}))
}

pub fn balanced(decider: &mut dyn Balance) {
    let moment = Moment { unix_ms: UNIX_MS, seed: 7 };
    let request = BalanceRequest { cause: BalanceCause::Tick, place: None, moment, attrs: vec![] };
    black_box(decider.balance(black_box(&request)).expect("an answer"));
}
