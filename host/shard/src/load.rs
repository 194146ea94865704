//! How loaded a shard is: delay by a histogram of fixed size, rates by differences of counters. Knows nothing of
//! what a policy makes of it.

use crate::counters::Counters;
use std::time::{Duration, Instant};
use tidegate_media::engine::EngineCounters;
use tidegate_types::report::LoadReport;

/// Buckets of a [`Delays`]: exact below 8 µs, then four an octave, up to 2^28 µs (4.5 minutes).
const BUCKETS: usize = 8 + 4 * 25;

/// A histogram of delays on a logarithmic scale: a quantile is off by at most a quarter.
#[derive(Debug)]
pub(crate) struct Delays {
    buckets: [u64; BUCKETS],
    count: u64,
}

impl Default for Delays {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], count: 0 }
    }
}

impl Delays {
    /// One delay more.
    pub(crate) fn record(&mut self, delay: Duration) {
        self.buckets[Self::bucket(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX))] += 1;
        self.count += 1;
    }

    /// The delay, in microseconds, that `permille` of a thousand do not exceed (the bucket's upper edge); 0 of none.
    pub(crate) fn quantile_us(&self, permille: u64) -> u64 {
        let wanted = (self.count * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Self::upper_edge_us(bucket);
            }
        }
        0
    }

    /// Takes over what another has recorded, which is empty then.
    fn take(&mut self, other: &mut Self) {
        if other.count > 0 {
            self.buckets.iter_mut().zip(&other.buckets).for_each(|(all, some)| *all += some);
            self.count += other.count;
            other.clear();
        }
    }

    /// Forgets all.
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn bucket(us: u64) -> usize {
        if us < 8 {
            return us as usize;
        }
        let octave = us.ilog2() as usize;
        let quarter = (us >> (octave - 2)) as usize & 3;
        (8 + (octave - 3) * 4 + quarter).min(BUCKETS - 1)
    }

    fn upper_edge_us(bucket: usize) -> u64 {
        if bucket < 8 {
            return bucket as u64;
        }
        let (octave, quarter) = ((bucket - 8) / 4 + 3, (bucket - 8) as u64 % 4);
        ((4 + quarter + 1) << (octave - 2)) - 1
    }
}

/// Makes load reports out of what was counted since the last one.
#[derive(Debug)]
pub(crate) struct LoadMeter {
    /// Delays from a datagram's arrival to its copies' hand-over to the kernel, since the last look.
    pub(crate) delays: Delays,
    /// Those of this interval before them.
    earlier: Delays,
    since: Instant,
    before: Totals,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    received_datagrams: u64,
    received_bytes: u64,
    sent_datagrams: u64,
    sent_bytes: u64,
    cpu: Duration,
}

impl Totals {
    fn of(counters: &Counters, cpu: Duration) -> Self {
        Self {
            received_datagrams: counters.received_datagrams.get(),
            received_bytes: counters.received_bytes.get(),
            sent_datagrams: counters.sent_datagrams.get(),
            sent_bytes: counters.sent_bytes.get(),
            cpu,
        }
    }
}

impl LoadMeter {
    /// Begins to measure; `cpu` is the thread's CPU time so far.
    pub(crate) fn new(now: Instant, cpu: Duration) -> Self {
        Self {
            delays: Delays::default(),
            earlier: Delays::default(),
            since: now,
            before: Totals { cpu, ..Totals::default() },
        }
    }

    /// Whether anything was forwarded since the last look.
    pub(crate) fn has_news(&self) -> bool {
        self.delays.count > 0
    }

    /// The median delay since the last look. Only a queue that stands delays half of all that is forwarded; a burst
    /// or one late wake does not.
    pub(crate) fn look(&mut self) -> Duration {
        let median = self.delays.quantile_us(500);
        self.earlier.take(&mut self.delays);
        Duration::from_micros(median)
    }

    /// The report of the interval that ends now; the next one begins.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        cpu: Duration,
        queue_age: Duration,
        counters: &Counters,
        engine: &EngineCounters,
    ) -> LoadReport {
        let span = now.saturating_duration_since(self.since).max(Duration::from_millis(1));
        let after = Totals::of(counters, cpu);
        let per_second = |after: u64, before: u64| rate(after.wrapping_sub(before), span);
        let before = self.before;
        self.earlier.take(&mut self.delays);
        let report = LoadReport {
            forward_delay_p50_us: self.earlier.quantile_us(500),
            forward_delay_p99_us: self.earlier.quantile_us(990),
            queue_age_us: u64::try_from(queue_age.as_micros()).unwrap_or(u64::MAX),
            packets_in_per_s: per_second(after.received_datagrams, before.received_datagrams),
            packets_out_per_s: per_second(after.sent_datagrams, before.sent_datagrams),
            ingress_kbps: per_second(after.received_bytes, before.received_bytes) * 8 / 1_000,
            egress_kbps: per_second(after.sent_bytes, before.sent_bytes) * 8 / 1_000,
            cpu_permille: permille(after.cpu.saturating_sub(before.cpu), span),
            transports: engine.transports,
            consumers: engine.consumers,
            shed_level: engine.shed_level,
            shed_packets: engine.shed_packets,
            dropped: counters.dropped_total() + engine.dropped.iter().map(|(_, count)| count).sum::<u64>(),
        };
        self.earlier.clear();
        self.since = now;
        self.before = after;
        report
    }
}

fn rate(count: u64, span: Duration) -> u64 {
    u64::try_from(u128::from(count) * 1_000_000 / span.as_micros()).unwrap_or(u64::MAX)
}

fn permille(part: Duration, whole: Duration) -> u64 {
    u64::try_from(part.as_micros() * 1_000 / whole.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Counters, Delays, Duration, EngineCounters, Instant, LoadMeter};

    #[test]
    fn a_quantile_is_never_too_low_and_at_most_a_quarter_too_high() {
        for us in (0..200).chain((200..300_000).step_by(37)).chain([1 << 20, 77_777_777]) {
            let mut delays = Delays::default();
            delays.record(Duration::from_micros(us));
            let told = delays.quantile_us(500);
            assert!(told >= us && told <= us + us / 4, "{us} µs told as {told}");
        }
    }

    #[test]
    fn the_longest_delay_falls_into_the_last_bucket() {
        let mut delays = Delays::default();
        delays.record(Duration::MAX);
        assert_eq!(delays.buckets[BUCKETS - 1], 1);
    }

    #[test]
    fn one_slow_packet_of_fifty_shows_in_the_99th_percentile_and_not_in_the_median() {
        let mut delays = Delays::default();
        (0..49).for_each(|_| delays.record(Duration::from_micros(5)));
        delays.record(Duration::from_millis(80));
        assert_eq!(delays.quantile_us(500), 5);
        assert!(delays.quantile_us(990) >= 80_000);
    }

    #[test]
    fn a_look_takes_nothing_from_the_report_and_starts_anew_for_the_next() {
        let counters = Counters::default();
        let start = Instant::now();
        let mut meter = LoadMeter::new(start, Duration::ZERO);
        (0..3).for_each(|_| meter.delays.record(Duration::from_micros(5)));
        assert_eq!(meter.look(), Duration::from_micros(5));
        assert!(!meter.has_news());
        meter.delays.record(Duration::from_micros(7));
        assert_eq!(meter.look(), Duration::from_micros(7));
        meter.delays.record(Duration::from_micros(7));
        let report =
            meter.report(start, Duration::ZERO, Duration::ZERO, &counters, &EngineCounters::default());
        assert_eq!((report.forward_delay_p50_us, report.forward_delay_p99_us), (5, 7));
    }

    #[test]
    fn rates_are_of_the_interval_and_not_of_the_whole_life() {
        let counters = Counters::default();
        let start = Instant::now();
        let mut meter = LoadMeter::new(start, Duration::ZERO);
        counters.sent_datagrams.add(500);
        counters.sent_bytes.add(500_000);
        let at = |s: u64| start + Duration::from_secs(s);
        let cpu = Duration::from_millis(250);
        let first = meter.report(at(1), cpu, Duration::ZERO, &counters, &EngineCounters::default());
        assert_eq!((first.packets_out_per_s, first.egress_kbps, first.cpu_permille), (500, 4_000, 250));
        let second = meter.report(at(3), cpu, Duration::ZERO, &counters, &EngineCounters::default());
        assert_eq!((second.packets_out_per_s, second.egress_kbps, second.cpu_permille), (0, 0, 0));
    }
}
