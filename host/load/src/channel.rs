//! One WebSocket session's messages: numbered requests, their answers, and what the host tells by itself. Knows
//! nothing of what they mean.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_trust::Target;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// A host that takes longer to answer counts as broken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages told while an answer is awaited; beyond it the oldest is dropped.
const TOLD: usize = 4_096;
/// After how long a host that is busy may be asked again, where it names no time itself, and the most that is believed.
const BUSY_WAIT: Duration = Duration::from_secs(1);
const BUSY_WAIT_MOST: Duration = Duration::from_secs(10);
/// HTTP's status for it.
const BUSY: u16 = 503;

/// Why a session did not come about, or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    /// The host said no.
    #[error("refused: {0}")]
    Refused(String),
    /// The host is full or failing just now (503): its code, and after how long to ask again.
    #[error("busy: {0}")]
    Busy(String, Duration),
    /// The connection failed.
    #[error("{0}")]
    Broken(String),
    /// No answer in time.
    #[error("the host did not answer within {} s", PATIENCE.as_secs())]
    Late,
}

/// What a session's bytes go through: TCP, or TLS over it.
trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// One session's socket.
pub(crate) struct Channel {
    socket: WebSocketStream<Box<dyn Carrier>>,
    asked: u64,
    told: VecDeque<Value>,
}

impl Channel {
    /// Opens a session, from `source` where one is given, through `tls` where the host is served so.
    pub(crate) async fn open(
        target: &Target,
        tls: Option<&Arc<ClientConfig>>,
        source: Option<IpAddr>,
    ) -> Result<Self, SessionError> {
        tokio::time::timeout(PATIENCE, Self::connect(target, tls, source))
            .await
            .map_err(|_| SessionError::Late)?
    }

    async fn connect(
        target: &Target,
        tls: Option<&Arc<ClientConfig>>,
        source: Option<IpAddr>,
    ) -> Result<Self, SessionError> {
        let broken = |error: std::io::Error| SessionError::Broken(error.to_string());
        let socket = if target.address().is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(broken)?;
        if let Some(source) = source {
            socket.bind((source, 0).into()).map_err(broken)?;
        }
        let stream = socket.connect(target.address()).await.map_err(broken)?;
        let stream = match tls {
            Some(tls) => secured(stream, target.name(), tls).await?,
            None => Box::new(stream),
        };
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let mut request = format!("{scheme}://{}/session", target.authority())
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

async fn secured(
    stream: TcpStream,
    name: &str,
    tls: &Arc<ClientConfig>,
) -> Result<Box<dyn Carrier>, SessionError> {
    let name = ServerName::try_from(name.to_owned());
    let name = name.map_err(|error| SessionError::Broken(format!("TLS: {error}")))?;
    match TlsConnector::from(Arc::clone(tls)).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(SessionError::Broken(format!(
            "TLS: {error} (a certificate that no authority signed is believed by its --fingerprint, which a host with \
             --tls-self-signed prints, or with --insecure)"
        ))),
    }
}

/// What became of the upgrade.
fn handshake(error: tokio_tungstenite::tungstenite::Error) -> SessionError {
    match error {
        tokio_tungstenite::tungstenite::Error::Http(answer) => {
            let (status, after) = (answer.status().as_u16(), answer.headers().get("retry-after"));
            let code = format!("HTTP {status}");
            let after = after.and_then(|after| after.to_str().ok());
            if status == BUSY { SessionError::Busy(code, wait(after)) } else { SessionError::Refused(code) }
        }
        error => SessionError::Broken(error.to_string()),
    }
}

/// An `error`'s code.
fn refused(message: &Value) -> SessionError {
    let code = message["code"].as_str().unwrap_or("without a code").to_owned();
    let busy = message["status"].as_u64() == Some(BUSY.into());
    if busy { SessionError::Busy(code, BUSY_WAIT) } else { SessionError::Refused(code) }
}

/// What `Retry-After` says in seconds (RFC 9110, section 10.2.3), within bounds.
fn wait(after: Option<&str>) -> Duration {
    let told = after.and_then(|after| after.trim().parse().ok()).map(Duration::from_secs);
    told.unwrap_or(BUSY_WAIT).clamp(BUSY_WAIT, BUSY_WAIT_MOST)
}

#[cfg(test)]
mod tests {
    use super::{BUSY_WAIT, BUSY_WAIT_MOST, Duration, SessionError, refused, wait};
    use serde_json::json;

    #[test]
    fn a_busy_host_is_told_from_one_that_says_no() {
        let busy = refused(&json!({ "status": 503, "code": "authorize-deadline" }));
        assert_eq!(busy, SessionError::Busy("authorize-deadline".into(), BUSY_WAIT));
        let no = refused(&json!({ "status": 403, "code": "not-invited" }));
        assert_eq!(no, SessionError::Refused("not-invited".into()));
    }

    #[test]
    fn a_host_is_believed_when_to_ask_again_within_bounds() {
        assert_eq!(wait(Some("3")), Duration::from_secs(3));
        assert_eq!(wait(Some("0")), BUSY_WAIT);
        assert_eq!(wait(Some("86400")), BUSY_WAIT_MOST);
        assert_eq!(wait(Some("Wed, 21 Oct 2015 07:28:00 GMT")), BUSY_WAIT);
        assert_eq!(wait(None), BUSY_WAIT);
    }
}
