//! The host's command, started and looked at from outside. Knows nothing of what it is asked.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A started host, ended with the test.
pub struct Host {
    process: Child,
    /// Held open: a host that cannot print any more would end.
    _lines: BufReader<ChildStdout>,
    log: PathBuf,
    pub address: SocketAddr,
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["--listen", "127.0.0.1:0", "--rtc-port", "0", "--shards", "1", "--join-rate", "10000"]);
    command.args(arguments).env_remove("TIDEGATE_ADMIN_TOKEN").stdin(Stdio::null());
    command
}

impl Host {
    /// One at free ports, once it has said what to open. Its log goes to a file of this name.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let log = crate::plugins::scratch().join(format!("{name}.log"));
        let file = File::create(&log).expect("the log can be written");
        let mut process =
            command(arguments).stdout(Stdio::piped()).stderr(file).spawn().expect("the command runs");
        let mut lines = BufReader::new(process.stdout.take().expect("its output is piped"));
        let mut page = String::new();
        while !page.contains("policies") {
            let read = lines.read_line(&mut page).expect("it prints text");
            assert_ne!(
                read,
                0,
                "it ended early: {page}{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
        }
        let port = page.split("localhost:").nth(1).and_then(|rest| rest.split('/').next()).expect("a port");
        let address = format!("127.0.0.1:{port}").parse().expect("a port");
        Self { process, _lines: lines, log, address }
    }

    /// Memory that it has of the system, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// How much it has logged, in bytes.
    pub fn logged_bytes(&self) -> u64 {
        std::fs::metadata(&self.log).expect("its log").len()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
