//! Questions and answers in a few words, and moments as a calendar tells them: what people read where programs read
//! JSON. Knows nothing of where they come from.

use serde_json::{Map, Value};

/// What is asked first, in each kind of question.
const FIRST: [&str; 3] = ["action", "kind", "cause"];
/// What a reader needs only to decide it again.
const LEFT_OUT: [&str; 1] = ["moment"];
const DAY_MS: u64 = 86_400_000;

/// A question: all its fields that are not empty or zero.
pub(crate) fn question(question: &Value) -> String {
    let Value::Object(fields) = question else { return question.to_string() };
    let first = FIRST.iter().filter_map(|name| fields.get(*name)).filter_map(Value::as_str).next();
    let mut words: Vec<String> = first.map(str::to_owned).into_iter().collect();
    // What tells a track's kind is no question of its own.
    let skipped = |name: &str| {
        LEFT_OUT.contains(&name) || FIRST.iter().find(|first| fields.contains_key(**first)) == Some(&name)
    };
    words.extend(named(fields, skipped));
    words.join(" ")
}

/// An answer, or why there was none.
pub(crate) fn answer(answer: &Value) -> String {
    match answer {
        Value::String(failure) => format!("no answer: {failure}"),
        Value::Object(kinds) => kinds.values().next().map_or_else(|| answer.to_string(), body),
        other => other.to_string(),
    }
}

/// The answer to one decision.
fn body(body: &Value) -> String {
    if let Some(wishes) = body.get("wishes").and_then(Value::as_array) {
        let told: Vec<String> = wishes.iter().map(wish).collect();
        return if told.is_empty() { "no wish".to_owned() } else { told.join("; ") };
    }
    let Some((kind, fields)) = body.as_object().and_then(|body| body.iter().next()) else {
        return body.to_string();
    };
    let Value::Object(fields) = fields else { return body.to_string() };
    match kind.as_str() {
        "Refuse" => format!("refuse {}: {}", shown(&fields["code"]), shown(&fields["message"])),
        "Need" => format!("need {} {}", shown(&fields["lookup"]), shown(&fields["key"])),
        kind => {
            let mut words = vec![kind.to_lowercase()];
            words.extend(named(fields, |name| name == "place"));
            words.extend(fields.get("place").map(shown));
            words.join(" ")
        }
    }
}

fn wish(wish: &Value) -> String {
    let mut words = format!("{} {} {}", shown(&wish["action"]), wish["amount"], shown(&wish["unit"]));
    for (name, place) in [(" from ", &wish["from"]), (" to ", &wish["to"])] {
        if !place.is_null() {
            words += name;
            words += &shown(place);
        }
    }
    format!("{words} ({})", shown(&wish["reason"]))
}

/// Fields that say something: a switch that is on by its name, another by name and value.
fn named(fields: &Map<String, Value>, skipped: impl Fn(&str) -> bool) -> Vec<String> {
    let told = fields.iter().filter(|(name, value)| !skipped(name) && !is_empty(value));
    told.map(|(name, value)| match value {
        Value::Bool(_) => name.clone(),
        value => match name.strip_suffix("_unix_ms").zip(value.as_u64()) {
            Some((name, unix_ms)) => format!("{name}=\"{}\"", moment(unix_ms)),
            None => format!("{name}={}", shown(value)),
        },
    })
    .collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) => false,
    }
}

/// A value as people write it: plain texts without quotation marks, places as node/shard.
fn shown(value: &Value) -> String {
    let plain = |text: &str| {
        !text.is_empty()
            && !text.contains(|letter: char| letter == '"' || letter == '\\' || letter.is_control())
    };
    match value {
        Value::String(text) if plain(text) && !text.contains(' ') => text.clone(),
        Value::String(text) if plain(text) && text.ends_with(['.', '!', '?']) => text.clone(),
        Value::Object(fields) => match (fields.get("node"), fields.get("shard")) {
            (Some(node), Some(shard)) if fields.len() == 2 => format!("{node}/{shard}"),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}

/// A moment in UTC: `2026-11-21 20:11:03.123`.
pub(crate) fn moment(unix_ms: u64) -> String {
    let (year, month, day) = date(unix_ms / DAY_MS);
    let ms = unix_ms % DAY_MS;
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1_000)
}

/// The day of the Gregorian calendar that is so many days after 1970-01-01.
fn date(mut days: u64) -> (u64, usize, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // The calendar repeats after 400 years, of 146,097 days.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::{answer, moment, question};
    use serde_json::json;

    #[test]
    fn a_question_says_what_is_in_it() {
        let asked = json!({
            "action": "publish", "room": "harbour", "room_people": 0, "name": "Ada Lovelace", "identity": null,
            "token": "", "kind": "audio", "moment": { "unix_ms": 1, "seed": 2 }, "lookups": [], "attrs": [],
        });
        assert_eq!(question(&asked), r#"publish kind=audio name="Ada Lovelace" room=harbour"#);
        let asked = json!({ "kind": "transport", "room": "x", "expected_egress_kbps": 2500 });
        assert_eq!(question(&asked), "transport expected_egress_kbps=2500 room=x");
        let asked = json!({ "action": "join", "room_since_unix_ms": 951_782_400_000_u64 });
        assert_eq!(question(&asked), "join room_since=\"2000-02-29 00:00:00.000\"");
        assert_eq!(
            question(&json!({ "cause": "tick", "place": { "node": 0, "shard": 3 } })),
            "tick place=0/3"
        );
    }

    #[test]
    fn an_answer_says_what_it_comes_to() {
        let grant = json!({ "Authorize": { "Grant": { "publish": true, "admin": false, "name": "Ada", "consult": [] } } });
        assert_eq!(answer(&grant), "grant name=Ada publish");
        let refusal = json!({ "Authorize": { "Refuse": { "code": "full", "message": "This room is full.", "attrs": [] } } });
        assert_eq!(answer(&refusal), "refuse full: This room is full.");
        let placed = json!({ "Place": { "Place": { "place": { "node": 0, "shard": 1 }, "attrs": [] } } });
        assert_eq!(answer(&placed), "place 0/1");
        let wish = json!({
            "action": "move", "from": { "node": 0, "shard": 1 }, "to": null, "amount": 2, "unit": "transports", "reason": "level",
        });
        assert_eq!(answer(&json!({ "Balance": { "wishes": [wish] } })), "move 2 transports from 0/1 (level)");
        assert_eq!(answer(&json!({ "Balance": { "wishes": [] } })), "no wish");
        assert_eq!(answer(&json!("deadline")), "no answer: deadline");
    }

    #[test]
    fn a_moment_is_a_day_and_an_hour() {
        assert_eq!(moment(0), "1970-01-01 00:00:00.000");
        assert_eq!(moment(951_782_400_000), "2000-02-29 00:00:00.000");
        assert_eq!(moment(1_795_295_463_123), "2026-11-21 21:11:03.123");
        assert_eq!(moment(u64::MAX), "584556019-04-03 14:25:51.615");
    }
}
