//! Seals and opens one packet in place under one direction's session key: AES-GCM (RFC 7714) or AES-CM with
//! HMAC-SHA1 (RFC 3711). Knows nothing of streams, replay or rollover: the caller brings the index.

use super::derive::{Label, derive};
use super::header::RTCP_HEADER;
use super::{KeyError, MasterKey};
use aes::Aes128;
use aes::cipher::{InnerIvInit, KeyInit as _, StreamCipher};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ctr::{Ctr128BE, CtrCore};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use std::fmt;
use tidegate_types::transport::SrtpProfile;

const GCM_TAG: usize = 16;
const MAC_TAG: usize = 10;
/// SRTCP's word behind the packet: the E bit and a 31-bit index.
const INDEX_WORD: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

/// Why a packet did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    /// Too short to be one.
    Malformed,
    /// The tag is wrong, or the packet says that it was not encrypted.
    Forged,
}

/// One session key: RTP's or RTCP's, of one direction.
pub(super) enum Cipher {
    Gcm(Gcm),
    CounterMode(Box<CounterMode>),
}

impl fmt::Debug for Cipher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gcm(_) => "Gcm(secret)",
            Self::CounterMode(_) => "CounterMode(secret)",
        })
    }
}

impl Cipher {
    pub(super) fn for_rtp(profile: SrtpProfile, master: &MasterKey) -> Result<Self, KeyError> {
        Self::derived(profile, master, [Label::RtpKey, Label::RtpAuthentication, Label::RtpSalt])
    }

    pub(super) fn for_rtcp(profile: SrtpProfile, master: &MasterKey) -> Result<Self, KeyError> {
        Self::derived(profile, master, [Label::RtcpKey, Label::RtcpAuthentication, Label::RtcpSalt])
    }

    fn derived(
        profile: SrtpProfile,
        master: &MasterKey,
        [key_label, authentication_label, salt_label]: [Label; 3],
    ) -> Result<Self, KeyError> {
        let (master_key, master_salt) = (master.key(), master.salt());
        let mut key = [0; 32];
        let key = &mut key[..master_key.len()];
        derive(master_key, master_salt, key_label, key)?;
        let mut salt = [0; 14];
        derive(master_key, master_salt, salt_label, &mut salt[..master_salt.len()])?;
        if profile != SrtpProfile::Aes128CmSha1_80 {
            return Gcm::new(profile, key, salt).map(Self::Gcm);
        }
        let mut authentication = [0; 20];
        derive(master_key, master_salt, authentication_label, &mut authentication)?;
        Ok(Self::CounterMode(Box::new(CounterMode::new(key, &authentication, salt)?)))
    }

    /// Seals `packet[..length]`, whose header ends at `header`; the sealed length, or `None` without room.
    pub(super) fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header: usize,
        length: usize,
    ) -> Option<usize> {
        match self {
            Self::Gcm(gcm) => gcm.seal_rtp(ssrc, index, packet, header, length),
            Self::CounterMode(mode) => mode.seal_rtp(ssrc, index, packet, header, length),
        }
    }

    /// Opens one whose header ends at `header`; the plain length.
    pub(super) fn open_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header: usize,
    ) -> Result<usize, OpenError> {
        match self {
            Self::Gcm(gcm) => gcm.open_rtp(ssrc, index, packet, header),
            Self::CounterMode(mode) => mode.open_rtp(ssrc, index, packet, header),
        }
    }

    /// Seals `packet[..length]`; the sealed length, or `None` without room.
    pub(super) fn seal_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8], length: usize) -> Option<usize> {
        if length < RTCP_HEADER {
            return None;
        }
        match self {
            Self::Gcm(gcm) => gcm.seal_rtcp(ssrc, index, packet, length),
            Self::CounterMode(mode) => mode.seal_rtcp(ssrc, index, packet, length),
        }
    }

    /// The index that a sealed RTCP packet carries. Not authenticated yet.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Result<u32, OpenError> {
        let behind = match self {
            Self::Gcm(_) => 0,
            Self::CounterMode(_) => MAC_TAG,
        };
        let end = packet.len().checked_sub(behind).ok_or(OpenError::Malformed)?;
        let word = packet[..end].last_chunk().ok_or(OpenError::Malformed)?;
        Ok(u32::from_be_bytes(*word) & !ENCRYPTED)
    }

    /// Opens one; the plain length.
    pub(super) fn open_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8]) -> Result<usize, OpenError> {
        match self {
            Self::Gcm(gcm) => gcm.open_rtcp(ssrc, index, packet),
            Self::CounterMode(mode) => mode.open_rtcp(ssrc, index, packet),
        }
    }
}

/// AES-GCM under either key size.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    fn new(profile: SrtpProfile, key: &[u8], salt: [u8; 14]) -> Result<Self, KeyError> {
        let algorithm = match profile {
            SrtpProfile::AeadAes256Gcm => &AES_256_GCM,
            _ => &AES_128_GCM,
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).map_err(|_| KeyError)?);
        let mut short = [0; 12];
        short.copy_from_slice(&salt[..12]);
        Ok(Self { key, salt: short })
    }

    /// RFC 7714, sections 8.1 and 9.1: two zeros, the SSRC and the 48-bit index, xor the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header: usize,
        length: usize,
    ) -> Option<usize> {
        let sealed = packet.get_mut(..length + GCM_TAG)?;
        let (plain, tag_place) = sealed.split_at_mut(length);
        let (header, payload) = plain.split_at_mut_checked(header)?;
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(ssrc, index), Aad::from(&*header), payload)
            .ok()?;
        tag_place.copy_from_slice(tag.as_ref());
        Some(length + GCM_TAG)
    }

    fn open_rtp(&self, ssrc: u32, index: u64, packet: &mut [u8], header: usize) -> Result<usize, OpenError> {
        let length = packet.len().checked_sub(GCM_TAG).ok_or(OpenError::Malformed)?;
        let (head, sealed) = packet.split_at_mut_checked(header).ok_or(OpenError::Malformed)?;
        self.key
            .open_in_place(self.nonce(ssrc, index), Aad::from(&*head), sealed)
            .map_err(|_| OpenError::Forged)?;
        Ok(length)
    }

    fn seal_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8], length: usize) -> Option<usize> {
        let total = length + GCM_TAG + INDEX_WORD;
        let word = (ENCRYPTED | index).to_be_bytes();
        let (plain, behind) = packet.get_mut(..total)?.split_at_mut(length);
        let (header, payload) = plain.split_at_mut_checked(RTCP_HEADER)?;
        let nonce = self.nonce(ssrc, u64::from(index));
        let tag =
            self.key.seal_in_place_separate_tag(nonce, Aad::from(associated(header, word)), payload).ok()?;
        behind[..GCM_TAG].copy_from_slice(tag.as_ref());
        behind[GCM_TAG..].copy_from_slice(&word);
        Some(total)
    }

    fn open_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8]) -> Result<usize, OpenError> {
        let length = packet
            .len()
            .checked_sub(GCM_TAG + INDEX_WORD)
            .filter(|length| *length >= RTCP_HEADER)
            .ok_or(OpenError::Malformed)?;
        let (packet, word) = packet.split_at_mut(length + GCM_TAG);
        let word = [word[0], word[1], word[2], word[3]];
        if word[0] & 0x80 == 0 {
            return Err(OpenError::Forged);
        }
        let (header, sealed) = packet.split_at_mut(RTCP_HEADER);
        let nonce = self.nonce(ssrc, u64::from(index));
        self.key
            .open_in_place(nonce, Aad::from(associated(header, word)), sealed)
            .map_err(|_| OpenError::Forged)?;
        Ok(length)
    }
}

/// RFC 7714, section 9.2: the first header and the index word are authenticated.
fn associated(header: &[u8], word: [u8; INDEX_WORD]) -> [u8; RTCP_HEADER + INDEX_WORD] {
    let mut associated = [0; RTCP_HEADER + INDEX_WORD];
    associated[..RTCP_HEADER].copy_from_slice(&header[..RTCP_HEADER]);
    associated[RTCP_HEADER..].copy_from_slice(&word);
    associated
}

/// AES-128 in counter mode, authenticated by HMAC-SHA1 cut to 80 bits.
pub(super) struct CounterMode {
    cipher: Aes128,
    mac: Hmac<Sha1>,
    salt: [u8; 14],
}

impl CounterMode {
    fn new(key: &[u8], authentication: &[u8], salt: [u8; 14]) -> Result<Self, KeyError> {
        Ok(Self {
            cipher: Aes128::new_from_slice(key).map_err(|_| KeyError)?,
            mac: Hmac::new_from_slice(authentication).map_err(|_| KeyError)?,
            salt,
        })
    }

    /// RFC 3711, section 4.1.1.
    fn crypt(&self, ssrc: u32, index: u64, payload: &mut [u8]) {
        let mut counter = [0; 16];
        counter[..14].copy_from_slice(&self.salt);
        xor(&mut counter[4..8], &ssrc.to_be_bytes());
        xor(&mut counter[8..14], &index.to_be_bytes()[2..]);
        let core = CtrCore::inner_iv_init(self.cipher.clone(), &counter.into());
        Ctr128BE::from_core(core).apply_keystream(payload);
    }

    fn rtp_mac(&self, packet: &[u8], index: u64) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        mac.update(packet);
        mac.update(&index.to_be_bytes()[2..6]);
        mac
    }

    fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header: usize,
        length: usize,
    ) -> Option<usize> {
        let (plain, tag_place) = packet.get_mut(..length + MAC_TAG)?.split_at_mut(length);
        self.crypt(ssrc, index, plain.get_mut(header..)?);
        let tag = self.rtp_mac(plain, index).finalize().into_bytes();
        tag_place.copy_from_slice(&tag[..MAC_TAG]);
        Some(length + MAC_TAG)
    }

    fn open_rtp(&self, ssrc: u32, index: u64, packet: &mut [u8], header: usize) -> Result<usize, OpenError> {
        let length = packet
            .len()
            .checked_sub(MAC_TAG)
            .filter(|length| *length >= header)
            .ok_or(OpenError::Malformed)?;
        let (sealed, tag) = packet.split_at_mut(length);
        self.rtp_mac(sealed, index).verify_truncated_left(tag).map_err(|_| OpenError::Forged)?;
        self.crypt(ssrc, index, &mut sealed[header..]);
        Ok(length)
    }

    fn seal_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8], length: usize) -> Option<usize> {
        let signed = length + INDEX_WORD;
        let (packet, tag_place) = packet.get_mut(..signed + MAC_TAG)?.split_at_mut(signed);
        self.crypt(ssrc, u64::from(index), packet.get_mut(RTCP_HEADER..length)?);
        packet[length..].copy_from_slice(&(ENCRYPTED | index).to_be_bytes());
        let mut mac = self.mac.clone();
        mac.update(packet);
        tag_place.copy_from_slice(&mac.finalize().into_bytes()[..MAC_TAG]);
        Some(signed + MAC_TAG)
    }

    fn open_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8]) -> Result<usize, OpenError> {
        let length = packet
            .len()
            .checked_sub(INDEX_WORD + MAC_TAG)
            .filter(|length| *length >= RTCP_HEADER)
            .ok_or(OpenError::Malformed)?;
        let (signed, tag) = packet.split_at_mut(length + INDEX_WORD);
        let mut mac = self.mac.clone();
        mac.update(signed);
        mac.verify_truncated_left(tag).map_err(|_| OpenError::Forged)?;
        if signed[length] & 0x80 == 0 {
            return Err(OpenError::Forged);
        }
        self.crypt(ssrc, u64::from(index), &mut signed[RTCP_HEADER..length]);
        Ok(length)
    }
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    for (byte, with) in bytes.iter_mut().zip(with) {
        *byte ^= with;
    }
}
