//! `allocate-region`: places in the region that is asked for, on its least loaded shard; where that is full, or the feed
//! knows no such region, on the least loaded anywhere. Knows nothing of distances between regions.
//!
//! Who asks for no region goes to the one where most of the room is: what is said there crosses no long way twice.

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
    /// Egress from which a shard counts as full, reported and promised, in kbit/s.
    egress_kbps: u64,
    /// Refuse when the region is full or has no shard, instead of placing elsewhere.
    stay_in_region: bool,
    /// Relays of one producer from one shard, beyond which the next ones hang on another parent.
    relay_fan_out: u32,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { egress_kbps: 1_000_000, stay_in_region: false, relay_fan_out: 8 }
    }
}

impl Configuration {
    fn problems(&self) -> Vec<Problem> {
        let marks = [("/egress_kbps", self.egress_kbps), ("/relay_fan_out", u64::from(self.relay_fan_out))];
        let zero = marks.iter().filter(|(_, mark)| *mark == 0);
        zero.map(|(pointer, _)| Problem::at(*pointer, "must be at least 1")).collect()
    }
}

/// The region that is asked for.
#[derive(Default)]
struct Region {
    configuration: Configuration,
}

impl Allocate for Region {
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
        let problems = self.configuration.problems();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn place(&self, request: &PlaceRequest, cluster: &Cluster) -> Result<Placement, Refusal> {
        let shard = match request.kind {
            PlaceKind::Relay => request.nearest_parent(cluster, self.configuration.relay_fan_out),
            _ => self.in_or_out_of_region(request, cluster),
        };
        shard.map(Placement::on).ok_or_else(|| Refusal::full("All servers are full. Try again in a while."))
    }
}

impl Region {
    fn in_or_out_of_region<'a>(&self, request: &PlaceRequest, cluster: &'a Cluster) -> Option<Shard<'a>> {
        let Some(region) = wanted(request, cluster) else { return self.anywhere(cluster) };
        let here = cluster.least_busy(|shard| shard.region() == region && self.has_room(shard));
        if self.configuration.stay_in_region { here } else { here.or_else(|| self.anywhere(cluster)) }
    }

    /// The least loaded with room; if none has any, the least loaded.
    fn anywhere<'a>(&self, cluster: &'a Cluster) -> Option<Shard<'a>> {
        cluster.least_busy(|shard| self.has_room(shard)).or_else(|| cluster.least_busy(|_| true))
    }

    fn has_room(&self, shard: Shard<'_>) -> bool {
        shard.shed_level() == 0 && shard.expected_egress().kbps() < self.configuration.egress_kbps
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
    use super::{Allocate, Cluster, Column, PlaceKind, PlaceRequest, Region, Setup};
    use serde_json::{Value, json};
    use tidegate_sdk::allocate::{Parent, RouterAtShard};

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
    fn a_relay_hangs_on_a_candidate_only() {
        let parents = vec![Parent { row: 0, depth: 0, fan_out: 8 }, Parent { row: 1, depth: 1, fan_out: 0 }];
        let request = PlaceRequest { kind: PlaceKind::Relay, parents, ..hint("south") };
        assert_eq!(placed(&json!({}), &request, &cluster()), Ok(1));
    }

    #[test]
    fn a_configuration_that_does_not_fit_is_told_by_pointer() {
        let wrong = |configuration| {
            let setup = Setup::with_configuration(&configuration);
            Region::default().configure(&setup).unwrap_err().remove(0).pointer
        };
        assert_eq!(wrong(json!({ "egress_kbps": 0 })), "/egress_kbps");
        assert_eq!(wrong(json!({ "relay_fan_out": 0 })), "/relay_fan_out");
        assert_eq!(wrong(json!({ "region": "north" })), "/region");
    }
}
