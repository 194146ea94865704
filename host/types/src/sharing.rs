//! How a room's pictures divide what its people can receive: the question to the `share` policy, its answer, and what
//! places measure for the one and are told of the other. Knows nothing of how anything is divided.

use crate::decision::{Attr, Moment};
use crate::{MediaKind, PersonId, ProducerId, TransportId};
use serde::{Deserialize, Serialize};

/// How often a room is asked about at most, in milliseconds.
pub const SHORTEST_PERIOD_MS: u32 = 500;
/// For how many periods an answer may hold.
pub const PERIODS: u32 = 3;

/// How much is each track of a room worth now?
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRequest {
    /// The room.
    pub room: String,
    /// Who is in it.
    pub people: Vec<SharePerson>,
    /// What they send.
    pub tracks: Vec<ShareTrack>,
    /// How long until it is asked again.
    pub period_ms: u32,
    /// When and with which seed.
    pub moment: Moment,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

/// One person of the room in question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharePerson {
    /// Who; policies get a row's number instead.
    pub person: PersonId,
    /// That of its grant; empty where none was given.
    pub identity: String,
    /// As shown.
    pub name: String,
    /// What its way is believed to carry, and takes.
    pub rates: ReceiverRates,
    /// Tracks that it sends.
    pub sends: u32,
    /// Tracks that it receives.
    pub receives: u32,
    /// Holds the floor.
    pub speaks: bool,
}

/// One track of the room in question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareTrack {
    /// Which; policies get a row's number instead.
    pub producer: ProducerId,
    /// Its sender's position among the people.
    pub person: u32,
    /// Audio or video.
    pub kind: MediaKind,
    /// What it shows.
    pub source: String,
    /// What comes in of it, all encodings together.
    pub ingress_kbps: u64,
    /// How many encodings it has.
    pub encodings: u32,
    /// To whom it is sent or could be.
    pub receivers: u32,
    /// Those of them whose way has no room for all that they want of it; a ceiling is no lack.
    pub reduced: u32,
    /// The highest encoding that any of them wants.
    pub wanted_layer: u32,
    /// Stopped at its source.
    pub paused: bool,
}

/// The answer to a [`ShareRequest`], within its ranges already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareAnswer {
    /// One a track, in the request's order.
    pub portions: Vec<Portion>,
    /// How long they hold; 0 is not at all.
    pub valid_ms: u32,
    /// How many values were out of range.
    pub clamped: u32,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

/// What one track is worth; 0 in any field leaves that to the host's own rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portion {
    /// Among equals; 100 is usual.
    pub weight_percent: u16,
    /// So much of it goes before others have more than their first picture.
    pub floor_kbps: u32,
    /// No more of it is sent, but its lowest layer always may be.
    pub ceiling_kbps: u32,
    /// Higher ones come first, before whoever holds the floor.
    pub priority: u8,
}

impl Portion {
    /// The least weight that can be told.
    pub const LEAST_WEIGHT_PERCENT: u16 = 10;
    /// The largest.
    pub const MOST_WEIGHT_PERCENT: u16 = 1_000;
    /// The largest floor: more than any picture takes.
    pub const MOST_FLOOR_KBPS: u32 = 100_000;
    /// The largest ceiling.
    pub const MOST_CEILING_KBPS: u32 = 1_000_000;
    /// The highest priority.
    pub const MOST_PRIORITY: u8 = 7;
}

/// What a transport's way is believed to carry, and what is made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverRates {
    /// What the way carries, as far as its peer's grant lets it; 0 while unknown.
    pub egress_kbps: u64,
    /// What its consumers take of that.
    pub given_kbps: u64,
    /// What they would take if each had all that it wants.
    pub wanted_kbps: u64,
}

/// What one place measures of a router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterRates {
    /// Of each of its transports there.
    pub transports: Vec<(TransportId, ReceiverRates)>,
    /// What comes in of each track that is sent from there, in kbit/s.
    pub tracks: Vec<(ProducerId, u64)>,
}
