//! Replay for whoever comes in the middle of a stream: the complete chain from an encoding's last keyframe, out of
//! the one history and at a bounded rate. Knows nothing of who it is for, or of how a packet is sealed.
//!
//! It is all or nothing. A [`Chain`] is found only where nothing of it is missing; then a [`Cursor`] walks it, and
//! withholds live packets of that encoding until it has caught up with them. So what a joiner gets is in order,
//! and nothing is queued: the history holds what is still to go.

use crate::history::History;
use std::ops::Range;
use std::time::{Duration, Instant};
use tidegate_types::MediaPacket;

/// A chain that began longer ago is not replayed: catching up would take longer than a fresh keyframe does.
pub const FRESH: Duration = Duration::from_millis(1_500);
/// Nor is one of more bytes: it would be felt by whatever else its receiver gets.
pub const CHAIN_BYTES: usize = 1 << 20;
/// How often a cursor moves on.
pub const STEP: Duration = Duration::from_millis(5);
/// A replay goes so many times as fast as its stream came. Faster shows a picture sooner and makes a larger burst.
const SPEED: u32 = 4;
/// A chain is taken to have lasted at least so long: a keyframe alone has no rate, and is spread over a part of this.
const SPAN: Duration = Duration::from_millis(200);

const _: () = assert!(SPAN.as_millis() > STEP.as_millis() * SPEED as u128, "a step is a part of the chain");

/// Everything of one encoding since its last keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Where the keyframe begins.
    pub first: u64,
    /// When that came in.
    pub began: Instant,
    /// Payload bytes of all of it.
    pub bytes: usize,
}

impl Chain {
    /// The chain from `keyframe` to the newest packet; `None` if any of it is missing, or it is too old or too large.
    #[must_use]
    pub fn find(history: &History, keyframe: u64, now: Instant) -> Option<Self> {
        let first = history.get(keyframe)?;
        if now.saturating_duration_since(first.ingress) >= FRESH {
            return None;
        }
        let mut bytes = 0;
        for sequence in keyframe..=history.highest()? {
            bytes += history.get(sequence)?.payload().len();
        }
        (bytes < CHAIN_BYTES).then_some(Self { first: keyframe, began: first.ingress, bytes })
    }
}

/// How far a replay is.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// Of which encoding.
    pub encoding: u8,
    /// When it moves on.
    pub due: Instant,
    next: u64,
    /// Goes in one step at least; more where that would be too slow for what has come since.
    step_bytes: usize,
    /// When its chain began, and when its replay did.
    began: Instant,
    started: Instant,
}

impl Cursor {
    /// One that stands before its chain and is due at once.
    #[must_use]
    pub fn new(encoding: u8, chain: &Chain, now: Instant) -> Self {
        let span = now.saturating_duration_since(chain.began).max(SPAN);
        let step = chain.bytes as u128 * u128::from(SPEED) * STEP.as_micros() / span.as_micros();
        let step_bytes = step as usize;
        Self { encoding, due: now, next: chain.first, step_bytes, began: chain.began, started: now }
    }

    /// One that hands over at once what is held from `sequence` on: its receiver had what came before.
    #[must_use]
    pub fn resume(encoding: u8, sequence: u64, now: Instant) -> Self {
        Self { encoding, due: now, next: sequence, step_bytes: usize::MAX, began: now, started: now }
    }

    /// Whether a live packet has to wait: the replay will come to it.
    #[must_use]
    pub fn withholds(&self, packet: &MediaPacket) -> bool {
        packet.encoding == self.encoding && packet.sequence >= self.next
    }

    /// What came in until then is to have gone by `now`: it moves [`SPEED`] times as fast as time does, so that a replay
    /// ends, however little its chain told of the stream's rate.
    fn horizon(&self, now: Instant) -> Option<Instant> {
        let passed = now.saturating_duration_since(self.started) * SPEED;
        Some(self.began + passed.checked_sub(SPAN)?)
    }

    /// One step: what is to go now, at least a packet, and where it stands behind that; `None` once it has caught
    /// up.
    #[must_use]
    pub fn step(mut self, history: &History, now: Instant) -> (Range<u64>, Option<Self>) {
        let (start, mut bytes) = (self.next, 0);
        let horizon = self.horizon(now);
        for packet in history.from(start) {
            if bytes > self.step_bytes && horizon.is_none_or(|horizon| packet.ingress > horizon) {
                self.due = now + STEP;
                return (start..self.next, Some(self));
            }
            bytes += packet.payload().len();
            self.next = packet.sequence + 1;
        }
        (start..self.next, None)
    }
}

#[cfg(test)]
mod tests {
    use super::{CHAIN_BYTES, Chain, Cursor, FRESH, STEP};
    use crate::history::History;
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use tidegate_types::packet::{Extensions, PayloadInfo};
    use tidegate_types::rtp::Codec;
    use tidegate_types::{Buffer, MediaKind, MediaPacket, Pool};

    fn packet(sequence: u64, ingress: Instant, bytes: usize) -> MediaPacket {
        let mut buffer = Buffer::default();
        buffer.set_length(bytes);
        MediaPacket {
            encoding: 1,
            sequence,
            timestamp: 0,
            marker: true,
            keyframe: sequence == 100,
            ingress,
            codec: Codec::Vp8,
            payload_info: PayloadInfo::Opaque,
            layers: None,
            extensions: Extensions::default(),
            payload: 0..bytes as u16,
            buffer: Arc::new(buffer),
        }
    }

    fn history(sequences: impl Iterator<Item = u64>, start: Instant, bytes: usize) -> History {
        let mut history = History::new(MediaKind::Video);
        for sequence in sequences {
            let at = start + Duration::from_millis(sequence - 90);
            history.insert(packet(sequence, at, bytes), &mut Pool::new(0));
        }
        history
    }

    #[test]
    fn a_chain_is_whole_and_fresh_and_small_or_there_is_none() {
        let start = Instant::now();
        let soon = start + Duration::from_millis(500);
        let chain = Chain::find(&history(90..200, start, 1_000), 100, soon).unwrap();
        assert_eq!((chain.first, chain.bytes), (100, 100_000));
        let gap = (90..200).filter(|sequence| *sequence != 150);
        assert_eq!(Chain::find(&history(gap, start, 1_000), 100, soon), None);
        let late = chain.began + FRESH;
        assert_eq!(Chain::find(&history(90..200, start, 1_000), 100, late), None);
        assert_eq!(Chain::find(&history(101..200, start, 1_000), 100, soon), None, "no longer held");
        let bytes = 2_000;
        let long = 100 + CHAIN_BYTES as u64 / bytes;
        assert_eq!(Chain::find(&history(100..long + 1, start, bytes as usize), 100, soon), None);
    }

    #[test]
    fn a_cursor_goes_four_times_as_fast_as_the_stream_came_and_catches_up() {
        let start = Instant::now();
        // One packet a millisecond, for 400 ms.
        let history = history(100..500, start, 1_000);
        let mut now = start + Duration::from_millis(410);
        let chain = Chain::find(&history, 100, now).unwrap();
        let mut cursor = Some(Cursor::new(1, &chain, now));
        let mut sent = Vec::new();
        let mut steps = 0;
        while let Some(at) = cursor {
            assert!(at.withholds(&packet(500, now, 1)), "live ones wait");
            let (range, next) = at.step(&history, now);
            assert!(range.end - range.start <= 22, "20 a step, and what crosses its edge");
            sent.extend(range);
            cursor = next;
            now += STEP;
            steps += 1;
        }
        assert_eq!(sent, (100..500).collect::<Vec<_>>());
        assert!((18..=22).contains(&steps), "{steps} steps of 20 ms worth");
    }

    #[test]
    fn a_stream_faster_than_its_keyframe_tells_is_caught_up_with() {
        let start = Instant::now();
        let mut history = history(100..103, start, 1_000);
        let mut now = start + Duration::from_millis(13);
        let chain = Chain::find(&history, 100, now).unwrap();
        let mut cursor = Some(Cursor::new(1, &chain, now));
        let (mut sent, mut live) = (Vec::new(), 103);
        while let Some(at) = cursor {
            let (range, next) = at.step(&history, now);
            sent.extend(range);
            cursor = next;
            now += STEP;
            // Five packets come while one step passes.
            for _ in 0..5 {
                history.insert(packet(live, now, 1_000), &mut Pool::new(0));
                live += 1;
            }
            assert!(now < start + Duration::from_millis(100), "it never ends: {} of {live}", sent.len());
        }
        assert!(sent.len() > 30 && sent.is_sorted(), "{sent:?}");
    }

    #[test]
    fn what_came_late_before_the_cursor_is_not_withheld() {
        let start = Instant::now();
        let history = history(100..120, start, 1_000);
        let now = start + Duration::from_millis(40);
        let chain = Chain::find(&history, 100, now).unwrap();
        let (range, cursor) = Cursor::new(1, &chain, now).step(&history, now);
        let cursor = cursor.unwrap();
        assert!(!cursor.withholds(&packet(range.end - 1, now, 1)));
        assert!(cursor.withholds(&packet(range.end, now, 1)));
        assert!(!cursor.withholds(&MediaPacket { encoding: 0, ..packet(range.end, now, 1) }));
    }
}
