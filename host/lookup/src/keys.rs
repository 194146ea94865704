//! A key set (JWKS, RFC 7517): fetched whole, kept, and fetched again in time, or when a key is asked for that it does
//! not have. Knows nothing of tokens.
//!
//! What is asked for while a fetch is under way is answered by the set that is there. A key that is not in it waits for
//! one fetch, at most once in each `refetch` span: forged key ids cannot make this host a flood.

use crate::config::{ConfigError, KeysConfig, KeysFrom};
use crate::http::Server;
use crate::lookup::Found;
use crate::spki::Jwk;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::decision::LookupError;
use tokio::sync::{mpsc, watch};

/// The most keys that are taken from a set; sets in the wild have two to four.
const KEYS: usize = 64;
/// The wait after a first fetch that failed; it doubles up to `refetch`.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Values by key id.
type Keys = HashMap<String, Arc<str>>;

pub(crate) struct KeySet {
    told: watch::Receiver<Standing>,
    /// Somebody waits for a key that is not there. The keeper ends with it.
    wanted: mpsc::Sender<()>,
    refetch: Duration,
    stale: Duration,
}

/// What is known of the set.
#[derive(Clone)]
struct Standing {
    attempts: u64,
    tried: Instant,
    /// When the keys were fetched; `None`: never.
    got: Option<Instant>,
    keys: Arc<Keys>,
    /// Why the last attempt failed.
    error: Option<LookupError>,
}

impl KeySet {
    pub(crate) fn start(name: &str, config: KeysConfig) -> Result<Self, ConfigError> {
        let KeysConfig { from, timeout, refresh, refetch, stale } = config;
        let from = match from {
            KeysFrom::Server(server) => From::Server(Box::new(Server::new(name, server)?)),
            KeysFrom::File { path, most_bytes } => From::File { path, most_bytes },
        };
        let standing =
            Standing { attempts: 0, tried: Instant::now(), got: None, keys: Arc::default(), error: None };
        let (tells, told) = watch::channel(standing);
        let (wanted, wants) = mpsc::channel(1);
        let keeper = Keeper { name: name.to_owned(), from, timeout, refresh, refetch, tells, wants };
        tokio::spawn(keeper.keep());
        Ok(Self { told, wanted, refetch, stale })
    }

    /// What can be said at once; `None` where a fetch could change it.
    pub(crate) fn kept(&self, kid: &str, now: Instant) -> Option<Found> {
        let standing = self.told.borrow();
        if standing.attempts == 0 {
            return None;
        }
        let serve = standing.got.is_some_and(|got| now.saturating_duration_since(got) <= self.stale);
        if let Some(value) = standing.keys.get(kid).filter(|_| serve) {
            return Some(Ok(value.clone()));
        }
        let lately = now.saturating_duration_since(standing.tried) < self.refetch;
        lately.then(|| Err(standing.error.unwrap_or(LookupError::NotFound)))
    }

    /// Waits for one fetch where that could help.
    pub(crate) async fn find(&self, kid: &str) -> Found {
        let mut told = self.told.clone();
        let attempts = told.borrow().attempts;
        if let Some(found) = self.kept(kid, Instant::now()) {
            return found;
        }
        // A full box holds this very wish.
        let _ = self.wanted.try_send(());
        let _ =
            told.wait_for(|standing| standing.attempts > attempts).await.map_err(|_| LookupError::Failed)?;
        self.kept(kid, Instant::now()).unwrap_or(Err(LookupError::NotFound))
    }
}

enum From {
    Server(Box<Server>),
    File { path: PathBuf, most_bytes: usize },
}

/// Keeps a set fresh.
struct Keeper {
    name: String,
    from: From,
    timeout: Duration,
    refresh: Duration,
    refetch: Duration,
    tells: watch::Sender<Standing>,
    wants: mpsc::Receiver<()>,
}

impl Keeper {
    /// Until nobody can ask any more.
    async fn keep(mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            let fetched = tokio::time::timeout(self.timeout, self.fetch()).await;
            let fetched = fetched.unwrap_or(Err(LookupError::Timeout));
            let tried = Instant::now();
            let due = if fetched.is_ok() {
                wait = FIRST_WAIT;
                tried + self.refresh
            } else {
                let due = tried + wait.min(self.refresh);
                wait = (wait * 2).min(self.refetch);
                due
            };
            self.tell(fetched, tried);
            if !self.rest(tried, due).await {
                return;
            }
        }
    }

    /// Waits until the next fetch is due, or wanted and allowed; false at the end.
    async fn rest(&mut self, tried: Instant, due: Instant) -> bool {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => return true,
                wanted = self.wants.recv() => match wanted {
                    Some(()) if tried.elapsed() >= self.refetch => return true,
                    Some(()) => {}
                    None => return false,
                },
            }
        }
    }

    async fn fetch(&self) -> Result<Keys, LookupError> {
        let bytes = match &self.from {
            From::Server(server) => server.get("").await?,
            From::File { path, most_bytes } => {
                let (path, most_bytes) = (path.clone(), *most_bytes);
                let read = tokio::task::spawn_blocking(move || read(&path, most_bytes));
                read.await.map_err(|_| LookupError::Failed)??
            }
        };
        keys(&bytes)
    }

    fn tell(&self, fetched: Result<Keys, LookupError>, tried: Instant) {
        let name = self.name.as_str();
        self.tells.send_modify(|standing| {
            standing.attempts += 1;
            standing.tried = tried;
            match fetched {
                Ok(keys) => {
                    if *standing.keys != keys || standing.error.is_some() || standing.got.is_none() {
                        tracing::info!(lookup = name, keys = keys.len(), "key set fetched");
                    }
                    (standing.keys, standing.got, standing.error) = (Arc::new(keys), Some(tried), None);
                }
                Err(error) => {
                    if standing.error != Some(error) {
                        tracing::warn!(lookup = name, %error, "key set not fetched; the one before serves on");
                    }
                    standing.error = Some(error);
                }
            }
        });
    }
}

fn read(path: &Path, most_bytes: usize) -> Result<Vec<u8>, LookupError> {
    let file = std::fs::File::open(path).map_err(|_| LookupError::Unreachable)?;
    let mut bytes = Vec::new();
    file.take(most_bytes as u64 + 1).read_to_end(&mut bytes).map_err(|_| LookupError::Failed)?;
    if bytes.len() > most_bytes { Err(LookupError::TooLarge) } else { Ok(bytes) }
}

/// RFC 7517, section 5: what is not understood is left out.
fn keys(bytes: &[u8]) -> Result<Keys, LookupError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(bytes).map_err(|_| LookupError::Failed)?;
    let mut keys = Keys::new();
    let mut usable = 0;
    let mut only = None;
    for jwk in set.keys.into_iter().filter_map(|value| serde_json::from_value::<Jwk>(value).ok()) {
        let Some(key) = jwk.public_key().filter(|_| usable < KEYS) else { continue };
        let kid = jwk.kid.unwrap_or_default();
        let told = json!({ "kid": kid, "alg": key.algorithm, "key_base64": STANDARD.encode(key.spki) });
        let value: Arc<str> = told.to_string().into();
        usable += 1;
        only = Some(value.clone());
        if !kid.is_empty() {
            keys.entry(kid).or_insert(value);
        }
    }
    // A token without a key id can mean one key only.
    if let (1, Some(value)) = (usable, only) {
        keys.insert(String::new(), value);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::{KEYS, LookupError, keys};
    use serde_json::json;

    fn jwk(kid: &str) -> serde_json::Value {
        let coordinate = "A".repeat(43);
        json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": coordinate, "y": coordinate })
    }

    #[test]
    fn a_set_gives_its_usable_keys_by_id() {
        let set =
            json!({ "keys": [jwk("spring"), jwk("autumn"), { "kty": "oct", "k": "c2VjcmV0" }, "junk", {}] });
        let found = keys(set.to_string().as_bytes()).expect("a set");
        assert_eq!(found.len(), 2);
        let spring: serde_json::Value = serde_json::from_str(&found["spring"]).expect("JSON");
        assert_eq!((spring["alg"].as_str(), spring["kid"].as_str()), (Some("ES256"), Some("spring")));
        assert!(!found.contains_key(""), "two could be meant");
        let one = keys(json!({ "keys": [jwk("spring")] }).to_string().as_bytes()).expect("a set");
        assert_eq!(one[""], one["spring"]);
        assert!(keys(br#"{"keys":[]}"#).expect("a set").is_empty());
        for junk in [&b"<html>"[..], b"[]", b"{}", b"{\"keys\":5}", b"\xff"] {
            assert_eq!(keys(junk).err(), Some(LookupError::Failed));
        }
        let many: Vec<_> = (0..2 * KEYS).map(|index| jwk(&index.to_string())).collect();
        assert_eq!(keys(json!({ "keys": many }).to_string().as_bytes()).expect("a set").len(), KEYS);
    }
}
