//! What one stream's packets say about themselves: by the dependency descriptor where the stream has one, and then by
//! nothing else, since the payload may be encrypted; else by the codec's payload. Knows nothing of who watches.

use crate::descriptor::Descriptors;
use crate::{av1, h264, red, vp8, vp9};
use tidegate_types::layer::{Dependence, LayerView, SPATIAL_LAYERS, Target, Targets};
use tidegate_types::packet::{PayloadInfo, Vp8Descriptor};
use tidegate_types::rtp::Codec;

/// What was read of one packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// What the payload says.
    pub info: PayloadInfo,
    /// Where it stands among its stream's layers.
    pub layers: Option<LayerView>,
    /// First packet of a keyframe.
    pub keyframe: bool,
}

/// One packet, decrypted.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// What it is encoded with.
    pub codec: Codec,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP marker.
    pub marker: bool,
    /// Its payload.
    pub payload: &'a [u8],
    /// Its dependency descriptor; empty where there is none.
    pub descriptor: &'a [u8],
}

/// Reads one stream.
#[derive(Debug)]
pub struct StreamReader {
    /// Where the dependency descriptor is agreed.
    descriptors: Option<Box<Descriptors>>,
    /// The stream sends it.
    described: bool,
    codec: Option<Codec>,
    /// The last picture id, extended over wraps.
    picture: Option<u16>,
    /// How many layers have been seen or announced.
    spatial_layers: u8,
    temporal_layers: u8,
    /// The picture whose beginning was last told as a keyframe's (H.264).
    key_timestamp: Option<u32>,
}

impl StreamReader {
    /// A stream of which nothing was read.
    #[must_use]
    pub fn new(describes: bool) -> Self {
        Self {
            descriptors: describes.then(Box::default),
            described: false,
            codec: None,
            picture: None,
            spatial_layers: 1,
            temporal_layers: 1,
            key_timestamp: None,
        }
    }

    /// Reads one packet.
    pub fn read(&mut self, packet: &Arrived<'_>) -> Reading {
        if self.codec.replace(packet.codec) != Some(packet.codec) {
            (self.picture, self.spatial_layers, self.temporal_layers) = (None, 1, 1);
        }
        let told = match self.descriptors.as_mut().filter(|_| !packet.descriptor.is_empty()) {
            Some(descriptors) => {
                self.described = true;
                descriptors.read(packet.descriptor)
            }
            None => None,
        };
        match packet.codec {
            Codec::Opus => Reading::default(),
            Codec::Red => Reading { info: read_red(packet.payload), ..Reading::default() },
            Codec::Vp8 => self.read_vp8(packet, told),
            _ if self.described => described(told),
            Codec::Vp9 => self.read_vp9(packet.payload),
            Codec::H264 => Reading { keyframe: self.read_h264(packet), ..Reading::default() },
            Codec::Av1 => Reading { keyframe: av1::starts_sequence(packet.payload), ..Reading::default() },
        }
    }

    /// The picture id, extended: the nearest to the one before.
    fn extend(&mut self, id: u16, wide: bool) -> u16 {
        let unused = if wide { 1 } else { 9 };
        let extended = self.picture.map_or(id, |last| {
            let step = (id.wrapping_sub(last) << unused).cast_signed() >> unused;
            last.wrapping_add_signed(step)
        });
        self.picture = Some(extended);
        extended
    }

    /// The descriptor in front of the payload is the packetiser's and never encrypted; what follows may be.
    fn read_vp8(&mut self, packet: &Arrived<'_>, told: Option<LayerView>) -> Reading {
        let Some((descriptor, keyframe)) = vp8::parse(packet.payload) else {
            return if self.described { described(told) } else { Reading::default() };
        };
        let info = PayloadInfo::Vp8(descriptor);
        if self.described {
            // Its frame numbers, not the picture ids: a publisher may count those of all its encodings together.
            return Reading { info, ..described(told) };
        }
        let picture = descriptor.picture_id.map(|(id, wide)| self.extend(id, wide));
        let layers = picture.zip(descriptor.temporal).map(|(frame, temporal)| {
            self.temporal_layers = self.temporal_layers.max(temporal + 1);
            vp8_view(&descriptor, frame, temporal, keyframe, packet.marker, self.exist())
        });
        Reading { info, layers, keyframe }
    }

    fn read_vp9(&mut self, payload: &[u8]) -> Reading {
        let Some(descriptor) = vp9::parse(payload) else { return Reading::default() };
        let layer = descriptor.layer.unwrap_or_default();
        let keyframe = descriptor.starts_frame && !descriptor.predicted && layer.spatial == 0;
        if let Some(count) = descriptor.spatial_layers {
            self.spatial_layers = count.min(SPATIAL_LAYERS);
        }
        let in_range = descriptor.layer.is_some() && layer.spatial < SPATIAL_LAYERS;
        let layers = descriptor.picture_id.filter(|_| in_range).map(|(id, wide)| {
            self.spatial_layers = self.spatial_layers.max(layer.spatial + 1);
            self.temporal_layers = self.temporal_layers.max(layer.temporal + 1);
            // A frame for each spatial layer of each picture.
            let frame = self.extend(id, wide).wrapping_mul(u16::from(SPATIAL_LAYERS));
            vp9_view(&descriptor, layer, frame + u16::from(layer.spatial), self.exist())
        });
        Reading { info: PayloadInfo::Opaque, layers, keyframe }
    }

    /// A receiver needs the parameter sets in front of the key picture; an encoder that tells them elsewhere sends the
    /// picture alone.
    fn read_h264(&mut self, packet: &Arrived<'_>) -> bool {
        let units = h264::units(packet.payload);
        let begins = units.parameters || units.key_slice && self.key_timestamp != Some(packet.timestamp);
        if begins {
            self.key_timestamp = Some(packet.timestamp);
        }
        begins
    }

    fn exist(&self) -> Targets {
        let all = |spatial| {
            let beyond = Target { spatial, temporal: self.temporal_layers };
            Targets::from(Target { spatial, temporal: 0 }).without(Targets::from(beyond))
        };
        (0..self.spatial_layers).fold(Targets::NONE, |targets, spatial| targets.with(all(spatial)))
    }
}

/// A keyframe by its descriptor: the lowest layer, on its own.
fn described(told: Option<LayerView>) -> Reading {
    let keyframe = told.is_some_and(|view| {
        view.starts_frame && view.depends == Dependence::Nothing && view.layer.spatial == 0
    });
    Reading { info: PayloadInfo::Opaque, layers: told, keyframe }
}

fn read_red(payload: &[u8]) -> PayloadInfo {
    red::primary(payload).map_or(PayloadInfo::Opaque, |primary| PayloadInfo::Red { primary })
}

/// VP8 says of a picture that it builds on the base layer alone; then its own layer can be joined.
fn vp8_view(
    descriptor: &Vp8Descriptor,
    frame: u16,
    temporal: u8,
    keyframe: bool,
    marker: bool,
    exist: Targets,
) -> LayerView {
    let layer = Target { spatial: 0, temporal };
    let present = Targets::from(layer);
    let base = Target { spatial: 0, temporal: 0 };
    let (depends, switch) = if keyframe {
        (Dependence::Nothing, present)
    } else if descriptor.layer_sync {
        (Dependence::Any(Targets::of(base)), Targets::of(layer))
    } else {
        (Dependence::Any(present), Targets::NONE)
    };
    LayerView {
        frame,
        layer,
        starts_frame: descriptor.starts_picture,
        ends_frame: marker,
        depends,
        present,
        switch,
        discardable: Targets::NONE,
        exist,
    }
}

/// VP9 says whether higher spatial layers need a frame, and whether pictures before it are used.
fn vp9_view(descriptor: &vp9::Descriptor, layer: vp9::Layer, frame: u16, exist: Targets) -> LayerView {
    let vp9::Layer { temporal, spatial, .. } = layer;
    let own = Targets::from(Target { spatial, temporal });
    let higher = if descriptor.stands_alone { spatial + 1 } else { SPATIAL_LAYERS };
    let present =
        (spatial + 1..higher).fold(own, |all, spatial| all.with(Targets::from(Target { spatial, temporal })));
    let switch = match (descriptor.predicted, layer.switches_up) {
        (false, _) => present,
        (true, true) => own,
        (true, false) => Targets::NONE,
    };
    LayerView {
        frame,
        layer: Target { spatial, temporal },
        starts_frame: descriptor.starts_frame,
        ends_frame: descriptor.ends_frame,
        depends: vp9_depends(descriptor, layer, present),
        present,
        switch,
        discardable: Targets::NONE,
        exist,
    }
}

fn vp9_depends(descriptor: &vp9::Descriptor, layer: vp9::Layer, present: Targets) -> Dependence {
    let lower = u64::from(layer.uses_lower && layer.spatial > 0);
    if !descriptor.predicted {
        return if lower == 0 { Dependence::Nothing } else { Dependence::Frames(lower) };
    }
    // The same layer of pictures before, as far as 64 frames reach.
    let spread = u32::from(SPATIAL_LAYERS);
    match descriptor.differences.filter(|pictures| *pictures >> (u64::BITS / spread) == 0) {
        Some(pictures) if pictures != 0 => Dependence::Frames(
            (0..u64::BITS / spread)
                .filter(|picture| pictures >> picture & 1 == 1)
                .fold(lower, |frames, picture| frames | 1 << ((picture + 1) * spread - 1)),
        ),
        _ => Dependence::Any(present),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::tests::{L1T3, short, structure};

    const fn at(spatial: u8, temporal: u8) -> Target {
        Target { spatial, temporal }
    }

    fn read(reader: &mut StreamReader, codec: Codec, payload: &[u8], descriptor: &[u8]) -> Reading {
        reader.read(&Arrived { codec, timestamp: 9, marker: true, payload, descriptor })
    }

    /// A VP8 payload: base or upper picture, and what its first byte pretends.
    fn vp8(picture: u16, temporal: u8, sync: bool, key: bool) -> [u8; 7] {
        let [high, low] = (picture | 0x8000).to_be_bytes();
        [0x90, 0xe0, high, low, 1, temporal << 6 | u8::from(sync) << 5, u8::from(!key)]
    }

    #[test]
    fn once_described_nothing_else_says_what_a_keyframe_is() {
        let mut reader = StreamReader::new(true);
        assert!(read(&mut reader, Codec::Vp8, &vp8(1, 0, false, true), &[]).keyframe, "not described yet");
        let key = read(&mut reader, Codec::Vp8, &vp8(2, 0, false, false), &structure(300, 0, L1T3));
        assert!(key.keyframe && key.layers.unwrap().frame == 300);
        let later = read(&mut reader, Codec::Vp8, &vp8(3, 0, false, true), &short(303, 1));
        assert!(!later.keyframe && matches!(later.info, PayloadInfo::Vp8(_)));
        assert!(!read(&mut reader, Codec::Vp8, &vp8(4, 0, false, true), &[]).keyframe);
        assert!(!read(&mut reader, Codec::H264, &[0x67], &[]).keyframe);
        assert!(!read(&mut StreamReader::new(false), Codec::Av1, &[0xff], &structure(1, 0, L1T3)).keyframe);
    }

    #[test]
    fn vp8_opens_all_its_layers_at_a_keyframe_and_its_own_where_it_builds_on_the_base() {
        let mut reader = StreamReader::new(false);
        let key = read(&mut reader, Codec::Vp8, &vp8(0x7fff, 0, false, true), &[]);
        let view = key.layers.unwrap();
        assert!(key.keyframe && view.switch.contains(at(0, 2)) && view.depends == Dependence::Nothing);
        assert_eq!(view.exist.best(at(9, 9)), Some(at(0, 0)));
        let upper = read(&mut reader, Codec::Vp8, &vp8(0, 2, true, false), &[]).layers.unwrap();
        assert_eq!(upper.frame, view.frame.wrapping_add(1), "over the picture id's end");
        assert_eq!(upper.exist.best(at(9, 9)), Some(at(0, 2)), "known once it was seen");
        assert_eq!(
            (upper.switch, upper.depends),
            (Targets::of(at(0, 2)), Dependence::Any(Targets::of(at(0, 0))))
        );
        assert!(!upper.present.contains(at(0, 1)));
    }

    #[test]
    fn vp9_says_which_layers_need_which() {
        let mut reader = StreamReader::new(false);
        // A key picture of two layers, the upper on the lower; three are announced.
        let lower = read(&mut reader, Codec::Vp9, &[0xba, 0x81, 0x00, 0x00, 0x40], &[]);
        let view = lower.layers.unwrap();
        assert!(lower.keyframe && view.depends == Dependence::Nothing);
        assert_eq!(view.exist.best(at(9, 9)), Some(at(2, 0)));
        assert!(view.switch.contains(at(2, 0)));
        let upper = read(&mut reader, Codec::Vp9, &[0xbc, 0x81, 0x00, 0x03], &[]);
        let above = upper.layers.unwrap();
        assert!(!upper.keyframe && above.depends == Dependence::Frames(1) && above.ends_frame);
        assert_eq!(above.frame, view.frame + 1);
        assert!(!above.present.contains(at(0, 0)) && above.switch.contains(at(1, 0)));
        // The next one, apart: built on the same layer's last picture, and of no use to the layer above.
        let lower = read(&mut reader, Codec::Vp9, &[0xf9, 0x81, 0x01, 0x00, 0x02], &[]).layers.unwrap();
        assert_eq!((lower.frame, lower.depends), (view.frame + 4, Dependence::Frames(0b1000)));
        assert!(lower.present.contains(at(0, 0)) && !lower.present.contains(at(1, 0)));
        assert_eq!(lower.switch, Targets::NONE);
    }

    #[test]
    fn a_key_picture_of_h264_begins_with_its_parameters_and_once() {
        let mut reader = StreamReader::new(false);
        let mut key = |timestamp, payload: &[u8]| {
            let packet = Arrived { codec: Codec::H264, timestamp, marker: false, payload, descriptor: &[] };
            reader.read(&packet).keyframe
        };
        assert!(key(1, &[0x67, 1]));
        assert!(!key(1, &[0x65, 1]) && !key(1, &[0x7c, 0x85, 1]), "the same picture");
        assert!(!key(2, &[0x61, 1]));
        assert!(key(3, &[0x7c, 0x85, 1]), "its parameters are told elsewhere");
        assert!(!key(3, &[0x7c, 0x05, 1]));
    }
}
