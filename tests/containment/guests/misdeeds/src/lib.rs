//! What a hostile plugin does. Knows nothing of which decision it was asked for.
#![forbid(unsafe_code)]

use std::hint::black_box;

/// More than a host reads of an answer, and less than a guest's memory holds.
const HUGE_BYTES: usize = 8 << 20;

/// Does what `who` is named for (`evil-loop 17`); the text of a huge answer where that is the misdeed, `None` for
/// honest names.
pub fn commit(who: &str) -> Option<String> {
    match who.split_whitespace().next()?.strip_prefix("evil-")? {
        "loop" => loop {
            black_box(());
        },
        "bomb" => hoard(),
        "recursion" => panic!("the stack has no end: {}", deeper(0)),
        "trap" => panic!("as announced"),
        "flood" => loop {
            tidegate_sdk::info!("{}", "drip ".repeat(200));
        },
        "answer" => Some("x".repeat(HUGE_BYTES)),
        other => panic!("nobody knows how to {other}"),
    }
}

fn hoard() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![7_u8; 1 << 20]));
    }
}

#[expect(unconditional_recursion, reason = "that is the misdeed")]
fn deeper(depth: u64) -> u64 {
    black_box(depth) + deeper(black_box(depth + 1))
}
