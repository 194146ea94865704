//! Those that take too long, each somewhere else.

use crate::abuse::{CRYPTO, STORE};
use crate::case::{Case, Comes, LONG_NAME_BYTES, THIRTEEN, authorize, guest};
use crate::guest::{APPLIED, Guest, push_text};
use crate::misdeeds::LOOP;
use tidegate_types::decision::{Decision, Failure};

const LATE: Comes = Comes::Fails(Failure::Deadline);
const NOT_STARTED: Comes = Comes::Refused("Start");
const REALLOC: &str = "(local.set $at (i32.and";
const DESCRIBE: &str = "#describe\") (result i32)";

fn good() -> Guest {
    Guest::new(Decision::Authorize)
}

/// Does this for ever.
fn again(body: &str) -> String {
    format!("(loop $again {body} (br $again))")
}

pub fn at_start() -> Vec<Case> {
    let start = format!("(func $start {LOOP}) (start $start)");
    let in_realloc = format!("{LOOP} {REALLOC}");
    let in_describe = format!("{DESCRIBE} {LOOP}");
    let in_configure = format!("{LOOP} (unreachable)");
    vec![
        Case::new("loops in its start function", good().functions(&start), NOT_STARTED),
        Case::new("loops in describe", good().instead_of(DESCRIBE, &in_describe), NOT_STARTED),
        Case::new("loops in configure", good().configure(in_configure), NOT_STARTED),
        Case::new("loops in every realloc", good().instead_of(REALLOC, &in_realloc), NOT_STARTED),
    ]
}

pub fn when_asked() -> Vec<Case> {
    let in_realloc =
        format!("(if (i32.eq (local.get 3) (i32.const {LONG_NAME_BYTES})) (then {LOOP})) {REALLOC}");
    let post = "(func (export \"cabi_post_tidegate:policy/authorization@1.0.0#authorize\") (param i32) \
                (if (i32.eq (global.get $provoked) (i32.const 1)) (then (loop $again (br $again)))))\
                (global $provoked (mut i32) (i32.const 0))";
    let tail = "(func $tail (param i32) (return_call $tail (i32.add (local.get 0) (i32.const 1))))";
    let fill = again("(memory.fill (i32.const 8192) (i32.const 7) (i32.const 2000000))");
    vec![
        Case::new("loops when asked", authorize(LOOP), LATE),
        Case::new("loops in one realloc", good().instead_of(REALLOC, &in_realloc), LATE),
        Case::new(
            "loops after its answer",
            authorize("(global.set $provoked (i32.const 1))").functions(post),
            LATE,
        ),
        Case::new("loops by tail calls", authorize("(call $tail (i32.const 0))").functions(tail), LATE),
        Case::new("fills its memory again and again", authorize(&fill), LATE),
        Case::new(
            "asks for no more memory again and again",
            authorize(&again("(drop (memory.grow (i32.const 0)))")),
            LATE,
        ),
    ]
}

/// Each call into the host is short; all of them together must be, too.
pub fn in_the_host() -> Vec<Case> {
    let log = format!("(call $log {} (i32.const 1048576) (i32.const 1000))", push_text("info"));
    let count = format!("(call $add {} (i64.const 1))", push_text("test"));
    let store = "(call $store_set (i32.const 2048) (i32.const 4) (i32.const 8192) (i32.const 60000) (i32.const 0) \
                 (i64.const 0) (i32.const 4200)) (global.set $heap (i32.const 8192))";
    let crypto = "(call $verify (i32.const 4096) (i32.const 5) (i32.const 8192) (i32.const 32) (i32.const 8192) \
                  (i32.const 65536) (i32.const 8192) (i32.const 32) (i32.const 4200))";
    vec![
        Case::new("logs for ever", authorize(&again(&log)), LATE),
        Case::new("counts for ever", authorize(&again(&count)), LATE),
        Case::new("stores for ever", authorize(&again(store)).functions(STORE), LATE),
        Case::new("checks signatures for ever", authorize(&again(crypto)).functions(CRYPTO), LATE),
    ]
}

pub fn of_the_other_decisions() -> Vec<Case> {
    let many = format!("(if (i32.eq (local.get $rows) (i32.const {THIRTEEN})) (then {LOOP}))");
    let told = format!(
        "(if (i64.eq (i64.load (local.get $values)) (i64.const {THIRTEEN})) (then {LOOP})) (i32.const {APPLIED})"
    );
    vec![
        Case::new("loops when it places", guest(Decision::Allocate, LOOP), LATE),
        Case::new("loops at a reset", Guest::new(Decision::Allocate).reset(&many), LATE),
        Case::new("loops at a change", Guest::new(Decision::Allocate).delta(told), LATE).by_change(),
        Case::new("loops when it balances", guest(Decision::Balance, LOOP), LATE),
        Case::new("loops when it shares", guest(Decision::Share, LOOP), LATE),
    ]
}
