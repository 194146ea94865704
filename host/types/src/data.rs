//! Data channels and the messages on them. A data producer is a channel as its messages arrive, a data consumer
//! a channel as messages are sent to one peer; in a room each open channel is both.

use crate::PersonId;
use serde::{Deserialize, Serialize};

/// The most bytes of one message on a data channel, the frame of a room message included: what browsers take.
pub const MESSAGE_BYTES: u32 = 256 * 1024;
/// The most bytes of a room message that also goes over sessions, for people without a data channel.
pub const TEXT_BYTES: usize = 16 * 1024;
const _: () = assert!(TEXT_BYTES < MESSAGE_BYTES as usize);
/// Messages of one person that are forwarded in a second. Each costs its whole room work.
pub const MESSAGES_PER_S: u32 = 200;
/// Channels that one transport holds at most.
pub const CHANNELS: usize = 32;
/// The most bytes of a channel's label, and of its subprotocol.
pub const NAME_BYTES: usize = 64;
/// Pieces of unfinished or waiting messages that are held of one peer. Each may hold a whole packet in memory.
pub const PIECES: usize = 4_096;
/// The label of the channel whose messages sessions carry, too.
pub const ROOM_LABEL: &str = "room";

/// How data channels of one transport are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataParameters {
    /// Whose messages these are; others are told.
    pub person: PersonId,
    /// Its grant lets it send; everyone may receive.
    pub may_send: bool,
    /// The most bytes of a message that the peer takes (RFC 8841, section 6).
    pub max_message_bytes: u32,
}

/// Why a message or a channel was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataRefusal {
    /// The grant does not let this person send.
    NotGranted,
    /// The message exceeds [`MESSAGE_BYTES`].
    TooLong,
    /// More messages than are forwarded from one person.
    TooMany,
    /// More channels than one transport holds, or a label or protocol that is too long.
    ChannelUnfit,
    /// The peer took messages of a reliable channel too slowly: the channel is closed.
    TooSlow,
    /// The peer has more pieces of messages outstanding than [`PIECES`]: all its channels are closed.
    TooFragmented,
    /// The peer broke SCTP's rules: all its channels are closed.
    Malformed,
}

impl DataRefusal {
    /// Short, stable, lower case with hyphens.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotGranted => "may-not-send",
            Self::TooLong => "message-too-long",
            Self::TooMany => "too-many-messages",
            Self::ChannelUnfit => "channel-unfit",
            Self::TooSlow => "channel-too-slow",
            Self::TooFragmented => "messages-too-fragmented",
            Self::Malformed => "data-malformed",
        }
    }

    /// One sentence for the person whose message or channel it is.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotGranted => "You may not send messages in this room.",
            Self::TooLong => "A message holds at most 262144 bytes, 12 bytes of its frame included.",
            Self::TooMany => "At most 200 messages a second of one person are forwarded.",
            Self::ChannelUnfit => {
                "A connection holds at most 32 channels, whose label and protocol have at most 64 bytes each."
            }
            Self::TooSlow => "Messages came faster than this connection took them; the channel was closed.",
            Self::TooFragmented => {
                "At most 4096 pieces of unfinished messages are held of one connection; its channels were closed."
            }
            Self::Malformed => "What came on the data channels breaks their protocol; they were closed.",
        }
    }
}

/// Counters of one transport's data channels since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataStats {
    /// Channels open now.
    pub channels: u64,
    /// Messages that came.
    pub received_messages: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Messages given to channels.
    pub sent_messages: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Messages for this peer that were dropped: no room on an unreliable channel, or longer than it takes.
    pub dropped_messages: u64,
    /// Messages and channels of this peer that were refused.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::{CHANNELS, DataRefusal, MESSAGE_BYTES, MESSAGES_PER_S, NAME_BYTES, PIECES};

    #[test]
    fn a_refusal_names_the_bound() {
        let named = |refusal: DataRefusal, bound: String| {
            assert!(refusal.sentence().contains(&bound), "{bound} in {:?}", refusal.sentence());
        };
        named(DataRefusal::TooLong, MESSAGE_BYTES.to_string());
        named(DataRefusal::TooMany, MESSAGES_PER_S.to_string());
        named(DataRefusal::ChannelUnfit, CHANNELS.to_string());
        named(DataRefusal::ChannelUnfit, NAME_BYTES.to_string());
        named(DataRefusal::TooFragmented, PIECES.to_string());
    }
}
