//! One instance of a component, as a decider. Knows nothing of when it is asked.

use crate::allowance::Allowance;
use crate::bindings::exports::tidegate::policy::{
    allocation, authorization, balancing, cluster_feed, sharing,
};
use crate::bindings::tidegate::policy::types::{ColumnParam as WitColumn, LabelColumn as WitLabels};
use crate::convert;
use crate::engine::FUEL;
use crate::feed::{self, Cluster, Places};
use crate::host;
use crate::imports::HostState;
use crate::tape::Tape;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::cluster::CellChange;
use tidegate_types::decision::{
    AuthorizeAnswer, AuthorizeRequest, BalanceAnswer, BalanceRequest, Failure, PlaceAnswer, PlaceRequest,
};
use tidegate_types::sharing::{ShareAnswer, ShareRequest};
use wasmtime::{Store, Trap, WasmBacktrace};

/// A guest that is called through `E`. After any trap it can never be entered again.
pub(crate) struct Guest<E> {
    store: Store<HostState>,
    exports: E,
    /// What its row handles mean: those of the last reset that it was told.
    places: Arc<Places>,
    /// What went wrong last.
    trouble: Option<String>,
}

/// The exports of a guest that holds the cluster.
pub(crate) struct Fed<D> {
    pub(crate) feed: cluster_feed::Guest,
    pub(crate) decide: D,
}

impl<E> Guest<E> {
    pub(crate) fn new(store: Store<HostState>, exports: E) -> Self {
        Self { store, exports, places: Arc::default(), trouble: None }
    }

    /// Names what ended a call, and remembers more.
    fn failed(&mut self, error: &wasmtime::Error) -> Failure {
        let failure = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Failure::Deadline,
            Some(_) => Failure::Trap,
            // It returned, but what it returned could not be read: too large, not text, outside its memory.
            None => Failure::Nonsense,
        };
        self.trouble = Some(format!("{}: {}{}", failure.name(), error.root_cause(), place(error)));
        failure
    }
}

/// Where in the guest that was, innermost first; functions without a name by their number.
fn place(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let name = |frame: &wasmtime::FrameInfo| {
        frame.func_name().map_or_else(|| format!("#{}", frame.func_index()), |name| format!("{name:#}"))
    };
    let names: Vec<String> = backtrace.frames().iter().map(name).collect();
    if names.is_empty() { String::new() } else { format!(" in {}", names.join(" < ")) }
}

impl<E: Send> host::Instance for Guest<E> {
    fn allow(&mut self, time: Duration) {
        self.store.data_mut().allowance = Allowance::new(Instant::now(), time);
        self.store.set_epoch_deadline(1);
    }

    fn spent(&self) -> host::Spent {
        let left = self.store.get_fuel().ok();
        let memory_bytes = self.store.data().limits.memory_bytes();
        host::Spent { fuel: left.map(|left| FUEL.saturating_sub(left)), memory_bytes }
    }

    fn tape(&mut self) -> Option<&mut Tape> {
        Some(&mut self.store.data_mut().tape)
    }

    fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }
}

impl host::Authorize for Guest<authorization::Guest> {
    fn authorize(&mut self, request: &AuthorizeRequest) -> Result<AuthorizeAnswer, Failure> {
        self.store.data_mut().turn_to(request.moment);
        let answer = convert::authorize_request(request, |request| {
            self.exports.call_authorize(&mut self.store, request)
        });
        answer.map(convert::authorize_answer).map_err(|error| self.failed(&error))
    }
}

impl<D: Send> host::Fed for Guest<Fed<D>> {
    fn reset(&mut self, cluster: &Cluster) -> Result<(), Failure> {
        self.places = cluster.places().clone();
        let columns: Vec<WitColumn<'_>> = feed::columns()
            .zip(cluster.numbers())
            .map(|((name, unit), values)| WitColumn { name, unit, values })
            .collect();
        let texts: Vec<Vec<&str>> =
            cluster.labels().iter().map(|label| label.texts.iter().map(String::as_str).collect()).collect();
        let labels: Vec<WitLabels<'_>> = cluster
            .labels()
            .iter()
            .zip(&texts)
            .map(|(label, texts)| WitLabels { name: label.name, texts, values: &label.values })
            .collect();
        let rows = u32::try_from(cluster.rows()).unwrap_or(u32::MAX);
        let told =
            self.exports.feed.call_reset(&mut self.store, cluster.generation(), rows, &columns, &labels);
        told.map_err(|error| self.failed(&error))
    }

    fn delta(&mut self, generation: u64, changes: &[CellChange]) -> Result<bool, Failure> {
        let columns: Vec<u32> = changes.iter().map(|change| change.column as u32).collect();
        let rows: Vec<u32> = changes.iter().map(|change| change.row).collect();
        let values: Vec<u64> = changes.iter().map(|change| change.value).collect();
        let told = self.exports.feed.call_delta(&mut self.store, generation, &columns, &rows, &values, &[]);
        told.map(|answer| answer.is_ok()).map_err(|error| self.failed(&error))
    }
}

impl host::Allocate for Guest<Fed<allocation::Guest>> {
    fn place(&mut self, request: &PlaceRequest) -> Result<PlaceAnswer, Failure> {
        self.store.data_mut().turn_to(request.moment);
        let answer = convert::place_request(request, &self.places, |request| {
            self.exports.decide.call_place(&mut self.store, request)
        });
        match answer {
            Ok(answer) => convert::place_answer(answer, &self.places),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

impl host::Balance for Guest<Fed<balancing::Guest>> {
    fn balance(&mut self, request: &BalanceRequest) -> Result<BalanceAnswer, Failure> {
        self.store.data_mut().turn_to(request.moment);
        let answer = convert::balance_request(request, &self.places, |request| {
            self.exports.decide.call_balance(&mut self.store, request)
        });
        match answer {
            Ok(answer) => convert::balance_answer(answer, &self.places),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

impl host::Share for Guest<sharing::Guest> {
    fn share(&mut self, request: &ShareRequest) -> Result<ShareAnswer, Failure> {
        self.store.data_mut().turn_to(request.moment);
        let answer =
            convert::share_request(request, |request| self.exports.call_share(&mut self.store, request));
        let answer = answer.map_err(|error| self.failed(&error))?;
        convert::share_answer(request, answer).map_err(|error| {
            self.trouble = Some(format!("{}: {error}", Failure::Nonsense.name()));
            Failure::Nonsense
        })
    }
}
