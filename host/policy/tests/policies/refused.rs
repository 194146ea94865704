//! What cannot be put in force is refused at the start, by one line that says what to do.

use crate::desk::{config, config_with, plugin, start};
use crate::guest::{Guest, PROBLEMS};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tidegate_policy::{LoadError, PluginConfig, PolicyConfig, Source};
use tidegate_types::decision::Decision;

fn refusal(config: PolicyConfig) -> (LoadError, String) {
    let error = start(config).err().expect("a refusal");
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line:?}");
    (error, line)
}

fn refusal_of(bytes: &[u8]) -> String {
    let mut config = config();
    config.authorize = plugin("guest", bytes.to_vec());
    refusal(config).1
}

#[track_caller]
fn says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is missing in {line:?}");
    }
}

#[test]
fn bytes_that_are_no_component() {
    says(&refusal_of(b""), &["guest", "an empty file"]);
    says(&refusal_of(b"#!/bin/sh"), &["not a WebAssembly component", "#!/bin/s"]);
    says(
        &refusal_of(&Guest::new(Decision::Authorize).build_unwrapped()),
        &["a core WebAssembly module", "wit-component"],
    );
    let mut cut = Guest::new(Decision::Authorize).build();
    cut.truncate(cut.len() / 2);
    says(&refusal_of(&cut), &["is not valid here"]);
}

#[test]
fn a_file_that_is_not_there() {
    let mut config = config();
    config.allocate = PluginConfig::new(Source::Path(PathBuf::from("no/such/file.wasm")));
    says(&refusal(config).1, &["no/such/file.wasm", "cannot be read", "give the path of a component file"]);
}

#[test]
fn a_component_for_another_decision_is_told_where_it_fits() {
    let (error, line) = refusal(config_with(Decision::Authorize, Guest::new(Decision::Balance)));
    says(
        &line,
        &[
            "given for authorize",
            "tidegate:policy/authorization@1.0.0",
            "balancing",
            "fits the decision balance",
        ],
    );
    assert!(matches!(error, LoadError::WrongWorld { .. }));
}

#[test]
fn an_import_that_is_not_granted_is_named() {
    let guest = Guest::new(Decision::Authorize).with_foreign_import().misbehave("(drop (call $now))");
    let (error, line) = refusal(config_with(Decision::Authorize, guest));
    says(&line, &["imports test:guest/clock", "not granted", "host-log", "wasm32-unknown-unknown"]);
    assert!(matches!(error, LoadError::ImportNotGranted { .. }));
}

#[test]
fn another_version_is_told_with_both_numbers() {
    let guest = Guest::new(Decision::Authorize).of_version("2.0.0");
    let (_, line) = refusal(config_with(Decision::Authorize, guest));
    says(&line, &["built for tidegate:policy@2.0.0", "this host offers 1.0.0", "update"]);
}

#[test]
fn a_component_that_begins_too_large_is_told_what_to_allow() {
    let with = |memory_bytes| {
        let mut config = config_with(Decision::Authorize, Guest::new(Decision::Authorize));
        config.authorize.memory_bytes = Some(memory_bytes);
        config
    };
    let (error, line) = refusal(with(1 << 20));
    says(&line, &["guest", "begins with 2 MiB", "may have 1", "--policy-memory authorize=4"]);
    assert!(matches!(error, LoadError::Memory { .. }));
    assert!(start(with(2 << 20)).is_ok(), "its own bound, not the usual one");
}

#[test]
fn a_path_that_is_no_file_is_told_what_it_is_and_holds_nobody_up() {
    let folder = std::env::temp_dir().join(format!("tidegate-refused-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (pipe, large) = (folder.join("pipe"), folder.join("large"));
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    std::fs::File::create(&large).and_then(|file| file.set_len(65 << 20)).expect("a file with holes");
    let told = [
        (folder.clone(), "a folder"),
        (pipe, "a named pipe"),
        ("/dev/zero".into(), "a device"),
        (large, "at most"),
    ];
    for (path, wanted) in told {
        let (sender, refused) = std::sync::mpsc::channel();
        let mut config = config();
        config.authorize.source = Source::Path(path);
        std::thread::spawn(move || sender.send(refusal(config).1));
        let line = refused.recv_timeout(Duration::from_secs(30)).expect("told, not waited for");
        says(&line, &["cannot be read", wanted, "path of a component file"]);
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn one_that_compiles_too_long_is_given_up() {
    let mut config = config();
    config.compile_time = Duration::ZERO;
    let (error, line) = refusal(config);
    says(&line, &["was not compiled within 0 s", "given up"]);
    assert!(matches!(error, LoadError::CompileTime { .. }));
}

#[test]
fn a_configuration_that_is_not_accepted_is_told_with_pointers() {
    let guest = Guest::new(Decision::Allocate).configure(format!("(i32.const {PROBLEMS})"));
    let (_, line) = refusal(config_with(Decision::Allocate, guest));
    says(&line, &["does not accept its configuration", "/limit: must be positive"]);
}

#[test]
fn a_configuration_is_held_against_the_schema_before_the_plugin_sees_it() {
    let schema = json!({ "type": "object", "additionalProperties": false, "required": ["limit"], "properties": {
        "limit": { "type": "integer", "minimum": 1 }, "door": { "enum": ["open", "shut"] } } });
    // It would trap if it were asked.
    let with = |configuration| {
        let guest = Guest::new(Decision::Authorize).schema(&schema).configure("(unreachable)");
        let mut config = config_with(Decision::Authorize, guest);
        config.authorize.configuration = configuration;
        config
    };
    let (error, line) = refusal(with(json!({ "limit": 0, "door": "ajar", "window": 1 })));
    let limit = "/limit: wants a whole number of at least 1, found 0";
    says(&line, &[limit, "/door: wants \"open\" or \"shut\", found \"ajar\"", "/window: is no setting here"]);
    assert!(matches!(error, LoadError::Configuration { problems, .. } if problems.len() == 3));
    let (_, line) = refusal(with(serde_json::Value::Null));
    says(&line, &["/limit: is missing"]);
    let (error, _) = refusal(with(json!({ "limit": 1 })));
    assert!(matches!(error, LoadError::Start { .. }), "what fits reaches the plugin");
}

#[test]
fn a_schema_that_the_host_cannot_hold_to_is_told_by_its_keyword() {
    let guest =
        Guest::new(Decision::Authorize).schema(&json!({ "properties": { "name": { "pattern": "a+" } } }));
    let (error, line) = refusal(config_with(Decision::Authorize, guest));
    says(&line, &["schema", "/properties/name/pattern", "\"pattern\"", "let configure check"]);
    assert!(matches!(error, LoadError::Schema { .. }));
}

#[test]
fn one_that_traps_or_hangs_while_it_is_started() {
    for (body, reason) in
        [("(unreachable)", "unreachable"), ("(loop $on (br $on)) (unreachable)", "interrupt")]
    {
        let guest = Guest::new(Decision::Authorize).configure(body);
        let (_, line) = refusal(config_with(Decision::Authorize, guest));
        says(&line, &["failed while it was started", reason]);
    }
}
