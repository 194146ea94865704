//! What a decision costs: each one native against WebAssembly, behind the same traits; then on several threads at once,
//! as a part of a whole join through a running host's door, and while components are swapped. Knows nothing of browsers.
//!
//! Native and WebAssembly alternate, batch by batch, so that a machine that is busy for a while is busy for both; the
//! medians are told with the ratio of each pair. Times are CPU time of the calling thread, where the system tells it.
//! Ratios carry over to other machines, absolute times don't.
//!
//! `cargo bench --bench policy` prints the table, with the target beside each figure; `-- place` measures the lines whose
//! name holds a word; `-- --readme` writes what has a target into README.md.
#![allow(missing_docs, unreachable_pub, dead_code)]

mod crew;
mod decisions;
mod doors;
mod instances;
mod joins;
mod native;
mod pairs;
mod plugins;
mod share;
mod swaps;
mod table;
mod threads;
mod tokens;
mod visitor;

#[path = "../../host/policy/tests/policies/guest.rs"]
mod guest;

use table::Bench;

fn main() {
    let mut bench = Bench::new();
    decisions::measure(&mut bench);
    share::measure(&mut bench);
    instances::measure(&mut bench);
    threads::measure(&mut bench);
    joins::measure(&mut bench);
    doors::measure(&mut bench);
    swaps::measure(&mut bench);
    bench.finish();
}
