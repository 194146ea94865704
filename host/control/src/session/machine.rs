//! One session: messages, replies and notices in; messages, requests and an end out. Knows nothing of sockets,
//! time or tasks: whoever drives it applies every output before the next input.

use super::message::{
    ClientMessage, Entered, HostMessage, Join, Numbered, OfferMessage, OkBody, PersonMessage, SpeakerMessage,
    TrackMessage,
};
use super::negotiation::{Flight, Peer};
use super::room::Room;
use crate::problem::Problem;
use axum::http::StatusCode;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_types::consumer::LayerPreference;
use tidegate_types::decision::Grant;
use tidegate_types::request::{
    ClientId, HOST_STOPPING, JoinRequest, Joined, Notice, NoticeBody, Reply, ReplyBody, Request, RequestBody,
    RequestError,
};
use tidegate_types::{MediaKind, PersonId, ProducerId, RequestNumber};

/// The most requests of one session that may be unanswered; then 429.
const PENDING: usize = 256;

/// Numbers requests, unique among all clients of this front door.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers(Arc<AtomicU64>);

impl Numbers {
    /// The next number.
    pub(crate) fn next(&self) -> RequestNumber {
        RequestNumber(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// What an input leads to.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// To the client, in order.
    pub(crate) messages: Vec<HostMessage>,
    /// To the directory, in order.
    pub(crate) requests: Vec<Request>,
    /// The session is over once the messages are sent.
    pub(crate) over: bool,
}

/// One person's session.
#[derive(Debug)]
pub(crate) struct Session {
    client: ClientId,
    address: Option<IpAddr>,
    resume: String,
    numbers: Numbers,
    phase: Phase,
    /// Requests under way, but those of an offer.
    pending: BTreeMap<RequestNumber, Pending>,
    output: Output,
}

#[derive(Debug)]
enum Phase {
    Outside,
    /// With every track, or only with those asked for.
    Joining {
        takes_all: bool,
    },
    Inside(Box<Inside>),
    Over,
}

#[derive(Debug)]
struct Inside {
    joined: Joined,
    /// New tracks are wanted unasked.
    takes_all: bool,
    room: Room,
    peer: Peer,
    /// The offer under way, and who is to be answered; `None` once that one's socket broke.
    flight: Option<(Option<u64>, Flight)>,
    /// An offer that came meanwhile: a client that came back repeats its own.
    next_offer: Option<(u64, OfferMessage)>,
    /// What `negotiate` last asked for, until an offer came.
    asked: Option<(usize, usize)>,
}

/// A request under way: the client's number for it (`None`: nobody waits any more) and what it is.
#[derive(Debug)]
struct Pending {
    id: Option<u64>,
    leaving: bool,
}

impl Session {
    /// A session that nobody has joined with yet. `resume` is what its client shows to come back.
    pub(crate) fn new(client: ClientId, address: Option<IpAddr>, resume: String, numbers: Numbers) -> Self {
        let output = Output::default();
        Self { client, address, resume, numbers, phase: Phase::Outside, pending: BTreeMap::new(), output }
    }

    /// Whether there is something to come back to.
    pub(crate) const fn is_inside(&self) -> bool {
        matches!(self.phase, Phase::Inside(_))
    }

    /// All that is to be done since last asked.
    pub(crate) fn take_output(&mut self) -> Output {
        std::mem::take(&mut self.output)
    }

    /// The client says something.
    pub(crate) fn on_message(&mut self, message: Numbered) {
        let id = message.id;
        if let Err(problem) = self.handle(message) {
            self.say(HostMessage::Error { id: Some(id), problem });
        }
    }

    /// The socket broke: nobody waits for what is under way.
    pub(crate) fn on_detached(&mut self) {
        for pending in self.pending.values_mut() {
            pending.id = None;
        }
        if let Phase::Inside(inside) = &mut self.phase {
            inside.next_offer = None;
            if let Some((id, _)) = &mut inside.flight {
                *id = None;
            }
        }
    }

    /// The client came back on another socket with its request number `id`.
    pub(crate) fn on_resumed(&mut self, id: u64) {
        self.on_detached();
        match &mut self.phase {
            Phase::Inside(inside) => {
                inside.asked = None;
                let entered = inside.entered(&self.resume);
                let watched = inside.peer.all_watched();
                self.say(HostMessage::Ok { id, body: OkBody::Entered(Box::new(entered)) });
                self.output.messages.extend(watched);
                self.ask_for_sections();
            }
            _ => {
                let problem = Problem::gone("session-gone", "that session is over; join anew");
                self.say(HostMessage::Error { id: Some(id), problem });
            }
        }
    }

    /// The host ends the session.
    pub(crate) fn on_ended(&mut self, code: &str, message: &str, rejoin: bool) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.say(HostMessage::Ended { code: code.to_owned(), message: message.to_owned(), rejoin });
        self.finish();
    }

    /// The directory answers a request.
    pub(crate) fn on_reply(&mut self, reply: Reply) {
        if let Phase::Inside(inside) = &mut self.phase
            && let Some((_, flight)) = &mut inside.flight
            && inside.peer.on_reply(flight, reply.number, &reply.result, &mut inside.room)
        {
            self.settle_flight();
            return;
        }
        let Some(pending) = self.pending.remove(&reply.number) else { return };
        match reply.result {
            Ok(ReplyBody::Joined(joined)) => self.on_joined(pending.id, *joined),
            Ok(body) => self.on_done(&pending, body),
            Err(error) => self.on_refused(&pending, error),
        }
    }

    /// The directory tells something.
    pub(crate) fn on_notice(&mut self, notice: Notice) {
        if let NoticeBody::Ended { code, message } = &notice.body {
            self.on_ended(code, message, invites_rejoin(code));
            return;
        }
        let Phase::Inside(inside) = &mut self.phase else { return };
        let messages = inside.on_notice(notice.body);
        self.output.messages.extend(messages);
        self.ask_for_sections();
    }

    fn handle(&mut self, message: Numbered) -> Result<(), Problem> {
        let Numbered { id, body } = message;
        match body {
            ClientMessage::Join(join) => self.join(id, join),
            ClientMessage::Resume(_) => Err(Problem::out_of_order(
                "already-inside",
                "a session resumes by the first message of a socket",
            )),
            body => self.handle_inside(id, body),
        }
    }

    fn handle_inside(&mut self, id: u64, body: ClientMessage) -> Result<(), Problem> {
        let Phase::Inside(inside) = &mut self.phase else {
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "no-session", "join or resume first"));
        };
        match body {
            ClientMessage::Offer(offer) => self.offer(id, offer),
            ClientMessage::Pause(producer) => {
                inside.own(producer)?;
                self.request(id, RequestBody::PauseProducer { producer, paused: true })
            }
            ClientMessage::Continue(producer) => {
                inside.own(producer)?;
                self.request(id, RequestBody::PauseProducer { producer, paused: false })
            }
            ClientMessage::CloseTrack(producer) => {
                inside.own(producer)?;
                inside.peer.unpublish(producer);
                self.request(id, RequestBody::CloseProducer { producer })
            }
            ClientMessage::Subscribe(producer) => self.want(id, producer, true),
            ClientMessage::Unsubscribe(producer) => self.want(id, producer, false),
            ClientMessage::Layers { producer, spatial, temporal } => {
                let preferred = LayerPreference { spatial, temporal: temporal.unwrap_or(u8::MAX) };
                self.prefer(id, producer, preferred)
            }
            ClientMessage::Message(text) => {
                let transport = inside.peer.transport();
                self.request(id, RequestBody::SendMessage { transport, text })
            }
            ClientMessage::Stats => {
                let transport = inside.peer.transport();
                self.request(id, RequestBody::ReadStats { transport })
            }
            ClientMessage::Leave => self.leave(id),
            ClientMessage::Join(_) | ClientMessage::Resume(_) => Ok(()),
        }
    }

    fn join(&mut self, id: u64, join: Join) -> Result<(), Problem> {
        if !matches!(self.phase, Phase::Outside) {
            return Err(Problem::out_of_order("already-inside", "this session has joined; leave first"));
        }
        self.phase = Phase::Joining { takes_all: join.takes_all };
        self.request(
            id,
            RequestBody::Join(JoinRequest {
                room: join.room,
                name: join.name,
                token: join.token,
                address: self.address,
                expected_ingress_kbps: 0,
                attrs: join.attrs,
                told_by_ceiling: join.told_by_ceiling,
            }),
        )
    }

    fn on_joined(&mut self, id: Option<u64>, mut joined: Joined) {
        // Whoever may not receive gets none; what it takes counts once it may.
        let takes_all = !matches!(self.phase, Phase::Joining { takes_all: false });
        let (room, peer) = (Room::new(&joined, takes_all && joined.grant.subscribe), Peer::new(&joined));
        // From now on the room is kept up to date, not what it was on entering.
        (joined.people, joined.tracks) = (Vec::new(), Vec::new());
        let inside = Inside { joined, takes_all, room, peer, flight: None, next_offer: None, asked: None };
        let entered = inside.entered(&self.resume);
        self.phase = Phase::Inside(Box::new(inside));
        if let Some(id) = id {
            self.say(HostMessage::Ok { id, body: OkBody::Entered(Box::new(entered)) });
        }
        self.ask_for_sections();
    }

    fn on_done(&mut self, pending: &Pending, body: ReplyBody) {
        if let Some(id) = pending.id {
            let body = match body {
                ReplyBody::Stats(stats) => OkBody::Stats { stats },
                _ => OkBody::Done {},
            };
            self.say(HostMessage::Ok { id, body });
        }
        if pending.leaving {
            self.finish();
        }
    }

    fn on_refused(&mut self, pending: &Pending, error: RequestError) {
        if pending.leaving {
            // Whoever leaves is let go, whatever the directory says.
            self.on_done(pending, ReplyBody::Done);
            return;
        }
        if matches!(self.phase, Phase::Joining { .. }) {
            self.phase = Phase::Outside;
        }
        if let Some(id) = pending.id {
            self.say(HostMessage::Error { id: Some(id), problem: error.into() });
        }
    }

    fn offer(&mut self, id: u64, offer: OfferMessage) -> Result<(), Problem> {
        let Phase::Inside(inside) = &mut self.phase else { return Ok(()) };
        if inside.flight.is_some() {
            if inside.next_offer.is_some() {
                return Err(Problem::out_of_order("offer-under-way", "one offer at a time"));
            }
            inside.next_offer = Some((id, offer));
            return Ok(());
        }
        inside.asked = None;
        let (numbers, client, requests) = (&self.numbers, self.client, &mut self.output.requests);
        let mut ask = |body| {
            let number = numbers.next();
            requests.push(Request { number, client, body });
            number
        };
        let flight = inside.peer.begin(&offer, &mut inside.room, &mut ask)?;
        for producer in &flight.unplayable {
            self.output.messages.push(HostMessage::TrackUnplayable {
                producer: *producer,
                code: "codec-missing",
                message: "this browser lacks the track's codec".into(),
            });
        }
        inside.flight = Some((Some(id), flight));
        self.settle_flight();
        Ok(())
    }

    /// Answers the offer under way once all its replies are there, and takes up the next.
    fn settle_flight(&mut self) {
        let Phase::Inside(inside) = &mut self.phase else { return };
        let Some((id, flight)) = inside.flight.take_if(|(_, flight)| flight.is_home()) else { return };
        let message = match (inside.peer.answer(flight, &inside.room), id) {
            (_, None) => None,
            (Ok(answered), Some(id)) => Some(HostMessage::Ok { id, body: OkBody::Answer(answered) }),
            (Err(problem), Some(id)) => Some(HostMessage::Error { id: Some(id), problem }),
        };
        self.output.messages.extend(message);
        let next = inside.next_offer.take();
        if let Some((id, offer)) = next
            && let Err(problem) = self.offer(id, offer)
        {
            self.say(HostMessage::Error { id: Some(id), problem });
        }
        self.ask_for_sections();
    }

    /// Asks the client for an offer while tracks wait for a section, once for each count.
    fn ask_for_sections(&mut self) {
        let Phase::Inside(inside) = &mut self.phase else { return };
        if inside.flight.is_some() || !inside.room.any_waits() {
            return;
        }
        let count = |kind| inside.room.sections_wanted(kind);
        let wanted = (count(MediaKind::Audio), count(MediaKind::Video));
        if inside.asked.replace(wanted) != Some(wanted) {
            self.output.messages.push(HostMessage::Negotiate { audio: wanted.0, video: wanted.1 });
        }
    }

    fn want(&mut self, id: u64, producer: ProducerId, wanted: bool) -> Result<(), Problem> {
        let Phase::Inside(inside) = &mut self.phase else { return Ok(()) };
        if wanted && !inside.joined.grant.subscribe {
            let detail = "this person may not receive tracks";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not-granted", detail));
        }
        let track = inside.room.track_mut(producer).ok_or_else(|| no_track(producer))?;
        track.wanted = wanted;
        if wanted {
            track.failures = 0;
            track.playable = true;
        }
        if let Some(consumer) = track.consumer {
            return self.request(id, RequestBody::PauseConsumer { consumer, paused: !wanted });
        }
        self.say(HostMessage::done(id));
        self.ask_for_sections();
        Ok(())
    }

    fn prefer(&mut self, id: u64, producer: ProducerId, preferred: LayerPreference) -> Result<(), Problem> {
        let Phase::Inside(inside) = &mut self.phase else { return Ok(()) };
        let track = inside.room.track_mut(producer).ok_or_else(|| no_track(producer))?;
        track.preferred = preferred;
        if let Some(consumer) = track.consumer {
            return self.request(id, RequestBody::SetPreferredLayers { consumer, preferred });
        }
        self.say(HostMessage::done(id));
        Ok(())
    }

    fn leave(&mut self, id: u64) -> Result<(), Problem> {
        let Phase::Inside(inside) = &self.phase else { return Ok(()) };
        let person = inside.joined.person;
        let number = self.ask(RequestBody::Leave { person });
        self.pending.insert(number, Pending { id: Some(id), leaving: true });
        Ok(())
    }

    fn request(&mut self, id: u64, body: RequestBody) -> Result<(), Problem> {
        if self.pending.len() >= PENDING {
            let detail = format!("at most {PENDING} requests of a session may be unanswered");
            return Err(Problem::too_many("too-many-requests", detail));
        }
        let number = self.ask(body);
        self.pending.insert(number, Pending { id: Some(id), leaving: false });
        Ok(())
    }

    fn ask(&mut self, body: RequestBody) -> RequestNumber {
        let number = self.numbers.next();
        self.output.requests.push(Request { number, client: self.client, body });
        number
    }

    fn say(&mut self, message: HostMessage) {
        self.output.messages.push(message);
    }

    fn finish(&mut self) {
        self.phase = Phase::Over;
        self.pending.clear();
        self.output.over = true;
    }
}

impl Inside {
    fn entered(&self, resume: &str) -> Entered {
        Entered {
            person: self.joined.person,
            name: self.joined.name.clone(),
            room: self.joined.room.clone(),
            resume: resume.to_owned(),
            people: self.room.people(),
            tracks: self.room.tracks(),
            grant: self.joined.grant.clone(),
            place: self.joined.place,
        }
    }

    fn own(&self, producer: ProducerId) -> Result<(), Problem> {
        if self.peer.owns(producer) { Ok(()) } else { Err(no_track(producer)) }
    }

    fn on_notice(&mut self, body: NoticeBody) -> Vec<HostMessage> {
        let me = self.joined.person;
        match body {
            NoticeBody::PersonJoined(person) if person.person != me => {
                let message = HostMessage::PersonJoined(PersonMessage::from(&*person));
                self.room.enter(person);
                vec![message]
            }
            NoticeBody::PersonLeft(person) => self.on_left(person),
            NoticeBody::TrackPublished(track) if track.person != me => {
                let message = HostMessage::TrackPublished(TrackMessage::from(&track));
                self.room.publish(track, self.takes_all);
                vec![message]
            }
            NoticeBody::TrackEnded(producer) => self.on_track_ended(producer),
            NoticeBody::TrackPaused { producer, paused } => {
                if let Some(track) = self.room.track_mut(producer) {
                    track.view.paused = paused;
                }
                vec![HostMessage::TrackPaused { producer, paused }]
            }
            NoticeBody::ActiveSpeakers(speakers) => {
                vec![HostMessage::Speakers { speakers: speakers.iter().map(SpeakerMessage::from).collect() }]
            }
            NoticeBody::Transport { transport, state } if transport == self.peer.transport() => {
                vec![HostMessage::Transport { state }]
            }
            NoticeBody::RoomMessage { from, text } => vec![HostMessage::Message { person: from, text }],
            NoticeBody::DataRefused { label, refusal } => {
                let (code, message) = (refusal.code(), refusal.sentence());
                vec![HostMessage::MessageRefused { channel: label, code, message }]
            }
            NoticeBody::LayersChanged { consumer, encoding, allowance } => {
                let told = |producer| HostMessage::Layer { producer, encoding, allowance };
                self.room.consumed(consumer).map(told).into_iter().collect()
            }
            NoticeBody::EncodingsWatched { producer, encodings } => {
                self.peer.watch(producer, encodings);
                self.peer.watched(producer).into_iter().collect()
            }
            NoticeBody::GrantChanged(grant) => self.on_grant(grant),
            NoticeBody::TrackRevoked { producer, code, message } => {
                self.peer.ended(producer);
                self.peer.unpublish(producer);
                vec![HostMessage::TrackRevoked { producer, code, message }]
            }
            // Of oneself or of a transport of old: nothing that the client doesn't know. Ended is handled above.
            NoticeBody::PersonJoined(_)
            | NoticeBody::TrackPublished(_)
            | NoticeBody::Transport { .. }
            | NoticeBody::Ended { .. } => Vec::new(),
        }
    }

    /// Whoever may receive no more is told of no tracks any more, and has none.
    fn on_grant(&mut self, grant: Box<Grant>) -> Vec<HostMessage> {
        let lost = self.joined.grant.subscribe && !grant.subscribe;
        self.joined.grant = (*grant).clone();
        let mut messages = vec![HostMessage::GrantChanged { grant }];
        for track in if lost { self.room.tracks() } else { Vec::new() } {
            messages.extend(self.on_track_ended(track.producer));
        }
        messages
    }

    /// Tracks go with their person, whether or not the directory says so one by one.
    fn on_left(&mut self, person: PersonId) -> Vec<HostMessage> {
        let gone = self.room.leave(person);
        for producer in &gone {
            self.peer.ended(*producer);
        }
        let ended = gone.into_iter().map(|producer| HostMessage::TrackEnded { producer });
        ended.chain([HostMessage::PersonLeft { person }]).collect()
    }

    /// Somebody else's, or an own one that the host ended.
    fn on_track_ended(&mut self, producer: ProducerId) -> Vec<HostMessage> {
        self.peer.ended(producer);
        let own = self.peer.owns(producer);
        self.peer.unpublish(producer);
        let told = self.room.end(producer) || own;
        told.then_some(HostMessage::TrackEnded { producer }).into_iter().collect()
    }
}

fn no_track(producer: ProducerId) -> Problem {
    let problem = Problem::gone("track-gone", format!("{producer} is not here, or not yours"));
    Problem { field: Some("/producer".into()), ..problem }
}

/// Whether a client that is ended for this reason does well to come back by itself: the host's or the network's
/// doing, not somebody's will.
fn invites_rejoin(code: &str) -> bool {
    matches!(
        code,
        HOST_STOPPING
            | "host-failed"
            | "place-lost"
            | "transport-closed"
            | "consent-lost"
            | "dtls-failed"
            | "peer-closed"
    )
}
