//! RTCP without allocation: a reader over a decrypted compound packet and a writer into a datagram (RFC 3550,
//! section 6; RFC 4585; RFC 5104). Knows nothing of what the numbers are used for.

use tidegate_types::{Bitrate, NtpTime};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// SR: the sender's clocks; its report blocks.
    SenderReport {
        /// Whose.
        ssrc: u32,
        /// Wall clock.
        ntp: NtpTime,
        /// The same moment in RTP time.
        rtp: u32,
        /// Report blocks, 24 bytes each.
        blocks: Blocks<'a>,
    },
    /// RR: report blocks.
    ReceiverReport(Blocks<'a>),
    /// Generic NACK of one media source.
    Nack {
        /// Whose packets are missing.
        media: u32,
        /// Pairs of packet id and bit mask, 4 bytes each.
        pairs: &'a [u8],
    },
    /// Picture loss indication.
    Pli {
        /// Whose picture.
        media: u32,
    },
    /// Full intra requests, 8 bytes each.
    Fir(&'a [u8]),
    /// Transport-wide feedback, from the base sequence on.
    TransportFeedback(&'a [u8]),
    /// The receiver's estimate of what the way carries (draft-alvestrand-rmcat-remb-03).
    Remb(Bitrate),
    /// The first source that leaves.
    Bye(u32),
    /// Anything else.
    Other,
}

/// Report blocks of an SR or RR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

/// One report block (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// About whom.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the start (24 bits, signed; clamped).
    pub cumulative_lost: u32,
    /// Highest extended sequence.
    pub highest: u32,
    /// Interarrival jitter in clock units.
    pub jitter: u32,
    /// Middle of the last SR's NTP time.
    pub last_report: u32,
    /// Time since that SR in 1/65536 s.
    pub delay: u32,
}

impl Blocks<'_> {
    /// Each block.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> + '_ {
        self.0.chunks_exact(24).filter_map(|block| {
            Some(ReportBlock {
                ssrc: read_u32(block, 0)?,
                fraction_lost: block[4],
                cumulative_lost: read_u32(block, 4)? & 0x00ff_ffff,
                highest: read_u32(block, 8)?,
                jitter: read_u32(block, 12)?,
                last_report: read_u32(block, 16)?,
                delay: read_u32(block, 20)?,
            })
        })
    }
}

/// The sequences that a NACK's pairs name.
pub fn nacked(pairs: &[u8]) -> impl Iterator<Item = u16> + '_ {
    pairs.chunks_exact(4).flat_map(|pair| {
        let first = u16::from_be_bytes([pair[0], pair[1]]);
        let mask = u32::from(u16::from_be_bytes([pair[2], pair[3]])) << 1 | 1;
        (0..17).filter(move |bit| mask >> bit & 1 == 1).map(move |bit| first.wrapping_add(bit))
    })
}

/// The sources that FIR entries name.
pub fn fir_sources(entries: &[u8]) -> impl Iterator<Item = u32> + '_ {
    entries.chunks_exact(8).filter_map(|entry| read_u32(entry, 0))
}

/// Reads a compound packet, packet by packet; ends at the first malformed one.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Over one decrypted datagram.
    #[must_use]
    pub fn new(compound: &'a [u8]) -> Self {
        Self(compound)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let head = self.0.first_chunk::<4>()?;
        let length = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
        if head[0] >> 6 != 2 || length > self.0.len() {
            self.0 = &[];
            return None;
        }
        let (mut packet, rest) = self.0.split_at(length);
        self.0 = rest;
        if head[0] & 0x20 != 0 {
            let padding = usize::from(*packet.last()?);
            packet = packet.get(..packet.len().checked_sub(padding)?)?;
        }
        Some(read_one(head[0] & 0x1f, head[1], packet).unwrap_or(Packet::Other))
    }
}

fn read_one(count: u8, kind: u8, packet: &[u8]) -> Option<Packet<'_>> {
    let blocks = |start: usize| packet.get(start..start + usize::from(count) * 24).map(Blocks);
    Some(match (kind, count) {
        (SENDER_REPORT, _) => Packet::SenderReport {
            ssrc: read_u32(packet, 4)?,
            ntp: NtpTime(u64::from(read_u32(packet, 8)?) << 32 | u64::from(read_u32(packet, 12)?)),
            rtp: read_u32(packet, 16)?,
            blocks: blocks(28)?,
        },
        (RECEIVER_REPORT, _) => Packet::ReceiverReport(blocks(8)?),
        (TRANSPORT_FEEDBACK, 1) => Packet::Nack { media: read_u32(packet, 8)?, pairs: packet.get(12..)? },
        (TRANSPORT_FEEDBACK, 15) => Packet::TransportFeedback(packet.get(12..)?),
        (PAYLOAD_FEEDBACK, 1) => Packet::Pli { media: read_u32(packet, 8)? },
        (PAYLOAD_FEEDBACK, 15) => Packet::Remb(read_remb(packet.get(12..)?)?),
        (PAYLOAD_FEEDBACK, 4) => Packet::Fir(packet.get(12..)?),
        (BYE, 1..) => Packet::Bye(read_u32(packet, 4)?),
        _ => Packet::Other,
    })
}

/// The unique identifier, a count of sources, then six bits of exponent and eighteen of mantissa.
fn read_remb(information: &[u8]) -> Option<Bitrate> {
    let [_, high, middle, low] = information.strip_prefix(b"REMB")?.first_chunk::<4>()?;
    let mantissa = u64::from(high & 3) << 16 | u64::from(*middle) << 8 | u64::from(*low);
    Some(Bitrate::from_bps(mantissa.saturating_mul(1 << (high >> 2))))
}

/// Writes a compound packet into a datagram's space. What does not fit is left out: ask [`Writer::room`] first.
#[derive(Debug)]
pub struct Writer<'a> {
    space: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    /// Leaves room behind for the SRTCP index and tag.
    const RESERVE: usize = 32;

    /// An empty compound.
    pub fn new(space: &'a mut [u8]) -> Self {
        let usable = space.len().saturating_sub(Self::RESERVE).min(1_200);
        Self { space: &mut space[..usable], at: 0 }
    }

    /// Bytes written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at
    }

    /// Nothing written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Bytes left.
    #[must_use]
    pub fn room(&self) -> usize {
        self.space.len() - self.at
    }

    fn packet(&mut self, count: u8, kind: u8, body: usize) -> Option<&mut [u8]> {
        let end = self.at + 4 + body;
        let packet = self.space.get_mut(self.at..end)?;
        packet[0] = 0x80 | count;
        packet[1] = kind;
        packet[2..4].copy_from_slice(&((body / 4) as u16).to_be_bytes());
        self.at = end;
        Some(&mut packet[4..])
    }

    /// A sender report without blocks.
    pub fn sender_report(&mut self, ssrc: u32, ntp: NtpTime, rtp: u32, packets: u32, octets: u32) {
        if let Some(body) = self.packet(0, SENDER_REPORT, 24) {
            body[..4].copy_from_slice(&ssrc.to_be_bytes());
            body[4..12].copy_from_slice(&ntp.0.to_be_bytes());
            body[12..16].copy_from_slice(&rtp.to_be_bytes());
            body[16..20].copy_from_slice(&packets.to_be_bytes());
            body[20..24].copy_from_slice(&octets.to_be_bytes());
        }
    }

    /// A receiver report with at most 31 blocks.
    pub fn receiver_report(&mut self, sender: u32, blocks: &[ReportBlock]) {
        let blocks = &blocks[..blocks.len().min(31)];
        if let Some(body) = self.packet(blocks.len() as u8, RECEIVER_REPORT, 4 + blocks.len() * 24) {
            body[..4].copy_from_slice(&sender.to_be_bytes());
            for (space, block) in body[4..].chunks_exact_mut(24).zip(blocks) {
                space[..4].copy_from_slice(&block.ssrc.to_be_bytes());
                space[4..8].copy_from_slice(&(block.cumulative_lost & 0x00ff_ffff).to_be_bytes());
                space[4] = block.fraction_lost;
                space[8..12].copy_from_slice(&block.highest.to_be_bytes());
                space[12..16].copy_from_slice(&block.jitter.to_be_bytes());
                space[16..20].copy_from_slice(&block.last_report.to_be_bytes());
                space[20..24].copy_from_slice(&block.delay.to_be_bytes());
            }
        }
    }

    /// A source description with one canonical name (cut at 255 bytes).
    pub fn source_description(&mut self, ssrc: u32, cname: &str) {
        let name = &cname.as_bytes()[..cname.len().min(255)];
        let body_bytes = (4 + 2 + name.len() + 1).next_multiple_of(4);
        if let Some(body) = self.packet(1, SOURCE_DESCRIPTION, body_bytes) {
            body.fill(0);
            body[..4].copy_from_slice(&ssrc.to_be_bytes());
            body[4] = 1;
            body[5] = name.len() as u8;
            body[6..6 + name.len()].copy_from_slice(name);
        }
    }

    /// A picture loss indication.
    pub fn pli(&mut self, sender: u32, media: u32) {
        if let Some(body) = self.packet(1, PAYLOAD_FEEDBACK, 8) {
            body[..4].copy_from_slice(&sender.to_be_bytes());
            body[4..8].copy_from_slice(&media.to_be_bytes());
        }
    }

    /// A generic NACK of ascending sequences; returns how many of them it named.
    pub fn nack(&mut self, sender: u32, media: u32, sequences: &[u16]) -> usize {
        let most_pairs = self.room().saturating_sub(12) / 4;
        let mut pairs = 0;
        let mut named = 0;
        while named < sequences.len() && pairs < most_pairs {
            let first = sequences[named];
            named += 1;
            let mut mask = 0_u16;
            while let Some(distance) = sequences.get(named).map(|next| next.wrapping_sub(first)) {
                if !(1..=16).contains(&distance) {
                    break;
                }
                mask |= 1 << (distance - 1);
                named += 1;
            }
            let at = self.at + 12 + pairs * 4;
            self.space[at..at + 2].copy_from_slice(&first.to_be_bytes());
            self.space[at + 2..at + 4].copy_from_slice(&mask.to_be_bytes());
            pairs += 1;
        }
        if pairs > 0
            && let Some(body) = self.packet(1, TRANSPORT_FEEDBACK, 8 + pairs * 4)
        {
            body[..4].copy_from_slice(&sender.to_be_bytes());
            body[4..8].copy_from_slice(&media.to_be_bytes());
        }
        named
    }

    /// Transport-wide feedback whose control information was prepared by its reader's counterpart; `information`
    /// is padded here.
    pub fn transport_feedback(&mut self, sender: u32, media: u32, information: &[u8]) {
        let body_bytes = (8 + information.len()).next_multiple_of(4);
        if let Some(body) = self.packet(15, TRANSPORT_FEEDBACK, body_bytes) {
            body.fill(0);
            body[..4].copy_from_slice(&sender.to_be_bytes());
            body[4..8].copy_from_slice(&media.to_be_bytes());
            body[8..8 + information.len()].copy_from_slice(information);
        }
    }

    /// The most that these sources may send together (draft-alvestrand-rmcat-remb-03); at most 255 sources.
    pub fn ceiling(&mut self, sender: u32, most: Bitrate, sources: &[u32]) {
        let sources = &sources[..sources.len().min(255)];
        let Some(body) = self.packet(15, PAYLOAD_FEEDBACK, 16 + sources.len() * 4) else { return };
        let bits = most.bits_per_second();
        let exponent = (64 - bits.leading_zeros()).saturating_sub(18);
        let mantissa = (bits >> exponent) as u32;
        body[..4].copy_from_slice(&sender.to_be_bytes());
        body[4..8].fill(0);
        body[8..12].copy_from_slice(b"REMB");
        body[12..16]
            .copy_from_slice(&((sources.len() as u32) << 24 | exponent << 18 | mantissa).to_be_bytes());
        for (space, source) in body[16..].chunks_exact_mut(4).zip(sources) {
            space.copy_from_slice(&source.to_be_bytes());
        }
    }

    /// A farewell of one source.
    pub fn bye(&mut self, ssrc: u32) {
        if let Some(body) = self.packet(1, BYE, 4) {
            body.copy_from_slice(&ssrc.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut space = [0xee; 1_500];
        let mut writer = Writer::new(&mut space);
        writer.sender_report(1, NtpTime(0x0102_0304_0506_0708), 99, 7, 8);
        writer.source_description(1, "someone");
        let block = ReportBlock {
            ssrc: 5,
            fraction_lost: 9,
            cumulative_lost: 3,
            highest: 77,
            jitter: 4,
            last_report: 2,
            delay: 1,
        };
        writer.receiver_report(6, &[block]);
        assert_eq!(writer.nack(6, 5, &[10, 11, 26, 27, 65_535]), 5);
        writer.pli(6, 5);
        writer.transport_feedback(6, 5, &[1, 2, 3, 4, 5]);
        writer.bye(1);
        let length = writer.len();
        let packets: Vec<_> = Reader::new(&space[..length]).collect();
        assert_eq!(packets.len(), 7);
        assert!(matches!(
            packets[0],
            Packet::SenderReport { ssrc: 1, ntp: NtpTime(0x0102_0304_0506_0708), rtp: 99, .. }
        ));
        assert_eq!(packets[1], Packet::Other);
        let Packet::ReceiverReport(blocks) = packets[2] else { panic!("{:?}", packets[2]) };
        assert_eq!(blocks.iter().collect::<Vec<_>>(), [block]);
        let Packet::Nack { media: 5, pairs } = packets[3] else { panic!("{:?}", packets[3]) };
        assert_eq!(nacked(pairs).collect::<Vec<_>>(), [10, 11, 26, 27, 65_535]);
        assert_eq!(packets[4], Packet::Pli { media: 5 });
        assert_eq!(packets[5], Packet::TransportFeedback(&[1, 2, 3, 4, 5, 0, 0, 0]));
        assert_eq!(packets[6], Packet::Bye(1));
    }

    #[test]
    fn a_receivers_estimate_is_read() {
        let mut packet =
            [0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0x0b, 0xd0, 0x90];
        let padded = [&packet[..], &[0, 0, 0, 9]].concat();
        assert_eq!(Reader::new(&padded).next(), Some(Packet::Remb(Bitrate::from_bps(0x3_d090 * 4))));
        packet[17] = 0xff;
        packet[3] = 4;
        assert_eq!(Reader::new(&packet).next(), Some(Packet::Remb(Bitrate::from_bps(u64::MAX))));
        packet[13] = b'X';
        assert_eq!(Reader::new(&packet).next(), Some(Packet::Other));
    }

    #[test]
    fn a_ceiling_is_written_with_exponent_and_mantissa() {
        let mut space = [0; 200];
        let mut writer = Writer::new(&mut space);
        writer.ceiling(1, Bitrate::from_bps(2_500_000), &[0x0102_0304, 5]);
        assert_eq!(writer.len(), 28);
        let told = u32::from_be_bytes([space[16], space[17], space[18], space[19]]);
        assert_eq!((&space[..4], &space[12..16]), (&[0x8f, 206, 0, 6][..], &b"REMB"[..]));
        assert_eq!(told >> 24, 2);
        let bits = u64::from(told & 0x3_ffff) << (told >> 18 & 0x3f);
        assert!((2_499_900..=2_500_000).contains(&bits), "{bits}");
        assert_eq!(space[20..28], [1, 2, 3, 4, 0, 0, 0, 5]);
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        assert_eq!(Reader::new(&[0x81, 205, 0, 9, 0, 0, 0, 0]).count(), 0);
        assert_eq!(Reader::new(&[0x9f, 201, 0, 1, 0, 0, 0, 0]).next(), Some(Packet::Other));
        assert_eq!(Reader::new(&[0xa0, 201, 0, 1, 0, 0, 0, 200]).next(), None);
    }
}
