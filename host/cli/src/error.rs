//! Why a command could not do what was asked. Knows nothing of how a plugin answered.

use std::path::Path;
use tidegate_policy::LoadError;
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
    /// One component, several decisions.
    #[error("{file}: serves {}: say which by --policy", names(decisions))]
    Ambiguous {
        /// Which component.
        file: String,
        /// What it serves.
        decisions: Vec<Decision>,
    },
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
}

fn names(decisions: &[Decision]) -> String {
    decisions.iter().map(|decision| decision.name()).collect::<Vec<_>>().join(" and ")
}
