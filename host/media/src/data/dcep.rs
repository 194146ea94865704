//! Reads and writes how a data channel is opened (DCEP, RFC 8832). Knows nothing of streams.

/// The type of an acknowledgement (section 8.2.1).
const ACK: u8 = 0x02;
/// The type of an open request.
const OPEN: u8 = 0x03;
/// Bytes before the label.
const HEAD_BYTES: usize = 12;

/// An acknowledgement (section 5.2).
pub(super) const ACKNOWLEDGEMENT: [u8; 1] = [ACK];

/// How hard it is tried to bring a message over (section 5.1, channel type and reliability parameter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reliability {
    /// Until it is there.
    Reliable,
    /// Sent again at most so often.
    Retransmits(u32),
    /// For so many milliseconds.
    LifetimeMs(u32),
}

/// A request to open a channel on the stream that it comes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// Messages may arrive in another order.
    pub(super) unordered: bool,
    /// How hard it is tried.
    pub(super) reliability: Reliability,
    /// What the application calls it.
    pub(super) label: String,
    /// What is spoken on it.
    pub(super) protocol: String,
}

/// One DCEP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dcep {
    Open(Open),
    Ack,
}

/// Reads one message; `None` if it is none, or cut, or its texts are not UTF-8.
pub(super) fn read(bytes: &[u8]) -> Option<Dcep> {
    match *bytes.first()? {
        ACK => Some(Dcep::Ack),
        OPEN => read_open(bytes).map(Dcep::Open),
        _ => None,
    }
}

fn read_open(bytes: &[u8]) -> Option<Open> {
    let (head, texts) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [_, kind, _, _, r0, r1, r2, r3, l0, l1, p0, p1] = *head;
    let parameter = u32::from_be_bytes([r0, r1, r2, r3]);
    let reliability = match kind & 0x7f {
        0 => Reliability::Reliable,
        1 => Reliability::Retransmits(parameter),
        2 => Reliability::LifetimeMs(parameter),
        _ => return None,
    };
    let (label, protocol) = texts.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
    let protocol = protocol.get(..usize::from(u16::from_be_bytes([p0, p1])))?;
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    Some(Open { unordered: kind & 0x80 != 0, reliability, label: text(label)?, protocol: text(protocol)? })
}

/// Writes a request to open; labels and protocols beyond 65,535 bytes cannot be said and are cut.
#[cfg(any(test, feature = "peer"))]
pub(super) fn write_open(open: &Open) -> Vec<u8> {
    let (kind, parameter) = match open.reliability {
        Reliability::Reliable => (0, 0),
        Reliability::Retransmits(most) => (1, most),
        Reliability::LifetimeMs(lifetime) => (2, lifetime),
    };
    let cut = |text: &str| text.as_bytes()[..text.len().min(usize::from(u16::MAX))].to_vec();
    let (label, protocol) = (cut(&open.label), cut(&open.protocol));
    let mut bytes = vec![OPEN, kind | (u8::from(open.unordered) << 7), 1, 0];
    bytes.extend(u32::to_be_bytes(parameter));
    bytes.extend((label.len() as u16).to_be_bytes());
    bytes.extend((protocol.len() as u16).to_be_bytes());
    bytes.extend(label);
    bytes.extend(protocol);
    bytes
}

/// What was read says all that it is made of.
pub(super) fn fuzz(bytes: &[u8]) {
    if let Some(Dcep::Open(open)) = read(bytes) {
        assert!(HEAD_BYTES + open.label.len() + open.protocol.len() <= bytes.len());
        assert_eq!(bytes[1] & 0x80 != 0, open.unordered);
    }
}

#[cfg(test)]
mod tests {
    use super::{Dcep, Open, Reliability, read, write_open};

    /// As Chromium opens `new RTCPeerConnection().createDataChannel('room', {protocol: 'p', maxRetransmits: 3,
    /// ordered: false})`.
    const CHROMIUM: &[u8] = b"\x03\x81\x01\x00\x00\x00\x00\x03\x00\x04\x00\x01roomp";

    #[test]
    fn a_browsers_request_is_read() {
        let open = Open {
            unordered: true,
            reliability: Reliability::Retransmits(3),
            label: "room".to_owned(),
            protocol: "p".to_owned(),
        };
        assert_eq!(read(CHROMIUM), Some(Dcep::Open(open.clone())));
        assert_eq!(write_open(&open), CHROMIUM);
        assert_eq!(read(&[2]), Some(Dcep::Ack));
    }

    #[test]
    fn what_is_cut_or_of_another_type_is_not_read() {
        for length in 0..CHROMIUM.len() {
            assert_eq!(read(&CHROMIUM[..length]), None, "{length} bytes");
        }
        for (at, byte) in [(0, 0), (0, 4), (1, 3), (1, 0x83), (12, 0xff)] {
            let mut changed = CHROMIUM.to_vec();
            changed[at] = byte;
            assert_eq!(read(&changed), None, "{byte:#x} at {at}");
        }
    }
}
