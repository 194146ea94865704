//! The host's numbers in Prometheus' text form (version 0.0.4). The unit ends each name. Knows nothing of where
//! the numbers come from or who reads them.

use std::fmt::{Display, Write};
use tidegate_directory::DirectoryMetrics;
use tidegate_lookup::LookupCounts;
use tidegate_shard::ShardCounters;
use tidegate_types::decision::{BreakerState, Decision, PolicyInfo};

/// Everything the node counts, at one moment.
pub(crate) struct Numbers<'a> {
    pub(crate) shards: &'a [ShardCounters],
    pub(crate) directory: &'a DirectoryMetrics,
    pub(crate) policies: &'a [PolicyInfo],
    /// What the policies count themselves.
    pub(crate) policy_counters: &'a [(Decision, String, u64)],
    /// What policies had looked up.
    pub(crate) lookups: &'a [LookupCounts],
    /// Events that the record of decisions had to leave out.
    pub(crate) record_left_out: u64,
    /// Mail for the directory that found its box full.
    pub(crate) mail_dropped: u64,
}

/// All families, each with its help and type.
pub(crate) fn exposition(numbers: &Numbers<'_>) -> String {
    let mut page = Page(String::with_capacity(16 << 10));
    shard_families(&mut page, numbers.shards);
    directory_families(&mut page, numbers.directory);
    policy_families(&mut page, numbers.policies);
    page.family("tidegate_policy_counter", "What the policies count themselves.");
    for (decision, name, value) in numbers.policy_counters {
        page.sample(&[("decision", &decision.name()), ("name", name)], *value);
    }
    lookup_families(&mut page, numbers.lookups);
    page.family(
        "tidegate_policy_record_left_out_total",
        "Events that the record of decisions had no room for.",
    );
    page.sample(&[], numbers.record_left_out);
    page.family("tidegate_directory_mail_dropped_total", "Reports that found the directory's box full.");
    page.sample(&[], numbers.mail_dropped);
    page.0
}

type OfShard = fn(&ShardCounters) -> u64;

/// One number a shard: name, help, value.
const SHARD_FAMILIES: [(&str, &str, OfShard); 26] = [
    ("tidegate_shard_running", "1 while the shard's thread runs.", |of| u64::from(of.running)),
    ("tidegate_shard_forward_delay_p50_us", "Median forwarding delay of the last second.", |of| {
        of.load.forward_delay_p50_us
    }),
    (
        "tidegate_shard_forward_delay_p99_us",
        "99th percentile of forwarding delay of the last second.",
        |of| of.load.forward_delay_p99_us,
    ),
    ("tidegate_shard_queue_age_us", "Age of the oldest waiting packet, outgoing or unread.", |of| {
        of.load.queue_age_us
    }),
    (
        "tidegate_shard_shed_level",
        "How much is shed because the shard cannot keep up: 0 is nothing, 6 all pictures.",
        |of| of.load.shed_level,
    ),
    ("tidegate_shard_shed_packets_total", "Packets not forwarded to someone because of it.", |of| {
        of.load.shed_packets
    }),
    ("tidegate_shard_packets_in_per_s", "Datagrams in, over the last second.", |of| of.load.packets_in_per_s),
    ("tidegate_shard_packets_out_per_s", "Datagrams out, over the last second.", |of| {
        of.load.packets_out_per_s
    }),
    ("tidegate_shard_ingress_kbps", "Rate in, over the last second.", |of| of.load.ingress_kbps),
    ("tidegate_shard_egress_kbps", "Rate out, over the last second.", |of| of.load.egress_kbps),
    ("tidegate_shard_cpu_permille", "CPU of the shard's thread, in thousandths of a core.", |of| {
        of.load.cpu_permille
    }),
    ("tidegate_shard_transports", "Transports that stand there.", |of| of.load.transports),
    ("tidegate_shard_consumers", "Consumers that stand there.", |of| of.load.consumers),
    ("tidegate_shard_received_datagrams_total", "Datagrams from the kernel.", |of| of.received_datagrams),
    ("tidegate_shard_received_bytes_total", "Bytes from the kernel.", |of| of.received_bytes),
    ("tidegate_shard_receive_calls_total", "System calls that fetched them.", |of| of.receive_calls),
    ("tidegate_shard_sent_datagrams_total", "Datagrams handed to the kernel.", |of| of.sent_datagrams),
    ("tidegate_shard_sent_bytes_total", "Bytes handed to the kernel.", |of| of.sent_bytes),
    ("tidegate_shard_send_calls_total", "System calls that handed them over.", |of| of.send_calls),
    ("tidegate_shard_segmented_datagrams_total", "Datagrams sent as part of a run.", |of| {
        of.segmented_datagrams
    }),
    ("tidegate_shard_crossings_in_total", "Crossings that came from other shards.", |of| of.crossings_in),
    ("tidegate_shard_crossings_out_total", "Crossings that went to other shards.", |of| of.crossings_out),
    ("tidegate_shard_handed_over_total", "Datagrams handed over to the shard of their transport.", |of| {
        of.handed_over
    }),
    ("tidegate_shard_connected_sockets", "Connected sockets of transports that moved there.", |of| {
        of.connected_sockets
    }),
    ("tidegate_shard_connected_failures_total", "Connected sockets that could not be opened.", |of| {
        of.connected_failures
    }),
    ("tidegate_shard_wakes_total", "Wakes by other threads.", |of| of.wakes),
];

fn shard_families(page: &mut Page, shards: &[ShardCounters]) {
    for (name, help, value) in SHARD_FAMILIES {
        page.family(name, help);
        for shard in shards {
            page.sample(&[("shard", &shard.place.shard.0)], value(shard));
        }
    }
    page.family("tidegate_shard_dropped_total", "Datagrams and crossings dropped, by kind.");
    for shard in shards {
        for (kind, count) in &shard.dropped {
            page.sample(&[("shard", &shard.place.shard.0), ("kind", kind)], *count);
        }
    }
}

type OfDirectory = fn(&DirectoryMetrics) -> u64;

/// One number of the directory: name, help, value.
const DIRECTORY_FAMILIES: [(&str, &str, OfDirectory); 28] = [
    ("tidegate_directory_rooms", "Rooms.", |of| of.rooms),
    ("tidegate_directory_people", "People inside.", |of| of.people),
    ("tidegate_directory_joining", "Joins under way.", |of| of.joining),
    ("tidegate_directory_transports", "Transports.", |of| of.transports),
    ("tidegate_directory_producers", "Producers.", |of| of.producers),
    ("tidegate_directory_consumers", "Consumers.", |of| of.consumers),
    ("tidegate_directory_relays", "Relays.", |of| of.relays),
    ("tidegate_directory_pending_requests", "Requests that wait for an answer.", |of| of.pending_requests),
    ("tidegate_directory_pending_placements", "Placements that wait for their turn.", |of| {
        of.pending_placements
    }),
    ("tidegate_directory_pending_questions", "Questions that policies have not answered.", |of| {
        of.pending_questions
    }),
    ("tidegate_directory_pending_commands", "Commands that places have not answered.", |of| {
        of.pending_commands
    }),
    ("tidegate_directory_reservations", "Promises that no load report shows yet.", |of| of.reservations),
    ("tidegate_directory_timers", "Timers set.", |of| of.timers),
    ("tidegate_directory_moves_total", "Transports that moved to another shard.", |of| of.moves_total),
    ("tidegate_directory_moves_failed_total", "Moves that were begun and given up.", |of| {
        of.moves_failed_total
    }),
    ("tidegate_directory_joins_total", "Joins that succeeded.", |of| of.joins_total),
    ("tidegate_directory_refused_total", "Requests refused by a policy or a grant.", |of| of.refused_total),
    ("tidegate_directory_full_total", "Requests refused at a bound.", |of| of.full_total),
    ("tidegate_directory_failed_total", "Requests that failed for the host's own reasons.", |of| {
        of.failed_total
    }),
    ("tidegate_directory_authorize_failures_total", "Authorize questions without an answer.", |of| {
        of.authorize_failures_total
    }),
    ("tidegate_directory_builtin_placements_total", "Placements that the built-in decided.", |of| {
        of.builtin_placements_total
    }),
    ("tidegate_directory_stale_placements_total", "Placements that named a place which is gone.", |of| {
        of.stale_placements_total
    }),
    ("tidegate_directory_balance_failures_total", "Balance questions without an answer.", |of| {
        of.balance_failures_total
    }),
    ("tidegate_directory_share_asked_total", "Rooms that share was asked about.", |of| of.share_asked_total),
    ("tidegate_directory_share_failures_total", "Questions of share without an answer.", |of| {
        of.share_failures_total
    }),
    ("tidegate_directory_share_clamped_total", "Values of share's answers that were out of range.", |of| {
        of.share_clamped_total
    }),
    (
        "tidegate_directory_share_stale_total",
        "Answers of share that ran out before the next one came.",
        |of| of.share_stale_total,
    ),
    ("tidegate_directory_relays_total", "Relays begun.", |of| of.relays_total),
];

fn directory_families(page: &mut Page, directory: &DirectoryMetrics) {
    for (name, help, value) in DIRECTORY_FAMILIES {
        page.family(name, help);
        page.sample(&[], value(directory));
    }
}

type OfPolicy = fn(&PolicyInfo) -> u64;

/// One number a policy: name, help, value.
const POLICY_FAMILIES: [(&str, &str, OfPolicy); 8] = [
    ("tidegate_policy_generation", "Which load of which component decides; grows with each swap.", |of| {
        of.generation
    }),
    ("tidegate_policy_breaker_open", "1 while it is not asked because it failed again and again.", |of| {
        u64::from(of.breaker != BreakerState::Closed)
    }),
    ("tidegate_policy_calls_total", "Calls of each policy.", |of| of.calls),
    ("tidegate_policy_latency_p50_ns", "Median latency of the last calls.", |of| of.latency_p50_ns),
    ("tidegate_policy_latency_p99_ns", "99th percentile of latency of the last calls.", |of| {
        of.latency_p99_ns
    }),
    ("tidegate_policy_shadow_calls", "Questions that the one in its shadow decided, too.", |of| {
        of.shadow.as_ref().map_or(0, |shadow| shadow.calls)
    }),
    ("tidegate_policy_shadow_differences", "How many of them otherwise.", |of| {
        of.shadow.as_ref().map_or(0, |shadow| shadow.differences)
    }),
    ("tidegate_policy_shadow_failures", "How many of them not at all.", |of| {
        of.shadow.as_ref().map_or(0, |shadow| shadow.failures)
    }),
];

fn policy_families(page: &mut Page, policies: &[PolicyInfo]) {
    page.family("tidegate_policy_info", "The policies in force.");
    for policy in policies {
        let labels: [(&str, &dyn Display); 5] = [
            ("decision", &policy.decision.name()),
            ("position", &policy.position),
            ("name", &policy.name),
            ("version", &policy.version),
            ("digest", &policy.digest),
        ];
        page.sample(&labels, 1);
    }
    for (name, help, value) in POLICY_FAMILIES {
        page.family(name, help);
        for policy in policies {
            let labels: [(&str, &dyn Display); 2] =
                [("decision", &policy.decision.name()), ("position", &policy.position)];
            page.sample(&labels, value(policy));
        }
    }
    page.family("tidegate_policy_failures_total", "Calls without an answer, by kind.");
    for policy in policies {
        for (kind, count) in &policy.failures {
            let labels: [(&str, &dyn Display); 3] =
                [("decision", &policy.decision.name()), ("position", &policy.position), ("kind", kind)];
            page.sample(&labels, *count);
        }
    }
}

type OfLookup = fn(&LookupCounts) -> u64;

/// One number a lookup: name, help, value.
const LOOKUP_FAMILIES: [(&str, &str, OfLookup); 4] = [
    ("tidegate_lookup_asked_total", "How often policies needed each lookup.", |of| of.asked),
    ("tidegate_lookup_kept_total", "How often the answer was kept from before.", |of| of.kept),
    ("tidegate_lookup_found_total", "How often a value was found.", |of| of.found),
    ("tidegate_lookup_waited_us_total", "How long questions waited for it, in all.", |of| of.waited_us),
];

fn lookup_families(page: &mut Page, lookups: &[LookupCounts]) {
    for (name, help, value) in LOOKUP_FAMILIES {
        page.family(name, help);
        for lookup in lookups {
            page.sample(&[("lookup", &lookup.lookup)], value(lookup));
        }
    }
    page.family("tidegate_lookup_failures_total", "How often no value was found, by kind.");
    for lookup in lookups {
        for (kind, count) in &lookup.failures {
            page.sample(&[("lookup", &lookup.lookup), ("kind", kind)], *count);
        }
    }
}

/// The text, and the family that samples are added to.
struct Page(String);

impl Page {
    /// Opens a family; a name that ends in `_total` is a counter, any other a gauge.
    fn family(&mut self, name: &str, help: &str) {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &[(&str, &dyn Display)], value: u64) {
        let name = self.open_family().to_owned();
        self.0.push_str(&name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let opening = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{opening}{label}=\"{}\"", escaped(&text.to_string()));
        }
        let closing = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{closing} {value}");
    }

    /// The name on the last `# TYPE` line.
    fn open_family(&self) -> &str {
        let last = self.0.rfind("# TYPE ").map_or("", |at| &self.0[at + "# TYPE ".len()..]);
        last.split(' ').next().unwrap_or_default()
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{LookupCounts, Numbers, exposition};
    use std::collections::BTreeSet;
    use tidegate_directory::DirectoryMetrics;
    use tidegate_types::decision::{BreakerState, Decision, OnFailure, PolicyInfo};

    fn policy(name: &str) -> PolicyInfo {
        PolicyInfo {
            decision: Decision::Authorize,
            position: 1,
            generation: 4,
            since_unix_ms: 1_000,
            breaker: BreakerState::Open,
            on_failure: OnFailure::Refuse,
            previous: None,
            shadow: None,
            name: name.to_owned(),
            version: "1".to_owned(),
            digest: "00".to_owned(),
            origin: "stock".to_owned(),
            calls: 7,
            failures: vec![("trap".to_owned(), 2)],
            latency_p50_ns: 4_000,
            latency_p99_ns: 9_000,
        }
    }

    #[test]
    fn every_sample_stands_under_its_own_family() {
        let directory = DirectoryMetrics { rooms: 3, ..DirectoryMetrics::default() };
        let policies = [policy("with \"quotes\"\nand lines")];
        let failures = vec![("timeout", 2)];
        let lookup =
            LookupCounts { lookup: "people".to_owned(), asked: 9, failures, ..LookupCounts::default() };
        let page = exposition(&Numbers {
            shards: &[],
            directory: &directory,
            policies: &policies,
            policy_counters: &[(Decision::Balance, "seen".to_owned(), 5)],
            lookups: &[lookup],
            record_left_out: 0,
            mail_dropped: 1,
        });
        let mut families = BTreeSet::new();
        let mut open = "";
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                open = rest.split(' ').next().unwrap_or_default();
                assert!(families.insert(open), "{open} is opened twice");
            } else if !line.starts_with('#') {
                assert_eq!(line.split(['{', ' ']).next(), Some(open), "{line}");
                assert!(line.rsplit(' ').next().is_some_and(|value| value.parse::<u64>().is_ok()), "{line}");
            }
        }
        assert!(page.contains("\ntidegate_directory_rooms 3\n"));
        assert!(page.contains("\ntidegate_lookup_asked_total{lookup=\"people\"} 9\n"));
        assert!(page.contains("tidegate_lookup_failures_total{lookup=\"people\",kind=\"timeout\"} 2\n"));
        assert!(page.contains(r#"name="with \"quotes\"\nand lines""#));
        assert!(page.contains(
            "tidegate_policy_failures_total{decision=\"authorize\",position=\"1\",kind=\"trap\"} 2\n"
        ));
        assert!(page.contains("tidegate_policy_breaker_open{decision=\"authorize\",position=\"1\"} 1\n"));
        assert!(page.contains("tidegate_policy_generation{decision=\"authorize\",position=\"1\"} 4\n"));
    }
}
