//! Counts what rtc-sctp holds of a peer's messages. Its own bound counts bytes of payload alone: a piece of one byte,
//! or of none, holds a whole packet in memory and costs that bound next to nothing. Also refuses what would keep it
//! busy. Looks at chunk headers only; knows nothing of messages.

use std::collections::BTreeSet;
use tidegate_types::data::{DataRefusal, PIECES};

/// Bytes before the first chunk (RFC 9260, section 3).
const HEADER_BYTES: usize = 12;
const DATA: u8 = 0;
const SACK: u8 = 3;
const FORWARD_TSN: u8 = 192;
/// Bytes of a DATA chunk before its payload (section 3.3.1).
const DATA_BYTES: usize = 16;
/// How far a FORWARD-TSN may lead (RFC 3758): rtc-sctp walks all the way, number by number.
const FORWARD: u32 = 65_536;

/// The pieces of one peer.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Up to here nothing is missing, as the peer was told.
    acknowledged: Option<u32>,
    /// What came beyond that, as steps from it.
    beyond: BTreeSet<u32>,
    /// Came, and was not read yet. A little more where pieces were given up; set right whenever nothing is held.
    held: usize,
}

impl Pieces {
    /// Looks at one packet of the peer, before it is taken; an error ends the association.
    pub(super) fn came(&mut self, packet: &[u8]) -> Result<(), DataRefusal> {
        for chunk in chunks(packet) {
            match chunk.first() {
                Some(&DATA) => self.take(chunk)?,
                Some(&FORWARD_TSN) => {
                    let leads = word(chunk, 4).zip(self.acknowledged);
                    let step = leads.map_or(0, |(to, from)| to.wrapping_sub(from));
                    // Beyond half of the numbers it points back, which changes nothing.
                    if (FORWARD..1 << 31).contains(&step) {
                        return Err(DataRefusal::Malformed);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), DataRefusal> {
        let Some(number) = word(chunk, 4).filter(|_| chunk.len() > DATA_BYTES) else {
            // DATA without data ends an association (RFC 9260, section 6.2).
            return Err(DataRefusal::Malformed);
        };
        let from = *self.acknowledged.get_or_insert(number.wrapping_sub(1));
        let step = number.wrapping_sub(from);
        if step != 0 && step < 1 << 31 && self.beyond.insert(step) {
            self.held += 1;
        }
        let most = self.held.max(self.beyond.len());
        if most > PIECES { Err(DataRefusal::TooFragmented) } else { Ok(()) }
    }

    /// A message of so many pieces was read.
    pub(super) fn read(&mut self, pieces: usize) {
        self.held = self.held.saturating_sub(pieces);
    }

    /// Looks at one packet to the peer: it says what is complete, and how much of `window` is free.
    pub(super) fn goes(&mut self, packet: &[u8], window: u32) {
        for chunk in chunks(packet).filter(|chunk| chunk.first() == Some(&SACK)) {
            let (Some(acknowledged), Some(free)) = (word(chunk, 4), word(chunk, 8)) else { continue };
            let step = self.acknowledged.map_or(0, |before| acknowledged.wrapping_sub(before));
            if self.acknowledged.is_none() || (step != 0 && step < 1 << 31) {
                self.acknowledged = Some(acknowledged);
                let rest = self.beyond.split_off(&step.saturating_add(1));
                self.beyond = rest.into_iter().map(|beyond| beyond - step).collect();
            }
            if free >= window {
                self.held = 0;
            }
        }
    }
}

/// The chunks of a packet, up to the first that is cut.
fn chunks(packet: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packet.get(HEADER_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        let chunk = rest.get(..length).filter(|chunk| chunk.len() >= 4)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(chunk)
    })
}

fn word(chunk: &[u8], at: usize) -> Option<u32> {
    chunk.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// What a fuzzer calls: any packets, from either side, in a row.
pub(super) fn fuzz(bytes: &[u8]) {
    let mut pieces = Pieces::default();
    for packet in bytes.chunks(40) {
        if pieces.came(packet).is_err() {
            return;
        }
        pieces.goes(packet, 1_000);
        assert!(pieces.held <= PIECES && pieces.beyond.len() <= PIECES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; HEADER_BYTES], chunks.concat()].concat()
    }

    fn data(number: u32, payload: usize) -> Vec<u8> {
        let length = (DATA_BYTES + payload) as u16;
        let mut chunk = vec![DATA, 0];
        chunk.extend(length.to_be_bytes());
        chunk.extend(number.to_be_bytes());
        chunk.resize(usize::from(length).next_multiple_of(4), 0);
        chunk
    }

    fn control(kind: u8, number: u32, free: u32) -> Vec<u8> {
        [vec![kind, 0, 0, 16], number.to_be_bytes().into(), free.to_be_bytes().into(), vec![0; 4]].concat()
    }

    #[test]
    fn so_many_are_held_and_not_one_more() {
        let mut pieces = Pieces::default();
        let first = u32::MAX - 5;
        for step in 0..PIECES as u32 {
            let number = first.wrapping_add(step);
            // Each comes twice, two in a packet.
            assert_eq!(pieces.came(&packet(&[data(number, 1), data(number, 1)])), Ok(()), "{step}");
            pieces.goes(&packet(&[control(SACK, number, 500)]), 1_000);
        }
        let next = first.wrapping_add(PIECES as u32);
        assert_eq!(pieces.came(&packet(&[data(next, 1)])), Err(DataRefusal::TooFragmented));
        pieces.read(2);
        assert_eq!(pieces.came(&packet(&[data(next.wrapping_add(1), 1)])), Ok(()));
        pieces.goes(&packet(&[control(SACK, next.wrapping_add(1), 1_000)]), 1_000);
        assert_eq!((pieces.held, pieces.beyond.len()), (0, 0));
    }

    #[test]
    fn what_lies_behind_a_gap_is_bounded_though_it_was_read() {
        let mut pieces = Pieces::default();
        pieces.came(&packet(&[data(1, 1)])).expect("the first");
        pieces.goes(&packet(&[control(SACK, 1, 1_000)]), 1_000);
        let refused = (3..10_000).find(|number| {
            let came = pieces.came(&packet(&[data(*number, 1)]));
            pieces.read(1);
            came.is_err()
        });
        assert_eq!(refused, Some(3 + PIECES as u32));
    }

    #[test]
    fn data_without_data_and_leaps_are_refused() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.came(&packet(&[data(7, 0)])), Err(DataRefusal::Malformed));
        pieces.came(&packet(&[data(7, 9)])).expect("fits");
        assert_eq!(pieces.came(&packet(&[control(FORWARD_TSN, 1_000, 0)])), Ok(()));
        assert_eq!(pieces.came(&packet(&[control(FORWARD_TSN, 1, 0)])), Ok(()), "it points back");
        assert_eq!(pieces.came(&packet(&[control(FORWARD_TSN, 1 << 30, 0)])), Err(DataRefusal::Malformed));
    }
}
