//! The admin API of a running host, over plain HTTP or TLS. Knows nothing of what is asked there.

use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tidegate_trust::rustls::pki_types::ServerName;
use tidegate_trust::rustls::{ClientConnection, StreamOwned};
use tidegate_trust::{Target, Trust, TrustFlags};

/// A component compiles for a while.
const PATIENCE: Duration = Duration::from_secs(120);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES: u64 = 64 << 20;
/// Where the admin token stands if no file is named.
const TOKEN_VARIABLE: &str = "TIDEGATE_ADMIN_TOKEN";

// Which host is asked. A doc comment would stand in the help of whoever flattens it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reach {
    /// The host's front door
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7000", global = true)]
    host: String,

    /// File holding the host's admin token, for a host on another machine [default: $TIDEGATE_ADMIN_TOKEN]
    #[arg(long, value_name = "FILE", global = true)]
    admin_token_file: Option<PathBuf>,

    #[command(flatten)]
    trust: TrustFlags,
}

/// The admin API of one host.
pub(crate) struct Host {
    target: Target,
    token: Option<String>,
    trust: Trust,
}

impl Host {
    /// The host that the flags name.
    pub(crate) fn at(reach: &Reach) -> Result<Self, String> {
        let target = Target::read(&reach.host).map_err(|error| error.to_string())?;
        Ok(Self { target, token: token(reach.admin_token_file.as_deref())?, trust: reach.trust.trust() })
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        self.ask("GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, String> {
        self.ask("POST", path, &body.map(Value::to_string).unwrap_or_default())
    }

    pub(crate) fn delete(&self, path: &str) -> Result<(), String> {
        self.ask("DELETE", path, "").map(drop)
    }

    /// One request, one answer (RFC 9112), without keeping the connection.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, String> {
        let stream = TcpStream::connect(self.target.address()).map_err(|error| self.unreachable(&error))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| self.unreachable(&error))?;
        let request = self.request(method, path, body);
        let answer = if self.target.is_secure() {
            let config = tidegate_trust::client(&self.trust).map_err(|error| error.to_string())?;
            let name = ServerName::try_from(self.target.name().to_owned())
                .map_err(|_| format!("{} is no name that a certificate can hold", self.target.name()))?;
            let connection = ClientConnection::new(config, name).map_err(|error| error.to_string())?;
            exchange(StreamOwned::new(connection, stream), &request)
        } else {
            exchange(stream, &request)
        };
        read(&answer.map_err(|error| self.unreachable(&error))?)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> String {
        let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n", self.target.authority());
        if let Some(token) = &self.token {
            let _ = write!(request, "Authorization: Bearer {token}\r\n");
        }
        let _ =
            write!(request, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        request
    }

    fn unreachable(&self, error: &std::io::Error) -> String {
        let at = self.target.authority();
        // What TLS says comes as such an error.
        if error.kind() == ErrorKind::InvalidData && self.target.is_secure() {
            return format!(
                "{at} is not believed ({error}): name its authority with --ca, or its own --fingerprint, which a host \
                 with --tls-self-signed prints"
            );
        }
        format!(
            "{at} does not answer ({error}): name a running host with --host http://NAME:PORT or https://NAME:PORT"
        )
    }
}

/// What comes back, to its end.
fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES).read_to_end(&mut answer) {
        // A connection that ends without TLS's own goodbye; an answer that is cut is no JSON.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        done => {
            done?;
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The body of an answer, or what its problem document says.
fn read(answer: &str) -> Result<Value, String> {
    let strange = || {
        "the host answered something that is not its admin API: an address with https:// is served over TLS"
            .to_owned()
    };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(strange)?;
    let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(strange)?;
    if status == 204 {
        return Ok(Value::Null);
    }
    let body: Value = serde_json::from_str(body).map_err(|_| strange())?;
    if status == 200 {
        return Ok(body);
    }
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    Err(format!("{} ({})", text("detail"), text("code")))
}

/// What an operator's command comes to, as text or a problem: `tidegate {command}` says it, and ends so.
pub(crate) fn ended(command: &str, done: Result<String, String>) -> ExitCode {
    match done {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("tidegate {command}: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn token(file: Option<&Path>) -> Result<Option<String>, String> {
    let text = match file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => std::env::var(TOKEN_VARIABLE).unwrap_or_default(),
    };
    let token = text.trim();
    if token.contains(char::is_whitespace) {
        return Err("the admin token has white space in it".to_owned());
    }
    Ok((!token.is_empty()).then(|| token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let answer = "HTTP/1.0 409 Conflict\r\nA: b\r\n\r\n{\"code\":\"no-shadow\",\"detail\":\"none\"}";
        assert_eq!(read(answer), Err("none (no-shadow)".to_owned()));
        assert_eq!(read("HTTP/1.0 204 No Content\r\nA: b\r\n\r\n"), Ok(serde_json::Value::Null));
        assert!(read("HTTP/1.0 200 OK\r\n\r\n<p>").is_err());
        assert!(read("nothing").is_err());
    }
}
