//! What a command is about: a component, its decision and its cases, named outright or found in a project. Knows
//! nothing of what is done with them.

use crate::Stock;
use crate::asking::{decision, workshop};
use crate::error::CommandError;
use crate::options::{Bounds, OfCases};
use crate::project::Project;
use crate::question::{Asked, Form, asked};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tidegate_policy::sandbox::Metering;
use tidegate_sdk::cases::{
    self, AuthorizeExpect, AuthorizeForm, BalanceExpect, BalanceForm, PlaceExpect, PlaceForm, ShareExpect,
    ShareForm,
};
use tidegate_types::decision::Decision;

/// A component and its cases.
pub(crate) struct Subject {
    pub(crate) file: PathBuf,
    pub(crate) decision: Decision,
    /// What the project says that its instances need, in MiB.
    pub(crate) memory_mib: Option<u16>,
    /// The files of cases, each with what stands in it.
    pub(crate) cases: Vec<(PathBuf, Vec<Expected>)>,
}

/// A question and what must be answered.
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) asked: Asked,
    pub(crate) expect: Value,
}

impl Subject {
    /// The component that was named, else that of the project here.
    pub(crate) fn of(options: &OfCases, stock: Stock) -> Result<Self, CommandError> {
        let (file, policy, memory_mib) = match &options.file {
            Some(file) => (file.clone(), options.policy, None),
            None => {
                let project = Project::read(Path::new("."))?;
                (built(&project)?, options.policy.or(Some(project.policy)), project.memory_mib)
            }
        };
        let decision = decision(&workshop(stock, &Bounds::usual(), Metering::Off)?, &file, policy)?;
        let cases = match decision {
            Decision::Authorize => read::<AuthorizeForm, AuthorizeExpect>(&options.cases)?,
            Decision::Allocate => read::<PlaceForm, PlaceExpect>(&options.cases)?,
            Decision::Balance => read::<BalanceForm, BalanceExpect>(&options.cases)?,
            Decision::Share => read::<ShareForm, ShareExpect>(&options.cases)?,
        };
        Ok(Self { file, decision, memory_mib, cases })
    }
}

fn built(project: &Project) -> Result<PathBuf, CommandError> {
    if project.component.is_file() {
        return Ok(project.component.clone());
    }
    Err(CommandError::NotBuilt { path: project.component.display().to_string() })
}

/// All cases of a folder, or of one file.
fn read<F, E>(path: &Path) -> Result<Vec<(PathBuf, Vec<Expected>)>, CommandError>
where
    F: Form,
    E: DeserializeOwned + Clone + Into<Value>,
{
    let files = if path.is_file() { vec![path.to_owned()] } else { cases::files(path)? };
    if files.is_empty() {
        return Err(CommandError::NoCases { folder: path.display().to_string() });
    }
    files
        .into_iter()
        .map(|file| {
            let cases = cases::read::<F, E>(&file)?;
            let expected = cases.into_iter().map(|case| Expected {
                name: case.name.clone(),
                asked: asked(&case),
                expect: case.expect.clone().into(),
            });
            Ok((file, expected.collect()))
        })
        .collect()
}
