//! What the bots counted, since the start; windows are differences. Knows nothing of who counts.

use crate::delays::Delays;
use std::time::Duration;

/// Sums of many bots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Bots whose media connection came about.
    pub(crate) connected: u64,
    /// RTP packets sent, repetitions included.
    pub(crate) sent_packets: u64,
    /// Datagrams that the system did not take.
    pub(crate) unsent: u64,
    /// RTP packets received, repetitions included.
    pub(crate) received_packets: u64,
    /// Bytes of all datagrams received.
    pub(crate) received_bytes: u64,
    /// Media packets that should have come.
    pub(crate) expected: u64,
    /// Of these, those that came, by repetition too.
    pub(crate) came: u64,
    /// Repetitions received.
    pub(crate) repeated: u64,
    /// Datagrams that could not be opened or read.
    pub(crate) rejected: u64,
    /// Complete pictures.
    pub(crate) pictures: u64,
    /// Pauses between pictures that a viewer would notice.
    pub(crate) freezes: u64,
    /// How long those lasted.
    pub(crate) frozen: Duration,
    /// Keyframes that viewers asked for.
    pub(crate) keyframes_asked: u64,
    /// Keyframes that publishers were asked for.
    pub(crate) keyframes_wanted: u64,
    /// From the making of a packet to its arrival, the sender's and the receiver's system calls included.
    pub(crate) latency: Delays,
    /// From opening the session to the first connected moment.
    pub(crate) setup: Delays,
}

impl Tally {
    /// Those of another one, too.
    pub(crate) fn add(&mut self, other: &Self) {
        for (own, other) in self.numbers_mut().into_iter().zip(other.numbers()) {
            *own += other;
        }
        self.frozen += other.frozen;
        self.latency.add(&other.latency);
        self.setup.add(&other.setup);
    }

    /// What came after an earlier state.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut rest = self.clone();
        for (own, earlier) in rest.numbers_mut().into_iter().zip(earlier.numbers()) {
            *own = own.saturating_sub(earlier);
        }
        rest.frozen = self.frozen.saturating_sub(earlier.frozen);
        rest.latency = self.latency.since(&earlier.latency);
        rest.setup = self.setup.since(&earlier.setup);
        rest
    }

    /// The part of the expected media packets that did not come: 0 to 1.
    pub(crate) fn loss(&self) -> f64 {
        let lost = self.expected.saturating_sub(self.came) as f64;
        if self.expected == 0 { 0.0 } else { lost / self.expected as f64 }
    }

    fn numbers(&self) -> [u64; 13] {
        [
            self.connected,
            self.sent_packets,
            self.unsent,
            self.received_packets,
            self.received_bytes,
            self.expected,
            self.came,
            self.repeated,
            self.rejected,
            self.pictures,
            self.freezes,
            self.keyframes_asked,
            self.keyframes_wanted,
        ]
    }

    fn numbers_mut(&mut self) -> [&mut u64; 13] {
        [
            &mut self.connected,
            &mut self.sent_packets,
            &mut self.unsent,
            &mut self.received_packets,
            &mut self.received_bytes,
            &mut self.expected,
            &mut self.came,
            &mut self.repeated,
            &mut self.rejected,
            &mut self.pictures,
            &mut self.freezes,
            &mut self.keyframes_asked,
            &mut self.keyframes_wanted,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Tally};

    #[test]
    fn a_window_is_what_came_after_its_begin() {
        let mut before = Tally { expected: 10, came: 9, ..Tally::default() };
        before.latency.record(Duration::from_secs(1));
        let mut after = before.clone();
        after.add(&Tally { expected: 100, came: 98, freezes: 1, ..Tally::default() });
        let window = after.since(&before);
        assert_eq!((window.expected, window.came, window.freezes), (100, 98, 1));
        assert!((window.loss() - 0.02).abs() < 1e-9);
        assert_eq!(window.latency.quantile(500), Duration::ZERO);
    }
}
