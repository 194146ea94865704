//! RTP headers as bots write them, with extensions in the one-byte form (RFC 8285). Knows nothing of payloads.

use tidegate_media::rtp::Outgoing;

/// Header and extensions take at most so many bytes.
pub(crate) const HEADER_ROOM: usize = 60;
/// Of the fixed part, and of what begins the extensions.
const FIXED_BYTES: usize = 12;
const BEGIN_BYTES: usize = 4;

/// Writes the header with these extensions, each an id and 1 to 16 bytes; returns its length. `space` holds at least
/// [`HEADER_ROOM`]; what does not fit there is left out.
pub(crate) fn write_header(space: &mut [u8], outgoing: &Outgoing, extensions: &[(u8, &[u8])]) -> usize {
    space[0] = 0x90;
    space[1] = outgoing.payload_type | if outgoing.marker { 0x80 } else { 0 };
    space[2..4].copy_from_slice(&outgoing.sequence.to_be_bytes());
    space[4..8].copy_from_slice(&outgoing.timestamp.to_be_bytes());
    space[8..12].copy_from_slice(&outgoing.ssrc.to_be_bytes());
    let mut at = FIXED_BYTES + BEGIN_BYTES;
    for (id, value) in extensions {
        let fits = (1..=16).contains(&value.len()) && at + 1 + value.len() <= HEADER_ROOM;
        if let (true, Ok(length)) = (fits, u8::try_from(value.len())) {
            space[at] = id << 4 | (length - 1);
            space[at + 1..at + 1 + value.len()].copy_from_slice(value);
            at += 1 + value.len();
        }
    }
    let end = at.next_multiple_of(4);
    space[at..end].fill(0);
    let words = ((end - FIXED_BYTES - BEGIN_BYTES) / 4) as u16;
    space[FIXED_BYTES..FIXED_BYTES + 2].copy_from_slice(&[0xbe, 0xde]);
    space[FIXED_BYTES + 2..FIXED_BYTES + BEGIN_BYTES].copy_from_slice(&words.to_be_bytes());
    end
}

#[cfg(test)]
mod tests {
    use super::{HEADER_ROOM, Outgoing, write_header};
    use tidegate_media::rtp::Header;

    #[test]
    fn what_is_written_reads_back() {
        let mut packet = [0x55; HEADER_ROOM + 20];
        let outgoing = Outgoing { marker: true, payload_type: 96, sequence: 7, timestamp: 9, ssrc: 11 };
        let elements: [(u8, &[u8]); 4] = [(4, b"s1"), (5, b"f"), (3, &[1, 2]), (6, &[0; 40])];
        let at = write_header(&mut packet, &outgoing, &elements);
        let header = Header::parse(&packet).expect("a header");
        assert_eq!((header.payload_start, at), (at, 24));
        assert_eq!((header.marker, header.payload_type, header.sequence), (true, 96, 7));
        assert_eq!((header.timestamp, header.ssrc), (9, 11));
        let mut read = Vec::new();
        header.each_extension(&packet, |id, value| read.push((id, value.to_vec())));
        assert_eq!(read, [(4, b"s1".to_vec()), (5, b"f".to_vec()), (3, vec![1, 2])]);
    }
}
