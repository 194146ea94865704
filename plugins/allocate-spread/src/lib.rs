//! `allocate-spread`: places on the least loaded shard, so that all are loaded alike. Knows nothing of rooms.
//!
//! Load is egress, reported and promised: forwarding is what a shard spends its time on, and promises keep a
//! burst of joins from herding. Before any media flows, the fewest transports decide.

use serde::Deserialize;
use tidegate_sdk::allocate::{
    Allocate, Cluster, Column, Description, Package, PlaceKind, PlaceRequest, Placement, Problem, Refusal,
    Setup, Shard,
};

const SCHEMA: &str = include_str!("../configuration.schema.json");

/// What an operator may set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Configuration {
    /// Relays of one producer from one shard, beyond which the next ones hang on another parent.
    relay_fan_out: u32,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { relay_fan_out: 8 }
    }
}

/// The least loaded shard.
#[derive(Default)]
struct Spread {
    configuration: Configuration,
}

impl Allocate for Spread {
    fn describe(&self, package: Package) -> Description {
        Description::of(package).with_schema(SCHEMA)
    }

    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        setup.require(&[
            Column::Egress,
            Column::ReservedEgress,
            Column::Transports,
            Column::ReservedTransports,
        ])?;
        self.configuration = setup.parse()?;
        if self.configuration.relay_fan_out == 0 {
            return Err(vec![Problem::at("/relay_fan_out", "must be at least 1")]);
        }
        Ok(())
    }

    fn place(&self, request: &PlaceRequest, cluster: &Cluster) -> Result<Placement, Refusal> {
        let shard = match request.kind {
            PlaceKind::Relay => request.nearest_parent(cluster, self.configuration.relay_fan_out),
            _ => least_loaded(cluster),
        };
        shard
            .map(Placement::on)
            .ok_or_else(|| Refusal::full("No shard can take this: none is alive, or all drain."))
    }
}

/// One that sheds gets nothing more, as long as another does not.
fn least_loaded(cluster: &Cluster) -> Option<Shard<'_>> {
    cluster.least_busy(|shard| shard.shed_level() == 0).or_else(|| cluster.least_busy(|_| true))
}

tidegate_sdk::register!(allocate: Spread = Spread::default());

#[cfg(test)]
mod tests {
    use super::{Allocate, Cluster, Column, PlaceKind, PlaceRequest, Setup, Spread};
    use serde_json::json;
    use tidegate_sdk::allocate::Parent;

    fn placed(cluster: &Cluster) -> Result<u32, String> {
        let answer = Spread::default().place(&PlaceRequest::default(), cluster);
        answer.map(|placement| placement.row).map_err(|refusal| refusal.code)
    }

    #[test]
    fn one_that_sheds_gets_nothing_while_another_does_not() {
        let mut cluster = Cluster::with_shards(2);
        cluster.set(0, Column::Shedding, 1);
        cluster.set(1, Column::Egress, 900);
        assert_eq!(placed(&cluster), Ok(1));
        cluster.set(1, Column::Shedding, 1);
        assert_eq!(placed(&cluster), Ok(0), "somewhere it has to be");
    }

    #[test]
    fn a_promise_counts_like_a_report() {
        let mut cluster = Cluster::with_shards(3);
        cluster.set(0, Column::Egress, 600);
        cluster.set(1, Column::Egress, 500);
        cluster.set(2, Column::Egress, 300);
        cluster.set(2, Column::ReservedEgress, 300);
        assert_eq!(placed(&cluster), Ok(1));
    }

    #[test]
    fn a_burst_of_joins_fills_all_shards_alike() {
        let mut cluster = Cluster::with_shards(4);
        let mut transports = [0_u64; 4];
        for _ in 0..100 {
            let row = placed(&cluster).unwrap();
            transports[row as usize] += 1;
            cluster.set(row, Column::ReservedTransports, transports[row as usize]);
        }
        assert_eq!(transports, [25; 4]);
    }

    #[test]
    fn a_draining_shard_takes_nothing_and_an_empty_cluster_refuses() {
        let mut cluster = Cluster::with_shards(2);
        cluster.set(0, Column::Draining, 1);
        assert_eq!(placed(&cluster), Ok(1));
        cluster.set(1, Column::Draining, 1);
        assert_eq!(placed(&cluster), Err("full".into()));
    }

    #[test]
    fn a_relay_hangs_on_a_candidate_only() {
        let cluster = Cluster::with_shards(3);
        let parents = vec![Parent { row: 2, depth: 0, fan_out: 8 }, Parent { row: 1, depth: 1, fan_out: 0 }];
        let request = PlaceRequest { kind: PlaceKind::Relay, parents, ..PlaceRequest::default() };
        assert_eq!(Spread::default().place(&request, &cluster).map(|placement| placement.row), Ok(1));
    }

    #[test]
    fn a_configuration_that_does_not_fit_is_told_by_pointer() {
        let wrong = |configuration| {
            let setup = Setup::with_configuration(&configuration);
            Spread::default().configure(&setup).unwrap_err().remove(0).pointer
        };
        assert_eq!(wrong(json!({ "relay_fan_out": 0 })), "/relay_fan_out");
        assert_eq!(wrong(json!({ "relay_fan_out": "many" })), "/relay_fan_out");
        assert_eq!(wrong(json!({ "fan_out": 1 })), "/fan_out");
        assert_eq!(Spread::default().configure(&Setup::with_configuration(&json!(null))), Ok(()));
    }
}
