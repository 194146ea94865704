//! Components that do not fit: the host says what was wanted, what was found and what to do, and does not start.

use crate::host::command;
use crate::plugins::{self, scratch};
use std::path::PathBuf;
use std::process::Output;

/// What a host says that does not start.
fn refused(policy: &str) -> String {
    let Output { status, stderr, .. } = command(&["--policy", policy]).output().expect("the command runs");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{policy}: {said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("tidegate: ")).collect();
    assert_eq!(lines.len(), 1, "{policy}: {said}");
    lines[0].to_owned()
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = scratch().join(name);
    std::fs::write(&path, bytes).expect("it can be written");
    path
}

/// A component that would like to know the time.
fn with_wasi() -> PathBuf {
    let component = r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#;
    file("wants-wasi.wasm", &wat::parse_str(component).expect("a component"))
}

#[test]
fn what_does_not_fit_is_named_with_its_cure() {
    let hostile = plugins::hostile();
    let text = file("no-component.wasm", b"#!/bin/sh\necho hello\n");
    let wasi = with_wasi();
    let cases = [
        (
            format!("allocate={}", hostile.authorize.display()),
            vec!["cluster-feed", "authorization", "fits the decision authorize"],
        ),
        (
            format!("authorize={}", hostile.allocate.display()),
            vec!["authorization", "allocation", "fits the decision allocate"],
        ),
        (format!("authorize={}", text.display()), vec!["not a WebAssembly component", "#!/bin/s", "wrap"]),
        (format!("authorize={}", hostile.unwrapped.display()), vec!["core WebAssembly module", "wrap"]),
        (
            format!("authorize={}", wasi.display()),
            vec!["wasi:sockets/tcp@0.2.0", "not granted", "wasm32-unknown-unknown"],
        ),
    ];
    for (policy, words) in cases {
        let said = refused(&policy);
        let (_, path) = policy.split_once('=').expect("a path");
        assert!(said.contains(path), "{policy}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{policy}, {words:?}: {said}");
    }
}
