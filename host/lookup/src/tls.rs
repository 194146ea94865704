//! Which servers' certificates are believed: those of the system's authorities, or of a file. Knows nothing of HTTP.

use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Where systems keep the authorities that they trust.
const SYSTEM_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What connections are made with; the reason where nobody can be believed.
pub(crate) fn connector(authorities: Option<&Path>) -> Result<TlsConnector, String> {
    let roots = match authorities {
        Some(file) => roots(file).ok_or_else(|| format!("{} holds no certificate in PEM", file.display()))?,
        None => SYSTEM_FILES.iter().find_map(|file| roots(Path::new(file))).ok_or_else(|| {
            format!("no authorities were found in {}: name a file", SYSTEM_FILES.join(", "))
        })?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(file: &Path) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).into_iter().flatten().flatten();
    let (taken, _) = roots.add_parsable_certificates(certificates);
    (taken > 0).then_some(roots)
}
