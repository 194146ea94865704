//! `tidegate policy`: shows and changes who decides in a running host, through its admin API. Knows nothing of
//! policies but what that says.

use crate::decision::{Position, Post, decision};
use crate::explain::{self, Explain};
use crate::host::{Host, Reach, ended};
use crate::words::answer;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;
use tidegate_types::decision::Decision;

/// Shows and changes who decides in a running host.
#[derive(Debug, Parser)]
#[command(name = "tidegate policy", bin_name = "tidegate policy", max_term_width = 100)]
struct Options {
    #[command(flatten)]
    reach: Reach,

    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The policies in force, with generation and digest, what stood there before and what stands in the shadow
    List,
    /// Put another component in a policy's place while calls go on; the one before is kept for the way back
    Swap {
        /// Whose place, and what takes it: authorize=./mine.wasm; share=built-in leaves it to the host's own rule
        #[arg(value_name = "DECISION=NAME|PATH", value_parser = choice)]
        choice: (Decision, String),
        /// Its configuration; without this the one in force is kept
        #[arg(long, value_name = "JSON|@FILE")]
        config: Option<String>,
        /// Only beside the one in force at first: both decide, one counts, and `list` shows how they differ
        #[arg(long)]
        shadow: bool,
        #[command(flatten)]
        position: Position,
    },
    /// Put the one before in force again; for share that may be the host's own rule
    Back(Post),
    /// Put the one in the shadow in force
    Enforce(Post),
    /// End the trial of the one in the shadow
    Dismiss(Post),
    /// The last decisions with what was asked, what was answered and who did
    Explain(Explain),
}

/// Runs `tidegate policy` with these arguments, which begin after `policy`.
///
/// 0: done. 1: the host is not reached, or refuses; standard error says why. 2: the command line is wrong.
pub fn policy(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = std::iter::once(OsString::from("tidegate policy")).chain(arguments);
    let options = Options::try_parse_from(arguments).unwrap_or_else(|error| error.exit());
    ended("policy", done(&options))
}

fn done(options: &Options) -> Result<String, String> {
    let host = Host::at(&options.reach)?;
    match &options.what {
        What::List => host.get("/api/v1/policies").map(|body| list(&body)),
        What::Explain(explain) => explain::explain(&host, explain),
        What::Swap { choice: (decision, component), config, shadow, position } => {
            let mut wish =
                json!({ "component": reachable(component), "shadow": shadow, "position": position.position });
            if let Some(config) = config {
                wish["configuration"] = configuration(config)?;
            }
            let path = format!("/api/v1/policies/{}/swap", decision.name());
            let body = host.post(&path, Some(&wish))?;
            Ok(changed(&body, if *shadow { "in the shadow" } else { "in force" }) + &next(*decision, *shadow))
        }
        What::Back(post) => act(&host, *post, "back", "in force again"),
        What::Enforce(post) => act(&host, *post, "enforce", "in force"),
        What::Dismiss(post) => act(&host, *post, "dismiss", "on trial no longer"),
    }
}

fn act(host: &Host, post: Post, act: &str, done: &str) -> Result<String, String> {
    let Post { decision, position: Position { position } } = post;
    let path = format!("/api/v1/policies/{}/{act}?position={position}", decision.name());
    Ok(changed(&host.post(&path, None)?, done))
}

/// What one may want to do then.
fn next(decision: Decision, shadow: bool) -> String {
    let decision = decision.name();
    if shadow {
        format!(
            "next: tidegate policy list shows where the two differ; tidegate policy enforce {decision}, or dismiss {decision}\n"
        )
    } else {
        format!("next: tidegate policy explain {decision}; tidegate policy back {decision} undoes it\n")
    }
}

/// `decision=component`.
fn choice(argument: &str) -> Result<(Decision, String), String> {
    let (name, component) =
        argument.split_once('=').ok_or("expected DECISION=NAME|PATH, as in authorize=./mine.wasm")?;
    if component.is_empty() {
        return Err("expected the name of a stock policy or a path after the =".to_owned());
    }
    Ok((decision(name)?, component.to_owned()))
}

/// The host need not stand in this folder: a file here is named by its whole path.
fn reachable(component: &str) -> String {
    std::fs::canonicalize(component).map_or_else(|_| component.to_owned(), |path| path.display().to_string())
}

fn configuration(text: &str) -> Result<Value, String> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| format!("--config is not JSON: {error}"))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A generation in one line.
fn generation(of: &Value) -> String {
    let digest = text(&of["digest"]);
    let short = digest.get(..16).unwrap_or(&digest);
    format!(
        "{} {}, generation {}, digest {short}, from {}",
        text(&of["name"]),
        text(&of["version"]),
        of["generation"],
        text(&of["origin"])
    )
}

/// The same, or what decides where no policy does.
fn or_built_in(of: &Value) -> String {
    if of.is_null() { "the host's own rule".to_owned() } else { generation(of) }
}

fn changed(body: &Value, done: &str) -> String {
    let mut page = format!("{done}: {}\n", or_built_in(&body["generation"]));
    if !body["before"].is_null() {
        let _ = writeln!(page, "before: {}", generation(&body["before"]));
    }
    let (prepared, took) = (number(&body["prepared_us"]), number(&body["took_ns"]));
    let _ = writeln!(page, "made ready in {:.1} ms, in place in {:.3} ms", prepared / 1e3, took / 1e6);
    page
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// Can it be left to the host's own rule?
fn is_optional(name: &Value) -> bool {
    Decision::ALL.into_iter().any(|decision| decision.is_optional() && *name == decision.name())
}

fn list(body: &Value) -> String {
    let mut page = String::new();
    for policy in items(&body["policies"]) {
        let failures: u64 = policy["failures"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, count)| count.as_u64())
            .sum();
        let _ = writeln!(
            page,
            "{} {}: {}\n  {} calls, {failures} without an answer, p99 {:.3} ms; on failure {}, breaker {}",
            text(&policy["decision"]),
            policy["position"],
            generation(policy),
            policy["calls"],
            number(&policy["latency_p99_ns"]) / 1e6,
            text(&policy["on_failure"]),
            text(&policy["breaker"]),
        );
        if !policy["previous"].is_null() || is_optional(&policy["decision"]) {
            let _ = writeln!(page, "  before: {}", or_built_in(&policy["previous"]));
        }
        let shadow = &policy["shadow"];
        if !shadow.is_null() {
            let _ = writeln!(
                page,
                "  in the shadow: {}\n    {} calls, {} decided otherwise, {} without an answer, {} skipped, p99 {:.3} ms",
                generation(shadow),
                shadow["calls"],
                shadow["differences"],
                shadow["failures"],
                shadow["skipped"],
                number(&shadow["latency_p99_ns"]) / 1e6,
            );
        }
        for difference in items(&shadow["last"]) {
            let (one, other) = (answer(&difference["in_force"]), answer(&difference["instead"]));
            let _ = writeln!(page, "    question {}: {one}; in the shadow: {other}", difference["number"]);
        }
    }
    let made = |decision: &Decision| items(&body["policies"]).any(|of| of["decision"] == decision.name());
    for decision in Decision::ALL.iter().filter(|decision| !made(decision)) {
        let name = decision.name();
        let _ = writeln!(
            page,
            "{name}: the host's own rule; tidegate policy swap {name}=FILE puts a policy there"
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::{Options, choice};
    use crate::options::tests::every_flag_has_help;
    use clap::CommandFactory as _;
    use tidegate_types::decision::Decision;

    #[test]
    fn declarations_are_sound_and_every_flag_has_help() {
        every_flag_has_help(&Options::command());
    }

    #[test]
    fn what_is_no_choice_is_told() {
        assert_eq!(choice("authorize=./a.wasm"), Ok((Decision::Authorize, "./a.wasm".to_owned())));
        for wrong in ["authorize", "authorize=", "../rooms=a", "=a"] {
            assert!(choice(wrong).is_err(), "{wrong}");
        }
    }
}
