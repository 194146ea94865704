//! How many bits a stream brings, over the last two seconds. Knows nothing of what the bits are for.

use std::time::{Duration, Instant};
use tidegate_types::Bitrate;

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
