//! Where an answer is not what was expected, field by field. Knows nothing of what the fields mean.

use serde_json::Value;
use std::fmt;

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which, as in `grant.sources[0]`.
    pub field: String,
    /// What was expected there, as JSON.
    pub expected: String,
    /// What stands there, as JSON.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, expected, found } = self;
        write!(formatter, "{field}: expected {expected}, got {found}")
    }
}

/// All fields of `expected` that `found` does not have alike. What `expected` leaves out is not looked at; lists
/// must have the same length.
#[must_use]
pub fn differences(expected: &Value, found: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    match (kind(expected), kind(found)) {
        (Some(one), Some(other)) if one != other => differences.push(Difference {
            field: "answer".to_owned(),
            expected: one.to_owned(),
            found: unmet(other, found),
        }),
        _ => compare("", expected, found, &mut differences),
    }
    differences
}

/// An answer that nobody expected.
fn unmet(kind: &str, found: &Value) -> String {
    match kind {
        "need" => {
            format!("{found} (nothing is looked up in a case: add what it gives to the request's `lookups`)")
        }
        _ => found.to_string(),
    }
}

/// The only field of an answer: `grant`, `refuse`, `place`, …
fn kind(answer: &Value) -> Option<&str> {
    answer.as_object()?.keys().next().map(String::as_str)
}

fn compare(field: &str, expected: &Value, found: &Value, differences: &mut Vec<Difference>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, expected) in expected {
                let below = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                compare(&below, expected, found.get(name).unwrap_or(&Value::Null), differences);
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(&format!("{field}[{index}]"), expected, found, differences);
            }
        }
        _ if expected == found => {}
        _ => differences.push(Difference {
            field: field.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::differences;
    use serde_json::{Value, json};

    fn told(expected: &Value, found: &Value) -> Vec<String> {
        differences(expected, found).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_is_expected_is_compared() {
        let found = json!({ "grant": { "publish": true, "sources": ["camera"], "room": null } });
        assert!(told(&json!({ "grant": {} }), &found).is_empty());
        assert!(told(&json!({ "grant": { "room": null, "publish": true } }), &found).is_empty());
        assert_eq!(
            told(&json!({ "grant": { "publish": false, "sources": ["screen"] } }), &found),
            [
                "grant.publish: expected false, got true",
                r#"grant.sources[0]: expected "screen", got "camera""#
            ]
        );
        assert_eq!(
            told(&json!({ "grant": { "sources": [] } }), &found),
            [r#"grant.sources: expected [], got ["camera"]"#]
        );
    }

    #[test]
    fn another_answer_is_shown_whole() {
        assert_eq!(
            told(&json!({ "grant": { "publish": true } }), &json!({ "refuse": { "code": "full" } })),
            [r#"answer: expected grant, got {"refuse":{"code":"full"}}"#]
        );
    }
}
