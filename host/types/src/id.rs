//! Ids of everything that exists, and the place where it exists. Ids are handed out by the directory alone.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($raw:ty), $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

ids! {
    /// One running host process on one server.
    NodeId(u64), "node-";
    /// One core's worth of a node, counted from 0.
    ShardIndex(u16), "shard-";
    /// The routing domain that producers and consumers meet in.
    RouterId(u64), "router-";
    /// One peer's ICE+DTLS+SRTP association.
    TransportId(u64), "transport-";
    /// A track as it arrives.
    ProducerId(u64), "producer-";
    /// A track as sent to one peer.
    ConsumerId(u64), "consumer-";
    /// One copy of one producer's demanded layers, carried to another place.
    RelayId(u64), "relay-";
    /// One person's presence in one room.
    PersonId(u64), "person-";
    /// Numbers a command, request or question of one sender, so that its reply can be matched.
    RequestNumber(u64), "request-";
}

/// Where a thing lives: a shard of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The host process.
    pub node: NodeId,
    /// The core within it.
    pub shard: ShardIndex,
}

impl Place {
    /// A shard of the only node (node 0).
    #[must_use]
    pub const fn local(shard: u16) -> Self {
        Self { node: NodeId(0), shard: ShardIndex(shard) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.node, self.shard)
    }
}
