//! Stories of WHIP and WHEP over real HTTP on loopback, before a directory that does as told.

use crate::config::Limits;
use crate::sdp::fixtures::{NO_VP8, PUBLISH, RECEIVE, with_direction};
use crate::{Control, ControlConfig, FromDirectory, Operations, ToDirectory};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_types::decision::{DecisionRecord, Grant, PolicyInfo};
use tidegate_types::producer::ProducerParameters;
use tidegate_types::request::{
    ClientId, ErrorKind, Joined, Notice, NoticeBody, PersonView, Reply, ReplyBody, Request, RequestBody,
    RequestError, TrackView,
};
use tidegate_types::rtp::{Codec, CodecParameters, RtpParameters};
use tidegate_types::transport::{Fingerprint, IceCredentials, LocalTransport};
use tidegate_types::{ConsumerId, MediaKind, PersonId, Place, ProducerId, RouterId, Secret, TransportId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(10);
const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");
/// As the fixtures' own.
const TRICKLE: &str = "a=ice-ufrag:4ZcD\r\na=ice-pwd:2/1muCWoOi3uLifh0NuRHlig\r\nm=audio 9 X 0\r\na=mid:0\r\na=end-of-candidates\r\n";
const NEW: &str = "a=ice-ufrag:9xYz\r\na=ice-pwd:AAAAAAAAAAAAAAAAAAAAAAAA\r\nm=audio 9 X 0\r\na=mid:0\r\n";

struct Host;

impl Operations for Host {
    fn policies(&self) -> Vec<PolicyInfo> {
        Vec::new()
    }
    fn decisions(&self, _limit: usize) -> Vec<DecisionRecord> {
        Vec::new()
    }
    fn metrics(&self) -> String {
        String::new()
    }
    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A front door, and what its directory was asked.
struct House {
    control: Arc<Control>,
    asked: Arc<Mutex<Vec<Request>>>,
    refuse_restarts: Arc<AtomicBool>,
}

impl House {
    async fn open(change: impl FnOnce(&mut ControlConfig)) -> Self {
        let mut config = ControlConfig::new((Ipv4Addr::LOCALHOST, 0).into(), &[]);
        config.limits = Limits { joins_burst: 1_000, ..Limits::default() };
        change(&mut config);
        let (to_directory, mut requests) = mpsc::channel(64);
        let control =
            Arc::new(Control::start(config, to_directory, Arc::new(Host)).await.expect("an open door"));
        let house =
            Self { control: Arc::clone(&control), asked: Arc::default(), refuse_restarts: Arc::default() };
        let (asked, refuses) = (Arc::clone(&house.asked), Arc::clone(&house.refuse_restarts));
        tokio::spawn(async move {
            while let Some(message) = requests.recv().await {
                let ToDirectory::Request(request) = message else { continue };
                let restarts = matches!(request.body, RequestBody::RestartIce { .. });
                let result = if restarts && refuses.load(Ordering::Relaxed) {
                    Err(RequestError::new(ErrorKind::Full, "too-busy", "not now"))
                } else {
                    answer(&request)
                };
                let (number, client) = (request.number, request.client);
                asked.lock().expect("a list").push(request);
                control.deliver(FromDirectory::Reply(Reply { number, client, result }));
            }
        });
        house
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        send(self.control.local_addr(), method, path, headers, body).await
    }

    async fn post(&self, path: &str, offer: &str) -> Answer {
        self.send("POST", path, &[SDP], offer).await
    }

    /// A resource's path and tag.
    async fn publish(&self) -> (String, String) {
        let made = self.post("/whip/blue", PUBLISH).await;
        assert_eq!(made.status, 201, "{}", made.body);
        (made.header("location").to_owned(), made.header("etag").to_owned())
    }

    async fn patch(&self, path: &str, if_match: &str, body: &str) -> Answer {
        self.send("PATCH", path, &[FRAGMENT, ("If-Match", if_match)], body).await
    }

    /// The names of all requests so far.
    fn asked(&self) -> Vec<&'static str> {
        self.asked.lock().expect("a list").iter().map(|request| name(&request.body)).collect()
    }

    /// What producers and consumers were asked for: a source, or a producer's number.
    fn tracks(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("a list");
        let told = |request: &Request| match &request.body {
            RequestBody::Produce { source, .. } => Some(source.clone()),
            RequestBody::Consume { producer, .. } => Some(producer.to_string()),
            _ => None,
        };
        asked.iter().filter_map(told).collect()
    }

    async fn until(&self, done: impl Fn(&[&'static str]) -> bool) {
        let waiting = async {
            while !done(&self.asked()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    }
}

fn name(body: &RequestBody) -> &'static str {
    match body {
        RequestBody::Join(_) => "join",
        RequestBody::Leave { .. } => "leave",
        RequestBody::Connect { .. } => "connect",
        RequestBody::RestartIce { .. } => "restart",
        RequestBody::Produce { .. } => "produce",
        RequestBody::Consume { .. } => "consume",
        _ => "other",
    }
}

fn answer(request: &Request) -> Result<ReplyBody, RequestError> {
    let refused = |code: &str| Err(RequestError::new(ErrorKind::Refused, code, "the policy says no"));
    Ok(match &request.body {
        RequestBody::Join(join) if join.token.expose() == "expired" => return refused("token-expired"),
        RequestBody::Join(join) if join.room == "closed" => return refused("token-missing"),
        RequestBody::Join(join) => ReplyBody::Joined(Box::new(joined(request.client, &join.room))),
        RequestBody::Produce { parameters, .. } => {
            ReplyBody::Producer(ProducerId(100 + parameters.kind as u64))
        }
        RequestBody::Consume { producer, .. } => ReplyBody::Consumer(ConsumerId(producer.0 + 1_000), false),
        RequestBody::RestartIce { .. } => ReplyBody::Transport(local("restarted")),
        _ => ReplyBody::Done,
    })
}

fn local(ufrag: &str) -> LocalTransport {
    let ice = IceCredentials { ufrag: ufrag.into(), password: Secret::new("0123456789012345678901") };
    LocalTransport { ice, candidates: Vec::new(), fingerprint: Fingerprint([1; 32]) }
}

/// Bob only speaks, in track 4; Ada shows 6 and speaks in 5. Nobody is in the room `empty`.
fn joined(client: ClientId, room: &str) -> Joined {
    let person = |person, name: &str| {
        PersonView { person: PersonId(person), name: name.into(), identity: None }.into()
    };
    let tracks = vec![
        track(4, 90, Codec::Opus),
        track(5, 91, Codec::Opus),
        track(6, 91, Codec::Vp8),
        track(7, 92, Codec::Vp8),
    ];
    let mut grant = Grant::open();
    grant.publish = room != "audience";
    Joined {
        person: PersonId(client.0),
        name: "me".into(),
        room: room.into(),
        router: RouterId(1),
        transport: TransportId(client.0),
        place: Place::local(0),
        local: local("first"),
        grant,
        people: vec![person(90, "Bob"), person(91, "Ada"), person(92, "Eve")],
        tracks: if room == "empty" { Vec::new() } else { tracks },
    }
}

fn track(producer: u64, person: u64, codec: Codec) -> TrackView {
    let kind = if codec == Codec::Opus { MediaKind::Audio } else { MediaKind::Video };
    let codec = CodecParameters {
        codec,
        format: String::new(),
        payload_type: 96,
        rtx_payload_type: None,
        nack: true,
        pli: true,
        transport_cc: true,
    };
    let rtp = RtpParameters {
        mid: None,
        codecs: vec![codec],
        extensions: Vec::new(),
        encodings: Vec::new(),
        cname: "x".into(),
        reduced_size_rtcp: true,
    };
    TrackView {
        producer: ProducerId(producer),
        person: PersonId(person),
        source: "camera".into(),
        paused: false,
        parameters: ProducerParameters { kind, rtp },
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let found = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    /// Status, code, and whether the detail contains the words.
    fn is_problem(&self, status: u16, code: &str, words: &str) {
        assert!(self.head.contains("application/problem+json"), "{} {}", self.head, self.body);
        let problem: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{problem}");
    }
}

async fn send(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(to).await.expect("a connection");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer));
    read.await.expect("in time").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

#[tokio::test]
async fn a_publisher_is_inside_until_it_deletes_its_resource() {
    let house = House::open(|_| {}).await;
    let made = house.post("/whip/blue?name=Studio%201", PUBLISH).await;
    assert_eq!((made.status, made.header("content-type")), (201, "application/sdp"), "{}", made.body);
    assert_eq!(made.header("accept-patch"), "application/trickle-ice-sdpfrag");
    assert!(made.header("etag").starts_with('"'));
    assert!(made.body.contains("a=ice-ufrag:first") && made.body.contains("a=recvonly"), "{}", made.body);
    assert_eq!(house.asked(), ["join", "connect", "produce", "produce"], "nothing is consumed");
    assert_eq!(house.tracks(), ["microphone", "camera"]);
    {
        let asked = house.asked.lock().expect("a list");
        let RequestBody::Join(join) = &asked[0].body else { panic!("a join") };
        assert_eq!((join.room.as_str(), join.name.as_str()), ("blue", "Studio 1"));
        assert_eq!((join.attrs[0].name.as_str(), join.attrs[0].value.as_str()), ("door", "whip"));
        assert!(join.told_by_ceiling, "an encoder hears no messages");
    }
    let path = made.header("location");
    assert!(path.len() > "/resource/".len() + 30, "{path}");
    assert_eq!(house.send("DELETE", path, &[], "").await.status, 200);
    assert_eq!(house.asked().last(), Some(&"leave"), "gone when it is said to be");
    house.send("DELETE", path, &[], "").await.is_problem(410, "resource-gone", "POST");
    house.patch(path, "*", NEW).await.is_problem(410, "resource-gone", "POST");
    house.send("DELETE", "/resource/0123", &[], "").await.is_problem(404, "no-such-resource", "POST");
}

#[tokio::test]
async fn trickling_needs_the_tag_and_a_restart_the_star() {
    let house = House::open(|_| {}).await;
    let (path, tag) = house.publish().await;
    let plain = house.send("PATCH", &path, &[FRAGMENT], TRICKLE).await;
    plain.is_problem(428, "if-match-missing", "If-Match");
    house.patch(&path, "\"other\"", TRICKLE).await.is_problem(412, "another-ice-session", "If-Match");
    house.patch(&path, &format!("W/{tag}"), TRICKLE).await.is_problem(412, "another-ice-session", "");
    for current in [tag.clone(), format!("\"other\", {tag}"), "*".into()] {
        assert_eq!(house.patch(&path, &current, TRICKLE).await.status, 204, "{current}");
    }
    assert!(!house.asked().contains(&"restart"));
    let restarted = house.patch(&path, "*", NEW).await;
    assert_eq!((restarted.status, restarted.header("content-type")), (200, FRAGMENT.1), "{}", restarted.body);
    assert!(restarted.body.contains("a=ice-ufrag:restarted\r\n"), "{}", restarted.body);
    assert!(restarted.body.contains("a=end-of-candidates"), "{}", restarted.body);
    assert_eq!(house.asked()[4..], ["restart", "connect"], "tracks outlive it");
    let newer = restarted.header("etag");
    assert_ne!(newer, tag);
    house.patch(&path, &tag, TRICKLE).await.is_problem(412, "another-ice-session", "");
    let noted = house.patch(&path, newer, NEW).await;
    assert_eq!(
        (noted.status, noted.head.contains("etag: ")),
        (204, false),
        "only a new ICE session has a new tag"
    );
    // New credentials are a restart whatever the precondition that holds.
    let again = house.patch(&path, newer, TRICKLE).await;
    assert_eq!((again.status, again.header("etag") == newer), (200, false), "{}", again.body);
}

#[tokio::test]
async fn a_player_gets_what_it_asks_for_and_no_more() {
    let house = House::open(|_| {}).await;
    for (path, consumed) in [
        ("/whep/blue", &["producer-5", "producer-6"][..]),
        ("/whep/blue/Eve", &["producer-7"]),
        ("/whep/blue/person-90", &["producer-4"]),
        ("/whep/blue/producer-7", &["producer-7"]),
    ] {
        house.asked.lock().expect("a list").clear();
        let made = house.post(path, RECEIVE).await;
        assert_eq!(made.status, 201, "{path}: {}", made.body);
        let mut tracks = house.tracks();
        tracks.sort();
        assert_eq!(tracks, consumed, "{path}");
        assert_eq!(made.body.matches("a=sendonly").count(), consumed.len(), "{}", made.body);
        assert_eq!(house.send("DELETE", made.header("location"), &[], "").await.status, 200);
    }
    for path in ["/whep/empty", "/whep/blue/Nobody", "/whep/blue/producer-99"] {
        house.asked.lock().expect("a list").clear();
        let nothing = house.post(path, RECEIVE).await;
        nothing.is_problem(409, "nothing-to-play", "look again");
        assert_eq!(nothing.header("retry-after"), "2");
        house.until(|asked| asked.ends_with(&["leave"])).await;
    }
}

#[tokio::test]
async fn an_offer_that_cannot_be_served_is_refused_by_its_line() {
    let house = House::open(|config| config.limits.resources_per_address = 2).await;
    let unmuxed = PUBLISH.replace("a=rtcp-mux\r\n", "");
    let deaf = NO_VP8.replace("H264/90000", "H999/90000");
    let codecless = with_direction(&with_direction(&deaf, "0", "sendonly"), "1", "sendonly");
    let three = with_direction(&with_direction(PUBLISH, "3", "sendonly"), "4", "sendonly");
    for (path, offer, status, code, words) in [
        ("/whip/blue", "hello", 400, "sdp-unfit", "SDP"),
        ("/whip/blue", unmuxed.as_str(), 422, "sdp-unfit", "a=rtcp-mux"),
        ("/whip/blue", RECEIVE, 422, "nothing-sent", "a=sendonly"),
        ("/whip/blue", codecless.as_str(), 406, "codec-missing", "section 1"),
        ("/whip/blue", three.as_str(), 422, "too-many-tracks", "section 4"),
        ("/whip/audience", PUBLISH, 403, "not-granted", "publish"),
        ("/whep/blue", codecless.as_str(), 422, "nothing-received", "a=recvonly"),
        ("/whep/blue/Eve", deaf.as_str(), 406, "codec-missing", "codecs"),
        ("/whip/%01", PUBLISH, 400, "not-the-schema", "/room"),
        ("/whip/%ff", PUBLISH, 400, "not-the-schema", "UTF-8"),
        ("/whip/blue?name=%07", PUBLISH, 400, "not-the-schema", "/name"),
    ] {
        house.post(path, offer).await.is_problem(status, code, words);
    }
    let text = house.send("POST", "/whip/blue", &[("Content-Type", "text/plain")], PUBLISH).await;
    text.is_problem(415, "wrong-media-type", SDP.1);
    assert_eq!(text.header("accept-post"), SDP.1);
    let large = format!("{PUBLISH}{}", "a=x\r\n".repeat(60_000));
    house.post("/whip/blue", &large).await.is_problem(413, "body-unreadable", "bytes");
    let (first, _) = house.publish().await;
    house.publish().await;
    house.post("/whip/blue", PUBLISH).await.is_problem(429, "too-many-resources", "2");
    assert_eq!(house.send("DELETE", &first, &[], "").await.status, 200);
    house.until(|asked| asked.contains(&"leave")).await;
}

/// Existence, then the token, then the body, then the precondition, then what is asked.
#[tokio::test]
async fn a_patch_is_refused_for_its_first_reason() {
    let house = House::open(|_| {}).await;
    let bearing = ("Authorization", "Bearer sesame");
    let made = house.send("POST", "/whip/blue", &[SDP, bearing], PUBLISH).await;
    let path = made.header("location");
    let text = ("Content-Type", "text/plain");
    house.send("PATCH", "/resource/0123", &[], "hello").await.is_problem(404, "no-such-resource", "POST");
    house.send("PATCH", path, &[text], "hello").await.is_problem(401, "token-missing", "Bearer");
    let wrong = house.send("PATCH", path, &[text, bearing], TRICKLE).await;
    wrong.is_problem(415, "wrong-media-type", FRAGMENT.1);
    assert_eq!(wrong.header("accept-patch"), FRAGMENT.1);
    for body in ["", "a=ice-ufrag:x", "hello"] {
        let sent = house.send("PATCH", path, &[FRAGMENT, bearing], body).await;
        sent.is_problem(400, "fragment-unfit", "");
    }
    for (if_match, status, code) in
        [(None, 428, "if-match-missing"), (Some("\"other\""), 412, "another-ice-session")]
    {
        let condition = if_match.map(|tag| ("If-Match", tag));
        let headers: Vec<_> = [FRAGMENT, bearing].into_iter().chain(condition).collect();
        house.send("PATCH", path, &headers, NEW).await.is_problem(status, code, "");
    }
    assert_eq!(house.send("DELETE", path, &[bearing], "").await.status, 200);
    house.send("PATCH", path, &[], "hello").await.is_problem(410, "resource-gone", "POST");
}

#[tokio::test]
async fn methods_without_a_meaning_are_refused_and_who_reads_finds_nothing() {
    let house = House::open(|_| {}).await;
    let (path, _) = house.publish().await;
    for path in ["/whip/blue", "/whep/blue", "/whep/blue/Ada", &path] {
        let nothing = house.send("GET", path, &[], "").await;
        assert_eq!((nothing.status, nothing.body.as_str()), (204, ""), "{path}");
    }
    house.send("GET", "/resource/0123", &[], "").await.is_problem(404, "no-such-resource", "POST");
    for (path, methods, allowed) in [
        ("/whip/blue", &["PUT", "DELETE", "PATCH"][..], "POST"),
        ("/whep/blue", &["PUT", "DELETE", "PATCH"], "POST"),
        ("/whep/blue/Ada", &["PUT"], "POST"),
        (&path, &["PUT", "POST"], "DELETE"),
    ] {
        for method in methods {
            let refused = house.send(method, path, &[], "").await;
            refused.is_problem(405, "method-not-allowed", "");
            assert!(refused.header("allow").contains(allowed), "{method} {path}: {}", refused.head);
        }
    }
}

/// What goes on is worth more than what was asked for (RFC 9725, section 4.3.3).
#[tokio::test]
async fn a_restart_that_fails_leaves_the_resource_as_it_is() {
    let house = House::open(|_| {}).await;
    let (path, tag) = house.publish().await;
    house.refuse_restarts.store(true, Ordering::Relaxed);
    let failed = house.patch(&path, "*", NEW).await;
    failed.is_problem(503, "too-busy", "");
    assert_eq!(failed.header("retry-after"), "1");
    assert_eq!(house.patch(&path, &tag, TRICKLE).await.status, 204, "the old ICE session stands");
    house.refuse_restarts.store(false, Ordering::Relaxed);
    assert_eq!(house.patch(&path, "*", NEW).await.status, 200);
}

#[tokio::test]
async fn a_token_is_needed_where_the_policy_or_the_resource_asks_for_one() {
    let house = House::open(|_| {}).await;
    let bearing = |token| ("Authorization", token);
    let closed = house.post("/whip/closed", PUBLISH).await;
    closed.is_problem(401, "token-missing", "no");
    assert_eq!(closed.header("www-authenticate"), "Bearer");
    let late = house.send("POST", "/whip/blue", &[SDP, bearing("Bearer expired")], PUBLISH).await;
    late.is_problem(403, "token-expired", "no");
    let made = house.send("POST", "/whip/blue", &[SDP, bearing("Bearer sesame")], PUBLISH).await;
    let path = made.header("location");
    house.send("DELETE", path, &[], "").await.is_problem(401, "token-missing", "Bearer");
    house.send("DELETE", path, &[bearing("Bearer other")], "").await.is_problem(401, "token-missing", "");
    assert_eq!(house.send("DELETE", path, &[bearing("Bearer sesame")], "").await.status, 200);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_use_it_and_others_may_not() {
    let house = House::open(|config| config.allowed_origins.push("https://app.example".into())).await;
    let foreign = house.send("POST", "/whip/blue", &[SDP, ("Origin", "https://evil.example")], PUBLISH).await;
    foreign.is_problem(403, "origin-not-allowed", "evil");
    let origin = ("Origin", "https://app.example");
    let asked = house.send("OPTIONS", "/whip/blue", &[origin], "").await;
    assert_eq!((asked.status, asked.header("accept-post")), (200, "application/sdp"));
    assert!(asked.header("access-control-allow-headers").contains("Authorization"));
    let made = house.send("POST", "/whip/blue", &[SDP, origin], PUBLISH).await;
    assert_eq!(made.header("access-control-allow-origin"), origin.1);
    assert!(made.header("access-control-expose-headers").contains("Location"));
    let asked = house.send("OPTIONS", made.header("location"), &[origin], "").await;
    assert!(asked.header("access-control-allow-methods").contains("PATCH"));
}

#[tokio::test]
async fn a_resource_ends_with_its_presence() {
    let house = House::open(|_| {}).await;
    let (path, tag) = house.publish().await;
    let client = house.asked.lock().expect("a list")[0].client;
    let body = NoticeBody::Ended { code: "consent-lost".into(), message: "gone".into() };
    house.control.deliver(FromDirectory::Notice(Notice { client, body }));
    let waiting = async {
        while house.patch(&path, &tag, TRICKLE).await.status != 410 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    let (path, _) = house.publish().await;
    house.control.stop("until later").await;
    assert!(TcpStream::connect(house.control.local_addr()).await.is_err(), "{path} is gone with its host");
}
