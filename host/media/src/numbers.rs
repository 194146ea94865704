//! How a run of a source's packets is numbered towards one peer when not all of them are sent. Knows nothing of why one
//! is left out.
//!
//! What is missing when a newer packet comes has a number reserved, since nobody knows yet whether it is wanted. So an
//! outgoing number belongs to exactly one source packet, and follows from counting: those before it that have one.

use crate::bits::BitRing;

const WORDS: usize = 8;
/// Once packets were left out, those further back than this are no longer found. As long as what may still be
/// repaired on its way in, and as what sealing remembers.
const WINDOW: u64 = BitRing::<WORDS>::LENGTH;
const _: () = assert!(WINDOW >= crate::missing::MOST as u64);

/// One run's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    source_start: u64,
    out_start: u64,
    /// Behind the newest of each.
    next_source: u64,
    next_out: u64,
    /// A packet was left out; before that the two numberings run in parallel.
    thinned: bool,
    /// Which source packets have a number.
    numbered: BitRing<WORDS>,
}

impl Numbers {
    /// A run that starts with `source_start`, which becomes `out_start`.
    pub(crate) const fn new(source_start: u64, out_start: u64) -> Self {
        Self {
            source_start,
            out_start,
            next_source: source_start,
            next_out: out_start,
            thinned: false,
            numbered: BitRing::all(true),
        }
    }

    /// The first source packet of the run.
    pub(crate) const fn source_start(&self) -> u64 {
        self.source_start
    }

    /// The first outgoing number of the run.
    pub(crate) const fn out_start(&self) -> u64 {
        self.out_start
    }

    /// The source packet behind the newest.
    pub(crate) const fn next_source(&self) -> u64 {
        self.next_source
    }

    /// The outgoing number behind the newest.
    pub(crate) const fn next_out(&self) -> u64 {
        self.next_out
    }

    /// Whether this is newer than all before.
    pub(crate) const fn is_next(&self, source: u64) -> bool {
        source >= self.next_source
    }

    /// Numbers a packet: `None` if it is newest and not wanted, or late and has no number. A late one that has a number
    /// gets it, wanted or not.
    pub(crate) fn take(&mut self, source: u64, wanted: bool) -> Option<u64> {
        if !self.is_next(source) {
            return self.of(source);
        }
        self.thinned |= !wanted;
        if self.thinned {
            self.numbered.fill(self.next_source, source, true);
            self.numbered.set(source, wanted);
        }
        self.next_out += source - self.next_source + u64::from(wanted);
        self.next_source = source + 1;
        wanted.then(|| self.next_out - 1)
    }

    /// The oldest source packet that can be found.
    fn oldest(&self) -> u64 {
        if self.thinned {
            self.source_start.max(self.next_source.saturating_sub(WINDOW))
        } else {
            self.source_start
        }
    }

    /// The number that a source packet has, or is reserved for it.
    fn of(&self, source: u64) -> Option<u64> {
        if source < self.oldest() || self.is_next(source) {
            return None;
        }
        if !self.thinned {
            return Some(self.out_start + (source - self.source_start));
        }
        let behind = self.numbered.count(source, self.next_source);
        self.numbered.get(source).then(|| self.next_out - behind)
    }

    /// Which source packet an outgoing number stands for.
    pub(crate) fn source(&self, out: u64) -> Option<u64> {
        if out < self.out_start || out >= self.next_out {
            return None;
        }
        if !self.thinned {
            return Some(self.source_start + (out - self.out_start));
        }
        self.numbered.nth_below(self.oldest(), self.next_source, self.next_out - out)
    }
}

#[cfg(test)]
mod tests {
    use super::{Numbers, WINDOW};
    use std::collections::BTreeMap;

    #[test]
    fn a_dropped_packet_leaves_no_gap_and_a_missing_one_keeps_its_place() {
        let mut numbers = Numbers::new(100, 7);
        assert_eq!(numbers.take(100, true), Some(7));
        assert_eq!(numbers.take(101, false), None);
        assert_eq!(numbers.take(103, true), Some(9), "8 is kept for 102");
        assert_eq!(numbers.take(102, true), Some(8));
        assert_eq!(numbers.take(101, true), None, "too late to change one's mind");
        assert_eq!((numbers.source(8), numbers.source(9), numbers.source(10)), (Some(102), Some(103), None));
        assert_eq!(numbers.take(99, true), None, "before the run");
    }

    /// Random losses, delays and decisions: no number twice, in order with the source, found again both ways.
    #[test]
    fn no_number_is_ever_given_to_two_packets() {
        for seed in 1..200_u64 {
            let mut state = seed;
            let mut draw = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let mut numbers = Numbers::new(1_000, 50);
            let mut given: BTreeMap<u64, u64> = BTreeMap::new();
            let mut late: Vec<u64> = Vec::new();
            let thins = seed % 3 > 0;
            for source in 1_000..4_000_u64 {
                let mut arrivals = vec![source];
                match draw(10) {
                    0 => late.push(arrivals.pop().unwrap()),
                    1 if !late.is_empty() => {
                        let index = draw(late.len() as u64) as usize;
                        arrivals.push(late.swap_remove(index));
                    }
                    _ => {}
                }
                for source in arrivals {
                    let wanted = !thins || draw(3) > 0;
                    let Some(out) = numbers.take(source, wanted) else { continue };
                    let before = given.insert(out, source);
                    assert!(before.is_none(), "seed {seed}: {out} for {before:?} and {source}");
                    assert_eq!(numbers.source(out), Some(source), "seed {seed}");
                }
            }
            let sources: Vec<u64> = given.values().copied().collect();
            assert!(sources.is_sorted(), "seed {seed}");
            let held = 3_999 - if thins { WINDOW / 2 } else { 2_000 };
            for (out, source) in given.iter().filter(|(_, source)| **source > held) {
                assert_eq!(numbers.take(*source, false), Some(*out), "seed {seed}: found again");
            }
        }
    }
}
