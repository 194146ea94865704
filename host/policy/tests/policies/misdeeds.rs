//! Components that misbehave, each in its own way, and the name of what their caller gets.

use crate::guest::{Guest, HUGE_REFUSAL, LONG_REFUSAL, NEED};
use tidegate_types::decision::{Decision, Failure};

pub const LOOP: &str = "(loop $again (br $again))";
/// Takes all memory it can get and writes to it; hangs instead of trapping if that was more than 16 MiB.
const BOMB: &str = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) \
                    (memory.fill (i32.const 8192) (i32.const 7) (i32.const 15000000)) \
                    (loop $hang (br_if $hang (i32.gt_u (memory.size) (i32.const 256)))) (unreachable)";

pub fn guest() -> Guest {
    Guest::new(Decision::Authorize)
}

fn deep() -> Guest {
    let endless = "(func $deeper (param i32) (result i32) \
                   (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    guest().functions(endless).misbehave("(drop (call $deeper (i32.const 0)))")
}

pub fn answers(address: u32) -> Guest {
    guest().misbehave(&format!("(return (i32.const {address}))"))
}

/// Grows to 15 MiB first, so that the huge answer lies within its memory.
fn huge() -> Guest {
    let grow = format!("(drop (memory.grow (i32.const 208))) (return (i32.const {HUGE_REFUSAL}))");
    guest().misbehave(&grow)
}

pub fn hostile() -> Vec<(&'static str, Guest, Failure)> {
    vec![
        ("endless loop", guest().misbehave(LOOP), Failure::Deadline),
        ("memory bomb", guest().misbehave(BOMB), Failure::Trap),
        ("deep recursion", deep(), Failure::Trap),
        ("trap", guest().misbehave("(unreachable)"), Failure::Trap),
        ("answer of 14 MiB", huge(), Failure::Nonsense),
        ("answer of 2 KiB", answers(LONG_REFUSAL), Failure::Nonsense),
        ("answer outside memory", answers(0x7fff_fff8), Failure::Nonsense),
        ("lookup nobody configured", answers(NEED), Failure::Lookup),
    ]
}
