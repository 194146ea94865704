//! What a place tells the directory without being asked.

use crate::consumer::Allowance;
use crate::data::DataRefusal;
use crate::router::AudioLevels;
use crate::transport::{TransportEnd, TransportState};
use crate::{ConsumerId, PersonId, ProducerId, ShardIndex, TransportId};
use serde::{Deserialize, Serialize};

/// One report of a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// A transport's state changed.
    Transport {
        /// Which.
        transport: TransportId,
        /// To what.
        state: TransportState,
        /// Why, where it closed by itself. Its producers and consumers are gone with it.
        end: Option<TransportEnd>,
    },
    /// A transport arrived at another shard of this node.
    Moved {
        /// Which.
        transport: TransportId,
        /// Where it stands now.
        to: ShardIndex,
    },
    /// Who made sound.
    AudioLevels(AudioLevels),
    /// A consumer is now sent another encoding, or has another share of the bit rate.
    LayersChanged {
        /// Which.
        consumer: ConsumerId,
        /// What it is sent; `None` while nothing fits.
        encoding: Option<u8>,
        /// What its share of the bit rate allows.
        allowance: Allowance,
    },
    /// Which encodings of a producer somebody watches; its peer need not send the others.
    EncodingsWatched {
        /// Which.
        producer: ProducerId,
        /// Bit n set: encoding n is watched.
        encodings: u32,
    },
    /// A producer's peer sent nothing for it for 10 s, or sends again.
    ProducerSilent {
        /// Which.
        producer: ProducerId,
        /// Silent, or back.
        silent: bool,
    },
    /// A text on the room's channel, for a person who has no data channel.
    RoomMessage {
        /// That person's transport.
        transport: TransportId,
        /// Who says so.
        from: PersonId,
        /// What.
        text: String,
    },
    /// A message or data channel of a transport's peer was refused.
    DataRefused {
        /// Which transport.
        transport: TransportId,
        /// The channel's label.
        label: String,
        /// Why.
        refusal: DataRefusal,
    },
    /// How loaded the place is; about once a second.
    Load(LoadReport),
}

/// How loaded a shard is, over the last interval. Overload is delay, not CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Median time from a datagram's arrival at the socket's reader to its copies' hand-over to the kernel.
    pub forward_delay_p50_us: u64,
    /// The 99th percentile of the same.
    pub forward_delay_p99_us: u64,
    /// Age of the oldest waiting outgoing packet, or how long one waits to be read, if that is longer.
    pub queue_age_us: u64,
    /// Datagrams in.
    pub packets_in_per_s: u64,
    /// Datagrams out.
    pub packets_out_per_s: u64,
    /// Rate in.
    pub ingress_kbps: u64,
    /// Rate out.
    pub egress_kbps: u64,
    /// CPU of the shard's thread, in thousandths of a core.
    pub cpu_permille: u64,
    /// Transports that stand here.
    pub transports: u64,
    /// Consumers that stand here.
    pub consumers: u64,
    /// How much is shed because the shard cannot keep up: 0 is nothing, 6 all pictures.
    pub shed_level: u64,
    /// Packets that were not forwarded to someone because of it, since the start.
    pub shed_packets: u64,
    /// Datagrams dropped since the start, whatever the reason.
    pub dropped: u64,
}
