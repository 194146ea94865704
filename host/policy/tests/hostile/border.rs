//! Answers as bytes: the guests that answer with what they are told, and the fuzz target's body over the checked-in
//! corpus. Knows nothing of the runtime around them.

use crate::guest::Guest;
use std::path::Path;
use tidegate_policy::fuzzing::fuzz_answers;
use tidegate_types::decision::Decision;

/// Where a guest puts what it is told.
const IMAGE: u32 = 1_048_576;
/// Every how many bytes an entry of the corpus is cut and changed.
const STEP: usize = 1;

/// Reads letters of four bits each, two a byte, into the image; answers with what is there.
fn echo(decision: Decision) -> Guest {
    let decode = format!(
        "(func $decode (param $from i32) (param $letters i32) (result i32) (local $to i32) \
         (memory.fill (i32.const {IMAGE}) (i32.const 0) (i32.const 131072)) \
         (local.set $to (i32.const {IMAGE})) \
         (block $done (loop $more \
         (br_if $done (i32.lt_u (local.get $letters) (i32.const 2))) \
         (i32.store8 (local.get $to) (i32.or \
         (i32.shl (i32.and (i32.load8_u (local.get $from)) (i32.const 15)) (i32.const 4)) \
         (i32.and (i32.load8_u offset=1 (local.get $from)) (i32.const 15)))) \
         (local.set $to (i32.add (local.get $to) (i32.const 1))) \
         (local.set $from (i32.add (local.get $from) (i32.const 2))) \
         (local.set $letters (i32.sub (local.get $letters) (i32.const 2))) \
         (br $more))) \
         (i32.add (i32.const {}) (i32.load (i32.const {IMAGE}))))",
        IMAGE + 8
    );
    // Where the text stands: the token, the room, the value of the first attr, the room.
    let text = match decision {
        Decision::Authorize => {
            "(i32.load offset=60 (local.get $request)) (i32.load offset=64 (local.get $request))"
        }
        Decision::Allocate => {
            "(i32.load offset=12 (local.get $request)) (i32.load offset=16 (local.get $request))"
        }
        Decision::Balance => "(i32.load offset=8 (local.get 8)) (i32.load offset=12 (local.get 8))",
        Decision::Share => "(i32.load (local.get $request)) (i32.load offset=4 (local.get $request))",
    };
    Guest::new(decision).functions(&decode).decide(format!("(call $decode {text})"))
}

#[test]
#[ignore = "writes the fixtures anew, for a new version of the interface"]
fn write_the_echoes() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for decision in Decision::ALL {
        let file = fixtures.join(format!("echo-{}.wasm", decision.name()));
        std::fs::write(file, echo(decision).build()).expect("it can be written");
    }
}

/// Each entry as it is, cut anywhere, and with each of its bytes changed.
#[test]
fn the_corpus_of_answers_is_digested() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/answers");
    let mut entries = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is checked in") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        fuzz_answers(&bytes);
        for at in (0..bytes.len()).step_by(STEP) {
            fuzz_answers(&bytes[..at]);
            for flip in [0x01, 0x10, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                fuzz_answers(&changed);
            }
        }
        entries += 1;
    }
    assert!(entries > 0, "{} is empty", corpus.display());
}
