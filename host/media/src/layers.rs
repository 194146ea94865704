//! Chooses which layers of one stream a consumer receives, frame by frame. Knows nothing of codecs, packets' bytes or
//! why a layer is wanted.
//!
//! A target is *intact* for a peer that was sent every frame of it since one from which it can be decoded. Switching is
//! possible to intact targets at any frame (down in full SVC, always down in time), and to those that a frame opens
//! which the peer can decode (a keyframe, a switching point). Between these the old target goes on.

use crate::bits::BitRing;
use tidegate_types::consumer::LayerPreference;
use tidegate_types::layer::{Dependence, LayerView, Target, Targets};

const WORDS: usize = 4;
/// Frames whose fate is remembered: several seconds of three spatial layers at 30 pictures a second.
const WINDOW: u64 = BitRing::<WORDS>::LENGTH;

/// What became of the last frames of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    /// Behind the newest frame, extended over wraps.
    next: Option<u64>,
    forwarded: BitRing<WORDS>,
    dropped: BitRing<WORDS>,
    /// Of the dropped ones those that were the newest then: what follows was numbered without them.
    skipped: BitRing<WORDS>,
    skipped_in_all: u64,
}

impl Frames {
    /// No frame yet.
    pub(crate) const fn new() -> Self {
        let none = BitRing::all(false);
        Self { next: None, forwarded: none, dropped: none, skipped: none, skipped_in_all: 0 }
    }

    /// The running number that a frame's 16 bits mean: the nearest to the newest.
    fn extend(&self, frame: u16) -> u64 {
        let Some(next) = self.next else { return 0x1_0000 + u64::from(frame) };
        let step = frame.wrapping_sub((next - 1) as u16).cast_signed();
        (next - 1).saturating_add_signed(i64::from(step))
    }

    fn is_held(&self, number: u64) -> bool {
        self.next.is_some_and(|next| number < next && number + WINDOW >= next)
    }

    /// What was decided about a frame.
    fn fate(&self, number: u64) -> Option<bool> {
        if !self.is_held(number) {
            return None;
        }
        if self.forwarded.get(number) { Some(true) } else { self.dropped.get(number).then_some(false) }
    }

    fn note(&mut self, number: u64, forward: bool) {
        let next = self.next.unwrap_or(number);
        if number >= next {
            for ring in [&mut self.forwarded, &mut self.dropped, &mut self.skipped] {
                ring.fill(next, number + 1, false);
            }
            self.next = Some(number + 1);
            self.skipped.set(number, !forward);
            self.skipped_in_all += u64::from(!forward);
        }
        if forward {
            self.forwarded.set(number, true);
        } else {
            self.dropped.set(number, true);
        }
    }

    fn all_forwarded(&self, number: u64, mut before: u64) -> bool {
        while before != 0 {
            let difference = u64::from(before.trailing_zeros()) + 1;
            let held = number.checked_sub(difference).filter(|frame| self.is_held(*frame));
            if !held.is_some_and(|frame| self.forwarded.get(frame)) {
                return false;
            }
            before &= before - 1;
        }
        true
    }

    /// Whether it was decided that the frame is not for this peer.
    pub(crate) fn was_dropped(&self, frame: u16) -> bool {
        self.fate(self.extend(frame)) == Some(false)
    }

    /// How many frames before this one were left out without a trace. Of one too old to know, as of the oldest known.
    pub(crate) fn skipped_before(&self, frame: u16) -> u64 {
        let number = self.extend(frame);
        let Some(next) = self.next.filter(|next| number < *next) else { return self.skipped_in_all };
        let from = number.max(next.saturating_sub(WINDOW));
        self.skipped_in_all - self.skipped.count(from, next)
    }
}

/// Which layers one consumer is sent of its current encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection {
    /// At most this is wanted.
    wanted: Target,
    current: Option<Target>,
    /// Targets that the peer could be switched to without a frame that opens them.
    intact: Targets,
    /// What the stream has.
    exist: Targets,
}

impl Selection {
    /// Nothing chosen, everything wanted.
    pub(crate) const fn new() -> Self {
        Self {
            wanted: Target { spatial: u8::MAX, temporal: u8::MAX },
            current: None,
            intact: Targets::NONE,
            exist: Targets::NONE,
        }
    }

    /// Says what is wanted at most.
    pub(crate) const fn want(&mut self, wanted: LayerPreference) {
        self.wanted = Target { spatial: wanted.spatial, temporal: wanted.temporal };
    }

    /// A run begins: nothing that was sent before counts.
    pub(crate) const fn begin(&mut self) {
        (self.current, self.intact, self.exist) = (None, Targets::NONE, Targets::NONE);
    }

    /// What is being sent.
    pub(crate) const fn current(&self) -> Option<Target> {
        self.current
    }

    /// Whether only a keyframe leads to the wanted picture size.
    pub(crate) fn needs_keyframe(&self) -> bool {
        self.current.zip(self.exist.best(self.wanted)).is_some_and(|(current, desired)| {
            current.spatial != desired.spatial && !self.intact.contains(desired)
        })
    }

    /// Whether a packet's frame is for this peer. All packets of a frame have the same answer.
    pub(crate) fn wants(&mut self, frames: &mut Frames, view: &LayerView) -> bool {
        let number = frames.extend(view.frame);
        if let Some(fate) = frames.fate(number) {
            return fate;
        }
        let newest = frames.next.is_none_or(|next| number >= next);
        if !newest && !frames.is_held(number) {
            return false;
        }
        let decodable = match view.depends {
            Dependence::Nothing => true,
            Dependence::Frames(before) => frames.all_forwarded(number, before),
            Dependence::Any(targets) => !self.intact.common(targets).is_empty(),
        };
        let opened = if decodable { view.switch } else { Targets::NONE };
        if newest {
            self.exist = view.exist;
            self.current = Some(self.next_target(self.intact.with(opened)));
        }
        let forward = self.current.is_some_and(|current| view.present.contains(current));
        self.intact = if forward { self.intact.with(opened) } else { self.intact.without(view.present) };
        frames.note(number, forward);
        forward
    }

    /// The target from this frame on, of those that are open now.
    fn next_target(&self, open: Targets) -> Target {
        let lowest = Target { spatial: 0, temporal: 0 };
        let desired = self.exist.best(self.wanted).unwrap_or(self.current.unwrap_or(lowest));
        if open.contains(desired) {
            return desired;
        }
        let near = open.highest_within(desired);
        let Some(current) = self.current else { return near.unwrap_or(desired) };
        if current == desired {
            return current;
        }
        let exceeds = current.spatial > desired.spatial || current.temporal > desired.temporal;
        match near {
            Some(near) if exceeds || near > current => near,
            // Until a keyframe allows the smaller picture at least no more of them than wanted.
            _ if exceeds => Target { temporal: current.temporal.min(desired.temporal), ..current },
            _ => current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::Descriptors;
    use crate::descriptor::tests::{L1T3, Row, short, structure};

    const fn at(spatial: u8, temporal: u8) -> Target {
        Target { spatial, temporal }
    }

    /// A peer and the stream that it watches, described as the specification's tables do.
    struct Watcher {
        stream: Descriptors,
        selection: Selection,
        frames: Frames,
        frame: u16,
    }

    impl Watcher {
        fn new(spatial: u8, temporal: u8) -> Self {
            let mut watcher = Self {
                stream: Descriptors::default(),
                selection: Selection::new(),
                frames: Frames::new(),
                frame: 65_530,
            };
            watcher.want(spatial, temporal);
            watcher
        }

        fn want(&mut self, spatial: u8, temporal: u8) {
            self.selection.want(LayerPreference { spatial, temporal });
        }

        fn key(&mut self, rows: &[(u8, Row<'_>)]) -> bool {
            self.frame = self.frame.wrapping_add(1);
            let view = self.stream.read(&structure(self.frame, 0, rows)).unwrap();
            self.selection.wants(&mut self.frames, &view)
        }

        fn frame(&mut self, template: u8) -> bool {
            self.frame = self.frame.wrapping_add(1);
            let view = self.stream.read(&short(self.frame, template)).unwrap();
            self.selection.wants(&mut self.frames, &view)
        }

        /// Which of these come through, as letters.
        fn seen(&mut self, templates: &[u8]) -> String {
            templates.iter().map(|template| if self.frame(*template) { 'x' } else { '.' }).collect()
        }
    }

    /// The specification's L1T2: key, even pictures, odd pictures.
    const L1T2: &[(u8, Row<'_>)] = &[(0, ("SS", &[])), (0, ("SS", &[2])), (1, ("-D", &[1]))];

    /// L2T1: both layers built on the pictures before.
    const L2T1: &[(u8, Row<'_>)] =
        &[(0, ("SS", &[])), (0, ("SR", &[2])), (2, ("-S", &[1])), (0, ("-R", &[2, 1]))];

    /// L2T1_KEY: the upper layer needs the lower one in key pictures only.
    const L2T1_KEY: &[(u8, Row<'_>)] =
        &[(0, ("SS", &[])), (0, ("S-", &[2])), (2, ("-S", &[1])), (0, ("-S", &[2]))];

    #[test]
    fn frames_fall_away_at_once_and_come_back_at_a_switching_point() {
        let mut watcher = Watcher::new(9, 9);
        assert!(watcher.key(L1T3));
        assert_eq!(watcher.seen(&[3, 2, 3, 1]), "xxxx");
        watcher.want(9, 0);
        assert_eq!(watcher.seen(&[3, 2]), "..");
        watcher.want(9, 9);
        assert_eq!(watcher.seen(&[3]), ".", "built on what was left out");
        assert!(!watcher.selection.needs_keyframe());
        assert_eq!(watcher.seen(&[1, 3, 2, 3]), "xxxx");
    }

    #[test]
    fn in_full_svc_a_smaller_picture_comes_at_once_and_a_larger_one_with_a_keyframe() {
        let mut watcher = Watcher::new(9, 9);
        assert!(watcher.key(L2T1));
        assert_eq!(watcher.seen(&[2, 1, 3, 1, 3]), "xxxxx");
        watcher.want(0, 9);
        assert!(!watcher.selection.needs_keyframe());
        assert_eq!(watcher.seen(&[1, 3, 1, 3]), "x.x.");
        watcher.want(1, 9);
        assert!(watcher.selection.needs_keyframe());
        assert_eq!(watcher.seen(&[1, 3]), "x.");
        assert!(watcher.key(L2T1));
        assert_eq!(watcher.seen(&[2, 1, 3]), "xxx");
        assert!(!watcher.selection.needs_keyframe());
    }

    #[test]
    fn with_layers_apart_between_keyframes_only_the_wanted_one_goes_and_each_way_needs_a_keyframe() {
        let mut watcher = Watcher::new(9, 9);
        assert!(watcher.key(L2T1_KEY));
        assert_eq!(watcher.seen(&[2, 1, 3, 1, 3]), "x.x.x");
        watcher.want(0, 9);
        assert!(watcher.selection.needs_keyframe());
        assert_eq!(watcher.seen(&[1, 3]), ".x", "goes on until then");
        assert!(watcher.key(L2T1_KEY));
        assert_eq!(watcher.seen(&[2, 1, 3, 1]), ".x.x");
        assert_eq!(watcher.selection.current(), Some(at(0, 0)));
    }

    #[test]
    fn a_frame_that_was_lost_opens_nothing() {
        let mut watcher = Watcher::new(9, 0);
        assert!(watcher.key(L1T2));
        assert_eq!(watcher.seen(&[2]), ".");
        watcher.want(9, 9);
        // A base picture gets lost on its way to the host: the one behind it cannot be decoded.
        watcher.frame += 1;
        assert_eq!(watcher.seen(&[2, 1, 2]), ".x.");
        assert_eq!(watcher.seen(&[1, 2]), "xx", "the one before it came");
    }

    #[test]
    fn packets_of_a_frame_share_its_fate_and_late_ones_change_nothing() {
        let mut watcher = Watcher::new(9, 9);
        assert!(watcher.key(L1T2));
        assert_eq!(watcher.seen(&[2]), "x");
        let frame = watcher.frame;
        watcher.want(9, 0);
        let again = watcher.stream.read(&short(frame, 2)).unwrap();
        assert!(watcher.selection.wants(&mut watcher.frames, &again));
        assert_eq!(watcher.seen(&[1, 2, 1]), "x.x");
        assert!(watcher.frames.was_dropped(watcher.frame - 1));
        assert_eq!(watcher.frames.skipped_before(watcher.frame), 1);
        assert_eq!(watcher.frames.skipped_before(watcher.frame - 2), 0);
    }

    /// L3T3 and L3T3_KEY in the specification's order of templates: for each spatial layer the key picture's frame,
    /// then T0, T1 and T2. Targets by picture size, then by rate.
    fn scalable(apart: bool) -> Vec<(u8, (String, Vec<u32>))> {
        let mut rows = Vec::new();
        for spatial in 0..3_usize {
            for kind in 0..4_usize {
                let temporal = kind.saturating_sub(1);
                let letter = |target: usize| {
                    let (size, rate) = (target / 3, target % 3);
                    let needed = size == spatial || size > spatial && (kind == 0 || !apart);
                    match (needed && rate >= temporal, kind) {
                        (false, _) => '-',
                        (true, 0) => 'S',
                        (true, 1) => {
                            if size == spatial {
                                'S'
                            } else {
                                'R'
                            }
                        }
                        (true, 2) if rate == 2 && size == spatial => 'S',
                        (true, _) => 'R',
                    }
                };
                // Twelve frames, four pictures, are one round: T0 T2 T1 T2.
                let mut differences: Vec<u32> = match kind {
                    0 => vec![],
                    1 => vec![12],
                    2 => vec![6],
                    _ => vec![3],
                };
                if spatial > 0 && (kind == 0 || !apart) {
                    differences.push(1);
                }
                let next = u8::from(kind > 1) + if kind == 0 && spatial > 0 { 2 } else { 0 };
                rows.push((next, ((0..9).map(letter).collect(), differences)));
            }
        }
        rows
    }

    /// Whatever is wanted and whenever: each frame that is sent can be decoded by who was sent the ones before, and
    /// with a keyframe now and then everyone gets what they want.
    #[test]
    fn whatever_is_sent_can_be_decoded() {
        for seed in 1..400_u64 {
            let mut state = seed;
            let mut draw = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let rows = scalable(seed % 2 == 0);
            let rows: Vec<(u8, Row<'_>)> = rows
                .iter()
                .map(|(next, (letters, differences))| (*next, (letters.as_str(), differences.as_slice())))
                .collect();
            let mut watcher = Watcher::new(9, 9);
            let mut sent = std::collections::BTreeSet::new();
            let mut wanted = at(2, 2);
            let mut frame = 65_000_u64;
            let mut since_change = 0;
            for picture in 0..600 {
                if draw(40) == 0 {
                    wanted = at(draw(3) as u8, draw(3) as u8);
                    watcher.want(wanted.spatial, wanted.temporal);
                    since_change = 0;
                }
                let key =
                    picture == 0 || picture % 4 == 0 && watcher.selection.needs_keyframe() && draw(2) == 0;
                since_change = if key { 100 } else { since_change + 1 };
                let kind = if key { 0 } else { [1, 3, 2, 3][picture % 4] };
                for spatial in 0..3 {
                    frame += 1;
                    watcher.frame = (frame as u16).wrapping_sub(1);
                    let template = spatial * 4 + kind;
                    let goes = if key && spatial == 0 { watcher.key(&rows) } else { watcher.frame(template) };
                    if !goes {
                        continue;
                    }
                    for difference in rows[usize::from(template)].1.1 {
                        let before = frame - u64::from(*difference);
                        assert!(sent.contains(&before), "seed {seed}: {frame} needs {before}");
                    }
                    sent.insert(frame);
                }
                if since_change > 8 && !watcher.selection.needs_keyframe() {
                    assert_eq!(watcher.selection.current(), Some(wanted), "seed {seed}, picture {picture}");
                }
            }
        }
    }
}
