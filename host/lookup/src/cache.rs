//! What one lookup found lately, and what is under way. Knows nothing of how it is fetched.

use crate::lookup::Found;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The most that are kept; the one that ends first makes room.
const KEPT: usize = 1_024;
/// What keys and values may hold together, in bytes. A value that is larger by itself is not kept.
const KEPT_BYTES: usize = 4 << 20;
/// The most that are under way at once; one more key is told that this lookup is busy.
const UNDER_WAY: usize = 256;
/// How long a failure is kept, so that a server that is down is left alone between two attempts for the same key.
const FAILURE: Duration = Duration::from_secs(1);

pub(crate) struct Cache {
    held: Mutex<Held>,
    /// How long a value is kept; zero: not at all.
    keep_for: Duration,
}

#[derive(Default)]
struct Held {
    kept: HashMap<String, (Found, Instant)>,
    bytes: usize,
    under_way: HashMap<String, watch::Receiver<Option<Found>>>,
}

/// What is known of a key.
pub(crate) enum Look {
    /// It was found lately.
    Kept(Found),
    /// Somebody asks for it already.
    UnderWay(watch::Receiver<Option<Found>>),
    /// Nothing: it is to be fetched, and told there. [`Cache::over`] must follow.
    Begin(watch::Sender<Option<Found>>),
    /// Too many are under way.
    Full,
}

impl Cache {
    pub(crate) fn new(keep_for: Duration) -> Self {
        Self { held: Mutex::default(), keep_for }
    }

    /// What was found lately.
    pub(crate) fn kept(&self, key: &str, now: Instant) -> Option<Found> {
        self.lock().fresh(key, now)
    }

    pub(crate) fn look(&self, key: &str, now: Instant) -> Look {
        let mut held = self.lock();
        if let Some(found) = held.fresh(key, now) {
            return Look::Kept(found);
        }
        if let Some(flight) = held.under_way.get(key) {
            return Look::UnderWay(flight.clone());
        }
        if held.under_way.len() >= UNDER_WAY {
            return Look::Full;
        }
        let (lands, flight) = watch::channel(None);
        held.under_way.insert(key.to_owned(), flight);
        Look::Begin(lands)
    }

    /// It was found, or was not.
    pub(crate) fn keep(&self, key: &str, found: &Found, now: Instant) {
        let keep_for = if found.is_ok() { self.keep_for } else { self.keep_for.min(FAILURE) };
        let bytes = size(key, found);
        if keep_for.is_zero() || bytes > KEPT_BYTES {
            return;
        }
        let mut held = self.lock();
        held.forget(key);
        held.make_room(bytes, now);
        held.bytes += bytes;
        held.kept.insert(key.to_owned(), (found.clone(), now + keep_for));
    }

    /// Nobody fetches it any more.
    pub(crate) fn over(&self, key: &str) {
        self.lock().under_way.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn fresh(&self, key: &str, now: Instant) -> Option<Found> {
        self.kept.get(key).filter(|(_, until)| now < *until).map(|(found, _)| found.clone())
    }

    fn forget(&mut self, key: &str) {
        if let Some((found, _)) = self.kept.remove(key) {
            self.bytes -= size(key, &found);
        }
    }

    /// Lets go of what is over, and then of what ends first.
    fn make_room(&mut self, bytes: usize, now: Instant) {
        if self.fits(bytes) {
            return;
        }
        self.kept.retain(|_, (_, until)| now < *until);
        self.bytes = self.kept.iter().map(|(key, (found, _))| size(key, found)).sum();
        while !self.fits(bytes) {
            let first = self.kept.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| key.clone());
            match first {
                Some(key) => self.forget(&key),
                None => return,
            }
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        self.kept.len() < KEPT && self.bytes + bytes <= KEPT_BYTES
    }
}

fn size(key: &str, found: &Found) -> usize {
    key.len() + found.as_ref().map_or(0, |value| value.len())
}

#[cfg(test)]
mod tests {
    use super::{Cache, FAILURE, KEPT, KEPT_BYTES, Look, UNDER_WAY};
    use std::time::{Duration, Instant};
    use tidegate_types::decision::LookupError;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_value_is_kept_for_its_time_and_a_failure_for_a_second() {
        let (cache, now) = (Cache::new(MINUTE), Instant::now());
        cache.keep("ada", &Ok("1".into()), now);
        cache.keep("bob", &Err(LookupError::Status(404)), now);
        assert_eq!(cache.kept("ada", now + MINUTE / 2), Some(Ok("1".into())));
        assert_eq!(cache.kept("ada", now + MINUTE), None);
        assert_eq!(cache.kept("bob", now + FAILURE / 2), Some(Err(LookupError::Status(404))));
        assert_eq!(cache.kept("bob", now + FAILURE), None);
        let never = Cache::new(Duration::ZERO);
        never.keep("ada", &Ok("1".into()), now);
        assert_eq!(never.kept("ada", now), None);
    }

    #[test]
    fn it_is_bounded_in_number_and_bytes_and_the_one_that_ends_first_goes() {
        let (cache, now) = (Cache::new(MINUTE), Instant::now());
        for index in 0..KEPT + 1 {
            let later = now + Duration::from_millis(index as u64);
            cache.keep(&format!("{index}"), &Ok("x".into()), later);
        }
        assert_eq!(cache.lock().kept.len(), KEPT);
        assert_eq!(cache.kept("0", now), None);
        assert!(cache.kept("1", now).is_some());
        let large: std::sync::Arc<str> = "x".repeat(KEPT_BYTES / 2).into();
        for key in ["a", "b", "c"] {
            cache.keep(key, &Ok(large.clone()), now + MINUTE / 2);
        }
        let held = cache.lock();
        assert!(held.bytes <= KEPT_BYTES && held.kept.contains_key("c"), "{}", held.bytes);
        let counted: usize = held.kept.iter().map(|(key, (found, _))| super::size(key, found)).sum();
        assert_eq!(held.bytes, counted);
    }

    #[test]
    fn one_fetches_a_key_and_the_others_wait_for_it() {
        let (cache, now) = (Cache::new(MINUTE), Instant::now());
        let Look::Begin(_lands) = cache.look("ada", now) else { panic!("nothing is known of it") };
        assert!(matches!(cache.look("ada", now), Look::UnderWay(_)));
        for index in 1..UNDER_WAY {
            assert!(matches!(cache.look(&format!("{index}"), now), Look::Begin(_)));
        }
        assert!(matches!(cache.look("one too many", now), Look::Full));
        cache.over("ada");
        assert!(matches!(cache.look("one too many", now), Look::Begin(_)));
    }
}
