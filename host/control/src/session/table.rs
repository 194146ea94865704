//! All sessions alive: makes them, finds them, hands them what the directory says. Knows nothing of sockets.

use super::drive::{Attachment, drive};
use super::machine::{Numbers, Session};
use crate::chance;
use crate::config::Limits;
use crate::count::Counters;
use crate::limit::Buckets;
use crate::operations::{FromDirectory, ToDirectory};
use crate::problem::Problem;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_types::request::ClientId;
use tokio::sync::{mpsc, watch};

/// Every session, and what they share.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(super) limits: Limits,
    pub(super) joins: Arc<Buckets>,
    pub(super) counters: Arc<Counters>,
    pub(super) to_directory: mpsc::Sender<ToDirectory>,
    /// Set once, when the host stops, to what people are told.
    pub(super) stop: watch::Receiver<Option<String>>,
    numbers: Numbers,
    last_client: AtomicU64,
    alive: Mutex<BTreeMap<ClientId, Alive>>,
}

/// The outside of one session's task.
#[derive(Debug)]
struct Alive {
    secret: String,
    inbox: mpsc::Sender<Box<FromDirectory>>,
    attach: mpsc::Sender<Attachment>,
}

impl Sessions {
    pub(crate) fn new(
        limits: Limits,
        joins: Arc<Buckets>,
        counters: Arc<Counters>,
        to_directory: mpsc::Sender<ToDirectory>,
        stop: watch::Receiver<Option<String>>,
        numbers: Numbers,
    ) -> Arc<Self> {
        let alive = Mutex::default();
        let last_client = AtomicU64::new(0);
        Arc::new(Self { limits, joins, counters, to_directory, stop, numbers, last_client, alive })
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Begins a session on a socket.
    pub(crate) fn begin(self: &Arc<Self>, address: IpAddr, attachment: Attachment) -> Result<(), Problem> {
        let client = ClientId(self.last_client.fetch_add(1, Ordering::Relaxed) + 1);
        let secret = chance::hexadecimal(&chance::bytes::<16>());
        let (inbox, from_directory) = mpsc::channel(self.limits.session_queue.max(1));
        let (attach, attachments) = mpsc::channel(1);
        let mut alive = self.lock();
        if alive.len() >= self.limits.sessions as usize {
            let detail = format!("this host holds {} sessions, which is its bound", self.limits.sessions);
            return Err(Problem::unavailable("host-full", detail));
        }
        let resume = format!("{:x}.{secret}", client.0);
        alive.insert(client, Alive { secret, inbox, attach });
        drop(alive);
        let session = Session::new(client, Some(address), resume, self.numbers.clone());
        let drive =
            drive(Arc::clone(self), client, address, session, from_directory, attachments, attachment);
        tokio::spawn(drive);
        Ok(())
    }

    /// Gives a socket to the session that this key belongs to; the socket comes back where there is none.
    pub(crate) fn resume(&self, key: &str, attachment: Attachment) -> Result<(), Attachment> {
        let found = key.split_once('.').and_then(|(client, secret)| {
            let client = ClientId(u64::from_str_radix(client, 16).ok()?);
            let alive = self.lock();
            let session = alive.get(&client)?;
            chance::same_secret(secret, &session.secret).then(|| session.attach.clone())
        });
        let Some(attach) = found else { return Err(attachment) };
        attach.try_send(attachment).map_err(|error| match error {
            mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back) => back,
        })
    }

    /// Hands over what the directory said. A session whose queue is full loses its queue, which ends it.
    pub(crate) fn deliver(&self, message: FromDirectory) {
        let client = message.client();
        let mut alive = self.lock();
        let Some(session) = alive.get(&client) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = session.inbox.try_send(Box::new(message)) {
            alive.remove(&client);
            self.counters.overflowed.add();
        }
    }

    pub(super) fn remove(&self, client: ClientId) {
        self.lock().remove(&client);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ClientId, Alive>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
