//! The flags that say whose certificates are believed. Knows nothing of certificates.

use crate::tls::Trust;
use clap::Args;
use std::path::PathBuf;
use tidegate_types::transport::Fingerprint;

// Whose certificates are believed. A doc comment would stand in the help of whoever flattens it.
#[allow(missing_docs)]
#[derive(Clone, Debug, Default, Args)]
pub struct TrustFlags {
    /// Believe the certificate with this SHA-256, as a host with --tls-self-signed prints it
    #[arg(long, value_name = "XX:XX:…", value_parser = fingerprint, conflicts_with_all = ["insecure", "ca"],
        help_heading = "Host", global = true)]
    pub fingerprint: Option<Fingerprint>,

    /// Believe certificates that an authority of this file signed, in PEM [default: the system's authorities]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure", help_heading = "Host", global = true)]
    pub ca: Option<PathBuf>,

    /// Believe any certificate
    #[arg(long, help_heading = "Host", global = true)]
    pub insecure: bool,
}

impl TrustFlags {
    /// What they come to.
    #[must_use]
    pub fn trust(&self) -> Trust {
        match (self.insecure, self.fingerprint, &self.ca) {
            (true, ..) => Trust::Anyone,
            (_, Some(print), _) => Trust::Pinned(print),
            (_, _, Some(file)) => Trust::File(file.clone()),
            (false, None, None) => Trust::System,
        }
    }
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    let print = text.strip_prefix("sha-256 ").unwrap_or(text);
    Fingerprint::from_sdp(print).ok_or_else(|| "expected 32 bytes as XX:XX:… in hexadecimal".to_owned())
}
