//! The instances of a record play it again, and what each decision comes to is compared. Knows nothing of files.

use super::live::{GAP, Live, NO_BEGINNING, NOT_GIVEN};
use super::{Affected, Cost, Fuel, Replay, Replayed};
use crate::bounds;
use crate::config::PluginConfig;
use crate::error::LoadError;
use crate::feed::Cluster;
use crate::mask::Masked;
use crate::meet::meet;
use crate::plugin::{Loader, Plugin};
use crate::record::{nanos, outcome, percentile, question_json};
use crate::recorder::{Call, Decided, Event, Header, Start, What, configuration_hash};
use crate::source::source_digest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tidegate_types::RequestNumber;
use tidegate_types::decision::{AnswerBody, AuthorizeAnswer, Decision, Failure, QuestionBody};

/// The most affected decisions that are listed; the others are counted.
const LISTED: usize = 100_000;
/// The most calls whose cost is kept.
const COSTED: usize = 1_000_000;
/// The most decisions that are awaited at a time: the more, the more are missing in the record.
const OPEN: usize = 65_536;

const INEXACT: &str = "the record kept only the first of many answers that the host gave its instance";
const MASKED: &str = "its token is not in the record, only another text of the same length";
const NO_LOOKUP: &str = "it needs a lookup that the record does not have";
const INTERRUPTED: &str = "it was interrupted at the deadline then, by a loop or a busy machine";
const UNASKED: &str = "the policies after it were not asked then";
const ELSEWHERE: &str = "some of its calls are not in these files: it waited while a new file began, or the record did not keep up";

/// One call of a decision, then and now.
struct Redone {
    generation: u64,
    call: Box<Call>,
    /// Why not, where it could not be made again; nothing where it need not be.
    now: Result<Result<AnswerBody, Failure>, Option<&'static str>>,
    inexact: bool,
}

impl Redone {
    /// Was the policy asked the same before, to find out what it needs?
    fn goes_on(&self) -> bool {
        matches!(&self.call.question, QuestionBody::Authorize(request) if !request.lookups.is_empty())
    }

    fn changed(&self) -> bool {
        self.now.as_ref().is_ok_and(|now| *now != self.call.answer)
    }

    /// Does it end the asking? A lookup and a reset do not.
    fn settles(&self) -> bool {
        let answer = self.now.as_ref().unwrap_or(&self.call.answer);
        !matches!(answer, Ok(AnswerBody::Authorize(AuthorizeAnswer::Need { .. })) | Err(Failure::Stale))
    }
}

#[derive(Default)]
struct Costs {
    then_ns: Vec<u64>,
    now_ns: Vec<u64>,
    fuel: Vec<u64>,
}

/// All instances of a record.
pub(super) struct Theatre<'a> {
    loader: &'a Loader,
    header: Header,
    with: Replay,
    /// Of the components of the record these generations alone; `None`: all.
    only: Option<BTreeSet<u64>>,
    /// By digest, hash of the configuration, and decision.
    loaded: BTreeMap<(String, String, &'static str), Option<Arc<Plugin>>>,
    /// By configuration.
    instead: BTreeMap<String, Arc<Plugin>>,
    live: HashMap<u64, Live>,
    open: HashMap<RequestNumber, Vec<Redone>>,
    /// By instance, the components that were not given, until one of them is missed.
    not_given: HashMap<u64, String>,
    missing: BTreeSet<String>,
    gaps: u64,
    not_whole: u64,
    inexact: u64,
    costs: BTreeMap<Decision, Costs>,
    found: Replayed,
}

impl<'a> Theatre<'a> {
    pub(super) fn new(loader: &'a Loader, header: Header, with: Replay, only: Option<BTreeSet<u64>>) -> Self {
        Self {
            loader,
            header,
            with,
            only,
            loaded: BTreeMap::new(),
            instead: BTreeMap::new(),
            live: HashMap::new(),
            open: HashMap::new(),
            not_given: HashMap::new(),
            missing: BTreeSet::new(),
            gaps: 0,
            not_whole: 0,
            inexact: 0,
            costs: BTreeMap::new(),
            found: Replayed::default(),
        }
    }

    /// What happened next.
    pub(super) fn play(&mut self, event: Event) -> Result<(), LoadError> {
        match event {
            Event::Header(header) => self.header = header,
            Event::Decision(decided) => self.settle(&decided),
            Event::Instance { instance, what: What::Start(start), .. } => {
                let live = self.begin(instance, &start)?;
                self.inexact += u64::from(live.inexact);
                self.live.insert(instance, live);
            }
            Event::Instance { instance, event, what } => self.met(instance, event, what),
        }
        Ok(())
    }

    fn begin(&mut self, instance: u64, start: &Start) -> Result<Live, LoadError> {
        if let Some(instead) = &self.with.instead {
            if instead.decision != start.decision || !instead.generations.contains(&start.generation) {
                return Ok(Live::absent(start, None));
            }
            let other = instead.plugin.clone();
            return Ok(Live::begin(start, self.other(other, start)?, true));
        }
        if self.only.as_ref().is_some_and(|only| !only.contains(&start.generation)) {
            return Ok(Live::absent(start, None));
        }
        if let Some(plugin) = self.component(start)? {
            return Ok(Live::begin(start, plugin, false));
        }
        let label = format!("{} {} from {}", start.decision.name(), start.digest, start.origin);
        self.not_given.insert(instance, label);
        Ok(Live::absent(start, Some(NOT_GIVEN)))
    }

    /// The other component, configured as the one was if nothing else was told.
    fn other(&mut self, mut config: PluginConfig, start: &Start) -> Result<Arc<Plugin>, LoadError> {
        if let (true, Some(recorded)) = (config.configuration.is_null(), &start.configuration) {
            config.configuration = recorded.clone();
        }
        config.memory_bytes = config.memory_bytes.or(Some(start.memory_bytes));
        let key = config.configuration.to_string();
        if let Some(known) = self.instead.get(&key) {
            return Ok(known.clone());
        }
        let loaded = Arc::new(self.loader.load(start.decision, &config)?);
        self.instead.insert(key, loaded.clone());
        Ok(loaded)
    }

    /// The component of an instance's digest and configuration, if it was given.
    fn component(&mut self, start: &Start) -> Result<Option<Arc<Plugin>>, LoadError> {
        let key = (start.digest.clone(), start.configuration_hash.clone(), start.decision.name());
        if let Some(known) = self.loaded.get(&key) {
            return Ok(known.clone());
        }
        let mut found = None;
        for given in &self.with.components {
            if let Some(config) = recorded(given, start, &self.header.salt) {
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
            live.events = event;
            self.gaps += u64::from(live.concerned && live.missing != Some(GAP));
            live.lose(GAP);
        }
        let exact = !live.inexact;
        match what {
            What::Start(_) => {}
            What::End => {
                self.live.remove(&instance);
                self.not_given.remove(&instance);
                return;
            }
            What::Reset { generation, rows, told, failed } => {
                live.reset(Cluster::new(generation, &rows), &told, failed);
            }
            What::Delta { generation, changes, told, failed } => {
                live.delta(generation, &changes, &told, failed);
            }
            What::Call(call) => {
                self.missing.extend(self.not_given.remove(&instance));
                let redone = again(live, call, &mut self.found, &mut self.costs);
                self.keep(redone);
            }
        }
        let turned = exact && self.live.get(&instance).is_some_and(|live| live.inexact);
        self.inexact += u64::from(turned);
    }

    /// Something that an instance met whose beginning is not known.
    fn unknown(&mut self, what: What) {
        if let What::Call(call) = what {
            let now = Err(self.with.instead.is_none().then_some(NO_BEGINNING));
            self.keep(Redone { generation: 0, call, now, inexact: false });
        }
    }

    fn keep(&mut self, redone: Redone) {
        if self.open.len() >= OPEN {
            self.not_whole += self.open.drain().count() as u64;
        }
        self.open.entry(redone.call.number).or_default().push(redone);
    }

    fn settle(&mut self, decided: &Decided) {
        self.found.decisions += 1;
        let redone = self.open.remove(&decided.number).unwrap_or_default();
        let missing = redone.iter().find_map(|redone| redone.now.as_ref().err().copied().flatten());
        let made = redone.iter().any(|redone| redone.now.is_ok());
        let comes = if redone.iter().any(Redone::changed) { comes_to(decided, &redone) } else { None };
        let lacks = self.lacks(decided, &redone);
        match (comes, missing) {
            (Some(other), _) if other.result != decided.result && !lacks => {
                self.affect(decided, &redone, &other);
            }
            (_, Some(why)) => self.not_again(why),
            _ if lacks => self.not_again(ELSEWHERE),
            _ if made => self.found.same += 1,
            _ => self.found.untouched += 1,
        }
    }

    /// Did somebody answer whose calls would be made again, but are not all here?
    fn lacks(&self, decided: &Decided, redone: &[Redone]) -> bool {
        let concerned = |generation: u64| match &self.with.instead {
            Some(instead) => instead.generations.contains(&generation),
            None => self.only.as_ref().is_none_or(|only| only.contains(&generation)),
        };
        let answered = decided.by.iter().filter(|by| by.asked && by.failure.is_none());
        answered.map(|by| by.generation).filter(|generation| concerned(*generation)).any(|generation| {
            let first = redone.iter().find(|redone| redone.generation == generation);
            first.is_none_or(Redone::goes_on)
        })
    }

    fn affect(&mut self, decided: &Decided, redone: &[Redone], other: &Other) {
        let inexact = redone.iter().any(|redone| redone.inexact).then_some(INEXACT);
        let masked = redone.iter().any(|redone| redone.call.masked == Masked::Whole).then_some(MASKED);
        if let (None, Some(why)) = (&self.with.instead, inexact.or(masked)) {
            return self.not_again(why);
        }
        if self.found.affected.len() >= LISTED {
            self.found.more_affected += 1;
            return;
        }
        let doubt = other.doubt.or(inexact).or(masked);
        self.found.affected.push(Affected {
            number: decided.number,
            unix_ms: decided.unix_ms,
            decision: decided.decision,
            position: other.position,
            question: redone.first().map_or(String::new(), |redone| question_json(&redone.call.question())),
            before: outcome(&decided.result),
            after: outcome(&other.result),
            doubt: doubt.map(str::to_owned),
        });
    }

    fn not_again(&mut self, why: &str) {
        *self.found.not_again.entry(why.to_owned()).or_default() += 1;
    }

    /// What was found.
    pub(super) fn end(mut self, warnings: Vec<String>) -> Replayed {
        self.found.warnings = warnings;
        for missing in &self.missing {
            let line =
                format!("not given, and left out: the component for {missing}, with its configuration");
            self.found.warnings.push(line);
        }
        let mut count = |count: u64, what: &str| {
            if count > 0 {
                self.found.warnings.push(format!("{count} {what}"));
            }
        };
        count(self.gaps, "instances have gaps: the record did not keep up");
        count(
            self.inexact,
            "instances are not exact from some call on: the host told them more than is kept of one call",
        );
        count(self.not_whole + self.open.len() as u64, "decisions are not whole in the record");
        let fuel = self.costs.iter().filter_map(|(decision, costs)| Some((*decision, costs.fuel()?)));
        self.found.fuel = fuel.collect();
        self.found.costs = self.costs.into_iter().map(|(decision, costs)| (decision, costs.cost())).collect();
        self.found
    }
}

impl Costs {
    /// `None` where it was not counted.
    fn fuel(&self) -> Option<Fuel> {
        let mut sorted = self.fuel.clone();
        sorted.sort_unstable();
        (!sorted.is_empty()).then(|| Fuel {
            calls: sorted.len() as u64,
            p50: percentile(&sorted, 50),
            p99: percentile(&sorted, 99),
            total: sorted.iter().sum(),
        })
    }

    fn cost(mut self) -> Cost {
        self.then_ns.sort_unstable();
        self.now_ns.sort_unstable();
        Cost {
            calls: self.now_ns.len() as u64,
            then_p50_ns: percentile(&self.then_ns, 50),
            then_p99_ns: percentile(&self.then_ns, 99),
            now_p50_ns: percentile(&self.now_ns, 50),
            now_p99_ns: percentile(&self.now_ns, 99),
        }
    }
}

/// One call again, counted.
fn again(
    live: &mut Live,
    call: Box<Call>,
    found: &mut Replayed,
    costs: &mut BTreeMap<Decision, Costs>,
) -> Redone {
    let made = if live.concerned { live.call(&call).map_err(Some) } else { Err(None) };
    match &made {
        Err(_) => {}
        Ok(_) if call.answer == Err(Failure::Deadline) && !live.replaced => found.interrupted += 1,
        Ok(made) => {
            found.calls += 1;
            let costs = costs.entry(call.question.decision()).or_default();
            if made.answer.is_ok() && costs.fuel.len() < COSTED {
                costs.fuel.extend(made.fuel);
            }
            if made.answer.is_ok() && call.answer.is_ok() && costs.now_ns.len() < COSTED {
                costs.then_ns.push(call.took_ns);
                costs.now_ns.push(nanos(made.took));
            }
        }
    }
    let now = made.map(|made| made.answer);
    Redone { generation: live.generation, call, now, inexact: live.inexact }
}

/// The given component with its configuration, if it is the recorded one.
pub(super) fn recorded(given: &PluginConfig, start: &Start, salt: &str) -> Option<PluginConfig> {
    let mut config = given.clone();
    if let Some(recorded) = &start.configuration {
        config.configuration = recorded.clone();
    }
    config.memory_bytes = Some(start.memory_bytes);
    let hash = configuration_hash(salt, &config.configuration.to_string());
    let same = source_digest(&config.source).is_ok_and(|digest| digest == start.digest);
    (same && hash == start.configuration_hash).then_some(config)
}

/// What a decision comes to now.
struct Other {
    result: Result<AnswerBody, Failure>,
    /// Who answers otherwise, from 1.
    position: usize,
    doubt: Option<&'static str>,
}

/// What a decision comes to with the answers of now; `None` where too little is known of it.
fn comes_to(decided: &Decided, redone: &[Redone]) -> Option<Other> {
    let mut so_far: Option<AnswerBody> = None;
    let (mut position, mut doubt) = (None, None);
    for (index, by) in decided.by.iter().enumerate() {
        if !by.asked {
            // Whoever comes after a refusal that is none any more.
            doubt = doubt.or(Some(UNASKED));
            break;
        }
        let of = |generation: u64| {
            let mut own = redone.iter().filter(move |redone| redone.generation == generation);
            own.clone().find(|redone| redone.settles()).or_else(|| own.next_back())
        };
        let own = of(by.generation);
        // A late answer stays late.
        let late = by.failure == Some(Failure::Deadline) && own.is_some_and(|own| own.call.answer.is_ok());
        let answer = match own.and_then(|own| own.now.as_ref().ok().map(|now| (own, now))) {
            Some((own, now)) if own.changed() && !late => {
                position = position.or(Some(index + 1));
                let question = own.call.question();
                let answer = checked(&question, now);
                doubt = doubt
                    .or((answer == Err(Failure::Lookup)).then_some(NO_LOOKUP))
                    .or((own.call.answer == Err(Failure::Deadline)).then_some(INTERRUPTED));
                answer
            }
            _ => match (by.failure, by.instead.and_then(of), own) {
                (Some(_), Some(other), _) => other.now.clone().unwrap_or_else(|_| other.call.answer.clone()),
                (Some(failure), None, _) => Err(failure),
                (None, _, Some(own)) => own.call.answer.clone(),
                (None, _, None) => return None,
            },
        };
        let answer = match answer {
            Ok(answer) => joined(so_far, answer),
            Err(failure) => {
                return Some(Other { result: Err(failure), position: position.unwrap_or(index + 1), doubt });
            }
        };
        let granted = matches!(answer, AnswerBody::Authorize(AuthorizeAnswer::Grant(_)));
        so_far = Some(answer);
        if !granted {
            break;
        }
    }
    Some(Other { result: so_far.ok_or(Failure::Unavailable), position: position.unwrap_or(1), doubt })
}

fn joined(so_far: Option<AnswerBody>, answer: AnswerBody) -> AnswerBody {
    match (so_far, answer) {
        (
            Some(AnswerBody::Authorize(AuthorizeAnswer::Grant(first))),
            AnswerBody::Authorize(AuthorizeAnswer::Grant(second)),
        ) => AnswerBody::Authorize(match meet(first, second) {
            Ok((grant, _)) => AuthorizeAnswer::Grant(grant),
            Err(refusal) => AuthorizeAnswer::Refuse(refusal),
        }),
        (_, answer) => answer,
    }
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
