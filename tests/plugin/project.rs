//! `new`, `build`, `test` and `bench`: from an empty folder to a policy whose cases hold. Knows nothing of what the
//! templates decide but what their cases say.

use crate::author::{Author, PATIENT, Said};
use std::path::{Path, PathBuf};
use std::process::Command;

const GUIDE: &str = include_str!("../../sdk/README.md");

impl Author {
    /// `tidegate plugin …` in a project's folder.
    fn at<S: AsRef<str>>(&self, project: &str, arguments: &[S]) -> Said {
        self.plugin_told(&self.folder.join(project), arguments, "")
    }

    /// `tidegate plugin test`, on however busy a machine.
    fn tried(&self, project: &str) -> Said {
        self.at(project, &[&["test"], &PATIENT[..]].concat())
    }

    /// Changes a text in a project's file.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path).expect("the project has this file");
        assert!(text.contains(from), "{file} holds no {from:?}: {text}");
        std::fs::write(path, text.replace(from, to)).expect("the folder can be written to");
    }
}

/// `cargo test` in a folder, as a person types it there, without the network.
fn cargo_test(folder: &Path) -> (bool, String) {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_"))
    {
        cargo.env_remove(name);
    }
    cargo.args(["test", "--offline"]).current_dir(folder).env_remove("CARGO_TARGET_DIR");
    let output = cargo.output().expect("cargo runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A page of the guide: what follows a heading, up to the next.
fn page(heading: &str) -> &'static str {
    let rest = GUIDE.split(&format!("\n## {heading}\n")).nth(1).expect("the guide has this page");
    rest.split("\n## ").next().unwrap_or(rest)
}

/// The first code block in this language.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let block = page.split(&format!("```{language}\n")).nth(1).and_then(|rest| rest.split("```").next());
    block.unwrap_or_else(|| panic!("the page has no block of {language}"))
}

/// Types the guide's first lines; those that need a host and a browser are typed by `tests/browser/guide.test.mjs`.
fn follow_the_guide(author: &Author) {
    let mut folder = author.folder.clone();
    for line in block(page("From nothing to a running policy"), "sh").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["cd", to] => folder.push(to),
            ["cargo", "test"] => {
                let (passed, said) = cargo_test(&folder);
                assert!(passed && said.contains("the_cases_decide_as_written ... ok"), "{said}");
            }
            ["tidegate", "plugin", arguments @ ..] => {
                let said = author.plugin_told(&folder, arguments, "");
                assert_eq!(said.code, 0, "{line}: {said:?}");
            }
            _ => panic!("who types {line:?}?"),
        }
    }
}

#[test]
fn the_guide_holds_from_an_empty_folder_to_a_component() {
    let author = Author::new();
    follow_the_guide(&author);
    assert!(author.folder.join("front-door/target/front-door.wasm").is_file());
    author.at("front-door", &["build"]).ended(
        0,
        &[
            "decides    authorize",
            "is         front-door 0.1.0",
            "a host would take it",
            "next: tidegate plugin test",
        ],
    );
    author.tried("front-door").ended(0, &["ok    a full room is closed", "4 of 4 as expected"]);
    author
        .at("front-door", &[&["bench", "--calls", "20"], &PATIENT[..]].concat())
        .ended(0, &["beside auth-open", "p99 µs", "a full room is closed", "all cases together"]);

    // What differs is told by its field, natively and in the sandbox alike.
    author.edit("front-door/cases/door.json", "\"full\"", "\"crowded\"");
    let difference = r#"refuse.code: expected "crowded", got "full""#;
    author.tried("front-door").ended(1, &["FAIL  a full room is closed", difference, "3 of 4"]);
    let (passed, said) = cargo_test(&author.folder.join("front-door"));
    assert!(!passed && said.contains(difference), "{said}");

    // A mistake in the file is told by its line.
    author.edit("front-door/cases/door.json", "\"room_people\"", "\"room_poeple\"");
    author
        .tried("front-door")
        .ended(1, &["cases/door.json:10:", "/1/request", "unknown field `room_poeple`", "`room_people`"]);

    every_template_and_page_holds(&author);
}

/// Each decision's new project, and then the same with the policy and the cases of its page in the guide.
fn every_template_and_page_holds(author: &Author) {
    let mut target = author.folder.join("front-door/target");
    for (title, policy, passed) in [
        ("authorize", "authorize", "4 of 4"),
        ("Lookups", "authorize", "4 of 4"),
        ("allocate", "allocate", "5 of 5"),
        ("balance", "balance", "2 of 2"),
        ("share", "share", "2 of 2"),
    ] {
        let name = format!("my-{}", title.to_lowercase());
        let folder = author.folder.join(&name);
        author.plugin(&["new", &name, "--policy", policy]).ended(0, &[policy]);
        // What was compiled of the SDK's dependencies is the same for all.
        std::fs::rename(&target, folder.join("target")).expect("one file system");
        author.at(&name, &["build"]).ended(0, &["a host would take it"]);
        author.tried(&name).ended(0, &[passed]);
        std::fs::write(folder.join("src/lib.rs"), block(page(title), "rust")).expect("a project");
        author.write(&format!("{name}.json"), block(page(title), "json"));
        author.at(&name, &["build"]).ended(0, &["a host would take it"]);
        let page =
            author.at(&name, &[&["test", "--cases", &format!("../{name}.json")], &PATIENT[..]].concat());
        assert!(page.code == 0 && page.out.contains("  ok  "), "{page:?}");
        target = folder.join("target");
    }
}

#[test]
fn new_refuses_what_would_not_build_and_never_overwrites() {
    let author = Author::new();
    for name in ["Door", "../door", "2nd", "serde"] {
        author.plugin(&["new", name, "--policy", "authorize"]).ended(2, &["NAME", name]);
    }
    author
        .plugin(&["new", "door", "--policy", "authorise"])
        .ended(2, &["authorize, allocate, balance, share"]);
    author
        .plugin(&["new", "door", "--policy", "authorize", "--lang", "cobol"])
        .ended(1, &["no template", "cobol", "rust (allocate, authorize, balance, share)"]);
    assert!(!author.folder.join("door").exists());
    author.write("door", "mine");
    author.plugin(&["new", "door", "--policy", "authorize"]).ended(1, &["door", "already"]);
    assert_eq!(std::fs::read(author.folder.join("door")).expect("it is still there"), b"mine");
}

#[test]
fn a_project_carries_what_this_program_was_built_from() {
    let author = Author::new();
    author.plugin(&["new", "door", "--policy", "balance"]).ended(0, &[]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read =
        |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    for file in ["wit/v1/balance.wit", "sdk/rust/src/lib.rs", "sdk/rust/src/cases/read.rs", "sdk/README.md"] {
        assert_eq!(read(&author.folder.join("door").join(file)), read(&root.join(file)), "{file}");
    }
    let lock = read(&author.folder.join("door/Cargo.lock"));
    assert!(lock.contains("name = \"door\"") && !lock.contains("{{"), "{lock}");
}

/// All files of a folder and those below it, with what stands in them.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    entries
        .flat_map(|entry| {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                return files(&path);
            }
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            vec![(path, text)]
        })
        .collect()
}

/// Whether what was made builds and decides as its cases say, tests/languages/build shows: it has the tools.
#[test]
fn every_language_makes_a_project_for_every_decision() {
    let author = Author::new();
    for language in ["rust", "c", "go", "js", "python"] {
        for decision in ["authorize", "allocate", "balance", "share"] {
            let name = format!("{language}-{decision}");
            author
                .plugin(&["new", &name, "--policy", decision, "--lang", language])
                .ended(0, &[decision, "tidegate plugin build"]);
            let files = files(&author.folder.join(&name));
            for (path, text) in &files {
                for left in ["{{name}}", "{{crate}}", "{{policy}}"] {
                    assert!(!text.contains(left), "{path:?} still has {left}");
                }
            }
            let any = |fits: &dyn Fn(&str, &str) -> bool| {
                files.iter().any(|(path, text)| fits(&path.to_string_lossy(), text))
            };
            assert!(any(&|path, _| path.contains("/cases/")), "{name} has no cases");
            assert!(any(&|path, text| path.ends_with("plugin.toml") && text.contains(decision)), "{name}");
            let is_told = matches!(decision, "allocate" | "balance");
            assert!(language == "rust" || is_told == any(&|path, _| path.contains("/cluster.")), "{name}");
        }
    }
}

/// Bindings that were generated from another interface would build, and not fit the host.
#[test]
fn bindings_tell_the_interface_of_this_program() {
    let author = Author::new();
    let wit = include_str!("../../wit/v1/allocate.wit");
    let told = "Relays of this producer that already leave from there.";
    assert!(wit.contains(told));
    for (language, file) in
        [("c", "bindings/allocate.h"), ("go", "tidegate_policy_allocation/wit_bindings.go")]
    {
        author.plugin(&["new", language, "--policy", "allocate", "--lang", language]).ended(0, &[]);
        let path = author.folder.join(language).join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert!(text.contains(told), "{path:?}");
    }
}

#[test]
fn build_names_what_is_missing() {
    let author = Author::new();
    author.plugin(&["build"]).ended(1, &["tidegate-plugin.toml", "tidegate plugin new"]);
    author.plugin(&["new", "door", "--policy", "authorize"]).ended(0, &[]);
    author.at("door", &["test"]).ended(1, &["target/door.wasm", "tidegate plugin build"]);
    let file = "door/tidegate-plugin.toml";
    author.edit(file, "program = \"cargo\"", "program = \"no-such-cargo\"");
    author.at("door", &["build"]).ended(1, &["no-such-cargo", "https://rustup.rs"]);
    author.edit(file, "program = \"no-such-cargo\"", "program = \"cargo\"");
    author.edit(file, "rust-target = \"wasm32-unknown-unknown\"", "rust-target = \"wasm32-unknown-nothing\"");
    author.at("door", &["build"]).ended(1, &["rustup target add wasm32-unknown-nothing"]);
    author.edit(file, "language", "langauge");
    author.at("door", &["build"]).ended(1, &["tidegate-plugin.toml", "langauge", "policy"]);
}

#[test]
fn test_says_what_a_policy_did_instead_of_answering() {
    let author = Author::new();
    author.stock("allocate-pack");
    author.write(
        "case.json",
        r#"{ "name": "a watermark", "config": { "egress_kpbs": 1 }, "request": {}, "expect": { "place": 0 } }"#,
    );
    let arguments = [&["test", "allocate-pack.wasm", "--cases", "case.json"], &PATIENT[..]].concat();
    author.plugin(&arguments).ended(1, &["FAIL  a watermark", "egress_kpbs", "0 of 1"]);
    author
        .plugin(&["test", "allocate-pack.wasm", "--cases", "absent"])
        .ended(1, &["absent", "cannot be read"]);
}
