//! Components written by hand: a core module in text whose functions the stories replace, wrapped for one world.
//! Knows nothing of the runtime under test.
//!
//! Memory: results at 1,024 to 2,048, texts at 2,048, a schema at 4,096, what the host passes in from 8,192 on.

use std::fmt::Write as _;
use std::path::Path;
use tidegate_types::decision::Decision;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// `refuse` with the code `no` and the message `go away`.
pub const REFUSAL: u32 = 1_152;
/// `need(table, key)`.
pub const NEED: u32 = 1_184;
/// A refusal whose message spans 14 MiB.
pub const HUGE_REFUSAL: u32 = 1_216;
/// A refusal whose message spans 2 KiB.
pub const LONG_REFUSAL: u32 = 1_248;
/// The placement on a row; the row is the second word.
pub const PLACEMENT: u32 = 1_280;
/// No wishes; as an answer of share: no columns, and not valid.
pub const NO_WISHES: u32 = 1_344;
/// `ok` of a delta.
pub const APPLIED: u32 = 1_376;
/// The error `resync`.
pub const RESYNC: u32 = 1_408;
/// One problem at `/limit`.
pub const PROBLEMS: u32 = 1_440;
/// A grant of everything but admin.
pub const GRANT: u32 = 1_504;
/// The same, for somebody called `test`.
pub const GRANT_TEST: u32 = 1_632;
/// The same, for somebody called `info`.
pub const GRANT_INFO: u32 = 1_760;
const DESCRIPTION: u32 = 1_024;
const SCHEMA: u32 = 4_096;
/// All is well with the configuration.
pub const NO_PROBLEMS: u32 = 1_088;
const ONE_PROBLEM: u32 = 1_472;
const TEXTS: &str = "hand-written0.7nogo awaytablekeyresync/limitmust be positivetestinfo";

/// Where a text stands, and its length.
fn text(of: &str) -> [u32; 2] {
    let at = TEXTS.find(of).expect("a known text");
    [2_048 + u32::try_from(at).expect("small"), u32::try_from(of.len()).expect("small")]
}

/// The address and length of a text, as two instructions.
pub fn push_text(of: &str) -> String {
    let [at, length] = text(of);
    format!("(i32.const {at}) (i32.const {length})")
}

/// A component under construction. Bodies are instructions that leave the result's address.
pub struct Guest {
    pub decision: Decision,
    decide: String,
    reset: String,
    delta: String,
    configure: String,
    schema: String,
    functions: String,
    world: String,
    /// Texts of module, interface and world, and what stands there instead.
    instead: Vec<(&'static str, String)>,
}

impl Guest {
    /// One that refuses, places on row 0, or wishes nothing.
    pub fn new(decision: Decision) -> Self {
        let answer = match decision {
            Decision::Authorize => REFUSAL,
            Decision::Allocate => PLACEMENT,
            Decision::Balance | Decision::Share => NO_WISHES,
        };
        Self {
            decision,
            decide: format!("(i32.const {answer})"),
            reset: String::new(),
            delta: format!("(i32.const {APPLIED})"),
            configure: format!("(i32.const {NO_PROBLEMS})"),
            schema: String::new(),
            functions: String::new(),
            world: format!("world guest {{ include tidegate:policy/{}@1.0.0; }}", decision.name()),
            instead: Vec::new(),
        }
    }

    /// What it does when asked; `$request` is the question's address, `$left` a free local.
    pub fn decide(self, body: impl Into<String>) -> Self {
        Self { decide: body.into(), ..self }
    }

    /// Misbehaves while a room has people in it, and refuses otherwise.
    pub fn misbehave(self, body: &str) -> Self {
        self.decide(format!(
            "(if (i32.load offset=20 (local.get $request)) (then {body})) (i32.const {REFUSAL})"
        ))
    }

    /// What it does at a reset; `$generation` and `$rows` are known.
    pub fn reset(self, body: &str) -> Self {
        Self { reset: body.into(), ..self }
    }

    /// What it does at a delta; `$values` is the address of the values.
    pub fn delta(self, body: impl Into<String>) -> Self {
        Self { delta: body.into(), ..self }
    }

    pub fn configure(self, body: impl Into<String>) -> Self {
        Self { configure: body.into(), ..self }
    }

    /// The schema of its configuration.
    pub fn schema(self, schema: &serde_json::Value) -> Self {
        Self { schema: schema.to_string(), ..self }
    }

    /// More functions of the module.
    pub fn functions(self, text: &str) -> Self {
        Self { functions: text.into(), ..self }
    }

    /// Imports something that policies are not given.
    pub fn with_foreign_import(self) -> Self {
        let world = format!(
            "interface clock {{ now: func() -> u64; }} world guest {{ import clock; \
             include tidegate:policy/{}@1.0.0; }}",
            self.decision.name()
        );
        let functions = "(import \"test:guest/clock\" \"now\" (func $now (result i64)))".into();
        Self { world, functions, ..self }
    }

    /// Built against another version.
    pub fn of_version(self, version: &str) -> Self {
        self.instead_of("@1.0.0", &format!("@{version}"))
    }

    /// Has something else where every guest has this text: in its module, its interface or its world.
    pub fn instead_of(mut self, usual: &'static str, text: &str) -> Self {
        self.instead.push((usual, text.into()));
        self
    }

    fn edited(&self, text: &str) -> String {
        self.instead.iter().fold(text.into(), |text: String, (usual, instead)| text.replace(usual, instead))
    }

    /// The core module in text.
    fn module(&self) -> String {
        let import = |interface: &str, function: &str, signature: &str| {
            format!(
                "(import \"tidegate:policy/{interface}@1.0.0\" \"{function}\" (func ${function} {signature}))\n"
            )
        };
        let mut module = String::from("(module\n");
        module += &import("host-log", "log", "(param i32 i32 i32 i32)");
        module += &import("host-counters", "add", "(param i32 i32 i64)");
        if self.functions.starts_with("(import") {
            module += &self.functions;
        }
        module += PRELUDE;
        if !self.functions.starts_with("(import") {
            module += &self.functions;
        }
        self.write_exports(&mut module).expect("text");
        module += &data(&self.schema);
        module += ")";
        module
    }

    fn write_exports(&self, module: &mut String) -> std::fmt::Result {
        let export = |interface: &str, function: &str| {
            format!("(export \"tidegate:policy/{interface}@1.0.0#{function}\")")
        };
        let free = "(global.set $heap (i32.const 8192))";
        writeln!(
            module,
            "(func {} (result i32) (i32.const {DESCRIPTION}))",
            export("lifecycle", "describe")
        )?;
        writeln!(
            module,
            "(func {} (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {free} {})",
            export("lifecycle", "configure"),
            self.configure
        )?;
        let (interface, function) = match self.decision {
            Decision::Authorize => ("authorization", "authorize"),
            Decision::Allocate => ("allocation", "place"),
            Decision::Balance => ("balancing", "balance"),
            Decision::Share => ("sharing", "share"),
        };
        let request = if self.decision == Decision::Balance {
            // cause, row, moment, tables and attrs fit into parameters.
            "i32 i32 i32 i32 i64 i64 i32 i32 i32 i32"
        } else {
            "$request i32"
        };
        writeln!(
            module,
            "(func {} (param {request}) (result i32) (local $left i32) {free} {})",
            export(interface, function),
            self.decide
        )?;
        if matches!(self.decision, Decision::Allocate | Decision::Balance) {
            writeln!(
                module,
                "(func {} (param $generation i64) (param $rows i32) (param i32 i32 i32 i32) {free} {})",
                export("cluster-feed", "reset"),
                self.reset
            )?;
            writeln!(
                module,
                "(func {} (param $generation i64) (param i32 i32 i32 i32) (param $values i32) \
                 (param i32 i32 i32) (result i32) {free} {})",
                export("cluster-feed", "delta"),
                self.delta
            )?;
        }
        Ok(())
    }

    /// The component.
    pub fn build(self) -> Vec<u8> {
        let text = self.edited(&self.module());
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut resolve = Resolve::default();
        resolve.push_str("policy.wit", &self.edited(&interface())).expect("the interface");
        let world = self.edited(&format!("package test:guest; {}", self.world));
        let package = resolve.push_str("guest.wit", &world).expect("the world");
        let world = resolve.select_world(&[package], Some("guest")).expect("the world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
        let mut encoder =
            ComponentEncoder::default().validate(true).module(&module).expect("a module that fits");
        encoder.encode().expect("a component")
    }

    /// The core module that nobody wrapped.
    pub fn build_unwrapped(self) -> Vec<u8> {
        wat::parse_str(self.module()).expect("a module")
    }
}

const PRELUDE: &str = r#"
(memory (export "memory") 32)
(global $heap (mut i32) (i32.const 8192))
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
  (global.set $heap (i32.add (local.get $at) (local.get 3)))
  (local.get $at))
"#;

/// All of `wit/v1` as one file, so that a story can edit it.
fn interface() -> String {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("wit/v1"));
    let folder = { folders }.find(|folder| folder.is_dir()).expect("wit/v1 above this crate");
    let mut text = String::from("package tidegate:policy@1.0.0;\n");
    for entry in folder.read_dir().expect("wit/v1") {
        let file = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        let body = file.split_once("package tidegate:policy@1.0.0;").expect("a package line").1;
        text += body;
    }
    text
}

/// A grant: may publish, subscribe and send data; everything that may be missing but the identity is.
fn grant(identity: [u32; 3]) -> Vec<u32> {
    let mut words = vec![0; 30];
    words[2..5].copy_from_slice(&identity);
    words[11] = 0x0001_0101;
    words
}

/// Results and texts.
fn data(schema: &str) -> String {
    let refusal = |message: [u32; 2]| [[1, 0], text("no"), message, [0, 0]].concat();
    let mut data = format!("(data (i32.const 2048) \"{TEXTS}\")\n");
    let mut at = |address: u32, words: &[u32]| {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        let bytes: String = bytes.map(|byte| format!("\\{byte:02x}")).collect();
        data += &format!("(data (i32.const {address}) \"{bytes}\")\n");
    };
    let length = u32::try_from(schema.len()).expect("small");
    at(DESCRIPTION, &[text("hand-written"), text("0.7"), [SCHEMA, length], [0, 0]].concat());
    at(REFUSAL, &refusal(text("go away")));
    at(NEED, &[[2, 0], text("table"), text("key")].concat());
    at(HUGE_REFUSAL, &refusal([0, 14 << 20]));
    at(LONG_REFUSAL, &refusal([16_384, 2_048]));
    at(GRANT, &grant([0, 0, 0]));
    at(GRANT_TEST, &grant([1, text("test")[0], text("test")[1]]));
    at(GRANT_INFO, &grant([1, text("info")[0], text("info")[1]]));
    at(RESYNC, &[[1].as_slice(), &text("resync")].concat());
    at(PROBLEMS, &[ONE_PROBLEM, 1]);
    at(ONE_PROBLEM, &[text("/limit"), text("must be positive")].concat());
    data += &format!("(data (i32.const {SCHEMA}) \"{}\")\n", schema.replace('"', "\\22"));
    data
}
