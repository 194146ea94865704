//! A plugin's project as its `tidegate-plugin.toml` describes it. Knows nothing of languages.

use crate::error::CommandError;
use crate::new::PROJECT;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tidegate_types::decision::Decision;

/// How a project is built, and what comes of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Project {
    /// For people.
    #[serde(rename = "language")]
    _language: String,
    /// The decision that it makes.
    pub(crate) policy: Decision,
    /// What `new` put beside the template.
    #[serde(default, rename = "carries")]
    _carries: Vec<String>,
    /// Commands, each with its arguments, run in the project's folder one after the other.
    pub(crate) build: Vec<Vec<String>>,
    /// A core module that they leave and that is wrapped into the component.
    pub(crate) module: Option<PathBuf>,
    /// Its compiler cannot do without WASI's system calls: they are adapted.
    #[serde(default)]
    pub(crate) wasi: bool,
    /// The component.
    pub(crate) component: PathBuf,
    /// The memory that its instances need, in MiB, where that is more than a host usually gives them: the commands give it
    /// as much, and a host is told by `--policy-memory`.
    pub(crate) memory_mib: Option<u16>,
    /// A target of Rust's that must be installed.
    pub(crate) rust_target: Option<String>,
    /// Programs that must be there.
    #[serde(default)]
    pub(crate) tool: Vec<Tool>,
}

/// A program that a build needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    /// Its name, as on the search path.
    pub(crate) program: String,
    /// How to come by it.
    pub(crate) hint: String,
}

impl Project {
    /// The project in a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, CommandError> {
        let path = folder.join(PROJECT);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(CommandError::NoProject { folder: folder.display().to_string() });
            }
            text => text.map_err(|error| CommandError::file(&path, &error))?,
        };
        toml::from_str(&text).map_err(|error| CommandError::Project {
            path: path.display().to_string(),
            reason: error.to_string().trim_end().to_owned(),
        })
    }
}
