//! What a guest can reach of the host: its log, its numbers, its store and signature checks. Nothing else is
//! linked, so nothing else can be reached. Each of these returns at once: a guest inside one cannot be interrupted.

use crate::allowance::Allowance;
use crate::bindings::tidegate::policy::{host_counters, host_crypto, host_log, host_store, types};
use crate::crypto;
use crate::journal::Journal;
use crate::limits::Limits;
use crate::store::Store;
use crate::tape::{Tape, Told};
use crate::wasi::Console;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tidegate_types::decision::Moment;

/// What all instances of one policy share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Outlives a swap.
    store: Arc<Mutex<Store>>,
    journal: Mutex<Journal>,
    /// What signatures are checked with.
    keys: crypto::Keys,
}

impl Shared {
    pub(crate) fn new(plugin: String) -> Arc<Self> {
        Self::remembering(Arc::default(), plugin)
    }

    /// For one that takes this one's place: the same memory, a voice of its own.
    pub(crate) fn heir(&self, plugin: String) -> Arc<Self> {
        Self::remembering(self.store.clone(), plugin)
    }

    /// For one on trial: a copy of the memory, so that nothing that it writes counts.
    pub(crate) fn copy(&self, plugin: String) -> Arc<Self> {
        Self::remembering(Arc::new(Mutex::new(self.store().clone())), plugin)
    }

    fn remembering(store: Arc<Mutex<Store>>, plugin: String) -> Arc<Self> {
        Arc::new(Self { store, journal: Mutex::new(Journal::new(plugin)), keys: crypto::Keys::default() })
    }

    /// The policy's memory.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policy's voice.
    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The host as one instance sees it.
pub(crate) struct HostState {
    /// Bounds of its memory and tables.
    pub(crate) limits: Limits,
    /// What it shares with the policy's other instances.
    pub(crate) shared: Arc<Shared>,
    /// What it is told, kept or played.
    pub(crate) tape: Tape,
    /// The time of the call under way.
    pub(crate) allowance: Allowance,
    /// The moment of the decision under way: a record must replay, so no clock is read.
    pub(crate) unix_ms: u64,
    /// Its chance, likewise.
    pub(crate) seed: u64,
    /// What it writes, if it was built for WASI.
    pub(crate) console: Console,
}

impl HostState {
    /// From now on it is this moment.
    pub(crate) const fn turn_to(&mut self, moment: Moment) {
        (self.unix_ms, self.seed) = (moment.unix_ms, moment.seed);
    }

    /// The moment of the decision under way.
    pub(crate) const fn moment(&self) -> Moment {
        Moment { unix_ms: self.unix_ms, seed: self.seed }
    }
}

impl types::Host for HostState {}

impl host_log::Host for HostState {
    fn log(&mut self, level: String, message: String) {
        self.shared.journal().line(&level, &message, Instant::now());
    }
}

impl host_counters::Host for HostState {
    fn add(&mut self, name: String, by: u64) {
        self.shared.journal().add(name, by);
    }

    fn set(&mut self, name: String, value: u64) {
        self.shared.journal().set(name, value);
    }
}

impl host_store::Host for HostState {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        let (shared, unix_ms) = (&self.shared, self.unix_ms);
        let now = || shared.store().get(&key, unix_ms).map(<[u8]>::to_vec);
        if self.tape.is_off() {
            return now();
        }
        let like = Told::Get { key: key.clone(), value: None };
        match self.tape.tell(&like, || Told::Get { value: now(), key: key.clone() }) {
            Told::Get { value, .. } => value,
            _ => None,
        }
    }

    fn set(&mut self, key: String, value: Vec<u8>, expires_unix_ms: Option<u64>) -> Result<(), String> {
        let (shared, unix_ms) = (&self.shared, self.unix_ms);
        let kept = (!self.tape.is_off()).then(|| key.clone());
        let now = || {
            let written = shared.store().set(key, value, expires_unix_ms, unix_ms);
            written.map_err(|error| error.to_string())
        };
        let Some(key) = kept else { return now() };
        let like = Told::Set { key: key.clone(), result: Ok(()) };
        match self.tape.tell(&like, || Told::Set { result: now(), key }) {
            Told::Set { result, .. } => result,
            _ => Ok(()),
        }
    }

    fn replace(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        expires_unix_ms: Option<u64>,
    ) -> Result<bool, String> {
        let (shared, unix_ms) = (&self.shared, self.unix_ms);
        let kept = (!self.tape.is_off()).then(|| key.clone());
        let now = || {
            let mut store = shared.store();
            let replaced = store.replace(key, expected.as_deref(), value, expires_unix_ms, unix_ms);
            replaced.map_err(|error| error.to_string())
        };
        let Some(key) = kept else { return now() };
        let like = Told::Replace { key: key.clone(), result: Ok(false) };
        match self.tape.tell(&like, || Told::Replace { result: now(), key }) {
            Told::Replace { result, .. } => result,
            _ => Ok(false),
        }
    }

    fn remove(&mut self, key: String) -> bool {
        let (shared, unix_ms) = (&self.shared, self.unix_ms);
        let now = || shared.store().remove(&key, unix_ms);
        if self.tape.is_off() {
            return now();
        }
        let like = Told::Remove { key: key.clone(), removed: false };
        match self.tape.tell(&like, || Told::Remove { removed: now(), key: key.clone() }) {
            Told::Remove { removed, .. } => removed,
            _ => false,
        }
    }

    fn keys(&mut self, prefix: String, after: String, limit: u32) -> Vec<String> {
        let (shared, unix_ms) = (&self.shared, self.unix_ms);
        let now = || shared.store().keys(&prefix, &after, limit, unix_ms);
        if self.tape.is_off() {
            return now();
        }
        let as_told = |keys| Told::Keys { prefix: prefix.clone(), after: after.clone(), limit, keys };
        match self.tape.tell(&as_told(Vec::new()), || as_told(now())) {
            Told::Keys { keys, .. } => keys,
            _ => Vec::new(),
        }
    }
}

impl host_crypto::Host for HostState {
    fn verify(
        &mut self,
        algorithm: String,
        key: Vec<u8>,
        message: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<bool, String> {
        let keys = &self.shared.keys;
        let now = || keys.verify(&algorithm, &key, &message, &signature).map_err(|error| error.to_string());
        if self.tape.is_off() {
            return now();
        }
        let like = Told::Verify { algorithm: algorithm.clone(), result: Ok(false) };
        match self.tape.tell(&like, || Told::Verify { result: now(), algorithm: algorithm.clone() }) {
            Told::Verify { result, .. } => result,
            _ => Ok(false),
        }
    }
}
