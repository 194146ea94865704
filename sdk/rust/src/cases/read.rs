//! From a file to its cases, or to the line that is wrong. Knows nothing of what a case means.
//!
//! Bounds: a file of at most 16 MiB.

use super::form::{Case, Request};
use crate::lifecycle::pointer;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The largest file.
const FILE_BYTES: u64 = 16 << 20;

/// What is wrong with a case file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseError {
    /// Which file; empty where the text came from elsewhere.
    pub file: String,
    /// Where, if the text is the problem: line and column, from 1.
    pub position: Option<(usize, usize)>,
    /// Which field, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong, with the values that are allowed.
    pub message: String,
}

impl fmt::Display for CaseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some((line, column)) = self.position {
            write!(formatter, ":{line}:{column}")?;
        }
        match self.pointer.as_str() {
            "" => write!(formatter, ": {}", self.message),
            pointer => write!(formatter, ": {pointer}: {}", self.message),
        }
    }
}

impl std::error::Error for CaseError {}

/// The case files of a folder (`*.json`), in the order of their names.
///
/// # Errors
/// When the folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, CaseError> {
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The cases of a file.
///
/// # Errors
/// When it cannot be read, or what is wrong in it and where.
pub fn read<R: DeserializeOwned + Request, E: DeserializeOwned>(
    path: &Path,
) -> Result<Vec<Case<R, E>>, CaseError> {
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut text = String::new();
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
    if text.len() as u64 > FILE_BYTES {
        let message = format!("larger than {FILE_BYTES} bytes: divide it");
        return Err(CaseError { file: shown(path), position: None, pointer: String::new(), message });
    }
    let cases = if text.trim_start().starts_with('[') {
        parse::<Vec<Case<R, E>>>(&text)
    } else {
        parse::<Case<R, E>>(&text).map(|case| vec![case])
    };
    cases.map_err(|error| CaseError { file: shown(path), ..error })
}

/// Any value of such a file, with the place of what is wrong.
///
/// # Errors
/// What is wrong and where.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, CaseError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| wrong(pointer(error.path()), error.inner()))?;
    reader.end().map_err(|error| wrong(String::new(), &error))?;
    Ok(value)
}

fn wrong(pointer: String, error: &serde_json::Error) -> CaseError {
    let message = error.to_string();
    // serde_json tells the position in words, too.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let position = (error.line() > 0).then_some((error.line(), error.column()));
    CaseError { file: String::new(), position, pointer, message: message.to_owned() }
}

fn unreadable(path: &Path, error: &std::io::Error) -> CaseError {
    let message = format!("cannot be read ({error})");
    CaseError { file: shown(path), position: None, pointer: String::new(), message }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::cases::{AuthorizeCase, BalanceCase, PlaceCase};

    /// The mistake that is told of a text, after this change to a sound case.
    fn mistake(sound: &str, wrong: &str) -> String {
        const CASE: &str =
            "{\n\"name\": \"n\",\n\"request\": {\"action\": \"join\"},\n\"expect\": {\"grant\": {}}\n}";
        assert!(parse::<AuthorizeCase>(CASE).is_ok());
        assert!(CASE.contains(sound));
        parse::<AuthorizeCase>(&CASE.replace(sound, wrong)).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_is_told_by_line_field_and_allowed_values() {
        let told = mistake("\"join\"", "\"jion\"");
        assert!(told.starts_with(":3:"), "{told}");
        assert!(told.contains("/request/action: unknown variant `jion`, expected one of `join`"), "{told}");
        let told = mistake("\"action\"", "\"actoin\"");
        assert!(told.contains("unknown field `actoin`") && told.contains("`room_people`"), "{told}");
        let told = mistake("\"grant\"", "\"granted\"");
        assert!(told.starts_with(":4:") && told.contains("`refuse`, `need`"), "{told}");
        let told = mistake("\"grant\": {}", "\"grant\": {\"pubish\": true}");
        assert!(told.contains("unknown field `pubish`") && told.contains("`publish`"), "{told}");
        assert!(mistake("\"expect\": {\"grant\": {}}", "\"x\": 1").contains("unknown field `x`"));
        assert!(mistake("}\n}", "}\n} more").contains("trailing characters"));
    }

    #[test]
    fn every_kind_of_mistake_has_its_line_and_what_is_allowed() {
        let request = "{\"action\": \"join\"}";
        for (sound, wrong, line, words) in [
            ("\"name\": \"n\",\n", "", 4, ["missing field `name`", ""]),
            (",\n\"expect\": {\"grant\": {}}", "", 4, ["missing field `expect`", ""]),
            ("\"name\"", "\"name\": \"m\", \"name\"", 2, ["duplicate field `name`", ""]),
            ("\"n\"", "7", 2, ["/name: invalid type: integer `7`", "expected a string"]),
            (request, "{\"room_people\": -1}", 3, ["/request/room_people", "expected u32"]),
            (request, "{\"address\": \"home\"}", 3, ["/request/address", "invalid IP address"]),
            (request, "{\"kind\": \"smell\"}", 3, ["unknown variant `smell`", "`audio` or `video`"]),
            (request, "{\"moment\": {\"now\": 1}}", 3, ["/request/moment", "`unix_ms` or `seed`"]),
            (request, "{\"attrs\": [{\"name\": \"a\"}]}", 3, ["/request/attrs/0", "missing field `value`"]),
            (
                request,
                "{\"lookups\": [{\"lookup\": \"l\", \"key\": \"k\", \"value\": \"\", \"error\": \"\"}]}",
                3,
                ["/request/lookups/0", "a `value` or an `error`"],
            ),
            ("\"expect\"", "\"repeat\": 0,\n\"expect\"", 4, ["/repeat", "0 is not in 1..=10000"]),
            ("\"expect\"", "\"repeat\": 4000000000,\n\"expect\"", 4, ["/repeat", "is not in 1..=10000"]),
            ("\"expect\"", "\"cluster\": [{}],\n\"expect\"", 4, ["/cluster", "told of no cluster"]),
            ("{\"grant\": {}}", "{\"grant\": 7}", 4, ["/expect", "some of the fields identity"]),
            ("{\"grant\": {}}", "{}", 4, ["/expect", "expected"]),
        ] {
            let told = mistake(sound, wrong);
            assert!(told.starts_with(&format!(":{line}:")), "line {line}: {told}");
            assert!(words.iter().all(|word| told.contains(word)), "{words:?}: {told}");
        }
    }

    #[test]
    fn a_row_knows_its_columns() {
        let case = |row: &str| {
            format!(
                "{{\"name\": \"n\", \"cluster\": [{row}], \"request\": {{}}, \"expect\": {{\"place\": 0}}}}"
            )
        };
        let sound = parse::<PlaceCase>(&case(r#"{"egress": 5, "region": "north"}"#)).unwrap();
        assert_eq!(sound.cluster[0].region(), "north");
        let told = parse::<PlaceCase>(&case(r#"{"egres": 5}"#)).unwrap_err().to_string();
        assert!(told.contains("unknown field `egres`") && told.contains("`reserved-egress`"), "{told}");
        assert!(told.contains("`node-name`") && told.contains("`region`"), "{told}");
        let told = parse::<PlaceCase>(&case(r#"{"shard": 70000}"#)).unwrap_err().to_string();
        assert!(told.contains("/cluster/0/shard") && told.contains("expected u16"), "{told}");
        let told = parse::<PlaceCase>(&case(r#"{"egress": "much"}"#)).unwrap_err().to_string();
        assert!(told.contains("/cluster/0/egress") && told.contains("expected u64"), "{told}");
        assert!(parse::<BalanceCase>(&case("{}")).is_err(), "balance places nothing");
    }
}
