//! `tidegate plugin build`: a project's own build commands, then the component. Knows nothing of languages but that a
//! target of Rust's may be missing.

use crate::Stock;
use crate::asking::workshop;
use crate::check::check_file;
use crate::error::CommandError;
use crate::options::{Bounds, Build};
use crate::project::{Project, Tool};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tidegate_policy::sandbox::Metering;

/// Builds the project, and says what a host thinks of the component.
pub(crate) fn build(options: &Build, stock: Stock) -> Result<bool, CommandError> {
    let folder = options.folder.as_path();
    let project = Project::read(folder)?;
    for tool in &project.tool {
        find(tool)?;
    }
    if let Some(target) = &project.rust_target {
        find_target(target)?;
    }
    for command in &project.build {
        run(folder, command)?;
    }
    let component =
        if folder == Path::new(".") { project.component.clone() } else { folder.join(&project.component) };
    if let Some(module) = &project.module {
        wrap(&project, &folder.join(module), &component)?;
    }
    let workshop = workshop(stock, &Bounds::usual().or_memory(project.memory_mib), Metering::Off)?;
    let sound = check_file(&workshop, &component, Some(project.policy));
    if sound {
        println!("next: tidegate plugin test");
    }
    Ok(sound)
}

/// Is the program on the search path?
fn find(tool: &Tool) -> Result<(), CommandError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("{}{}", tool.program, std::env::consts::EXE_SUFFIX);
    if std::env::split_paths(&path).any(|folder| folder.join(&name).is_file()) {
        return Ok(());
    }
    Err(CommandError::Tool { program: tool.program.clone(), hint: tool.hint.clone() })
}

/// Is the target there for the compiler that is in force?
fn find_target(target: &str) -> Result<(), CommandError> {
    let missing = || CommandError::Target { target: target.to_owned() };
    let asked = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    let printed = asked.map_err(|_| missing())?.stdout;
    let folder = String::from_utf8_lossy(&printed).trim().to_owned();
    if !folder.is_empty() && Path::new(&folder).is_dir() { Ok(()) } else { Err(missing()) }
}

/// Runs one command in the folder; what it says is shown as it comes.
fn run(folder: &Path, command: &[String]) -> Result<(), CommandError> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let shown = command.join(" ");
    eprintln!("+ {shown}");
    let status = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        // The project says where its module comes to lie.
        .env_remove("CARGO_TARGET_DIR")
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CommandError::Build { command: shown, reason: status.to_string() }),
        Err(error) => Err(CommandError::Build { command: shown, reason: error.to_string() }),
    }
}

/// Turns the module into a component. A compiler that left no description of the interface has it added.
fn wrap(project: &Project, module: &Path, component: &Path) -> Result<(), CommandError> {
    let bytes = fs::read(module).map_err(|error| CommandError::file(module, &error))?;
    let described = tidegate_wrap::describe(&bytes, project.policy.name());
    let wrap = if project.wasi { tidegate_wrap::wrap_with_wasi } else { tidegate_wrap::wrap };
    let wrapped = described.and_then(|described| wrap(&described)).map_err(|error| CommandError::Wrap {
        path: module.display().to_string(),
        reason: error.to_string(),
    })?;
    if let Some(parent) = component.parent() {
        fs::create_dir_all(parent).map_err(|error| CommandError::file(parent, &error))?;
    }
    fs::write(component, wrapped).map_err(|error| CommandError::file(component, &error))
}
