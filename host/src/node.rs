//! One node: builds the parts in the order in which they need each other, and stops them in the opposite one.
//! Knows nothing of flags or signals.

use crate::assets::ASSETS;
use crate::change::Settled;
use crate::clock;
use crate::components::{self, ComponentError};
use crate::config::Config;
use crate::lookups::Asked;
use crate::mailbox::{Letter, Mailbox};
use crate::office::{Board, Office};
use crate::operations::NodeOperations;
use crate::secrets::{self, SystemSecrets};
use crate::watch::Watch;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_control::{Control, ControlConfig, Limits, Tls, TlsFiles};
use tidegate_directory::{Directory, DirectoryConfig, ShardSeed};
use tidegate_media::association::{AssociationConfig, Identity, IdentityError};
use tidegate_media::{Engine, EngineConfig};
use tidegate_policy::{Lookups, Policies};
use tidegate_shard::{ShardSetup, Shards, ShardsConfig};
use tidegate_types::decision::Decision;
use tidegate_types::transport::Fingerprint;
use tidegate_types::{NodeId, Place};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Requests that may wait for the directory; a front door that meets the bound waits, and its clients with it.
const REQUESTS: usize = 1_024;

/// Transports that may stand at one shard; one more is refused.
const TRANSPORTS: usize = 4_096;

/// How long the shards may take to end.
const SHARDS_END: Duration = Duration::from_millis(700);

/// A running node.
pub struct Node {
    shards: Arc<Shards>,
    policies: Arc<Policies>,
    /// Where components are watched.
    watch: Option<Watch>,
    control: Arc<Control>,
    office: JoinHandle<()>,
    stop: oneshot::Sender<String>,
}

/// Why a node did not start: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A component cannot be had or does not fit.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// A lookup cannot be made ready.
    #[error(transparent)]
    Lookup(#[from] tidegate_lookup::ConfigError),
    /// The media side.
    #[error(transparent)]
    Shards(#[from] tidegate_shard::StartError),
    /// The front door.
    #[error(transparent)]
    Control(#[from] tidegate_control::StartError),
    /// No certificate for DTLS.
    #[error("cannot make the certificate that media is secured with")]
    Identity(#[from] IdentityError),
}

impl Node {
    /// Starts every part. Needs a running tokio runtime.
    ///
    /// # Errors
    /// One line that says what to do; whatever had started is stopped again.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (mailbox, letters) = Mailbox::new();
        let lookups = Asked::start(&config.lookups)?;
        let policies = Arc::new(start_policies(&config, lookups.clone(), mailbox.clone())?);
        let watch = config.policy_watch.then(|| Watch::start(&policies));
        let shards = Arc::new(start_shards(&config, mailbox.clone())?);
        let board = Board::new();
        let operations = NodeOperations {
            shards: Arc::downgrade(&shards),
            policies: Arc::downgrade(&policies),
            lookups: lookups.map(|lookups| lookups.0),
            board: board.clone(),
            mailbox,
            settled: Settled { open_allowed: config.open_allowed, share_memory_mib: config.share_memory_mib },
        };
        let (to_directory, requests) = mpsc::channel(REQUESTS);
        let control = Control::start(control_config(&config), to_directory, Arc::new(operations)).await?;
        let control = Arc::new(control);
        let office = Office {
            directory: Directory::new(directory_config(&config), clock::now()),
            requests,
            letters,
            shards: shards.clone(),
            policies: policies.clone(),
            control: control.clone(),
            board,
        };
        let (stop, stopped) = oneshot::channel();
        let office = tokio::spawn(office.run(stopped));
        Ok(Self { shards, policies, watch, control, office, stop })
    }

    /// Where HTTP and WebSocket are served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.control.local_addr()
    }

    /// The SHA-256 of the certificate that HTTPS shows; `None` where plain HTTP is served.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.control.fingerprint()
    }

    /// The UDP addresses that peers are told, shard by shard.
    #[must_use]
    pub fn media_addresses(&self) -> Vec<SocketAddr> {
        let candidates = self.shards.places().flat_map(|place| self.shards.candidates(place));
        candidates.map(|candidate| candidate.address).collect()
    }

    /// Tells everyone inside, closes every socket, ends every thread; within 2 s.
    pub async fn stop(self) {
        let message = "the host stops";
        let _ = self.stop.send(message.to_owned());
        if let Err(error) = self.office.await {
            tracing::error!(%error, "the directory had ended before");
        }
        if let Some(control) = only(self.control, "control") {
            control.stop(message).await;
        }
        drop(self.watch);
        let (shards, policies) = (only(self.shards, "shards"), only(self.policies, "policies"));
        let ended = tokio::task::spawn_blocking(move || {
            for place in shards.map(|shards| shards.stop(SHARDS_END)).unwrap_or_default() {
                tracing::warn!(%place, "a shard did not stop in time");
            }
            if let Some(policies) = policies {
                policies.stop();
            }
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "a part did not stop in order");
        }
    }
}

/// The part itself, once nobody else holds it.
fn only<T>(part: Arc<T>, name: &'static str) -> Option<T> {
    let part = Arc::into_inner(part);
    if part.is_none() {
        tracing::warn!(part = name, "still in use while the host stops");
    }
    part
}

fn start_policies(
    config: &Config,
    lookups: Option<Asked>,
    mailbox: Mailbox,
) -> Result<Policies, ComponentError> {
    let sink = Arc::new(move |answer| mailbox.put(Letter::Answer(answer)));
    let lookups = lookups.map(|lookups| Arc::new(lookups) as Arc<dyn Lookups>);
    Ok(Policies::start(components::policies(config, lookups)?, Arc::new(clock::unix_ms), sink)?)
}

fn start_shards(config: &Config, mailbox: Mailbox) -> Result<Shards, StartError> {
    let shards = ShardsConfig {
        node: NodeId(0),
        shards: config.shards,
        addresses: config.rtc_addresses.clone(),
        announce: config.announce.clone(),
        port: config.rtc_port,
        single_port: config.single_port,
        tcp: config.rtc_tcp,
        ..ShardsConfig::loopback()
    };
    let make_engine = engine_factory(Arc::new(Identity::generate()?), config);
    let sink = Arc::new(move |place, said| mailbox.put(Letter::Shard(place, said)));
    Ok(tidegate_shard::start(&shards, make_engine, sink)?)
}

fn engine_factory(identity: Arc<Identity>, config: &Config) -> impl Fn(ShardSetup) -> Engine + use<> {
    let association = AssociationConfig { identity, profiles: config.srtp_profiles.clone() };
    let (shards, shed_delay) = (config.shards, config.shed_delay);
    move |ShardSetup { place, candidates }| {
        let association = association.clone();
        let engine = EngineConfig { place, shards, candidates, association, max_transports: TRANSPORTS };
        Engine::new(engine, Box::new(SystemSecrets)).shedding_above(shed_delay)
    }
}

fn directory_config(config: &Config) -> DirectoryConfig {
    let seeds = (0..config.shards).map(|shard| ShardSeed {
        place: Place::local(shard),
        node_name: config.node_name.clone(),
        region: config.region.clone(),
    });
    let mut directory = DirectoryConfig::new(seeds.collect(), secrets::seed());
    directory.share = config.policies.contains_key(&Decision::Share);
    directory.loudest = config.loudest;
    directory.bounds.moves_per_minute = config.moves_per_minute;
    directory
}

fn control_config(config: &Config) -> ControlConfig {
    let files = config.tls.clone().map(|(certificate, key)| Tls::Files(TlsFiles { certificate, key }));
    let made = config.tls_self_signed.then(|| Tls::SelfSigned { names: config.names() });
    // Four seconds' worth at once: a class that enters through one NAT.
    let joins_burst = config.join_rate.saturating_mul(4);
    ControlConfig {
        tls: files.or(made),
        admin_token: config.admin_token.clone(),
        allowed_origins: config.allowed_origins.clone(),
        public_hosts: config.public_hosts.clone(),
        limits: Limits { joins_per_s: config.join_rate, joins_burst, ..Limits::default() },
        ..ControlConfig::new(config.listen, ASSETS)
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, directory_config};

    #[test]
    fn the_directory_keeps_the_bounds_that_were_told() {
        let config = Config { moves_per_minute: 3, loudest: 5, ..Config::local() };
        let directory = directory_config(&config);
        assert_eq!((directory.bounds.moves_per_minute, directory.loudest), (3, 5));
    }
}
