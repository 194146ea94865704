//! What a shard counts: written by its own thread, read by anyone at any time, without a wait on either side.
//! Knows nothing of metrics' names or formats.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidegate_types::Place;
use tidegate_types::report::LoadReport;

/// A number with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning thread may call it (no locked instruction is spent).
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    /// Takes back some of what was added; only the owning thread may call it.
    pub(crate) fn take(&self, count: u64) {
        self.0.store(self.get().wrapping_sub(count), Ordering::Relaxed);
    }

    /// Adds, from any thread.
    pub(crate) fn add_shared(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Its value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a shard itself drops a datagram or a crossing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Longer than a buffer, or cut by the kernel.
    Oversize,
    /// Empty, or from a source that cannot be answered.
    Unanswerable,
    /// The kernel refused the destination.
    Refused,
    /// The socket was full for longer than the backlog holds.
    BacklogFull,
    /// Relayed media while the other shard's ring was full; the relay repairs it.
    RingMedia,
    /// A datagram for another shard while its ring was full.
    RingDatagram,
    /// A relay's message while the ring and what is held for it were full.
    RingMessage,
    /// A TCP stream that was not let in, or whose first word was no check.
    StreamRefused,
    /// The stream's peer reads too slowly.
    StreamFull,
    /// The stream has ended.
    StreamGone,
    /// For a place that no ring leads to, or a socket that does not exist.
    Astray,
}

impl Dropped {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Oversize, "oversize"),
        (Self::Unanswerable, "unanswerable"),
        (Self::Refused, "destination-refused"),
        (Self::BacklogFull, "backlog-full"),
        (Self::RingMedia, "ring-full-media"),
        (Self::RingDatagram, "ring-full-datagram"),
        (Self::RingMessage, "ring-full-message"),
        (Self::StreamRefused, "stream-refused"),
        (Self::StreamFull, "stream-full"),
        (Self::StreamGone, "stream-gone"),
        (Self::Astray, "astray"),
    ];
}

/// One shard's live counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) running: AtomicBool,
    pub(crate) received_datagrams: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) receive_calls: Counter,
    pub(crate) sent_datagrams: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) send_calls: Counter,
    pub(crate) segmented_datagrams: Counter,
    pub(crate) crossings_in: Counter,
    pub(crate) crossings_out: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) connected_sockets: Counter,
    pub(crate) connected_failures: Counter,
    pub(crate) streams_accepted: Counter,
    pub(crate) turns: Counter,
    dropped: [Counter; Dropped::ALL.len()],
    /// Written about once a second, and only if nobody is reading.
    latest: Mutex<Latest>,
}

#[derive(Clone, Debug, Default)]
struct Latest {
    load: LoadReport,
    engine_dropped: Vec<(&'static str, u64)>,
}

impl Counters {
    /// One more of a kind was dropped.
    pub(crate) fn drop_one(&self, kind: Dropped) {
        self.dropped[kind as usize].add(1);
    }

    /// How many of a kind were dropped.
    #[cfg(test)]
    pub(crate) fn dropped(&self, kind: Dropped) -> u64 {
        self.dropped[kind as usize].get()
    }

    /// How many were dropped by the shard itself, whatever the reason.
    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(Counter::get).sum()
    }

    /// Shows a load report and the engine's own drops. A reader holding the lock makes this a no-op.
    pub(crate) fn publish(&self, load: LoadReport, engine_dropped: &[(&'static str, u64)]) {
        if let Ok(mut latest) = self.latest.try_lock() {
            latest.load = load;
            latest.engine_dropped.clear();
            latest.engine_dropped.extend_from_slice(engine_dropped);
        }
    }

    /// All of it, now.
    pub(crate) fn snapshot(&self, place: Place, wakes: u64) -> ShardCounters {
        let latest = self.latest.lock().map(|latest| latest.clone()).unwrap_or_default();
        let own = Dropped::ALL.iter().map(|&(kind, name)| (name, self.dropped[kind as usize].get()));
        ShardCounters {
            place,
            running: self.running.load(Ordering::Relaxed),
            received_datagrams: self.received_datagrams.get(),
            received_bytes: self.received_bytes.get(),
            receive_calls: self.receive_calls.get(),
            sent_datagrams: self.sent_datagrams.get(),
            sent_bytes: self.sent_bytes.get(),
            send_calls: self.send_calls.get(),
            segmented_datagrams: self.segmented_datagrams.get(),
            crossings_in: self.crossings_in.get(),
            crossings_out: self.crossings_out.get(),
            handed_over: self.handed_over.get(),
            connected_sockets: self.connected_sockets.get(),
            connected_failures: self.connected_failures.get(),
            streams_accepted: self.streams_accepted.get(),
            turns: self.turns.get(),
            wakes,
            dropped: own.chain(latest.engine_dropped).collect(),
            load: latest.load,
        }
    }
}

/// One shard's counters since the start, at one moment.
#[derive(Clone, Debug)]
pub struct ShardCounters {
    /// Which shard.
    pub place: Place,
    /// Its thread runs (or its loop is driven by hand).
    pub running: bool,
    /// Datagrams from the kernel.
    pub received_datagrams: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// System calls that fetched them.
    pub receive_calls: u64,
    /// Datagrams handed to the kernel.
    pub sent_datagrams: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// System calls that handed them over.
    pub send_calls: u64,
    /// Those of `sent_datagrams` that went as part of a run (UDP_SEGMENT).
    pub segmented_datagrams: u64,
    /// Crossings that came from other shards.
    pub crossings_in: u64,
    /// Crossings that went to other shards.
    pub crossings_out: u64,
    /// Datagrams handed over to the shard where their transport stands.
    pub handed_over: u64,
    /// Connected sockets open now, of transports that moved here.
    pub connected_sockets: u64,
    /// Those that could not be opened: their datagrams are handed over.
    pub connected_failures: u64,
    /// TCP streams let in (ICE-TCP).
    pub streams_accepted: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Wakes by other threads.
    pub wakes: u64,
    /// Drops by kind: the shard's own now, the engine's as of the last load report.
    pub dropped: Vec<(&'static str, u64)>,
    /// The last load report.
    pub load: LoadReport,
}

#[cfg(test)]
mod tests {
    use super::Dropped;

    #[test]
    fn every_kind_of_drop_has_its_own_counter_and_name() {
        for (index, (kind, _)) in Dropped::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }
}
