//! An instance of a component that is no policy, in the engine and under the bounds of every policy's: what a call costs
//! before anything is asked. Knows nothing of decisions.

use crate::allowance::Allowance;
use crate::engine;
use crate::error::LoadError;
use crate::imports::{HostState, Shared};
use crate::plugin::Loader;
use crate::tape::Tape;
use crate::wasi::Console;
use std::time::{Duration, Instant};
use wasmtime::Store;
use wasmtime::component::{Linker, TypedFunc};

/// Its name in messages.
const LABEL: &str = "bare";
/// Enough for the little that such a component holds.
const MEMORY_BYTES: usize = 1 << 20;
/// Nothing here is interrupted.
const AMPLE: Duration = Duration::from_secs(3_600);

/// The instance. Its component exports `nothing: func()` and `take: func(texts: list<string>)`.
pub struct Bare {
    store: Store<HostState>,
    nothing: TypedFunc<(), ()>,
    take: TypedFunc<(&'static [&'static str],), ()>,
}

impl Bare {
    /// Compiles such a component in a host's engine.
    ///
    /// # Errors
    /// [`LoadError`] if it is none, or does not export both.
    pub fn new(loader: &Loader, component: &[u8]) -> Result<Self, LoadError> {
        let component = loader.compile(LABEL, &component.into())?;
        let state = HostState {
            limits: engine::limits(MEMORY_BYTES),
            shared: Shared::new(LABEL.into()),
            allowance: Allowance::new(Instant::now(), AMPLE),
            tape: Tape::off(),
            unix_ms: 0,
            seed: 0,
            console: Console::default(),
        };
        let mut store = engine::store(loader.engine(), false, state);
        let invalid = |error: wasmtime::Error| LoadError::Invalid {
            origin: LABEL.into(),
            reason: error.root_cause().to_string(),
        };
        let linker = Linker::new(loader.engine());
        let instance = linker.instantiate(&mut store, &component).map_err(invalid)?;
        let nothing = instance.get_typed_func(&mut store, "nothing").map_err(invalid)?;
        let take = instance.get_typed_func(&mut store, "take").map_err(invalid)?;
        Ok(Self { store, nothing, take })
    }

    /// Calls the function that is given nothing and answers nothing.
    ///
    /// # Panics
    /// If it traps.
    pub fn nothing(&mut self) {
        self.nothing.call(&mut self.store, ()).expect("it does nothing");
    }

    /// Hands over texts: one call into the guest for the list, and one for each text.
    ///
    /// # Panics
    /// If it traps.
    pub fn take(&mut self, texts: &'static [&'static str]) {
        self.take.call(&mut self.store, (texts,)).expect("it does nothing with them");
    }
}
