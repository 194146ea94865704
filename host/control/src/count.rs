//! The front door's own counters, in Prometheus' text form. Knows nothing of the rest of the host's.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $metric:literal, $help:literal;)*) => {
        /// What happened at the front door since the start.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Counter,)*
        }

        impl Counters {
            /// All of them as Prometheus reads them.
            pub(crate) fn write(&self, text: &mut String) {
                $(write_metric(text, "counter", $metric, $help, self.$name.read());)*
            }
        }
    };
}

counters! {
    joins: "tidegate_joins_total", "Joins asked for.";
    joins_bounded: "tidegate_joins_bounded_total", "Joins refused by the bound of their address.";
    resumed: "tidegate_sessions_resumed_total", "Sessions that came back on another socket.";
    expired: "tidegate_sessions_expired_total", "Sessions whose client did not come back.";
    overflowed: "tidegate_sessions_overflowed_total", "Sessions ended because they did not keep up with the directory.";
    slow_sockets: "tidegate_sockets_slow_total", "Sockets closed because their client did not read.";
    sockets_bounded: "tidegate_sockets_bounded_total", "Sockets refused by a bound.";
    messages: "tidegate_session_messages_total", "Messages read from sessions.";
    messages_bounded: "tidegate_session_messages_bounded_total", "Messages refused by their session's bound.";
    messages_unreadable: "tidegate_session_messages_unreadable_total", "Messages that were not the schema.";
    connections_bounded: "tidegate_connections_bounded_total", "TCP connections closed by a bound.";
    handshakes_failed: "tidegate_tls_handshakes_failed_total", "TLS handshakes that failed or took too long.";
    foreign_hosts: "tidegate_http_foreign_hosts_total", "Requests for a name that is not this host's.";
    foreign_origins: "tidegate_http_foreign_origins_total", "Sessions refused because of their page's origin.";
    admin_refused: "tidegate_admin_refused_total", "Requests for the admin API, metrics or console that were refused.";
}

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Writes one metric without labels.
pub(crate) fn write_metric(text: &mut String, kind: &str, name: &str, help: &str, value: u64) {
    // Writing to a string cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
}
