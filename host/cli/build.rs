//! Embeds what a new project carries: templates, SDK and interface, exactly as they lie beside this crate, and the
//! bindings that follow from the interface. Knows nothing of what is in them, but that the SDK's manifest stands alone
//! in a project.

#[path = "build/bindings.rs"]
mod bindings;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What is embedded, from the repository's root.
const CARRIED: [&str; 5] = ["sdk/README.md", "sdk/rust/Cargo.toml", "sdk/rust/src", "sdk/template", "wit/v1"];
/// Folders that builds and tools leave in a template.
const LEFT_OVER: [&str; 5] = ["target", "node_modules", "build", ".venv", "__pycache__"];
const SDK_MANIFEST: &str = "sdk/rust/Cargo.toml";

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let mut files = Vec::new();
    for carried in CARRIED {
        println!("cargo::rerun-if-changed={}", root.join(carried).display());
        collect(&root, &root.join(carried), &mut files)?;
    }
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());
    println!("cargo::rerun-if-changed=build");
    files.sort();
    let manifest = out.join("sdk-Cargo.toml");
    let workspace = fs::read_to_string(root.join("Cargo.toml"))?;
    fs::write(&manifest, standing_alone(&fs::read_to_string(root.join(SDK_MANIFEST))?, &workspace)?)?;
    let mut table = String::from("&[\n");
    for file in &files {
        let source = if file == SDK_MANIFEST { manifest.clone() } else { root.join(file) };
        writeln!(table, "    ({file:?}, include_str!({:?})),", source.display().to_string())?;
    }
    for (file, text) in bindings::generated(&root.join("wit/v1"))? {
        let source = out.join(&file);
        fs::create_dir_all(source.parent().ok_or("a file lies in a folder")?)?;
        fs::write(&source, text)?;
        writeln!(table, "    ({file:?}, include_str!({:?})),", source.display().to_string())?;
    }
    table.push_str("]\n");
    fs::write(out.join("carried.rs"), table)?;
    Ok(())
}

/// All files at or below `path`, relative to `root`, with forward slashes.
fn collect(root: &Path, path: &Path, files: &mut Vec<String>) -> Outcome<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !LEFT_OVER.iter().any(|name| entry.file_name() == *name) {
                collect(root, &entry.path(), files)?;
            }
        }
    } else {
        let relative = path.strip_prefix(root)?;
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        files.push(parts.join("/"));
    }
    Ok(())
}

/// The SDK's manifest with what it inherits from the workspace written out.
fn standing_alone(manifest: &str, workspace: &str) -> Outcome<String> {
    let mut text = String::new();
    let mut section = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        if section == "[lints]" {
            continue;
        }
        match line.strip_suffix(".workspace = true") {
            Some(name) => writeln!(text, "{}", inherited(workspace, section, name)?)?,
            None => writeln!(text, "{line}")?,
        }
    }
    Ok(text)
}

/// The workspace's own line for a name.
fn inherited<'a>(workspace: &'a str, section: &str, name: &str) -> Outcome<&'a str> {
    let table = if section == "[package]" { "[workspace.package]" } else { "[workspace.dependencies]" };
    let lines = workspace.lines().skip_while(|line| *line != table).skip(1);
    let mut own = lines.take_while(|line| !line.starts_with('['));
    let found = own.find(|line| line.split_once(" = ").is_some_and(|(key, _)| key == name));
    found.ok_or_else(|| format!("{SDK_MANIFEST}: the workspace's {table} has no {name}").into())
}
