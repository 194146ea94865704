//! Holds a value against rules and says all that is wrong. Knows nothing of how rules are written.

use super::words::{found, name_of, wanted};
use super::{Admits, Rules, Schema, below};
use crate::error::Problem;
use serde_json::{Map, Number, Value};
use std::cmp::Ordering;

/// The most problems told at once.
const PROBLEMS: usize = 32;
/// Values looked at, `anyOf` counted once for each of its forms: a schema must not keep a host busy.
const STEPS: usize = 200_000;
/// The most settings that are listed to someone who named another.
const LISTED: usize = 16;

pub(super) fn problems(schema: &Schema, value: &Value) -> Vec<Problem> {
    let mut holding = Holding { schema, problems: Vec::new(), steps: STEPS };
    holding.value(&schema.root, value, "");
    let Holding { mut problems, steps, .. } = holding;
    if steps == 0 {
        let message = "is too large to be held against the schema".to_owned();
        return vec![Problem { pointer: String::new(), message }];
    }
    let more = problems.len().saturating_sub(PROBLEMS);
    problems.truncate(PROBLEMS);
    if more > 0 {
        problems.push(Problem { pointer: String::new(), message: format!("and {more} more") });
    }
    problems
}

struct Holding<'a> {
    schema: &'a Schema,
    problems: Vec<Problem>,
    steps: usize,
}

impl Holding<'_> {
    fn admits(&mut self, admits: &Admits, value: &Value, pointer: &str) {
        match admits {
            Admits::Anything => {}
            Admits::Nothing => self.wrong(pointer, "is not wanted here".into()),
            Admits::What(rules) => self.value(rules, value, pointer),
        }
    }

    fn value(&mut self, rules: &Rules, value: &Value, pointer: &str) {
        self.steps = self.steps.saturating_sub(1);
        if self.steps == 0 {
            return;
        }
        if let Some(defined) = rules.reference.as_ref().and_then(|name| self.schema.definitions.get(name)) {
            self.value(defined, value, pointer);
        }
        if !fits(rules, value) {
            return self.wrong(pointer, format!("wants {}, found {}", wanted(rules), found(rules, value)));
        }
        match value {
            Value::Object(object) => self.object(rules, object, pointer),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(rules) = &rules.items {
                        self.admits(rules, item, &below(pointer, &index.to_string()));
                    }
                }
            }
            _ => {}
        }
        self.any_of(rules, value, pointer);
    }

    fn object(&mut self, rules: &Rules, object: &Map<String, Value>, pointer: &str) {
        for name in rules.required.iter().filter(|name| !object.contains_key(*name)) {
            let rules = rules.properties.get(name);
            self.wrong(&below(pointer, name), format!("is missing{}", expected(rules)));
        }
        for (name, value) in object {
            let pointer = below(pointer, name);
            match (rules.properties.get(name), &rules.others) {
                (Some(rules), _) => self.admits(rules, value, &pointer),
                (None, Some(others)) if matches!(**others, Admits::Nothing) => {
                    self.wrong(&pointer, format!("is no setting here; {}", settings(rules)));
                }
                (None, Some(others)) => self.admits(others, value, &pointer),
                (None, None) => {}
            }
        }
    }

    /// Where one form alone is of the value's kind, it is meant, and its problems are told.
    fn any_of(&mut self, rules: &Rules, value: &Value, pointer: &str) {
        if rules.any_of.is_empty() {
            return;
        }
        let before = self.problems.len();
        let mut meant = Vec::new();
        for form in &rules.any_of {
            self.admits(form, value, pointer);
            let wrong = self.problems.split_off(before);
            if wrong.is_empty() {
                return;
            }
            if !wrong.iter().any(|problem| problem.pointer == pointer) {
                meant.push(wrong);
            }
        }
        match (meant.pop(), meant.is_empty()) {
            (Some(wrong), true) => self.problems.extend(wrong),
            _ => self.wrong(pointer, format!("wants {}, found {}", wanted(rules), found(rules, value))),
        }
    }

    fn wrong(&mut self, pointer: &str, message: String) {
        self.problems.push(Problem { pointer: pointer.into(), message });
    }
}

/// All but what stands inside the value.
fn fits(rules: &Rules, value: &Value) -> bool {
    (rules.kinds.is_empty() || rules.kinds.iter().any(|kind| kind.admits(value)))
        && rules.only.as_ref().is_none_or(|only| only.contains(value))
        && match value {
            Value::Number(number) => fits_number(rules, number),
            Value::String(text) => rules.length.admits(text.chars().count()),
            Value::Array(items) => rules.item_count.admits(items.len()),
            _ => true,
        }
}

fn fits_number(rules: &Rules, number: &Number) -> bool {
    let than = |bound: &Number| compare(number, bound);
    rules.least.as_ref().is_none_or(|bound| than(bound).is_ge())
        && rules.most.as_ref().is_none_or(|bound| than(bound).is_le())
        && rules.above.as_ref().is_none_or(|bound| than(bound).is_gt())
        && rules.below.as_ref().is_none_or(|bound| than(bound).is_lt())
}

/// Whole numbers exactly: from 2^53 on a float cannot tell neighbours apart.
fn compare(left: &Number, right: &Number) -> Ordering {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => {
            let float = |number: &Number| number.as_f64().unwrap_or(f64::NAN);
            float(left).total_cmp(&float(right))
        }
    }
}

fn expected(rules: Option<&Admits>) -> String {
    let Some(Admits::What(rules)) = rules else { return String::new() };
    let about = rules.description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
    format!("; wants {}{about}", wanted(rules))
}

fn settings(rules: &Rules) -> String {
    if rules.properties.is_empty() {
        return "there are none".into();
    }
    let named: Vec<String> = rules.properties.keys().take(LISTED).map(|name| name_of(name)).collect();
    let rest = if rules.properties.len() > LISTED { " and others" } else { "" };
    format!("there are {}{rest}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::{PROBLEMS, Schema};
    use serde_json::{Value, json};

    fn problems(schema: &Value, value: &Value) -> Vec<String> {
        let schema = Schema::read(&schema.to_string()).expect("a schema").expect("some");
        let told = |problem: crate::error::Problem| format!("{}: {}", problem.pointer, problem.message);
        schema.problems(value).into_iter().map(told).collect()
    }

    fn doors() -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "required": ["doors"],
            "properties": {
                "doors": { "description": "All ways in.", "type": "array", "minItems": 1, "maxItems": 2,
                    "items": { "$ref": "#/$defs/door" } },
                "colour": { "enum": ["red", "blue"] },
                "code": { "type": "string", "minLength": 4, "writeOnly": true },
                "share": { "type": "number", "exclusiveMinimum": 0, "maximum": 1 },
                "name": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
            },
            "$defs": { "door": { "type": "object", "required": ["width_mm"],
                "properties": { "width_mm": { "type": "integer", "minimum": 1 }, "inner": { "$ref": "#/$defs/door" } } } },
        })
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_what_was_wanted_and_found() {
        let wrong = json!({
            "doors": [{ "width_mm": 0 }, { "inner": { "width_mm": "wide" } }],
            "colour": "green", "code": "abc", "share": 0, "name": 7, "a/b": 1,
        });
        let expected = [
            "/a~1b: is no setting here; there are code, colour, doors, name, share",
            "/code: wants a text of at least 4 characters, found a text",
            "/colour: wants \"red\" or \"blue\", found \"green\"",
            "/doors/0/width_mm: wants a whole number of at least 1, found 0",
            "/doors/1/width_mm: is missing; wants a whole number of at least 1",
            "/doors/1/inner/width_mm: wants a whole number of at least 1, found a text of 4 characters",
            "/name: wants a text or null, found 7",
            "/share: wants a number above 0 and at most 1, found 0",
        ];
        assert_eq!(problems(&doors(), &wrong), expected);
    }

    #[test]
    fn what_fits_has_no_problems() {
        let right = json!({
            "doors": [{ "width_mm": 1.0, "inner": { "width_mm": 18_446_744_073_709_551_615_u64 } }],
            "colour": "red", "code": "abcd", "share": 1, "name": null,
        });
        assert_eq!(problems(&doors(), &right), [""; 0]);
    }

    #[test]
    fn no_configuration_is_an_empty_one_where_an_object_is_wanted() {
        let missing = "/doors: is missing; wants a list of 1 to 2 items (All ways in.)";
        assert_eq!(problems(&doors(), &Value::Null), [missing]);
        assert_eq!(problems(&json!({ "type": "string" }), &Value::Null), [": wants a text, found null"]);
        assert_eq!(problems(&json!({ "type": ["object", "null"] }), &Value::Null), [""; 0]);
    }

    #[test]
    fn large_numbers_are_compared_exactly() {
        let schema = json!({ "maximum": 9_007_199_254_740_992_u64 });
        assert_eq!(problems(&schema, &json!(9_007_199_254_740_992_u64)), [""; 0]);
        assert_eq!(problems(&schema, &json!(9_007_199_254_740_993_u64)).len(), 1);
    }

    #[test]
    fn a_secret_is_never_shown_however_wrong() {
        let schema = json!({ "properties": {
            "key": { "type": "string", "minLength": 32 }, "pin": { "enum": [1], "writeOnly": true } } });
        let told = problems(&schema, &json!({ "key": "hunter2", "pin": 7741 })).join("\n");
        assert!(!told.contains("hunter2") && !told.contains("7741"), "{told}");
    }

    #[test]
    fn what_never_ends_is_cut_short() {
        let many: Vec<Value> = (0..100).map(|_| json!("x")).collect();
        let told = problems(&json!({ "items": { "type": "integer" } }), &json!(many));
        assert_eq!((told.len(), told[PROBLEMS].as_str()), (PROBLEMS + 1, ": and 68 more"));
        // Each level tries both forms, and both try the next level.
        let fork = json!({ "$ref": "#/$defs/fork", "$defs": { "fork": { "type": "object", "properties": {
            "next": { "anyOf": [{ "$ref": "#/$defs/fork" }, { "$ref": "#/$defs/fork" }] } } } } });
        let deep = (0..60).fold(json!(1), |inner, _| json!({ "next": inner }));
        assert_eq!(problems(&fork, &deep), [": is too large to be held against the schema"]);
    }

    #[test]
    fn a_schema_that_this_host_cannot_hold_to_is_refused_by_keyword_and_place() {
        let refused = |schema: Value| {
            let unusable = Schema::read(&schema.to_string()).err().expect("it is refused");
            format!("{}: {}", unusable.pointer, unusable.reason)
        };
        let told = refused(json!({ "properties": { "name": { "type": "string", "pattern": "^a" } } }));
        assert!(told.starts_with("/properties/name/pattern: the keyword \"pattern\""), "{told}");
        assert!(refused(json!({ "type": "text" })).contains("no type \"text\""));
        assert!(refused(json!({ "minimum": "1" })).starts_with("/minimum: wants a number"));
        assert!(refused(json!({ "$ref": "#/$defs/none" })).contains("no definition \"none\""));
        assert!(refused(json!({ "$ref": "https://example.org/" })).starts_with("/$ref"));
        assert!(refused(json!([])).contains("object"));
        let circle = json!({ "$ref": "#/$defs/a", "$defs": {
            "a": { "$ref": "#/$defs/b" }, "b": { "anyOf": [{ "$ref": "#/$defs/a" }] } } });
        assert!(refused(circle).contains("without an end"));
        let deep = (0..40).fold(json!({}), |inner, _| json!({ "items": inner }));
        assert!(refused(deep).contains("deep"));
        let long = format!("{{\"description\":\"{}\"}}", "x".repeat(70_000));
        assert!(Schema::read(&long).is_err_and(|unusable| unusable.reason.contains("70018 bytes")));
        assert!(Schema::read("{").is_err() && matches!(Schema::read(" "), Ok(None)));
    }

    #[test]
    fn a_kind_admits_its_own_only() {
        let values =
            [json!(null), json!(true), json!(1), json!(1.5), json!("1"), json!([1]), json!({ "a": 1 })];
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            for (other, value) in values.iter().enumerate() {
                let whole = kind == Kind::Number && other == 2;
                assert_eq!(kind.admits(value), index == other || whole, "{} {value}", kind.name());
            }
        }
    }
}
