//! Whether this machine can carry what is asked for, and what to turn where it cannot. Knows nothing of bots but what
//! each of them takes.

use crate::options::{Kind, Options, cores};
use crate::scenario::packets_per_s;
use crate::sdp::SECTIONS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files of one bot: its session and its media.
const FILES: u64 = 2;
/// Files besides.
const FILES_BESIDES: u64 = 64;
/// Packets per second that one thread of bots has been seen to receive without losing any, with room to spare.
const PACKETS_PER_THREAD: u64 = 120_000;
/// The same of bots of the `webrtc` crate, which spend 44 to 73 µs on a packet at both ends.
pub(crate) const WEBRTC_PACKETS_PER_THREAD: u64 = 12_000;

/// A limit that is too low.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// RLIMIT_NOFILE.
    #[error(
        "{needed} open files are needed, the limit of this process is {limit}: raise it with `ulimit -n {needed}` \
         (as root, or by LimitNOFILE= of its service), or ask for fewer --people"
    )]
    Files {
        /// For all bots.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// Ephemeral ports.
    #[error(
        "{needed} UDP ports are needed, net.ipv4.ip_local_port_range has {limit}: widen it with \
         `sysctl net.ipv4.ip_local_port_range=\"10000 65535\"`, or ask for fewer --people"
    )]
    Ports {
        /// One a bot.
        needed: u64,
        /// What the system hands out.
        limit: u64,
    },
    /// CPU.
    #[error(
        "the bots would receive {packets_per_s} packets a second, {threads} thread(s) of {bots} bots carry about \
         {limit}: raise --threads (this machine has {cores} cores), lower --rate, --fps or --people, run a part on \
         another machine, take --bots engine, or say --overcommit to try"
    )]
    Cores {
        /// Of all bots.
        packets_per_s: u64,
        /// As asked for.
        threads: u64,
        /// Of so many threads.
        limit: u64,
        /// Of this machine.
        cores: u64,
        /// What the bots are made of.
        bots: &'static str,
    },
    /// The host's bound on m-lines.
    #[error(
        "one room's person would need {needed} sections of SDP, the host reads {SECTIONS}: ask for more --rooms, \
         fewer --publishers or one kind of --media"
    )]
    Sections {
        /// In the largest room.
        needed: u32,
    },
}

/// What the machine has.
#[derive(Clone, Copy, Debug)]
struct Machine {
    files: Option<u64>,
    ports: Option<u64>,
    cores: u64,
}

/// Raises what the process may raise by itself and refuses what then still does not fit.
pub(crate) fn check(options: &Options) -> Result<(), LimitError> {
    raise_files(files(options));
    let machine =
        Machine { files: getrlimit(Resource::Nofile).current, ports: ports(), cores: cores() as u64 };
    machine.check(options)
}

impl Machine {
    fn check(self, options: &Options) -> Result<(), LimitError> {
        let kinds = if options.sends() == crate::options::Media::Both { 2 } else { 1 };
        let needed = options.publishers().saturating_mul(kinds);
        if needed > SECTIONS {
            return Err(LimitError::Sections { needed });
        }
        let needed = files(options);
        if let Some(limit) = self.files.filter(|limit| *limit < needed) {
            return Err(LimitError::Files { needed, limit });
        }
        let needed = u64::from(options.people) + u64::from(options.churn);
        if let Some(limit) = self.ports.filter(|limit| *limit < needed) {
            return Err(LimitError::Ports { needed, limit });
        }
        let (packets_per_s, threads) = (packets_per_s(options), options.thread_count() as u64);
        let kind = options.kind();
        let each = if kind == Kind::Webrtc { WEBRTC_PACKETS_PER_THREAD } else { PACKETS_PER_THREAD };
        let limit = threads.min(self.cores) * each;
        if packets_per_s > limit && !options.overcommit {
            let (cores, bots) = (self.cores, kind.name());
            return Err(LimitError::Cores { packets_per_s, threads, limit, cores, bots });
        }
        Ok(())
    }
}

fn files(options: &Options) -> u64 {
    u64::from(options.people + options.churn) * FILES + FILES_BESIDES
}

/// The soft limit is the process's own to raise, up to the hard one.
fn raise_files(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let most = limit.maximum.unwrap_or(needed);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(needed.min(most)), ..limit });
    }
}

/// Ports that the system hands out; unknown on other systems than Linux.
fn ports() -> Option<u64> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse::<u64>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some((last + 1).saturating_sub(first))
}

#[cfg(test)]
mod tests {
    use super::{LimitError, Machine, Options};

    const LARGE: Machine = Machine { files: None, ports: None, cores: 64 };

    fn check(machine: Machine, line: &str) -> Result<(), LimitError> {
        machine.check(&Options::read(line.split(' ').map(Into::into)).expect("sound flags"))
    }

    #[test]
    fn each_limit_is_named_with_how_to_raise_it() {
        let broadcast = "load --scenario broadcast --people 2000 --threads 8";
        let few_files = Machine { files: Some(1_024), ..LARGE };
        let few_ports = Machine { ports: Some(1_000), ..LARGE };
        let few_cores = Machine { cores: 1, ..LARGE };
        for (machine, words) in [
            (few_files, ["4064", "1024", "ulimit -n"]),
            (few_ports, ["2000", "1000", "ip_local_port_range"]),
            (few_cores, ["--threads", "--rate", "--overcommit"]),
        ] {
            let said = check(machine, broadcast).unwrap_err().to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{words:?} not in: {said}");
        }
        assert_eq!(check(LARGE, broadcast), Ok(()));
        assert_eq!(check(few_cores, &format!("{broadcast} --overcommit")), Ok(()));
        let said = check(LARGE, "load --people 60 --bots webrtc --threads 1").unwrap_err().to_string();
        assert!(said.contains("webrtc bots") && said.contains("--bots engine"), "{said}");
        assert_eq!(check(LARGE, "load --people 65"), Err(LimitError::Sections { needed: 130 }));
        assert_eq!(check(LARGE, "load --people 65 --rooms 2 --threads 60"), Ok(()));
    }
}
