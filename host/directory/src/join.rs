//! Entering a room: authorize, place, make the transport, come in. Knows nothing of tracks.

use crate::cluster::Holder;
use crate::directory::{Awaited, Directory};
use crate::ledger::{Asker, Outcome};
use crate::loudest::Loudest;
use crate::moment;
use crate::objects::{Person, Router, Transport};
use crate::placement::Subject;
use crate::questions::Asked;
use crate::refusal::{CommandFailure, full, refused, unfit};
use crate::renew::Renewal;
use crate::speaker::SpeakerOrder;
use crate::tell::Audience;
use crate::timers::Timer;
use std::collections::BTreeSet;
use tidegate_types::command::{CommandBody, Done, TransportLimits};
use tidegate_types::decision::{Action, Grant, QuestionBody};
use tidegate_types::request::{
    ErrorKind, JoinRequest, Joined, NoticeBody, PersonView, ReplyBody, RequestError, TrackView,
};
use tidegate_types::transport::{LocalTransport, TransportState};
use tidegate_types::{Now, PersonId, Place, RouterId, Shared, TransportId};

/// The most bytes of one attribute, name and value together.
const ATTR_BYTES: usize = 1_024;

/// How far a join is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinStage {
    Authorizing,
    /// Let in; counted as entering its router.
    Placing(RouterId),
    /// Its transport is being made there; a reservation stands.
    Creating(RouterId, Place),
}

/// Someone on the way in.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) asker: Asker,
    pub(crate) request: JoinRequest,
    pub(crate) grant: Grant,
    pub(crate) transport: TransportId,
    pub(crate) stage: JoinStage,
}

impl Joining {
    pub(crate) const fn router(&self) -> Option<RouterId> {
        match self.stage {
            JoinStage::Authorizing => None,
            JoinStage::Placing(router) | JoinStage::Creating(router, _) => Some(router),
        }
    }
}

impl Directory {
    pub(crate) fn join(&mut self, asker: Asker, request: JoinRequest) {
        if let Err(error) = self.may_begin_to_join(asker, &request) {
            return self.reply(asker, Err(error));
        }
        let person = PersonId(self.next_id());
        let transport = TransportId(self.next_id());
        let mut question = self.about_room(Action::Join, self.rooms.get(&request.room).copied());
        question.room = Some(request.room.clone());
        question.name.clone_from(&request.name);
        question.token = request.token.clone();
        question.address = request.address;
        question.attrs.clone_from(&request.attrs);
        self.clients.insert(asker.0, person);
        let stage = JoinStage::Authorizing;
        let joining = Joining { asker, request, grant: Grant::default(), transport, stage };
        self.joining.insert(person, joining);
        self.ask(QuestionBody::Authorize(Box::new(question)), Asked::Join(person));
    }

    fn may_begin_to_join(&self, asker: Asker, request: &JoinRequest) -> Result<(), RequestError> {
        let bounds = &self.config.bounds;
        if self.stopping {
            return Err(stopping());
        }
        if self.clients.contains_key(&asker.0) {
            return Err(unfit("already-joined", "You are in a room already, or entering one."));
        }
        if request.room.is_empty() {
            return Err(unfit("room-missing", "The room needs a name."));
        }
        if request.room.len() > bounds.name_bytes || request.name.len() > bounds.name_bytes {
            let message = format!("Names of rooms and people hold at most {} bytes.", bounds.name_bytes);
            return Err(unfit("name-too-long", message));
        }
        let long = |name: &str, value: &str| name.len() + value.len() > ATTR_BYTES;
        if request.attrs.len() > bounds.attrs
            || request.attrs.iter().any(|attr| long(&attr.name, &attr.value))
        {
            let message = format!("At most {} attributes of {ATTR_BYTES} bytes fit.", bounds.attrs);
            return Err(unfit("attrs-too-large", message));
        }
        if self.people.len() + self.joining.len() >= bounds.people {
            return Err(full("people", bounds.people));
        }
        Ok(())
    }

    pub(crate) fn join_decided(&mut self, person: PersonId, granted: Result<Grant, RequestError>) {
        let Some(joining) = self.joining.get(&person) else {
            self.totals.late_total += 1;
            return;
        };
        let room = joining.request.room.clone();
        let entered = granted.and_then(|grant| {
            terms(&grant, &room, self.now)?;
            Ok((self.enter(&room)?, grant))
        });
        let (router, grant) = match entered {
            Ok(entered) => entered,
            Err(error) => return self.fail_join(person, error),
        };
        if let Some(joining) = self.joining.get_mut(&person) {
            joining.stage = JoinStage::Placing(router);
            joining.grant = grant;
        }
        if !self.queue_placement(Subject::Transport(person)) {
            let bound = self.config.bounds.pending_requests;
            self.fail_join(person, full("pending placements", bound));
        }
    }

    /// Counts one more person on the way into a room, which is made if nobody is in it.
    fn enter(&mut self, room: &str) -> Result<RouterId, RequestError> {
        let bounds = self.config.bounds;
        let id = match self.rooms.get(room) {
            Some(&id) => id,
            None if self.rooms.len() >= bounds.rooms => return Err(full("rooms", bounds.rooms)),
            None => self.make_room(room),
        };
        let Some(router) = self.routers.get_mut(&id) else { return Ok(id) };
        if router.people.len() + router.entering >= bounds.people_per_room {
            return Err(full("people in this room", bounds.people_per_room));
        }
        router.entering += 1;
        Ok(id)
    }

    fn make_room(&mut self, room: &str) -> RouterId {
        let id = RouterId(self.next_id());
        let router = Router {
            room: room.to_owned(),
            since_unix_ms: moment::unix_ms(self.now.wall),
            people: BTreeSet::new(),
            entering: 0,
            places: BTreeSet::new(),
            relays: BTreeSet::new(),
            tracks_kbps: 0,
            speakers: SpeakerOrder::default(),
            loudest: Loudest::new(self.config.loudest),
            floor: None,
            messages: None,
        };
        self.rooms.insert(room.to_owned(), id);
        self.routers.insert(id, router);
        id
    }

    /// A place was chosen; the promise is made already.
    pub(crate) fn create_transport(&mut self, person: PersonId, place: Place) {
        let Some(joining) = self.joining.get_mut(&person) else { return };
        let JoinStage::Placing(router) = joining.stage else { return };
        joining.stage = JoinStage::Creating(router, place);
        let limits = TransportLimits {
            ingress_kbps: joining.grant.ingress_kbps,
            egress_kbps: joining.grant.egress_kbps,
            told_by_ceiling: joining.request.told_by_ceiling,
        };
        let transport = joining.transport;
        if let Some(router) = self.routers.get_mut(&router) {
            router.places.insert(place);
        }
        let body = CommandBody::CreateTransport { transport, router, limits };
        self.command(place, body, Awaited::CreateTransport(person));
        self.spread_messages(router);
    }

    pub(crate) fn transport_made(&mut self, person: PersonId, result: Result<Done, CommandFailure>) {
        let Some(joining) = self.joining.get(&person) else {
            self.totals.late_total += 1;
            return;
        };
        match result {
            Ok(Done::Transport(local)) => self.come_in(person, local),
            Ok(_) => self.fail_join(person, CommandFailure::Mistaken.into()),
            Err(CommandFailure::Said(said)) => {
                tracing::warn!(transport = %joining.transport, %said, "a transport could not be made");
                self.fail_join(person, cannot_stand(&said));
            }
            Err(failure) => self.fail_join(person, failure.into()),
        }
    }

    fn come_in(&mut self, id: PersonId, local: LocalTransport) {
        let Some(joining) = self.joining.remove(&id) else { return };
        let JoinStage::Creating(router, place) = joining.stage else { return };
        let Joining { asker, request, grant, transport, .. } = joining;
        let view = Shared::from(PersonView {
            person: id,
            name: grant.name.clone().unwrap_or(request.name),
            identity: grant.identity.clone(),
        });
        let person = Person {
            client: asker.0,
            joined_by: asker.1,
            router,
            transport,
            view: view.clone(),
            grant,
            token: request.token,
            address: request.address,
            attrs: request.attrs,
            renewal: Renewal::default(),
        };
        let stands = Transport {
            person: id,
            router,
            place,
            state: TransportState::New,
            local,
            producers: BTreeSet::new(),
            consumers: BTreeSet::new(),
        };
        self.people.insert(id, person);
        self.transports.insert(transport, stands);
        if let Some(router) = self.routers.get_mut(&router) {
            router.entering = router.entering.saturating_sub(1);
            router.people.insert(id);
        }
        self.totals.joins_total += 1;
        self.consider_sharing(router);
        self.check_grant(id);
        self.ask_again_later(id);
        if let Some(joined) = self.joined(id) {
            self.reply(asker, Ok(ReplyBody::Joined(Box::new(joined))));
        }
        self.tell_room(router, Some(id), &NoticeBody::PersonJoined(view), Audience::All);
    }

    /// What a person inside is told on entering.
    fn joined(&self, id: PersonId) -> Option<Joined> {
        let person = self.people.get(&id)?;
        let transport = self.transports.get(&person.transport)?;
        let router = self.routers.get(&person.router)?;
        let others = router.people.iter().filter(|other| **other != id);
        Some(Joined {
            person: id,
            name: person.view.name.clone(),
            room: router.room.clone(),
            router: person.router,
            transport: person.transport,
            place: transport.place,
            local: transport.local.clone(),
            grant: person.grant.clone(),
            people: others.filter_map(|other| Some(self.people.get(other)?.view.clone())).collect(),
            tracks: if person.grant.subscribe { self.tracks_of(router, Some(id)) } else { Vec::new() },
        })
    }

    /// A join that is repeated by who is inside because of it.
    pub(crate) fn joined_again(&self, asker: Asker) -> Option<Outcome> {
        let id = self.clients.get(&asker.0)?;
        let person = self.people.get(id)?;
        let joined = if person.joined_by == asker.1 { self.joined(*id) } else { None };
        Some(Ok(ReplyBody::Joined(Box::new(joined?))))
    }

    /// The live tracks of a room, but for one person's own.
    pub(crate) fn tracks_of(&self, router: &Router, but: Option<PersonId>) -> Vec<TrackView> {
        let people = router.people.iter().filter(|person| Some(**person) != but);
        let transports = people.filter_map(|person| {
            let transport = self.people.get(person)?.transport;
            self.transports.get(&transport)
        });
        transports
            .flat_map(|transport| &transport.producers)
            .filter_map(|id| Some((*id, self.producers.get(id)?)))
            .filter(|(_, producer)| producer.is_live())
            .map(|(id, producer)| producer.view(id))
            .collect()
    }

    /// Ends a join that isn't done yet, wherever it is.
    pub(crate) fn fail_join(&mut self, person: PersonId, error: RequestError) {
        let Some(joining) = self.joining.remove(&person) else { return };
        self.clients.remove(&joining.asker.0);
        if let JoinStage::Creating(_, place) = joining.stage {
            let transport = joining.transport;
            self.release(Holder::Transport(transport));
            // Its reply may be late, or lost: then it stands there though nobody knows of it.
            self.command_quietly(place, CommandBody::CloseTransport { transport });
        }
        if let Some(id) = joining.router() {
            if let Some(router) = self.routers.get_mut(&id) {
                router.entering = router.entering.saturating_sub(1);
            }
            self.close_router_if_empty(id);
        }
        self.reply(joining.asker, Err(error));
    }

    /// Ends a presence whose grant has ended, else looks again when it may have.
    pub(crate) fn check_grant(&mut self, id: PersonId) {
        let Some(end) = self.people.get(&id).and_then(|person| person.grant.expires_unix_ms) else {
            return self.timers.cancel(Timer::GrantEnds(id));
        };
        let wait = moment::wait_until(self.now, end);
        if wait.is_zero() {
            self.end_person(id, Some(("grant-expired", "Your permission to be here has ended.")), true);
        } else {
            self.timers.set(Timer::GrantEnds(id), self.now.instant + wait);
        }
    }
}

/// What the grant itself says about this room and this moment.
pub(crate) fn terms(grant: &Grant, room: &str, now: Now) -> Result<(), RequestError> {
    if grant.room.as_deref().is_some_and(|only| only != room) {
        return Err(refused("wrong-room", "Your permission is for another room."));
    }
    if grant.expires_unix_ms.is_some_and(|end| end <= moment::unix_ms(now.wall)) {
        return Err(refused("grant-expired", "Your permission to be here has ended."));
    }
    Ok(())
}

fn stopping() -> RequestError {
    RequestError::new(ErrorKind::Failed, "stopping", "The host is stopping.")
}

fn cannot_stand(said: &tidegate_types::command::CommandError) -> RequestError {
    use tidegate_types::command::CommandError;
    let kind = if matches!(said, CommandError::Full(_)) { ErrorKind::Full } else { ErrorKind::Failed };
    let message = format!("The host could not make a connection for you: {said}.");
    RequestError::new(kind, "transport-failed", message)
}
