//! `tidegate policy`: shows and changes who decides in a running host, through its admin API. Knows nothing of
//! policies but what that says.

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// A component compiles for a while.
const PATIENCE: Duration = Duration::from_secs(120);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES: u64 = 64 << 20;

/// Shows and changes who decides in a running host.
#[derive(Debug, Parser)]
#[command(name = "tidegate policy", max_term_width = 100)]
struct Options {
    /// The host's address: its front door, over plain HTTP
    #[arg(long, value_name = "NAME:PORT", default_value = "127.0.0.1:7000", global = true)]
    host: String,

    /// File holding the host's admin token, for a host on another machine [default: $TIDEGATE_ADMIN_TOKEN]
    #[arg(long, value_name = "FILE", global = true)]
    admin_token_file: Option<PathBuf>,

    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The policies in force, with generation and digest, what stood there before and what stands in the shadow
    List,
    /// Put another component in a policy's place while calls go on; the one before is kept for the way back
    Swap {
        /// Whose place, and what takes it: authorize=./mine.wasm
        #[arg(value_name = "DECISION=NAME|PATH")]
        choice: String,
        /// Its configuration; without this the one in force is kept
        #[arg(long, value_name = "JSON|@FILE")]
        config: Option<String>,
        /// Only beside the one in force at first: both decide, one counts, and `list` shows how they differ
        #[arg(long)]
        shadow: bool,
        /// Which of a chain
        #[arg(long, value_name = "N", default_value_t = 1)]
        position: u32,
    },
    /// Put the one before in force again
    Back {
        /// Whose place
        decision: String,
        /// Which of a chain
        #[arg(long, value_name = "N", default_value_t = 1)]
        position: u32,
    },
    /// Put the one in the shadow in force
    Enforce {
        /// Whose place
        decision: String,
        /// Which of a chain
        #[arg(long, value_name = "N", default_value_t = 1)]
        position: u32,
    },
    /// End the trial of the one in the shadow
    Dismiss {
        /// Whose place
        decision: String,
        /// Which of a chain
        #[arg(long, value_name = "N", default_value_t = 1)]
        position: u32,
    },
    /// The last decisions with what was asked, what was answered and who did
    Explain {
        /// Only those of one decision
        decision: Option<String>,
        /// How many of the last decisions to look at
        #[arg(long, value_name = "N", default_value_t = 10)]
        last: u32,
    },
}

/// Runs the command; the arguments begin after `policy`.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = std::iter::once(OsString::from("tidegate policy")).chain(arguments);
    let options = Options::try_parse_from(arguments).unwrap_or_else(|error| error.exit());
    match done(&options) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("tidegate: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn done(options: &Options) -> Result<String, String> {
    let host = Host { address: plain(&options.host)?, token: token(options.admin_token_file.as_deref())? };
    match &options.what {
        What::List => host.get("/api/v1/policies").map(|body| list(&body)),
        What::Explain { decision, last } => {
            let body = host.get(&format!("/api/v1/decisions?limit={last}"))?;
            Ok(explain(&body, decision.as_deref()))
        }
        What::Swap { choice, config, shadow, position } => {
            let (decision, component) = choice.split_once('=').ok_or("expected DECISION=NAME|PATH")?;
            let mut wish =
                json!({ "component": reachable(component), "shadow": shadow, "position": position });
            if let Some(config) = config {
                wish["configuration"] = configuration(config)?;
            }
            host.post(&format!("/api/v1/policies/{}/swap", segment(decision)?), Some(&wish))
                .map(|body| changed(&body, if *shadow { "in the shadow" } else { "in force" }))
        }
        What::Back { decision, position } => host.act(decision, "back", *position, "in force again"),
        What::Enforce { decision, position } => host.act(decision, "enforce", *position, "in force"),
        What::Dismiss { decision, position } => {
            host.act(decision, "dismiss", *position, "on trial no longer")
        }
    }
}

/// A decision's name is one segment of a path.
fn segment(decision: &str) -> Result<&str, String> {
    let plain = !decision.is_empty() && decision.bytes().all(|byte| byte.is_ascii_lowercase());
    if plain { Ok(decision) } else { Err(format!("there is no decision '{decision}'")) }
}

fn plain(host: &str) -> Result<String, String> {
    if host.starts_with("https://") {
        return Err(format!(
            "{host} is served over TLS, which this command does not speak: use its admin API"
        ));
    }
    let address = host.strip_prefix("http://").unwrap_or(host).trim_end_matches('/');
    let fits = !address.is_empty() && !address.contains(['/', '@', ' ', '\r', '\n']);
    if fits {
        Ok(address.to_owned())
    } else {
        Err(format!("{host} is no address of a host: expected NAME:PORT"))
    }
}

fn token(file: Option<&Path>) -> Result<Option<String>, String> {
    let text = match file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => std::env::var(crate::config::ADMIN_TOKEN_VARIABLE).unwrap_or_default(),
    };
    let token = text.trim();
    if token.contains(char::is_whitespace) {
        return Err("the admin token has white space in it".to_owned());
    }
    Ok((!token.is_empty()).then(|| token.to_owned()))
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

/// The admin API of one host.
struct Host {
    address: String,
    token: Option<String>,
}

impl Host {
    fn get(&self, path: &str) -> Result<Value, String> {
        self.ask("GET", path, "")
    }

    fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, String> {
        self.ask("POST", path, &body.map(Value::to_string).unwrap_or_default())
    }

    fn act(&self, decision: &str, act: &str, position: u32, done: &str) -> Result<String, String> {
        let path = format!("/api/v1/policies/{}/{act}?position={position}", segment(decision)?);
        Ok(changed(&self.post(&path, None)?, done))
    }

    /// One request, one answer (RFC 9112), without keeping the connection.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, String> {
        let unreachable = |error: std::io::Error| {
            format!("{} does not answer ({error}): name a running host with --host NAME:PORT", self.address)
        };
        let mut stream = TcpStream::connect(&self.address).map_err(unreachable)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(unreachable)?;
        let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n", self.address);
        if let Some(token) = &self.token {
            let _ = write!(request, "Authorization: Bearer {token}\r\n");
        }
        let _ =
            write!(request, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).map_err(unreachable)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).map_err(unreachable)?;
        read(&String::from_utf8_lossy(&answer))
    }
}

/// The body of an answer, or what its problem document says.
fn read(answer: &str) -> Result<Value, String> {
    let strange = || "the host answered something that is not its admin API".to_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(strange)?;
    let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(strange)?;
    let body: Value = serde_json::from_str(body).map_err(|_| strange())?;
    if status == 200 {
        return Ok(body);
    }
    Err(format!("{} ({})", text(&body["detail"]), text(&body["code"])))
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

fn changed(body: &Value, done: &str) -> String {
    let mut page = format!("{done}: {}\n", generation(&body["generation"]));
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
        if !policy["previous"].is_null() {
            let _ = writeln!(page, "  before: {}", generation(&policy["previous"]));
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
            let (number, one, other) =
                (&difference["number"], &difference["in_force"], &difference["instead"]);
            let _ = writeln!(page, "    question {number}: {one} in force, {other} in the shadow");
        }
    }
    page
}

fn explain(body: &Value, decision: Option<&str>) -> String {
    let mut page = String::new();
    let wanted = |record: &&Value| decision.is_none_or(|decision| record["decision"] == decision);
    for record in items(&body["decisions"]).filter(wanted) {
        let _ = writeln!(
            page,
            "{} question {} at {} (Unix ms): waited {:.3} ms, took {:.3} ms",
            text(&record["decision"]),
            record["number"],
            record["unix_ms"],
            number(&record["waited_ns"]) / 1e6,
            number(&record["latency_ns"]) / 1e6,
        );
        let _ = writeln!(page, "  asked     {}\n  answered  {}", record["question"], record["outcome"]);
        for by in items(&record["by"]) {
            let asked = if by["asked"] == true { "" } else { ", not asked" };
            let failed =
                by["failure"].as_str().map_or(String::new(), |failure| format!(", failed: {failure}"));
            let instead = by["instead"]
                .as_u64()
                .map_or(String::new(), |instead| format!(", generation {instead} answered instead"));
            let digest = text(&by["digest"]);
            let short = digest.get(..16).unwrap_or(&digest);
            let (name, number) = (text(&by["name"]), &by["generation"]);
            let _ = writeln!(
                page,
                "  by        {name}, generation {number}, digest {short}{asked}{failed}{instead}"
            );
        }
        if let Some(trouble) = record["trouble"].as_str() {
            let _ = writeln!(page, "  trouble   {trouble}");
        }
    }
    if page.is_empty() {
        page.push_str("nothing was decided yet\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::{Options, plain, read, segment};
    use clap::CommandFactory;

    #[test]
    fn declarations_are_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn what_cannot_be_an_address_or_a_decision_is_told() {
        assert_eq!(plain("http://127.0.0.1:7000/"), Ok("127.0.0.1:7000".to_owned()));
        for wrong in ["https://a:1", "a b:1", "a:1/x", ""] {
            assert!(plain(wrong).is_err(), "{wrong}");
        }
        assert!(segment("authorize").is_ok());
        assert!(segment("../rooms").is_err());
    }

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let answer = "HTTP/1.0 409 Conflict\r\nA: b\r\n\r\n{\"code\":\"no-shadow\",\"detail\":\"none\"}";
        assert_eq!(read(answer), Err("none (no-shadow)".to_owned()));
        assert!(read("HTTP/1.0 200 OK\r\n\r\n<p>").is_err());
        assert!(read("nothing").is_err());
    }
}
