//! What a replay found, for people and for programs. Knows nothing of how it was found.

use crate::replay::{Counted, Played};
use crate::words::{answer, moment, question};
use serde_json::{Value, json};
use std::fmt::Write as _;
use tidegate_policy::{Affected, Cost, Fuel, Seated};
use tidegate_types::decision::Decision;

/// Digests are told apart by so many letters.
const SHORT: usize = 16;

/// For people.
pub(crate) fn text(played: &Played, limit: usize) -> String {
    let (survey, found) = (&played.survey, &played.found);
    let mut page = String::new();
    let files: Vec<String> = played.files.iter().map(|part| part.path.display().to_string()).collect();
    let (first, last) = survey.unix_ms;
    let _ = writeln!(page, "{}", files.join(" and "));
    let _ = writeln!(
        page,
        "  {} decisions, {} to {} UTC, by tidegate {} with {}",
        survey.decisions,
        moment(first),
        moment(last),
        survey.program,
        survey.engine
    );
    if survey.file > 1 {
        let _ = writeln!(page, "  begins with file {} of the host's run: earlier ones are gone", survey.file);
    }
    survey.seats.iter().filter(|seat| seat.position > 0).for_each(|seat| {
        let _ = writeln!(page, "  {}", seated(seat));
    });
    match &played.instead {
        None => page.push_str("decided again by the same components\n"),
        Some((component, seats)) => {
            let generations: Vec<String> = seats.iter().map(|seat| seat.generation.to_string()).collect();
            let (decision, position) = (seats[0].decision.name(), seats[0].position);
            let _ = writeln!(
                page,
                "decided again by {} in the place of {decision} {position}, generation {}",
                component.display(),
                generations.join(", ")
            );
        }
    }
    for note in played.notes.iter().chain(&found.warnings) {
        let _ = writeln!(page, "  note: {note}");
    }
    let otherwise = found.affected.len() as u64 + found.more_affected;
    let again: u64 = found.not_again.values().sum();
    let _ = writeln!(
        page,
        "  {} the same, {otherwise} otherwise, {again} could not be decided again, {} not concerned",
        found.same, found.untouched
    );
    for (why, count) in &found.not_again {
        let _ = writeln!(page, "    {count}: {why}");
    }
    found.affected.iter().take(limit).for_each(|affected| page.push_str(&difference(affected)));
    let more = otherwise.saturating_sub(limit as u64);
    if more > 0 {
        let _ = writeln!(page, "and {more} more: --limit {otherwise} lists them");
    }
    costs(&mut page, played);
    page
}

fn seated(seat: &Seated) -> String {
    let origin = if seat.origin.is_empty() { "elsewhere" } else { &seat.origin };
    let (decision, name) = (seat.decision.name(), &seat.name);
    format!(
        "{decision} {}: {name}, generation {}, digest {}, from {origin}; questions: {}",
        seat.position,
        seat.generation,
        seat.digest.get(..SHORT).unwrap_or(&seat.digest),
        seat.asked
    )
}

fn difference(affected: &Affected) -> String {
    let mut page = format!(
        "{} {}, question {}, {}\n  asked   {}\n",
        affected.decision.name(),
        affected.position,
        affected.number.0,
        moment(affected.unix_ms),
        question(&value(&affected.question))
    );
    let (mut before, mut after) = (answer(&value(&affected.before)), answer(&value(&affected.after)));
    if before == after {
        // They differ in something that the few words leave out.
        (before, after) = (affected.before.clone(), affected.after.clone());
    }
    let _ = writeln!(page, "  before  {before}\n  now     {after}");
    if let Some(doubt) = &affected.doubt {
        let _ = writeln!(page, "  but     {doubt}");
    }
    page
}

fn costs(page: &mut String, played: &Played) {
    for (decision, cost) in &played.found.costs {
        if cost.calls > 0 {
            let _ = writeln!(
                page,
                "an answer to {} took p50 {:.1} µs, p99 {:.1} µs in the host; p50 {:.1} µs, p99 {:.1} µs here ({} calls)",
                decision.name(),
                micros(cost.then_p50_ns),
                micros(cost.then_p99_ns),
                micros(cost.now_p50_ns),
                micros(cost.now_p99_ns),
                cost.calls
            );
        }
    }
    if let Some(counted) = &played.fuel {
        counted.now.iter().for_each(|(decision, now)| page.push_str(&computed(*decision, now, counted)));
    }
}

/// What the answers to one decision computed.
fn computed(decision: Decision, now: &Fuel, counted: &Counted) -> String {
    let told = |fuel: &Fuel| format!("p50 {}, p99 {}, {} in all", fuel.p50, fuel.p99, fuel.total);
    let mut line = format!("its fuel, {}: {} ({} calls)", decision.name(), told(now), now.calls);
    if let Some(recorded) = &counted.recorded {
        match recorded.get(&decision) {
            Some(before) => {
                let times = now.p50 as f64 / before.p50.max(1) as f64;
                let _ = write!(
                    line,
                    "; the recorded component's: {}; p50 is {times:.2} times that",
                    told(before)
                );
            }
            None => line += "; the recorded component is not at hand: --with FILE names it",
        }
    }
    line + "\n"
}

fn micros(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64() * 1e6
}

/// JSON, or the name of a failure.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// For programs.
pub(crate) fn json(played: &Played, limit: usize) -> Value {
    let (survey, found) = (&played.survey, &played.found);
    let seat = |seat: &Seated| {
        json!({
            "decision": seat.decision.name(),
            "position": seat.position,
            "generation": seat.generation,
            "name": seat.name,
            "digest": seat.digest,
            "origin": seat.origin,
            "asked": seat.asked,
        })
    };
    let difference = |affected: &Affected| {
        json!({
            "decision": affected.decision.name(),
            "position": affected.position,
            "number": affected.number.0,
            "unix_ms": affected.unix_ms,
            "question": value(&affected.question),
            "before": value(&affected.before),
            "after": value(&affected.after),
            "doubt": affected.doubt,
        })
    };
    let cost = |cost: &Cost| {
        json!({
            "calls": cost.calls,
            "then_p50_ns": cost.then_p50_ns,
            "then_p99_ns": cost.then_p99_ns,
            "now_p50_ns": cost.now_p50_ns,
            "now_p99_ns": cost.now_p99_ns,
        })
    };
    let fuel = |of: &Fuel| json!({ "calls": of.calls, "p50": of.p50, "p99": of.p99, "total": of.total });
    let counted = played.fuel.as_ref().map(|counted| {
        let of = |(decision, now): (&Decision, &Fuel)| {
            let recorded = counted.recorded.as_ref().and_then(|recorded| recorded.get(decision)).map(fuel);
            (decision.name().to_owned(), json!({ "now": fuel(now), "recorded": recorded }))
        };
        counted.now.iter().map(of).collect::<serde_json::Map<_, _>>()
    });
    let costs = found.costs.iter().map(|(decision, of)| (decision.name().to_owned(), cost(of)));
    json!({
        "files": played.files.iter().map(|part| &part.path).collect::<Vec<_>>(),
        "program": survey.program,
        "engine": survey.engine,
        "seats": survey.seats.iter().map(seat).collect::<Vec<_>>(),
        "in_the_place_of": played.instead.as_ref().map(|(_, seats)| seats.iter().map(seat).collect::<Vec<_>>()),
        "decisions": found.decisions,
        "same": found.same,
        "otherwise": found.affected.len() as u64 + found.more_affected,
        "not_again": found.not_again,
        "not_concerned": found.untouched,
        "interrupted_calls": found.interrupted,
        "affected": found.affected.iter().take(limit).map(difference).collect::<Vec<_>>(),
        "costs": costs.collect::<serde_json::Map<_, _>>(),
        "fuel": counted,
        "warnings": played.notes.iter().chain(&found.warnings).collect::<Vec<_>>(),
    })
}
