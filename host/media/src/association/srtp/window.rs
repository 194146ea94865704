//! Which indices of one stream were seen, and which rollover a 16-bit sequence belongs to (RFC 3711, section 3.3).
//! Knows nothing of keys or packets.

/// How many indices behind the highest are remembered; what is older counts as seen. As long as what may still be
/// repaired, since a repaired packet is sealed late.
pub(super) const WINDOW: u64 = 512;
const WORDS: usize = WINDOW as usize / 64;
const _: () = assert!(WINDOW >= crate::missing::MOST as u64 && WINDOW.is_power_of_two());

/// A set over the last [`WINDOW`] indices.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    highest: Option<u64>,
    /// A ring of bits: index modulo [`WINDOW`].
    seen: [u64; WORDS],
}

const fn bit(index: u64) -> (usize, u64) {
    ((index % WINDOW / 64) as usize, 1 << (index % 64))
}

impl Window {
    /// Nothing was seen.
    pub(super) const fn new() -> Self {
        Self { highest: None, seen: [0; WORDS] }
    }

    /// Whether nothing was seen.
    pub(super) const fn is_empty(&self) -> bool {
        self.highest.is_none()
    }

    /// Whether the index was never seen and is not too old to know.
    pub(super) const fn is_fresh(&self, index: u64) -> bool {
        let Some(highest) = self.highest else { return true };
        if index > highest {
            return true;
        }
        let (word, bit) = bit(index);
        highest - index < WINDOW && self.seen[word] & bit == 0
    }

    /// Notes that the index was seen.
    pub(super) fn mark(&mut self, index: u64) {
        if let Some(highest) = self.highest.filter(|highest| index > *highest) {
            if index - highest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                for skipped in highest + 1..index {
                    let (word, bit) = bit(skipped);
                    self.seen[word] &= !bit;
                }
            }
        }
        let highest = self.highest.map_or(index, |highest| highest.max(index));
        self.highest = Some(highest);
        if highest - index < WINDOW {
            let (word, bit) = bit(index);
            self.seen[word] |= bit;
        }
    }

    /// The 48-bit index that a sequence most likely means (RFC 3711, appendix A); `None` before the stream's
    /// beginning or behind its end.
    pub(super) fn index_of(&self, sequence: u16) -> Option<u64> {
        let low = u64::from(sequence);
        let Some(highest) = self.highest else { return Some(low) };
        let (rollover, last) = (highest >> 16, highest & 0xffff);
        let rollover = if last < 0x8000 && low > last + 0x8000 {
            rollover.checked_sub(1)?
        } else if last >= 0x8000 && low + 0x8000 < last {
            rollover + 1
        } else {
            rollover
        };
        let index = rollover << 16 | low;
        (index >> 48 == 0).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::{WINDOW, Window};

    fn after(indices: &[u64]) -> Window {
        let mut window = Window::new();
        indices.iter().for_each(|index| window.mark(*index));
        window
    }

    #[test]
    fn each_index_is_fresh_once() {
        let mut window = Window::new();
        for index in [1_000, 1_001, 1_005, 1_003, 1_130, 1_127, 5_000, 4_900] {
            assert!(window.is_fresh(index), "{index}");
            window.mark(index);
            assert!(!window.is_fresh(index), "{index}");
        }
        assert!(!window.is_fresh(1_002), "too old to know");
        assert!(window.is_fresh(5_000 - WINDOW + 1));
        assert!(!window.is_fresh(5_000 - WINDOW));
    }

    #[test]
    fn a_sequence_belongs_to_the_nearest_rollover() {
        assert_eq!(Window::new().index_of(65_000), Some(65_000));
        assert_eq!(after(&[65_535]).index_of(0), Some(0x1_0000));
        assert_eq!(after(&[0x1_0000]).index_of(65_535), Some(65_535));
        assert_eq!(after(&[0x2_8000]).index_of(0x8001), Some(0x2_8001));
        assert_eq!(after(&[0x2_0005]).index_of(0xfff0), Some(0x1_fff0));
        assert_eq!(after(&[5]).index_of(0xfff0), None, "before the beginning");
        assert_eq!(after(&[(1 << 48) - 1]).index_of(3), None, "behind the end");
    }

    #[test]
    fn the_window_agrees_with_a_set_over_a_random_walk() {
        let mut window = Window::new();
        let mut seen = std::collections::BTreeSet::new();
        let (mut state, mut index) = (7u64, 10_000u64);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            index = index + (state >> 60) - (state >> 59 & 7).min(index);
            let highest = seen.last().copied().unwrap_or(index);
            let fresh = !seen.contains(&index) && index + WINDOW > highest;
            assert_eq!(window.is_fresh(index), fresh, "{index} under {highest}");
            if fresh {
                window.mark(index);
                seen.insert(index);
            }
        }
    }
}
