//! All WHIP and WHEP resources alive: makes them, finds them by their secret name, ends them with their session.
//! Knows nothing of HTTP.

use super::fragment::{self, Fragment};
use super::guest::Guest;
use crate::chance;
use crate::config::Limits;
use crate::limit::{Counted, Counts};
use crate::problem::Problem;
use crate::session::{ClientMessage, OfferMessage, OkBody};
use axum::http::StatusCode;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_types::Secret;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for one resource; then 429.
const WAITING: usize = 8;
/// How many ended resources are remembered as such (410); older ones never were (404).
const REMEMBERED: usize = 1_024;

/// A resource's name, hashed: looking it up tells nothing of how nearly right a guess was.
type Key = [u8; 32];

/// Every resource.
#[derive(Debug)]
pub(crate) struct Resources {
    places: Arc<Counts>,
    per_address: u32,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    alive: BTreeMap<Key, Desk>,
    gone: VecDeque<Key>,
}

/// The outside of one resource's task.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    /// Of the token that it was made with; whoever changes it shows the same (RFC 9725, section 4.5).
    token: Key,
    asks: mpsc::Sender<Ask>,
}

/// What a resource's task is asked.
#[derive(Debug)]
enum Ask {
    Patch { if_match: String, fragment: Fragment, answer: oneshot::Sender<Result<Patched, Problem>> },
    End(oneshot::Sender<()>),
}

/// What a PATCH led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Patched {
    /// Candidates, of which an ICE-lite host needs none.
    Noted,
    /// ICE restarted: the host's new side, and its entity tag.
    Restarted { fragment: String, tag: String },
}

/// A resource as its client is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// Unguessable.
    pub(super) name: String,
    /// Of its ICE session.
    pub(super) tag: String,
}

/// What a resource's task keeps.
struct Resource {
    guest: Guest,
    offer: OfferMessage,
    ufrag: String,
    tag: String,
}

impl Resources {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let places = Counts::new(limits.resources_per_address, limits.resources);
        Arc::new(Self { places, per_address: limits.resources_per_address, known: Mutex::default() })
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.lock().alive.len()
    }

    /// Room for one more, from this address.
    pub(super) fn admit(&self, address: IpAddr) -> Result<Counted, Problem> {
        self.places.enter(address).ok_or_else(|| {
            let detail = format!(
                "at most {} resources may stand from one address, and as many in all as the host is told",
                self.per_address
            );
            Problem::too_many("too-many-resources", detail)
        })
    }

    /// Keeps a guest whose offer was answered, until either side ends it.
    pub(super) fn keep(
        self: &Arc<Self>,
        guest: Guest,
        offer: OfferMessage,
        ufrag: String,
        token: &Secret,
        place: Counted,
    ) -> Made {
        let name = chance::hexadecimal(&chance::bytes::<16>());
        let key = chance::hash(name.as_bytes());
        let (asks, asked) = mpsc::channel(WAITING);
        let desk = Desk { token: chance::hash(token.expose().as_bytes()), asks };
        self.lock().alive.insert(key, desk);
        let tag = fresh_tag();
        let resource = Resource { guest, offer, ufrag, tag: tag.clone() };
        let resources = Arc::clone(self);
        tokio::spawn(async move {
            resource.run(asked).await;
            resources.forget(key);
            drop(place);
        });
        Made { name, tag }
    }

    /// Hands over what a PATCH brought.
    pub(super) async fn patch(
        &self,
        name: &str,
        token: &Secret,
        if_match: String,
        fragment: Fragment,
    ) -> Result<Patched, Problem> {
        let (answer, answered) = oneshot::channel();
        self.ask(name, token, Ask::Patch { if_match, fragment, answer })?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Ends one; its tracks and its person are gone when this is done.
    pub(super) async fn end(&self, name: &str, token: &Secret) -> Result<(), Problem> {
        let (answer, answered) = oneshot::channel();
        self.ask(name, token, Ask::End(answer))?;
        // If it ended by itself meanwhile, all the better.
        let _ = answered.await;
        Ok(())
    }

    /// Whether it stands, and may be changed with this token.
    pub(super) fn check(&self, name: &str, token: &Secret) -> Result<(), Problem> {
        self.desk(name, token).map(drop)
    }

    fn desk(&self, name: &str, token: &Secret) -> Result<Desk, Problem> {
        let desk = self.find(name)?;
        if desk.token == chance::hash(token.expose().as_bytes()) {
            return Ok(desk);
        }
        let detail = "show the token that this resource was made with: Authorization: Bearer …";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "token-missing", detail))
    }

    fn ask(&self, name: &str, token: &Secret, ask: Ask) -> Result<(), Problem> {
        self.desk(name, token)?.asks.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => gone(),
            mpsc::error::TrySendError::Full(_) => {
                let detail = format!("at most {WAITING} requests may wait for one resource");
                Problem::too_many("too-many-requests", detail)
            }
        })
    }

    /// One that stands, or why there is none.
    pub(super) fn find(&self, name: &str) -> Result<Desk, Problem> {
        let key = chance::hash(name.as_bytes());
        let known = self.lock();
        if let Some(desk) = known.alive.get(&key) {
            return Ok(desk.clone());
        }
        if known.gone.contains(&key) {
            return Err(gone());
        }
        Err(Problem::gone("no-such-resource", "there is no such resource; make one by POST"))
    }

    fn forget(&self, key: Key) {
        let mut known = self.lock();
        known.alive.remove(&key);
        if known.gone.len() >= REMEMBERED {
            known.gone.pop_front();
        }
        known.gone.push_back(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resource {
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        loop {
            let ask = tokio::select! {
                ask = asked.recv() => ask,
                () = self.guest.over() => return,
            };
            match ask {
                Some(Ask::Patch { if_match, fragment, answer }) => {
                    // Whoever asked may be gone.
                    let _ = answer.send(self.patch(&if_match, fragment).await);
                }
                Some(Ask::End(answer)) => {
                    self.guest.leave().await;
                    let _ = answer.send(());
                    return;
                }
                None => return,
            }
        }
    }

    /// The preconditions of RFC 9725, section 4.3: `*` restarts, the tag trickles. Some clients trickle with `*`, some
    /// restart with the tag; what they mean is seen by the credentials: new ones are a restart.
    async fn patch(&mut self, if_match: &str, fragment: Fragment) -> Result<Patched, Problem> {
        let current = if_match == "*" || if_match.split(',').any(|tag| tag.trim() == self.tag);
        if !current {
            let detail = "If-Match names another ICE session than the one that stands";
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "another-ice-session", detail));
        }
        if fragment.ufrag == self.ufrag {
            return Ok(Patched::Noted);
        }
        self.restart(fragment).await
    }

    async fn restart(&mut self, new: Fragment) -> Result<Patched, Problem> {
        let sdp = fragment::restarted(&self.offer.sdp, &new);
        let offer = OfferMessage { sdp, ..self.offer.clone() };
        let OkBody::Answer(answer) = self.guest.ask(ClientMessage::Offer(offer.clone())).await? else {
            return Err(Problem::unavailable("host-failed", "the host answered something else"));
        };
        self.offer = offer;
        self.ufrag = new.ufrag;
        self.tag = fresh_tag();
        Ok(Patched::Restarted { fragment: fragment::of_answer(&answer.sdp), tag: self.tag.clone() })
    }
}

fn fresh_tag() -> String {
    format!("\"{}\"", chance::hexadecimal(&chance::bytes::<8>()))
}

fn gone() -> Problem {
    Problem::new(StatusCode::GONE, "resource-gone", "this resource has ended; make another by POST")
}
