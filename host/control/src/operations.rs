//! The two walls of the front door: what it says to the directory and hears from it, and what it may read of
//! the rest of the host. Knows nothing of HTTP.

use tidegate_types::decision::{DecisionRecord, PolicyInfo};
use tidegate_types::request::{ClientId, Notice, Reply, Request};

/// What operators may read of parts that the front door does not know.
pub trait Operations: Send + Sync {
    /// The policies in force.
    fn policies(&self) -> Vec<PolicyInfo>;
    /// The last decisions, newest first, at most `limit`.
    fn decisions(&self, limit: usize) -> Vec<DecisionRecord>;
    /// The rest of the host's metrics in Prometheus' text form.
    fn metrics(&self) -> String;
    /// Able to serve; or one sentence that says why not.
    fn health(&self) -> Result<(), String>;
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
