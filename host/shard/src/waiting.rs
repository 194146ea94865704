//! Datagrams that cannot go yet: those whose time has not come, and those that a full socket sent back. Both are
//! bounded; what is dropped at the bound is pictures first, oldest first. Knows nothing of system calls.

use crate::group::Batch;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};
use tidegate_media::io::{Class, DATAGRAM_BYTES, Tuple};

/// How many datagrams wait for one full socket. At 1,200 bytes and 100 Mbit/s this is 100 ms: turning it up trades
/// drops for delay.
pub(crate) const BACKLOG_DATAGRAMS: usize = 1_024;

/// How many datagrams wait for their time. Beyond it those that have waited longest go: early is better than never, and
/// better than out of order.
pub(crate) const LATER_DATAGRAMS: usize = 4_096;

/// One waiting datagram; its bytes lie on the [`Shelf`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) tuple: Tuple,
    pub(crate) class: Class,
    /// Since when it is due.
    pub(crate) due: Instant,
    slot: u32,
    length: u16,
}

/// Copies of waiting datagrams in slots of one arena, reused.
#[derive(Debug)]
pub(crate) struct Shelf {
    bytes: Vec<u8>,
    free: Vec<u32>,
}

impl Default for Shelf {
    /// With room for all that may wait for its time, and some that wait for a socket; what is not used is not resident.
    fn default() -> Self {
        let datagrams = LATER_DATAGRAMS + 2 * BACKLOG_DATAGRAMS;
        Self { bytes: Vec::with_capacity(datagrams * DATAGRAM_BYTES), free: Vec::with_capacity(datagrams) }
    }
}

impl Shelf {
    /// Keeps a copy; what exceeds [`DATAGRAM_BYTES`] is cut (an engine writes no more).
    #[expect(clippy::cast_possible_truncation)]
    pub(crate) fn keep(&mut self, tuple: Tuple, class: Class, due: Instant, bytes: &[u8]) -> Entry {
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        let length = bytes.len().min(DATAGRAM_BYTES);
        self.bytes[slot as usize * DATAGRAM_BYTES..][..length].copy_from_slice(&bytes[..length]);
        Entry { tuple, class, due, slot, length: length as u16 }
    }

    /// The bytes of one.
    pub(crate) fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.slot as usize * DATAGRAM_BYTES..][..usize::from(entry.length)]
    }

    /// Its slot may be reused. By value: an entry is freed once.
    pub(crate) fn free(&mut self, entry: Entry) {
        self.free.push(entry.slot);
    }

    #[expect(clippy::cast_possible_truncation)]
    fn grow(&mut self) -> u32 {
        let slot = self.bytes.len() / DATAGRAM_BYTES;
        self.bytes.resize(self.bytes.len() + DATAGRAM_BYTES, 0);
        slot as u32
    }
}

/// Entries with their bytes, as something to send.
pub(crate) struct Shelved<'a> {
    pub(crate) shelf: &'a Shelf,
    pub(crate) entries: &'a [Entry],
}

impl Batch for Shelved<'_> {
    fn tuple(&self, index: u32) -> Tuple {
        self.entries[index as usize].tuple
    }
    fn class(&self, index: u32) -> Class {
        self.entries[index as usize].class
    }
    fn due(&self, index: u32) -> Instant {
        self.entries[index as usize].due
    }
    fn bytes(&self, index: u32) -> &[u8] {
        self.shelf.bytes(&self.entries[index as usize])
    }
}

/// What waits for one full socket, a queue for each class.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    queues: [VecDeque<Entry>; 3],
}

impl Backlog {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// Adds one. At the bound one is given back to be dropped: the oldest of the least important class there is,
    /// or the new one if it is less important than all that wait.
    pub(crate) fn push(&mut self, entry: Entry) -> Option<Entry> {
        let mut dropped = None;
        if self.len() >= BACKLOG_DATAGRAMS {
            let least = self.queues.iter().rposition(|queue| !queue.is_empty()).unwrap_or_default();
            if least < entry.class as usize {
                return Some(entry);
            }
            dropped = self.queues[least].pop_front();
        }
        self.queues[entry.class as usize].push_back(entry);
        dropped
    }

    /// Moves all into `entries`: control, sound, pictures, each oldest first.
    pub(crate) fn drain_into(&mut self, entries: &mut Vec<Entry>) {
        for queue in &mut self.queues {
            entries.extend(queue.drain(..));
        }
    }

    /// For how long the longest waiting one has been due.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let fronts = self.queues.iter().filter_map(VecDeque::front);
        fronts.map(|entry| now.saturating_duration_since(entry.due)).max().unwrap_or_default()
    }
}

const _: () = assert!((Class::Control as usize) < Class::Audio as usize);
const _: () = assert!((Class::Audio as usize) < Class::Video as usize && Class::Video as usize == 2);

/// What waits for its time. Normally empty.
#[derive(Debug)]
pub(crate) struct Later {
    heap: BinaryHeap<Reverse<Paced>>,
    number: u64,
}

impl Default for Later {
    /// With room for all that may wait: nothing is allocated on a packet's way, and what is not used is not resident.
    fn default() -> Self {
        Self { heap: BinaryHeap::with_capacity(LATER_DATAGRAMS), number: 0 }
    }
}

#[derive(Debug)]
struct Paced {
    at: Instant,
    /// Keeps the order of creation where times are equal.
    number: u64,
    entry: Entry,
}

impl PartialEq for Paced {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Paced {}
impl PartialOrd for Paced {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Paced {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Later {
    fn is_full(&self) -> bool {
        self.heap.len() >= LATER_DATAGRAMS
    }

    /// Adds one, due when it says. At the bound gives back the one that is due first.
    pub(crate) fn push(&mut self, entry: Entry) -> Option<Entry> {
        self.number += 1;
        let first = if self.is_full() { self.heap.pop() } else { None };
        self.heap.push(Reverse(Paced { at: entry.due, number: self.number, entry }));
        first.map(|paced| paced.0.entry)
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|paced| paced.0.at)
    }

    /// Moves what is due into `entries`.
    pub(crate) fn release_into(&mut self, now: Instant, entries: &mut Vec<Entry>) {
        while self.next().is_some_and(|at| at <= now) {
            entries.extend(self.heap.pop().map(|paced| paced.0.entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BACKLOG_DATAGRAMS, Backlog, Class, Duration, Entry, Instant, Later, Shelf, Tuple};
    use std::net::SocketAddr;

    struct Story {
        shelf: Shelf,
        backlog: Backlog,
        start: Instant,
    }

    impl Story {
        fn new() -> Self {
            Self { shelf: Shelf::default(), backlog: Backlog::default(), start: Instant::now() }
        }

        fn entry(&mut self, class: Class, number: usize) -> Entry {
            let tuple = Tuple { socket: 0, remote: SocketAddr::from(([192, 0, 2, 1], 9)) };
            let due = self.start + Duration::from_millis(number as u64);
            self.shelf.keep(tuple, class, due, &number.to_be_bytes())
        }

        /// The number of the one that was dropped.
        fn push(&mut self, class: Class, number: usize) -> Option<(Class, usize)> {
            let entry = self.entry(class, number);
            self.backlog.push(entry).map(|dropped| (dropped.class, self.number(&dropped)))
        }

        fn number(&self, entry: &Entry) -> usize {
            usize::from_be_bytes(self.shelf.bytes(entry).try_into().expect("eight bytes"))
        }
    }

    #[test]
    fn at_the_bound_the_oldest_picture_goes_then_sound_and_control_last() {
        let mut story = Story::new();
        assert_eq!(story.push(Class::Control, 0), None);
        assert_eq!(story.push(Class::Audio, 1), None);
        for number in 2..BACKLOG_DATAGRAMS {
            assert_eq!(story.push(Class::Video, number), None);
        }
        assert_eq!(story.push(Class::Video, 5_000), Some((Class::Video, 2)));
        assert_eq!(story.push(Class::Audio, 5_001), Some((Class::Video, 3)));
        for number in 6_000..6_000 + BACKLOG_DATAGRAMS {
            story.push(Class::Audio, number);
        }
        assert_eq!(story.push(Class::Video, 9_000), Some((Class::Video, 9_000)), "less than all that waits");
        let (class, _) = story.push(Class::Control, 9_001).expect("full");
        assert_eq!(class, Class::Audio);
        assert_eq!(story.backlog.len(), BACKLOG_DATAGRAMS);
        let mut entries = Vec::new();
        story.backlog.drain_into(&mut entries);
        assert_eq!(
            entries.first().map(|entry| (entry.class, story.number(entry))),
            Some((Class::Control, 0))
        );
        assert!(entries.is_sorted_by_key(|entry| (entry.class, story.number(entry))));
    }

    #[test]
    fn a_backlogs_age_is_that_of_its_oldest() {
        let mut story = Story::new();
        story.push(Class::Video, 10);
        story.push(Class::Control, 30);
        let now = story.start + Duration::from_millis(50);
        assert_eq!(story.backlog.age(now), Duration::from_millis(40));
    }

    #[test]
    fn what_waits_for_its_time_comes_in_order_of_time_then_of_creation() {
        let mut story = Story::new();
        let mut later = Later::default();
        for number in [7, 3, 9, 3, 1] {
            let entry = story.entry(Class::Video, number);
            assert!(later.push(entry).is_none());
        }
        let mut entries = Vec::new();
        later.release_into(story.start + Duration::from_millis(7), &mut entries);
        assert_eq!(entries.iter().map(|entry| story.number(entry)).collect::<Vec<_>>(), [1, 3, 3, 7]);
        assert_eq!(later.next(), Some(story.start + Duration::from_millis(9)));
    }

    #[test]
    fn a_shelf_reuses_its_slots() {
        let mut story = Story::new();
        for number in 0..100 {
            let entry = story.entry(Class::Video, number);
            assert_eq!(story.number(&entry), number);
            story.shelf.free(entry);
        }
        assert_eq!(story.shelf.bytes.len(), super::DATAGRAM_BYTES);
    }
}
