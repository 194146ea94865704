//! Whose datagrams are whose: by flow, else by the ufrag that a check names (DESIGN: the ufrag carries the shard).
//! What points to another shard ends with its transport: the places that a transport left hear from the one where it
//! stands. Knows nothing of what datagrams carry.

use super::{Map, checks::Checks};
use crate::association::stun_ufrag;
use crate::io::{Incoming, Tuple};
use std::collections::VecDeque;
use tidegate_types::ShardIndex;

/// Flows of other shards' transports remembered at most; beyond it the oldest is forgotten and found again by
/// its next check.
const FOREIGN_FLOWS: usize = 4_096;
/// Hexadecimal digits at the head of a local ufrag that name its shard.
pub(super) const UFRAG_SHARD_DIGITS: usize = 4;

/// Where a flow's datagrams belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the transport in this slot.
    Here(usize),
    /// To another shard's engine.
    Shard(ShardIndex),
}

/// All routes of one engine.
#[derive(Debug)]
pub(super) struct Routes {
    own: ShardIndex,
    shards: u16,
    flows: Map<Tuple, Route>,
    /// Flows of other shards, the oldest first; each once.
    foreign: VecDeque<Tuple>,
    ufrags: Map<String, Route>,
    checks: Checks,
}

impl Routes {
    pub(super) fn new(own: ShardIndex, shards: u16, hasher: &foldhash::fast::FixedState) -> Self {
        Self {
            own,
            shards,
            flows: Map::with_hasher(hasher.clone()),
            foreign: VecDeque::new(),
            ufrags: Map::with_hasher(hasher.clone()),
            checks: Checks::new(hasher.clone()),
        }
    }

    /// Finds whose datagram this is; else says why it is nobody's. A check finds its transport anew, so that a
    /// reused address cannot be stuck.
    pub(super) fn find(&mut self, incoming: &Incoming) -> Result<Route, &'static str> {
        let tuple = incoming.tuple;
        let known = self.flows.get(&tuple).copied();
        let Some(ufrag) = stun_ufrag(incoming.buffer.bytes()) else { return known.ok_or("unknown-flow") };
        if known.is_none() && !self.checks.admit(incoming.at, tuple.remote.ip()) {
            return Err("check-flood");
        }
        let route = self.ufrags.get(ufrag).copied().or_else(|| self.named(ufrag)).ok_or("unknown-flow")?;
        if let Route::Shard(shard) = route
            && !matches!(known, Some(Route::Here(_)))
        {
            self.flow_away(tuple, shard);
        }
        Ok(route)
    }

    /// The other shard that a ufrag names.
    fn named(&self, ufrag: &str) -> Option<Route> {
        let shard = u16::from_str_radix(ufrag.get(..UFRAG_SHARD_DIGITS)?, 16).ok()?;
        (shard < self.shards && ShardIndex(shard) != self.own).then_some(Route::Shard(ShardIndex(shard)))
    }

    pub(super) fn flow_here(&mut self, tuple: Tuple, slot: usize) {
        if let Some(Route::Shard(_)) = self.flows.insert(tuple, Route::Here(slot)) {
            self.foreign.retain(|known| *known != tuple);
        }
    }

    pub(super) fn ufrag_here(&mut self, ufrag: String, slot: usize) {
        self.ufrags.insert(ufrag, Route::Here(slot));
    }

    fn flow_away(&mut self, tuple: Tuple, shard: ShardIndex) {
        if !matches!(self.flows.insert(tuple, Route::Shard(shard)), Some(Route::Shard(_))) {
            self.foreign.push_back(tuple);
        }
        while self.foreign.len() > FOREIGN_FLOWS
            && let Some(oldest) = self.foreign.pop_front()
        {
            self.flows.remove(&oldest);
        }
    }

    /// What a transport is found by leads to another shard from now on.
    pub(super) fn leave(&mut self, ufrags: &[String], flows: &[Tuple], to: ShardIndex) {
        for ufrag in ufrags {
            self.ufrags.insert(ufrag.clone(), Route::Shard(to));
        }
        for tuple in flows {
            self.flow_away(*tuple, to);
        }
    }

    /// A transport that stood here is gone, or is found by this no more.
    pub(super) fn end(&mut self, slot: usize, ufrags: &[String], flows: &[Tuple]) {
        self.forget(Some(slot), ufrags, flows);
    }

    /// What led from here to another shard leads nowhere any more. What is found here meanwhile stays.
    pub(super) fn end_foreign(&mut self, ufrags: &[String], flows: &[Tuple]) {
        self.forget(None, ufrags, flows);
        self.foreign.retain(|known| !flows.contains(known));
    }

    fn forget(&mut self, slot: Option<usize>, ufrags: &[String], flows: &[Tuple]) {
        let ends = |route: &Route| match (*route, slot) {
            (Route::Here(known), Some(slot)) => known == slot,
            (Route::Shard(_), None) => true,
            _ => false,
        };
        for ufrag in ufrags {
            if self.ufrags.get(ufrag).is_some_and(ends) {
                self.ufrags.remove(ufrag);
            }
        }
        for tuple in flows {
            if self.flows.get(tuple).is_some_and(ends) {
                self.flows.remove(tuple);
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.flows.len() + self.ufrags.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn tuple(port: u16) -> Tuple {
        Tuple { socket: 0, remote: SocketAddr::from(([10, 0, 0, 1], port)) }
    }

    fn routes() -> Routes {
        Routes::new(ShardIndex(0), 2, &foldhash::fast::FixedState::with_seed(1))
    }

    #[test]
    fn what_led_away_and_came_back_is_forgotten_once_and_for_all() {
        let mut routes = routes();
        let ufrags = ["0000abcd".to_owned()];
        for _ in 0..3 {
            routes.leave(&ufrags, &[tuple(1)], ShardIndex(1));
            routes.ufrag_here(ufrags[0].clone(), 0);
            routes.flow_here(tuple(1), 0);
        }
        assert!(routes.foreign.is_empty());
        routes.end_foreign(&ufrags, &[tuple(1)]);
        assert_eq!(routes.len(), 2, "what is found here stays");
        routes.end(0, &ufrags, &[tuple(1)]);
        assert_eq!(routes.len(), 0);
    }

    #[test]
    fn flows_of_other_shards_are_bounded_whatever_brought_them() {
        let mut routes = routes();
        for port in 0..2 * FOREIGN_FLOWS as u16 {
            routes.leave(&[], &[tuple(port)], ShardIndex(1));
        }
        assert_eq!((routes.len(), routes.foreign.len()), (FOREIGN_FLOWS, FOREIGN_FLOWS));
    }
}
