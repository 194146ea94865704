//! The policies of one host at work: their threads, the clock tick that interrupts them, and the way of a question
//! through both. Knows nothing of what is done with an answer.
//!
//! ```text
//! send ─▶ lane (bounded) ─▶ worker: chain in force ─▶ each seat: feed, decide, bounds ─▶ sink ─▶ shadows
//!            └── the tick answers those whose time is over     needs a lookup ─▶ parked ─▶ lane
//! ```

use crate::chain::{Chain, Generation, LONGEST, Post};
use crate::config::{Deadlines, OnFailures, PluginConfig, PolicyConfig};
use crate::decide::{self, Ruling, Step};
use crate::error::LoadError;
use crate::feed::Mirror;
use crate::lookups::{Begun, Lookups, Parking};
use crate::plugin::{Clock, Loader};
use crate::queue::{Job, Queue};
use crate::record::{Records, Tally, question_json, record};
use crate::recorder::{Decided, Recorder};
use crate::seat::Surroundings;
use crate::slot::Slot;
use crate::swap::Desk;
use crate::tick::{self, while_time_passes};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate_types::RequestNumber;
use tidegate_types::decision::{Answer, Decision, DecisionRecord, Failure, PolicyInfo, Question, ToPolicy};
use wasmtime::Engine;

/// Takes answers, on any thread, in no particular order. It must return soon: it is called between decisions, and
/// from within [`Policies::send`] when a queue is full.
pub type Sink = Arc<dyn Fn(Answer) + Send + Sync>;

/// Threads of policies give way to those that forward packets. One step only: on a machine that other programs keep
/// busy, more would cost decisions their deadlines.
const NICE: i32 = 1;
/// Room for a guest's stack and the host's own frames.
const STACK_BYTES: usize = 2 << 20;

/// A shadow is not asked while more than so many questions wait: those who wait come first.
const SHADOW_WAITING: usize = 4;

/// The policies of one host.
pub struct Policies {
    pub(crate) office: Arc<Office>,
    workers: Vec<JoinHandle<()>>,
    tick: Option<JoinHandle<()>>,
}

impl Policies {
    /// Loads the plugins and starts their threads. Answers go to `sink`.
    ///
    /// # Errors
    /// Says which plugin cannot be put in force and what to do. Then nothing is left running.
    pub fn start(config: PolicyConfig, clock: Clock, sink: Sink) -> Result<Self, LoadError> {
        let loader = Loader::new(&config, clock.clone())?;
        let threads = config.threads.max(1);
        let desk = Desk::new(loader, threads);
        let engine = desk.loader.engine().clone();
        let record = |to| Recorder::start(to, config.lookups.as_deref());
        let recorder = config.record.as_ref().map(record).transpose()?.unwrap_or_default();
        let queue = Queue::new(config.queue);
        let chains = while_time_passes(&engine, || {
            let chains = load_all(&desk, &config, clock())?;
            for (decision, chain) in Decision::ALL.into_iter().zip(&chains) {
                (0..seats(decision, threads))
                    .for_each(|_| queue.seat(decision, Slot::filled(chain, &recorder)));
            }
            Ok(chains)
        })?;
        let office = Arc::new(Office {
            queue,
            tallies: Mutex::new(
                chains.each_ref().map(|chain| chain.posts.iter().map(|_| Tally::default()).collect()),
            ),
            chains: Mutex::new(chains),
            desk,
            recorder,
            mirror: Mutex::default(),
            records: Mutex::new(Records::new(config.records)),
            lookups: config.lookups,
            parking: Parking::default(),
            most_parked: config.queue,
            deadlines: config.deadlines,
            on_failure: config.on_failure,
            recycle_calls: config.recycle_calls.max(1),
            clock,
            sink,
        });
        Self::run(office, engine, threads)
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

    /// The policies in force, those of one decision in the order in which they are asked.
    #[must_use]
    pub fn info(&self) -> Vec<PolicyInfo> {
        let tallies = self.office.tallies();
        let of = |decision: Decision| {
            let (office, tallies) = (&self.office, &tallies[decision as usize]);
            let chain = office.chain(decision);
            let posts = chain.posts.iter().zip(tallies).enumerate();
            posts.map(|(index, (post, tally))| office.info(decision, index, post, tally)).collect::<Vec<_>>()
        };
        Decision::ALL.into_iter().flat_map(of).collect()
    }

    /// Does a policy make this decision? One that no policy need make is left to the host's own rule otherwise.
    #[must_use]
    pub fn decides(&self, decision: Decision) -> bool {
        !self.office.chain(decision).posts.is_empty()
    }

    /// The last decisions, newest first.
    #[must_use]
    pub fn records(&self, limit: usize) -> Vec<DecisionRecord> {
        self.office.records().last(limit)
    }

    /// The numbers that plugins keep (`host-counters`): decision, name, value; of a chain together.
    #[must_use]
    pub fn counters(&self) -> Vec<(Decision, String, u64)> {
        let mut numbers: BTreeMap<(Decision, String), u64> = BTreeMap::new();
        for decision in Decision::ALL {
            for post in &self.office.chain(decision).posts {
                for (name, value) in post.current.plugin.shared().journal().counters() {
                    let number = numbers.entry((decision, name)).or_default();
                    *number = number.saturating_add(value);
                }
            }
        }
        numbers.into_iter().map(|((decision, name), value)| (decision, name, value)).collect()
    }

    /// How much the record on disk had to leave out, in events; 0 where none is kept.
    #[must_use]
    pub fn record_left_out(&self) -> u64 {
        self.office.recorder.left_out()
    }

    /// How many events are on their way to the record on disk.
    #[must_use]
    pub fn record_waiting(&self) -> u64 {
        self.office.recorder.waiting()
    }

    /// Ends all threads. Questions that still wait are answered `unavailable`; one under way ends by its deadline.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        for job in self.office.queue.stop() {
            self.office.refuse(job, Failure::Unavailable);
        }
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        // Nobody parks any more.
        for job in self.office.parking.clear() {
            self.office.refuse(job, Failure::Unavailable);
        }
        // Only now: a guest in a loop ends by the tick.
        self.office.queue.close();
        if let Some(tick) = self.tick.take() {
            let _ = tick.join();
        }
    }
}

/// One of each decision, which indexes them.
type Chains = [Arc<Chain>; Decision::ALL.len()];
type Tallies = [Vec<Tally>; Decision::ALL.len()];

/// In the order of `Decision`.
fn load_all(desk: &Desk, config: &PolicyConfig, unix_ms: u64) -> Result<Chains, LoadError> {
    let post = |decision: Decision, plugin: &PluginConfig| {
        let current = Arc::new(desk.load(decision, plugin)?);
        told(decision, &current);
        Ok(Post::begun_by(current, unix_ms))
    };
    let chain = |decision: Decision, plugins: &[&PluginConfig]| {
        let posts = plugins.iter().map(|plugin| post(decision, plugin)).collect::<Result<_, LoadError>>()?;
        Ok(Arc::new(Chain::of(posts)))
    };
    let mut authorize = vec![&config.authorize];
    authorize.extend(&config.authorize_next);
    if authorize.len() > LONGEST {
        return Err(LoadError::ChainTooLong { length: authorize.len(), most: LONGEST });
    }
    Ok([
        chain(Decision::Authorize, &authorize)?,
        chain(Decision::Allocate, &[&config.allocate])?,
        chain(Decision::Balance, &[&config.balance])?,
        chain(Decision::Share, &config.share.iter().collect::<Vec<_>>())?,
    ])
}

/// The log names every component that comes in force by its digest.
pub(crate) fn told(decision: Decision, generation: &Generation) {
    let plugin = &generation.plugin;
    tracing::info!(
        decision = decision.name(),
        generation = generation.number,
        policy = plugin.name(),
        version = plugin.version(),
        digest = plugin.digest(),
        origin = plugin.origin(),
        "policy in force"
    );
}

/// Balance has one instance only, share needs no more; another decision has as many as can run while a thread is left to the others.
pub(crate) fn seats(decision: Decision, threads: usize) -> usize {
    match decision {
        Decision::Balance | Decision::Share => 1,
        Decision::Authorize | Decision::Allocate => (threads - 1).max(1),
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LoadError> {
    let builder = std::thread::Builder::new().name(name).stack_size(STACK_BYTES);
    builder.spawn(body).map_err(|error| LoadError::Runtime { reason: error.to_string() })
}

/// What all threads share.
pub(crate) struct Office {
    pub(crate) queue: Queue,
    pub(crate) mirror: Mutex<Mirror>,
    chains: Mutex<Chains>,
    /// Where new generations come from.
    pub(crate) desk: Desk,
    /// Of each decision, one a post.
    tallies: Mutex<Tallies>,
    records: Mutex<Records>,
    pub(crate) recorder: Recorder,
    pub(crate) lookups: Option<Arc<dyn Lookups>>,
    /// Questions that wait for a lookup, and how many may.
    pub(crate) parking: Parking,
    pub(crate) most_parked: usize,
    deadlines: Deadlines,
    on_failure: OnFailures,
    recycle_calls: u64,
    pub(crate) clock: Clock,
    sink: Sink,
}

impl Office {
    fn ask(&self, question: Question) {
        if let Err(job) = self.queue.push(Job::new(question, Instant::now(), self.deadlines)) {
            // Not recorded: under a flood, keeping the rest would cost the sender more than the answer.
            let decision = job.decision();
            self.count(decision, 0, Some(Failure::QueueFull), None);
            let result = decide::settled(Err(Failure::QueueFull), decision, self.on_failure.of(decision));
            (self.sink)(Answer { number: job.question.number, result });
        }
    }

    /// The chain in force, for one question from its beginning to its end.
    pub(crate) fn chain(&self, decision: Decision) -> Arc<Chain> {
        self.chains()[decision as usize].clone()
    }

    /// Puts another chain in force, between two questions.
    pub(crate) fn put(&self, decision: Decision, chain: Chain) {
        self.tally_each(decision, chain.posts.len());
        let old = std::mem::replace(&mut self.chains()[decision as usize], Arc::new(chain));
        // What ends with it ends outside the lock.
        drop(old);
    }

    fn info(&self, decision: Decision, index: usize, post: &Post, tally: &Tally) -> PolicyInfo {
        let plugin = &post.current.plugin;
        PolicyInfo {
            decision,
            position: index + 1,
            generation: post.current.number,
            since_unix_ms: post.since_unix_ms,
            breaker: post.current.breaker().state(Instant::now()),
            on_failure: self.on_failure.of(decision),
            previous: post.previous.as_ref().map(|previous| previous.info()),
            shadow: post.shadow.as_ref().map(|shadow| shadow.info()),
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

    /// A worker's life.
    fn work(self: &Arc<Self>) {
        // Without the right to it, policies run at the host's own priority: no reason not to run.
        let _ = rustix::process::setpriority_process(None, NICE);
        while let Some((mut job, mut slot)) = self.queue.take() {
            let decision = job.decision();
            let mut begun = self.begun(&mut job);
            let around = self.around(job.question.number);
            let (began, on_failure) = (Instant::now(), self.on_failure.of(decision));
            let progress = std::mem::take(&mut begun.progress);
            let (body, deadline) = (&job.question.body, job.deadline);
            let step = decide::rule(&mut slot, &begun.chain, &around, on_failure, body, deadline, progress);
            begun.computed += began.elapsed();
            match step {
                Step::Ruled(ruling) => {
                    let ruling = self.settle(&job, &begun, ruling);
                    // After the answer is out: the next caller need not wait for the instance either.
                    slot.rest(&around);
                    self.shadow(&mut slot, &begun.chain, &job, &ruling);
                    self.queue.give_back(decision, slot);
                }
                Step::Needs(progress, need) => {
                    begun.progress = progress;
                    slot.rest(&around);
                    self.queue.give_back(decision, slot);
                    self.look_up(job, begun, need);
                }
            }
        }
    }

    /// How far a question has come: to its beginning, with the chain in force, unless it has waited for a lookup.
    fn begun(&self, job: &mut Job) -> Begun {
        job.begun.take().map_or_else(|| Begun::new(self.chain(job.question.body.decision())), |begun| *begun)
    }

    /// Lets those on trial decide, too, while nobody waits for long.
    fn shadow(&self, slot: &mut Slot, chain: &Chain, job: &Job, ruling: &Ruling) {
        let decision = job.decision();
        let mut trials = chain.posts.iter().filter_map(|post| post.shadow.as_ref()).peekable();
        if trials.peek().is_none() {
            return;
        }
        if self.queue.waiting(decision) > SHADOW_WAITING {
            trials.for_each(|shadow| shadow.skip());
            return;
        }
        let asked = (job.question.number, &job.question.body);
        let time = self.deadlines.of(decision);
        decide::shadow(slot, chain, &self.around(asked.0), asked, &ruling.verdicts, time);
    }

    /// The life of the tick: has running guests held against their time and give way to those who came, and answers
    /// those whose time is over while they wait.
    fn tick(&self, engine: &Engine) {
        let look = || {
            for job in self.queue.expired(Instant::now()) {
                self.refuse(job, Failure::Deadline);
            }
            self.queue.stirred()
        };
        tick::pass(engine, || self.queue.pause(), look);
    }

    pub(crate) fn around(&self, number: RequestNumber) -> Surroundings<'_> {
        Surroundings {
            mirror: &self.mirror,
            recycle_calls: self.recycle_calls,
            recorder: &self.recorder,
            number,
            until: None,
        }
    }

    /// Answers a question that no policy answers any more.
    pub(crate) fn refuse(&self, mut job: Job, failure: Failure) {
        let mut begun = self.begun(&mut job);
        let progress = std::mem::take(&mut begun.progress);
        self.settle(&job, &begun, Ruling::unasked(failure, progress));
    }

    /// Gives the answer, then counts and remembers how it came about.
    fn settle(&self, job: &Job, begun: &Begun, ruling: Ruling) -> Ruling {
        let elsewhere = begun.computed + begun.looked_up;
        let waited = job.arrived.elapsed().saturating_sub(elsewhere);
        let decision = job.decision();
        let result = decide::settled(ruling.result.clone(), decision, self.on_failure.of(decision));
        let answer = Answer { number: job.question.number, result };
        self.tally(job, &ruling);
        (self.sink)(answer.clone());
        let record = record(job, &answer, begun, &ruling.verdicts, (self.clock)(), waited);
        for verdict in ruling.verdicts.iter().filter(|verdict| verdict.trouble.is_some()) {
            let (reason, asked) =
                (verdict.trouble.as_deref().unwrap_or_default(), question_json(&job.question.body));
            let line = format!("{reason}; generation {}, asked: {asked}", verdict.generation.number);
            verdict.generation.plugin.shared().journal().trouble(&line, Instant::now());
        }
        self.recorder.decided(|| Decided {
            number: record.number,
            unix_ms: record.unix_ms,
            decision,
            by: record.by.clone(),
            result: ruling.result.clone(),
            latency_ns: record.latency_ns,
        });
        self.records().push(record);
        ruling
    }

    /// A post keeps its tally, whoever holds it.
    fn tally_each(&self, decision: Decision, posts: usize) {
        let mut tallies = self.tallies();
        let tallies = &mut tallies[decision as usize];
        tallies.resize_with(tallies.len().max(posts), Tally::default);
    }

    fn tally(&self, job: &Job, ruling: &Ruling) {
        for (index, verdict) in ruling.verdicts.iter().enumerate() {
            self.count(job.decision(), index, verdict.failure, Some(verdict.latency));
        }
        if let Some(failure) = ruling.failure_of_none() {
            self.count(job.decision(), ruling.verdicts.len(), Some(failure), Some(Duration::ZERO));
        }
    }

    fn count(&self, decision: Decision, index: usize, failure: Option<Failure>, latency: Option<Duration>) {
        if let Some(tally) = self.tallies()[decision as usize].get_mut(index) {
            tally.count(failure, latency);
        }
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn chains(&self) -> MutexGuard<'_, Chains> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
