//! Who decides: the policies of one decision in their order, what stood there before them and what stands beside
//! them. A chain never changes: another takes its place between two questions. Knows nothing of threads.

use crate::breaker::Breaker;
use crate::config::PluginConfig;
use crate::plugin::Plugin;
use crate::record::Tally;
use crate::seat::Held;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidegate_types::RequestNumber;
use tidegate_types::decision::{AnswerBody, Difference, Failure, GenerationInfo, ShadowInfo};

/// The most policies in one chain: each costs its part of the one deadline.
pub(crate) const LONGEST: usize = 8;
/// How many differences of a shadow are kept.
const DIFFERENCES: usize = 16;

/// The policies of one decision.
#[derive(Clone)]
pub(crate) struct Chain {
    /// In the order in which they are asked; empty only where no policy need decide and none does.
    pub(crate) posts: Vec<Post>,
    /// Who decided before the host's own rule came back; kept ready for a way back, and there only where nobody decides.
    pub(crate) retired: Option<Arc<Generation>>,
}

impl Chain {
    /// These decide.
    pub(crate) const fn of(posts: Vec<Post>) -> Self {
        Self { posts, retired: None }
    }

    /// Nobody does any more.
    pub(crate) const fn left_by(retired: Arc<Generation>) -> Self {
        Self { posts: Vec::new(), retired: Some(retired) }
    }
}

/// One place in a chain, and who holds it.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) current: Arc<Generation>,
    pub(crate) since_unix_ms: u64,
    /// Who held it before; kept ready for a way back.
    pub(crate) previous: Option<Arc<Generation>>,
    /// Who decides beside it without counting.
    pub(crate) shadow: Option<Arc<Shadow>>,
}

impl Post {
    /// Held by `current` from now on, and by nobody before.
    pub(crate) const fn begun_by(current: Arc<Generation>, unix_ms: u64) -> Self {
        Self { current, since_unix_ms: unix_ms, previous: None, shadow: None }
    }

    /// `next` holds it from now on; who did before is kept, and no shadow remains.
    pub(crate) fn taken_by(&self, next: Arc<Generation>, unix_ms: u64) -> Self {
        Self { current: next, since_unix_ms: unix_ms, previous: Some(self.current.clone()), shadow: None }
    }
}

/// One load of one component.
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) plugin: Plugin,
    /// What it was loaded from.
    pub(crate) config: PluginConfig,
    breaker: Mutex<Breaker>,
    /// Instances that nobody uses now: made before it came in force, or left from when it was.
    spares: Mutex<Vec<Held>>,
    most_spares: usize,
}

impl Generation {
    pub(crate) fn new(number: u64, plugin: Plugin, config: PluginConfig, most_spares: usize) -> Self {
        Self { number, plugin, config, breaker: Mutex::default(), spares: Mutex::default(), most_spares }
    }

    pub(crate) fn info(&self) -> GenerationInfo {
        GenerationInfo {
            generation: self.number,
            name: self.plugin.name().into(),
            version: self.plugin.version().into(),
            digest: self.plugin.digest().into(),
            origin: self.plugin.origin().into(),
        }
    }

    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an instance; one too many ends.
    pub(crate) fn keep(&self, held: Held) {
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < self.most_spares {
            spares.push(held);
        }
    }

    pub(crate) fn spare(&self) -> Option<Held> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// A generation on trial.
pub(crate) struct Shadow {
    pub(crate) generation: Arc<Generation>,
    trial: Mutex<Trial>,
}

#[derive(Default)]
struct Trial {
    tally: Tally,
    differences: u64,
    failures: u64,
    skipped: u64,
    last: VecDeque<Difference>,
}

impl Shadow {
    pub(crate) fn new(generation: Arc<Generation>) -> Self {
        Self { generation, trial: Mutex::default() }
    }

    /// It was not asked, because others waited.
    pub(crate) fn skip(&self) {
        self.trial().skipped += 1;
    }

    /// Compares what it answered with what counted.
    pub(crate) fn count(
        &self,
        number: RequestNumber,
        in_force: &Result<AnswerBody, Failure>,
        instead: &Result<AnswerBody, Failure>,
        latency: Duration,
    ) {
        let mut trial = self.trial();
        trial.tally.count(instead.as_ref().err().copied(), Some(latency));
        trial.failures += u64::from(instead.is_err());
        if in_force == instead {
            return;
        }
        trial.differences += 1;
        trial.last.truncate(DIFFERENCES - 1);
        let (in_force, instead) = (crate::record::outcome(in_force), crate::record::outcome(instead));
        trial.last.push_front(Difference { number, in_force, instead });
    }

    pub(crate) fn info(&self) -> ShadowInfo {
        let trial = self.trial();
        ShadowInfo {
            generation: self.generation.info(),
            calls: trial.tally.calls(),
            differences: trial.differences,
            failures: trial.failures,
            skipped: trial.skipped,
            latency_p50_ns: trial.tally.percentile_ns(50),
            latency_p99_ns: trial.tally.percentile_ns(99),
            last: trial.last.iter().cloned().collect(),
        }
    }

    fn trial(&self) -> MutexGuard<'_, Trial> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
