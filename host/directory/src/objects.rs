//! What exists: routers with their rooms, people, transports, producers, consumers and relays, each naming its
//! neighbours by id. Knows nothing of how they come about or end.

use crate::ledger::Asker;
use crate::loudest::Loudest;
use crate::renew::Renewal;
use crate::speaker::SpeakerOrder;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use tidegate_types::consumer::{Allowance, ConsumerParameters};
use tidegate_types::decision::{Attr, Grant};
use tidegate_types::producer::ProducerParameters;
use tidegate_types::relay::RelayStats;
use tidegate_types::request::{ClientId, PersonView, TrackView};
use tidegate_types::transport::{LocalTransport, TransportState};
use tidegate_types::{
    ConsumerId, PersonId, Place, ProducerId, RelayId, RequestNumber, RouterId, Secret, Shared, TransportId,
};

/// A room and the router under it. Exists while someone is inside or entering.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) room: String,
    pub(crate) since_unix_ms: u64,
    pub(crate) people: BTreeSet<PersonId>,
    /// People who were let in and whose transport is being made.
    pub(crate) entering: usize,
    /// Where it was made; it is closed at each of these.
    pub(crate) places: BTreeSet<Place>,
    pub(crate) relays: BTreeSet<RelayId>,
    /// Expected rate of all its tracks together.
    pub(crate) tracks_kbps: u64,
    pub(crate) speakers: SpeakerOrder,
    pub(crate) loudest: Loudest,
    /// Whose pictures come first.
    pub(crate) floor: Option<PersonId>,
    /// Places that were told of each other, so that messages reach all; `None` until there is a message to send.
    pub(crate) messages: Option<BTreeSet<Place>>,
}

/// Someone inside a room.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) client: ClientId,
    /// The request that let it in, so that a repeated one is answered again.
    pub(crate) joined_by: RequestNumber,
    pub(crate) router: RouterId,
    pub(crate) transport: TransportId,
    pub(crate) view: Shared<PersonView>,
    pub(crate) grant: Grant,
    /// What authorize is told again, at any time: by the grant's wish or an operator's. The token stays in memory
    /// only, as long as the person is inside.
    pub(crate) token: Secret,
    pub(crate) address: Option<IpAddr>,
    pub(crate) attrs: Vec<Attr>,
    pub(crate) renewal: Renewal,
}

#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) person: PersonId,
    pub(crate) router: RouterId,
    pub(crate) place: Place,
    pub(crate) state: TransportState,
    pub(crate) local: LocalTransport,
    pub(crate) producers: BTreeSet<ProducerId>,
    pub(crate) consumers: BTreeSet<ConsumerId>,
}

#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) transport: TransportId,
    pub(crate) person: PersonId,
    pub(crate) router: RouterId,
    pub(crate) source: String,
    pub(crate) parameters: ProducerParameters,
    pub(crate) paused: bool,
    /// Who waits for it to be made; `None` once it is, and then others know of it.
    pub(crate) asker: Option<Asker>,
    /// What the router's total counts for it.
    pub(crate) expected_kbps: u64,
    /// Its relays by the place where they end.
    pub(crate) relays: BTreeMap<Place, RelayId>,
    pub(crate) consumers: BTreeSet<ConsumerId>,
}

impl Producer {
    pub(crate) const fn is_live(&self) -> bool {
        self.asker.is_none()
    }

    pub(crate) fn view(&self, producer: ProducerId) -> TrackView {
        TrackView {
            producer,
            person: self.person,
            source: self.source.clone(),
            paused: self.paused,
            parameters: self.parameters.clone(),
        }
    }
}

/// How far a consumer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsumerStage {
    /// Its relay is being opened.
    Waiting,
    /// This command makes it.
    Creating(RequestNumber),
    /// It stands.
    Live,
}

#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) transport: TransportId,
    pub(crate) producer: ProducerId,
    /// As they are now: pauses and preferences since are noted, so that a move can make it anew.
    pub(crate) parameters: ConsumerParameters,
    pub(crate) stage: ConsumerStage,
    /// The relay that it hangs on, where its producer stands elsewhere.
    pub(crate) relay: Option<RelayId>,
    pub(crate) encoding: Option<u8>,
    pub(crate) allowance: Allowance,
    /// Who waits for it to be made.
    pub(crate) asker: Option<Asker>,
}

/// How far a relay is. The sink comes first, so that no packet arrives unawaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RelayStage {
    /// The parent is being chosen.
    Choosing,
    /// The sink was told.
    Accepting,
    /// The source was told.
    Opening,
    /// It carries.
    Open,
}

#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) producer: ProducerId,
    pub(crate) router: RouterId,
    /// The chosen parent's place; the producer's own until one is chosen.
    pub(crate) from: Place,
    pub(crate) to: Place,
    /// The relay that ends at `from`, where that is not the producer's own place.
    pub(crate) parent: Option<RelayId>,
    pub(crate) children: BTreeSet<RelayId>,
    pub(crate) consumers: BTreeSet<ConsumerId>,
    pub(crate) stage: RelayStage,
    /// Counters as last read.
    pub(crate) source: Option<RelayStats>,
    pub(crate) sink: Option<RelayStats>,
}

impl Relay {
    /// One that carries already: an engine began it.
    pub(crate) const fn opened(producer: ProducerId, router: RouterId, from: Place, to: Place) -> Self {
        Self {
            producer,
            router,
            from,
            to,
            parent: None,
            children: BTreeSet::new(),
            consumers: BTreeSet::new(),
            stage: RelayStage::Open,
            source: None,
            sink: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.consumers.is_empty() && self.children.is_empty()
    }
}
