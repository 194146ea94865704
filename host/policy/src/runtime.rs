//! The policies of one host at work: their threads, the clock tick that interrupts them, and the way of a question
//! through both. Knows nothing of what is done with an answer.
//!
//! ```text
//! send ─▶ lane (bounded) ─▶ worker: seat ─▶ feed ─▶ decide ─▶ bounds ─▶ sink
//!            └── the tick answers those whose time is over
//! ```

use crate::bounds;
use crate::config::{Deadlines, Lookup, PluginConfig, PolicyConfig};
use crate::engine::TICK;
use crate::error::LoadError;
use crate::feed::Mirror;
use crate::plugin::{Clock, Loader, Plugin};
use crate::queue::{Job, Queue};
use crate::record::{Records, Tally, record};
use crate::slot::{Slot, Surroundings};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tidegate_types::decision::{
    Answer, AnswerBody, Decision, DecisionRecord, Failure, PolicyInfo, Question, ToPolicy,
};
use wasmtime::Engine;

/// Takes answers, on any thread, in no particular order. It must return soon: it is called between decisions, and
/// from within [`Policies::send`] when a queue is full.
pub type Sink = Arc<dyn Fn(Answer) + Send + Sync>;

/// Threads of policies give way to those that forward packets. One step only: on a machine that other programs keep
/// busy, more would cost decisions their deadlines.
const NICE: i32 = 1;
/// Room for a guest's stack and the host's own frames.
const STACK_BYTES: usize = 2 << 20;

/// The policies of one host.
pub struct Policies {
    office: Arc<Office>,
    workers: Vec<JoinHandle<()>>,
    tick: Option<JoinHandle<()>>,
}

impl Policies {
    /// Loads the three plugins and starts their threads. Answers go to `sink`.
    ///
    /// # Errors
    /// Says which plugin cannot be put in force and what to do. Then nothing is left running.
    pub fn start(config: PolicyConfig, clock: Clock, sink: Sink) -> Result<Self, LoadError> {
        let loader = Loader::new(&config, clock.clone())?;
        let threads = config.threads.max(1);
        let queue = Queue::new(config.queue);
        let plugins = while_time_passes(loader.engine(), || {
            let plugins = load_all(&loader, &config)?;
            plugins.iter().for_each(|plugin| seat(&queue, plugin, threads));
            Ok(plugins)
        })?;
        let office = Arc::new(Office {
            queue,
            plugins,
            mirror: Mutex::default(),
            tallies: Mutex::default(),
            records: Mutex::new(Records::new(config.records)),
            lookups: config.lookups,
            deadlines: config.deadlines,
            recycle_calls: config.recycle_calls.max(1),
            clock,
            sink,
        });
        Self::run(office, loader.engine().clone(), threads)
    }

    fn run(office: Arc<Office>, engine: Engine, threads: usize) -> Result<Self, LoadError> {
        let mut policies = Self { office, workers: Vec::new(), tick: None };
        for index in 0..threads {
            let office = policies.office.clone();
            policies.workers.push(spawn(format!("policy-{index}"), move || office.work())?);
        }
        let office = policies.office.clone();
        policies.tick = Some(spawn("policy-tick".into(), move || office.tick(&engine))?);
        Ok(policies)
    }

    /// Tells the policies something, or asks them. Never blocks on a policy.
    ///
    /// What a feed tells is known to every instance before its next decision.
    pub fn send(&self, message: ToPolicy) {
        match message {
            ToPolicy::Feed(feed) => {
                if !self.office.mirror().apply(feed) {
                    tracing::warn!("a change to the cluster was left out: it belongs to another generation");
                }
            }
            ToPolicy::Ask(question) => self.office.ask(question),
        }
    }

    /// The policies in force.
    #[must_use]
    pub fn info(&self) -> Vec<PolicyInfo> {
        let tallies = self.office.tallies();
        self.office.plugins.iter().map(|plugin| info(plugin, &tallies[plugin.decision() as usize])).collect()
    }

    /// The last decisions, newest first.
    #[must_use]
    pub fn records(&self, limit: usize) -> Vec<DecisionRecord> {
        self.office.records().last(limit)
    }

    /// The numbers that plugins keep (`host-counters`): decision, name, value.
    #[must_use]
    pub fn counters(&self) -> Vec<(Decision, String, u64)> {
        let named = |plugin: &Plugin| {
            let decision = plugin.decision();
            let counters = plugin.shared().journal().counters();
            counters.into_iter().map(move |(name, value)| (decision, name, value))
        };
        self.office.plugins.iter().flat_map(named).collect()
    }

    /// Ends all threads. Questions that still wait are answered `unavailable`; one under way ends by its deadline.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        for job in self.office.queue.stop() {
            self.office.refuse(&job, Failure::Unavailable);
        }
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        // Only now: a guest in a loop ends by the tick.
        self.office.queue.close();
        if let Some(tick) = self.tick.take() {
            let _ = tick.join();
        }
    }
}

fn load_all(loader: &Loader, config: &PolicyConfig) -> Result<[Plugin; 3], LoadError> {
    let load = |decision: Decision, plugin: &PluginConfig| loader.load(decision, plugin);
    // In the order of `Decision`, which indexes them.
    Ok([
        load(Decision::Authorize, &config.authorize)?,
        load(Decision::Allocate, &config.allocate)?,
        load(Decision::Balance, &config.balance)?,
    ])
}

/// Balance has one instance only; another decision has as many as can run while a thread is left to the others.
fn seat(queue: &Queue, plugin: &Plugin, threads: usize) {
    let seats = match plugin.decision() {
        Decision::Balance => 1,
        Decision::Authorize | Decision::Allocate => (threads - 1).max(1),
    };
    for _ in 0..seats {
        queue.seat(plugin.decision(), Slot::filled(plugin));
    }
}

/// Runs `work` with the engine's epoch moving on, so that guests in it cannot run for ever.
fn while_time_passes<T>(engine: &Engine, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                engine.increment_epoch();
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LoadError> {
    let builder = std::thread::Builder::new().name(name).stack_size(STACK_BYTES);
    builder.spawn(body).map_err(|error| LoadError::Runtime { reason: error.to_string() })
}

fn info(plugin: &Plugin, tally: &Tally) -> PolicyInfo {
    PolicyInfo {
        decision: plugin.decision(),
        name: plugin.name().into(),
        version: plugin.version().into(),
        digest: plugin.digest().into(),
        origin: plugin.origin().into(),
        calls: tally.calls(),
        failures: tally.failures(),
        latency_p50_ns: tally.percentile_ns(50),
        latency_p99_ns: tally.percentile_ns(99),
    }
}

/// What all threads share.
struct Office {
    queue: Queue,
    mirror: Mutex<Mirror>,
    plugins: [Plugin; 3],
    tallies: Mutex<[Tally; 3]>,
    records: Mutex<Records>,
    lookups: BTreeMap<String, Lookup>,
    deadlines: Deadlines,
    recycle_calls: u64,
    clock: Clock,
    sink: Sink,
}

impl Office {
    fn ask(&self, question: Question) {
        if let Err(job) = self.queue.push(Job::new(question, Instant::now(), self.deadlines)) {
            // Not recorded: under a flood, keeping the rest would cost the sender more than the answer.
            self.tallies()[job.decision() as usize].count(Some(Failure::QueueFull), None);
            (self.sink)(Answer { number: job.question.number, result: Err(Failure::QueueFull) });
        }
    }

    /// A worker's life.
    fn work(&self) {
        // Without the right to it, policies run at the host's own priority: no reason not to run.
        let _ = rustix::process::setpriority_process(None, NICE);
        while let Some((job, mut slot)) = self.queue.take() {
            let around = self.around(job.decision());
            let began = Instant::now();
            let result = decide(&mut slot, &around, &job, began);
            self.settle(&job, result, began);
            // After the answer is out: the next caller need not wait for the instance either.
            slot.mend(&around);
            self.queue.give_back(job.decision(), slot);
        }
    }

    /// The life of the tick: has running guests held against their time, and answers those whose time is over
    /// while they wait.
    fn tick(&self, engine: &Engine) {
        while self.queue.until_busy() {
            std::thread::sleep(TICK);
            engine.increment_epoch();
            for job in self.queue.expired(Instant::now()) {
                self.refuse(&job, Failure::Deadline);
            }
        }
    }

    fn around(&self, decision: Decision) -> Surroundings<'_> {
        Surroundings {
            plugin: &self.plugins[decision as usize],
            mirror: &self.mirror,
            lookups: Some(&self.lookups),
            recycle_calls: self.recycle_calls,
        }
    }

    /// Answers a question that never reached a policy.
    fn refuse(&self, job: &Job, failure: Failure) {
        self.settle(job, Err(failure), Instant::now());
    }

    fn settle(&self, job: &Job, result: Result<AnswerBody, Failure>, began: Instant) {
        let latency = began.elapsed();
        let waited = began.saturating_duration_since(job.arrived);
        let answer = Answer { number: job.question.number, result };
        let decision = job.decision();
        self.tallies()[decision as usize].count(answer.result.as_ref().err().copied(), Some(latency));
        (self.sink)(answer.clone());
        let digest = self.plugins[decision as usize].digest();
        let record = record(&job.question, &answer, digest, (self.clock)(), waited, latency);
        self.records().push(record);
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tallies(&self) -> MutexGuard<'_, [Tally; 3]> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decides if there is still time, and holds the answer to its bounds and its deadline.
fn decide(
    slot: &mut Slot,
    around: &Surroundings<'_>,
    job: &Job,
    began: Instant,
) -> Result<AnswerBody, Failure> {
    if began >= job.deadline {
        return Err(Failure::Deadline);
    }
    let answer = slot.decide(around, &job.question.body, job.deadline)?;
    bounds::check(&job.question.body, &answer)?;
    // An answer that comes too late is none: its caller has gone on without.
    if Instant::now() > job.deadline + TICK { Err(Failure::Deadline) } else { Ok(answer) }
}
