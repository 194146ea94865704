//! What operators may read of the host beyond the directory: policies, decisions, numbers, health. It holds
//! nothing alive. Knows nothing of HTTP.

use crate::change::{self, Settled};
use crate::mailbox::{Letter, Mailbox};
use crate::metrics::{Numbers, exposition};
use crate::office::Board;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tidegate_control::{Operations, PolicyChange, PolicyChanged, PolicyRefusal};
use tidegate_lookup::Lookups;
use tidegate_policy::Policies;
use tidegate_shard::Shards;
use tidegate_types::decision::{DecisionRecord, PolicyInfo};

/// Shards report their load once a second, so a directory that has taken nothing for this long stands still.
const STILL: Duration = Duration::from_secs(5);

/// The node as operators see it.
pub(crate) struct NodeOperations {
    pub(crate) shards: Weak<Shards>,
    pub(crate) policies: Weak<Policies>,
    /// What they may have looked up.
    pub(crate) lookups: Option<Arc<Lookups>>,
    pub(crate) board: Board,
    pub(crate) mailbox: Mailbox,
    pub(crate) settled: Settled,
}

impl Operations for NodeOperations {
    fn policies(&self) -> Vec<PolicyInfo> {
        self.policies.upgrade().map(|policies| policies.info()).unwrap_or_default()
    }

    fn decisions(&self, limit: usize) -> Vec<DecisionRecord> {
        self.policies.upgrade().map(|policies| policies.records(limit)).unwrap_or_default()
    }

    fn change_policy(&self, change: PolicyChange) -> Result<PolicyChanged, PolicyRefusal> {
        let policies = self.policies.upgrade().ok_or_else(change::stopping)?;
        let changed = change::change(&policies, change, self.settled)?;
        self.mailbox.put(Letter::PoliciesChanged);
        Ok(changed)
    }

    fn metrics(&self) -> String {
        exposition(&Numbers {
            shards: &self.shards.upgrade().map(|shards| shards.counters()).unwrap_or_default(),
            directory: &self.board.read().metrics,
            policies: &self.policies(),
            policy_counters: &self.policies.upgrade().map(|policies| policies.counters()).unwrap_or_default(),
            lookups: &self.lookups.as_ref().map(|lookups| lookups.counts()).unwrap_or_default(),
            record_left_out: self.policies.upgrade().map_or(0, |policies| policies.record_left_out()),
            mail_dropped: self.mailbox.dropped(),
        })
    }

    fn health(&self) -> Result<(), String> {
        let shards = self.shards.upgrade().ok_or("the host stops")?;
        if let Some(dead) = shards.counters().iter().find(|shard| !shard.running) {
            return Err(format!("{} has ended", dead.place.shard));
        }
        let still = self.board.read().at.elapsed();
        if still > STILL {
            return Err(format!("the directory has taken nothing for {} s", still.as_secs()));
        }
        Ok(())
    }
}
