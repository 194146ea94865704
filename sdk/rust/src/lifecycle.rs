//! What a policy says of itself and how it is configured. Knows nothing of what it decides.

use crate::bindings::lifecycle::exports::tidegate::policy::lifecycle as wire;
use crate::cluster::Column;
use crate::words::{Attr, attrs_in};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use std::fmt::Write as _;

/// Name and version as the plugin's own Cargo.toml tells them.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Name.
    pub name: &'static str,
    /// Version.
    pub version: &'static str,
}

/// What a policy says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name, lower case with hyphens.
    pub name: String,
    /// Its own version, for people.
    pub version: String,
    /// A JSON Schema of its configuration; empty if it takes none.
    pub configuration_schema: String,
}

impl Description {
    /// A policy without a configuration.
    #[must_use]
    pub fn of(package: Package) -> Self {
        Self {
            name: package.name.to_owned(),
            version: package.version.to_owned(),
            configuration_schema: String::new(),
        }
    }

    /// The same, with the JSON Schema of its configuration: the host holds what the operator gives against it before
    /// `configure`, and refuses a schema with keywords that it doesn't know. `schema::agrees` holds it against a type.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.configuration_schema = schema.into();
        self
    }
}

/// One thing that is wrong with a configuration. The host then says so and does not put the policy in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a JSON pointer (RFC 6901); empty for the whole.
    pub pointer: String,
    /// What is wrong and what would be right, in one sentence.
    pub message: String,
}

impl Problem {
    /// A problem at a JSON pointer (`/keys/0/alg`).
    #[must_use]
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// A number column that the host's feed carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedColumn {
    /// Name.
    pub name: String,
    /// Unit of its values.
    pub unit: String,
}

/// All that a policy gets to know before its first decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The decision that this instance is made for: `authorize`, `allocate`, `balance` or `share`.
    pub decision: String,
    /// The configuration, a JSON value; `null` if none was given. See [`Setup::parse`].
    pub configuration: String,
    /// The columns that the feed will carry; empty for authorize and share.
    pub columns: Vec<OfferedColumn>,
    /// The lookups that are configured, by name.
    pub lookups: Vec<String>,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

impl Setup {
    /// A setup with this configuration and every column of this version, as tests want it.
    #[must_use]
    pub fn with_configuration(configuration: &serde_json::Value) -> Self {
        let columns = Column::ALL
            .map(|column| OfferedColumn { name: column.name().to_owned(), unit: String::new() })
            .to_vec();
        Self { configuration: configuration.to_string(), columns, ..Self::default() }
    }

    /// The configuration as a type of yours; `null` is read as `{}`, so that defaults apply.
    ///
    /// # Errors
    /// The first thing that does not fit, with its JSON pointer.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Vec<Problem>> {
        let text = match self.configuration.trim() {
            "" | "null" => "{}",
            text => text,
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| vec![Problem::at(pointer(error.path()), error.inner().to_string())])
    }

    /// Checks that the feed carries what the policy can't do without.
    ///
    /// # Errors
    /// One problem a missing column.
    pub fn require(&self, columns: &[Column]) -> Result<(), Vec<Problem>> {
        let missing: Vec<_> = columns
            .iter()
            .filter(|wanted| !self.columns.iter().any(|offered| offered.name == wanted.name()))
            .map(|wanted| Problem::at("", format!("this host offers no column {}", wanted.name())))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// For a policy that takes no configuration: anything but `null` and `{}` is a problem.
    ///
    /// # Errors
    /// That problem.
    pub fn expect_nothing(&self) -> Result<(), Vec<Problem>> {
        match self.configuration.trim() {
            "" | "null" | "{}" => Ok(()),
            _ => Err(vec![Problem::at("", "this policy takes no configuration: leave it out")]),
        }
    }
}

/// A path in RFC 6901's spelling.
pub(crate) fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => drop(write!(pointer, "/{index}")),
            Segment::Map { key } => drop(write!(pointer, "/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

impl From<Description> for wire::Description {
    fn from(description: Description) -> Self {
        Self {
            name: description.name,
            version: description.version,
            configuration_schema: description.configuration_schema,
            attrs: Vec::new(),
        }
    }
}

impl From<Problem> for wire::Problem {
    fn from(problem: Problem) -> Self {
        Self { pointer: problem.pointer, message: problem.message }
    }
}

impl From<wire::Setup> for Setup {
    fn from(setup: wire::Setup) -> Self {
        let offered = |column: wire::OfferedColumn| OfferedColumn { name: column.name, unit: column.unit };
        Self {
            decision: setup.decision,
            configuration: setup.configuration,
            columns: setup.columns.into_iter().map(offered).collect(),
            lookups: setup.lookups,
            attrs: attrs_in(setup.attrs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Problem, Setup};
    use crate::cluster::Column;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Deserialize, Debug, PartialEq, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Doors {
        doors: Vec<Door>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    struct Door {
        width_mm: u32,
    }

    #[test]
    fn a_wrong_value_is_told_by_its_pointer() {
        let setup =
            Setup::with_configuration(&json!({ "doors": [{ "width_mm": 900 }, { "width_mm": "wide" }] }));
        let problems = setup.parse::<Doors>().unwrap_err();
        assert_eq!(problems[0].pointer, "/doors/1/width_mm");
        assert!(problems[0].message.contains("expected u32"), "{problems:?}");
    }

    #[test]
    fn no_configuration_means_the_defaults() {
        assert_eq!(Setup { configuration: "null".into(), ..Setup::default() }.parse(), Ok(Doors::default()));
        assert_eq!(Setup::default().expect_nothing(), Ok(()));
        assert!(Setup::with_configuration(&json!({ "x": 1 })).expect_nothing().is_err());
    }

    #[test]
    fn a_column_that_is_not_offered_is_a_problem() {
        let mut setup = Setup::with_configuration(&json!(null));
        assert_eq!(setup.require(&Column::ALL), Ok(()));
        setup.columns.retain(|column| column.name != "cpu");
        assert_eq!(
            setup.require(&[Column::Egress, Column::Cpu]),
            Err(vec![Problem::at("", "this host offers no column cpu")])
        );
    }
}
