//! `tidegate people`: who is inside a running host, and an operator's word about them, through its admin API. Knows
//! nothing of why anybody was let in.

use crate::host::{Host, Reach, ended};
use crate::words::moment;
use clap::{Parser, Subcommand};
use serde_json::Value;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Shows who is inside a running host, has their permission looked at again, and ends sessions.
#[derive(Debug, Parser)]
#[command(name = "tidegate people", bin_name = "tidegate people", max_term_width = 100)]
struct Options {
    #[command(flatten)]
    reach: Reach,

    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Everyone inside: number, room, name, identity, and when their grant ends; without a command, too
    List,
    /// End a person's session; it does not come back by itself
    End {
        /// The person's number, as the list tells it
        #[arg(value_name = "ID")]
        person: u64,
        /// One sentence that the person is told, of at most 256 bytes [default: The host's operator ended your session.]
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Have authorize asked now whether a person may stay, and put its answer in force
    Reauthorize {
        /// The person's number, as the list tells it
        #[arg(value_name = "ID")]
        person: u64,
    },
}

/// Runs `tidegate people` with these arguments, which begin after `people`.
///
/// 0: done. 1: the host is not reached, or refuses; standard error says why. 2: the command line is wrong.
pub fn people(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = std::iter::once(OsString::from("tidegate people")).chain(arguments);
    let options = Options::try_parse_from(arguments).unwrap_or_else(|error| error.exit());
    ended("people", done(&options))
}

fn done(options: &Options) -> Result<String, String> {
    let host = Host::at(&options.reach)?;
    match options.what.as_ref().unwrap_or(&What::List) {
        What::List => host.get("/api/v1/people").map(|body| list(&body)),
        What::End { person, reason } => {
            let reason = reason.as_deref().map(|reason| format!("?reason={}", encoded(reason)));
            host.delete(&format!("/api/v1/people/{person}{}", reason.unwrap_or_default()))?;
            Ok(format!("the session of person {person} is ended\n"))
        }
        What::Reauthorize { person } => {
            let answer = host.post(&format!("/api/v1/people/{person}/reauthorize"), None)?;
            Ok(reauthorized(*person, &answer))
        }
    }
}

const HEADS: [&str; 6] = ["id", "room", "name", "identity", "state", "grant ends"];

/// A row a person, by room and then by number.
fn list(body: &Value) -> String {
    let mut people: Vec<&Value> = body["people"].as_array().into_iter().flatten().collect();
    if people.is_empty() {
        return "nobody is inside\n".to_owned();
    }
    people.sort_by_key(|person| (text(&person["room"]), person["person"].as_u64()));
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(people.into_iter().map(row));
    let widths: Vec<usize> = (0..HEADS.len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    let mut page = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(page, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    page
}

fn row(person: &Value) -> [String; HEADS.len()] {
    let or_none = |value: &Value| if value.is_null() { "-".to_owned() } else { text(value) };
    [
        text(&person["person"]),
        text(&person["room"]),
        text(&person["name"]),
        or_none(&person["identity"]),
        text(&person["state"]),
        ends(&person["grant"]),
    ]
}

fn ends(grant: &Value) -> String {
    grant["expires_unix_ms"].as_u64().map_or_else(|| "never".to_owned(), |at| format!("{} UTC", moment(at)))
}

fn reauthorized(person: u64, answer: &Value) -> String {
    if answer["inside"] != true {
        let (code, message) = (text(&answer["code"]), text(&answer["message"]));
        return format!("person {person} is out, {code}: {message}\n");
    }
    let grant = &answer["grant"];
    let words = [("publish", "send tracks"), ("subscribe", "receive tracks"), ("data", "send messages")];
    let may: Vec<&str> = words.iter().filter(|(name, _)| grant[*name] == true).map(|(_, may)| *may).collect();
    let may = if may.is_empty() { "do nothing".to_owned() } else { may.join(", ") };
    format!("person {person} stays and may {may}; the grant ends: {}\n", ends(grant))
}

/// A value as it stands in a terminal: what people call themselves is their own choice, and must not steer it.
fn text(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// A text as a part of a query (RFC 3986, section 2.1).
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{Options, encoded, list, reauthorized};
    use crate::options::tests::every_flag_has_help;
    use clap::CommandFactory as _;
    use serde_json::json;

    #[test]
    fn declarations_are_sound_and_every_flag_has_help() {
        every_flag_has_help(&Options::command());
    }

    #[test]
    fn people_stand_by_room_and_cannot_steer_the_terminal() {
        let person = |person: u64, room: &str, name: &str, ends: Option<u64>| {
            json!({ "person": person, "room": room, "name": name, "identity": null, "state": "connected",
                    "grant": { "expires_unix_ms": ends } })
        };
        let body = json!({ "people": [
            person(12, "tea", "Ada", None), person(3, "tea", "Eve\u{1b}[2J", Some(0)), person(20, "harbour", "Bo", None),
        ] });
        let page = [
            "id  room     name          identity  state      grant ends",
            "20  harbour  Bo            -         connected  never",
            "3   tea      Eve\\u{1b}[2J  -         connected  1970-01-01 00:00:00.000 UTC",
            "12  tea      Ada           -         connected  never",
        ];
        assert_eq!(list(&body).lines().collect::<Vec<_>>(), page);
        assert_eq!(list(&json!({ "people": [] })), "nobody is inside\n");
    }

    #[test]
    fn what_came_of_asking_again_is_told_in_a_sentence() {
        let stays = json!({ "inside": true, "grant": { "publish": false, "subscribe": true, "data": true } });
        assert_eq!(
            reauthorized(3, &stays),
            "person 3 stays and may receive tracks, send messages; the grant ends: never\n"
        );
        let out = json!({ "inside": false, "code": "token-expired", "message": "Too late." });
        assert_eq!(reauthorized(3, &out), "person 3 is out, token-expired: Too late.\n");
    }

    #[test]
    fn a_reason_reaches_the_query_whole() {
        assert_eq!(encoded("Bis später & 100%?"), "Bis%20sp%C3%A4ter%20%26%20100%25%3F");
    }
}
