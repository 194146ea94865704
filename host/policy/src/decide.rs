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
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::RequestNumber;
use tidegate_types::decision::{
    AnswerBody, AuthorizeAnswer, Decision, Failure, OnFailure, PlaceAnswer, QuestionBody, Refusal,
};

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
}

/// What became of a question.
pub(crate) struct Ruling {
    pub(crate) result: Result<AnswerBody, Failure>,
    /// In the chain's order; shorter than the chain where a refusal or a failure ended the asking.
    pub(crate) verdicts: Vec<Verdict>,
}

impl Ruling {
    /// Of a question that no policy was asked.
    pub(crate) const fn unasked(failure: Failure) -> Self {
        Self { result: Err(failure), verdicts: Vec::new() }
    }
}

/// Asks the policies of a chain one after the other.
pub(crate) fn rule(
    slot: &mut Slot,
    chain: &Chain,
    around: &Surroundings<'_>,
    on_failure: OnFailure,
    question: &QuestionBody,
    deadline: Instant,
) -> Ruling {
    slot.fit(chain, around.recorder);
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(chain.posts.len());
    let mut so_far: Option<AnswerBody> = None;
    for (desk, post) in slot.desks.iter_mut().zip(&chain.posts) {
        let verdict = ask(desk, post, around, on_failure, question, deadline);
        let result = verdict.result.clone();
        let generation = verdict.generation.clone();
        verdicts.push(verdict);
        match result {
            Err(failure) => return Ruling { result: Err(failure), verdicts },
            Ok(answer) => so_far = Some(joined(so_far, answer, &generation)),
        }
        if !matches!(so_far, Some(AnswerBody::Authorize(AuthorizeAnswer::Grant(_)))) {
            break;
        }
    }
    Ruling { result: so_far.ok_or(Failure::Unavailable), verdicts }
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

/// Lets the generations on trial decide the same question, and compares.
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
        let said = guarded(seat, &around, asked.1, began + time);
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
    Verdict { generation, result, failure, instead, latency: began.elapsed(), trouble }
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
