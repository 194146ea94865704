//! Those that answer, but with what is no answer to the question.

use crate::case::{Case, Comes, THIRTEEN, authorize, guest};
use crate::guest::{Guest, RESYNC};
use crate::guest::{HUGE_REFUSAL, LONG_REFUSAL, NEED};
use std::fmt::Write as _;
use tidegate_types::decision::{Decision, Failure};

const NONSENSE: Comes = Comes::Fails(Failure::Nonsense);
const STALE: Comes = Comes::Fails(Failure::Stale);
const DESCRIBE: &str = "#describe\") (result i32)";
/// Where the answers below stand, and the lists that they name.
const ANSWER: u32 = 4_096;
const LIST: u32 = 65_536;

/// Bytes of the module's memory.
fn data(address: u32, words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    let bytes = bytes.fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}");
        text
    });
    format!("(data (i32.const {address}) \"{bytes}\") ")
}

/// Answers with these words when it is provoked.
fn answering(decision: Decision, words: &[u32]) -> Guest {
    guest(decision, &format!("(return (i32.const {ANSWER}))")).functions(&data(ANSWER, words))
}

fn returning(address: u32) -> Guest {
    authorize(&format!("(return (i32.const {address}))"))
}

/// A refusal whose message and attrs stand there; code and texts of zeros are sound.
fn refusing(message: [u32; 2], attrs: [u32; 2]) -> Guest {
    let words = [1, 0, LIST, 2, message[0], message[1], attrs[0], attrs[1]];
    answering(Decision::Authorize, &words)
}

/// A grant, with some of its words spoilt.
fn granting(spoilt: &[(usize, u32)]) -> Guest {
    let mut words = [0; 30];
    spoilt.iter().for_each(|(index, word)| words[*index] = *word);
    answering(Decision::Authorize, &words)
}

pub fn shapes() -> Vec<Case> {
    // It grows to 15 MiB first, so that the message lies within its memory.
    let huge = format!("(drop (memory.grow (i32.const 208))) (return (i32.const {HUGE_REFUSAL}))");
    let not_text = data(ANSWER, &[1, 0, LIST + 64, 2, LIST, 4, 0, 0]) + &data(LIST, &[u32::MAX]);
    let not_text = returning(ANSWER).functions(&not_text);
    vec![
        Case::new("answers with 14 MiB", authorize(&huge), NONSENSE),
        Case::new("answers with a text of 2 KiB", returning(LONG_REFUSAL), NONSENSE),
        Case::new("answers from outside its memory", returning(0x7fff_fff8), NONSENSE),
        Case::new("answers from an odd address", returning(ANSWER + 3), NONSENSE),
        Case::new("answers with a text outside its memory", refusing([0x7fff_0000, 9], [0, 0]), NONSENSE),
        Case::new("answers with a text of 4 GiB", refusing([LIST, u32::MAX], [0, 0]), NONSENSE),
        Case::new("answers with a text that is none", not_text, NONSENSE),
        Case::new("answers neither yes nor no", answering(Decision::Authorize, &[7; 8]), NONSENSE),
        Case::new("answers with half an option", granting(&[(2, 9)]), NONSENSE),
        Case::new("answers with a list of 4 Gi entries", refusing([LIST, 1], [LIST, u32::MAX]), NONSENSE),
        Case::new("answers with a list outside its memory", refusing([LIST, 1], [0x7fff_0000, 1]), NONSENSE),
    ]
}

pub fn sizes() -> Vec<Case> {
    // 100,000 attrs, all of them the same 1,000 bytes.
    let aliased = format!(
        "(local.set $left (i32.const 100000)) (loop $more \
         (i32.store offset={0} (i32.mul (local.get $left) (i32.const 16)) (i32.const 32768)) \
         (i32.store offset={1} (i32.mul (local.get $left) (i32.const 16)) (i32.const 1000)) \
         (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1))))) \
         (return (i32.const {ANSWER}))",
        LIST + 8,
        LIST + 12
    );
    let aliased = authorize(&aliased).functions(&data(ANSWER, &[1, 0, LIST, 2, LIST, 2, LIST, 100_000]));
    let wishes = |words: &[u32], count: u32| {
        let answer = data(ANSWER, &[LIST, count, 0, 0]) + &data(LIST, words);
        guest(Decision::Balance, &format!("(return (i32.const {ANSWER}))")).functions(&answer)
    };
    let wish = |reason_bytes: u32| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32_768, reason_bytes, 0, 0];
    let long_attr = data(ANSWER, &[1, 0, LIST, 2, LIST, 2, LIST, 1]) + &data(LIST, &[0, 0, 32_768, 2_048]);
    vec![
        Case::new("answers with the same megabyte often", aliased, NONSENSE),
        Case::new("answers with 65 attrs", refusing([LIST, 1], [LIST, 65]), NONSENSE),
        Case::new(
            "answers with an attr of 2 KiB",
            authorize(&format!("(return (i32.const {ANSWER}))")).functions(&long_attr),
            NONSENSE,
        ),
        Case::new("grants 65 sources", granting(&[(12, 1), (13, LIST), (14, 65)]), NONSENSE),
        Case::new("would be consulted about 65 actions", granting(&[(26, LIST), (27, 65)]), NONSENSE),
        Case::new("wishes 65 things", wishes(&[], 65), NONSENSE),
        Case::new("wishes for a reason of 2 KiB", wishes(&wish(2_048), 1), NONSENSE),
    ]
}

pub fn names() -> Vec<Case> {
    let row = |row| answering(Decision::Allocate, &[0, row, 0, 0]);
    let wish_from = [0, 0, 1, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let wish_from = data(ANSWER, &[LIST, 1, 0, 0]) + &data(LIST, &wish_from);
    let shares = |columns: &[u32], valid_ms: u32| {
        let count = (columns.len() / 6) as u32;
        let answer = data(ANSWER, &[LIST, count, valid_ms, 0, 0]) + &data(LIST, columns);
        let answer = answer + "(data (i32.const 40000) \"weightmoonfloor\")";
        guest(Decision::Share, &format!("(return (i32.const {ANSWER}))")).functions(&answer)
    };
    // Name, unit, values of each column: addresses and lengths.
    let weights = |rows: u32| [40_000, 6, 0, 0, 65_600, rows];
    let twice = [weights(1), weights(1)].concat();
    vec![
        Case::new("weighs more tracks than there are", shares(&weights(2), 500), NONSENSE),
        Case::new("weighs no track at all", shares(&weights(0), 500), NONSENSE),
        Case::new("weighs 100,000 tracks", shares(&weights(100_000), 500), NONSENSE),
        Case::new("weighs a track twice", shares(&twice, 500), NONSENSE),
        Case::new(
            "tells of a column that nobody knows",
            shares(&[40_006, 4, 0, 0, 65_600, 1], 500),
            NONSENSE,
        ),
        Case::new("tells of 4 Gi columns", shares_of(u32::MAX), NONSENSE),
        Case::new("places on a row that isn't there", row(u32::from(THIRTEEN)), STALE),
        Case::new("places on the last row there can be", row(u32::MAX), STALE),
        Case::new("hangs a relay on what is no parent", row(2), NONSENSE),
        Case::new(
            "wishes to move from where nothing is",
            guest(Decision::Balance, &format!("(return (i32.const {ANSWER}))")).functions(&wish_from),
            STALE,
        ),
        Case::new("needs a lookup that nobody configured", returning(NEED), Comes::Fails(Failure::Lookup)),
        Case::new(
            "asks for a reset at every change",
            Guest::new(Decision::Balance).delta(format!("(i32.const {RESYNC})")),
            Comes::Bounded,
        )
        .by_change(),
    ]
}

/// So many columns, all of them the same.
fn shares_of(count: u32) -> Guest {
    let answer = data(ANSWER, &[LIST, count, 500, 0, 0]);
    guest(Decision::Share, &format!("(return (i32.const {ANSWER}))")).functions(&answer)
}

/// What it says of itself.
pub fn introductions() -> Vec<Case> {
    let describe = |words: &[u32]| {
        Guest::new(Decision::Authorize)
            .instead_of(DESCRIBE, &format!("{DESCRIBE} (return (i32.const {ANSWER}))"))
            .functions(&data(ANSWER, words))
    };
    let long_name = data(ANSWER, &[32_768, 65, 0, 0, 0, 0, 0, 0]) + &data(32_768, &[0x6161_6161; 17]);
    let two_lines = data(ANSWER, &[32_768, 3, 0, 0, 0, 0, 0, 0]) + &data(32_768, &[0x0061_0a61]);
    let problems =
        data(ANSWER, &[LIST, 1]) + &data(LIST, &[0, 0, LIST + 64, 4]) + &data(LIST + 64, &[u32::MAX]);
    vec![
        Case::new(
            "has a name of 1.5 MB",
            describe(&[LIST, 1_500_000, 0, 0, 0, 0, 0, 0]),
            Comes::Refused("Start"),
        ),
        Case::new("has a name of 65 bytes", describe(&[]).functions(&long_name), Comes::Refused("Start")),
        Case::new("has a name of two lines", describe(&[]).functions(&two_lines), Comes::Refused("Start")),
        Case::new(
            "has a name outside its memory",
            describe(&[0x7fff_0000, 9, 0, 0, 0, 0, 0, 0]),
            Comes::Refused("Start"),
        ),
        Case::new(
            "finds a problem that is no text",
            Guest::new(Decision::Authorize).configure(format!("(i32.const {ANSWER})")).functions(&problems),
            Comes::Refused("Start"),
        ),
    ]
}
