//! What each language costs a host, printed as a table. Knows nothing of answers.
//!
//! `tests/languages/measure` writes it into sdk/README.md.

use crate::cases::Cases;
use crate::{LANGUAGES, LONGEST_COMPILATION, any, plugin};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_policy::PolicyConfig;
use tidegate_policy::plugin::{Decider, Loader, Plugin};
use tidegate_types::decision::{AuthorizeRequest, Decision};

/// So many calls, of which the median is told: a busy machine disturbs few of them.
const CALLS: usize = 2_000;
const INSTANCES: usize = 200;

#[test]
#[ignore = "tests/languages/build makes what it needs"]
fn what_each_language_costs() {
    let cases = Cases::read();
    let request = &cases.all[0].request;
    println!("| language | component | to compile | memory | an instance | a decision |");
    println!("|---|---|---|---|---|---|");
    for (language, memory_mib) in LANGUAGES {
        let config = plugin(language, memory_mib, &cases);
        let bytes = std::fs::metadata(crate::component(language, Decision::Authorize)).expect("built").len();
        let mut others =
            PolicyConfig::new(any(Decision::Authorize), any(Decision::Allocate), any(Decision::Balance));
        others.compile_time = LONGEST_COMPILATION;
        let loader = Loader::new(&others, Arc::new(|| 0)).expect("an engine");
        let began = Instant::now();
        let loaded = loader.load(Decision::Authorize, &config).unwrap_or_else(|error| panic!("{error}"));
        let compiled = began.elapsed();
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            name(language),
            size(bytes),
            time(compiled),
            size(memory(&loaded, request)),
            time(median(INSTANCES, || drop(loaded.decider()))),
            time(decision(&loaded, request)),
        );
    }
}

/// Of a long-lived instance.
fn decision(plugin: &Plugin, request: &AuthorizeRequest) -> Duration {
    let Ok(Decider::Authorize(mut decider)) = plugin.decider() else { panic!("no instance") };
    median(CALLS, || drop(decider.authorize(request).expect("an answer")))
}

/// What an instance has after as many decisions, in bytes.
fn memory(plugin: &Plugin, request: &AuthorizeRequest) -> u64 {
    let Ok(Decider::Authorize(mut decider)) = plugin.decider() else { panic!("no instance") };
    (0..CALLS).for_each(|_| drop(decider.authorize(request).expect("an answer")));
    decider.spent().memory_bytes as u64
}

fn median(count: usize, mut call: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let began = Instant::now();
            call();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[count / 2]
}

fn name(language: &str) -> &str {
    match language {
        "rust" => "Rust",
        "c" => "C",
        "go" => "Go",
        "js" => "JavaScript",
        "python" => "Python",
        other => other,
    }
}

fn size(bytes: u64) -> String {
    if bytes < 1_000_000 { format!("{} KB", bytes / 1_000) } else { format!("{:.1} MB", bytes as f64 / 1e6) }
}

fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1e-3 => format!("{:.1} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}
