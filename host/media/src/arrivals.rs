//! Transport-wide congestion control, receiving side: notes when each transport-wide sequence arrived and tells
//! it back to the sender (draft-holmer-rmcat-transport-wide-cc-extensions-01). Knows nothing of streams.

use std::time::{Duration, Instant};

/// How many sequences are remembered, and one feedback covers at most; more arrivals go into the next one.
const WINDOW: usize = 512;
/// Feedback is due this long after the first untold arrival. Shorter reacts faster and costs more RTCP.
pub const INTERVAL: Duration = Duration::from_millis(50);
/// Unit of arrival deltas.
const DELTA_US: u64 = 250;
/// Unit of the reference time, in delta units.
const REFERENCE_DELTAS: u64 = 256;

/// When each of the newest sequences arrived, and which of that is told. A sender's pacer lets some packets be overtaken
/// by others of higher sequence: one that comes after its place was told is told late, with what follows it once more.
#[derive(Debug)]
pub struct Arrivals {
    origin: Instant,
    /// First sequence of the next feedback, extended.
    base: Option<u64>,
    highest: u64,
    /// Arrival in units of 250 µs since `origin` plus one; 0 is "not arrived". Indexed by sequence modulo.
    times: Box<[u64; WINDOW]>,
    due: Option<Instant>,
    count: u8,
}

impl Arrivals {
    /// Nothing arrived. `origin` is where reference times count from.
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        Self { origin, base: None, highest: 0, times: Box::new([0; WINDOW]), due: None, count: 0 }
    }

    /// Notes one arrival.
    pub fn note(&mut self, sequence: u16, at: Instant) {
        let extended = match self.base {
            None => u64::from(sequence) + 0x1_0000,
            Some(_) => {
                let step = sequence.wrapping_sub(self.highest as u16) as i16;
                self.highest.saturating_add_signed(i64::from(step))
            }
        };
        let base = *self.base.get_or_insert(extended);
        if extended >= base + WINDOW as u64 || self.highest == 0 {
            // The first, or the sender jumped, or feedback could not be sent: begin anew rather than tell stale news.
            self.times.fill(0);
            self.base = Some(extended);
            self.highest = extended;
        }
        if extended + WINDOW as u64 <= self.highest {
            return;
        }
        for fresh in self.highest + 1..=extended {
            self.times[fresh as usize % WINDOW] = 0;
        }
        self.highest = self.highest.max(extended);
        let units = (at.saturating_duration_since(self.origin).as_micros() as u64) / DELTA_US;
        let slot = &mut self.times[extended as usize % WINDOW];
        if *slot != 0 {
            return;
        }
        *slot = units + 1;
        if extended < base {
            self.base = Some(extended);
        }
        self.due.get_or_insert(at + INTERVAL);
    }

    /// When the next feedback is due.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes the feedback control information (from the base sequence on); what it tells is told. Returns its length; `None` if nothing is due. `space` must hold at least 64 bytes; what doesn't fit, or lies more than
    /// 8 s apart, comes next time.
    pub fn feedback(&mut self, now: Instant, space: &mut [u8]) -> Option<usize> {
        self.due = None;
        let mut base = self.base?;
        while base <= self.highest && self.times[base as usize % WINDOW] == 0 {
            base += 1;
        }
        if base > self.highest {
            self.base = Some(base);
            return None;
        }
        let reference = (self.times[base as usize % WINDOW] - 1) / REFERENCE_DELTAS;
        let mut previous = reference * REFERENCE_DELTAS;
        let mut deltas = [0_u8; WINDOW * 2];
        let mut delta_bytes = 0;
        let mut chunks = 0;
        let mut told = 0_u64;
        let mut apart = false;
        // Chunks of seven two-bit symbols: dear for long quiet runs, but bounded and simple.
        while base + told <= self.highest && !apart {
            let mut chunk = 0xc000_u16;
            let mut sizes = 0;
            let mut next = previous;
            let mut in_chunk = 0;
            while in_chunk < 7 && base + told + in_chunk <= self.highest {
                let time = self.times[(base + told + in_chunk) as usize % WINDOW];
                if time != 0 {
                    let delta = (time - 1) as i64 - next as i64;
                    let Ok(small) = i16::try_from(delta) else {
                        // Told by the next feedback, under its own reference time; this chunk is the last.
                        apart = true;
                        break;
                    };
                    let wide = !(0..=255).contains(&small);
                    chunk |= if wide { 2 } else { 1 } << (12 - 2 * in_chunk);
                    let at = delta_bytes + sizes;
                    if wide {
                        deltas[at..at + 2].copy_from_slice(&small.to_be_bytes());
                    } else {
                        deltas[at] = small as u8;
                    }
                    sizes += if wide { 2 } else { 1 };
                    next = time - 1;
                }
                in_chunk += 1;
            }
            if in_chunk == 0 || 8 + (chunks + 1) * 2 + delta_bytes + sizes > space.len() {
                break;
            }
            space[8 + chunks * 2..10 + chunks * 2].copy_from_slice(&chunk.to_be_bytes());
            chunks += 1;
            delta_bytes += sizes;
            previous = next;
            told += in_chunk;
        }
        debug_assert!(told > 0, "the reference time is the first arrival's, and a chunk fits any space");
        space[..2].copy_from_slice(&(base as u16).to_be_bytes());
        space[2..4].copy_from_slice(&(told as u16).to_be_bytes());
        space[4..8].copy_from_slice(&((reference as u32) << 8 | u32::from(self.count)).to_be_bytes());
        self.count = self.count.wrapping_add(1);
        let start = 8 + chunks * 2;
        space[start..start + delta_bytes].copy_from_slice(&deltas[..delta_bytes]);
        self.base = Some(base + told);
        if base + told <= self.highest {
            self.due = Some(now);
        }
        Some(start + delta_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Duration, Instant};

    /// Reads status and arrival (in 250 µs units) of each sequence, as a sender would.
    fn read(information: &[u8]) -> Vec<(u16, Option<i64>)> {
        let word = |at: usize| u16::from_be_bytes([information[at], information[at + 1]]);
        let (base, count) = (word(0), usize::from(word(2)));
        let mut time = (i64::from(u32::from_be_bytes(information[4..8].try_into().unwrap())) >> 8) * 256;
        let chunks = count.div_ceil(7);
        let mut at = 8 + chunks * 2;
        (0..count)
            .map(|index| {
                let symbol = word(8 + index / 7 * 2) >> (12 - 2 * (index % 7)) & 3;
                let arrival = match symbol {
                    0 => None,
                    1 => {
                        time += i64::from(information[at]);
                        at += 1;
                        Some(time)
                    }
                    _ => {
                        time += i64::from(i16::from_be_bytes([information[at], information[at + 1]]));
                        at += 2;
                        Some(time)
                    }
                };
                (base.wrapping_add(index as u16), arrival)
            })
            .collect()
    }

    #[test]
    fn losses_reordering_and_wraps_are_told_as_they_were() {
        let origin = Instant::now();
        let mut arrivals = Arrivals::new(origin);
        let at = |ms: u64| origin + Duration::from_millis(ms);
        for (sequence, ms) in [(65_534_u16, 100), (65_535, 101), (2, 400), (1, 401)] {
            arrivals.note(sequence, at(ms));
        }
        assert_eq!(arrivals.due(), Some(at(150)));
        let mut space = [0; 600];
        let length = arrivals.feedback(at(450), &mut space).unwrap();
        assert_eq!(
            read(&space[..length]),
            [(65_534, Some(400)), (65_535, Some(404)), (0, None), (1, Some(1_604)), (2, Some(1_600))]
        );
        assert_eq!(arrivals.due(), None);
        assert_eq!(arrivals.feedback(at(460), &mut space), None);
    }

    #[test]
    fn arrivals_too_far_apart_for_one_feedback_are_told_by_two_and_leave_nothing_behind() {
        let origin = Instant::now();
        let mut arrivals = Arrivals::new(origin);
        let at = |ms: u64| origin + Duration::from_millis(ms);
        arrivals.note(7, at(100));
        arrivals.note(8, at(20_100));
        arrivals.note(9, at(20_101));
        let mut space = [0; 100];
        let length = arrivals.feedback(at(20_200), &mut space).unwrap();
        assert_eq!(read(&space[..length]), [(7, Some(400))]);
        assert_eq!(arrivals.due(), Some(at(20_200)));
        let length = arrivals.feedback(at(20_200), &mut space).unwrap();
        assert_eq!(read(&space[..length]), [(8, Some(80_400)), (9, Some(80_404))]);
        // The same places of the ring, a window later: nothing told before may stand there.
        arrivals.note(518, at(20_300));
        arrivals.note(521, at(20_304));
        let length = arrivals.feedback(at(20_400), &mut space).unwrap();
        let told = read(&space[..length]);
        assert_eq!(told.iter().filter(|(_, arrival)| arrival.is_some()).count(), 2, "{told:?}");
    }

    #[test]
    fn one_that_was_overtaken_is_told_late_with_what_is_known_of_the_others() {
        let origin = Instant::now();
        let mut arrivals = Arrivals::new(origin);
        let at = |ms: u64| origin + Duration::from_millis(ms);
        let mut space = [0; 600];
        let mut told = |arrivals: &mut Arrivals, ms| {
            arrivals.feedback(at(ms), &mut space).map(|length| read(&space[..length]))
        };
        [(7, 100), (9, 101)].into_iter().for_each(|(sequence, ms)| arrivals.note(sequence, at(ms)));
        assert_eq!(told(&mut arrivals, 150), Some(vec![(7, Some(400)), (8, None), (9, Some(404))]));
        [(8, 200), (10, 201)].into_iter().for_each(|(sequence, ms)| arrivals.note(sequence, at(ms)));
        let expected = vec![(8, Some(800)), (9, Some(404)), (10, Some(804))];
        assert_eq!(told(&mut arrivals, 250), Some(expected));
        arrivals.note(8, at(300));
        assert_eq!(told(&mut arrivals, 350), None, "it comes twice");
        // A window later its place belongs to another.
        arrivals.note(521, at(400));
        arrivals.note(8, at(401));
        assert_eq!(told(&mut arrivals, 450), Some(vec![(521, Some(1_600))]));
    }

    #[test]
    fn what_does_not_fit_comes_in_the_next_feedback() {
        let origin = Instant::now();
        let mut arrivals = Arrivals::new(origin);
        for sequence in 0..400_u16 {
            arrivals.note(sequence, origin + Duration::from_micros(u64::from(sequence) * 300));
        }
        let mut told = Vec::new();
        let mut space = [0; 100];
        while let Some(length) = arrivals.feedback(origin + Duration::from_secs(1), &mut space) {
            told.extend(read(&space[..length]));
        }
        assert_eq!(told.len(), 400);
        assert!(told.iter().all(|(_, arrival)| arrival.is_some()));
    }
}
