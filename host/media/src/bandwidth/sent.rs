//! What was sent lately, by transport-wide sequence, so that feedback about a number becomes news about a packet.
//! Knows nothing of what the news is used for.

/// Packets remembered at most; feedback about older ones tells nothing. At 2,000 packets a second this is half a second:
/// doubling it costs 8 KiB a transport.
pub(super) const REMEMBERED: usize = 1_024;
/// ... and at first: enough for a video of 2 Mbit/s whose receiver tells of everything twice in a round trip.
const AT_FIRST: usize = 128;

const _: () = assert!(REMEMBERED.is_power_of_two() && REMEMBERED < 0x8000);
const _: () = assert!(AT_FIRST.is_power_of_two() && AT_FIRST <= REMEMBERED);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Unknown,
    Flying,
    Lost,
    Arrived,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Low half of the microseconds since the origin.
    sent_us: u32,
    sequence: u16,
    /// Its bytes, and its fate in the upper two bits.
    rest: u16,
}

/// No datagram of ours is longer than these bits say.
const BYTES: u16 = 0x3fff;
const _: () = assert!(crate::io::DATAGRAM_BYTES <= BYTES as usize && size_of::<Entry>() == 8);

impl Entry {
    fn new(sent_us: u32, sequence: u16, bytes: u16) -> Self {
        let mut entry = Self { sent_us, sequence, rest: bytes & BYTES };
        entry.set_fate(Fate::Flying);
        entry
    }

    const fn bytes(self) -> u16 {
        self.rest & BYTES
    }

    const fn fate(self) -> Fate {
        match self.rest >> 14 {
            0 => Fate::Unknown,
            1 => Fate::Flying,
            2 => Fate::Lost,
            _ => Fate::Arrived,
        }
    }

    /// When it left, in microseconds since the origin.
    #[expect(clippy::cast_possible_truncation)]
    fn left_us(self, now_us: i64) -> i64 {
        let age = (now_us as u32).wrapping_sub(self.sent_us) as i32;
        now_us - i64::from(age)
    }

    const fn set_fate(&mut self, fate: Fate) {
        self.rest = self.bytes() | (fate as u16) << 14;
    }
}

/// A packet that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrived {
    /// When it left, in microseconds since the origin.
    pub(super) sent_us: i64,
    /// When it arrived, in microseconds of the receiver's own clock.
    pub(super) arrival_us: i64,
    /// Its size.
    pub(super) bytes: u32,
}

/// A ring of sent packets. Holds no memory until the first, and doubles where it would forget one before all that can
/// be told of it was told: that it arrived.
#[derive(Debug, Default)]
pub(super) struct Sent {
    ring: Box<[Entry]>,
}

impl Sent {
    /// Notes a packet that leaves at `sent_us`.
    #[expect(clippy::cast_possible_truncation)]
    pub(super) fn note(&mut self, sequence: u16, sent_us: i64, bytes: usize) {
        if self.ring.is_empty() {
            self.ring = vec![Entry::default(); AT_FIRST].into_boxed_slice();
        }
        let forgotten = self.ring[self.place(sequence)].fate();
        if matches!(forgotten, Fate::Flying | Fate::Lost) && self.ring.len() < REMEMBERED {
            self.grow();
        }
        let place = self.place(sequence);
        self.ring[place] = Entry::new(sent_us as u32, sequence, bytes as u16);
    }

    /// Its length is a power of two, or nothing.
    fn place(&self, sequence: u16) -> usize {
        usize::from(sequence) & self.ring.len().saturating_sub(1)
    }

    #[cold]
    fn grow(&mut self) {
        let longer = vec![Entry::default(); self.ring.len() * 2].into_boxed_slice();
        let known = std::mem::replace(&mut self.ring, longer);
        for entry in known.into_iter().filter(|entry| entry.fate() != Fate::Unknown) {
            let place = self.place(entry.sequence);
            self.ring[place] = entry;
        }
    }

    /// A receiver says that `sequence` arrived. Returns it, and whether it had been given up; `None` if that is no news:
    /// it was not sent, was forgotten, or the same was told before. `now_us` serves to extend the time at which it left.
    pub(super) fn arrived(&mut self, now_us: i64, sequence: u16, arrival_us: i64) -> Option<(Arrived, bool)> {
        let entry = self.of(sequence)?;
        let was_lost = match entry.fate() {
            Fate::Flying => false,
            Fate::Lost => true,
            Fate::Unknown | Fate::Arrived => return None,
        };
        entry.set_fate(Fate::Arrived);
        let sent_us = entry.left_us(now_us);
        Some((Arrived { sent_us, arrival_us, bytes: u32::from(entry.bytes()) }, was_lost))
    }

    /// A receiver says that `sequence` has not arrived. Whether that makes it lost: not if it was told before, and not
    /// before something has arrived that left later, at `newest_us`. Paced packets are overtaken by others of higher
    /// sequence, and may not even have left.
    pub(super) fn missing(&mut self, now_us: i64, sequence: u16, newest_us: i64) -> bool {
        let Some(entry) = self.of(sequence) else { return false };
        let lost = entry.fate() == Fate::Flying && entry.left_us(now_us) < newest_us;
        if lost {
            entry.set_fate(Fate::Lost);
        }
        lost
    }

    fn of(&mut self, sequence: u16) -> Option<&mut Entry> {
        let place = self.place(sequence);
        self.ring.get_mut(place).filter(|entry| entry.sequence == sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrived, Sent};

    #[test]
    fn news_is_told_once_and_an_arrival_outweighs_a_loss() {
        let mut sent = Sent::default();
        assert_eq!(sent.arrived(0, 7, 1), None, "nothing was sent");
        let wrapped = i64::from(u32::MAX) - 10;
        sent.note(7, wrapped, 1_200);
        let now = wrapped + 50_000;
        assert!(sent.missing(now, 7, now));
        assert!(!sent.missing(now, 7, now));
        let arrived = Arrived { sent_us: wrapped, arrival_us: 5, bytes: 1_200 };
        assert_eq!(sent.arrived(now, 7, 5), Some((arrived, true)));
        assert_eq!(sent.arrived(now, 7, 5), None);
        assert_eq!(sent.arrived(now, 7 + super::REMEMBERED as u16, 5), None, "another turn of the ring");
    }

    #[test]
    fn what_leaves_later_than_what_arrived_is_not_missing_yet() {
        let mut sent = Sent::default();
        sent.note(7, 250_000, 1_200);
        sent.note(8, 10_000, 100);
        assert!(!sent.missing(60_000, 7, 10_000), "it waits for its time");
        assert!(!sent.missing(260_000, 7, 240_000), "nothing that left later arrived");
        assert!(sent.missing(400_000, 7, 300_000));
    }

    #[test]
    fn memory_grows_with_what_nothing_was_told_about_and_no_further() {
        let mut told = Sent::default();
        for sequence in 0..5_000_u16 {
            told.note(sequence, 0, 1_200);
            if sequence >= 100 {
                assert!(told.arrived(0, sequence - 100, 1).is_some(), "{sequence}");
            }
        }
        assert_eq!(told.ring.len(), super::AT_FIRST);
        let mut silent = Sent::default();
        (0..5_000_u16).for_each(|sequence| silent.note(sequence, 0, 1_200));
        assert_eq!(silent.ring.len(), super::REMEMBERED);
        let remembered = (0..5_000_u16).filter(|sequence| silent.missing(0, *sequence, 1));
        assert!(remembered.eq(5_000 - super::REMEMBERED as u16..5_000));
    }
}
