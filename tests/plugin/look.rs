//! `check` and `run`: what a component is, and what it answers to one request. Knows nothing of how one is made.

use crate::author::{Author, PATIENT};
use serde_json::json;

#[test]
fn check_tells_what_a_component_is() {
    let author = Author::new();
    author.stock("allocate-pack");
    let said = author.plugin(&["check", "allocate-pack.wasm"]);
    said.ended(
        0,
        &[
            "decides    allocate",
            "cluster-feed@1.0.0",
            "host-log",
            "is         allocate-pack 0.1.0",
            "digest",
        ],
    );
    author.stock("auth-token");
    author
        .plugin(&["check", "auth-token.wasm"])
        .ended(0, &["authorize wants more than nothing", "a host would take it"]);
}

#[test]
fn check_names_what_is_missing_and_the_fix() {
    let author = Author::new();
    author.stock("auth-open");
    author
        .plugin(&["check", "auth-open.wasm", "--policy", "balance"])
        .ended(1, &["cluster-feed@1.0.0", "it fits the decision authorize", "a host would refuse it"]);
    author.write("script.wasm", "#!/bin/sh\n");
    author.write("bare.wasm", b"\0asm\x01\0\0\0");
    let said = author.plugin(&["check", "script.wasm", "bare.wasm", "absent.wasm"]);
    said.ended(1, &["not a WebAssembly component", "the step that wraps it is missing", "cannot be read"]);
    author.plugin(&["check"]).ended(2, &["FILE"]);
    author
        .plugin(&["check", "x.wasm", "--policy", "divide"])
        .ended(2, &["authorize, allocate, balance, share"]);
}

#[test]
fn run_answers_a_request_with_its_cost() {
    let author = Author::new();
    author.stock("auth-open");
    let said = author.plugin(&[&["run", "auth-open.wasm"], &PATIENT[..]].concat());
    let told = said.json();
    assert_eq!(told["answer"]["grant"]["publish"], true, "{told}");
    assert!(told["fuel"].as_u64().is_some_and(|fuel| fuel > 0), "{told}");
    assert!(told["memory_bytes"].as_u64().is_some_and(|bytes| bytes >= 65_536), "{told}");
    assert!(told["latency_us"].as_f64().is_some_and(|us| us > 0.0), "{told}");
    assert_eq!(told["plugin"]["name"], "auth-open");

    let request = json!({ "action": "admin" }).to_string();
    let arguments = [&["run", "auth-open.wasm", "--request", "-"], &PATIENT[..]].concat();
    let refused = author.plugin_told(&author.folder, &arguments, &request);
    refused.ended(0, &["refuse"]);
    let again = author.plugin_told(&author.folder, &arguments, &request);
    assert_eq!(refused.json()["fuel"], again.json()["fuel"], "fuel is the same each time");
}

#[test]
fn run_takes_configuration_and_cluster() {
    let author = Author::new();
    author.stock("allocate-pack");
    let case = json!({
        "config": { "egress_kbps": 350 },
        "cluster": [{ "egress": 100 }, { "egress": 300, "reserved-egress": 60 }, { "egress": 200 }],
        "request": { "kind": "transport" },
    });
    author.write("case.json", case.to_string());
    let arguments = [&["run", "allocate-pack.wasm", "--request", "case.json"], &PATIENT[..]].concat();
    assert_eq!(author.plugin(&arguments).json()["answer"]["place"]["row"], 2);
    author.write("other.json", json!({ "egress_kbps": 1_000 }).to_string());
    let arguments = [&arguments[..], &["--config", "other.json"]].concat();
    assert_eq!(author.plugin(&arguments).json()["answer"]["place"]["row"], 1);
    author.write("other.json", json!({ "egress_kpbs": 1 }).to_string());
    author.plugin(&arguments).ended(1, &["does not accept its configuration", "egress_kpbs"]);
    author.write("other.json", json!({ "egress_kbps": 0, "transports": "many", "cpu": 1 }).to_string());
    let egress = "/egress_kbps: wants a whole number of at least 1, found 0";
    let transports = "/transports: wants a whole number of at least 1, found a text of 4 characters";
    author
        .plugin(&arguments)
        .ended(1, &[egress, transports, "/cpu: is no setting here; there are cpu_permille"]);
}

#[test]
fn run_tells_a_mistake_in_a_request_by_its_line() {
    let author = Author::new();
    author.stock("auth-open");
    author.write("request.json", "{\n  \"action\": \"jion\"\n}");
    let said = author.plugin(&["run", "auth-open.wasm", "--request", "request.json"]);
    said.ended(1, &["request.json:2:", "/action", "`join`", "`admin`"]);
    author.plugin(&["run", "auth-open.wasm", "--request", "absent.json"]).ended(1, &["absent.json"]);
}
