//! What a decision costs: each one native against WebAssembly, behind the same traits. Knows nothing of queues: the
//! calls are made on one thread, with no deadline.
//!
//! Native and WebAssembly alternate, batch by batch, so that a machine that is busy for a while is busy for both; the
//! medians are printed with their ratio and with the target for the WebAssembly side. Ratios carry over to other
//! machines, absolute times don't. `cargo bench --bench policy -- place` runs the lines whose name holds a word.
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "../host/policy/tests/policies/guest.rs"]
mod guest;

use aws_lc_rs::{hmac, rand};
use guest::{Guest, PLACEMENT};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidegate::stock::stock;
use tidegate_policy::feed::Cluster;
use tidegate_policy::host::{Allocate, Authorize, Balance, Fed, Instance};
use tidegate_policy::plugin::{Decider, Loader, Plugin};
use tidegate_policy::{PluginConfig, Policies, PolicyConfig, Source, SwapOrder};
use tidegate_types::cluster::{CellChange, Column, ShardRow};
use tidegate_types::decision::{
    Action, Answer, AnswerBody, AuthorizeAnswer, AuthorizeRequest, BalanceAnswer, BalanceCause,
    BalanceRequest, Decision, Failure, Grant, Moment, PlaceAnswer, PlaceKind, PlaceRequest, Placement,
    Question, QuestionBody, Refusal, ToPolicy,
};
use tidegate_types::{NodeId, Place, RequestNumber, Secret, ShardIndex};

/// The cluster that placements are measured on.
const ROWS: u64 = 1_000;
const ROUNDS: usize = 61;
/// What one batch is to take at least, so that the clock's own cost vanishes.
const BATCH: Duration = Duration::from_micros(500);
const UNIX_MS: u64 = 1_700_000_000_000;
const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let bench = Bench::new(wanted);
    println!("{:<44} {:>10} {:>10} {:>8} {:>10}", "", "native", "wasm", "ratio", "target");
    bench.nothing();
    bench.authorize();
    bench.place();
    bench.balance();
    bench.feed();
    bench.anew();
    bench.many();
    bench.swaps();
}

struct Bench {
    loader: Loader,
    wanted: Option<String>,
}

/// A component of a name, with its configuration.
fn component(name: &'static str, bytes: Cow<'static, [u8]>, configuration: Value) -> PluginConfig {
    PluginConfig { configuration, ..PluginConfig::new(Source::Embedded { name, bytes }) }
}

fn stock_plugin(name: &'static str, configuration: Value) -> PluginConfig {
    let bytes = stock(name).unwrap_or_else(|| panic!("no stock policy {name}"));
    component(name, bytes.into(), configuration)
}

impl Bench {
    fn new(wanted: Option<String>) -> Self {
        let open = || stock_plugin("auth-open", Value::Null);
        let config = PolicyConfig::new(open(), open(), open());
        let loader = Loader::new(&config, Arc::new(|| UNIX_MS)).expect("an engine");
        Self { loader, wanted }
    }

    fn load(&self, decision: Decision, config: &PluginConfig) -> Plugin {
        self.loader.load(decision, config).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Alternates two closures and prints a line.
    fn line(&self, name: &str, target_ns: Option<u64>, native: &mut dyn FnMut(), wasm: &mut dyn FnMut()) {
        if self.wanted.as_ref().is_some_and(|word| !name.contains(word)) {
            return;
        }
        let (native_count, wasm_count) = (batch_count(native), batch_count(wasm));
        let (mut native_ns, mut wasm_ns) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            native_ns.push(batch(native, native_count));
            wasm_ns.push(batch(wasm, wasm_count));
        }
        let (native, wasm) = (median(native_ns), median(wasm_ns));
        let target = target_ns.map_or(String::new(), |target| time(target as f64));
        let missed = if target_ns.is_some_and(|target| wasm > target as f64) { "  over" } else { "" };
        let ratio = wasm / native.max(0.1);
        println!("{name:<44} {:>10} {:>10} {ratio:>7.1}x {target:>10}{missed}", time(native), time(wasm));
    }
}

fn batch(call: &mut dyn FnMut(), count: u32) -> f64 {
    let began = Instant::now();
    for _ in 0..count {
        call();
    }
    began.elapsed().as_nanos() as f64 / f64::from(count)
}

/// So many calls that a batch is long enough.
fn batch_count(call: &mut dyn FnMut()) -> u32 {
    let mut count = 1;
    loop {
        let began = Instant::now();
        for _ in 0..count {
            call();
        }
        if began.elapsed() >= BATCH || count >= 1 << 20 {
            return count;
        }
        count *= 2;
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn time(ns: f64) -> String {
    if ns < 1_000.0 { format!("{ns:.0} ns") } else { format!("{:.2} µs", ns / 1_000.0) }
}

// Authorize.

/// Grants everything but admin.
struct Open;

impl Instance for Open {}

impl Authorize for Open {
    fn authorize(&mut self, request: &AuthorizeRequest) -> Result<AuthorizeAnswer, Failure> {
        Ok(match request.action {
            Action::Admin => AuthorizeAnswer::Refuse(Refusal::new("not-allowed", "No.")),
            _ => AuthorizeAnswer::Grant(Grant::open()),
        })
    }
}

/// Checks a token's signature and end, and grants what it says.
struct Token {
    key: hmac::Key,
}

impl Instance for Token {}

impl Authorize for Token {
    fn authorize(&mut self, request: &AuthorizeRequest) -> Result<AuthorizeAnswer, Failure> {
        let grant = self.read(request.token.expose(), request.moment.unix_ms);
        Ok(grant.map_or_else(
            || AuthorizeAnswer::Refuse(Refusal::new("token-invalid", "No.")),
            AuthorizeAnswer::Grant,
        ))
    }
}

impl Token {
    fn read(&self, token: &str, unix_ms: u64) -> Option<Grant> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        if header["alg"] != "HS256" {
            return None;
        }
        hmac::verify(&self.key, signed.as_bytes(), &decode(signature)?).ok()?;
        let claims: Value = serde_json::from_slice(&decode(payload)?).ok()?;
        let end = claims["exp"].as_u64()?.checked_mul(1_000)?;
        (end > unix_ms).then(|| Grant {
            identity: claims["sub"].as_str().map(Into::into),
            expires_unix_ms: Some(end),
            ..Grant::open()
        })
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// base64url without padding (RFC 7515, section 2).
fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        text.extend(
            (0..=chunk.len()).map(|index| char::from(DIGITS[(word >> (18 - 6 * index)) as usize & 63])),
        );
    }
    text
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.as_bytes().chunks(4) {
        let mut word = 0_u32;
        for byte in chunk {
            word = (word << 6) | u32::from(digit(*byte)?);
        }
        word <<= 6 * (4 - chunk.len());
        bytes.extend(word.to_be_bytes()[1..].iter().take(chunk.len() - 1));
    }
    Some(bytes)
}

/// A signed token of about 500 bytes.
fn token() -> String {
    let padding = "x".repeat(220);
    let claims = json!({ "sub": "ada", "room": "hello", "exp": UNIX_MS / 1_000 + 3_600, "note": padding });
    let signed =
        format!("{}.{}", encode(br#"{"alg":"HS256","typ":"JWT"}"#), encode(claims.to_string().as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

fn join() -> AuthorizeRequest {
    AuthorizeRequest {
        action: Action::Join,
        room: Some("hello".into()),
        room_people: 3,
        room_since_unix_ms: Some(UNIX_MS),
        name: "Ada Lovelace".into(),
        identity: None,
        token: Secret::new(token()),
        address: Some([192, 0, 2, 1].into()),
        kind: None,
        source: None,
        moment: Moment { unix_ms: UNIX_MS, seed: 7 },
        lookups: vec![],
        attrs: vec![],
    }
}

fn granted(decider: &mut dyn Authorize, request: &AuthorizeRequest) {
    let answer = decider.authorize(black_box(request));
    assert!(matches!(answer, Ok(AuthorizeAnswer::Grant(_))), "{answer:?}");
    black_box(answer).ok();
}

fn authorizer(plugin: &Plugin) -> Box<dyn Authorize> {
    match plugin.decider() {
        Ok(Decider::Authorize(mut decider)) => {
            decider.allow(Duration::from_secs(3_600));
            decider
        }
        _ => panic!("no instance"),
    }
}

impl Bench {
    fn authorize(&self) {
        let request = join();
        let open = self.load(Decision::Authorize, &stock_plugin("auth-open", Value::Null));
        let mut long_lived = authorizer(&open);
        self.line(
            "authorize, 500-byte token, unread",
            Some(4_500),
            &mut || granted(&mut Open, &request),
            &mut || granted(long_lived.as_mut(), &request),
        );
        self.line(
            "authorize, in a fresh instance",
            Some(20_000),
            &mut || granted(&mut Open, &request),
            &mut || granted(authorizer(&open).as_mut(), &request),
        );
        let keys = json!({ "keys": [{ "alg": "HS256", "key": std::str::from_utf8(KEY).expect("text") }] });
        let signed = self.load(Decision::Authorize, &stock_plugin("auth-token", keys));
        let mut signed = authorizer(&signed);
        let mut native = Token { key: hmac::Key::new(hmac::HMAC_SHA256, KEY) };
        self.line(
            "authorize, token read, HS256 checked",
            Some(10_000),
            &mut || granted(&mut native, &request),
            &mut || granted(signed.as_mut(), &request),
        );
    }
}

// Allocate and balance.

/// What native deciders hold of the cluster.
#[derive(Default)]
struct Held {
    places: Vec<Place>,
    egress: Vec<u64>,
    reserved: Vec<u64>,
    transports: Vec<u64>,
}

impl Instance for Held {}

impl Fed for Held {
    fn reset(&mut self, cluster: &Cluster) -> Result<(), Failure> {
        self.places = (0..).map_while(|row| cluster.place(row)).collect();
        self.egress = cluster.column(Column::Egress).to_vec();
        self.reserved = cluster.column(Column::ReservedEgress).to_vec();
        self.transports = cluster.column(Column::Transports).to_vec();
        Ok(())
    }

    fn delta(&mut self, _generation: u64, changes: &[CellChange]) -> Result<bool, Failure> {
        for change in changes {
            let column = match change.column {
                Column::Egress => &mut self.egress,
                Column::ReservedEgress => &mut self.reserved,
                Column::Transports => &mut self.transports,
                _ => continue,
            };
            if let Some(cell) = column.get_mut(change.row as usize) {
                *cell = change.value;
            }
        }
        Ok(true)
    }
}

impl Held {
    fn placed(&self, row: usize) -> Result<PlaceAnswer, Failure> {
        let place = *self.places.get(row).ok_or(Failure::Stale)?;
        Ok(PlaceAnswer::Place(Placement { place, attrs: vec![] }))
    }
}

macro_rules! native {
    ($name:ident, $doc:literal, |$held:ident, $request:ident| $choose:expr) => {
        #[doc = $doc]
        #[derive(Default)]
        struct $name(Held);

        impl Instance for $name {}

        impl Fed for $name {
            fn reset(&mut self, cluster: &Cluster) -> Result<(), Failure> {
                self.0.reset(cluster)
            }

            fn delta(&mut self, generation: u64, changes: &[CellChange]) -> Result<bool, Failure> {
                self.0.delta(generation, changes)
            }
        }

        impl Allocate for $name {
            fn place(&mut self, $request: &PlaceRequest) -> Result<PlaceAnswer, Failure> {
                let $held = &self.0;
                $held.placed($choose)
            }
        }
    };
}

native!(LeastLoaded, "The least loaded of all.", |held, _request| {
    let load = |row: &usize| (held.egress[*row] + held.reserved[*row], held.transports[*row]);
    (0..held.places.len()).min_by_key(load).unwrap_or(usize::MAX)
});

native!(BetterOfTwo, "The better of two drawn ones.", |held, request| {
    let rows = held.places.len().max(1);
    let seed = request.moment.seed;
    let (one, other) = ((seed & 0xffff_ffff) as usize % rows, (seed >> 32) as usize % rows);
    if held.egress.get(one) <= held.egress.get(other) { one } else { other }
});

/// Wishes nothing; looks at all.
#[derive(Default)]
struct Steady(Held);

impl Instance for Steady {}

impl Fed for Steady {
    fn reset(&mut self, cluster: &Cluster) -> Result<(), Failure> {
        self.0.reset(cluster)
    }

    fn delta(&mut self, generation: u64, changes: &[CellChange]) -> Result<bool, Failure> {
        self.0.delta(generation, changes)
    }
}

impl Balance for Steady {
    fn balance(&mut self, _request: &BalanceRequest) -> Result<BalanceAnswer, Failure> {
        black_box(self.0.egress.iter().max());
        Ok(BalanceAnswer::default())
    }
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
fn cluster() -> Cluster {
    let row = |index: u64| {
        let mut values = [0; Column::ALL.len()];
        values[Column::Egress.index()] = 1_000 + index * 7_919 % 100_000;
        values[Column::Transports.index()] = 10 + index % 13;
        values[Column::Cpu.index()] = 100 + index % 400;
        let place = Place { node: NodeId(index / 16), shard: ShardIndex((index % 16) as u16) };
        ShardRow { place, region: "north".into(), node_name: format!("node-{}", index / 16), values }
    };
    Cluster::new(1, &(0..ROWS).map(row).collect::<Vec<_>>())
}

fn place_request() -> PlaceRequest {
    PlaceRequest {
        kind: PlaceKind::Transport,
        room: Some("hello".into()),
        router_at: vec![],
        expected_ingress_kbps: 2_000,
        expected_egress_kbps: 6_000,
        region_hint: None,
        parents: vec![],
        moment: Moment { unix_ms: UNIX_MS, seed: random() },
        attrs: vec![],
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).expect("chance");
    u64::from_le_bytes(bytes)
}

fn allocator(plugin: &Plugin) -> Box<dyn Allocate> {
    match plugin.decider() {
        Ok(Decider::Allocate(mut decider)) => {
            decider.allow(Duration::from_secs(3_600));
            decider
        }
        _ => panic!("no instance"),
    }
}

fn placed(decider: &mut dyn Allocate, request: &PlaceRequest) {
    let answer = decider.place(black_box(request));
    assert!(matches!(answer, Ok(PlaceAnswer::Place(_))), "{answer:?}");
    black_box(answer).ok();
}

impl Bench {
    fn place(&self) {
        let cluster = cluster();
        let hand_written = component("better-of-two", better_of_two().build().into(), Value::Null);
        let scan = || Box::<LeastLoaded>::default();
        let two = || Box::<BetterOfTwo>::default();
        let plugins: [(&str, u64, Box<dyn Allocate>, PluginConfig); 3] = [
            (
                "place, 1,000 rows, scan (allocate-spread)",
                3_500,
                scan(),
                stock_plugin("allocate-spread", json!({})),
            ),
            (
                "place, 1,000 rows, scan (allocate-pack)",
                3_500,
                scan(),
                stock_plugin("allocate-pack", json!({})),
            ),
            ("place, 1,000 rows, better of two", 250, two(), hand_written),
        ];
        for (name, target_ns, mut native, config) in plugins {
            let mut wasm = allocator(&self.load(Decision::Allocate, &config));
            native.reset(&cluster).expect("told");
            wasm.reset(&cluster).expect("told");
            let request = place_request();
            self.line(name, Some(target_ns), &mut || placed(native.as_mut(), &request), &mut || {
                placed(wasm.as_mut(), &request);
            });
        }
    }

    fn balance(&self) {
        let plugin = self.load(Decision::Balance, &stock_plugin("balance-steady", json!({})));
        let Ok(Decider::Balance(mut wasm)) = plugin.decider() else { panic!("no instance") };
        wasm.allow(Duration::from_secs(3_600));
        let mut native = Steady::default();
        let cluster = cluster();
        native.reset(&cluster).expect("told");
        wasm.reset(&cluster).expect("told");
        let moment = Moment { unix_ms: UNIX_MS, seed: 7 };
        let request = BalanceRequest { cause: BalanceCause::Tick, place: None, moment, attrs: vec![] };
        self.line(
            "balance, 1,000 rows (balance-steady)",
            None,
            &mut || drop(black_box(native.balance(&request).expect("an answer"))),
            &mut || drop(black_box(wasm.balance(&request).expect("an answer"))),
        );
    }

    /// What every call costs before a guest does anything: the smallest question, answered with nothing. The target
    /// is for a function without arguments; a question's texts and lists cost a call into the guest each.
    fn nothing(&self) {
        let hand_written = component("nothing", Guest::new(Decision::Balance).build().into(), Value::Null);
        let plugin = self.load(Decision::Balance, &hand_written);
        let Ok(Decider::Balance(mut wasm)) = plugin.decider() else { panic!("no instance") };
        wasm.allow(Duration::from_secs(3_600));
        let mut native = Steady::default();
        let moment = Moment { unix_ms: UNIX_MS, seed: 7 };
        let request = BalanceRequest { cause: BalanceCause::Tick, place: None, moment, attrs: vec![] };
        self.line(
            "a question answered with nothing",
            Some(200),
            &mut || drop(black_box(native.balance(&request).expect("an answer"))),
            &mut || drop(black_box(wasm.balance(&request).expect("an answer"))),
        );
    }

    fn feed(&self) {
        let cluster = cluster();
        let plugin = self.load(Decision::Allocate, &stock_plugin("allocate-spread", json!({})));
        let (mut native, mut wasm) = (LeastLoaded::default(), allocator(&plugin));
        native.reset(&cluster).expect("told");
        wasm.reset(&cluster).expect("told");
        let one = [CellChange { row: 500, column: Column::Egress, value: 2_000 }];
        let all: Vec<CellChange> =
            (0..ROWS as u32).map(|row| CellChange { row, column: Column::Egress, value: 2_000 }).collect();
        for (name, changes) in [("feed, one change", one.as_slice()), ("feed, 1,000 changes", &all)] {
            self.line(name, None, &mut || assert!(native.delta(1, changes).expect("told")), &mut || {
                assert!(wasm.delta(1, changes).expect("told"));
            });
        }
        self.line(
            "feed, reset of 1,000 rows",
            None,
            &mut || native.reset(&cluster).expect("told"),
            &mut || wasm.reset(&cluster).expect("told"),
        );
    }

    /// From a trap to serving again.
    fn anew(&self) {
        let cluster = cluster();
        let request = place_request();
        let plugin = self.load(Decision::Allocate, &stock_plugin("allocate-spread", json!({})));
        self.line(
            "a new instance, told 1,000 rows, and a place",
            Some(50_000),
            &mut || {
                let mut native = LeastLoaded::default();
                native.reset(&cluster).expect("told");
                placed(&mut native, &request);
            },
            &mut || {
                let mut wasm = allocator(&plugin);
                wasm.reset(&cluster).expect("told");
                placed(wasm.as_mut(), &request);
            },
        );
    }

    /// What a thousand live instances hold, each of which has decided once.
    fn many(&self) {
        const INSTANCES: usize = 1_000;
        const TARGET_MIB: f64 = 30.0;
        let name = "memory of 1,000 instances (auth-open)";
        if self.wanted.as_ref().is_some_and(|word| !name.contains(word)) {
            return;
        }
        let open = || stock_plugin("auth-open", Value::Null);
        let request = join();
        // One engine has slots for 64 threads' instances.
        let mut config = PolicyConfig::new(open(), open(), open());
        config.threads = 64;
        let mut held: Vec<(Plugin, Vec<Box<dyn Authorize>>)> = Vec::new();
        let mut count = 0;
        let mut bytes = 0;
        while count < INSTANCES {
            let loader = Loader::new(&config, Arc::new(|| UNIX_MS)).expect("an engine");
            let plugin = loader.load(Decision::Authorize, &open()).unwrap_or_else(|error| panic!("{error}"));
            let before = resident_bytes();
            let mut deciders = Vec::new();
            for _ in 0..(INSTANCES - count).min(64 * 3) {
                let mut decider = authorizer(&plugin);
                granted(decider.as_mut(), &request);
                deciders.push(decider);
            }
            bytes += resident_bytes().saturating_sub(before);
            count += deciders.len();
            held.push((plugin, deciders));
        }
        let mib = bytes as f64 / f64::from(1 << 20);
        let missed = if mib > TARGET_MIB { "  over" } else { "" };
        println!("{name:<44} {:>10} {mib:>6.1} MiB {:>8} {TARGET_MIB:>6.0} MiB{missed}", "", "");
    }
}

/// A token policy under one of two keys, so that each is another configuration.
fn keyed(turn: usize) -> PluginConfig {
    let other = "fedcba9876543210fedcba9876543210";
    let key = std::str::from_utf8(KEY).expect("text");
    let mut keys = vec![json!({ "alg": "HS256", "key": key })];
    if turn % 2 == 1 {
        keys.push(json!({ "alg": "HS256", "key": other }));
    }
    stock_plugin("auth-token", json!({ "keys": keys }))
}

impl Bench {
    /// A hundred swaps while a thousand people a second join: how long each takes to come in force once it is ready, and
    /// what the joins notice.
    fn swaps(&self) {
        const SWAPS: usize = 100;
        const TARGET: Duration = Duration::from_millis(1);
        let name = "swap in force, 1,000 joins/s meanwhile";
        if self.wanted.as_ref().is_some_and(|word| !name.contains(word)) {
            return;
        }
        let answered: Arc<Mutex<Vec<(usize, Instant, bool)>>> = Arc::default();
        let sink = answered.clone();
        let config = PolicyConfig::new(
            keyed(0),
            stock_plugin("allocate-pack", json!({})),
            stock_plugin("balance-steady", json!({})),
        );
        let sink = move |answer: Answer| {
            let granted = matches!(answer.result, Ok(AnswerBody::Authorize(AuthorizeAnswer::Grant(_))));
            let number = usize::try_from(answer.number.0).expect("small");
            sink.lock().expect("no panic").push((number, Instant::now(), granted));
        };
        let policies = Policies::start(config, Arc::new(|| UNIX_MS), Arc::new(sink)).expect("it starts");
        let done = AtomicBool::new(false);
        let (mut took, mut prepared) = (Vec::new(), Vec::new());
        let asked = std::thread::scope(|scope| {
            let joins = scope.spawn(|| paced_joins(&policies, &done));
            for turn in 1..=SWAPS {
                let plugin = keyed(turn);
                let order = SwapOrder { decision: Decision::Authorize, position: 1, plugin, shadow: false };
                let swapped = policies.swap(order).unwrap_or_else(|error| panic!("{error}"));
                took.push(swapped.took.as_nanos() as f64);
                prepared.push(swapped.prepared_in.as_nanos() as f64);
            }
            done.store(true, Ordering::Relaxed);
            joins.join().expect("no panic")
        });
        policies.stop();
        let answered = answered.lock().expect("no panic");
        let granted = answered.iter().filter(|(.., granted)| *granted).count();
        let waits = answered.iter().map(|(number, at, _)| (*at - asked[*number]).as_nanos() as f64).collect();
        let over = if at_hundredth(&mut took, 99) > TARGET.as_nanos() as f64 { "  over" } else { "" };
        println!(
            "{name:<44} p50 {} p99 {} (target 1 ms){over}",
            time(median(took.clone())),
            time(at_hundredth(&mut took, 99))
        );
        println!(
            "{:<44} p50 {} p99 {}",
            "  made ready, compiled at low priority",
            time(median(prepared.clone())),
            time(at_hundredth(&mut prepared, 99))
        );
        let mut waits: Vec<f64> = waits;
        println!(
            "{:<44} p50 {} p99 {}, {granted} of {} granted",
            "  a join meanwhile",
            time(median(waits.clone())),
            time(at_hundredth(&mut waits, 99)),
            asked.len()
        );
    }
}

/// A join each millisecond until told to end; when each was asked.
fn paced_joins(policies: &Policies, done: &AtomicBool) -> Vec<Instant> {
    let mut asked = Vec::new();
    let began = Instant::now();
    while !done.load(Ordering::Relaxed) {
        let due = began + Duration::from_millis(asked.len() as u64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let number = RequestNumber(asked.len() as u64);
        asked.push(Instant::now());
        let body = QuestionBody::Authorize(Box::new(join()));
        policies.send(ToPolicy::Ask(Question { number, body }));
    }
    // The last ones are answered within their deadline.
    std::thread::sleep(Duration::from_millis(Decision::Authorize.deadline_ms() * 3));
    asked
}

fn at_hundredth(values: &mut [f64], hundredths: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * hundredths).div_ceil(100).saturating_sub(1)]
}

/// What this process holds in memory; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1_024
}
