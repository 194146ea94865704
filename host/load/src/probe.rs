//! What the host spends: of a process of this machine as the system counts it, of any other as its metrics say. Knows
//! nothing of bots.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use tidegate_trust::Target;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

/// A host that takes longer to tell its metrics is not asked again in this second.
const PATIENCE: Duration = Duration::from_millis(800);
/// Of proc(5); Linux tells programs hundredths of a second whatever its own clock does.
const TICKS_PER_S: f64 = 100.0;
/// The most bytes of metrics that are read.
const METRICS_BYTES: u64 = 4 << 20;

/// How to look at the host.
#[derive(Clone, Debug)]
pub enum Probe {
    /// A process of this machine.
    Process(u32),
    /// Its metrics, over TLS where it is served so.
    Metrics(Target, Option<Arc<ClientConfig>>),
}

/// The host at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// CPU time since it started; known of a process only.
    pub cpu: Option<Cpu>,
    /// Cores it keeps busy now; known from metrics only.
    pub cores: Option<f64>,
    /// Memory it has of the system.
    pub resident_kib: Option<u64>,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// In the program.
    pub user: Duration,
    /// In the system on its behalf.
    pub system: Duration,
}

impl Cpu {
    /// Both.
    #[must_use]
    pub fn total(self) -> Duration {
        self.user + self.system
    }
}

impl Probe {
    /// Looks once. May block for a second.
    #[must_use]
    pub fn read(&self) -> Reading {
        match self {
            Self::Process(pid) => Reading { cpu: cpu(*pid), cores: None, resident_kib: resident_kib(*pid) },
            Self::Metrics(target, tls) => {
                let cores = metrics(target, tls.as_ref()).as_deref().and_then(cores);
                Reading { cores, ..Reading::default() }
            }
        }
    }
}

/// Exact in sum (the scheduler's nanoseconds of all threads), sampled in its division by user and system.
fn cpu(pid: u32) -> Option<Cpu> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (user, system) = read_stat(&stat)?;
    let sampled = Cpu { user, system };
    let Some(exact) = scheduled(pid) else { return Some(sampled) };
    let part = system.as_secs_f64() / sampled.total().as_secs_f64().max(1e-9);
    let system = exact.mul_f64(part.clamp(0.0, 1.0));
    Some(Cpu { user: exact.saturating_sub(system), system })
}

/// Fields 14 and 15 of proc(5)'s stat; the name in the second may hold anything but ends with the last bracket.
fn read_stat(stat: &str) -> Option<(Duration, Duration)> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11).map(str::parse::<u64>);
    let mut span = || Some(Duration::from_secs_f64(fields.next()?.ok()? as f64 / TICKS_PER_S));
    Some((span()?, span()?))
}

/// Threads that have ended meanwhile are missing: a host's are there for its life.
fn scheduled(pid: u32) -> Option<Duration> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let of_task = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    let sum: u64 = tasks.filter_map(|task| of_task(task.ok()?.path())).sum();
    (sum > 0).then_some(Duration::from_nanos(sum))
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn metrics(target: &Target, tls: Option<&Arc<ClientConfig>>) -> Option<String> {
    let stream = TcpStream::connect_timeout(&target.address(), PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let Some(tls) = tls else { return ask_metrics(stream, target) };
    let name = ServerName::try_from(target.name().to_owned()).ok()?;
    let connection = ClientConnection::new(Arc::clone(tls), name).ok()?;
    ask_metrics(StreamOwned::new(connection, stream), target)
}

fn ask_metrics(mut stream: impl Read + Write, target: &Target) -> Option<String> {
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.authority())
        .ok()?;
    let mut answer = String::new();
    // Whoever closes without a word (TLS has one for it) has said enough all the same.
    let _ = stream.take(METRICS_BYTES).read_to_string(&mut answer);
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

/// The shards' CPU, added up.
fn cores(metrics: &str) -> Option<f64> {
    let samples = metrics.lines().filter(|line| line.starts_with("tidegate_shard_cpu_permille{"));
    let values: Vec<f64> = samples.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::{Duration, Probe, cores, read_stat};

    #[test]
    fn a_process_name_with_brackets_does_not_move_the_fields() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 8 0 100 0 0";
        assert_eq!(read_stat(stat), Some((Duration::from_millis(2_500), Duration::from_millis(500))));
        assert_eq!(read_stat("7 (a"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_used_some_cpu_and_memory() {
        let reading = Probe::Process(std::process::id()).read();
        assert!(reading.resident_kib.is_some_and(|kib| kib > 100), "{reading:?}");
        assert!(reading.cpu.is_some(), "{reading:?}");
    }

    #[test]
    fn shards_are_added_up() {
        let page = "# HELP tidegate_shard_cpu_permille x\ntidegate_shard_cpu_permille{shard=\"0\"} 250\n\
            tidegate_shard_cpu_permille{shard=\"1\"} 500\nother 3\n";
        assert_eq!(cores(page), Some(0.75));
        assert_eq!(cores("nothing"), None);
    }
}
