//! Which names this host answers to, and whose pages may open sessions. Knows nothing of what is asked.
//!
//! A page of another site can make a browser call any address, and by DNS rebinding even under the page's own
//! origin. The Host header then still names the other site, so it tells.

use crate::problem::Problem;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The names and origins that are let in.
#[derive(Debug)]
pub(crate) struct Names {
    hosts: Vec<String>,
    origins: Vec<String>,
    scheme: &'static str,
}

impl Names {
    pub(crate) fn new(hosts: Vec<String>, origins: Vec<String>, tls: bool) -> Self {
        let lower = |names: Vec<String>| {
            names.iter().map(|name| name.trim_end_matches('/').to_ascii_lowercase()).collect()
        };
        Self { hosts: lower(hosts), origins: lower(origins), scheme: if tls { "https" } else { "http" } }
    }

    /// Refuses a request for a name that isn't this host's.
    pub(crate) fn check_host(&self, request: &Request) -> Result<(), Problem> {
        let named = request.uri().authority().cloned().or_else(|| host(request.headers()));
        let detail = match named {
            Some(authority) if self.is_ours(authority.host()) => return Ok(()),
            Some(authority) => {
                format!("this host does not answer to {}; name it among its public hosts", authority.host())
            }
            None => "the request names no host".to_owned(),
        };
        let problem = Problem::new(StatusCode::FORBIDDEN, "host-not-allowed", detail);
        Err(Problem { field: Some("Host".into()), ..problem })
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.ends_with(".localhost")
            || address.parse::<Ipv4Addr>().is_ok()
            || address.parse::<Ipv6Addr>().is_ok()
            || self.hosts.contains(&host)
    }

    /// Refuses a session for a page of another origin. What sends no Origin is no browser.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("").to_ascii_lowercase();
        if self.origins.contains(&origin) || self.is_own(&origin, headers) {
            return Ok(());
        }
        let shown: String = origin.chars().take(100).collect();
        let detail = format!("pages of {shown:?} may not open sessions; name it among the allowed origins");
        let problem = Problem::new(StatusCode::FORBIDDEN, "origin-not-allowed", detail);
        Err(Problem { field: Some("Origin".into()), ..problem })
    }

    /// The origin's host and port are the request's own. Its scheme isn't compared where this host speaks plain
    /// HTTP: behind a proxy that ends TLS the page's is https.
    fn is_own(&self, origin: &str, headers: &HeaderMap) -> bool {
        let Some((scheme, rest)) = origin.split_once("://") else { return false };
        let (Ok(page), Some(own)) = (rest.parse::<Authority>(), host(headers)) else { return false };
        let known = scheme == "https" || scheme == self.scheme;
        let default = if scheme == "https" { 443 } else { 80 };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
        known && page.host() == own.host().to_ascii_lowercase() && port(&page) == port(&own)
    }
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut all = headers.get_all(header::HOST).iter();
    let only = all.next().filter(|_| all.next().is_none())?;
    only.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Names;
    use axum::body::Body;
    use axum::extract::Request;

    fn names() -> Names {
        Names::new(vec!["Meet.Example".into()], vec!["https://app.example".into()], false)
    }

    fn request(host: &str, origin: Option<&str>) -> Request {
        let request = Request::builder().uri("/session").header("host", host);
        let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
        request.body(Body::empty()).expect("a request")
    }

    #[test]
    fn a_host_is_an_address_localhost_or_listed() {
        for ours in
            ["localhost:8080", "127.0.0.1:80", "[::1]:443", "192.0.2.7", "meet.example", "MEET.example:1"]
        {
            assert!(names().check_host(&request(ours, None)).is_ok(), "{ours}");
        }
        for foreign in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "x@y z", ""] {
            assert!(names().check_host(&request(foreign, None)).is_err(), "{foreign}");
        }
    }

    #[test]
    fn an_origin_is_the_hosts_own_or_listed() {
        let allowed = |host, origin| names().check_origin(request(host, origin).headers()).is_ok();
        assert!(allowed("localhost:8080", None));
        assert!(allowed("localhost:8080", Some("http://localhost:8080")));
        assert!(allowed("meet.example", Some("https://meet.example")));
        assert!(allowed("localhost:8080", Some("https://app.example")));
        for foreign in
            ["http://localhost:9", "http://127.0.0.1:8080", "null", "https://app.example.evil", "file://"]
        {
            assert!(!allowed("localhost:8080", Some(foreign)), "{foreign}");
        }
    }
}
