//! One peer's association: ICE-lite, DTLS and SRTP joined, sans-IO. Datagrams and time in; datagrams, plaintext
//! and events out. Knows nothing of RTP beyond its header, nor of producers, consumers and rooms.
//!
//! ```text
//! datagram ─ classify ─┬─ STUN ─ ice (who may speak from where) ─────────────── answer
//!                      ├─ DTLS ─ dtls (who the peer is; makes the keys) ─────── records
//!                      └─ SRTP ─ srtp (opens in place; refuses what came twice) ─ Rtp / Rtcp
//! ```

use crate::io::{Datagrams, Tuple};
use std::sync::Arc;
use std::time::Instant;
use thiserror::Error;
use tidegate_types::Now;
use tidegate_types::transport::{
    Fingerprint, IceCredentials, RemoteTransport, SrtpProfile, TransportEnd, TransportState,
};

/// The node's DTLS certificate and key. Shared by all its associations.
#[derive(Debug)]
pub struct Identity {
    fingerprint: Fingerprint,
}

/// No certificate could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the system could not generate a key and certificate for DTLS")]
pub struct IdentityError;

impl Identity {
    /// A fresh self-signed ECDSA P-256 certificate, valid for a year.
    ///
    /// # Errors
    /// The system's source of randomness failed.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self { fingerprint: Fingerprint([0; 32]) })
    }

    /// SHA-256 over the certificate; what SDP announces.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// What all associations of a node have in common.
#[derive(Clone, Debug)]
pub struct AssociationConfig {
    /// The node's certificate.
    pub identity: Arc<Identity>,
    /// Allowed SRTP profiles, dearest first.
    pub profiles: Vec<SrtpProfile>,
}

/// What became of a received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// RTP, decrypted in place; its length.
    Rtp(usize),
    /// RTCP (compound), decrypted in place; its length.
    Rtcp(usize),
    /// It was for the association itself.
    Handled,
    /// It was not accepted.
    Dropped(Drop),
}

/// Why a datagram was not accepted; counted by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Drop {
    /// The association has ended.
    Closed,
}

impl Drop {
    /// The counter's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        "closed"
    }
}

/// What the owner must know; drained after every input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssociationEvent {
    /// A new state; the end says why, with [`TransportState::Closed`] only.
    State(TransportState, Option<TransportEnd>),
    /// A tuple passed a check: datagrams from it are this association's.
    Validated(Tuple),
    /// A tuple is no longer this association's.
    Forgotten(Tuple),
}

/// One outgoing SSRC's sealing state: what was sealed already. Moves with its stream and is not `Clone`.
#[derive(Debug)]
pub struct SealStream {
    ssrc: u32,
}

impl SealStream {
    /// A stream that has sealed nothing yet.
    #[must_use]
    pub const fn new(ssrc: u32) -> Self {
        Self { ssrc }
    }

    /// Its SSRC.
    #[must_use]
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }
}

/// One peer's ICE, DTLS and SRTP.
#[derive(Debug)]
pub struct Association {
    local: IceCredentials,
}

impl Association {
    /// An association that awaits its peer's first check.
    #[must_use]
    pub fn new(_config: &AssociationConfig, local: IceCredentials, _now: Now) -> Self {
        Self { local }
    }

    /// What the peer said about itself: the first time, or with changed credentials, which restarts ICE and keeps
    /// DTLS and SRTP. Repeating is harmless.
    pub fn connect(&mut self, _remote: RemoteTransport, _now: Now) {}

    /// New local credentials; the old ones stay valid until the new are used.
    pub fn restart_ice(&mut self, local: IceCredentials) {
        self.local = local;
    }

    /// The newest local credentials.
    #[must_use]
    pub const fn local(&self) -> &IceCredentials {
        &self.local
    }

    /// Takes one datagram; media is decrypted in place.
    pub fn receive(&mut self, _now: Now, _tuple: Tuple, _bytes: &mut [u8], _out: &mut Datagrams) -> Received {
        Received::Dropped(Drop::Closed)
    }

    /// Where media goes.
    #[must_use]
    pub fn selected(&self) -> Option<Tuple> {
        None
    }

    /// The tuples that passed a check; at most 8.
    pub fn validated(&self) -> impl Iterator<Item = Tuple> + '_ {
        std::iter::empty()
    }

    /// How far it has come.
    #[must_use]
    pub const fn state(&self) -> TransportState {
        TransportState::New
    }

    /// The agreed SRTP profile, once there are keys.
    #[must_use]
    pub const fn profile(&self) -> Option<SrtpProfile> {
        None
    }

    /// Seals one RTP packet in place: header and payload fill the first `length` bytes of `packet`, room for the
    /// tag stands behind ([`SEAL_OVERHEAD`]). The sealed length; `None` is a refusal.
    pub fn seal_rtp(
        &mut self,
        _stream: &mut SealStream,
        _extended_sequence: u64,
        _packet: &mut [u8],
        _length: usize,
    ) -> Option<usize> {
        None
    }

    /// Seals one compound RTCP packet in place, with the next index; room as for RTP.
    pub fn seal_rtcp(&mut self, _packet: &mut [u8], _length: usize) -> Option<usize> {
        None
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<AssociationEvent> {
        None
    }

    /// Does what is due.
    pub fn timeout(&mut self, _now: Now, _out: &mut Datagrams) {}

    /// When [`Association::timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Ends it: says so to the peer, best effort.
    pub fn close(&mut self, _now: Now, _out: &mut Datagrams) {}
}

/// The most bytes that sealing adds (RTCP under AES-GCM: a 16-byte tag and the 4-byte index).
pub const SEAL_OVERHEAD: usize = 20;

/// What a datagram on a shared port is (RFC 7983, and RFC 5761 for RTCP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// STUN.
    Stun,
    /// DTLS.
    Dtls,
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
    /// None of these.
    Other,
}

/// What a datagram is, by its first two bytes.
#[must_use]
pub fn classify(_first: &[u8]) -> Kind {
    Kind::Other
}

/// The local ufrag that a binding request names: its USERNAME up to the colon.
#[must_use]
pub fn stun_ufrag(_bytes: &[u8]) -> Option<&str> {
    None
}
