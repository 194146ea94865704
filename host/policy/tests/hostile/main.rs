//! Components and files that misbehave, each in its own way, in the runtime that decides in production and under its
//! bounds. Knows nothing of rooms and packets; `tests/containment` shows that a running call goes on beside them.
//!
//! Each module is a family with its table of cases; `case` says what is held of every one of them.
#![allow(missing_docs, unreachable_pub, dead_code)]

mod abuse;
mod answers;
mod beside;
mod border;
mod case;
#[path = "../policies/desk.rs"]
mod desk;
mod files;
#[path = "../policies/guest.rs"]
mod guest;
mod later;
mod log;
#[path = "../policies/misdeeds.rs"]
mod misdeeds;
mod mutants;
mod space;
mod time;

use case::{Case, hold};

/// One story a family; a build in which the family's guard is missing fails it.
macro_rules! hold {
    ($($name:ident: $cases:expr;)*) => {
        $(#[test]
        fn $name() {
            log::listen();
            $cases.iter().for_each(hold);
        })*

        fn all() -> Vec<Case> {
            let mut all = Vec::new();
            $(all.extend($cases);)*
            all
        }
    };
}

hold! {
    loops_at_the_start_keep_it_out_of_force: time::at_start();
    a_loop_ends_at_its_deadline: time::when_asked();
    calls_into_the_host_end_at_the_deadline_too: time::in_the_host();
    a_loop_over_the_cluster_ends_at_its_deadline: time::of_the_other_decisions();
    memory_ends_at_its_bound: space::memory();
    tables_end_at_their_bound: space::tables();
    stacks_end_in_a_trap: space::stacks();
    an_answer_of_another_shape_is_none: answers::shapes();
    an_answer_that_is_too_large_is_none: answers::sizes();
    an_answer_that_names_what_is_not_there_is_none: answers::names();
    an_introduction_that_cannot_be_read_keeps_it_out_of_force: answers::introductions();
    the_log_takes_no_more_than_its_allowance: abuse::log();
    a_call_into_the_host_carries_no_more_than_a_megabyte: abuse::megabytes();
    counters_take_no_more_than_their_names: abuse::counters();
    the_store_takes_no_more_than_its_bounds: abuse::store();
    signature_checks_take_no_more_than_their_bounds: abuse::crypto();
    a_bomb_hits_one_caller_and_no_more: later::bombs();
    a_file_that_is_no_component_is_told_so: files::other_things();
    a_component_for_another_version_is_told_so: files::other_versions();
    a_component_that_wants_or_offers_something_else_is_told_so: files::other_interfaces();
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> = all().iter().map(|case| case.name).collect();
    assert_eq!(names.len(), all().len());
    assert!(names.len() >= 100, "{} cases", names.len());
}
