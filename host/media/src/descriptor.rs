//! The dependency descriptor (AV1 RTP specification, appendix A): which layers a frame is of, what it depends on and
//! who needs it, told beside the payload, so that even a payload that nobody here can read is forwarded by layers.
//! Knows nothing of payloads or of who watches.
//!
//! Chains are read over and not kept: whether someone holds an unbroken chain follows from the frames that they were
//! sent and from what each frame depends on.

use tidegate_types::layer::{Dependence, LayerView, SPATIAL_LAYERS, TEMPORAL_LAYERS, Target, Targets};

const TEMPLATES: usize = 64;
const DECODE_TARGETS: usize = 32;
/// Bits of an indication: how much one decode target needs a frame.
const INDICATION_BITS: u32 = 2;

/// Reads bits, most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// A number below `most` in as few bits as that needs (the AV1 specification's `ns(n)`).
    fn below(&mut self, most: u32) -> Option<u32> {
        let width = u32::BITS - most.leading_zeros();
        let short = (1 << width) - most;
        let value = self.take(width.saturating_sub(1))?;
        if value < short { Some(value) } else { Some((value << 1) - short + self.take(1)?) }
    }
}

/// What one frame is to each decode target.
#[derive(Clone, Copy, Debug, Default)]
struct Indications {
    present: Targets,
    switch: Targets,
    discardable: Targets,
}

impl Indications {
    fn add(&mut self, target: Targets, indication: u32) {
        match indication {
            1 => self.discardable = self.discardable.with(target),
            2 => self.switch = self.switch.with(target),
            _ => {}
        }
        if indication != 0 {
            self.present = self.present.with(target);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Template {
    layer: Target,
    indications: Indications,
    depends: Option<u64>,
}

impl Template {
    const EMPTY: Self = Self {
        layer: Target { spatial: 0, temporal: 0 },
        indications: Indications {
            present: Targets::NONE,
            switch: Targets::NONE,
            discardable: Targets::NONE,
        },
        depends: Some(0),
    };
}

/// Frames before, as bits; `None` once one of them lies further back than 64.
fn add_difference(depends: Option<u64>, difference: u32) -> Option<u64> {
    (difference <= u64::BITS).then(|| depends.map(|bits| bits | 1 << (difference - 1))).flatten()
}

/// What a stream's key picture said about all frames that follow.
#[derive(Debug)]
struct Structure {
    first_template: u8,
    templates: [Template; TEMPLATES],
    template_count: usize,
    targets: [Targets; DECODE_TARGETS],
    target_count: u32,
    chains: u32,
}

impl Structure {
    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let first_template = bits.take(6)? as u8;
        let target_count = bits.take(5)? + 1;
        let mut structure = Self {
            first_template,
            templates: [Template::EMPTY; TEMPLATES],
            template_count: 0,
            targets: [Targets::NONE; DECODE_TARGETS],
            target_count,
            chains: 0,
        };
        let spatial_layers = structure.read_layers(bits)?;
        structure.read_indications(bits)?;
        structure.read_differences(bits)?;
        structure.skip_chains(bits)?;
        if bits.flag()? {
            // Width and height of each spatial layer.
            for _ in 0..spatial_layers {
                bits.take(32)?;
            }
        }
        Some(structure)
    }

    /// The templates' layers; returns how many spatial ones there are.
    fn read_layers(&mut self, bits: &mut Bits<'_>) -> Option<u8> {
        let mut layer = Target { spatial: 0, temporal: 0 };
        loop {
            self.templates.get_mut(self.template_count)?.layer = layer;
            self.template_count += 1;
            match bits.take(2)? {
                0 => {}
                1 => layer.temporal += 1,
                2 => layer = Target { spatial: layer.spatial + 1, temporal: 0 },
                _ => return Some(layer.spatial + 1),
            }
            if layer.temporal >= TEMPORAL_LAYERS || layer.spatial >= SPATIAL_LAYERS {
                return None;
            }
        }
    }

    /// Each template's indications. A decode target's layers are the highest that it has any use for.
    fn read_indications(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let mut raw = [0_u64; TEMPLATES];
        let mut highest: [Option<Target>; DECODE_TARGETS] = [None; DECODE_TARGETS];
        for (template, raw) in self.templates.iter().zip(&mut raw).take(self.template_count) {
            for (index, highest) in highest.iter_mut().enumerate().take(self.target_count as usize) {
                let indication = bits.take(INDICATION_BITS)?;
                *raw |= u64::from(indication) << (2 * index);
                if indication != 0 {
                    let known = highest.get_or_insert(template.layer);
                    known.spatial = known.spatial.max(template.layer.spatial);
                    known.temporal = known.temporal.max(template.layer.temporal);
                }
            }
        }
        let mut named = Targets::NONE;
        for (target, highest) in self.targets.iter_mut().zip(highest) {
            // Of two with the same layers only the first can be told apart.
            *target = highest.map_or(Targets::NONE, Targets::of).without(named);
            named = named.with(*target);
        }
        for (template, raw) in self.templates.iter_mut().zip(raw) {
            for (index, target) in self.targets.iter().enumerate() {
                template.indications.add(*target, (raw >> (2 * index) & 3) as u32);
            }
        }
        Some(())
    }

    fn read_differences(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        for template in self.templates.iter_mut().take(self.template_count) {
            while bits.flag()? {
                template.depends = add_difference(template.depends, bits.take(4)? + 1);
            }
        }
        Some(())
    }

    fn skip_chains(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        self.chains = bits.below(self.target_count + 1)?;
        if self.chains > 0 {
            for _ in 0..self.target_count {
                bits.below(self.chains)?;
            }
            for _ in 0..self.template_count as u32 * self.chains {
                bits.take(4)?;
            }
        }
        Some(())
    }

    fn template(&self, id: u8) -> Option<&Template> {
        let index = usize::from(id.wrapping_sub(self.first_template) & 63);
        self.templates[..self.template_count].get(index)
    }

    /// The targets that a bitmask names.
    fn named(&self, mask: u32) -> Targets {
        let targets = self.targets.iter().enumerate().take(self.target_count as usize);
        targets
            .filter(|(index, _)| mask >> index & 1 == 1)
            .fold(Targets::NONE, |all, (_, target)| all.with(*target))
    }

    fn read_frame_indications(&self, bits: &mut Bits<'_>) -> Option<Indications> {
        let mut indications = Indications::default();
        for target in self.targets.iter().take(self.target_count as usize) {
            indications.add(*target, bits.take(INDICATION_BITS)?);
        }
        Some(indications)
    }
}

fn read_frame_differences(bits: &mut Bits<'_>) -> Option<Option<u64>> {
    let mut depends = Some(0);
    loop {
        match bits.take(2)? {
            0 => return Some(depends),
            size => depends = add_difference(depends, bits.take(4 * size)? + 1),
        }
    }
}

/// The flags behind the mandatory three bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    indications: bool,
    differences: bool,
}

/// Reads the descriptors of one stream, in which most refer to what the last key picture said.
#[derive(Debug, Default)]
pub struct Descriptors {
    structure: Option<Structure>,
    active: Targets,
}

impl Descriptors {
    /// Reads one packet's descriptor. `None` if it is malformed, or refers to what was never said.
    pub fn read(&mut self, bytes: &[u8]) -> Option<LayerView> {
        let mandatory = bytes.first_chunk::<3>()?;
        let mut bits = Bits { bytes, at: 24 };
        let flags = if bytes.len() > 3 { self.read_extended(&mut bits)? } else { Flags::default() };
        let structure = self.structure.as_ref()?;
        let template = structure.template(mandatory[0] & 63)?;
        let indications = if flags.indications {
            structure.read_frame_indications(&mut bits)?
        } else {
            template.indications
        };
        let depends = if flags.differences { read_frame_differences(&mut bits)? } else { template.depends };
        Some(LayerView {
            frame: u16::from_be_bytes([mandatory[1], mandatory[2]]),
            layer: template.layer,
            starts_frame: mandatory[0] & 0x80 != 0,
            ends_frame: mandatory[0] & 0x40 != 0,
            depends: match depends {
                Some(0) => Dependence::Nothing,
                Some(frames) => Dependence::Frames(frames),
                None => Dependence::Any(indications.present),
            },
            present: indications.present,
            switch: indications.switch,
            discardable: indications.discardable,
            exist: self.active,
        })
    }

    fn read_extended(&mut self, bits: &mut Bits<'_>) -> Option<Flags> {
        let [has_structure, has_active] = [bits.flag()?, bits.flag()?];
        let flags = Flags { indications: bits.flag()?, differences: bits.flag()? };
        let _chains = bits.flag()?;
        if has_structure {
            let structure = Structure::read(bits)?;
            self.active = structure.named(u32::MAX);
            self.structure = Some(structure);
        }
        if has_active {
            let structure = self.structure.as_ref()?;
            let mask = bits.take(structure.target_count)?;
            self.active = structure.named(mask);
        }
        Some(flags)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Writes bits, most significant first.
    #[derive(Default)]
    struct Pen {
        bytes: Vec<u8>,
        used: usize,
    }

    impl Pen {
        fn put(&mut self, value: u32, count: u32) {
            for bit in (0..count).rev() {
                if self.used.is_multiple_of(8) {
                    self.bytes.push(0);
                }
                let last = self.bytes.len() - 1;
                self.bytes[last] |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
                self.used += 1;
            }
        }
    }

    /// A template: its indications as the specification's tables write them, and what it depends on.
    pub(crate) type Row<'a> = (&'a str, &'a [u32]);

    /// The specification's L1T3.
    pub(crate) const L1T3: &[(u8, Row<'_>)] =
        &[(0, ("SSS", &[])), (0, ("SSS", &[4])), (1, ("-DS", &[2])), (1, ("--D", &[1])), (0, ("--D", &[1]))];

    /// A structure of templates; the number before each says how the next layer follows from the one before it
    /// (0 same, 1 next temporal, 2 next spatial). The first one's is ignored.
    pub(crate) fn structure(frame: u16, template: u8, rows: &[(u8, Row<'_>)]) -> Vec<u8> {
        let targets = rows[0].1.0.len() as u32;
        let mut pen = Pen::default();
        pen.put(0b11, 2);
        pen.put(u32::from(template), 6);
        pen.put(u32::from(frame), 16);
        pen.put(0b10000, 5);
        pen.put(0, 6);
        pen.put(targets - 1, 5);
        for (next, _) in &rows[1..] {
            pen.put(u32::from(*next), 2);
        }
        pen.put(3, 2);
        for (_, (indications, _)) in rows {
            for letter in indications.chars() {
                pen.put("-DSR".find(letter).expect("an indication") as u32, 2);
            }
        }
        for (_, (_, differences)) in rows {
            for difference in *differences {
                pen.put(1, 1);
                pen.put(difference - 1, 4);
            }
            pen.put(0, 1);
        }
        // No chains: ns(n) writes a zero in one bit less than n needs.
        pen.put(0, (targets + 1).ilog2());
        pen.put(0, 1);
        pen.bytes
    }

    pub(crate) fn short(frame: u16, template: u8) -> [u8; 3] {
        let [high, low] = frame.to_be_bytes();
        [0xc0 | template, high, low]
    }

    const fn at(spatial: u8, temporal: u8) -> Target {
        Target { spatial, temporal }
    }

    #[test]
    fn templates_say_what_short_descriptors_leave_out() {
        let mut stream = Descriptors::default();
        assert!(stream.read(&short(1, 0)).is_none(), "nothing was said yet");
        // T0, T0 delta, T2 and T1 in this order of templates.
        let rows: &[(u8, Row<'_>)] =
            &[(0, ("SSS", &[])), (0, ("SSS", &[4])), (1, ("-DS", &[2])), (1, ("--D", &[1]))];
        let key = stream.read(&structure(7, 0, rows)).unwrap();
        assert!(key.starts_frame && key.ends_frame && key.depends == Dependence::Nothing);
        assert_eq!(key.exist.best(at(9, 9)), Some(at(0, 2)));
        assert!(key.switch.contains(at(0, 0)) && key.switch.contains(at(0, 2)));
        let middle = stream.read(&short(9, 2)).unwrap();
        assert_eq!((middle.layer, middle.depends), (at(0, 1), Dependence::Frames(0b10)));
        assert!(!middle.present.contains(at(0, 0)) && middle.present.contains(at(0, 1)));
        assert!(middle.discardable.contains(at(0, 1)) && middle.switch.contains(at(0, 2)));
        assert!(stream.read(&short(9, 4)).is_none(), "no such template");
    }

    /// A key picture's descriptor as Chrome wrote it for AV1 in the mode L3T3, out of a traffic capture.
    const CHROME_L3T3: &str = "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040\
                               001d954926e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca877\
                               530077004200ef008601df010d";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
        (0..hexadecimal.len()).step_by(2).map(digit).collect()
    }

    #[test]
    fn what_a_browser_wrote_reads_as_it_meant() {
        let mut stream = Descriptors::default();
        let key = stream.read(&bytes(CHROME_L3T3)).unwrap();
        assert_eq!((key.frame, key.layer, key.depends), (370, at(0, 0), Dependence::Nothing));
        assert_eq!(key.exist.best(at(9, 9)), Some(at(2, 2)));
        assert_eq!(key.switch, key.exist, "whoever decodes it can decode anything from here on");
        let rows = [
            ("860173", 371, at(1, 0), 0b1),
            ("8b0174", 372, at(2, 0), 0b1),
            ("c30175", 373, at(0, 2), 0b100),
            ("c70177", 375, at(1, 1), 0b10_0001),
        ];
        for (hexadecimal, frame, layer, depends) in rows {
            let view = stream.read(&bytes(hexadecimal)).unwrap();
            assert_eq!((view.frame, view.layer), (frame, layer));
            assert_eq!(view.depends, Dependence::Frames(depends));
            assert_eq!(view.exist, key.exist);
        }
        let narrower = stream.read(&bytes("86017340fc")).unwrap();
        assert_eq!(narrower.exist.best(at(9, 9)), Some(at(1, 2)), "two sizes are sent");
        assert!(!narrower.present.contains(at(0, 2)) && narrower.present.contains(at(2, 0)));
    }

    #[test]
    fn active_targets_and_a_frames_own_differences_are_read() {
        let mut stream = Descriptors::default();
        let rows: &[(u8, Row<'_>)] = &[(0, ("SS", &[])), (2, ("-S", &[1]))];
        stream.read(&structure(1, 0, rows)).unwrap();
        let mut pen = Pen::default();
        pen.put(0b11, 2);
        pen.put(0, 6);
        pen.put(300, 16);
        pen.put(0b01110, 5);
        pen.put(0b01, 2);
        pen.put(0b1011, 4);
        // Differences of 300 and 16.
        pen.put(3, 2);
        pen.put(299, 12);
        pen.put(1, 2);
        pen.put(15, 4);
        pen.put(0, 2);
        let view = stream.read(&pen.bytes).unwrap();
        assert_eq!(view.exist.best(at(9, 9)), Some(at(0, 0)));
        assert!(view.switch.contains(at(0, 0)) && view.present.contains(at(1, 0)));
        assert_eq!(view.depends, Dependence::Any(view.present), "one lies too far back");
        assert_eq!(stream.read(&short(301, 0)).unwrap().exist, view.exist, "stays until it is said anew");
    }

    #[test]
    fn cut_descriptors_are_refused_and_leave_what_was_known() {
        let whole = structure(1, 0, L1T3);
        for length in 0..whole.len() - 1 {
            assert!(Descriptors::default().read(&whole[..length]).is_none(), "{length}");
        }
        let mut stream = Descriptors::default();
        stream.read(&whole).unwrap();
        assert!(stream.read(&whole[..8]).is_none());
        assert!(stream.read(&short(2, 1)).is_some());
    }
}
