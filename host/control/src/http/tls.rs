//! The certificate that HTTPS shows: read from files, or made at the start. Knows nothing of connections.

use crate::chance;
use crate::config::{Tls, TlsFiles};
use crate::control::StartError;
use std::path::Path;
use std::sync::Arc;
use tidegate_types::transport::Fingerprint;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What is needed to speak TLS, and the SHA-256 of the certificate that is shown.
pub(crate) fn acceptor(tls: &Tls) -> Result<(TlsAcceptor, Fingerprint), StartError> {
    shown(match tls {
        Tls::Files(files) => read(files)?,
        Tls::SelfSigned { names } => make(names)?,
    })
}

/// Chain, key, and what to call them.
type Material = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String);

fn shown((chain, key, named): Material) -> Result<(TlsAcceptor, Fingerprint), StartError> {
    let unusable = |error: tokio_rustls::rustls::Error| StartError::Tls {
        file: named.clone(),
        reason: format!("it does not go with its key ({error})"),
    };
    let fingerprint = Fingerprint(chance::hash(chain.first().map(AsRef::as_ref).unwrap_or_default()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    Ok((TlsAcceptor::from(Arc::new(config)), fingerprint))
}

fn read(files: &TlsFiles) -> Result<Material, StartError> {
    let chain = read_chain(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
        unusable(&files.key, format!("no private key in PEM can be read from it ({error})"))
    })?;
    Ok((chain, key, files.certificate.display().to_string()))
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(file, format!("no certificate in PEM can be read from it ({error})")))?;
    if chain.is_empty() {
        return Err(unusable(file, "it holds no certificate in PEM".into()));
    }
    Ok(chain)
}

fn unusable(file: &Path, reason: String) -> StartError {
    StartError::Tls { file: file.display().to_string(), reason }
}

/// A fresh one at each start: browsers warn of it, and nobody can have stolen its key.
fn make(names: &[String]) -> Result<Material, StartError> {
    let named = String::from("a self-signed certificate");
    let failed = |error: rcgen::Error| StartError::Tls { file: named.clone(), reason: error.to_string() };
    let made = rcgen::generate_simple_self_signed(names).map_err(failed)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|reason| StartError::Tls { file: named.clone(), reason: reason.to_owned() })?;
    Ok((vec![made.cert.der().clone()], key, named))
}

#[cfg(test)]
mod tests {
    use super::{Arc, Fingerprint, aws_lc_rs, chance, make, shown};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    #[tokio::test]
    async fn a_made_certificate_stands_for_its_names_and_is_told_by_its_fingerprint() {
        let material = make(&["localhost".into(), "192.0.2.7".into()]).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(material.0[0].clone()).expect("a root");
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(client));
        let (acceptor, told) = shown(material).expect("it goes with its key");
        for (name, fits) in [("localhost", true), ("192.0.2.7", true), ("other.example", false)] {
            let (near, far) = tokio::io::duplex(16_384);
            let (acceptor, name) = (acceptor.clone(), ServerName::try_from(name).expect("a name"));
            let served = tokio::spawn(async move { acceptor.accept(near).await.is_ok() });
            let stream = connector.connect(name.clone(), far).await;
            assert_eq!(stream.is_ok(), fits, "{name:?}");
            if let Ok(stream) = stream {
                let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
                assert_eq!(Fingerprint(chance::hash(&chain[0])), told);
                assert!(served.await.expect("no panic"));
            }
        }
    }
}
