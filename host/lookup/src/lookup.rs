//! The configured lookups, and the way of a question through one. Knows nothing of HTTP or programs.

use crate::cache::{Cache, Look};
use crate::command::Command;
use crate::config::{ConfigError, LookupConfig, Source};
use crate::counts::{Counts, LookupCounts};
use crate::http::Server;
use crate::keys::KeySet;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::decision::LookupError;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

/// The value, or why there is none.
pub type Found = Result<Arc<str>, LookupError>;

/// All that are configured.
pub struct Lookups {
    named: BTreeMap<String, Arc<Lookup>>,
    unknown: Counts,
    runtime: Handle,
}

/// One of them.
struct Lookup {
    secret: bool,
    timeout: Duration,
    way: Way,
    counts: Counts,
}

enum Way {
    /// One value a key, fetched when it is asked for.
    Each(Arc<Fetched>),
    /// All keys at once, kept fresh.
    Set(KeySet),
}

struct Fetched {
    cache: Cache,
    /// How many may be under way at once; the others wait their turn, and that counts against their time.
    permits: Semaphore,
    timeout: Duration,
    origin: Origin,
}

enum Origin {
    Http(Server),
    Command(Arc<Command>),
}

impl Lookups {
    /// Makes them ready; key sets begin to fetch. Needs a running tokio runtime.
    ///
    /// # Errors
    /// Which setting of which lookup cannot be used.
    pub fn start(configs: Vec<LookupConfig>) -> Result<Self, ConfigError> {
        let runtime = Handle::current();
        let named = configs
            .into_iter()
            .map(|config| Ok((config.name.clone(), Arc::new(Lookup::start(config)?))))
            .collect::<Result<_, ConfigError>>()?;
        Ok(Self { named, unknown: Counts::default(), runtime })
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.named.keys().cloned().collect()
    }

    /// Are its values to be kept out of records?
    #[must_use]
    pub fn is_secret(&self, lookup: &str) -> bool {
        self.named.get(lookup).is_some_and(|lookup| lookup.secret)
    }

    /// Asks; `reply` is called once, on any thread, by `until` or a moment later; at once where the value is kept. Where
    /// the runtime ends before, it is dropped.
    pub fn ask(
        &self,
        lookup: &str,
        key: &str,
        until: Instant,
        reply: impl FnOnce(Result<String, LookupError>) + Send + 'static,
    ) {
        let Some(lookup) = self.named.get(lookup) else {
            self.unknown.count(&Err(LookupError::Unknown), Duration::ZERO, false);
            return reply(Err(LookupError::Unknown));
        };
        let began = Instant::now();
        let answer = move |lookup: &Lookup, found: Found, kept: bool| {
            lookup.counts.count(&found, began.elapsed(), kept);
            found.map(|value| value.as_ref().to_owned())
        };
        if let Some(found) = lookup.kept(key, began) {
            return reply(answer(lookup, found, true));
        }
        let (lookup, key) = (lookup.clone(), key.to_owned());
        self.runtime.spawn(async move {
            let until = until.min(began + lookup.timeout);
            let found = tokio::time::timeout_at(until.into(), lookup.find(key)).await;
            reply(answer(&lookup, found.unwrap_or(Err(LookupError::Timeout)), false));
        });
    }

    /// What became of them so far; the last are those of names that nobody configured.
    #[must_use]
    pub fn counts(&self) -> Vec<LookupCounts> {
        let named = self.named.iter().map(|(name, lookup)| lookup.counts.read(name));
        named.chain([self.unknown.read(LookupError::Unknown.kind())]).collect()
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lookups").field("names", &self.names()).finish_non_exhaustive()
    }
}

impl Lookup {
    fn start(config: LookupConfig) -> Result<Self, ConfigError> {
        let LookupConfig { name, secret, timeout, source } = config;
        let fetched = |origin, cache_for, at_once| {
            let (cache, permits) = (Cache::new(cache_for), Semaphore::new(at_once));
            Way::Each(Arc::new(Fetched { cache, permits, timeout, origin }))
        };
        let way = match source {
            Source::Http { server, cache_for, at_once } => {
                fetched(Origin::Http(Server::new(&name, server)?), cache_for, at_once)
            }
            Source::Command { command, cache_for, at_once } => {
                fetched(Origin::Command(Arc::new(command)), cache_for, at_once)
            }
            Source::Keys(keys) => Way::Set(KeySet::start(&name, keys)?),
        };
        Ok(Self { secret, timeout, way, counts: Counts::default() })
    }

    /// What needs no waiting.
    fn kept(&self, key: &str, now: Instant) -> Option<Found> {
        match &self.way {
            Way::Each(fetched) => fetched.cache.kept(key, now),
            Way::Set(keys) => keys.kept(key, now),
        }
    }

    async fn find(&self, key: String) -> Found {
        match &self.way {
            Way::Each(fetched) => fetched.clone().find(key).await,
            Way::Set(keys) => keys.find(&key).await,
        }
    }
}

impl Fetched {
    async fn find(self: Arc<Self>, key: String) -> Found {
        match self.cache.look(&key, Instant::now()) {
            Look::Kept(found) => found,
            Look::Full => Err(LookupError::Busy),
            Look::UnderWay(flight) => landed(flight).await,
            Look::Begin(lands) => {
                let flight = lands.subscribe();
                // On its own: who asked first may have less time than who joins.
                let fetched = self.clone();
                tokio::spawn(async move {
                    let landing = Landing { fetched: &fetched, key: &key, lands };
                    let found = tokio::time::timeout(fetched.timeout, fetched.fetch(&key)).await;
                    landing.land(found.unwrap_or(Err(LookupError::Timeout)));
                });
                landed(flight).await
            }
        }
    }

    async fn fetch(&self, key: &str) -> Found {
        // From now on, not from its turn: a program must not outlive the permit that it runs by.
        let deadline = Instant::now() + self.timeout;
        let _permit = self.permits.acquire().await.map_err(|_| LookupError::Failed)?;
        let bytes = match &self.origin {
            Origin::Http(server) => server.get(key).await?,
            Origin::Command(command) => {
                let (command, key) = (command.clone(), key.to_owned());
                let run = tokio::task::spawn_blocking(move || command.run(&key, deadline));
                run.await.map_err(|_| LookupError::Failed)??
            }
        };
        String::from_utf8(bytes).map(Arc::from).map_err(|_| LookupError::NotText)
    }
}

async fn landed(mut flight: watch::Receiver<Option<Found>>) -> Found {
    match flight.wait_for(Option::is_some).await {
        Ok(found) => found.clone().unwrap_or(Err(LookupError::Failed)),
        Err(_) => Err(LookupError::Failed),
    }
}

/// A flight under way: whatever happens, it ends.
struct Landing<'a> {
    fetched: &'a Fetched,
    key: &'a str,
    lands: watch::Sender<Option<Found>>,
}

impl Landing<'_> {
    fn land(self, found: Found) {
        self.fetched.cache.keep(self.key, &found, Instant::now());
        self.lands.send_replace(Some(found));
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.fetched.cache.over(self.key);
    }
}
