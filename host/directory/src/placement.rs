//! Placements, strictly one at a time: what the last one promised is told to every policy before the next is
//! asked, so that a burst cannot herd. Knows nothing of how the policy or the built-in chooses.

use crate::builtin::concentrate_then_spill;
use crate::cluster::{Holder, Promise};
use crate::directory::Directory;
use crate::join::JoinStage;
use crate::objects::{RelayStage, Router};
use crate::questions::Asked;
use crate::refusal::by_policy;
use crate::timers::Timer;
use std::collections::{BTreeMap, VecDeque};
use tidegate_types::decision::{
    AnswerBody, Failure, PlaceAnswer, PlaceKind, PlaceRequest, QuestionBody, RouterAtPlace,
};
use tidegate_types::request::{ErrorKind, RequestError};
use tidegate_types::{PersonId, Place, RelayId};

/// What is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The transport of someone who is entering.
    Transport(PersonId),
    /// A relay's parent.
    Relay(RelayId),
}

#[derive(Clone, Copy, Debug)]
struct Asking {
    subject: Subject,
    /// The first answer named a place that was gone.
    again: bool,
}

/// Whose turn it is, and who waits. Some that wait may be gone by their turn.
#[derive(Debug, Default)]
pub(crate) struct Placing {
    asking: Option<Asking>,
    queue: VecDeque<Subject>,
}

impl Placing {
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.asking.is_some())
    }
}

impl Directory {
    /// False if too many wait.
    pub(crate) fn queue_placement(&mut self, subject: Subject) -> bool {
        if self.placing.queue.len() >= self.config.bounds.pending_requests {
            return false;
        }
        self.placing.queue.push_back(subject);
        self.place_next();
        true
    }

    fn place_next(&mut self) {
        while self.placing.asking.is_none() {
            let Some(subject) = self.placing.queue.pop_front() else { return };
            self.ask_placement(subject, false);
        }
    }

    /// Asks for a place, unless what is to be placed is gone.
    fn ask_placement(&mut self, subject: Subject, again: bool) {
        let Some(request) = self.place_request(subject) else { return };
        // What the last placement promised, too.
        self.tell_changes();
        self.placing.asking = Some(Asking { subject, again });
        self.ask(QuestionBody::Place(Box::new(request)), Asked::Place);
    }

    fn place_request(&mut self, subject: Subject) -> Option<PlaceRequest> {
        let (kind, promise, router, parents) = match subject {
            Subject::Transport(person) => {
                let router = self.joining.get(&person)?.router()?;
                (PlaceKind::Transport, self.transport_promise(person)?, router, Vec::new())
            }
            Subject::Relay(relay) => {
                let router = self.relays.get(&relay)?.router;
                (PlaceKind::Relay, self.relay_promise(relay)?, router, self.parents(relay))
            }
        };
        let router = self.routers.get(&router)?;
        Some(PlaceRequest {
            kind,
            room: Some(router.room.clone()),
            router_at: self.router_at(router),
            expected_ingress_kbps: promise.ingress_kbps,
            expected_egress_kbps: promise.egress_kbps,
            region_hint: None,
            parents,
            moment: self.chance.moment(self.now),
            attrs: Vec::new(),
        })
    }

    pub(crate) fn place_answered(&mut self, result: Result<AnswerBody, Failure>) {
        let Some(Asking { subject, again }) = self.placing.asking.take() else { return };
        match result {
            Ok(AnswerBody::Place(PlaceAnswer::Place(placement))) if self.fits(subject, placement.place) => {
                self.placed(subject, placement.place);
            }
            Ok(AnswerBody::Place(PlaceAnswer::Place(placement))) => {
                tracing::debug!(place = %placement.place, again, "a placement is stale");
                self.totals.stale_placements_total += 1;
                self.stale(subject, again);
            }
            Ok(AnswerBody::Place(PlaceAnswer::Refuse(refusal))) => {
                self.not_placed(subject, by_policy(ErrorKind::Full, refusal));
            }
            Ok(_) | Err(_) => self.place_by_default(subject),
        }
        self.place_next();
    }

    /// Once more over a fresh feed, then the built-in decides.
    fn stale(&mut self, subject: Subject, again: bool) {
        if again {
            return self.place_by_default(subject);
        }
        let feed = self.cluster.reset();
        self.feed(feed);
        self.ask_placement(subject, true);
    }

    fn fits(&self, subject: Subject, place: Place) -> bool {
        match subject {
            Subject::Transport(_) => self.cluster.takes(place),
            Subject::Relay(relay) => self.parents(relay).iter().any(|parent| parent.place == place),
        }
    }

    fn place_by_default(&mut self, subject: Subject) {
        self.totals.builtin_placements_total += 1;
        let place = match subject {
            Subject::Transport(_) => concentrate_then_spill(self.cluster.rows(), &self.config.watermarks),
            Subject::Relay(relay) => self.own_place(relay),
        };
        match place {
            Some(place) => self.placed(subject, place),
            None => {
                let message = "No part of the host takes anyone just now; please try again later.";
                self.not_placed(subject, RequestError::new(ErrorKind::Full, "no-place", message));
            }
        }
    }

    fn placed(&mut self, subject: Subject, place: Place) {
        match subject {
            Subject::Transport(person) => {
                let Some(promise) = self.transport_promise(person) else { return };
                let Some(joining) = self.joining.get(&person) else { return };
                self.reserve(Holder::Transport(joining.transport), place, promise);
                self.create_transport(person, place);
            }
            Subject::Relay(relay) => {
                let Some(promise) = self.relay_promise(relay) else { return };
                self.reserve(Holder::Relay(relay), place, promise);
                self.accept_relay(relay, place);
            }
        }
    }

    fn not_placed(&mut self, subject: Subject, error: RequestError) {
        match subject {
            Subject::Transport(person) => self.fail_join(person, error),
            Subject::Relay(relay) => self.fail_relay(relay, &error),
        }
    }

    fn reserve(&mut self, holder: Holder, place: Place, promise: Promise) {
        self.cluster.reserve(holder, place, promise);
        self.timers.set(Timer::Reservation(holder), self.now.instant + self.config.patience.reservation);
    }

    pub(crate) fn release(&mut self, holder: Holder) {
        self.cluster.release(holder);
        self.timers.cancel(Timer::Reservation(holder));
    }

    /// What someone who enters is expected to send and receive; `None` if it no longer waits for a place.
    fn transport_promise(&self, person: PersonId) -> Option<Promise> {
        let joining = self.joining.get(&person)?;
        let JoinStage::Placing(router) = joining.stage else { return None };
        let grant = &joining.grant;
        let capped = |kbps: u64, ceiling: Option<u32>| ceiling.map_or(kbps, |most| kbps.min(most.into()));
        let sends = if grant.publish { joining.request.expected_ingress_kbps } else { 0 };
        let receives = if grant.subscribe { self.routers.get(&router)?.tracks_kbps } else { 0 };
        Some(Promise {
            transports: 1,
            ingress_kbps: capped(sends, grant.ingress_kbps),
            egress_kbps: capped(receives, grant.egress_kbps),
        })
    }

    /// What a relay is expected to cost its parent; `None` if it no longer waits for one.
    fn relay_promise(&self, relay: RelayId) -> Option<Promise> {
        let relay = self.relays.get(&relay).filter(|relay| relay.stage == RelayStage::Choosing)?;
        let producer = self.producers.get(&relay.producer)?;
        Some(Promise { egress_kbps: producer.expected_kbps, ..Promise::default() })
    }

    /// What each place holds of a router.
    fn router_at(&self, router: &Router) -> Vec<RouterAtPlace> {
        let mut at: BTreeMap<Place, RouterAtPlace> = BTreeMap::new();
        let people = router.people.iter().filter_map(|person| self.people.get(person));
        for (id, transport) in people.filter_map(|person| {
            let transport = self.transports.get(&person.transport)?;
            Some((person.transport, transport))
        }) {
            let here = at.entry(transport.place).or_default();
            here.transports += 1;
            here.producers += u32::try_from(transport.producers.len()).unwrap_or(u32::MAX);
            here.reserved_kbps += self.cluster.reserved_egress(Holder::Transport(id));
        }
        for (id, relay) in router.relays.iter().filter_map(|id| Some((*id, self.relays.get(id)?))) {
            at.entry(relay.to).or_default().relays += 1;
            at.entry(relay.from).or_default().reserved_kbps +=
                self.cluster.reserved_egress(Holder::Relay(id));
        }
        at.into_iter().map(|(place, here)| RouterAtPlace { place, ..here }).collect()
    }
}
