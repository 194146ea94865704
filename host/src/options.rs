//! The command line: every flag declared once, with its help, default and unit, and a file of the same names
//! beneath it. Knows nothing of what a flag is used for, and opens nothing but that file.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser, ValueEnum, value_parser};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use tidegate_types::decision::{Decision, OnFailure};
use tidegate_types::transport::SrtpProfile;

/// The most shards of one node, as host/shard bounds them.
const MOST_SHARDS: u16 = 128;

/// The most memory of a policy's instance, in MiB, as host/policy bounds it.
const MOST_POLICY_MIB: u16 = 1_024;

/// What else the program does.
const BESIDES: &str = "Besides serving: `tidegate plugin` writes, tests and measures policies, `tidegate policy` shows and \
    changes who decides in a running host, `tidegate people` who is inside there, `tidegate load` joins one with many people. Each has its own --help.";

/// A programmable WebRTC media host: many cores act as one, and WebAssembly components decide who enters and
/// where work is placed.
#[derive(Clone, Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100, after_help = BESIDES)]
pub struct Options {
    /// Read flags from a TOML file as well; the same names, and a flag given here wins over the file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where HTTP and WebSocket are served; port 0 lets the kernel choose
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7000", help_heading = "Doors")]
    pub listen: SocketAddr,

    /// Certificate chain in PEM: serve HTTPS instead of HTTP
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Doors")]
    pub tls_certificate: Option<PathBuf>,

    /// Private key in PEM that belongs to the certificate
    #[arg(long, value_name = "FILE", requires = "tls_certificate", help_heading = "Doors")]
    pub tls_key: Option<PathBuf>,

    /// Serve HTTPS with a certificate made at the start, which browsers warn of: for trying from other machines
    #[arg(long, conflicts_with = "tls_certificate", help_heading = "Doors")]
    pub tls_self_signed: bool,

    /// Origin whose pages may open sessions besides the host's own, as https://example.org; repeatable
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', help_heading = "Doors")]
    pub allow_origin: Vec<String>,

    /// Name that browsers reach this host by, besides localhost and IP addresses; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Doors")]
    pub public_host: Vec<String>,

    /// File holding the token that opens console, admin API and metrics from other machines; without it (and
    /// without TIDEGATE_ADMIN_TOKEN in the environment) they answer on loopback only
    #[arg(long, value_name = "FILE", help_heading = "Doors")]
    pub admin_token_file: Option<PathBuf>,

    /// Joins per second that one client address may ask for
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=100_000),
        help_heading = "Doors")]
    pub join_rate: u32,

    /// Threads that carry media [default: one per core]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=i64::from(MOST_SHARDS)), help_heading = "Media")]
    pub shards: Option<u16>,

    /// Local address to carry media on; repeatable [default: 127.0.0.1 when --listen is loopback, otherwise
    /// every address of this machine that is not]
    #[arg(long, value_name = "IP", value_delimiter = ',', help_heading = "Media")]
    pub rtc_address: Vec<IpAddr>,

    /// Port of the first shard (UDP, and TCP unless --no-rtc-tcp), the next one has the next port; 0 lets the kernel choose
    #[arg(long, value_name = "PORT", default_value_t = 7100, help_heading = "Media")]
    pub rtc_port: u16,

    /// All shards share the one port
    #[arg(long, help_heading = "Media")]
    pub single_port: bool,

    /// Carry media over UDP alone; otherwise the same ports of TCP serve those whose network passes nothing else
    #[arg(long, help_heading = "Media")]
    pub no_rtc_tcp: bool,

    /// Address to tell peers instead of the local one (NAT, containers); repeatable, in the order of
    /// --rtc-address
    #[arg(long, value_name = "IP", value_delimiter = ',', help_heading = "Media")]
    pub announce: Vec<IpAddr>,

    /// SRTP profiles to agree to
    #[arg(
        long,
        value_name = "PROFILE",
        value_enum,
        value_delimiter = ',',
        default_value = "aes-gcm-256,aes-gcm-128,aes-cm",
        help_heading = "Media"
    )]
    pub srtp_profiles: Vec<Profile>,

    /// Forward the sound of so many people of a room at once, the loudest; rooms with at most twice as many
    /// microphones forward all; 0 forwards all everywhere
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u16).range(0..=1_000),
        help_heading = "Media")]
    pub loudest: u16,

    /// Leave out layers of pictures, sound never, where a shard's packets wait longer than this throughout; 0 never does
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = value_parser!(u16).range(0..=10_000),
        help_heading = "Media")]
    pub shed_delay_ms: u16,

    /// Transports that may begin to move to another shard within a minute, whoever wishes it; 0 moves nobody
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = value_parser!(u16).range(0..=6_000),
        help_heading = "Media")]
    pub moves_per_minute: u16,

    /// Which component decides, as authorize=auth-token or allocate=./mine.wasm; authorize takes several, with commas
    /// between them, asked in this order until one refuses; repeatable [default: authorize=auth-open
    /// allocate=allocate-pack balance=balance-steady; share is made by the host's own rule]
    #[arg(long, value_name = "DECISION=NAME|PATH", value_parser = chosen, help_heading = "Policies")]
    pub policy: Vec<(Decision, String)>,

    /// A component's configuration, as authorize={"keys":[]} or authorize=@file.json, or authorize.2=… for the second of
    /// several; repeatable
    #[arg(long, value_name = "DECISION=JSON|@FILE", value_parser = configured, help_heading = "Policies")]
    pub policy_config: Vec<(Decision, usize, String)>,

    /// What becomes of a question that its component does not answer, as authorize=last-good: refuse, built-in (not for
    /// authorize) or last-good, which asks the component that was in force before; repeatable [default:
    /// authorize=refuse, the others built-in]
    #[arg(long, value_name = "DECISION=WHAT", value_parser = failing, help_heading = "Policies")]
    pub on_failure: Vec<(Decision, OnFailure)>,

    /// Look at the files of components once a second, and put a changed one in force
    #[arg(long, help_heading = "Policies")]
    pub policy_watch: bool,

    /// The most memory that one instance of a component may have, in MiB, as authorize=64; repeatable [default: 16
    /// for each]
    #[arg(long, value_name = "DECISION=MIB", value_parser = megabytes, help_heading = "Policies")]
    pub policy_memory: Vec<(Decision, u16)>,

    /// What authorize may have looked up, as people={"kind":"http","url":"https://db.example/people/{key}"} or
    /// people=@file.json; kinds are http, jwks and command; repeatable
    #[arg(long, value_name = "NAME=JSON|@FILE", value_parser = named, help_heading = "Policies")]
    pub lookup: Vec<(String, String)>,

    /// Write everything that components are asked and told to this file, so that `replay` can decide it again; when it is
    /// full it becomes FILE.1 and a new one begins
    #[arg(long, value_name = "FILE", help_heading = "Policies")]
    pub record: Option<PathBuf>,

    /// What both files of a record may hold together, in MiB
    #[arg(long, value_name = "MB", default_value_t = 64, value_parser = value_parser!(u32).range(2..=100_000),
        help_heading = "Policies")]
    pub record_mb: u32,

    /// Keep tokens and configurations in the record as they are; without, what makes a token usable is replaced, and of
    /// configurations a hash is kept
    #[arg(long, requires = "record", help_heading = "Policies")]
    pub record_secrets: bool,

    /// Let auth-open, which admits everyone, serve an address that other machines reach
    #[arg(long, help_heading = "Policies")]
    pub allow_open: bool,

    /// This node's name in console, metrics and policies
    #[arg(long, value_name = "NAME", default_value = "local", help_heading = "Node")]
    pub node_name: String,

    /// This node's region, for policies
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, help_heading = "Node")]
    pub region: String,

    /// What to log: error, warn, info, debug, trace, or a filter such as info,tidegate_control=debug
    #[arg(long, value_name = "FILTER", default_value = "info", help_heading = "Node")]
    pub log: String,

    /// How to write the log
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text", help_heading = "Node")]
    pub log_format: LogFormat,
}

/// An SRTP profile as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// AEAD_AES_256_GCM.
    #[value(name = "aes-gcm-256")]
    AesGcm256,
    /// AEAD_AES_128_GCM.
    #[value(name = "aes-gcm-128")]
    AesGcm128,
    /// AES_CM_128_HMAC_SHA1_80.
    #[value(name = "aes-cm")]
    AesCm,
}

impl From<Profile> for SrtpProfile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::AesGcm256 => Self::AeadAes256Gcm,
            Profile::AesGcm128 => Self::AeadAes128Gcm,
            Profile::AesCm => Self::Aes128CmSha1_80,
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Options {
    /// Reads a command line, its program name first, and the file that it names.
    ///
    /// # Errors
    /// What clap says, naming flag, value and range; its `exit` prints that and ends the process with 2 (or
    /// with 0 for `--help` and `--version`).
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let command = Self::command().args_override_self(true);
        let mut matches = command.clone().try_get_matches_from(&arguments)?;
        if let Some(file) = matches.get_one::<PathBuf>("config") {
            let below = file_arguments(&command, &matches, file)?;
            let layered = arguments.iter().take(1).chain(&below).chain(arguments.iter().skip(1));
            matches = command.clone().try_get_matches_from(layered)?;
        }
        let options = Self::from_arg_matches(&matches)?;
        options.check_ports(&command)?;
        Ok(options)
    }

    /// The number of shards: as told, otherwise one per core.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.shards.unwrap_or_else(|| u16::try_from(cores()).unwrap_or(MOST_SHARDS).clamp(1, MOST_SHARDS))
    }

    fn check_ports(&self, command: &Command) -> Result<(), clap::Error> {
        let last = u16::MAX - (self.shard_count() - 1);
        if self.single_port || self.rtc_port <= last {
            return Ok(());
        }
        let reason = format!("with {} shards it is not in 0..={last}", self.shard_count());
        Err(invalid(command, "--rtc-port <PORT>", &self.rtc_port.to_string(), &reason))
    }
}

/// A clap error of the kind that its own value parsers make.
fn invalid(command: &Command, flag: &str, value: &str, reason: &str) -> clap::Error {
    let mut error = clap::Error::raw(
        ErrorKind::ValueValidation,
        format!("invalid value '{value}' for '{flag}': {reason}\n"),
    )
    .with_cmd(command);
    error.insert(ContextKind::InvalidArg, ContextValue::String(flag.to_owned()));
    error
}

/// `decision=text`.
fn chosen(argument: &str) -> Result<(Decision, String), String> {
    let (decision, rest) =
        argument.split_once('=').ok_or("expected DECISION=…, as in authorize=auth-token")?;
    let known = Decision::ALL.into_iter().find(|known| known.name() == decision).ok_or_else(|| {
        format!("there is no decision '{decision}'; known: {}", Decision::ALL.map(Decision::name).join(", "))
    })?;
    Ok((known, rest.to_owned()))
}

/// `decision=text` or `decision.position=text`.
fn configured(argument: &str) -> Result<(Decision, usize, String), String> {
    let (whose, rest) = argument.split_once('=').ok_or("expected DECISION=…, as in authorize=@file.json")?;
    let (decision, position) = whose.split_once('.').unwrap_or((whose, "1"));
    let (decision, _) = chosen(&format!("{decision}="))?;
    let position = position.parse().ok().filter(|position| *position > 0);
    let position = position.ok_or("positions in a chain count from 1, as in authorize.2=…")?;
    Ok((decision, position, rest.to_owned()))
}

/// `name=text`.
fn named(argument: &str) -> Result<(String, String), String> {
    let (name, rest) = argument.split_once('=').ok_or("expected NAME=…, as in people=@file.json")?;
    Ok((name.to_owned(), rest.to_owned()))
}

/// `decision=what`.
fn failing(argument: &str) -> Result<(Decision, OnFailure), String> {
    let (decision, what) = chosen(argument)?;
    let allowed = OnFailure::allowed(decision);
    let known = allowed.iter().find(|known| known.name() == what);
    known.map(|known| (decision, *known)).ok_or_else(|| {
        let allowed: Vec<&str> = allowed.iter().map(|known| known.name()).collect();
        format!("{} takes {}", decision.name(), allowed.join(", "))
    })
}

/// `decision=MiB`.
fn megabytes(argument: &str) -> Result<(Decision, u16), String> {
    let (decision, text) = chosen(argument)?;
    let range = 1..=MOST_POLICY_MIB;
    let megabytes = text.parse().ok().filter(|megabytes| range.contains(megabytes));
    megabytes.map(|megabytes| (decision, megabytes)).ok_or(format!("{text} is not in 1..={MOST_POLICY_MIB}"))
}

/// The file as arguments, to be put before those of the command line, without the flags that are given there:
/// so that a file's value passes the same parser and a flag always wins.
fn file_arguments(command: &Command, given: &ArgMatches, path: &Path) -> Result<Vec<OsString>, clap::Error> {
    let fail = |problem: String| {
        clap::Error::raw(ErrorKind::Io, format!("{}: {problem}\n", path.display())).with_cmd(command)
    };
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| fail(error.to_string()))?;
    let mut arguments = Vec::new();
    for (name, value) in &table {
        let flag = command
            .get_arguments()
            .find(|flag| flag.get_long() == Some(name) && name != "config")
            .ok_or_else(|| fail(format!("there is no setting '{name}'; it takes the flags of --help")))?;
        if given.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine) {
            continue;
        }
        let switch = matches!(flag.get_action(), ArgAction::SetTrue);
        arguments.extend(
            flag_arguments(name, value, switch).map_err(|problem| fail(format!("{name}: {problem}")))?,
        );
    }
    Ok(arguments)
}

/// One setting as arguments. A table stands for a repeatable `--flag key=value`.
fn flag_arguments(name: &str, value: &toml::Value, switch: bool) -> Result<Vec<OsString>, &'static str> {
    let flag = |text: String| OsString::from(format!("--{name}={text}"));
    Ok(match value {
        toml::Value::Boolean(on) if switch => Vec::from_iter(on.then(|| format!("--{name}").into())),
        _ if switch => return Err("a switch takes true or false"),
        toml::Value::Array(items) => items.iter().map(|item| flag(plain(item))).collect(),
        toml::Value::Table(entries) => {
            entries.iter().map(|(key, item)| flag(format!("{key}={}", plain(item)))).collect()
        }
        single => vec![flag(plain(single))],
    })
}

/// A string as it is, anything else as JSON.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::{CommandFactory, Decision, Options, Profile};
    use std::ffi::OsString;
    use std::path::PathBuf;

    fn read(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::read(std::iter::once("tidegate").chain(arguments.iter().copied()).map(OsString::from))
    }

    fn refusal(arguments: &[&str]) -> String {
        let error = read(arguments).expect_err("this must be refused");
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    /// A file that goes with the test.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tidegate-options-{}-{name}", std::process::id()));
            std::fs::write(&path, text).expect("the temporary folder can be written to");
            Self(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().expect("temporary paths are text")
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn declarations_are_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn every_flag_has_help() {
        for flag in Options::command().get_arguments() {
            assert!(flag.get_help().is_some(), "--{} has no help", flag.get_id());
        }
    }

    #[test]
    fn the_readme_tells_every_flag_with_its_default() {
        let readme =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
        let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `--")).collect();
        for flag in Options::command().get_arguments() {
            let Some(long) = flag.get_long() else { continue };
            let own =
                |row: &&&str| row.contains(&format!("`--{long} ")) || row.contains(&format!("`--{long}`"));
            let row = rows.iter().find(own).unwrap_or_else(|| panic!("the README's table lacks --{long}"));
            for default in flag.get_default_values().iter().filter_map(|value| value.to_str()) {
                let shown = default.is_empty() || default == "false" || row.contains(&format!("`{default}`"));
                assert!(shown, "the README's row of --{long} lacks its default {default}: {row}");
            }
        }
    }

    #[test]
    fn defaults_serve_the_local_machine() {
        let options = read(&[]).expect("no flag is needed");
        assert_eq!(options.listen.to_string(), "127.0.0.1:7000");
        assert!(options.shard_count() >= 1);
        assert_eq!(options.srtp_profiles.first(), Some(&Profile::AesGcm256));
        assert!(!options.allow_open);
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_flag_value_and_range() {
        for (arguments, words) in [
            (&["--shards", "0"][..], ["--shards", "0", "1..=128"]),
            (&["--shards", "129"], ["--shards", "129", "1..=128"]),
            (&["--rtc-port", "65530", "--shards", "8"], ["--rtc-port", "65530", "0..=65528"]),
            (&["--rtc-port", "70000"], ["--rtc-port", "70000", "0..=65535"]),
            (&["--join-rate", "0"], ["--join-rate", "0", "1..=100000"]),
            (&["--listen", "nowhere"], ["--listen", "nowhere", "socket address"]),
            (
                &["--policy", "welcome=auth-open"],
                ["--policy", "welcome", "authorize, allocate, balance, share"],
            ),
            (&["--policy-memory", "authorize=0"], ["--policy-memory", "authorize=0", "1..=1024"]),
            (&["--policy-memory", "64"], ["--policy-memory", "64", "DECISION="]),
            (&["--policy-config", "authorize.0={}"], ["--policy-config", "authorize.0", "from 1"]),
            (&["--lookup", "people"], ["--lookup", "people", "NAME="]),
            (&["--on-failure", "authorize=built-in"], ["--on-failure", "built-in", "refuse, last-good"]),
            (&["--srtp-profiles", "des"], ["--srtp-profiles", "des", "aes-gcm-128"]),
        ] {
            let refusal = refusal(arguments);
            assert!(words.iter().all(|word| refusal.contains(word)), "{words:?} not in: {refusal}");
        }
    }

    #[test]
    fn a_file_takes_the_same_names_and_a_flag_wins() {
        let file = File::new(
            "layers.toml",
            "shards = 3\nsingle-port = true\nannounce = ['192.0.2.1', '192.0.2.2']\nnode-name = 'file'\n\
             [policy]\nauthorize = 'auth-token'\n[policy-config.authorize]\nissuer = 'us'\n\
             [policy-memory]\nauthorize = 64\n[lookup.keys]\nkind = 'jwks'\nrefresh-s = 60\n",
        );
        let options = read(&["--config", file.path(), "--announce", "198.51.100.7", "--node-name=flag"])
            .expect("the file is sound");
        assert_eq!(options.shards, Some(3));
        assert!(options.single_port);
        assert_eq!(options.announce.len(), 1, "a repeatable flag replaces the file's list");
        assert_eq!(options.node_name, "flag");
        assert_eq!(options.policy, [(Decision::Authorize, "auth-token".to_owned())]);
        assert_eq!(options.policy_memory, [(Decision::Authorize, 64)]);
        assert_eq!(options.lookup, [("keys".to_owned(), r#"{"kind":"jwks","refresh-s":60}"#.to_owned())]);
        assert_eq!(options.policy_config, [(Decision::Authorize, 1, r#"{"issuer":"us"}"#.to_owned())]);
    }

    #[test]
    fn a_file_is_refused_for_what_the_flags_would_be() {
        for (text, words) in [
            ("shards = 300", ["--shards", "1..=128"]),
            ("shard = 3", ["no setting", "shard"]),
            ("single-port = 'yes'", ["single-port", "true or false"]),
            ("config = 'other.toml'", ["no setting", "config"]),
            ("shards = ", ["shards", "1"]),
        ] {
            let file = File::new("refused.toml", text);
            let refusal = refusal(&["--config", file.path()]);
            assert!(words.iter().all(|word| refusal.contains(word)), "{words:?} not in: {refusal}");
        }
        assert!(refusal(&["--config", "/nowhere/tidegate.toml"]).contains("/nowhere/tidegate.toml"));
    }

    #[test]
    fn certificate_and_key_come_together() {
        assert!(refusal(&["--tls-certificate", "a.pem"]).contains("--tls-key"));
        let both = ["--tls-certificate", "a.pem", "--tls-key", "b.pem", "--tls-self-signed"];
        assert!(refusal(&both).contains("--tls-self-signed"));
    }
}
