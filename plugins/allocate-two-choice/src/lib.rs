//! `allocate-two-choice`: draws two shards by chance and places on the better one. Knows nothing of rooms.
//!
//! What it costs does not grow with the cluster, and the fullest shard stays close to the average all the same: drawing
//! two instead of one lowers the excess from a logarithm to the logarithm of one (Mitzenmacher, "The Power of Two
//! Choices in Randomized Load Balancing", 2001). And it herds less than picking the best by a report that is old.

use serde::Deserialize;
use tidegate_sdk::allocate::{Choose, Cluster, Column, Moment, PlaceRequest, Shard};

/// The better of two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TwoChoice {
    /// Relays of one producer from one shard, beyond which the next ones hang on another parent.
    relay_fan_out: u32,
}

impl Default for TwoChoice {
    fn default() -> Self {
        Self { relay_fan_out: 8 }
    }
}

impl Choose for TwoChoice {
    const SCHEMA: &'static str = include_str!("../configuration.schema.json");
    const COLUMNS: &'static [Column] =
        &[Column::Egress, Column::ReservedEgress, Column::Transports, Column::ReservedTransports];

    fn relay_fan_out(&self) -> u32 {
        self.relay_fan_out
    }

    fn choose<'a>(&self, request: &PlaceRequest, cluster: &'a Cluster) -> Option<Shard<'a>> {
        better_of_two(cluster, request.moment)
    }
}

/// Where both shed, one that does not is looked for.
fn better_of_two(cluster: &Cluster, moment: Moment) -> Option<Shard<'_>> {
    let mut random = moment.random();
    let drawn = [cluster.any_shard(&mut random)?, cluster.any_shard(&mut random)?];
    let better = drawn.into_iter().min_by_key(|&shard| load(shard))?;
    if better.shed_level() == 0 {
        return Some(better);
    }
    cluster.least_busy(|shard| shard.shed_level() == 0).or(Some(better))
}

fn load(shard: Shard<'_>) -> (bool, u64, u64) {
    (shard.shed_level() > 0, shard.expected_egress().kbps(), shard.expected_transports())
}

tidegate_sdk::register!(allocate: TwoChoice = TwoChoice::default());

#[cfg(test)]
mod tests {
    use super::{Choose, Cluster, Column, Moment, PlaceRequest, TwoChoice};
    use tidegate_sdk::allocate::Allocate;

    fn placed(seed: u64, cluster: &Cluster) -> Result<u32, String> {
        let request =
            PlaceRequest { moment: Moment { seed, ..Moment::default() }, ..PlaceRequest::default() };
        let answer = TwoChoice::default().place(&request, cluster);
        answer.map(|placement| placement.row).map_err(|refusal| refusal.code)
    }

    #[test]
    fn the_fuller_of_two_is_taken_only_where_it_was_drawn_twice() {
        let mut cluster = Cluster::with_shards(2);
        cluster.set(0, Column::ReservedEgress, 500);
        let fuller = (0..1_000).filter(|&seed| placed(seed, &cluster) == Ok(0)).count();
        assert!((200..300).contains(&fuller), "{fuller} of 1,000");
    }

    #[test]
    fn the_same_seed_gives_the_same_place() {
        let cluster = Cluster::with_shards(100);
        assert!((0..100).all(|seed| placed(seed, &cluster) == placed(seed, &cluster)));
    }

    #[test]
    fn a_thousand_joins_stay_close_to_the_average() {
        let mut cluster = Cluster::with_shards(20);
        let mut transports = [0_u64; 20];
        for seed in 0..1_000 {
            let row = placed(seed, &cluster).unwrap();
            transports[row as usize] += 1;
            cluster.set(row, Column::ReservedTransports, transports[row as usize]);
        }
        assert!(transports.iter().all(|count| (44..=54).contains(count)), "{transports:?}");
    }

    #[test]
    fn one_that_sheds_takes_nothing_while_another_can() {
        let mut cluster = Cluster::with_shards(4);
        for row in 0..3 {
            cluster.set(row, Column::Shedding, 1);
        }
        cluster.set(3, Column::Egress, 900);
        assert!((0..100).all(|seed| placed(seed, &cluster) == Ok(3)));
        cluster.set(3, Column::Shedding, 1);
        assert!(placed(1, &cluster).is_ok());
    }

    #[test]
    fn a_draining_shard_takes_nothing_and_an_empty_cluster_refuses() {
        let mut cluster = Cluster::with_shards(2);
        cluster.set(0, Column::Draining, 1);
        assert!((0..100).all(|seed| placed(seed, &cluster) == Ok(1)));
        cluster.set(1, Column::Draining, 1);
        assert_eq!(placed(1, &cluster), Err("full".into()));
    }

    #[test]
    fn the_schema_fits_the_type() {
        tidegate_sdk::schema::agrees::<TwoChoice>(TwoChoice::SCHEMA);
    }
}
