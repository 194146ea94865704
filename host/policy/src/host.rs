//! What a decider is to the runtime, be it a component or native code: the same traits, so that the two can be
//! measured against each other. Knows nothing of queues, threads or WebAssembly.

use crate::feed::Cluster;
use crate::tape::Tape;
use std::time::Duration;
use tidegate_types::cluster::CellChange;
use tidegate_types::decision::{
    AuthorizeAnswer, AuthorizeRequest, BalanceAnswer, BalanceRequest, Failure, PlaceAnswer, PlaceRequest,
};
use tidegate_types::sharing::{Portion, ShareAnswer, ShareRequest};

/// One instance of a policy. It decides one thing at a time.
///
/// An instance that answers with a failure other than [`Failure::Stale`] is dropped and made anew.
pub trait Instance: Send {
    /// From now on it may run for so long; what is still running then is interrupted. Native code is trusted and
    /// ignores it.
    fn allow(&mut self, time: Duration) {
        let _ = time;
    }

    /// What it has taken since it was made; nothing is known of native code.
    fn spent(&self) -> Spent {
        Spent::default()
    }

    /// What it is told by the host, where that is kept or played.
    fn tape(&mut self) -> Option<&mut Tape> {
        None
    }

    /// What went wrong in the last call that failed: the reason, and where, innermost first. Told once.
    fn trouble(&mut self) -> Option<String> {
        None
    }
}

/// What an instance has taken since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// What it computed, in wasmtime's fuel, where the engine counts it.
    pub fuel: Option<u64>,
    /// Its memory, in bytes.
    pub memory_bytes: usize,
}

/// Who may.
pub trait Authorize: Instance {
    /// Decides.
    ///
    /// # Errors
    /// Why there is no answer.
    fn authorize(&mut self, request: &AuthorizeRequest) -> Result<AuthorizeAnswer, Failure>;
}

/// One that must know the cluster before it decides.
pub trait Fed: Instance {
    /// The whole cluster, instead of what was told before.
    ///
    /// # Errors
    /// Why it could not be told.
    fn reset(&mut self, cluster: &Cluster) -> Result<(), Failure>;

    /// What changed since. False asks for a reset.
    ///
    /// # Errors
    /// Why it could not be told.
    fn delta(&mut self, generation: u64, changes: &[CellChange]) -> Result<bool, Failure>;
}

/// Where.
pub trait Allocate: Fed {
    /// Decides.
    ///
    /// # Errors
    /// Why there is no answer; [`Failure::Stale`] if it names a place that is not in the feed.
    fn place(&mut self, request: &PlaceRequest) -> Result<PlaceAnswer, Failure>;
}

/// What to change.
pub trait Balance: Fed {
    /// Decides.
    ///
    /// # Errors
    /// Why there is no answer; [`Failure::Stale`] if it names a place that is not in the feed.
    fn balance(&mut self, request: &BalanceRequest) -> Result<BalanceAnswer, Failure>;
}

/// How a room's pictures divide what its people can receive.
pub trait Share: Instance {
    /// Decides; one portion for each of the request's tracks.
    ///
    /// # Errors
    /// Why there is no answer.
    fn share(&mut self, request: &ShareRequest) -> Result<ShareAnswer, Failure>;
}

/// The host's own rule, said as an answer: nothing is worth more or less than the engine makes it. What other policies
/// are measured against; where no policy is chosen nobody is asked at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltInShare;

impl Instance for BuiltInShare {}

impl Share for BuiltInShare {
    fn share(&mut self, request: &ShareRequest) -> Result<ShareAnswer, Failure> {
        let portions = vec![Portion::default(); request.tracks.len()];
        Ok(ShareAnswer { portions, valid_ms: request.period_ms, ..ShareAnswer::default() })
    }
}
