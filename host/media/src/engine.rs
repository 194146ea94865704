//! (placeholder) The engine's surface, as shards use it.

use crate::io::{Crossing, Incoming, Output, Secrets};
use std::time::Instant;
use tidegate_types::command::Command;
use tidegate_types::transport::Candidate;
use tidegate_types::{Now, Place, Pool};

/// How an engine is set up.
pub struct EngineConfig {
    /// The place that it serves.
    pub place: Place,
    /// What its transports announce.
    pub candidates: Vec<Candidate>,
}

/// Counters of an engine, for load reports and metrics.
#[derive(Clone, Debug, Default)]
pub struct EngineCounters {
    /// Transports that stand here.
    pub transports: u64,
    /// Consumers that stand here.
    pub consumers: u64,
    /// Dropped datagrams by kind, since the start.
    pub dropped: Vec<(&'static str, u64)>,
}

/// One shard's engine.
pub struct Engine {
    output: Output,
    pool: Pool,
}

impl Engine {
    /// An engine without transports.
    #[must_use]
    pub fn new(_config: EngineConfig, _secrets: Box<dyn Secrets>) -> Self {
        Self { output: Output::default(), pool: Pool::new(4_096) }
    }
    /// Where receive buffers come from and go back to.
    pub fn pool(&mut self) -> &mut Pool {
        &mut self.pool
    }
    /// One command of the directory; its reply appears in the output.
    pub fn command(&mut self, _now: Now, _command: Command) {}
    /// A batch of received datagrams, drained.
    pub fn receive(&mut self, _now: Now, batch: &mut Vec<Incoming>) {
        batch.clear();
    }
    /// Something from another shard.
    pub fn cross(&mut self, _now: Now, _from: Place, _crossing: Crossing) {}
    /// Time passed.
    pub fn timeout(&mut self, _now: Now) {}
    /// When [`Engine::timeout`] wants to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }
    /// What is to be done; the owner drains it.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }
    /// Counters.
    #[must_use]
    pub fn counters(&self) -> EngineCounters {
        EngineCounters::default()
    }
}
