//! The example plugin, by its README's own commands: built, wrapped, in force; and after one changed line the other
//! way round. Knows nothing of the plugin but its README.

use crate::host::Host;
use crate::plugins::{cargo, root, run, scratch};
use crate::session::Session;
use std::path::{Path, PathBuf};

const FOLDER: &str = "examples/invite-only";

/// The commands of the README, in order.
fn commands(readme: &str) -> Vec<Vec<String>> {
    let block = readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("commands");
    let whole = block.replace("\\\n", " ");
    whole.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Follows the README with the plugin at `folder`, up to the command that starts the host; that one's flags.
fn follow(readme: &str, folder: &Path) -> Vec<String> {
    let mut commands = commands(readme);
    let start = commands.pop().expect("a last command");
    for command in commands.iter().filter(|command| command[0] == "cargo") {
        run(cargo().args(at(&command[1..], folder)));
    }
    let flags = start.iter().position(|word| word == "--").expect("flags of the host");
    at(&start[flags + 1..], folder)
}

/// The words of a command for a plugin that lies elsewhere. Tools of the repository are built as this test was.
fn at(words: &[String], folder: &Path) -> Vec<String> {
    let tool = words.iter().any(|word| word == "tidegate-wrap") && cfg!(debug_assertions);
    let folder = folder.to_str().expect("a path in text");
    words
        .iter()
        .filter(|word| !tool || *word != "--release")
        .map(|word| word.replace(FOLDER, folder))
        .collect()
}

/// The plugin in a folder of its own, with one line changed.
fn changed(readme: &str) -> PathBuf {
    let copy = scratch().join("invite-only");
    std::fs::create_dir_all(copy.join("src")).expect("a folder");
    let read = |name: &str| std::fs::read_to_string(root().join(FOLDER).join(name)).expect("the example");
    let write = |name: &str, text: String| std::fs::write(copy.join(name), text).expect("it can be written");
    let sdk = root().join("sdk/rust");
    write("Cargo.toml", read("Cargo.toml").replace("../../sdk/rust", sdk.to_str().expect("a path in text")));
    write("Cargo.lock", read("Cargo.lock"));
    let line =
        readme.split("```rust\n").nth(1).and_then(|rest| rest.lines().next()).expect("the line to change");
    let source = read("src/lib.rs");
    assert!(source.contains(line), "the README's line is the source's: {line}");
    write("src/lib.rs", source.replace(line, r#"const INVITED: &[&str] = &["Mallory"];"#));
    copy
}

/// Somebody opens a room; then these come, one after the other. Who was refused is told why.
fn come(flags: &[String], names: [&str; 2]) -> Vec<Result<(), (String, String)>> {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let host = Host::start("invite-only", &flags);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let (_first, joined) = Session::join(host.address, "harbour", "Whoever").await;
        joined.expect("the first opens the room");
        let mut outcomes = Vec::new();
        for name in names {
            let (_session, joined) = Session::join(host.address, "harbour", name).await;
            outcomes.push(joined.map(drop).map_err(|refused| (refused.code, refused.detail)));
        }
        outcomes
    })
}

#[test]
fn the_example_decides_and_after_one_changed_line_decides_otherwise() {
    let readme = std::fs::read_to_string(root().join(FOLDER).join("README.md")).expect("the README");
    let refusal = |name: &str| {
        Err((
            "not-invited".to_owned(),
            format!("This room has started, and {name} is not on its list of guests."),
        ))
    };
    let flags = follow(&readme, Path::new(FOLDER));
    assert_eq!(come(&flags, ["Mallory", "Ada"]), [refusal("Mallory"), Ok(())]);

    let copy = changed(&readme);
    // The plugin's own tests are about the list as it was.
    let readme = readme.replace("cargo test", "# cargo test");
    let flags = follow(&readme, &copy);
    assert_eq!(come(&flags, ["Mallory", "Ada"]), [Ok(()), refusal("Ada")]);
}
