//! Relays on demand: the first consumer of a producer at another place opens one, the last closes it after a
//! while. For a large audience relays form a tree whose parents a policy chooses. Knows nothing of what a relay
//! carries.
//!
//! ```text
//! choosing (policy) → accepting (sink) → opening (source) → open → consumers are made
//! ```

use crate::cluster::Holder;
use crate::directory::{Awaited, Directory};
use crate::objects::{ConsumerStage, Relay, RelayStage};
use crate::placement::Subject;
use crate::refusal::{CommandFailure, full, no_track};
use crate::timers::Timer;
use std::collections::BTreeSet;
use tidegate_types::command::{CommandBody, Done};
use tidegate_types::decision::Parent;
use tidegate_types::request::RequestError;
use tidegate_types::{ConsumerId, Place, ProducerId, RelayId, TransportId};

impl Directory {
    /// The relay that brings a producer to a place; begun if there is none.
    pub(crate) fn relay_to(&mut self, producer: ProducerId, to: Place) -> Result<RelayId, RequestError> {
        let bounds = self.config.bounds;
        let from = self.place_of_producer(producer).ok_or_else(no_track)?;
        let stands = self.producers.get(&producer).ok_or_else(no_track)?;
        if let Some(relay) = stands.relays.get(&to) {
            return Ok(*relay);
        }
        if self.relays.len() >= bounds.relays {
            return Err(full("relays", bounds.relays));
        }
        let router = stands.router;
        let id = RelayId(self.next_id());
        self.insert_relay(
            id,
            Relay {
                producer,
                router,
                from,
                to,
                parent: None,
                children: BTreeSet::new(),
                consumers: BTreeSet::new(),
                stage: RelayStage::Choosing,
                source: None,
                sink: None,
            },
        );
        if !self.queue_placement(Subject::Relay(id)) {
            self.close_relay(id);
            return Err(full("pending placements", bounds.pending_requests));
        }
        Ok(id)
    }

    pub(crate) fn insert_relay(&mut self, id: RelayId, relay: Relay) {
        if let Some(producer) = self.producers.get_mut(&relay.producer) {
            producer.relays.insert(relay.to, id);
        }
        if let Some(router) = self.routers.get_mut(&relay.router) {
            router.relays.insert(id);
        }
        self.relays.insert(id, relay);
        self.totals.relays_total += 1;
        if !self.timers.is_set(Timer::ReadRelays) {
            self.timers.set(Timer::ReadRelays, self.now.instant + self.config.patience.read_relays);
        }
    }

    /// Hangs a waiting consumer on a relay.
    pub(crate) fn hang_on(&mut self, consumer: ConsumerId, id: RelayId) {
        // It may have failed at once, when nothing could be asked.
        let Some(relay) = self.relays.get_mut(&id) else { return };
        relay.consumers.insert(consumer);
        let is_open = relay.stage == RelayStage::Open;
        self.timers.cancel(Timer::RelayIdle(id));
        if let Some(consumer) = self.consumers.get_mut(&consumer) {
            consumer.relay = Some(id);
        }
        if is_open {
            self.command_consumer(consumer);
        }
    }

    /// Takes a consumer off its relay, if it hangs on one.
    pub(crate) fn let_go(&mut self, consumer: ConsumerId) {
        let Some(id) = self.consumers.get_mut(&consumer).and_then(|consumer| consumer.relay.take()) else {
            return;
        };
        if let Some(relay) = self.relays.get_mut(&id) {
            relay.consumers.remove(&consumer);
        }
        self.linger_if_idle(id);
    }

    pub(crate) fn linger_if_idle(&mut self, id: RelayId) {
        if self.relays.get(&id).is_some_and(Relay::is_idle) {
            self.timers.set(Timer::RelayIdle(id), self.now.instant + self.config.patience.relay_linger);
        }
    }

    pub(crate) fn close_idle_relay(&mut self, id: RelayId) {
        if self.relays.get(&id).is_some_and(Relay::is_idle) {
            self.close_relay(id);
        }
    }

    /// From where this relay could copy: the producer's own place, and where its open relays end.
    pub(crate) fn parents(&self, id: RelayId) -> Vec<Parent> {
        let Some(relay) = self.relays.get(&id) else { return Vec::new() };
        let Some(own) = self.place_of_producer(relay.producer) else { return Vec::new() };
        let Some(producer) = self.producers.get(&relay.producer) else { return Vec::new() };
        let siblings = || producer.relays.values().filter_map(|id| Some((*id, self.relays.get(id)?)));
        let leaving = siblings()
            .filter(|(_, sibling)| sibling.parent.is_none() && sibling.stage > RelayStage::Choosing);
        let root = Parent { place: own, depth: 0, fan_out: count(leaving.count()) };
        let sinks =
            siblings().filter(|(_, sibling)| sibling.stage == RelayStage::Open).map(|(id, sibling)| Parent {
                place: sibling.to,
                depth: self.depth(id),
                fan_out: count(sibling.children.len()),
            });
        let deepest = self.config.bounds.relay_depth;
        std::iter::once(root).chain(sinks.filter(|parent| parent.depth < deepest)).collect()
    }

    /// Hops from the producer to where a relay ends.
    fn depth(&self, mut id: RelayId) -> u32 {
        let mut hops = 1;
        while let Some(parent) = self.relays.get(&id).and_then(|relay| relay.parent) {
            // Parents are older than their children, so the walk ends.
            debug_assert!(parent < id);
            id = parent;
            hops += 1;
        }
        hops
    }

    /// Where the producer itself stands: the default parent.
    pub(crate) fn own_place(&self, id: RelayId) -> Option<Place> {
        self.place_of_producer(self.relays.get(&id)?.producer)
    }

    /// The parent was chosen: the sink is told first, so that nothing arrives there unawaited.
    pub(crate) fn accept_relay(&mut self, id: RelayId, from: Place) {
        let Some(relay) = self.relays.get(&id) else { return };
        let (to, router) = (relay.to, relay.router);
        let Some(producer) = self.producers.get(&relay.producer) else { return };
        let body = CommandBody::AcceptRelay {
            relay: id,
            router,
            producer: relay.producer,
            parameters: producer.parameters.clone(),
            paused: producer.paused,
            from,
        };
        // The producer's own place is no relay's sink: `relay_to` opens none to there.
        let parent = producer.relays.get(&from).copied();
        self.adopt(id, parent);
        if let Some(relay) = self.relays.get_mut(&id) {
            (relay.from, relay.stage) = (from, RelayStage::Accepting);
        }
        if let Some(router) = self.routers.get_mut(&router) {
            router.places.insert(to);
        }
        self.command(to, body, Awaited::AcceptRelay(id));
    }

    pub(crate) fn adopt(&mut self, id: RelayId, parent: Option<RelayId>) {
        if let Some(relay) = self.relays.get_mut(&id) {
            relay.parent = parent;
        }
        if let Some(parent) = parent {
            self.timers.cancel(Timer::RelayIdle(parent));
            if let Some(parent) = self.relays.get_mut(&parent) {
                parent.children.insert(id);
            }
        }
    }

    pub(crate) fn relay_accepted(&mut self, id: RelayId, result: Result<Done, CommandFailure>) {
        let Some(relay) = self.relays.get_mut(&id) else {
            self.totals.late_total += 1;
            return;
        };
        if let Err(failure) = result {
            return self.fail_relay(id, &failure.into());
        }
        relay.stage = RelayStage::Opening;
        let (from, to, producer) = (relay.from, relay.to, relay.producer);
        self.command(from, CommandBody::OpenRelay { relay: id, producer, to }, Awaited::OpenRelay(id));
    }

    pub(crate) fn relay_opened(&mut self, id: RelayId, result: Result<Done, CommandFailure>) {
        let Some(relay) = self.relays.get_mut(&id) else {
            self.totals.late_total += 1;
            return;
        };
        if let Err(failure) = result {
            return self.fail_relay(id, &failure.into());
        }
        relay.stage = RelayStage::Open;
        let waiting: Vec<ConsumerId> = relay.consumers.iter().copied().collect();
        for consumer in waiting {
            self.command_consumer(consumer);
        }
    }

    /// A relay could not be opened: whoever waits for it is told.
    pub(crate) fn fail_relay(&mut self, id: RelayId, error: &RequestError) {
        for consumer in self.close_relay(id) {
            self.fail_consumer(consumer, error);
        }
    }

    /// Ends a relay and all that copy from it; gives the consumers that hung on them, which wait again. An end that
    /// was told to begin is told to end.
    pub(crate) fn close_relay(&mut self, id: RelayId) -> Vec<ConsumerId> {
        let mut orphans = Vec::new();
        let mut closing = vec![id];
        while let Some(id) = closing.pop() {
            let Some(relay) = self.forget_relay(id) else { continue };
            if relay.stage >= RelayStage::Accepting {
                self.command_quietly(relay.to, CommandBody::CloseRelay { relay: id });
            }
            if relay.stage >= RelayStage::Opening {
                self.command_quietly(relay.from, CommandBody::CloseRelay { relay: id });
            }
            closing.extend(relay.children);
            orphans.extend(relay.consumers);
        }
        for orphan in &orphans {
            if let Some(consumer) = self.consumers.get_mut(orphan) {
                (consumer.relay, consumer.stage) = (None, ConsumerStage::Waiting);
            }
        }
        orphans
    }

    pub(crate) fn forget_relay(&mut self, id: RelayId) -> Option<Relay> {
        let relay = self.relays.remove(&id)?;
        self.timers.cancel(Timer::RelayIdle(id));
        self.release(Holder::Relay(id));
        if let Some(producer) = self.producers.get_mut(&relay.producer) {
            producer.relays.remove(&relay.to);
        }
        if let Some(router) = self.routers.get_mut(&relay.router) {
            router.relays.remove(&id);
        }
        if let Some(parent) = relay.parent {
            if let Some(parent) = self.relays.get_mut(&parent) {
                parent.children.remove(&id);
            }
            self.linger_if_idle(parent);
        }
        if self.relays.is_empty() {
            self.timers.cancel(Timer::ReadRelays);
        }
        Some(relay)
    }

    /// Where a producer's stand-ins are, or are being made.
    pub(crate) fn stand_ins(&self, producer: ProducerId) -> Vec<Place> {
        let relays = self.producers.get(&producer).into_iter().flat_map(|producer| producer.relays.values());
        relays
            .filter_map(|id| self.relays.get(id))
            .filter(|relay| relay.stage >= RelayStage::Accepting)
            .map(|relay| relay.to)
            .collect()
    }

    /// A transport stands elsewhere now. Relays of its producers began at the old place, and its consumers need
    /// other relays, or none: both are planned anew. Consumers are made again where they must be; at a place that
    /// has one already, making it again is harmless.
    pub(crate) fn transport_moved(&mut self, id: TransportId, to: Place) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        transport.place = to;
        let producers: Vec<ProducerId> = transport.producers.iter().copied().collect();
        let mut concerned = transport.consumers.clone();
        let router = transport.router;
        if let Some(router) = self.routers.get_mut(&transport.router) {
            router.places.insert(to);
        }
        self.spread_messages(router);
        self.release(Holder::Transport(id));
        for producer in producers {
            let Some(producer) = self.producers.get(&producer) else { continue };
            concerned.extend(&producer.consumers);
            let relays: Vec<RelayId> = producer.relays.values().copied().collect();
            for relay in relays {
                self.close_relay(relay);
            }
        }
        for consumer in concerned {
            self.reroute_consumer(consumer);
        }
    }

    pub(crate) fn reroute_consumer(&mut self, id: ConsumerId) {
        self.let_go(id);
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.stage = ConsumerStage::Waiting;
        }
        self.route_consumer(id);
    }

    /// Asks every place with an end of a relay for its counters.
    pub(crate) fn read_relays(&mut self) {
        let open = self.relays.values().filter(|relay| relay.stage == RelayStage::Open);
        let places: BTreeSet<Place> = open.flat_map(|relay| [relay.from, relay.to]).collect();
        for place in places {
            self.command(place, CommandBody::ReadRelays, Awaited::ReadRelays);
        }
        if !self.relays.is_empty() {
            self.timers.set(Timer::ReadRelays, self.now.instant + self.config.patience.read_relays);
        }
    }

    pub(crate) fn relays_read(&mut self, place: Place, result: Result<Done, CommandFailure>) {
        let Ok(Done::Relays(counters)) = result else { return };
        for (id, at_source, stats) in counters {
            match self.relays.get_mut(&id) {
                Some(relay) if at_source && relay.from == place => relay.source = Some(stats),
                Some(relay) if !at_source && relay.to == place => relay.sink = Some(stats),
                _ => self.totals.late_total += 1,
            }
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
