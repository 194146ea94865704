//! An instance of the record, alive again. Knows nothing of the other instances, and of what becomes of its answers.

use crate::feed::Cluster;
use crate::host;
use crate::plugin::{Decider, Plugin};
use crate::recorder::{Call, Start};
use crate::tape::{Tape, Told};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::cluster::CellChange;
use tidegate_types::decision::{AnswerBody, Failure, QuestionBody};

/// What one call may take in a replay.
const CALL_TIME: Duration = Duration::from_secs(1);

/// Why calls cannot be made again.
pub(super) const NOT_GIVEN: &str = "the component that decided it was not given";
pub(super) const NO_BEGINNING: &str = "the beginning of the instance that decided it is not in the record";
pub(super) const GAP: &str = "the record leaves out some of what the instance that decided it met";
const LOST: &str = "the instance that decided it could not be brought back to where it was";

/// What came of a call that was made again.
pub(super) struct Made {
    pub(super) answer: Result<AnswerBody, Failure>,
    pub(super) took: Duration,
    /// What it computed, where that is counted.
    pub(super) fuel: Option<u64>,
}

/// An instance of the record.
pub(super) struct Live {
    /// `None`: it only stands for one that is left as it was.
    plugin: Option<Arc<Plugin>>,
    /// `None` once too little is known of it.
    decider: Option<Decider>,
    cluster: Option<Cluster>,
    /// How much of what it met was seen.
    pub(super) events: u64,
    pub(super) generation: u64,
    unix_ms: u64,
    /// Another component plays it.
    pub(super) replaced: bool,
    /// Is it asked again at all?
    pub(super) concerned: bool,
    /// The record kept only the first of what the host told it.
    pub(super) inexact: bool,
    /// Why it is not asked again.
    pub(super) missing: Option<&'static str>,
}

impl Live {
    /// One that begins as it began then.
    pub(super) fn begin(start: &Start, plugin: Arc<Plugin>, replaced: bool) -> Self {
        let decider = plugin.decider_with(Tape::playing(&start.told), start.unix_ms).ok();
        let mut live = Self::absent(start, None);
        live.heard(&start.told);
        Self { plugin: Some(plugin), decider, replaced, concerned: true, ..live }
    }

    /// One whose answers are taken from the record; it is concerned if there is a reason to regret that.
    pub(super) const fn absent(start: &Start, missing: Option<&'static str>) -> Self {
        Self {
            plugin: None,
            decider: None,
            cluster: None,
            events: 1,
            generation: start.generation,
            unix_ms: start.unix_ms,
            replaced: false,
            concerned: missing.is_some(),
            inexact: false,
            missing,
        }
    }

    /// Too little is known of it from here on.
    pub(super) fn lose(&mut self, why: &'static str) {
        self.decider = None;
        if self.concerned && self.missing.is_none() {
            self.missing = Some(why);
        }
    }

    pub(super) fn reset(&mut self, cluster: Cluster, told: &[Told], failed: bool) {
        let heard = self.fed(told).is_none_or(|fed| fed.reset(&cluster).is_ok());
        self.cluster = Some(cluster);
        if failed || !heard {
            self.decider = None;
        }
    }

    pub(super) fn delta(&mut self, generation: u64, changes: &[CellChange], told: &[Told], failed: bool) {
        if let Some(cluster) = &mut self.cluster {
            changes.iter().for_each(|change| cluster.apply(change));
        }
        let heard = self.fed(told).is_none_or(|fed| fed.delta(generation, changes).is_ok());
        if failed || !heard {
            self.decider = None;
        }
    }

    fn fed(&mut self, told: &[Told]) -> Option<&mut dyn host::Fed> {
        self.heard(told);
        let decider = self.decider.as_mut()?;
        decider.instance().allow(CALL_TIME);
        decider.play(told);
        match decider {
            Decider::Authorize(_) | Decider::Share(_) => None,
            Decider::Allocate(decider) => Some(decider.as_mut()),
            Decider::Balance(decider) => Some(decider.as_mut()),
        }
    }

    fn heard(&mut self, told: &[Told]) {
        self.inexact |= told.last() == Some(&Told::Cut);
    }

    /// The same call again.
    ///
    /// # Errors
    /// Why it is not made.
    pub(super) fn call(&mut self, call: &Call) -> Result<Made, &'static str> {
        self.heard(&call.told);
        if let Some(missing) = self.missing {
            return Err(missing);
        }
        if call.answer == Err(Failure::Deadline) && !self.replaced {
            self.decider = None;
            return Ok(Made { answer: Err(Failure::Deadline), took: Duration::ZERO, fuel: None });
        }
        if self.decider.is_none() && self.replaced {
            self.revive();
        }
        let decider = self.decider.as_mut().ok_or(LOST)?;
        decider.instance().allow(CALL_TIME);
        decider.play(&call.told);
        let question = call.question();
        let before = decider.instance().spent().fuel;
        let began = Instant::now();
        let answer = match (decider, question) {
            (Decider::Authorize(decider), QuestionBody::Authorize(request)) => {
                decider.authorize(&request).map(AnswerBody::Authorize)
            }
            (Decider::Allocate(decider), QuestionBody::Place(request)) => {
                decider.place(&request).map(AnswerBody::Place)
            }
            (Decider::Balance(decider), QuestionBody::Balance(request)) => {
                decider.balance(&request).map(AnswerBody::Balance)
            }
            (Decider::Share(decider), QuestionBody::Share(request)) => {
                decider.share(&request).map(AnswerBody::Share)
            }
            _ => return Err(LOST),
        };
        let took = began.elapsed();
        let after = self.decider.as_mut().and_then(|decider| decider.instance().spent().fuel);
        let fuel = after.zip(before).map(|(after, before)| after.saturating_sub(before));
        if matches!(answer, Err(failure) if failure != Failure::Stale) {
            self.decider = None;
        }
        Ok(Made { answer, took, fuel })
    }

    /// Where another component plays, an instance that failed is followed by a fresh one, as in a host.
    fn revive(&mut self) {
        let plugin = self.plugin.as_ref();
        self.decider = plugin.and_then(|plugin| plugin.decider_with(Tape::playing(&[]), self.unix_ms).ok());
        if let Some(cluster) = self.cluster.take() {
            self.reset(cluster, &[], false);
        }
    }
}
