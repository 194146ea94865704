//! One WebSocket session's messages: numbered requests, their answers, and what the host tells by itself. Knows
//! nothing of what they mean.

use crate::target::Target;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// A host that takes longer to answer counts as broken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages told while an answer is awaited; beyond it the oldest is dropped.
const TOLD: usize = 4_096;

/// Why a session did not come about, or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    /// The host said no.
    #[error("refused: {0}")]
    Refused(String),
    /// The connection failed.
    #[error("{0}")]
    Broken(String),
    /// No answer in time.
    #[error("the host did not answer within {} s", PATIENCE.as_secs())]
    Late,
}

/// One session's socket.
pub(crate) struct Channel {
    socket: WebSocketStream<TcpStream>,
    asked: u64,
    told: VecDeque<Value>,
}

impl Channel {
    /// Opens a session, from `source` where one is given.
    pub(crate) async fn open(target: &Target, source: Option<IpAddr>) -> Result<Self, SessionError> {
        tokio::time::timeout(PATIENCE, Self::connect(target, source)).await.map_err(|_| SessionError::Late)?
    }

    async fn connect(target: &Target, source: Option<IpAddr>) -> Result<Self, SessionError> {
        let broken = |error: std::io::Error| SessionError::Broken(error.to_string());
        let socket = if target.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(broken)?;
        if let Some(source) = source {
            socket.bind((source, 0).into()).map_err(broken)?;
        }
        let stream = socket.connect(target.address).await.map_err(broken)?;
        let mut request = format!("ws://{}/session", target.authority)
            .into_client_request()
            .map_err(|error| SessionError::Broken(error.to_string()))?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("tidegate.v1"));
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(handshake)?;
        Ok(Self { socket, asked: 0, told: VecDeque::new() })
    }

    /// Asks and waits for the answer; what the host tells meanwhile is kept for [`Channel::told`].
    pub(crate) async fn ask(&mut self, request: Value) -> Result<Value, SessionError> {
        let answer = tokio::time::timeout(PATIENCE, self.ask_patiently(request)).await;
        answer.map_err(|_| SessionError::Late)?
    }

    async fn ask_patiently(&mut self, mut request: Value) -> Result<Value, SessionError> {
        self.asked += 1;
        request["id"] = self.asked.into();
        let sent = self.socket.send(Message::text(request.to_string())).await;
        sent.map_err(|error| SessionError::Broken(error.to_string()))?;
        loop {
            let message = self.read().await?;
            match (message["id"].as_u64(), message["type"].as_str()) {
                (Some(id), Some("ok")) if id == self.asked => return Ok(message),
                (Some(id), Some("error")) if id == self.asked => return Err(refused(&message)),
                _ => {
                    if self.told.len() >= TOLD {
                        self.told.pop_front();
                    }
                    self.told.push_back(message);
                }
            }
        }
    }

    /// The next thing that the host tells by itself.
    pub(crate) async fn told(&mut self) -> Result<Value, SessionError> {
        match self.told.pop_front() {
            Some(message) => Ok(message),
            None => self.read().await,
        }
    }

    /// Says goodbye, best effort.
    pub(crate) async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.socket.close(None)).await;
    }

    async fn read(&mut self) -> Result<Value, SessionError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text)
                        .map_err(|error| SessionError::Broken(format!("the host said no JSON: {error}")));
                }
                Some(Ok(Message::Close(_))) | None => {
                    return Err(SessionError::Broken("the host closed the session".to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(SessionError::Broken(error.to_string())),
            }
        }
    }
}

/// What became of the upgrade.
fn handshake(error: tokio_tungstenite::tungstenite::Error) -> SessionError {
    match error {
        tokio_tungstenite::tungstenite::Error::Http(answer) => {
            SessionError::Refused(format!("HTTP {}", answer.status().as_u16()))
        }
        error => SessionError::Broken(error.to_string()),
    }
}

/// An `error`'s code.
fn refused(message: &Value) -> SessionError {
    SessionError::Refused(message["code"].as_str().unwrap_or("without a code").to_owned())
}
