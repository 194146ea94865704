//! The host's command: flags in, a node up, signals awaited. Knows nothing of what a node consists of.
#![forbid(unsafe_code)]

fn main() {}
