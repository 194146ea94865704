//! What is remembered of decisions: counts and latencies of each policy, and the last decisions with their
//! inputs. Knows nothing of how they came about. Tokens are kept as a hash only.

use crate::chain::Post;
use crate::decide::Verdict;
use crate::lookups::Begun;
use crate::queue::Job;
use crate::source::hexadecimal;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;
use tidegate_types::decision::{
    Answer, AnswerBody, DecidedBy, Decision, DecisionRecord, Failure, QuestionBody,
};

/// How many of the last latencies the percentiles are taken of.
const WINDOW: usize = 1_024;
/// Of what is remembered, this part at most is about share.
const SHARES_PART: usize = 4;
/// The longest question or answer that is kept, in bytes of JSON.
const KEPT_BYTES: usize = 16_384;

const FAILURES: [Failure; 8] = [
    Failure::Deadline,
    Failure::Trap,
    Failure::Nonsense,
    Failure::Stale,
    Failure::QueueFull,
    Failure::Lookup,
    Failure::Unavailable,
    Failure::BreakerOpen,
];

/// Counts and latencies of one policy.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    calls: u64,
    failures: [u64; FAILURES.len()],
    latencies_ns: VecDeque<u64>,
}

impl Tally {
    /// One more question, decided after `latency` or never begun.
    pub(crate) fn count(&mut self, failure: Option<Failure>, latency: Option<Duration>) {
        self.calls += 1;
        if let Some(index) = failure.and_then(|failure| FAILURES.iter().position(|known| *known == failure)) {
            self.failures[index] += 1;
        }
        if let Some(latency) = latency {
            if self.latencies_ns.len() == WINDOW {
                self.latencies_ns.pop_front();
            }
            self.latencies_ns.push_back(nanos(latency));
        }
    }

    pub(crate) const fn calls(&self) -> u64 {
        self.calls
    }

    /// All failures by name, also those that never happened.
    pub(crate) fn failures(&self) -> Vec<(String, u64)> {
        FAILURES.iter().zip(self.failures).map(|(failure, count)| (failure.name().into(), count)).collect()
    }

    /// The latency that so many hundredths of the last calls did not exceed; 0 without calls.
    pub(crate) fn percentile_ns(&self, hundredths: usize) -> u64 {
        let mut sorted: Vec<u64> = self.latencies_ns.iter().copied().collect();
        sorted.sort_unstable();
        percentile(&sorted, hundredths)
    }
}

/// What so many hundredths of them do not exceed; 0 of none.
pub(crate) fn percentile(sorted: &[u64], hundredths: usize) -> u64 {
    let rank = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or(0)
}

/// The last decisions, oldest first; the oldest goes when one too many comes.
#[derive(Debug)]
pub(crate) struct Records {
    bound: usize,
    kept: VecDeque<DecisionRecord>,
}

impl Records {
    pub(crate) const fn new(bound: usize) -> Self {
        Self { bound, kept: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, record: DecisionRecord) {
        if self.bound == 0 {
            return;
        }
        if record.decision == Decision::Share {
            self.spare_others();
        }
        while self.kept.len() >= self.bound {
            self.kept.pop_front();
        }
        self.kept.push_back(record);
    }

    /// Rooms are asked about all the time: what is rarer and matters more must not go for that.
    fn spare_others(&mut self) {
        let is_share = |record: &DecisionRecord| record.decision == Decision::Share;
        if self.kept.iter().filter(|record| is_share(record)).count() >= (self.bound / SHARES_PART).max(1) {
            let oldest = self.kept.iter().position(is_share);
            oldest.and_then(|oldest| self.kept.remove(oldest));
        }
    }

    /// The last ones, newest first.
    pub(crate) fn last(&self, limit: usize) -> Vec<DecisionRecord> {
        self.kept.iter().rev().take(limit).cloned().collect()
    }
}

/// A decision as it is remembered.
pub(crate) fn record(
    job: &Job,
    answer: &Answer,
    begun: &Begun,
    verdicts: &[Verdict],
    unix_ms: u64,
    waited: Duration,
) -> DecisionRecord {
    let (question, chain) = (&job.question, &begun.chain);
    let last = verdicts
        .last()
        .map(|verdict| &verdict.generation)
        .or_else(|| chain.posts.first().map(|post| &post.current));
    let failed = verdicts.iter().find(|verdict| verdict.trouble.is_some());
    DecisionRecord {
        number: question.number,
        unix_ms,
        decision: question.body.decision(),
        digest: last.map_or("", |generation| generation.plugin.digest()).into(),
        by: chain
            .posts
            .iter()
            .enumerate()
            .map(|(index, post)| decided_by(post, verdicts.get(index)))
            .collect(),
        trouble: failed.and_then(|verdict| verdict.trouble.clone()),
        question: bounded(question_json(&question.body)),
        outcome: outcome(&answer.result),
        failure: answer.result.as_ref().err().copied(),
        waited_ns: nanos(waited),
        latency_ns: nanos(begun.computed),
        lookups: begun.made.clone(),
    }
}

fn decided_by(post: &Post, verdict: Option<&Verdict>) -> DecidedBy {
    let generation = verdict.map_or(&post.current, |verdict| &verdict.generation);
    DecidedBy {
        generation: generation.number,
        name: generation.plugin.name().into(),
        digest: generation.plugin.digest().into(),
        asked: verdict.is_some(),
        failure: verdict.and_then(|verdict| verdict.failure),
        instead: verdict.and_then(|verdict| verdict.instead),
    }
}

/// An answer as JSON, or the failure's name.
pub(crate) fn outcome(result: &Result<AnswerBody, Failure>) -> String {
    match result {
        Ok(body) => bounded(serde_json::to_string(body).unwrap_or_default()),
        Err(failure) => failure.name().into(),
    }
}

/// A question as JSON, its token as a hash.
pub(crate) fn question_json(body: &QuestionBody) -> String {
    match body {
        QuestionBody::Authorize(request) => {
            let mut json = serde_json::to_value(request).unwrap_or_default();
            if let Some(token) = json.get_mut("token") {
                *token = Value::String(token_hash(request.token.expose()));
            }
            json.to_string()
        }
        QuestionBody::Place(request) => serde_json::to_string(request).unwrap_or_default(),
        QuestionBody::Balance(request) => serde_json::to_string(request).unwrap_or_default(),
        QuestionBody::Share(request) => serde_json::to_string(request).unwrap_or_default(),
    }
}

/// Enough to see that two tokens are the same, too little to use one; empty stays empty.
fn token_hash(token: &str) -> String {
    if token.is_empty() {
        return String::new();
    }
    format!("sha256:{}", hexadecimal(&digest(&SHA256, token.as_bytes()).as_ref()[..8]))
}

fn bounded(json: String) -> String {
    if json.len() <= KEPT_BYTES { json } else { format!("{{\"omitted_bytes\":{}}}", json.len()) }
}

pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Begun, Job, KEPT_BYTES, Records, Tally, WINDOW, record, token_hash};
    use crate::chain::Chain;
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use tidegate_types::decision::{
        Action, Answer, AuthorizeRequest, Decision, DecisionRecord, Failure, Moment, Question, QuestionBody,
    };
    use tidegate_types::{RequestNumber, Secret};

    fn question(token: &str) -> Question {
        let request = AuthorizeRequest {
            action: Action::Join,
            room: Some("hello".into()),
            room_people: 0,
            room_since_unix_ms: None,
            name: "Ada".into(),
            identity: None,
            token: Secret::new(token),
            address: None,
            kind: None,
            source: None,
            moment: Moment::default(),
            lookups: vec![],
            attrs: vec![],
        };
        Question { number: RequestNumber(1), body: QuestionBody::Authorize(Box::new(request)) }
    }

    fn remembered(token: &str) -> DecisionRecord {
        remembered_of(question(token))
    }

    fn remembered_of(question: Question) -> DecisionRecord {
        let answer = Answer { number: RequestNumber(1), result: Err(Failure::Deadline) };
        let now = Instant::now();
        let job = Job { question, arrived: now, deadline: now, begun: None };
        let mut begun = Begun::new(Arc::new(Chain::of(vec![])));
        begun.computed = Duration::from_micros(3);
        record(&job, &answer, &begun, &[], 5, Duration::ZERO)
    }

    #[test]
    fn a_token_is_remembered_as_a_hash_only() {
        let record = remembered("very-secret");
        assert!(!format!("{record:?}").contains("very-secret"));
        assert!(
            record.question.contains(&format!("\"{}\"", token_hash("very-secret"))),
            "{}",
            record.question
        );
        assert_eq!(token_hash("very-secret").len(), "sha256:".len() + 16);
        assert_eq!((record.decision, record.latency_ns), (Decision::Authorize, 3_000));
    }

    #[test]
    fn a_huge_question_is_left_out_and_old_records_go() {
        assert!(remembered("").question.len() < 1_000);
        let mut huge = question("");
        if let QuestionBody::Authorize(request) = &mut huge.body {
            request.name = "x".repeat(KEPT_BYTES);
        }
        let kept = remembered_of(huge).question;
        assert!(kept.starts_with("{\"omitted_bytes\":") && kept.len() < 100, "{} bytes", kept.len());
        let mut records = Records::new(2);
        for unix_ms in 1..=3 {
            records.push(DecisionRecord { unix_ms, ..remembered("") });
        }
        let moments: Vec<u64> = records.last(9).iter().map(|record| record.unix_ms).collect();
        assert_eq!(moments, [3, 2]);
    }

    #[test]
    fn rooms_that_are_asked_about_all_the_time_leave_the_others_their_place() {
        let mut records = Records::new(8);
        records.push(remembered(""));
        for unix_ms in 1..=100 {
            records.push(DecisionRecord { unix_ms, decision: Decision::Share, ..remembered("") });
        }
        let moments: Vec<u64> = records.last(9).iter().map(|record| record.unix_ms).collect();
        assert_eq!(moments, [100, 99, 5]);
    }

    #[test]
    fn percentiles_are_of_the_last_calls_only() {
        let mut tally = Tally::default();
        assert_eq!(tally.percentile_ns(50), 0);
        for _ in 0..WINDOW {
            tally.count(None, Some(Duration::from_secs(1)));
        }
        for nanos in 1..=WINDOW as u64 {
            tally.count(Some(Failure::Trap), Some(Duration::from_nanos(nanos)));
        }
        assert_eq!((tally.percentile_ns(50), tally.percentile_ns(99)), (512, 1_014));
        assert_eq!(tally.calls(), 2 * WINDOW as u64);
        assert!(tally.failures().contains(&("trap".into(), WINDOW as u64)));
    }
}
