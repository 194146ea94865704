//! Sending tracks: what a grant allows, making, pausing and ending producers. Knows nothing of who receives them,
//! but that relays and consumers end with their producer.

use crate::directory::{Awaited, Directory};
use crate::ledger::Asker;
use crate::objects::{Person, Producer, Transport};
use crate::questions::{Asked, is_consulted};
use crate::refusal::{CommandFailure, full, no_track, refused, unfit};
use crate::tell::Audience;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_types::command::{CommandBody, Done};
use tidegate_types::decision::Action;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::request::{ClientId, NoticeBody, ReplyBody, RequestError};
use tidegate_types::{MediaKind, PersonId, Place, ProducerId, TransportId};

/// The track that someone wants to send.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) transport: TransportId,
    pub(crate) parameters: ProducerParameters,
    pub(crate) source: String,
    pub(crate) paused: bool,
}

impl Directory {
    /// `consulted`: a policy that is to be asked each time has said yes. Everything else is looked at again, since
    /// it may have changed meanwhile.
    pub(crate) fn produce(&mut self, asker: Asker, wanted: Wanted, consulted: bool) {
        match self.may_produce(asker.0, &wanted) {
            Ok((person, true)) if !consulted => {
                let what = (Action::Publish, wanted.parameters.kind, wanted.source.clone());
                self.consult(person, what, Asked::Produce(asker, wanted));
            }
            Ok((person, _)) => self.create_producer(asker, person, wanted),
            Err(error) => self.reply(asker, Err(error)),
        }
    }

    /// Who it is, and whether a policy is to be asked.
    fn may_produce(&self, client: ClientId, wanted: &Wanted) -> Result<(PersonId, bool), RequestError> {
        let transport = self.own_transport(client, wanted.transport)?;
        let person = self.people.get(&transport.person).ok_or_else(crate::refusal::no_person)?;
        self.check_terms_of_publishing(person, transport, &wanted.source)?;
        Ok((transport.person, is_consulted(person, Action::Publish)))
    }

    fn check_terms_of_publishing(
        &self,
        person: &Person,
        transport: &Transport,
        source: &str,
    ) -> Result<(), RequestError> {
        let bounds = &self.config.bounds;
        if source.len() > bounds.source_bytes {
            let message = format!("A track's source holds at most {} bytes.", bounds.source_bytes);
            return Err(unfit("source-too-long", message));
        }
        if !person.grant.publish {
            return Err(refused("may-not-publish", "You may not send tracks in this room."));
        }
        if person.grant.sources.as_ref().is_some_and(|only| !only.iter().any(|allowed| allowed == source)) {
            return Err(refused("source-not-allowed", "You may not send a track from this source."));
        }
        let tracks = transport.producers.len();
        if person.grant.max_tracks.is_some_and(|most| tracks >= usize::try_from(most).unwrap_or(usize::MAX)) {
            return Err(refused("too-many-tracks", "You send as many tracks as you may."));
        }
        if tracks >= bounds.tracks_per_person {
            return Err(full("tracks of one person", bounds.tracks_per_person));
        }
        Ok(())
    }

    fn create_producer(&mut self, asker: Asker, person: PersonId, wanted: Wanted) {
        let id = ProducerId(self.next_id());
        let Wanted { transport, parameters, source, paused } = wanted;
        let expected_kbps = match parameters.kind {
            MediaKind::Audio => self.config.expected.audio_kbps,
            MediaKind::Video => self.config.expected.video_kbps,
        };
        let Some(stands) = self.transports.get_mut(&transport) else { return };
        stands.producers.insert(id);
        let (router, place) = (stands.router, stands.place);
        let body =
            CommandBody::CreateProducer { producer: id, transport, parameters: parameters.clone(), paused };
        let producer = Producer {
            transport,
            person,
            router,
            source,
            parameters,
            paused,
            asker: Some(asker),
            expected_kbps,
            relays: BTreeMap::new(),
            consumers: BTreeSet::new(),
        };
        self.producers.insert(id, producer);
        self.command(place, body, Awaited::CreateProducer(id));
    }

    pub(crate) fn producer_made(&mut self, id: ProducerId, result: Result<Done, CommandFailure>) {
        let Some(producer) = self.producers.get_mut(&id) else {
            self.totals.late_total += 1;
            return;
        };
        if let Err(failure) = result {
            return self.end_producer(id, &failure.into(), true);
        }
        let Some(asker) = producer.asker.take() else { return };
        let (person, router, view) = (producer.person, producer.router, producer.view(id));
        let expected = producer.expected_kbps;
        if let Some(router) = self.routers.get_mut(&router) {
            router.tracks_kbps += expected;
        }
        self.begin_to_hear(id);
        self.reply(asker, Ok(ReplyBody::Producer(id)));
        self.tell_room(router, Some(person), &NoticeBody::TrackPublished(view), Audience::Subscribers);
    }

    /// A client's own track, once it stands.
    fn own_producer(&self, client: ClientId, id: ProducerId) -> Result<&Producer, RequestError> {
        let producer = self.producers.get(&id).filter(|producer| producer.is_live()).ok_or_else(no_track)?;
        self.own_transport(client, producer.transport).map_err(|_| no_track())?;
        Ok(producer)
    }

    pub(crate) fn pause_producer(&mut self, asker: Asker, id: ProducerId, paused: bool) {
        let (transport, changes) = match self.own_producer(asker.0, id) {
            Ok(producer) => (producer.transport, producer.paused != paused),
            Err(error) => return self.reply(asker, Err(error)),
        };
        let body = CommandBody::PauseProducer { producer: id, paused };
        // Stand-ins carry the producer's own id.
        for place in self.stand_ins(id) {
            self.command_quietly(place, body.clone());
        }
        self.pass_on(asker, transport, body);
        let Some(producer) = self.producers.get_mut(&id) else { return };
        producer.paused = paused;
        let (router, person) = (producer.router, producer.person);
        if changes {
            let notice = NoticeBody::TrackPaused { producer: id, paused };
            self.tell_room(router, Some(person), &notice, Audience::Subscribers);
        }
    }

    pub(crate) fn close_producer(&mut self, asker: Asker, id: ProducerId) {
        match self.own_producer(asker.0, id).map(|_| ()) {
            Ok(()) => {
                self.end_producer(id, &no_track(), true);
                self.reply(asker, Ok(ReplyBody::Done));
            }
            Err(error) => self.reply(asker, Err(error)),
        }
    }

    /// Ends a producer with its relays and consumers. Who still waits for any of them is told `why`. `stands`: its
    /// place is to be told; else it is gone there already, or goes with its transport.
    pub(crate) fn end_producer(&mut self, id: ProducerId, why: &RequestError, stands: bool) {
        let relays: Vec<_> =
            self.producers.get(&id).iter().flat_map(|producer| producer.relays.values()).copied().collect();
        for relay in relays {
            self.close_relay(relay);
        }
        let Some(producer) = self.producers.remove(&id) else { return };
        for consumer in producer.consumers {
            self.forget_consumer(consumer, why);
        }
        if let Some(place) = self.forget_on_transport(producer.transport, id).filter(|_| stands) {
            self.command_quietly(place, CommandBody::CloseProducer { producer: id });
        }
        match producer.asker {
            Some(asker) => self.reply(asker, Err(why.clone())),
            None => {
                if let Some(router) = self.routers.get_mut(&producer.router) {
                    router.tracks_kbps = router.tracks_kbps.saturating_sub(producer.expected_kbps);
                    router.speakers.remove(id);
                    router.loudest.remove(id);
                }
                let (router, person) = (producer.router, Some(producer.person));
                self.settle_speakers(router);
                self.settle_loudest(router);
                self.tell_room(router, person, &NoticeBody::TrackEnded(id), Audience::Subscribers);
            }
        }
    }

    /// Where its transport stands, if that is still there.
    fn forget_on_transport(&mut self, transport: TransportId, producer: ProducerId) -> Option<Place> {
        let transport = self.transports.get_mut(&transport)?;
        transport.producers.remove(&producer);
        Some(transport.place)
    }
}
