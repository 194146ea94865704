//! `tidegate plugin new`: a project outside the repository that carries what it is built with. Knows nothing of how
//! it is built.

use crate::carried::{self, CLUSTER, EVERY};
use crate::error::CommandError;
use crate::name::as_identifier;
use crate::options::New;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use tidegate_types::decision::Decision;

/// What a template says of itself, and what a project reads it as.
const TEMPLATE: &str = "template.toml";
pub(crate) const PROJECT: &str = "tidegate-plugin.toml";

/// Makes the project.
pub(crate) fn new(options: &New) -> Result<bool, CommandError> {
    let files = files(&options.name, options.policy, &options.lang)?;
    let folder = Path::new(&options.name);
    fs::create_dir(folder).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => CommandError::Taken { path: options.name.clone() },
        _ => CommandError::file(folder, &error),
    })?;
    if let Err(error) = write(folder, &files) {
        // Half a project is none; the folder is the one that was made a moment ago.
        let _ = fs::remove_dir_all(folder);
        return Err(error);
    }
    let decision = options.policy.name();
    println!("{}: a policy for {decision}, in {} files. Next:", options.name, files.len());
    println!("    cd {}\n    tidegate plugin build\n    tidegate plugin test", options.name);
    Ok(true)
}

/// All files of a project, by their paths in it.
fn files(name: &str, decision: Decision, language: &str) -> Result<Vec<(String, String)>, CommandError> {
    if !carried::languages()
        .iter()
        .any(|(known, decisions)| *known == language && decisions.contains(&decision.name()))
    {
        return Err(no_template(decision, language));
    }
    let named = |text: &str| {
        let text = text.replace("{{name}}", name).replace("{{crate}}", &as_identifier(name));
        text.replace("{{policy}}", decision.name())
    };
    let mut files: Vec<(String, String)> = Vec::new();
    for layer in layers(decision, language) {
        for (path, text) in carried::below(&layer) {
            let path = if path == TEMPLATE { PROJECT.to_owned() } else { named(path) };
            files.retain(|(earlier, _)| *earlier != path);
            files.push((path, named(text)));
        }
    }
    for carried in carries(&files) {
        files.extend(
            carried::below(carried).map(|(path, text)| (format!("{carried}/{path}"), text.to_owned())),
        );
    }
    if let Some(guide) = carried::file("sdk/README.md") {
        files.push(("sdk/README.md".to_owned(), guide.to_owned()));
    }
    Ok(files)
}

/// The folders of templates that make up a project; of two files with one name the later one stays.
fn layers(decision: Decision, language: &str) -> Vec<String> {
    let of = |language: &str, part: &str| format!("sdk/template/{language}/{part}");
    let own = of(language, decision.name());
    let mut layers = vec![of(language, EVERY), of(language, CLUSTER), own.clone()];
    if !matches!(decision, Decision::Allocate | Decision::Balance) {
        layers.retain(|layer| *layer != of(language, CLUSTER));
    }
    // A template that decides otherwise than its siblings in other languages has cases of its own.
    if !carried::below(&own).any(|(path, _)| path.starts_with("cases/")) {
        layers.push(of(EVERY, decision.name()));
    }
    layers
}

/// The folders that the template wants beside it.
fn carries(files: &[(String, String)]) -> Vec<&'static str> {
    let manifest = files.iter().find(|(path, _)| path == PROJECT).map_or("", |(_, text)| text.as_str());
    let wants = |what: &str| {
        let line = manifest.lines().find(|line| line.starts_with("carries"));
        line.is_some_and(|line| line.contains(&format!("{what:?}")))
    };
    [("sdk", "sdk/rust"), ("wit", "wit/v1")]
        .into_iter()
        .filter(|(what, _)| wants(what))
        .map(|(_, at)| at)
        .collect()
}

fn no_template(decision: Decision, language: &str) -> CommandError {
    let told =
        carried::languages().into_iter().map(|(name, policies)| format!("{name} ({})", policies.join(", ")));
    CommandError::NoTemplate {
        decision,
        language: language.to_owned(),
        known: told.collect::<Vec<_>>().join(", "),
    }
}

fn write(folder: &Path, files: &[(String, String)]) -> Result<(), CommandError> {
    for (path, text) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| CommandError::file(parent, &error))?;
        }
        fs::write(&path, text).map_err(|error| CommandError::file(&path, &error))?;
    }
    Ok(())
}
