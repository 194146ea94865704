//! `allocate-least-cpu`: places on the shard that uses the least CPU, while that is below a watermark. Knows nothing of
//! rooms, so a room's people soon stand on several shards.
//!
//! A comparator: many who place by load place so. CPU is known from reports only and shows no promise, so a burst
//! between two reports would all go to one shard; that is why among shards within the same hundredth of a core those
//! with the fewest transports, reported and promised, come first.

use serde::Deserialize;
use tidegate_sdk::allocate::{Choose, Cluster, Column, PlaceRequest, Shard};

/// Differences of CPU below this, in thousandths of a core, say nothing.
const ALIKE_PERMILLE: u64 = 10;

/// The shard with the least CPU.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LeastCpu {
    /// CPU from which a shard counts as full, in thousandths of a core.
    cpu_permille: u64,
    /// Refuse when every shard is full, instead of placing on the one with the least CPU.
    refuse_when_full: bool,
    /// Relays of one producer from one shard, beyond which the next ones hang on another parent.
    relay_fan_out: u32,
}

impl Default for LeastCpu {
    fn default() -> Self {
        Self { cpu_permille: 700, refuse_when_full: false, relay_fan_out: 8 }
    }
}

impl Choose for LeastCpu {
    const SCHEMA: &'static str = include_str!("../configuration.schema.json");
    const COLUMNS: &'static [Column] = &[Column::Cpu, Column::Transports, Column::ReservedTransports];

    fn relay_fan_out(&self) -> u32 {
        self.relay_fan_out
    }

    fn choose<'a>(&self, _request: &PlaceRequest, cluster: &'a Cluster) -> Option<Shard<'a>> {
        let has_room =
            |shard: &Shard<'_>| shard.shed_level() == 0 && shard.cpu_permille() < self.cpu_permille;
        let beyond = || {
            let shards = cluster.shards().filter(|_| !self.refuse_when_full);
            shards.min_by_key(|&shard| (shard.shed_level(), use_of(shard)))
        };
        cluster.shards().filter(has_room).min_by_key(|&shard| use_of(shard)).or_else(beyond)
    }
}

fn use_of(shard: Shard<'_>) -> (u64, u64) {
    (shard.cpu_permille() / ALIKE_PERMILLE, shard.expected_transports())
}

tidegate_sdk::register!(allocate: LeastCpu = LeastCpu::default());

#[cfg(test)]
mod tests {
    use super::{Choose, Cluster, Column, LeastCpu, PlaceRequest};
    use serde_json::{Value, json};
    use tidegate_sdk::allocate::{Allocate, Setup};

    fn placed(configuration: &Value, cluster: &Cluster) -> Result<u32, String> {
        let mut policy = LeastCpu::default();
        assert_eq!(policy.configure(&Setup::with_configuration(configuration)), Ok(()));
        let answer = policy.place(&PlaceRequest::default(), cluster);
        answer.map(|placement| placement.row).map_err(|refusal| refusal.code)
    }

    fn cluster(cpu_permille: &[u64]) -> Cluster {
        let mut cluster = Cluster::with_shards(u32::try_from(cpu_permille.len()).unwrap());
        for (row, &cpu) in (0..).zip(cpu_permille) {
            cluster.set(row, Column::Cpu, cpu);
        }
        cluster
    }

    #[test]
    fn the_least_cpu_wins_whatever_is_sent() {
        let mut cluster = cluster(&[400, 200, 300]);
        cluster.set(1, Column::Egress, 900_000);
        assert_eq!(placed(&json!({}), &cluster), Ok(1));
        cluster.set(1, Column::Draining, 1);
        assert_eq!(placed(&json!({}), &cluster), Ok(2));
    }

    #[test]
    fn a_shard_that_sheds_is_full_however_idle() {
        let mut cluster = cluster(&[400, 200]);
        cluster.set(1, Column::Shedding, 1);
        assert_eq!(placed(&json!({}), &cluster), Ok(0));
    }

    #[test]
    fn beyond_the_watermark_the_least_is_taken_or_nothing() {
        let cluster = cluster(&[900, 800]);
        assert_eq!(placed(&json!({}), &cluster), Ok(1));
        assert_eq!(placed(&json!({ "refuse_when_full": true }), &cluster), Err("full".into()));
        let higher = json!({ "refuse_when_full": true, "cpu_permille": 801 });
        assert_eq!(placed(&higher, &cluster), Ok(1));
    }

    #[test]
    fn a_burst_between_two_reports_is_spread_over_those_alike() {
        let mut cluster = cluster(&[101, 109, 104, 300]);
        let mut transports = [0_u64; 4];
        for _ in 0..30 {
            let row = placed(&json!({}), &cluster).unwrap();
            transports[row as usize] += 1;
            cluster.set(row, Column::ReservedTransports, transports[row as usize]);
        }
        assert_eq!(transports, [10, 10, 10, 0]);
    }

    #[test]
    fn the_schema_fits_the_type() {
        tidegate_sdk::schema::agrees::<LeastCpu>(LeastCpu::SCHEMA);
    }
}
