//! Seeded chance, and what it does to a datagram. Knows nothing of what the bytes mean.

use std::net::SocketAddr;

/// splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `bound`, excluded; 0 for 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// An address that belongs to nobody.
    pub(crate) fn stranger(&mut self) -> SocketAddr {
        let (octet, port) = (self.byte(), self.next() as u16 | 1);
        SocketAddr::from(([172, 16, 0, octet], port))
    }
}

const TELLING: [u8; 10] = [0, 1, 0x0f, 0x10, 0x7f, 0x80, 0x90, 0xb0, 0xfe, 0xff];

/// Changes one to four things; `other` lends a piece.
pub(crate) fn mutate(chance: &mut Chance, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=chance.below(4) {
        mutate_once(chance, bytes, other);
    }
}

/// Changes bits and leaves every length as it is: what must be caught by authentication.
pub(crate) fn flip(chance: &mut Chance, bytes: &mut [u8]) {
    for _ in 0..=chance.below(3) {
        let at = chance.below(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << chance.below(8);
        }
    }
}

fn mutate_once(chance: &mut Chance, bytes: &mut Vec<u8>, other: &[u8]) {
    // Heads decide more than tails do.
    let reach = if chance.below(2) == 0 { bytes.len().min(40) } else { bytes.len() };
    let at = chance.below(reach);
    match chance.below(9) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        2 if at < bytes.len() => bytes[at] = TELLING[chance.below(TELLING.len())],
        3 if at < bytes.len() => bytes[at] = chance.byte(),
        4 => bytes.truncate(bytes.len() - chance.below(bytes.len().min(24) + 1)),
        5 if chance.below(4) == 0 => bytes.truncate(at),
        6 => {
            let count = 1 + chance.below(24);
            for _ in 0..count {
                bytes.push(chance.byte());
            }
        }
        7 => {
            let end = (at + 1 + chance.below(16)).min(bytes.len());
            drop(bytes.drain(at.min(end)..end));
        }
        8 if !other.is_empty() => {
            let start = chance.below(other.len());
            let end = (start + 1 + chance.below(32)).min(other.len());
            let to = at.min(bytes.len());
            bytes.splice(to..to, other[start..end].iter().copied());
        }
        _ => {
            // A length that lies: two bytes at once.
            if let Some(pair) = bytes.get_mut(at..at + 2) {
                let lie = [0, 1, 2, 0x40, 0x00ff, 0x7fff, 0xffff][chance.below(7)];
                pair.copy_from_slice(&u16::to_be_bytes(lie));
            }
        }
    }
}
