//! What a run came to: numbers with their units, as a table for people and as JSON for programs. Knows nothing of how
//! they were measured.

use crate::probe::{Cpu, Reading};
use crate::tally::Tally;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// A finished run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// What the bots were made of: `webrtc` (the crate) or `engine` (the host's own parts).
    pub bots: String,
    /// People asked for.
    pub people: u32,
    /// Repeats the run.
    pub seed: u64,
    /// How long it was measured.
    pub seconds: f64,
    /// Whose media connected, those of churn included.
    pub joined: u64,
    /// Whom the host refused, by its code.
    pub refused: BTreeMap<String, u64>,
    /// How often somebody asked again because the host was busy (503); who was not let in then is among the refused.
    pub asked_again: u64,
    /// Whose session failed otherwise, by what went wrong.
    pub broken: BTreeMap<String, u64>,
    /// From opening the session to connected media, median.
    pub setup_p50_ms: f64,
    /// Its 99th percentile.
    pub setup_p99_ms: f64,
    /// RTP packets that all bots received while it was measured.
    pub received_packets: u64,
    /// The same per second.
    pub received_packets_per_s: f64,
    /// Datagrams' bytes, as a rate.
    pub received_mbps: f64,
    /// RTP packets that all bots sent, per second.
    pub sent_packets_per_s: f64,
    /// The part of the expected media packets that did not come, repetitions included: 0 to 1.
    pub loss: f64,
    /// Repetitions received.
    pub repeated: u64,
    /// Datagrams that could not be opened or read.
    pub rejected: u64,
    /// Datagrams that the bots' own system did not take.
    pub unsent: u64,
    /// From bot to bot, both bots' system calls and queues included; median.
    pub latency_p50_us: u64,
    /// Its 99th percentile.
    pub latency_p99_us: u64,
    /// Complete pictures received.
    pub pictures: u64,
    /// Pauses between pictures that a viewer would notice (W3C webrtc-stats' freezeCount).
    pub freezes: u64,
    /// How long they lasted together.
    pub frozen_s: f64,
    /// Keyframes that viewers asked for.
    pub keyframes_asked: u64,
    /// The largest offer or answer of any session.
    pub largest_sdp_bytes: u64,
    /// What the host spent; absent where it could not be read.
    pub host: Option<HostCost>,
    /// The run, second by second.
    pub samples: Vec<Sample>,
}

/// What the host spent while it was measured.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct HostCost {
    /// Cores that it kept busy.
    pub cores: f64,
    /// CPU for one packet that a bot received, in all.
    pub us_per_packet: f64,
    /// Of that, in the program; known of a local process only.
    pub user_us_per_packet: Option<f64>,
    /// Of that, in the system.
    pub system_us_per_packet: Option<f64>,
    /// Memory at the end.
    pub resident_kib: Option<u64>,
}

/// One second.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sample {
    /// Since the run began.
    pub second: f64,
    /// Whether it lies in the measured part.
    pub measured: bool,
    /// Sessions open.
    pub inside: u64,
    /// RTP packets received, per second.
    pub received_packets_per_s: f64,
    /// The part of the expected packets that did not come.
    pub loss: f64,
    /// Median from bot to bot.
    pub latency_p50_us: u64,
    /// Its 99th percentile.
    pub latency_p99_us: u64,
    /// Freezes in this second.
    pub freezes: u64,
    /// Cores that the host kept busy.
    pub host_cores: Option<f64>,
    /// The host's memory.
    pub host_resident_kib: Option<u64>,
}

impl Sample {
    /// What is counted in one span.
    pub(crate) fn of(window: &Tally, span: Duration) -> Self {
        Self {
            received_packets_per_s: window.received_packets as f64 / seconds(span),
            loss: window.loss(),
            latency_p50_us: micros(window.latency.quantile(500)),
            latency_p99_us: micros(window.latency.quantile(990)),
            freezes: window.freezes,
            ..Self::default()
        }
    }

    /// A line that people watch.
    pub(crate) fn line(&self, refused: u64) -> String {
        let mut line = format!(
            "{:>5.0} s  {:>5} inside  {refused:>4} refused  {:>9} packets/s  loss {:.2}%  latency p50 {} p99 {}",
            self.second,
            self.inside,
            grouped(self.received_packets_per_s as u64),
            self.loss * 100.0,
            span(self.latency_p50_us),
            span(self.latency_p99_us),
        );
        if let Some(cores) = self.host_cores {
            let _ = write!(line, "  host {:.0}% of a core", cores * 100.0);
        }
        line
    }
}

impl HostCost {
    /// From two readings of a process, or from what samples told of the cores that it kept busy.
    pub(crate) fn of(
        (before, after): (Reading, Reading),
        samples: &[Sample],
        span: Duration,
        packets: u64,
    ) -> Option<Self> {
        let per_packet = |spent: f64| spent * 1e6 / packets.max(1) as f64;
        if let (Some(before), Some(now)) = (before.cpu, after.cpu) {
            let Cpu { user, system } = Cpu {
                user: now.user.saturating_sub(before.user),
                system: now.system.saturating_sub(before.system),
            };
            return Some(Self {
                cores: (user + system).as_secs_f64() / seconds(span),
                us_per_packet: per_packet((user + system).as_secs_f64()),
                user_us_per_packet: Some(per_packet(user.as_secs_f64())),
                system_us_per_packet: Some(per_packet(system.as_secs_f64())),
                resident_kib: after.resident_kib,
            });
        }
        let told: Vec<f64> =
            samples.iter().filter(|sample| sample.measured).filter_map(|sample| sample.host_cores).collect();
        let cores = told.iter().sum::<f64>() / told.len().max(1) as f64;
        let us_per_packet = per_packet(cores * seconds(span));
        (!told.is_empty()).then_some(Self { cores, us_per_packet, ..Self::default() })
    }
}

impl Report {
    /// Takes the counts of the measured part; `since_start` are those of the whole run.
    pub(crate) fn fill(&mut self, window: &Tally, since_start: &Tally, span: Duration) {
        self.seconds = span.as_secs_f64();
        self.joined = since_start.connected;
        self.setup_p50_ms = since_start.setup.quantile(500).as_secs_f64() * 1e3;
        self.setup_p99_ms = since_start.setup.quantile(990).as_secs_f64() * 1e3;
        self.received_packets = window.received_packets;
        self.received_packets_per_s = window.received_packets as f64 / seconds(span);
        self.received_mbps = window.received_bytes as f64 * 8.0 / 1e6 / seconds(span);
        self.sent_packets_per_s = window.sent_packets as f64 / seconds(span);
        self.loss = window.loss();
        self.repeated = window.repeated;
        self.rejected = window.rejected;
        self.unsent = window.unsent;
        self.latency_p50_us = micros(window.latency.quantile(500));
        self.latency_p99_us = micros(window.latency.quantile(990));
        self.pictures = window.pictures;
        self.freezes = window.freezes;
        self.frozen_s = window.frozen.as_secs_f64();
        self.keyframes_asked = window.keyframes_asked;
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{}: {} people, {} bots, seed {}, measured for {:.1} s\n",
            self.scenario, self.people, self.bots, self.seed, self.seconds
        );
        let mut row = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<22} {value}");
        };
        row("joined", self.joined.to_string());
        row("refused", reasons(&self.refused));
        if self.asked_again > 0 {
            row("asked again", format!("{} × while the host was busy", self.asked_again));
        }
        row("broken", reasons(&self.broken));
        row("setup", format!("p50 {:.0} ms, p99 {:.0} ms", self.setup_p50_ms, self.setup_p99_ms));
        row(
            "received",
            format!(
                "{} packets/s, {:.1} Mbit/s",
                grouped(self.received_packets_per_s as u64),
                self.received_mbps
            ),
        );
        row("sent", format!("{} packets/s", grouped(self.sent_packets_per_s as u64)));
        row("loss", format!("{:.3}%, {} repeated", self.loss * 100.0, grouped(self.repeated)));
        if self.rejected + self.unsent > 0 {
            row("rejected, unsent", format!("{}, {}", grouped(self.rejected), grouped(self.unsent)));
        }
        row(
            "forwarding latency",
            format!("p50 {}, p99 {}", span(self.latency_p50_us), span(self.latency_p99_us)),
        );
        row(
            "pictures",
            format!("{}, {} freezes ({:.1} s)", grouped(self.pictures), self.freezes, self.frozen_s),
        );
        row("keyframes asked for", self.keyframes_asked.to_string());
        match &self.host {
            Some(host) => host.rows(&mut row),
            None => row("host", "unknown: name its --pid, or let it tell its /metrics".to_owned()),
        }
        text
    }
}

impl HostCost {
    fn rows(&self, row: &mut impl FnMut(&str, String)) {
        let mut cost = format!("{:.2} µs a packet", self.us_per_packet);
        if let (Some(user), Some(system)) = (self.user_us_per_packet, self.system_us_per_packet) {
            let _ = write!(cost, " ({user:.2} user, {system:.2} system)");
        }
        row("host CPU", format!("{cost}, {:.0}% of a core", self.cores * 100.0));
        if let Some(kib) = self.resident_kib {
            row("host memory", format!("{:.1} MiB", kib as f64 / 1_024.0));
        }
    }
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64().max(1e-3)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let each: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
    if each.is_empty() { "0".to_owned() } else { each.join(", ") }
}

/// Microseconds below a millisecond, milliseconds above.
pub(crate) fn span(us: u64) -> String {
    if us < 1_000 { format!("{us} µs") } else { format!("{:.1} ms", us as f64 / 1e3) }
}

/// With a comma after every third digit from the right.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Cpu, Duration, HostCost, Reading, Report, Sample, Tally, grouped};

    #[test]
    fn a_hosts_cpu_is_told_per_packet_that_arrived() {
        let cpu = |user, system| {
            let (user, system) = (Duration::from_millis(user), Duration::from_millis(system));
            Reading { cpu: Some(Cpu { user, system }), ..Reading::default() }
        };
        let cost = HostCost::of((cpu(100, 200), cpu(600, 1_700)), &[], Duration::from_secs(10), 1_000_000);
        let cost = cost.expect("both were read");
        assert!((cost.us_per_packet - 2.0).abs() < 1e-9 && (cost.cores - 0.2).abs() < 1e-9, "{cost:?}");
        let told = |host_cores| Sample { measured: true, host_cores: Some(host_cores), ..Sample::default() };
        let read = (Reading::default(), Reading::default());
        let cost = HostCost::of(read, &[told(0.1), told(0.3)], Duration::from_secs(10), 1_000_000);
        assert!((cost.expect("metrics told").us_per_packet - 2.0).abs() < 1e-9);
        assert!(HostCost::of(read, &[], Duration::from_secs(10), 1).is_none());
    }

    #[test]
    fn the_table_names_what_went_wrong() {
        let mut report = Report { scenario: "meeting".into(), people: 3, ..Report::default() };
        report.refused.insert("too-many-joins".into(), 2);
        report.fill(&Tally::default(), &Tally { connected: 1, ..Tally::default() }, Duration::from_secs(5));
        let table = report.table();
        for words in ["2 × too-many-joins", "joined                 1", "--pid"] {
            assert!(table.contains(words), "{words} not in {table}");
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
    }
}
