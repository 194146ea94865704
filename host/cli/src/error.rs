//! Why a command could not do what was asked. Knows nothing of how a plugin answered.

use std::path::Path;
use tidegate_policy::{LoadError, ReplayError};
use tidegate_sdk::cases::CaseError;
use tidegate_types::decision::Decision;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The component cannot be put in force.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A request, case or configuration has a mistake.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// A file could not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Something of that name is there.
    #[error("{path}: there is something of that name already; choose another, or remove it")]
    Taken {
        /// Where.
        path: String,
    },
    /// No such template.
    #[error("there is no template for {} in {language}; there are: {known}", decision.name())]
    NoTemplate {
        /// For which decision.
        decision: Decision,
        /// In which language.
        language: String,
        /// What there is.
        known: String,
    },
    /// No project.
    #[error(
        "{folder}: there is no tidegate-plugin.toml; go to a plugin's folder, or make one by \
         `tidegate plugin new NAME --policy authorize`"
    )]
    NoProject {
        /// Where it was looked for.
        folder: String,
    },
    /// A project's description has a mistake.
    #[error("{path}: {reason}")]
    Project {
        /// Which.
        path: String,
        /// What and where.
        reason: String,
    },
    /// A program that the build needs is not there.
    #[error("the build needs {program}, which is not on the search path: {hint}")]
    Tool {
        /// Which.
        program: String,
        /// How to come by it.
        hint: String,
    },
    /// A target of Rust's is not installed.
    #[error("the build needs Rust's target {target}: run `rustup target add {target}`")]
    Target {
        /// Which.
        target: String,
    },
    /// A command of the build failed.
    #[error("`{command}` failed ({reason}): see above")]
    Build {
        /// Which.
        command: String,
        /// How.
        reason: String,
    },
    /// The module could not be wrapped.
    #[error("{path}: {reason}")]
    Wrap {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// The project's component is not there.
    #[error("{path}: is not there yet: run `tidegate plugin build`")]
    NotBuilt {
        /// Where it should be.
        path: String,
    },
    /// There is nothing to ask.
    #[error("{folder}: there is no case in it; a case is a file NAME.json, see the guide's page on tests")]
    NoCases {
        /// Where they were looked for.
        folder: String,
    },
    /// One component, several decisions.
    #[error("{file}: serves {}: say which by --policy", names(decisions))]
    Ambiguous {
        /// Which component.
        file: String,
        /// What it serves.
        decisions: Vec<Decision>,
    },
    /// A record cannot be decided again.
    #[error("{path}: {error}")]
    Record {
        /// Which.
        path: String,
        /// Why.
        error: Box<ReplayError>,
    },
    /// Whose place in a chain is meant?
    #[error("{record}: {}", which(*decision, positions))]
    Position {
        /// Which record.
        record: String,
        /// Of which decision.
        decision: Decision,
        /// Who decided in it.
        positions: Vec<usize>,
    },
    /// A running host is not reached, or refuses.
    #[error("{0}")]
    Host(String),
    /// Nothing that a host could use.
    #[error("{file}: no host would put this in force: {}", problems.join("; "))]
    Unfit {
        /// Which component.
        file: String,
        /// Why.
        problems: Vec<String>,
    },
}

impl CommandError {
    /// A file could not be read or written.
    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), reason: error.to_string() }
    }

    /// A record cannot be decided again.
    pub(crate) fn record(path: &Path, error: ReplayError) -> Self {
        Self::Record { path: path.display().to_string(), error: Box::new(error) }
    }
}

fn names(decisions: &[Decision]) -> String {
    decisions.iter().map(|decision| decision.name()).collect::<Vec<_>>().join(" and ")
}

fn which(decision: Decision, positions: &[usize]) -> String {
    let decision = decision.name();
    let known = positions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match positions {
        [] => format!("nothing in it was decided by a policy for {decision}"),
        _ => format!(
            "{decision} was decided by a chain: say whose place is taken by --position, one of {known}"
        ),
    }
}
