//! One WebSocket: reads messages, finds or begins their session, writes what it says, notices when it dies.
//! Knows nothing of what the messages mean beyond `join` and `resume`.

use super::drive::{Attachment, Heard, ToSocket, close, stopped};
use super::message::{ClientMessage, HostMessage, Numbered, Unreadable, read};
use super::table::Sessions;
use crate::limit::Counted;
use crate::problem::Problem;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use axum::http::StatusCode;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often the peer is asked for a sign of life; more often notices a dead one sooner and wakes phones.
const PING: Duration = Duration::from_secs(10);
/// A socket that is silent for so long is dead.
const SILENCE: Duration = Duration::from_secs(25);
/// A write that takes so long has nobody at its other end.
const WRITE: Duration = Duration::from_secs(10);
/// How long a peer may take to answer a goodbye.
const GOODBYE: Duration = Duration::from_millis(300);
/// How many messages are read ahead of the session.
const READ_AHEAD: usize = 16;
/// How often a socket may say something else before `join` or `resume`.
const FALSE_STARTS: usize = 8;

const _: () = assert!(SILENCE.as_secs() > 2 * PING.as_secs());

type Reader = SplitStream<WebSocket>;
type Writer = SplitSink<WebSocket, Message>;

/// Serves a socket until it breaks or its session ends.
pub(crate) async fn serve(sessions: Arc<Sessions>, address: IpAddr, socket: WebSocket, place: Counted) {
    let (mut writer, mut reader) = socket.split();
    let mut stop = sessions.stop.clone();
    let first = tokio::select! {
        first = tokio::time::timeout(sessions.limits.first_message, first(&sessions, address, &mut reader, &mut writer)) => first,
        _ = stopped(&mut stop) => {
            shut(&mut writer, close::GOING_AWAY, "the host stops").await;
            return;
        }
    };
    match first {
        Ok(Some((hear, say))) => pump(reader, writer, hear, say, &sessions).await,
        Ok(None) => shut(&mut writer, close::NORMAL, "nothing to do").await,
        Err(_) => shut(&mut writer, close::TRY_AGAIN, "join or resume first").await,
    }
    drop(place);
}

/// Reads until the socket has a session: the socket's ends of its queues, or nothing if there will be none.
async fn first(
    sessions: &Arc<Sessions>,
    address: IpAddr,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Option<(mpsc::Sender<Box<Heard>>, mpsc::Receiver<ToSocket>)> {
    for _ in 0..FALSE_STARTS {
        let (id, problem) = match hear(reader).await? {
            Ok(Numbered { id, body: ClientMessage::Resume(key) }) => {
                let (attachment, hear, say) = queues(sessions, Some(id));
                match sessions.resume(key.expose(), attachment) {
                    Ok(()) => return Some((hear, say)),
                    Err(_) => (Some(id), no_session(sessions, address)),
                }
            }
            Ok(message) if matches!(message.body, ClientMessage::Join(_)) => {
                let (attachment, hear, say) = queues(sessions, None);
                let id = message.id;
                // The queue is empty: there is room.
                let _ = hear.try_send(Box::new(Ok(message)));
                match sessions.begin(address, attachment) {
                    Ok(()) => return Some((hear, say)),
                    Err(problem) => (Some(id), problem),
                }
            }
            Ok(Numbered { id, .. }) => {
                (Some(id), Problem::new(StatusCode::UNAUTHORIZED, "no-session", "join or resume first"))
            }
            Err(Unreadable { id, problem }) => {
                sessions.counters.messages_unreadable.add();
                (id, problem)
            }
        };
        write(writer, HostMessage::Error { id, problem }.to_text()).await?;
    }
    None
}

/// Guessing keys costs what joining costs.
fn no_session(sessions: &Sessions, address: IpAddr) -> Problem {
    if sessions.joins.take(address, Instant::now()) {
        return Problem::gone("session-gone", "that session is over; join anew");
    }
    sessions.counters.joins_bounded.add();
    Problem::too_many("too-many-joins", format!("resumptions are bounded to {}", sessions.joins.bound()))
}

/// Begins a session for a client that is no socket: its ends of the two queues.
pub(crate) fn begin(
    sessions: &Arc<Sessions>,
    address: IpAddr,
) -> Result<(mpsc::Sender<Box<Heard>>, mpsc::Receiver<ToSocket>), Problem> {
    let (attachment, hear, say) = queues(sessions, None);
    sessions.begin(address, attachment)?;
    Ok((hear, say))
}

/// What waits in them is boxed: a queue has room for 32 from its beginning, and most of it stays empty.
fn queues(
    sessions: &Sessions,
    resumed: Option<u64>,
) -> (Attachment, mpsc::Sender<Box<Heard>>, mpsc::Receiver<ToSocket>) {
    let (hear, heard) = mpsc::channel(READ_AHEAD);
    let (say, said) = mpsc::channel(sessions.limits.socket_queue.max(1));
    (Attachment { resumed, heard, say }, hear, said)
}

/// Carries messages both ways until either side ends. Reading waits for the session, so a client that floods
/// fills its own TCP window.
async fn pump(
    mut reader: Reader,
    mut writer: Writer,
    to_session: mpsc::Sender<Box<Heard>>,
    mut from_session: mpsc::Receiver<ToSocket>,
    sessions: &Sessions,
) {
    let reading = async {
        while let Ok(Some(heard)) = tokio::time::timeout(SILENCE, hear_or_sign(&mut reader)).await {
            let Some(heard) = heard else { continue };
            sessions.counters.messages.add();
            if to_session.send(Box::new(heard)).await.is_err() {
                // The session is over. What still comes is read away until the peer closes too: unread bytes
                // would make the kernel reset the connection, and the last words could be lost.
                while reader.next().await.is_some_and(|message| message.is_ok()) {}
                return;
            }
        }
    };
    let writing = async {
        let mut ping = tokio::time::interval(PING);
        ping.tick().await;
        loop {
            let sent = tokio::select! {
                message = from_session.recv() => match message {
                    Some(ToSocket::Say(message)) => write(&mut writer, message.to_text()).await,
                    Some(ToSocket::Close(code, reason)) => return shut(&mut writer, code, reason).await,
                    None => return shut(&mut writer, close::TRY_AGAIN, "messages were not read in time").await,
                },
                _ = ping.tick() => send(&mut writer, Message::Ping(Vec::new().into())).await,
            };
            if sent.is_none() {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

/// The next message; `None` once the socket is at its end.
async fn hear(reader: &mut Reader) -> Option<Heard> {
    loop {
        if let Some(heard) = hear_or_sign(reader).await? {
            return Some(heard);
        }
    }
}

/// The next message, or an inner `None` for a sign of life without one.
async fn hear_or_sign(reader: &mut Reader) -> Option<Option<Heard>> {
    match reader.next().await?.ok()? {
        Message::Text(text) => Some(Some(read(text.as_str()))),
        Message::Binary(_) => {
            let problem = Problem::schema("", "messages are JSON in text frames");
            Some(Some(Err(Unreadable { id: None, problem })))
        }
        Message::Ping(_) | Message::Pong(_) => Some(None),
        Message::Close(_) => None,
    }
}

async fn write(writer: &mut Writer, text: String) -> Option<()> {
    send(writer, Message::Text(Utf8Bytes::from(text))).await
}

async fn send(writer: &mut Writer, message: Message) -> Option<()> {
    tokio::time::timeout(WRITE, writer.send(message)).await.ok()?.ok()
}

/// Says goodbye and leaves the peer a moment to do so too.
async fn shut(writer: &mut Writer, code: u16, reason: &'static str) {
    let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
    if send(writer, Message::Close(Some(frame))).await.is_some() {
        tokio::time::sleep(GOODBYE).await;
    }
}
