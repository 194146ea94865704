//! The seat of one instance: fed before it decides, made anew after it failed or grew old. Knows nothing of queues.

use crate::config::Lookup;
use crate::feed::{Mirror, News, Position};
use crate::host;
use crate::plugin::{Decider, Plugin};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_types::decision::{
    AnswerBody, AuthorizeAnswer, AuthorizeRequest, Failure, LookupResult, QuestionBody,
};

/// How often one question may be answered with `need`.
const LOOKUPS: usize = 3;
/// The wait after a first failed attempt to make an instance; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What surrounds a decision.
pub(crate) struct Surroundings<'a> {
    pub(crate) plugin: &'a Plugin,
    pub(crate) mirror: &'a Mutex<Mirror>,
    /// What `need` may ask for; without, such an answer is given as it is.
    pub(crate) lookups: Option<&'a BTreeMap<String, Lookup>>,
    pub(crate) recycle_calls: u64,
}

impl Surroundings<'_> {
    fn news(&self, position: Position) -> News {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner).since(position)
    }
}

/// One seat.
#[derive(Default)]
pub(crate) struct Slot {
    /// `None` between a failure and the next instance.
    decider: Option<Decider>,
    position: Position,
    calls: u64,
    /// After a failed attempt: when to try again, and how long that wait was.
    retry: Option<(Instant, Duration)>,
}

impl Slot {
    /// A seat with its first instance in it.
    pub(crate) fn filled(plugin: &Plugin) -> Self {
        let mut slot = Self::default();
        slot.fill(plugin);
        slot
    }

    /// Decides, within what is left until `deadline`.
    pub(crate) fn decide(
        &mut self,
        around: &Surroundings<'_>,
        question: &QuestionBody,
        deadline: Instant,
    ) -> Result<AnswerBody, Failure> {
        self.mend(around);
        self.calls += 1;
        let Some(decider) = &mut self.decider else { return Err(Failure::Unavailable) };
        let answer = ask(decider, &mut self.position, around, question, deadline);
        if matches!(answer, Err(Failure::Trap | Failure::Deadline | Failure::Nonsense)) {
            self.empty();
        }
        answer
    }

    /// Makes an instance where there is none, unless the last attempt failed a moment ago.
    pub(crate) fn mend(&mut self, around: &Surroundings<'_>) {
        if self.calls >= around.recycle_calls {
            self.empty();
        }
        self.fill(around.plugin);
    }

    /// What its instance has taken so far; nothing where there is none.
    pub(crate) fn spent(&self) -> host::Spent {
        match &self.decider {
            Some(Decider::Authorize(decider)) => decider.spent(),
            Some(Decider::Allocate(decider)) => decider.spent(),
            Some(Decider::Balance(decider)) => decider.spent(),
            None => host::Spent::default(),
        }
    }

    fn fill(&mut self, plugin: &Plugin) {
        if self.decider.is_some() || self.retry.is_some_and(|(at, _)| Instant::now() < at) {
            return;
        }
        match plugin.decider() {
            Ok(decider) => (self.decider, self.retry) = (Some(decider), None),
            Err(_) => {
                let wait = self.retry.map_or(FIRST_WAIT, |(_, wait)| (wait * 2).min(LONGEST_WAIT));
                self.retry = Some((Instant::now() + wait, wait));
            }
        }
    }

    fn empty(&mut self) {
        self.decider = None;
        self.position = Position::default();
        self.calls = 0;
    }
}

fn ask(
    decider: &mut Decider,
    position: &mut Position,
    around: &Surroundings<'_>,
    question: &QuestionBody,
    deadline: Instant,
) -> Result<AnswerBody, Failure> {
    match (decider, question) {
        (Decider::Authorize(decider), QuestionBody::Authorize(request)) => {
            allow(decider.as_mut(), deadline)?;
            authorize(decider.as_mut(), around, request, deadline).map(AnswerBody::Authorize)
        }
        (Decider::Allocate(decider), QuestionBody::Place(request)) => {
            allow(decider.as_mut(), deadline)?;
            fed(decider.as_mut(), position, around, |decider| decider.place(request)).map(AnswerBody::Place)
        }
        (Decider::Balance(decider), QuestionBody::Balance(request)) => {
            allow(decider.as_mut(), deadline)?;
            fed(decider.as_mut(), position, around, |decider| decider.balance(request))
                .map(AnswerBody::Balance)
        }
        _ => Err(Failure::Unavailable),
    }
}

fn allow<D: host::Instance + ?Sized>(decider: &mut D, deadline: Instant) -> Result<(), Failure> {
    let left = deadline.checked_duration_since(Instant::now()).ok_or(Failure::Deadline)?;
    decider.allow(left);
    Ok(())
}

/// Asks; does the lookups that are needed; asks again.
fn authorize(
    decider: &mut dyn host::Authorize,
    around: &Surroundings<'_>,
    request: &AuthorizeRequest,
    deadline: Instant,
) -> Result<AuthorizeAnswer, Failure> {
    let (lookup, key) = match decider.authorize(request)? {
        AuthorizeAnswer::Need { lookup, key } if around.lookups.is_some() => (lookup, key),
        answer => return Ok(answer),
    };
    let mut request = request.clone();
    let mut needed = (lookup, key);
    for _ in 0..LOOKUPS {
        request.lookups.push(look_up(around, needed)?);
        allow(decider, deadline)?;
        match decider.authorize(&request)? {
            AuthorizeAnswer::Need { lookup, key } => needed = (lookup, key),
            answer => return Ok(answer),
        }
    }
    Err(Failure::Lookup)
}

fn look_up(around: &Surroundings<'_>, (lookup, key): (String, String)) -> Result<LookupResult, Failure> {
    let result = around.lookups.and_then(|lookups| lookups.get(&lookup)).ok_or(Failure::Lookup)?.find(&key);
    Ok(LookupResult { lookup, key, result })
}

/// Asks one that knows the cluster; an answer that names what is gone is asked for once more, after a reset.
fn fed<D: host::Fed + ?Sized, A>(
    decider: &mut D,
    position: &mut Position,
    around: &Surroundings<'_>,
    mut ask: impl FnMut(&mut D) -> Result<A, Failure>,
) -> Result<A, Failure> {
    catch_up(decider, position, around)?;
    match ask(decider) {
        Err(Failure::Stale) => {
            *position = Position::default();
            catch_up(decider, position, around)?;
            ask(decider)
        }
        answer => answer,
    }
}

/// Tells what was missed. A guest that lost the thread is told everything; if it asks for that again, it is left.
fn catch_up<D: host::Fed + ?Sized>(
    decider: &mut D,
    position: &mut Position,
    around: &Surroundings<'_>,
) -> Result<(), Failure> {
    for _ in 0..2 {
        match around.news(*position) {
            News::None => break,
            News::Reset(cluster, now) => {
                decider.reset(&cluster)?;
                *position = now;
                break;
            }
            News::Delta(generation, changes, now) => {
                let known = decider.delta(generation, &changes)?;
                *position = if known { now } else { Position::default() };
            }
        }
    }
    Ok(())
}
