//! The last decisions of a running host, with what was asked, what was answered and who did. Knows nothing of how they
//! are fetched.

use crate::decision::decisions;
use crate::host::{Host, Reach};
use crate::words::{answer, moment, question};
use clap::{Args, value_parser};
use serde_json::Value;
use std::fmt::Write as _;
use tidegate_types::decision::Decision;

/// Digests are told apart by so many letters.
const SHORT: usize = 16;
/// The most decisions that a host tells.
const MOST: u32 = 1_000;

/// `explain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Explain {
    /// Only those of one decision
    #[arg(value_name = "DECISION", value_parser = decisions())]
    decision: Option<Decision>,

    /// How many of the last decisions are told
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=i64::from(MOST)))]
    last: u32,

    /// Print them whole, as JSON
    #[arg(long)]
    json: bool,
}

/// `tidegate plugin explain`: the same, with the flags that name the host.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainOf {
    #[command(flatten)]
    pub(crate) explain: Explain,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What is to be printed.
pub(crate) fn explain(host: &Host, options: &Explain) -> Result<String, String> {
    // Those of one decision may lie far apart.
    let limit = if options.decision.is_some() { MOST } else { options.last };
    let body = host.get(&format!("/api/v1/decisions?limit={limit}"))?;
    let all = body["decisions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = |record: &&Value| options.decision.is_none_or(|wanted| record["decision"] == wanted.name());
    let last: Vec<&Value> = all.iter().filter(wanted).take(options.last as usize).collect();
    if options.json {
        return Ok(format!("{:#}\n", serde_json::json!({ "decisions": last })));
    }
    if last.is_empty() {
        return Ok("nothing was decided yet\n".to_owned());
    }
    Ok(last.iter().map(|record| told(record)).collect::<Vec<_>>().join("\n"))
}

/// One decision, on a few lines.
fn told(record: &Value) -> String {
    let mut page = String::new();
    let _ = writeln!(
        page,
        "{}, question {}, {}",
        text(&record["decision"]),
        record["number"],
        moment(record["unix_ms"].as_u64().unwrap_or(0)),
    );
    let _ = writeln!(page, "  asked     {}", question(&record["question"]));
    let _ = writeln!(page, "  answered  {}", answer(&record["outcome"]));
    let chain = record["by"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, by) in chain.iter().enumerate() {
        let head = if index == 0 { "by" } else { "then" };
        let _ = writeln!(page, "  {head:<9} {}", who(by));
    }
    let ms = |name: &str| record[name].as_f64().unwrap_or(0.0) / 1e6;
    let _ = writeln!(
        page,
        "  took      {:.3} ms, after {:.3} ms in the queue",
        ms("latency_ns"),
        ms("waited_ns")
    );
    for made in record["lookups"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let (lookup, outcome) = (text(&made["lookup"]), text(&made["outcome"]));
        let took = made["took_ns"].as_f64().unwrap_or(0.0) / 1e6;
        let _ = writeln!(page, "  looked up {lookup}: {outcome}, {took:.3} ms");
    }
    if let Some(trouble) = record["trouble"].as_str() {
        let _ = writeln!(page, "  trouble   {trouble}");
    }
    page
}

/// Who decided.
fn who(by: &Value) -> String {
    let digest = text(&by["digest"]);
    let short = digest.get(..SHORT).unwrap_or(&digest);
    let mut line = format!("{}, generation {}, digest {short}", text(&by["name"]), by["generation"]);
    if by["asked"] != true {
        line += ", not asked";
    }
    if let Some(failure) = by["failure"].as_str() {
        let _ = write!(line, ", failed: {failure}");
    }
    if let Some(instead) = by["instead"].as_u64() {
        let _ = write!(line, ", generation {instead} answered instead");
    }
    line
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::told;
    use serde_json::json;

    #[test]
    fn a_decision_names_everyone_in_its_chain() {
        let record = json!({
            "decision": "authorize", "number": 7, "unix_ms": 0, "waited_ns": 1_000, "latency_ns": 2_000_000,
            "question": { "action": "join", "room": "harbour" },
            "outcome": { "Authorize": { "Refuse": { "code": "full", "message": "This room is full.", "attrs": [] } } },
            "by": [
                { "name": "door", "generation": 4, "digest": "00112233445566778899", "asked": true, "failure": "trap", "instead": 1 },
                { "name": "second", "generation": 2, "digest": "ff", "asked": false },
            ],
            "trouble": "unreachable",
        });
        let lines = [
            "authorize, question 7, 1970-01-01 00:00:00.000",
            "  asked     join room=harbour",
            "  answered  refuse full: This room is full.",
            "  by        door, generation 4, digest 0011223344556677, failed: trap, generation 1 answered instead",
            "  then      second, generation 2, digest ff, not asked",
            "  took      2.000 ms, after 0.001 ms in the queue",
            "  trouble   unreachable",
        ];
        assert_eq!(told(&record).lines().collect::<Vec<_>>(), lines);
    }
}
