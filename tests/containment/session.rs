//! One person's WebSocket session, as `host/control/PROTOCOL.md` says. Knows nothing of media.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Nothing here takes long; a test that waits for more has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// What may wait to be read by the test.
const MESSAGES: usize = 1_024;

/// An open session. Its socket is read all the time, so that the host's pings are answered.
pub struct Session {
    said: mpsc::Receiver<Value>,
    say: mpsc::Sender<Value>,
    asked: u64,
}

/// The `error` to a request.
#[derive(Clone, Debug)]
pub struct Refused {
    pub status: u64,
    pub code: String,
    pub detail: String,
}

impl Session {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the host listens");
        let url = format!("ws://{address}/session");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
        let (to_test, said) = mpsc::channel(MESSAGES);
        let (say, from_test) = mpsc::channel(MESSAGES);
        tokio::spawn(carry(socket, to_test, from_test));
        Self { said, say, asked: 0 }
    }

    /// A session that asked to join, and what came of it.
    pub async fn join(address: SocketAddr, room: &str, name: &str) -> (Self, Result<Value, Refused>) {
        let mut session = Self::open(address).await;
        let joined = session.ask(json!({ "type": "join", "room": room, "name": name })).await;
        (session, joined)
    }

    /// Asks and waits for the answer; what the host tells meanwhile is dropped.
    pub async fn ask(&mut self, mut request: Value) -> Result<Value, Refused> {
        self.asked += 1;
        request["id"] = self.asked.into();
        self.say.send(request).await.expect("the socket is open");
        loop {
            let message = self.next().await;
            if message["id"] != self.asked {
                continue;
            }
            return if message["type"] == "ok" { Ok(message) } else { Err(refused(&message)) };
        }
    }

    /// Waits for a message that answers nothing.
    pub async fn told(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    async fn next(&mut self) -> Value {
        let message = tokio::time::timeout(PATIENCE, self.said.recv()).await;
        message.expect("the host answers in time").expect("the socket stays open")
    }
}

fn refused(message: &Value) -> Refused {
    let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    Refused { status: message["status"].as_u64().unwrap_or(0), code: text("code"), detail: text("detail") }
}

/// The socket's life.
async fn carry(
    mut socket: WebSocketStream<TcpStream>,
    to_test: mpsc::Sender<Value>,
    mut from_test: mpsc::Receiver<Value>,
) {
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    // A test that listens no more is told no more.
                    let _ = to_test.try_send(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            message = from_test.recv() => match message {
                Some(message) => {
                    if socket.send(Message::text(message.to_string())).await.is_err() {
                        return;
                    }
                }
                None => {
                    let _ = socket.close(None).await;
                    return;
                }
            },
        }
    }
}
