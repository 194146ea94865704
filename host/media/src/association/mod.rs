//! One peer's association: ICE-lite, DTLS and SRTP joined, sans-IO. Datagrams and time in; datagrams, plaintext
//! and events out. Knows nothing of RTP beyond its header, nor of producers, consumers and rooms.
//!
//! ```text
//! datagram ─ classify ─┬─ STUN ─ ice (who may speak from where) ─────────────── answer
//!                      ├─ DTLS ─ dtls (who the peer is; makes the keys) ─────── records
//!                      └─ SRTP ─ srtp (opens in place; refuses what came twice) ─ Rtp / Rtcp
//! ```
//!
//! After every call its owner drains [`Association::poll_event`], and calls [`Association::timeout`] no earlier
//! than [`Association::next_timeout`].

mod demux;
mod dtls;
#[doc(hidden)]
pub mod fuzzing;
mod ice;
mod srtp;
mod stun;

pub use demux::{Kind, classify, stun_ufrag};
pub use dtls::{Identity, IdentityError};
pub use srtp::SealStream;

use crate::io::{Class, Datagrams, Tuple};
use dtls::{DtlsError, Handshake, Step};
use ice::Ice;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tidegate_types::Now;
use tidegate_types::transport::{
    DtlsRole, Fingerprint, IceCredentials, RemoteTransport, SrtpProfile, TransportEnd, TransportState,
};

/// The most bytes that sealing adds (RTCP under AES-GCM: a 16-byte tag and the 4-byte index).
pub const SEAL_OVERHEAD: usize = 20;
/// Events that may wait. One call makes at most a state, one new tuple and [`ice::TUPLES`] forgotten ones; past the
/// bound the oldest goes.
const EVENTS: usize = 64;
const _: () = assert!(EVENTS > 2 * (2 + ice::TUPLES));
/// Packets inside DTLS that may wait for their owner, who takes them after every input; past the bound they are
/// dropped, as a network would.
const DATA_PACKETS: usize = 64;
/// First byte of a DTLS record that carries application data (RFC 6347, section 4.1).
const APPLICATION_DATA: u8 = 23;

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
    /// Neither STUN, DTLS, RTP nor RTCP.
    UnknownKind,
    /// DTLS, RTP or RTCP from a tuple that passed no check.
    Unvalidated,
    /// Not a STUN message, or its lengths or fingerprint are wrong.
    StunMalformed,
    /// STUN, but no binding request.
    StunNotRequest,
    /// A check that does not prove our password.
    StunUnauthenticated,
    /// An authenticated check that had to be refused (role conflict, an attribute that must be understood).
    StunRefused,
    /// DTLS before the peer's fingerprint is known.
    DtlsEarly,
    /// RTP or RTCP before there are keys.
    NoKeys,
    /// SRTP or SRTCP that ends within its header or tag.
    SrtpMalformed,
    /// SRTP or SRTCP that fails authentication.
    SrtpForged,
    /// SRTP or SRTCP that came before, or too long ago to know.
    SrtpReplayed,
    /// A new SSRC past the bound.
    SrtpTooManyStreams,
}

impl Drop {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Closed,
        Self::UnknownKind,
        Self::Unvalidated,
        Self::StunMalformed,
        Self::StunNotRequest,
        Self::StunUnauthenticated,
        Self::StunRefused,
        Self::DtlsEarly,
        Self::NoKeys,
        Self::SrtpMalformed,
        Self::SrtpForged,
        Self::SrtpReplayed,
        Self::SrtpTooManyStreams,
    ];

    /// The counter's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::UnknownKind => "unknown_kind",
            Self::Unvalidated => "unvalidated",
            Self::StunMalformed => "stun_malformed",
            Self::StunNotRequest => "stun_not_request",
            Self::StunUnauthenticated => "stun_unauthenticated",
            Self::StunRefused => "stun_refused",
            Self::DtlsEarly => "dtls_early",
            Self::NoKeys => "no_keys",
            Self::SrtpMalformed => "srtp_malformed",
            Self::SrtpForged => "srtp_forged",
            Self::SrtpReplayed => "srtp_replayed",
            Self::SrtpTooManyStreams => "srtp_too_many_streams",
        }
    }

    /// Its position in [`Drop::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl From<srtp::Rejected> for Drop {
    fn from(rejected: srtp::Rejected) -> Self {
        match rejected {
            srtp::Rejected::Malformed => Self::SrtpMalformed,
            srtp::Rejected::Forged => Self::SrtpForged,
            srtp::Rejected::Replayed => Self::SrtpReplayed,
            srtp::Rejected::TooManyStreams => Self::SrtpTooManyStreams,
        }
    }
}

/// What the owner must know; drained after every input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssociationEvent {
    /// A new state; the end says why, if the association ended by itself.
    State(TransportState, Option<TransportEnd>),
    /// A tuple passed a check: datagrams from it are this association's.
    Validated(Tuple),
    /// A tuple is no longer this association's.
    Forgotten(Tuple),
}

/// Who the peer must turn out to be.
#[derive(Clone, Copy, Debug)]
struct Peer {
    fingerprint: Fingerprint,
    role: DtlsRole,
}

/// One peer's ICE, DTLS and SRTP: one value that can be sent to another thread. Not `Clone`.
#[derive(Debug)]
pub struct Association {
    identity: Arc<Identity>,
    profiles: Vec<SrtpProfile>,
    ice: Ice,
    /// Fixed by the first `connect`.
    peer: Option<Peer>,
    /// Begins when the peer is known and a check was valid; gone when the association has ended.
    dtls: Option<Box<dyn Handshake>>,
    dtls_timeout: Option<Instant>,
    /// The peer's certificate is the announced one. No key is used before.
    is_peer_verified: bool,
    is_dtls_connected: bool,
    /// Exists only after the peer was verified.
    session: Option<srtp::Session>,
    state: TransportState,
    events: VecDeque<AssociationEvent>,
    /// What came inside DTLS.
    data: VecDeque<Vec<u8>>,
    refused_seals: u64,
}

impl Association {
    /// An association that awaits its peer's first check.
    #[must_use]
    pub fn new(config: &AssociationConfig, local: IceCredentials, _now: Now) -> Self {
        Self {
            identity: Arc::clone(&config.identity),
            profiles: config.profiles.clone(),
            ice: Ice::new(local),
            peer: None,
            dtls: None,
            dtls_timeout: None,
            is_peer_verified: false,
            is_dtls_connected: false,
            session: None,
            state: TransportState::New,
            events: VecDeque::new(),
            data: VecDeque::new(),
            refused_seals: 0,
        }
    }

    /// What the peer said about itself: the first time, or with changed credentials, which restarts ICE and keeps
    /// DTLS and SRTP. Repeating is harmless; another fingerprint or role than the first is not taken.
    pub fn connect(&mut self, remote: RemoteTransport, now: Now) {
        if self.state == TransportState::Closed {
            return;
        }
        self.peer.get_or_insert(Peer { fingerprint: remote.fingerprint, role: remote.role });
        self.ice.connect(remote.ice, now.instant);
        self.begin_handshake(now.instant);
    }

    /// New local credentials; the old ones stay valid until the new are used.
    pub fn restart_ice(&mut self, local: IceCredentials) {
        self.ice.restart(local);
    }

    /// The newest local credentials.
    #[must_use]
    pub const fn local(&self) -> &IceCredentials {
        self.ice.local()
    }

    /// Takes one datagram; media is decrypted in place.
    pub fn receive(&mut self, now: Now, tuple: Tuple, bytes: &mut [u8], out: &mut Datagrams) -> Received {
        if self.state == TransportState::Closed {
            return Received::Dropped(Drop::Closed);
        }
        let kind = classify(bytes);
        if kind != Kind::Stun && !self.ice.is_validated(tuple) {
            return Received::Dropped(Drop::Unvalidated);
        }
        let taken = match kind {
            Kind::Stun => self.receive_check(now, tuple, bytes, out),
            Kind::Dtls => self.receive_record(now, bytes, out),
            Kind::Rtp => self.open_rtp(bytes),
            Kind::Rtcp => self.open_rtcp(bytes),
            Kind::Other => Err(Drop::UnknownKind),
        };
        taken.unwrap_or_else(Received::Dropped)
    }

    /// Where media goes.
    #[must_use]
    pub const fn selected(&self) -> Option<Tuple> {
        self.ice.selected()
    }

    /// The tuples that passed a check; at most 8.
    pub fn validated(&self) -> impl Iterator<Item = Tuple> + '_ {
        self.ice.validated()
    }

    /// How far it has come.
    #[must_use]
    pub const fn state(&self) -> TransportState {
        self.state
    }

    /// The agreed SRTP profile, once there are keys.
    #[must_use]
    pub fn profile(&self) -> Option<SrtpProfile> {
        self.session.as_ref().map(srtp::Session::profile)
    }

    /// How often sealing was refused: no keys, no room, or an index that was sealed before.
    #[must_use]
    pub const fn refused_seals(&self) -> u64 {
        self.refused_seals
    }

    /// Seals one RTP packet in place: header and payload fill the first `length` bytes of `packet`, room for the
    /// tag stands behind ([`SEAL_OVERHEAD`]). The sealed length. `None` is a refusal, which is counted: no keys, no
    /// room, a packet without the stream's SSRC or the extended sequence's low 16 bits, an extended sequence that
    /// was sealed before or lies 128 or more behind the highest, one of 2¹⁶ or more on a stream that has sealed
    /// nothing (receivers begin with rollover 0), or a second stream of an SSRC.
    pub fn seal_rtp(
        &mut self,
        stream: &mut SealStream,
        extended_sequence: u64,
        packet: &mut [u8],
        length: usize,
    ) -> Option<usize> {
        let session = self.session.as_mut();
        let sealed = session.and_then(|session| session.seal_rtp(stream, extended_sequence, packet, length));
        self.refused_seals += u64::from(sealed.is_none());
        sealed
    }

    /// Seals one compound RTCP packet in place, under the next index; room as for RTP. `None` is a refusal, which
    /// is counted.
    pub fn seal_rtcp(&mut self, packet: &mut [u8], length: usize) -> Option<usize> {
        let session = self.session.as_mut();
        let sealed = session.and_then(|session| session.seal_rtcp(packet, length));
        self.refused_seals += u64::from(sealed.is_none());
        sealed
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<AssociationEvent> {
        self.events.pop_front()
    }

    /// The next packet that came inside DTLS.
    pub fn poll_data(&mut self) -> Option<Vec<u8>> {
        self.data.pop_front()
    }

    /// Sends one packet inside DTLS; before the peer is verified it is dropped.
    pub fn send_data(&mut self, now: Now, packet: &[u8], out: &mut Datagrams) {
        if !self.is_peer_verified || self.session.is_none() {
            return;
        }
        if let Some(dtls) = &mut self.dtls {
            let outcome = dtls.send(packet);
            self.take_steps(now.instant, outcome, out);
        }
    }

    /// Does what is due: handshake retransmissions, consent, silent tuples.
    pub fn timeout(&mut self, now: Now, out: &mut Datagrams) {
        if self.state == TransportState::Closed {
            return;
        }
        if self.ice.is_consent_lost(now.instant) {
            return self.end(Some(TransportEnd::ConsentLost));
        }
        while let Some(tuple) = self.ice.forget_silent(now.instant) {
            self.tell(AssociationEvent::Forgotten(tuple));
        }
        if self.dtls_timeout.is_some_and(|due| due <= now.instant) {
            let outcome = self.dtls.as_mut().map_or(Ok(()), |dtls| dtls.timeout(now.instant));
            self.take_steps(now.instant, outcome, out);
        }
        self.settle(now.instant);
    }

    /// When [`Association::timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.state == TransportState::Closed {
            return None;
        }
        let ice = self.ice.next_timeout(self.state == TransportState::Disconnected);
        [ice, self.dtls_timeout].into_iter().flatten().min()
    }

    /// Ends it: says so to the peer, best effort.
    pub fn close(&mut self, now: Now, out: &mut Datagrams) {
        if self.state == TransportState::Closed {
            return;
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.close();
            self.take_steps(now.instant, Ok(()), out);
        }
        self.end(None);
    }

    /// Takes a tuple as if it had passed a check.
    fn validate(&mut self, now: Now, tuple: Tuple) {
        self.ice.validate(now.instant, tuple);
        self.begin_handshake(now.instant);
    }

    fn receive_check(
        &mut self,
        now: Now,
        tuple: Tuple,
        bytes: &[u8],
        out: &mut Datagrams,
    ) -> Result<Received, Drop> {
        let changes = self.ice.receive(now.instant, tuple, bytes, out)?;
        if let Some(tuple) = changes.forgotten {
            self.tell(AssociationEvent::Forgotten(tuple));
        }
        if let Some(tuple) = changes.validated {
            self.tell(AssociationEvent::Validated(tuple));
        }
        self.begin_handshake(now.instant);
        if self.dtls_timeout.is_some_and(|due| due <= now.instant) {
            self.timeout(now, out);
        }
        self.settle(now.instant);
        Ok(Received::Handled)
    }

    fn receive_record(&mut self, now: Now, bytes: &[u8], out: &mut Datagrams) -> Result<Received, Drop> {
        let dtls = self.dtls.as_mut().ok_or(Drop::DtlsEarly)?;
        let outcome = dtls.receive(now.instant, bytes);
        self.take_steps(now.instant, outcome, out);
        self.settle(now.instant);
        Ok(Received::Handled)
    }

    fn open_rtp(&mut self, bytes: &mut [u8]) -> Result<Received, Drop> {
        let session = self.session.as_mut().ok_or(Drop::NoKeys)?;
        Ok(Received::Rtp(session.open_rtp(bytes)?))
    }

    fn open_rtcp(&mut self, bytes: &mut [u8]) -> Result<Received, Drop> {
        let session = self.session.as_mut().ok_or(Drop::NoKeys)?;
        Ok(Received::Rtcp(session.open_rtcp(bytes)?))
    }

    /// Begins DTLS once it is known who the peer must be and where it is.
    fn begin_handshake(&mut self, now: Instant) {
        let Some(peer) = self.peer else { return };
        if self.dtls.is_none() && self.ice.selected().is_some() {
            self.dtls = Some(self.identity.handshake(peer.role, &self.profiles, now));
            // In the active role there is something to send at once.
            self.dtls_timeout = Some(now);
        }
    }

    /// Takes what the handshake wants after a call that ended in `outcome`.
    fn take_steps(&mut self, now: Instant, outcome: Result<(), DtlsError>, out: &mut Datagrams) {
        // Steps that are left after an error may be an alert to the peer.
        let end = match (self.drain_steps(now, out), outcome) {
            (Ok(()), Ok(())) => return,
            (Err(end), Ok(())) => end,
            (_, Err(DtlsError::NoCertificate)) => TransportEnd::WrongFingerprint,
            (Err(end @ TransportEnd::WrongFingerprint), Err(_)) => end,
            (_, Err(DtlsError::Failed)) => TransportEnd::DtlsFailed,
        };
        self.end(Some(end));
    }

    fn drain_steps(&mut self, now: Instant, out: &mut Datagrams) -> Result<(), TransportEnd> {
        let Some(dtls) = &mut self.dtls else { return Ok(()) };
        loop {
            match dtls.step().map_err(|_| TransportEnd::DtlsFailed)? {
                Step::Record(record) => {
                    if let Some(tuple) = self.ice.selected() {
                        out.push(tuple, now, class_of(record), record);
                    }
                }
                Step::PeerCertificate(certificate) => {
                    let announced = self.peer.map(|peer| peer.fingerprint);
                    if Some(dtls::fingerprint_of(certificate)) != announced {
                        return Err(TransportEnd::WrongFingerprint);
                    }
                    self.is_peer_verified = true;
                }
                Step::Keys(keys) => {
                    if !self.is_peer_verified {
                        return Err(TransportEnd::WrongFingerprint);
                    }
                    if !self.profiles.contains(&keys.profile) {
                        return Err(TransportEnd::DtlsFailed);
                    }
                    self.session = Some(srtp::Session::new(&keys).map_err(|_| TransportEnd::DtlsFailed)?);
                }
                Step::Connected => self.is_dtls_connected = true,
                Step::Data(packet) => {
                    if self.is_peer_verified && self.data.len() < DATA_PACKETS {
                        self.data.push_back(packet.to_vec());
                    }
                }
                Step::PeerClosed => return Err(TransportEnd::PeerClosed),
                Step::Other => {}
                Step::Wait(until) => {
                    self.dtls_timeout = until;
                    break;
                }
            }
        }
        dtls.rest();
        // A peer that agreed on no profile can neither send nor receive media.
        if self.is_dtls_connected && self.session.is_none() {
            return Err(TransportEnd::DtlsFailed);
        }
        Ok(())
    }

    /// Brings the state in line with ICE and DTLS.
    fn settle(&mut self, now: Instant) {
        if self.state == TransportState::Closed {
            return;
        }
        let state = if self.ice.selected().is_none() {
            TransportState::New
        } else if self.ice.is_away(now) {
            TransportState::Disconnected
        } else if self.session.is_some() {
            TransportState::Connected
        } else {
            TransportState::Connecting
        };
        self.enter(state, None);
    }

    fn end(&mut self, end: Option<TransportEnd>) {
        self.dtls = None;
        self.dtls_timeout = None;
        self.session = None;
        self.enter(TransportState::Closed, end);
    }

    fn enter(&mut self, state: TransportState, end: Option<TransportEnd>) {
        if self.state != state {
            self.state = state;
            self.tell(AssociationEvent::State(state, end));
        }
    }

    fn tell(&mut self, event: AssociationEvent) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

/// Data goes with the pictures, not with the handshake: what is lost of it is sent again.
const fn class_of(record: &[u8]) -> Class {
    match record {
        [APPLICATION_DATA, ..] => Class::Video,
        _ => Class::Control,
    }
}

#[cfg(test)]
mod tests;
