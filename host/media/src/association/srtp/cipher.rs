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

#[cfg(test)]
mod tests {
    use super::super::tests::hex;
    use super::{Cipher, CounterMode, Gcm, OpenError};
    use tidegate_types::transport::SrtpProfile;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    /// "Quid pro quo", RFC 7714's session salt.
    const SALT: &str = "517569642070726f2071756f 0000";
    const RTP: &str = "8040f17b8041f8d35501a0b2
        47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
    const RTCP: &str = "81c8000d4d617273 4e5450314e545032525450200000042a0000e9304c756e61
        deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
    const RTCP_INDEX: u32 = 0x5d4;

    fn gcm(profile: SrtpProfile) -> Cipher {
        let length = if profile == SrtpProfile::AeadAes256Gcm { 32 } else { 16 };
        let salt = hex(SALT).try_into().unwrap();
        Cipher::Gcm(Gcm::new(profile, &hex(KEY)[..length], salt).unwrap())
    }

    fn with_room(plain: &str) -> (Vec<u8>, usize) {
        let mut packet = hex(plain);
        let length = packet.len();
        packet.resize(length + 20, 0);
        (packet, length)
    }

    #[test]
    fn gcm_rtp_matches_rfc_7714_section_16() {
        let cases = [
            (
                SrtpProfile::AeadAes128Gcm,
                "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd5
                 0d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                SrtpProfile::AeadAes256Gcm,
                "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab1801238
                 9a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ];
        for (profile, expected) in cases {
            let cipher = gcm(profile);
            let (mut packet, length) = with_room(RTP);
            let sealed = cipher.seal_rtp(0x5501_a0b2, 0xf17b, &mut packet, 12, length).unwrap();
            assert_eq!(packet[..sealed], hex(expected), "{profile:?}");
            let opened = cipher.open_rtp(0x5501_a0b2, 0xf17b, &mut packet[..sealed], 12).unwrap();
            assert_eq!(packet[..opened], hex(RTP), "{profile:?}");
        }
    }

    #[test]
    fn gcm_rtcp_matches_rfc_7714_section_17() {
        let cases = [
            (
                SrtpProfile::AeadAes128Gcm,
                "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d
                 c676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf872
                 45d9eade800005d4",
            ),
            (
                SrtpProfile::AeadAes256Gcm,
                "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50
                 a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6c
                 b26ac3be800005d4",
            ),
        ];
        for (profile, expected) in cases {
            let cipher = gcm(profile);
            let (mut packet, length) = with_room(RTCP);
            let sealed = cipher.seal_rtcp(0x4d61_7273, RTCP_INDEX, &mut packet, length).unwrap();
            assert_eq!(packet[..sealed], hex(expected), "{profile:?}");
            assert_eq!(cipher.rtcp_index(&packet[..sealed]), Ok(RTCP_INDEX));
            let opened = cipher.open_rtcp(0x4d61_7273, RTCP_INDEX, &mut packet[..sealed]).unwrap();
            assert_eq!(packet[..opened], hex(RTCP), "{profile:?}");
        }
    }

    #[test]
    fn rtcp_that_is_signed_but_not_encrypted_is_refused() {
        // RFC 7714, section 17.3: a right tag, and the E bit clear.
        let mut packet = hex(RTCP);
        packet.extend(hex("841dd9683dd78ec92ae58790125f62b3 000005d4"));
        let cipher = gcm(SrtpProfile::AeadAes128Gcm);
        assert_eq!(cipher.open_rtcp(0x4d61_7273, RTCP_INDEX, &mut packet), Err(OpenError::Forged));

        let mode = CounterMode::new(&[1; 16], &[2; 20], [3; 14]).unwrap();
        let mut packet = hex(RTCP);
        packet.extend(RTCP_INDEX.to_be_bytes());
        let mut mac = mode.mac.clone();
        super::Mac::update(&mut mac, &packet);
        packet.extend(&super::Mac::finalize(mac).into_bytes()[..10]);
        let cipher = Cipher::CounterMode(Box::new(mode));
        assert_eq!(cipher.open_rtcp(0x4d61_7273, RTCP_INDEX, &mut packet), Err(OpenError::Forged));
    }

    #[test]
    fn the_key_stream_matches_rfc_3711_appendix_b_2() {
        let key = hex("2B7E151628AED2A6ABF7158809CF4F3C");
        let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        let mut stream = [0; 48];
        CounterMode::new(&key, &[0; 20], salt).unwrap().crypt(0, 0, &mut stream);
        let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
            41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(stream[..], hex(expected));
    }
}
