//! A peer of an engine, for simulations, benches and mutation tests: a real ICE agent's check, a real DTLS
//! handshake and real SRTP, over the same sans-IO parts. Not in the server.
//!
//! ```text
//! peer.remote() ──ConnectTransport──▶ engine        engine's LocalTransport ──▶ peer.meet()
//! peer.check(), peer.receive(), peer.timeout()  ──▶  peer.output()
//! ```

pub mod host;
pub mod video;

use crate::association::{Association, AssociationConfig, Received, SealStream};
use crate::io::{Class, DATAGRAM_BYTES, Datagrams, Tuple};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;
use tidegate_types::transport::{
    DtlsRole, Fingerprint, IceCredentials, LocalTransport, RemoteTransport, TransportState,
};
use tidegate_types::{Now, Secret};

/// One peer.
#[derive(Debug)]
pub struct Peer {
    /// Its side of the association.
    pub association: Association,
    credentials: IceCredentials,
    fingerprint: Fingerprint,
    far: Option<(IceCredentials, Tuple)>,
    out: Datagrams,
    transactions: u64,
    /// Streams of [`Peer::send_any_rtp`] with their highest index, by SSRC; at most [`ANY_STREAMS`].
    any: BTreeMap<u32, (SealStream, u64)>,
}

/// SSRCs that [`Peer::send_any_rtp`] keeps at most; packets of more are refused.
const ANY_STREAMS: usize = 4_096;

impl Peer {
    /// A peer that knows nobody yet. `name` tells it from others and must be unique.
    #[must_use]
    pub fn new(config: &AssociationConfig, name: &str, now: Now) -> Self {
        let credentials = IceCredentials {
            ufrag: format!("peer{name}"),
            password: Secret::new(format!("{name}-and-a-password-of-some-length")),
        };
        Self::with_credentials(config, credentials, now)
    }

    /// A peer that has told its credentials already, as SDP allows them: letters, digits, `+` and `/`.
    #[must_use]
    pub fn with_credentials(config: &AssociationConfig, credentials: IceCredentials, now: Now) -> Self {
        Self {
            association: Association::new(config, credentials.clone(), now),
            credentials,
            fingerprint: config.identity.fingerprint(),
            far: None,
            out: Datagrams::default(),
            transactions: 0,
            any: BTreeMap::new(),
        }
    }

    /// What the engine is told about it.
    #[must_use]
    pub fn remote(&self) -> RemoteTransport {
        RemoteTransport {
            ice: self.credentials.clone(),
            fingerprint: self.fingerprint,
            role: DtlsRole::Passive,
        }
    }

    /// Learns what the engine answered, and at which address it is.
    pub fn meet(&mut self, local: &LocalTransport, engine: SocketAddr, now: Now) {
        let tuple = Tuple { socket: 0, remote: engine };
        self.far = Some((local.ice.clone(), tuple));
        self.association.connect(
            RemoteTransport {
                ice: local.ice.clone(),
                fingerprint: local.fingerprint,
                role: DtlsRole::Active,
            },
            now,
        );
        // The check goes first: a ClientHello that overtook it would be dropped, and repeated 400 ms later.
        self.check(now);
    }

    /// Sends a nominating check; also keeps the engine's consent.
    pub fn check(&mut self, now: Now) {
        let Some((far, tuple)) = self.far.clone() else { return };
        self.transactions += 1;
        let mut space = [0; 256];
        let username = format!("{}:{}", far.ufrag, self.credentials.ufrag);
        let length = write_check(&mut space, &username, far.password.expose(), self.transactions);
        self.out.push(tuple, now.instant, Class::Control, &space[..length]);
        self.validate(now);
    }

    /// The association answers checks and makes none: it is handed one as if the engine had checked it, which
    /// opens the engine's address to it. Its answer goes nowhere.
    fn validate(&mut self, now: Now) {
        let Some((far, tuple)) = self.far.clone() else { return };
        let mut space = [0; 256];
        let username = format!("{}:{}", self.credentials.ufrag, far.ufrag);
        self.transactions += 1;
        let length =
            write_check(&mut space, &username, self.credentials.password.expose(), self.transactions);
        let mut nowhere = Datagrams::default();
        self.association.receive(now, tuple, &mut space[..length], &mut nowhere);
        // A ClientHello may have been written behind the answer.
        for head in nowhere.heads() {
            if nowhere.bytes(head).first().is_some_and(|first| *first >= 20) {
                self.out.push(tuple, now.instant, Class::Control, nowhere.bytes(head));
            }
        }
    }

    /// One datagram of the engine, opened in place.
    pub fn receive(&mut self, now: Now, bytes: &mut [u8]) -> Received {
        let Some((_, tuple)) = self.far else { return Received::Handled };
        if bytes.first().is_some_and(|first| *first < 4) {
            return Received::Handled;
        }
        self.association.receive(now, tuple, bytes, &mut self.out)
    }

    /// Media may flow.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.association.state() == TransportState::Connected
    }

    /// Seals and sends one RTP packet.
    pub fn send_rtp(&mut self, now: Now, stream: &mut SealStream, sequence: u64, packet: &[u8]) {
        self.send(now, packet, |association, space, length| {
            association.seal_rtp(stream, sequence, space, length)
        });
    }

    /// Seals and sends one RTP packet as it is, whatever SSRC and sequence it names: for mutation tests. `false` if
    /// no peer could seal it: it has no whole header, or its sequence was sealed before or long ago.
    pub fn send_any_rtp(&mut self, now: Now, packet: &[u8]) -> bool {
        let Some(&[high, low, _, _, _, _, a, b, c, d]) = packet.get(2..).and_then(<[u8]>::first_chunk::<10>)
        else {
            return false;
        };
        let (sequence, ssrc) = (u16::from_be_bytes([high, low]), u32::from_be_bytes([a, b, c, d]));
        if self.any.len() >= ANY_STREAMS && !self.any.contains_key(&ssrc) {
            return false;
        }
        let (mut stream, highest) =
            self.any.remove(&ssrc).unwrap_or_else(|| (SealStream::new(ssrc), u64::from(sequence)));
        let step = sequence.wrapping_sub(highest as u16) as i16;
        let index = highest.checked_add_signed(i64::from(step));
        let before = self.out.len();
        if let Some(index) = index {
            self.send_rtp(now, &mut stream, index, packet);
        }
        let sent = self.out.len() > before;
        self.any.insert(ssrc, (stream, highest.max(index.filter(|_| sent).unwrap_or(0))));
        sent
    }

    /// Seals and sends one compound RTCP packet.
    pub fn send_rtcp(&mut self, now: Now, packet: &[u8]) {
        self.send(now, packet, Association::seal_rtcp);
    }

    fn send(
        &mut self,
        now: Now,
        packet: &[u8],
        seal: impl FnOnce(&mut Association, &mut [u8], usize) -> Option<usize>,
    ) {
        let Some((_, tuple)) = self.far else { return };
        let association = &mut self.association;
        self.out.write(tuple, now.instant, Class::Video, |space: &mut [u8]| {
            debug_assert!(packet.len() + 32 <= DATAGRAM_BYTES);
            space[..packet.len()].copy_from_slice(packet);
            seal(association, space, packet.len())
        });
    }

    /// Time passed.
    pub fn timeout(&mut self, now: Now) {
        self.association.timeout(now, &mut self.out);
    }

    /// When it wants [`Peer::timeout`].
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.association.next_timeout()
    }

    /// What it wants sent; drained by its owner.
    pub fn output(&mut self) -> &mut Datagrams {
        &mut self.out
    }
}

/// Writes a binding request with USE-CANDIDATE and MESSAGE-INTEGRITY (RFC 8445, section 7.2.2).
fn write_check(space: &mut [u8; 256], username: &str, password: &str, transaction: u64) -> usize {
    space[..2].copy_from_slice(&[0, 1]);
    space[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    space[12..20].copy_from_slice(&transaction.to_be_bytes());
    let mut at = 20;
    for (kind, value) in
        [(0x0006_u16, username.as_bytes()), (0x0025, &[]), (0x802a, &[1; 8]), (0x0024, &[0; 4])]
    {
        space[at..at + 2].copy_from_slice(&kind.to_be_bytes());
        space[at + 2..at + 4].copy_from_slice(&(value.len() as u16).to_be_bytes());
        space[at + 4..at + 4 + value.len()].copy_from_slice(value);
        at += 4 + value.len().next_multiple_of(4);
    }
    space[2..4].copy_from_slice(&((at + 24 - 20) as u16).to_be_bytes());
    let mut mac = Hmac::<Sha1>::new_from_slice(password.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(&space[..at]);
    space[at..at + 4].copy_from_slice(&[0, 8, 0, 20]);
    space[at + 4..at + 24].copy_from_slice(&mac.finalize().into_bytes());
    at + 24
}
