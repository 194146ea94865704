//! The questions that a policy must answer alike in every language, from `tests/languages/authorize.json`. Knows
//! nothing of components.

use serde_json::{Value, json};
use std::path::Path;
use tidegate_types::decision::{AuthorizeAnswer, AuthorizeRequest, Grant};

/// All of them, and what they have in common.
pub(crate) struct Cases {
    pub(crate) configuration: Value,
    pub(crate) all: Vec<Case>,
}

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) request: AuthorizeRequest,
    pub(crate) expected: Expected,
}

pub(crate) enum Expected {
    Grant(Box<Grant>),
    /// With this code; the words are free.
    Refuse(String),
}

impl Expected {
    pub(crate) fn meets(&self, answer: &AuthorizeAnswer) -> bool {
        match (self, answer) {
            (Self::Grant(expected), AuthorizeAnswer::Grant(grant)) => **expected == *grant,
            (Self::Refuse(code), AuthorizeAnswer::Refuse(refusal)) => {
                refusal.code == *code && !refusal.message.is_empty()
            }
            _ => false,
        }
    }
}

impl Cases {
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/languages/authorize.json");
        let text = std::fs::read_to_string(path).expect("the cases");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let cases = file["cases"].as_array().expect("a list");
        Self {
            configuration: file["configuration"].clone(),
            all: cases.iter().map(|case| Case::read(case, &file["unix_ms"])).collect(),
        }
    }
}

impl Case {
    /// What a case leaves out of its request and its grant is as in an ordinary one.
    fn read(case: &Value, unix_ms: &Value) -> Self {
        let usual = json!({
            "action": "join", "room": null, "room_people": 0, "room_since_unix_ms": null, "name": "",
            "identity": null, "token": "", "address": null, "kind": null, "source": null,
            "moment": { "unix_ms": unix_ms, "seed": 1 }, "lookups": [], "attrs": [],
        });
        let request = serde_json::from_value(with(usual, &case["request"]));
        let expected = match &case["expect"]["refuse"] {
            Value::String(code) => Expected::Refuse(code.clone()),
            _ => {
                let nothing = serde_json::to_value(Grant::default()).expect("plain data");
                let grant = serde_json::from_value(with(nothing, &case["expect"]["grant"]));
                Expected::Grant(Box::new(grant.unwrap_or_else(|error| panic!("{error} in {case}"))))
            }
        };
        let request = request.unwrap_or_else(|error| panic!("{error} in {case}"));
        Self { name: case["name"].as_str().expect("a name").into(), request, expected }
    }
}

fn with(mut usual: Value, given: &Value) -> Value {
    for (name, value) in given.as_object().expect("an object") {
        usual[name] = value.clone();
    }
    usual
}
