//! Telling the people of a room, and passing simple requests on to where a transport stands. Knows nothing of
//! what is told.

use crate::directory::{Awaited, Directory};
use crate::ledger::Asker;
use crate::objects::Transport;
use crate::refusal::{CommandFailure, no_transport};
use tidegate_types::command::{CommandBody, Done};
use tidegate_types::request::{ClientId, NoticeBody, ReplyBody, RequestError};
use tidegate_types::{PersonId, RouterId, TransportId};

/// Who in a room is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    All,
    /// Those who may receive tracks.
    Subscribers,
}

impl Directory {
    pub(crate) fn tell_room(
        &mut self,
        router: RouterId,
        but: Option<PersonId>,
        body: &NoticeBody,
        audience: Audience,
    ) {
        let Some(router) = self.routers.get(&router) else { return };
        let people = router.people.iter().filter(|person| Some(**person) != but);
        let told: Vec<ClientId> = people
            .filter_map(|person| self.people.get(person))
            .filter(|person| audience == Audience::All || person.grant.subscribe)
            .map(|person| person.client)
            .collect();
        for client in told {
            self.notice(client, body.clone());
        }
    }

    pub(crate) fn tell_owner(&mut self, transport: TransportId, body: NoticeBody) {
        let person = self.transports.get(&transport).map(|transport| transport.person);
        if let Some(client) = person.and_then(|person| self.people.get(&person)).map(|person| person.client) {
            self.notice(client, body);
        }
    }

    /// A client's own transport; others' do not exist for it.
    pub(crate) fn own_transport(
        &self,
        client: ClientId,
        id: TransportId,
    ) -> Result<&Transport, RequestError> {
        let transport = self.transports.get(&id).ok_or_else(no_transport)?;
        let owner = self.people.get(&transport.person).map(|person| person.client);
        if owner == Some(client) { Ok(transport) } else { Err(no_transport()) }
    }

    /// Hands a request on to its transport's place, whose answer is the reply.
    pub(crate) fn pass_on(&mut self, asker: Asker, transport: TransportId, body: CommandBody) {
        match self.own_transport(asker.0, transport).map(|transport| transport.place) {
            Ok(place) => {
                self.command(place, body, Awaited::Answer(asker));
            }
            Err(error) => self.reply(asker, Err(error)),
        }
    }

    pub(crate) fn restart_ice(&mut self, asker: Asker, transport: TransportId) {
        match self.own_transport(asker.0, transport).map(|transport| transport.place) {
            Ok(place) => {
                let awaited = Awaited::RestartIce(asker, transport);
                self.command(place, CommandBody::RestartIce { transport }, awaited);
            }
            Err(error) => self.reply(asker, Err(error)),
        }
    }

    pub(crate) fn ice_restarted(
        &mut self,
        asker: Asker,
        transport: TransportId,
        result: Result<Done, CommandFailure>,
    ) {
        let outcome = match result {
            Ok(Done::Transport(local)) => {
                if let Some(transport) = self.transports.get_mut(&transport) {
                    transport.local = local.clone();
                }
                Ok(ReplyBody::Transport(local))
            }
            Ok(_) => Err(CommandFailure::Mistaken.into()),
            Err(failure) => Err(failure.into()),
        };
        self.reply(asker, outcome);
    }

    /// Counters of any transport: operators read others', and front doors let people read their own only.
    pub(crate) fn read_stats(&mut self, asker: Asker, transport: TransportId) {
        match self.transports.get(&transport).map(|transport| transport.place) {
            Some(place) => {
                self.command(place, CommandBody::ReadStats { transport }, Awaited::Answer(asker));
            }
            None => self.reply(asker, Err(no_transport())),
        }
    }
}
