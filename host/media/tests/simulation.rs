//! The engine in a simulated world: one shard and three must serve the same result, through loss, reordering and
//! duplication; a transport may move mid-stream. A failing seed is printed: `TIDEGATE_SEED=n` replays it, and
//! `TIDEGATE_SEEDS=n` runs so many. With the feature `broken-relay` both must fail.

#![allow(clippy::disallowed_methods, reason = "virtual time has to start somewhere")]

#[path = "simulation/overload.rs"]
mod overload;
#[path = "simulation/shares.rs"]
mod shares;
#[path = "simulation/upload.rs"]
mod upload;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidegate_types::command::CommandBody;
use tidegate_types::consumer::Allowance;
use tidegate_types::{Bitrate, ProducerId, TransportId};
use world::person::Plan;
use world::{Weather, World};

const WARM: u32 = 30;

fn plan(listeners: usize) -> Plan {
    Plan {
        frame_interval: Duration::from_micros(66_667),
        packets: vec![1, 3],
        payload: 300,
        audio_interval: Duration::from_millis(20),
        layers: false,
        until: Duration::from_secs(8),
        listeners,
        late: false,
        first_kbps: None,
        ceiling_kbps: None,
        told_by_ceiling: false,
        names: &[7],
    }
}

const STORM: Weather = Weather { lost: 40, late: 30, doubled: 10, relay_lost: 10 };

fn seeds() -> Vec<u64> {
    match std::env::var("TIDEGATE_SEED") {
        Ok(seed) => vec![seed.parse().expect("TIDEGATE_SEED is a number")],
        Err(_) => (1..=std::env::var("TIDEGATE_SEEDS")
            .map_or(2, |n| n.parse().expect("TIDEGATE_SEEDS is a number")))
            .collect(),
    }
}

/// What each person could decode of each producer, by frame number, and the last frame that everyone sent.
fn outcome(seed: u64, shards: usize, people: usize) -> (Vec<BTreeMap<ProducerId, BTreeSet<u32>>>, u32) {
    let mut world = World::new(seed, shards, people, STORM, &plan(0));
    // The senders stop after 8 s; what is missing then still has time to be repaired.
    world.run_until(Duration::from_secs(10));
    let last = world.people.iter().map(world::person::Person::frames_sent).min().unwrap_or(0);
    assert!(last > 3 * WARM, "seed {seed}: only {last} frames were sent");
    for person in &world.people {
        assert!(person.timestamps_ascend(), "seed {seed}: person {} saw time run back", person.number);
        assert!(person.sounds() > 0, "seed {seed}: person {} heard nothing", person.number);
    }
    (world.people.iter().map(world::person::Person::decodable).collect(), last)
}

#[test]
fn one_shard_and_three_deliver_the_same_decodable_frames() {
    for seed in seeds() {
        println!("seed {seed}");
        let (one, last_of_one) = outcome(seed, 1, 20);
        let (three, last_of_three) = outcome(seed, 3, 20);
        // The handshakes' own randomness may shift the first frame by one; the numbers in between are the same.
        let window = WARM..last_of_one.min(last_of_three) - 2;
        let inside = |frames: &BTreeSet<u32>| {
            frames.iter().copied().filter(|n| window.contains(n)).collect::<Vec<_>>()
        };
        for (person, (one, three)) in one.iter().zip(&three).enumerate() {
            assert_eq!(one.len(), 19, "seed {seed}");
            for (producer, frames) in one {
                let (one, three) = (inside(frames), inside(&three[producer]));
                assert_eq!(
                    one.len(),
                    window.len(),
                    "seed {seed}: person {person} lacks frames of {producer}"
                );
                assert_eq!(one, three, "seed {seed}: person {person}, {producer}");
            }
        }
    }
}

#[test]
fn with_temporal_layers_everyone_gets_every_picture_that_they_want_and_no_other() {
    for seed in seeds() {
        println!("seed {seed}");
        let mut world = World::new(seed, 3, 6, STORM, &Plan { layers: true, ..plan(0) });
        world.run_until(Duration::from_secs(10));
        let last = world.people.iter().map(world::person::Person::frames_sent).min().unwrap_or(0);
        for person in &world.people {
            // Those who don't want the highest want the base layer only; an odd picture in it is a keyframe.
            let wanted = |number: &u32| person.highest_preferred || number.is_multiple_of(2);
            for (producer, frames) in person.decodable() {
                let lacking: Vec<u32> =
                    (WARM..last - 2).filter(|number| wanted(number) && !frames.contains(number)).collect();
                assert!(lacking.is_empty(), "seed {seed}: {} lacks {lacking:?} of {producer}", person.number);
                let others = (WARM..last - 2).filter(|number| !wanted(number) && frames.contains(number));
                assert!(others.count() < 5, "seed {seed}: {} got what it did not want", person.number);
            }
            assert!(person.timestamps_ascend(), "seed {seed}");
        }
    }
}

#[test]
fn a_transport_moves_between_engines_mid_stream_without_loss() {
    for seed in seeds() {
        println!("seed {seed}");
        let weather = Weather { relay_lost: 10, ..Weather::default() };
        let mut world = World::new(seed, 2, 4, weather, &plan(2));
        let mut at = Duration::from_millis(1_500);
        for number in 0..10 {
            world.run_until(at);
            world.move_person(0, (number + 1) % 2).expect("a listener moves");
            at += Duration::from_millis(507);
        }
        let keyframes: u64 = world.people.iter().map(world::person::Person::keyframes_sent).sum();
        world.run_until(Duration::from_secs(10));
        let last = world.people[3].frames_sent();
        let wanted: BTreeSet<u32> = (WARM..last - 2).collect();
        for (producer, frames) in world.people[0].decodable() {
            let lacking: Vec<_> = wanted.difference(&frames).collect();
            assert!(lacking.is_empty(), "seed {seed}: of {producer} lacks {lacking:?}");
        }
        let after: u64 = world.people.iter().map(world::person::Person::keyframes_sent).sum();
        assert_eq!(after, keyframes, "seed {seed}: a move caused a keyframe");
        assert_eq!(world.moved, 10);
    }
}

#[test]
fn an_engine_tells_which_flow_each_transport_is_reached_by_until_it_leaves() {
    let mut world = World::new(1, 3, 4, Weather::default(), &plan(2));
    world.run_until(Duration::from_secs(1));
    world.assert_flows_are_at_home();
    for number in 0..6_u64 {
        world.move_person(number as usize % 2, (number as usize + 1) % 3).expect("someone moves");
        world.run_until(Duration::from_millis(1_100 + number * 100));
        world.assert_flows_are_at_home();
    }
    world.close_person(0);
    world.assert_flows_are_at_home();
}

#[test]
fn a_publisher_of_three_encodings_and_a_subscriber_both_move_ten_times_in_ten_seconds() {
    for seed in seeds() {
        // Three listen and two publish, over three shards: the moving pair, and witnesses at each place.
        both_move(seed, (3, 2), 0);
        both_move(seed, (3, 2), 10);
        // Nobody else wants what they want, so no relay carries it to where they arrive.
        both_move(seed, (1, 1), 0);
        both_move(seed, (1, 1), 10);
    }
}

fn both_move(seed: u64, (listeners, publishers): (usize, usize), relay_lost: u64) {
    let story = format!("seed {seed}, {listeners} and {publishers}, {relay_lost} of 1,000 lost on relays");
    println!("{story}");
    let weather = Weather { relay_lost, ..Weather::default() };
    let plan = Plan {
        frame_interval: Duration::from_micros(33_333),
        packets: vec![1, 2, 5],
        until: Duration::from_secs(14),
        ..plan(listeners)
    };
    let mut world = World::new(seed, 3, listeners + publishers, weather, &plan);
    world.run_until(Duration::from_secs(2));
    let keyframes: u64 = world.people.iter().map(world::person::Person::keyframes_sent).sum();
    world.people.iter_mut().for_each(|person| _ = person.take_longest_gap());
    for number in 0..10_u64 {
        world.run_until(Duration::from_millis(2_000 + number * 1_007));
        let (publisher, subscriber) = (world.homes[listeners], world.homes[0]);
        // Sometimes to the same place, sometimes past each other.
        world.move_person(listeners, (publisher + 1 + number as usize % 2) % 3).expect("a publisher moves");
        world.move_person(0, (subscriber + 1) % 3).expect("a subscriber moves");
    }
    world.run_until(Duration::from_secs(13));
    for person in &mut world.people {
        let gap = person.take_longest_gap();
        // A loss on a relay is noticed by the next packet.
        let most = if relay_lost == 0 { 50 } else { 100 };
        assert!(gap <= Duration::from_millis(most), "{story}: person {} had a gap of {gap:?}", person.number);
    }
    world.run_until(Duration::from_secs(16));
    let sent = world.people[listeners..].iter().map(world::person::Person::frames_sent);
    let wanted: BTreeSet<u32> = (WARM..sent.min().unwrap_or(0) - 2).collect();
    for person in &world.people {
        for (producer, frames) in person.decodable() {
            let lacking: Vec<_> = wanted.difference(&frames).collect();
            assert!(lacking.is_empty(), "{story}: person {} lacks {lacking:?} of {producer}", person.number);
        }
        assert!(person.timestamps_ascend(), "{story}: person {} saw time run back", person.number);
    }
    let after: u64 = world.people.iter().map(world::person::Person::keyframes_sent).sum();
    assert_eq!(after, keyframes, "{story}: a move caused a keyframe");
    assert_eq!(world.moved, 20);
}

/// Someone joins so long after a keyframe; what it decoded, and how many keyframes were sent for it.
fn join_after(seed: u64, shards: usize, age: Duration) -> (World, BTreeMap<ProducerId, BTreeSet<u32>>, u64) {
    let plan = Plan { packets: vec![1, 4], late: true, ..plan(1) };
    let mut world = World::new(seed, shards, 2, Weather::default(), &plan);
    world.run_until(Duration::from_secs(4));
    world.people[1].make_keyframes();
    world.run_until(Duration::from_secs(4) + age);
    let before = world.people[1].keyframes_sent();
    world.subscribe(0);
    world.run_until(Duration::from_millis(4_300) + age);
    let frames = world.people[0].decodable();
    let keyframes = world.people[1].keyframes_sent() - before;
    (world, frames, keyframes)
}

#[test]
fn a_joiner_sees_a_picture_without_a_keyframe_request_while_the_chain_is_fresh() {
    for (seed, shards) in seeds().into_iter().flat_map(|seed| [(seed, 1), (seed, 2)]) {
        println!("seed {seed}, {shards} shards");
        let (mut world, soon, keyframes) = join_after(seed, shards, Duration::from_millis(900));
        assert_eq!(keyframes, 0, "seed {seed}, {shards} shards: a keyframe was asked for");
        // Within 300 ms it has caught up with 900 ms: all but what is on its way just now.
        let sent = world.people[1].frames_sent();
        let (producer, frames) = soon.iter().next().expect("it saw something");
        assert!(frames.len() >= 15 && frames.contains(&(sent - 2)), "{frames:?} of {sent}");
        world.run_until(Duration::from_secs(10));
        let decoded = &world.people[0].decodable()[producer];
        let first = *frames.first().expect("some");
        let all: BTreeSet<u32> = (first..=world.people[1].frames_sent()).collect();
        assert_eq!(*decoded, all, "seed {seed}, {shards} shards");
        assert!(world.people[0].timestamps_ascend());
        assert_eq!(world.people[0].keyframes_asked(), 0);
        // Where it came over a relay, that replayed, and the joiner got it as it came.
        let replays = world.consumed(0).iter().map(|stats| stats.replays).sum::<u64>();
        assert_eq!(replays, u64::from(shards == 1));
    }
}

#[test]
fn a_joiner_far_from_the_last_keyframe_costs_exactly_one() {
    for shards in [1, 2] {
        let (mut world, _, _) = join_after(1, shards, Duration::from_millis(1_600));
        world.run_until(Duration::from_secs(8));
        // One of the encoding that it gets; the other is left alone.
        assert_eq!(world.people[1].keyframes_sent(), 2 + 2 + 1, "{shards} shards");
        assert_eq!(world.consumed(0).iter().map(|stats| stats.replays).sum::<u64>(), 0);
    }
}

/// Three encodings of about 130, 390 and 1,030 kbit/s; two people publish, two listen.
fn simulcast() -> Plan {
    Plan { packets: vec![1, 3, 8], payload: 1_000, until: Duration::from_secs(60), ..plan(2) }
}

#[test]
fn who_can_be_sent_little_gets_lower_layers_and_nobody_else_does() {
    for shards in [1, 2] {
        let plan = Plan { first_kbps: Some(1_000), ..simulcast() };
        let mut world = World::new(1, shards, 4, Weather::default(), &plan);
        world.run_until(Duration::from_secs(5));
        let videos = |world: &mut World, person| -> Vec<(Option<u8>, Allowance)> {
            let all = world.consumers(person).into_iter().map(|(_, stats)| stats);
            all.filter(|stats| stats.packets > 0 && stats.bytes > 20_000)
                .map(|stats| (stats.encoding, stats.allowance))
                .collect()
        };
        assert_eq!(videos(&mut world, 0), [(Some(1), Allowance::Reduced); 2], "{shards} shards");
        assert_eq!(videos(&mut world, 2), [(Some(2), Allowance::Full)], "{shards} shards");
    }
}

#[test]
fn who_can_be_sent_little_loses_frames_before_size() {
    for shards in [1, 2] {
        let plan = Plan { first_kbps: Some(1_400), layers: true, ..simulcast() };
        let mut world = World::new(1, shards, 4, Weather::default(), &plan);
        // Who had to step down when the streams were young rests for a while.
        world.run_until(Duration::from_secs(20));
        let last = world.people[3].frames_sent() - 2;
        let videos = world.consumers(0).into_iter().filter(|(_, stats)| stats.bytes > 20_000);
        let videos: Vec<_> = videos.map(|(_, stats)| (stats.encoding, stats.allowance)).collect();
        assert_eq!(videos, [(Some(2), Allowance::Reduced); 2], "{shards} shards");
        for (producer, frames) in world.people[0].decodable() {
            let seen: Vec<u32> = frames.range(last - 60..last).copied().collect();
            let half: Vec<u32> = (last - 60..last).filter(|number| number % 2 == 0).collect();
            assert_eq!(seen, half, "{shards} shards, {producer}");
        }
        // Nobody else loses anything.
        assert!(world.consumed(2).iter().all(|stats| stats.allowance == Allowance::Full));
    }
}

#[test]
fn what_nobody_watches_stops_at_its_source_and_comes_back_within_two_seconds() {
    for shards in [1, 2] {
        let mut world = World::new(1, shards, 4, Weather::default(), &simulcast());
        world.thrifty = true;
        (0..4).for_each(|person| world.prefer(person, 0));
        world.run_until(Duration::from_secs(4));
        assert_eq!(world.people[3].sends(), [true, true, true], "{shards} shards");
        world.run_until(Duration::from_secs(8));
        assert_eq!(world.people[3].sends(), [true, false, false], "{shards} shards");
        world.prefer(0, 2);
        world.run_until(Duration::from_secs(10));
        assert_eq!(world.people[3].sends(), [true, false, true], "{shards} shards");
        let sent: Vec<_> = world.consumers(0).into_iter().filter_map(|(_, stats)| stats.encoding).collect();
        assert_eq!(sent.iter().filter(|encoding| **encoding == 2).count(), 2, "{shards} shards: {sent:?}");
    }
}

#[test]
fn a_sound_that_is_held_back_and_let_through_leaves_no_gap_in_the_numbers() {
    for shards in [1, 2] {
        let mut world = World::new(1, shards, 4, Weather::default(), &simulcast());
        let sound = ProducerId(31);
        world.run_until(Duration::from_secs(2));
        world.hush(sound, true);
        world.run_until(Duration::from_millis(2_200));
        let before = world.people[0].sequences(sound).len();
        assert!(before > 20, "{shards} shards: {before}");
        world.run_until(Duration::from_secs(5));
        assert_eq!(world.people[0].sequences(sound).len(), before, "{shards} shards");
        world.hush(sound, false);
        world.run_until(Duration::from_secs(6));
        let sequences = world.people[0].sequences(sound);
        assert!(sequences.len() > before + 30, "{shards} shards: {}", sequences.len());
        assert!(sequences.windows(2).all(|two| two[1] == two[0] + 1), "{shards} shards: {sequences:?}");
        assert!(world.people[0].timestamps_ascend());
    }
}

#[test]
fn who_brings_in_too_much_loses_pictures_and_no_sound() {
    let mut world = World::new(1, 1, 4, Weather::default(), &Plan { ceiling_kbps: Some(600), ..simulcast() });
    world.run_until(Duration::from_secs(6));
    let publisher = world.stats(3).transport;
    assert_eq!(publisher.refused_audio_packets, 0);
    assert!(publisher.refused_video_packets > 500, "{publisher:?}");
    let sequences = world.people[0].sequences(ProducerId(31));
    assert!(sequences.len() > 200 && sequences.windows(2).all(|two| two[1] == two[0] + 1));
}

#[test]
fn a_ceiling_can_be_set_and_lifted_while_media_flows() {
    let mut world = World::new(1, 1, 4, Weather::default(), &simulcast());
    let limit = |world: &mut World, ingress_kbps| {
        let transport = TransportId(3);
        let body = CommandBody::LimitTransport { transport, ingress_kbps, egress_kbps: None, may_send: None };
        world.command(0, body).expect("is limited");
    };
    let refused_until = |world: &mut World, second| {
        world.run_until(Duration::from_secs(second));
        world.stats(3).transport.refused_video_packets
    };
    assert_eq!(refused_until(&mut world, 3), 0);
    limit(&mut world, Some(600));
    let refused = refused_until(&mut world, 6);
    assert!(refused > 250, "{refused}");
    limit(&mut world, None);
    assert_eq!(refused_until(&mut world, 9), refused);
}

#[test]
fn floods_of_requests_are_bounded_counted_and_reach_no_publisher() {
    let plan = Plan { packets: vec![5], ..plan(1) };
    let mut world = World::new(1, 1, 2, Weather::default(), &plan);
    world.run_until(Duration::from_secs(3));
    let keyframes = world.people[1].keyframes_sent();
    for tick in 0..20 {
        world.run_until(Duration::from_secs(3) + Duration::from_millis(100) * tick);
        world.flood(0);
    }
    world.run_until(Duration::from_secs(5));
    let stats = world.consumed(0).into_iter().find(|stats| stats.keyframe_requests > 0).expect("pictures");
    assert!(stats.keyframe_requests >= 200, "{stats:?}");
    assert!((100..=21 * 200).contains(&stats.retransmitted), "{stats:?}");
    assert!(stats.refused_repairs > 10_000, "{stats:?}");
    let asked = world.people[1].keyframes_sent() - keyframes;
    assert!((1..=8).contains(&asked), "{asked} keyframes in two seconds");
    let dropped: BTreeMap<_, _> = world.engines[0].counters().dropped.into_iter().collect();
    assert_eq!(dropped["repair-flood"], stats.refused_repairs);
    assert!(dropped["keyframe-request-folded"] > 150, "{dropped:?}");
}

#[test]
fn reports_with_long_names_stay_within_the_smallest_packet_of_a_path() {
    // Four that leave just so much that a fifth begins, of the longest name that there is.
    let names = &[189, 189, 185, 185, 255];
    let mut world = World::new(1, 1, 9, Weather::default(), &Plan { names, ..plan(1) });
    world.run_until(Duration::from_secs(6));
    let reported = &world.people[0].reported;
    assert_eq!(reported.len(), 16, "one a track: {reported:?}");
    assert!(reported.values().all(|count| *count >= 6), "{reported:?}");
    // IPv6 promises 1,280 bytes; its header and UDP's take 48 (RFC 8200).
    assert!((1_200..=1_280 - 48).contains(&world.longest_report), "{}", world.longest_report);
}

#[test]
fn what_goes_out_again_takes_no_more_than_half_of_a_narrow_way() {
    let plan = Plan { packets: vec![5], payload: 1_000, ..plan(1) };
    let mut world = World::new(1, 1, 2, Weather::default(), &plan);
    world.run_until(Duration::from_secs(2));
    world.tell_rate(0, Bitrate::from_kbps(800));
    world.run_until(Duration::from_secs(3));
    for tick in 0..20 {
        world.run_until(Duration::from_secs(3) + Duration::from_millis(100) * tick);
        world.flood(0);
    }
    world.run_until(Duration::from_secs(5));
    let stats = world.consumed(0).into_iter().find(|stats| stats.retransmitted > 0).expect("pictures");
    // 400 kbit/s are some 48 packets a second, and a few at once.
    assert!((80..=115).contains(&stats.retransmitted), "{stats:?}");
}
