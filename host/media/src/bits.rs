//! A ring of bits over the newest of a running number. Knows nothing of what a bit stands for; its owner knows which
//! numbers are still covered.

/// `WORDS` times 64 bits, a number's at its remainder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitRing<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> BitRing<WORDS> {
    /// How many numbers it covers.
    pub(crate) const LENGTH: u64 = WORDS as u64 * 64;

    /// All bits alike.
    pub(crate) const fn all(value: bool) -> Self {
        Self([if value { u64::MAX } else { 0 }; WORDS])
    }

    const fn place(number: u64) -> (usize, u32) {
        ((number % Self::LENGTH / 64) as usize, (number % 64) as u32)
    }

    /// A number's bit.
    pub(crate) const fn get(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.0[word] >> bit & 1 == 1
    }

    /// Sets or clears a number's bit.
    pub(crate) const fn set(&mut self, number: u64, value: bool) {
        let (word, bit) = Self::place(number);
        self.0[word] = self.0[word] & !(1 << bit) | (value as u64) << bit;
    }

    /// Sets or clears those of a range, at most once around.
    pub(crate) fn fill(&mut self, from: u64, to: u64, value: bool) {
        if to.saturating_sub(from) >= Self::LENGTH {
            *self = Self::all(value);
            return;
        }
        (from..to).for_each(|number| self.set(number, value));
    }

    /// How many bits of a range are set; the range must be covered.
    pub(crate) fn count(&self, from: u64, to: u64) -> u64 {
        let mut total = 0;
        let mut at = from;
        while at < to {
            let (word, bit) = Self::place(at);
            let span = u64::from(64 - bit).min(to - at);
            total += u64::from((self.0[word] >> bit & low(span)).count_ones());
            at += span;
        }
        total
    }

    /// The number of the `nth` set bit below `to`, counted downwards from 1, if it is not below `from`.
    pub(crate) fn nth_below(&self, from: u64, to: u64, nth: u64) -> Option<u64> {
        let mut remaining = nth;
        let mut end = to;
        while end > from && remaining > 0 {
            // The part of one word that lies in the range.
            let start = ((end - 1) / 64 * 64).max(from);
            let (word, bit) = Self::place(start);
            let mut bits = self.0[word] >> bit & low(end - start);
            let count = u64::from(bits.count_ones());
            if count < remaining {
                remaining -= count;
                end = start;
                continue;
            }
            for _ in 1..remaining {
                bits &= !(1 << bits.ilog2());
            }
            return Some(start + u64::from(bits.ilog2()));
        }
        None
    }
}

const fn low(count: u64) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use super::BitRing;

    #[test]
    fn counts_and_positions_agree_with_a_plain_list() {
        let mut ring = BitRing::<2>::all(false);
        let mut state = 9_u64;
        let mut bits = Vec::new();
        for number in 0..1_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bit = state >> 62 != 0;
            ring.set(number, bit);
            bits.push(bit);
            let oldest = (number + 1).saturating_sub(BitRing::<2>::LENGTH);
            for from in [oldest, oldest + number % 7, number] {
                let held: Vec<u64> = (from..=number).rev().filter(|number| bits[*number as usize]).collect();
                assert_eq!(ring.count(from, number + 1), held.len() as u64);
                for (index, known) in held.iter().enumerate() {
                    assert_eq!(ring.nth_below(from, number + 1, index as u64 + 1), Some(*known));
                }
                assert_eq!(ring.nth_below(from, number + 1, held.len() as u64 + 1), None);
            }
        }
    }

    #[test]
    fn a_range_is_filled_and_nothing_else() {
        let mut ring = BitRing::<2>::all(false);
        ring.fill(100, 140, true);
        assert_eq!((ring.count(64, 192), ring.get(99), ring.get(140)), (40, false, false));
        ring.fill(0, 1_000, false);
        assert_eq!(ring.count(0, 128), 0);
    }
}
