//! The URL that a value is asked for at: a fixed server, and a key in the path or the query. Knows nothing of
//! connections.

use std::fmt::Write as _;
use std::net::IpAddr;
use tidegate_types::decision::LookupError;

/// Where a key stands in a template.
const PLACE: &str = "{key}";
/// The longest URL, in bytes.
const URL_BYTES: usize = 2_048;

/// A URL with or without places for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) tls: bool,
    /// Name or address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the `Host` header says it.
    pub(crate) authority: String,
    /// Path and query, with the places.
    target: String,
}

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error(
        "must begin with https:// (or http:// for this machine's own addresses, or with insecure = true)"
    )]
    Scheme,
    #[error(
        "would be asked for in the clear over a network: use https://, or say insecure = true where the network is \
         trusted"
    )]
    Clear,
    #[error(
        "names no server, or has a user name, a fragment or spaces in it: expected https://NAME[:PORT]/PATH"
    )]
    Form,
    #[error("may have {{key}} in its path and query only")]
    Place,
    #[error("has no {{key}} in its path or query: every key would be answered the same")]
    NoPlace,
    #[error("has a brace that is not {{key}}")]
    Brace,
    #[error("is longer than {URL_BYTES} bytes")]
    Long,
}

impl Template {
    /// Reads a URL; `insecure` lets it be http.
    pub(crate) fn read(url: &str, insecure: bool) -> Result<Self, UrlError> {
        if url.len() > URL_BYTES {
            return Err(UrlError::Long);
        }
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(UrlError::Scheme),
        };
        let plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'@' | b'"' | b'<' | b'>' | b'\\');
        if !rest.bytes().all(plain) {
            return Err(UrlError::Form);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains(['{', '}']) {
            return Err(UrlError::Place);
        }
        if target.replace(PLACE, "").contains(['{', '}']) {
            return Err(UrlError::Brace);
        }
        let (host, port) = split(authority, if tls { 443 } else { 80 }).ok_or(UrlError::Form)?;
        if !tls && !insecure && !is_own(&host) {
            return Err(UrlError::Clear);
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { tls, host, port, authority: authority.to_owned(), target })
    }

    pub(crate) fn has_place(&self) -> bool {
        self.target.contains(PLACE)
    }

    /// Path and query for a key. Whatever the key is, it stays one segment of the path or one value of the query.
    pub(crate) fn target(&self, key: &str) -> Result<String, LookupError> {
        if !self.has_place() {
            return Ok(self.target.clone());
        }
        // Segments that mean another folder.
        if matches!(key, "" | "." | "..") {
            return Err(LookupError::BadKey);
        }
        Ok(self.target.replace(PLACE, &encoded(key)))
    }
}

/// Everything but the unreserved characters of RFC 3986, section 2.3, as `%XX`.
fn encoded(key: &str) -> String {
    key.bytes().fold(String::with_capacity(key.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// Host and port of `NAME`, `NAME:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.
fn split(authority: &str, usual: u16) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, port.strip_prefix(':').or(port.is_empty().then_some(""))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let port = if port.is_empty() { usual } else { port.parse().ok().filter(|port| *port > 0)? };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Does it stay on this machine?
fn is_own(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{LookupError, Template, UrlError};

    #[test]
    fn a_key_stays_in_its_place_whatever_it_is() {
        let template = Template::read("https://db.example:8443/people/{key}?by={key}", false).expect("sound");
        assert_eq!((template.tls, template.host.as_str(), template.port), (true, "db.example", 8_443));
        let target = |key| template.target(key);
        assert_eq!(target("ada"), Ok("/people/ada?by=ada".into()));
        assert_eq!(
            target("../x?y=1&z#\r\n"),
            Ok("/people/..%2Fx%3Fy%3D1%26z%23%0D%0A?by=..%2Fx%3Fy%3D1%26z%23%0D%0A".into())
        );
        assert_eq!(target("ü{key}"), Ok("/people/%C3%BC%7Bkey%7D?by=%C3%BC%7Bkey%7D".into()));
        for bad in ["", ".", ".."] {
            assert_eq!(target(bad), Err(LookupError::BadKey), "{bad:?}");
        }
    }

    #[test]
    fn urls_that_would_leave_the_server_or_go_in_the_clear_are_refused() {
        for (url, wrong) in [
            ("ftp://a/{key}", UrlError::Scheme),
            ("https://{key}.example/", UrlError::Place),
            ("https://user@a/{key}", UrlError::Form),
            ("https:///{key}", UrlError::Form),
            ("https://a:0/{key}", UrlError::Form),
            ("https://a/{key}#x", UrlError::Form),
            ("https://a/ {key}", UrlError::Form),
            ("https://a/{id}", UrlError::Brace),
            ("http://a/{key}", UrlError::Clear),
            ("http://127.0.0.1.example/{key}", UrlError::Clear),
        ] {
            assert_eq!(Template::read(url, false), Err(wrong), "{url}");
        }
        for own in ["http://127.0.0.1:1/{key}", "http://[::1]:2/{key}", "http://localhost/{key}"] {
            assert!(Template::read(own, false).is_ok(), "{own}");
        }
        assert!(Template::read("http://a/{key}", true).is_ok());
        assert_eq!(Template::read("https://a", false).map(|read| read.target("x")), Ok(Ok("/".into())));
        assert_eq!(
            Template::read("https://a?k={key}", false).map(|read| read.target("x")),
            Ok(Ok("/?k=x".into()))
        );
    }
}
