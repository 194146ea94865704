//! What a policy says that tracks are worth: it holds for as long as it says, at every shard, and then the engines' own
//! rule is back.

use super::world::World;
use super::{Plan, Weather, simulcast};
use std::time::Duration;
use tidegate_types::ProducerId;
use tidegate_types::consumer::Allowance;
use tidegate_types::sharing::Portion;

const ONE: ProducerId = ProducerId(22);
const OTHER: ProducerId = ProducerId(32);
const CEILING: Portion = Portion { weight_percent: 0, floor_kbps: 0, ceiling_kbps: 600, priority: 0 };
const FIRST: Portion = Portion { weight_percent: 0, floor_kbps: 0, ceiling_kbps: 0, priority: 1 };

/// Encoding and allowance of both pictures, as a listener is sent them.
fn pictures(world: &mut World, person: usize) -> Vec<(Option<u8>, Allowance)> {
    let all = world.consumers(person).into_iter().map(|(_, stats)| stats);
    all.filter(|stats| stats.bytes > 20_000).map(|stats| (stats.encoding, stats.allowance)).collect()
}

const FULL: (Option<u8>, Allowance) = (Some(2), Allowance::Full);
/// All that there is below the ceiling: the listener's way lacks nothing.
const BOUNDED: (Option<u8>, Allowance) = (Some(1), Allowance::Full);

#[test]
fn a_ceiling_bounds_one_track_until_it_runs_out() {
    for shards in [1, 2] {
        let mut world = World::new(1, shards, 4, Weather::default(), &simulcast());
        world.run_until(Duration::from_secs(6));
        assert_eq!(pictures(&mut world, 0), [FULL, FULL], "{shards} shards");
        world.say_shares(&[(ONE, CEILING)], 1_500);
        world.run_until(Duration::from_millis(7_200));
        assert_eq!(pictures(&mut world, 0), [BOUNDED, FULL], "{shards} shards");
        assert!(world.people[0].sounds() > 0);
        // Nobody says anything again.
        world.run_until(Duration::from_secs(10));
        assert_eq!(pictures(&mut world, 0), [FULL, FULL], "{shards} shards");
        assert!(world.people[0].timestamps_ascend());
    }
}

#[test]
fn what_is_said_anew_takes_the_place_of_what_was_said_before() {
    let mut world = World::new(1, 1, 4, Weather::default(), &simulcast());
    world.run_until(Duration::from_secs(6));
    world.say_shares(&[(ONE, CEILING)], 60_000);
    world.run_until(Duration::from_secs(8));
    assert_eq!(pictures(&mut world, 0), [BOUNDED, FULL]);
    world.say_shares(&[(OTHER, CEILING)], 60_000);
    world.run_until(Duration::from_secs(10));
    assert_eq!(pictures(&mut world, 0), [FULL, BOUNDED]);
    world.say_shares(&[], 0);
    world.run_until(Duration::from_secs(12));
    assert_eq!(pictures(&mut world, 0), [FULL, FULL]);
}

#[test]
fn on_a_narrow_way_the_track_with_priority_comes_first() {
    for shards in [1, 2] {
        for (first, expected) in [(ONE, [Some(2), Some(0)]), (OTHER, [Some(0), Some(2)])] {
            let plan = Plan { first_kbps: Some(1_500), ..simulcast() };
            let mut world = World::new(1, shards, 4, Weather::default(), &plan);
            world.say_shares(&[(first, FIRST)], 60_000);
            // Who had to step down when the streams were young rests for a while.
            world.run_until(Duration::from_secs(20));
            let sent: Vec<_> = pictures(&mut world, 0).into_iter().map(|(encoding, _)| encoding).collect();
            assert_eq!(sent, expected, "{shards} shards");
        }
    }
}

#[test]
fn rates_are_those_of_the_tracks_that_come_in_here_and_of_the_ways_from_here() {
    let mut world = World::new(1, 2, 4, Weather::default(), &Plan { first_kbps: Some(1_500), ..simulcast() });
    world.run_until(Duration::from_secs(6));
    let (even, odd) = (world.rates(0), world.rates(1));
    let tracks: Vec<ProducerId> = even.tracks.iter().map(|(track, _)| *track).collect();
    assert_eq!(tracks, [ProducerId(21), ONE], "a stand-in is told of where it comes in");
    assert!((1_000..2_200).contains(&even.tracks[1].1), "all three encodings: {even:?}");
    assert_eq!((even.transports.len(), odd.transports.len()), (2, 2));
    let narrow = even.transports[0].1;
    assert!(
        narrow.egress_kbps == 1_500 && narrow.given_kbps <= 1_500 && narrow.wanted_kbps > 1_800,
        "{narrow:?}"
    );
    assert_eq!(odd.transports[0].1.egress_kbps, 0, "nothing bounds it");
}
