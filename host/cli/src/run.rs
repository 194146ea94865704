//! `tidegate plugin run`: one request in, one answer out, with what it cost. Knows nothing of cases but that a
//! request may stand in one.

use crate::Stock;
use crate::asking::{Pair, decision, plugin_of, workshop};
use crate::error::CommandError;
use crate::options::Run;
use crate::question::{Asked, Form, asked};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::Path;
use tidegate_policy::sandbox::{Metering, Sandbox};
use tidegate_sdk::cases::{
    AuthorizeForm, BalanceForm, Case, CaseError, PlaceForm, Request, Row, ShareForm, parse, shards, times,
};
use tidegate_types::decision::Decision;

/// The longest request or configuration that is read, in bytes.
const READ_BYTES: u64 = 16 << 20;

/// Prints the answer; true if there was one, be it yes or no.
pub(crate) fn run(options: &Run, stock: Stock) -> Result<bool, CommandError> {
    let decision =
        decision(&workshop(stock, &options.bounds, Metering::Off)?, &options.file, options.policy)?;
    let asked = match decision {
        Decision::Authorize => read::<AuthorizeForm>(options)?,
        Decision::Allocate => read::<PlaceForm>(options)?,
        Decision::Balance => read::<BalanceForm>(options)?,
        Decision::Share => read::<ShareForm>(options)?,
    };
    let plugin = plugin_of(&options.file, asked.config.clone());
    let mut pair = Pair::open(stock, &options.bounds, decision, &plugin, &asked.lookups)?;
    let (told, answered) = answer(&asked, &mut pair);
    println!("{told:#}");
    Ok(answered)
}

/// The answer and its cost as JSON, and whether there was one.
fn answer(asked: &Asked, pair: &mut Pair) -> (Value, bool) {
    let came = ask(&mut pair.plain, asked);
    let fuel = ask(&mut pair.metered, asked).fuel;
    let answered = came.result.is_ok();
    let (key, value) = match came.result {
        Ok(body) => ("answer", asked.told(body)),
        Err(failure) => ("failure", Value::from(failure.name())),
    };
    let needs = value.get("need").is_some();
    let mut told = json!({
        key: value,
        "latency_us": came.latency.as_secs_f64() * 1e6,
        "fuel": fuel,
        "memory_bytes": came.memory_bytes,
        "plugin": {
            "name": pair.plain.plugin().name(),
            "version": pair.plain.plugin().version(),
            "digest": pair.plain.plugin().digest(),
        },
    });
    if needs {
        told["note"] = Value::from(
            "nothing is looked up here: add {\"lookup\":…,\"key\":…} with a \"value\" or an \"error\" to the request's \
             lookups, and run it again",
        );
    }
    (told, answered)
}

/// Feeds and asks, as often as the case wants; what came of the last.
pub(crate) fn ask(sandbox: &mut Sandbox, asked: &Asked) -> tidegate_policy::sandbox::Asked {
    if !asked.rows.is_empty() {
        sandbox.feed(asked.feed());
    }
    for _ in 1..asked.repeat {
        sandbox.ask(&asked.body);
    }
    sandbox.ask(&asked.body)
}

/// The question that the options mean.
fn read<F: Form + Default>(options: &Run) -> Result<Asked, CommandError> {
    let mut asked = match &options.request {
        Some(path) => {
            let text = text(path)?;
            let case = form::<F>(&text).map_err(|error| CaseError { file: shown(path), ..error })?;
            asked(&case)
        }
        None => asked(&unnamed(F::default(), Vec::new(), Value::Null)),
    };
    if let Some(path) = &options.config {
        asked.config = configuration(path)?;
    }
    Ok(asked)
}

/// A configuration in a file.
pub(crate) fn configuration(path: &Path) -> Result<Value, CommandError> {
    parse(&text(path)?).map_err(|error| CaseError { file: shown(path), ..error }.into())
}

/// A request by itself, or with what surrounds it.
fn form<F: Form>(text: &str) -> Result<Case<F, Value>, CaseError> {
    let surrounded = serde_json::from_str::<Value>(text).is_ok_and(|value| value.get("request").is_some());
    if !surrounded {
        return parse::<F>(text).map(|request| unnamed(request, Vec::new(), Value::Null));
    }
    let whole: Surrounded<F> = parse(text)?;
    let case = unnamed(whole.request, whole.cluster, whole.config);
    Ok(Case { repeat: whole.repeat, lookups: whole.lookups, ..case })
}

/// A case, with or without name and expectation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "F: DeserializeOwned + Request")]
struct Surrounded<F> {
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default)]
    config: Value,
    #[serde(default)]
    lookups: Vec<String>,
    #[serde(default, deserialize_with = "shards::<F, _>")]
    cluster: Vec<Row>,
    request: F,
    #[serde(default = "once", deserialize_with = "times")]
    repeat: u32,
    #[serde(default, rename = "expect")]
    _expect: Value,
}

const fn once() -> u32 {
    1
}

fn unnamed<F>(request: F, cluster: Vec<Row>, config: Value) -> Case<F, Value> {
    let (name, lookups) = (String::new(), Vec::new());
    Case { name, config, lookups, cluster, request, repeat: 1, expect: Value::Null }
}

/// A file's text, or that of standard input for `-`.
fn text(path: &Path) -> Result<String, CommandError> {
    let failed = |error: std::io::Error| CommandError::file(path, &error);
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(READ_BYTES).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(READ_BYTES).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
