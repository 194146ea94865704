//! Data channels of one transport (RFC 8831): SCTP over DTLS, channels, messages. Packets and time in; packets,
//! messages and refusals out. Knows nothing of rooms or of other transports.
//!
//! ```text
//! DTLS ─ sctp (streams, loss, order) ─ channel (who opened what, RFC 8832) ─ frame (whose message) ─ Message
//! ```

mod allowance;
mod channel;
mod dcep;
mod frame;
#[cfg(feature = "peer")]
pub mod peer;
mod pieces;
mod sctp;

pub use allowance::Allowance;
pub use channel::Message;
pub use frame::{FRAME_BYTES, Kind, ROOM_PROTOCOL, frame, unframe};
pub use sctp::{DataEvent, Sctp, Sent};

/// What a fuzzer calls: arbitrary bytes as a DCEP message, as a room message's frame and as SCTP packets. Must not panic; what is
/// written is what was read.
pub fn fuzz_data(bytes: &[u8]) {
    dcep::fuzz(bytes);
    frame::fuzz(bytes);
    pieces::fuzz(bytes);
}
