//! The ceiling of what one transport may bring in. Sound may use more of what is left than pictures, so that too much
//! video costs video. Knows nothing of what a packet holds.
//!
//! A bucket that empties at the granted rate, kept as the moment at which it will be empty (the generic cell rate
//! algorithm): nothing needs to be added up in between.

use std::time::{Duration, Instant};
use tidegate_types::{Bitrate, MediaKind};

/// How much may come at once, as time at the granted rate.
const BURST: Duration = Duration::from_millis(500);
/// A keyframe must pass at any rate.
const LEAST_BURST_BITS: u64 = 48 * 1_024 * 8;
/// Pictures may fill so many quarters of the bucket.
const VIDEO_QUARTERS: u32 = 3;

/// Admits what stays below a rate.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    bits_per_second: u64,
    /// When all that was admitted would have come in at the granted rate.
    empty_at: Instant,
    depth: Duration,
}

impl Ceiling {
    /// An empty bucket for this rate.
    #[must_use]
    pub fn new(rate: Bitrate, now: Instant) -> Self {
        let bits_per_second = rate.bits_per_second().max(1);
        let depth = BURST.max(span(LEAST_BURST_BITS, bits_per_second));
        Self { bits_per_second, empty_at: now, depth }
    }

    /// Whether a packet of so many bytes may come in; if so, it counts.
    pub fn admit(&mut self, now: Instant, kind: MediaKind, bytes: usize) -> bool {
        let depth = match kind {
            MediaKind::Audio => self.depth,
            MediaKind::Video => self.depth * VIDEO_QUARTERS / 4,
        };
        let filled = self.empty_at.max(now) + span(bytes as u64 * 8, self.bits_per_second);
        let fits = filled.saturating_duration_since(now) <= depth;
        if fits {
            self.empty_at = filled;
        }
        fits
    }
}

fn span(bits: u64, bits_per_second: u64) -> Duration {
    Duration::from_nanos(bits.saturating_mul(1_000_000_000) / bits_per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Admitted bytes of each kind, out of so many packets of each at even intervals over ten seconds.
    fn run(rate_kbps: u64, audio: (u64, usize), video: (u64, usize)) -> (usize, usize) {
        let start = Instant::now();
        let mut ceiling = Ceiling::new(Bitrate::from_kbps(rate_kbps), start);
        let mut admitted = (0, 0);
        for ms in 0..10_000 {
            let at = start + Duration::from_millis(ms);
            if ms % audio.0 == 0 && ceiling.admit(at, MediaKind::Audio, audio.1) {
                admitted.0 += audio.1;
            }
            if ms % video.0 == 0 && ceiling.admit(at, MediaKind::Video, video.1) {
                admitted.1 += video.1;
            }
        }
        admitted
    }

    #[test]
    fn what_stays_below_passes_whole() {
        assert_eq!(run(1_000, (20, 120), (10, 1_000)), (500 * 120, 1_000 * 1_000));
    }

    #[test]
    fn too_much_is_cut_to_the_rate_and_sound_passes_whole() {
        // Small pictures fill what they may to the brim.
        let (audio, video) = run(500, (20, 200), (1, 120));
        assert_eq!(audio, 500 * 200);
        let kbps = (audio + video) as u64 * 8 / 10_000;
        assert!((480..=540).contains(&kbps), "{kbps}");
    }

    #[test]
    fn sound_alone_is_cut_too() {
        let (audio, _) = run(100, (1, 200), (10_000, 0));
        let kbps = audio as u64 * 8 / 10_000;
        assert!((95..=145).contains(&kbps), "{kbps}");
    }

    #[test]
    fn a_keyframe_passes_at_a_small_rate() {
        let now = Instant::now();
        let mut ceiling = Ceiling::new(Bitrate::from_kbps(64), now);
        assert!((0..30).all(|_| ceiling.admit(now, MediaKind::Video, 1_200)));
    }
}
