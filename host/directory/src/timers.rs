//! What is due when. Each timer stands at most once; setting it again moves it. Knows nothing of what happens
//! when it fires.

use crate::cluster::Holder;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tidegate_types::{PersonId, RelayId, RequestNumber, RouterId, TransportId};

/// Something that time alone brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A policy owes an answer for too long.
    Question(RequestNumber),
    /// A place owes a reply for too long.
    Command(RequestNumber),
    /// A promise lapses.
    Reservation(Holder),
    /// A grant may have ended.
    GrantEnds(PersonId),
    /// A policy is to be asked again about someone inside.
    AskAgain(PersonId),
    /// A relay without consumers closes.
    RelayIdle(RelayId),
    /// The order of a router's speakers may have changed.
    Speakers(RouterId),
    /// A move is prepared for too long.
    Move(TransportId),
    /// Balance is to be asked.
    Balance,
    /// Counters of relays are to be read.
    ReadRelays,
    /// Rooms are to be asked about.
    Share,
}

/// All timers that are set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Instant, Timer)>,
    at: BTreeMap<Timer, Instant>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.cancel(timer);
        self.due.insert((at, timer));
        self.at.insert(timer, at);
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.at.contains_key(&timer)
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.due.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }
}
