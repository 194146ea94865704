//! Plugins from source to component, by the commands that an author would give. Knows nothing of hosts.

use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// Where tests leave what they build.
pub fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Hostile components, one a decision.
pub struct Hostile {
    pub authorize: PathBuf,
    pub allocate: PathBuf,
    /// The core module of the first, which nobody wrapped.
    pub unwrapped: PathBuf,
}

/// Builds the hostile plugins.
pub fn hostile() -> Hostile {
    let target = scratch().join("guests");
    let manifest = root().join("tests/containment/guests/Cargo.toml");
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--target", TARGET, "--manifest-path"]);
    run(build.arg(manifest).arg("--target-dir").arg(&target));
    let modules = target.join(TARGET).join("release");
    let unwrapped = modules.join("hostile_authorize.wasm");
    Hostile { authorize: wrap(&unwrapped), allocate: wrap(&modules.join("hostile_allocate.wasm")), unwrapped }
}

fn wrap(module: &Path) -> PathBuf {
    let bytes = std::fs::read(module).expect("the build left a module");
    let component = module.with_extension("component.wasm");
    std::fs::write(&component, tidegate_wrap::wrap(&bytes).expect("it fits")).expect("it can be written");
    component
}

/// A cargo that hears nothing of the one that runs this test.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    let outer = |name: &str| {
        name.starts_with("CARGO_PKG_")
            || ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"].contains(&name)
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(outer)) {
        cargo.env_remove(name);
    }
    cargo.current_dir(root());
    cargo
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) {
    let output = command.output().expect("the command can be run");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
