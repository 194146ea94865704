//! Stands in for the host where a policy runs natively, as in `cargo test`. Knows nothing of policies.
//!
//! Each thread has its own host, so tests don't meet. Nothing expires: tests have no clock.

use std::cell::RefCell;
use std::collections::BTreeMap;

type Verifier = Box<dyn Fn(&str, &[u8], &[u8], &[u8]) -> Result<bool, String>>;

const STORE_ENTRIES: usize = 1_000;
const STORE_KEY_BYTES: usize = 256;
const STORE_VALUE_BYTES: usize = 65_536;

#[derive(Default)]
struct Host {
    entries: BTreeMap<String, Vec<u8>>,
    numbers: BTreeMap<String, u64>,
    verifier: Option<Verifier>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Decides what [`crate::crypto::verify`] answers on this thread: algorithm, key, message and signature in,
/// the answer or one of the host's error codes out. Before, every check is answered `unknown-algorithm`.
pub fn verify_with(verifier: impl Fn(&str, &[u8], &[u8], &[u8]) -> Result<bool, String> + 'static) {
    HOST.with_borrow_mut(|host| host.verifier = Some(Box::new(verifier)));
}

/// What a counter or gauge says on this thread; 0 if nobody wrote it.
#[must_use]
pub fn counter(name: &str) -> u64 {
    HOST.with_borrow(|host| host.numbers.get(name).copied().unwrap_or(0))
}

pub(crate) fn add(name: &str, by: u64) {
    HOST.with_borrow_mut(|host| {
        let number = host.numbers.entry(name.to_owned()).or_default();
        *number = number.saturating_add(by);
    });
}

pub(crate) fn set_gauge(name: &str, value: u64) {
    HOST.with_borrow_mut(|host| host.numbers.insert(name.to_owned(), value));
}

pub(crate) fn verify(algorithm: &str, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, String> {
    HOST.with_borrow(|host| match &host.verifier {
        Some(verifier) => verifier(algorithm, key, message, signature),
        None => Err("unknown-algorithm".to_owned()),
    })
}

pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
    HOST.with_borrow(|host| host.entries.get(key).cloned())
}

pub(crate) fn set(key: &str, value: &[u8], _expires_unix_ms: Option<u64>) -> Result<(), String> {
    if key.is_empty() || key.len() > STORE_KEY_BYTES {
        return Err("key-size".to_owned());
    }
    if value.len() > STORE_VALUE_BYTES {
        return Err("value-size".to_owned());
    }
    HOST.with_borrow_mut(|host| {
        if host.entries.len() >= STORE_ENTRIES && !host.entries.contains_key(key) {
            return Err("full".to_owned());
        }
        host.entries.insert(key.to_owned(), value.to_vec());
        Ok(())
    })
}

pub(crate) fn replace(
    key: &str,
    expected: Option<&[u8]>,
    value: &[u8],
    expires_unix_ms: Option<u64>,
) -> Result<bool, String> {
    if get(key).as_deref() != expected {
        return Ok(false);
    }
    set(key, value, expires_unix_ms).map(|()| true)
}

pub(crate) fn remove(key: &str) -> bool {
    HOST.with_borrow_mut(|host| host.entries.remove(key).is_some())
}

pub(crate) fn keys(prefix: &str, after: &str, limit: u32) -> Vec<String> {
    let limit = limit.min(100) as usize;
    let wanted = |key: &&String| key.starts_with(prefix) && key.as_str() > after;
    HOST.with_borrow(|host| host.entries.keys().filter(wanted).take(limit).cloned().collect())
}

#[cfg(test)]
mod tests {
    use crate::store::{self, StoreError};
    use crate::{counters, crypto, native};

    #[test]
    fn the_store_keeps_compares_lists_and_forgets() {
        assert_eq!(store::set("room/a", b"1", None), Ok(()));
        assert_eq!(store::replace("room/a", Some(b"0"), b"2", None), Ok(false));
        assert_eq!(store::replace("room/a", Some(b"1"), b"2", None), Ok(true));
        assert_eq!(store::replace("room/b", None, b"3", None), Ok(true));
        assert_eq!(store::get("room/a").as_deref(), Some(&b"2"[..]));
        assert_eq!(store::keys("room/", "room/a", 9), ["room/b"]);
        assert!(store::remove("room/a") && !store::remove("room/a"));
        assert_eq!(store::set("", b"", None), Err(StoreError::KeySize));
        assert_eq!(store::set("k", &[0; 65_537], None), Err(StoreError::ValueSize));
    }

    #[test]
    fn the_store_is_bounded() {
        for number in 0..1_000 {
            store::set(&format!("{number}"), b"", None).unwrap();
        }
        assert_eq!(store::set("one more", b"", None), Err(StoreError::Full));
        assert_eq!(store::set("7", b"again", None), Ok(()));
    }

    #[test]
    fn counters_and_a_verifier_stand_in_for_the_host() {
        counters::add("refused", 2);
        counters::add("refused", 1);
        counters::set("open", 9);
        assert_eq!((native::counter("refused"), native::counter("open")), (3, 9));
        assert_eq!(crypto::verify("HS256", b"", b"", b""), Err(crypto::VerifyError::UnknownAlgorithm));
        native::verify_with(|_, key, _, _| if key.is_empty() { Err("bad-key".into()) } else { Ok(true) });
        assert_eq!(crypto::verify("HS256", b"", b"", b""), Err(crypto::VerifyError::BadKey));
        assert_eq!(crypto::verify("HS256", b"k", b"", b""), Ok(true));
    }
}
