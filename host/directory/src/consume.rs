//! Receiving tracks: what a grant allows, making, pausing and ending consumers, over a relay where the producer
//! stands elsewhere. Knows nothing of how a relay is opened.

use crate::directory::{Awaited, Directory};
use crate::ledger::Asker;
use crate::objects::{Consumer, ConsumerStage};
use crate::questions::{Asked, is_consulted};
use crate::refusal::{CommandFailure, full, no_consumer, no_person, no_track, refused, unfit};
use tidegate_types::command::{CommandBody, Done};
use tidegate_types::consumer::{Allowance, ConsumerParameters, LayerPreference};
use tidegate_types::decision::Action;
use tidegate_types::request::{ClientId, ReplyBody, RequestError};
use tidegate_types::{ConsumerId, PersonId, Place, ProducerId, RequestNumber, TransportId};

/// The track that someone wants to receive.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) transport: TransportId,
    pub(crate) producer: ProducerId,
    pub(crate) parameters: ConsumerParameters,
}

impl Directory {
    /// `consulted`: a policy that is to be asked each time has said yes. Everything else is looked at again, since
    /// it may have changed meanwhile.
    pub(crate) fn consume(&mut self, asker: Asker, wanted: Wanted, consulted: bool) {
        match self.may_consume(asker.0, &wanted) {
            Ok((person, true)) if !consulted => self.consult_about(asker, person, wanted),
            Ok(_) => self.create_consumer(asker, wanted),
            Err(error) => self.reply(asker, Err(error)),
        }
    }

    fn consult_about(&mut self, asker: Asker, person: PersonId, wanted: Wanted) {
        let Some(producer) = self.producers.get(&wanted.producer) else { return };
        let what = (Action::Subscribe, producer.parameters.kind, producer.source.clone());
        self.consult(person, what, Asked::Consume(asker, wanted));
    }

    /// Who it is, and whether a policy is to be asked.
    fn may_consume(&self, client: ClientId, wanted: &Wanted) -> Result<(PersonId, bool), RequestError> {
        let transport = self.own_transport(client, wanted.transport)?;
        let person = self.people.get(&transport.person).ok_or_else(no_person)?;
        if !person.grant.subscribe {
            return Err(refused("may-not-subscribe", "You may not receive tracks in this room."));
        }
        let producer = self
            .producers
            .get(&wanted.producer)
            .filter(|producer| producer.is_live() && producer.router == transport.router)
            .ok_or_else(no_track)?;
        if producer.parameters.kind != wanted.parameters.kind {
            return Err(unfit("wrong-kind", "Sound and pictures were mixed up."));
        }
        let bound = self.config.bounds.consumers_per_person;
        if transport.consumers.len() >= bound {
            return Err(full("tracks that one person receives", bound));
        }
        Ok((transport.person, is_consulted(person, Action::Subscribe)))
    }

    fn create_consumer(&mut self, asker: Asker, wanted: Wanted) {
        let id = ConsumerId(self.next_id());
        let Wanted { transport, producer, parameters } = wanted;
        if let Some(transport) = self.transports.get_mut(&transport) {
            transport.consumers.insert(id);
        }
        if let Some(producer) = self.producers.get_mut(&producer) {
            producer.consumers.insert(id);
        }
        let consumer = Consumer {
            transport,
            producer,
            parameters,
            stage: ConsumerStage::Waiting,
            relay: None,
            encoding: None,
            allowance: Allowance::Full,
            asker: Some(asker),
        };
        self.consumers.insert(id, consumer);
        self.route_consumer(id);
    }

    /// Makes a waiting consumer, once its producer stands at its place or is relayed to there.
    pub(crate) fn route_consumer(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.get(&id) else { return };
        let (producer, transport) = (consumer.producer, consumer.transport);
        let (Some(source), Some(sink)) = (self.place_of_producer(producer), self.place_of(transport)) else {
            return;
        };
        if source == sink {
            return self.command_consumer(id);
        }
        if self.is_on_its_way(producer, sink) {
            // It will stand there in a moment: no relay then.
            return;
        }
        match self.relay_to(producer, sink) {
            Ok(relay) => self.hang_on(id, relay),
            Err(error) => self.fail_consumer(id, &error),
        }
    }

    /// Tells its place to make it.
    pub(crate) fn command_consumer(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.get(&id) else { return };
        let Some(place) = self.place_of(consumer.transport) else { return };
        let body = CommandBody::CreateConsumer {
            consumer: id,
            transport: consumer.transport,
            producer: consumer.producer,
            parameters: consumer.parameters.clone(),
        };
        let number = self.command(place, body, Awaited::CreateConsumer(id));
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.stage = ConsumerStage::Creating(number);
        }
    }

    pub(crate) fn consumer_made(
        &mut self,
        id: ConsumerId,
        number: RequestNumber,
        result: Result<Done, CommandFailure>,
    ) {
        let Some(consumer) = self
            .consumers
            .get_mut(&id)
            // A move may have had it made anew meanwhile: then only the newer reply counts.
            .filter(|consumer| consumer.stage == ConsumerStage::Creating(number))
        else {
            self.totals.late_total += 1;
            return;
        };
        if let Err(failure) = result {
            return self.fail_consumer(id, &failure.into());
        }
        consumer.stage = ConsumerStage::Live;
        let (asker, producer) = (consumer.asker.take(), consumer.producer);
        let paused = self.producers.get(&producer).is_some_and(|producer| producer.paused);
        if let Some(asker) = asker {
            self.reply(asker, Ok(ReplyBody::Consumer(id, paused)));
        }
    }

    /// Where a client's own consumer stands, and how far it is. Before its first reply nobody knows its id.
    fn own_consumer(
        &mut self,
        client: ClientId,
        id: ConsumerId,
    ) -> Result<(Place, &mut Consumer), RequestError> {
        let transport = self.consumers.get(&id).ok_or_else(no_consumer)?.transport;
        let place = self.own_transport(client, transport).map_err(|_| no_consumer())?.place;
        let consumer = self.consumers.get_mut(&id).filter(|consumer| consumer.asker.is_none());
        Ok((place, consumer.ok_or_else(no_consumer)?))
    }

    pub(crate) fn pause_consumer(&mut self, asker: Asker, id: ConsumerId, paused: bool) {
        let found = self.own_consumer(asker.0, id).map(|(place, consumer)| {
            consumer.parameters.paused = paused;
            (place, consumer.stage)
        });
        self.change_consumer(asker, found, CommandBody::PauseConsumer { consumer: id, paused });
    }

    pub(crate) fn prefer_layers(&mut self, asker: Asker, id: ConsumerId, preferred: LayerPreference) {
        let found = self.own_consumer(asker.0, id).map(|(place, consumer)| {
            consumer.parameters.preferred = preferred;
            (place, consumer.stage)
        });
        self.change_consumer(asker, found, CommandBody::SetPreferredLayers { consumer: id, preferred });
    }

    fn change_consumer(
        &mut self,
        asker: Asker,
        found: Result<(Place, ConsumerStage), RequestError>,
        body: CommandBody,
    ) {
        match found {
            // It is being made anew after a move, and will be made with what was noted.
            Ok((_, ConsumerStage::Waiting)) => self.reply(asker, Ok(ReplyBody::Done)),
            Ok((place, _)) => {
                self.command(place, body, Awaited::Answer(asker));
            }
            Err(error) => self.reply(asker, Err(error)),
        }
    }

    pub(crate) fn close_consumer(&mut self, asker: Asker, id: ConsumerId) {
        let place = match self.own_consumer(asker.0, id) {
            Ok((place, _)) => place,
            Err(error) => return self.reply(asker, Err(error)),
        };
        self.command_quietly(place, CommandBody::CloseConsumer { consumer: id });
        self.forget_consumer(id, &no_consumer());
        self.reply(asker, Ok(ReplyBody::Done));
    }

    /// Ends a consumer that its person may not have any more.
    pub(crate) fn end_consumer(&mut self, id: ConsumerId, why: &RequestError) {
        if let Some(place) = self.consumers.get(&id).and_then(|consumer| self.place_of(consumer.transport)) {
            self.command_quietly(place, CommandBody::CloseConsumer { consumer: id });
        }
        self.forget_consumer(id, why);
    }

    /// Ends a consumer that could not be made; its place may have it all the same if it was silent.
    pub(crate) fn fail_consumer(&mut self, id: ConsumerId, error: &RequestError) {
        let Some(consumer) = self.consumers.get(&id) else { return };
        if let (ConsumerStage::Creating(_), Some(place)) = (consumer.stage, self.place_of(consumer.transport))
        {
            self.command_quietly(place, CommandBody::CloseConsumer { consumer: id });
        }
        self.forget_consumer(id, error);
    }

    /// Takes a consumer out of every table; who waits for it is told `why`.
    pub(crate) fn forget_consumer(&mut self, id: ConsumerId, why: &RequestError) {
        self.let_go(id);
        let Some(consumer) = self.consumers.remove(&id) else { return };
        if let Some(transport) = self.transports.get_mut(&consumer.transport) {
            transport.consumers.remove(&id);
        }
        if let Some(producer) = self.producers.get_mut(&consumer.producer) {
            producer.consumers.remove(&id);
        }
        if let Some(asker) = consumer.asker {
            self.reply(asker, Err(why.clone()));
        }
    }

    pub(crate) fn place_of(&self, transport: TransportId) -> Option<Place> {
        self.transports.get(&transport).map(|transport| transport.place)
    }

    pub(crate) fn place_of_producer(&self, producer: ProducerId) -> Option<Place> {
        self.place_of(self.producers.get(&producer)?.transport)
    }
}
