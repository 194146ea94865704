//! One person's peer connection as negotiated so far, and the one offer that may be in flight: offer → steps →
//! requests → replies → answer. Knows nothing of sockets and of other messages.

use super::message::{
    Answered, HostMessage, OfferMessage, PublishedMessage, ReceivingMessage, RefusedMessage,
};
use super::room::{Room, Track};
use crate::chance;
use crate::problem::Problem;
use crate::sdp::{
    AnswerHead, MediaSection, Offer, Section, Sending, Verdict, forwarded, parse_offer, receive_parameters,
    send_parameters, write_answer,
};
use axum::http::StatusCode;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_types::consumer::ConsumerParameters;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::request::{Joined, ReplyBody, RequestBody, RequestError};
use tidegate_types::rtp::RtpParameters;
use tidegate_types::transport::{LocalTransport, RemoteTransport};
use tidegate_types::{ConsumerId, MediaKind, ProducerId, RequestNumber, TransportId};

/// What stands between offers.
#[derive(Debug)]
pub(super) struct Peer {
    transport: TransportId,
    local: LocalTransport,
    /// What the transport was last told of its peer.
    remote: Option<RemoteTransport>,
    /// What the person is called in RTCP where its own offer doesn't say.
    cname: String,
    /// By mid: what the person sends.
    sending: BTreeMap<String, Published>,
    /// By mid: what the person receives.
    receiving: BTreeMap<String, Received>,
    /// The most bytes of a message that the person's data channels take, once they are served.
    data: Option<u32>,
    /// Every SSRC this transport ever sent with: one that comes back would seal other bytes under a used nonce.
    ssrcs: BTreeSet<u32>,
    session: u64,
    version: u64,
}

#[derive(Clone, Debug)]
struct Published {
    producer: ProducerId,
    source: String,
    rtp: RtpParameters,
    /// The encodings that somebody watches, as bits.
    watched: u32,
}

#[derive(Clone, Debug)]
struct Received {
    producer: ProducerId,
    consumer: ConsumerId,
    sending: Box<Sending>,
}

/// An offer whose requests are under way.
#[derive(Debug)]
pub(super) struct Flight {
    offer: Offer,
    waiting: BTreeMap<RequestNumber, Step>,
    refused: Vec<RefusedMessage>,
    failure: Option<Problem>,
    /// Tracks that this browser turned out to have no codec for.
    pub(super) unplayable: Vec<ProducerId>,
}

/// What one request of a flight is for.
#[derive(Clone, Debug)]
enum Step {
    Restart,
    Connect(RemoteTransport),
    Produce { mid: String, source: String, rtp: RtpParameters },
    Consume { mid: String, producer: ProducerId, sending: Sending },
    Data(u32),
    Close,
}

/// Asks the directory; gives the request's number.
pub(super) type Ask<'a> = &'a mut dyn FnMut(RequestBody) -> RequestNumber;

impl Published {
    fn told(&self) -> HostMessage {
        let encodings = (0..self.rtp.encodings.len()).map(|bit| self.watched >> bit & 1 == 1).collect();
        HostMessage::Watched { producer: self.producer, encodings }
    }
}

impl Peer {
    pub(super) fn new(joined: &Joined) -> Self {
        Self {
            transport: joined.transport,
            local: joined.local.clone(),
            remote: None,
            cname: joined.person.to_string(),
            sending: BTreeMap::new(),
            receiving: BTreeMap::new(),
            data: None,
            ssrcs: BTreeSet::new(),
            session: chance::number() >> 1,
            version: 0,
        }
    }

    pub(super) const fn transport(&self) -> TransportId {
        self.transport
    }

    /// Whether a producer is the person's own.
    pub(super) fn owns(&self, producer: ProducerId) -> bool {
        self.sending.values().any(|published| published.producer == producer)
    }

    /// Notes which encodings of an own producer somebody watches, as bits.
    pub(super) fn watch(&mut self, producer: ProducerId, encodings: u32) {
        let own = self.sending.values_mut().find(|published| published.producer == producer);
        if let Some(published) = own {
            published.watched = encodings;
        }
    }

    /// What the client is told of who watches an own producer.
    pub(super) fn watched(&self, producer: ProducerId) -> Option<HostMessage> {
        self.sending.values().find(|published| published.producer == producer).map(Published::told)
    }

    /// The same of all.
    pub(super) fn all_watched(&self) -> Vec<HostMessage> {
        self.sending.values().filter(|published| published.watched != u32::MAX).map(Published::told).collect()
    }

    /// Forgets an own producer; its section is free.
    pub(super) fn unpublish(&mut self, producer: ProducerId) {
        self.sending.retain(|_, published| published.producer != producer);
    }

    /// Forgets what carried a track that ended; its section is free.
    pub(super) fn ended(&mut self, producer: ProducerId) {
        self.receiving.retain(|_, received| received.producer != producer);
    }

    /// Reads an offer and asks for all that it needs.
    pub(super) fn begin(
        &mut self,
        message: &OfferMessage,
        room: &mut Room,
        ask: Ask<'_>,
    ) -> Result<Flight, Problem> {
        let offer = parse_offer(&message.sdp).map_err(|error| {
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "sdp-unfit", error.to_string());
            Problem { field: Some("/sdp".into()), ..problem }
        })?;
        let mut flight = Flight {
            offer,
            waiting: BTreeMap::new(),
            refused: Vec::new(),
            failure: None,
            unplayable: Vec::new(),
        };
        self.connect(&mut flight, ask);
        self.open_data(&mut flight, ask);
        self.close_stopped(&mut flight, room, ask);
        self.produce(&mut flight, &message.tracks, ask);
        self.consume(&mut flight, room, ask);
        Ok(flight)
    }

    /// Tells the transport who its peer is, where that is new; new credentials of a known peer restart ICE.
    fn connect(&self, flight: &mut Flight, ask: Ask<'_>) {
        let Some(mut remote) = flight.offer.transport.clone() else { return };
        if let Some(known) = &self.remote {
            // Who plays which part in DTLS is settled once; browsers offer actpass every time.
            remote.role = known.role;
            if known.ice != remote.ice {
                let number = ask(RequestBody::RestartIce { transport: self.transport });
                flight.waiting.insert(number, Step::Restart);
            }
        }
        if let Some(transport) = &mut flight.offer.transport {
            transport.role = remote.role;
        }
        if self.remote.as_ref() != Some(&remote) {
            let number = ask(RequestBody::Connect { transport: self.transport, remote: remote.clone() });
            flight.waiting.insert(number, Step::Connect(remote));
        }
    }

    /// Asks for data channels, where the offer has a section for them that is new or says something new.
    fn open_data(&self, flight: &mut Flight, ask: Ask<'_>) {
        let Some(data) = flight.offer.sections.iter().find_map(|section| section.data) else { return };
        let max_message_bytes = data.max_message_bytes;
        if self.data != Some(max_message_bytes) {
            let number = ask(RequestBody::OpenData { transport: self.transport, max_message_bytes });
            flight.waiting.insert(number, Step::Data(max_message_bytes));
        }
    }

    /// Ends what the offer no longer carries.
    fn close_stopped(&mut self, flight: &mut Flight, room: &mut Room, ask: Ask<'_>) {
        let offer = &flight.offer;
        let mut numbers = Vec::new();
        self.sending.retain(|mid, published| {
            let stays = media(offer, mid).is_some_and(|media| media.sends);
            if !stays {
                numbers.push(ask(RequestBody::CloseProducer { producer: published.producer }));
            }
            stays
        });
        self.receiving.retain(|mid, received| {
            let stays = media(offer, mid).is_some_and(|media| media.receives);
            if !stays {
                numbers.push(ask(RequestBody::CloseConsumer { consumer: received.consumer }));
                if let Some(track) = room.track_mut(received.producer) {
                    track.consumer = None;
                }
            }
            stays
        });
        flight.waiting.extend(numbers.into_iter().map(|number| (number, Step::Close)));
    }

    /// Takes what the offer sends anew.
    fn produce(&mut self, flight: &mut Flight, tracks: &[(String, String)], ask: Ask<'_>) {
        for section in &flight.offer.sections {
            let Some(media) = section.media.as_ref().filter(|media| media.sends) else { continue };
            let named = tracks.iter().find(|(mid, _)| *mid == section.mid);
            // A browser's own default is to offer both ways; only what the client names is meant to be sent.
            let Some((_, source)) = named else { continue };
            if media.codecs.is_empty() {
                flight.refused.push(codec_missing(section, media));
                continue;
            }
            let rtp = receive_parameters(&section.mid, media, &self.cname);
            if let Some(known) = self.sending.get(&section.mid) {
                if known.rtp == rtp && known.source == *source {
                    continue;
                }
                let number = ask(RequestBody::CloseProducer { producer: known.producer });
                flight.waiting.insert(number, Step::Close);
                self.sending.remove(&section.mid);
            }
            let parameters = ProducerParameters { kind: media.kind, rtp: rtp.clone() };
            let number = ask(RequestBody::Produce {
                transport: self.transport,
                parameters,
                source: source.clone(),
                paused: false,
            });
            let step = Step::Produce { mid: section.mid.clone(), source: source.clone(), rtp };
            flight.waiting.insert(number, step);
        }
    }

    /// Gives waiting tracks to free receiving sections.
    fn consume(&mut self, flight: &mut Flight, room: &mut Room, ask: Ask<'_>) {
        for kind in [MediaKind::Audio, MediaKind::Video] {
            flight.unplayable.extend(mark_unplayable(&flight.offer, kind, room));
            let mut free: Vec<_> = flight
                .offer
                .sections
                .iter()
                .filter(|section| !self.receiving.contains_key(&section.mid))
                .filter_map(|section| Some((section.mid.clone(), section.media.clone()?)))
                .filter(|(_, media)| media.receives && media.kind == kind && !media.codecs.is_empty())
                .collect();
            for producer in room.waiting(kind) {
                let Some(track) = room.track(producer) else { continue };
                let fits = |(_, media): &(String, MediaSection)| media.fitting(track.codecs()).is_some();
                let Some(at) = free.iter().position(fits) else { continue };
                let (mid, media) = free.remove(at);
                let Some((number, step)) = self.consume_one(&mid, &media, track, ask) else { continue };
                flight.waiting.insert(number, step);
            }
        }
    }

    fn consume_one(
        &mut self,
        mid: &str,
        media: &MediaSection,
        track: &Track,
        ask: Ask<'_>,
    ) -> Option<(RequestNumber, Step)> {
        let stream = track.stream();
        let rtp = send_parameters(mid, media, track.codecs(), &stream, || self.fresh_ssrc())?;
        let parameters = ConsumerParameters {
            kind: media.kind,
            rtp: rtp.clone(),
            paused: !track.wanted,
            preferred: track.preferred,
        };
        let producer = track.view.producer;
        let number = ask(RequestBody::Consume { transport: self.transport, producer, parameters });
        let sending = Sending { stream, track: producer.to_string(), rtp };
        Some((number, Step::Consume { mid: mid.to_owned(), producer, sending }))
    }

    fn fresh_ssrc(&mut self) -> u32 {
        loop {
            let ssrc = u32::from_ne_bytes(chance::bytes());
            if ssrc != 0 && self.ssrcs.insert(ssrc) {
                return ssrc;
            }
        }
    }

    /// Takes a reply of a flight's request; `false` if it is none of its own.
    pub(super) fn on_reply(
        &mut self,
        flight: &mut Flight,
        number: RequestNumber,
        result: &Result<ReplyBody, RequestError>,
        room: &mut Room,
    ) -> bool {
        let Some(step) = flight.waiting.remove(&number) else { return false };
        match (step, result) {
            (Step::Restart, Ok(ReplyBody::Transport(local))) => self.local = local.clone(),
            (Step::Data(max_message_bytes), Ok(_)) => self.data = Some(max_message_bytes),
            (Step::Connect(remote), Ok(_)) => self.remote = Some(remote),
            (Step::Produce { mid, source, rtp }, Ok(ReplyBody::Producer(producer))) => {
                self.sending.insert(mid, Published { producer: *producer, source, rtp, watched: u32::MAX });
            }
            (Step::Consume { mid, producer, sending }, Ok(ReplyBody::Consumer(consumer, paused))) => {
                // The track may have ended while the request was under way: then the section stays free.
                if let Some(track) = room.track_mut(producer) {
                    track.consumer = Some(*consumer);
                    track.view.paused = *paused;
                    let (consumer, sending) = (*consumer, Box::new(sending));
                    self.receiving.insert(mid, Received { producer, consumer, sending });
                }
            }
            (Step::Produce { mid, .. }, Err(error)) => {
                let (code, message) = (error.code.clone(), error.message.clone());
                flight.refused.push(RefusedMessage { mid, code, message });
            }
            (Step::Consume { producer, .. }, Err(_)) => {
                if let Some(track) = room.track_mut(producer) {
                    track.failures += 1;
                }
            }
            (Step::Restart | Step::Connect(_), Err(error)) => flight.failure = Some(error.clone().into()),
            // What was to be closed is gone either way; a reply of another shape is our own mistake, and the
            // section stays free.
            (_, _) => {}
        }
        true
    }

    /// The answer to a flight that has come home.
    pub(super) fn answer(&mut self, flight: Flight, room: &Room) -> Result<Answered, Problem> {
        if let Some(failure) = flight.failure {
            return Err(failure);
        }
        self.version += 1;
        let head = AnswerHead { session: self.session, version: self.version, local: self.local.clone() };
        let verdicts: Vec<_> = flight.offer.sections.iter().map(|section| self.verdict(section)).collect();
        Ok(Answered {
            sdp: write_answer(&flight.offer, &head, &verdicts),
            published: self.published(),
            receiving: self.receiving(room),
            refused: flight.refused,
        })
    }

    fn verdict(&self, section: &Section) -> Verdict {
        if section.data.is_some() && self.data.is_some() {
            return Verdict::AcceptData;
        }
        if section.media.as_ref().is_none_or(|media| media.codecs.is_empty()) {
            return Verdict::Reject;
        }
        Verdict::Accept {
            receive: self.sending.contains_key(&section.mid),
            send: self.receiving.get(&section.mid).map(|received| (*received.sending).clone()),
        }
    }

    fn published(&self) -> Vec<PublishedMessage> {
        let told = |(mid, published): (&String, &Published)| PublishedMessage {
            mid: mid.clone(),
            producer: published.producer,
        };
        self.sending.iter().map(told).collect()
    }

    fn receiving(&self, room: &Room) -> Vec<ReceivingMessage> {
        let told = |(mid, received): (&String, &Received)| {
            let view = &room.track(received.producer)?.view;
            Some(ReceivingMessage {
                mid: mid.clone(),
                producer: received.producer,
                person: view.person,
                source: view.source.clone(),
                kind: view.parameters.kind,
                consumer: received.consumer,
            })
        };
        self.receiving.iter().filter_map(told).collect()
    }
}

impl Flight {
    /// Every reply is there.
    pub(super) fn is_home(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn media<'a>(offer: &'a Offer, mid: &str) -> Option<&'a MediaSection> {
    offer.sections.iter().find(|section| section.mid == mid)?.media.as_ref()
}

/// Finds and marks waiting tracks of a kind whose codec no section of that kind offers.
fn mark_unplayable(offer: &Offer, kind: MediaKind, room: &mut Room) -> Vec<ProducerId> {
    let offered: Vec<_> = offer
        .sections
        .iter()
        .filter_map(|section| section.media.as_ref())
        .filter(|media| media.kind == kind && media.receives)
        .collect();
    if offered.is_empty() {
        return Vec::new();
    }
    let mut waiting = room.waiting(kind);
    waiting.retain(|producer| {
        let Some(track) = room.track_mut(*producer) else { return false };
        track.playable = offered.iter().any(|media| media.fitting(track.codecs()).is_some());
        !track.playable
    });
    waiting
}

fn codec_missing(section: &Section, media: &MediaSection) -> RefusedMessage {
    let message = format!(
        "the m={} line of section {} names none of {}",
        section.name,
        section.mid,
        forwarded(media.kind)
    );
    RefusedMessage { mid: section.mid.clone(), code: "codec-missing".into(), message }
}
