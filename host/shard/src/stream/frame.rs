//! Datagrams in a stream: two bytes of length before each (RFC 4571). Knows nothing of sockets.

use tidegate_media::io::Class;
use tidegate_types::packet::BUFFER_BYTES;

/// Bytes before each datagram.
const LENGTH_BYTES: usize = 2;
/// Room for what one read brings, and a cut frame from before.
const ROOM: usize = 16 * 1_024;
/// Pictures are dropped while more than this waits: at 2 Mbit/s a quarter of a second. Turning it up trades drops
/// for delay.
const PICTURES_BYTES: usize = 64 * 1_024;
/// Sound and control, too, while more than this waits.
const ALL_BYTES: usize = 128 * 1_024;

const _: () = assert!(ROOM >= 2 * (LENGTH_BYTES + BUFFER_BYTES) && PICTURES_BYTES < ALL_BYTES);

/// A frame that no peer of ours sends; where the next one begins is not worth trusting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// What arrived, cut into frames.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbound {
    /// Where to read into; never empty once [`Inbound::next`] has nothing more.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes.resize(ROOM, 0);
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.bytes[self.end..]
    }

    /// So many bytes were read.
    pub(super) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// The next whole datagram. Empty ones are passed over.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, TooLong> {
        loop {
            let Some((length, rest)) = self.bytes[self.start..self.end].split_first_chunk::<LENGTH_BYTES>()
            else {
                return Ok(None);
            };
            let length = usize::from(u16::from_be_bytes(*length));
            if length > BUFFER_BYTES {
                return Err(TooLong);
            }
            if rest.len() < length {
                return Ok(None);
            }
            let first = self.start + LENGTH_BYTES;
            self.start = first + length;
            if length > 0 {
                return Ok(Some(&self.bytes[first..first + length]));
            }
        }
    }
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    bytes: Vec<u8>,
    start: usize,
}

impl Outbound {
    /// Appends a datagram; `false` where it does not fit the bound.
    #[expect(clippy::cast_possible_truncation)]
    pub(super) fn push(&mut self, class: Class, datagram: &[u8]) -> bool {
        let most = if class == Class::Video { PICTURES_BYTES } else { ALL_BYTES };
        if datagram.len() > usize::from(u16::MAX) || self.waiting().len() + datagram.len() > most {
            return false;
        }
        self.bytes.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(datagram);
        true
    }

    /// What is to be written next.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// So many bytes were written.
    pub(super) fn written(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start >= ALL_BYTES {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// What a fuzzer calls: the first byte says how the others are cut into reads. Must not panic; the same frames come out
/// however the stream is cut, and what was written is read back.
pub fn fuzz_frames(bytes: &[u8]) {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let cut = usize::from(cut) + 1;
    let frames = read_in_parts(stream, cut);
    assert_eq!(frames, read_in_parts(stream, ROOM), "cut by {cut}");
    assert!(frames.iter().all(|frame| (1..=BUFFER_BYTES).contains(&frame.len())));
    let mut outbound = Outbound::default();
    let taken: Vec<Vec<u8>> = frames.into_iter().filter(|frame| outbound.push(Class::Video, frame)).collect();
    let mut written = Vec::new();
    while !outbound.waiting().is_empty() {
        let part = outbound.waiting().len().min(cut);
        written.extend_from_slice(&outbound.waiting()[..part]);
        outbound.written(part);
    }
    assert_eq!(read_in_parts(&written, cut), taken, "written and read by {cut}");
}

/// The frames of a stream up to where it ends, or is not worth trusting.
fn read_in_parts(mut stream: &[u8], cut: usize) -> Vec<Vec<u8>> {
    let (mut inbound, mut frames) = (Inbound::default(), Vec::new());
    while !stream.is_empty() {
        let space = inbound.space();
        assert!(!space.is_empty(), "a read that takes nothing looks like an end");
        let (part, rest) = stream.split_at(cut.min(space.len()).min(stream.len()));
        space[..part.len()].copy_from_slice(part);
        inbound.filled(part.len());
        stream = rest;
        loop {
            match inbound.next() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(TooLong) => return frames,
            }
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::{ALL_BYTES, BUFFER_BYTES, Class, Inbound, Outbound, PICTURES_BYTES, TooLong};

    fn fed(inbound: &mut Inbound, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        inbound.space()[..bytes.len()].copy_from_slice(bytes);
        inbound.filled(bytes.len());
        let mut frames = Vec::new();
        while let Some(frame) = inbound.next()? {
            frames.push(frame.to_vec());
        }
        Ok(frames)
    }

    #[test]
    fn what_goes_in_comes_out_however_the_stream_is_cut() {
        let datagrams: Vec<Vec<u8>> =
            [1, 300, BUFFER_BYTES, 2, 700].map(|length| vec![length as u8; length]).into();
        let mut outbound = Outbound::default();
        assert!(datagrams.iter().all(|datagram| outbound.push(Class::Video, datagram)));
        for cut in [1, 2, 3, 299, 1_000, 4_000] {
            let mut inbound = Inbound::default();
            let mut arrived = Vec::new();
            for part in outbound.waiting().chunks(cut) {
                arrived.extend(fed(&mut inbound, part).expect("frames"));
            }
            assert_eq!(arrived, datagrams, "cut by {cut}");
        }
    }

    #[test]
    fn an_empty_frame_is_passed_over_and_a_long_one_ends_the_stream() {
        assert_eq!(fed(&mut Inbound::default(), &[0, 0, 0, 0, 0, 1, 7]), Ok(vec![vec![7]]));
        assert_eq!(fed(&mut Inbound::default(), b"GET / HTTP/1.1\r\n"), Err(TooLong));
    }

    #[test]
    fn pictures_give_way_first_and_everything_at_the_bound() {
        let mut outbound = Outbound::default();
        let fill = |outbound: &mut Outbound, class| {
            (0..1_000).take_while(|_| outbound.push(class, &[0; 1_200])).count()
        };
        let pictures = fill(&mut outbound, Class::Video);
        assert_eq!(pictures, (PICTURES_BYTES - 1_200) / 1_202 + 1);
        assert!(fill(&mut outbound, Class::Audio) > 0 && !outbound.push(Class::Control, &[0; 1_200]));
        assert!(outbound.waiting().len() <= ALL_BYTES + 2);
        outbound.written(outbound.waiting().len());
        assert!(outbound.push(Class::Video, &[0; 1_200]));
    }
}
