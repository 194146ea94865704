//! The way between people and the host: what it loses, delays and doubles is drawn from what a datagram is, so that it
//! does not depend on how many shards there are. Also watches that nothing is sealed twice. Knows nothing of engines.

use crate::script::{Script, draw};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// One way, without any queue.
const DELAY: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_millis(15);
/// The longest that a narrow way's queue may become.
const QUEUE: Duration = Duration::from_millis(300);
/// While this lasts, it storms.
const STORM: std::ops::Range<Duration> = Duration::from_secs(8)..Duration::from_secs(38);
/// In thousandths: of datagrams lost, late and doubled, and of relayed packets lost.
const LOST: u64 = 30;
const LOST_DATA: u64 = 20;
const LATE_ONES: u64 = 30;
const DOUBLED: u64 = 10;
const RELAY_LOST: u64 = 5;
/// First byte of a DTLS record with application data.
const APPLICATION_DATA: u8 = 23;

#[derive(Default)]
pub(crate) struct Network {
    seed: u64,
    /// How often each was sent, of those that may be sent again.
    attempts: HashMap<(usize, bool, u32, u16), u64>,
    relayed: HashMap<(u64, u64), u64>,
    /// Records and feedback so far, each way.
    records: HashMap<(usize, bool), u64>,
    /// When each narrow way is free again.
    busy: HashMap<usize, Instant>,
    /// Sequences that the host sent, a bit each: a call is too short for them to wrap.
    sealed: HashMap<(usize, u32), Vec<u64>>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub(crate) fn storms(at: Duration) -> bool {
        STORM.contains(&at)
    }

    /// When a datagram from a person arrives, each time.
    pub(crate) fn up(&mut self, since: Duration, person: usize, bytes: &[u8]) -> [Option<Duration>; 2] {
        self.fate(since, person, true, bytes)
    }

    /// When a datagram to a person arrives, each time.
    pub(crate) fn down(
        &mut self,
        since: Duration,
        now: Instant,
        person: usize,
        bytes: &[u8],
    ) -> [Option<Duration>; 2] {
        let mut arrives = self.fate(since, person, false, bytes);
        if let Some(kbps) = Script::narrow_kbps(person) {
            // In coarse steps: a signature is now and then a byte longer, and a seed has to live the same life.
            let takes = Duration::from_micros((bytes.len() as u64).next_multiple_of(64) * 8_000 / kbps);
            for arrival in &mut arrives {
                let Some(delay) = *arrival else { continue };
                let busy = self.busy.entry(person).or_insert(now);
                let waits = busy.saturating_duration_since(now);
                *arrival = (waits < QUEUE).then_some(waits + takes + delay);
                if arrival.is_some() {
                    *busy = (*busy).max(now) + takes;
                }
            }
        }
        arrives
    }

    /// Whether a relayed packet is lost.
    pub(crate) fn loses_relayed(&mut self, since: Duration, relay: u64, sequence: u64) -> bool {
        let attempt = self.relayed.entry((relay, sequence)).or_default();
        *attempt += 1;
        Self::storms(since) && draw((self.seed, relay, sequence, *attempt), 1_000) < RELAY_LOST
    }

    fn fate(&mut self, since: Duration, person: usize, up: bool, bytes: &[u8]) -> [Option<Duration>; 2] {
        let is_rtp = bytes[0] >> 6 == 2;
        let is_rtcp = is_rtp && matches!(bytes[1], 192..=223);
        if is_rtp && !is_rtcp {
            return self.fate_of_media(since, person, up, bytes);
        }
        let count = self.records.entry((person, up)).or_default();
        *count += 1;
        let lossy = is_rtcp || bytes[0] == APPLICATION_DATA;
        let lost = lossy && Self::storms(since) && draw((self.seed, person, up, *count), 1_000) < LOST_DATA;
        [(!lost).then_some(DELAY), None]
    }

    fn fate_of_media(
        &mut self,
        since: Duration,
        person: usize,
        up: bool,
        bytes: &[u8],
    ) -> [Option<Duration>; 2] {
        let ssrc = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
        if !up {
            self.watch_sealing(person, ssrc, sequence);
        }
        if !Self::storms(since) {
            return [Some(DELAY), None];
        }
        let attempt = self.attempts.entry((person, up, ssrc, sequence)).or_default();
        *attempt += 1;
        let chance = draw((self.seed, person, up, ssrc, sequence, *attempt), 1_000_000_000);
        if chance % 1_000 < LOST {
            return [None, None];
        }
        let late = if chance / 1_000 % 1_000 < LATE_ONES { LATE } else { Duration::ZERO };
        let first = DELAY + late;
        [Some(first), (chance / 1_000_000 < DOUBLED).then_some(first)]
    }

    fn watch_sealing(&mut self, person: usize, ssrc: u32, sequence: u16) {
        let sealed = self.sealed.entry((person, ssrc)).or_insert_with(|| vec![0; 1 << 10]);
        let (word, bit) = (usize::from(sequence >> 6), 1 << (sequence & 63));
        assert!(sealed[word] & bit == 0, "{sequence} of {ssrc} was sealed twice for person {person}");
        sealed[word] |= bit;
    }
}
