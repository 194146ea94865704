//! Stories of one session, without sockets, time or tasks: what it is told, what it says, what it asks.

use super::machine::{Numbers, Session};
use super::message::{Unreadable, read};
use crate::sdp::fixtures::{DATA, NO_VP8, PUBLISH, RECEIVE, restarted, with_direction};
use serde_json::{Value, json};
use tidegate_types::consumer::LayerPreference;
use tidegate_types::decision::Grant;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::request::{
    ClientId, ErrorKind, HOST_STOPPING, Joined, Notice, NoticeBody, PersonView, Reply, ReplyBody, Request,
    RequestBody, RequestError, TrackView,
};
use tidegate_types::rtp::{Codec, CodecParameters, EncodingParameters, RtpParameters};
use tidegate_types::transport::{Candidate, Fingerprint, IceCredentials, LocalTransport};
use tidegate_types::{
    ConsumerId, MediaKind, PersonId, Place, ProducerId, RequestNumber, RouterId, Secret, Shared, TransportId,
};

const CLIENT: ClientId = ClientId(1);
const ME: PersonId = PersonId(1);
const ADA: PersonId = PersonId(2);
const TRANSPORT: TransportId = TransportId(40);

/// A session and a directory that does what the story says.
struct Stage {
    session: Session,
    requests: Vec<Request>,
    next_id: u64,
    next_producer: u64,
}

impl Stage {
    fn outside() -> Self {
        let session = Session::new(CLIENT, None, "1.key".into(), Numbers::default());
        Self { session, requests: Vec::new(), next_id: 0, next_producer: 100 }
    }

    /// Inside, with Ada's tracks already there.
    fn inside(tracks: Vec<TrackView>) -> (Self, Vec<Value>) {
        let mut stage = Self::outside();
        stage.say(json!({"type": "join", "room": "blue", "name": "me", "token": "sesame-123"}));
        let join = stage.requests.remove(0);
        assert!(matches!(&join.body, RequestBody::Join(join) if join.room == "blue" && join.name == "me"));
        let heard = stage.reply(join.number, Ok(ReplyBody::Joined(Box::new(joined(tracks)))));
        (stage, heard)
    }

    /// Inside with an offer answered.
    fn negotiated(tracks: Vec<TrackView>, offer: &str) -> (Self, Value) {
        let (mut stage, _) = Self::inside(tracks);
        stage.offer(offer);
        let heard = stage.serve_all();
        let answer = heard.into_iter().find(|message| message["sdp"].is_string()).expect("an answer");
        (stage, answer)
    }

    fn say(&mut self, mut message: Value) -> Vec<Value> {
        self.next_id += 1;
        message["id"] = self.next_id.into();
        self.session.on_message(read(&message.to_string()).expect("the schema"));
        self.take()
    }

    fn offer(&mut self, sdp: &str) -> Vec<Value> {
        let tracks = json!([{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera"}]);
        self.say(json!({"type": "offer", "sdp": sdp, "tracks": tracks}))
    }

    fn reply(&mut self, number: RequestNumber, result: Result<ReplyBody, RequestError>) -> Vec<Value> {
        self.session.on_reply(Reply { number, client: CLIENT, result });
        self.take()
    }

    fn notice(&mut self, body: NoticeBody) -> Vec<Value> {
        self.session.on_notice(Notice { client: CLIENT, body });
        self.take()
    }

    /// Does the next request as a directory without objections would.
    fn serve(&mut self) -> Vec<Value> {
        let request = self.requests.remove(0);
        let body = match &request.body {
            RequestBody::Produce { .. } => {
                self.next_producer += 1;
                ReplyBody::Producer(ProducerId(self.next_producer))
            }
            RequestBody::Consume { producer, .. } => {
                ReplyBody::Consumer(ConsumerId(producer.0 + 1_000), false)
            }
            RequestBody::RestartIce { .. } => ReplyBody::Transport(local("restarted")),
            _ => ReplyBody::Done,
        };
        self.reply(request.number, Ok(body))
    }

    fn serve_all(&mut self) -> Vec<Value> {
        let mut heard = Vec::new();
        while !self.requests.is_empty() {
            heard.extend(self.serve());
        }
        heard
    }

    fn take(&mut self) -> Vec<Value> {
        let output = self.session.take_output();
        self.requests.extend(output.requests);
        output
            .messages
            .iter()
            .map(|message| serde_json::from_str(&message.to_text()).expect("JSON"))
            .collect()
    }

    /// The names of the requests that wait to be served.
    fn asked(&self) -> Vec<&'static str> {
        self.requests.iter().map(|request| name(&request.body)).collect()
    }
}

fn name(body: &RequestBody) -> &'static str {
    match body {
        RequestBody::Join(_) => "join",
        RequestBody::Leave { .. } => "leave",
        RequestBody::Connect { .. } => "connect",
        RequestBody::RestartIce { .. } => "restart",
        RequestBody::Produce { .. } => "produce",
        RequestBody::PauseProducer { .. } => "pause-producer",
        RequestBody::CloseProducer { .. } => "close-producer",
        RequestBody::Consume { .. } => "consume",
        RequestBody::PauseConsumer { .. } => "pause-consumer",
        RequestBody::SetPreferredLayers { .. } => "layers",
        RequestBody::CloseConsumer { .. } => "close-consumer",
        RequestBody::OpenData { .. } => "open-data",
        RequestBody::SendMessage { .. } => "message",
        RequestBody::ReadStats { .. } => "stats",
        RequestBody::AuthorizeAdmin { .. }
        | RequestBody::Dump
        | RequestBody::Move { .. }
        | RequestBody::Reauthorize { .. }
        | RequestBody::EndPerson { .. } => "admin",
    }
}

fn local(ufrag: &str) -> LocalTransport {
    let ice = IceCredentials { ufrag: ufrag.into(), password: Secret::new("0123456789012345678901") };
    let address = "192.0.2.1:7000".parse().expect("an address");
    LocalTransport {
        ice,
        candidates: vec![Candidate { address, tcp: true }],
        fingerprint: Fingerprint([3; 32]),
    }
}

fn joined(tracks: Vec<TrackView>) -> Joined {
    Joined {
        person: ME,
        name: "me".into(),
        room: "blue".into(),
        router: RouterId(9),
        transport: TRANSPORT,
        place: Place::local(1),
        local: local("first"),
        grant: Grant::open(),
        people: vec![ada()],
        tracks,
    }
}

fn ada() -> Shared<PersonView> {
    Shared::from(PersonView { person: ADA, name: "Ada".into(), identity: None })
}

fn track(producer: u64, kind: MediaKind) -> TrackView {
    let codec = if kind == MediaKind::Audio { Codec::Opus } else { Codec::Vp8 };
    let codec = CodecParameters {
        codec,
        format: String::new(),
        payload_type: 100,
        rtx_payload_type: None,
        nack: true,
        pli: true,
        transport_cc: true,
    };
    let rtp = RtpParameters {
        mid: None,
        codecs: vec![codec],
        extensions: Vec::new(),
        encodings: vec![EncodingParameters::default(); 3],
        cname: "ada".into(),
        reduced_size_rtcp: true,
    };
    let source = if kind == MediaKind::Audio { "microphone" } else { "camera" };
    let parameters = ProducerParameters { kind, rtp };
    TrackView {
        producer: ProducerId(producer),
        person: ADA,
        source: source.into(),
        paused: false,
        parameters,
    }
}

fn refusal() -> RequestError {
    RequestError::new(ErrorKind::Refused, "not-granted", "you may not send this")
}

/// The SDP lines of the section with this mid.
fn section<'a>(answer: &'a Value, mid: &str) -> Vec<&'a str> {
    let sdp = answer["sdp"].as_str().expect("an answer");
    let marker = format!("a=mid:{mid}\r\n");
    let section = sdp.split("m=").find(|section| section.contains(&marker)).expect("the section");
    section.lines().collect()
}

fn types(heard: &[Value]) -> Vec<&str> {
    heard.iter().filter_map(|message| message["type"].as_str()).collect()
}

#[test]
fn joining_tells_who_is_there_and_asks_for_their_sections() {
    let (_, heard) = Stage::inside(vec![track(5, MediaKind::Audio), track(6, MediaKind::Video)]);
    assert_eq!(types(&heard), ["ok", "negotiate"]);
    let entered = &heard[0];
    assert_eq!(entered["resume"], "1.key");
    assert_eq!(entered["people"], json!([{"person": 2, "name": "Ada"}]));
    assert_eq!(entered["place"], json!({"node": 0, "shard": 1}));
    assert_eq!(entered["tracks"][1]["encodings"], 3);
    assert_eq!(heard[1], json!({"type": "negotiate", "audio": 1, "video": 1}));
}

#[test]
fn a_refused_join_says_why_and_may_be_tried_again() {
    let mut stage = Stage::outside();
    stage.say(json!({"type": "join", "room": "blue", "name": "me", "token": "old"}));
    let number = stage.requests.remove(0).number;
    let error = RequestError::new(ErrorKind::Refused, "token-expired", "your invitation has expired");
    let heard = stage.reply(number, Err(error));
    assert_eq!((&heard[0]["status"], &heard[0]["code"]), (&json!(403), &json!("token-expired")));
    assert_eq!((&heard[0]["detail"], &heard[0]["id"]), (&json!("your invitation has expired"), &json!(1)));
    stage.say(json!({"type": "join", "room": "blue", "name": "me", "token": "new"}));
    assert_eq!(stage.asked(), ["join"]);
}

#[test]
fn an_offer_is_answered_once_every_reply_is_there() {
    let (mut stage, _) = Stage::inside(vec![track(5, MediaKind::Audio), track(6, MediaKind::Video)]);
    assert!(stage.offer(PUBLISH).is_empty());
    assert_eq!(stage.asked(), ["connect", "produce", "produce", "consume", "consume"]);
    for _ in 0..4 {
        assert!(stage.serve().is_empty(), "not before the last reply");
    }
    let heard = stage.serve();
    let answer = &heard[0];
    assert_eq!(answer["published"], json!([{"mid": "0", "producer": 101}, {"mid": "1", "producer": 102}]));
    let receiving = &answer["receiving"];
    assert_eq!(receiving[0]["mid"], "2");
    assert_eq!(
        receiving[1],
        json!({"mid": "3", "producer": 6, "person": 2, "source": "camera", "kind": "video", "consumer": 1006})
    );
    assert!(section(answer, "3").contains(&"a=msid:person-2 producer-6"));
    assert!(section(answer, "2").contains(&"a=msid:person-2 producer-5"), "one stream a person");
    assert!(section(answer, "4").contains(&"a=inactive"));
    assert_eq!(heard.len(), 1, "nobody waits for a section any more");
}

#[test]
fn ssrcs_of_one_transport_differ_and_cnames_of_one_person_do_not() {
    let (mut stage, _) = Stage::inside(vec![track(6, MediaKind::Video), track(7, MediaKind::Video)]);
    stage.offer(PUBLISH);
    let mut ssrcs = Vec::new();
    for request in &stage.requests {
        if let RequestBody::Consume { parameters, .. } = &request.body {
            assert_eq!(parameters.rtp.cname, "person-2");
            let encoding = &parameters.rtp.encodings[0];
            ssrcs.extend([encoding.ssrc.expect("an SSRC"), encoding.rtx_ssrc.expect("an RTX SSRC")]);
        }
    }
    assert_eq!(ssrcs.len(), 4);
    ssrcs.sort_unstable();
    ssrcs.dedup();
    assert_eq!(ssrcs.len(), 4);
}

#[test]
fn a_refused_track_leaves_its_section_idle_and_says_why() {
    let (mut stage, _) = Stage::inside(Vec::new());
    stage.offer(PUBLISH);
    let camera = stage.requests.remove(2);
    assert!(stage.reply(camera.number, Err(refusal())).is_empty());
    let heard = stage.serve_all();
    assert_eq!(heard[0]["published"].as_array().map(Vec::len), Some(1));
    let refused = json!([{"mid": "1", "code": "not-granted", "message": "you may not send this"}]);
    assert_eq!(heard[0]["refused"], refused);
    assert!(section(&heard[0], "1").contains(&"a=inactive"));
}

#[test]
fn the_same_offer_again_asks_for_nothing() {
    let (mut stage, first) = Stage::negotiated(vec![track(5, MediaKind::Audio)], PUBLISH);
    let heard = stage.offer(PUBLISH);
    assert!(stage.asked().is_empty());
    assert_eq!(heard[0]["published"], first["published"]);
    assert_eq!(heard[0]["receiving"], first["receiving"]);
}

#[test]
fn tracks_that_appear_during_an_offer_are_asked_for_after_its_answer() {
    let (mut stage, _) = Stage::inside(Vec::new());
    stage.offer(PUBLISH);
    assert_eq!(
        types(&stage.notice(NoticeBody::TrackPublished(track(5, MediaKind::Audio)))),
        ["track-published"]
    );
    assert_eq!(
        types(&stage.notice(NoticeBody::TrackPublished(track(6, MediaKind::Video)))),
        ["track-published"]
    );
    let heard = stage.serve_all();
    assert_eq!(types(&heard), ["ok", "negotiate"]);
    assert_eq!(heard[1], json!({"type": "negotiate", "audio": 1, "video": 1}));
    let heard = stage.notice(NoticeBody::TrackPublished(track(7, MediaKind::Video)));
    assert_eq!(heard[1], json!({"type": "negotiate", "audio": 1, "video": 2}));
    assert_eq!(types(&stage.notice(NoticeBody::PersonJoined(ada()))), ["person-joined"], "not asked twice");
}

#[test]
fn a_section_whose_track_ended_carries_another_with_fresh_ssrcs() {
    let (mut stage, first) = Stage::negotiated(vec![track(6, MediaKind::Video)], RECEIVE);
    assert_eq!(first["receiving"][0]["mid"], "1");
    let before: Vec<_> =
        section(&first, "1").into_iter().filter(|line| line.starts_with("a=ssrc:")).collect();
    assert_eq!(types(&stage.notice(NoticeBody::TrackEnded(ProducerId(6)))), ["track-ended"]);
    let heard = stage.notice(NoticeBody::TrackPublished(track(8, MediaKind::Video)));
    assert_eq!(heard[1], json!({"type": "negotiate", "audio": 0, "video": 1}));
    stage.offer(RECEIVE);
    assert_eq!(stage.asked(), ["consume"]);
    let answer = stage.serve_all().remove(0);
    assert_eq!(answer["receiving"][0]["producer"], 8);
    let after: Vec<_> =
        section(&answer, "1").into_iter().filter(|line| line.starts_with("a=ssrc:")).collect();
    assert!(!after.is_empty() && after.iter().all(|line| !before.contains(line)), "{before:?} {after:?}");
}

#[test]
fn a_track_that_ends_while_it_is_being_consumed_leaves_its_section_free() {
    let (mut stage, _) = Stage::inside(vec![track(6, MediaKind::Video)]);
    stage.offer(RECEIVE);
    stage.notice(NoticeBody::TrackEnded(ProducerId(6)));
    let answer = stage.serve_all().remove(0);
    assert_eq!(answer["receiving"], json!([]));
    assert!(section(&answer, "1").contains(&"a=inactive"));
}

#[test]
fn new_credentials_restart_ice_before_they_are_told() {
    let (mut stage, first) = Stage::negotiated(Vec::new(), PUBLISH);
    assert!(section(&first, "0").contains(&"a=ice-ufrag:first"));
    stage.offer(&restarted(PUBLISH));
    assert_eq!(stage.asked(), ["restart", "connect"]);
    let answer = stage.serve_all().remove(0);
    assert!(section(&answer, "0").contains(&"a=ice-ufrag:restarted"));
    assert_eq!(answer["published"], first["published"], "tracks outlive it");
}

#[test]
fn the_dtls_role_once_taken_is_kept() {
    let passive = RECEIVE.replace("setup:actpass", "setup:passive");
    let (mut stage, first) = Stage::negotiated(Vec::new(), &passive);
    assert!(section(&first, "0").contains(&"a=setup:active"));
    let heard = stage.offer(RECEIVE);
    assert!(stage.asked().is_empty(), "{:?}", stage.asked());
    assert!(section(&heard[0], "0").contains(&"a=setup:active"));
}

#[test]
fn a_transport_that_cannot_connect_fails_the_offer() {
    let (mut stage, _) = Stage::inside(Vec::new());
    stage.offer(RECEIVE);
    let number = stage.requests.remove(0).number;
    let heard =
        stage.reply(number, Err(RequestError::new(ErrorKind::Failed, "place-lost", "the shard is gone")));
    assert_eq!((&heard[0]["type"], &heard[0]["status"]), (&json!("error"), &json!(503)));
    stage.offer(RECEIVE);
    assert_eq!(stage.asked(), ["connect"], "told again");
}

#[test]
fn what_an_offer_stops_is_closed() {
    let (mut stage, _) = Stage::negotiated(vec![track(6, MediaKind::Video)], PUBLISH);
    let stopped = with_direction(&with_direction(PUBLISH, "1", "inactive"), "3", "inactive");
    let stopped = with_direction(&stopped, "4", "inactive");
    stage.offer(&stopped);
    assert_eq!(stage.asked(), ["close-producer", "close-consumer"]);
    let answer = stage.serve_all().remove(0);
    assert_eq!((answer["published"].as_array().map(Vec::len), &answer["receiving"]), (Some(1), &json!([])));
}

#[test]
fn a_closed_track_can_be_published_again_in_its_section() {
    let (mut stage, _) = Stage::negotiated(Vec::new(), PUBLISH);
    stage.say(json!({"type": "close-track", "producer": 102}));
    assert_eq!(stage.asked(), ["close-producer"]);
    stage.serve_all();
    stage.offer(PUBLISH);
    assert_eq!(stage.asked(), ["produce"]);
}

#[test]
fn a_browser_without_the_codec_is_told_once_and_not_asked_again() {
    let (mut stage, _) = Stage::inside(vec![track(5, MediaKind::Audio), track(6, MediaKind::Video)]);
    let heard = stage.offer(NO_VP8);
    assert_eq!((&heard[0]["type"], &heard[0]["producer"]), (&json!("track-unplayable"), &json!(6)));
    assert_eq!(heard[0]["code"], "codec-missing");
    assert_eq!(types(&stage.serve_all()), ["ok"]);
    let heard = stage.offer(NO_VP8);
    assert_eq!(types(&heard), ["ok"]);
}

#[test]
fn a_track_that_cannot_be_consumed_is_given_up_after_three_offers() {
    let (mut stage, _) = Stage::inside(vec![track(6, MediaKind::Video)]);
    for attempt in 1..=3 {
        stage.offer(RECEIVE);
        let at = stage.requests.iter().position(|request| name(&request.body) == "consume").expect("tried");
        let number = stage.requests.remove(at).number;
        let mut heard = stage.reply(number, Err(refusal()));
        heard.extend(stage.serve_all());
        let expected: &[&str] = if attempt < 3 { &["ok", "negotiate"] } else { &["ok"] };
        assert_eq!(types(&heard), expected);
    }
    stage.offer(RECEIVE);
    assert!(stage.asked().is_empty());
    let heard = stage.say(json!({"type": "subscribe", "producer": 6}));
    assert_eq!(types(&heard), ["ok", "negotiate"], "unless the client asks for it");
}

#[test]
fn only_ones_own_tracks_are_paused_and_only_others_subscribed() {
    let (mut stage, _) = Stage::negotiated(vec![track(6, MediaKind::Video)], PUBLISH);
    for message in ["pause", "continue", "close-track"] {
        let heard = stage.say(json!({"type": message, "producer": 6}));
        assert_eq!((&heard[0]["status"], &heard[0]["field"]), (&json!(404), &json!("/producer")));
    }
    let heard = stage.say(json!({"type": "subscribe", "producer": 101}));
    assert_eq!(heard[0]["status"], 404);
    stage.say(json!({"type": "pause", "producer": 101}));
    assert_eq!(stage.asked(), ["pause-producer"]);
    assert_eq!(stage.serve_all(), [json!({"type": "ok", "id": stage.next_id})]);
}

#[test]
fn unsubscribing_pauses_and_layers_go_to_the_consumer() {
    let (mut stage, _) = Stage::negotiated(vec![track(6, MediaKind::Video)], PUBLISH);
    stage.say(json!({"type": "unsubscribe", "producer": 6}));
    stage.say(json!({"type": "subscribe", "producer": 6}));
    stage.say(json!({"type": "layers", "producer": 6, "spatial": 0}));
    let bodies: Vec<_> = stage.requests.iter().map(|request| request.body.clone()).collect();
    let consumer = ConsumerId(1006);
    let preferred = LayerPreference { spatial: 0, temporal: u8::MAX };
    assert_eq!(bodies[0], RequestBody::PauseConsumer { consumer, paused: true });
    assert_eq!(bodies[1], RequestBody::PauseConsumer { consumer, paused: false });
    assert_eq!(bodies[2], RequestBody::SetPreferredLayers { consumer, preferred });
    let allowance = tidegate_types::consumer::Allowance::Reduced;
    let heard = stage.notice(NoticeBody::LayersChanged { consumer, encoding: Some(0), allowance });
    assert_eq!(heard[0], json!({"type": "layer", "producer": 6, "encoding": 0, "allowance": "reduced"}));
}

#[test]
fn data_channels_are_asked_for_once_and_answered() {
    let (mut stage, _) = Stage::inside(vec![]);
    stage.offer(DATA);
    assert_eq!(stage.asked(), ["connect", "open-data"]);
    let max_message_bytes = 262_144;
    let body = &stage.requests[1].body;
    assert_eq!(*body, RequestBody::OpenData { transport: TRANSPORT, max_message_bytes });
    let heard = stage.serve_all();
    assert!(heard[0]["sdp"].as_str().expect("an answer").contains("a=sctp-port:5000"));
    stage.offer(DATA);
    assert!(stage.asked().is_empty(), "nothing is new");
}

#[test]
fn data_channels_that_are_refused_are_rejected_in_the_answer() {
    let (mut stage, _) = Stage::inside(vec![]);
    stage.offer(DATA);
    let number = stage.requests.remove(1).number;
    stage.reply(number, Err(refusal()));
    let heard = stage.serve_all();
    let answer = heard[0]["sdp"].as_str().expect("an answer");
    assert!(answer.contains("m=application 0 ") && answer.contains("m=audio 9 "), "{answer}");
}

#[test]
fn a_message_goes_out_and_comes_in() {
    let (mut stage, _) = Stage::inside(vec![]);
    stage.say(json!({"type": "message", "text": "hello"}));
    assert_eq!(
        stage.requests[0].body,
        RequestBody::SendMessage { transport: TRANSPORT, text: "hello".into() }
    );
    assert_eq!(types(&stage.serve_all()), ["ok"]);
    let heard = stage.notice(NoticeBody::RoomMessage { from: ADA, text: "hi".into() });
    assert_eq!(heard, [json!({"type": "message", "person": 2, "text": "hi"})]);
    let refusal = tidegate_types::data::DataRefusal::TooLong;
    let heard = stage.notice(NoticeBody::DataRefused { label: "room".into(), refusal });
    assert_eq!((&heard[0]["type"], &heard[0]["channel"]), (&json!("message-refused"), &json!("room")));
    assert!(heard[0]["message"].as_str().expect("a sentence").contains("262144"), "the limit is named");
}

#[test]
fn layers_asked_for_early_are_in_the_consume() {
    let (mut stage, _) = Stage::inside(vec![track(6, MediaKind::Video)]);
    assert_eq!(
        types(&stage.say(json!({"type": "layers", "producer": 6, "spatial": 1, "temporal": 0}))),
        ["ok"]
    );
    stage.offer(RECEIVE);
    let RequestBody::Consume { parameters, .. } = &stage.requests[1].body else { panic!("a consume") };
    assert_eq!(parameters.preferred, LayerPreference { spatial: 1, temporal: 0 });
}

#[test]
fn whoever_may_not_subscribe_is_given_no_tracks() {
    let mut stage = Stage::outside();
    stage.say(json!({"type": "join", "room": "blue", "name": "me"}));
    let number = stage.requests.remove(0).number;
    let mut joined = joined(vec![track(6, MediaKind::Video)]);
    joined.grant.subscribe = false;
    let heard = stage.reply(number, Ok(ReplyBody::Joined(Box::new(joined))));
    assert_eq!(types(&heard), ["ok"]);
    let heard = stage.say(json!({"type": "subscribe", "producer": 6}));
    assert_eq!((&heard[0]["status"], &heard[0]["code"]), (&json!(403), &json!("not-granted")));
}

#[test]
fn a_grant_that_shrinks_takes_tracks_away_and_one_that_grows_brings_them() {
    let (mut stage, answer) = Stage::negotiated(vec![track(6, MediaKind::Video)], RECEIVE);
    assert_eq!(answer["receiving"][0]["producer"], 6);
    let blind = Grant { subscribe: false, ..Grant::open() };
    let heard = stage.notice(NoticeBody::GrantChanged(Box::new(blind)));
    assert_eq!(types(&heard), ["grant-changed", "track-ended"]);
    assert_eq!(heard[0]["grant"]["subscribe"], false);
    let heard = stage.say(json!({"type": "subscribe", "producer": 6}));
    assert_eq!(heard[0]["code"], "not-granted");
    stage.notice(NoticeBody::GrantChanged(Box::new(Grant::open())));
    let heard = stage.notice(NoticeBody::TrackPublished(track(6, MediaKind::Video)));
    assert_eq!(types(&heard), ["track-published", "negotiate"], "and is wanted, as at first");
}

#[test]
fn an_own_track_that_is_revoked_is_told_with_its_reason_and_is_nobodys() {
    let (mut stage, answer) = Stage::negotiated(Vec::new(), PUBLISH);
    let producer = answer["published"][0]["producer"].as_u64().expect("a track");
    let (code, message) = ("may-not-publish".to_owned(), "Not any more.".to_owned());
    let heard = stage.notice(NoticeBody::TrackRevoked { producer: ProducerId(producer), code, message });
    let told = json!({"type": "track-revoked", "producer": producer, "code": "may-not-publish", "message": "Not any more."});
    assert_eq!(heard, [told]);
    let heard = stage.say(json!({"type": "pause", "producer": producer}));
    assert_eq!(heard[0]["code"], "track-gone");
}

#[test]
fn a_person_who_leaves_takes_its_tracks_along() {
    let (mut stage, _) = Stage::negotiated(vec![track(6, MediaKind::Video)], RECEIVE);
    let heard = stage.notice(NoticeBody::PersonLeft(ADA));
    assert_eq!(types(&heard), ["track-ended", "person-left"]);
    assert!(stage.notice(NoticeBody::TrackEnded(ProducerId(6))).is_empty(), "told once");
}

#[test]
fn who_comes_back_is_told_the_room_anew_and_nothing_stale() {
    let (mut stage, _) = Stage::inside(vec![track(6, MediaKind::Video)]);
    stage.offer(RECEIVE);
    stage.say(json!({"type": "stats"}));
    stage.session.on_detached();
    let bea = PersonView { person: PersonId(3), name: "Bea".into(), identity: None };
    stage.notice(NoticeBody::PersonJoined(bea.into()));
    stage.session.on_resumed(1);
    let heard = stage.take();
    assert_eq!((&heard[0]["type"], &heard[0]["id"]), (&json!("ok"), &json!(1)));
    assert_eq!(heard[0]["people"].as_array().map(Vec::len), Some(2));
    assert!(stage.offer(RECEIVE).is_empty(), "it waits for the first one's replies");
    let heard = stage.serve_all();
    let answered: Vec<_> = heard.iter().filter(|message| message["type"] == "ok").collect();
    assert_eq!(answered.len(), 1, "{heard:?}");
    assert_eq!(
        (&answered[0]["id"], &answered[0]["receiving"][0]["producer"]),
        (&json!(stage.next_id), &json!(6))
    );
}

#[test]
fn a_publisher_is_told_what_is_watched_and_again_when_it_comes_back() {
    let (mut stage, answer) = Stage::negotiated(Vec::new(), PUBLISH);
    let camera = answer["published"].as_array().unwrap().iter().find(|one| one["mid"] == "1").unwrap();
    let producer = camera["producer"].as_u64().unwrap();
    let encodings = 0b010;
    let heard = stage.notice(NoticeBody::EncodingsWatched { producer: ProducerId(producer), encodings });
    let told = json!({"type": "watched", "producer": producer, "encodings": [false, true, false]});
    assert_eq!(heard, std::slice::from_ref(&told));
    stage.session.on_detached();
    stage.session.on_resumed(9);
    assert_eq!(stage.take()[1], told);
    let stranger = NoticeBody::EncodingsWatched { producer: ProducerId(1), encodings };
    assert!(stage.notice(stranger).is_empty());
}

#[test]
fn a_third_offer_at_once_is_out_of_order() {
    let (mut stage, _) = Stage::inside(Vec::new());
    stage.offer(RECEIVE);
    stage.offer(RECEIVE);
    let heard = stage.offer(RECEIVE);
    assert_eq!((&heard[0]["status"], &heard[0]["code"]), (&json!(409), &json!("offer-under-way")));
    let heard = stage.serve_all();
    assert_eq!(heard.iter().filter(|message| message["sdp"].is_string()).count(), 2);
}

#[test]
fn what_comes_before_joining_or_twice_is_out_of_order() {
    let mut stage = Stage::outside();
    for message in [json!({"type": "stats"}), json!({"type": "offer", "sdp": ""}), json!({"type": "leave"})] {
        let heard = stage.say(message);
        assert_eq!((&heard[0]["status"], &heard[0]["code"]), (&json!(401), &json!("no-session")));
    }
    let (mut stage, _) = Stage::inside(Vec::new());
    assert_eq!(stage.say(json!({"type": "join", "room": "red", "name": "me"}))[0]["status"], 409);
    assert_eq!(stage.say(json!({"type": "resume", "resume": "1.key"}))[0]["status"], 409);
}

#[test]
fn an_offer_that_is_no_sdp_names_the_line() {
    let (mut stage, _) = Stage::inside(Vec::new());
    let heard = stage.offer(&RECEIVE.replace("a=rtcp-mux\r\n", ""));
    assert_eq!((&heard[0]["status"], &heard[0]["field"]), (&json!(422), &json!("/sdp")));
    assert!(heard[0]["detail"].as_str().is_some_and(|detail| detail.contains("a=rtcp-mux")));
    stage.offer(RECEIVE);
    assert_eq!(stage.asked(), ["connect"]);
}

#[test]
fn leaving_is_said_and_ends_the_session() {
    let (mut stage, _) = Stage::inside(Vec::new());
    stage.say(json!({"type": "leave"}));
    let number = stage.requests.remove(0).number;
    stage.session.on_reply(Reply { number, client: CLIENT, result: Ok(ReplyBody::Done) });
    let output = stage.session.take_output();
    assert!(output.over && output.messages.len() == 1);
    assert!(stage.notice(NoticeBody::PersonLeft(ADA)).is_empty());
}

#[test]
fn an_end_says_whether_to_come_back() {
    for (code, rejoin) in
        [("kicked", false), ("grant-expired", false), ("place-lost", true), ("consent-lost", true)]
    {
        let (mut stage, _) = Stage::inside(Vec::new());
        let heard = stage.notice(NoticeBody::Ended { code: code.into(), message: "so".into() });
        assert_eq!(heard, [json!({"type": "ended", "code": code, "message": "so", "rejoin": rejoin})]);
    }
}

#[test]
fn a_message_that_is_not_the_schema_names_the_field() {
    let long = "x".repeat(200);
    let cases = [
        (json!([]), ""),
        (json!({"type": "join", "room": "a"}), "/id"),
        (json!({"id": -1, "type": "stats"}), "/id"),
        (json!({"id": 1}), "/type"),
        (json!({"id": 1, "type": "dance"}), "/type"),
        (json!({"id": 1, "type": "join", "name": "x"}), "/room"),
        (json!({"id": 1, "type": "join", "room": long, "name": "x"}), "/room"),
        (json!({"id": 1, "type": "join", "room": "a\nb", "name": "x"}), "/room"),
        (json!({"id": 1, "type": "join", "room": "a", "name": 7}), "/name"),
        (json!({"id": 1, "type": "join", "room": "a", "token": {}}), "/token"),
        (json!({"id": 1, "type": "join", "room": "a", "attrs": []}), "/attrs"),
        (json!({"id": 1, "type": "join", "room": "a", "attrs": {"a/b": 1}}), "/attrs/a~1b"),
        (json!({"id": 1, "type": "offer", "tracks": []}), "/sdp"),
        (json!({"id": 1, "type": "offer", "sdp": "", "tracks": [{"mid": "0"}]}), "/tracks/0/source"),
        (json!({"id": 1, "type": "pause", "producer": "7"}), "/producer"),
        (json!({"id": 1, "type": "layers", "producer": 7, "spatial": 256}), "/spatial"),
        (json!({"id": 1, "type": "layers", "producer": 7, "spatial": 1, "temporal": "x"}), "/temporal"),
    ];
    for (message, field) in cases {
        let Err(Unreadable { problem, .. }) = read(&message.to_string()) else { panic!("{message}") };
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some(field)), "{message}");
    }
    assert!(read("{").is_err() && read("").is_err() && read(&"[".repeat(100_000)).is_err());
}

#[test]
fn a_token_is_in_nothing_that_could_be_logged() {
    let mut stage = Stage::outside();
    let message =
        read(r#"{"id":1,"type":"join","room":"a","name":"b","token":"sesame-123"}"#).expect("a join");
    let resume = read(r#"{"id":1,"type":"resume","resume":"sesame-123"}"#).expect("a resume");
    assert!(!format!("{message:?}{resume:?}").contains("sesame"));
    stage.session.on_message(message);
    let output = stage.session.take_output();
    assert!(!format!("{output:?}{:?}", stage.session).contains("sesame"));
}

#[test]
fn a_host_that_stops_asks_its_people_back_however_the_news_reaches_them() {
    let (mut stage, _) = Stage::inside(Vec::new());
    let body = NoticeBody::Ended { code: HOST_STOPPING.to_owned(), message: "the host stops".to_owned() };
    assert_eq!(stage.notice(body)[0]["rejoin"], true);
}
