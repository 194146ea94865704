//! Those that take too much room: memory, tables, either kind of stack, and whatever else a component can have many of.

use crate::abuse::STORE;
use crate::case::{Case, Comes, LONG_NAME_BYTES, authorize};
use crate::guest::{Guest, NO_PROBLEMS};
use std::fmt::Write as _;
use tidegate_types::decision::{Decision, Failure};

const TRAPS: Comes = Comes::Fails(Failure::Trap);
const MEMORY: &str = "(memory (export \"memory\") 32)";
const REALLOC: &str = "(local.set $at (i32.and";
/// Takes what it can get, and traps if that was more than 16 MiB.
const GROW: &str = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) \
                    (if (i32.gt_u (memory.size) (i32.const 256)) (then (unreachable)))";
const WRITE_ALL: &str = "(memory.fill (i32.const 8192) (i32.const 7) (i32.const 15000000))";
/// The same with tables, whose bound is 20,000 entries.
const GROW_TABLE: &str = "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) \
     (if (i32.gt_u (table.size $t) (i32.const 20000)) (then (unreachable)))";

fn good() -> Guest {
    Guest::new(Decision::Authorize)
}

pub fn memory() -> Vec<Case> {
    let in_realloc =
        format!("(if (i32.eq (local.get 3) (i32.const {LONG_NAME_BYTES})) (then {GROW})) {REALLOC}");
    let in_configure = format!("{GROW} {WRITE_ALL} (i32.const {NO_PROBLEMS})");
    let memory = |pages: &str| good().instead_of(MEMORY, &format!("(memory (export \"memory\") {pages})"));
    let beyond = "(drop (i32.load (i32.const 0x7ffffff0)))";
    vec![
        Case::new("takes all memory when asked", authorize(&format!("{GROW} {WRITE_ALL}")), Comes::Bounded),
        Case::new(
            "takes all memory and traps",
            authorize(&format!("{GROW} {WRITE_ALL} (unreachable)")),
            TRAPS,
        ),
        Case::new("takes all memory in realloc", good().instead_of(REALLOC, &in_realloc), Comes::Bounded),
        Case::new("takes all memory in configure", good().configure(in_configure), Comes::Bounded),
        Case::new("begins with too much memory", memory("300"), Comes::Refused("Memory")),
        Case::new("begins with all memory there is", memory("65536"), Comes::Refused("Invalid")),
        Case::new(
            "has data outside its memory",
            good().functions("(data (i32.const 0x7fff0000) \"x\")"),
            Comes::Refused("Start"),
        ),
        Case::new("reads outside its memory", authorize(beyond), TRAPS),
    ]
}

pub fn tables() -> Vec<Case> {
    let many: String = (0..9).map(|_| "(table 1 funcref) ").collect();
    let instances = |count: usize| good().functions(&"(memory 1) ".repeat(count));
    vec![
        Case::new("grows its table", authorize(GROW_TABLE).functions("(table $t 1 funcref)"), Comes::Bounded),
        Case::new(
            "begins with a huge table",
            good().functions("(table 1000000 funcref)"),
            Comes::Refused("Invalid"),
        ),
        Case::new("has nine tables", good().functions(&many), Comes::Refused("Invalid")),
        Case::new("has three memories", instances(2), Comes::Refused("Invalid")),
    ]
}

pub fn stacks() -> Vec<Case> {
    let deep = "(func $deeper (param i32) (result i32) \
                (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    // A stack in linear memory, as compilers keep one, that grows below address 0.
    let shadow = "(global $stack (mut i32) (i32.const 1000)) (func $down \
                  (global.set $stack (i32.sub (global.get $stack) (i32.const 64))) \
                  (i32.store (global.get $stack) (i32.const 7)) (call $down))";
    let mutual = "(type $step (func (param i32) (result i32))) (table 2 funcref) (elem (i32.const 0) $left $right) \
         (func $left (type $step) (i32.add (call_indirect (type $step) (local.get 0) (i32.const 1)) (i32.const 1))) \
         (func $right (type $step) (i32.add (call_indirect (type $step) (local.get 0) (i32.const 0)) (i32.const 1)))";
    let through_host = format!(
        "(if (i32.eq (local.get 3) (i32.const {LONG_NAME_BYTES})) (then \
         (call $store_get (i32.const 2048) (i32.const 4) (i32.const 4200)))) {REALLOC}"
    );
    vec![
        Case::new("recurses", authorize("(drop (call $deeper (i32.const 0)))").functions(deep), TRAPS),
        Case::new("recurses with large frames", authorize("(drop (call $wide))").functions(&wide()), TRAPS),
        Case::new(
            "recurses through a table",
            authorize("(drop (call $left (i32.const 0)))").functions(mutual),
            TRAPS,
        ),
        Case::new("uses up the stack in its memory", authorize("(call $down)").functions(shadow), TRAPS),
        Case::new(
            "calls the host from realloc",
            good().functions(STORE).instead_of(REALLOC, &through_host),
            TRAPS,
        ),
    ]
}

/// A function that holds 400 values while it calls itself.
fn wide() -> String {
    let mut text = String::from("(func $wide (result i64) ");
    let each = |text: &mut String, what: &dyn Fn(usize) -> String| {
        (0..400).for_each(|index| write!(text, "{}", what(index)).expect("text"));
    };
    each(&mut text, &|index| format!("(local $v{index} i64) "));
    each(&mut text, &|index| {
        format!("(local.set $v{index} (i64.load offset={} (i32.const 8192))) ", 8 * index)
    });
    text += "(call $wide) ";
    each(&mut text, &|index| format!("(i64.add (local.get $v{index})) "));
    text + ")"
}
