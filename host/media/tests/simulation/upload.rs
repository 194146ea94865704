//! Publishers that hear no session messages, by WHIP say: what nobody watches of them they are told as a ceiling.

use super::world::World;
use super::{Plan, Weather, plan, simulcast};
use std::time::Duration;
use tidegate_types::ConsumerId;
use tidegate_types::command::CommandBody;

/// As good as none.
const LIFTED: u64 = 10_000;

#[test]
fn an_encoder_leaves_out_what_lies_above_what_is_watched_and_begins_again_at_once() {
    for shards in [1, 2] {
        let mut world =
            World::new(1, shards, 4, Weather::default(), &Plan { told_by_ceiling: true, ..simulcast() });
        (0..4).for_each(|person| world.prefer(person, 1));
        world.run_until(Duration::from_secs(4));
        assert_eq!(world.people[3].sends(), [true, true, true], "{shards} shards");
        assert_eq!(
            world.people[3].ceilings, [0; 0],
            "{shards} shards: nothing is told before there is cause"
        );
        world.run_until(Duration::from_secs(9));
        assert_eq!(world.people[3].sends(), [true, true, false], "{shards} shards");
        world.run_until(Duration::from_secs(40));
        // Of 130, 390 and 1,030 kbit/s the lower two and a sound, with room to spare.
        let told = world.people[3].ceilings.clone();
        assert!(told.iter().all(|kbps| (600..=900).contains(kbps)), "{shards} shards: {told:?}");
        assert!(
            told.len() <= 3 && told.is_sorted(),
            "{shards} shards: it does not follow what it causes: {told:?}"
        );

        world.prefer(0, 2);
        world.run_until(Duration::from_millis(40_200));
        assert!(world.people[3].ceilings.last() > Some(&LIFTED), "{shards} shards: within a moment");
        world.run_until(Duration::from_millis(41_500));
        let highest = world.consumed(0).iter().filter(|stats| stats.encoding == Some(2)).count();
        assert_eq!(highest, 2, "{shards} shards");
        assert!(world.people[0].timestamps_ascend());
    }
}

#[test]
fn whom_nobody_watches_keeps_a_floor_and_the_grant_holds_in_any_case() {
    for shards in [1, 2] {
        let plan = Plan {
            packets: vec![8],
            payload: 1_000,
            listeners: 1,
            late: true,
            ceiling_kbps: Some(5_000),
            told_by_ceiling: true,
            until: Duration::from_secs(60),
            ..plan(1)
        };
        let mut world = World::new(1, shards, 2, Weather::default(), &plan);
        world.run_until(Duration::from_secs(4));
        assert_eq!(world.people[1].ceilings, [5_000], "{shards} shards");
        world.run_until(Duration::from_secs(7));
        assert_eq!(world.people[1].ceilings, [5_000, 150 + 64], "{shards} shards");

        world.subscribe(0);
        world.run_until(Duration::from_millis(7_200));
        assert_eq!(world.people[1].ceilings.last(), Some(&5_000), "{shards} shards: within a moment");
        // Whoever looks away for a moment changes nothing.
        let video = ConsumerId(2);
        for (at, paused) in [(9, true), (12, false), (13, true)] {
            world.run_until(Duration::from_secs(at));
            world.command(0, CommandBody::PauseConsumer { consumer: video, paused }).expect("pauses");
        }
        world.run_until(Duration::from_millis(16_500));
        assert_eq!(world.people[1].ceilings.len(), 3, "{shards} shards: {:?}", world.people[1].ceilings);
        world.run_until(Duration::from_secs(20));
        assert_eq!(world.people[1].ceilings.last(), Some(&(150 + 64)), "{shards} shards");
    }
}
