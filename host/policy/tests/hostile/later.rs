//! Those that behave well at first.

use crate::case::{Case, Comes};
use crate::guest::{Guest, HUGE_REFUSAL, REFUSAL};
use crate::misdeeds::LOOP;
use tidegate_types::decision::{Decision, Failure};

/// Counts its calls in its own memory; from the one after `calls` on it does this.
fn after(calls: u32, body: &str) -> Guest {
    Guest::new(Decision::Authorize).decide(format!(
        "(if (i32.eq (i32.load (i32.const 4096)) (i32.const {calls})) (then {body})) \
         (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 1))) (i32.const {REFUSAL})"
    ))
}

pub fn bombs() -> Vec<Case> {
    let huge = format!("(drop (memory.grow (i32.const 208))) (return (i32.const {HUGE_REFUSAL}))");
    // A page for each call, of the 256 that there are and the 32 that it begins with; then it can go on no more.
    let leak = format!(
        "(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable))) (i32.const {REFUSAL})"
    );
    let leak = Guest::new(Decision::Authorize).decide(leak);
    vec![
        Case::new("traps at its fifth call", after(4, "(unreachable)"), Comes::After(4, Failure::Trap)),
        Case::new("loops at its fourth call", after(3, LOOP), Comes::After(3, Failure::Deadline)),
        Case::new(
            "answers too much at its hundredth call",
            after(99, &huge),
            Comes::After(99, Failure::Nonsense),
        ),
        Case::new("leaks a page with each call", leak, Comes::After(224, Failure::Trap)),
    ]
}
