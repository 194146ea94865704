//! Native code decides in a component's place, by the same rules.

use crate::desk::{config, open, place, shard, start};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_policy::feed::Cluster;
use tidegate_policy::host::{Allocate, Fed, Instance};
use tidegate_policy::plugin::Decider;
use tidegate_policy::{Native, PluginConfig, Source};
use tidegate_types::cluster::CellChange;
use tidegate_types::decision::{Decision, Failure, PlaceAnswer, PlaceRequest, Placement};

/// Places everything on the last row, and fails where the cluster is unknown.
struct Last {
    cluster: Cluster,
    asked: Arc<AtomicU64>,
}

impl Instance for Last {}

impl Fed for Last {
    fn reset(&mut self, cluster: &Cluster) -> Result<(), Failure> {
        self.cluster = cluster.clone();
        Ok(())
    }

    fn delta(&mut self, _generation: u64, _changes: &[CellChange]) -> Result<bool, Failure> {
        Ok(true)
    }
}

impl Allocate for Last {
    fn place(&mut self, _request: &PlaceRequest) -> Result<PlaceAnswer, Failure> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let last = (0..).map_while(|row| self.cluster.place(row)).last().ok_or(Failure::Trap)?;
        Ok(PlaceAnswer::Place(Placement { place: last, attrs: vec![] }))
    }
}

fn last(asked: &Arc<AtomicU64>) -> PluginConfig {
    let asked = asked.clone();
    let make =
        move || Decider::Allocate(Box::new(Last { cluster: Cluster::default(), asked: asked.clone() }));
    PluginConfig::new(Source::Native(Native::new("last", make)))
}

#[test]
fn native_code_is_fed_asked_and_made_anew_like_a_component() {
    let asked = Arc::new(AtomicU64::new(0));
    let mut config = config();
    config.allocate = last(&asked);
    let desk = open(config);
    assert_eq!(shard(desk.ask(place())), Err(Failure::Trap), "nothing was told yet");
    desk.reset(1, 3);
    assert_eq!(shard(desk.ask(place())), Ok(2));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let info = desk.policies.info().into_iter().find(|info| info.decision == Decision::Allocate);
    let info = info.expect("it is in force");
    assert_eq!(
        (info.name.as_str(), info.origin.as_str(), info.digest.as_str()),
        ("last", "native", "native")
    );
    assert!(info.calls == 2 && info.failures.contains(&("trap".to_owned(), 1)), "{info:?}");
}

#[test]
fn native_code_for_another_decision_is_told_where_it_fits() {
    let mut config = config();
    config.authorize = last(&Arc::default());
    let line = start(config).err().expect("a refusal").to_string();
    for part in ["last", "given for authorize", "it fits the decision allocate"] {
        assert!(line.contains(part), "{part:?} is missing in {line:?}");
    }
}
