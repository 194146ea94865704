//! Sessions: what a person's browser says over its WebSocket (PROTOCOL.md), from the pure state machine outwards
//! to the tasks that drive it.
//!
//! ```text
//! socket ⇄ drive (one task a session) ⇄ machine (pure) → negotiation (pure) → sdp (pure)
//!             ⇅
//!          directory
//! ```

mod drive;
mod machine;
mod message;
mod negotiation;
mod room;
mod socket;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use drive::{Heard, ToSocket};
pub(crate) use machine::Numbers;
pub use message::fuzz_message;
pub(crate) use message::{
    Answered, ClientMessage, Entered, HostMessage, Join, MESSAGE_BYTES, Numbered, OfferMessage, OkBody,
    TrackMessage,
};
pub(crate) use socket::{begin, serve};
pub(crate) use table::Sessions;
