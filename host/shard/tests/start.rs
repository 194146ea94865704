//! What whoever starts the shards may count on: once they are started they all run, and one that cannot run is told.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;
use tidegate_media::association::{AssociationConfig, Identity};
use tidegate_media::io::Secrets;
use tidegate_media::{Engine, EngineConfig};
use tidegate_shard::{ShardSetup, ShardsConfig, start};
use tidegate_types::ShardIndex;
use tidegate_types::transport::SrtpProfile;

const SHARDS: u16 = 3;

struct Nothing;

impl Secrets for Nothing {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn engine(setup: ShardSetup) -> Engine {
    let identity = Arc::new(Identity::generate().unwrap());
    let config = EngineConfig {
        place: setup.place,
        shards: SHARDS,
        candidates: setup.candidates,
        association: AssociationConfig { identity, profiles: vec![SrtpProfile::AeadAes256Gcm] },
        max_transports: 10,
    };
    Engine::new(config, Box::new(Nothing))
}

fn config() -> ShardsConfig {
    ShardsConfig { shards: SHARDS, ..ShardsConfig::loopback() }
}

#[test]
fn all_run_once_they_are_started_however_long_one_takes() {
    let slow = |setup: ShardSetup| {
        if setup.place.shard == ShardIndex(1) {
            sleep(Duration::from_millis(100));
        }
        engine(setup)
    };
    let shards = start(&config(), slow, Arc::new(|_, _| {})).unwrap();
    let counters = shards.counters();
    assert_eq!(counters.len(), usize::from(SHARDS));
    assert!(counters.iter().all(|shard| shard.running), "{counters:?}");
    assert_eq!(shards.stop(Duration::from_secs(5)), []);
}

#[test]
fn one_that_cannot_start_is_an_error() {
    let broken = |setup: ShardSetup| {
        assert_ne!(setup.place.shard, ShardIndex(2), "as wanted");
        engine(setup)
    };
    let error = start(&config(), broken, Arc::new(|_, _| {})).unwrap_err();
    assert!(with_causes(&error).contains("while it started"));
}

/// An error with its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
