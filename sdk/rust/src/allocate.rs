//! Where a new transport, a relay's parent or a router's home is to be. Knows nothing of who asks.
//!
//! The host waits 5 ms at most, queue included; without an answer its built-in rule decides: concentrate, then
//! spill. An answer that names a shard which is gone is asked for once more.

use crate::bindings::allocation::exports::tidegate::policy::allocation as wire;
use crate::seat::{Registered, Seated};
use crate::words::{attrs_in, attrs_out};

pub use crate::choose::Choose;
pub use crate::cluster::{Cluster, Column, Shard};
pub use crate::lifecycle::{Description, Package, Problem, Setup};
pub use crate::moment::{Moment, Random, UnixTime};
pub use crate::words::{Attr, Bitrate, Refusal};

/// A policy that decides where things are placed.
pub trait Allocate {
    /// What it says of itself; name and version come from its Cargo.toml.
    fn describe(&self, package: Package) -> Description {
        Description::of(package)
    }

    /// Takes its configuration, before the first feed and decision.
    ///
    /// # Errors
    /// What is wrong with it; the host then does not put the policy in force.
    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        setup.expect_nothing()
    }

    /// Where is this to be?
    ///
    /// # Errors
    /// Nowhere, and why; the person reads it.
    fn place(&self, request: &PlaceRequest, cluster: &Cluster) -> Result<Placement, Refusal>;
}

/// What is to be placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceKind {
    /// A transport.
    #[default]
    Transport,
    /// A relay's parent: the answer names one of [`PlaceRequest::parents`].
    Relay,
    /// A router's home.
    Router,
    /// Something this SDK has no word for: place it like a transport.
    Other(String),
}

impl PlaceKind {
    fn named(name: String) -> Self {
        match name.as_str() {
            "transport" => Self::Transport,
            "relay" => Self::Relay,
            "router" => Self::Router,
            _ => Self::Other(name),
        }
    }
}

/// What one shard holds of the router in question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterAtShard {
    /// The shard's row handle.
    pub row: u32,
    /// The router's transports there.
    pub transports: u32,
    /// Its producers there.
    pub producers: u32,
    /// Its relays that end there.
    pub relays: u32,
    /// Egress promised there and not yet reported.
    pub reserved: Bitrate,
}

/// A shard that a relay could copy from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parent {
    /// The shard's row handle.
    pub row: u32,
    /// Hops from the producer; 0 is the producer's own shard.
    pub depth: u32,
    /// Relays of this producer that already leave from there.
    pub fan_out: u32,
}

/// Where is this to be?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceRequest {
    /// What.
    pub kind: PlaceKind,
    /// The room, where there is one. A policy must be able to do without.
    pub room: Option<String>,
    /// Where the router already is.
    pub router_at: Vec<RouterAtShard>,
    /// Rate expected in.
    pub expected_ingress: Bitrate,
    /// Rate expected out.
    pub expected_egress: Bitrate,
    /// Region asked for, if any; compare with [`Shard::region`].
    pub region_hint: Option<String>,
    /// Candidate parents, for a relay.
    pub parents: Vec<Parent>,
    /// When and with which seed.
    pub moment: Moment,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

impl PlaceRequest {
    /// The router's transports on a shard.
    #[must_use]
    pub fn transports_at(&self, shard: Shard<'_>) -> u32 {
        self.router_at.iter().find(|at| at.row == shard.row()).map_or(0, |at| at.transports)
    }

    /// A relay's parent by a common rule: the fewest hops from the producer among those with less than `fan_out`
    /// relays, then the fewest relays; if all have more, the fewest relays.
    #[must_use]
    pub fn nearest_parent<'a>(&self, cluster: &'a Cluster, fan_out: u32) -> Option<Shard<'a>> {
        let alive = self.parents.iter().filter_map(|parent| Some((parent, cluster.shard(parent.row)?)));
        alive
            .min_by_key(|(parent, shard)| {
                let taken = parent.fan_out >= fan_out;
                let depth = if taken { 0 } else { parent.depth };
                (shard.is_draining(), taken, depth, parent.fan_out)
            })
            .map(|(_, shard)| shard)
    }
}

/// Where something is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The shard's row handle.
    pub row: u32,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

impl Placement {
    /// There.
    #[must_use]
    pub const fn on(shard: Shard<'_>) -> Self {
        Self { row: shard.row(), attrs: Vec::new() }
    }
}

impl<T: Allocate + Seated> wire::Guest for Registered<T> {
    fn place(request: wire::PlaceRequest) -> Result<wire::Placement, wire::Refusal> {
        let request = request.into();
        let answer = crate::cluster::with(|cluster| T::seat(|policy| policy.place(&request, cluster)));
        answer.map(Into::into).map_err(Into::into)
    }
}

impl From<wire::PlaceRequest> for PlaceRequest {
    fn from(request: wire::PlaceRequest) -> Self {
        Self {
            kind: PlaceKind::named(request.kind),
            room: request.room,
            router_at: request.router_at.as_ref().map(routers_in).unwrap_or_default(),
            expected_ingress: Bitrate::from_kbps(request.expected_ingress_kbps),
            expected_egress: Bitrate::from_kbps(request.expected_egress_kbps),
            region_hint: request.region_hint,
            parents: request.parents.as_ref().map(parents_in).unwrap_or_default(),
            moment: request.moment.into(),
            attrs: attrs_in(request.attrs),
        }
    }
}

/// Columns into rows. The host sends lists of one length; a short one reads as zeros.
fn routers_in(columns: &wire::RouterPlaces) -> Vec<RouterAtShard> {
    let count = |column: &[u32], index: usize| column.get(index).copied().unwrap_or(0);
    let row = |(index, &row)| RouterAtShard {
        row,
        transports: count(&columns.transports, index),
        producers: count(&columns.producers, index),
        relays: count(&columns.relays, index),
        reserved: Bitrate::from_kbps(columns.reserved_kbps.get(index).copied().unwrap_or(0)),
    };
    columns.rows.iter().enumerate().map(row).collect()
}

fn parents_in(columns: &wire::RelayParents) -> Vec<Parent> {
    let count = |column: &[u32], index: usize| column.get(index).copied().unwrap_or(0);
    let row = |(index, &row)| Parent {
        row,
        depth: count(&columns.depth, index),
        fan_out: count(&columns.fan_out, index),
    };
    columns.rows.iter().enumerate().map(row).collect()
}

impl From<Placement> for wire::Placement {
    fn from(placement: Placement) -> Self {
        Self { row: placement.row, attrs: attrs_out(placement.attrs) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cluster, Column, Parent, PlaceRequest, Shard};

    fn chosen(parents: &[(u32, u32, u32)], draining: Option<u32>) -> Option<u32> {
        let mut cluster = Cluster::with_shards(4);
        if let Some(row) = draining {
            cluster.set(row, Column::Draining, 1);
        }
        let parents = parents.iter().map(|&(row, depth, fan_out)| Parent { row, depth, fan_out }).collect();
        let request = PlaceRequest { parents, ..PlaceRequest::default() };
        request.nearest_parent(&cluster, 2).map(Shard::row)
    }

    #[test]
    fn a_relay_hangs_on_the_nearest_parent_with_a_free_branch() {
        assert_eq!(chosen(&[(0, 0, 1), (1, 1, 0)], None), Some(0));
        assert_eq!(chosen(&[(0, 0, 2), (1, 1, 1), (2, 1, 0)], None), Some(2));
        assert_eq!(chosen(&[(0, 0, 5), (1, 1, 4)], None), Some(1), "all are full: the least full");
        assert_eq!(chosen(&[(0, 0, 0), (1, 1, 0)], Some(0)), Some(1), "a draining one only if it must be");
        assert_eq!(chosen(&[(0, 0, 0)], Some(0)), Some(0));
        assert_eq!(chosen(&[(9, 0, 0)], None), None, "a row that isn't there");
    }
}
