//! `allocate-region`: places in the region that is asked for, on its least loaded shard; where that is full, or the feed
//! knows no such region, on the least loaded anywhere. Knows nothing of distances between regions.
//!
//! Who asks for no region goes to the one where most of the room is: what is said there crosses no long way twice.

use serde::Deserialize;
use tidegate_sdk::allocate::{Choose, Cluster, Column, PlaceRequest, Shard};

/// The region that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Region {
    /// Egress from which a shard counts as full, reported and promised, in kbit/s.
    egress_kbps: u64,
    /// Refuse when the region is full or has no shard, instead of placing elsewhere.
    stay_in_region: bool,
    /// Relays of one producer from one shard, beyond which the next ones hang on another parent.
    relay_fan_out: u32,
}

impl Default for Region {
    fn default() -> Self {
        Self { egress_kbps: 1_000_000, stay_in_region: false, relay_fan_out: 8 }
    }
}

impl Choose for Region {
    const SCHEMA: &'static str = include_str!("../configuration.schema.json");
    const COLUMNS: &'static [Column] =
        &[Column::Egress, Column::ReservedEgress, Column::Transports, Column::ReservedTransports];

    fn relay_fan_out(&self) -> u32 {
        self.relay_fan_out
    }

    fn choose<'a>(&self, request: &PlaceRequest, cluster: &'a Cluster) -> Option<Shard<'a>> {
        let Some(region) = wanted(request, cluster) else { return self.anywhere(cluster) };
        let here = cluster.least_busy(|shard| shard.region() == region && self.has_room(shard));
        if self.stay_in_region { here } else { here.or_else(|| self.anywhere(cluster)) }
    }
}

impl Region {
    /// The least loaded with room; if none has any, the least loaded.
    fn anywhere<'a>(&self, cluster: &'a Cluster) -> Option<Shard<'a>> {
        cluster.least_busy(|shard| self.has_room(shard)).or_else(|| cluster.least_busy(|_| true))
    }

    fn has_room(&self, shard: Shard<'_>) -> bool {
        shard.shed_level() == 0 && shard.expected_egress().kbps() < self.egress_kbps
    }
}

/// The region asked for, else the room's. A node without a region has an empty one, which nobody means.
fn wanted<'a>(request: &'a PlaceRequest, cluster: &'a Cluster) -> Option<&'a str> {
    let rooms = || {
        let most = request.router_at.iter().max_by_key(|at| (at.transports, std::cmp::Reverse(at.row)))?;
        cluster.shard(most.row).map(Shard::region)
    };
    request.region_hint.as_deref().or_else(rooms).filter(|region| !region.is_empty())
}

tidegate_sdk::register!(allocate: Region = Region::default());

#[cfg(test)]
mod tests {
    use super::{Choose, Cluster, Column, PlaceRequest, Region};
    use serde_json::{Value, json};
    use tidegate_sdk::allocate::{Allocate, RouterAtShard, Setup};

    /// Two shards in the north, the first with more to send; two in the south, likewise but with less.
    fn cluster() -> Cluster {
        let mut cluster = Cluster::with_shards(4);
        for (row, (region, egress)) in (0..).zip([("north", 90), ("north", 80), ("south", 20), ("south", 10)])
        {
            cluster.set_labels(row, "node", region);
            cluster.set(row, Column::Egress, egress);
        }
        cluster
    }

    fn placed(configuration: &Value, request: &PlaceRequest, cluster: &Cluster) -> Result<u32, String> {
        let mut policy = Region::default();
        assert_eq!(policy.configure(&Setup::with_configuration(configuration)), Ok(()));
        let answer = policy.place(request, cluster);
        answer.map(|placement| placement.row).map_err(|refusal| refusal.code)
    }

    fn hint(region: &str) -> PlaceRequest {
        PlaceRequest { region_hint: Some(region.into()), ..PlaceRequest::default() }
    }

    #[test]
    fn the_least_loaded_of_the_region_is_taken() {
        assert_eq!(placed(&json!({}), &hint("north"), &cluster()), Ok(1));
        assert_eq!(placed(&json!({}), &hint("south"), &cluster()), Ok(3));
    }

    #[test]
    fn a_region_that_is_full_unknown_or_shedding_is_left() {
        let full = json!({ "egress_kbps": 80 });
        assert_eq!(placed(&full, &hint("north"), &cluster()), Ok(3));
        assert_eq!(placed(&json!({}), &hint("east"), &cluster()), Ok(3));
        let mut cluster = cluster();
        cluster.set(0, Column::Draining, 1);
        cluster.set(1, Column::Shedding, 1);
        assert_eq!(placed(&json!({}), &hint("north"), &cluster), Ok(3));
        assert_eq!(placed(&json!({ "egress_kbps": 5 }), &hint("east"), &cluster), Ok(3), "all are full");
    }

    #[test]
    fn who_must_stay_is_refused_rather_than_sent_elsewhere() {
        let stay = json!({ "stay_in_region": true, "egress_kbps": 80 });
        assert_eq!(placed(&stay, &hint("north"), &cluster()), Err("full".into()));
        assert_eq!(placed(&stay, &hint("south"), &cluster()), Ok(3));
        assert_eq!(placed(&stay, &PlaceRequest::default(), &cluster()), Ok(3), "no region is meant");
    }

    #[test]
    fn without_a_hint_the_rooms_region_counts() {
        let at = |row, transports| RouterAtShard { row, transports, ..RouterAtShard::default() };
        let request = PlaceRequest { router_at: vec![at(2, 1), at(0, 3)], ..PlaceRequest::default() };
        assert_eq!(placed(&json!({}), &request, &cluster()), Ok(1));
        let hinted = PlaceRequest { region_hint: Some("south".into()), ..request };
        assert_eq!(placed(&json!({}), &hinted, &cluster()), Ok(3));
        assert_eq!(placed(&json!({}), &hint(""), &cluster()), Ok(3));
    }

    #[test]
    fn the_schema_fits_the_type() {
        tidegate_sdk::schema::agrees::<Region>(Region::SCHEMA);
    }
}
