//! One plugin under the bounds of production, asked on its caller's thread: for authors' tests and measurements.
//! Knows nothing of queues, of other plugins or of where questions come from.

use crate::bounds;
use crate::chain::Generation;
use crate::config::{Deadlines, PluginConfig, PolicyConfig, Source};
use crate::engine::TICK;
use crate::error::LoadError;
use crate::feed::Mirror;
use crate::inspect::Inspection;
use crate::plugin::{Clock, Loader, Plugin};
use crate::recorder::Recorder;
use crate::seat::{Seat, Surroundings};
use crate::tick::Ticker;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_types::RequestNumber;
use tidegate_types::cluster::Feed;
use tidegate_types::decision::{AnswerBody, Decision, Failure, QuestionBody};

/// Is what a guest computes counted?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metering {
    /// As in production.
    Off,
    /// Counted in fuel, about one unit an instruction: the same on every machine, and slower.
    Fuel,
}

/// Opens sandboxes of one engine.
pub struct Workshop {
    loader: Loader,
    deadlines: Deadlines,
    ticker: Arc<Ticker>,
}

impl Workshop {
    /// With the bounds of `config`; its plugins are not loaded.
    ///
    /// # Errors
    /// [`LoadError::Runtime`] if the system has not the address space or the thread for it.
    pub fn new(config: &PolicyConfig, metering: Metering, clock: Clock) -> Result<Self, LoadError> {
        let loader = match metering {
            Metering::Off => Loader::new(config, clock)?,
            Metering::Fuel => Loader::metered(config, clock)?,
        };
        let ticker = Arc::new(Ticker::start(loader.engine().clone())?);
        Ok(Self { loader, deadlines: config.deadlines, ticker })
    }

    /// Looks into a component without running it.
    ///
    /// # Errors
    /// When the bytes are no component that this host can compile.
    pub fn inspect(&self, source: &Source) -> Result<Inspection, LoadError> {
        self.loader.inspect(source)
    }

    /// Loads a plugin as a host does that has these lookups.
    ///
    /// # Errors
    /// Why a host would not put it in force, and what to do.
    pub fn open(
        &self,
        decision: Decision,
        plugin: &PluginConfig,
        lookups: &[String],
    ) -> Result<Sandbox, LoadError> {
        let loaded = self.loader.load_told(decision, plugin, lookups)?;
        let deadline = self.deadlines.of(decision);
        Ok(Sandbox::new(loaded, plugin.clone(), deadline, self.ticker.clone()))
    }
}

/// One plugin, with one instance that lives as long as it behaves.
pub struct Sandbox {
    seat: Seat,
    /// Keeps nothing.
    recorder: Recorder,
    mirror: Mutex<Mirror>,
    deadline: Duration,
    ticker: Arc<Ticker>,
}

/// What came of a question.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The answer, or why there is none.
    pub result: Result<AnswerBody, Failure>,
    /// From the question to the answer, without any wait.
    pub latency: Duration,
    /// What the guest computed for it, where that is counted and the instance is still there.
    pub fuel: Option<u64>,
    /// The instance's memory afterwards, in bytes; 0 if it is gone.
    pub memory_bytes: usize,
}

impl Sandbox {
    fn new(plugin: Plugin, config: PluginConfig, deadline: Duration, ticker: Arc<Ticker>) -> Self {
        let recorder = Recorder::default();
        let seat = Seat::of(Arc::new(Generation::new(0, plugin, config, 0)), &recorder);
        Self { seat, recorder, mirror: Mutex::default(), deadline, ticker }
    }

    /// The same component with a configuration and lookups of its own and nothing remembered: neither instance, nor
    /// store, nor cluster. It is not compiled again.
    ///
    /// # Errors
    /// When the plugin does not accept the configuration.
    pub fn anew(&self, configuration: &serde_json::Value, lookups: &[String]) -> Result<Self, LoadError> {
        let generation = self.seat.generation();
        let plugin = generation.plugin.anew(configuration, lookups)?;
        let config = PluginConfig { configuration: configuration.clone(), ..generation.config.clone() };
        Ok(Self::new(plugin, config, self.deadline, self.ticker.clone()))
    }

    /// What was loaded.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.seat.generation().plugin
    }

    /// Tells the cluster. The plugin knows of it before its next decision.
    pub fn feed(&self, feed: Feed) {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner).apply(feed);
    }

    /// Asks, and waits for the answer as long as a host would. No lookup is made: an answer that needs one is given
    /// as it is.
    pub fn ask(&mut self, question: &QuestionBody) -> Asked {
        let around = Surroundings {
            mirror: &self.mirror,
            recycle_calls: u64::MAX,
            recorder: &self.recorder,
            number: RequestNumber(0),
            until: None,
        };
        self.seat.mend(&around);
        let before = self.seat.spent();
        let began = Instant::now();
        let deadline = began + self.deadline;
        let said = self.seat.decide(&around, question, deadline);
        let latency = began.elapsed();
        if let Some(trouble) = &said.trouble {
            self.plugin().shared().journal().trouble(trouble, Instant::now());
        }
        let result = said.result.and_then(|answer| bounds::check(question, &answer).map(|()| answer));
        // As in production, an answer that comes too late is none.
        let late = latency > self.deadline + TICK;
        let after = self.seat.spent();
        Asked {
            result: if late && result.is_ok() { Err(Failure::Deadline) } else { result },
            latency,
            fuel: after.fuel.zip(before.fuel).map(|(after, before)| after.saturating_sub(before)),
            memory_bytes: after.memory_bytes,
        }
    }
}
