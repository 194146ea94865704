//! Reads and writes the STUN messages of connectivity checks (RFC 8489, RFC 8445), zero-copy. Knows nothing of
//! tuples, nomination or consent.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::net::{IpAddr, SocketAddr};

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const INTEGRITY_BYTES: usize = 20;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Message types (RFC 8489, section 5), binding method only.
pub(super) mod kind {
    /// A check.
    pub(crate) const REQUEST: u16 = 0x0001;
    /// Its answer.
    pub(crate) const SUCCESS: u16 = 0x0101;
    /// Its refusal.
    pub(crate) const ERROR: u16 = 0x0111;
}

/// Attribute types that this host reads or writes.
pub(super) mod attribute {
    pub(crate) const USERNAME: u16 = 0x0006;
    pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(crate) const ERROR_CODE: u16 = 0x0009;
    pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(crate) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(crate) const PRIORITY: u16 = 0x0024;
    pub(crate) const USE_CANDIDATE: u16 = 0x0025;
    pub(crate) const FINGERPRINT: u16 = 0x8028;
    pub(crate) const ICE_CONTROLLED: u16 = 0x8029;
    #[cfg(test)]
    pub(crate) const ICE_CONTROLLING: u16 = 0x802a;
}

/// Why bytes are not a check that could be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// Not a STUN message, or one that breaks its own lengths or fingerprint.
    Malformed,
    /// A STUN message, but no binding request.
    NotRequest,
}

/// A binding request; nothing in it is trusted before [`Request::is_signed_with`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    bytes: &'a [u8],
    /// Echoed by the answer.
    pub(super) transaction: [u8; 12],
    /// `local:remote`, from the receiver's point of view.
    pub(super) username: &'a str,
    /// The peer nominates this pair.
    pub(super) use_candidate: bool,
    /// The peer believes that it is controlled, which is a lite agent's role.
    pub(super) controlled: bool,
    /// The first attribute that must be understood and is not.
    pub(super) unknown: Option<u16>,
    /// Where MESSAGE-INTEGRITY stands.
    integrity_at: Option<usize>,
}

impl<'a> Request<'a> {
    /// Reads one. A FINGERPRINT that is there must be right and last; little else may stand behind
    /// MESSAGE-INTEGRITY.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let (kind, transaction) = read_header(bytes)?;
        if kind != kind::REQUEST {
            return Err(ReadError::NotRequest);
        }
        let mut request = Self {
            bytes,
            transaction,
            username: "",
            use_candidate: false,
            controlled: false,
            unknown: None,
            integrity_at: None,
        };
        let mut at = HEADER;
        while at < bytes.len() {
            let (attribute, value) = read_attribute(bytes, at)?;
            request.take(attribute, value, at)?;
            at += 4 + value.len().next_multiple_of(4);
        }
        Ok(request)
    }

    fn take(&mut self, attribute: u16, value: &'a [u8], at: usize) -> Result<(), ReadError> {
        if attribute == attribute::FINGERPRINT {
            let right = at + 8 == self.bytes.len() && value == fingerprint(&self.bytes[..at]).to_be_bytes();
            return if right { Ok(()) } else { Err(ReadError::Malformed) };
        }
        if self.integrity_at.is_some() {
            // Nobody vouches for it. RFC 8489 would ignore it; no ICE agent sends it.
            let is_known = attribute == attribute::MESSAGE_INTEGRITY_SHA256;
            return if is_known { Ok(()) } else { Err(ReadError::Malformed) };
        }
        match attribute {
            attribute::USERNAME => {
                self.username = std::str::from_utf8(value).map_err(|_| ReadError::Malformed)?;
            }
            attribute::MESSAGE_INTEGRITY if value.len() == INTEGRITY_BYTES => self.integrity_at = Some(at),
            attribute::MESSAGE_INTEGRITY => return Err(ReadError::Malformed),
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLED => self.controlled = true,
            attribute::PRIORITY | attribute::MESSAGE_INTEGRITY_SHA256 => {}
            other if other < 0x8000 => self.unknown = self.unknown.or(Some(other)),
            _ => {}
        }
        Ok(())
    }

    /// Whether MESSAGE-INTEGRITY is there and made with this password. Compares in constant time.
    pub(super) fn is_signed_with(&self, password: &str) -> bool {
        let Some(at) = self.integrity_at else { return false };
        let tag = &self.bytes[at + 4..at + 4 + INTEGRITY_BYTES];
        integrity(self.bytes, at, password).is_some_and(|mac| mac.verify_slice(tag).is_ok())
    }

    /// How long it is: no answer may be longer.
    pub(super) const fn length(&self) -> usize {
        self.bytes.len()
    }
}

fn read_header(bytes: &[u8]) -> Result<(u16, [u8; 12]), ReadError> {
    let header: &[u8; HEADER] = bytes.first_chunk().ok_or(ReadError::Malformed)?;
    let [high, low, length_high, length_low, cookie @ .., _, _, _, _, _, _, _, _, _, _, _, _] = header;
    let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
    if *cookie != COOKIE || high & 0xc0 != 0 || length % 4 != 0 || HEADER + length != bytes.len() {
        return Err(ReadError::Malformed);
    }
    let transaction = *header.last_chunk().ok_or(ReadError::Malformed)?;
    Ok((u16::from_be_bytes([*high, *low]), transaction))
}

fn read_attribute(bytes: &[u8], at: usize) -> Result<(u16, &[u8]), ReadError> {
    let head: &[u8; 4] = bytes[at..].first_chunk().ok_or(ReadError::Malformed)?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let value = bytes.get(at + 4..at + 4 + length).ok_or(ReadError::Malformed)?;
    Ok((u16::from_be_bytes([head[0], head[1]]), value))
}

/// MESSAGE-INTEGRITY's HMAC over all before `at`, with the header's length counted to the attribute's end.
fn integrity(bytes: &[u8], at: usize, password: &str) -> Option<Hmac<Sha1>> {
    let length = u16::try_from(at + 4 + INTEGRITY_BYTES - HEADER).ok()?;
    let mut mac = Hmac::<Sha1>::new_from_slice(password.as_bytes()).ok()?;
    mac.update(&bytes[..2]);
    mac.update(&length.to_be_bytes());
    mac.update(&bytes[4..at]);
    Some(mac)
}

/// FINGERPRINT's value over all before it; the header's length already counts the attribute.
fn fingerprint(bytes: &[u8]) -> u32 {
    let remainder =
        bytes.iter().fold(u32::MAX, |crc, byte| CRC[usize::from(*byte ^ crc.to_le_bytes()[0])] ^ (crc >> 8));
    !remainder ^ FINGERPRINT_XOR
}

/// CRC-32 (ITU V.42) of every byte.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut remainder = index as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = if remainder & 1 == 1 { (remainder >> 1) ^ 0xedb8_8320 } else { remainder >> 1 };
            bit += 1;
        }
        table[index] = remainder;
        index += 1;
    }
    table
};

/// Writes one message into given space; every step gives `None` when the space is too small.
pub(super) struct Writer<'a> {
    space: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// Begins a message.
    pub(super) fn new(space: &'a mut [u8], kind: u16, transaction: [u8; 12]) -> Option<Self> {
        let header = space.get_mut(..HEADER)?;
        header[..2].copy_from_slice(&kind.to_be_bytes());
        header[4..8].copy_from_slice(&COOKIE);
        header[8..].copy_from_slice(&transaction);
        Some(Self { space, length: HEADER })
    }

    /// Appends an attribute, padded with zeros.
    pub(super) fn attribute(&mut self, attribute: u16, value: &[u8]) -> Option<&mut Self> {
        let end = self.length + 4 + value.len().next_multiple_of(4);
        let place = self.space.get_mut(self.length..end)?;
        place.fill(0);
        place[..2].copy_from_slice(&attribute.to_be_bytes());
        place[2..4].copy_from_slice(&u16::try_from(value.len()).ok()?.to_be_bytes());
        place[4..4 + value.len()].copy_from_slice(value);
        self.length = end;
        Some(self)
    }

    /// Appends XOR-MAPPED-ADDRESS (RFC 8489, section 14.2).
    pub(super) fn mapped_address(&mut self, address: SocketAddr) -> Option<&mut Self> {
        let mut mask = [0; 16];
        mask[..4].copy_from_slice(&COOKIE);
        mask[4..].copy_from_slice(&self.space[8..HEADER]);
        let port = address.port() ^ 0x2112;
        let mut value = [0; 20];
        value[2..4].copy_from_slice(&port.to_be_bytes());
        let (family, length) = match address.ip().to_canonical() {
            IpAddr::V4(ip) => (1, xor_into(&mut value[4..], &ip.octets(), &mask)),
            IpAddr::V6(ip) => (2, xor_into(&mut value[4..], &ip.octets(), &mask)),
        };
        value[1] = family;
        self.attribute(attribute::XOR_MAPPED_ADDRESS, &value[..4 + length])
    }

    /// Appends ERROR-CODE without a reason phrase.
    pub(super) fn error_code(&mut self, code: u16) -> Option<&mut Self> {
        let class = u8::try_from(code / 100).ok()?;
        let number = u8::try_from(code % 100).ok()?;
        self.attribute(attribute::ERROR_CODE, &[0, 0, class, number])
    }

    /// Appends MESSAGE-INTEGRITY and FINGERPRINT, and gives the message's length.
    pub(super) fn finish(&mut self, password: &str) -> Option<usize> {
        let tag = integrity(self.space, self.length, password)?.finalize().into_bytes();
        self.attribute(attribute::MESSAGE_INTEGRITY, &tag)?;
        self.fingerprint()
    }

    /// Appends FINGERPRINT and gives the message's length.
    pub(super) fn fingerprint(&mut self) -> Option<usize> {
        let length = u16::try_from(self.length + 8 - HEADER).ok()?;
        self.space[2..4].copy_from_slice(&length.to_be_bytes());
        let value = fingerprint(&self.space[..self.length]);
        self.attribute(attribute::FINGERPRINT, &value.to_be_bytes())?;
        Some(self.length)
    }
}

fn xor_into(value: &mut [u8], address: &[u8], mask: &[u8]) -> usize {
    for ((out, byte), mask) in value.iter_mut().zip(address).zip(mask) {
        *out = byte ^ mask;
    }
    address.len()
}

#[cfg(test)]
mod tests {
    use super::{ReadError, Request, Writer, attribute, kind};

    /// RFC 5769, section 2.1: a request with short-term credentials.
    const SAMPLE: &str = "000100582112a442b7e7a701bc34d686fa87dfae\
        802200105354554e207465737420636c69656e74\
        002400046e0001ff80290008932ff9b151263b36\
        00060009 6576746a3a6836765920202000080014\
        9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a28028000 4e57a3bcf";
    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    fn sample() -> Vec<u8> {
        let digits: String = SAMPLE.split_whitespace().collect();
        (0..digits.len() / 2)
            .map(|index| u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn the_rfc_sample_request_reads_and_verifies() {
        let bytes = sample();
        let request = Request::read(&bytes).unwrap();
        assert_eq!(request.username, "evtj:h6vY");
        assert!(request.controlled && !request.use_candidate);
        assert_eq!(request.unknown, None);
        assert!(request.is_signed_with(PASSWORD));
        assert!(!request.is_signed_with("VOkJxbRl1RmTxUk/WvJxBT"));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_gets_through() {
        let good = sample();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let accepted = Request::read(&bytes).is_ok_and(|request| request.is_signed_with(PASSWORD));
            assert!(!accepted, "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(Request::read(&good[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_response_is_not_a_request() {
        let mut space = [0; 100];
        let mut writer = Writer::new(&mut space, kind::SUCCESS, [7; 12]).unwrap();
        let length =
            writer.mapped_address("192.0.2.1:32853".parse().unwrap()).unwrap().finish("pass").unwrap();
        assert_eq!(Request::read(&space[..length]).unwrap_err(), ReadError::NotRequest);
    }

    #[test]
    fn mapped_addresses_match_the_rfc_samples() {
        // RFC 5769, sections 2.2 and 2.3.
        let transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        let mut space = [0; 100];
        let mut writer = Writer::new(&mut space, kind::SUCCESS, transaction).unwrap();
        writer.mapped_address("192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(space[20..32], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let mut writer = Writer::new(&mut space, kind::SUCCESS, transaction).unwrap();
        writer.mapped_address("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap()).unwrap();
        let expected = [
            0, 0x20, 0, 0x14, 0, 2, 0xa1, 0x47, 1, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25,
            0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        assert_eq!(space[20..44], expected);
    }

    #[test]
    fn an_attribute_that_must_be_understood_is_named() {
        let mut space = [0; 200];
        let mut writer = Writer::new(&mut space, kind::REQUEST, [1; 12]).unwrap();
        writer.attribute(attribute::USERNAME, b"a:b").unwrap().attribute(0x7001, &[]).unwrap();
        let length = writer.attribute(0xc057, &[0, 1, 2, 3]).unwrap().finish("pass").unwrap();
        assert_eq!(Request::read(&space[..length]).unwrap().unknown, Some(0x7001));
    }
}
