//! Questions that policies decide, and their answers, in the host's own words (the WIT tracks convert into
//! these). Knows nothing of WebAssembly.
//!
//! Time and seed are inputs, so that a recorded question can be decided again with the same result.

use crate::cluster::Feed;
use crate::sharing::{ShareAnswer, ShareRequest};
use crate::{MediaKind, Place, RequestNumber, Secret};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// A decision point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Who may.
    Authorize,
    /// The place of a new transport, relay or router.
    Allocate,
    /// What to move, drain, grow or shrink.
    Balance,
    /// How a room's pictures divide what its people can receive. The only one that need not be made by a policy.
    Share,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 4] = [Self::Authorize, Self::Allocate, Self::Balance, Self::Share];

    /// The name in flags, metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Allocate => "allocate",
            Self::Balance => "balance",
            Self::Share => "share",
        }
    }

    /// Need no policy make it? Without one it is left to the host's own rule.
    #[must_use]
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::Share)
    }

    /// How long a caller waits at most, queue included, in milliseconds.
    #[must_use]
    pub const fn deadline_ms(self) -> u64 {
        match self {
            Self::Authorize | Self::Share => 20,
            Self::Allocate => 5,
            Self::Balance => 50,
        }
    }
}

/// A name and a value that this version gives no meaning to: room for what comes later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attr {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// The moment and the chance that a decision may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// A fresh random number; not for secrets.
    pub seed: u64,
}

/// What someone wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Enter a room.
    Join,
    /// Send a track.
    Publish,
    /// Receive a track.
    Subscribe,
    /// Send messages.
    Data,
    /// Use the admin API.
    Admin,
    /// Stay inside: the grant is asked about again.
    Renew,
}

impl Action {
    /// The name in WIT and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Data => "data",
            Self::Admin => "admin",
            Self::Renew => "renew",
        }
    }
}

/// May this be done?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizeRequest {
    /// What.
    pub action: Action,
    /// Which room, where one is meant.
    pub room: Option<String>,
    /// How many people are in it now.
    pub room_people: u32,
    /// When the room's first person came, if anyone is in it, in milliseconds since the Unix epoch.
    pub room_since_unix_ms: Option<u64>,
    /// The name that the person gives itself.
    pub name: String,
    /// The identity of an earlier grant, where the person is in already.
    pub identity: Option<String>,
    /// The bearer token; empty if none came.
    pub token: Secret,
    /// From where.
    pub address: Option<IpAddr>,
    /// The kind of the track, for publish and subscribe.
    pub kind: Option<MediaKind>,
    /// What the track shows (`camera`, `microphone`, `screen`), for publish and subscribe.
    pub source: Option<String>,
    /// When and with which seed.
    pub moment: Moment,
    /// Results of lookups that this question needed, in order.
    pub lookups: Vec<LookupResult>,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

/// What a lookup gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupResult {
    /// The configured lookup.
    pub lookup: String,
    /// What was asked for.
    pub key: String,
    /// The value found, or a plain reason.
    pub result: Result<String, String>,
}

/// Why a lookup gave no value; the policy is told the name ([`std::fmt::Display`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookupError {
    /// No lookup of this name is configured.
    Unknown,
    /// This key cannot be asked for.
    BadKey,
    /// There is nothing under this key.
    NotFound,
    /// Nothing came in time.
    Timeout,
    /// More came than is taken.
    TooLarge,
    /// No connection could be made, or no program started.
    Unreachable,
    /// A server answered with another HTTP status than 200.
    Status(u16),
    /// A program ended with another code than 0.
    Exit(u8),
    /// What came is no UTF-8.
    NotText,
    /// Too many lookups are under way.
    Busy,
    /// What came could not be read, or was cut.
    Failed,
}

impl LookupError {
    /// The kind, which counts and metrics use: statuses together, exit codes together.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Unknown => "unknown-lookup",
            Self::BadKey => "bad-key",
            Self::NotFound => "not-found",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::Unreachable => "unreachable",
            Self::Status(_) => "status",
            Self::Exit(_) => "exit",
            Self::NotText => "not-text",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "status-{status}"),
            Self::Exit(code) => write!(formatter, "exit-{code}"),
            other => formatter.write_str(other.kind()),
        }
    }
}

/// A lookup as a remembered decision tells it: neither key nor value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupMade {
    /// The configured lookup; `unknown-lookup` where none has the name that was asked for.
    pub lookup: String,
    /// `found`, or the error's name.
    pub outcome: String,
    /// How long it took, in nanoseconds.
    pub took_ns: u64,
}

/// The answer to an [`AuthorizeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthorizeAnswer {
    /// Yes, within these bounds.
    Grant(Grant),
    /// No.
    Refuse(Refusal),
    /// Look this up first, then ask again.
    Need {
        /// A configured lookup.
        lookup: String,
        /// What to ask it for.
        key: String,
    },
}

/// After how long a policy can be asked again, in milliseconds: what lies outside counts as the nearest.
pub const ASK_AGAIN_MS: RangeInclusive<u32> = 1_000..=86_400_000;

/// What someone may do, until it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The most tracks it may publish at once.
    pub max_tracks: Option<u32>,
    /// Ceiling of what it publishes.
    pub ingress_kbps: Option<u32>,
    /// Ceiling of what it is sent.
    pub egress_kbps: Option<u32>,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_unix_ms: Option<u64>,
    /// Actions that are to be asked about again, each time.
    pub consult: Vec<String>,
    /// After how long the policy wishes to be asked again whether this still holds, within [`ASK_AGAIN_MS`]; `None` is
    /// never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_again_ms: Option<u32>,
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

/// No, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Short, stable, lower case with hyphens.
    pub code: String,
    /// One sentence for the person who is refused.
    pub message: String,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

impl Refusal {
    /// A refusal without attrs.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), attrs: Vec::new() }
    }
}

/// What is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceKind {
    /// A transport.
    Transport,
    /// A relay's parent.
    Relay,
    /// A router's home.
    Router,
}

impl PlaceKind {
    /// The name in WIT and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Relay => "relay",
            Self::Router => "router",
        }
    }
}

/// What one place holds of the router in question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterAtPlace {
    /// Where.
    pub place: Place,
    /// Its transports there.
    pub transports: u32,
    /// Its producers there.
    pub producers: u32,
    /// Its relays that end there.
    pub relays: u32,
    /// Egress promised there and not yet reported, in kbit/s.
    pub reserved_kbps: u64,
}

/// A place that a relay could copy from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Where.
    pub place: Place,
    /// Hops from the producer; 0 is the producer's own place.
    pub depth: u32,
    /// Relays of this producer that already leave from there.
    pub fan_out: u32,
}

/// Where is this to be?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceRequest {
    /// What.
    pub kind: PlaceKind,
    /// The room, where there is one.
    pub room: Option<String>,
    /// Where the router already is.
    pub router_at: Vec<RouterAtPlace>,
    /// Rate expected in, in kbit/s.
    pub expected_ingress_kbps: u64,
    /// Rate expected out, in kbit/s.
    pub expected_egress_kbps: u64,
    /// Region asked for, if any.
    pub region_hint: Option<String>,
    /// Candidate parents, for a relay.
    pub parents: Vec<Parent>,
    /// When and with which seed.
    pub moment: Moment,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

/// The answer to a [`PlaceRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlaceAnswer {
    /// There.
    Place(Placement),
    /// Nowhere.
    Refuse(Refusal),
}

/// Where something is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The place; for a relay, the chosen parent's.
    pub place: Place,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

/// Why balance is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BalanceCause {
    /// Time passed.
    Tick,
    /// A node is gone.
    NodeLost,
    /// A node is to be emptied.
    Drain,
}

impl BalanceCause {
    /// The name in WIT and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::NodeLost => "node-lost",
            Self::Drain => "drain",
        }
    }
}

/// What should change?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceRequest {
    /// Why now.
    pub cause: BalanceCause,
    /// The place concerned, where there is one.
    pub place: Option<Place>,
    /// When and with which seed.
    pub moment: Moment,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

/// One change that balance wishes for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// `move`, `drain`, `grow`, `shrink`; others are shown and ignored.
    pub action: String,
    /// Off which place.
    pub from: Option<Place>,
    /// To which place.
    pub to: Option<Place>,
    /// How many transports, or egress in kbit/s as `unit` says.
    pub amount: u64,
    /// `transports` or `kbps`.
    pub unit: String,
    /// One sentence for operators.
    pub reason: String,
}

/// The answer to a [`BalanceRequest`]; empty for "leave it".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceAnswer {
    /// What it wishes for.
    pub wishes: Vec<Wish>,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

/// One question for a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its number; the answer carries the same.
    pub number: RequestNumber,
    /// What is asked.
    pub body: QuestionBody,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuestionBody {
    /// Who may.
    Authorize(Box<AuthorizeRequest>),
    /// Where.
    Place(Box<PlaceRequest>),
    /// What to change.
    Balance(Box<BalanceRequest>),
    /// How to divide.
    Share(Box<ShareRequest>),
}

impl QuestionBody {
    /// Which decision this is.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        match self {
            Self::Authorize(_) => Decision::Authorize,
            Self::Place(_) => Decision::Allocate,
            Self::Balance(_) => Decision::Balance,
            Self::Share(_) => Decision::Share,
        }
    }
}

/// What the directory sends towards the policies, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToPolicy {
    /// Every instance must know this before its next decision.
    Feed(Feed),
    /// Decide this.
    Ask(Question),
}

/// One policy answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The question's number.
    pub number: RequestNumber,
    /// The plugin's answer, or why there is none: then the directory applies the decision's named default.
    pub result: Result<AnswerBody, Failure>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerBody {
    /// To authorize; never [`AuthorizeAnswer::Need`], which the policy runtime resolves itself.
    Authorize(AuthorizeAnswer),
    /// To allocate.
    Place(PlaceAnswer),
    /// To balance.
    Balance(BalanceAnswer),
    /// To share.
    Share(ShareAnswer),
}

/// Why a policy gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// Not within the deadline.
    Deadline,
    /// It trapped: a panic, unreachable code, memory or stack used up.
    Trap,
    /// The answer was too large or contradicts the question.
    Nonsense,
    /// The answer names a place that is gone, twice.
    Stale,
    /// Too many questions were waiting.
    QueueFull,
    /// It needed one lookup after the other, more than are made for one question.
    Lookup,
    /// No instance could be made.
    Unavailable,
    /// It failed so often in a row that it is not asked for a while.
    BreakerOpen,
}

impl Failure {
    /// The name in metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Trap => "trap",
            Self::Nonsense => "nonsense",
            Self::Stale => "stale",
            Self::QueueFull => "queue-full",
            Self::Lookup => "lookup",
            Self::Unavailable => "unavailable",
            Self::BreakerOpen => "breaker-open",
        }
    }
}

/// What becomes of a question whose policy gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It is refused.
    Refuse,
    /// The host's own rule decides: concentrate, then spill; leave all as it is; divide evenly.
    BuiltIn,
    /// The plugin's previous generation is asked, where there is one; else what is usual for the decision.
    LastGood,
}

impl OnFailure {
    /// The name in flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::BuiltIn => "built-in",
            Self::LastGood => "last-good",
        }
    }

    /// What a decision may be given; the first is usual. Nobody is let in by a rule of the host's own, and there is
    /// nobody to refuse a balance to.
    #[must_use]
    pub const fn allowed(decision: Decision) -> &'static [Self] {
        match decision {
            Decision::Authorize => &[Self::Refuse, Self::LastGood],
            Decision::Allocate => &[Self::BuiltIn, Self::Refuse, Self::LastGood],
            Decision::Balance | Decision::Share => &[Self::BuiltIn, Self::LastGood],
        }
    }
}

/// Whether a policy is asked at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BreakerState {
    /// It is.
    #[default]
    Closed,
    /// It failed too often in a row and is left alone for a while.
    Open,
    /// That while is over: its next answer decides.
    Probing,
}

impl BreakerState {
    /// The name in views.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probing => "probing",
        }
    }
}

/// One load of one component. Generations are numbered over the whole host and never twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationInfo {
    /// Its number.
    pub generation: u64,
    /// What the plugin calls itself.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// SHA-256 of the component, in lower-case hexadecimal.
    pub digest: String,
    /// Where it came from: `stock` or a path.
    pub origin: String,
}

/// One that decides beside a policy in force without counting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowInfo {
    /// Which.
    pub generation: GenerationInfo,
    /// How many questions it decided, too.
    pub calls: u64,
    /// How many of them otherwise than the one in force.
    pub differences: u64,
    /// How many of them not at all.
    pub failures: u64,
    /// How many it was not asked because others waited.
    pub skipped: u64,
    /// Median latency of the last calls, in nanoseconds.
    pub latency_p50_ns: u64,
    /// 99th percentile of the same.
    pub latency_p99_ns: u64,
    /// The last differences, newest first.
    pub last: Vec<Difference>,
}

/// A question that two generations decided differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The question's number.
    pub number: RequestNumber,
    /// What the one in force answered, as JSON, or its failure's name.
    pub in_force: String,
    /// What the other would have.
    pub instead: String,
}

/// A policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// Which decision it makes.
    pub decision: Decision,
    /// Its position in the decision's chain, from 1.
    pub position: usize,
    /// Which load of which component this is; grows with each swap.
    pub generation: u64,
    /// Since when it is in force, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// Whether it is asked at all.
    pub breaker: BreakerState,
    /// What becomes of a question that it does not answer.
    pub on_failure: OnFailure,
    /// The one that was in force before, kept for an instant way back.
    pub previous: Option<GenerationInfo>,
    /// The one that decides beside it without counting.
    pub shadow: Option<ShadowInfo>,
    /// What the plugin calls itself.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// SHA-256 of the component, in lower-case hexadecimal.
    pub digest: String,
    /// Where it came from: `stock` or a path.
    pub origin: String,
    /// Calls so far.
    pub calls: u64,
    /// Failures so far, by name.
    pub failures: Vec<(String, u64)>,
    /// Median latency of the last calls, in nanoseconds.
    pub latency_p50_ns: u64,
    /// 99th percentile of the same.
    pub latency_p99_ns: u64,
}

/// One decision as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The question's number.
    pub number: RequestNumber,
    /// When, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Which decision.
    pub decision: Decision,
    /// Digest of the plugin that had the last word.
    pub digest: String,
    /// Every policy of the chain, in its order, with the one generation of it that this decision met.
    pub by: Vec<DecidedBy>,
    /// What went wrong inside a plugin: the reason and where in it, innermost first.
    pub trouble: Option<String>,
    /// The question as JSON; tokens as a hash only.
    pub question: String,
    /// The answer as JSON, or the failure's name.
    pub outcome: String,
    /// The failure, where there was one.
    pub failure: Option<Failure>,
    /// Time in the queue, in nanoseconds.
    pub waited_ns: u64,
    /// Time in the plugin, in nanoseconds.
    pub latency_ns: u64,
    /// What was looked up for it, in order.
    pub lookups: Vec<LookupMade>,
}

/// One policy's part in a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedBy {
    /// Its generation.
    pub generation: u64,
    /// What the plugin calls itself.
    pub name: String,
    /// SHA-256 of the component, in lower-case hexadecimal.
    pub digest: String,
    /// Whether it was asked; in a chain the first refusal ends the asking.
    pub asked: bool,
    /// Its failure, where it gave no answer.
    pub failure: Option<Failure>,
    /// The generation that answered in its stead.
    pub instead: Option<u64>,
}
