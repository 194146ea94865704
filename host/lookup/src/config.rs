//! What an operator says of a lookup, read and held against its bounds. Knows nothing of who asks; opens nothing but
//! the files that hold secrets.

use crate::command::Command;
use crate::template::Template;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidegate_types::Secret;

/// The longest time for one lookup, in milliseconds: a question waits no longer for all of them together.
const MOST_MS: u64 = 2_000;
/// The longest that anything is kept, in seconds.
const DAY_S: u64 = 86_400;
/// The largest value, in bytes.
const MOST_BYTES: u64 = 256 << 10;
/// The most header lines that are added.
const MOST_HEADERS: usize = 16;
/// The longest name of a lookup, in bytes.
const NAME_BYTES: usize = 64;

/// One lookup.
#[derive(Clone, Debug)]
pub struct LookupConfig {
    pub(crate) name: String,
    pub(crate) secret: bool,
    pub(crate) timeout: Duration,
    pub(crate) source: Source,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Http { server: ServerConfig, cache_for: Duration, at_once: usize },
    Command { command: Command, cache_for: Duration, at_once: usize },
    Keys(KeysConfig),
}

/// What is asked of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServerConfig {
    pub(crate) template: Template,
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) most_bytes: usize,
    pub(crate) authorities: Option<PathBuf>,
}

/// Where keys come from, and how fresh they are.
#[derive(Clone, Debug)]
pub(crate) struct KeysConfig {
    pub(crate) from: KeysFrom,
    pub(crate) timeout: Duration,
    /// From one fetch to the next.
    pub(crate) refresh: Duration,
    /// Between two fetches because of a key that is not in the set.
    pub(crate) refetch: Duration,
    /// How long keys serve that cannot be fetched again.
    pub(crate) stale: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum KeysFrom {
    Server(ServerConfig),
    File { path: PathBuf, most_bytes: usize },
}

/// Which setting cannot be used, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lookup {lookup}: {field}{reason}")]
pub struct ConfigError {
    lookup: String,
    field: String,
    reason: String,
}

impl ConfigError {
    pub(crate) fn new(lookup: &str, field: &str, reason: impl Into<String>) -> Self {
        let field = if field.is_empty() { String::new() } else { format!("{field} ") };
        Self { lookup: lookup.to_owned(), field, reason: reason.into() }
    }
}

/// A setting and what is wrong with it.
type Wrong = (String, String);

impl LookupConfig {
    /// Reads what was said of the lookup `name`.
    ///
    /// # Errors
    /// The first setting that does not fit, with what would.
    pub fn read(name: &str, value: &Value) -> Result<Self, ConfigError> {
        read(name, value).map_err(|(field, reason)| ConfigError::new(name, &field, reason))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn read(name: &str, value: &Value) -> Result<LookupConfig, Wrong> {
    let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(fits) {
        return Err(wrong("", format!("a name has 1 to {NAME_BYTES} of a-z, 0-9 and -")));
    }
    let (timeout_ms, secret, source) = match value["kind"].as_str() {
        Some("http") => http(wire(value)?)?,
        Some("jwks") => keys(wire(value)?)?,
        Some("command") => command(wire(value)?)?,
        _ => return Err(wrong("kind", "must be http, jwks or command")),
    };
    Ok(LookupConfig { name: name.to_owned(), secret, timeout: Duration::from_millis(timeout_ms), source })
}

fn wire<T: DeserializeOwned>(value: &Value) -> Result<T, Wrong> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.inner().to_string();
        if path == "." { (String::new(), inner) } else { wrong(&path, format!("does not fit: {inner}")) }
    })
}

fn wrong(field: &str, reason: impl Into<String>) -> Wrong {
    (field.to_owned(), reason.into())
}

fn within(field: &str, value: u64, range: RangeInclusive<u64>) -> Result<u64, Wrong> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(wrong(field, format!("is {value}, must be in {}..={}", range.start(), range.end())))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct HttpWire {
    #[serde(rename = "kind")]
    _kind: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, HeaderWire>,
    ca: Option<PathBuf>,
    #[serde(default)]
    insecure: bool,
    #[serde(default = "half_a_second")]
    timeout_ms: u64,
    #[serde(default = "a_minute")]
    cache_s: u64,
    #[serde(default = "usual_bytes")]
    max_bytes: u64,
    #[serde(default = "sixteen")]
    at_once: u64,
    #[serde(default)]
    secret: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KeysWire {
    #[serde(rename = "kind")]
    _kind: String,
    url: Option<String>,
    file: Option<PathBuf>,
    #[serde(default)]
    headers: BTreeMap<String, HeaderWire>,
    ca: Option<PathBuf>,
    #[serde(default)]
    insecure: bool,
    #[serde(default = "two_seconds")]
    timeout_ms: u64,
    #[serde(default = "ten_minutes")]
    refresh_s: u64,
    #[serde(default = "half_a_minute")]
    refetch_s: u64,
    #[serde(default = "a_day")]
    stale_s: u64,
    #[serde(default = "most_bytes")]
    max_bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CommandWire {
    #[serde(rename = "kind")]
    _kind: String,
    program: Vec<String>,
    #[serde(default = "half_a_second")]
    timeout_ms: u64,
    #[serde(default = "a_minute")]
    cache_s: u64,
    #[serde(default = "usual_bytes")]
    max_bytes: u64,
    #[serde(default = "four")]
    at_once: u64,
    #[serde(default)]
    secret: bool,
}

/// The value of a header line, or where it is read from.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, { file = \"PATH\" } or { env = \"NAME\" }")]
enum HeaderWire {
    Text(String),
    File { file: PathBuf },
    Variable { env: String },
}

const fn half_a_second() -> u64 {
    500
}

const fn two_seconds() -> u64 {
    2_000
}

const fn a_minute() -> u64 {
    60
}

const fn ten_minutes() -> u64 {
    600
}

const fn half_a_minute() -> u64 {
    30
}

const fn a_day() -> u64 {
    DAY_S
}

const fn usual_bytes() -> u64 {
    64 << 10
}

const fn most_bytes() -> u64 {
    MOST_BYTES
}

const fn sixteen() -> u64 {
    16
}

const fn four() -> u64 {
    4
}

type Read = (u64, bool, Source);

fn http(wire: HttpWire) -> Result<Read, Wrong> {
    let template = template(&wire.url, wire.insecure)?;
    if !template.has_place() {
        return Err(wrong("url", crate::template::UrlError::NoPlace.to_string()));
    }
    let server = ServerConfig {
        template,
        headers: headers(wire.headers)?,
        most_bytes: bytes(wire.max_bytes)?,
        authorities: wire.ca,
    };
    let source =
        Source::Http { server, cache_for: cache(wire.cache_s)?, at_once: at_once(wire.at_once, 256)? };
    Ok((timeout(wire.timeout_ms)?, wire.secret, source))
}

fn keys(wire: KeysWire) -> Result<Read, Wrong> {
    let most_bytes = bytes(wire.max_bytes)?;
    let from = match (wire.url, wire.file) {
        (Some(url), None) => {
            let template = template(&url, wire.insecure)?;
            if template.has_place() {
                return Err(wrong("url", "of a key set has no {key}: the whole set is fetched"));
            }
            let (headers, authorities) = (headers(wire.headers)?, wire.ca);
            KeysFrom::Server(ServerConfig { template, headers, most_bytes, authorities })
        }
        (None, Some(path)) => KeysFrom::File { path, most_bytes },
        _ => return Err(wrong("url", "or file: give one of them")),
    };
    let timeout_ms = timeout(wire.timeout_ms)?;
    let keys = KeysConfig {
        from,
        timeout: Duration::from_millis(timeout_ms),
        refresh: Duration::from_secs(within("refresh-s", wire.refresh_s, 1..=DAY_S)?),
        refetch: Duration::from_secs(within("refetch-s", wire.refetch_s, 1..=3_600)?),
        stale: Duration::from_secs(within("stale-s", wire.stale_s, 0..=30 * DAY_S)?),
    };
    Ok((timeout_ms, false, Source::Keys(keys)))
}

fn command(wire: CommandWire) -> Result<Read, Wrong> {
    let program = wire.program.first().map(PathBuf::from).unwrap_or_default();
    if !program.is_absolute() || !program.is_file() {
        return Err(wrong(
            "program",
            "must begin with the whole path of a program that is there; it has no shell",
        ));
    }
    let command = Command { program: wire.program, most_bytes: bytes(wire.max_bytes)? };
    let source =
        Source::Command { command, cache_for: cache(wire.cache_s)?, at_once: at_once(wire.at_once, 64)? };
    Ok((timeout(wire.timeout_ms)?, wire.secret, source))
}

fn template(url: &str, insecure: bool) -> Result<Template, Wrong> {
    Template::read(url, insecure).map_err(|error| wrong("url", error.to_string()))
}

fn timeout(ms: u64) -> Result<u64, Wrong> {
    within("timeout-ms", ms, 10..=MOST_MS)
}

fn cache(s: u64) -> Result<Duration, Wrong> {
    within("cache-s", s, 0..=DAY_S).map(Duration::from_secs)
}

fn bytes(bytes: u64) -> Result<usize, Wrong> {
    within("max-bytes", bytes, 1..=MOST_BYTES).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

fn at_once(count: u64, most: u64) -> Result<usize, Wrong> {
    within("at-once", count, 1..=most).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

fn headers(wire: BTreeMap<String, HeaderWire>) -> Result<Vec<(String, Secret)>, Wrong> {
    if wire.len() > MOST_HEADERS {
        return Err(wrong("headers", format!("has {} lines, may have {MOST_HEADERS}", wire.len())));
    }
    wire.into_iter().map(|(name, value)| header(name, value)).collect()
}

/// Those that say how the message itself is to be read.
const OURS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "accept-encoding"];

fn header(name: String, value: HeaderWire) -> Result<(String, Secret), Wrong> {
    let field = format!("headers.{name}");
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) || OURS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(wrong(&field, "is no header line that can be added"));
    }
    let value = match value {
        HeaderWire::Text(text) => text,
        HeaderWire::File { file } => file_text(&field, &file)?,
        HeaderWire::Variable { env } => std::env::var(&env)
            .map_err(|_| wrong(&field, format!("names the environment variable {env}, which is not set")))?,
    };
    let value = value.trim();
    if value.is_empty() || !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(wrong(&field, "has an empty value, or one with other characters than printable ASCII"));
    }
    Ok((name, Secret::new(value)))
}

fn file_text(field: &str, path: &Path) -> Result<String, Wrong> {
    std::fs::read_to_string(path)
        .map_err(|error| wrong(field, format!("names {}, which cannot be read ({error})", path.display())))
}

#[cfg(test)]
mod tests {
    use super::LookupConfig;
    use serde_json::{Value, json};

    fn refusal(value: &Value) -> String {
        LookupConfig::read("people", value).expect_err("this must be refused").to_string()
    }

    #[test]
    fn what_does_not_fit_is_told_by_lookup_setting_and_what_would() {
        let http = |more: Value| {
            let mut value = json!({ "kind": "http", "url": "https://db.example/{key}" });
            value.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            value
        };
        assert!(LookupConfig::read("people", &http(json!({}))).is_ok());
        for (value, words) in [
            (json!({}), ["people", "kind", "http, jwks or command"]),
            (json!({ "kind": "htp" }), ["people", "kind", "http, jwks or command"]),
            (json!({ "kind": "http" }), ["people", "missing field", "url"]),
            (http(json!({ "url": "https://db.example/" })), ["people", "url", "{key}"]),
            (http(json!({ "url": "http://db.example/{key}" })), ["people", "url", "insecure"]),
            (http(json!({ "timeout-ms": 5 })), ["people", "timeout-ms", "10..=2000"]),
            (http(json!({ "timeout-ms": "5" })), ["people", "timeout-ms", "expected u64"]),
            (http(json!({ "cache-s": 100_000 })), ["people", "cache-s", "0..=86400"]),
            (http(json!({ "max-bytes": 0 })), ["people", "max-bytes", "1..=262144"]),
            (http(json!({ "at-once": 0 })), ["people", "at-once", "1..=256"]),
            (http(json!({ "cache": 1 })), ["people", "unknown field", "cache-s"]),
            (http(json!({ "headers": { "Host": "x" } })), ["people", "headers.Host", "cannot"]),
            (http(json!({ "headers": { "X": "a\r\nY: b" } })), ["people", "headers.X", "ASCII"]),
            (http(json!({ "headers": { "X": 5 } })), ["people", "headers.X", "env"]),
            (
                http(json!({ "headers": { "X": { "file": "/nowhere/token" } } })),
                ["people", "headers.X", "/nowhere/token"],
            ),
            (
                http(json!({ "headers": { "X": { "env": "TIDEGATE_NO_SUCH" } } })),
                ["people", "headers.X", "TIDEGATE_NO_SUCH"],
            ),
            (json!({ "kind": "jwks" }), ["people", "url", "file"]),
            (json!({ "kind": "jwks", "url": "https://a/{key}" }), ["people", "url", "{key}"]),
            (json!({ "kind": "jwks", "file": "x", "refetch-s": 0 }), ["people", "refetch-s", "1..=3600"]),
            (json!({ "kind": "command", "program": ["cat"] }), ["people", "program", "whole path"]),
            (json!({ "kind": "command", "program": [] }), ["people", "program", "whole path"]),
        ] {
            let told = refusal(&value).replace("is no header line that can be", "cannot be");
            assert!(words.iter().all(|word| told.contains(word)), "{words:?} not in: {told}");
            assert!(!told.contains('\n'));
        }
        assert!(LookupConfig::read("Bad name", &http(json!({}))).is_err());
    }

    #[test]
    fn the_value_of_a_header_is_not_shown() {
        let value = json!({ "kind": "http", "url": "https://db.example/{key}",
            "headers": { "Authorization": "Bearer very-secret" } });
        let config = LookupConfig::read("people", &value).expect("it is sound");
        assert!(!format!("{config:?}").contains("very-secret"));
    }
}
