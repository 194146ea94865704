//! Where AV1's key pictures start: the aggregation header (AV1 RTP specification, section 4.4) and the first unit
//! behind it. Knows nothing of RTP headers or of layers, which the dependency descriptor tells.

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;

/// Whether the packet is the first of a coded video sequence.
#[must_use]
pub fn starts_sequence(payload: &[u8]) -> bool {
    let Some((aggregation, rest)) = payload.split_first() else { return false };
    let (continues, elements, begins) =
        (aggregation & 0x80 != 0, aggregation >> 4 & 3, aggregation & 0x08 != 0);
    if continues || !begins {
        return false;
    }
    // The last element of a counted packet has no length before it.
    let element = if elements == 1 { Some(rest) } else { skip_length(rest) };
    let unit = element.and_then(|element| element.first()).map(|header| header >> 3 & 0x0f);
    matches!(unit, Some(SEQUENCE_HEADER | TEMPORAL_DELIMITER))
}

/// What stands behind a LEB128 number.
fn skip_length(bytes: &[u8]) -> Option<&[u8]> {
    let last = bytes.iter().take(8).position(|byte| byte & 0x80 == 0)?;
    bytes.get(last + 1..)
}

#[cfg(test)]
mod tests {
    use super::starts_sequence;

    #[test]
    fn only_the_first_packet_of_a_sequence_starts_it() {
        assert!(starts_sequence(&[0x18, 0x0a, 1]), "one element");
        assert!(starts_sequence(&[0x28, 0x02, 0x0a, 1, 0x32]), "two");
        assert!(starts_sequence(&[0x08, 0x82, 0x00, 0x0a, 1]), "not counted, a length of two bytes");
        assert!(!starts_sequence(&[0x98, 0x0a]), "a continuation");
        assert!(!starts_sequence(&[0x10, 0x0a]), "not said to");
        assert!(!starts_sequence(&[0x18, 0x32]), "a frame");
        for cut in [&[][..], &[0x18], &[0x28], &[0x28, 0x80], &[0x08, 2]] {
            assert!(!starts_sequence(cut), "{cut:?}");
        }
    }
}
