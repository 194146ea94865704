//! The RTP header: a zero-copy view of a received one and a writer for an outgoing one (RFC 3550, section 5.1;
//! extensions by RFC 8285, one-byte and two-byte form). Knows nothing of codecs or of who sent it.

use std::ops::Range;
use tidegate_types::packet::{Extensions, Span};
use tidegate_types::rtp::ExtensionKind;

/// Bytes of a header without CSRCs and extensions.
pub const FIXED_BYTES: usize = 12;

/// What a received header says. Ranges are offsets into the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Marker bit.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Where the payload starts.
    pub payload_start: usize,
    /// Where it ends, padding excluded.
    pub payload_end: usize,
    extension_start: usize,
    extension_end: usize,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    None,
    OneByte,
    TwoByte,
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

impl Header {
    /// Reads a decrypted RTP packet's header; `None` if it is malformed.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        if packet.len() < FIXED_BYTES || first >> 6 != 2 {
            return None;
        }
        let mut at = FIXED_BYTES + usize::from(first & 0x0f) * 4;
        let (mut form, mut extension_start, mut extension_end) = (Form::None, at, at);
        if first & 0x10 != 0 {
            let profile = read_u16(packet, at)?;
            let length = usize::from(read_u16(packet, at + 2)?) * 4;
            extension_start = at + 4;
            extension_end = extension_start + length;
            at = extension_end;
            form = match profile {
                0xbede => Form::OneByte,
                profile if profile & 0xfff0 == 0x1000 => Form::TwoByte,
                _ => Form::None,
            };
        }
        let mut payload_end = packet.len();
        if at > payload_end {
            return None;
        }
        if first & 0x20 != 0 {
            let padding = usize::from(*packet.last()?);
            payload_end = payload_end.checked_sub(padding).filter(|end| *end >= at && padding > 0)?;
        }
        Some(Self {
            marker: packet[1] & 0x80 != 0,
            payload_type: packet[1] & 0x7f,
            sequence: read_u16(packet, 2)?,
            timestamp: read_u32(packet, 4)?,
            ssrc: read_u32(packet, 8)?,
            payload_start: at,
            payload_end,
            extension_start,
            extension_end,
            form,
        })
    }

    /// Calls `each` with every extension element's id and bytes; stops at the first malformed one.
    pub fn each_extension<'a>(&self, packet: &'a [u8], mut each: impl FnMut(u8, &'a [u8])) {
        self.each_element(packet, |id, range| each(id, &packet[range]));
    }

    /// Calls `each` with every extension element's id and where its bytes stand.
    fn each_element(&self, packet: &[u8], mut each: impl FnMut(u8, Range<usize>)) {
        let Some(block) = packet.get(..self.extension_end) else { return };
        let mut at = self.extension_start;
        while let Some(&first) = block.get(at) {
            if first == 0 {
                at += 1;
                continue;
            }
            let (id, length, start) = match self.form {
                Form::None => return,
                Form::OneByte if first >> 4 == 15 => return,
                Form::OneByte => (first >> 4, usize::from(first & 0x0f) + 1, at + 1),
                Form::TwoByte => match block.get(at + 1) {
                    Some(&length) => (first, usize::from(length), at + 2),
                    None => return,
                },
            };
            at = start + length;
            if at > block.len() {
                return;
            }
            each(id, start..at);
        }
    }
}

/// Which wire id means what, on one transport. BUNDLE makes ids mean the same in all its sections.
#[derive(Clone, Debug)]
pub struct ExtensionMap([Option<ExtensionKind>; 256]);

impl Default for ExtensionMap {
    fn default() -> Self {
        Self([None; 256])
    }
}

impl ExtensionMap {
    /// Adds one agreed id; 0 is padding and ignored.
    pub fn insert(&mut self, id: u8, kind: ExtensionKind) {
        if id > 0 {
            self.0[usize::from(id)] = Some(kind);
        }
    }

    /// What an id means.
    #[must_use]
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        self.0[usize::from(id)]
    }
}

/// Extensions that matter to the hop that received the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopExtensions<'a> {
    /// m-line tag.
    pub mid: Option<&'a [u8]>,
    /// Simulcast stream.
    pub stream_id: Option<&'a [u8]>,
    /// Simulcast stream that a retransmission repairs.
    pub repaired_stream_id: Option<&'a [u8]>,
    /// Transport-wide sequence.
    pub transport_sequence: Option<u16>,
}

fn span(start: usize, length: usize) -> Option<Span> {
    Some(Span { start: u16::try_from(start).ok()?, length: u16::try_from(length).ok()? })
}

/// Reads all extensions once, hop-local and end-to-end apart.
#[must_use]
pub fn read_extensions<'a>(
    header: &Header,
    packet: &'a [u8],
    map: &ExtensionMap,
) -> (HopExtensions<'a>, Extensions) {
    let mut hop = HopExtensions::default();
    let mut end = Extensions::default();
    header.each_element(packet, |id, range| {
        let (start, value) = (range.start, &packet[range]);
        match map.kind(id) {
            Some(ExtensionKind::Mid) => hop.mid = Some(value),
            Some(ExtensionKind::StreamId) => hop.stream_id = Some(value),
            Some(ExtensionKind::RepairedStreamId) => hop.repaired_stream_id = Some(value),
            Some(ExtensionKind::TransportSequence) => hop.transport_sequence = read_u16(value, 0),
            Some(ExtensionKind::AudioLevel) => {
                end.audio_level = value.first().map(|byte| (byte & 0x7f, byte & 0x80 != 0));
            }
            Some(ExtensionKind::Orientation) => end.orientation = value.first().copied(),
            Some(ExtensionKind::AbsoluteCapture) => {
                end.absolute_capture = value.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
            }
            Some(ExtensionKind::PlayoutDelay) => {
                end.playout_delay = value
                    .first_chunk::<3>()
                    .map(|bytes| u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]));
            }
            Some(ExtensionKind::DependencyDescriptor) => {
                end.dependency_descriptor = span(start, value.len());
            }
            Some(ExtensionKind::AbsoluteSendTime) | None => {}
        }
    });
    (hop, end)
}

/// The fields of an outgoing header.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// Marker bit.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

/// Wire ids that a consumer's peer agreed to, and the mid that it is told.
#[derive(Clone, Debug, Default)]
pub struct OutgoingExtensions {
    /// Id of mid, and the tag.
    pub mid: Option<(u8, Mid)>,
    /// Id of the transport-wide sequence.
    pub transport_sequence: Option<u8>,
    /// Id of the absolute send time.
    pub absolute_send_time: Option<u8>,
    /// Id of the audio level.
    pub audio_level: Option<u8>,
    /// Id of the orientation.
    pub orientation: Option<u8>,
    /// Id of the absolute capture time.
    pub absolute_capture: Option<u8>,
    /// Id of the playout delay.
    pub playout_delay: Option<u8>,
    /// Id of the dependency descriptor.
    pub dependency_descriptor: Option<u8>,
}

/// An m-line tag of at most 16 bytes (what a one-byte element holds), kept inline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mid {
    bytes: [u8; 16],
    length: u8,
}

impl Mid {
    /// Keeps a tag; `None` if it is empty or longer than 16 bytes.
    #[must_use]
    #[expect(clippy::cast_possible_truncation)]
    pub fn new(tag: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        bytes.get_mut(..tag.len())?.copy_from_slice(tag.as_bytes());
        (!tag.is_empty()).then_some(Self { bytes, length: tag.len() as u8 })
    }

    /// The tag.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The hop's own values in an outgoing packet.
#[derive(Clone, Copy, Debug)]
pub struct HopValues {
    /// Transport-wide sequence.
    pub transport_sequence: u16,
    /// 24 bits of 6.18 fixed-point seconds.
    pub absolute_send_time: u32,
}

/// Extension elements as they are written.
struct Elements<'a> {
    space: &'a mut [u8],
    at: usize,
    form: Form,
}

impl Elements<'_> {
    /// `None` where it doesn't fit the form or the space.
    fn put(&mut self, id: u8, value: &[u8]) -> Option<()> {
        let two = self.form == Form::TwoByte;
        if !two && (id > 14 || value.is_empty() || value.len() > 16) {
            return None;
        }
        let start = self.at + if two { 2 } else { 1 };
        let length = u8::try_from(value.len()).ok()?;
        self.space.get_mut(start..start + value.len())?.copy_from_slice(value);
        if two {
            self.space[self.at..start].copy_from_slice(&[id, length]);
        } else {
            self.space[self.at] = id << 4 | (length - 1);
        }
        self.at = start + value.len();
        Some(())
    }

    /// All that the peer agreed to and that is known; `None` where one doesn't fit.
    fn put_all(
        &mut self,
        ids: &OutgoingExtensions,
        hop: &HopValues,
        end_to_end: &Extensions,
        descriptor: &[u8],
    ) -> Option<()> {
        if let Some((id, mid)) = &ids.mid {
            self.put(*id, mid.bytes())?;
        }
        if let Some(id) = ids.transport_sequence {
            self.put(id, &hop.transport_sequence.to_be_bytes())?;
        }
        if let Some(id) = ids.absolute_send_time {
            self.put(id, &hop.absolute_send_time.to_be_bytes()[1..])?;
        }
        if let (Some(id), Some((level, voice))) = (ids.audio_level, end_to_end.audio_level) {
            self.put(id, &[(level & 0x7f) | if voice { 0x80 } else { 0 }])?;
        }
        if let (Some(id), Some(orientation)) = (ids.orientation, end_to_end.orientation) {
            self.put(id, &[orientation])?;
        }
        if let (Some(id), Some(capture)) = (ids.absolute_capture, end_to_end.absolute_capture) {
            self.put(id, &capture.to_be_bytes())?;
        }
        if let (Some(id), Some(delay)) = (ids.playout_delay, end_to_end.playout_delay) {
            self.put(id, &delay.to_be_bytes()[1..])?;
        }
        if let (Some(id), false) = (ids.dependency_descriptor, descriptor.is_empty()) {
            self.put(id, descriptor)?;
        }
        // What fills up to a word has to fit, too.
        let end = self.at.next_multiple_of(4);
        self.space.get_mut(self.at..end)?.fill(0);
        self.at = end;
        Some(())
    }
}

/// Writes a header without a dependency descriptor; see [`write_full_header`].
pub fn write_header(
    space: &mut [u8],
    outgoing: &Outgoing,
    ids: &OutgoingExtensions,
    hop: &HopValues,
    end_to_end: &Extensions,
) -> usize {
    write_full_header(space, outgoing, ids, hop, end_to_end, &[])
}

/// Writes a header with extensions in the one-byte form, or in the two-byte form where an id or a value needs it;
/// returns its length. `space` must hold at least 100 bytes; extensions that don't fit are all left out.
pub fn write_full_header(
    space: &mut [u8],
    outgoing: &Outgoing,
    ids: &OutgoingExtensions,
    hop: &HopValues,
    end_to_end: &Extensions,
    descriptor: &[u8],
) -> usize {
    space[0] = 0x80;
    space[1] = outgoing.payload_type | if outgoing.marker { 0x80 } else { 0 };
    space[2..4].copy_from_slice(&outgoing.sequence.to_be_bytes());
    space[4..8].copy_from_slice(&outgoing.timestamp.to_be_bytes());
    space[8..12].copy_from_slice(&outgoing.ssrc.to_be_bytes());
    let start = FIXED_BYTES + 4;
    for (form, profile) in [(Form::OneByte, [0xbe, 0xde]), (Form::TwoByte, [0x10, 0x00])] {
        let mut elements = Elements { space: &mut space[start..], at: 0, form };
        if elements.put_all(ids, hop, end_to_end, descriptor).is_none() {
            continue;
        }
        let used = elements.at;
        if used == 0 {
            break;
        }
        space[0] |= 0x10;
        space[FIXED_BYTES..FIXED_BYTES + 2].copy_from_slice(&profile);
        space[FIXED_BYTES + 2..start].copy_from_slice(&((used / 4) as u16).to_be_bytes());
        return start + used;
    }
    FIXED_BYTES
}

/// Extends 16-bit sequence numbers over wraps (RFC 3550, appendix A.1): the value nearest to the highest so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extender {
    highest: Option<u64>,
}

impl Extender {
    /// The extended value of one received number. Starts at 2^16 above zero so that early ones stay positive.
    pub fn extend(&mut self, sequence: u16) -> u64 {
        let extended = self.peek(sequence);
        self.highest = Some(self.highest.map_or(extended, |highest| highest.max(extended)));
        extended
    }

    /// What [`Extender::extend`] would say, without noting it.
    #[must_use]
    pub fn peek(&self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else { return 0x1_0000 + u64::from(sequence) };
        let step = sequence.wrapping_sub(highest as u16) as i16;
        highest.saturating_add_signed(i64::from(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_header_reads_back() {
        let ids = OutgoingExtensions {
            mid: Some((4, Mid::new("12").unwrap())),
            transport_sequence: Some(3),
            audio_level: Some(1),
            ..OutgoingExtensions::default()
        };
        let outgoing =
            Outgoing { marker: true, payload_type: 111, sequence: 7, timestamp: 9, ssrc: 0xdead_beef };
        let end = Extensions { audio_level: Some((33, true)), ..Extensions::default() };
        let hop = HopValues { transport_sequence: 0x1234, absolute_send_time: 0 };
        let mut space = [0xff; 200];
        let length = write_header(&mut space, &outgoing, &ids, &hop, &end);
        let packet = &space[..length + 5];
        let header = Header::parse(packet).unwrap();
        assert_eq!(
            (header.marker, header.payload_type, header.sequence, header.timestamp, header.ssrc),
            (true, 111, 7, 9, 0xdead_beef)
        );
        assert_eq!((header.payload_start, header.payload_end), (length, length + 5));
        let mut map = ExtensionMap::default();
        map.insert(4, ExtensionKind::Mid);
        map.insert(3, ExtensionKind::TransportSequence);
        map.insert(1, ExtensionKind::AudioLevel);
        let (hop, read) = read_extensions(&header, packet, &map);
        assert_eq!(hop.mid, Some(&b"12"[..]));
        assert_eq!(hop.transport_sequence, Some(0x1234));
        assert_eq!(read, end);
    }

    #[test]
    fn what_the_one_byte_form_cannot_hold_is_written_in_two() {
        let outgoing = Outgoing { marker: false, payload_type: 96, sequence: 1, timestamp: 2, ssrc: 3 };
        let hop = HopValues { transport_sequence: 0x1234, absolute_send_time: 0 };
        let descriptor = [0xc3; 40];
        let mut map = ExtensionMap::default();
        map.insert(200, ExtensionKind::TransportSequence);
        map.insert(5, ExtensionKind::DependencyDescriptor);
        for (id, length, profile) in
            [(Some(200), 3, 0x1000), (None, 3, 0xbede), (None, 17, 0x1000), (None, 16, 0xbede)]
        {
            let ids = OutgoingExtensions {
                transport_sequence: id,
                dependency_descriptor: Some(5),
                ..OutgoingExtensions::default()
            };
            let mut space = [0xff; 200];
            let end = Extensions::default();
            let written = write_full_header(&mut space, &outgoing, &ids, &hop, &end, &descriptor[..length]);
            let packet = &space[..written];
            assert_eq!(read_u16(packet, 12), Some(profile));
            let header = Header::parse(packet).unwrap();
            let (hop, end) = read_extensions(&header, packet, &map);
            assert_eq!(hop.transport_sequence, id.map(|_| 0x1234));
            let span = end.dependency_descriptor.unwrap();
            let start = usize::from(span.start);
            assert_eq!(packet[start..start + usize::from(span.length)], descriptor[..length]);
        }
    }

    #[test]
    fn two_byte_extensions_and_padding_are_read_and_lies_refused() {
        let mut packet =
            vec![0xb0, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0x10, 0x00, 0, 1, 9, 2, 0xab, 0xcd, 7, 8, 0, 2];
        let header = Header::parse(&packet).unwrap();
        assert_eq!((header.payload_start, header.payload_end), (20, 22));
        let mut seen = Vec::new();
        header.each_extension(&packet, |id, value| seen.push((id, value.to_vec())));
        assert_eq!(seen, [(9, vec![0xab, 0xcd])]);
        *packet.last_mut().unwrap() = 200;
        assert_eq!(Header::parse(&packet), None);
        packet[15] = 200;
        assert_eq!(Header::parse(&packet), None);
    }

    #[test]
    fn sequences_extend_over_wraps_in_both_directions() {
        let mut extender = Extender::default();
        let start = extender.extend(65_534);
        assert_eq!(extender.extend(1), start + 3);
        assert_eq!(extender.extend(65_535), start + 1);
        assert_eq!(extender.extend(2), start + 4);
    }
}
