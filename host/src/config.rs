//! What a node is started with: the options made definite (addresses found, files read) and held against each
//! other. Knows nothing of the command line's syntax, and binds nothing.

use crate::options::Options;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidegate_lookup::LookupConfig;
use tidegate_policy::{Native, OnFailures, RecordTo};
use tidegate_types::Secret;
use tidegate_types::decision::{Decision, OnFailure};
use tidegate_types::transport::SrtpProfile;

/// The environment variable that may hold the admin token.
pub const ADMIN_TOKEN_VARIABLE: &str = "TIDEGATE_ADMIN_TOKEN";

/// The stock component that lets everybody in.
pub(crate) const OPEN: &str = "auth-open";

/// The most lookups: each may keep a few megabytes.
const LOOKUPS: usize = 32;

/// The shortest admin token taken, in bytes: what is guessed within a lifetime guards nothing.
const ADMIN_TOKEN_BYTES: usize = 16;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where HTTP and WebSocket are served.
    pub listen: SocketAddr,
    /// Certificate chain and private key in PEM, for HTTPS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// HTTPS with a certificate made at the start instead.
    pub tls_self_signed: bool,
    /// Origins that may open sessions besides the host's own.
    pub allowed_origins: Vec<String>,
    /// Names that browsers reach this host by, besides localhost and addresses.
    pub public_hosts: Vec<String>,
    /// What opens console, admin API and metrics from other machines.
    pub admin_token: Option<Secret>,
    /// Joins per second that one client address may ask for.
    pub join_rate: u32,
    /// Threads that carry media.
    pub shards: u16,
    /// Local addresses to carry media on; never empty.
    pub rtc_addresses: Vec<IpAddr>,
    /// UDP port of the first shard; 0 lets the kernel choose.
    pub rtc_port: u16,
    /// All shards share the one port.
    pub single_port: bool,
    /// Besides UDP take TCP on the same ports.
    pub rtc_tcp: bool,
    /// Told to peers instead of the local addresses, in their order.
    pub announce: Vec<IpAddr>,
    /// What may be agreed to.
    pub srtp_profiles: Vec<SrtpProfile>,
    /// How many sounds of a room are forwarded; 0: all.
    pub loudest: usize,
    /// Transports that may begin to move within a minute.
    pub moves_per_minute: usize,
    /// Above which delay a shard sheds layers; `None`: never.
    pub shed_delay: Option<Duration>,
    /// What decides. Without `share` nobody is asked how bit rates divide, and the engines' own rule does.
    pub policies: BTreeMap<Decision, PolicyChoice>,
    /// Asked after authorize's first, in this order, as long as nobody refuses.
    pub authorize_next: Vec<PolicyChoice>,
    /// Native code that decides in the place of what `policies` names: for programs that have the host built in.
    pub native: Vec<Native>,
    /// What becomes of a question that its policy does not answer.
    pub on_failure: OnFailures,
    /// The most memory of share's instance, in MiB, for one that comes in force later.
    pub share_memory_mib: Option<u16>,
    /// What authorize may have looked up.
    pub lookups: Vec<LookupConfig>,
    /// Where everything that policies are asked and told is written.
    pub record: Option<RecordTo>,
    /// Changed component files come in force by themselves.
    pub policy_watch: bool,
    /// `auth-open` may decide here.
    pub open_allowed: bool,
    /// This node's name.
    pub node_name: String,
    /// This node's region; empty if none.
    pub region: String,
}

/// Which component decides, and how it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyChoice {
    /// A stock component's name, or a path.
    pub component: String,
    /// Its configuration; `null` where there is none.
    pub configuration: serde_json::Value,
    /// The most memory that one of its instances may have, in MiB, where that is not the usual.
    pub memory_mib: Option<u16>,
}

/// Why options do not make a node.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `auth-open` would admit the network.
    #[error(
        "auth-open admits everyone, and {0} can be reached from other machines: choose a policy \
         (--policy authorize=auth-token), listen on 127.0.0.1, or pass --allow-open"
    )]
    Open(SocketAddr),
    /// A file that a flag names.
    #[error("{flag} names {path}, which cannot be read ({error}): check the path and its permissions")]
    Unreadable {
        /// The flag.
        flag: &'static str,
        /// What it names.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A configuration that is not JSON.
    #[error("--policy-config {decision} is not JSON ({error}): pass an object, or @file.json")]
    NotJson {
        /// Of which decision.
        decision: &'static str,
        /// Where it stops being JSON.
        error: serde_json::Error,
    },
    /// A lookup that is not JSON.
    #[error("--lookup {lookup} is not JSON ({error}): pass an object, or @file.json")]
    LookupNotJson {
        /// Which.
        lookup: String,
        /// Where it stops being JSON.
        error: serde_json::Error,
    },
    /// A lookup that cannot be used.
    #[error(transparent)]
    Lookup(#[from] tidegate_lookup::ConfigError),
    /// Too many lookups.
    #[error("there are {0} lookups, at most {LOOKUPS} are taken")]
    Lookups(usize),
    /// More than one where one decides.
    #[error("--policy {0} names several components, but only authorize asks more than one: name one")]
    OneOnly(&'static str),
    /// A configuration for nobody.
    #[error("--policy-config {decision}.{position} has no component: --policy {decision} names fewer")]
    NoPosition {
        /// Of which decision.
        decision: &'static str,
        /// For which of its chain.
        position: usize,
    },
    /// A token too easily guessed.
    #[error(
        "the admin token has {0} bytes, at least {ADMIN_TOKEN_BYTES} are needed: make one with `openssl rand -hex 32`"
    )]
    ShortToken(usize),
    /// The machine's addresses are unknown.
    #[error("no address of this machine was found to carry media on: name one with --rtc-address")]
    NoAddress,
}

impl Config {
    /// A node on loopback with the stock policies, its ports chosen by the kernel: for tests and embedding.
    #[must_use]
    pub fn local() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            tls_self_signed: false,
            allowed_origins: Vec::new(),
            public_hosts: Vec::new(),
            admin_token: None,
            join_rate: 100_000,
            shards: 1,
            rtc_addresses: vec![Ipv4Addr::LOCALHOST.into()],
            rtc_port: 0,
            single_port: false,
            rtc_tcp: true,
            announce: Vec::new(),
            srtp_profiles: vec![
                SrtpProfile::AeadAes256Gcm,
                SrtpProfile::AeadAes128Gcm,
                SrtpProfile::Aes128CmSha1_80,
            ],
            loudest: 3,
            moves_per_minute: 60,
            shed_delay: Some(tidegate_media::shed::WATERMARK),
            policies: stock_policies(),
            authorize_next: Vec::new(),
            native: Vec::new(),
            on_failure: OnFailures::usual(),
            share_memory_mib: None,
            lookups: Vec::new(),
            record: None,
            policy_watch: false,
            open_allowed: true,
            node_name: "local".to_owned(),
            region: String::new(),
        }
    }

    /// Makes options definite. `admin_token` is what the environment holds, if anything.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn resolve(options: Options, admin_token: Option<String>) -> Result<Self, ConfigError> {
        let (policies, authorize_next) = choose(&options)?;
        let open_allowed = options.allow_open || options.listen.ip().is_loopback();
        if !open_allowed && policies.get(&Decision::Authorize).into_iter().chain(&authorize_next).all(open) {
            return Err(ConfigError::Open(options.listen));
        }
        Ok(Self {
            listen: options.listen,
            admin_token: admin_secret(options.admin_token_file.as_deref(), admin_token)?,
            rtc_addresses: media_addresses(&options)?,
            shards: options.shard_count(),
            tls: options.tls_certificate.zip(options.tls_key),
            tls_self_signed: options.tls_self_signed,
            allowed_origins: options.allow_origin,
            public_hosts: options.public_host,
            join_rate: options.join_rate,
            rtc_port: options.rtc_port,
            single_port: options.single_port,
            rtc_tcp: !options.no_rtc_tcp,
            announce: options.announce,
            srtp_profiles: options.srtp_profiles.into_iter().map(SrtpProfile::from).collect(),
            loudest: options.loudest.into(),
            moves_per_minute: options.moves_per_minute.into(),
            shed_delay: Some(options.shed_delay_ms)
                .filter(|ms| *ms > 0)
                .map(|ms| Duration::from_millis(ms.into())),
            policies,
            authorize_next,
            native: Vec::new(),
            on_failure: on_failure(&options.on_failure),
            share_memory_mib: of_share(&options.policy_memory),
            lookups: lookups(&options.lookup)?,
            record: options.record.map(|path| RecordTo {
                path,
                bytes: u64::from(options.record_mb) << 20,
                secrets: options.record_secrets,
            }),
            policy_watch: options.policy_watch,
            open_allowed,
            node_name: options.node_name,
            region: options.region,
        })
    }
}

impl Config {
    /// Whether the front door speaks HTTPS.
    #[must_use]
    pub const fn speaks_tls(&self) -> bool {
        self.tls.is_some() || self.tls_self_signed
    }

    /// What a certificate of its own stands for: every name and address that this host may be called by.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let addresses = self.rtc_addresses.iter().chain(&self.announce).copied();
        let own = addresses.chain([self.listen.ip()]).filter(|address| !address.is_unspecified());
        let mut names: Vec<String> = own.map(|address| address.to_string()).collect();
        names.push("localhost".to_owned());
        names.extend(self.public_hosts.iter().cloned());
        names.sort();
        names.dedup();
        names
    }
}

/// What decides where nothing was chosen.
fn stock_policies() -> BTreeMap<Decision, PolicyChoice> {
    [
        (Decision::Authorize, OPEN),
        (Decision::Allocate, "allocate-pack"),
        (Decision::Balance, "balance-steady"),
    ]
    .into_iter()
    .map(|(decision, name)| (decision, PolicyChoice::unconfigured(name)))
    .collect()
}

impl PolicyChoice {
    /// A component without configuration.
    #[must_use]
    pub fn unconfigured(component: impl Into<String>) -> Self {
        Self { component: component.into(), configuration: serde_json::Value::Null, memory_mib: None }
    }
}

/// The last one told.
fn of_share(memory: &[(Decision, u16)]) -> Option<u16> {
    memory.iter().rev().find(|(decision, _)| *decision == Decision::Share).map(|(_, mib)| *mib)
}

fn open(choice: &PolicyChoice) -> bool {
    choice.component == OPEN
}

fn on_failure(chosen: &[(Decision, OnFailure)]) -> OnFailures {
    let mut failures = OnFailures::usual();
    for (decision, what) in chosen {
        *match decision {
            Decision::Authorize => &mut failures.authorize,
            Decision::Allocate => &mut failures.allocate,
            Decision::Balance => &mut failures.balance,
            Decision::Share => &mut failures.share,
        } = *what;
    }
    failures
}

/// The last choice of each decision wins. What follows authorize's first stands apart.
fn choose(options: &Options) -> Result<(BTreeMap<Decision, PolicyChoice>, Vec<PolicyChoice>), ConfigError> {
    let mut policies = stock_policies();
    let mut next = Vec::new();
    for (decision, component) in &options.policy {
        let mut components = component.split(',').map(PolicyChoice::unconfigured);
        let first = components.next().unwrap_or_else(|| PolicyChoice::unconfigured(""));
        policies.insert(*decision, first);
        let rest: Vec<PolicyChoice> = components.collect();
        match decision {
            Decision::Authorize => next = rest,
            Decision::Allocate | Decision::Balance | Decision::Share if rest.is_empty() => {}
            Decision::Allocate | Decision::Balance | Decision::Share => {
                return Err(ConfigError::OneOnly(decision.name()));
            }
        }
    }
    for (decision, position, text) in &options.policy_config {
        let choice = match position {
            1 => policies.get_mut(decision),
            position => next.get_mut(position - 2).filter(|_| *decision == Decision::Authorize),
        };
        let none = || ConfigError::NoPosition { decision: decision.name(), position: *position };
        choice.ok_or_else(none)?.configuration = configuration(*decision, text)?;
    }
    for (decision, megabytes) in &options.policy_memory {
        let rest = next.iter_mut().filter(|_| *decision == Decision::Authorize);
        for choice in policies.get_mut(decision).into_iter().chain(rest) {
            choice.memory_mib = Some(*megabytes);
        }
    }
    Ok((policies, next))
}

fn configuration(decision: Decision, text: &str) -> Result<serde_json::Value, ConfigError> {
    let text = text_or_file("--policy-config", text)?;
    serde_json::from_str(&text).map_err(|error| ConfigError::NotJson { decision: decision.name(), error })
}

/// The last of a name wins.
fn lookups(told: &[(String, String)]) -> Result<Vec<LookupConfig>, ConfigError> {
    let last: BTreeMap<&String, &String> = told.iter().map(|(name, text)| (name, text)).collect();
    if last.len() > LOOKUPS {
        return Err(ConfigError::Lookups(last.len()));
    }
    let read = |(name, text): (&String, &String)| {
        let text = text_or_file("--lookup", text)?;
        let value = serde_json::from_str(&text)
            .map_err(|error| ConfigError::LookupNotJson { lookup: name.clone(), error })?;
        Ok(LookupConfig::read(name, &value)?)
    };
    last.into_iter().map(read).collect()
}

/// The text itself, or that of the file that `@` names.
fn text_or_file(flag: &'static str, text: &str) -> Result<String, ConfigError> {
    match text.strip_prefix('@') {
        Some(path) => read(flag, Path::new(path)),
        None => Ok(text.to_owned()),
    }
}

fn read(flag: &'static str, path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { flag, path: path.into(), error })
}

/// The file's token before the environment's; an empty one is none.
fn admin_secret(file: Option<&Path>, variable: Option<String>) -> Result<Option<Secret>, ConfigError> {
    let text = match file {
        Some(path) => read("--admin-token-file", path)?,
        None => variable.unwrap_or_default(),
    };
    match text.trim() {
        "" if file.is_none() => Ok(None),
        token if token.len() < ADMIN_TOKEN_BYTES => Err(ConfigError::ShortToken(token.len())),
        token => Ok(Some(Secret::new(token))),
    }
}

/// Where media is carried: as told; else where the page itself can be reached from.
fn media_addresses(options: &Options) -> Result<Vec<IpAddr>, ConfigError> {
    if !options.rtc_address.is_empty() {
        return Ok(options.rtc_address.clone());
    }
    if options.listen.ip().is_loopback() {
        return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
    }
    let addresses = interface_addresses();
    if addresses.is_empty() { Err(ConfigError::NoAddress) } else { Ok(addresses) }
}

/// The machine's own addresses, without loopback and link-local ones (those need a scope that a candidate
/// cannot carry).
fn interface_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> = interfaces
        .iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(if_addrs::Interface::ip)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError, Decision};
    use crate::options::Options;
    use std::ffi::OsString;
    use std::time::Duration;

    fn resolve(arguments: &[&str], token: Option<&str>) -> Result<Config, ConfigError> {
        let options =
            Options::read(std::iter::once("tidegate").chain(arguments.iter().copied()).map(OsString::from))
                .expect("the flags are sound");
        Config::resolve(options, token.map(str::to_owned))
    }

    #[test]
    fn the_open_policy_serves_other_machines_only_when_told_to() {
        let refusal = resolve(&["--listen", "0.0.0.0:7000"], None).expect_err("open to the network");
        assert!(refusal.to_string().contains("--allow-open"), "{refusal}");
        assert!(!refusal.to_string().contains('\n'));
        let allowed = ["--listen", "0.0.0.0:7000", "--allow-open", "--rtc-address", "192.0.2.1"];
        assert!(resolve(&allowed, None).is_ok());
        let guarded =
            ["--listen", "[::]:7000", "--policy", "authorize=auth-token", "--rtc-address", "192.0.2.1"];
        assert!(resolve(&guarded, None).is_ok());
        assert!(resolve(&["--listen", "[::1]:7000"], None).is_ok());
    }

    #[test]
    fn media_stays_on_loopback_with_the_page() {
        let config = resolve(&[], None).expect("defaults are sound");
        assert_eq!(config.rtc_addresses, ["127.0.0.1".parse::<std::net::IpAddr>().expect("an address")]);
    }

    #[test]
    fn rates_and_delays_are_bounded_as_told_and_nought_means_never() {
        let usual = resolve(&[], None).expect("defaults are sound");
        assert_eq!((usual.moves_per_minute, usual.shed_delay), (60, Config::local().shed_delay));
        let told = resolve(&["--moves-per-minute", "3", "--shed-delay-ms", "80"], None).expect("sound");
        assert_eq!((told.moves_per_minute, told.shed_delay), (3, Some(Duration::from_millis(80))));
        let never = resolve(&["--moves-per-minute", "0", "--shed-delay-ms", "0"], None).expect("sound");
        assert_eq!((never.moves_per_minute, never.shed_delay), (0, None));
    }

    #[test]
    fn an_admin_token_is_found_and_must_be_long() {
        let token = |text| resolve(&[], Some(text)).map(|config| config.admin_token.is_some());
        assert!(matches!(token(""), Ok(false)));
        assert!(matches!(token("0123456789abcdef\n"), Ok(true)));
        assert!(matches!(token("short"), Err(ConfigError::ShortToken(5))));
        let missing = resolve(&["--admin-token-file", "/nowhere/token"], None).expect_err("no such file");
        assert!(missing.to_string().contains("/nowhere/token"), "{missing}");
    }

    #[test]
    fn a_chain_is_named_with_commas_and_configured_by_position() {
        let config = resolve(
            &["--policy", "authorize=auth-open,auth-token", "--policy-config", r#"authorize.2={"keys":[]}"#],
            None,
        )
        .expect("the flags are sound");
        assert_eq!(config.policies[&Decision::Authorize].component, "auth-open");
        assert_eq!(config.authorize_next.len(), 1);
        assert!(config.authorize_next[0].configuration.is_object());
        let wrong = resolve(&["--policy", "allocate=a,b"], None).expect_err("one decides there");
        assert!(wrong.to_string().contains("only authorize"), "{wrong}");
        let wrong = resolve(&["--policy-config", "authorize.2={}"], None).expect_err("there is one");
        assert!(wrong.to_string().contains("authorize.2"), "{wrong}");
        let guarded = ["--listen", "[::]:7000", "--rtc-address", "192.0.2.1", "--policy"];
        let open = |chain| resolve(&[&guarded[..], &[chain]].concat(), None);
        assert!(open("authorize=auth-open,auth-open").is_err(), "everyone gets through both");
        assert!(!open("authorize=auth-open,auth-token").expect("a token is asked for").open_allowed);
    }

    #[test]
    fn a_lookup_is_told_once_and_what_does_not_fit_is_named() {
        let told = |text| resolve(&["--lookup", "people=?", "--lookup", text], None);
        let config = told(r#"people={"kind":"http","url":"https://db.example/{key}"}"#).expect("it is sound");
        let names: Vec<&str> = config.lookups.iter().map(super::LookupConfig::name).collect();
        assert_eq!(names, ["people"]);
        for (text, words) in [
            ("people={", ["--lookup people", "JSON"]),
            (r#"people={"kind":"ldap"}"#, ["lookup people", "http, jwks or command"]),
            ("people=@/nowhere/people.json", ["--lookup", "/nowhere/people.json"]),
        ] {
            let refusal = told(text).expect_err("it does not fit").to_string();
            assert!(words.iter().all(|word| refusal.contains(word)), "{words:?} not in: {refusal}");
        }
    }

    #[test]
    fn the_last_choice_of_a_decision_wins_and_its_configuration_is_json() {
        let config = resolve(
            &[
                "--policy",
                "allocate=a.wasm",
                "--policy",
                "allocate=allocate-spread",
                "--policy-config",
                r#"allocate={"watermark_us":300}"#,
            ],
            None,
        )
        .expect("the flags are sound");
        let allocate = &config.policies[&Decision::Allocate];
        assert_eq!(allocate.component, "allocate-spread");
        assert_eq!(allocate.configuration["watermark_us"], 300);
        assert_eq!(config.policies[&Decision::Authorize].component, "auth-open");
        let refused = resolve(&["--policy-config", "balance={"], None).expect_err("half an object");
        assert!(refused.to_string().contains("balance"), "{refused}");
    }
}
