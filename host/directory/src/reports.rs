//! What places tell without being asked: states, moves, levels, layers and load. Knows nothing of what policies
//! make of it.

use crate::directory::Directory;
use crate::tell::Audience;
use crate::timers::Timer;
use tidegate_types::consumer::Allowance;
use tidegate_types::decision::BalanceCause;
use tidegate_types::report::{LoadReport, Report};
use tidegate_types::request::{NoticeBody, Speaker};
use tidegate_types::router::AudioLevels;
use tidegate_types::transport::{TransportEnd, TransportState};
use tidegate_types::{ConsumerId, Place, ProducerId, RouterId, TransportId};

impl Directory {
    pub(crate) fn reported(&mut self, place: Place, report: Report) {
        if !self.cluster.has(place) {
            self.totals.late_total += 1;
            return;
        }
        match report {
            Report::Transport { transport, state, end } => self.transport_state(transport, state, end),
            Report::Moved { transport, to } => {
                let to = Place { node: place.node, shard: to };
                self.moved(transport, to);
                let moved = self.transports.get(&transport);
                let producers: Vec<ProducerId> =
                    moved.iter().flat_map(|transport| &transport.producers).copied().collect();
                self.hush_again(&producers, to);
            }
            Report::AudioLevels(levels) => self.audio_levels(&levels),
            Report::LayersChanged { consumer, encoding, allowance } => {
                self.layers_changed(consumer, encoding, allowance);
            }
            Report::EncodingsWatched { producer, encodings } => self.encodings_watched(producer, encodings),
            Report::RoomMessage { transport, from, text } => {
                self.tell_owner(transport, NoticeBody::RoomMessage { from, text });
            }
            Report::DataRefused { transport, label, refusal } => {
                self.tell_owner(transport, NoticeBody::DataRefused { label, refusal });
            }
            Report::ProducerSilent { producer, silent } => {
                tracing::debug!(%producer, silent, "a producer's peer fell silent, or came back");
            }
            Report::Load(load) => self.load(place, &load),
        }
    }

    fn transport_state(&mut self, id: TransportId, state: TransportState, end: Option<TransportEnd>) {
        let Some(transport) = self.transports.get_mut(&id) else {
            self.totals.late_total += 1;
            return;
        };
        if transport.state == state {
            return;
        }
        transport.state = state;
        let person = transport.person;
        self.tell_owner(id, NoticeBody::Transport { transport: id, state });
        if state == TransportState::Closed {
            self.end_person(person, Some(farewell(end)), false);
        }
    }

    fn layers_changed(&mut self, id: ConsumerId, encoding: Option<u8>, allowance: Allowance) {
        let Some(consumer) = self.consumers.get_mut(&id) else {
            self.totals.late_total += 1;
            return;
        };
        (consumer.encoding, consumer.allowance) = (encoding, allowance);
        let transport = consumer.transport;
        self.tell_owner(transport, NoticeBody::LayersChanged { consumer: id, encoding, allowance });
    }

    /// Its publisher need not send what nobody watches.
    fn encodings_watched(&mut self, id: ProducerId, encodings: u32) {
        let Some(producer) = self.producers.get(&id).filter(|producer| producer.is_live()) else {
            self.totals.late_total += 1;
            return;
        };
        let transport = producer.transport;
        self.tell_owner(transport, NoticeBody::EncodingsWatched { producer: id, encodings });
    }

    fn audio_levels(&mut self, heard: &AudioLevels) {
        let Some(router) = self.routers.get_mut(&heard.router) else {
            self.totals.late_total += 1;
            return;
        };
        for level in &heard.levels {
            let producer = self.producers.get(&level.producer);
            if producer.is_some_and(|producer| producer.is_live() && producer.router == heard.router) {
                router.speakers.hear(self.now.instant, *level);
                router.loudest.hear(self.now.instant, *level);
            }
        }
        self.settle_loudest(heard.router);
        self.settle_speakers(heard.router);
    }

    /// Tells a room who speaks, if that changed and may be told now.
    pub(crate) fn settle_speakers(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(&id) else { return };
        let order = router.speakers.poll(self.now.instant);
        match router.speakers.next(self.now.instant) {
            Some(at) => self.timers.set(Timer::Speakers(id), at),
            None => self.timers.cancel(Timer::Speakers(id)),
        }
        if let Some(order) = order {
            let speakers = self.speakers(&order);
            if let Some(person) = speakers.first().and_then(|speaker| speaker.person) {
                self.give_floor(id, person);
            }
            self.tell_room(id, None, &NoticeBody::ActiveSpeakers(speakers), Audience::Subscribers);
        }
    }

    pub(crate) fn speakers(&self, order: &[(ProducerId, u8)]) -> Vec<Speaker> {
        let loudest = order.iter().take(self.config.bounds.speakers);
        loudest
            .map(|&(producer, level)| {
                let person = self.producers.get(&producer).map(|producer| producer.person);
                Speaker { producer, person, level }
            })
            .collect()
    }

    fn load(&mut self, place: Place, load: &LoadReport) {
        for holder in self.cluster.report(place, load) {
            self.timers.cancel(Timer::Reservation(holder));
        }
        self.tell_changes();
        if !std::mem::replace(&mut self.load_known, true) {
            self.ask_balance(BalanceCause::Tick, None);
        }
    }
}

/// What someone is told whose transport ended by itself.
const fn farewell(end: Option<TransportEnd>) -> (&'static str, &'static str) {
    match end {
        Some(end) => {
            let code = match end {
                TransportEnd::ConsentLost => "consent-lost",
                TransportEnd::WrongFingerprint => "wrong-fingerprint",
                TransportEnd::DtlsFailed => "dtls-failed",
                TransportEnd::PeerClosed => "peer-closed",
            };
            (code, end.sentence())
        }
        None => ("transport-closed", "the connection was closed"),
    }
}
