//! Drives one session's machine: a task that feeds it from its socket and the directory and carries out what it
//! wants. Knows nothing of HTTP; a socket is two queues.

use super::machine::{Output, Session};
use super::message::{ClientMessage, HostMessage, Numbered, Unreadable};
use super::table::Sessions;
use crate::limit::Bucket;
use crate::operations::{FromDirectory, ToDirectory};
use crate::problem::Problem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tidegate_types::request::{ClientId, HOST_STOPPING};
use tokio::sync::mpsc;

/// What a socket's reader understood, or didn't.
pub(crate) type Heard = Result<Numbered, Unreadable>;

/// What a socket's writer is to do.
#[derive(Debug)]
pub(crate) enum ToSocket {
    /// Send this.
    Say(Box<HostMessage>),
    /// Close with this code and reason.
    Close(u16, &'static str),
}

/// The session's end of a socket.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// The request number of the `resume` that brought it; `None` for a session's first socket.
    pub(crate) resumed: Option<u64>,
    /// From the socket, ends when it breaks.
    pub(crate) heard: mpsc::Receiver<Box<Heard>>,
    /// To the socket.
    pub(crate) say: mpsc::Sender<ToSocket>,
}

/// Close codes (RFC 6455, section 7.4.1; 4000 and up are ours).
pub(crate) mod close {
    pub(crate) const NORMAL: u16 = 1000;
    pub(crate) const GOING_AWAY: u16 = 1001;
    pub(crate) const TRY_AGAIN: u16 = 1013;
    pub(crate) const REPLACED: u16 = 4001;
}

/// A session's task.
struct Driver {
    sessions: Arc<Sessions>,
    address: IpAddr,
    session: Session,
    socket: Option<Attachment>,
    messages: Bucket,
    /// When a session without a socket ends.
    until: Option<tokio::time::Instant>,
    /// The directory has heard of this client.
    known: bool,
}

/// Runs a session from its first socket to its end.
pub(super) async fn drive(
    sessions: Arc<Sessions>,
    client: ClientId,
    address: IpAddr,
    session: Session,
    mut from_directory: mpsc::Receiver<Box<FromDirectory>>,
    mut attachments: mpsc::Receiver<Attachment>,
    first: Attachment,
) {
    let limits = sessions.limits;
    let messages = Bucket::new(limits.messages_burst, limits.messages_per_s, Instant::now());
    let mut stop = sessions.stop.clone();
    let socket = Some(first);
    let mut driver = Driver { sessions, address, session, socket, messages, until: None, known: false };
    loop {
        let until = driver.until.unwrap_or_else(tokio::time::Instant::now);
        tokio::select! {
            message = from_directory.recv() => driver.on_directory(message.map(|message| *message)),
            Some(attachment) = attachments.recv() => driver.attach(attachment),
            heard = hear(&mut driver.socket) => driver.on_heard(heard),
            () = tokio::time::sleep_until(until), if driver.until.is_some() => {
                driver.sessions.counters.expired.add();
                break;
            }
            message = stopped(&mut stop) => driver.session.on_ended(HOST_STOPPING, &message, true),
        }
        if !driver.flush().await {
            break;
        }
    }
    driver.sessions.remove(client);
    if driver.known {
        // A directory that is gone needs no farewell.
        let _ = driver.sessions.to_directory.send(ToDirectory::ClientGone(client)).await;
    }
}

/// The next message of a socket; never ends while there is none.
async fn hear(socket: &mut Option<Attachment>) -> Option<Heard> {
    match socket {
        Some(attachment) => attachment.heard.recv().await.map(|heard| *heard),
        None => std::future::pending().await,
    }
}

/// Resolves once the host stops, with what people are told.
pub(crate) async fn stopped(stop: &mut tokio::sync::watch::Receiver<Option<String>>) -> String {
    match stop.wait_for(Option::is_some).await {
        Ok(message) => message.clone().unwrap_or_default(),
        Err(_) => String::from("the host is gone"),
    }
}

impl Driver {
    fn on_directory(&mut self, message: Option<FromDirectory>) {
        match message {
            Some(FromDirectory::Reply(reply)) => self.session.on_reply(reply),
            Some(FromDirectory::Notice(notice)) => self.session.on_notice(notice),
            None => self.session.on_ended("too-slow", "this session did not keep up with its room", true),
        }
    }

    fn attach(&mut self, attachment: Attachment) {
        if let Some(old) = self.socket.take() {
            let _ = old.say.try_send(ToSocket::Close(close::REPLACED, "resumed on another socket"));
        }
        let resumed = attachment.resumed.unwrap_or_default();
        self.socket = Some(attachment);
        self.until = None;
        self.sessions.counters.resumed.add();
        self.session.on_resumed(resumed);
    }

    fn on_heard(&mut self, heard: Option<Heard>) {
        let now = Instant::now();
        match heard {
            None => self.detach(),
            Some(heard) if !self.messages.take(now) => self.refuse(&heard),
            Some(Err(unreadable)) => {
                self.sessions.counters.messages_unreadable.add();
                self.answer(unreadable.id, unreadable.problem);
            }
            Some(Ok(message)) if matches!(message.body, ClientMessage::Join(_)) => self.join(message, now),
            Some(Ok(message)) => self.session.on_message(message),
        }
    }

    fn refuse(&mut self, heard: &Heard) {
        self.sessions.counters.messages_bounded.add();
        let id = match heard {
            Ok(message) => Some(message.id),
            Err(unreadable) => unreadable.id,
        };
        let limits = &self.sessions.limits;
        let (burst, rate) = (limits.messages_burst, limits.messages_per_s);
        let detail = format!("a session sends at most {burst} messages at once and {rate} a second");
        self.answer(id, Problem::too_many("too-many-messages", detail));
    }

    fn join(&mut self, message: Numbered, now: Instant) {
        if self.sessions.joins.take(self.address, now) {
            self.sessions.counters.joins.add();
            self.session.on_message(message);
            return;
        }
        self.sessions.counters.joins_bounded.add();
        let detail = format!("joins are bounded to {}", self.sessions.joins.bound());
        self.answer(Some(message.id), Problem::too_many("too-many-joins", detail));
    }

    fn answer(&mut self, id: Option<u64>, problem: Problem) {
        self.say(HostMessage::Error { id, problem });
    }

    /// The socket broke: whoever is inside may come back for a while.
    fn detach(&mut self) {
        self.socket = None;
        self.session.on_detached();
        let kept =
            if self.session.is_inside() { self.sessions.limits.kept } else { std::time::Duration::ZERO };
        self.until = Some(tokio::time::Instant::now() + kept);
    }

    /// A socket whose queue is full is given up; its writer closes it when it finds the queue gone.
    fn say(&mut self, message: HostMessage) {
        let Some(socket) = &self.socket else { return };
        match socket.say.try_send(ToSocket::Say(Box::new(message))) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.sessions.counters.slow_sockets.add();
                self.detach();
            }
            Err(mpsc::error::TrySendError::Closed(_)) => self.detach(),
        }
    }

    /// Carries out what the machine wants; `false` once the session is over.
    async fn flush(&mut self) -> bool {
        let Output { messages, requests, over } = self.session.take_output();
        for message in messages {
            self.say(message);
        }
        for request in requests {
            self.known = true;
            if self.sessions.to_directory.send(ToDirectory::Request(request)).await.is_err() {
                self.say(HostMessage::Ended {
                    code: "host-failed".into(),
                    message: "the host is failing".into(),
                    rejoin: true,
                });
                return false;
            }
        }
        if over && let Some(socket) = &self.socket {
            let stopping = self.sessions.stop.borrow().is_some();
            let code = if stopping { close::GOING_AWAY } else { close::NORMAL };
            let _ = socket.say.try_send(ToSocket::Close(code, "the session is over"));
        }
        !over
    }
}
