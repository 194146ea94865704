//! VP9's RTP payload descriptor (RFC 9628, section 4.2). Knows nothing of RTP headers or of who watches.

/// The descriptor as far as forwarding needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Picture id, and whether it is written in 15 bits (else 7).
    pub picture_id: Option<(u16, bool)>,
    /// Pictures before this one are used.
    pub predicted: bool,
    /// First packet of a frame.
    pub starts_frame: bool,
    /// Last packet of a frame.
    pub ends_frame: bool,
    /// No frame of a higher spatial layer of this picture needs this one.
    pub stands_alone: bool,
    /// Its layers, where there are any.
    pub layer: Option<Layer>,
    /// The pictures that it uses (bit n: n + 1 before), where that is said; `None` beyond 64.
    pub differences: Option<u64>,
    /// How many spatial layers the stream has, where that is said.
    pub spatial_layers: Option<u8>,
}

/// Layer indices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Temporal layer.
    pub temporal: u8,
    /// Higher temporal layers can be switched to behind this picture.
    pub switches_up: bool,
    /// Spatial layer.
    pub spatial: u8,
    /// The spatial layer below is used.
    pub uses_lower: bool,
}

/// Reads a descriptor; `None` if it is malformed.
#[must_use]
pub fn parse(payload: &[u8]) -> Option<Descriptor> {
    let mut rest = Rest(payload);
    let first = rest.byte()?;
    let flexible = first & 0x10 != 0;
    let mut descriptor = Descriptor {
        predicted: first & 0x40 != 0,
        starts_frame: first & 0x08 != 0,
        ends_frame: first & 0x04 != 0,
        stands_alone: first & 0x01 != 0,
        ..Descriptor::default()
    };
    if first & 0x80 != 0 {
        let high = rest.byte()?;
        descriptor.picture_id = Some(if high & 0x80 != 0 {
            (u16::from_be_bytes([high & 0x7f, rest.byte()?]), true)
        } else {
            (u16::from(high), false)
        });
    }
    if first & 0x20 != 0 {
        let byte = rest.byte()?;
        descriptor.layer = Some(Layer {
            temporal: byte >> 5,
            switches_up: byte & 0x10 != 0,
            spatial: byte >> 1 & 7,
            uses_lower: byte & 1 != 0,
        });
        if !flexible {
            // Running number of temporal-layer-zero pictures.
            rest.byte()?;
        }
    }
    if flexible && descriptor.predicted {
        descriptor.differences = rest.differences()?;
    }
    if first & 0x02 != 0 {
        descriptor.spatial_layers = Some(rest.structure()?);
    }
    Some(descriptor)
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    /// At most three; the outer `None` means malformed.
    fn differences(&mut self) -> Option<Option<u64>> {
        let mut pictures = Some(0_u64);
        for _ in 0..3 {
            let byte = self.byte()?;
            let difference = u32::from(byte >> 1);
            pictures = pictures.filter(|_| (1..=u64::BITS).contains(&difference));
            pictures = pictures.map(|bits| bits | 1 << (difference - 1));
            if byte & 1 == 0 {
                return Some(pictures);
            }
        }
        None
    }

    /// The scalability structure; returns how many spatial layers it names.
    fn structure(&mut self) -> Option<u8> {
        let first = self.byte()?;
        let layers = (first >> 5) + 1;
        if first & 0x10 != 0 {
            self.skip(4 * usize::from(layers))?;
        }
        if first & 0x08 != 0 {
            for _ in 0..self.byte()? {
                let references = self.byte()? >> 2 & 3;
                self.skip(usize::from(references))?;
            }
        }
        Some(layers)
    }
}

#[cfg(test)]
mod tests {
    use super::{Descriptor, Layer, parse};

    #[test]
    fn both_modes_are_read() {
        // Key picture of layer 0, non-flexible, with a structure of three layers and one picture in its group.
        let key = [0xaa, 0x81, 0x02, 0x10, 7, 0x58, 1, 64, 0, 36, 2, 128, 0, 72, 5, 0, 2, 208];
        let mut whole = key.to_vec();
        whole.extend([1, 0x04, 1]);
        let read = parse(&whole).unwrap();
        assert_eq!(read.picture_id, Some((0x102, true)));
        assert!(!read.predicted && read.starts_frame && !read.ends_frame && !read.stands_alone);
        assert_eq!(read.spatial_layers, Some(3));
        assert_eq!(read.layer, Some(Layer { switches_up: true, ..Layer::default() }));
        // Flexible: temporal layer 1 of spatial layer 2, built on the picture before and the layer below.
        let read = parse(&[0xf5, 0x05, 0x25, 0x02]).unwrap();
        assert_eq!(read.picture_id, Some((5, false)));
        assert_eq!(read.layer, Some(Layer { temporal: 1, switches_up: false, spatial: 2, uses_lower: true }));
        assert_eq!((read.differences, read.stands_alone), (Some(1), true));
    }

    #[test]
    fn cut_descriptors_and_endless_differences_are_refused() {
        let whole = [0xba, 0x81, 0x02, 0x10, 0x18, 1, 64, 0, 36, 1, 0x04, 1];
        assert_ne!(parse(&whole), None);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(parse(&[0x50, 3, 3, 3, 2]), None);
        assert_eq!(
            parse(&[0x50, 0xfe, 9]).unwrap(),
            Descriptor { predicted: true, differences: None, ..Descriptor::default() }
        );
    }
}
