//! Ends: of presences, routers, places and the directory itself. Whatever ends takes all that hangs on it along,
//! and everyone concerned is told. Knows nothing of why.

use crate::cluster::Holder;
use crate::config::ShardSeed;
use crate::directory::Directory;
use crate::ledger::Asker;
use crate::refusal::{CommandFailure, no_person, no_transport};
use crate::tell::Audience;
use crate::timers::Timer;
use tidegate_types::command::CommandBody;
use tidegate_types::decision::BalanceCause;
use tidegate_types::request::{ClientId, ErrorKind, NoticeBody, ReplyBody, RequestError};
use tidegate_types::{PersonId, Place, RelayId, RequestNumber, RouterId, TransportId};

/// What a person is told when its presence ends: code and sentence.
pub(crate) type Farewell<'a> = Option<(&'a str, &'a str)>;

impl Directory {
    pub(crate) fn leave(&mut self, asker: Asker, person: PersonId) {
        if self.people.get(&person).is_none_or(|person| person.client != asker.0) {
            return self.reply(asker, Err(no_person()));
        }
        self.end_person(person, None, true);
        self.reply(asker, Ok(ReplyBody::Done));
    }

    pub(crate) fn client_gone(&mut self, client: ClientId) {
        self.ledger.forget(client);
        let Some(&person) = self.clients.get(&client) else { return };
        self.fail_join(person, no_person());
        self.end_person(person, None, true);
    }

    /// Ends a presence with its transport and all on it. `stands`: the transport's place is to be told; else it is
    /// gone there already.
    pub(crate) fn end_person(&mut self, id: PersonId, farewell: Farewell<'_>, stands: bool) {
        let Some(person) = self.people.remove(&id) else { return };
        self.clients.remove(&person.client);
        self.timers.cancel(Timer::GrantEnds(id));
        self.timers.cancel(Timer::AskAgain(id));
        self.end_renewal(person.renewal, farewell);
        if let Some(router) = self.routers.get_mut(&person.router) {
            router.people.remove(&id);
        }
        self.end_transport(person.transport, stands);
        self.tell_room(person.router, None, &NoticeBody::PersonLeft(id), Audience::All);
        if let Some((code, message)) = farewell {
            let (code, message) = (code.to_owned(), message.to_owned());
            self.notice(person.client, NoticeBody::Ended { code, message });
        }
        self.close_router_if_empty(person.router);
    }

    fn end_transport(&mut self, id: TransportId, stands: bool) {
        self.end_move(id);
        let Some(transport) = self.transports.get(&id) else { return };
        let place = transport.place;
        let producers = transport.producers.clone();
        let consumers = transport.consumers.clone();
        for producer in producers {
            self.end_producer(producer, &no_transport(), false);
        }
        for consumer in consumers {
            self.forget_consumer(consumer, &no_transport());
        }
        self.transports.remove(&id);
        self.release(Holder::Transport(id));
        if stands {
            self.command_quietly(place, CommandBody::CloseTransport { transport: id });
        }
    }

    pub(crate) fn close_router_if_empty(&mut self, id: RouterId) {
        if self.routers.get(&id).is_none_or(|router| !router.people.is_empty() || router.entering > 0) {
            return;
        }
        let Some(router) = self.routers.remove(&id) else { return };
        // Relays end with their producers, and those with their people.
        debug_assert!(router.relays.is_empty());
        self.rooms.remove(&router.room);
        self.timers.cancel(Timer::Speakers(id));
        for place in router.places {
            self.command_quietly(place, CommandBody::CloseRouter { router: id });
        }
    }

    /// Everyone is told, every place is told, and nobody comes in any more.
    pub(crate) fn stop(&mut self, code: &str, message: &str) {
        self.stopping = true;
        self.timers.cancel(Timer::Balance);
        self.timers.cancel(Timer::Share);
        let entering: Vec<PersonId> = self.joining.keys().copied().collect();
        for person in entering {
            self.fail_join(person, RequestError::new(ErrorKind::Failed, code, message));
        }
        let inside: Vec<PersonId> = self.people.keys().copied().collect();
        for person in inside {
            self.end_person(person, Some((code, message)), true);
        }
    }

    /// A place takes nothing new, or takes again; what stands there stays.
    pub(crate) fn drain(&mut self, place: Place, draining: bool) {
        let news = draining && self.cluster.takes(place);
        self.cluster.set_draining(place, draining);
        if news {
            self.ask_balance(BalanceCause::Drain, Some(place));
        }
    }

    /// Other shards exist now. Who stood at one that is gone has to join anew; relays through one are planned anew.
    pub(crate) fn replace_shards(&mut self, shards: Vec<ShardSeed>) {
        let before: Vec<Place> = self.cluster.rows().iter().map(|row| row.place).collect();
        self.cluster.replace(shards);
        let feed = self.cluster.reset();
        self.feed(feed);
        self.forget_gone_replies();
        self.forget_moves_of_gone_places();
        self.end_people_at_gone_places();
        let gone = self
            .relays
            .iter()
            .filter(|(_, relay)| !self.cluster.has(relay.from) || !self.cluster.has(relay.to));
        let gone: Vec<RelayId> = gone.map(|(id, _)| *id).collect();
        for relay in gone {
            for consumer in self.close_relay(relay) {
                self.reroute_consumer(consumer);
            }
        }
        for router in self.routers.values_mut() {
            router.places.retain(|place| self.cluster.has(*place));
        }
        if let Some(lost) = before.into_iter().find(|place| !self.cluster.has(*place)) {
            self.ask_balance(BalanceCause::NodeLost, Some(lost));
        }
    }

    fn forget_gone_replies(&mut self) {
        let gone = self.commands.iter().filter(|(_, (place, _))| !self.cluster.has(*place));
        let gone: Vec<RequestNumber> = gone.map(|(number, _)| *number).collect();
        for number in gone {
            self.command_done(number, Err(CommandFailure::Silent));
        }
    }

    fn end_people_at_gone_places(&mut self) {
        let gone = self.transports.values().filter(|transport| !self.cluster.has(transport.place));
        let gone: Vec<PersonId> = gone.map(|transport| transport.person).collect();
        for person in gone {
            let message = "The part of the host that carried your connection is gone; please join again.";
            self.end_person(person, Some(("place-lost", message)), false);
        }
    }
}
