//! `balance-steady`: wishes to move transports off a shard that stays too slow. Knows nothing of rooms.
//!
//! Damped three ways, so that it never swings: a shard must be over its watermark for several ticks in a row; only
//! a share of its transports moves at once, and only to a shard with room to spare; then it rests for some ticks.

use serde::Deserialize;
use std::collections::BTreeMap;
use tidegate_sdk::balance::{
    Balance, BalanceRequest, Cause, Cluster, Column, Description, Package, Problem, Setup, Shard, Wish,
};

const SCHEMA: &str = include_str!("../configuration.schema.json");

/// The most wishes that the host reads from one answer.
const WISHES_MAX: usize = 64;

/// What an operator may set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Configuration {
    /// A shard is too slow over this 99th percentile of forwarding delay, in microseconds.
    forward_delay_p99_us: u64,
    /// Ticks in a row before a wish.
    ticks: u32,
    /// Ticks of rest after a wish.
    rest_ticks: u32,
    /// How much moves at once, in thousandths of the shard's transports; at least one transport.
    share_permille: u64,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { forward_delay_p99_us: 5_000, ticks: 5, rest_ticks: 10, share_permille: 100 }
    }
}

/// What is remembered of one shard between ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watch {
    slow_ticks: u32,
    rest_ticks: u32,
}

/// Moves off shards that stay too slow.
#[derive(Default)]
struct Steady {
    configuration: Configuration,
    /// By node and shard, since row handles change with each reset; holds only those of the last tick that were slow
    /// or at rest.
    watched: BTreeMap<(u64, u64), Watch>,
}

impl Balance for Steady {
    fn describe(&self, package: Package) -> Description {
        Description::of(package).with_schema(SCHEMA)
    }

    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        setup.require(&[Column::ForwardDelayP99, Column::Transports, Column::Draining])?;
        self.configuration = setup.parse()?;
        Ok(())
    }

    fn balance(&mut self, request: &BalanceRequest, cluster: &Cluster) -> Vec<Wish> {
        let mut wishes = match request.cause {
            Cause::Drain => empty_draining(cluster),
            // After a loss the survivors take over first: their delay of this moment says little.
            Cause::NodeLost => Vec::new(),
            _ => self.on_tick(cluster),
        };
        wishes.truncate(WISHES_MAX);
        wishes
    }
}

impl Steady {
    fn on_tick(&mut self, cluster: &Cluster) -> Vec<Wish> {
        let before = std::mem::take(&mut self.watched);
        let mut slow = Vec::new();
        for shard in cluster.all_shards() {
            let name = (shard.node(), shard.index());
            let watch = self.seen(before.get(&name).copied().unwrap_or_default(), shard);
            if watch.slow_ticks >= self.configuration.ticks && watch.rest_ticks == 0 {
                slow.push(shard);
            }
            if watch != Watch::default() {
                self.watched.insert(name, watch);
            }
        }
        slow.sort_by_key(|shard| std::cmp::Reverse(shard.forward_delay_p99()));
        // So many move a minute: what a drain could not move at once goes on.
        let mut wishes = empty_draining(cluster);
        wishes.extend(slow.into_iter().filter_map(|shard| self.relieve(shard, cluster)));
        wishes
    }

    fn seen(&self, watch: Watch, shard: Shard<'_>) -> Watch {
        let slow = shard.shed_level() > 0
            || shard.value(Column::ForwardDelayP99) > self.configuration.forward_delay_p99_us;
        Watch {
            slow_ticks: if slow { watch.slow_ticks.saturating_add(1) } else { 0 },
            rest_ticks: watch.rest_ticks.saturating_sub(1),
        }
    }

    fn relieve(&mut self, from: Shard<'_>, cluster: &Cluster) -> Option<Wish> {
        let to = self.with_room_to_spare(from, cluster)?;
        // One transport alone would only carry its load along.
        let transports = from.transports();
        if transports < 2 {
            return None;
        }
        let amount = (transports.saturating_mul(self.configuration.share_permille) / 1_000).max(1);
        let watch = self.watched.entry((from.node(), from.index())).or_default();
        let slow_ticks = std::mem::take(&mut watch.slow_ticks);
        watch.rest_ticks = self.configuration.rest_ticks;
        let reason = match from.shed_level() {
            0 => format!(
                "forwarding delay p99 was {} µs, over {} µs for {slow_ticks} ticks",
                from.value(Column::ForwardDelayP99),
                self.configuration.forward_delay_p99_us,
            ),
            level => format!("it sheds layers (level {level}) because it cannot keep up"),
        };
        Some(Wish::move_transports(from, to, amount, reason))
    }

    /// The fastest other shard, if it is below half the watermark; the same node's comes first.
    fn with_room_to_spare<'a>(&self, from: Shard<'_>, cluster: &'a Cluster) -> Option<Shard<'a>> {
        let spare = self.configuration.forward_delay_p99_us / 2;
        cluster
            .shards()
            .filter(|shard| {
                *shard != from && shard.shed_level() == 0 && shard.value(Column::ForwardDelayP99) <= spare
            })
            .min_by_key(|shard| {
                (shard.node() != from.node(), shard.forward_delay_p99(), shard.expected_transports())
            })
    }
}

/// All of a draining shard's transports go to the least loaded open shard.
fn empty_draining(cluster: &Cluster) -> Vec<Wish> {
    let Some(to) =
        cluster.shards().min_by_key(|shard| (shard.expected_egress(), shard.expected_transports()))
    else {
        return Vec::new();
    };
    cluster
        .all_shards()
        .filter(|shard| shard.is_draining() && shard.transports() > 0)
        .map(|from| Wish::move_transports(from, to, from.transports(), "the shard is draining"))
        .collect()
}

tidegate_sdk::register!(balance: Steady = Steady::default());

#[cfg(test)]
mod tests {
    use super::{Balance, BalanceRequest, Cause, Cluster, Column, Setup, Steady};
    use serde_json::{Value, json};

    fn steady(configuration: &Value) -> Steady {
        let mut steady = Steady::default();
        assert_eq!(steady.configure(&Setup::with_configuration(configuration)), Ok(()));
        steady
    }

    /// Two shards: the first holds 40 transports.
    fn cluster(first_p99_us: u64, second_p99_us: u64) -> Cluster {
        let mut cluster = Cluster::with_shards(2);
        cluster.set(0, Column::Transports, 40);
        cluster.set(0, Column::ForwardDelayP99, first_p99_us);
        cluster.set(1, Column::ForwardDelayP99, second_p99_us);
        cluster
    }

    /// How many wishes each tick brings.
    fn ticks(steady: &mut Steady, cluster: &Cluster, count: usize) -> Vec<usize> {
        (0..count).map(|_| steady.balance(&BalanceRequest::default(), cluster).len()).collect()
    }

    #[test]
    fn a_shard_must_stay_slow_before_a_share_moves_and_then_rests() {
        let mut steady = steady(&json!({ "ticks": 3, "rest_ticks": 4 }));
        let slow = cluster(8_000, 100);
        assert_eq!(ticks(&mut steady, &slow, 2), [0, 0]);
        let wishes = steady.balance(&BalanceRequest::default(), &slow);
        assert_eq!(wishes.len(), 1);
        let wish = &wishes[0];
        assert_eq!((wish.action.as_str(), wish.unit.as_str()), ("move", "transports"));
        assert_eq!((wish.from_row, wish.to_row, wish.amount), (Some(0), Some(1), 4));
        assert!(wish.reason.contains("8000 µs"), "{}", wish.reason);
        assert_eq!(ticks(&mut steady, &slow, 4), [0, 0, 0, 1]);
    }

    #[test]
    fn a_shard_that_sheds_is_slow_however_short_its_delay_is_then() {
        let mut steady = steady(&json!({ "ticks": 2 }));
        let mut sheds = cluster(100, 100);
        sheds.set(0, Column::Shedding, 2);
        assert_eq!(ticks(&mut steady, &sheds, 1), [0]);
        let wishes = steady.balance(&BalanceRequest::default(), &sheds);
        assert!(wishes[0].reason.contains("level 2"), "{}", wishes[0].reason);
        sheds.set(1, Column::Shedding, 1);
        assert_eq!(ticks(&mut steady, &sheds, 30).iter().sum::<usize>(), 0, "nowhere to go");
    }

    #[test]
    fn one_fast_tick_starts_the_count_again() {
        let mut steady = steady(&json!({ "ticks": 3 }));
        assert_eq!(ticks(&mut steady, &cluster(8_000, 100), 2), [0, 0]);
        assert_eq!(ticks(&mut steady, &cluster(4_000, 100), 1), [0]);
        assert_eq!(ticks(&mut steady, &cluster(8_000, 100), 3), [0, 0, 1]);
    }

    #[test]
    fn nothing_moves_to_a_shard_that_is_nearly_as_slow_or_draining() {
        let mut steady = steady(&json!({ "ticks": 1 }));
        assert_eq!(ticks(&mut steady, &cluster(8_000, 2_501), 1), [0]);
        let mut draining = cluster(8_000, 100);
        draining.set(1, Column::Draining, 1);
        assert_eq!(ticks(&mut steady, &draining, 1), [0]);
        draining.set(1, Column::Transports, 3);
        let wishes = steady.balance(&BalanceRequest::default(), &draining);
        assert_eq!(
            (wishes.len(), wishes[0].from_row, wishes[0].amount),
            (1, Some(1), 3),
            "and it is emptied"
        );
        assert_eq!(ticks(&mut steady, &cluster(8_000, 2_500), 1), [1]);
    }

    #[test]
    fn one_transport_alone_stays() {
        let mut steady = steady(&json!({ "ticks": 1 }));
        let mut alone = cluster(8_000, 100);
        alone.set(0, Column::Transports, 1);
        assert_eq!(ticks(&mut steady, &alone, 3), [0; 3]);
    }

    #[test]
    fn the_same_node_comes_before_a_faster_one() {
        let mut cluster = Cluster::with_shards(3);
        cluster.set(0, Column::ForwardDelayP99, 9_000);
        cluster.set(0, Column::Transports, 10);
        cluster.set(1, Column::ForwardDelayP99, 10);
        cluster.set(1, Column::Node, 7);
        cluster.set(2, Column::ForwardDelayP99, 900);
        let wishes = steady(&json!({ "ticks": 1 })).balance(&BalanceRequest::default(), &cluster);
        assert_eq!(wishes[0].to_row, Some(2));
    }

    #[test]
    fn a_drain_empties_and_a_loss_waits() {
        let mut cluster = cluster(100, 100);
        cluster.set(0, Column::Draining, 1);
        let asked = |cause| BalanceRequest { cause, ..BalanceRequest::default() };
        let wishes = Steady::default().balance(&asked(Cause::Drain), &cluster);
        assert_eq!((wishes.len(), wishes[0].from_row, wishes[0].amount), (1, Some(0), 40));
        assert!(Steady::default().balance(&asked(Cause::NodeLost), &cluster).is_empty());
    }

    #[test]
    fn the_schema_fits_the_type() {
        tidegate_sdk::schema::agrees::<super::Configuration>(super::SCHEMA);
    }
}
