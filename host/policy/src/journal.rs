//! What a plugin says: lines for the log, within an allowance, and numbers for the metrics. Knows nothing of
//! WebAssembly.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A longer line is cut.
const LINE_BYTES: usize = 1_024;
/// What the host says about a plugin may be longer: it tells the question that made it fail.
const TROUBLE_BYTES: usize = 4_096;
/// Lines that may come at once.
const BURST_LINES: u32 = 50;
/// One more line is allowed after each of these.
const LINE_INTERVAL: Duration = Duration::from_millis(100);
/// The most names of numbers.
const COUNTERS: usize = 64;
/// The longest name of a number, in bytes.
const COUNTER_NAME_BYTES: usize = 64;

/// One plugin's voice.
#[derive(Debug)]
pub(crate) struct Journal {
    plugin: String,
    allowance: u32,
    /// When the allowance last grew; only whole intervals are taken off, so that none is lost.
    grown: Option<Instant>,
    dropped: u64,
    counters: BTreeMap<String, u64>,
}

impl Journal {
    pub(crate) const fn new(plugin: String) -> Self {
        Self { plugin, allowance: BURST_LINES, grown: None, dropped: 0, counters: BTreeMap::new() }
    }

    /// Writes a line of the plugin's own, or drops it.
    pub(crate) fn line(&mut self, level: &str, message: &str, now: Instant) {
        if !self.admit(now) {
            return;
        }
        let (plugin, line) = (self.plugin.as_str(), printable(message, LINE_BYTES));
        match level {
            "error" => tracing::error!(target: "tidegate::plugin", plugin, "{line}"),
            "warn" => tracing::warn!(target: "tidegate::plugin", plugin, "{line}"),
            "debug" => tracing::debug!(target: "tidegate::plugin", plugin, "{line}"),
            "trace" => tracing::trace!(target: "tidegate::plugin", plugin, "{line}"),
            _ => tracing::info!(target: "tidegate::plugin", plugin, "{line}"),
        }
    }

    /// Writes what the host has to say about the plugin, under the same allowance.
    pub(crate) fn trouble(&mut self, message: &str, now: Instant) {
        if self.admit(now) {
            tracing::warn!(plugin = self.plugin.as_str(), "{}", printable(message, TROUBLE_BYTES));
        }
    }

    /// Is there allowance for one more line? Tells how many were dropped once there is again.
    fn admit(&mut self, now: Instant) -> bool {
        self.grow(now);
        let Some(left) = self.allowance.checked_sub(1) else {
            self.dropped += 1;
            return false;
        };
        self.allowance = left;
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            tracing::warn!(plugin = self.plugin.as_str(), dropped, "log lines were dropped: too many came");
        }
        true
    }

    fn grow(&mut self, now: Instant) {
        let grown = *self.grown.get_or_insert(now);
        let intervals = now.saturating_duration_since(grown).as_nanos() / LINE_INTERVAL.as_nanos();
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.allowance = self.allowance.saturating_add(intervals).min(BURST_LINES);
        self.grown =
            Some(if self.allowance == BURST_LINES { now } else { grown + LINE_INTERVAL * intervals });
    }

    /// Lines dropped since one was last admitted.
    #[cfg(test)]
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds to a counter.
    pub(crate) fn add(&mut self, name: String, by: u64) {
        if let Some(counter) = self.counter(name) {
            *counter = counter.saturating_add(by);
        }
    }

    /// Sets a gauge.
    pub(crate) fn set(&mut self, name: String, value: u64) {
        if let Some(counter) = self.counter(name) {
            *counter = value;
        }
    }

    /// All numbers, by name.
    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        self.counters.iter().map(|(name, value)| (name.clone(), *value)).collect()
    }

    fn counter(&mut self, name: String) -> Option<&mut u64> {
        let known = self.counters.contains_key(&name);
        if !known && (self.counters.len() >= COUNTERS || !is_counter_name(&name)) {
            return None;
        }
        Some(self.counters.entry(name).or_default())
    }
}

fn is_counter_name(name: &str) -> bool {
    (1..=COUNTER_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

/// Cut to length, without control characters: a plugin cannot forge a line of the log.
fn printable(message: &str, bound: usize) -> String {
    let end = message.floor_char_boundary(bound);
    let mut line: String =
        message[..end].chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    if end < message.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{BURST_LINES, COUNTERS, Journal, LINE_BYTES, LINE_INTERVAL, printable};
    use std::time::Instant;

    #[test]
    fn a_flood_is_dropped_and_counted_and_a_later_line_passes() {
        let mut journal = Journal::new("noisy".into());
        let start = Instant::now();
        let admitted = (0..10_000).filter(|_| journal.admit(start)).count();
        assert_eq!((admitted, journal.dropped()), (BURST_LINES as usize, 10_000 - u64::from(BURST_LINES)));
        assert!(journal.admit(start + LINE_INTERVAL));
        assert_eq!(journal.dropped(), 0);
        assert!(!journal.admit(start + LINE_INTERVAL * 3 / 2));
        assert!(journal.admit(start + LINE_INTERVAL * 2), "half intervals add up");
    }

    #[test]
    fn a_line_is_cut_and_cannot_forge_another() {
        let line = printable(&"é".repeat(LINE_BYTES), LINE_BYTES);
        assert!(line.len() <= LINE_BYTES + '…'.len_utf8() && line.ends_with('…'));
        assert_eq!(
            printable("one\n2026-01-01 ERROR two\u{1b}[31m", LINE_BYTES),
            "one 2026-01-01 ERROR two [31m"
        );
    }

    #[test]
    fn counters_are_bounded_in_name_and_number() {
        let mut journal = Journal::new("counting".into());
        for index in 0..COUNTERS * 2 {
            journal.add(format!("c-{index}"), 1);
        }
        journal.add("c-0".into(), 1);
        journal.add("Bad name".into(), 1);
        journal.set("c-1".into(), 9);
        let counters = journal.counters();
        assert_eq!(counters.len(), COUNTERS);
        assert_eq!(counters[..2], [("c-0".into(), 2), ("c-1".into(), 9)]);
    }
}
