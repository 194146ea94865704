//! Cases: questions with the answers that are expected, in JSON files, run natively here and in the sandbox by
//! `tidegate plugin test`. Knows nothing of WebAssembly.
//!
//! A file of `cases/` holds one case or a list of them:
//!
//! ```json
//! [{
//!   "name": "a full room is closed",
//!   "config": { "people": 2 },
//!   "request": { "action": "join", "room": "harbour", "room_people": 2 },
//!   "expect": { "refuse": "full" }
//! }]
//! ```
//!
//! Whatever a request leaves out is empty or zero. An expectation names only what matters: `{"grant": {}}` is content
//! with any grant. For `allocate` and `balance`, `cluster` lists the shards by the names of their columns:
//! `"cluster": [{ "egress": 300 }, { "egress": 100, "region": "north" }]`. For `share` people and tracks stand in the
//! request, in the order of their rows. `lookups` names what the host can look up, for a `configure` that asks;
//! `repeat` asks so often, and the last answer counts.
//!
//! One test runs them all:
//!
//! ```no_run
//! # use tidegate_sdk::authorize::*;
//! # struct Door;
//! # impl Authorize for Door { fn authorize(&self, _: &AuthorizeRequest) -> Answer { Grant::open().into() } }
//! # tidegate_sdk::register!(authorize: Door);
//! // #[test]
//! fn the_cases_decide_as_written() {
//!     tidegate_sdk::cases::authorize::<Door>("cases");
//! }
//! ```

mod answer;
mod difference;
mod expect;
mod form;
mod native;
mod read;
mod share;

pub use answer::{of_authorize, of_balance, of_place, of_share};
pub use difference::{Difference, differences};
pub use expect::{AuthorizeExpect, BalanceExpect, PlaceExpect, ShareExpect};
pub use form::{
    AuthorizeForm, BalanceForm, Case, MOST_REPEATS, PlaceForm, Request, Row, cluster, shards, times,
};
pub use native::{allocate, authorize, balance, share};
pub use read::{CaseError, files, parse, read};
pub use share::ShareForm;

/// A case of authorize.
pub type AuthorizeCase = Case<AuthorizeForm, AuthorizeExpect>;
/// A case of allocate.
pub type PlaceCase = Case<PlaceForm, PlaceExpect>;
/// A case of balance.
pub type BalanceCase = Case<BalanceForm, BalanceExpect>;
/// A case of share.
pub type ShareCase = Case<ShareForm, ShareExpect>;
