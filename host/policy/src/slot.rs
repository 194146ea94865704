//! What a thread needs to decide one question: a seat for every policy of the chain, its stand-in and its shadow.
//! Knows nothing of queues or of what is asked.

use crate::chain::{Chain, Generation, Post};
use crate::recorder::Recorder;
use crate::seat::{Seat, Surroundings};
use std::sync::Arc;

/// The seats of one chain.
pub(crate) struct Slot {
    pub(crate) desks: Vec<Desk>,
}

/// The seats of one post.
pub(crate) struct Desk {
    pub(crate) seat: Seat,
    /// For the previous generation; there once it was needed.
    pub(crate) before: Option<Seat>,
    /// For the one on trial; there once it was needed.
    pub(crate) shadow: Option<Seat>,
}

impl Slot {
    /// Seats with their first instances in them.
    pub(crate) fn filled(chain: &Chain, recorder: &Recorder) -> Self {
        Self { desks: chain.posts.iter().map(|post| Desk::of(post, recorder)).collect() }
    }

    /// Between two questions: whoever holds a post now takes the seat. A post that is new gets seats, one that is gone
    /// loses them.
    pub(crate) fn fit(&mut self, chain: &Chain, recorder: &Recorder) {
        let kept = self.desks.len().min(chain.posts.len());
        self.desks.drain(kept..).for_each(|desk| desk.seat.leave());
        for (desk, post) in self.desks.iter_mut().zip(&chain.posts) {
            desk.fit(post, recorder);
        }
        self.desks.extend(chain.posts.iter().skip(kept).map(|post| Desk::of(post, recorder)));
    }

    /// Makes anew what has failed, so that the next question finds it ready, and ahead what would follow.
    pub(crate) fn rest(&mut self, around: &Surroundings<'_>) {
        for desk in &mut self.desks {
            desk.seat.rest(around);
        }
    }
}

impl Desk {
    fn of(post: &Post, recorder: &Recorder) -> Self {
        Self { seat: Seat::of(post.current.clone(), recorder), before: None, shadow: None }
    }

    fn fit(&mut self, post: &Post, recorder: &Recorder) {
        if self.seat.generation().number != post.current.number {
            std::mem::replace(&mut self.seat, Seat::of(post.current.clone(), recorder)).leave();
        }
        let shadow = post.shadow.as_ref().map(|shadow| &shadow.generation);
        vacate(&mut self.before, post.previous.as_ref());
        vacate(&mut self.shadow, shadow);
    }
}

/// Whoever sits there goes, unless it is the right one.
fn vacate(seat: &mut Option<Seat>, wanted: Option<&Arc<Generation>>) {
    let sits = seat.as_ref().map(|seat| seat.generation().number);
    if sits.is_some() && sits != wanted.map(|wanted| wanted.number) {
        seat.take().into_iter().for_each(Seat::leave);
    }
}
