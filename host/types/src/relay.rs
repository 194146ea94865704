//! A relay: one copy of one producer's demanded layers, carried from the place where it stands to another.
//!
//! It has its own continuous sequence, so that the far side sees its own gaps and asks for exactly them; the
//! producer's numbering, timestamps and clock travel unchanged inside.

use crate::{MediaPacket, NtpTime, RelayId};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Encodings of one track at most.
pub const ENCODINGS: usize = 8;

/// Temporal layers whose rates are told apart; those above count as the highest of them.
pub const FRAME_RATES: usize = 4;

/// What a producer's layers take where it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerRates {
    /// Each encoding, in kbit/s; of a single encoding, what it takes up to each spatial layer. 0: it cannot be had.
    pub kbps: [u32; ENCODINGS],
    /// How many 256ths of that are taken up to each temporal layer but the highest; 0 from there on.
    pub parts: [[u8; FRAME_RATES - 1]; ENCODINGS],
}

impl LayerRates {
    /// The highest temporal layer of an encoding or spatial layer, 0 being the lowest.
    #[must_use]
    pub fn highest_temporal(&self, layer: usize) -> u8 {
        let parts = self.parts.get(layer).copied().unwrap_or_default();
        parts.iter().take_while(|part| **part > 0).count() as u8
    }

    /// What it takes up to a temporal layer, in kbit/s; 0: it cannot be had.
    #[must_use]
    pub fn up_to(&self, layer: usize, temporal: u8) -> u32 {
        let Some(&kbps) = self.kbps.get(layer) else { return 0 };
        match self.parts[layer].get(usize::from(temporal)) {
            Some(&part) if part > 0 => ((u64::from(kbps) * u64::from(part)) >> 8).max(1) as u32,
            _ => kbps,
        }
    }
}

/// What goes over a relay, in either direction.
#[derive(Clone, Debug)]
pub enum RelayMessage {
    /// Source to sink: one packet.
    Media(RelayPacket),
    /// Source to sink: the publisher's clock for one encoding.
    Clock(RelayClock),
    /// Source to sink: the highest sequence sent so far, so that a lost tail is noticed.
    Highest {
        /// On which relay.
        relay: RelayId,
        /// The last relay sequence sent.
        sequence: u64,
    },
    /// Source to sink: these encodings send at the source (bit n: encoding n).
    Alive {
        /// On which relay.
        relay: RelayId,
        /// Bit n set: encoding n sends.
        encodings: u32,
    },
    /// Source to sink: what its layers take where they are sent. The sink sees only those that are wanted there, and
    /// has to plan with the others.
    Rates {
        /// On which relay.
        relay: RelayId,
        /// What each takes.
        rates: LayerRates,
    },
    /// Sink to source: these are missing.
    Nack {
        /// On which relay.
        relay: RelayId,
        /// Which relay sequences.
        missing: MissingSet,
    },
    /// Sink to source: a consumer needs a keyframe of this encoding.
    KeyframeRequest {
        /// On which relay.
        relay: RelayId,
        /// Which encoding.
        encoding: u8,
    },
    /// Sink to source: someone arrived there who was sent this encoding elsewhere, and goes on at this sequence. What
    /// is held from there on comes first; the encoding is wanted from now on.
    Resume {
        /// On which relay.
        relay: RelayId,
        /// Which encoding.
        encoding: u8,
        /// The producer's sequence that is to come next.
        sequence: u64,
    },
    /// Sink to source: only these encodings are wanted (bit n: encoding n).
    Demand {
        /// On which relay.
        relay: RelayId,
        /// Bit n set: encoding n is wanted.
        encodings: u32,
    },
}

impl RelayMessage {
    /// On which relay it goes.
    #[must_use]
    pub const fn relay(&self) -> RelayId {
        match self {
            Self::Media(packet) => packet.relay,
            Self::Clock(clock) => clock.relay,
            Self::Highest { relay, .. }
            | Self::Alive { relay, .. }
            | Self::Rates { relay, .. }
            | Self::Nack { relay, .. }
            | Self::KeyframeRequest { relay, .. }
            | Self::Resume { relay, .. }
            | Self::Demand { relay, .. } => *relay,
        }
    }
}

/// Missing relay sequences that lie close together: 16 bytes inline, so that asking allocates nothing. What lies
/// further off goes into the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingSet {
    first: u64,
    /// Bit n: `first + 1 + n` as well.
    behind: u64,
}

impl MissingSet {
    /// One sequence.
    #[must_use]
    pub const fn new(first: u64) -> Self {
        Self { first, behind: 0 }
    }

    /// Adds one, if it lies at most 64 behind the first.
    pub const fn add(&mut self, sequence: u64) -> bool {
        let step = sequence.wrapping_sub(self.first);
        if step > 64 {
            return false;
        }
        if step > 0 {
            self.behind |= 1 << (step - 1);
        }
        true
    }

    /// All, ascending.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        let behind = (0..64_u64).filter(move |bit| self.behind >> bit & 1 == 1);
        std::iter::once(self.first).chain(behind.map(move |bit| self.first.wrapping_add(bit + 1)))
    }
}

/// One packet on a relay.
#[derive(Clone, Debug)]
pub struct RelayPacket {
    /// On which relay.
    pub relay: RelayId,
    /// The relay's own running number, starting at 0.
    pub sequence: u64,
    /// Sent in answer to a NACK.
    pub repair: bool,
    /// The packet; its own numbering is the producer's.
    pub packet: MediaPacket,
}

/// A sender report of the publisher, as it stood when received.
#[derive(Clone, Copy, Debug)]
pub struct RelayClock {
    /// On which relay.
    pub relay: RelayId,
    /// Of which encoding.
    pub encoding: u8,
    /// The publisher's clock.
    pub clock: SourceClock,
}

/// A pair of the publisher's NTP and RTP times (its last sender report), and when it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceClock {
    /// The publisher's NTP time.
    pub ntp: NtpTime,
    /// The encoding's RTP time at that moment.
    pub rtp: u32,
    /// When it entered the first shard.
    pub received: Instant,
}

/// Counters of one end of a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStats {
    /// Packets first time.
    pub packets: u64,
    /// Packets sent or received as repair.
    pub repaired: u64,
    /// Sequences asked for (sink) or asked of (source).
    pub nacked: u64,
    /// Given up (sink) or no longer held (source).
    pub lost: u64,
}

#[cfg(test)]
mod tests {
    use super::{LayerRates, MissingSet};

    #[test]
    fn a_frame_rate_takes_its_part_and_the_highest_all() {
        let mut rates = LayerRates::default();
        (rates.kbps[1], rates.parts[1]) = (1_000, [128, 192, 0]);
        assert_eq!([0, 1, 2, 9].map(|temporal| rates.up_to(1, temporal)), [500, 750, 1_000, 1_000]);
        assert_eq!((rates.highest_temporal(1), rates.highest_temporal(0)), (2, 0));
        assert_eq!((rates.up_to(0, 0), rates.up_to(99, 0)), (0, 0));
    }

    #[test]
    fn a_set_holds_what_lies_close_and_refuses_what_does_not() {
        let mut set = MissingSet::new(100);
        assert!(set.add(100) && set.add(101) && set.add(164));
        assert!(!set.add(165) && !set.add(99));
        assert_eq!(set.iter().collect::<Vec<_>>(), [100, 101, 164]);
    }
}
