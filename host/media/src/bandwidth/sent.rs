//! What was sent lately, by transport-wide sequence, so that feedback about a number becomes news about a packet.
//! Knows nothing of what the news is used for.

/// Packets remembered; feedback about older ones tells nothing. At 2,000 packets a second this is half a second:
/// doubling it costs 8 KiB a transport.
pub(super) const REMEMBERED: usize = 1_024;

const _: () = assert!(REMEMBERED.is_power_of_two() && REMEMBERED < 0x8000);

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

    const fn set_fate(&mut self, fate: Fate) {
        self.rest = self.bytes() | (fate as u16) << 14;
    }
}

/// A packet that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    /// When it left, in microseconds since the origin.
    pub(super) sent_us: i64,
    /// When it arrived, in microseconds of the receiver's own clock.
    pub(super) arrival_us: i64,
    /// Its size.
    pub(super) bytes: u32,
}

/// What feedback changed about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It arrived; it may have been given up as lost before.
    Arrived(Arrived, bool),
    /// It is missing.
    Lost,
}

/// A ring of sent packets. Holds no memory until the first.
#[derive(Debug, Default)]
pub(super) struct Sent {
    ring: Box<[Entry]>,
}

impl Sent {
    /// Notes a packet that leaves at `sent_us`.
    #[expect(clippy::cast_possible_truncation)]
    pub(super) fn note(&mut self, sequence: u16, sent_us: i64, bytes: usize) {
        if self.ring.is_empty() {
            self.ring = vec![Entry::default(); REMEMBERED].into_boxed_slice();
        }
        self.ring[usize::from(sequence) % REMEMBERED] = Entry::new(sent_us as u32, sequence, bytes as u16);
    }

    /// What a receiver's word about `sequence` changes; `None` if nothing: it was not sent, was forgotten, or the
    /// same was told before. `now_us` serves to extend the time at which it was sent.
    #[expect(clippy::cast_possible_truncation)]
    pub(super) fn tell(&mut self, now_us: i64, sequence: u16, arrival_us: Option<i64>) -> Option<News> {
        let entry = self.ring.get_mut(usize::from(sequence) % REMEMBERED)?;
        if entry.sequence != sequence {
            return None;
        }
        match (entry.fate(), arrival_us) {
            (Fate::Flying | Fate::Lost, Some(arrival_us)) => {
                let was_lost = entry.fate() == Fate::Lost;
                entry.set_fate(Fate::Arrived);
                let age = (now_us as u32).wrapping_sub(entry.sent_us) as i32;
                let arrived =
                    Arrived { sent_us: now_us - i64::from(age), arrival_us, bytes: u32::from(entry.bytes()) };
                Some(News::Arrived(arrived, was_lost))
            }
            (Fate::Flying, None) => {
                entry.set_fate(Fate::Lost);
                Some(News::Lost)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrived, News, Sent};

    #[test]
    fn news_is_told_once_and_an_arrival_outweighs_a_loss() {
        let mut sent = Sent::default();
        assert_eq!(sent.tell(0, 7, Some(1)), None, "nothing was sent");
        let wrapped = i64::from(u32::MAX) - 10;
        sent.note(7, wrapped, 1_200);
        let now = wrapped + 50_000;
        assert_eq!(sent.tell(now, 7, None), Some(News::Lost));
        assert_eq!(sent.tell(now, 7, None), None);
        let arrived = Arrived { sent_us: wrapped, arrival_us: 5, bytes: 1_200 };
        assert_eq!(sent.tell(now, 7, Some(5)), Some(News::Arrived(arrived, true)));
        assert_eq!(sent.tell(now, 7, Some(5)), None);
        assert_eq!(sent.tell(now, 7 + super::REMEMBERED as u16, Some(5)), None, "another turn of the ring");
    }
}
