//! Native code in a component's place: behind the same queue, threads, deadlines and records. Knows nothing of what it
//! decides.
//!
//! For programs that have the host built in, and for measuring what a component costs. Native code is trusted: nothing
//! interrupts it or bounds its memory, and a record of it cannot be decided again.

use crate::plugin::Decider;
use std::fmt;
use std::sync::Arc;
use tidegate_types::decision::Decision;

/// A native policy: what makes its instances, one for each seat.
#[derive(Clone)]
pub struct Native {
    name: &'static str,
    decision: Decision,
    make: Arc<dyn Fn() -> Decider + Send + Sync>,
}

impl Native {
    /// One whose instances are made by `make`, which makes one at once to see what they decide.
    #[must_use]
    pub fn new(name: &'static str, make: impl Fn() -> Decider + Send + Sync + 'static) -> Self {
        Self { name, decision: make().decision(), make: Arc::new(make) }
    }

    /// What logs, records and metrics call it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it decides.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// A new instance that knows nothing yet.
    pub(crate) fn decider(&self) -> Decider {
        (self.make)()
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").field("name", &self.name).field("decision", &self.decision).finish()
    }
}
