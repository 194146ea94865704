//! How much may go out again: a way that loses what does not fit loses more if all of that follows once more, and what
//! else has to pass (handshakes, messages) with it. A clock of debt beside the pacer's. Knows nothing of who asks.

/// The part of the estimate that repairs may take; pictures and sound may take all of it. Turning it up fills the queue
/// that made the losses, turning it down leaves more to a keyframe.
const SHARE: f64 = 0.5;
/// What may go out again at once: so long at that rate, and always one packet. What a peer lacks beyond it, it asks
/// for again.
const BURST_US: f64 = 300_000.0;

/// The debt of one transport.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    us_per_byte: Option<f64>,
    /// When all that went out again will have been paid for.
    paid_us: f64,
}

impl Repairs {
    /// Keeps within a share of an estimate in bit/s; `None`: nothing is known, and nothing held back.
    pub(super) fn set(&mut self, estimate: Option<f64>) {
        self.us_per_byte = estimate.map(|estimate| 8e6 / (estimate * SHARE).max(1.0));
    }

    /// Whether so many bytes may go out again at `now_us`; if so, they are owed.
    pub(super) fn admit(&mut self, now_us: i64, bytes: usize) -> bool {
        let Some(us_per_byte) = self.us_per_byte else { return true };
        let owed_us = (self.paid_us - now_us as f64).max(0.0);
        let admitted = owed_us < BURST_US;
        if admitted {
            self.paid_us = now_us as f64 + owed_us + bytes as f64 * us_per_byte;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::Repairs;

    #[test]
    fn repairs_take_half_of_the_way_and_a_little_at_once() {
        let mut repairs = Repairs::default();
        let burst = |repairs: &mut Repairs, at_us: i64| {
            (0..1_000).filter(|_| repairs.admit(at_us, 1_000)).count() as i64
        };
        assert_eq!(burst(&mut repairs, 0), 1_000, "nothing is known: nothing is held back");
        repairs.set(Some(800e3));
        // 400 kbit/s are 50 packets a second; 15 in 300 ms.
        assert_eq!(burst(&mut repairs, 0), 15);
        let later: i64 = (1..=100).map(|step| burst(&mut repairs, step * 100_000)).sum();
        assert!((495..=505).contains(&later), "{later} in ten seconds");
        repairs.set(Some(50e3));
        assert_eq!(burst(&mut repairs, 60_000_000), 1, "one always passes");
    }
}
