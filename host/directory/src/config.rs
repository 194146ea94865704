//! What a directory is told once, at its start: the shards, the seed and every bound. Knows nothing of flags or
//! files.

use crate::builtin::Watermarks;
use std::time::Duration;
use tidegate_types::Place;

/// A shard that exists, as its node announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSeed {
    /// Where.
    pub place: Place,
    /// Its node's name, shown to operators and policies.
    pub node_name: String,
    /// Its node's region label; empty if none was given.
    pub region: String,
}

/// Everything that a directory is told at its start.
#[derive(Clone, Debug)]
pub struct DirectoryConfig {
    /// All shards.
    pub shards: Vec<ShardSeed>,
    /// Seeds the chance that policies are given. Nothing secret comes from it.
    pub seed: u64,
    /// How often balance is asked. Shorter finds imbalance sooner and costs one policy call each time.
    pub balance_every: Duration,
    /// Whether rooms are asked about while bit rates are divided; without, the engines' own rule does. `Input::Share`
    /// changes it.
    pub share: bool,
    /// How many sounds of a room are forwarded, the loudest (3; 0: all). A room with at most twice as many forwards all.
    /// Fewer spares receivers' links and this host; who interrupts then waits for a place.
    pub loudest: usize,
    /// How much of everything there may be.
    pub bounds: Bounds,
    /// When the built-in placement counts a shard as full.
    pub watermarks: Watermarks,
    /// How long parts that owe an answer are waited for.
    pub patience: Patience,
    /// Rates assumed of tracks that nobody announced.
    pub expected: ExpectedRates,
}

impl DirectoryConfig {
    /// Documented defaults over these shards: balance every 5 s, the three loudest, and the defaults of each part.
    #[must_use]
    pub fn new(shards: Vec<ShardSeed>, seed: u64) -> Self {
        Self {
            shards,
            seed,
            balance_every: Duration::from_secs(5),
            share: false,
            loudest: 3,
            bounds: Bounds::default(),
            watermarks: Watermarks::default(),
            patience: Patience::default(),
            expected: ExpectedRates::default(),
        }
    }
}

/// How much there may be. At a bound the request is refused with [`ErrorKind::Full`], naming it.
///
/// [`ErrorKind::Full`]: tidegate_types::request::ErrorKind::Full
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rooms at once (10,000).
    pub rooms: usize,
    /// People in one room (1,000). Every one of them is told of every other: cost grows with the square.
    pub people_per_room: usize,
    /// People in all rooms (50,000).
    pub people: usize,
    /// Tracks that one person publishes, whatever its grant says (32).
    pub tracks_per_person: usize,
    /// Tracks that one person receives (1,024).
    pub consumers_per_person: usize,
    /// Relays at once (65,536).
    pub relays: usize,
    /// Hops between a producer and its furthest relay (3). Each hop costs a hand-over's delay.
    pub relay_depth: u32,
    /// Requests that wait for an answer of a place or a policy (16,384).
    pub pending_requests: usize,
    /// The same of one client (1,100: one for each consumer that it may have, and some).
    pub pending_per_client: usize,
    /// Replies remembered for clients that repeat a request (4,096, oldest forgotten first).
    pub remembered_replies: usize,
    /// Bytes of a room's or a person's name (256).
    pub name_bytes: usize,
    /// Bytes of a track's source (64).
    pub source_bytes: usize,
    /// Attributes of a join (32), each at most 1,024 bytes.
    pub attrs: usize,
    /// Speakers told of at once (16).
    pub speakers: usize,
    /// Transports that move at once (16).
    pub moves: usize,
    /// Transports that begin to move within a minute, whoever wishes it (60). Each costs the cores that it leaves and
    /// reaches some milliseconds.
    pub moves_per_minute: usize,
    /// Grants of those inside that policies are asked about again at once (16); others wait in line.
    pub renewals: usize,
    /// Wishes of the balance policy that are kept (64, oldest forgotten first).
    pub wishes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            rooms: 10_000,
            people_per_room: 1_000,
            people: 50_000,
            tracks_per_person: 32,
            consumers_per_person: 1_024,
            relays: 65_536,
            relay_depth: 3,
            pending_requests: 16_384,
            pending_per_client: 1_100,
            remembered_replies: 4_096,
            name_bytes: 256,
            source_bytes: 64,
            attrs: 32,
            speakers: 16,
            moves: 16,
            moves_per_minute: 60,
            renewals: 16,
            wishes: 64,
        }
    }
}

/// How long the directory waits before it acts as if the answer were a failure. These are nets under the parts'
/// own deadlines: none of them is reached while every part keeps its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For authorize, lookups included (15 s).
    pub authorize: Duration,
    /// For allocate (1 s). All placements wait behind one, so this must stay short.
    pub allocate: Duration,
    /// For balance (5 s).
    pub balance: Duration,
    /// For share (1 s).
    pub share: Duration,
    /// For a place's reply to a command (5 s).
    pub command: Duration,
    /// How long a promise counts that no load report shows (10 s).
    pub reservation: Duration,
    /// How long a relay without consumers stays open, so that a quick re-subscription finds it (2 s).
    pub relay_linger: Duration,
    /// How long a move may wait for the relays that it needs (800 ms): less than an operator waits for an answer.
    pub prepare_move: Duration,
    /// How often relays' counters are read while there are any (2 s).
    pub read_relays: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            authorize: Duration::from_secs(15),
            allocate: Duration::from_secs(1),
            balance: Duration::from_secs(5),
            share: Duration::from_secs(1),
            command: Duration::from_secs(5),
            reservation: Duration::from_secs(10),
            relay_linger: Duration::from_secs(2),
            prepare_move: Duration::from_millis(800),
            read_relays: Duration::from_secs(2),
        }
    }
}

/// Rates assumed for placement, in kbit/s. Too low packs shards too full before reports show it; too high
/// spills early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedRates {
    /// An audio track (40).
    pub audio_kbps: u64,
    /// A video track (1,500).
    pub video_kbps: u64,
}

impl Default for ExpectedRates {
    fn default() -> Self {
        Self { audio_kbps: 40, video_kbps: 1_500 }
    }
}
