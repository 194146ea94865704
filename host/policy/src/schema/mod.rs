//! A plugin's configuration, held against the schema that the plugin describes itself with, before it runs. Knows
//! nothing of components and of what a setting means.
//!
//! The part of JSON Schema (draft 2020-12) that settings need: `type`, `enum`, `const`, `minimum`, `maximum`,
//! `exclusiveMinimum`, `exclusiveMaximum`, `minLength`, `maxLength`, `items`, `minItems`, `maxItems`, `properties`,
//! `required`, `additionalProperties`, `anyOf`, and `$ref` to `$defs`. Any other keyword that would restrict a value is
//! refused by its name: a host that passes over a rule would take what the plugin's author means to be refused.

mod hold;
mod read;
mod words;

use crate::error::Problem;
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// The longest schema, in bytes.
const TEXT_BYTES: usize = 64 << 10;

/// Why a plugin's schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// Where in the schema, as a JSON pointer.
    pub(crate) pointer: String,
    /// What is wrong there.
    pub(crate) reason: String,
}

/// A schema that was read.
pub(crate) struct Schema {
    root: Rules,
    definitions: BTreeMap<String, Rules>,
}

impl Schema {
    /// From the text that `describe` gives; an empty one has no rules.
    ///
    /// # Errors
    /// The first thing in it that this host cannot hold a configuration to.
    pub(crate) fn read(text: &str) -> Result<Option<Self>, Unusable> {
        let whole = |reason: String| Unusable { pointer: String::new(), reason };
        if text.trim().is_empty() {
            return Ok(None);
        }
        if text.len() > TEXT_BYTES {
            return Err(whole(format!("it has {} bytes, and may have {TEXT_BYTES}", text.len())));
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| whole(format!("it is no JSON: {error}")))?;
        read::schema(&value).map(Some)
    }

    /// All that is wrong with a configuration, up to a bound. None at all (`null`) counts as `{}` where an object is
    /// wanted, so that what is required is named.
    pub(crate) fn problems(&self, configuration: &Value) -> Vec<Problem> {
        let empty = Value::Object(Map::new());
        let kinds = &self.root.kinds;
        let given = configuration.is_null() && kinds.contains(&Kind::Object) && !kinds.contains(&Kind::Null);
        hold::problems(self, if given { &empty } else { configuration })
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Null, Self::Boolean, Self::Integer, Self::Number, Self::String, Self::Array, Self::Object];

    /// The name in a schema.
    const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    /// A number without a fraction is an integer however it is written (section 4.2.3).
    fn admits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Integer, Value::Number(number)) => {
                number.is_i64()
                    || number.is_u64()
                    || number.as_f64().is_some_and(|value| value.fract() == 0.0)
            }
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_))
            | (Self::String, Value::String(_))
            | (Self::Array, Value::Array(_))
            | (Self::Object, Value::Object(_)) => true,
            _ => false,
        }
    }
}

/// What one value must be. What is empty or `None` restricts nothing.
#[derive(Debug, Default)]
struct Rules {
    kinds: Vec<Kind>,
    /// `enum`, or the one value of `const`.
    only: Option<Vec<Value>>,
    least: Option<Number>,
    most: Option<Number>,
    above: Option<Number>,
    below: Option<Number>,
    /// Characters.
    length: Count,
    items: Option<Box<Admits>>,
    item_count: Count,
    properties: BTreeMap<String, Admits>,
    required: Vec<String>,
    /// What other properties must be.
    others: Option<Box<Admits>>,
    any_of: Vec<Admits>,
    /// A name in `$defs`.
    reference: Option<String>,
    description: Option<String>,
    /// `writeOnly`: nothing of the value may be shown.
    secret: bool,
}

/// How many there must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    least: Option<u64>,
    most: Option<u64>,
}

impl Count {
    fn admits(self, count: usize) -> bool {
        let count = count as u64;
        self.least.is_none_or(|least| count >= least) && self.most.is_none_or(|most| count <= most)
    }
}

/// A schema inside another: an object with rules, or `true` or `false`.
#[derive(Debug)]
enum Admits {
    Anything,
    Nothing,
    What(Rules),
}

/// One step further down, in the spelling of RFC 6901.
fn below(pointer: &str, step: &str) -> String {
    format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"))
}
