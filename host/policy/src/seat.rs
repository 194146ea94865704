//! The seat of one instance: fed before it decides, made anew after it failed or grew old. Knows nothing of queues
//! or of other policies.

use crate::chain::Generation;
use crate::config::Lookup;
use crate::feed::{Mirror, News, Position};
use crate::host;
use crate::plugin::Decider;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
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
/// What an instance may take to learn of the cluster before it is asked anything.
const FIRST_FEED: Duration = Duration::from_millis(100);

/// What surrounds a decision.
pub(crate) struct Surroundings<'a> {
    pub(crate) mirror: &'a Mutex<Mirror>,
    /// What `need` may ask for; without, such an answer is given as it is.
    pub(crate) lookups: Option<&'a BTreeMap<String, Lookup>>,
    pub(crate) recycle_calls: u64,
    /// Nothing that was told after this; `None`: all.
    pub(crate) until: Option<Position>,
}

impl Surroundings<'_> {
    fn news(&self, position: Position) -> News {
        let mirror = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        mirror.between(position, self.until)
    }
}

/// A live instance, and how much of the feed it knows.
pub(crate) struct Held {
    decider: Decider,
    position: Position,
    calls: u64,
}

impl Held {
    /// A new instance that knows the cluster already.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn ready(generation: &Generation, around: &Surroundings<'_>) -> Result<Self, Failure> {
        let mut held =
            Self { decider: generation.plugin.decider()?, position: Position::default(), calls: 0 };
        let deadline = Instant::now() + FIRST_FEED;
        match &mut held.decider {
            Decider::Authorize(_) => {}
            Decider::Allocate(decider) => {
                allow(decider.as_mut(), deadline)?;
                catch_up(decider.as_mut(), &mut held.position, around)?;
            }
            Decider::Balance(decider) => {
                allow(decider.as_mut(), deadline)?;
                catch_up(decider.as_mut(), &mut held.position, around)?;
            }
        }
        Ok(held)
    }

    fn trouble(&mut self) -> Option<String> {
        match &mut self.decider {
            Decider::Authorize(decider) => decider.trouble(),
            Decider::Allocate(decider) => decider.trouble(),
            Decider::Balance(decider) => decider.trouble(),
        }
    }
}

/// What one seat made of a question.
pub(crate) struct Said {
    pub(crate) result: Result<AnswerBody, Failure>,
    /// What went wrong inside the plugin, and where.
    pub(crate) trouble: Option<String>,
}

/// One seat.
pub(crate) struct Seat {
    generation: Arc<Generation>,
    /// `None` between a failure and the next instance.
    held: Option<Held>,
    /// After a failed attempt: when to try again, and how long that wait was.
    retry: Option<(Instant, Duration)>,
}

impl Seat {
    /// A seat with an instance in it, unless none can be made.
    pub(crate) fn of(generation: Arc<Generation>) -> Self {
        let held = generation.spare();
        let mut seat = Self { generation, held, retry: None };
        seat.fill();
        seat
    }

    pub(crate) const fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Leaves its instance to whoever sits for this generation next.
    pub(crate) fn leave(self) {
        if let Some(held) = self.held {
            self.generation.keep(held);
        }
    }

    /// How much of the feed its instance knows.
    pub(crate) fn position(&self) -> Option<Position> {
        self.held.as_ref().map(|held| held.position)
    }

    /// Decides, within what is left until `deadline`.
    pub(crate) fn decide(
        &mut self,
        around: &Surroundings<'_>,
        question: &QuestionBody,
        deadline: Instant,
    ) -> Said {
        self.mend(around);
        let Some(held) = &mut self.held else {
            return Said { result: Err(Failure::Unavailable), trouble: None };
        };
        held.calls += 1;
        let result = ask(&mut held.decider, &mut held.position, around, question, deadline);
        let trouble = result.as_ref().err().and_then(|_| held.trouble());
        if matches!(result, Err(Failure::Trap | Failure::Deadline | Failure::Nonsense)) {
            self.held = None;
        }
        Said { result, trouble }
    }

    /// What its instance has taken so far; nothing where there is none.
    pub(crate) fn spent(&self) -> host::Spent {
        match self.held.as_ref().map(|held| &held.decider) {
            Some(Decider::Authorize(decider)) => decider.spent(),
            Some(Decider::Allocate(decider)) => decider.spent(),
            Some(Decider::Balance(decider)) => decider.spent(),
            None => host::Spent::default(),
        }
    }

    /// What it answered cannot be used: the instance is not trusted any further.
    pub(crate) fn dismiss(&mut self) {
        self.held = None;
    }

    /// Makes an instance where there is none, unless the last attempt failed a moment ago.
    pub(crate) fn mend(&mut self, around: &Surroundings<'_>) {
        if self.held.as_ref().is_some_and(|held| held.calls >= around.recycle_calls) {
            self.held = None;
        }
        self.fill();
    }

    fn fill(&mut self) {
        if self.held.is_some() || self.retry.is_some_and(|(at, _)| Instant::now() < at) {
            return;
        }
        match self.generation.plugin.decider() {
            Ok(decider) => {
                self.held = Some(Held { decider, position: Position::default(), calls: 0 });
                self.retry = None;
            }
            Err(_) => {
                let wait = self.retry.map_or(FIRST_WAIT, |(_, wait)| (wait * 2).min(LONGEST_WAIT));
                self.retry = Some((Instant::now() + wait, wait));
            }
        }
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
