//! Somebody who joins a running host as a browser does, on its caller's thread: a WebSocket session, a browser's offer,
//! ICE and DTLS over UDP. Knows nothing of policies, nor of what is measured.

use serde_json::{Value, json};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use tidegate_load::Answer;
use tidegate_media::association::AssociationConfig;
use tidegate_media::peer::Peer;
use tidegate_types::transport::IceCredentials;
use tidegate_types::{Now, NtpTime, Secret};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// A browser that shows its camera in three encodings and speaks.
const OFFER: &str = include_str!("../../host/control/fixtures/chromium-publish.sdp");
/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the peer waits for a datagram before it looks at its timers.
const LOOK: Duration = Duration::from_millis(10);
/// The largest datagram that is read.
const DATAGRAM_BYTES: usize = 2_048;

/// Somebody inside.
pub struct Visitor {
    socket: WebSocket<TcpStream>,
    asked: u64,
    /// Held for as long as the person is inside.
    _media: UdpSocket,
}

/// Why the host let nobody in: the code that it gave.
pub type Refused = String;

impl Visitor {
    /// From the first byte until the host, too, says that media may flow.
    ///
    /// # Errors
    /// The host refused: on a machine that is busy a policy may be late.
    pub fn join(address: SocketAddr, association: &AssociationConfig, token: &str) -> Result<Self, Refused> {
        let mut session = Session::open(address);
        session.ask(json!({ "type": "join", "room": "hello", "name": "Ada Lovelace", "token": token }))?;
        let tracks = json!([{ "mid": "0", "source": "microphone" }, { "mid": "1", "source": "camera" }]);
        let offer = offer(association);
        let answered = session.ask(json!({ "type": "offer", "sdp": offer, "tracks": tracks }))?;
        let answer = Answer::read(answered["sdp"].as_str().unwrap_or_default()).expect("an answer");
        let media = connect(&answer, address, association);
        session.until_connected();
        Ok(Self { socket: session.socket, asked: session.asked, _media: media })
    }

    /// Says so, and waits until the host has closed the session.
    pub fn leave(self) {
        let mut session = Session { socket: self.socket, asked: self.asked };
        session.ask(json!({ "type": "leave" })).expect("whoever is inside may leave");
        while session.socket.read().is_ok() {}
    }
}

/// What the host says of the policies in force.
pub fn policies(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("the host listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an open socket");
    let request = format!("GET /api/v1/policies HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it takes the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// The open socket, and how many requests went through it.
struct Session {
    socket: WebSocket<TcpStream>,
    asked: u64,
}

impl Session {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the host listens");
        stream.set_nodelay(true).expect("an open socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("an open socket");
        let (socket, _) =
            tungstenite::client(format!("ws://{address}/session"), stream).expect("a WebSocket");
        Self { socket, asked: 0 }
    }

    /// Asks and waits for the answer; what the host tells meanwhile is passed over.
    fn ask(&mut self, mut request: Value) -> Result<Value, Refused> {
        self.asked += 1;
        request["id"] = self.asked.into();
        self.socket.send(Message::text(request.to_string())).expect("the session is open");
        loop {
            let message = self.read();
            if message["id"] != self.asked {
                continue;
            }
            return match message["type"].as_str() {
                Some("ok") => Ok(message),
                _ => Err(message["code"].as_str().unwrap_or_default().to_owned()),
            };
        }
    }

    /// Until the host sees its end of the transport connected.
    fn until_connected(&mut self) {
        loop {
            let message = self.read();
            if message["type"] == "transport" && message["state"] == "connected" {
                return;
            }
        }
    }

    fn read(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().expect("the session stays open") {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }
}

/// What the browser offered, with this certificate's fingerprint.
fn offer(association: &AssociationConfig) -> String {
    let (name, own) = ("a=fingerprint:sha-256 ", association.identity.fingerprint().to_sdp());
    let line = |line: &str| if line.starts_with(name) { format!("{name}{own}") } else { line.to_owned() };
    OFFER.lines().map(|text| line(text) + "\r\n").collect()
}

fn credentials() -> IceCredentials {
    let value = |name: &str| OFFER.lines().find_map(|line| line.strip_prefix(name)).expect("credentials");
    IceCredentials {
        ufrag: value("a=ice-ufrag:").to_owned(),
        password: Secret::new(value("a=ice-pwd:").to_owned()),
    }
}

/// ICE and DTLS, until media may flow as far as the peer knows.
fn connect(answer: &Answer, session: SocketAddr, association: &AssociationConfig) -> UdpSocket {
    let engine = answer.engine(session.ip()).expect("a candidate");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.connect(engine).expect("a way to the host");
    socket.set_read_timeout(Some(LOOK)).expect("an open socket");
    let began = Instant::now();
    let mut peer = Peer::with_credentials(association, credentials(), now());
    peer.meet(&answer.local, engine, now());
    let mut datagram = [0; DATAGRAM_BYTES];
    while !peer.is_connected() {
        peer.timeout(now());
        flush(&mut peer, &socket);
        match socket.recv(&mut datagram) {
            Ok(length) => {
                peer.receive(now(), &mut datagram[..length]);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(began.elapsed() < PATIENCE, "no handshake takes that long");
    }
    // Its last flight, by which the host knows it, too.
    flush(&mut peer, &socket);
    socket
}

fn flush(peer: &mut Peer, socket: &UdpSocket) {
    let out = peer.output();
    for head in out.heads() {
        socket.send(out.bytes(head)).expect("the way to the host is open");
    }
    out.clear();
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: NtpTime::default() }
}
