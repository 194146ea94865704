//! Holds the workspace against its own architecture: who never imports whom, where unsafe code may live, which
//! crate is the one home of each heavy dependency, and what lies at the top level. Knows nothing of behaviour.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The parts of the host that have something in them; the node (package `tidegate`) may import all of them.
const PARTS: [&str; 7] = ["types", "media", "shard", "directory", "policy", "lookup", "control"];

/// Crates that lie in host/ and are no part of what serves.
const BESIDE: [&str; 3] = ["load", "cli", "trust"];

/// Who may import which sibling. What is not listed is forbidden.
const MAY_IMPORT: [(&str, &[&str]); 12] = [
    ("tidegate-types", &[]),
    ("tidegate-media", &["tidegate-types"]),
    ("tidegate-shard", &["tidegate-types", "tidegate-media"]),
    ("tidegate-directory", &["tidegate-types"]),
    ("tidegate-policy", &["tidegate-types"]),
    ("tidegate-lookup", &["tidegate-types"]),
    ("tidegate-control", &["tidegate-types"]),
    ("tidegate-trust", &["tidegate-types"]),
    ("tidegate-load", &["tidegate-types", "tidegate-media", "tidegate-trust"]),
    (
        "tidegate-cli",
        &["tidegate-types", "tidegate-policy", "tidegate-sdk", "tidegate-trust", "tidegate-wrap"],
    ),
    ("tidegate-sdk", &[]),
    ("tidegate-wrap", &[]),
];

/// Crates that must not be reached from a part, however far down.
const NEVER_REACHED: [(&str, &[&str]); 5] = [
    ("tidegate", &["tidegate-load", "webrtc"]),
    ("tidegate-types", &["tokio", "mio", "rand", "wasmtime", "rustls"]),
    ("tidegate-media", &["tokio", "mio", "socket2", "wasmtime", "axum"]),
    ("tidegate-directory", &["tokio", "mio", "rand", "socket2", "wasmtime", "axum", "aws-lc-rs"]),
    ("tidegate-shard", &["tokio", "async-std", "smol", "wasmtime", "axum"]),
];

/// A heavy dependency and the only packages of ours that may name it.
const HOMES: [(&str, &[&str]); 17] = [
    ("wasmtime", &["tidegate-policy"]),
    ("axum", &["tidegate-control"]),
    ("hyper", &["tidegate-lookup"]),
    ("rtc-sdp", &["tidegate-control"]),
    ("tokio-rustls", &["tidegate-control", "tidegate-load", "tidegate-lookup"]),
    ("utoipa", &["tidegate-control"]),
    ("webrtc", &["tidegate-load"]),
    ("rtc", &["tidegate-load"]),
    ("dimpl", &["tidegate-media"]),
    ("rtc-sctp", &["tidegate-media"]),
    ("rtc-stun", &["tidegate-media"]),
    ("mio", &["tidegate-shard", "tidegate-load"]),
    ("rtrb", &["tidegate-shard"]),
    ("libc", &["tidegate-shard"]),
    ("clap", &["tidegate", "tidegate-cli", "tidegate-load", "tidegate-trust"]),
    ("tracing-subscriber", &["tidegate"]),
    ("tokio", &["tidegate", "tidegate-control", "tidegate-load", "tidegate-lookup"]),
];

/// What may lie at the top level: the house, and what tools insist on.
const TOP_LEVEL: [&str; 21] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "build.rs",
    "clippy.toml",
    "deny.toml",
    "examples",
    "fuzz",
    "host",
    "plugins",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "sdk",
    "tests",
    "wit",
    ".cargo",
    ".ci",
    ".gitattributes",
    ".gitignore",
];

#[test]
fn siblings_import_only_whom_they_may() {
    let packages = Packages::read();
    for (name, allowed) in MAY_IMPORT {
        let siblings = packages.imports(name).filter(|import| import.starts_with("tidegate"));
        let wrong: Vec<&str> = siblings.filter(|import| !allowed.contains(import)).collect();
        assert!(wrong.is_empty(), "{name} must not import {wrong:?}");
    }
}

#[test]
fn every_package_has_its_row_in_the_table() {
    let listed: BTreeSet<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).chain(["tidegate"]).collect();
    let unlisted: Vec<String> =
        Packages::read().0.into_keys().filter(|name| !listed.contains(name.as_str())).collect();
    assert!(unlisted.is_empty(), "say in this test whom {unlisted:?} may import");
}

#[test]
fn types_stand_on_serde_alone() {
    let packages = Packages::read();
    assert_eq!(packages.imports("tidegate-types").collect::<Vec<_>>(), ["serde"]);
}

#[test]
fn pure_parts_reach_no_runtime_and_no_socket() {
    for (name, never) in NEVER_REACHED {
        let reached = reached_from(name);
        assert!(reached.contains(name), "cargo tree names no {name}");
        let wrong: Vec<&&str> = never.iter().filter(|never| reached.contains(**never)).collect();
        assert!(
            wrong.is_empty(),
            "{name} reaches {wrong:?}: see `cargo tree -p {name} -e normal -i {}`",
            wrong[0]
        );
    }
}

#[test]
fn heavy_dependencies_have_one_home() {
    let packages = Packages::read();
    for (heavy, homes) in HOMES {
        for name in packages.0.keys().filter(|name| !homes.contains(&name.as_str())) {
            let imports = packages.imports(name).any(|import| import == heavy);
            assert!(!imports, "{name} imports {heavy}, whose home is {homes:?}");
        }
    }
}

#[test]
fn unsafe_code_lives_in_the_shard_alone() {
    for (name, head) in crate_heads() {
        let forbids = head.contains("#![forbid(unsafe_code)]");
        assert_eq!(
            forbids,
            name != "host/shard",
            "{name}: unsafe code is forbidden everywhere but host/shard"
        );
    }
}

#[test]
fn every_source_file_opens_with_its_purpose() {
    for file in rust_files() {
        let text = read(&file);
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(first.starts_with("//!"), "{} has no head comment", file.display());
    }
}

#[test]
fn the_top_level_holds_only_the_house() {
    for file in tracked() {
        let top = file.split('/').next().unwrap_or_default();
        assert!(TOP_LEVEL.contains(&top), "{file}: '{top}' has no place at the top level");
    }
}

#[test]
fn pure_parts_disallow_clocks_and_chance() {
    for part in ["media", "directory"] {
        let rules = read(&root().join("host").join(part).join("clippy.toml"));
        for never in ["std::time::Instant::now", "std::time::SystemTime::now"] {
            assert!(rules.contains(never), "host/{part}/clippy.toml does not disallow {never}");
        }
    }
}

/// What each package of ours imports at run time (neither for tests nor for the build), as its manifest says.
struct Packages(BTreeMap<String, Vec<String>>);

impl Packages {
    fn read() -> Self {
        let text = cargo(&["metadata", "--no-deps", "--format-version=1", "--offline"]);
        let metadata: Value = serde_json::from_str(&text).expect("cargo metadata speaks JSON");
        Self(
            items(&metadata["packages"])
                .map(|package| (text_of(&package["name"]), imported(package)))
                .collect(),
        )
    }

    fn imports(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).unwrap_or_else(|| panic!("there is no package {name}")).iter().map(String::as_str)
    }
}

fn imported(package: &Value) -> Vec<String> {
    let at_run_time = |import: &&Value| import["kind"].is_null();
    items(&package["dependencies"]).filter(at_run_time).map(|import| text_of(&import["name"])).collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// All packages that a part reaches at run time on this system.
fn reached_from(name: &str) -> BTreeSet<String> {
    cargo(&["tree", "-p", name, "-e", "normal", "--prefix", "none", "--offline"])
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo speaks UTF-8")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Each crate's root, up to its first item.
fn crate_heads() -> Vec<(String, String)> {
    let parts = PARTS.iter().chain(&BESIDE).map(|part| format!("host/{part}"));
    let crates = parts.chain(["host", "sdk/rust", "sdk/wrap"].map(str::to_owned));
    crates.map(|name| (name.clone(), read(&root().join(name).join("src/lib.rs")))).collect()
}

/// The product's own Rust sources.
fn rust_files() -> Vec<PathBuf> {
    let wanted = |file: &&String| {
        file.ends_with(".rs") && (file.starts_with("host/") || file.starts_with("sdk/rust/src/"))
    };
    tracked().iter().filter(wanted).map(|file| root().join(file)).filter(|file| file.exists()).collect()
}

/// What git holds, relative to the root; without git (a source archive) nothing, and nothing is checked.
fn tracked() -> Vec<String> {
    let output = Command::new("git").args(["ls-files"]).current_dir(root()).output();
    let listed = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let text = String::from_utf8(listed.unwrap_or_default()).expect("our file names are UTF-8");
    text.lines().map(str::to_owned).collect()
}
