//! Redundant audio (RFC 2198): finds the newest block, for those who take it plain. Knows nothing of what the blocks
//! hold.

/// How many blocks a packet has at most; one with more is malformed.
const BLOCKS: usize = 16;

/// Where the newest (primary) block starts in the payload; `None` if that is malformed.
#[must_use]
pub fn primary(payload: &[u8]) -> Option<u16> {
    let mut rest = payload;
    let mut redundant = 0;
    for _ in 0..BLOCKS {
        let first = *rest.first()?;
        if first & 0x80 == 0 {
            let start = payload.len() - (rest.len() - 1) + redundant;
            return u16::try_from(start).ok().filter(|_| start <= payload.len());
        }
        let header = rest.first_chunk::<4>()?;
        redundant += usize::from(u16::from_be_bytes([header[2] & 3, header[3]]));
        rest = &rest[4..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::primary;

    #[test]
    fn the_newest_block_is_the_last() {
        assert_eq!(primary(&[111, 1, 2]), Some(1), "alone");
        let two = [0x80 | 111, 0x0f, 0x00, 2, 111, 8, 8, 1, 2];
        assert_eq!(primary(&two), Some(7));
        assert_eq!(primary(&two[..7]), Some(7), "an empty one");
        for length in 0..7 {
            assert_eq!(primary(&two[..length]), None, "{length}");
        }
        assert_eq!(primary(&[0x80; 100]), None);
    }
}
