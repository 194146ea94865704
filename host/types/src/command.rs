//! What the directory tells a place to do, and what the place answers. Plain data: a command can leave the
//! process. Repeating one is harmless; those of one sender to one object apply in order.

use crate::consumer::{ConsumerParameters, ConsumerStats, LayerPreference};
use crate::data::{DataParameters, DataStats};
use crate::producer::{ProducerParameters, ProducerStats};
use crate::relay::RelayStats;
use crate::sharing::{Portion, RouterRates};
use crate::transport::{LocalTransport, RemoteTransport, TransportStats};
use crate::{
    ConsumerId, PersonId, Place, ProducerId, RelayId, RequestNumber, RouterId, ShardIndex, TransportId,
};
use serde::{Deserialize, Serialize};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its number; the answer carries the same.
    pub request: RequestNumber,
    /// What to do.
    pub body: CommandBody,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandBody {
    /// Make a WebRTC transport in a router (made if it does not stand here yet). Answered with its local side.
    CreateTransport {
        /// Its id.
        transport: TransportId,
        /// Its router.
        router: RouterId,
        /// The most it may send, enforced from the grant; `None` is unbounded.
        limits: TransportLimits,
    },
    /// Put other bounds of a grant in force.
    LimitTransport {
        /// Which.
        transport: TransportId,
        /// Ceiling of what it publishes, in kbit/s; `None` is unbounded.
        ingress_kbps: Option<u32>,
        /// Ceiling of what it is sent, in kbit/s.
        egress_kbps: Option<u32>,
        /// May it send messages? `None` leaves that as it is.
        may_send: Option<bool>,
    },
    /// Tell a transport what its peer said. New ICE credentials restart ICE.
    ConnectTransport {
        /// Which.
        transport: TransportId,
        /// The peer.
        remote: RemoteTransport,
    },
    /// New local ICE credentials (RFC 8445, section 9); the old ones stay valid until the new are used.
    RestartIce {
        /// Which.
        transport: TransportId,
    },
    /// End a transport with all its producers and consumers.
    CloseTransport {
        /// Which.
        transport: TransportId,
    },
    /// Accept a track.
    CreateProducer {
        /// Its id.
        producer: ProducerId,
        /// On which transport.
        transport: TransportId,
        /// What was negotiated.
        parameters: ProducerParameters,
        /// Start paused.
        paused: bool,
    },
    /// Stop or resume forwarding a producer to anyone.
    PauseProducer {
        /// Which.
        producer: ProducerId,
        /// Stop (true) or resume.
        paused: bool,
    },
    /// Stop or resume forwarding a sound that is not among its room's loudest; its level is still reported.
    HushProducer {
        /// Which.
        producer: ProducerId,
        /// Stop (true) or resume.
        hushed: bool,
    },
    /// Say whose pictures come first while bit rates are divided.
    SetSpeaker {
        /// In which router.
        router: RouterId,
        /// The pictures of who holds the floor.
        pictures: Vec<ProducerId>,
    },
    /// Say what a router's tracks are worth while bit rates are divided, instead of what was said before.
    SetShares {
        /// Which router.
        router: RouterId,
        /// Those that are worth more or less than usual.
        portions: Vec<(ProducerId, Portion)>,
        /// For how long that holds, in milliseconds.
        valid_ms: u32,
    },
    /// End a producer, its relays and its consumers here.
    CloseProducer {
        /// Which.
        producer: ProducerId,
    },
    /// Send a track (standing here, or relayed to here) to a peer.
    CreateConsumer {
        /// Its id.
        consumer: ConsumerId,
        /// To which transport.
        transport: TransportId,
        /// Of which producer.
        producer: ProducerId,
        /// What was negotiated.
        parameters: ConsumerParameters,
    },
    /// Stop or resume sending; resuming asks for a keyframe.
    PauseConsumer {
        /// Which.
        consumer: ConsumerId,
        /// Stop (true) or resume.
        paused: bool,
    },
    /// Change the highest layers wanted.
    SetPreferredLayers {
        /// Which.
        consumer: ConsumerId,
        /// What is wanted now.
        preferred: LayerPreference,
    },
    /// End a consumer.
    CloseConsumer {
        /// Which.
        consumer: ConsumerId,
    },
    /// Begin to copy a producer that stands here to another place.
    OpenRelay {
        /// Its id, the same at both ends.
        relay: RelayId,
        /// Which producer.
        producer: ProducerId,
        /// To where.
        to: Place,
    },
    /// Await a producer's packets from another place; consumers may be made of it at once.
    AcceptRelay {
        /// Its id, the same at both ends.
        relay: RelayId,
        /// The router it enters at.
        router: RouterId,
        /// Which producer it stands for.
        producer: ProducerId,
        /// What the producer is.
        parameters: ProducerParameters,
        /// Stopped at its source.
        paused: bool,
        /// From where.
        from: Place,
    },
    /// End one end of a relay. At the sink this ends the producer's stand-in and its consumers here.
    CloseRelay {
        /// Which.
        relay: RelayId,
    },
    /// Serve data channels on a transport, or serve them otherwise from now on.
    OpenData {
        /// Which.
        transport: TransportId,
        /// How.
        parameters: DataParameters,
    },
    /// Send a text to everyone else in the transport's router as if it had come on the room's channel.
    SendMessage {
        /// Whose transport.
        transport: TransportId,
        /// Who says so.
        person: PersonId,
        /// What.
        text: String,
    },
    /// Copy messages of a router to these other places from now on, and to no others.
    RelayData {
        /// Which router.
        router: RouterId,
        /// To where; none forgets it.
        to: Vec<Place>,
    },
    /// Give a transport with all it owns to another shard of this node.
    MoveTransport {
        /// Which.
        transport: TransportId,
        /// To which shard.
        to: ShardIndex,
        /// For each of its producers the relay that brings it back to where it stood: a stand-in stays there for
        /// its consumers. One without leaves nothing behind, and must have no consumers there.
        stand_ins: Vec<(ProducerId, RelayId)>,
    },
    /// Forget an empty router.
    CloseRouter {
        /// Which.
        router: RouterId,
    },
    /// Read the counters of everything on one transport.
    ReadStats {
        /// Which.
        transport: TransportId,
    },
    /// Read the counters of all relays that begin or end here.
    ReadRelays,
    /// Read what a router's tracks bring in here, and what the ways of its transports here carry.
    ReadRates {
        /// Which router.
        router: RouterId,
    },
}

/// What a transport may bring in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportLimits {
    /// Ceiling of what it publishes, in kbit/s.
    pub ingress_kbps: Option<u32>,
    /// Ceiling of what it is sent, in kbit/s.
    pub egress_kbps: Option<u32>,
    /// Its peer hears no session messages: what nobody watches of it, it is told as a ceiling (REMB).
    #[serde(default)]
    pub told_by_ceiling: bool,
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReply {
    /// The command's number.
    pub request: RequestNumber,
    /// How it went.
    pub result: Result<Done, CommandError>,
}

/// What a successful command answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// Nothing to tell.
    Done,
    /// A transport's local side (made, or restarted).
    Transport(LocalTransport),
    /// Counters.
    Stats(Box<TransportDump>),
    /// Counters of relays, by id; `true` at the source end.
    Relays(Vec<(RelayId, bool, RelayStats)>),
    /// Rates of a router.
    Rates(Box<RouterRates>),
}

/// Everything on one transport, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportDump {
    /// The transport.
    pub transport: TransportStats,
    /// Its producers.
    pub producers: Vec<(ProducerId, ProducerStats)>,
    /// Its consumers.
    pub consumers: Vec<(ConsumerId, ConsumerStats)>,
    /// Its data channels.
    pub data: DataStats,
}

/// Why a command could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandError {
    /// The transport does not stand here.
    NoTransport(TransportId),
    /// The producer does not stand here and is not relayed to here.
    NoProducer(ProducerId),
    /// The consumer does not stand here.
    NoConsumer(ConsumerId),
    /// The relay has no end here.
    NoRelay(RelayId),
    /// The id is taken by something else.
    Taken(String),
    /// The parameters contradict themselves or what stands here; says how.
    Unfit(String),
    /// A bound is reached; says which.
    Full(String),
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoTransport(id) => write!(formatter, "{id} does not stand here"),
            Self::NoProducer(id) => write!(formatter, "{id} does not stand here"),
            Self::NoConsumer(id) => write!(formatter, "{id} does not stand here"),
            Self::NoRelay(id) => write!(formatter, "{id} has no end here"),
            Self::Taken(what) => write!(formatter, "{what} is taken"),
            Self::Unfit(how) => write!(formatter, "parameters do not fit: {how}"),
            Self::Full(bound) => write!(formatter, "a bound is reached: {bound}"),
        }
    }
}

impl std::error::Error for CommandError {}
