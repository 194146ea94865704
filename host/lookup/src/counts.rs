//! How often a lookup was asked for and what became of it. Knows nothing of keys and values.

use crate::lookup::Found;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What became of one lookup so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupCounts {
    /// Its name; `unknown-lookup` stands for all that nobody configured.
    pub lookup: String,
    /// How often it was asked for.
    pub asked: u64,
    /// How often the answer was kept from before.
    pub kept: u64,
    /// How often a value was found.
    pub found: u64,
    /// How often none was, by the kind of the reason.
    pub failures: Vec<(&'static str, u64)>,
    /// How long those who asked waited, in microseconds in all.
    pub waited_us: u64,
}

#[derive(Default)]
pub(crate) struct Counts(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    asked: u64,
    kept: u64,
    found: u64,
    failures: BTreeMap<&'static str, u64>,
    waited: Duration,
}

impl Counts {
    pub(crate) fn count(&self, found: &Found, waited: Duration, kept: bool) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.asked += 1;
        numbers.kept += u64::from(kept);
        numbers.waited += waited;
        match found {
            Ok(_) => numbers.found += 1,
            Err(error) => *numbers.failures.entry(error.kind()).or_default() += 1,
        }
    }

    pub(crate) fn read(&self, lookup: &str) -> LookupCounts {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        LookupCounts {
            lookup: lookup.to_owned(),
            asked: numbers.asked,
            kept: numbers.kept,
            found: numbers.found,
            failures: numbers.failures.iter().map(|(kind, count)| (*kind, *count)).collect(),
            waited_us: u64::try_from(numbers.waited.as_micros()).unwrap_or(u64::MAX),
        }
    }
}
