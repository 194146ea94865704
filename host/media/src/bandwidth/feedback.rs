//! Reads transport-wide feedback, without allocation: which sequences arrived, and when
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1). Knows nothing of what was sent.

use super::sent::REMEMBERED;

/// Unit of arrival deltas, in microseconds.
const DELTA_US: i64 = 250;
/// Unit of the reference time, in microseconds.
const REFERENCE_US: i64 = 64_000;
/// Bytes before the chunks.
const HEAD_BYTES: usize = 8;

/// One feedback message.
#[derive(Clone, Copy, Debug)]
pub struct Feedback<'a> {
    base: u16,
    count: u16,
    /// 24 bits, signed.
    reference: i32,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> Feedback<'a> {
    /// Reads the control information, from the base sequence on. `None` if it is malformed, or tells about more
    /// packets than are remembered.
    #[must_use]
    pub fn read(information: &'a [u8]) -> Option<Self> {
        let head = information.first_chunk::<HEAD_BYTES>()?;
        let count = u16::from_be_bytes([head[2], head[3]]);
        if count == 0 || usize::from(count) > REMEMBERED {
            return None;
        }
        let rest = &information[HEAD_BYTES..];
        let mut told = 0;
        let mut length = 0;
        while told < usize::from(count) {
            let chunk = rest.get(length..length + 2)?;
            let symbols = symbols(u16::from_be_bytes([chunk[0], chunk[1]]));
            if symbols == 0 {
                return None;
            }
            told += symbols;
            length += 2;
        }
        let (chunks, deltas) = rest.split_at(length);
        Some(Self {
            base: u16::from_be_bytes([head[0], head[1]]),
            count,
            reference: i32::from_be_bytes([head[4], head[5], head[6], 0]) >> 8,
            chunks,
            deltas,
        })
    }

    /// How many packets it tells about.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Its reference time in microseconds; `previous` is that of an earlier message and tells the wraps.
    #[must_use]
    pub fn reference_us(&self, previous: Option<i64>) -> i64 {
        let Some(previous) = previous else { return i64::from(self.reference) * REFERENCE_US };
        let before = previous.div_euclid(REFERENCE_US);
        #[expect(clippy::cast_possible_truncation)]
        let step = ((self.reference.wrapping_sub(before as i32)) << 8) >> 8;
        (before + i64::from(step)) * REFERENCE_US
    }

    /// Every sequence that it tells about, and when it arrived, in microseconds after the reference time. Ends early
    /// where the deltas end.
    #[must_use]
    pub fn arrivals(&self) -> Told<'a> {
        Told { next: self.base, left: self.count, chunk: 0, in_chunk: 0, rest: *self, time_us: 0 }
    }
}

/// How many symbols a chunk holds.
fn symbols(chunk: u16) -> usize {
    match chunk >> 14 {
        2 => 14,
        3 => 7,
        _ => usize::from(chunk & 0x1fff),
    }
}

/// The `nth` symbol of a chunk.
fn symbol(chunk: u16, nth: usize) -> u16 {
    match chunk >> 14 {
        2 => chunk >> (13 - nth) & 1,
        3 => chunk >> (12 - 2 * nth) & 3,
        _ => chunk >> 13 & 3,
    }
}

/// See [`Feedback::arrivals`].
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    next: u16,
    left: u16,
    chunk: u16,
    in_chunk: usize,
    rest: Feedback<'a>,
    time_us: i64,
}

impl Told<'_> {
    fn symbol(&mut self) -> Option<u16> {
        if self.in_chunk == 0 {
            let (chunk, behind) = self.rest.chunks.split_first_chunk::<2>()?;
            self.chunk = u16::from_be_bytes(*chunk);
            self.in_chunk = symbols(self.chunk);
            self.rest.chunks = behind;
        }
        let nth = symbols(self.chunk) - self.in_chunk;
        self.in_chunk -= 1;
        Some(symbol(self.chunk, nth))
    }

    fn delta(&mut self, symbol: u16) -> Option<i64> {
        let (delta, length) = match symbol {
            1 => (i64::from(*self.rest.deltas.first()?), 1),
            2 => (i64::from(i16::from_be_bytes(*self.rest.deltas.first_chunk::<2>()?)), 2),
            _ => return None,
        };
        self.rest.deltas = &self.rest.deltas[length..];
        Some(delta * DELTA_US)
    }
}

impl Iterator for Told<'_> {
    type Item = (u16, Option<i64>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let sequence = self.next;
        self.next = sequence.wrapping_add(1);
        let symbol = self.symbol()?;
        if symbol == 0 {
            return Some((sequence, None));
        }
        let Some(delta) = self.delta(symbol) else {
            self.left = 0;
            return None;
        };
        self.time_us += delta;
        Some((sequence, Some(self.time_us)))
    }
}

#[cfg(test)]
mod tests {
    use super::Feedback;
    use crate::arrivals::Arrivals;
    use std::time::{Duration, Instant};

    #[test]
    fn every_form_of_chunk_is_read() {
        // Run of two small; one-bit vector 1,0,1 and zeros; two-bit vector 2, 0, 1 and zeros: 2 + 14 + 7 symbols.
        let mut information = vec![0xff, 0xfe, 0, 23, 0, 0, 2, 9];
        information.extend([0x20, 0x02, 0b1010_1000, 0, 0b1110_0001, 0]);
        information.extend([4, 8, 1, 2, 0xff, 0xfc, 3]);
        let feedback = Feedback::read(&information).unwrap();
        let arrived: Vec<_> = feedback
            .arrivals()
            .filter_map(|(sequence, at)| at.map(|at| (sequence.wrapping_sub(0xfffe), at / 250)))
            .collect();
        assert_eq!(arrived, [(0, 4), (1, 12), (2, 13), (4, 15), (16, 11), (18, 14)]);
        assert_eq!(feedback.arrivals().count(), 23);
        assert_eq!(feedback.reference_us(None), 128_000);
    }

    #[test]
    fn a_reference_time_continues_over_its_wrap() {
        let information = [0, 0, 0, 1, 0x80, 0, 0, 0, 0x20, 0x01, 0];
        let feedback = Feedback::read(&information).unwrap();
        let previous = 0x7f_ffff * 64_000;
        assert_eq!(feedback.reference_us(Some(previous)), previous + 64_000);
    }

    #[test]
    fn what_arrivals_write_reads_back() {
        let origin = Instant::now();
        let mut arrivals = Arrivals::new(origin);
        for (sequence, ms) in [(3_u16, 100), (4, 101), (9, 400), (8, 401)] {
            arrivals.note(sequence, origin + Duration::from_millis(ms));
        }
        let mut space = [0; 100];
        let length = arrivals.feedback(origin + Duration::from_millis(500), &mut space).unwrap();
        let feedback = Feedback::read(&space[..length]).unwrap();
        let reference = feedback.reference_us(None);
        let told: Vec<_> = feedback
            .arrivals()
            .map(|(sequence, at)| (sequence, at.map(|at| (reference + at) / 1_000)))
            .collect();
        let expected =
            [(3, Some(100)), (4, Some(101)), (5, None), (6, None), (7, None), (8, Some(401)), (9, Some(400))];
        assert_eq!(told, expected);
    }

    #[test]
    fn lies_about_lengths_are_refused_or_end_the_reading() {
        assert!(Feedback::read(&[0; 7]).is_none());
        assert!(Feedback::read(&[0, 0, 0, 0, 0, 0, 0, 0]).is_none(), "about nothing");
        assert!(Feedback::read(&[0, 0, 0xff, 0xff, 0, 0, 0, 0, 0x1f, 0xff]).is_none(), "about too much");
        assert!(Feedback::read(&[0, 0, 0, 9, 0, 0, 0, 0, 0xc0, 0]).is_none(), "chunks are missing");
        assert!(Feedback::read(&[0, 0, 0, 1, 0, 0, 0, 0, 0x20, 0, 1]).is_none(), "a run of none");
        let cut = [0, 0, 0, 3, 0, 0, 0, 0, 0x20, 3, 1, 2];
        assert_eq!(Feedback::read(&cut).unwrap().arrivals().count(), 2);
        let reserved = [0, 0, 0, 3, 0, 0, 0, 0, 0x60, 3, 1, 2];
        assert_eq!(Feedback::read(&reserved).unwrap().arrivals().count(), 0);
    }
}
