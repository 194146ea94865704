//! What two policies of a chain allow together: the smaller of everything. Knows nothing of who they are or how they
//! were asked.

use tidegate_types::decision::{Attr, Grant, Refusal};

/// The code of a refusal because two policies contradict each other.
const CONFLICT: &str = "policies-conflict";

/// What is allowed by both, and the names of attrs that the second wanted otherwise: the first has them.
///
/// # Errors
/// A refusal where the two name different people or rooms: one of them is wrong, and nobody can tell which.
pub(crate) fn meet(first: Grant, second: Grant) -> Result<(Grant, Vec<String>), Refusal> {
    let identity = agreed("identity", first.identity, second.identity)?;
    let room = agreed("room", first.room, second.room)?;
    let (attrs, conflicts) = joined(first.attrs, second.attrs);
    let grant = Grant {
        identity,
        room,
        // A name is only shown: the first to give one has it.
        name: first.name.or(second.name),
        publish: first.publish && second.publish,
        subscribe: first.subscribe && second.subscribe,
        data: first.data && second.data,
        admin: first.admin && second.admin,
        sources: shared(first.sources, second.sources),
        max_tracks: least(first.max_tracks, second.max_tracks),
        ingress_kbps: least(first.ingress_kbps, second.ingress_kbps),
        egress_kbps: least(first.egress_kbps, second.egress_kbps),
        expires_unix_ms: least(first.expires_unix_ms, second.expires_unix_ms),
        consult: united(first.consult, second.consult),
        ask_again_ms: least(first.ask_again_ms, second.ask_again_ms),
        attrs,
    };
    Ok((grant, conflicts))
}

fn agreed(what: &str, first: Option<String>, second: Option<String>) -> Result<Option<String>, Refusal> {
    match (first, second) {
        (Some(first), Some(second)) if first != second => {
            Err(Refusal::new(CONFLICT, format!("Two policies of this host name a different {what} for you.")))
        }
        (first, second) => Ok(first.or(second)),
    }
}

/// `None` is no bound.
fn least<T: Ord>(first: Option<T>, second: Option<T>) -> Option<T> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.min(second)),
        (first, second) => first.or(second),
    }
}

/// Tracks by intersection; `None` is any.
fn shared(first: Option<Vec<String>>, second: Option<Vec<String>>) -> Option<Vec<String>> {
    match (first, second) {
        (Some(mut first), Some(second)) => {
            first.retain(|source| second.contains(source));
            Some(first)
        }
        (first, second) => first.or(second),
    }
}

/// Whatever either wants to be asked about again.
fn united(mut first: Vec<String>, second: Vec<String>) -> Vec<String> {
    for action in second {
        if !first.contains(&action) {
            first.push(action);
        }
    }
    first
}

fn joined(mut first: Vec<Attr>, second: Vec<Attr>) -> (Vec<Attr>, Vec<String>) {
    let mut conflicts = Vec::new();
    for attr in second {
        match first.iter().find(|known| known.name == attr.name) {
            None => first.push(attr),
            Some(known) if known.value != attr.value => conflicts.push(attr.name),
            Some(_) => {}
        }
    }
    (first, conflicts)
}

#[cfg(test)]
mod tests {
    use super::{CONFLICT, meet};
    use tidegate_types::decision::{Attr, Grant};

    fn text(text: &str) -> Option<String> {
        Some(text.into())
    }

    fn attr(name: &str, value: &str) -> Attr {
        Attr { name: name.into(), value: value.into() }
    }

    #[test]
    fn everything_is_as_small_as_the_smaller() {
        let first = Grant {
            identity: text("ada"),
            sources: Some(vec!["camera".into(), "screen".into()]),
            max_tracks: Some(3),
            ingress_kbps: Some(900),
            expires_unix_ms: Some(50),
            consult: vec!["publish".into()],
            ask_again_ms: Some(9_000),
            attrs: vec![attr("role", "host"), attr("team", "red")],
            ..Grant::open()
        };
        let second = Grant {
            room: text("harbour"),
            name: text("Ada L."),
            data: false,
            sources: Some(vec!["screen".into(), "microphone".into()]),
            max_tracks: Some(5),
            egress_kbps: Some(700),
            expires_unix_ms: Some(40),
            consult: vec!["publish".into(), "data".into()],
            ask_again_ms: Some(5_000),
            attrs: vec![attr("role", "guest"), attr("team", "red"), attr("seat", "7")],
            ..Grant::open()
        };
        let (grant, conflicts) = meet(first, second).expect("they agree on who and where");
        let expected = Grant {
            identity: text("ada"),
            room: text("harbour"),
            name: text("Ada L."),
            data: false,
            sources: Some(vec!["screen".into()]),
            max_tracks: Some(3),
            ingress_kbps: Some(900),
            egress_kbps: Some(700),
            expires_unix_ms: Some(40),
            consult: vec!["publish".into(), "data".into()],
            ask_again_ms: Some(5_000),
            attrs: vec![attr("role", "host"), attr("team", "red"), attr("seat", "7")],
            ..Grant::open()
        };
        assert_eq!(grant, expected);
        assert_eq!(conflicts, ["role"]);
    }

    #[test]
    fn another_identity_or_room_refuses() {
        let named = |identity: &str, room: &str| Grant {
            identity: text(identity),
            room: text(room),
            ..Grant::open()
        };
        for (second, what) in [(named("eve", "harbour"), "identity"), (named("ada", "lighthouse"), "room")] {
            let refusal = meet(named("ada", "harbour"), second).expect_err("they contradict each other");
            assert_eq!(refusal.code, CONFLICT);
            assert!(refusal.message.contains(what), "{}", refusal.message);
        }
        assert!(meet(named("ada", "harbour"), named("ada", "harbour")).is_ok());
    }
}
