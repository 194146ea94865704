//! Time passes for guests: the engine's epoch moves on, so that none runs for ever. Knows nothing of what is done
//! meanwhile.

use crate::engine::TICK;
use crate::error::LoadError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use wasmtime::Engine;

/// Moves the epoch on each [`TICK`] as long as `goes_on`, and does `each` beside it.
pub(crate) fn pass(engine: &Engine, mut goes_on: impl FnMut() -> bool, mut each: impl FnMut()) {
    while goes_on() {
        std::thread::sleep(TICK);
        engine.increment_epoch();
        each();
    }
}

/// Does `work` while time passes.
///
/// # Errors
/// Those of `work`; [`LoadError::Runtime`] if there is no thread to be had.
pub(crate) fn while_time_passes<T, E: From<LoadError>>(
    engine: &Engine,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let _ticker = Ticker::start(engine.clone())?;
    work()
}

/// Time passes as long as this lives.
pub(crate) struct Ticker {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> Result<Self, LoadError> {
        let done = Arc::new(AtomicBool::new(false));
        let ends = done.clone();
        let body = move || pass(&engine, || !ends.load(Ordering::Relaxed), || {});
        let spawned = std::thread::Builder::new().name("policy-tick".into()).spawn(body);
        let thread = spawned.map_err(|error| LoadError::Runtime { reason: error.to_string() })?;
        Ok(Self { done, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
