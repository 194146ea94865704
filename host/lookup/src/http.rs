//! One GET (HTTP/1.1, RFC 9112) to one fixed server: what comes is bounded, redirects are not followed. Knows nothing
//! of what is fetched or when.
//!
//! A connection serves one request: what is asked for often is kept, and a connection that waits would have to be
//! watched.

use crate::config::{ConfigError, ServerConfig};
use crate::template::Template;
use crate::tls;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT_ENCODING, CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tidegate_types::Secret;
use tidegate_types::decision::LookupError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// The largest head of a response, in bytes.
const HEAD_BYTES: usize = 16 << 10;
/// The most header lines.
const HEADERS: usize = 64;

/// No body: nothing is sent but the question.
type Question = Request<Empty<Bytes>>;

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
        let question = self.question(key)?;
        let stream = TcpStream::connect((self.template.host.as_str(), self.template.port)).await;
        let stream = stream.map_err(|_| LookupError::Unreachable)?;
        // Where it fails, the request goes out a moment later.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => exchange(stream, question, self.most_bytes).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                exchange(stream.map_err(|_| LookupError::Unreachable)?, question, self.most_bytes).await
            }
        }
    }

    fn question(&self, key: &str) -> Result<Question, LookupError> {
        let mut question = Request::get(self.template.target(key)?)
            .header(HOST, &self.template.authority)
            .header(CONNECTION, "close")
            .header(USER_AGENT, "tidegate")
            .header(ACCEPT_ENCODING, "identity");
        for (name, value) in &self.headers {
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| LookupError::Failed)?;
            value.set_sensitive(true);
            question = question.header(name, value);
        }
        question.body(Empty::new()).map_err(|_| LookupError::BadKey)
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    question: Question,
    most_bytes: usize,
) -> Result<Vec<u8>, LookupError> {
    let shaken = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = shaken.map_err(|_| LookupError::Unreachable)?;
    let answer = async {
        let response = sender.send_request(question).await.map_err(|error| named(&error))?;
        if response.status() != StatusCode::OK {
            return Err(LookupError::Status(response.status().as_u16()));
        }
        match Limited::new(response.into_body(), most_bytes).collect().await {
            Ok(body) => Ok(body.to_bytes().to_vec()),
            Err(error) if error.is::<LengthLimitError>() => Err(LookupError::TooLarge),
            Err(_) => Err(LookupError::Failed),
        }
    };
    // What goes wrong on the connection, the answer's side is told.
    let carries = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = answer => answer,
        never = carries => match never {},
    }
}

fn named(error: &hyper::Error) -> LookupError {
    if error.is_parse_too_large() { LookupError::TooLarge } else { LookupError::Failed }
}

#[cfg(test)]
mod tests {
    use super::{Empty, HEAD_BYTES, LookupError, Request, exchange};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    /// What is made of a response to a request that was read.
    async fn read(response: &[u8], most: usize) -> Result<Vec<u8>, LookupError> {
        let (ours, mut theirs) = duplex(2 * HEAD_BYTES);
        let question = Request::get("/").body(Empty::new()).expect("a request");
        let answers = async {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(theirs.read_u8().await.expect("a request"));
            }
            // Whoever has enough has gone.
            let _ = theirs.write_all(response).await;
            drop(theirs);
        };
        tokio::join!(exchange(ours, question, most), answers).0
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
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", LookupError::Failed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", LookupError::Failed),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                LookupError::Failed,
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
