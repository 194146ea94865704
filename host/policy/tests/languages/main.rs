//! One policy of each decision in Rust, C, Go, JavaScript and Python, asked the same questions, in the real sandbox and
//! under the bounds of production where it is about authorize and share. Knows nothing of how components are built:
//! `tests/languages/build` leaves them in target/languages, and these tests are for after it:
//!
//! ```sh
//! tests/languages/build && cargo test --release --workspace --test languages -- --ignored
//! ```
#![allow(missing_docs, unreachable_pub, dead_code)]

mod cases;
mod costs;
mod feeds;
#[path = "../policies/guest.rs"]
mod guest;
mod shares;

use cases::{Cases, Expected};
use guest::Guest;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_policy::{PluginConfig, Policies, PolicyConfig, Source};
use tidegate_types::RequestNumber;
use tidegate_types::decision::{
    Answer, AnswerBody, AuthorizeAnswer, AuthorizeRequest, Decision, Question, QuestionBody, ToPolicy,
};

/// A language, and the memory that its components need, in MiB, where that is not the usual.
const LANGUAGES: [(&str, Option<usize>); 5] =
    [("rust", None), ("c", None), ("go", None), ("js", Some(64)), ("python", Some(64))];

/// So often each question is asked of one instance: what a policy forgets to free would fill its memory.
const ROUNDS: usize = 40;
/// A busy machine makes no good guest late.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_COMPILATION: Duration = Duration::from_secs(1_800);

/// A host's policies with one of these components as `authorize`.
struct Desk {
    policies: Policies,
    answers: Receiver<Answer>,
}

impl Desk {
    fn open(language: &str, memory_mib: Option<usize>, cases: &Cases) -> Self {
        let plugin = plugin(language, memory_mib, cases);
        let mut config = PolicyConfig::new(plugin, any(Decision::Allocate), any(Decision::Balance));
        config.deadlines.authorize = PATIENCE;
        config.compile_time = LONGEST_COMPILATION;
        let (sender, answers) = channel();
        let sender = Mutex::new(sender);
        let sink = Arc::new(move |answer| drop(sender.lock().expect("no thread panicked").send(answer)));
        let policies =
            Policies::start(config, Arc::new(|| 0), sink).unwrap_or_else(|error| panic!("{error}"));
        Self { policies, answers }
    }

    fn ask(&self, request: &AuthorizeRequest) -> AuthorizeAnswer {
        let body = QuestionBody::Authorize(Box::new(request.clone()));
        self.policies.send(ToPolicy::Ask(Question { number: RequestNumber(1), body }));
        match self.answers.recv_timeout(PATIENCE * 2).expect("every question is answered").result {
            Ok(AnswerBody::Authorize(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Questions that its component did not answer.
    fn failures(&self) -> Vec<(String, u64)> {
        let info = self.policies.info().into_iter().find(|info| info.decision == Decision::Authorize);
        info.expect("there is one").failures
    }
}

fn plugin(language: &str, memory_mib: Option<usize>, cases: &Cases) -> PluginConfig {
    PluginConfig {
        configuration: cases.configuration.clone(),
        memory_bytes: memory_mib.map(|mib| mib << 20),
        ..PluginConfig::new(Source::Path(component(language, Decision::Authorize)))
    }
}

/// A policy that is not asked.
fn any(decision: Decision) -> PluginConfig {
    PluginConfig::new(Source::Embedded { name: "any", bytes: Guest::new(decision).build().into() })
}

fn component(language: &str, decision: Decision) -> PathBuf {
    let name = format!("{language}-{}.wasm", decision.name());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/languages").join(name);
    assert!(path.exists(), "{}: run tests/languages/build first", path.display());
    path
}

#[test]
#[ignore = "tests/languages/build makes what it needs"]
fn every_language_gives_the_expected_answers_and_frees_what_it_took() {
    let cases = Cases::read();
    assert!(cases.all.len() >= 20);
    for (language, memory_mib) in LANGUAGES {
        let desk = Desk::open(language, memory_mib, &cases);
        for round in 0..ROUNDS {
            for case in &cases.all {
                let answer = desk.ask(&case.request);
                assert!(case.expected.meets(&answer), "{language}, round {round}, {}: {answer:?}", case.name);
            }
        }
        assert!(desk.failures().iter().all(|(_, count)| *count == 0), "{language}: {:?}", desk.failures());
    }
}

#[test]
#[ignore = "tests/languages/build makes what it needs"]
fn every_language_refuses_in_the_same_words() {
    let cases = Cases::read();
    let words = |language: &str, memory_mib| -> Vec<AuthorizeAnswer> {
        let desk = Desk::open(language, memory_mib, &cases);
        cases.all.iter().map(|case| desk.ask(&case.request)).collect()
    };
    let [(first, memory_mib), others @ ..] = LANGUAGES;
    let expected = words(first, memory_mib);
    for (language, memory_mib) in others {
        assert_eq!(words(language, memory_mib), expected, "{language}");
    }
}

#[test]
fn the_cases_hold_what_is_hard_for_some_language() {
    let cases = Cases::read();
    let large = |case: &cases::Case| {
        case.request.attrs.iter().map(|attr| attr.name.len() + attr.value.len()).sum::<usize>() >= 64 << 10
    };
    assert!(cases.all.iter().filter(|case| large(case)).count() >= 2, "attrs of 64 KiB");
    assert!(cases.all.iter().any(|case| case.request.name.contains('\0')), "a NUL");
    assert!(cases.all.iter().any(|case| case.request.name.contains('\u{feff}')), "a byte order mark");
    assert!(
        cases.all.iter().any(|case| case.request.name.chars().any(|char| char as u32 > 0xffff)),
        "a surrogate pair"
    );
    let malformed =
        |case: &&cases::Case| matches!(&case.expected, Expected::Refuse(code) if code == "bad-pass");
    assert!(cases.all.iter().filter(malformed).count() >= 10, "malformed passes");
}
