//! Stories over real sockets on loopback: a front door, a directory that does as told, and clients.

use crate::{
    Asset, Control, ControlConfig, FromDirectory, Limits, Operations, StartError, Tls, TlsFiles, ToDirectory,
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_types::decision::{BreakerState, Decision, DecisionRecord, Grant, OnFailure, PolicyInfo};
use tidegate_types::request::{
    ClientId, Dump, ErrorKind, Joined, Notice, NoticeBody, PersonDump, PersonView, Reauthorized, Reply,
    ReplyBody, Request, RequestBody, RequestError, RoomDump,
};
use tidegate_types::transport::{Fingerprint, IceCredentials, LocalTransport, TransportState};
use tidegate_types::{PersonId, Place, RequestNumber, RouterId, Secret, TransportId};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long a story waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

static PAGES: [Asset; 2] = [
    Asset { path: "/index.html", mime: "text/html; charset=utf-8", bytes: b"<p>a room" },
    Asset { path: "/console.html", mime: "text/html; charset=utf-8", bytes: b"<p>a console" },
];

struct Host;

impl Operations for Host {
    fn policies(&self) -> Vec<PolicyInfo> {
        vec![PolicyInfo {
            decision: Decision::Authorize,
            position: 1,
            generation: 1,
            since_unix_ms: 1_000,
            breaker: BreakerState::Closed,
            on_failure: OnFailure::Refuse,
            previous: None,
            shadow: None,
            name: "auth-open".into(),
            version: "1.0.0".into(),
            digest: "ab".repeat(32),
            origin: "stock".into(),
            calls: 3,
            failures: vec![("trap".into(), 1)],
            latency_p50_ns: 1_000,
            latency_p99_ns: 9_000,
        }]
    }

    fn decisions(&self, limit: usize) -> Vec<DecisionRecord> {
        let record = DecisionRecord {
            number: RequestNumber(1),
            unix_ms: 1_000,
            decision: Decision::Authorize,
            digest: "ab".repeat(32),
            by: vec![],
            trouble: None,
            question: r#"{"action":"join"}"#.into(),
            outcome: "deadline".into(),
            failure: None,
            waited_ns: 1,
            latency_ns: 2,
            lookups: vec![],
        };
        vec![record; limit.min(3)]
    }

    fn metrics(&self) -> String {
        "tidegate_shards 2".into()
    }

    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A front door with a directory behind it that lets everyone in but bearers of the token `expired`, and
/// grants admin to the token `policy-says-yes`.
struct House {
    control: Arc<Control>,
    gone: Arc<Mutex<Vec<ClientId>>>,
    /// The directory answers nothing while set.
    mute: Arc<std::sync::atomic::AtomicBool>,
}

impl House {
    async fn open(change: impl FnOnce(&mut ControlConfig)) -> Self {
        let mut config = ControlConfig::new((Ipv4Addr::LOCALHOST, 0).into(), &PAGES);
        config.limits = Limits { joins_burst: 1_000, ..Limits::default() };
        change(&mut config);
        let (to_directory, mut asked) = mpsc::channel(64);
        let control =
            Arc::new(Control::start(config, to_directory, Arc::new(Host)).await.expect("an open door"));
        let (gone, mute) =
            (Arc::<Mutex<Vec<ClientId>>>::default(), Arc::<std::sync::atomic::AtomicBool>::default());
        let house = Self { control: Arc::clone(&control), gone: Arc::clone(&gone), mute: Arc::clone(&mute) };
        tokio::spawn(async move {
            while let Some(message) = asked.recv().await {
                match message {
                    ToDirectory::ClientGone(client) => gone.lock().expect("a list").push(client),
                    ToDirectory::Request(_) if mute.load(std::sync::atomic::Ordering::Relaxed) => {}
                    ToDirectory::Request(request) => {
                        let reply = Reply {
                            number: request.number,
                            client: request.client,
                            result: answer(&request),
                        };
                        control.deliver(FromDirectory::Reply(reply));
                    }
                }
            }
        });
        house
    }

    fn address(&self) -> SocketAddr {
        self.control.local_addr()
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.address(), path, &[("Host", &self.address().to_string())]).await
    }

    async fn get_with(&self, path: &str, name: &str, value: &str) -> Answer {
        get(self.address(), path, &[("Host", &self.address().to_string()), (name, value)]).await
    }

    async fn act(&self, method: &str, path: &str) -> Answer {
        let stream = TcpStream::connect(self.address()).await.expect("a connection");
        request_as(method, stream, path, &[("Host", &self.address().to_string())]).await
    }

    async fn socket(&self) -> Client<TcpStream> {
        connect(self.address(), self.address(), &[]).await.expect("a socket")
    }

    /// A socket and what its join was answered.
    async fn join(&self) -> (Client<TcpStream>, Value) {
        let mut client = self.socket().await;
        let entered = client.ask(json!({"type": "join", "room": "blue", "name": "me"})).await;
        (client, entered)
    }
}

fn answer(request: &Request) -> Result<ReplyBody, RequestError> {
    match &request.body {
        RequestBody::Join(join) if join.token.expose() == "expired" => {
            Err(RequestError::new(ErrorKind::Refused, "token-expired", "your invitation has expired"))
        }
        RequestBody::Join(join) => Ok(ReplyBody::Joined(Box::new(joined(request.client, &join.room)))),
        RequestBody::AuthorizeAdmin { token, .. } if token.expose() == "policy-says-yes" => {
            Ok(ReplyBody::Done)
        }
        RequestBody::AuthorizeAdmin { .. } => Err(RequestError::new(ErrorKind::Refused, "not-admin", "no")),
        RequestBody::Dump => Ok(ReplyBody::Dump(Box::new(dump()))),
        RequestBody::ReadStats { .. } => Ok(ReplyBody::Stats(Box::default())),
        RequestBody::Reauthorize { person: PersonId(7) } => {
            let grant = Box::new(Grant { data: false, ..Grant::open() });
            Ok(ReplyBody::Reauthorized(Reauthorized::Stays(grant)))
        }
        RequestBody::Reauthorize { person: PersonId(8) } => {
            let (code, message) = ("pass-expired".into(), "It has expired.".into());
            Ok(ReplyBody::Reauthorized(Reauthorized::Ended { code, message }))
        }
        RequestBody::EndPerson { person: PersonId(7), message } if message == "Closing time." => {
            Ok(ReplyBody::Done)
        }
        RequestBody::Reauthorize { .. } | RequestBody::EndPerson { .. } => {
            Err(RequestError::new(ErrorKind::Missing, "no-such-person", "nobody"))
        }
        _ => Ok(ReplyBody::Done),
    }
}

fn joined(client: ClientId, room: &str) -> Joined {
    let ice = IceCredentials { ufrag: "abcd".into(), password: Secret::new("0123456789012345678901") };
    Joined {
        person: PersonId(client.0),
        name: "me".into(),
        room: room.into(),
        router: RouterId(1),
        transport: TransportId(client.0),
        place: Place::local(0),
        local: LocalTransport { ice, candidates: Vec::new(), fingerprint: Fingerprint([1; 32]) },
        grant: Grant::open(),
        people: Vec::new(),
        tracks: Vec::new(),
    }
}

fn dump() -> Dump {
    let view = PersonView { person: PersonId(7), name: "Ada".into(), identity: None }.into();
    let person = PersonDump {
        view,
        grant: Grant { expires_unix_ms: Some(9), ..Grant::open() },
        place: Place::local(1),
        transport: TransportId(3),
        state: TransportState::Connected,
        tracks: Vec::new(),
        consumers: Vec::new(),
    };
    let room = RoomDump {
        room: "blue".into(),
        router: RouterId(1),
        since_unix_ms: 5,
        people: vec![person],
        speakers: Vec::new(),
    };
    Dump { rooms: vec![room], ..Dump::default() }
}

/// An HTTP answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn code(&self) -> String {
        assert!(self.head.contains("application/problem+json"), "{}", self.head);
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let stream = TcpStream::connect(address).await.expect("a connection");
    request(stream, path, headers).await
}

async fn request(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    request_as("GET", stream, path, headers).await
}

async fn request_as(
    method: &str,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect("in time")
        .expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A session's other end.
struct Client<S> {
    socket: WebSocketStream<S>,
    next_id: u64,
}

async fn connect(
    address: SocketAddr,
    host: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<Client<TcpStream>, SocketError> {
    let stream = TcpStream::connect(address).await?;
    over(stream, host, headers).await
}

async fn over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<Client<S>, SocketError> {
    let mut request = format!("ws://{host}/session").into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", "tidegate.v1".parse().expect("a header"));
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    let (socket, _) = client_async(request, stream).await?;
    Ok(Client { socket, next_id: 0 })
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn say(&mut self, mut message: Value) {
        self.next_id += 1;
        message["id"] = self.next_id.into();
        self.say_raw(&message.to_string()).await;
    }

    async fn say_raw(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("an open socket");
    }

    async fn hear(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("in time")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("JSON")),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The answer to a request; what comes before it is dropped.
    async fn ask(&mut self, message: Value) -> Value {
        self.say(message).await;
        loop {
            let heard = self.hear().await.expect("an answer");
            if heard["id"] == self.next_id {
                return heard;
            }
        }
    }

    /// The code that the socket is closed with.
    async fn closed(&mut self) -> Option<u16> {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("in time")? {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

fn refused_with(error: SocketError) -> (u16, String) {
    let SocketError::Http(response) = error else { panic!("{error}") };
    let body: Value =
        serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap_or_default();
    (response.status().as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
}

/// Waits for something that another task does.
async fn until(mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
}

#[tokio::test]
async fn the_page_is_served_with_its_guards_and_only_when_changed() {
    let house = House::open(|_| {}).await;
    let page = house.get("/").await;
    assert_eq!((page.status, page.body.as_str()), (200, "<p>a room"));
    assert!(
        page.header("content-security-policy")
            .is_some_and(|policy| policy.contains("frame-ancestors 'none'"))
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let tag = page.header("etag").expect("a tag");
    let again = house.get_with("/", "If-None-Match", tag).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(house.get("/console").await.body, "<p>a console");
    let missing = house.get("/nothing").await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "no-such-page"));
}

#[tokio::test]
async fn a_foreign_host_is_refused_everywhere() {
    let house = House::open(|config| config.public_hosts.push("meet.example".into())).await;
    for path in ["/", "/session", "/healthz", "/metrics", "/api/v1/rooms", "/nothing"] {
        let answer = get(house.address(), path, &[("Host", "evil.example")]).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "host-not-allowed"), "{path}");
    }
    assert_eq!(get(house.address(), "/", &[("Host", "meet.example")]).await.status, 200);
}

#[tokio::test]
async fn a_session_of_a_foreign_page_is_refused() {
    let house = House::open(|config| config.allowed_origins.push("https://app.example".into())).await;
    let address = house.address();
    let error =
        connect(address, address, &[("Origin", "https://evil.example")]).await.err().expect("refused");
    assert_eq!(refused_with(error), (403, "origin-not-allowed".into()));
    assert!(connect(address, address, &[("Origin", "https://app.example")]).await.is_ok());
    assert!(connect(address, address, &[("Origin", &format!("http://{address}"))]).await.is_ok());
    let plain = house.get("/session").await;
    assert_eq!((plain.status, plain.code().as_str()), (400, "not-a-websocket"));
}

#[tokio::test]
async fn a_person_joins_hears_and_leaves() {
    let house = House::open(|_| {}).await;
    let (mut client, entered) = house.join().await;
    assert_eq!((&entered["type"], &entered["person"]), (&json!("ok"), &json!(1)));
    let body = NoticeBody::PersonJoined(
        PersonView { person: PersonId(9), name: "Bea".into(), identity: None }.into(),
    );
    house.control.deliver(FromDirectory::Notice(Notice { client: ClientId(1), body }));
    assert_eq!(client.hear().await.expect("a notice")["name"], "Bea");
    assert!(client.ask(json!({"type": "stats"})).await["stats"].is_object());
    assert_eq!(client.ask(json!({"type": "leave"})).await["type"], "ok");
    assert_eq!(client.closed().await, Some(1000));
    until(|| *house.gone.lock().expect("a list") == [ClientId(1)]).await;
}

#[tokio::test]
async fn a_wrong_token_and_a_bad_schema_are_said_on_the_socket() {
    let house = House::open(|_| {}).await;
    let mut client = house.socket().await;
    client.say_raw("{").await;
    let heard = client.hear().await.expect("an error");
    assert_eq!((&heard["status"], &heard["id"]), (&json!(400), &Value::Null));
    let heard = client.ask(json!({"type": "join", "name": "me"})).await;
    assert_eq!((&heard["status"], &heard["field"]), (&json!(400), &json!("/room")));
    let heard = client.ask(json!({"type": "stats"})).await;
    assert_eq!((&heard["status"], &heard["code"]), (&json!(401), &json!("no-session")));
    let heard = client.ask(json!({"type": "join", "room": "a", "name": "me", "token": "expired"})).await;
    assert_eq!((&heard["status"], &heard["code"]), (&json!(403), &json!("token-expired")));
    assert_eq!(heard["detail"], "your invitation has expired");
    assert_eq!(client.ask(json!({"type": "join", "room": "a", "name": "me"})).await["type"], "ok");
}

#[tokio::test]
async fn a_broken_socket_can_be_resumed_and_a_wrong_key_cannot() {
    let house = House::open(|_| {}).await;
    let (client, entered) = house.join().await;
    let key = entered["resume"].as_str().expect("a key").to_owned();
    drop(client);
    let mut second = house.socket().await;
    let mut wrong = key.clone();
    wrong.replace_range(key.len() - 1.., if key.ends_with('0') { "1" } else { "0" });
    for bad in [wrong.as_str(), "", "1", "1.", "zz.00", "999.00"] {
        let heard = second.ask(json!({"type": "resume", "resume": bad})).await;
        assert_eq!((&heard["status"], &heard["code"]), (&json!(404), &json!("session-gone")), "{bad}");
    }
    let heard = second.ask(json!({"type": "resume", "resume": key})).await;
    assert_eq!((&heard["person"], &heard["resume"]), (&entered["person"], &entered["resume"]));
    let mut third = house.socket().await;
    assert_eq!(third.ask(json!({"type": "resume", "resume": key})).await["type"], "ok");
    assert_eq!(second.closed().await, Some(4001), "the newer socket takes over");
    assert!(house.gone.lock().expect("a list").is_empty());
}

#[tokio::test]
async fn a_session_whose_client_stays_away_ends() {
    let house = House::open(|config| config.limits.kept = Duration::from_millis(30)).await;
    let (client, entered) = house.join().await;
    drop(client);
    until(|| *house.gone.lock().expect("a list") == [ClientId(1)]).await;
    let heard = house.socket().await.ask(json!({"type": "resume", "resume": entered["resume"]})).await;
    assert_eq!(heard["code"], "session-gone");
}

#[tokio::test]
async fn joins_and_sockets_of_one_address_are_bounded_and_say_so() {
    let bounded = |config: &mut ControlConfig| {
        config.limits.joins_burst = 2;
        config.limits.joins_per_s = 0;
        config.limits.sockets_per_address = 3;
    };
    let house = House::open(bounded).await;
    let _first = house.join().await;
    let _second = house.join().await;
    let (mut third, heard) = house.join().await;
    assert_eq!((&heard["status"], &heard["code"]), (&json!(429), &json!("too-many-joins")));
    assert!(heard["detail"].as_str().is_some_and(|detail| detail.contains("2 at once")), "{heard}");
    let heard = third.ask(json!({"type": "resume", "resume": "1.guess"})).await;
    assert_eq!(heard["status"], 409, "that socket has a session already");
    let error = connect(house.address(), house.address(), &[]).await.err().expect("refused");
    assert_eq!(refused_with(error), (429, "too-many-sockets".into()));
    let stream = TcpSocket::new_v4().expect("a socket");
    stream.bind("127.0.0.2:0".parse().expect("an address")).expect("bound");
    let other =
        over(stream.connect(house.address()).await.expect("a connection"), house.address(), &[]).await;
    let heard = other.expect("a socket").ask(json!({"type": "join", "room": "a", "name": "b"})).await;
    assert_eq!(heard["type"], "ok", "another address has its own bounds");
}

#[tokio::test]
async fn messages_of_one_session_are_bounded_and_say_so() {
    let bounded = |config: &mut ControlConfig| {
        config.limits.messages_burst = 3;
        config.limits.messages_per_s = 0;
    };
    let house = House::open(bounded).await;
    let (mut client, _) = house.join().await;
    for _ in 0..2 {
        assert_eq!(client.ask(json!({"type": "stats"})).await["type"], "ok");
    }
    let heard = client.ask(json!({"type": "stats"})).await;
    assert_eq!((&heard["status"], &heard["code"]), (&json!(429), &json!("too-many-messages")));
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_closed() {
    let house = House::open(|config| config.limits.first_message = Duration::from_millis(30)).await;
    assert_eq!(house.socket().await.closed().await, Some(1013));
}

#[tokio::test]
async fn a_session_that_does_not_keep_up_ends_with_a_reason() {
    let house = House::open(|config| config.limits.session_queue = 4).await;
    let (mut client, _) = house.join().await;
    // One thread runs all of this test's tasks: the session's cannot run until this loop is done.
    for producer in 0..20 {
        let body = NoticeBody::TrackPaused { producer: tidegate_types::ProducerId(producer), paused: true };
        house.control.deliver(FromDirectory::Notice(Notice { client: ClientId(1), body }));
    }
    let mut last = Value::Null;
    while let Some(heard) = client.hear().await {
        last = heard;
    }
    assert_eq!((&last["type"], &last["code"]), (&json!("ended"), &json!("too-slow")));
    until(|| *house.gone.lock().expect("a list") == [ClientId(1)]).await;
}

#[tokio::test]
async fn stopping_tells_everyone_to_come_back_within_a_second() {
    let house = House::open(|_| {}).await;
    let (mut client, _) = house.join().await;
    let mut idle = house.socket().await;
    let stopped = std::time::Instant::now();
    let stop = house.control.stop("the host is being updated");
    let told = async {
        let ended = client.hear().await.expect("a goodbye");
        assert_eq!(
            ended,
            json!({"type": "ended", "code": "host-stopping", "message": "the host is being updated", "rejoin": true})
        );
        assert_eq!(client.closed().await, Some(1001));
        assert_eq!(idle.closed().await, Some(1001));
    };
    tokio::join!(stop, told);
    assert!(stopped.elapsed() < Duration::from_millis(1_500), "{:?}", stopped.elapsed());
    assert!(TcpStream::connect(house.address()).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn operators_have_authorize_asked_again_and_end_sessions() {
    let house = House::open(|_| {}).await;
    let stays = house.act("POST", "/api/v1/people/7/reauthorize").await.json();
    assert_eq!((&stays["inside"], &stays["grant"]["data"]), (&json!(true), &json!(false)));
    let ended = house.act("POST", "/api/v1/people/8/reauthorize").await.json();
    assert_eq!((&ended["inside"], &ended["code"]), (&json!(false), &json!("pass-expired")));
    assert_eq!(house.act("POST", "/api/v1/people/9/reauthorize").await.status, 404);
    assert_eq!(house.act("DELETE", "/api/v1/people/7?reason=Closing%20time.").await.status, 204);
    assert_eq!(house.act("DELETE", "/api/v1/people/9").await.status, 404);
    let long = "x".repeat(257);
    for bad in ["", "two%0Alines", &long] {
        let answer = house.act("DELETE", &format!("/api/v1/people/7?reason={bad}")).await;
        assert_eq!(answer.json()["field"], "reason", "{bad}");
    }
    let people = house.get("/api/v1/people").await.json();
    assert_eq!(people["people"][0]["grant"]["expires_unix_ms"], 9);
}

#[tokio::test]
async fn operators_read_what_exists_as_json() {
    let house = House::open(|_| {}).await;
    assert_eq!(house.get("/api/v1/rooms").await.json()["rooms"][0]["people"], 1);
    let people = house.get("/api/v1/people").await.json();
    assert_eq!(people["people"][0]["place"], json!({"node": 0, "shard": 1}));
    assert_eq!(people["people"][0]["state"], "connected");
    for list in ["tracks", "places", "relays", "wishes"] {
        assert!(house.get(&format!("/api/v1/{list}")).await.json()[list].is_array(), "{list}");
    }
    let policy = &house.get("/api/v1/policies").await.json()["policies"][0];
    assert_eq!((&policy["name"], &policy["failures"]["trap"]), (&json!("auth-open"), &json!(1)));
    let decisions = house.get("/api/v1/decisions?limit=2").await.json();
    assert_eq!(decisions["decisions"].as_array().map(Vec::len), Some(2));
    assert_eq!(decisions["decisions"][0]["question"]["action"], "join");
    assert_eq!(decisions["decisions"][0]["outcome"], "deadline");
    for bad in ["0", "1001", "x", ""] {
        let answer = house.get(&format!("/api/v1/decisions?limit={bad}")).await;
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!("limit")), "{bad}");
    }
    assert!(house.get("/api/v1/openapi.json").await.json()["paths"]["/api/v1/rooms"].is_object());
    assert_eq!(house.get("/healthz").await.body, "ok\n");
    let metrics = house.get("/metrics").await.body;
    assert!(
        metrics.contains("tidegate_shards 2\n") && metrics.contains("\ntidegate_sessions 0\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_directory_that_does_not_answer_costs_an_operator_a_second() {
    let house = House::open(|_| {}).await;
    house.mute.store(true, std::sync::atomic::Ordering::Relaxed);
    let answer = house.get("/api/v1/rooms").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "no-answer"));
    assert_eq!(house.get("/api/v1/policies").await.status, 200);
}

#[tokio::test]
async fn with_an_admin_token_only_its_bearer_is_answered() {
    let house = House::open(|config| config.admin_token = Some(Secret::new("let-me-in"))).await;
    for path in ["/metrics", "/api/v1/rooms", "/api/v1/openapi.json"] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert_eq!(house.get_with(path, "Authorization", "Bearer let-me-i").await.status, 403, "{path}");
        assert_eq!(house.get_with(path, "Authorization", "Bearer let-me-in").await.status, 200, "{path}");
        assert_eq!(
            house.get_with(path, "Authorization", "Bearer policy-says-yes").await.status,
            200,
            "{path}"
        );
    }
    assert_eq!(house.get("/console").await.status, 200, "its files hold no secret");
}

#[tokio::test]
async fn without_an_admin_token_only_this_machine_is_answered() {
    let house = House::open(|_| {}).await;
    assert_eq!(house.get("/api/v1/rooms").await.status, 200);
    for path in ["/metrics", "/api/v1/rooms", "/console"] {
        let proxied = house.get_with(path, "X-Forwarded-For", "192.0.2.1").await;
        assert_eq!((proxied.status, proxied.code().as_str()), (403, "loopback-only"), "{path}");
    }
    let foreign = house.get_with("/api/v1/rooms", "Origin", "https://evil.example").await;
    assert_eq!(foreign.code(), "origin-not-allowed");
}

#[tokio::test]
async fn a_port_in_use_and_an_unreadable_certificate_say_what_to_do() {
    let house = House::open(|_| {}).await;
    let start = |config| {
        let (to_directory, _asked) = mpsc::channel(1);
        Control::start(config, to_directory, Arc::new(Host))
    };
    let error = start(ControlConfig::new(house.address(), &PAGES)).await.expect_err("in use").to_string();
    assert!(error.contains(&house.address().to_string()) && error.contains("another"), "{error}");
    let files = TlsFiles { certificate: "/nowhere/cert.pem".into(), key: "/nowhere/key.pem".into() };
    let mut config = ControlConfig::new((Ipv4Addr::LOCALHOST, 0).into(), &PAGES);
    config.tls = Some(Tls::Files(files));
    let error = start(config).await.expect_err("no file");
    assert!(matches!(&error, StartError::Tls { file, .. } if file == "/nowhere/cert.pem"), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
}

#[tokio::test]
async fn with_a_certificate_pages_and_sessions_go_over_tls() {
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
    let folder = std::env::temp_dir().join(format!("tidegate-control-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let files = TlsFiles { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    std::fs::write(&files.certificate, made.cert.pem()).expect("written");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    let house = House::open(|config| {
        config.tls = Some(Tls::Files(files));
        config.limits.handshake = Duration::from_millis(50);
    })
    .await;
    std::fs::remove_dir_all(&folder).expect("removed");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("localhost").expect("a name");
    let mut silent = TcpStream::connect(house.address()).await.expect("a connection");
    let stream = TcpStream::connect(house.address()).await.expect("a connection");
    let stream = connector.connect(name.clone(), stream).await.expect("a handshake");
    assert_eq!(request(stream, "/", &[("Host", "localhost")]).await.body, "<p>a room");
    let stream = TcpStream::connect(house.address()).await.expect("a connection");
    let stream = connector.connect(name, stream).await.expect("a handshake");
    let mut client = over(stream, house.address(), &[]).await.expect("a socket");
    assert_eq!(client.ask(json!({"type": "join", "room": "a", "name": "b"})).await["type"], "ok");
    let closed = tokio::time::timeout(PATIENCE, silent.read(&mut [0; 8])).await.expect("in time");
    assert!(matches!(closed, Ok(0) | Err(_)), "who doesn't shake hands is closed");
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let house = House::open(|config| config.limits.connections_per_address = 1).await;
    let _held = house.socket().await;
    let mut extra = TcpStream::connect(house.address()).await.expect("the kernel accepts");
    let closed = tokio::time::timeout(PATIENCE, extra.read(&mut [0; 8])).await.expect("in time");
    assert!(matches!(closed, Ok(0) | Err(_)));
    assert_eq!(IpAddr::from(Ipv4Addr::LOCALHOST), house.address().ip());
}
