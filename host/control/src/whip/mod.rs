//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-03): encoders and players that speak a little HTTP instead of a
//! WebSocket. Knows nothing of the engine, and of SDP only which sections it has: a resource *is* a session, whose
//! client is the host itself.
//!
//! ```text
//! POST offer ─> guest: join ─> choose ─> offer ─> answer ─> 201
//!                 ⇅ the two queues that a WebSocket has otherwise
//!               session
//! PATCH, DELETE ─> the resource's task ─> guest
//! ```

mod choice;
mod fragment;
mod guest;
mod resources;
pub(crate) mod routes;
#[cfg(test)]
mod tests;

pub use fragment::fuzz_fragment;
pub(crate) use resources::Resources;
pub(crate) use routes::routes;
