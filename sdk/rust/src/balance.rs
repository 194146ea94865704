//! What should change among what runs. Knows nothing of how a change is done.
//!
//! Called on one instance only, on a tick, on a node's loss and on a drain. The host waits 50 ms at most; without
//! an answer nothing changes.

use crate::bindings::balancing::exports::tidegate::policy::balancing as wire;
use crate::seat::{Registered, Seated};
use crate::words::{attrs_in, attrs_out};

pub use crate::cluster::{Cluster, Column, Shard};
pub use crate::lifecycle::{Description, Package, Problem, Setup};
pub use crate::moment::{Moment, Random, UnixTime};
pub use crate::words::{Attr, Bitrate};

/// A policy that decides what moves, drains, grows or shrinks.
pub trait Balance {
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

    /// What should change? No wishes for "leave it"; most wanted first, at most 64. What the policy remembers
    /// between ticks is a cache: its instance may be dropped at any moment.
    fn balance(&mut self, request: &BalanceRequest, cluster: &Cluster) -> Vec<Wish>;
}

/// Why balance is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Time passed.
    #[default]
    Tick,
    /// A node is gone.
    NodeLost,
    /// A node is to be emptied.
    Drain,
    /// Something this SDK has no word for: treat it like a tick.
    Other(String),
}

impl Cause {
    fn named(name: String) -> Self {
        match name.as_str() {
            "tick" => Self::Tick,
            "node-lost" => Self::NodeLost,
            "drain" => Self::Drain,
            _ => Self::Other(name),
        }
    }
}

/// What should change?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalanceRequest {
    /// Why now.
    pub cause: Cause,
    /// The shard concerned, as a row handle, where there is one.
    pub row: Option<u32>,
    /// When and with which seed.
    pub moment: Moment,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

/// One change that is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// `move`, `drain`, `grow` or `shrink`; others are shown and ignored.
    pub action: String,
    /// Off which shard, as a row handle.
    pub from_row: Option<u32>,
    /// To which shard, as a row handle.
    pub to_row: Option<u32>,
    /// How many transports, or how much egress in kbit/s, as `unit` says.
    pub amount: u64,
    /// `transports` or `kbps`.
    pub unit: String,
    /// One sentence for operators.
    pub reason: String,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

impl Wish {
    /// Moves transports from one shard to another.
    #[must_use]
    pub fn move_transports(
        from: Shard<'_>,
        to: Shard<'_>,
        transports: u64,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            action: "move".to_owned(),
            from_row: Some(from.row()),
            to_row: Some(to.row()),
            amount: transports,
            unit: "transports".to_owned(),
            reason: reason.into(),
            attrs: Vec::new(),
        }
    }
}

impl<T: Balance + Seated> wire::Guest for Registered<T> {
    fn balance(request: wire::BalanceRequest) -> wire::BalanceAnswer {
        let request = request.into();
        let wishes = crate::cluster::with(|cluster| T::seat(|policy| policy.balance(&request, cluster)));
        wire::BalanceAnswer { wishes: wishes.into_iter().map(Into::into).collect(), attrs: Vec::new() }
    }
}

impl From<wire::BalanceRequest> for BalanceRequest {
    fn from(request: wire::BalanceRequest) -> Self {
        Self {
            cause: Cause::named(request.cause),
            row: request.row,
            moment: request.moment.into(),
            attrs: attrs_in(request.attrs),
        }
    }
}

impl From<Wish> for wire::Wish {
    fn from(wish: Wish) -> Self {
        Self {
            action: wish.action,
            from_row: wish.from_row,
            to_row: wish.to_row,
            amount: wish.amount,
            unit: wish.unit,
            reason: wish.reason,
            attrs: attrs_out(wish.attrs),
        }
    }
}
