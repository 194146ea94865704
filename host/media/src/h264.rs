//! Where H.264's key pictures start (RFC 6184, section 5). Knows nothing of RTP headers or of what a picture shows.

const IDR_SLICE: u8 = 5;
const SEQUENCE_PARAMETERS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// What of a packet matters to someone who begins to watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// It holds a sequence parameter set.
    pub parameters: bool,
    /// It holds the beginning of a slice of a key picture.
    pub key_slice: bool,
}

impl Units {
    const fn note(&mut self, header: u8) {
        match header & 0x1f {
            SEQUENCE_PARAMETERS => self.parameters = true,
            IDR_SLICE => self.key_slice = true,
            _ => {}
        }
    }
}

/// Looks at the units of one packet; of a malformed one at what can be read.
#[must_use]
pub fn units(payload: &[u8]) -> Units {
    let mut units = Units::default();
    let Some((header, mut rest)) = payload.split_first() else { return units };
    match header & 0x1f {
        STAP_A => {
            while let Some((length, behind)) = rest.split_first_chunk::<2>() {
                let Some((unit, behind)) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))
                else {
                    break;
                };
                units.note(unit.first().copied().unwrap_or(0));
                rest = behind;
            }
        }
        FU_A => {
            if let Some(fragment) = rest.first().filter(|fragment| *fragment & 0x80 != 0) {
                units.note(*fragment);
            }
        }
        _ => units.note(*header),
    }
    units
}

#[cfg(test)]
mod tests {
    use super::{Units, units};

    const PARAMETERS: Units = Units { parameters: true, key_slice: false };
    const SLICE: Units = Units { parameters: false, key_slice: true };

    #[test]
    fn units_are_found_alone_together_and_in_pieces() {
        assert_eq!(units(&[0x67, 0x42]), PARAMETERS);
        assert_eq!(units(&[0x65, 1]), SLICE);
        assert_eq!(units(&[0x61, 1]), Units::default());
        assert_eq!(
            units(&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68, 0, 1, 0x65]),
            Units { parameters: true, key_slice: true }
        );
        assert_eq!(units(&[0x7c, 0x85, 1]), SLICE, "a first fragment");
        assert_eq!(units(&[0x7c, 0x45, 1]), Units::default(), "a later one");
    }

    #[test]
    fn cut_aggregates_say_what_they_hold() {
        assert_eq!(units(&[0x78, 0, 2, 0x67, 1, 0, 9, 0x65]), PARAMETERS);
        assert_eq!(units(&[0x78, 0]), Units::default());
        assert_eq!(units(&[]), Units::default());
    }
}
