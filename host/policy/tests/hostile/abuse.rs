//! Those that use what the host lends them beyond its bounds: log, counters, store, signature checks.

use crate::case::{Case, Comes, authorize};
use crate::guest::push_text;
use tidegate_types::decision::Failure;

const NONSENSE: Comes = Comes::Fails(Failure::Nonsense);

/// Writing, reading and listing; and a key of its own for each number.
pub const STORE: &str = r#"(import "tidegate:policy/host-store@1.0.0" "set"
  (func $store_set (param i32 i32 i32 i32 i32 i64 i32)))
(import "tidegate:policy/host-store@1.0.0" "get" (func $store_get (param i32 i32 i32)))
(import "tidegate:policy/host-store@1.0.0" "keys" (func $store_keys (param i32 i32 i32 i32 i32 i32)))
(func $key (param $number i32)
  (i32.store (i32.const 4096) (i32.or (i32.const 0x40404040) (i32.or
    (i32.and (local.get $number) (i32.const 15)) (i32.or
    (i32.shl (i32.and (i32.shr_u (local.get $number) (i32.const 4)) (i32.const 15)) (i32.const 8))
    (i32.shl (i32.and (i32.shr_u (local.get $number) (i32.const 8)) (i32.const 15)) (i32.const 16)))))))
"#;
/// `HS256` stands at 4,096, behind it `RS256`.
pub const CRYPTO: &str = r#"(import "tidegate:policy/host-crypto@1.0.0" "verify"
  (func $verify (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(data (i32.const 4096) "HS256RS256")
"#;
/// A gauge; and a name of its own for each number.
const GAUGE: &str = r#"(import "tidegate:policy/host-counters@1.0.0" "set" (func $gauge (param i32 i32 i64)))
(func $name (param $number i32)
  (i32.store (i32.const 4096) (i32.or (i32.const 0x61616161) (i32.or
    (i32.and (local.get $number) (i32.const 15)) (i32.or
    (i32.shl (i32.and (i32.shr_u (local.get $number) (i32.const 4)) (i32.const 15)) (i32.const 8))
    (i32.shl (i32.and (i32.shr_u (local.get $number) (i32.const 8)) (i32.const 15)) (i32.const 16)))))))
"#;

/// Does this for `$left` from so many down to 1.
fn times(count: u32, body: &str) -> String {
    format!(
        "(local.set $left (i32.const {count})) (loop $more {body} \
         (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    )
}

pub fn log() -> Vec<Case> {
    let info = push_text("info");
    let line = |at: u32, bytes: u32| format!("(call $log {info} (i32.const {at}) (i32.const {bytes}))");
    let forged = format!("(i64.store (i32.const 4096) (i64.const 0x0a0d1b5b6d0a0041)) {}", line(4_096, 8));
    let no_level = format!(
        "(i32.store (i32.const 4096) (i32.const -1)) (call $log (i32.const 4096) (i32.const 4) {})",
        push_text("test")
    );
    vec![
        Case::new("logs 5,000 lines", authorize(&times(5_000, &line(2_048, 30))), Comes::Bounded),
        Case::new("logs lines of 60 KB", authorize(&times(500, &line(1_048_576, 60_000))), Comes::Bounded),
        Case::new("logs what looks like other lines", authorize(&forged), Comes::Bounded),
        Case::new("logs from outside its memory", authorize(&line(0x7fff_0000, 9)), NONSENSE),
        Case::new("logs at a level that is no text", authorize(&no_level), NONSENSE),
    ]
}

/// What is that large is not even copied.
pub fn megabytes() -> Vec<Case> {
    let line = format!(
        "(drop (memory.grow (i32.const 32))) (call $log {} (i32.const 2097152) (i32.const 1900000))",
        push_text("info")
    );
    let value = "(drop (memory.grow (i32.const 32))) (call $store_set (i32.const 2048) (i32.const 4) \
                (i32.const 2097152) (i32.const 1900000) (i32.const 0) (i64.const 0) (i32.const 4200))";
    vec![
        Case::new("logs a line of 1.9 MB", authorize(&line), NONSENSE),
        Case::new("stores a value of 1.9 MB", authorize(value).functions(STORE), NONSENSE),
    ]
}

pub fn counters() -> Vec<Case> {
    let many = "(call $name (local.get $left)) (call $gauge (i32.const 4096) (i32.const 4) (i64.const 7))";
    let long = "(memory.fill (i32.const 8192) (i32.const 97) (i32.const 1000)) \
                (call $gauge (i32.const 8192) (i32.const 1000) (i64.const -1))";
    let huge = format!("(call $add {} (i64.const -1))", push_text("test"));
    vec![
        Case::new(
            "counts under 4,000 names",
            authorize(&times(4_000, many)).functions(GAUGE),
            Comes::Bounded,
        ),
        Case::new("counts under a name of 1,000 bytes", authorize(long).functions(GAUGE), Comes::Bounded),
        Case::new("counts beyond the largest number", authorize(&times(3, &huge)), Comes::Bounded),
    ]
}

pub fn store() -> Vec<Case> {
    // Writes, counts how often that went well, and traps if it went well more often than it may.
    let write = |count: u32, bytes: u32, most: u32| {
        let write = format!(
            "(call $key (local.get $left)) (global.set $heap (i32.const 131072)) \
             (call $store_set (i32.const 4096) (i32.const 4) (i32.const 8192) (i32.const {bytes}) (i32.const 0) \
             (i64.const 0) (i32.const 4200)) \
             (if (i32.eqz (i32.load8_u (i32.const 4200))) (then \
             (i32.store (i32.const 4300) (i32.add (i32.load (i32.const 4300)) (i32.const 1)))))"
        );
        let body = format!(
            "(i32.store (i32.const 4300) (i32.const 0)) {} \
             (if (i32.gt_u (i32.load (i32.const 4300)) (i32.const {most})) (then (unreachable)))",
            times(count, &write)
        );
        authorize(&body).functions(STORE)
    };
    let long_key = "(call $store_set (i32.const 1048576) (i32.const 257) (i32.const 8192) (i32.const 1) (i32.const 0) \
                    (i64.const 0) (i32.const 4200)) \
                    (if (i32.eqz (i32.load8_u (i32.const 4200))) (then (unreachable)))";
    let listed = "(call $store_keys (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1) \
                  (i32.const 4200)) \
                  (if (i32.gt_u (i32.load (i32.const 4204)) (i32.const 100)) (then (unreachable)))";
    let listed = format!(
        "{} {listed}",
        times(
            300,
            "(call $key (local.get $left)) \
                  (call $store_set (i32.const 4096) (i32.const 4) (i32.const 8192) (i32.const 1) (i32.const 0) \
                  (i64.const 0) (i32.const 4200))"
        )
    );
    vec![
        Case::new("stores 2,000 entries", write(2_000, 1, 1_000), Comes::Bounded),
        Case::new("stores more than 4 MiB", write(100, 65_536, 63), Comes::Bounded),
        Case::new("stores values that are too large", write(2, 65_537, 0), Comes::Bounded),
        Case::new(
            "stores under a key that is too long",
            authorize(long_key).functions(STORE),
            Comes::Bounded,
        ),
        Case::new("lists all keys at once", authorize(&listed).functions(STORE), Comes::Bounded),
    ]
}

pub fn crypto() -> Vec<Case> {
    // Algorithm at, key bytes, message bytes; traps unless that is an error.
    let check = |algorithm: u32, key: u32, message: u32| {
        authorize(&format!(
            "(call $verify (i32.const {algorithm}) (i32.const 5) (i32.const 8192) (i32.const {key}) \
             (i32.const 16384) (i32.const {message}) (i32.const 8192) (i32.const 32) (i32.const 4200)) \
             (if (i32.eqz (i32.load8_u (i32.const 4200))) (then (unreachable)))"
        ))
        .functions(CRYPTO)
    };
    vec![
        Case::new("checks a message that is too large", check(4_096, 32, 65_537), Comes::Bounded),
        Case::new("checks with a key that is none", check(4_101, 300, 9), Comes::Bounded),
        Case::new("checks by an unknown algorithm", check(4_098, 32, 9), Comes::Bounded),
    ]
}
