//! What a guest was told by the host during one call: kept so that the call can be made again with the same answers.
//! Knows nothing of files.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most answers that are kept of one call. Of a guest that asks more the rest is not kept, and [`Told::Cut`] says so:
/// a replay answers that from its own store, and is not exact from there on.
const KEPT: usize = 4_096;
/// The most bytes that they may hold.
const KEPT_BYTES: usize = 1 << 20;

/// One answer of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Told {
    /// What stood under a key.
    Get { key: String, value: Option<Vec<u8>> },
    /// Whether a value was written.
    Set { key: String, result: Result<(), String> },
    /// Whether a value was replaced.
    Replace { key: String, result: Result<bool, String> },
    /// Whether there was one to remove.
    Remove { key: String, removed: bool },
    /// Which keys there were.
    Keys { prefix: String, after: String, limit: u32, keys: Vec<String> },
    /// Whether a signature was right. Neither key nor message is kept.
    Verify { algorithm: String, result: Result<bool, String> },
    /// The last one: there was more than is kept.
    Cut,
}

impl Told {
    /// Is it the answer to the same request?
    fn answers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Get { key, .. }, Self::Get { key: other, .. })
            | (Self::Set { key, .. }, Self::Set { key: other, .. })
            | (Self::Replace { key, .. }, Self::Replace { key: other, .. })
            | (Self::Remove { key, .. }, Self::Remove { key: other, .. }) => key == other,
            (
                Self::Keys { prefix, after, limit, .. },
                Self::Keys { prefix: other, after: later, limit: most, .. },
            ) => (prefix, after, limit) == (other, later, most),
            (Self::Verify { algorithm, .. }, Self::Verify { algorithm: other, .. }) => algorithm == other,
            _ => false,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Get { key, value } => key.len() + value.as_ref().map_or(0, Vec::len),
            Self::Set { key, .. } | Self::Replace { key, .. } | Self::Remove { key, .. } => key.len(),
            Self::Keys { keys, .. } => keys.iter().map(String::len).sum(),
            Self::Verify { algorithm, .. } => algorithm.len(),
            Self::Cut => 0,
        }
    }
}

/// What becomes of the host's answers to one instance.
#[derive(Debug, Default)]
pub struct Tape(Reel);

#[derive(Debug, Default)]
enum Reel {
    /// Nothing.
    #[default]
    Off,
    /// They are kept.
    Recording { told: Vec<Told>, bytes: usize },
    /// They were given once, and are given again.
    Playing(VecDeque<Told>),
}

impl Tape {
    /// One that keeps nothing.
    pub(crate) const fn off() -> Self {
        Self(Reel::Off)
    }

    /// One that keeps what it hears.
    pub(crate) const fn recording() -> Self {
        Self(Reel::Recording { told: Vec::new(), bytes: 0 })
    }

    /// One that gives the same answers again.
    pub(crate) fn playing(told: &[Told]) -> Self {
        Self(Reel::Playing(told.iter().cloned().collect()))
    }

    /// Are answers merely given?
    pub(crate) const fn is_off(&self) -> bool {
        matches!(self.0, Reel::Off)
    }

    /// The answer: as it was given then, or as `now` gives it. A changed guest may ask for something else in between:
    /// the next answer to the same request counts. What it does happens either way, so that what it wrote is there for
    /// requests that were not made then.
    pub(crate) fn tell(&mut self, like: &Told, now: impl FnOnce() -> Told) -> Told {
        let answer = now();
        match &mut self.0 {
            Reel::Off => answer,
            Reel::Recording { told, bytes } => {
                *bytes += answer.bytes();
                if told.len() < KEPT && *bytes <= KEPT_BYTES {
                    told.push(answer.clone());
                } else if told.last() != Some(&Told::Cut) {
                    // What comes after it is not kept either: it would be played too early.
                    *bytes = KEPT_BYTES + 1;
                    told.push(Told::Cut);
                }
                answer
            }
            Reel::Playing(told) => {
                let at = told.iter().position(|known| known.answers(like));
                at.and_then(|at| told.remove(at)).unwrap_or(answer)
            }
        }
    }

    /// What was kept since it was last taken.
    pub(crate) fn take(&mut self) -> Vec<Told> {
        match &mut self.0 {
            Reel::Recording { told, bytes } => {
                *bytes = 0;
                std::mem::take(told)
            }
            Reel::Off | Reel::Playing(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, KEPT_BYTES, Tape, Told};

    fn got(value: &[u8]) -> Told {
        Told::Get { key: "k".into(), value: Some(value.to_vec()) }
    }

    fn tell(tape: &mut Tape, value: &[u8]) {
        assert_eq!(tape.tell(&got(&[]), || got(value)), got(value), "kept or not, the guest is answered");
    }

    #[test]
    fn of_a_guest_that_asks_too_often_the_rest_is_cut() {
        let mut tape = Tape::recording();
        (0..KEPT + 10).for_each(|_| tell(&mut tape, b"v"));
        let told = tape.take();
        assert_eq!(told.len(), KEPT + 1);
        assert!(told[..KEPT].iter().all(|told| *told == got(b"v")));
        assert_eq!(told[KEPT], Told::Cut);
    }

    #[test]
    fn what_comes_after_an_answer_that_is_too_large_is_not_kept_but_the_next_call_is() {
        let mut tape = Tape::recording();
        tell(&mut tape, b"v");
        tell(&mut tape, &vec![0; KEPT_BYTES]);
        tell(&mut tape, b"v");
        assert_eq!(tape.take(), [got(b"v"), Told::Cut]);
        tell(&mut tape, b"v");
        assert_eq!(tape.take(), [got(b"v")]);
    }
}
