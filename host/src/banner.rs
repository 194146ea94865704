//! What a started host prints: what to open, and who decides. Knows nothing of how to start.

use crate::config::Config;
use crate::node::Node;
use std::fmt::Write;
use std::net::SocketAddr;
use tidegate_types::decision::Decision;
use tidegate_types::transport::Fingerprint;

/// What is worth telling of a configuration.
#[derive(Debug)]
pub struct Banner {
    scheme: &'static str,
    self_signed: bool,
    everywhere: bool,
    loopback: bool,
    public_host: Option<String>,
    shards: u16,
    policies: Vec<String>,
}

impl Banner {
    /// Reads what is worth telling.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let decided = |(decision, choice): (&Decision, &crate::config::PolicyChoice)| {
            let next = config.authorize_next.iter().filter(|_| *decision == Decision::Authorize);
            let chain: Vec<&str> =
                std::iter::once(choice).chain(next).map(|choice| choice.component.as_str()).collect();
            format!("{}={}", decision.name(), chain.join(","))
        };
        Self {
            scheme: if config.speaks_tls() { "https" } else { "http" },
            self_signed: config.tls_self_signed,
            everywhere: config.listen.ip().is_unspecified(),
            loopback: config.listen.ip().is_loopback(),
            public_host: config.public_hosts.first().cloned(),
            shards: config.shards,
            policies: config.policies.iter().map(decided).collect(),
        }
    }

    /// The text, for standard output.
    #[must_use]
    pub fn text(&self, node: &Node) -> String {
        let fingerprint = node.fingerprint().filter(|_| self.self_signed);
        self.page(node.address(), &node.media_addresses(), fingerprint)
    }

    fn page(&self, address: SocketAddr, media: &[SocketAddr], made: Option<Fingerprint>) -> String {
        let base = format!("{}://{}:{}", self.scheme, self.host(address), address.port());
        let media: Vec<String> = media.iter().map(SocketAddr::to_string).collect();
        let plural = if self.shards == 1 { "" } else { "s" };
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "Tidegate {}\n  room      {base}/?room=hello\n  console   {base}/console\n  media     {} shard{plural}, \
             UDP {}\n  policies  {}\n",
            env!("CARGO_PKG_VERSION"),
            self.shards,
            media.join(" "),
            self.policies.join(" "),
        );
        if self.scheme == "http" && !self.loopback {
            text.push_str(
                "  note      browsers give camera and microphone to https pages and localhost only: add \
                 --tls-self-signed, or --tls-certificate and --tls-key\n",
            );
        }
        if let Some(fingerprint) = made {
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "  note      the certificate is this host's own and browsers warn of it; its SHA-256 is\n            {}\n",
                fingerprint.to_sdp()
            );
        }
        text
    }

    /// A name that a browser on this machine reaches the host by.
    fn host(&self, address: SocketAddr) -> String {
        match (&self.public_host, address) {
            (Some(name), _) => name.clone(),
            (None, _) if self.everywhere || self.loopback => "localhost".to_owned(),
            (None, SocketAddr::V4(v4)) => v4.ip().to_string(),
            (None, SocketAddr::V6(v6)) => format!("[{}]", v6.ip()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Banner, Config, Fingerprint};

    #[test]
    fn it_says_what_to_open() {
        let text = Banner::of(&Config::local()).page(
            "127.0.0.1:7000".parse().expect("an address"),
            &["127.0.0.1:7100".parse().expect("one")],
            None,
        );
        assert!(text.contains("http://localhost:7000/?room=hello\n"), "{text}");
        assert!(text.contains("http://localhost:7000/console\n"), "{text}");
        assert!(text.contains("1 shard, UDP 127.0.0.1:7100\n"), "{text}");
        assert!(!text.contains("note"), "{text}");
    }

    #[test]
    fn it_warns_where_browsers_would_give_no_camera() {
        let listen = "192.0.2.1:80".parse().expect("an address");
        let text = Banner::of(&Config { listen, ..Config::local() }).page(listen, &[], None);
        assert!(
            text.contains("http://192.0.2.1:80/?room=hello\n") && text.contains("--tls-certificate"),
            "{text}"
        );
    }

    #[test]
    fn it_tells_the_certificate_that_it_made() {
        let config = Config { tls_self_signed: true, ..Config::local() };
        let address = "192.0.2.1:443".parse().expect("an address");
        let text = Banner::of(&config).page(address, &[], Some(Fingerprint([0xab; 32])));
        assert!(text.contains("https://localhost:443/") && text.contains(&"AB:".repeat(31)), "{text}");
    }
}
