//! What policies may have looked up, and the questions that wait for it: outside the queue, with their seats free for
//! others. Knows nothing of how a lookup is performed.
//!
//! ```text
//! worker: need(lookup, key) ─▶ parked (bounded) ─▶ Lookups ─▶ Reply ─▶ back into the queue, with the result
//! ```
//!
//! A policy's own time stands still meanwhile. All lookups of one question together may take [`BUDGET`].

use crate::chain::Chain;
use crate::decide::{Need, Progress};
use crate::queue::Job;
use crate::record::nanos;
use crate::runtime::Office;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidegate_types::decision::{Failure, LookupError, LookupMade, LookupResult};

/// What all lookups of one question together may take. More keeps people waiting at the door for a slow database.
pub const BUDGET: Duration = Duration::from_secs(2);
/// The longest value that a policy is told, in bytes; it is copied into the guest with each further question.
pub const LARGEST_VALUE_BYTES: usize = 256 << 10;

/// Performs lookups, off the policies' threads.
pub trait Lookups: fmt::Debug + Send + Sync {
    /// Those that are configured.
    fn names(&self) -> Vec<String>;

    /// Begins one; it replies by `until`, on any thread, and may do so at once. It must not block. A name that is not
    /// among [`Lookups::names`] is an error like any other.
    fn look_up(&self, lookup: &str, key: &str, until: Instant, reply: Reply);

    /// Are its values to be kept out of the record of decisions?
    fn is_secret(&self, lookup: &str) -> bool {
        let _ = lookup;
        false
    }
}

/// Takes what a lookup found, once; one that is dropped says [`LookupError::Failed`].
pub struct Reply(Option<Box<dyn FnOnce(Found) + Send>>);

/// The value, or why there is none.
pub type Found = Result<String, LookupError>;

impl Reply {
    /// One that calls `take`.
    pub fn new(take: impl FnOnce(Found) + Send + 'static) -> Self {
        Self(Some(Box::new(take)))
    }

    /// Tells what was found.
    pub fn give(mut self, found: Found) {
        self.tell(found);
    }

    fn tell(&mut self, found: Found) {
        if let Some(take) = self.0.take() {
            take(found);
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reply").finish_non_exhaustive()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.tell(Err(LookupError::Failed));
    }
}

/// How far a question has come.
pub(crate) struct Begun {
    /// Who decides it, from its beginning to its end.
    pub(crate) chain: Arc<Chain>,
    pub(crate) progress: Progress,
    /// What was looked up.
    pub(crate) made: Vec<LookupMade>,
    /// How long that took.
    pub(crate) looked_up: Duration,
    /// How long policies computed.
    pub(crate) computed: Duration,
}

impl Begun {
    pub(crate) fn new(chain: Arc<Chain>) -> Self {
        Self {
            chain,
            progress: Progress::default(),
            made: Vec::new(),
            looked_up: Duration::ZERO,
            computed: Duration::ZERO,
        }
    }
}

/// The questions that wait for a lookup.
#[derive(Default)]
pub(crate) struct Parking {
    parked: Mutex<(u64, HashMap<u64, Parked>)>,
}

/// One of them.
struct Parked {
    job: Job,
    begun: Begun,
    need: Need,
    since: Instant,
}

impl Parking {
    /// Lets one wait unless `bound` do; its ticket.
    fn park(&self, parked: Parked, bound: usize) -> Result<u64, Box<Parked>> {
        let mut lot = self.lock();
        if lot.1.len() >= bound {
            return Err(Box::new(parked));
        }
        lot.0 += 1;
        let ticket = lot.0;
        lot.1.insert(ticket, parked);
        Ok(ticket)
    }

    fn leave(&self, ticket: u64) -> Option<Parked> {
        self.lock().1.remove(&ticket)
    }

    /// Takes all out.
    pub(crate) fn clear(&self) -> Vec<Job> {
        let left = std::mem::take(&mut self.lock().1);
        let job = |parked: Parked| Job { begun: Some(Box::new(parked.begun)), ..parked.job };
        left.into_values().map(job).collect()
    }

    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<u64, Parked>)> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Office {
    /// Has looked up what a question needs; it goes on when that is there.
    pub(crate) fn look_up(self: &Arc<Self>, job: Job, begun: Begun, need: Need) {
        let now = Instant::now();
        let left = BUDGET.saturating_sub(begun.looked_up);
        let (lookup, key) = (need.lookup.clone(), need.key.clone());
        let parked = Parked { job, begun, need, since: now };
        let Some(lookups) = &self.lookups else { return self.resume(parked, Err(LookupError::Unknown)) };
        if left.is_zero() {
            return self.resume(parked, Err(LookupError::Timeout));
        }
        match self.parking.park(parked, self.most_parked) {
            Ok(ticket) => {
                let office = Arc::downgrade(self);
                let take = move |found| {
                    let parked = office.upgrade().map(|office| (office.parking.leave(ticket), office));
                    if let Some((Some(parked), office)) = parked {
                        office.resume(parked, found);
                    }
                };
                lookups.look_up(&lookup, &key, now + left, Reply::new(take));
            }
            Err(parked) => self.resume(*parked, Err(LookupError::Busy)),
        }
    }

    fn resume(&self, parked: Parked, found: Found) {
        let Parked { mut job, mut begun, need, since } = parked;
        let took = since.elapsed();
        job.deadline += took;
        begun.looked_up += took;
        let found = found.and_then(|value| {
            if value.len() > LARGEST_VALUE_BYTES { Err(LookupError::TooLarge) } else { Ok(value) }
        });
        begun.made.push(made(&need.lookup, &found, took));
        let result = found.map_err(|error| error.to_string());
        begun.progress.found.push(LookupResult { lookup: need.lookup, key: need.key, result });
        job.begun = Some(Box::new(begun));
        if let Err(job) = self.queue.resume(job) {
            self.refuse(*job, Failure::Unavailable);
        }
    }
}

/// What is remembered of a lookup. A name that nobody configured is a guest's own text, and is not kept.
fn made(lookup: &str, found: &Found, took: Duration) -> LookupMade {
    let unknown = *found == Err(LookupError::Unknown);
    LookupMade {
        lookup: if unknown { LookupError::Unknown.to_string() } else { lookup.to_owned() },
        outcome: found.as_ref().map_or_else(ToString::to_string, |_| "found".to_owned()),
        took_ns: nanos(took),
    }
}
