//! Which hosts' certificates are believed: those of the system's authorities, of a file, of one fingerprint, or any.
//! Knows nothing of what is said over a connection.

use ::aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidegate_types::transport::Fingerprint;

/// Where systems keep the authorities that they trust.
const SYSTEM_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Whom to believe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The system's authorities.
    #[default]
    System,
    /// Those of a file, in PEM.
    File(PathBuf),
    /// Who shows the certificate with this SHA-256.
    Pinned(Fingerprint),
    /// Everyone.
    Anyone,
}

/// Why nobody can be believed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificates are there.
    #[error(
        "{file} holds no authority's certificate in PEM: name one with --ca, or the host's own --fingerprint"
    )]
    NoAuthority {
        /// Which file, or where one was looked for.
        file: String,
    },
    /// rustls.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] Error),
}

/// What connections to a host are made with.
///
/// # Errors
/// Where the authorities cannot be read.
pub fn client(trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let own = |pinned| Arc::new(Own { pinned, provider });
    Ok(Arc::new(match trust {
        Trust::System => builder.with_root_certificates(system_roots()?).with_no_client_auth(),
        Trust::File(file) => builder.with_root_certificates(roots(file)?).with_no_client_auth(),
        Trust::Pinned(print) => {
            builder.dangerous().with_custom_certificate_verifier(own(Some(*print))).with_no_client_auth()
        }
        Trust::Anyone => {
            builder.dangerous().with_custom_certificate_verifier(own(None)).with_no_client_auth()
        }
    }))
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let there = SYSTEM_FILES.iter().find_map(|file| roots(Path::new(file)).ok());
    there.ok_or_else(|| TlsError::NoAuthority { file: SYSTEM_FILES.join(", ") })
}

fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).into_iter().flatten().flatten();
    let (taken, _) = roots.add_parsable_certificates(certificates);
    if taken == 0 {
        return Err(TlsError::NoAuthority { file: file.display().to_string() });
    }
    Ok(roots)
}

/// SHA-256 over a certificate in DER.
fn fingerprint(certificate: &[u8]) -> Fingerprint {
    let digest = digest(&SHA256, certificate);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    Fingerprint(bytes)
}

/// Believes one certificate or all; that its key is really there is looked at all the same.
struct Own {
    pinned: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Own {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Own").field("pinned", &self.pinned).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.is_none_or(|pinned| pinned == fingerprint(shown)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::{Path, TlsError, roots};

    #[test]
    fn a_file_without_certificates_is_named() {
        let Err(TlsError::NoAuthority { file }) = roots(Path::new("/dev/null")) else { panic!("believed") };
        assert_eq!(file, "/dev/null");
    }
}
