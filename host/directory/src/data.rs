//! Messages between people: who may send, which places hand them to each other. Knows nothing of channels, nor of
//! what is said, but for texts of people who have no channel.

use crate::directory::{Awaited, Directory};
use crate::ledger::Asker;
use crate::questions::{Asked, is_consulted};
use crate::refusal::{no_person, refused, unfit};
use std::collections::BTreeSet;
use tidegate_types::command::CommandBody;
use tidegate_types::data::{DataParameters, DataRefusal, TEXT_BYTES};
use tidegate_types::decision::{Action, QuestionBody};
use tidegate_types::request::{ClientId, RequestError};
use tidegate_types::{PersonId, Place, RouterId, TransportId};

/// The data channels that someone wants to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) transport: TransportId,
    pub(crate) max_message_bytes: u32,
}

/// Someone who sends or receives messages.
struct Sender {
    person: PersonId,
    router: RouterId,
    may_send: bool,
    is_consulted: bool,
}

impl Directory {
    /// `consulted`: what a policy said that is to be asked each time.
    pub(crate) fn open_data(&mut self, asker: Asker, wanted: Wanted, consulted: Option<bool>) {
        let sender = match self.sender(asker.0, wanted.transport) {
            Ok(sender) => sender,
            Err(error) => return self.reply(asker, Err(error)),
        };
        if sender.is_consulted && consulted.is_none() {
            let question = self.about_person(Action::Data, sender.person);
            self.ask(QuestionBody::Authorize(Box::new(question)), Asked::Data(asker, wanted));
            return;
        }
        let Wanted { transport, max_message_bytes } = wanted;
        let may_send = sender.may_send && consulted.unwrap_or(true);
        let parameters = DataParameters { person: sender.person, may_send, max_message_bytes };
        self.begin_messages(sender.router);
        self.pass_on(asker, transport, CommandBody::OpenData { transport, parameters });
    }

    /// A text of someone whose data channel does not stand (yet). A policy that is asked each time about data was
    /// asked when that was opened; here the grant alone decides.
    pub(crate) fn send_message(&mut self, asker: Asker, transport: TransportId, text: String) {
        let allowed = self.sender(asker.0, transport).and_then(|sender| {
            if !sender.may_send || sender.is_consulted {
                return Err(refused(DataRefusal::NotGranted.code(), DataRefusal::NotGranted.sentence()));
            }
            if text.len() > TEXT_BYTES {
                let message = format!("A message over the session holds at most {TEXT_BYTES} bytes.");
                return Err(unfit(DataRefusal::TooLong.code(), message));
            }
            Ok(sender)
        });
        match allowed {
            Ok(Sender { person, router, .. }) => {
                self.begin_messages(router);
                self.pass_on(asker, transport, CommandBody::SendMessage { transport, person, text });
            }
            Err(error) => self.reply(asker, Err(error)),
        }
    }

    fn sender(&self, client: ClientId, transport: TransportId) -> Result<Sender, RequestError> {
        let transport = self.own_transport(client, transport)?;
        let person = self.people.get(&transport.person).ok_or_else(no_person)?;
        Ok(Sender {
            person: transport.person,
            router: transport.router,
            may_send: person.grant.data,
            is_consulted: is_consulted(person, Action::Data),
        })
    }

    /// From now on all places of a router hand each other its messages.
    fn begin_messages(&mut self, id: RouterId) {
        if let Some(router) = self.routers.get_mut(&id) {
            router.messages.get_or_insert_default();
        }
        self.spread_messages(id);
    }

    /// Tells every place of a router of all others, where there are messages and that is news.
    pub(crate) fn spread_messages(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(&id) else { return };
        let places = router.places.clone();
        let Some(told) = router.messages.as_mut().filter(|told| **told != places) else { return };
        let concerned: BTreeSet<Place> = told.union(&places).copied().collect();
        told.clone_from(&places);
        if concerned.len() < 2 {
            return;
        }
        for place in concerned {
            let to = if places.contains(&place) {
                places.iter().copied().filter(|other| *other != place).collect()
            } else {
                Vec::new()
            };
            if self.cluster.has(place) {
                self.command(place, CommandBody::RelayData { router: id, to }, Awaited::RelayMessages(id));
            }
        }
    }
}
