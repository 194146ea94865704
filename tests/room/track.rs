//! A track as someone receives it: repairs asked for, pictures put together, and what a decoder could have shown.
//! Knows nothing of who sends it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_media::missing::{Missing, Noted, Pace};
use tidegate_media::rtp::{Extender, Header};
use tidegate_media::vp8;
use tidegate_types::{ConsumerId, MediaKind, ProducerId};

/// A decoder without a picture for so long asks for a keyframe.
const STUCK: Duration = Duration::from_millis(1_500);

/// A picture that was shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) at: Instant,
    /// Which encoding it was of.
    pub(crate) encoding: u8,
    pub(crate) number: u32,
}

#[derive(Debug)]
struct Picture {
    number: u32,
    encoding: u8,
    keyframe: bool,
    /// Running number of base pictures, and the layer.
    base: (u8, u8),
    count: u8,
    have: u32,
    timestamp: u32,
}

/// One track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) producer: ProducerId,
    /// Who publishes it.
    pub(crate) from: usize,
    pub(crate) kind: MediaKind,
    pub(crate) ssrc: u32,
    /// Once the host said so.
    pub(crate) consumer: Option<ConsumerId>,
    pub(crate) begun: Instant,
    extender: Extender,
    pub(crate) missing: Missing,
    newest: Option<u64>,
    pictures: BTreeMap<u64, Picture>,
    last: Option<(u64, u8, u32)>,
    pub(crate) shown: Vec<Shown>,
    /// Whole pictures that could not be shown, with their time.
    pub(crate) broken: Vec<Instant>,
    asked_at: Instant,
    /// Its sounds by their numbers, with when they came.
    pub(crate) sounds: BTreeMap<u32, Instant>,
}

impl Track {
    pub(crate) fn new(producer: ProducerId, from: usize, kind: MediaKind, ssrc: u32, now: Instant) -> Self {
        Self {
            producer,
            from,
            kind,
            ssrc,
            consumer: None,
            begun: now,
            extender: Extender::default(),
            missing: Missing::new(Pace::PUBLISHER),
            newest: None,
            pictures: BTreeMap::new(),
            last: None,
            shown: Vec::new(),
            broken: Vec::new(),
            asked_at: now,
            sounds: BTreeMap::new(),
        }
    }

    pub(crate) fn receive(&mut self, now: Instant, header: &Header, packet: &[u8]) {
        let repair = header.ssrc != self.ssrc;
        let mut payload = &packet[header.payload_start..header.payload_end];
        let mut sequence = header.sequence;
        if repair {
            // Padding that probes has no payload.
            let Some(original) = payload.first_chunk() else { return };
            sequence = u16::from_be_bytes(*original);
            payload = &payload[2..];
        }
        let extended = if repair { self.extender.peek(sequence) } else { self.extender.extend(sequence) };
        if self.missing.note(now, extended) == Noted::Duplicate {
            return;
        }
        if self.kind == MediaKind::Audio {
            let number = u32::from_be_bytes(payload[..4].try_into().expect("its number"));
            let known = self.sounds.insert(number, now);
            assert!(
                known.is_none(),
                "sound {number} of {} came again as {extended} of {}",
                self.from,
                self.ssrc
            );
        } else if !payload.is_empty() {
            self.take_picture(now, header.timestamp, payload);
        }
    }

    fn take_picture(&mut self, now: Instant, timestamp: u32, payload: &[u8]) {
        let (descriptor, _) = vp8::parse(payload).expect("a descriptor");
        let (picture, _) = descriptor.picture_id.expect("a picture id");
        let newest = self.newest.unwrap_or(0x8000 + u64::from(picture));
        let step = (i64::from(picture) - (newest & 0x7fff) as i64 + 0x4000).rem_euclid(0x8000) - 0x4000;
        let id = newest.saturating_add_signed(step);
        self.newest = Some(newest.max(id));
        if self.last.is_some_and(|(last, ..)| id <= last) {
            return;
        }
        let told = &payload[usize::from(descriptor.length) + 1..];
        let layer = descriptor.temporal.expect("a layer");
        let picture = self.pictures.entry(id).or_insert(Picture {
            number: u32::from_be_bytes(told[..4].try_into().expect("its number")),
            count: told[5],
            keyframe: told[6] == 1,
            encoding: told[7],
            base: (descriptor.tl0_picture_index.expect("a base"), layer),
            have: 0,
            timestamp,
        });
        picture.have |= 1 << told[4];
        self.show(now);
    }

    /// Shows what can be shown: in order, each behind what it builds on; a keyframe ends every wait.
    fn show(&mut self, now: Instant) {
        while let Some((&id, picture)) = self.pictures.first_key_value() {
            let whole = picture.have.count_ones() == u32::from(picture.count);
            let follows = picture.keyframe || self.last.is_some_and(|(_, base, _)| picture.follows(base));
            if whole && follows {
                let picture = self.pictures.pop_first().expect("it is there").1;
                self.note_shown(now, id, &picture);
                continue;
            }
            let whole_keyframe =
                |one: &Picture| one.keyframe && one.have.count_ones() == u32::from(one.count);
            let Some(next) =
                self.pictures.iter().skip(1).find(|(_, one)| whole_keyframe(one)).map(|(id, _)| *id)
            else {
                return;
            };
            let rest = self.pictures.split_off(&next);
            let given_up = std::mem::replace(&mut self.pictures, rest);
            let whole = given_up.values().filter(|one| one.have.count_ones() == u32::from(one.count));
            self.broken.extend(whole.map(|_| now));
        }
    }

    fn note_shown(&mut self, now: Instant, id: u64, picture: &Picture) {
        if let Some((last, _, before)) = self.last {
            assert!(id > last);
            let step = picture.timestamp.wrapping_sub(before) as i32;
            assert!(step >= 0, "time ran back by {step} from picture {last} to {id}");
        }
        let base = if picture.keyframe || picture.base.1 == 0 {
            picture.base.0
        } else {
            self.last.map_or(picture.base.0, |(_, base, _)| base)
        };
        self.last = Some((id, base, picture.timestamp));
        self.shown.push(Shown { at: now, encoding: picture.encoding, number: picture.number });
    }

    /// When something is to be asked for; sound is not repaired.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.missing.due().filter(|_| self.kind == MediaKind::Video)
    }

    /// Whether it has waited for a keyframe for too long.
    pub(crate) fn wants_keyframe(&mut self, now: Instant) -> bool {
        let since = self.shown.last().map_or(self.begun, |shown| shown.at).max(self.asked_at);
        let wants = self.kind == MediaKind::Video
            && !self.pictures.is_empty()
            && now.saturating_duration_since(since) > STUCK;
        if wants {
            self.asked_at = now;
        }
        wants
    }

    /// How many of its sounds came from a moment on.
    pub(crate) fn heard_since(&self, since: Instant) -> usize {
        self.sounds.values().filter(|at| **at >= since).count()
    }

    /// What was shown from a moment on.
    pub(crate) fn shown_since(&self, since: Instant) -> impl Iterator<Item = &Shown> {
        self.shown[self.shown.partition_point(|shown| shown.at < since)..].iter()
    }
}

impl Picture {
    /// Whether it builds on this base picture.
    fn follows(&self, base: u8) -> bool {
        let (number, layer) = self.base;
        base == if layer == 0 { number.wrapping_sub(1) } else { number }
    }
}
