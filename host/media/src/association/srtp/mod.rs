//! SRTP and SRTCP of one peer, both directions: opens what was not seen before, seals nothing twice. Knows nothing
//! of where keys come from or where packets go.

mod cipher;
mod derive;
mod header;
mod window;

use cipher::{Cipher, OpenError};
use header::RtpHeader;
use std::sync::Arc;
use thiserror::Error;
use tidegate_types::transport::SrtpProfile;
use window::Window;

/// The most SSRCs whose rollover and replay window one peer's packets may claim, RTP and RTCP each. A new one is
/// kept only after its first packet was authenticated; past the bound new ones are refused.
pub(super) const OPEN_STREAMS: usize = 1_024;
/// The most SSRCs that one association may ever seal; past the bound new ones are refused.
pub(super) const SEAL_STREAMS: usize = 16_384;

/// Keying material that no profile has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("SRTP keying material has the wrong length for its profile")]
pub(super) struct KeyError;

/// Why a received packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    Malformed,
    Forged,
    Replayed,
    TooManyStreams,
}

impl From<OpenError> for Rejected {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Malformed => Self::Malformed,
            OpenError::Forged => Self::Forged,
        }
    }
}

/// One direction's master key and salt.
#[derive(Clone)]
pub(super) struct MasterKey {
    bytes: [u8; 46],
    key_length: usize,
    salt_length: usize,
}

impl MasterKey {
    /// From a key of at most 32 and a salt of at most 14 bytes.
    pub(super) fn new(key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        let mut bytes = [0; 46];
        bytes[..32].get_mut(..key.len()).ok_or(KeyError)?.copy_from_slice(key);
        bytes[32..].get_mut(..salt.len()).ok_or(KeyError)?.copy_from_slice(salt);
        Ok(Self { bytes, key_length: key.len(), salt_length: salt.len() })
    }

    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_length]
    }

    fn salt(&self) -> &[u8] {
        &self.bytes[32..32 + self.salt_length]
    }
}

/// Both directions' master keys.
pub(super) struct Keys {
    pub(super) profile: SrtpProfile,
    /// What this side seals with.
    pub(super) local: MasterKey,
    /// What the peer seals with.
    pub(super) remote: MasterKey,
}

impl Keys {
    /// Splits DTLS's exported material: client key, server key, client salt, server salt (RFC 5764, section 4.2).
    pub(super) fn split(profile: SrtpProfile, material: &[u8], is_client: bool) -> Result<Self, KeyError> {
        let (key, salt) = match profile {
            SrtpProfile::AeadAes256Gcm => (32, 12),
            SrtpProfile::AeadAes128Gcm => (16, 12),
            SrtpProfile::Aes128CmSha1_80 => (16, 14),
        };
        if material.len() != 2 * (key + salt) {
            return Err(KeyError);
        }
        let (keys, salts) = material.split_at(2 * key);
        let client = MasterKey::new(&keys[..key], &salts[..salt])?;
        let server = MasterKey::new(&keys[key..], &salts[salt..])?;
        let (local, remote) = if is_client { (client, server) } else { (server, client) };
        Ok(Self { profile, local, remote })
    }
}

/// What one SSRC has sealed. It moves with its stream and is not `Clone`: whoever held a copy could seal other
/// bytes under a nonce already used.
#[derive(Debug)]
pub struct SealStream {
    ssrc: u32,
    sealed: Window,
    /// The session that it seals for, from its first packet on.
    session: Option<Arc<()>>,
}

impl SealStream {
    /// A stream that has sealed nothing yet. An association takes one stream of an SSRC, ever.
    #[must_use]
    pub const fn new(ssrc: u32) -> Self {
        Self { ssrc, sealed: Window::new(), session: None }
    }

    /// Its SSRC.
    #[must_use]
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }
}

/// SRTP under one pair of keys.
#[derive(Debug)]
pub(super) struct Session {
    profile: SrtpProfile,
    open_rtp: Cipher,
    open_rtcp: Cipher,
    opened_rtp: Streams,
    opened_rtcp: Streams,
    seal_rtp: Cipher,
    seal_rtcp: Cipher,
    /// SSRCs that a [`SealStream`] was accepted for, sorted. Never shrinks: an SSRC must not start again.
    sealed_rtp: Vec<u32>,
    next_rtcp_index: u32,
    /// Tells its streams from those of another session.
    identity: Arc<()>,
}

impl Session {
    pub(super) fn new(keys: &Keys) -> Result<Self, KeyError> {
        Ok(Self {
            profile: keys.profile,
            open_rtp: Cipher::for_rtp(keys.profile, &keys.remote)?,
            open_rtcp: Cipher::for_rtcp(keys.profile, &keys.remote)?,
            opened_rtp: Streams::default(),
            opened_rtcp: Streams::default(),
            seal_rtp: Cipher::for_rtp(keys.profile, &keys.local)?,
            seal_rtcp: Cipher::for_rtcp(keys.profile, &keys.local)?,
            sealed_rtp: Vec::new(),
            next_rtcp_index: 0,
            identity: Arc::new(()),
        })
    }

    pub(super) const fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Opens one RTP packet in place; its plain length.
    pub(super) fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        let header = RtpHeader::read(packet).ok_or(Rejected::Malformed)?;
        let place = self.opened_rtp.place(header.ssrc)?;
        let window = self.opened_rtp.window(place);
        let index = window.index_of(header.sequence).ok_or(Rejected::Replayed)?;
        if !window.is_fresh(index) {
            return Err(Rejected::Replayed);
        }
        let length = self.open_rtp.open_rtp(header.ssrc, index, packet, header.length)?;
        self.opened_rtp.mark(place, header.ssrc, index);
        Ok(length)
    }

    /// Opens one compound RTCP packet in place; its plain length.
    pub(super) fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        let ssrc = header::rtcp_ssrc(packet).ok_or(Rejected::Malformed)?;
        let index = self.open_rtcp.rtcp_index(packet)?;
        let place = self.opened_rtcp.place(ssrc)?;
        if !self.opened_rtcp.window(place).is_fresh(u64::from(index)) {
            return Err(Rejected::Replayed);
        }
        let length = self.open_rtcp.open_rtcp(ssrc, index, packet)?;
        self.opened_rtcp.mark(place, ssrc, u64::from(index));
        Ok(length)
    }

    /// Seals one RTP packet in place; `None` if the stream is not this session's, the packet does not carry the
    /// stream's SSRC and the index's sequence, or the index was sealed before (or may have been).
    pub(super) fn seal_rtp(
        &mut self,
        stream: &mut SealStream,
        index: u64,
        packet: &mut [u8],
        length: usize,
    ) -> Option<usize> {
        let header = RtpHeader::read(packet.get(..length)?)?;
        let is_named = header.ssrc == stream.ssrc && u64::from(header.sequence) == index & 0xffff;
        if !is_named || index >> 48 != 0 || !stream.sealed.is_fresh(index) {
            return None;
        }
        // A receiver that never heard the stream assumes rollover 0.
        if stream.sealed.is_empty() && index >> 16 != 0 {
            return None;
        }
        self.adopt(stream)?;
        stream.sealed.mark(index);
        self.seal_rtp.seal_rtp(header.ssrc, index, packet, header.length, length)
    }

    /// Seals one RTP packet of any stream as that stream's only one.
    pub(super) fn seal_any_rtp(&mut self, packet: &mut [u8], length: usize) -> Option<usize> {
        let header = RtpHeader::read(packet.get(..length)?)?;
        self.seal_rtp(&mut SealStream::new(header.ssrc), u64::from(header.sequence), packet, length)
    }

    /// Takes a stream at its first packet, unless its SSRC was sealed before or it belongs to another session.
    fn adopt(&mut self, stream: &mut SealStream) -> Option<()> {
        if let Some(session) = &stream.session {
            return Arc::ptr_eq(session, &self.identity).then_some(());
        }
        let Err(place) = self.sealed_rtp.binary_search(&stream.ssrc) else { return None };
        if self.sealed_rtp.len() == SEAL_STREAMS {
            return None;
        }
        self.sealed_rtp.insert(place, stream.ssrc);
        stream.session = Some(Arc::clone(&self.identity));
        Some(())
    }

    /// Seals one compound RTCP packet in place under the next index; `None` without room or when the key has
    /// sealed 2³¹.
    pub(super) fn seal_rtcp(&mut self, packet: &mut [u8], length: usize) -> Option<usize> {
        let ssrc = header::rtcp_ssrc(packet.get(..length)?)?;
        let index = self.next_rtcp_index;
        if index >> 31 != 0 {
            return None;
        }
        self.next_rtcp_index += 1;
        self.seal_rtcp.seal_rtcp(ssrc, index, packet, length)
    }
}

/// Replay windows by SSRC, sorted, at most [`OPEN_STREAMS`].
#[derive(Debug, Default)]
struct Streams {
    ssrcs: Vec<u32>,
    windows: Vec<Window>,
}

/// Where an SSRC's window stands, or would.
type Place = Result<usize, usize>;

impl Streams {
    fn place(&self, ssrc: u32) -> Result<Place, Rejected> {
        let place = self.ssrcs.binary_search(&ssrc);
        if place.is_err() && self.ssrcs.len() == OPEN_STREAMS {
            return Err(Rejected::TooManyStreams);
        }
        Ok(place)
    }

    fn window(&self, place: Place) -> Window {
        place.map_or(Window::new(), |at| self.windows[at])
    }

    fn mark(&mut self, place: Place, ssrc: u32, index: u64) {
        let at = match place {
            Ok(at) => at,
            Err(at) => {
                self.ssrcs.insert(at, ssrc);
                self.windows.insert(at, Window::new());
                at
            }
        };
        self.windows[at].mark(index);
    }
}

#[cfg(test)]
pub(super) mod tests;
