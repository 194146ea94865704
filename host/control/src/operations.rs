//! The two walls of the front door: what it says to the directory and hears from it, and what it may read of
//! the rest of the host. Knows nothing of HTTP but its statuses.

use axum::http::StatusCode;
use serde_json::Value;
use std::time::Duration;
use tidegate_types::decision::{Decision, DecisionRecord, GenerationInfo, PolicyInfo};
use tidegate_types::request::{ClientId, Notice, Reply, Request};

/// What operators may read of parts that the front door does not know.
pub trait Operations: Send + Sync {
    /// The policies in force.
    fn policies(&self) -> Vec<PolicyInfo>;
    /// The last decisions, newest first, at most `limit`.
    fn decisions(&self, limit: usize) -> Vec<DecisionRecord>;
    /// Changes who decides. Blocks while a component is compiled.
    ///
    /// # Errors
    /// Why not; then nothing has changed.
    fn change_policy(&self, change: PolicyChange) -> Result<PolicyChanged, PolicyRefusal> {
        let detail = format!("the policies of this host do not change ({})", change.decision.name());
        Err(PolicyRefusal { status: StatusCode::CONFLICT.as_u16(), code: "policies-fixed", detail })
    }
    /// The rest of the host's metrics in Prometheus' text form.
    fn metrics(&self) -> String;
    /// Able to serve; or one sentence that says why not.
    fn health(&self) -> Result<(), String>;
}

/// What is to become of one policy.
#[derive(Clone, Debug)]
pub struct PolicyChange {
    /// Of which decision.
    pub decision: Decision,
    /// Its position in the decision's chain, from 1.
    pub position: usize,
    /// What.
    pub act: PolicyAct,
}

/// What can become of a policy.
#[derive(Clone, Debug)]
pub enum PolicyAct {
    /// Another component takes its place.
    Swap {
        /// A stock component's name, or a path on the host; `built-in` leaves share to the host's own rule.
        component: String,
        /// Its configuration; `None` keeps the one in force.
        configuration: Option<Value>,
        /// Only beside it at first: both decide, one counts.
        shadow: bool,
    },
    /// The one before takes it again.
    Back,
    /// The one in the shadow takes it.
    Enforce,
    /// The one in the shadow goes.
    Dismiss,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct PolicyChanged {
    /// What came: in force, in the shadow, or gone from there; `None`: the host's own rule.
    pub generation: Option<GenerationInfo>,
    /// What was in force before; `None`: the host's own rule, or nothing has changed in force.
    pub before: Option<GenerationInfo>,
    /// How long it took to make it ready.
    pub prepared_in: Duration,
    /// How long it took from ready until in force.
    pub took: Duration,
}

/// Why a policy did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRefusal {
    /// The HTTP status that says whose side failed.
    pub status: u16,
    /// Short, stable, lower case with hyphens.
    pub code: &'static str,
    /// One sentence: what, and what would do.
    pub detail: String,
}

/// What the front door tells the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToDirectory {
    /// A client asks.
    Request(Request),
    /// A client is gone for good; whatever it holds ends. Said once for each client that ever asked to join.
    ClientGone(ClientId),
}

/// What the directory tells the front door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromDirectory {
    /// To a client's request.
    Reply(Reply),
    /// Unasked.
    Notice(Notice),
}

impl FromDirectory {
    /// Whom it is for.
    #[must_use]
    pub const fn client(&self) -> ClientId {
        match self {
            Self::Reply(reply) => reply.client,
            Self::Notice(notice) => notice.client,
        }
    }
}
