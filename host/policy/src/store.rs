//! A policy's small memory on this node, shared by its instances. Knows nothing of WebAssembly or of clocks: the
//! time comes with each call.

use std::collections::BTreeMap;
use std::ops::Bound;

/// The most entries.
const ENTRIES: usize = 1_000;
/// The longest key, in bytes.
const KEY_BYTES: usize = 256;
/// The largest value, in bytes.
const VALUE_BYTES: usize = 65_536;
/// All keys and values together, in bytes.
const TOTAL_BYTES: usize = 4 << 20;
/// The most keys that one listing gives.
const LISTED_KEYS: usize = 100;

/// Why a value was not written; the codes of `host-store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("key-size")]
    KeySize,
    #[error("value-size")]
    ValueSize,
    #[error("full")]
    Full,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Vec<u8>,
    expires_unix_ms: Option<u64>,
}

impl Entry {
    fn alive(&self, unix_ms: u64) -> bool {
        self.expires_unix_ms.is_none_or(|end| unix_ms < end)
    }
}

/// Keys and values. At a bound it forgets what has expired, then refuses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    entries: BTreeMap<String, Entry>,
    bytes: usize,
}

impl Store {
    /// The value under a key.
    pub(crate) fn get(&self, key: &str, unix_ms: u64) -> Option<&[u8]> {
        let entry = self.entries.get(key).filter(|entry| entry.alive(unix_ms))?;
        Some(&entry.value)
    }

    /// Writes a value.
    pub(crate) fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        expires_unix_ms: Option<u64>,
        unix_ms: u64,
    ) -> Result<(), StoreError> {
        if key.is_empty() || key.len() > KEY_BYTES {
            return Err(StoreError::KeySize);
        }
        if value.len() > VALUE_BYTES {
            return Err(StoreError::ValueSize);
        }
        if !self.has_room(&key, value.len()) {
            self.forget_expired(unix_ms);
        }
        if !self.has_room(&key, value.len()) {
            return Err(StoreError::Full);
        }
        self.remove(&key, unix_ms);
        self.bytes += key.len() + value.len();
        self.entries.insert(key, Entry { value, expires_unix_ms });
        Ok(())
    }

    /// Writes a value if `expected` stands there now; says whether it did.
    pub(crate) fn replace(
        &mut self,
        key: String,
        expected: Option<&[u8]>,
        value: Vec<u8>,
        expires_unix_ms: Option<u64>,
        unix_ms: u64,
    ) -> Result<bool, StoreError> {
        if self.get(&key, unix_ms) != expected {
            return Ok(false);
        }
        self.set(key, value, expires_unix_ms, unix_ms).map(|()| true)
    }

    /// Forgets a key; says whether there was one.
    pub(crate) fn remove(&mut self, key: &str, unix_ms: u64) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.bytes -= key.len() + entry.value.len();
        entry.alive(unix_ms)
    }

    /// Keys that begin with `prefix` and come after `after`.
    pub(crate) fn keys(&self, prefix: &str, after: &str, limit: u32, unix_ms: u64) -> Vec<String> {
        let limit = usize::try_from(limit).map_or(LISTED_KEYS, |limit| limit.min(LISTED_KEYS));
        let start = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        self.entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, entry)| entry.alive(unix_ms))
            .map(|(key, _)| key.clone())
            .take(limit)
            .collect()
    }

    fn has_room(&self, key: &str, value_bytes: usize) -> bool {
        let old = self.entries.get(key).map(|entry| key.len() + entry.value.len());
        let entries = self.entries.len() + usize::from(old.is_none());
        let bytes = self.bytes - old.unwrap_or(0) + key.len() + value_bytes;
        entries <= ENTRIES && bytes <= TOTAL_BYTES
    }

    fn forget_expired(&mut self, unix_ms: u64) {
        let bytes = &mut self.bytes;
        self.entries.retain(|key, entry| {
            let alive = entry.alive(unix_ms);
            if !alive {
                *bytes -= key.len() + entry.value.len();
            }
            alive
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, Store, StoreError, TOTAL_BYTES, VALUE_BYTES};

    #[test]
    fn a_value_expires_and_makes_room_only_when_room_is_short() {
        let mut store = Store::default();
        store.set("old".into(), vec![1], Some(100), 0).expect("there is room");
        assert_eq!(store.get("old", 99), Some([1].as_slice()));
        assert_eq!(store.get("old", 100), None);
        for index in 1..ENTRIES {
            store.set(format!("{index:04}"), vec![], None, 0).expect("there is room");
        }
        assert_eq!(store.set("new".into(), vec![], None, 50), Err(StoreError::Full));
        assert_eq!(store.set("new".into(), vec![], None, 100), Ok(()));
    }

    #[test]
    fn bytes_are_counted_through_overwriting_and_removal() {
        let mut store = Store::default();
        let fits = TOTAL_BYTES / (VALUE_BYTES + 4);
        for _ in 0..3 {
            for index in 0..fits {
                store.set(format!("{index:04}"), vec![0; VALUE_BYTES], None, 0).expect("there is room");
            }
        }
        assert_eq!(store.set("more".into(), vec![0; VALUE_BYTES], None, 0), Err(StoreError::Full));
        assert!(store.remove("0000", 0) && !store.remove("0000", 0));
        assert_eq!(store.set("more".into(), vec![0; VALUE_BYTES], None, 0), Ok(()));
        assert_eq!(store.set(String::new(), vec![], None, 0), Err(StoreError::KeySize));
        assert_eq!(store.set("k".into(), vec![0; VALUE_BYTES + 1], None, 0), Err(StoreError::ValueSize));
    }

    #[test]
    fn replacing_needs_the_value_that_was_expected() {
        let mut store = Store::default();
        assert_eq!(store.replace("k".into(), None, vec![1], Some(10), 0), Ok(true));
        assert_eq!(store.replace("k".into(), None, vec![2], None, 5), Ok(false));
        assert_eq!(store.replace("k".into(), Some(&[1]), vec![2], Some(10), 5), Ok(true));
        assert_eq!(store.replace("k".into(), None, vec![3], None, 10), Ok(true));
    }

    #[test]
    fn keys_are_listed_page_by_page() {
        let mut store = Store::default();
        for key in ["a", "b/1", "b/2", "b/3", "c"] {
            store.set(key.into(), vec![], None, 0).expect("there is room");
        }
        assert_eq!(store.keys("b/", "", 2, 0), ["b/1", "b/2"]);
        assert_eq!(store.keys("b/", "b/2", 2, 0), ["b/3"]);
        assert_eq!(store.keys("", "", 9, 0).len(), 5);
        assert_eq!(store.keys("b/", "c", 9, 0).len(), 0);
    }
}
