//! A host of one's own, for a bench or a test: started at free ports, ended with the value. Knows nothing of what it is
//! asked.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use tidegate_types::transport::Fingerprint;

/// A running host.
#[derive(Debug)]
pub struct Started {
    process: Child,
    /// Held open: a host that cannot print any more would end.
    lines: BufReader<ChildStdout>,
    url: String,
    certificate: Option<String>,
}

impl Started {
    /// Starts `program` with so many shards and these further flags, and waits until it serves.
    ///
    /// # Errors
    /// It cannot be started, or ended before it served: then the error says what it printed.
    pub fn start(program: impl AsRef<OsStr>, shards: usize, flags: &[&str]) -> io::Result<Self> {
        let mut process = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--rtc-port", "0", "--log", "error", "--shards"])
            .arg(shards.to_string())
            .args(flags)
            .env_remove("TIDEGATE_ADMIN_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = process.stdout.take().ok_or_else(|| io::Error::other("its output is not piped"))?;
        let mut started =
            Self { process, lines: BufReader::new(lines), url: String::new(), certificate: None };
        let mut page = String::new();
        while !page.contains("policies") {
            if started.lines.read_line(&mut page)? == 0 {
                return Err(io::Error::other(format!("it ended early: {page}")));
            }
        }
        let port = page.split("localhost:").nth(1).and_then(|rest| rest.split('/').next());
        let port = port.ok_or_else(|| io::Error::other(format!("it names no port: {page}")))?;
        let scheme = if page.contains("https://") { "https" } else { "http" };
        started.url = format!("{scheme}://127.0.0.1:{port}");
        if flags.contains(&"--tls-self-signed") {
            started.certificate = Some(started.read_certificate()?);
        }
        Ok(started)
    }

    /// It stands alone in its line.
    fn read_certificate(&mut self) -> io::Result<String> {
        let mut line = String::new();
        while self.lines.read_line(&mut line)? > 0 {
            if Fingerprint::from_sdp(line.trim()).is_some() {
                return Ok(line.trim().to_owned());
            }
            line.clear();
        }
        Err(io::Error::other("it ended before it told its certificate's SHA-256"))
    }

    /// SHA-256 of the certificate that it made, where it made one.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
