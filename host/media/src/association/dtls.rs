//! The DTLS handshake behind one small trait, and dimpl as its implementation. Knows nothing of tuples, of ICE, or
//! of which certificate is the right one.

use super::srtp::{KeyError, Keys};
use crate::io::DATAGRAM_BYTES;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tidegate_types::packet::BUFFER_BYTES;
use tidegate_types::transport::{DtlsRole, Fingerprint, SrtpProfile};

/// Records fit any path that media fits.
const RECORD_BYTES: usize = 1_200;
/// Datagrams that wait until a handshake message is whole.
const WAITING_DATAGRAMS: usize = 30;
/// Room for one output while the handshake lasts. dimpl panics where a peer's certificate exceeds it, so it holds
/// all that can wait.
const HANDSHAKE_BYTES: usize = 64 * 1024;
const _: () = assert!(HANDSHAKE_BYTES >= WAITING_DATAGRAMS * BUFFER_BYTES);
/// The most that one record carries inside; its header and the longest tag come on top.
const DATA_BYTES: usize = 1_400;
const _: () = assert!(DATA_BYTES + 64 <= DATAGRAM_BYTES && DATAGRAM_BYTES <= CONNECTED_BYTES);
/// Room for one output after that.
const CONNECTED_BYTES: usize = BUFFER_BYTES;
const _: () = assert!(CONNECTED_BYTES >= RECORD_BYTES);
/// First wait for an answer; doubled with each retry. Shorter finishes sooner under loss, longer spares slow peers
/// a needless repetition.
const FIRST_RETRY: Duration = Duration::from_millis(400);
const RETRIES: usize = 6;
/// The whole handshake's time.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// Longer waits are "nothing is due".
const IDLE: Duration = Duration::from_secs(3_600);

/// Why a handshake or connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum DtlsError {
    /// The peer showed no certificate.
    #[error("the peer showed no certificate")]
    NoCertificate,
    /// Anything else that is fatal.
    #[error("the handshake failed")]
    Failed,
}

/// One thing that a handshake wants done or known.
pub(super) enum Step<'a> {
    /// To be sent.
    Record(&'a [u8]),
    /// What the peer calls itself, in DER; comes before the keys.
    PeerCertificate(&'a [u8]),
    /// Keys for media.
    Keys(Keys),
    /// The handshake is complete.
    Connected,
    /// What the peer sent inside.
    Data(&'a [u8]),
    /// The peer said goodbye.
    PeerClosed,
    /// Nothing that concerns the association.
    Other,
    /// Nothing more, until the time comes (if one is given) or a datagram.
    Wait(Option<Instant>),
}

/// A sans-IO DTLS connection. Its owner takes [`Step`]s until [`Step::Wait`] after every other call; an error is
/// final, steps that are left (an alert) may still be taken.
pub(super) trait Handshake: Send + fmt::Debug {
    fn receive(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsError>;
    fn timeout(&mut self, now: Instant) -> Result<(), DtlsError>;
    /// Sends inside; more than [`DATA_BYTES`] are dropped, as a network would.
    fn send(&mut self, bytes: &[u8]) -> Result<(), DtlsError>;
    fn close(&mut self);
    fn step(&mut self) -> Result<Step<'_>, DtlsError>;
    /// Lets go of what only the handshake needed, once it is over. Call it when all steps are taken.
    fn rest(&mut self);
}

/// The node's DTLS certificate and key. Shared by all its associations.
pub struct Identity {
    certificate: dimpl::DtlsCertificate,
    fingerprint: Fingerprint,
    config: Arc<dimpl::Config>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("fingerprint", &self.fingerprint.to_sdp()).finish()
    }
}

/// No certificate could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the system could not generate a key and certificate for DTLS")]
pub struct IdentityError;

impl Identity {
    /// A fresh self-signed ECDSA P-256 certificate, valid for a year from now by the system's wall clock.
    ///
    /// # Errors
    /// The system's source of randomness failed.
    pub fn generate() -> Result<Self, IdentityError> {
        Self::generate_with(RECORD_BYTES)
    }

    /// One whose records fit into `record_bytes`.
    pub(super) fn generate_with(record_bytes: usize) -> Result<Self, IdentityError> {
        let certificate =
            dimpl::certificate::generate_self_signed_certificate().map_err(|_| IdentityError)?;
        let config = dimpl::Config::builder()
            .mtu(record_bytes)
            .max_queue_rx(WAITING_DATAGRAMS)
            .require_client_certificate(true)
            // The tuple passed a connectivity check: no cookie has to prove it again.
            .use_server_cookie(false)
            .flight_start_rto(FIRST_RETRY)
            .flight_retries(RETRIES)
            .handshake_timeout(HANDSHAKE)
            .build()
            .map_err(|_| IdentityError)?;
        let fingerprint = fingerprint_of(&certificate.certificate);
        Ok(Self { certificate, fingerprint, config: Arc::new(config) })
    }

    /// SHA-256 over the certificate; what SDP announces.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// A handshake in `role` under this certificate.
    ///
    /// dimpl's DTLS 1.2 prefers AES-256-GCM, AES-128-GCM, AES-CM, in this order and always. Its DTLS 1.3 takes
    /// the client's first. So where no GCM is allowed 1.3 is preferred: browsers speak it and offer AES-CM first.
    /// Either way the association refuses a profile that is not allowed.
    pub(super) fn handshake(
        &self,
        role: DtlsRole,
        profiles: &[SrtpProfile],
        now: Instant,
    ) -> Box<dyn Handshake> {
        let takes_gcm = profiles.iter().any(|profile| *profile != SrtpProfile::Aes128CmSha1_80);
        let config = Arc::clone(&self.config);
        let certificate = self.certificate.clone();
        let mut connection = if takes_gcm {
            dimpl::Dtls::new_12(config, certificate, now)
        } else {
            dimpl::Dtls::new_auto(config, certificate, now)
        };
        connection.set_active(role == DtlsRole::Active);
        Box::new(Dimpl {
            connection,
            is_client: role == DtlsRole::Active,
            now,
            output: vec![0; HANDSHAKE_BYTES],
            is_connected: false,
        })
    }
}

/// SHA-256 over a certificate in DER.
pub(super) fn fingerprint_of(certificate: &[u8]) -> Fingerprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    Fingerprint(bytes)
}

#[derive(Debug)]
struct Dimpl {
    connection: dimpl::Dtls,
    is_client: bool,
    /// The latest time told: "nothing is due" is measured from it.
    now: Instant,
    output: Vec<u8>,
    is_connected: bool,
}

impl Handshake for Dimpl {
    fn receive(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsError> {
        self.timeout(now)?;
        if datagram.len() > BUFFER_BYTES {
            return Ok(());
        }
        self.connection.handle_packet(datagram).map_err(|error| convert(&error))
    }

    fn timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        self.now = now;
        self.connection.handle_timeout(now).map_err(|error| convert(&error))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), DtlsError> {
        if !self.is_connected || bytes.len() > DATA_BYTES {
            return Ok(());
        }
        self.connection.send_application_data(bytes).map(|_| ()).map_err(|error| convert(&error))
    }

    fn close(&mut self) {
        // Fails only when there is nothing left to close.
        let _ = self.connection.close();
    }

    fn step(&mut self) -> Result<Step<'_>, DtlsError> {
        Ok(match self.connection.poll_output(&mut self.output) {
            dimpl::Output::Packet(record) => Step::Record(record),
            dimpl::Output::PeerCert(certificate) => Step::PeerCertificate(certificate),
            dimpl::Output::KeyingMaterial(material, profile) => {
                let profile = profile_of(profile).ok_or(DtlsError::Failed)?;
                Step::Keys(Keys::split(profile, &material, self.is_client)?)
            }
            dimpl::Output::Connected => {
                self.is_connected = true;
                Step::Connected
            }
            dimpl::Output::ApplicationData(bytes) => Step::Data(bytes),
            dimpl::Output::CloseNotify => Step::PeerClosed,
            dimpl::Output::BufferTooSmall { .. } => return Err(DtlsError::Failed),
            dimpl::Output::Timeout(at) => {
                Step::Wait((at.saturating_duration_since(self.now) < IDLE).then_some(at))
            }
            _ => Step::Other,
        })
    }

    fn rest(&mut self) {
        if self.is_connected && self.output.len() > CONNECTED_BYTES {
            self.output = vec![0; CONNECTED_BYTES];
        }
    }
}

fn convert(error: &dimpl::Error) -> DtlsError {
    match error {
        dimpl::Error::CertificateError(
            dimpl::CertificateError::NoClientCertificateReceived
            | dimpl::CertificateError::NoServerCertificateReceived,
        ) => DtlsError::NoCertificate,
        _ => DtlsError::Failed,
    }
}

const fn profile_of(profile: dimpl::SrtpProfile) -> Option<SrtpProfile> {
    match profile {
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(SrtpProfile::AeadAes256Gcm),
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(SrtpProfile::AeadAes128Gcm),
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpProfile::Aes128CmSha1_80),
        _ => None,
    }
}

impl From<KeyError> for DtlsError {
    fn from(_: KeyError) -> Self {
        Self::Failed
    }
}
