//! The seat of one instance: fed before it decides, made anew after it failed or grew old. Knows nothing of queues
//! or of other policies.

use crate::chain::Generation;
use crate::feed::{Mirror, News, Position};
use crate::host;
use crate::plugin::Decider;
use crate::recorder::{Recorder, Track, What};
use crate::tape::{Tape, Told};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_types::RequestNumber;
use tidegate_types::decision::{AnswerBody, Failure, QuestionBody};

/// The wait after a first failed attempt to make an instance; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What an instance may take to learn of the cluster before it is asked anything.
const FIRST_FEED: Duration = Duration::from_millis(100);

/// What surrounds a decision.
pub(crate) struct Surroundings<'a> {
    pub(crate) mirror: &'a Mutex<Mirror>,
    pub(crate) recycle_calls: u64,
    /// Where everything that an instance meets is kept.
    pub(crate) recorder: &'a Recorder,
    /// The question's number, for the record.
    pub(crate) number: RequestNumber,
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
    track: Track,
}

impl Held {
    /// A new instance that knows nothing yet.
    fn new(generation: &Generation, recorder: &Recorder) -> Result<Self, Failure> {
        let plugin = &generation.plugin;
        let unix_ms = plugin.unix_ms();
        let mut decider = plugin.decider_with(recorder.tape(), unix_ms)?;
        let told = told(decider.instance());
        let track = recorder.begin(plugin, generation.number, unix_ms, told);
        Ok(Self { decider, position: Position::default(), calls: 0, track })
    }

    /// A new instance that knows the cluster already.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn ready(generation: &Generation, around: &Surroundings<'_>) -> Result<Self, Failure> {
        let mut held = Self::new(generation, around.recorder)?;
        let deadline = Instant::now() + FIRST_FEED;
        let Self { decider, position, track, .. } = &mut held;
        allow(decider.instance(), deadline)?;
        match decider {
            Decider::Authorize(_) | Decider::Share(_) => {}
            Decider::Allocate(decider) => catch_up(decider.as_mut(), position, track, around)?,
            Decider::Balance(decider) => catch_up(decider.as_mut(), position, track, around)?,
        }
        Ok(held)
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
    pub(crate) fn of(generation: Arc<Generation>, recorder: &Recorder) -> Self {
        let held = generation.spare();
        let mut seat = Self { generation, held, retry: None };
        seat.fill(recorder);
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
        let result = ask(held, around, question, deadline);
        let trouble = result.as_ref().err().and_then(|_| held.decider.instance().trouble());
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
            Some(Decider::Share(decider)) => decider.spent(),
            None => host::Spent::default(),
        }
    }

    /// What it answered cannot be used: the instance is not trusted any further.
    pub(crate) fn dismiss(&mut self) {
        self.held = None;
    }

    /// Makes an instance where there is none, unless the last attempt failed a moment ago.
    pub(crate) fn mend(&mut self, around: &Surroundings<'_>) {
        let old = |held: &Held| held.calls >= around.recycle_calls || held.track.outlived();
        if self.held.as_ref().is_some_and(old) {
            self.held = None;
        }
        self.fill(around.recorder);
    }

    fn fill(&mut self, recorder: &Recorder) {
        if self.held.is_some() || self.retry.is_some_and(|(at, _)| Instant::now() < at) {
            return;
        }
        match Held::new(&self.generation, recorder) {
            Ok(held) => (self.held, self.retry) = (Some(held), None),
            Err(_) => {
                let wait = self.retry.map_or(FIRST_WAIT, |(_, wait)| (wait * 2).min(LONGEST_WAIT));
                self.retry = Some((Instant::now() + wait, wait));
            }
        }
    }
}
fn ask(
    held: &mut Held,
    around: &Surroundings<'_>,
    question: &QuestionBody,
    deadline: Instant,
) -> Result<AnswerBody, Failure> {
    let Held { decider, position, track, .. } = held;
    allow(decider.instance(), deadline)?;
    match (decider, question) {
        (Decider::Authorize(decider), QuestionBody::Authorize(request)) => {
            let began = track.began();
            let answer = decider.authorize(request).map(AnswerBody::Authorize);
            let (asked, given) = (|| question.clone(), || answer.clone());
            track.called(around.number, began, asked, || told(decider.as_mut()), given);
            answer
        }
        (Decider::Allocate(decider), QuestionBody::Place(request)) => {
            fed(decider.as_mut(), position, track, around, question, |decider| {
                decider.place(request).map(AnswerBody::Place)
            })
        }
        (Decider::Balance(decider), QuestionBody::Balance(request)) => {
            fed(decider.as_mut(), position, track, around, question, |decider| {
                decider.balance(request).map(AnswerBody::Balance)
            })
        }
        (Decider::Share(decider), QuestionBody::Share(request)) => {
            let began = track.began();
            let answer = decider.share(request).map(AnswerBody::Share);
            let told = || told(decider.as_mut());
            track.called(around.number, began, || question.clone(), told, || answer.clone());
            answer
        }
        _ => Err(Failure::Unavailable),
    }
}

fn allow<D: host::Instance + ?Sized>(decider: &mut D, deadline: Instant) -> Result<(), Failure> {
    let left = deadline.checked_duration_since(Instant::now()).ok_or(Failure::Deadline)?;
    decider.allow(left);
    Ok(())
}

/// What the instance was told by the host since this was last asked.
fn told<D: host::Instance + ?Sized>(decider: &mut D) -> Vec<Told> {
    decider.tape().map(Tape::take).unwrap_or_default()
}

/// Asks one that knows the cluster; an answer that names what is gone is asked for once more, after a reset.
fn fed<D: host::Fed + ?Sized>(
    decider: &mut D,
    position: &mut Position,
    track: &mut Track,
    around: &Surroundings<'_>,
    question: &QuestionBody,
    mut ask: impl FnMut(&mut D) -> Result<AnswerBody, Failure>,
) -> Result<AnswerBody, Failure> {
    let mut once = |position: &mut Position| {
        catch_up(decider, position, track, around)?;
        let began = track.began();
        let answer = ask(decider);
        track.called(around.number, began, || question.clone(), || told(decider), || answer.clone());
        answer
    };
    match once(position) {
        Err(Failure::Stale) => {
            *position = Position::default();
            once(position)
        }
        answer => answer,
    }
}

/// Tells what was missed. A guest that lost the thread is told everything; if it asks for that again, it is left.
fn catch_up<D: host::Fed + ?Sized>(
    decider: &mut D,
    position: &mut Position,
    track: &mut Track,
    around: &Surroundings<'_>,
) -> Result<(), Failure> {
    for _ in 0..2 {
        match around.news(*position) {
            News::None => break,
            News::Reset(cluster, now) => {
                let heard = decider.reset(&cluster);
                let (generation, failed) = (cluster.generation(), heard.is_err());
                track.met(|| What::Reset {
                    generation,
                    rows: cluster.to_rows(),
                    told: told(decider),
                    failed,
                });
                heard?;
                *position = now;
                break;
            }
            News::Delta(generation, changes, now) => {
                let known = decider.delta(generation, &changes);
                let failed = known.is_err();
                track.met(|| What::Delta { generation, changes, told: told(decider), failed });
                *position = if known? { now } else { Position::default() };
            }
        }
    }
    Ok(())
}
