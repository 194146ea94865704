//! `allocate-pack`: concentrate, then spill. Fills the busiest shard below its watermark, then the next one, then
//! another node, so that most rooms need no relay and idle cores stay idle. Knows nothing of people.
//!
//! A shard is below its watermark while its forwarding delay, its CPU, and its egress and transports (reported and
//! promised) all are. Among those, a shard that already holds the router comes first, then a shard of a node that
//! does, then the busiest.

use serde::Deserialize;
use tidegate_sdk::allocate::{Choose, Cluster, Column, PlaceRequest, Shard};

/// Concentrate, then spill: the marks above which a shard counts as full, and what happens when all are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pack {
    /// 99th percentile of forwarding delay, in microseconds.
    forward_delay_p99_us: u64,
    /// CPU, in thousandths of a core.
    cpu_permille: u64,
    /// Egress, reported and promised, in kbit/s.
    egress_kbps: u64,
    /// Transports, reported and promised.
    transports: u64,
    /// Refuse when every shard is over its mark, instead of placing on the least loaded.
    refuse_when_full: bool,
    /// Relays of one producer from one shard, beyond which the next ones hang on another parent.
    relay_fan_out: u32,
}

impl Default for Pack {
    fn default() -> Self {
        Self {
            forward_delay_p99_us: 5_000,
            cpu_permille: 700,
            egress_kbps: 1_000_000,
            transports: 1_000,
            refuse_when_full: false,
            relay_fan_out: 8,
        }
    }
}

impl Choose for Pack {
    const SCHEMA: &'static str = include_str!("../configuration.schema.json");
    const COLUMNS: &'static [Column] = &[
        Column::ForwardDelayP99,
        Column::Cpu,
        Column::Egress,
        Column::ReservedEgress,
        Column::Transports,
        Column::ReservedTransports,
    ];

    fn relay_fan_out(&self) -> u32 {
        self.relay_fan_out
    }

    fn choose<'a>(&self, request: &PlaceRequest, cluster: &'a Cluster) -> Option<Shard<'a>> {
        self.busiest_with_room(request, cluster).or_else(|| self.least_loaded(cluster))
    }
}

impl Pack {
    /// Says whether a shard may take more.
    fn has_room(&self, shard: Shard<'_>) -> bool {
        shard.shed_level() == 0
            && shard.value(Column::ForwardDelayP99) < self.forward_delay_p99_us
            && shard.cpu_permille() < self.cpu_permille
            && shard.expected_egress().kbps() < self.egress_kbps
            && shard.expected_transports() < self.transports
    }

    /// The busiest where the router is; else on a node where it is; else anywhere.
    fn busiest_with_room<'a>(&self, request: &PlaceRequest, cluster: &'a Cluster) -> Option<Shard<'a>> {
        let home = Home::of(request, cluster);
        let has_room = |shard: Shard<'_>| self.has_room(shard);
        let there = home.rows.iter().filter_map(|&row| cluster.shard(row));
        let there = there.filter(|&shard| !shard.is_draining() && has_room(shard));
        let near = || cluster.busiest(|shard| home.nodes.contains(&shard.node()) && has_room(shard));
        let known = there
            .max_by_key(|&shard| (load(shard), std::cmp::Reverse(shard.row())))
            .or_else(|| if home.nodes.is_empty() { None } else { near() });
        known.or_else(|| cluster.busiest(has_room))
    }

    /// Beyond every watermark: spread what comes, or refuse it.
    fn least_loaded<'a>(&self, cluster: &'a Cluster) -> Option<Shard<'a>> {
        if self.refuse_when_full {
            return None;
        }
        cluster.least_busy(|_| true)
    }
}

/// Where the router already is.
struct Home {
    rows: Vec<u32>,
    nodes: Vec<u64>,
}

impl Home {
    fn of(request: &PlaceRequest, cluster: &Cluster) -> Self {
        let rows: Vec<u32> = request.router_at.iter().map(|at| at.row).collect();
        let mut nodes: Vec<u64> =
            rows.iter().filter_map(|&row| cluster.shard(row)).map(Shard::node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        Self { rows, nodes }
    }
}

fn load(shard: Shard<'_>) -> (u64, u64) {
    (shard.expected_egress().kbps(), shard.expected_transports())
}

tidegate_sdk::register!(allocate: Pack = Pack::default());

#[cfg(test)]
mod tests {
    use super::{Choose, Cluster, Column, Pack, PlaceRequest};
    use serde_json::{Value, json};
    use tidegate_sdk::allocate::{Allocate, RouterAtShard, Setup};

    fn pack(configuration: &Value) -> Pack {
        let mut pack = Pack::default();
        assert_eq!(pack.configure(&Setup::with_configuration(configuration)), Ok(()));
        pack
    }

    fn placed(pack: &Pack, request: &PlaceRequest, cluster: &Cluster) -> Result<u32, String> {
        pack.place(request, cluster).map(|placement| placement.row).map_err(|refusal| refusal.code)
    }

    fn router_at(rows: &[u32]) -> PlaceRequest {
        let router_at =
            rows.iter().map(|&row| RouterAtShard { row, transports: 1, ..RouterAtShard::default() });
        PlaceRequest { router_at: router_at.collect(), ..PlaceRequest::default() }
    }

    /// Rows, each with the columns it differs by; where a router is; which row is chosen.
    #[test]
    fn the_cases_decide_as_written() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../cases.json")).unwrap();
        for case in &cases {
            let rows = case["shards"].as_array().unwrap();
            let mut cluster = Cluster::with_shards(u32::try_from(rows.len()).unwrap());
            for (row, values) in (0..).zip(rows) {
                for column in Column::ALL {
                    if let Some(value) = values[column.name()].as_u64() {
                        cluster.set(row, column, value);
                    }
                }
            }
            let home: Vec<u32> = serde_json::from_value(case["router_at"].clone()).unwrap_or_default();
            let answer = match placed(&pack(&case["configuration"]), &router_at(&home), &cluster) {
                Ok(row) => json!(row),
                Err(code) => json!(code),
            };
            assert_eq!(answer, case["answer"], "{}", case["name"]);
        }
        assert!(cases.len() >= 8);
    }

    #[test]
    fn a_burst_of_joins_passes_no_watermark_by_more_than_one() {
        let pack = pack(&json!({ "transports": 10, "refuse_when_full": true }));
        let mut cluster = Cluster::with_shards(3);
        let mut transports = [0_u64; 3];
        let mut refused = 0;
        for _ in 0..40 {
            match placed(&pack, &router_at(&[]), &cluster) {
                Ok(row) => {
                    transports[row as usize] += 1;
                    cluster.set(row, Column::ReservedTransports, transports[row as usize]);
                }
                Err(code) => {
                    assert_eq!(code, "full");
                    refused += 1;
                }
            }
        }
        assert_eq!((transports, refused), ([10; 3], 10));
    }

    #[test]
    fn the_schema_fits_the_type() {
        tidegate_sdk::schema::agrees::<Pack>(Pack::SCHEMA);
    }
}
