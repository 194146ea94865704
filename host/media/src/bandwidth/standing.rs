//! How long packets stand in the queues of the way: the delay of the latest against the least of the last while.
//! Only differences matter, so the two clocks need not agree. Knows nothing of rates.

/// The least delay is that of the last one to two windows of this length: longer takes another flow's queue for
/// its own, shorter takes a queue of its own for the way itself.
const WINDOW_US: i64 = 30_000_000;

/// Least and latest delay.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Least delay of this window and of the one before.
    least: Option<(i64, i64)>,
    window_ends_us: i64,
    latest_us: i64,
}

impl Standing {
    /// Takes the least delay (arrival minus sending) of one feedback.
    pub(super) fn note(&mut self, now_us: i64, delay_us: i64) {
        self.latest_us = delay_us;
        let (this, before) = self.least.unwrap_or((delay_us, delay_us));
        self.least = Some((this.min(delay_us), before));
        if now_us >= self.window_ends_us {
            self.window_ends_us = now_us + WINDOW_US;
            self.least = Some((delay_us, this.min(delay_us)));
        }
    }

    /// How long the latest packets stood in queues, in microseconds.
    #[must_use]
    pub(super) fn queue_us(&self) -> i64 {
        self.least.map_or(0, |(this, before)| self.latest_us - this.min(before))
    }
}

#[cfg(test)]
mod tests {
    use super::Standing;

    #[test]
    fn the_least_delay_is_forgotten_after_two_windows_and_not_before_one() {
        let mut standing = Standing::default();
        standing.note(0, -5_000);
        standing.note(29_000_000, 20_000);
        assert_eq!(standing.queue_us(), 25_000);
        standing.note(31_000_000, 21_000);
        assert_eq!(standing.queue_us(), 26_000);
        standing.note(62_000_000, 22_000);
        assert_eq!(standing.queue_us(), 2_000 - 1_000);
    }
}
