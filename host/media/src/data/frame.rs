//! The frame of a room message: what it is and whose. The same both ways, so that a message fits where it came
//! from; the host overwrites whose it is. Knows nothing of channels.
//!
//! ```text
//! 0: kind (1 text, 2 binary)   1..4: zero   4..12: person, big endian (zero towards the host)   12..: the message
//! ```

use tidegate_types::PersonId;

/// The subprotocol of channels whose messages are framed.
pub const ROOM_PROTOCOL: &str = "tidegate.room.v1";
/// Bytes before the message itself.
pub const FRAME_BYTES: usize = 12;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Binary => 2,
        }
    }

    const fn read(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            _ => None,
        }
    }
}

/// Reads a framed message: what it is, whose, and the message itself. `None` if it is cut, of no known kind, or a
/// text that is not UTF-8.
#[must_use]
pub fn unframe(bytes: &[u8]) -> Option<(Kind, PersonId, &[u8])> {
    let (head, message) = bytes.split_first_chunk::<FRAME_BYTES>()?;
    let [kind, zero @ .., a, b, c, d, e, f, g, h] = *head;
    let kind = Kind::read(kind).filter(|_| zero == [0; 3])?;
    if kind == Kind::Text && std::str::from_utf8(message).is_err() {
        return None;
    }
    Some((kind, PersonId(u64::from_be_bytes([a, b, c, d, e, f, g, h])), message))
}

/// Frames a message.
#[must_use]
pub fn frame(kind: Kind, person: PersonId, message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(FRAME_BYTES + message.len());
    framed.extend([kind.byte(), 0, 0, 0]);
    framed.extend(person.0.to_be_bytes());
    framed.extend(message);
    framed
}

/// What is framed is what was unframed.
pub(super) fn fuzz(bytes: &[u8]) {
    if let Some((kind, person, message)) = unframe(bytes) {
        assert_eq!(frame(kind, person, message), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{FRAME_BYTES, Kind, PersonId, frame, unframe};

    #[test]
    fn a_frame_says_kind_and_person() {
        let framed = frame(Kind::Text, PersonId(0x0102), b"hi");
        assert_eq!(framed, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, b'h', b'i']);
        assert_eq!(unframe(&framed), Some((Kind::Text, PersonId(0x0102), &b"hi"[..])));
    }

    #[test]
    fn what_is_no_frame_is_not_read() {
        assert_eq!(unframe(&[1; FRAME_BYTES - 1]), None);
        assert_eq!(unframe(&[0; FRAME_BYTES]), None);
        assert_eq!(unframe(&frame(Kind::Text, PersonId(1), &[0xff])), None);
        assert!(unframe(&frame(Kind::Binary, PersonId(1), &[0xff])).is_some());
        let mut marked = frame(Kind::Binary, PersonId(1), b"x");
        marked[2] = 1;
        assert_eq!(unframe(&marked), None);
    }
}
