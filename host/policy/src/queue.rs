//! Questions that wait, and the seats that are free: one lane a decision. Knows nothing of how a question is
//! decided.
//!
//! The question whose deadline comes first goes first, among the lanes that have a free seat. A lane has fewer
//! seats than there are threads, so a plugin that uses up all its time leaves a thread for the others.

use crate::config::Deadlines;
use crate::lookups::Begun;
use crate::slot::Slot;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tidegate_types::decision::{Decision, Question};

/// One waiting question.
pub(crate) struct Job {
    pub(crate) question: Question,
    pub(crate) arrived: Instant,
    /// When its policies must have answered. It stands still while something is looked up.
    pub(crate) deadline: Instant,
    /// How far it has come, where it has waited for a lookup.
    pub(crate) begun: Option<Box<Begun>>,
}

impl Job {
    pub(crate) fn new(question: Question, now: Instant, deadlines: Deadlines) -> Self {
        let deadline = now + deadlines.of(question.body.decision());
        Self { question, arrived: now, deadline, begun: None }
    }

    pub(crate) const fn decision(&self) -> Decision {
        self.question.body.decision()
    }
}

#[derive(Default)]
struct Lane {
    /// In the order of deadlines, which is that of arrival but for those that waited for a lookup.
    waiting: VecDeque<Job>,
    free: Vec<Slot>,
}

impl Lane {
    fn ready(&self) -> bool {
        !self.free.is_empty() && !self.waiting.is_empty()
    }
}

#[derive(Default)]
struct State {
    lanes: [Lane; Decision::ALL.len()],
    running: usize,
    stopping: bool,
    closed: bool,
}

impl State {
    fn lane(&mut self, decision: Decision) -> &mut Lane {
        &mut self.lanes[decision as usize]
    }

    fn busy(&self) -> bool {
        self.running > 0 || self.lanes.iter().any(|lane| !lane.waiting.is_empty())
    }

    fn next(&mut self) -> Option<(Job, Slot)> {
        let ready = self.lanes.iter_mut().filter(|lane| lane.ready());
        let lane = ready.min_by_key(|lane| lane.waiting.front().map(|job| job.deadline))?;
        let turn = lane.waiting.pop_front().zip(lane.free.pop())?;
        self.running += 1;
        Some(turn)
    }
}

/// The lanes, and those who wait for them to change.
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    tick: Condvar,
    bound: usize,
}

impl Queue {
    /// A queue in which at most `bound` questions a decision wait.
    pub(crate) fn new(bound: usize) -> Self {
        Self { state: Mutex::default(), work: Condvar::new(), tick: Condvar::new(), bound }
    }

    /// Gives a decision one more seat.
    pub(crate) fn seat(&self, decision: Decision, slot: Slot) {
        self.lock().lane(decision).free.push(slot);
    }

    /// Lets a question wait; gives it back if too many do.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        let stopping = state.stopping;
        let was_busy = state.busy();
        let lane = state.lane(job.decision());
        if stopping || lane.waiting.len() >= self.bound {
            return Err(job);
        }
        lane.waiting.push_back(job);
        drop(state);
        self.work.notify_one();
        if !was_busy {
            self.tick.notify_one();
        }
        Ok(())
    }

    /// Lets one go on that has been let in before: by its deadline, whoever else waits. Gives it back when stopping.
    pub(crate) fn resume(&self, job: Job) -> Result<(), Box<Job>> {
        let mut state = self.lock();
        if state.stopping {
            return Err(Box::new(job));
        }
        let was_busy = state.busy();
        let waiting = &mut state.lane(job.decision()).waiting;
        let at = waiting.partition_point(|other| other.deadline <= job.deadline);
        waiting.insert(at, job);
        drop(state);
        self.work.notify_one();
        if !was_busy {
            self.tick.notify_one();
        }
        Ok(())
    }

    /// The next question with a seat for it. Blocks; `None` once stopping.
    pub(crate) fn take(&self) -> Option<(Job, Slot)> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(turn) = state.next() {
                return Some(turn);
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Frees a seat.
    pub(crate) fn give_back(&self, decision: Decision, slot: Slot) {
        let mut state = self.lock();
        state.running -= 1;
        state.lane(decision).free.push(slot);
    }

    /// How many wait for a decision.
    pub(crate) fn waiting(&self, decision: Decision) -> usize {
        self.lock().lane(decision).waiting.len()
    }

    /// Takes out all whose time is over.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Job> {
        let mut state = self.lock();
        let mut expired = Vec::new();
        for lane in &mut state.lanes {
            while lane.waiting.front().is_some_and(|job| job.deadline <= now) {
                expired.extend(lane.waiting.pop_front());
            }
        }
        expired
    }

    /// Takes out all, for ever.
    pub(crate) fn stop(&self) -> Vec<Job> {
        let mut state = self.lock();
        state.stopping = true;
        let left = state.lanes.iter_mut().flat_map(|lane| lane.waiting.drain(..)).collect();
        drop(state);
        self.work.notify_all();
        left
    }

    /// Nobody runs any more: time need not pass.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        drop(state);
        self.tick.notify_all();
    }

    /// Blocks while nothing waits or runs. False once closed.
    pub(crate) fn until_busy(&self) -> bool {
        let mut state = self.lock();
        while !state.busy() && !state.closed {
            state = self.tick.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
