//! Questions to policies: who waits for which answer, and what is asked of authorize. Knows nothing of how a
//! policy decides; each failure's default stands where its answer is used.

use crate::directory::Directory;
use crate::ledger::Asker;
use crate::objects::Person;
use crate::refusal::{by_policy, refused, undecided};
use crate::timers::Timer;
use crate::{consume, data, moment, produce};
use std::net::IpAddr;
use tidegate_types::decision::{
    Action, Answer, AnswerBody, AuthorizeAnswer, AuthorizeRequest, BalanceAnswer, BalanceCause,
    BalanceRequest, Decision, Failure, Grant, Question, QuestionBody, ToPolicy,
};
use tidegate_types::request::{ErrorKind, ReplyBody, RequestError};
use tidegate_types::{MediaKind, PersonId, Place, RequestNumber, RouterId, Secret};

/// What an answer is for.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Join(PersonId),
    Produce(Asker, produce::Wanted),
    Consume(Asker, consume::Wanted),
    Data(Asker, data::Wanted),
    Admin(Asker),
    Renew(PersonId),
    /// The placement whose turn it is.
    Place,
    Balance,
    /// What a room's tracks are worth.
    Share(RouterId),
}

impl Directory {
    pub(crate) fn ask(&mut self, body: QuestionBody, asked: Asked) -> RequestNumber {
        let number = RequestNumber(self.next_id());
        let patience = match body.decision() {
            Decision::Authorize => self.config.patience.authorize,
            Decision::Allocate => self.config.patience.allocate,
            Decision::Balance => self.config.patience.balance,
            Decision::Share => self.config.patience.share,
        };
        self.questions.insert(number, asked);
        self.timers.set(Timer::Question(number), self.now.instant + patience);
        self.tell_policy(ToPolicy::Ask(Question { number, body }));
        number
    }

    pub(crate) fn answered(&mut self, answer: Answer) {
        let Some(asked) = self.questions.remove(&answer.number) else {
            self.totals.late_total += 1;
            return;
        };
        self.timers.cancel(Timer::Question(answer.number));
        match asked {
            Asked::Join(person) => {
                let granted = self.granted(answer.result);
                self.join_decided(person, granted);
            }
            Asked::Produce(asker, wanted) => match self.granted(answer.result).and_then(may_publish) {
                Ok(()) => self.produce(asker, wanted, true),
                Err(error) => self.reply(asker, Err(error)),
            },
            Asked::Consume(asker, wanted) => match self.granted(answer.result).and_then(may_subscribe) {
                Ok(()) => self.consume(asker, wanted, true),
                Err(error) => self.reply(asker, Err(error)),
            },
            Asked::Data(asker, wanted) => {
                // Whoever may not send may receive all the same.
                let may_send = self.granted(answer.result).is_ok_and(|grant| grant.data);
                self.open_data(asker, wanted, Some(may_send));
            }
            Asked::Admin(asker) => {
                let outcome = self.granted(answer.result).and_then(may_administer);
                self.reply(asker, outcome.map(|()| ReplyBody::Done));
            }
            Asked::Renew(person) => {
                let granted = self.granted(answer.result);
                self.renewed(person, granted);
            }
            Asked::Place => self.place_answered(answer.result),
            Asked::Balance => self.balance_answered(answer.result),
            Asked::Share(router) => self.share_answered(router, answer.result),
        }
    }

    /// Authorize's answer; no answer is a refusal.
    fn granted(&mut self, result: Result<AnswerBody, Failure>) -> Result<Grant, RequestError> {
        let failure = match result {
            Ok(AnswerBody::Authorize(AuthorizeAnswer::Grant(grant))) => return Ok(grant),
            Ok(AnswerBody::Authorize(AuthorizeAnswer::Refuse(refusal))) => {
                return Err(by_policy(ErrorKind::Refused, refusal));
            }
            // The runtime resolves lookups itself; a need that comes here was not.
            Ok(AnswerBody::Authorize(AuthorizeAnswer::Need { .. })) => Failure::Lookup,
            Ok(AnswerBody::Place(_) | AnswerBody::Balance(_) | AnswerBody::Share(_)) => Failure::Nonsense,
            Err(failure) => failure,
        };
        self.totals.authorize_failures_total += 1;
        Err(undecided(failure))
    }

    /// The part of an authorize question that the room gives.
    pub(crate) fn about_room(&mut self, action: Action, router: Option<RouterId>) -> AuthorizeRequest {
        let router = router.and_then(|router| self.routers.get(&router));
        // Those whose transport is being made count: else a burst would find an empty room each time.
        let people = router.map_or(0, |router| router.people.len() + router.entering);
        AuthorizeRequest {
            action,
            room: router.map(|router| router.room.clone()),
            room_people: u32::try_from(people).unwrap_or(u32::MAX),
            room_since_unix_ms: router.map(|router| router.since_unix_ms),
            name: String::new(),
            identity: None,
            token: Secret::default(),
            address: None,
            kind: None,
            source: None,
            moment: self.chance.moment(self.now),
            lookups: Vec::new(),
            attrs: Vec::new(),
        }
    }

    /// Asks about a track of someone inside. The person must exist.
    pub(crate) fn consult(
        &mut self,
        person: PersonId,
        (action, kind, source): (Action, MediaKind, String),
        asked: Asked,
    ) {
        let question = self.about_person(action, person);
        let question = AuthorizeRequest { kind: Some(kind), source: Some(source), ..question };
        self.ask(QuestionBody::Authorize(Box::new(question)), asked);
    }

    /// The part of an authorize question that the room and someone inside give.
    pub(crate) fn about_person(&mut self, action: Action, person: PersonId) -> AuthorizeRequest {
        let router = self.people.get(&person).map(|person| person.router);
        let mut question = self.about_room(action, router);
        if let Some(person) = self.people.get(&person) {
            question.name = person.view.name.clone();
            question.identity = person.grant.identity.clone();
            question.token = person.token.clone();
            question.address = person.address;
            question.attrs = person.attrs.clone();
        }
        question
    }

    pub(crate) fn authorize_admin(&mut self, asker: Asker, token: Secret, address: Option<IpAddr>) {
        let question = AuthorizeRequest { token, address, ..self.about_room(Action::Admin, None) };
        self.ask(QuestionBody::Authorize(Box::new(question)), Asked::Admin(asker));
    }

    /// Balance is asked on a tick, on drain and on loss, one question at a time.
    pub(crate) fn ask_balance(&mut self, cause: BalanceCause, place: Option<Place>) {
        if self.stopping {
            return;
        }
        self.timers.set(Timer::Balance, self.now.instant + self.config.balance_every);
        if self.questions.values().any(|asked| matches!(asked, Asked::Balance)) {
            return;
        }
        self.tell_changes();
        let question =
            BalanceRequest { cause, place, moment: self.chance.moment(self.now), attrs: Vec::new() };
        self.ask(QuestionBody::Balance(Box::new(question)), Asked::Balance);
    }

    /// Wishes are kept and shown, and carried out as far as may be. No answer: nothing is wished for.
    fn balance_answered(&mut self, result: Result<AnswerBody, Failure>) {
        let Ok(AnswerBody::Balance(BalanceAnswer { wishes, .. })) = result else {
            self.totals.balance_failures_total += 1;
            return;
        };
        for wish in &wishes {
            self.carry_out(wish);
        }
        let at = moment::unix_ms(self.now.wall);
        let kept = self.config.bounds.wishes;
        let newest = wishes.len().saturating_sub(kept);
        self.wishes.extend(wishes.into_iter().skip(newest).map(|wish| (at, wish)));
        let surplus = self.wishes.len().saturating_sub(kept);
        self.wishes.drain(..surplus);
    }
}

/// Whether a grant asks that this action be asked about each time.
pub(crate) fn is_consulted(person: &Person, action: Action) -> bool {
    person.grant.consult.iter().any(|name| name == action.name())
}

#[expect(clippy::needless_pass_by_value, reason = "it ends a chain of owned results")]
fn may_publish(grant: Grant) -> Result<(), RequestError> {
    if grant.publish { Ok(()) } else { Err(refused("may-not-publish", "You may not send this track.")) }
}

#[expect(clippy::needless_pass_by_value, reason = "it ends a chain of owned results")]
fn may_subscribe(grant: Grant) -> Result<(), RequestError> {
    if grant.subscribe {
        Ok(())
    } else {
        Err(refused("may-not-subscribe", "You may not receive this track."))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it ends a chain of owned results")]
fn may_administer(grant: Grant) -> Result<(), RequestError> {
    if grant.admin { Ok(()) } else { Err(refused("not-admin", "You may not administer this host.")) }
}
