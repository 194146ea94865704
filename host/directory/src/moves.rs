//! Moving transports from shard to shard of their node while their calls go on. Knows nothing of what an engine does
//! with one, but that what it publishes leaves a stand-in behind.
//!
//! ```text
//! preparing: what it receives and what is said is relayed to the new place, and nothing of it is just being made
//! moving:    one command has gone to the old place; what is asked about it meanwhile waits
//! moved:     the new place says that it arrived; the books are turned
//! ```

use crate::cluster::Holder;
use crate::directory::{Awaited, Directory};
use crate::ledger::Asker;
use crate::objects::{ConsumerStage, Relay, RelayStage};
use crate::questions::Asked;
use crate::refusal::{CommandFailure, full, no_transport, unfit};
use crate::timers::Timer;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use tidegate_types::command::{CommandBody, Done};
use tidegate_types::decision::Wish;
use tidegate_types::request::{ErrorKind, ReplyBody, RequestBody, RequestError};
use tidegate_types::{ConsumerId, Place, ProducerId, RelayId, RouterId, ShardIndex, TransportId};

/// Over which time moves are counted.
const MINUTE: Duration = Duration::from_mins(1);

/// One transport on its way.
#[derive(Debug)]
struct Move {
    to: Place,
    /// The operator who waits for it; nobody where a policy wished for it.
    asker: Option<Asker>,
    stage: MoveStage,
    /// What was asked about it while it moves.
    held: Vec<(Asker, RequestBody)>,
}

#[derive(Debug)]
enum MoveStage {
    Preparing,
    Moving(Turn),
}

/// What is to be turned in the books once it has arrived.
#[derive(Debug)]
struct Turn {
    from: Place,
    router: RouterId,
    /// For each of its producers the relay that brings it back to the old place.
    stand_ins: Vec<(ProducerId, RelayId)>,
    /// Relays that began at the old place and go along.
    rooted: BTreeSet<RelayId>,
    /// Its place owed an answer for too long: nobody waits any more.
    given_up: bool,
}

/// All moves.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    under_way: BTreeMap<TransportId, Move>,
    /// When those of the last minute began.
    begun: VecDeque<Instant>,
}

impl Moves {
    pub(crate) fn is_under_way(&self, transport: TransportId) -> bool {
        self.under_way.contains_key(&transport)
    }
}

impl Directory {
    pub(crate) fn request_move(&mut self, asker: Asker, transport: TransportId, to: ShardIndex) {
        let begun = self.place_of(transport).ok_or_else(no_transport).and_then(|from| {
            let to = Place { shard: to, ..from };
            if from == to { Ok(false) } else { self.begin_move(transport, to, Some(asker)).map(|()| true) }
        });
        match begun {
            Ok(true) => {}
            Ok(false) => self.reply(asker, Ok(ReplyBody::Done)),
            Err(error) => self.reply(asker, Err(error)),
        }
    }

    /// Does of a wish what this version can: so many transports from one shard to another of the same node, those
    /// with the fewest tracks first, as many as may move.
    pub(crate) fn carry_out(&mut self, wish: &Wish) {
        let (Some(from), Some(to)) = (wish.from, wish.to) else { return };
        if (wish.action.as_str(), wish.unit.as_str()) != ("move", "transports") || from == to {
            return;
        }
        let mut there: Vec<(usize, TransportId)> = self
            .transports
            .iter()
            .filter(|(id, transport)| transport.place == from && !self.moves.under_way.contains_key(id))
            .map(|(id, transport)| (transport.producers.len(), *id))
            .collect();
        there.sort_unstable();
        let amount = usize::try_from(wish.amount).unwrap_or(usize::MAX);
        for (_, transport) in there.into_iter().take(amount) {
            if let Err(error) = self.begin_move(transport, to, None) {
                tracing::debug!(%transport, %to, code = error.code, "a wished move is not begun");
                break;
            }
        }
    }

    fn begin_move(&mut self, id: TransportId, to: Place, asker: Option<Asker>) -> Result<(), RequestError> {
        self.check_move(id, to)?;
        self.moves.begun.push_back(self.now.instant);
        self.moves.under_way.insert(id, Move { to, asker, stage: MoveStage::Preparing, held: Vec::new() });
        self.timers.set(Timer::Move(id), self.now.instant + self.config.patience.prepare_move);
        if let Some(router) = self.transports.get(&id).map(|transport| transport.router) {
            if let Some(router) = self.routers.get_mut(&router) {
                router.places.insert(to);
            }
            // What is said while it is on its way has to be heard there, too.
            self.spread_messages(router);
        }
        for producer in self.needed_at(id, to) {
            if self.is_on_its_way(producer, to) {
                continue;
            }
            if let Err(error) = self.relay_to(producer, to) {
                self.abandon_move(id, &error);
                break;
            }
        }
        Ok(())
    }

    /// Whether a producer's transport has been sent to this place, but has not been heard of from there.
    pub(crate) fn is_on_its_way(&self, producer: ProducerId, to: Place) -> bool {
        let transport = self.producers.get(&producer).map(|producer| producer.transport);
        let moving = transport.and_then(|transport| self.moves.under_way.get(&transport));
        moving.is_some_and(|one| one.to == to && !one.is_preparing())
    }

    fn check_move(&mut self, id: TransportId, to: Place) -> Result<(), RequestError> {
        let from = self.place_of(id).ok_or_else(no_transport)?;
        if !self.cluster.takes(to) || from.node != to.node {
            let message = format!("{to} is not a shard of the same server that takes anyone.");
            return Err(unfit("no-such-place", message));
        }
        if self.moves.under_way.contains_key(&id) {
            return Err(unfit("moving-already", "It is moving already."));
        }
        let bounds = self.config.bounds;
        let now = self.now.instant;
        self.moves.begun.retain(|begun| now.saturating_duration_since(*begun) < MINUTE);
        if self.moves.begun.len() >= bounds.moves_per_minute {
            return Err(full("moves in a minute", bounds.moves_per_minute));
        }
        if self.moves.under_way.len() >= bounds.moves {
            return Err(full("moves at once", bounds.moves));
        }
        Ok(())
    }

    /// What a transport receives that does not stand at `to`.
    fn needed_at(&self, id: TransportId, to: Place) -> BTreeSet<ProducerId> {
        let consumers = self.transports.get(&id).into_iter().flat_map(|transport| &transport.consumers);
        let producers = consumers.filter_map(|id| Some(self.consumers.get(id)?.producer));
        producers.filter(|producer| self.place_of_producer(*producer) != Some(to)).collect()
    }

    /// After every input: what was prepared may be ready now.
    pub(crate) fn go_on_with_moves(&mut self) {
        let preparing = self.moves.under_way.iter().filter(|(_, one)| one.is_preparing());
        let preparing: Vec<(TransportId, Place)> = preparing.map(|(id, one)| (*id, one.to)).collect();
        for (id, to) in preparing {
            if self.is_ready(id, to) {
                self.start_move(id, to);
            }
        }
    }

    fn is_ready(&self, id: TransportId, to: Place) -> bool {
        let Some(transport) = self.transports.get(&id) else { return false };
        let live = |consumer: &ConsumerId| {
            self.consumers.get(consumer).is_some_and(|consumer| consumer.stage == ConsumerStage::Live)
        };
        let is_open =
            |relay: &RelayId| self.relays.get(relay).is_some_and(|relay| relay.stage == RelayStage::Open);
        let settled = |producer: &ProducerId| {
            let producer = self.producers.get(producer);
            producer.is_some_and(|producer| producer.is_live() && producer.relays.values().all(is_open))
        };
        let relayed = |producer: ProducerId| {
            self.producers.get(&producer).and_then(|producer| producer.relays.get(&to)).is_some_and(is_open)
        };
        let asked = self.questions.values().any(|asked| match asked {
            Asked::Produce(_, wanted) => wanted.transport == id,
            Asked::Consume(_, wanted) => wanted.transport == id,
            _ => false,
        });
        let router = transport.router;
        let heard = !self
            .commands
            .values()
            .any(|(_, awaited)| matches!(awaited, Awaited::RelayMessages(of) if *of == router));
        !asked
            && heard
            && transport.consumers.iter().all(live)
            && transport.producers.iter().all(settled)
            && self.needed_at(id, to).into_iter().all(relayed)
    }

    fn start_move(&mut self, id: TransportId, to: Place) {
        let Some(transport) = self.transports.get(&id) else { return };
        let (from, router) = (transport.place, transport.router);
        let producers: Vec<ProducerId> = transport.producers.iter().copied().collect();
        let relays = producers.iter().filter_map(|id| self.producers.get(id));
        let relays = relays.flat_map(|producer| producer.relays.values());
        let rooted = relays
            .filter(|id| self.relays.get(id).is_some_and(|relay| relay.from == from))
            .copied()
            .collect();
        let stand_ins: Vec<(ProducerId, RelayId)> =
            producers.into_iter().map(|producer| (producer, RelayId(self.next_id()))).collect();
        let body = CommandBody::MoveTransport { transport: id, to: to.shard, stand_ins: stand_ins.clone() };
        self.timers.cancel(Timer::Move(id));
        if let Some(one) = self.moves.under_way.get_mut(&id) {
            one.stage = MoveStage::Moving(Turn { from, router, stand_ins, rooted, given_up: false });
        }
        self.command(from, body, Awaited::MoveTransport(id));
    }

    /// Its old place answered; that it has arrived is told by the new one.
    pub(crate) fn move_answered(&mut self, id: TransportId, result: Result<Done, CommandFailure>) {
        match result {
            Ok(_) => {}
            Err(CommandFailure::Silent) => {
                let Some(one) = self.moves.under_way.get_mut(&id) else { return };
                if let MoveStage::Moving(turn) = &mut one.stage {
                    turn.given_up = true;
                }
                let (asker, held) = (one.asker.take(), std::mem::take(&mut one.held));
                self.end_waiting(asker, Err(CommandFailure::Silent.into()), held);
            }
            Err(failure) => self.abandon_move(id, &failure.into()),
        }
    }

    /// It does not move after all; relays that were opened for it close if nobody else hangs on them.
    pub(crate) fn abandon_move(&mut self, id: TransportId, error: &RequestError) {
        let Some(one) = self.moves.under_way.remove(&id) else { return };
        self.timers.cancel(Timer::Move(id));
        self.route_waiting(id);
        self.totals.moves_failed_total += 1;
        self.let_relays_linger(id, one.to);
        self.end_waiting(one.asker, Err(error.clone()), one.held);
    }

    /// Consumers that waited for a transport's tracks to arrive at their place find their way now.
    fn route_waiting(&mut self, id: TransportId) {
        let producers = self.transports.get(&id).into_iter().flat_map(|transport| &transport.producers);
        let consumers = producers.filter_map(|id| self.producers.get(id)).flat_map(|of| &of.consumers);
        let waits = |id: &&ConsumerId| {
            self.consumers
                .get(id)
                .is_some_and(|one| one.stage == ConsumerStage::Waiting && one.relay.is_none())
        };
        let waiting: Vec<ConsumerId> = consumers.filter(waits).copied().collect();
        for consumer in waiting {
            self.route_consumer(consumer);
        }
    }

    fn let_relays_linger(&mut self, id: TransportId, to: Place) {
        for producer in self.needed_at(id, to) {
            let relay = self.producers.get(&producer).and_then(|producer| producer.relays.get(&to)).copied();
            if let Some(relay) = relay {
                self.linger_if_idle(relay);
            }
        }
    }

    fn end_waiting(
        &mut self,
        asker: Option<Asker>,
        outcome: Result<ReplyBody, RequestError>,
        held: Vec<(Asker, RequestBody)>,
    ) {
        if let Some(asker) = asker {
            self.reply(asker, outcome);
        }
        for (asker, body) in held {
            self.begin(asker, body);
        }
    }

    pub(crate) fn move_took_too_long(&mut self, id: TransportId) {
        let message = "The place that it was to move to was not ready in time.";
        self.abandon_move(id, &RequestError::new(ErrorKind::Failed, "move-not-ready", message));
    }

    /// A transport ends. One that has been sent on its way is ended where it arrives.
    pub(crate) fn end_move(&mut self, id: TransportId) {
        match self.moves.under_way.get_mut(&id) {
            Some(Move { stage: MoveStage::Moving(turn), asker, held, .. }) => {
                turn.given_up = true;
                let (asker, held) = (asker.take(), std::mem::take(held));
                self.end_waiting(asker, Err(no_transport()), held);
            }
            Some(_) => self.abandon_move(id, &no_transport()),
            None => {}
        }
    }

    /// What is asked about a transport that has been sent on its way waits until it has arrived.
    pub(crate) fn hold_while_moving(&mut self, asker: Asker, body: RequestBody) -> Option<RequestBody> {
        let moving = self.concerned(&body).and_then(|id| self.moves.under_way.get_mut(&id));
        match moving {
            Some(one) if one.is_awaited() => {
                one.held.push((asker, body));
                None
            }
            _ => Some(body),
        }
    }

    /// The transport that a request is about.
    fn concerned(&self, body: &RequestBody) -> Option<TransportId> {
        match body {
            RequestBody::Connect { transport, .. }
            | RequestBody::RestartIce { transport }
            | RequestBody::Produce { transport, .. }
            | RequestBody::Consume { transport, .. }
            | RequestBody::OpenData { transport, .. }
            | RequestBody::SendMessage { transport, .. }
            | RequestBody::ReadStats { transport } => Some(*transport),
            RequestBody::PauseProducer { producer, .. } | RequestBody::CloseProducer { producer } => {
                Some(self.producers.get(producer)?.transport)
            }
            RequestBody::PauseConsumer { consumer, .. }
            | RequestBody::SetPreferredLayers { consumer, .. }
            | RequestBody::CloseConsumer { consumer } => Some(self.consumers.get(consumer)?.transport),
            _ => None,
        }
    }

    /// A transport stands elsewhere now.
    pub(crate) fn moved(&mut self, id: TransportId, to: Place) {
        match self.moves.under_way.remove(&id) {
            Some(Move { to: expected, asker, stage: MoveStage::Moving(turn), held }) if expected == to => {
                self.arrived(id, to, &turn);
                self.end_waiting(asker, Ok(ReplyBody::Done), held);
            }
            other => {
                let (asker, held) = other.map_or((None, Vec::new()), |one| (one.asker, one.held));
                self.timers.cancel(Timer::Move(id));
                if self.cluster.has(to) && self.place_of(id).is_some_and(|from| from != to) {
                    self.transport_moved(id, to);
                }
                self.end_waiting(asker, Ok(ReplyBody::Done), held);
            }
        }
    }

    fn arrived(&mut self, id: TransportId, to: Place, turn: &Turn) {
        self.totals.moves_total += 1;
        self.release(Holder::Transport(id));
        let Some(transport) = self.transports.get_mut(&id) else {
            // It ended while it was on its way.
            self.command_quietly(to, CommandBody::CloseTransport { transport: id });
            for (_, relay) in &turn.stand_ins {
                self.command_quietly(turn.from, CommandBody::CloseRelay { relay: *relay });
            }
            if !self.routers.contains_key(&turn.router) {
                for place in [turn.from, to] {
                    self.command_quietly(place, CommandBody::CloseRouter { router: turn.router });
                }
            }
            return;
        };
        transport.place = to;
        let consumers = transport.consumers.clone();
        for (producer, stand_in) in &turn.stand_ins {
            self.turn_relays(*producer, *stand_in, to, turn);
        }
        for consumer in consumers {
            self.turn_consumer(consumer, to);
        }
        self.route_waiting(id);
    }

    /// One of its tracks has its home at `to`: relays that went along begin there, those opened meanwhile copy from
    /// the stand-in, and the one that ended there has done its work.
    fn turn_relays(&mut self, id: ProducerId, stand_in: RelayId, to: Place, turn: &Turn) {
        let Some(producer) = self.producers.get(&id) else { return };
        let (router, consumers) = (producer.router, producer.consumers.clone());
        let others: Vec<RelayId> = producer.relays.values().copied().collect();
        self.insert_relay(stand_in, Relay::opened(id, router, to, turn.from));
        for other in others {
            if self.relays.get(&other).is_some_and(|relay| relay.to == to) {
                self.retire_relay(other, turn.rooted.contains(&other));
            } else {
                self.turn_relay(other, stand_in, to, turn);
            }
        }
        for consumer in consumers {
            let place = self.consumers.get(&consumer).and_then(|consumer| self.place_of(consumer.transport));
            if place == Some(turn.from) {
                self.hang_silently(consumer, stand_in);
            }
        }
        self.linger_if_idle(stand_in);
    }

    fn turn_relay(&mut self, id: RelayId, stand_in: RelayId, to: Place, turn: &Turn) {
        let Some(relay) = self.relays.get_mut(&id).filter(|relay| relay.from == turn.from) else { return };
        if turn.rooted.contains(&id) || relay.stage == RelayStage::Choosing {
            relay.from = to;
        } else {
            self.adopt(id, Some(stand_in));
        }
    }

    /// The relay that ended where its producer has arrived.
    fn retire_relay(&mut self, id: RelayId, went_along: bool) {
        let Some(relay) = self.forget_relay(id) else { return };
        if !went_along && relay.stage >= RelayStage::Opening {
            self.command_quietly(relay.from, CommandBody::CloseRelay { relay: id });
        }
        for child in &relay.children {
            if let Some(child) = self.relays.get_mut(child) {
                child.parent = None;
            }
        }
        for id in relay.consumers {
            if let Some(consumer) = self.consumers.get_mut(&id) {
                consumer.relay = None;
            }
        }
    }

    /// A consumer that stands already is fed by this relay from now on.
    fn hang_silently(&mut self, id: ConsumerId, relay: RelayId) {
        if let (Some(consumer), Some(hook)) = (self.consumers.get_mut(&id), self.relays.get_mut(&relay)) {
            consumer.relay = Some(relay);
            hook.consumers.insert(id);
            self.timers.cancel(Timer::RelayIdle(relay));
        }
    }

    /// What it receives comes by another relay now, or by none.
    fn turn_consumer(&mut self, id: ConsumerId, to: Place) {
        self.let_go(id);
        let Some(producer) = self.consumers.get(&id).map(|consumer| consumer.producer) else { return };
        if self.place_of_producer(producer) == Some(to) {
            return;
        }
        let relay = self.producers.get(&producer).and_then(|producer| producer.relays.get(&to)).copied();
        match relay.filter(|id| self.relays.get(id).is_some_and(|relay| relay.stage == RelayStage::Open)) {
            Some(relay) => self.hang_silently(id, relay),
            None => self.reroute_consumer(id),
        }
    }

    /// Places are gone: nothing moves to or from them any more.
    pub(crate) fn forget_moves_of_gone_places(&mut self) {
        let gone = self.moves.under_way.iter().filter(|(id, one)| {
            let from = match &one.stage {
                MoveStage::Moving(turn) => Some(turn.from),
                MoveStage::Preparing => self.place_of(**id),
            };
            !self.cluster.has(one.to) || from.is_none_or(|from| !self.cluster.has(from))
        });
        let gone: Vec<TransportId> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            self.abandon_move(id, &CommandFailure::Silent.into());
        }
    }
}

impl Move {
    const fn is_preparing(&self) -> bool {
        matches!(self.stage, MoveStage::Preparing)
    }

    /// It has been sent on its way, and is expected to arrive.
    const fn is_awaited(&self) -> bool {
        matches!(self.stage, MoveStage::Moving(Turn { given_up: false, .. }))
    }
}
