//! What one instance may take of memory and tables, and how much memory it took. Knows nothing of time.

use wasmtime::{ResourceLimiter, StoreLimits};

/// The bounds of one instance, which count what they let through.
#[derive(Debug)]
pub(crate) struct Limits {
    bounds: StoreLimits,
    memory_bytes: usize,
}

impl Limits {
    pub(crate) const fn new(bounds: StoreLimits) -> Self {
        Self { bounds, memory_bytes: 0 }
    }

    /// All of the instance's memory, in bytes; memory never shrinks.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = self.bounds.memory_growing(current, desired, maximum)?;
        if granted {
            self.memory_bytes += desired.saturating_sub(current);
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.bounds.table_growing(current, desired, maximum)
    }

    fn instances(&self) -> usize {
        self.bounds.instances()
    }

    fn tables(&self) -> usize {
        self.bounds.tables()
    }

    fn memories(&self) -> usize {
        self.bounds.memories()
    }
}
