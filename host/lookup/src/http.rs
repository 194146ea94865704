//! One GET (HTTP/1.1, RFC 9112) to one fixed server: what comes is bounded, redirects are not followed. Knows nothing
//! of what is fetched or when.
//!
//! A connection serves one request: what is asked for often is kept, and a connection that waits would have to be
//! watched.

use crate::config::{ConfigError, ServerConfig};
use crate::template::Template;
use crate::tls;
use httparse::{Status, parse_chunk_size};
use std::fmt::Write as _;
use tidegate_types::Secret;
use tidegate_types::decision::LookupError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// The largest head of a response, in bytes.
const HEAD_BYTES: usize = 16 << 10;
/// The most header lines.
const HEADERS: usize = 64;
/// What is read at once, in bytes.
const READ_BYTES: usize = 4 << 10;

/// A server, and what is asked of it.
pub(crate) struct Server {
    template: Template,
    headers: Vec<(String, Secret)>,
    most_bytes: usize,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Server {
    pub(crate) fn new(lookup: &str, config: ServerConfig) -> Result<Self, ConfigError> {
        let ServerConfig { template, headers, most_bytes, authorities } = config;
        let wrong = |field: &str, reason: String| ConfigError::new(lookup, field, reason);
        let tls = if template.tls {
            let name = ServerName::try_from(template.host.clone())
                .map_err(|_| wrong("url", format!("{} is no name of a server", template.host)))?;
            Some((tls::connector(authorities.as_deref()).map_err(|reason| wrong("ca", reason))?, name))
        } else {
            None
        };
        Ok(Self { template, headers, most_bytes, tls })
    }

    /// The body of a 200 for this key.
    pub(crate) async fn get(&self, key: &str) -> Result<Vec<u8>, LookupError> {
        let request = self.request(key)?;
        let stream = TcpStream::connect((self.template.host.as_str(), self.template.port)).await;
        let stream = stream.map_err(|_| LookupError::Unreachable)?;
        // Where it fails, the request goes out a moment later.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.exchange(stream, &request).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                self.exchange(stream.map_err(|_| LookupError::Unreachable)?, &request).await
            }
        }
    }

    fn request(&self, key: &str) -> Result<String, LookupError> {
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nUser-Agent: tidegate\r\nAccept-Encoding: identity\r\n",
            self.template.target(key)?,
            self.template.authority
        );
        for (name, value) in &self.headers {
            let _ = write!(request, "{name}: {}\r\n", value.expose());
        }
        request.push_str("\r\n");
        Ok(request)
    }

    async fn exchange(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        request: &str,
    ) -> Result<Vec<u8>, LookupError> {
        stream.write_all(request.as_bytes()).await.map_err(|_| LookupError::Unreachable)?;
        stream.flush().await.map_err(|_| LookupError::Unreachable)?;
        let mut incoming = Incoming { stream, read: Vec::new() };
        let length = incoming.head().await?;
        incoming.body(length, self.most_bytes).await
    }
}

/// How long a body is (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
    /// Until the connection ends.
    Open,
}

struct Incoming<S> {
    stream: S,
    /// Read, and not yet used.
    read: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Incoming<S> {
    /// Reads more; false at the end.
    async fn more(&mut self) -> Result<bool, LookupError> {
        let mut piece = [0; READ_BYTES];
        let count = self.stream.read(&mut piece).await.map_err(|_| LookupError::Failed)?;
        self.read.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    /// The head of a 200.
    async fn head(&mut self) -> Result<Length, LookupError> {
        loop {
            if let Some((used, status, length)) = head(&self.read)? {
                self.read.drain(..used);
                match status {
                    // RFC 9110, section 15.2: another head follows.
                    100..=199 => continue,
                    200 => return Ok(length),
                    status => return Err(LookupError::Status(status)),
                }
            }
            if self.read.len() >= HEAD_BYTES {
                return Err(LookupError::TooLarge);
            }
            if !self.more().await? {
                return Err(LookupError::Failed);
            }
        }
    }

    async fn body(&mut self, length: Length, most: usize) -> Result<Vec<u8>, LookupError> {
        match length {
            Length::Known(length) if length > most => Err(LookupError::TooLarge),
            Length::Known(length) => self.take(length).await,
            Length::Chunked => self.chunks(most).await,
            Length::Open => {
                while self.more().await? {
                    if self.read.len() > most {
                        return Err(LookupError::TooLarge);
                    }
                }
                if self.read.len() > most {
                    Err(LookupError::TooLarge)
                } else {
                    Ok(std::mem::take(&mut self.read))
                }
            }
        }
    }

    async fn take(&mut self, count: usize) -> Result<Vec<u8>, LookupError> {
        while self.read.len() < count {
            if !self.more().await? {
                return Err(LookupError::Failed);
            }
        }
        let rest = self.read.split_off(count);
        Ok(std::mem::replace(&mut self.read, rest))
    }

    /// RFC 9112, section 7.1. What follows the last chunk is left unread.
    async fn chunks(&mut self, most: usize) -> Result<Vec<u8>, LookupError> {
        let mut body = Vec::new();
        loop {
            let size = self.chunk_size().await?;
            if size == 0 {
                return Ok(body);
            }
            if size > most - body.len() {
                return Err(LookupError::TooLarge);
            }
            body.append(&mut self.take(size).await?);
            if self.take(2).await? != b"\r\n" {
                return Err(LookupError::Failed);
            }
        }
    }

    async fn chunk_size(&mut self) -> Result<usize, LookupError> {
        loop {
            match parse_chunk_size(&self.read) {
                Ok(Status::Complete((used, size))) => {
                    self.read.drain(..used);
                    return usize::try_from(size).map_err(|_| LookupError::TooLarge);
                }
                Ok(Status::Partial) if self.read.len() < READ_BYTES => {}
                Ok(Status::Partial) | Err(_) => return Err(LookupError::Failed),
            }
            if !self.more().await? {
                return Err(LookupError::Failed);
            }
        }
    }
}

/// The bytes of a head, its status, and how long the body is; `None` where it is not whole.
fn head(read: &[u8]) -> Result<Option<(usize, u16, Length)>, LookupError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let used = match response.parse(read) {
        Ok(Status::Complete(used)) => used,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(LookupError::Failed),
    };
    let status = response.code.ok_or(LookupError::Failed)?;
    Ok(Some((used, status, length(response.headers)?)))
}

fn length(headers: &[httparse::Header<'_>]) -> Result<Length, LookupError> {
    let named =
        |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    if let Some(coding) = named("transfer-encoding").next() {
        let chunked = coding.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        let alone = named("transfer-encoding").count() == 1 && named("content-length").count() == 0;
        return if chunked && alone { Ok(Length::Chunked) } else { Err(LookupError::Failed) };
    }
    let mut lengths =
        named("content-length").map(|header| std::str::from_utf8(header.value).unwrap_or("").trim());
    let Some(length) = lengths.next() else { return Ok(Length::Open) };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || lengths.any(|other| other != length) {
        return Err(LookupError::Failed);
    }
    // More digits than a number has is more than anyone takes.
    Ok(Length::Known(length.parse().unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::{HEAD_BYTES, Incoming, LookupError};

    async fn read(response: &[u8], most: usize) -> Result<Vec<u8>, LookupError> {
        let mut incoming = Incoming { stream: response, read: Vec::new() };
        let length = incoming.head().await?;
        incoming.body(length, most).await
    }

    #[tokio::test]
    async fn bodies_come_by_length_in_chunks_or_until_the_end() {
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhello",
            "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        ] {
            assert_eq!(read(response.as_bytes(), 5).await, Ok(b"hello".to_vec()), "{response}");
            assert_eq!(read(response.as_bytes(), 4).await, Err(LookupError::TooLarge), "{response}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_named() {
        for (response, error) in [
            ("", LookupError::Failed),
            ("SSH-2.0-x\r\n\r\n", LookupError::Failed),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", LookupError::Failed),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", LookupError::Failed),
            ("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", LookupError::Failed),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", LookupError::TooLarge),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", LookupError::Failed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", LookupError::Failed),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                LookupError::TooLarge,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nheXX", LookupError::Failed),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", LookupError::Status(404)),
            ("HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", LookupError::Status(302)),
        ] {
            assert_eq!(read(response.as_bytes(), 5).await, Err(error), "{response}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_BYTES));
        assert_eq!(read(endless.as_bytes(), 5).await, Err(LookupError::TooLarge));
    }
}
