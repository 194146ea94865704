//! Grants of those inside: asked about again when their policy wished it or an operator does, and what a new grant
//! takes away or gives, at once. Knows nothing of what a policy decides by.
//!
//! A refusal ends the presence. Without an answer the grant stays as it is until it expires, and where the policy
//! wished to be asked it is asked again, later each time.

use crate::directory::Directory;
use crate::join::terms;
use crate::ledger::Asker;
use crate::objects::Person;
use crate::questions::{Asked, is_consulted};
use crate::refusal::{full, missing, refused};
use crate::timers::Timer;
use std::collections::VecDeque;
use std::time::Duration;
use tidegate_types::command::CommandBody;
use tidegate_types::decision::{ASK_AGAIN_MS, Action, Grant, QuestionBody};
use tidegate_types::request::{ErrorKind, NoticeBody, Reauthorized, ReplyBody, RequestError};
use tidegate_types::{PersonId, ProducerId};

/// Operators who wait for one person's answer at once.
const ASKERS: usize = 8;
/// Asking is brought forward by up to this part of the span: a thousand who came together do not ask together.
const EARLIER_PART: u64 = 5;
/// How long until an unanswered question is asked again, the first time; twice as long each time after.
const RETRY: Duration = Duration::from_secs(1);
/// At most so many times twice as long.
const RETRY_DOUBLINGS: u32 = 6;
/// A transport that moves takes no commands: a grant that comes meanwhile waits so long at a time.
const MOVING: Duration = Duration::from_millis(50);

/// Everyone whose grant is to be asked about, or is being asked about.
#[derive(Debug, Default)]
pub(crate) struct Renewals {
    /// In line, each at most once; who has left is passed over.
    line: VecDeque<PersonId>,
    /// Questions that policies have not answered.
    asking: usize,
}

/// One person's.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    stage: Stage,
    /// Operators who wait for what comes of it.
    askers: Vec<Asker>,
    /// Questions in a row that had no answer.
    failures: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    InLine,
    Asking,
    /// Answered, while its transport moves.
    Answered(Box<Grant>),
}

impl Directory {
    /// An operator wishes that the policy be asked now.
    pub(crate) fn reauthorize(&mut self, asker: Asker, id: PersonId) {
        let Some(person) = self.people.get_mut(&id) else { return self.reply(asker, Err(nobody())) };
        if person.renewal.askers.len() >= ASKERS {
            return self.reply(asker, Err(full("requests about one person", ASKERS)));
        }
        person.renewal.askers.push(asker);
        tracing::info!(person = %id, name = %person.view.name, "an operator has authorize asked again");
        self.ask_again(id);
    }

    /// An operator ends a presence.
    pub(crate) fn end_by_operator(&mut self, asker: Asker, id: PersonId, message: &str) {
        let Some(person) = self.people.get(&id) else { return self.reply(asker, Err(nobody())) };
        tracing::info!(person = %id, name = %person.view.name, message, "an operator ends a presence");
        self.end_person(id, Some(("ended-by-operator", message)), true);
        self.reply(asker, Ok(ReplyBody::Done));
    }

    /// The time has come to ask, or to see whether a move is over.
    pub(crate) fn ask_again(&mut self, id: PersonId) {
        let Some(person) = self.people.get_mut(&id) else { return };
        match std::mem::take(&mut person.renewal.stage) {
            Stage::Idle => {
                person.renewal.stage = Stage::InLine;
                self.renewals.line.push_back(id);
                self.go_on_with_renewals();
            }
            Stage::Answered(grant) => self.replace_grant(id, *grant),
            waiting @ (Stage::InLine | Stage::Asking) => person.renewal.stage = waiting,
        }
    }

    fn go_on_with_renewals(&mut self) {
        while self.renewals.asking < self.config.bounds.renewals {
            let Some(id) = self.renewals.line.pop_front() else { return };
            let Some(person) = self.people.get_mut(&id) else { continue };
            person.renewal.stage = Stage::Asking;
            self.renewals.asking += 1;
            let question = self.about_person(Action::Renew, id);
            self.ask(QuestionBody::Authorize(Box::new(question)), Asked::Renew(id));
        }
    }

    pub(crate) fn renewed(&mut self, id: PersonId, granted: Result<Grant, RequestError>) {
        self.renewals.asking = self.renewals.asking.saturating_sub(1);
        match granted {
            _ if !self.people.contains_key(&id) => self.totals.late_total += 1,
            Ok(grant) => self.replace_grant(id, grant),
            Err(error) if error.kind == ErrorKind::Refused => self.end_refused(id, &error),
            Err(error) => self.not_renewed(id, &error),
        }
        self.go_on_with_renewals();
    }

    /// The grant in force stays. The policy wished to be asked, so it is asked again.
    fn not_renewed(&mut self, id: PersonId, error: &RequestError) {
        let Some(person) = self.people.get_mut(&id) else { return };
        person.renewal.stage = Stage::Idle;
        let failures = person.renewal.failures;
        person.renewal.failures = failures.saturating_add(1);
        let askers = std::mem::take(&mut person.renewal.askers);
        let wished = person.grant.ask_again_ms.is_some();
        tracing::warn!(person = %id, %error, "authorize did not answer again: the grant stays as it is");
        for asker in askers {
            self.reply(asker, Err(error.clone()));
        }
        if wished {
            self.set_ask_again(id, RETRY * (1 << failures.min(RETRY_DOUBLINGS)));
        }
    }

    fn end_refused(&mut self, id: PersonId, error: &RequestError) {
        tracing::info!(person = %id, code = %error.code, "authorize, asked again, refused");
        self.end_person(id, Some((&error.code, &error.message)), true);
    }

    /// Puts another grant in force.
    fn replace_grant(&mut self, id: PersonId, grant: Grant) {
        let Some(person) = self.people.get_mut(&id) else { return };
        if self.moves.is_under_way(person.transport) {
            person.renewal.stage = Stage::Answered(Box::new(grant));
            self.timers.set(Timer::AskAgain(id), self.now.instant + MOVING);
            return;
        }
        person.renewal.stage = Stage::Idle;
        person.renewal.failures = 0;
        let room = self.routers.get(&person.router).map_or("", |router| router.room.as_str());
        let fits = terms(&grant, room, self.now).and_then(|()| same_person(person, &grant));
        if let Err(error) = fits {
            return self.end_refused(id, &error);
        }
        let askers = std::mem::take(&mut person.renewal.askers);
        self.apply(id, grant);
        let Some(grant) = self.people.get(&id).map(|person| Box::new(person.grant.clone())) else { return };
        for asker in askers {
            self.reply(asker, Ok(ReplyBody::Reauthorized(Reauthorized::Stays(grant.clone()))));
        }
    }

    fn apply(&mut self, id: PersonId, mut grant: Grant) {
        let Some(person) = self.people.get_mut(&id) else { return };
        grant.identity = grant.identity.or_else(|| person.grant.identity.clone());
        let changed = person.grant != grant;
        let before = std::mem::replace(&mut person.grant, grant.clone());
        let client = person.client;
        if changed {
            self.notice(client, NoticeBody::GrantChanged(Box::new(grant.clone())));
            self.limit_transport(id, &before, &grant);
            self.end_tracks_beyond(id, &grant);
            self.change_subscription(id, before.subscribe, grant.subscribe);
        }
        self.check_grant(id);
        self.ask_again_later(id);
    }

    /// Its place enforces ceilings, and whether it may send messages.
    fn limit_transport(&mut self, id: PersonId, before: &Grant, grant: &Grant) {
        let Some(person) = self.people.get(&id) else { return };
        // Where the policy is asked each time, it says so when channels are opened; here it can only take it away.
        let may_send = match (before.data, grant.data) {
            (true, false) => Some(false),
            (false, true) if !is_consulted(person, Action::Data) => Some(true),
            _ => None,
        };
        let ceilings = |grant: &Grant| (grant.ingress_kbps, grant.egress_kbps);
        if may_send.is_none() && ceilings(before) == ceilings(grant) {
            return;
        }
        let (transport, (ingress_kbps, egress_kbps)) = (person.transport, ceilings(grant));
        if let Some(place) = self.place_of(transport) {
            let body = CommandBody::LimitTransport { transport, ingress_kbps, egress_kbps, may_send };
            self.command_quietly(place, body);
        }
    }

    /// What it sends and no longer may; of too many tracks the oldest stay.
    fn end_tracks_beyond(&mut self, id: PersonId, grant: &Grant) {
        let Some(person) = self.people.get(&id) else { return };
        let (client, transport) = (person.client, person.transport);
        let producers = self.transports.get(&transport).map(|transport| transport.producers.clone());
        let mut kept = 0;
        for producer in producers.unwrap_or_default() {
            match self.may_keep(producer, grant, kept) {
                Ok(()) => kept += 1,
                Err(error) => {
                    let (code, message) = (error.code.clone(), error.message.clone());
                    self.end_producer(producer, &error, true);
                    self.notice(client, NoticeBody::TrackRevoked { producer, code, message });
                }
            }
        }
    }

    fn may_keep(&self, producer: ProducerId, grant: &Grant, kept: u32) -> Result<(), RequestError> {
        if !grant.publish {
            return Err(refused("may-not-publish", "You may not send tracks in this room any more."));
        }
        let source = self.producers.get(&producer).map(|producer| &producer.source);
        let allowed = |only: &Vec<String>| source.is_none_or(|source| only.contains(source));
        if !grant.sources.as_ref().is_none_or(allowed) {
            return Err(refused("source-not-allowed", "You may not send a track from this source any more."));
        }
        if grant.max_tracks.is_some_and(|most| kept >= most) {
            return Err(refused("too-many-tracks", "You may not send as many tracks any more."));
        }
        Ok(())
    }

    fn change_subscription(&mut self, id: PersonId, before: bool, now: bool) {
        let Some(person) = self.people.get(&id) else { return };
        let (client, transport, router) = (person.client, person.transport, person.router);
        if before && !now {
            let consumers = self.transports.get(&transport).map(|transport| transport.consumers.clone());
            let why = refused("may-not-subscribe", "You may not receive tracks in this room any more.");
            for consumer in consumers.unwrap_or_default() {
                self.end_consumer(consumer, &why);
            }
        }
        if now && !before {
            let tracks = self.routers.get(&router).map(|router| self.tracks_of(router, Some(id)));
            for track in tracks.unwrap_or_default() {
                self.notice(client, NoticeBody::TrackPublished(track));
            }
        }
    }

    /// As its grant wishes, if it does.
    pub(crate) fn ask_again_later(&mut self, id: PersonId) {
        let wished = self.people.get(&id).and_then(|person| person.grant.ask_again_ms);
        match wished {
            Some(wished) => {
                let (least, most) = (*ASK_AGAIN_MS.start(), *ASK_AGAIN_MS.end());
                self.set_ask_again(id, Duration::from_millis(wished.clamp(least, most).into()));
            }
            None => self.timers.cancel(Timer::AskAgain(id)),
        }
    }

    fn set_ask_again(&mut self, id: PersonId, span: Duration) {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let earlier_ms = self.chance.draw() % (span_ms / EARLIER_PART + 1);
        let at = self.now.instant + Duration::from_millis(span_ms - earlier_ms);
        self.timers.set(Timer::AskAgain(id), at);
    }

    /// Someone is gone: operators who wait are told what came of it.
    pub(crate) fn end_renewal(&mut self, renewal: Renewal, farewell: Option<(&str, &str)>) {
        let (code, message) = farewell.unwrap_or(("left", "The person left meanwhile."));
        for asker in renewal.askers {
            let (code, message) = (code.to_owned(), message.to_owned());
            self.reply(asker, Ok(ReplyBody::Reauthorized(Reauthorized::Ended { code, message })));
        }
    }
}

/// Others know the person by its identity: it cannot become somebody else.
fn same_person(person: &Person, grant: &Grant) -> Result<(), RequestError> {
    match (&person.grant.identity, &grant.identity) {
        (Some(before), Some(now)) if before != now => {
            Err(refused("identity-changed", "Your permission is somebody else's now; please join again."))
        }
        _ => Ok(()),
    }
}

fn nobody() -> RequestError {
    missing("no-such-person", "Nobody with this number is inside.")
}
