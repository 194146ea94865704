//! The last packets of one encoding, by sequence. One copy, shared with every relay and consumer that may need
//! a packet again. Knows nothing of who asks.

use tidegate_types::{MediaKind, MediaPacket, Pool};

/// Packets kept of a video encoding: over two seconds at 2 Mbit/s. More repairs longer outages; each costs 2 KiB.
pub const VIDEO_PACKETS: usize = 512;
/// Packets kept of an audio encoding: over a second.
pub const AUDIO_PACKETS: usize = 64;

const _: () = assert!(VIDEO_PACKETS >= crate::missing::MOST, "what may still be asked for must be held");

/// A ring of packets.
#[derive(Clone, Debug)]
pub struct History {
    slots: Box<[Option<MediaPacket>]>,
    highest: Option<u64>,
}

impl History {
    /// An empty one, as long as its kind needs.
    #[must_use]
    pub fn new(kind: MediaKind) -> Self {
        let length = match kind {
            MediaKind::Audio => AUDIO_PACKETS,
            MediaKind::Video => VIDEO_PACKETS,
        };
        Self { slots: (0..length).map(|_| None).collect(), highest: None }
    }

    /// Keeps a packet; the one that it displaces goes back to the pool. One older than what its slot holds is
    /// not kept.
    pub fn insert(&mut self, packet: MediaPacket, pool: &mut Pool) {
        let slot = &mut self.slots[packet.sequence as usize % self.slots.len()];
        if slot.as_ref().is_some_and(|held| held.sequence > packet.sequence) {
            pool.put(packet.buffer);
            return;
        }
        self.highest = self.highest.max(Some(packet.sequence));
        if let Some(displaced) = slot.replace(packet) {
            pool.put(displaced.buffer);
        }
    }

    /// The packet with this sequence, if it is still held.
    #[must_use]
    pub fn get(&self, sequence: u64) -> Option<&MediaPacket> {
        self.slots[sequence as usize % self.slots.len()].as_ref().filter(|held| held.sequence == sequence)
    }

    /// The newest sequence held.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// The oldest sequence held, of those that follow the newest closely enough to be asked for.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.from(0).next().map(|packet| packet.sequence)
    }

    /// Held packets from `first` on, ascending.
    pub fn from(&self, first: u64) -> impl Iterator<Item = &MediaPacket> {
        let highest = self.highest.unwrap_or(0);
        let oldest = (highest + 1).saturating_sub(self.slots.len() as u64);
        (first.max(oldest)..=highest).filter_map(|sequence| self.get(sequence))
    }

    /// Gives every buffer back.
    pub fn clear(&mut self, pool: &mut Pool) {
        for slot in &mut self.slots {
            if let Some(packet) = slot.take() {
                pool.put(packet.buffer);
            }
        }
    }
}
