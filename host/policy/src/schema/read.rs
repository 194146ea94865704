//! From a schema's JSON to rules; what is no rule that this host holds is refused by name. Knows nothing of
//! configurations.

use super::{Admits, Kind, Rules, Schema, Unusable, below};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// How far schemas may stand inside each other.
const DEPTH: usize = 16;
/// Keywords that restrict nothing: they tell people, or tools, something.
const REMARKS: [&str; 10] = [
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "format",
];
/// Where definitions stand.
const DEFINITIONS: &str = "#/$defs/";

pub(super) fn schema(value: &Value) -> Result<Schema, Unusable> {
    let Value::Object(keywords) = value else { return Err(unusable("", "a schema is an object here")) };
    let mut definitions = BTreeMap::new();
    if let Some(defined) = keywords.get("$defs") {
        for (name, value) in object("/$defs", defined)? {
            let pointer = below("/$defs", name);
            let Value::Object(keywords) = value else {
                return Err(unusable(&pointer, "a definition is an object here"));
            };
            definitions.insert(name.clone(), rules(keywords, &pointer, 1)?);
        }
    }
    let schema = Schema { root: rules(keywords, "", 0)?, definitions };
    check_references(&schema)?;
    Ok(schema)
}

fn rules(keywords: &Map<String, Value>, pointer: &str, depth: usize) -> Result<Rules, Unusable> {
    if depth > DEPTH {
        return Err(unusable(pointer, &format!("schemas stand in each other more than {DEPTH} deep")));
    }
    let mut rules = Rules::default();
    for (name, value) in keywords {
        keyword(&mut rules, name, value, &below(pointer, name), depth)?;
    }
    Ok(rules)
}

fn keyword(
    rules: &mut Rules,
    name: &str,
    value: &Value,
    pointer: &str,
    depth: usize,
) -> Result<(), Unusable> {
    let inner = |value: &Value, pointer: &str| admits(value, pointer, depth + 1);
    match name {
        "type" => rules.kinds = kinds(pointer, value)?,
        "enum" => rules.only = Some(list(pointer, value)?.clone()),
        "const" => rules.only = Some(vec![value.clone()]),
        "minimum" => rules.least = Some(number(pointer, value)?),
        "maximum" => rules.most = Some(number(pointer, value)?),
        "exclusiveMinimum" => rules.above = Some(number(pointer, value)?),
        "exclusiveMaximum" => rules.below = Some(number(pointer, value)?),
        "minLength" => rules.length.least = Some(count(pointer, value)?),
        "maxLength" => rules.length.most = Some(count(pointer, value)?),
        "minItems" => rules.item_count.least = Some(count(pointer, value)?),
        "maxItems" => rules.item_count.most = Some(count(pointer, value)?),
        "items" => rules.items = Some(Box::new(inner(value, pointer)?)),
        "additionalProperties" => rules.others = Some(Box::new(inner(value, pointer)?)),
        "required" => rules.required = texts(pointer, value)?,
        "properties" => {
            for (name, value) in object(pointer, value)? {
                rules.properties.insert(name.clone(), inner(value, &below(pointer, name))?);
            }
        }
        "anyOf" => {
            for (index, value) in list(pointer, value)?.iter().enumerate() {
                rules.any_of.push(inner(value, &below(pointer, &index.to_string()))?);
            }
        }
        "$ref" => rules.reference = Some(reference(pointer, value)?),
        "writeOnly" => {
            rules.secret = value.as_bool().ok_or_else(|| unusable(pointer, "wants true or false"))?;
        }
        // Only the whole schema may define.
        "$defs" if depth == 0 => {}
        _ if REMARKS.contains(&name) => {
            if name == "description" {
                rules.description = value.as_str().map(Into::into);
            }
        }
        _ => return Err(unusable(pointer, &not_held(name))),
    }
    Ok(())
}

fn not_held(name: &str) -> String {
    format!(
        "the keyword \"{name}\" is not one that this host holds a configuration to: leave it out, and let \
         configure check what it says"
    )
}

fn admits(value: &Value, pointer: &str, depth: usize) -> Result<Admits, Unusable> {
    match value {
        Value::Bool(true) => Ok(Admits::Anything),
        Value::Bool(false) => Ok(Admits::Nothing),
        Value::Object(keywords) => rules(keywords, pointer, depth).map(Admits::What),
        _ => Err(unusable(pointer, "a schema is an object, or true or false")),
    }
}

fn kinds(pointer: &str, value: &Value) -> Result<Vec<Kind>, Unusable> {
    let kind = |name: &str| {
        let known = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| unusable(pointer, &format!("there is no type \"{name}\"")))
    };
    match value {
        Value::String(name) => Ok(vec![kind(name)?]),
        _ => texts(pointer, value)?.iter().map(|name| kind(name)).collect(),
    }
}

fn reference(pointer: &str, value: &Value) -> Result<String, Unusable> {
    let name = value.as_str().and_then(|text| text.strip_prefix(DEFINITIONS));
    let name = name.filter(|name| !name.contains(['/', '~', '%']));
    name.map(Into::into).ok_or_else(|| unusable(pointer, "wants a name in $defs, as \"#/$defs/door\""))
}

fn object<'a>(pointer: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Unusable> {
    value.as_object().ok_or_else(|| unusable(pointer, "wants an object"))
}

fn list<'a>(pointer: &str, value: &'a Value) -> Result<&'a Vec<Value>, Unusable> {
    value.as_array().filter(|list| !list.is_empty()).ok_or_else(|| unusable(pointer, "wants a list"))
}

fn texts(pointer: &str, value: &Value) -> Result<Vec<String>, Unusable> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let texts = value.as_array().and_then(|list| list.iter().map(text).collect());
    texts.ok_or_else(|| unusable(pointer, "wants a list of texts"))
}

fn number(pointer: &str, value: &Value) -> Result<Number, Unusable> {
    value.as_number().cloned().ok_or_else(|| unusable(pointer, "wants a number"))
}

fn count(pointer: &str, value: &Value) -> Result<u64, Unusable> {
    value.as_u64().ok_or_else(|| unusable(pointer, "wants a whole number of at least 0"))
}

/// Each reference leads somewhere, and none in a circle without going down a step: that would never end.
fn check_references(schema: &Schema) -> Result<(), Unusable> {
    let mut of = vec![&schema.root];
    while let Some(rules) = of.pop() {
        if let Some(name) = &rules.reference {
            follow(schema, name)?;
        }
        let inside = [&rules.items, &rules.others].into_iter().flatten().map(AsRef::as_ref);
        of.extend(inside.chain(rules.properties.values()).chain(&rules.any_of).filter_map(own));
        if std::ptr::eq(rules, &raw const schema.root) {
            of.extend(schema.definitions.values());
        }
    }
    Ok(())
}

/// Follows references that stand at one and the same value.
fn follow(schema: &Schema, name: &str) -> Result<(), Unusable> {
    let missing = |name: &str| unusable("/$defs", &format!("there is no definition \"{name}\""));
    let mut ahead = vec![name];
    for _ in 0..=schema.definitions.len() * DEPTH {
        let Some(name) = ahead.pop() else { return Ok(()) };
        let rules = schema.definitions.get(name).ok_or_else(|| missing(name))?;
        let mut here = vec![rules];
        while let Some(rules) = here.pop() {
            ahead.extend(rules.reference.as_deref());
            here.extend(rules.any_of.iter().filter_map(own));
        }
    }
    Err(unusable(&below("/$defs", name), "refers to itself without an end"))
}

const fn own(admits: &Admits) -> Option<&Rules> {
    match admits {
        Admits::What(rules) => Some(rules),
        Admits::Anything | Admits::Nothing => None,
    }
}

fn unusable(pointer: &str, reason: &str) -> Unusable {
    Unusable { pointer: pointer.into(), reason: reason.into() }
}
