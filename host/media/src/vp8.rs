//! VP8's RTP payload descriptor (RFC 7741, section 4.2): read once per packet, rewritten per consumer. Knows
//! nothing of RTP headers or of who watches.

use tidegate_types::packet::Vp8Descriptor;

/// Reads the descriptor and whether the packet is the first of a keyframe; `None` if it is malformed.
#[must_use]
pub fn parse(payload: &[u8]) -> Option<(Vp8Descriptor, bool)> {
    let first = *payload.first()?;
    let mut descriptor =
        Vp8Descriptor { starts_picture: first & 0x10 != 0 && first & 0x07 == 0, ..Default::default() };
    let mut at = 1;
    if first & 0x80 != 0 {
        let flags = *payload.get(at)?;
        at += 1;
        if flags & 0x80 != 0 {
            let high = *payload.get(at)?;
            if high & 0x80 != 0 {
                let low = *payload.get(at + 1)?;
                descriptor.picture_id = Some((u16::from_be_bytes([high & 0x7f, low]), true));
                at += 2;
            } else {
                descriptor.picture_id = Some((u16::from(high), false));
                at += 1;
            }
        }
        if flags & 0x40 != 0 {
            descriptor.tl0_picture_index = Some(*payload.get(at)?);
            at += 1;
        }
        if flags & 0x30 != 0 {
            let byte = *payload.get(at)?;
            if flags & 0x20 != 0 {
                descriptor.temporal = Some(byte >> 6);
                descriptor.layer_sync = byte & 0x20 != 0;
            }
            at += 1;
        }
    }
    descriptor.length = u8::try_from(at).ok()?;
    let keyframe = descriptor.starts_picture && payload.get(at).is_some_and(|byte| byte & 1 == 0);
    Some((descriptor, keyframe))
}

/// How much a consumer's running numbers lie ahead of its source's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// Added to the picture id.
    pub picture_id: u16,
    /// Added to the index of temporal-layer-zero pictures.
    pub tl0_picture_index: u8,
}

/// Writes shifted numbers over a copy of the payload. The descriptor keeps its length: a 7-bit picture id wraps
/// at 128, as its sender's would.
pub fn rewrite(payload: &mut [u8], descriptor: &Vp8Descriptor, shift: Shift) {
    if shift == Shift::default() {
        return;
    }
    let mut at = 2;
    if let Some((picture_id, wide)) = descriptor.picture_id {
        let shifted = picture_id.wrapping_add(shift.picture_id);
        if wide {
            if let Some(space) = payload.get_mut(at..at + 2) {
                space.copy_from_slice(&(shifted | 0x8000).to_be_bytes());
            }
            at += 2;
        } else {
            if let Some(byte) = payload.get_mut(at) {
                *byte = (shifted & 0x7f) as u8;
            }
            at += 1;
        }
    }
    if let (Some(index), Some(byte)) = (descriptor.tl0_picture_index, payload.get_mut(at)) {
        *byte = index.wrapping_add(shift.tl0_picture_index);
    }
}

#[cfg(test)]
mod tests {
    use super::{Shift, parse, rewrite};

    #[test]
    fn a_shifted_descriptor_reads_back_shifted() {
        let mut payload = vec![0x90, 0xe0, 0xff, 0xff, 250, 0x60, 0x00, 1, 2, 3];
        let (descriptor, keyframe) = parse(&payload).unwrap();
        assert!(keyframe && descriptor.starts_picture);
        assert_eq!(descriptor.picture_id, Some((0x7fff, true)));
        assert_eq!((descriptor.temporal, descriptor.layer_sync), (Some(1), true));
        rewrite(&mut payload, &descriptor, Shift { picture_id: 2, tl0_picture_index: 10 });
        let (shifted, _) = parse(&payload).unwrap();
        assert_eq!(shifted.picture_id, Some((1, true)));
        assert_eq!(shifted.tl0_picture_index, Some(4));
        assert_eq!(shifted.length, descriptor.length);
    }

    #[test]
    fn cut_descriptors_are_refused() {
        let whole = [0x90, 0xe0, 0xff, 0xff, 250, 0x60];
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
    }
}
