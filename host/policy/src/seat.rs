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

/// An instance that is configured and knows nothing yet: made just now, or ahead.
struct Blank {
    decider: Decider,
    /// When it was configured, and what the host told it meanwhile.
    unix_ms: u64,
    told: Vec<Told>,
}

impl Blank {
    fn new(generation: &Generation, recorder: &Recorder) -> Result<Self, Failure> {
        let unix_ms = generation.plugin.unix_ms();
        let mut decider = generation.plugin.decider_with(recorder.tape(), unix_ms)?;
        let told = told(decider.instance());
        Ok(Self { decider, unix_ms, told })
    }

    /// Takes a seat. The record tells of it from here on, and not at all if it never gets so far.
    fn seated(self, generation: &Generation, recorder: &Recorder) -> Held {
        let track = recorder.begin(&generation.plugin, generation.number, self.unix_ms, self.told);
        Held { decider: self.decider, position: Position::default(), calls: 0, track }
    }
}

impl Held {
    /// A new instance that knows the cluster already.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn ready(generation: &Generation, around: &Surroundings<'_>) -> Result<Self, Failure> {
        let mut held = Blank::new(generation, around.recorder)?.seated(generation, around.recorder);
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
    /// Who takes the seat next: made while nobody waits, so that after a trap only the cluster is to be told.
    next: Option<Blank>,
    /// After a failed attempt: when to try again, and how long that wait was.
    retry: Option<(Instant, Duration)>,
}

impl Seat {
    /// A seat with an instance in it, unless none can be made.
    pub(crate) fn of(generation: Arc<Generation>, recorder: &Recorder) -> Self {
        let held = generation.spare();
        let mut seat = Self { generation, held, next: None, retry: None };
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

    /// Once an answer is out: the same, and makes the instance that would follow. One that failed just now is followed by
    /// the one made ahead, and the next is made after it has answered: a policy that always fails costs no more for it.
    pub(crate) fn rest(&mut self, around: &Surroundings<'_>) {
        let answered = self.held.is_some();
        self.mend(around);
        if answered && self.next.is_none() {
            self.next = self.blank(around.recorder);
        }
    }

    fn fill(&mut self, recorder: &Recorder) {
        if self.held.is_some() {
            return;
        }
        let blank = self.next.take().or_else(|| self.blank(recorder));
        self.held = blank.map(|blank| blank.seated(&self.generation, recorder));
    }

    fn blank(&mut self, recorder: &Recorder) -> Option<Blank> {
        if self.retry.is_some_and(|(at, _)| Instant::now() < at) {
            return None;
        }
        let blank = Blank::new(&self.generation, recorder).ok();
        let longer = || self.retry.map_or(FIRST_WAIT, |(_, wait)| (wait * 2).min(LONGEST_WAIT));
        let wait = blank.is_none().then(longer);
        self.retry = wait.map(|wait| (Instant::now() + wait, wait));
        blank
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

#[cfg(test)]
mod tests {
    use super::{Seat, Surroundings};
    use crate::chain::Generation;
    use crate::config::{PluginConfig, PolicyConfig, Source};
    use crate::feed::Mirror;
    use crate::plugin::Loader;
    use crate::recorder::Recorder;
    use std::sync::{Arc, Mutex};
    use tidegate_types::RequestNumber;
    use tidegate_types::decision::Decision;

    const ECHO: &[u8] = include_bytes!("../fixtures/echo-authorize.wasm");

    fn generation() -> Arc<Generation> {
        let plugin = PluginConfig::new(Source::Embedded { name: "echo", bytes: ECHO.into() });
        let config = PolicyConfig::new(plugin.clone(), plugin.clone(), plugin.clone());
        let loader = Loader::new(&config, Arc::new(|| 0)).expect("an engine");
        let loaded = loader.load(Decision::Authorize, &plugin).unwrap_or_else(|error| panic!("{error}"));
        Arc::new(Generation::new(1, loaded, plugin, 0))
    }

    /// Who sits, and who follows.
    fn there(seat: &Seat) -> (bool, bool) {
        (seat.held.is_some(), seat.next.is_some())
    }

    #[test]
    fn whoever_follows_a_failure_was_made_before_and_is_followed_only_after_it_answered() {
        let (recorder, mirror) = (Recorder::default(), Mutex::new(Mirror::default()));
        let around = |recycle_calls| Surroundings {
            mirror: &mirror,
            recycle_calls,
            recorder: &recorder,
            number: RequestNumber(0),
            until: None,
        };
        let always = around(u64::MAX);
        let mut seat = Seat::of(generation(), &recorder);
        assert_eq!(there(&seat), (true, false), "a start waits for one instance");
        seat.rest(&always);
        assert_eq!(there(&seat), (true, true));
        seat.dismiss();
        assert_eq!(there(&seat), (false, true));
        seat.rest(&always);
        assert_eq!(there(&seat), (true, false), "it takes the seat, and nothing else is made");
        seat.dismiss();
        seat.rest(&always);
        assert_eq!(there(&seat), (true, false), "one that always fails costs one instance each time");
        seat.rest(&always);
        assert_eq!(there(&seat), (true, true));
        seat.rest(&around(0));
        assert_eq!(there(&seat), (true, true), "one that is old is followed at once");
    }
}
