//! Holds a configuration's schema and its type together, natively, in a policy's own tests: the host reads the one and
//! the policy the other. Knows nothing of how a host holds a value against a schema.

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Debug;

/// Panics, with all that differs, unless schema and type agree: the same settings, the same of them required, the same
/// defaults, and unknown ones refused by both or neither.
///
/// Where settings are required, the first of the schema's `examples` is what defaults are tried on.
///
/// ```
/// use serde::Deserialize;
///
/// #[derive(Debug, Deserialize)]
/// #[serde(deny_unknown_fields, default)]
/// struct Door { people: u32 }
///
/// impl Default for Door {
///     fn default() -> Self { Self { people: 8 } }
/// }
///
/// const SCHEMA: &str = r#"{ "type": "object", "additionalProperties": false, "properties": {
///     "people": { "type": "integer", "minimum": 1, "maximum": 4294967295, "default": 8 } } }"#;
///
/// // #[test]
/// fn the_schema_fits_the_type() {
///     tidegate_sdk::schema::agrees::<Door>(SCHEMA);
/// }
/// # the_schema_fits_the_type();
/// ```
///
/// # Panics
/// Where they differ.
pub fn agrees<T: DeserializeOwned + Debug>(schema: &str) {
    let differences = differences::<T>(schema);
    assert!(differences.is_empty(), "schema and type differ:\n{}", differences.join("\n"));
}

/// What schema and type disagree on, a sentence each.
#[must_use]
pub fn differences<T: DeserializeOwned + Debug>(schema: &str) -> Vec<String> {
    let schema: Value = match serde_json::from_str(schema) {
        Ok(schema) => schema,
        Err(error) => return vec![format!("the schema is no JSON: {error}")],
    };
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let example = schema["examples"].get(0).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut differences = names::<T>(properties);
    differences.extend(required::<T>(&schema, &example));
    differences.extend(defaults::<T>(properties, &example));
    let mut stranger = example;
    stranger.insert("a setting that nobody has".into(), Value::Null);
    if read::<T>(&stranger).is_err() != (schema["additionalProperties"] == false) {
        differences.push("only one of them refuses settings that it does not know".into());
    }
    differences
}

fn names<T: DeserializeOwned>(properties: &Map<String, Value>) -> Vec<String> {
    let told: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    let fields: BTreeSet<&str> = fields::<T>().iter().copied().collect();
    let lacks = |who, name| format!("the {who} does not know the setting {name}");
    let mut differences: Vec<String> = fields.difference(&told).map(|name| lacks("schema", name)).collect();
    differences.extend(told.difference(&fields).map(|name| lacks("type", name)));
    differences
}

fn required<T: DeserializeOwned>(schema: &Value, example: &Map<String, Value>) -> Vec<String> {
    if let Err(error) = read::<T>(example) {
        return vec![format!("the type does not read {}: {error}", Value::Object(example.clone()))];
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut differences = Vec::new();
    for name in example.keys().map(String::as_str).chain(required.iter().copied()) {
        let mut without = example.clone();
        without.remove(name);
        if read::<T>(&without).is_err() != required.contains(&name) {
            differences.push(format!("only one of them does without the setting {name}"));
        }
    }
    differences
}

fn defaults<T: DeserializeOwned + Debug>(
    properties: &Map<String, Value>,
    example: &Map<String, Value>,
) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, default) in properties.iter().filter_map(|(name, rules)| Some((name, rules.get("default")?))) {
        let (mut said, mut left_out) = (example.clone(), example.clone());
        said.insert(name.clone(), default.clone());
        left_out.remove(name);
        let shown = |values: &Map<String, Value>| read::<T>(values).map(|value| format!("{value:?}"));
        match (shown(&said), shown(&left_out)) {
            (Ok(said), Ok(left_out)) if said == left_out => {}
            (Err(error), _) => {
                differences.push(format!("the type does not read the default of {name}: {error}"));
            }
            _ => differences.push(format!("{name} is not {default} where it is left out")),
        }
    }
    differences
}

fn read<T: DeserializeOwned>(values: &Map<String, Value>) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::Object(values.clone()))
}

/// The names of a struct's fields, as serde reads them.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It reads nothing: the names are all that is wanted.
    let _ = T::deserialize(Fields(&mut fields));
    fields
}

struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("only the names are wanted"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::differences;
    use serde::Deserialize;
    use serde_json::{Value, json};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read into")]
    struct Door {
        key: String,
        #[serde(default)]
        people: u32,
    }

    fn schema() -> Value {
        json!({
            "type": "object", "additionalProperties": false, "required": ["key"], "examples": [{ "key": "k" }],
            "properties": { "key": { "type": "string" }, "people": { "type": "integer", "default": 0 } },
        })
    }

    fn with(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut schema = schema();
        change(&mut schema);
        differences::<Door>(&schema.to_string())
    }

    #[test]
    fn what_fits_has_no_differences() {
        assert_eq!(with(|_| ()), [""; 0]);
    }

    #[test]
    fn each_difference_is_told() {
        let one = |change: fn(&mut Value), what: &str| {
            let told = with(change);
            assert!(told.iter().any(|told| told.contains(what)), "{what}: {told:?}");
        };
        one(|schema| schema["properties"]["colour"] = json!({}), "the type does not know the setting colour");
        one(
            |schema| schema["properties"] = json!({ "key": {} }),
            "the schema does not know the setting people",
        );
        one(|schema| schema["properties"]["people"]["default"] = json!(3), "people is not 3");
        one(|schema| schema["properties"]["people"]["default"] = json!("3"), "the default of people");
        one(|schema| schema["required"] = json!([]), "without the setting key");
        one(|schema| schema["required"] = json!(["key", "people"]), "without the setting people");
        one(|schema| schema["additionalProperties"] = json!(true), "settings that it does not know");
        one(|schema| schema["examples"] = json!([{}]), "does not read {}");
        assert!(differences::<Door>("{").pop().is_some_and(|told| told.contains("no JSON")));
    }
}
