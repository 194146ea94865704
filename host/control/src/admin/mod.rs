//! The operators' side: an HTTP API over what the directory and the policies tell of themselves. Knows nothing of
//! how that came about.

mod guard;
mod inquiry;
mod persons;
mod policies;
mod routes;
mod views;

pub use routes::openapi;

pub(crate) use guard::{bearer, guard, may_see_console};
pub(crate) use inquiry::{ITSELF, Inquiries};
pub(crate) use routes::routes;
