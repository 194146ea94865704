//! The rings between shards without shards around them: what a bench hands crossings over with, from engine to engine.
//! Knows nothing of what crosses; not in the server.

use crate::bell::Bell;
use crate::counters::Counters;
use crate::ring::{Passed, Rings, mesh};
use mio::Poll;
use std::fmt;
use std::io;
use std::sync::Arc;
use tidegate_media::io::Crossing;
use tidegate_types::Place;

/// One engine's ends of all rings.
pub struct BareRings {
    rings: Rings,
    counters: Counters,
    /// What its bell rings; nobody sleeps here.
    _poll: Poll,
}

impl fmt::Debug for BareRings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BareRings").finish_non_exhaustive()
    }
}

/// Those of so many engines, each of so many slots, from each to each.
///
/// # Errors
/// The system gives no bells.
pub fn bare_rings(engines: usize, slots: usize) -> io::Result<Vec<BareRings>> {
    let polls = (0..engines).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
    let bells = polls.iter().map(|poll| Bell::new(poll).map(Arc::new)).collect::<io::Result<Vec<_>>>()?;
    let meshed = mesh(Place::local(0).node, &bells, slots);
    let with = |(rings, poll)| BareRings { rings, counters: Counters::default(), _poll: poll };
    Ok(meshed.into_iter().zip(polls).map(with).collect())
}

impl BareRings {
    /// Sends what one turn brought forth, and wakes whom it is for.
    pub fn send(&mut self, crossings: impl Iterator<Item = (Place, Crossing)>) {
        self.rings.retry(&self.counters);
        for (to, crossing) in crossings {
            self.rings.send(to, crossing, &self.counters);
        }
        self.rings.wake();
    }

    /// The next that has come, and where from.
    pub fn next_crossing(&mut self) -> Option<(Place, Crossing)> {
        (0..self.rings.inbound()).find_map(|ring| match self.rings.next(ring)? {
            (from, Passed::Crossing(crossing)) => Some((from, crossing)),
            // Only shards have streams.
            (_, Passed::Parcel(_)) => None,
        })
    }

    /// How many were dropped because a ring was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counters.dropped_total()
    }
}
