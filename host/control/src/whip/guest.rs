//! A session's client that lives in the host: says what a browser would say over its WebSocket, and waits for the
//! answers. Knows nothing of HTTP and SDP.

use crate::problem::Problem;
use crate::session::{self, ClientMessage, Heard, HostMessage, Numbered, OkBody, Sessions, ToSocket};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long one answer may take: policies and shards have their own, shorter bounds.
const PATIENCE: Duration = Duration::from_secs(5);

/// One client. Dropping it leaves the room.
#[derive(Debug)]
pub(super) struct Guest {
    to_session: mpsc::Sender<Box<Heard>>,
    from_session: mpsc::Receiver<ToSocket>,
    last_id: u64,
}

impl Guest {
    /// Begins a session; nobody has joined with it yet.
    pub(super) fn new(sessions: &Arc<Sessions>, address: IpAddr) -> Result<Self, Problem> {
        let (to_session, from_session) = session::begin(sessions, address)?;
        Ok(Self { to_session, from_session, last_id: 0 })
    }

    /// Asks one thing and waits for its answer; what else is said meanwhile is of no use to HTTP.
    pub(super) async fn ask(&mut self, body: ClientMessage) -> Result<OkBody, Problem> {
        self.last_id += 1;
        let asked = self.last_id;
        let answered = async {
            self.to_session.send(Box::new(Ok(Numbered { id: asked, body }))).await.map_err(|_| over())?;
            loop {
                let said = match self.from_session.recv().await.ok_or_else(over)? {
                    ToSocket::Say(said) => *said,
                    ToSocket::Close(..) => return Err(over()),
                };
                match said {
                    HostMessage::Ok { id, body } if id == asked => return Ok(body),
                    HostMessage::Error { id: Some(id), problem } if id == asked => return Err(problem),
                    HostMessage::Ended { code, message, .. } => {
                        return Err(Problem::unavailable(&code, message));
                    }
                    _ => {}
                }
            }
        };
        let late = |_| Problem::unavailable("no-answer", "the host did not answer in time");
        tokio::time::timeout(PATIENCE, answered).await.map_err(late)?
    }

    /// Resolves once the session is over; reads away what it says until then.
    pub(super) async fn over(&mut self) {
        while let Some(ToSocket::Say(_)) = self.from_session.recv().await {}
    }

    /// Leaves, and waits until that is done.
    pub(super) async fn leave(mut self) {
        // Whoever leaves is let go, whatever is answered.
        let _ = self.ask(ClientMessage::Leave).await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.last_id += 1;
        let leave = Numbered { id: self.last_id, body: ClientMessage::Leave };
        // Where the session is over nobody hears it; else there is room, since questions go one at a time.
        let _ = self.to_session.try_send(Box::new(Ok(leave)));
    }
}

fn over() -> Problem {
    Problem::unavailable("session-over", "the session ended before it answered")
}
