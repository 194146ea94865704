//! The host's address as a person writes it. Knows nothing of what is said there.

use std::net::{SocketAddr, ToSocketAddrs};

/// Where the host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    authority: String,
    name: String,
    secure: bool,
    address: SocketAddr,
}

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not an address.
    #[error("{0} is no address of a host: expected http://NAME:PORT or https://NAME:PORT")]
    Unreadable(String),
    /// The name stands for nothing.
    #[error("{0} is not known to this machine's resolver")]
    Unknown(String),
}

impl Target {
    /// Reads `http://…`, `ws://…` (or neither), `https://…` or `wss://…`; a path and what follows it is left out.
    ///
    /// # Errors
    /// Where it is no address, or its name stands for nothing.
    pub fn read(url: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let secure = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(TargetError::Unreadable(url.to_owned())),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (name, port) = split_port(authority);
        if name.is_empty() || name.contains('@') {
            return Err(TargetError::Unreadable(url.to_owned()));
        }
        let usual = if secure { 443 } else { 80 };
        let port = port.map_or(Ok(usual), str::parse).map_err(|_| TargetError::Unreadable(url.to_owned()))?;
        let name = name.trim_matches(['[', ']']);
        let found = (name, port).to_socket_addrs();
        let address = found.ok().and_then(|mut found| found.next());
        let address = address.ok_or_else(|| TargetError::Unknown(name.to_owned()))?;
        Ok(Self { authority: authority.to_owned(), name: name.to_owned(), secure, address })
    }
}

impl Target {
    /// Name and port, as requests name it.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The name alone, as a certificate holds it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Is it served over TLS?
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Where that is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Name and port; an IPv6 address stands in brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_brackets = authority.find(']').map_or(0, |end| end + 1);
    match authority[after_brackets..].rfind(':') {
        Some(colon) => {
            let at = after_brackets + colon;
            (&authority[..at], Some(&authority[at + 1..]))
        }
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, TargetError};

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (url, authority, address) in [
            ("http://127.0.0.1:7000", "127.0.0.1:7000", "127.0.0.1:7000"),
            ("ws://127.0.0.1:7000/session", "127.0.0.1:7000", "127.0.0.1:7000"),
            ("127.0.0.1:7000/?room=hello", "127.0.0.1:7000", "127.0.0.1:7000"),
            ("http://127.0.0.1", "127.0.0.1", "127.0.0.1:80"),
            ("http://[::1]:9/", "[::1]:9", "[::1]:9"),
            ("https://127.0.0.1", "127.0.0.1", "127.0.0.1:443"),
            ("wss://[::1]:9/session", "[::1]:9", "[::1]:9"),
        ] {
            let target = Target::read(url).expect(url);
            assert_eq!(
                (target.authority.as_str(), target.address.to_string().as_str()),
                (authority, address)
            );
            assert_eq!(target.secure, url.starts_with("https") || url.starts_with("wss"), "{url}");
            assert!(!target.name.contains(['[', ']']), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for url in ["ftp://a", "http://", "http://a:b", "http://a@b:1"] {
            assert_eq!(Target::read(url).unwrap_err(), TargetError::Unreadable(url.into()));
        }
    }
}
