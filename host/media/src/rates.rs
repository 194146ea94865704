//! How many bits a stream brings, over the last two seconds, and how they divide among its frame rates. Knows nothing
//! of what the bits are for.

use std::time::{Duration, Instant};
use tidegate_types::Bitrate;
use tidegate_types::relay::FRAME_RATES;

/// One slot of the window.
const SLOT: Duration = Duration::from_millis(100);
/// Slots of the window. More is steadier and slower; a keyframe every two seconds should not look like a change.
const SLOTS: usize = 20;
/// What a packet costs on the wire besides its payload: RTP header and extensions, tag, UDP and IPv4.
const OVERHEAD_BYTES: u32 = 70;
/// A stream younger than this tells nothing yet: its first picture is much larger than the next.
const YOUNG: Duration = Duration::from_millis(400);
/// Each reading moves the usual rate by this part of the difference.
const SMOOTHING: u64 = 8;

/// Of what was counted before, so many 16ths still count at the next reading: with five readings a second half of it is
/// forgotten in two.
const FADING: u64 = 15;
/// A temporal layer that brings less than this part of the whole is taken for none.
const LEAST_PART: u64 = 64;

/// Counts what arrives. Never allocates.
#[derive(Clone, Debug)]
pub struct Meter {
    slots: [u32; SLOTS],
    /// When the oldest slot that counts began; later than the window's start while the stream is young.
    since: Option<Instant>,
    /// When slot 0 began.
    origin: Instant,
    /// Number of the newest slot, counted from `origin`.
    newest: u64,
    usual_bps: u64,
}

impl Meter {
    /// A meter that has seen nothing.
    #[must_use]
    pub const fn new(origin: Instant) -> Self {
        Self { slots: [0; SLOTS], since: None, origin, newest: 0, usual_bps: 0 }
    }

    /// Counts one packet with so many bytes of payload.
    pub fn note(&mut self, now: Instant, payload: usize) {
        self.advance(now);
        self.since.get_or_insert(now);
        let bytes = u32::try_from(payload).unwrap_or(u32::MAX).saturating_add(OVERHEAD_BYTES);
        let slot = &mut self.slots[self.newest as usize % SLOTS];
        *slot = slot.saturating_add(bytes);
    }

    /// The rate over the window; `None` where the stream is silent or too young to tell.
    pub fn rate(&mut self, now: Instant) -> Option<Bitrate> {
        self.advance(now);
        let window = SLOT * SLOTS as u32;
        let span = now.saturating_duration_since(self.since?).min(window);
        let bytes: u64 = self.slots.iter().map(|bytes| u64::from(*bytes)).sum();
        if bytes == 0 {
            self.since = None;
            return None;
        }
        (span >= YOUNG).then(|| Bitrate::from_bps(bytes * 8_000 / span.as_millis().max(1) as u64))
    }

    /// Whether the stream has been sending for a whole window.
    #[must_use]
    pub fn is_settled(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= SLOT * SLOTS as u32)
    }

    /// What the stream takes, for planning: its rate now, or the usual one where that is higher, so that a still
    /// picture or a stream that rests is not planned with as if it would stay so. `None` before it is known.
    /// To be asked at even intervals: the usual rate follows the rate with each asking.
    pub fn expected(&mut self, now: Instant) -> Option<Bitrate> {
        if let Some(rate) = self.rate(now).map(Bitrate::bits_per_second) {
            self.usual_bps = match self.usual_bps {
                0 => rate,
                usual => (usual * (SMOOTHING - 1) + rate) / SMOOTHING,
            };
            return Some(Bitrate::from_bps(rate.max(self.usual_bps)));
        }
        (self.usual_bps > 0).then(|| Bitrate::from_bps(self.usual_bps))
    }

    /// Empties the slots that lie between the newest and now.
    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.origin);
        let slot = passed.as_secs() * 10 + u64::from(passed.subsec_millis()) / 100;
        if slot <= self.newest {
            return;
        }
        for empty in 1..=(slot - self.newest).min(SLOTS as u64) {
            self.slots[(self.newest + empty) as usize % SLOTS] = 0;
        }
        self.newest = slot;
    }
}

/// How a stream's bits divide among its temporal layers, of late. Never allocates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix {
    bytes: [u32; FRAME_RATES],
    /// Something came since the last reading; what rests is remembered as it was.
    fresh: bool,
}

impl Mix {
    /// Counts one packet with so many bytes of payload.
    #[inline]
    pub fn note(&mut self, temporal: u8, payload: usize) {
        let bytes = u32::try_from(payload).unwrap_or(u32::MAX).saturating_add(OVERHEAD_BYTES);
        let layer = &mut self.bytes[usize::from(temporal).min(FRAME_RATES - 1)];
        *layer = layer.saturating_add(bytes);
        self.fresh = true;
    }

    /// How many 256ths of the whole come up to each temporal layer but the highest; 0 from there on. To be asked at even
    /// intervals: what was counted long ago counts less with each asking.
    pub fn parts(&mut self) -> [u8; FRAME_RATES - 1] {
        let whole: u64 = self.bytes.iter().map(|bytes| u64::from(*bytes)).sum();
        let highest = self.bytes.iter().rposition(|bytes| u64::from(*bytes) * LEAST_PART > whole);
        let mut sum = 0;
        let parts = std::array::from_fn(|temporal| {
            sum += u64::from(self.bytes[temporal]);
            if highest <= Some(temporal) { 0 } else { (sum * 256 / whole).clamp(1, 255) as u8 }
        });
        if std::mem::take(&mut self.fresh) {
            self.bytes = self.bytes.map(|bytes| (u64::from(bytes) * FADING / 16) as u32);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(meter: &mut Meter, from: Instant, span_ms: u64, payload: usize) -> Instant {
        for step in 0..span_ms / 10 {
            meter.note(from + Duration::from_millis(step * 10), payload);
        }
        from + Duration::from_millis(span_ms)
    }

    #[test]
    fn a_steady_stream_is_told_within_a_tenth_and_forgotten_when_it_ends() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        assert_eq!(meter.rate(start), None);
        let at = run(&mut meter, start, 300, 930);
        assert_eq!(meter.rate(at), None, "too young");
        // 1,000 bytes every 10 ms on the wire: 800 kbit/s.
        let at = run(&mut meter, at, 3_000, 930);
        let rate = meter.rate(at).unwrap().kbps();
        assert!((720..=880).contains(&rate), "{rate}");
        assert_eq!(meter.rate(at + Duration::from_secs(3)), None);
    }

    #[test]
    fn the_window_follows_a_change_within_its_length() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let at = run(&mut meter, start, 5_000, 930);
        let at = run(&mut meter, at, 2_100, 180);
        let rate = meter.rate(at).unwrap().kbps();
        assert!((180..=220).contains(&rate), "{rate}");
    }

    #[test]
    fn frame_rates_are_told_apart_and_forgotten_when_they_end() {
        let mut mix = Mix::default();
        assert_eq!(mix.parts(), [0; 3]);
        // Half of the bits in every fourth picture, a quarter in every other fourth, and the rest.
        for picture in 0..400 {
            let (temporal, bytes) = [(0, 930), (2, 180), (1, 430), (2, 180)][picture % 4];
            mix.note(temporal, bytes);
        }
        assert_eq!(mix.parts(), [128, 192, 0]);
        for _ in 0..1_000 {
            assert_eq!(mix.parts(), [128, 192, 0], "a stream that rests");
        }
        for _ in 0..100 {
            mix.note(0, 930);
            mix.parts();
        }
        assert_eq!(mix.parts(), [0; 3], "the encoder has but one left");
        mix.note(200, usize::MAX);
        mix.note(200, usize::MAX);
        mix.parts();
    }

    #[test]
    fn what_a_resting_stream_took_is_remembered() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let mut at = start;
        for _ in 0..20 {
            at = run(&mut meter, at, 200, 930);
            meter.expected(at);
        }
        let resting = meter.expected(at + Duration::from_secs(60)).unwrap().kbps();
        assert!((700..=880).contains(&resting), "{resting}");
    }
}
