//! The cluster as policies see it: one row a shard, named columns of numbers, reset once and then told by
//! deltas. Knows nothing of how a policy is called.

use crate::Place;
use crate::report::LoadReport;
use serde::{Deserialize, Serialize};

/// A named column; the unit ends its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Column {
    /// Median forwarding delay.
    ForwardDelayP50,
    /// 99th percentile of forwarding delay.
    ForwardDelayP99,
    /// Age of the oldest waiting packet, outgoing or unread.
    QueueAge,
    /// Datagrams in per second.
    PacketsIn,
    /// Datagrams out per second.
    PacketsOut,
    /// Rate in.
    Ingress,
    /// Rate out.
    Egress,
    /// Thousandths of a core.
    Cpu,
    /// Transports that stand there.
    Transports,
    /// Consumers that stand there.
    Consumers,
    /// Ingress promised to placements that no report shows yet.
    ReservedIngress,
    /// Egress promised likewise.
    ReservedEgress,
    /// Transports promised likewise.
    ReservedTransports,
    /// 1: takes nothing new.
    Draining,
    /// How much it sheds because it cannot keep up; 0: nothing.
    Shedding,
}

impl Column {
    /// Every column, in the order of [`ShardRow::values`].
    pub const ALL: [Self; 15] = [
        Self::ForwardDelayP50,
        Self::ForwardDelayP99,
        Self::QueueAge,
        Self::PacketsIn,
        Self::PacketsOut,
        Self::Ingress,
        Self::Egress,
        Self::Cpu,
        Self::Transports,
        Self::Consumers,
        Self::ReservedIngress,
        Self::ReservedEgress,
        Self::ReservedTransports,
        Self::Draining,
        Self::Shedding,
    ];

    /// The name that plugins look a column up by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForwardDelayP50 => "forward-delay-p50",
            Self::ForwardDelayP99 => "forward-delay-p99",
            Self::QueueAge => "queue-age",
            Self::PacketsIn => "packets-in",
            Self::PacketsOut => "packets-out",
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::Cpu => "cpu",
            Self::Transports => "transports",
            Self::Consumers => "consumers",
            Self::ReservedIngress => "reserved-ingress",
            Self::ReservedEgress => "reserved-egress",
            Self::ReservedTransports => "reserved-transports",
            Self::Draining => "draining",
            Self::Shedding => "shedding",
        }
    }

    /// The unit of its values.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::ForwardDelayP50 | Self::ForwardDelayP99 | Self::QueueAge => "us",
            Self::PacketsIn | Self::PacketsOut => "packets/s",
            Self::Ingress | Self::Egress | Self::ReservedIngress | Self::ReservedEgress => "kbps",
            Self::Cpu => "permille",
            Self::Transports | Self::Consumers | Self::ReservedTransports => "count",
            Self::Draining => "bool",
            Self::Shedding => "level",
        }
    }

    /// The column's position in a row.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRow {
    /// Where.
    pub place: Place,
    /// Its node's region label; empty if none was given.
    pub region: String,
    /// Its node's name.
    pub node_name: String,
    /// One value a column, in the order of [`Column::ALL`].
    pub values: [u64; Column::ALL.len()],
}

impl ShardRow {
    /// A column's value.
    #[must_use]
    pub const fn value(&self, column: Column) -> u64 {
        self.values[column.index()]
    }
}

/// One value that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellChange {
    /// Row handle under the feed's generation: the row's position in the last reset.
    pub row: u32,
    /// Which column.
    pub column: Column,
    /// What it is now.
    pub value: u64,
}

/// What every instance of a stateful policy must know before its next decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Feed {
    /// The whole cluster; a row's handle is its position.
    Reset {
        /// Grows by one with each reset.
        generation: u64,
        /// All shards.
        rows: Vec<ShardRow>,
    },
    /// What changed since.
    Delta {
        /// Of which reset; another generation means a missed reset.
        generation: u64,
        /// The changes.
        changes: Vec<CellChange>,
    },
}

impl ShardRow {
    /// The columns that a load report sets, with their values.
    #[must_use]
    pub const fn reported(load: &LoadReport) -> [(Column, u64); 11] {
        [
            (Column::ForwardDelayP50, load.forward_delay_p50_us),
            (Column::ForwardDelayP99, load.forward_delay_p99_us),
            (Column::QueueAge, load.queue_age_us),
            (Column::PacketsIn, load.packets_in_per_s),
            (Column::PacketsOut, load.packets_out_per_s),
            (Column::Ingress, load.ingress_kbps),
            (Column::Egress, load.egress_kbps),
            (Column::Cpu, load.cpu_permille),
            (Column::Transports, load.transports),
            (Column::Consumers, load.consumers),
            (Column::Shedding, load.shed_level),
        ]
    }
}
