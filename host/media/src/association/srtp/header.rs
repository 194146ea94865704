//! The little of RTP's and RTCP's headers that SRTP needs: who, which, and where the payload begins. Knows nothing
//! of keys.

/// What SRTP needs of an RTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RtpHeader {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    /// Header bytes, with contributing sources and extension: authenticated, not encrypted.
    pub(super) length: usize,
}

/// RTCP's first header and sender: authenticated, not encrypted.
pub(super) const RTCP_HEADER: usize = 8;

impl RtpHeader {
    /// Reads one (RFC 3550, section 5.1); `None` if the bytes are no RTP or end within the header.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let fixed: &[u8; 12] = bytes.first_chunk()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut length = 12 + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let words = u16::from_be_bytes(*bytes.get(length + 2..)?.first_chunk()?);
            length += 4 + 4 * usize::from(words);
        }
        (length <= bytes.len()).then_some(Self {
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            length,
        })
    }
}

/// The sender's SSRC of a compound RTCP packet; `None` if the bytes are no RTCP.
pub(super) fn rtcp_ssrc(bytes: &[u8]) -> Option<u32> {
    let header: &[u8; RTCP_HEADER] = bytes.first_chunk()?;
    (header[0] >> 6 == 2).then_some(u32::from_be_bytes([header[4], header[5], header[6], header[7]]))
}

#[cfg(test)]
mod tests {
    use super::RtpHeader;

    #[test]
    fn sources_and_extension_belong_to_the_header() {
        let mut packet = vec![0x92, 96, 1, 2, 0, 0, 0, 0, 0, 0, 0, 9];
        packet.extend([0; 8]);
        packet.extend([0xbe, 0xde, 0, 1, 0x10, 5, 0, 0]);
        packet.extend([1, 2, 3]);
        let header = RtpHeader::read(&packet).unwrap();
        assert_eq!(header, RtpHeader { ssrc: 9, sequence: 0x102, length: 28 });
        for length in 0..28 {
            assert_eq!(RtpHeader::read(&packet[..length]), None, "{length} bytes");
        }
    }
}
