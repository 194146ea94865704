//! The body is an ordinary function that a stable test runs over the corpus.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate_policy::fuzzing::fuzz_answers(bytes));
