//! What people ask of the directory, and what they do with its answers: a client's part of joining, publishing,
//! receiving and moving. Knows nothing of datagrams.

use crate::person::Person;
use crate::publisher::person_of;
use crate::script::{Deed, Script};
use crate::world::{Asked, OPERATOR, World};
use tidegate_types::consumer::LayerPreference;
use tidegate_types::data::MESSAGE_BYTES;
use tidegate_types::request::{
    JoinRequest, Joined, Notice, NoticeBody, Reply, ReplyBody, RequestBody, RequestError, TrackView,
};
use tidegate_types::{ConsumerId, MediaKind, ProducerId, Secret, ShardIndex};

/// Failures that lie in the nature of people who come and go while something is asked about them.
const HARMLESS: [&str; 6] =
    ["no-transport", "no-producer", "no-track", "no-consumer", "moving-already", "move-not-ready"];

pub(crate) fn act(world: &mut World, person: usize, deed: Deed) {
    let now = world.now;
    if deed == Deed::Join {
        world.enter(person);
        let join = JoinRequest {
            room: "plenary".into(),
            name: person.to_string(),
            token: Secret::new("token"),
            address: None,
            expected_ingress_kbps: 100,
            attrs: Vec::new(),
            told_by_ceiling: false,
        };
        return world.request(person, RequestBody::Join(join), Asked::Join);
    }
    let Some(one) = world.people.get_mut(&person) else { return };
    let Some(transport) = one.transport else { return };
    match deed {
        Deed::Join => {}
        Deed::Leave => world.leave(person, true),
        Deed::Vanish => world.leave(person, false),
        Deed::Say(number) => one.say(now, number),
        Deed::Move(to) => {
            let to = ShardIndex((to % world.engines.len() as u64) as u16);
            world.request(OPERATOR, RequestBody::Move { transport, to }, Asked::Other);
        }
        Deed::RestartIce => world.request(person, RequestBody::RestartIce { transport }, Asked::Restart),
        Deed::Prefer { spatial, temporal } => {
            one.preferred = LayerPreference { spatial, temporal };
            for consumer in consumers(one, Some(MediaKind::Video)) {
                prefer(world, person, consumer);
            }
        }
        Deed::PauseReceiving(paused) => {
            one.receives = !paused;
            for consumer in consumers(one, None) {
                pause(world, person, consumer);
            }
        }
        Deed::PauseSending(paused) => {
            let Some(publisher) = &mut one.publisher else { return };
            publisher.paused = paused;
            for producer in one.published.clone() {
                world.request(person, RequestBody::PauseProducer { producer, paused }, Asked::Other);
            }
        }
    }
    world.drain_person(person);
}

fn consumers(one: &Person, kind: Option<MediaKind>) -> Vec<ConsumerId> {
    let of_kind = one.tracks.iter().filter(|track| kind.is_none_or(|kind| track.kind == kind));
    of_kind.filter_map(|track| track.consumer).collect()
}

fn prefer(world: &mut World, person: usize, consumer: ConsumerId) {
    let Some(one) = world.people.get(&person) else { return };
    let preferred = one.preferred;
    world.request(person, RequestBody::SetPreferredLayers { consumer, preferred }, Asked::Other);
}

fn pause(world: &mut World, person: usize, consumer: ConsumerId) {
    let Some(one) = world.people.get(&person) else { return };
    let paused = !one.receives;
    world.request(person, RequestBody::PauseConsumer { consumer, paused }, Asked::Other);
}

pub(crate) fn hear_reply(world: &mut World, reply: Reply) {
    let (person, asked) = world.asked.remove(&reply.number).expect("each request is answered once");
    match (asked, reply.result) {
        (Asked::Join, Ok(ReplyBody::Joined(joined))) => joined_room(world, person, *joined),
        (Asked::Restart, Ok(ReplyBody::Transport(local))) => {
            if let Some(one) = world.people.get_mut(&person) {
                one.local = Some(local);
                connect(world, person);
            }
        }
        (Asked::Connect, Ok(_)) => {
            // Only now: a handshake that comes too early is begun again after a time that no seed tells.
            let one = world.people.get_mut(&person);
            if let Some((one, local)) = one.and_then(|one| one.local.take().map(|local| (one, local))) {
                one.meet(&local, world.now);
                world.drain_person(person);
            }
        }
        (Asked::Consume(ssrc), Ok(ReplyBody::Consumer(consumer, _))) => {
            begin_to_receive(world, person, ssrc, consumer);
        }
        (Asked::Consume(ssrc), Err(error)) => {
            if let Some(one) = world.people.get_mut(&person) {
                one.end_track(|track| track.ssrc == ssrc);
            }
            note(world, error);
        }
        (Asked::Other, Ok(ReplyBody::Producer(producer))) => {
            if let Some(one) = world.people.get_mut(&person) {
                one.published.push(producer);
            }
        }
        (Asked::Dump, Ok(ReplyBody::Dump(dump))) => world.dump = Some(*dump),
        (_, Err(error)) => note(world, error),
        (_, Ok(_)) => {}
    }
}

fn note(world: &mut World, error: RequestError) {
    assert!(HARMLESS.contains(&&*error.code), "at {:?}: {error}", world.since());
    *world.refused.entry(error.code).or_default() += 1;
}

fn connect(world: &mut World, person: usize) {
    let Some(one) = world.people.get(&person) else { return };
    let Some(transport) = one.transport else { return };
    let remote = one.peer.remote();
    world.request(person, RequestBody::Connect { transport, remote }, Asked::Connect);
}

fn joined_room(world: &mut World, person: usize, joined: Joined) {
    let Some(one) = world.people.get_mut(&person) else { return };
    let transport = joined.transport;
    one.transport = Some(transport);
    one.local = Some(joined.local);
    let publisher = one.publisher.as_ref().map(|publisher| (publisher.sound(), publisher.pictures()));
    connect(world, person);
    let max_message_bytes = MESSAGE_BYTES;
    world.request(person, RequestBody::OpenData { transport, max_message_bytes }, Asked::Other);
    if let Some((sound, pictures)) = publisher {
        let pictures = Script::publishes(person).then_some((pictures, "camera"));
        for (parameters, source) in [(sound, "microphone")].into_iter().chain(pictures) {
            let body = RequestBody::Produce { transport, parameters, source: source.into(), paused: false };
            world.request(person, body, Asked::Other);
        }
    }
    for track in &joined.tracks {
        receive(world, person, track);
    }
}

/// Someone asks for a track that it wants.
fn receive(world: &mut World, person: usize, track: &TrackView) {
    let from = person_of(track.parameters.rtp.encodings[0].ssrc.expect("an SSRC"));
    let wants = match track.parameters.kind {
        MediaKind::Audio => from != person,
        MediaKind::Video => world.script.watches(person, from),
    };
    let now = world.now.instant;
    let Some(one) = world.people.get_mut(&person).filter(|_| wants) else { return };
    let Some(transport) = one.transport else { return };
    if one.tracks.iter().any(|known| known.producer == track.producer) {
        return;
    }
    let parameters = one.consume(track, from, now);
    let ssrc = parameters.rtp.encodings[0].ssrc.expect("an SSRC");
    let body = RequestBody::Consume { transport, producer: track.producer, parameters };
    world.request(person, body, Asked::Consume(ssrc));
}

/// A track is being received; what was wished for meanwhile is said now.
fn begin_to_receive(world: &mut World, person: usize, ssrc: u32, consumer: ConsumerId) {
    let Some(one) = world.people.get_mut(&person) else { return };
    let Some(track) = one.tracks.iter_mut().find(|track| track.ssrc == ssrc) else { return };
    track.consumer = Some(consumer);
    if track.kind == MediaKind::Video && one.preferred != LayerPreference::HIGHEST {
        prefer(world, person, consumer);
    }
    pause(world, person, consumer);
}

fn publisher_of(world: &mut World, person: usize, producer: ProducerId) -> Option<&mut Person> {
    world.people.get_mut(&person).filter(|one| one.published.contains(&producer))
}

pub(crate) fn hear_notice(world: &mut World, notice: Notice) {
    let person = notice.client.0 as usize;
    match notice.body {
        NoticeBody::TrackPublished(track) => receive(world, person, &track),
        NoticeBody::TrackEnded(producer) => {
            if let Some(one) = world.people.get_mut(&person) {
                one.end_track(|track| track.producer == producer);
            }
        }
        NoticeBody::EncodingsWatched { producer, encodings } => {
            let one = publisher_of(world, person, producer);
            if let Some(publisher) = one.and_then(|one| one.publisher.as_mut()) {
                publisher.watch(encodings);
            }
        }
        NoticeBody::Ended { code, message } => {
            assert!(!world.people.contains_key(&person), "{person} was put out: {message} ({code})");
        }
        NoticeBody::DataRefused { label, refusal } => panic!("{person}: {label}: {refusal:?}"),
        _ => {}
    }
}
