//! Time passes for guests: the engine's epoch moves on, so that none runs for ever. Knows nothing of what is done
//! meanwhile.

use crate::engine::TICK;
use crate::error::LoadError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wasmtime::Engine;

/// Moves the epoch on each [`TICK`], and sooner where `stirred`, which is asked after each pause that `next` gives, as
/// long as it gives one.
pub(crate) fn pass(
    engine: &Engine,
    mut next: impl FnMut() -> Option<Duration>,
    mut stirred: impl FnMut() -> bool,
) {
    let mut pace = Pace { moved: Instant::now() };
    while let Some(pause) = next() {
        std::thread::sleep(pause);
        if pace.moves(Instant::now(), stirred()) {
            engine.increment_epoch();
        }
    }
}

/// When the epoch has moved last.
struct Pace {
    moved: Instant,
}

impl Pace {
    /// Is it to move on now?
    fn moves(&mut self, now: Instant, stirred: bool) -> bool {
        let moves = stirred || now.saturating_duration_since(self.moved) >= TICK;
        if moves {
            self.moved = now;
        }
        moves
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
        let body = move || pass(&engine, || (!ends.load(Ordering::Relaxed)).then_some(TICK), || false);
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

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::engine::{LOOK, TICK};
    use std::time::Instant;

    #[test]
    fn the_epoch_moves_each_tick_and_sooner_where_someone_came() {
        let start = Instant::now();
        let mut pace = Pace { moved: start };
        assert!(!pace.moves(start + LOOK, false), "nobody waits");
        assert!(pace.moves(start + 2 * LOOK, true), "someone may");
        assert!(!pace.moves(start + TICK, false), "that was no tick ago");
        assert!(pace.moves(start + 2 * LOOK + TICK, false), "a deadline may be over");
    }
}
