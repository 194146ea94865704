//! One question on its way through a chain: each policy sees the same question, the first refusal ends the asking,
//! grants meet, and whoever fails is stood in for as the operator chose. Knows nothing of queues.

use crate::bounds;
use crate::breaker::Turn;
use crate::chain::{Chain, Generation, Post};
use crate::engine::TICK;
use crate::meet::meet;
use crate::recorder::Recorder;
use crate::seat::{Said, Seat, Surroundings};
use crate::slot::{Desk, Slot};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::RequestNumber;
use tidegate_types::decision::{
    AnswerBody, AuthorizeAnswer, Decision, Failure, LookupResult, OnFailure, PlaceAnswer, QuestionBody,
    Refusal,
};

/// How often one policy may answer a question with `need`.
const LOOKUPS: usize = 3;

/// What one policy of a chain said.
pub(crate) struct Verdict {
    pub(crate) generation: Arc<Generation>,
    /// What counts for its post: its own answer, or its stand-in's.
    pub(crate) result: Result<AnswerBody, Failure>,
    /// Its own failure, even if another stood in.
    pub(crate) failure: Option<Failure>,
    /// Which generation stood in.
    pub(crate) instead: Option<u64>,
    pub(crate) latency: Duration,
    pub(crate) trouble: Option<String>,
    /// What was looked up for it.
    found: Vec<LookupResult>,
}

/// How far a question has come in its chain.
#[derive(Default)]
pub(crate) struct Progress {
    /// Of the policies that have answered.
    pub(crate) verdicts: Vec<Verdict>,
    so_far: Option<AnswerBody>,
    /// What was looked up for the one whose turn it is.
    pub(crate) found: Vec<LookupResult>,
    /// What that one has computed before.
    computed: Duration,
}

/// What a policy wants looked up.
pub(crate) struct Need {
    pub(crate) lookup: String,
    pub(crate) key: String,
}

/// What came of asking a chain.
pub(crate) enum Step {
    /// It is decided.
    Ruled(Ruling),
    /// Something is to be looked up first.
    Needs(Progress, Need),
}

/// What became of a question.
pub(crate) struct Ruling {
    pub(crate) result: Result<AnswerBody, Failure>,
    /// In the chain's order; shorter than the chain where a refusal or a failure ended the asking.
    pub(crate) verdicts: Vec<Verdict>,
}

impl Ruling {
    /// Of a question that was not asked to its end.
    pub(crate) fn unasked(failure: Failure, progress: Progress) -> Self {
        Self { result: Err(failure), verdicts: progress.verdicts }
    }

    /// Its failure, where that is no policy's own.
    pub(crate) fn failure_of_none(&self) -> Option<Failure> {
        let own = self.verdicts.last().is_some_and(|last| last.result.is_err());
        self.result.as_ref().err().filter(|_| !own).copied()
    }
}

/// Asks the policies of a chain one after the other, from the one whose turn it is.
pub(crate) fn rule(
    slot: &mut Slot,
    chain: &Chain,
    around: &Surroundings<'_>,
    on_failure: OnFailure,
    question: &QuestionBody,
    deadline: Instant,
    mut progress: Progress,
) -> Step {
    slot.fit(chain, around.recorder);
    let turn = progress.verdicts.len();
    for (desk, post) in slot.desks.iter_mut().zip(&chain.posts).skip(turn) {
        let asked = knowing(question, &progress.found);
        let mut verdict = ask(desk, post, around, on_failure, &asked, deadline);
        verdict.latency += progress.computed;
        if let Some(need) = needed(&verdict.result) {
            if progress.found.len() < LOOKUPS {
                progress.computed = verdict.latency;
                return Step::Needs(progress, need);
            }
            (verdict.result, verdict.failure) = (Err(Failure::Lookup), Some(Failure::Lookup));
        }
        verdict.found = std::mem::take(&mut progress.found);
        progress.computed = Duration::ZERO;
        let result = verdict.result.clone();
        let generation = verdict.generation.clone();
        progress.verdicts.push(verdict);
        match result {
            Err(failure) => {
                return Step::Ruled(Ruling { result: Err(failure), verdicts: progress.verdicts });
            }
            Ok(answer) => progress.so_far = Some(joined(progress.so_far, answer, &generation)),
        }
        if !matches!(progress.so_far, Some(AnswerBody::Authorize(AuthorizeAnswer::Grant(_)))) {
            break;
        }
    }
    let Progress { verdicts, so_far, .. } = progress;
    Step::Ruled(Ruling { result: so_far.ok_or(Failure::Unavailable), verdicts })
}

/// The question with what was looked up for it.
fn knowing<'a>(question: &'a QuestionBody, found: &[LookupResult]) -> Cow<'a, QuestionBody> {
    match question {
        QuestionBody::Authorize(request) if !found.is_empty() => {
            let mut request = request.clone();
            request.lookups.extend_from_slice(found);
            Cow::Owned(QuestionBody::Authorize(request))
        }
        question => Cow::Borrowed(question),
    }
}

fn needed(result: &Result<AnswerBody, Failure>) -> Option<Need> {
    match result {
        Ok(AnswerBody::Authorize(AuthorizeAnswer::Need { lookup, key })) => {
            Some(Need { lookup: lookup.clone(), key: key.clone() })
        }
        _ => None,
    }
}

/// What a caller gets where nobody answered: the operator's choice, or the failure, for which the directory has a
/// rule.
pub(crate) fn settled(
    result: Result<AnswerBody, Failure>,
    decision: Decision,
    on_failure: OnFailure,
) -> Result<AnswerBody, Failure> {
    match (result, decision, on_failure) {
        (Err(failure), Decision::Allocate, OnFailure::Refuse) => {
            let message = format!("The policy that places people gave no answer ({}).", failure.name());
            Ok(AnswerBody::Place(PlaceAnswer::Refuse(Refusal::new("policy-failed", message))))
        }
        (result, _, _) => result,
    }
}

/// Lets the generations on trial decide the same question, with what was looked up for those in force, and compares.
pub(crate) fn shadow(
    slot: &mut Slot,
    chain: &Chain,
    around: &Surroundings<'_>,
    asked: (RequestNumber, &QuestionBody),
    verdicts: &[Verdict],
    time: Duration,
) {
    // What does not count is not kept.
    let unrecorded = Recorder::default();
    for ((desk, post), verdict) in slot.desks.iter_mut().zip(&chain.posts).zip(verdicts) {
        let Some(trial) = &post.shadow else { continue };
        let began = Instant::now();
        let until = desk.seat.position().or(around.until);
        let around = Surroundings { until, recorder: &unrecorded, ..*around };
        let seat = desk.shadow.get_or_insert_with(|| Seat::of(trial.generation.clone(), around.recorder));
        let said = guarded(seat, &around, &knowing(asked.1, &verdict.found), began + time);
        trial.count(asked.0, &verdict.result, &said.result, began.elapsed());
        seat.mend(&around);
    }
}

fn joined(so_far: Option<AnswerBody>, answer: AnswerBody, by: &Generation) -> AnswerBody {
    let (first, second) = match (so_far, answer) {
        (
            Some(AnswerBody::Authorize(AuthorizeAnswer::Grant(first))),
            AnswerBody::Authorize(AuthorizeAnswer::Grant(second)),
        ) => (first, second),
        (_, answer) => return answer,
    };
    AnswerBody::Authorize(match meet(first, second) {
        Ok((grant, conflicts)) => {
            if !conflicts.is_empty() {
                let line = format!("attrs that an earlier policy set otherwise: {}", conflicts.join(", "));
                by.plugin.shared().journal().trouble(&line, Instant::now());
            }
            AuthorizeAnswer::Grant(grant)
        }
        Err(refusal) => AuthorizeAnswer::Refuse(refusal),
    })
}

fn ask(
    desk: &mut Desk,
    post: &Post,
    around: &Surroundings<'_>,
    on_failure: OnFailure,
    question: &QuestionBody,
    deadline: Instant,
) -> Verdict {
    let began = Instant::now();
    let Said { mut result, trouble } = guarded(&mut desk.seat, around, question, deadline);
    let failure = result.as_ref().err().copied();
    let mut instead = None;
    if let (Some(_), OnFailure::LastGood, Some(previous)) = (failure, on_failure, &post.previous) {
        let seat = desk.before.get_or_insert_with(|| Seat::of(previous.clone(), around.recorder));
        let said = guarded(seat, around, question, deadline);
        if said.result.is_ok() {
            result = said.result;
            instead = Some(previous.number);
        }
    }
    let generation = post.current.clone();
    Verdict { generation, result, failure, instead, latency: began.elapsed(), trouble, found: Vec::new() }
}

/// Asks one policy if there is still time and its breaker lets it, and holds the answer to its bounds and its
/// deadline.
fn guarded(seat: &mut Seat, around: &Surroundings<'_>, question: &QuestionBody, deadline: Instant) -> Said {
    let began = Instant::now();
    if began >= deadline {
        return Said { result: Err(Failure::Deadline), trouble: None };
    }
    if !seat.generation().breaker().admits(began) {
        return Said { result: Err(Failure::BreakerOpen), trouble: None };
    }
    let mut said = seat.decide(around, question, deadline);
    if let Ok(answer) = &said.result {
        let unfit = bounds::check(question, answer).err();
        // An answer that comes too late is none: its caller has gone on without.
        let late = (Instant::now() > deadline + TICK).then_some(Failure::Deadline);
        if let Some(failure) = unfit.or(late) {
            said.result = Err(failure);
        }
        if unfit.is_some() {
            seat.dismiss();
            said.trouble =
                Some(String::from("the answer is larger than its bounds, or contradicts the question"));
        }
    }
    count(seat.generation(), &said);
    said
}

/// Tells the breaker, and the log what that changed.
fn count(generation: &Generation, said: &Said) {
    let broken = [Failure::Trap, Failure::Deadline, Failure::Nonsense, Failure::Unavailable];
    let answered = !said.result.as_ref().is_err_and(|failure| broken.contains(failure));
    let turn = generation.breaker().count(answered, Instant::now());
    let (plugin, number) = (&generation.plugin, generation.number);
    let (decision, policy) = (plugin.decision().name(), plugin.name());
    match turn {
        None => {}
        Some(Turn::Closed) => {
            tracing::info!(
                decision,
                policy,
                generation = number,
                "the policy answers again: its breaker closes"
            );
        }
        Some(Turn::Opened(length)) => {
            let open_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            tracing::error!(
                decision,
                policy,
                generation = number,
                digest = plugin.digest(),
                open_ms,
                "the policy failed again and again: its breaker opens, and it is not asked for a while"
            );
        }
    }
}
