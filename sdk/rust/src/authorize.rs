//! Who may enter, send, receive and administer. Knows nothing of places and load.
//!
//! The host waits 20 ms at most, queue included; without an answer it refuses. While something is looked up that time
//! stands still; all lookups of one question together may take 2 s.

use crate::bindings::authorization::exports::tidegate::policy::authorization as wire;
use crate::seat::{Registered, Seated};
use crate::words::{attrs_in, attrs_out};
use std::time::Duration;

pub use crate::lifecycle::{Description, Package, Problem, Setup};
pub use crate::moment::{Moment, UnixTime};
pub use crate::words::{Attr, Bitrate, Refusal};

/// A policy that decides who may.
pub trait Authorize {
    /// What it says of itself; name and version come from its Cargo.toml.
    fn describe(&self, package: Package) -> Description {
        Description::of(package)
    }

    /// Takes its configuration, before the first decision.
    ///
    /// # Errors
    /// What is wrong with it; the host then does not put the policy in force.
    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        setup.expect_nothing()
    }

    /// May this be done?
    fn authorize(&self, request: &AuthorizeRequest) -> Answer;
}

/// What someone wants to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Enter a room.
    #[default]
    Join,
    /// Send a track.
    Publish,
    /// Receive a track.
    Subscribe,
    /// Send messages.
    Data,
    /// Use the admin API.
    Admin,
    /// Stay inside: the same question as the join's, once more, since [`Grant::ask_again`] or an operator wished it. The
    /// answer replaces the grant; a refusal ends the session.
    Renew,
    /// Something this SDK has no word for: refuse it.
    Other(String),
}

impl Action {
    fn named(name: String) -> Self {
        match name.as_str() {
            "join" => Self::Join,
            "publish" => Self::Publish,
            "subscribe" => Self::Subscribe,
            "data" => Self::Data,
            "admin" => Self::Admin,
            "renew" => Self::Renew,
            _ => Self::Other(name),
        }
    }

    /// The name in WIT and records.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Join => "join",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Data => "data",
            Self::Admin => "admin",
            Self::Renew => "renew",
            Self::Other(name) => name,
        }
    }
}

/// May this be done?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// What.
    pub action: Action,
    /// Which room, where one is meant.
    pub room: Option<String>,
    /// How many people are in it now.
    pub room_people: u32,
    /// When the room's first person came, if anyone is in it.
    pub room_since: Option<UnixTime>,
    /// The name that the person gives itself. Not to be trusted.
    pub name: String,
    /// The identity of an earlier grant, where the person is in already.
    pub identity: Option<String>,
    /// The bearer token; empty if none came. Never log it.
    pub token: String,
    /// The address it comes from, in text form, where known.
    pub address: Option<String>,
    /// The kind of the track, for publish and subscribe: `audio` or `video`.
    pub kind: Option<String>,
    /// What the track shows, for publish and subscribe: `camera`, `microphone`, `screen`.
    pub source: Option<String>,
    /// When and with which seed.
    pub moment: Moment,
    /// Results of the lookups that earlier answers to this question needed, in order.
    pub lookups: Vec<LookupResult>,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

impl AuthorizeRequest {
    /// What a lookup gave, if it was made already; otherwise answer [`Answer::need`].
    #[must_use]
    pub fn lookup(&self, lookup: &str, key: &str) -> Option<Result<&str, &str>> {
        let made = self.lookups.iter().find(|made| made.lookup == lookup && made.key == key)?;
        Some(made.outcome.as_deref().map_err(String::as_str))
    }
}

/// What a lookup gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupResult {
    /// The configured lookup.
    pub lookup: String,
    /// What was asked for.
    pub key: String,
    /// The value found, or why there is none: `not-found`, `timeout`, `status-404` and the like.
    pub outcome: Result<String, String>,
}

/// Yes, no, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes, within these bounds.
    Grant(Grant),
    /// No.
    Refuse(Refusal),
    /// Look this up first, then ask again with the result. At most three times a question.
    Need {
        /// A configured lookup.
        lookup: String,
        /// What to ask it for.
        key: String,
    },
}

impl Answer {
    /// Look this up first, then ask again.
    #[must_use]
    pub fn need(lookup: impl Into<String>, key: impl Into<String>) -> Self {
        Self::Need { lookup: lookup.into(), key: key.into() }
    }

    /// No: a code for programs and a sentence for the person.
    #[must_use]
    pub fn refuse(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refuse(Refusal::new(code, message))
    }
}

impl From<Grant> for Answer {
    fn from(grant: Grant) -> Self {
        Self::Grant(grant)
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<Result<Grant, Refusal>> for Answer {
    fn from(result: Result<Grant, Refusal>) -> Self {
        result.map_or_else(Self::Refuse, Self::Grant)
    }
}

/// What someone may do, until it ends. The default grants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Who this is, in the application's words.
    pub identity: Option<String>,
    /// The name to show, where the policy sets it.
    pub name: Option<String>,
    /// The only room it is for, where bound to one.
    pub room: Option<String>,
    /// May send tracks.
    pub publish: bool,
    /// May receive tracks.
    pub subscribe: bool,
    /// May send messages.
    pub data: bool,
    /// May use the admin API.
    pub admin: bool,
    /// The only sources it may publish; `None` is any.
    pub sources: Option<Vec<String>>,
    /// The most tracks it may publish at once; `None` leaves it to the host.
    pub max_tracks: Option<u32>,
    /// Ceiling of what it publishes.
    pub ingress: Option<Bitrate>,
    /// Ceiling of what it is sent.
    pub egress: Option<Bitrate>,
    /// When it ends; `None` is never.
    pub expires: Option<UnixTime>,
    /// Actions (`publish`, `subscribe`, …) that are to be asked about again, each time.
    pub consult: Vec<String>,
    /// After how long to ask again, by [`Action::Renew`], whether this still holds: 1 s to a day, what lies outside
    /// counts as the nearest. `None` is never.
    pub ask_again: Option<Duration>,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

impl Grant {
    /// Everything but admin, for ever.
    #[must_use]
    pub fn open() -> Self {
        Self { publish: true, subscribe: true, data: true, ..Self::default() }
    }
}

impl<T: Authorize + Seated> wire::Guest for Registered<T> {
    fn authorize(request: wire::AuthorizeRequest) -> wire::AuthorizeAnswer {
        T::seat(|policy| policy.authorize(&request.into())).into()
    }
}

impl From<wire::AuthorizeRequest> for AuthorizeRequest {
    fn from(request: wire::AuthorizeRequest) -> Self {
        Self {
            action: Action::named(request.action),
            room: request.room,
            room_people: request.room_people,
            room_since: request.room_since_unix_ms.map(UnixTime::from_millis),
            name: request.name,
            identity: request.identity,
            token: request.token,
            address: request.address,
            kind: request.kind,
            source: request.source,
            moment: request.moment.into(),
            lookups: request.lookups.into_iter().map(Into::into).collect(),
            attrs: attrs_in(request.attrs),
        }
    }
}

impl From<wire::LookupResult> for LookupResult {
    fn from(made: wire::LookupResult) -> Self {
        Self { lookup: made.lookup, key: made.key, outcome: made.outcome }
    }
}

impl From<Answer> for wire::AuthorizeAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Grant(grant) => Self::Grant(grant.into()),
            Answer::Refuse(refusal) => Self::Refuse(refusal.into()),
            Answer::Need { lookup, key } => Self::Need(wire::Need { lookup, key }),
        }
    }
}

impl From<Grant> for wire::Grant {
    fn from(grant: Grant) -> Self {
        // A ceiling beyond what the wire can say is no ceiling that anyone reaches.
        let kbps = |rate: Bitrate| u32::try_from(rate.kbps()).unwrap_or(u32::MAX);
        let mut attrs = attrs_out(grant.attrs);
        if let Some(ask_again) = grant.ask_again {
            let ms = u32::try_from(ask_again.as_millis()).unwrap_or(u32::MAX);
            attrs.extend(attrs_out(vec![Attr { name: "ask-again-ms".to_owned(), value: ms.to_string() }]));
        }
        Self {
            identity: grant.identity,
            name: grant.name,
            room: grant.room,
            publish: grant.publish,
            subscribe: grant.subscribe,
            data: grant.data,
            admin: grant.admin,
            sources: grant.sources,
            max_tracks: grant.max_tracks,
            ingress_kbps: grant.ingress.map(kbps),
            egress_kbps: grant.egress.map(kbps),
            expires_unix_ms: grant.expires.map(UnixTime::as_millis),
            consult: grant.consult,
            attrs,
        }
    }
}
