//! What a front door asks of the directory, and what the directory tells a front door's clients. Knows nothing
//! of HTTP, WebSocket or SDP.

use crate::cluster::ShardRow;
use crate::command::TransportDump;
use crate::consumer::{Allowance, ConsumerParameters, LayerPreference};
use crate::data::DataRefusal;
use crate::decision::{Attr, Grant, Wish};
use crate::producer::ProducerParameters;
use crate::relay::RelayStats;
use crate::transport::{LocalTransport, RemoteTransport, TransportState};
use crate::{
    ConsumerId, PersonId, Place, ProducerId, RelayId, RequestNumber, RouterId, Secret, ShardIndex, Shared,
    TransportId,
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One client of a front door (a session, not a socket). Handed out by the front door; notices carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u64);

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its number; the reply carries the same. Numbers are unique among all clients of a front door.
    pub number: RequestNumber,
    /// Who asks.
    pub client: ClientId,
    /// What.
    pub body: RequestBody,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestBody {
    /// Enter a room: authorize, place and make one transport. Answered by [`ReplyBody::Joined`].
    Join(JoinRequest),
    /// Leave; ends the person's transport and all on it.
    Leave {
        /// Who.
        person: PersonId,
    },
    /// Tell a transport what its peer said (first time, or after an ICE restart).
    Connect {
        /// Which.
        transport: TransportId,
        /// The peer.
        remote: RemoteTransport,
    },
    /// New local ICE credentials. Answered by [`ReplyBody::Transport`].
    RestartIce {
        /// Which.
        transport: TransportId,
    },
    /// Send a track. Answered by [`ReplyBody::Producer`].
    Produce {
        /// On which transport.
        transport: TransportId,
        /// What was negotiated.
        parameters: ProducerParameters,
        /// What it shows: `camera`, `microphone`, `screen`, or the application's own word.
        source: String,
        /// Start paused.
        paused: bool,
    },
    /// Stop or resume a track for everyone.
    PauseProducer {
        /// Which.
        producer: ProducerId,
        /// Stop (true) or resume.
        paused: bool,
    },
    /// End a track.
    CloseProducer {
        /// Which.
        producer: ProducerId,
    },
    /// Receive a track. Answered by [`ReplyBody::Consumer`].
    Consume {
        /// On which transport.
        transport: TransportId,
        /// Which track.
        producer: ProducerId,
        /// What was negotiated.
        parameters: ConsumerParameters,
    },
    /// Stop or resume receiving.
    PauseConsumer {
        /// Which.
        consumer: ConsumerId,
        /// Stop (true) or resume.
        paused: bool,
    },
    /// Say which layers are wanted at most.
    SetPreferredLayers {
        /// Which.
        consumer: ConsumerId,
        /// What is wanted.
        preferred: LayerPreference,
    },
    /// Stop receiving for good.
    CloseConsumer {
        /// Which.
        consumer: ConsumerId,
    },
    /// Serve data channels on a transport.
    OpenData {
        /// Which.
        transport: TransportId,
        /// The most bytes of a message that the peer takes.
        max_message_bytes: u32,
    },
    /// Send a text to everyone else in the room.
    SendMessage {
        /// On whose transport.
        transport: TransportId,
        /// What.
        text: String,
    },
    /// May the holder of this token use the admin API? Answered by [`ReplyBody::Done`] or an error.
    AuthorizeAdmin {
        /// The bearer token.
        token: Secret,
        /// From where.
        address: Option<IpAddr>,
    },
    /// Everything that exists. Answered by [`ReplyBody::Dump`].
    Dump,
    /// Give a transport to another shard of its node, while its call goes on. Answered by [`ReplyBody::Done`] once it
    /// stands there. For operators.
    Move {
        /// Which.
        transport: TransportId,
        /// To which shard.
        to: ShardIndex,
    },
    /// Ask the policy now whether a person may stay, and put its grant in force. For operators. Answered by
    /// [`ReplyBody::Reauthorized`].
    Reauthorize {
        /// Who.
        person: PersonId,
    },
    /// End a person's presence. For operators.
    EndPerson {
        /// Who.
        person: PersonId,
        /// What it is told: one sentence.
        message: String,
    },
    /// Counters of one person's transport. Answered by [`ReplyBody::Stats`].
    ReadStats {
        /// Which.
        transport: TransportId,
    },
}

/// Enter a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The room; made if nobody is in it.
    pub room: String,
    /// The name that the person gives itself.
    pub name: String,
    /// The bearer token; empty if none came.
    pub token: Secret,
    /// From where.
    pub address: Option<IpAddr>,
    /// Rate that the client expects to publish, in kbit/s; 0 if unknown.
    pub expected_ingress_kbps: u64,
    /// What this version gives no meaning to; policies see it.
    pub attrs: Vec<Attr>,
    /// The client hears no messages: what nobody watches of it, its peer is told as a ceiling (REMB).
    #[serde(default)]
    pub told_by_ceiling: bool,
}

/// The reply to one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's number.
    pub number: RequestNumber,
    /// Who asked.
    pub client: ClientId,
    /// How it went.
    pub result: Result<ReplyBody, RequestError>,
}

/// What a successful request answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplyBody {
    /// Nothing to tell.
    Done,
    /// Inside.
    Joined(Box<Joined>),
    /// A transport's local side.
    Transport(LocalTransport),
    /// A track's id.
    Producer(ProducerId),
    /// A consumer's id, and whether its producer is paused at its source.
    Consumer(ConsumerId, bool),
    /// Everything that exists.
    Dump(Box<Dump>),
    /// Counters.
    Stats(Box<TransportDump>),
    /// What came of asking again.
    Reauthorized(Reauthorized),
}

/// What came of asking a policy again about someone inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reauthorized {
    /// It stays, with this grant.
    Stays(Box<Grant>),
    /// It is out.
    Ended {
        /// Short, stable, lower case with hyphens; a policy's own code where that refused.
        code: String,
        /// One sentence.
        message: String,
    },
}

/// What a person gets on entering.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Who it is.
    pub person: PersonId,
    /// The name to show for it.
    pub name: String,
    /// The room entered.
    pub room: String,
    /// The room's router.
    pub router: RouterId,
    /// Its transport.
    pub transport: TransportId,
    /// Where that stands.
    pub place: Place,
    /// What to tell the peer.
    pub local: LocalTransport,
    /// What it may do.
    pub grant: Grant,
    /// Everyone else in the room.
    pub people: Vec<Shared<PersonView>>,
    /// Every track in the room.
    pub tracks: Vec<TrackView>,
}

/// A person as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonView {
    /// Who.
    pub person: PersonId,
    /// The name to show.
    pub name: String,
    /// Who that is in the application's words, where a policy said.
    pub identity: Option<String>,
}

/// A track as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackView {
    /// Its producer.
    pub producer: ProducerId,
    /// Whose.
    pub person: PersonId,
    /// What it shows.
    pub source: String,
    /// Stopped at its source.
    pub paused: bool,
    /// What was negotiated with its publisher: codecs and number of encodings matter to receivers.
    pub parameters: ProducerParameters,
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestError {
    /// What kind of failure; decides the status code.
    pub kind: ErrorKind,
    /// Short, stable, lower case with hyphens; a policy's own code where a policy refused.
    pub code: String,
    /// One sentence for the person who asked.
    pub message: String,
}

impl RequestError {
    /// An error.
    #[must_use]
    pub fn new(kind: ErrorKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into() }
    }
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for RequestError {}

/// Whose side failed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// A policy or a grant says no (403).
    Refused,
    /// What was named does not exist (404).
    Missing,
    /// The request contradicts what stands (409 or 422).
    Unfit,
    /// A bound is reached (429 or 503).
    Full,
    /// The host failed (500 or 503).
    Failed,
}

/// The code of [`NoticeBody::Ended`] with which a host that stops asks its clients to come back.
pub const HOST_STOPPING: &str = "host-stopping";

/// Something that a client is told without asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Who is told.
    pub client: ClientId,
    /// What.
    pub body: NoticeBody,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeBody {
    /// Someone came in.
    PersonJoined(Shared<PersonView>),
    /// Someone left.
    PersonLeft(PersonId),
    /// A track can be consumed.
    TrackPublished(TrackView),
    /// A track is gone, with its consumers.
    TrackEnded(ProducerId),
    /// A track stopped or resumed at its source.
    TrackPaused {
        /// Which.
        producer: ProducerId,
        /// Stopped (true) or resumed.
        paused: bool,
    },
    /// Who speaks, the most dominant first; only those heard lately.
    ActiveSpeakers(Vec<Speaker>),
    /// The client's own transport.
    Transport {
        /// Which.
        transport: TransportId,
        /// How far it is.
        state: TransportState,
    },
    /// A consumer is sent another encoding, or has another share of the bit rate.
    LayersChanged {
        /// Which.
        consumer: ConsumerId,
        /// What it is sent.
        encoding: Option<u8>,
        /// What its share of the bit rate allows.
        allowance: Allowance,
    },
    /// Which encodings of the client's own track somebody watches; it need not send the others.
    EncodingsWatched {
        /// Which track.
        producer: ProducerId,
        /// Bit n set: encoding n is watched. The lowest always is.
        encodings: u32,
    },
    /// Someone in the room says this; only those without a data channel are told so.
    RoomMessage {
        /// Who.
        from: PersonId,
        /// What.
        text: String,
    },
    /// A message or data channel of the client was refused.
    DataRefused {
        /// The channel's label.
        label: String,
        /// Why.
        refusal: DataRefusal,
    },
    /// The client may do other things than before, from now on.
    GrantChanged(Box<Grant>),
    /// The client's own track was ended, since its grant does not hold it any more.
    TrackRevoked {
        /// Which.
        producer: ProducerId,
        /// Short, stable, lower case with hyphens.
        code: String,
        /// One sentence.
        message: String,
    },
    /// The client's presence ended; nothing follows.
    Ended {
        /// Short, stable, lower case with hyphens.
        code: String,
        /// One sentence.
        message: String,
    },
}

/// Someone who is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaker {
    /// The audio track.
    pub producer: ProducerId,
    /// Whose.
    pub person: Option<PersonId>,
    /// Last level in -dBov: 0 loudest, 127 silent.
    pub level: u8,
}

/// Everything that exists, for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// All shards with their load, as policies see them.
    pub shards: Vec<ShardRow>,
    /// All rooms.
    pub rooms: Vec<RoomDump>,
    /// All relays.
    pub relays: Vec<RelayDump>,
    /// The last wishes of the balance policy, newest last, with their time.
    pub wishes: Vec<(u64, Wish)>,
}

/// One room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomDump {
    /// Its name.
    pub room: String,
    /// Its router.
    pub router: RouterId,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// Who is in it.
    pub people: Vec<PersonDump>,
    /// Active speakers, the most dominant first.
    pub speakers: Vec<Speaker>,
}

/// One person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonDump {
    /// Who.
    pub view: Shared<PersonView>,
    /// What it may do.
    pub grant: Grant,
    /// Where its transport stands.
    pub place: Place,
    /// Its transport.
    pub transport: TransportId,
    /// How far that is.
    pub state: TransportState,
    /// What it publishes.
    pub tracks: Vec<TrackView>,
    /// What it consumes.
    pub consumers: Vec<ConsumerDump>,
}

/// One track as sent to one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerDump {
    /// Which.
    pub consumer: ConsumerId,
    /// Of what.
    pub producer: ProducerId,
    /// The encoding being sent.
    pub encoding: Option<u8>,
    /// What its share of the bit rate allows.
    pub allowance: Allowance,
}

/// One relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayDump {
    /// Which.
    pub relay: RelayId,
    /// Of what.
    pub producer: ProducerId,
    /// In which router.
    pub router: RouterId,
    /// From where.
    pub from: Place,
    /// To where.
    pub to: Place,
    /// How many consumers hang on it.
    pub consumers: u32,
    /// Counters at its source, where read.
    pub source: Option<RelayStats>,
    /// Counters at its sink, where read.
    pub sink: Option<RelayStats>,
}
