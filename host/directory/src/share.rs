//! Asks the share policy about rooms in turn, and tells their places what came of it. Knows nothing of how bit rates are
//! divided.
//!
//! ```text
//! turn ─▶ rates of each place ─▶ question ─▶ answer ─▶ portions to each place, for as long as they hold
//! ```
//!
//! Nothing waits for it: a room whose question is late or fails goes on with its last answer until that runs out, and
//! then with the engines' own rule. A room has one question under way at most.

use crate::directory::{Awaited, Directory};
use crate::objects::{Producer, Router};
use crate::questions::Asked;
use crate::refusal::CommandFailure;
use crate::timers::Timer;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tidegate_types::command::{CommandBody, Done};
use tidegate_types::consumer::Allowance;
use tidegate_types::decision::{AnswerBody, Failure, QuestionBody};
use tidegate_types::sharing::{
    Portion, ReceiverRates, RouterRates, SHORTEST_PERIOD_MS, ShareAnswer, SharePerson, ShareRequest,
    ShareTrack,
};
use tidegate_types::{Place, ProducerId, RouterId, TransportId};

/// Rooms that are asked about within a second at most; with more than fit into a period, all wait longer.
const ROOMS_PER_S: u32 = 200;
/// How often turns are given.
const ROUND: Duration = Duration::from_millis(100);
const ROOMS_PER_ROUND: usize = 20;
const _: () = assert!(ROOMS_PER_ROUND as u32 * 10 == ROOMS_PER_S && ROUND.as_millis() == 100);
/// Fewer people have nothing to divide among.
const FEWEST_PEOPLE: usize = 2;
/// Consumers that are looked at for one question; of larger rooms only some of each track's.
const LOOKED_AT: usize = 10_000;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// The one that was not asked about for longest comes first.
    turns: VecDeque<RouterId>,
    rooms: BTreeMap<RouterId, Turn>,
}

impl Sharing {
    /// How long until a room is asked about again.
    fn period(&self) -> Duration {
        let rooms = u32::try_from(self.rooms.len()).unwrap_or(u32::MAX);
        let needed = Duration::from_secs(1) * rooms / ROOMS_PER_S;
        needed.max(Duration::from_millis(SHORTEST_PERIOD_MS.into()))
    }
}

/// How far a room's question is.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Waiting,
    /// So many places still owe its rates.
    Measuring(usize),
    /// About these tracks.
    Asked(Vec<ProducerId>),
}

/// One room's turn.
#[derive(Debug, Default)]
struct Turn {
    stage: Stage,
    rates: RouterRates,
    last: Option<Instant>,
    /// Until when its last answer holds.
    holds: Option<Instant>,
}

impl Directory {
    /// Someone came in: from two people on a room is asked about.
    pub(crate) fn consider_sharing(&mut self, id: RouterId) {
        let enough = self.routers.get(&id).is_some_and(|router| router.people.len() >= FEWEST_PEOPLE);
        if !self.config.share || !enough || self.sharing.rooms.contains_key(&id) {
            return;
        }
        self.sharing.rooms.insert(id, Turn::default());
        self.sharing.turns.push_front(id);
        if !self.timers.is_set(Timer::Share) {
            self.timers.set(Timer::Share, self.now.instant + ROUND);
        }
    }

    /// There is a policy from now on, and all rooms that it could be asked about take their turns; or there is none any
    /// more.
    pub(crate) fn choose_share(&mut self, chosen: bool) {
        self.config.share = chosen;
        if chosen && !self.stopping {
            let rooms: Vec<RouterId> = self.routers.keys().copied().collect();
            rooms.into_iter().for_each(|id| self.consider_sharing(id));
        }
    }

    /// Gives the next rooms their turns, as many as may be and as are due.
    pub(crate) fn share_round(&mut self) {
        if self.config.share {
            self.give_turns();
        } else {
            self.end_turns();
        }
        if !self.sharing.rooms.is_empty() {
            self.timers.set(Timer::Share, self.now.instant + ROUND);
        }
    }

    /// Nobody is asked any more: what a few places were told at a time ends before it runs out.
    fn end_turns(&mut self) {
        for _ in 0..ROOMS_PER_ROUND {
            let Some(id) = self.sharing.turns.pop_front() else { break };
            let Some(turn) = self.sharing.rooms.get(&id) else { continue };
            if !matches!(turn.stage, Stage::Waiting) {
                // What is under way comes to its end first: no later turn takes it for its own.
                self.sharing.turns.push_back(id);
                continue;
            }
            let holds = turn.holds.is_some_and(|until| until > self.now.instant);
            self.sharing.rooms.remove(&id);
            if holds {
                self.tell_shares(id, &[], 0);
            }
        }
    }

    fn give_turns(&mut self) {
        let period = self.sharing.period();
        for _ in 0..ROOMS_PER_ROUND {
            let Some(&id) = self.sharing.turns.front() else { break };
            let last = self.sharing.rooms.get(&id).and_then(|turn| turn.last);
            if last.is_some_and(|last| self.now.instant < last + period) {
                break;
            }
            self.sharing.turns.pop_front();
            let stays = self.routers.get(&id).is_some_and(|router| router.people.len() >= FEWEST_PEOPLE);
            if stays && !self.stopping {
                self.begin_turn(id);
                self.sharing.turns.push_back(id);
            } else {
                self.sharing.rooms.remove(&id);
            }
        }
    }

    /// First its places say what they measure.
    fn begin_turn(&mut self, id: RouterId) {
        let Some((router, turn)) = self.routers.get(&id).zip(self.sharing.rooms.get_mut(&id)) else { return };
        turn.last = Some(self.now.instant);
        if turn.holds.is_some_and(|until| until <= self.now.instant) {
            turn.holds = None;
            self.totals.share_stale_total += 1;
        }
        if !matches!(turn.stage, Stage::Waiting) {
            return;
        }
        let places: Vec<Place> =
            router.places.iter().copied().filter(|place| self.cluster.has(*place)).collect();
        if places.is_empty() {
            return;
        }
        turn.stage = Stage::Measuring(places.len());
        turn.rates = RouterRates::default();
        for place in places {
            self.command(place, CommandBody::ReadRates { router: id }, Awaited::ReadRates(id));
        }
    }

    /// One place less to wait for; one that says nothing is left out.
    pub(crate) fn rates_read(&mut self, id: RouterId, result: Result<Done, CommandFailure>) {
        let Some(turn) = self.sharing.rooms.get_mut(&id) else { return };
        let Stage::Measuring(left) = &mut turn.stage else { return };
        if let Ok(Done::Rates(rates)) = result {
            turn.rates.transports.extend(rates.transports);
            turn.rates.tracks.extend(rates.tracks);
        }
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.ask_share(id);
        }
    }

    fn ask_share(&mut self, id: RouterId) {
        let period_ms = u32::try_from(self.sharing.period().as_millis()).unwrap_or(u32::MAX);
        let Some(turn) = self.sharing.rooms.get_mut(&id) else { return };
        turn.stage = Stage::Waiting;
        let rates = std::mem::take(&mut turn.rates);
        if !self.config.share {
            return;
        }
        let moment = self.chance.moment(self.now);
        let Some(router) = self.routers.get(&id) else { return };
        let request = ShareRequest { period_ms, moment, ..self.about_shares(router, rates) };
        if let Some(turn) = self.sharing.rooms.get_mut(&id) {
            turn.stage = Stage::Asked(request.tracks.iter().map(|track| track.producer).collect());
        }
        self.totals.share_asked_total += 1;
        self.ask(QuestionBody::Share(Box::new(request)), Asked::Share(id));
    }

    /// Tells the room's places what its tracks are worth. Without an answer what they know holds on until it runs out.
    pub(crate) fn share_answered(&mut self, id: RouterId, result: Result<AnswerBody, Failure>) {
        let turn = self.sharing.rooms.get_mut(&id).filter(|_| self.routers.contains_key(&id));
        let Some(turn) = turn else {
            self.totals.late_total += 1;
            return;
        };
        let Stage::Asked(tracks) = std::mem::take(&mut turn.stage) else { return };
        // Nobody has a say any more.
        if !self.config.share {
            return;
        }
        let answer = match result {
            Ok(AnswerBody::Share(answer)) if answer.portions.len() == tracks.len() => answer,
            _ => {
                self.totals.share_failures_total += 1;
                return;
            }
        };
        let ShareAnswer { portions, valid_ms, clamped, .. } = answer;
        self.totals.share_clamped_total += u64::from(clamped);
        let told = tracks.into_iter().zip(portions).filter(|(_, portion)| *portion != Portion::default());
        let told: Vec<(ProducerId, Portion)> = told.filter(|_| valid_ms > 0).collect();
        let holds = self.now.instant + Duration::from_millis(valid_ms.into());
        let before = std::mem::replace(&mut turn.holds, (!told.is_empty()).then_some(holds));
        if told.is_empty() && before.is_none() {
            return;
        }
        self.tell_shares(id, &told, valid_ms);
    }

    /// Tells all places of a room.
    fn tell_shares(&mut self, router: RouterId, told: &[(ProducerId, Portion)], valid_ms: u32) {
        let places: Option<Vec<Place>> =
            self.routers.get(&router).map(|router| router.places.iter().copied().collect());
        for place in places.unwrap_or_default() {
            let portions = told.to_vec();
            self.command_quietly(place, CommandBody::SetShares { router, portions, valid_ms });
        }
    }

    /// The people of a room and their tracks, in numbers.
    fn about_shares(&self, router: &Router, rates: RouterRates) -> ShareRequest {
        let transports: BTreeMap<TransportId, ReceiverRates> = rates.transports.into_iter().collect();
        let ingress: BTreeMap<ProducerId, u64> = rates.tracks.into_iter().collect();
        let mut request = ShareRequest { room: router.room.clone(), ..ShareRequest::default() };
        let mut producers = Vec::new();
        for id in &router.people {
            let Some(person) = self.people.get(id) else { continue };
            let Some(transport) = self.transports.get(&person.transport) else { continue };
            let row = count(request.people.len());
            let live = |id: &&ProducerId| self.producers.get(id).is_some_and(Producer::is_live);
            let before = producers.len();
            producers.extend(transport.producers.iter().filter(live).map(|id| (row, *id)));
            request.people.push(SharePerson {
                person: *id,
                identity: person.grant.identity.clone().unwrap_or_default(),
                name: person.view.name.clone(),
                rates: transports.get(&person.transport).copied().unwrap_or_default(),
                sends: count(producers.len() - before),
                receives: count(transport.consumers.len()),
                speaks: router.floor == Some(*id),
            });
        }
        let looked_at = LOOKED_AT / producers.len().max(1) + 1;
        let track = |(row, id)| self.share_track(row, id, ingress.get(&id).copied().unwrap_or(0), looked_at);
        request.tracks = producers.into_iter().filter_map(track).collect();
        request
    }

    fn share_track(
        &self,
        person: u32,
        id: ProducerId,
        ingress_kbps: u64,
        looked_at: usize,
    ) -> Option<ShareTrack> {
        let producer = self.producers.get(&id)?;
        let encodings = producer.parameters.rtp.encodings.len().max(1);
        let seen = producer.consumers.iter().take(looked_at).filter_map(|id| self.consumers.get(id));
        let watching = seen.filter(|consumer| !consumer.parameters.paused);
        let (mut reduced, mut wanted_layer) = (0, 0);
        for consumer in watching {
            reduced += u32::from(consumer.allowance != Allowance::Full);
            wanted_layer =
                wanted_layer.max(usize::from(consumer.parameters.preferred.spatial).min(encodings - 1));
        }
        Some(ShareTrack {
            producer: id,
            person,
            kind: producer.parameters.kind,
            source: producer.source.clone(),
            ingress_kbps,
            encodings: count(encodings),
            receivers: count(producer.consumers.len()),
            reduced,
            wanted_layer: count(wanted_layer),
            paused: producer.paused,
        })
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
