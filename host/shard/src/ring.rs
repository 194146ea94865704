//! The rings between shards: one bounded queue for each ordered pair, one wake a batch. Knows nothing of what
//! crosses, but for what may be lost on the way: relayed media (the relay repairs it) and datagrams (the network
//! loses them as well); a transport never.

use crate::bell::Bell;
use crate::counters::{Counters, Dropped};
use crate::stream::Parcel;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::collections::VecDeque;
use std::sync::Arc;
use tidegate_media::io::Crossing;
use tidegate_types::relay::RelayMessage;
use tidegate_types::{NodeId, Place, ShardIndex};

/// How many messages, of relays and of people, are held for one full ring; beyond it they are dropped. Transports are held beyond it,
/// no more than there are.
const HELD_MESSAGES: usize = 1_024;

/// Room for held messages that is there from the start.
const HELD_AT_FIRST: usize = 64;

/// What goes over a ring.
#[derive(Debug)]
pub(crate) enum Passed {
    /// From engine to engine.
    Crossing(Crossing),
    /// From an engine to a stream that the other shard accepted.
    Parcel(Parcel),
}

impl From<Crossing> for Passed {
    fn from(crossing: Crossing) -> Self {
        Self::Crossing(crossing)
    }
}

/// One shard's ends of all rings.
pub(crate) struct Rings {
    node: NodeId,
    /// By the shard they come from.
    inbound: Vec<Inbound>,
    /// By the shard they go to; `None` for the shard itself.
    outbound: Vec<Option<Outbound>>,
}

struct Inbound {
    from: Place,
    ring: Consumer<Passed>,
}

struct Outbound {
    ring: Producer<Passed>,
    bell: Arc<Bell>,
    /// What must not be lost and found the ring full, in order.
    held: VecDeque<Passed>,
    /// Something was put in since the last ring of the bell.
    touched: bool,
}

/// What the bound means for a crossing.
enum Keep {
    Always,
    UpToTheBound,
    Not(Dropped),
}

/// The rings of all shards: from each to each.
pub(crate) fn mesh(node: NodeId, bells: &[Arc<Bell>], slots: usize) -> Vec<Rings> {
    let shards = bells.len();
    let empty = |_| Rings { node, inbound: Vec::new(), outbound: (0..shards).map(|_| None).collect() };
    let mut meshed: Vec<Rings> = (0..shards).map(empty).collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (producer, consumer) = RingBuffer::new(slots.max(1));
            meshed[from].outbound[to] = Some(Outbound {
                ring: producer,
                bell: Arc::clone(&bells[to]),
                held: VecDeque::with_capacity(HELD_AT_FIRST),
                touched: false,
            });
            meshed[to].inbound.push(Inbound { from: place(node, from), ring: consumer });
        }
    }
    meshed
}

#[expect(clippy::cast_possible_truncation)]
fn place(node: NodeId, shard: usize) -> Place {
    Place { node, shard: ShardIndex(shard as u16) }
}

impl Rings {
    /// How many rings lead here.
    pub(crate) fn inbound(&self) -> usize {
        self.inbound.len()
    }

    /// The next crossing of one inbound ring.
    pub(crate) fn next(&mut self, ring: usize) -> Option<(Place, Passed)> {
        let inbound = &mut self.inbound[ring];
        Some((inbound.from, inbound.ring.pop().ok()?))
    }

    /// Whether anything has come.
    pub(crate) fn has_arrivals(&self) -> bool {
        self.inbound.iter().any(|inbound| !inbound.ring.is_empty())
    }

    /// Whether something waits for room in a full ring.
    pub(crate) fn holds_back(&self) -> bool {
        self.outbound.iter().flatten().any(|outbound| !outbound.held.is_empty())
    }

    /// Sends one crossing; its target hears of it at the next [`Rings::wake`].
    pub(crate) fn send(&mut self, to: Place, passed: impl Into<Passed>, counters: &Counters) {
        let known = (to.node == self.node).then(|| self.outbound.get_mut(usize::from(to.shard.0))).flatten();
        let Some(outbound) = known.and_then(Option::as_mut) else {
            counters.drop_one(Dropped::Astray);
            return;
        };
        outbound.retry(counters);
        if let Some(crossing) = outbound.push(passed.into(), counters) {
            outbound.hold(crossing, counters);
        }
    }

    /// Tries again what found a ring full.
    pub(crate) fn retry(&mut self, counters: &Counters) {
        for outbound in self.outbound.iter_mut().flatten() {
            outbound.retry(counters);
        }
    }

    /// One wake for each shard that got something since the last call, if it sleeps.
    pub(crate) fn wake(&mut self) {
        for outbound in self.outbound.iter_mut().flatten().filter(|outbound| outbound.touched) {
            outbound.touched = false;
            outbound.bell.ring();
        }
    }
}

impl Outbound {
    /// Puts it in unless something is held before it or the ring is full; then it comes back.
    fn push(&mut self, crossing: Passed, counters: &Counters) -> Option<Passed> {
        if !self.held.is_empty() {
            return Some(crossing);
        }
        if let Err(PushError::Full(crossing)) = self.ring.push(crossing) {
            return Some(crossing);
        }
        self.touched = true;
        counters.crossings_out.add(1);
        None
    }

    fn hold(&mut self, crossing: Passed, counters: &Counters) {
        match keep(&crossing) {
            Keep::Not(kind) => counters.drop_one(kind),
            Keep::UpToTheBound if self.held.len() >= HELD_MESSAGES => counters.drop_one(Dropped::RingMessage),
            Keep::Always | Keep::UpToTheBound => self.held.push_back(crossing),
        }
    }

    fn retry(&mut self, counters: &Counters) {
        while let Some(crossing) = self.held.pop_front() {
            if let Err(PushError::Full(crossing)) = self.ring.push(crossing) {
                self.held.push_front(crossing);
                return;
            }
            self.touched = true;
            counters.crossings_out.add(1);
        }
    }
}

fn keep(passed: &Passed) -> Keep {
    match passed {
        Passed::Crossing(Crossing::Relay(RelayMessage::Media(_))) => Keep::Not(Dropped::RingMedia),
        Passed::Crossing(Crossing::Datagram(_)) | Passed::Parcel(_) => Keep::Not(Dropped::RingDatagram),
        Passed::Crossing(Crossing::Relay(_) | Crossing::Message { .. } | Crossing::Forget { .. }) => {
            Keep::UpToTheBound
        }
        Passed::Crossing(Crossing::Transport(_)) => Keep::Always,
    }
}

#[cfg(test)]
mod tests;
