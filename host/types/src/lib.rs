//! The words that cross a wall between two parts of the host: ids, units, the packet buffer, commands and
//! reports, requests and notices, decisions and the view of the cluster.
//!
//! Knows nothing of sockets, threads, async runtimes, policies or SDP. Everything that a directory sends to a
//! place is plain data (serde), so that it can leave the process.
//!
//! ```
//! use tidegate_types::{Bitrate, Place};
//!
//! let place = Place::local(3);
//! assert_eq!(place.shard.0, 3);
//! assert_eq!(Bitrate::from_kbps(800).bits_per_second(), 800_000);
//! ```
#![forbid(unsafe_code)]

pub mod cluster;
pub mod command;
pub mod consumer;
pub mod data;
pub mod decision;
pub mod id;
pub mod layer;
pub mod packet;
pub mod producer;
pub mod relay;
pub mod report;
pub mod request;
pub mod router;
pub mod rtp;
pub mod secret;
pub mod shared;
pub mod sharing;
pub mod transport;
pub mod units;

pub use id::{
    ConsumerId, NodeId, PersonId, Place, ProducerId, RelayId, RequestNumber, RouterId, ShardIndex,
    TransportId,
};
pub use packet::{Buffer, MediaPacket, Pool};
pub use rtp::{MediaKind, RtpParameters};
pub use secret::Secret;
pub use shared::Shared;
pub use units::{Bitrate, Now, NtpTime};
