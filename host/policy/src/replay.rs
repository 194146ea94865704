//! A record decided again: by the same components, to see that it comes out the same to the last bit, or with another
//! in one's place, to see what that would change. Knows nothing of queues or of a running host.
//!
//! Late answers and interrupted calls stay as they were: how fast a machine is, is no part of a policy. A record that
//! is cut is replayed up to the cut.

use crate::bounds;
use crate::config::{PluginConfig, PolicyConfig};
use crate::error::LoadError;
use crate::feed::Cluster;
use crate::mask::Masked;
use crate::meet::meet;
use crate::plugin::{Decider, Loader, Plugin, source_digest};
use crate::record::outcome;
use crate::recorder::{Call, Decided, ENGINE, Event, FORMAT, Header, Start, What, configuration_hash};
use crate::runtime::while_time_passes;
use crate::tape::{Tape, Told};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;
use tidegate_types::RequestNumber;
use tidegate_types::decision::{AnswerBody, AuthorizeAnswer, Decision, Failure, QuestionBody};

/// What one call may take in a replay.
const CALL_TIME: Duration = Duration::from_secs(1);
/// The longest line, in bytes: a reset of the largest cluster fits.
const LINE_BYTES: u64 = 64 << 20;
/// The most affected decisions that are listed; the others are counted.
const LISTED: usize = 100_000;

/// What a record is decided by.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Components, found by their digest, with their configurations; those that the record does not need are left.
    pub components: Vec<PluginConfig>,
    /// Another in the place of one that is in the record.
    pub instead: Option<Instead>,
}

/// Another component in one's place.
#[derive(Clone, Debug)]
pub struct Instead {
    /// Of which decision.
    pub decision: Decision,
    /// In the place of which component, by its digest; `None`: of all that made this decision.
    pub digest: Option<String>,
    /// What decides instead.
    pub plugin: PluginConfig,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Decisions in the record.
    pub decisions: u64,
    /// Calls that were made again.
    pub calls: u64,
    /// Calls that were not, because what they need is not in the record or their component was not given.
    pub left_out: u64,
    /// Calls that had been interrupted at their deadline, and are taken as such.
    pub interrupted: u64,
    /// Decisions that come out otherwise, in the record's order.
    pub affected: Vec<Affected>,
    /// More of them than are listed.
    pub more_affected: u64,
    /// Decisions that come out otherwise where only a mask of the token is in the record: no wonder.
    pub masked: u64,
    /// What else is to be known: a cut, gaps, components that were not given.
    pub warnings: Vec<String>,
}

/// A decision that comes out otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affected {
    /// The question's number.
    pub number: RequestNumber,
    /// When it was decided, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Which decision.
    pub decision: Decision,
    /// The answer in the record, as JSON, or the failure's name.
    pub before: String,
    /// The answer now.
    pub after: String,
}

/// Why a record was not replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("the record cannot be read ({0})")]
    Unreadable(#[from] std::io::Error),
    /// The first line is no header of a record.
    #[error("this is no record of decisions: its first line does not say so")]
    NotARecord,
    /// Made by another version.
    #[error(
        "the record has format {found}, this program reads {FORMAT}: replay it with the version that made it"
    )]
    OtherFormat {
        /// The record's format.
        found: u32,
    },
    /// A component does not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Decides a record again.
///
/// # Errors
/// Where not even its beginning can be used, or a given component does not load.
pub fn replay(record: impl BufRead, with: Replay) -> Result<Replayed, ReplayError> {
    let mut lines = Lines { record, number: 0 };
    let header = header(&mut lines)?;
    let any = with.components.first().or(with.instead.as_ref().map(|instead| &instead.plugin));
    let Some(any) = any.cloned() else {
        let warnings = vec!["no component was given: nothing could be decided again".to_owned()];
        return Ok(Replayed { warnings, ..Replayed::default() });
    };
    let mut config = PolicyConfig::new(any.clone(), any.clone(), any);
    config.threads = 16;
    let loader = Loader::new(&config, Arc::new(|| 0))?;
    while_time_passes(loader.engine(), || {
        let mut theatre = Theatre::new(&loader, header, with)?;
        while let Some(event) = lines.next(&mut theatre.found.warnings)? {
            theatre.play(event)?;
        }
        Ok(theatre.end())
    })
}

fn header(lines: &mut Lines<impl BufRead>) -> Result<Header, ReplayError> {
    match lines.next(&mut Vec::new())? {
        Some(Event::Header(header)) if header.tidegate_record == FORMAT => Ok(header),
        Some(Event::Header(header)) => Err(ReplayError::OtherFormat { found: header.tidegate_record }),
        _ => Err(ReplayError::NotARecord),
    }
}

struct Lines<R> {
    record: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next event; `None` at the end, and where a line cannot be read, which is told.
    fn next(&mut self, warnings: &mut Vec<String>) -> std::io::Result<Option<Event>> {
        let mut line = Vec::new();
        std::io::Read::take(&mut self.record, LINE_BYTES).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let event = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
        if event.is_none() {
            let number = self.number;
            warnings.push(format!("the record is cut in line {number}: everything before it was replayed"));
        }
        Ok(event)
    }
}

/// An instance of the record, alive again.
struct Live {
    plugin: Arc<Plugin>,
    /// `None` once too little is known of it.
    decider: Option<Decider>,
    cluster: Option<Cluster>,
    events: u64,
    generation: u64,
    unix_ms: u64,
    /// Another component plays it.
    replaced: bool,
}

/// One call of a decision, then and now.
struct Redone {
    generation: u64,
    question: QuestionBody,
    then: Result<AnswerBody, Failure>,
    /// `None` where it could not be made again.
    now: Option<Result<AnswerBody, Failure>>,
    masked: Masked,
}

struct Theatre<'a> {
    loader: &'a Loader,
    header: Header,
    with: Replay,
    /// By digest, hash of the configuration, and decision.
    loaded: BTreeMap<(String, String, &'static str), Option<Arc<Plugin>>>,
    instead: Option<Arc<Plugin>>,
    live: HashMap<u64, Live>,
    open: HashMap<RequestNumber, Vec<Redone>>,
    missing: BTreeSet<String>,
    gaps: u64,
    found: Replayed,
}

impl<'a> Theatre<'a> {
    fn new(loader: &'a Loader, header: Header, with: Replay) -> Result<Self, LoadError> {
        let load = |instead: &Instead| loader.load(instead.decision, &instead.plugin).map(Arc::new);
        let instead = with.instead.as_ref().map(load).transpose()?;
        let mut found = Replayed::default();
        if header.engine != ENGINE {
            found.warnings.push(format!("the record was made with {}, this is {ENGINE}", header.engine));
        }
        Ok(Self {
            loader,
            header,
            with,
            loaded: BTreeMap::new(),
            instead,
            live: HashMap::new(),
            open: HashMap::new(),
            missing: BTreeSet::new(),
            gaps: 0,
            found,
        })
    }

    fn play(&mut self, event: Event) -> Result<(), LoadError> {
        match event {
            Event::Header(header) => self.header = header,
            Event::Decision(decided) => self.settle(&decided),
            Event::Instance { instance, what: What::Start(start), .. } => self.start(instance, &start)?,
            Event::Instance { instance, event, what } => self.met(instance, event, what),
        }
        Ok(())
    }

    fn start(&mut self, instance: u64, start: &Start) -> Result<(), LoadError> {
        let instead = self.with.instead.as_ref().filter(|instead| {
            instead.decision == start.decision
                && instead.digest.as_ref().is_none_or(|digest| *digest == start.digest)
        });
        let replaced = instead.is_some();
        let plugin = if replaced { self.instead.clone() } else { self.component(start)? };
        let Some(plugin) = plugin else {
            self.missing.insert(format!("{} {} from {}", start.decision.name(), start.digest, start.origin));
            return Ok(());
        };
        let decider = plugin.decider_with(Tape::playing(&start.told), start.unix_ms).ok();
        let (generation, unix_ms) = (start.generation, start.unix_ms);
        let live = Live { plugin, decider, cluster: None, events: 1, generation, unix_ms, replaced };
        self.live.insert(instance, live);
        Ok(())
    }

    /// The component of an instance's digest and configuration, if it was given.
    fn component(&mut self, start: &Start) -> Result<Option<Arc<Plugin>>, LoadError> {
        let key = (start.digest.clone(), start.configuration_hash.clone(), start.decision.name());
        if let Some(known) = self.loaded.get(&key) {
            return Ok(known.clone());
        }
        let mut found = None;
        for config in &self.with.components {
            let mut config = config.clone();
            if let Some(recorded) = &start.configuration {
                config.configuration = recorded.clone();
            }
            let hash = configuration_hash(&self.header.salt, &config.configuration.to_string());
            let same = source_digest(&config.source).is_ok_and(|digest| digest == start.digest);
            if same && hash == start.configuration_hash {
                found = Some(Arc::new(self.loader.load(start.decision, &config)?));
                break;
            }
        }
        self.loaded.insert(key, found.clone());
        Ok(found)
    }

    fn met(&mut self, instance: u64, event: u64, what: What) {
        let Some(live) = self.live.get_mut(&instance) else {
            return self.unknown(what);
        };
        live.events += 1;
        if live.events != event {
            self.gaps += 1;
            self.live.remove(&instance);
            return self.unknown(what);
        }
        match what {
            What::Start(_) => {}
            What::End => {
                self.live.remove(&instance);
            }
            What::Reset { generation, rows, told, failed } => {
                live.reset(Cluster::new(generation, &rows), &told, failed);
            }
            What::Delta { generation, changes, told, failed } => {
                if let Some(cluster) = &mut live.cluster {
                    changes.iter().for_each(|change| cluster.apply(change));
                }
                let heard = live.fed(&told).is_none_or(|fed| fed.delta(generation, &changes).is_ok());
                if failed || !heard {
                    live.decider = None;
                }
            }
            What::Call(call) => {
                let now = live.call(&call);
                match &now {
                    None => self.found.left_out += 1,
                    Some(_) if call.answer == Err(Failure::Deadline) && !live.replaced => {
                        self.found.interrupted += 1;
                    }
                    Some(_) => self.found.calls += 1,
                }
                let redone = Redone {
                    generation: live.generation,
                    question: call.question(),
                    then: call.answer,
                    now,
                    masked: call.masked,
                };
                self.open.entry(call.number).or_default().push(redone);
            }
        }
    }

    /// Something that an instance met of which too little is known.
    fn unknown(&mut self, what: What) {
        if let What::Call(call) = what {
            self.found.left_out += 1;
            let (question, masked) = (call.question(), call.masked);
            let redone = Redone { generation: 0, question, then: call.answer, now: None, masked };
            self.open.entry(call.number).or_default().push(redone);
        }
    }

    fn settle(&mut self, decided: &Decided) {
        self.found.decisions += 1;
        let redone = self.open.remove(&decided.number).unwrap_or_default();
        let changed = |redone: &Redone| redone.now.as_ref().is_some_and(|now| *now != redone.then);
        if !redone.iter().any(changed) {
            return;
        }
        let after = again(decided, &redone);
        if after == decided.result {
            return;
        }
        if self.instead.is_none() && redone.iter().any(|redone| redone.masked == Masked::Whole) {
            self.found.masked += 1;
        } else if self.found.affected.len() < LISTED {
            self.found.affected.push(Affected {
                number: decided.number,
                unix_ms: decided.unix_ms,
                decision: decided.decision,
                before: outcome(&decided.result),
                after: outcome(&after),
            });
        } else {
            self.found.more_affected += 1;
        }
    }

    fn end(mut self) -> Replayed {
        for missing in &self.missing {
            let line =
                format!("not given, and left out: the component for {missing}, with its configuration");
            self.found.warnings.push(line);
        }
        if self.gaps > 0 {
            let line =
                format!("{} instances have gaps: the record did not keep up, or begins later", self.gaps);
            self.found.warnings.push(line);
        }
        if !self.open.is_empty() {
            self.found.warnings.push(format!("{} decisions are not whole in the record", self.open.len()));
        }
        self.found
    }
}

impl Live {
    fn fed(&mut self, told: &[Told]) -> Option<&mut dyn crate::host::Fed> {
        let decider = self.decider.as_mut()?;
        decider.instance().allow(CALL_TIME);
        decider.play(told);
        match decider {
            Decider::Authorize(_) => None,
            Decider::Allocate(decider) => Some(decider.as_mut()),
            Decider::Balance(decider) => Some(decider.as_mut()),
        }
    }

    fn reset(&mut self, cluster: Cluster, told: &[Told], failed: bool) {
        let heard = self.fed(told).is_none_or(|fed| fed.reset(&cluster).is_ok());
        self.cluster = Some(cluster);
        if failed || !heard {
            self.decider = None;
        }
    }

    /// The same call again; `None` where too little is known.
    fn call(&mut self, call: &Call) -> Option<Result<AnswerBody, Failure>> {
        if call.answer == Err(Failure::Deadline) && !self.replaced {
            self.decider = None;
            return Some(Err(Failure::Deadline));
        }
        if self.decider.is_none() && self.replaced {
            self.revive();
        }
        let decider = self.decider.as_mut()?;
        decider.instance().allow(CALL_TIME);
        decider.play(&call.told);
        let answer = match (decider, call.question()) {
            (Decider::Authorize(decider), QuestionBody::Authorize(request)) => {
                decider.authorize(&request).map(AnswerBody::Authorize)
            }
            (Decider::Allocate(decider), QuestionBody::Place(request)) => {
                decider.place(&request).map(AnswerBody::Place)
            }
            (Decider::Balance(decider), QuestionBody::Balance(request)) => {
                decider.balance(&request).map(AnswerBody::Balance)
            }
            _ => return None,
        };
        if matches!(answer, Err(failure) if failure != Failure::Stale) {
            self.decider = None;
        }
        Some(answer)
    }

    /// Where another component plays, an instance that failed is followed by a fresh one, as in a host.
    fn revive(&mut self) {
        self.decider = self.plugin.decider_with(Tape::playing(&[]), self.unix_ms).ok();
        if let Some(cluster) = self.cluster.take() {
            self.reset(cluster, &[], false);
        }
    }
}

/// What a decision comes to with the answers of now.
fn again(decided: &Decided, redone: &[Redone]) -> Result<AnswerBody, Failure> {
    let mut so_far: Option<AnswerBody> = None;
    for by in decided.by.iter().filter(|by| by.asked) {
        let of = |generation: u64| redone.iter().rev().find(move |redone| redone.generation == generation);
        let own = of(by.generation);
        // A late answer stays late.
        let late = by.failure == Some(Failure::Deadline) && own.is_some_and(|own| own.then.is_ok());
        let answer = match own.and_then(|own| own.now.as_ref().map(|now| (own, now))) {
            Some((own, now)) if *now != own.then && !late => checked(&own.question, now),
            _ => match (by.failure, by.instead.and_then(of), own) {
                (Some(_), Some(other), _) => other.now.clone().unwrap_or_else(|| other.then.clone()),
                (Some(failure), None, _) => Err(failure),
                (None, _, Some(own)) => own.then.clone(),
                (None, _, None) => Err(Failure::Unavailable),
            },
        };
        so_far = Some(match (so_far, answer?) {
            (
                Some(AnswerBody::Authorize(AuthorizeAnswer::Grant(first))),
                AnswerBody::Authorize(AuthorizeAnswer::Grant(second)),
            ) => AnswerBody::Authorize(match meet(first, second) {
                Ok((grant, _)) => AuthorizeAnswer::Grant(grant),
                Err(refusal) => AuthorizeAnswer::Refuse(refusal),
            }),
            (_, answer) => answer,
        });
        if !matches!(so_far, Some(AnswerBody::Authorize(AuthorizeAnswer::Grant(_)))) {
            break;
        }
    }
    so_far.ok_or(Failure::Unavailable)
}

/// An answer within its bounds. One that needs a lookup needs what the record does not have.
fn checked(question: &QuestionBody, answer: &Result<AnswerBody, Failure>) -> Result<AnswerBody, Failure> {
    let answer = answer.clone()?;
    if matches!(answer, AnswerBody::Authorize(AuthorizeAnswer::Need { .. })) {
        return Err(Failure::Lookup);
    }
    bounds::check(question, &answer)?;
    Ok(answer)
}
