//! One open data channel, and one message on it. Knows nothing of SCTP.

use super::dcep::{Open, Reliability};
use super::frame::{Kind, ROOM_PROTOCOL, unframe};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::PersonId;
use tidegate_types::data::{ROOM_LABEL, TEXT_BYTES};

/// A refusal is told at most so often on one channel; each is counted.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// A message, with the channel that it is on: it goes to every other channel of the same label and protocol.
#[derive(Clone, Debug)]
pub struct Message {
    /// The channel's label.
    pub label: Arc<str>,
    /// The channel's subprotocol.
    pub protocol: Arc<str>,
    /// How it is marked on the wire; framed messages are binary.
    pub kind: Kind,
    /// All of it, shared among those whom it goes to.
    pub bytes: Bytes,
}

impl Message {
    /// A framed text on the room's channel.
    #[must_use]
    pub fn room_text(person: PersonId, text: &str) -> Self {
        let framed = super::frame(Kind::Text, person, text.as_bytes());
        Self {
            label: ROOM_LABEL.into(),
            protocol: ROOM_PROTOCOL.into(),
            kind: Kind::Binary,
            bytes: framed.into(),
        }
    }

    /// What goes to people without a data channel: a text on the room's channel that is not too long for a session.
    #[must_use]
    pub fn text(&self) -> Option<(PersonId, &str)> {
        if &*self.label != ROOM_LABEL || &*self.protocol != ROOM_PROTOCOL {
            return None;
        }
        let (kind, person, text) = unframe(&self.bytes)?;
        let text = std::str::from_utf8(text).ok()?;
        (kind == Kind::Text && text.len() <= TEXT_BYTES).then_some((person, text))
    }
}

/// A channel that its peer opened.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) stream: u16,
    pub(super) label: Arc<str>,
    pub(super) protocol: Arc<str>,
    reliability: Reliability,
    told: Option<Instant>,
}

impl Channel {
    pub(super) fn new(stream: u16, open: &Open) -> Self {
        Self {
            stream,
            label: open.label.as_str().into(),
            protocol: open.protocol.as_str().into(),
            reliability: open.reliability,
            told: None,
        }
    }

    /// Whether it carries what this message's channel carries.
    pub(super) fn takes(&self, message: &Message) -> bool {
        self.label == message.label && self.protocol == message.protocol
    }

    /// Nothing on it may be left out.
    pub(super) fn is_reliable(&self) -> bool {
        self.reliability == Reliability::Reliable
    }

    /// Whether a refusal is to be told now.
    pub(super) fn tells(&mut self, now: Instant) -> bool {
        let tells = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY);
        if tells {
            self.told = Some(now);
        }
        tells
    }

    /// What arrived on it as a message of this person; `None` if its frame is not one.
    pub(super) fn message(&self, person: PersonId, kind: Kind, mut bytes: BytesMut) -> Option<Message> {
        let mut kind = kind;
        if &*self.protocol == ROOM_PROTOCOL {
            unframe(&bytes)?;
            // Nobody else's name may be taken: what the peer wrote there does not count.
            bytes[4..12].copy_from_slice(&person.0.to_be_bytes());
            kind = Kind::Binary;
        }
        let (label, protocol) = (Arc::clone(&self.label), Arc::clone(&self.protocol));
        Some(Message { label, protocol, kind, bytes: bytes.freeze() })
    }
}
