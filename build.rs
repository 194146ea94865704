//! Builds the stock policies (`plugins/`) for WebAssembly and wraps them into components, which the host embeds.
//! Knows nothing of what they decide.
//!
//! An inner cargo does the building, in a target folder of its own: in a shared one it would wait for ever for the
//! lock that the outer cargo holds. It runs again only when a plugin, the SDK or the interface has changed.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

const TARGET: &str = "wasm32-unknown-unknown";

/// What the plugins are made of; the folders that builds leave there are not.
const SOURCES: [&str; 6] = [
    "plugins/Cargo.toml",
    "plugins/Cargo.lock",
    "sdk/rust/Cargo.toml",
    "sdk/rust/src",
    "wit/v1",
    "Cargo.toml",
];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match embed_plugins() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn embed_plugins() -> Outcome<()> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let plugins = plugins(&root.join("plugins"))?;
    rerun_when_changed(&root, &plugins)?;
    install_target()?;
    let modules = build(&root, &out.join("plugins-target"))?;
    let components = out.join("stock");
    fs::create_dir_all(&components)?;
    for plugin in &plugins {
        let module = fs::read(modules.join(plugin.replace('-', "_")).with_extension("wasm"))?;
        let component = tidegate_wrap::wrap(&module).map_err(|error| format!("plugins/{plugin}: {error}"))?;
        fs::write(components.join(plugin).with_extension("wasm"), component)?;
    }
    fs::write(out.join("stock.rs"), table(&plugins)?)?;
    Ok(())
}

fn variable(name: &str) -> Outcome<String> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}

/// Names of the plugins: every folder that holds a Cargo.toml.
fn plugins(folder: &Path) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names
                .push(entry.file_name().into_string().map_err(|name| format!("plugins/{}", name.display()))?);
        }
    }
    names.sort();
    Ok(names)
}

fn rerun_when_changed(root: &Path, plugins: &[String]) -> Outcome<()> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    for plugin in plugins {
        for entry in fs::read_dir(root.join("plugins").join(plugin))? {
            let name = entry?.file_name();
            if name != OsStr::new("target") {
                println!("cargo::rerun-if-changed=plugins/{plugin}/{}", name.display());
            }
        }
    }
    Ok(())
}

/// rustup reads rust-toolchain.toml only where it may install by itself: so the target is asked for here.
fn install_target() -> Outcome<()> {
    let rustc = variable("RUSTC")?;
    let printed = Command::new(&rustc).args(["--print", "target-libdir", "--target", TARGET]).output()?;
    if Path::new(String::from_utf8(printed.stdout)?.trim()).is_dir() {
        return Ok(());
    }
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]);
    if let Ok(toolchain) = env::var("RUSTUP_TOOLCHAIN") {
        command.args(["--toolchain", &toolchain]);
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!(
            "the policies need Rust's target {TARGET}, and it could not be installed: run `rustup target add {TARGET}`, \
             or install your distribution's package of it, then build again"
        )
        .into()),
    }
}

/// Builds all plugins; gives the folder of their modules.
fn build(root: &Path, target: &Path) -> Outcome<PathBuf> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .args(["build", "--release", "--locked", "--lib", "--target", TARGET])
        .args([OsStr::new("--manifest-path"), root.join("plugins/Cargo.toml").as_os_str()])
        .args([OsStr::new("--target-dir"), target.as_os_str()])
        .current_dir(root.join("plugins"));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_the_outer_build) {
            cargo.env_remove(name);
        }
    }
    // Said to be none, which also outweighs a configuration file's: flags for the host's processor mean nothing here.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "");
    if !cargo.status()?.success() {
        return Err("the stock policies (plugins/) could not be built: see above, or try \
             `cargo build --release --target wasm32-unknown-unknown --manifest-path plugins/Cargo.toml`"
            .into());
    }
    Ok(target.join(TARGET).join("release"))
}

/// What the outer cargo (or clippy) tells this script, and an inner cargo must not hear. The jobserver, the
/// network's settings and the registry's folder stay.
fn is_of_the_outer_build(name: &str) -> bool {
    let kept =
        ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    let ours = name.starts_with("CARGO") && !kept.iter().any(|kept| name.starts_with(kept));
    ours || ["RUSTFLAGS", "RUSTC", "RUSTDOC", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_LINKER"].contains(&name)
}

/// The table that `host/src/stock.rs` includes.
fn table(plugins: &[String]) -> Outcome<String> {
    let mut text = String::from("&[\n");
    for plugin in plugins {
        writeln!(
            text,
            "    ({plugin:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/stock/{plugin}.wasm\"))),"
        )?;
    }
    text.push_str("]\n");
    Ok(text)
}
