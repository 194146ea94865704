//! What was wanted and what was found, in words. Shows nothing that could be a secret: of a text its length, unless the
//! schema lists what it may be and it is too short for a key. Knows nothing of where a value stands.

use super::{Admits, Count, Kind, Rules};
use serde_json::Value;

/// The longest text that is shown, in bytes, where one of a few is wanted.
const SHOWN_BYTES: usize = 16;
/// The most values that are listed.
const LISTED: usize = 16;

/// `a whole number of at least 1`.
pub(super) fn wanted(rules: &Rules) -> String {
    if let Some(only) = &rules.only {
        return or(only.iter().take(LISTED).map(Value::to_string));
    }
    if rules.kinds.is_empty() && !rules.any_of.is_empty() {
        return or(rules.any_of.iter().map(|form| match form {
            Admits::What(rules) => wanted(rules),
            Admits::Anything => "anything".into(),
            Admits::Nothing => "nothing".into(),
        }));
    }
    if let Some(name) = rules.reference.as_ref().filter(|_| rules.kinds.is_empty()) {
        return format!("a {}", name_of(name));
    }
    if rules.kinds.is_empty() {
        return format!("a value{}", bounds(rules, None));
    }
    or(rules.kinds.iter().map(|kind| format!("{}{}", noun(*kind), bounds(rules, Some(*kind)))))
}

/// `a text of 4 characters`.
pub(super) fn found(rules: &Rules, value: &Value) -> String {
    match value {
        _ if rules.secret => noun(kind_of(value)).into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if rules.only.is_some() && text.len() <= SHOWN_BYTES => value.to_string(),
        Value::String(text) => format!("a text of {}", counted(text.chars().count() as u64, "character")),
        Value::Array(items) => format!("a list of {}", counted(items.len() as u64, "item")),
        Value::Object(_) => "an object".into(),
    }
}

/// A name as it stands, where it could be typed so; else quoted and cut.
pub(super) fn name_of(name: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "-_.".contains(character);
    if name.len() <= 64 && !name.is_empty() && name.chars().all(plain) {
        return name.into();
    }
    format!("{:?}", name.chars().take(64).collect::<String>())
}

const fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Boolean,
        Value::Number(_) => Kind::Number,
        Value::String(_) => Kind::String,
        Value::Array(_) => Kind::Array,
        Value::Object(_) => Kind::Object,
    }
}

const fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Boolean => "true or false",
        Kind::Integer => "a whole number",
        Kind::Number => "a number",
        Kind::String => "a text",
        Kind::Array => "a list",
        Kind::Object => "an object",
    }
}

fn bounds(rules: &Rules, kind: Option<Kind>) -> String {
    match kind {
        Some(Kind::String) => count(rules.length, "character"),
        Some(Kind::Array) => count(rules.item_count, "item"),
        Some(Kind::Integer | Kind::Number) => range(rules),
        // Without a type, each bound holds for values of its own kind.
        None => [range(rules), count(rules.length, "character"), count(rules.item_count, "item")].concat(),
        Some(Kind::Null | Kind::Boolean | Kind::Object) => String::new(),
    }
}

fn range(rules: &Rules) -> String {
    let (least, most) = (rules.least.as_ref(), rules.most.as_ref());
    if let (Some(least), Some(most), None, None) = (least, most, &rules.above, &rules.below) {
        return format!(" from {least} to {most}");
    }
    let bound = |bound: Option<&serde_json::Number>, word| bound.map(|number| format!("{word} {number}"));
    let all = [
        bound(least, "of at least"),
        bound(rules.above.as_ref(), "above"),
        bound(most, "at most"),
        bound(rules.below.as_ref(), "below"),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() { String::new() } else { format!(" {}", all.join(" and ")) }
}

fn count(count: Count, what: &str) -> String {
    match (count.least, count.most) {
        (Some(least), Some(most)) => format!(" of {least} to {}", counted(most, what)),
        (Some(least), None) => format!(" of at least {}", counted(least, what)),
        (None, Some(most)) => format!(" of at most {}", counted(most, what)),
        (None, None) => String::new(),
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn or(all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = all.collect();
    match (all.pop(), all.is_empty()) {
        (Some(last), true) => last,
        (Some(last), false) => format!("{} or {last}", all.join(", ")),
        (None, _) => "nothing".into(),
    }
}
