//! When a packet was made, written into its last bytes and read again where it arrives: both ends run in this
//! process, so one clock measures the way between them. Knows nothing of RTP.

use std::time::{Duration, Instant};

/// Bytes that a stamp takes at the end of a payload.
pub(crate) const STAMP_BYTES: usize = 16;
const MAGIC: u32 = 0x7469_6465;

/// Writes and reads one run's stamps; another run's are not taken for its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamps {
    run: u32,
    began: Instant,
}

impl Stamps {
    /// For the run that begins now; `run` tells it from others.
    pub(crate) const fn new(run: u32, began: Instant) -> Self {
        Self { run, began }
    }

    /// Over the last bytes of a payload; nothing where it is too short.
    pub(crate) fn write(&self, payload: &mut [u8], now: Instant) {
        let Some(space) = payload.last_chunk_mut::<STAMP_BYTES>() else { return };
        let nanos = now.saturating_duration_since(self.began).as_nanos() as u64;
        space[..4].copy_from_slice(&MAGIC.to_be_bytes());
        space[4..8].copy_from_slice(&self.run.to_be_bytes());
        space[8..].copy_from_slice(&nanos.to_be_bytes());
    }

    /// How long ago a payload was stamped; `None` if it bears no stamp of this run.
    pub(crate) fn age(&self, payload: &[u8], now: Instant) -> Option<Duration> {
        let (head, nanos) = payload.last_chunk::<STAMP_BYTES>()?.split_last_chunk::<8>()?;
        let (magic, run) = head.split_at(4);
        if magic != MAGIC.to_be_bytes() || run != self.run.to_be_bytes() {
            return None;
        }
        let made = self.began + Duration::from_nanos(u64::from_be_bytes(*nanos));
        Some(now.saturating_duration_since(made))
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Stamps};

    #[test]
    fn a_stamp_tells_its_age_to_its_own_run_only() {
        let began = Instant::now();
        let (stamps, other) = (Stamps::new(1, began), Stamps::new(2, began));
        let mut payload = [0; 40];
        let made = began + Duration::from_secs(5);
        stamps.write(&mut payload, made);
        let later = made + Duration::from_micros(1_234);
        assert_eq!(stamps.age(&payload, later), Some(Duration::from_micros(1_234)));
        assert_eq!(other.age(&payload, later), None);
        assert_eq!(stamps.age(&payload[..39], later), None);
        assert_eq!(stamps.age(&[], later), None);
    }
}
