//! Questions that wait, and the seats that are free: one lane a decision. Knows nothing of how a question is
//! decided.
//!
//! The question whose deadline comes first goes first, among the lanes that have a free seat. A lane has fewer
//! seats than there are threads, so a plugin that uses up all its time leaves a thread for the others.

use crate::allowance::BRIEF;
use crate::config::Deadlines;
use crate::engine::{LOOK, TICK};
use crate::lookups::Begun;
use crate::slot::Slot;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidegate_types::decision::{Decision, Question};

/// For how many looks of the tick a question or an answer counts as new: until a guest that began right after it has run
/// for long enough to give way.
const NEW_LOOKS: u32 = 3;
const _: () = assert!(NEW_LOOKS as u128 * LOOK.as_nanos() >= BRIEF.as_nanos() + 2 * LOOK.as_nanos());

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
    /// For how many looks more someone may have woken beneath a guest.
    stirred: u32,
    /// The last look found nobody.
    calm: bool,
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

    /// A thread was woken, or is about to be.
    fn stir(&mut self) {
        self.stirred = NEW_LOOKS;
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
        state.stir();
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
        state.stir();
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
        state.stir();
        state.lane(decision).free.push(slot);
    }

    /// How many wait for a decision.
    pub(crate) fn waiting(&self, decision: Decision) -> usize {
        self.lock().lane(decision).waiting.len()
    }

    /// Has anyone come or been answered within the last looks, of which this is one?
    pub(crate) fn stirred(&self) -> bool {
        let mut state = self.lock();
        let stirred = state.stirred > 0;
        state.stirred = state.stirred.saturating_sub(1);
        stirred
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

    /// How long until the next look; `None` once closed. Blocks while nothing waits or runs, and has not for a tick:
    /// where questions follow each other, none has to wake anyone for the sake of time.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let mut state = self.lock();
        if !state.busy() && !std::mem::replace(&mut state.calm, true) {
            return (!state.closed).then_some(TICK);
        }
        while !state.busy() && !state.closed {
            state = self.tick.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.calm = false;
        (!state.closed).then_some(LOOK)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Job, NEW_LOOKS, Queue};
    use crate::config::Deadlines;
    use crate::engine::{LOOK, TICK};
    use crate::slot::Slot;
    use std::time::Instant;
    use tidegate_types::RequestNumber;
    use tidegate_types::decision::{Decision, Question, QuestionBody};
    use tidegate_types::sharing::ShareRequest;

    /// One that shares have a seat in.
    fn queue() -> Queue {
        let queue = Queue::new(1);
        queue.seat(Decision::Share, Slot { desks: Vec::new() });
        queue
    }

    fn push(queue: &Queue) {
        let body = QuestionBody::Share(Box::<ShareRequest>::default());
        let question = Question { number: RequestNumber(1), body };
        assert!(queue.push(Job::new(question, Instant::now(), Deadlines::usual())).is_ok());
    }

    #[test]
    fn a_question_and_its_answer_are_new_for_some_looks() {
        let queue = queue();
        let new = || (0..NEW_LOOKS).all(|_| queue.stirred()) && !queue.stirred();
        assert!(!queue.stirred());
        push(&queue);
        assert!(new(), "a question");
        let (_, slot) = queue.take().expect("it waits and there is a seat");
        assert!(!queue.stirred(), "whoever took it is awake");
        queue.give_back(Decision::Share, slot);
        assert!(new(), "an answer");
    }

    #[test]
    fn time_is_looked_at_often_while_one_runs_and_not_at_all_after_a_calm_tick() {
        let queue = queue();
        push(&queue);
        assert_eq!(queue.pause(), Some(LOOK), "one waits");
        let (_, slot) = queue.take().expect("it waits and there is a seat");
        assert_eq!(queue.pause(), Some(LOOK), "one runs");
        queue.give_back(Decision::Share, slot);
        assert_eq!(queue.pause(), Some(TICK), "another may follow");
        std::thread::scope(|scope| {
            let pause = scope.spawn(|| queue.pause());
            push(&queue);
            assert_eq!(pause.join().expect("it ends"), Some(LOOK), "another came");
        });
        queue.close();
        queue.stop();
        assert_eq!(queue.pause(), None);
    }
}
