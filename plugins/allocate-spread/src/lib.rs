//! `allocate-spread`: places on the least loaded shard, so that all are loaded alike. Knows nothing of rooms.
//!
//! Load is egress, reported and promised: forwarding is what a shard spends its time on, and promises keep a
//! burst of joins from herding. Before any media flows, the fewest transports decide.

use serde::Deserialize;
use tidegate_sdk::allocate::{Choose, Cluster, Column, PlaceRequest, Shard};

/// The least loaded shard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Spread {
    /// Relays of one producer from one shard, beyond which the next ones hang on another parent.
    relay_fan_out: u32,
}

impl Default for Spread {
    fn default() -> Self {
        Self { relay_fan_out: 8 }
    }
}

impl Choose for Spread {
    const SCHEMA: &'static str = include_str!("../configuration.schema.json");
    const COLUMNS: &'static [Column] =
        &[Column::Egress, Column::ReservedEgress, Column::Transports, Column::ReservedTransports];

    fn relay_fan_out(&self) -> u32 {
        self.relay_fan_out
    }

    /// One that sheds gets nothing more, as long as another does not.
    fn choose<'a>(&self, _request: &PlaceRequest, cluster: &'a Cluster) -> Option<Shard<'a>> {
        cluster.least_busy(|shard| shard.shed_level() == 0).or_else(|| cluster.least_busy(|_| true))
    }
}

tidegate_sdk::register!(allocate: Spread = Spread::default());

#[cfg(test)]
mod tests {
    use super::{Choose, Cluster, Column, PlaceRequest, Spread};
    use tidegate_sdk::allocate::Allocate;

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
    fn the_schema_fits_the_type() {
        tidegate_sdk::schema::agrees::<Spread>(Spread::SCHEMA);
    }
}
