//! A shard whose capacity is exceeded, on virtual time: what leaves the engine is counted, what is beyond the capacity
//! waits, and how long it waits is what the engine is told.

use super::world::World;
use super::{Weather, simulcast};
use std::time::Duration;
use tidegate_media::shed::{Level, TICK};
use tidegate_types::ProducerId;
use tidegate_types::RouterId;
use tidegate_types::command::CommandBody;
use tidegate_types::consumer::Allowance;

/// What waits longer than this would be dropped: kernels hold no more.
const BUFFER: Duration = Duration::from_secs(1);

struct Shard {
    world: World,
    ticks: u32,
    /// Datagrams that wait, in thousandths.
    waiting: u64,
    sent: u64,
    longest: Duration,
    /// When the level changed, in ticks, and to what.
    changes: Vec<(u32, Level)>,
}

impl Shard {
    /// One shard with three people who listen and three who publish, all of whom want the highest layers.
    fn new() -> Self {
        let plan = super::Plan { layers: true, until: Duration::from_secs(600), listeners: 3, ..simulcast() };
        let mut world = World::new(1, 1, 6, Weather::default(), &plan);
        (0..6).for_each(|person| world.prefer(person, u8::MAX));
        Self { world, ticks: 0, waiting: 0, sent: 0, longest: Duration::ZERO, changes: Vec::new() }
    }

    /// Runs on while it can send so many datagrams a second.
    fn run(&mut self, seconds: u32, capacity: u64) {
        for _ in 0..seconds * 10 {
            self.ticks += 1;
            self.world.run_until(TICK * self.ticks);
            let sent = self.world.sent - std::mem::replace(&mut self.sent, self.world.sent);
            self.waiting = (self.waiting + sent * 1_000).saturating_sub(capacity * 100);
            let delay = Duration::from_millis(self.waiting / capacity);
            self.longest = self.longest.max(delay);
            let change = self.world.strain(0, delay);
            self.changes.extend(change.map(|level| (self.ticks, level)));
        }
    }

    /// Makes it shed up to a level, whatever there is to do.
    fn shed(&mut self, level: Level) {
        while self.world.engines[0].shed_level() < level {
            self.ticks += 1;
            self.world.run_until(TICK * self.ticks);
            self.world.strain(0, Duration::from_millis(80));
        }
        self.world.run_until(TICK * self.ticks + Duration::from_secs(1));
        self.ticks += 10;
    }

    /// What the first listener is sent of each publisher's pictures.
    fn pictures(&mut self) -> Vec<(Option<u8>, Allowance)> {
        let all = self.world.consumers(0).into_iter();
        all.skip(1).step_by(2).map(|(_, stats)| (stats.encoding, stats.allowance)).collect()
    }

    fn assert_sound_is_whole(&self, least: usize) {
        for sound in [31, 41, 51].map(ProducerId) {
            let sequences = self.world.people[0].sequences(sound);
            assert!(sequences.len() > least, "{}", sequences.len());
            assert!(sequences.windows(2).all(|two| two[1] == two[0] + 1));
        }
    }
}

#[test]
fn a_shard_beyond_its_capacity_sheds_until_it_keeps_up_and_gives_back_without_swinging() {
    let mut shard = Shard::new();
    shard.run(10, 5_000);
    assert_eq!(shard.changes, [], "all of it fits");
    // Two highest layers of three do not: 2,500 are wanted, 1,400 without the highest, 1,000 without the middle ones.
    shard.run(150, 1_200);
    assert!(shard.longest < BUFFER, "a packet waited {:?}", shard.longest);
    shard.assert_sound_is_whole(7_000);
    let lowered: Vec<u32> =
        shard.changes.windows(2).filter(|two| two[1].1 < two[0].1).map(|two| two[1].0).collect();
    assert!((2..=4).contains(&lowered.len()), "{:?}", shard.changes);
    let rests: Vec<u32> = lowered.windows(2).map(|two| (two[1] - two[0]) / 10).collect();
    assert!(rests.windows(2).all(|two| two[1] >= two[0]) && rests[0] >= 10, "{rests:?}");
    // One level more than would do at most: what had piled up is worked off first.
    assert!(shard.changes.iter().all(|(_, level)| *level <= Level::Upper), "{:?}", shard.changes);
    let counters = shard.world.engines[0].counters();
    assert!(counters.shed_level > 0 && counters.shed_packets > 10_000, "{counters:?}");
    // Room again: everything comes back.
    shard.run(120, 5_000);
    assert_eq!(shard.world.engines[0].shed_level(), Level::Nothing);
    shard.run(5, 5_000);
    assert_eq!(shard.pictures(), [(Some(2), Allowance::Full); 3]);
    let after = shard.world.engines[0].counters().shed_packets;
    shard.run(5, 5_000);
    assert_eq!(shard.world.engines[0].counters().shed_packets, after);
}

#[test]
fn thumbnails_go_first_then_everyones_layers_then_pictures_and_sound_never() {
    let mut shard = Shard::new();
    let body = CommandBody::SetSpeaker { router: RouterId(1), pictures: vec![ProducerId(32)] };
    shard.world.command(0, body).expect("sets");
    shard.run(5, 5_000);
    let full = (Some(2), Allowance::Full);
    let reduced = |encoding| (Some(encoding), Allowance::Reduced);
    let lowest = [reduced(0); 3];
    shard.shed(Level::OthersHighest);
    assert_eq!(shard.pictures(), [full, reduced(1), reduced(1)]);
    shard.shed(Level::OthersUpper);
    assert_eq!(shard.pictures(), [full, reduced(0), reduced(0)]);
    shard.shed(Level::Upper);
    assert_eq!(shard.pictures(), lowest);
    let frames = shard.world.people[0].decodable()[&ProducerId(32)].len();
    shard.shed(Level::FrameRate);
    assert_eq!(shard.pictures(), lowest);
    let more = shard.world.people[0].decodable()[&ProducerId(32)].len() - frames;
    assert!(more < 25, "{more} pictures in two seconds at half of 15 a second");
    shard.shed(Level::Others);
    let allowed =
        |shard: &mut Shard| shard.pictures().into_iter().map(|(_, allowance)| allowance).collect::<Vec<_>>();
    assert_eq!(allowed(&mut shard), [Allowance::Reduced, Allowance::Nothing, Allowance::Nothing]);
    shard.shed(Level::Pictures);
    assert_eq!(allowed(&mut shard), [Allowance::Nothing; 3]);
    shard.assert_sound_is_whole(500);
    shard.run(80, 5_000);
    assert_eq!(shard.pictures(), [full; 3]);
    shard.assert_sound_is_whole(4_000);
}

#[test]
fn who_comes_while_layers_are_shed_gets_the_lowest() {
    let plan = super::Plan { late: true, listeners: 1, ..simulcast() };
    let mut world = World::new(1, 1, 3, Weather::default(), &plan);
    world.run_until(Duration::from_secs(3));
    for tick in 0..30_u32 {
        world.run_until(Duration::from_secs(3) + TICK * tick);
        world.strain(0, Duration::from_millis(80));
    }
    assert_eq!(world.engines[0].shed_level(), Level::Upper);
    world.subscribe(0);
    world.run_until(Duration::from_secs(8));
    let sent: Vec<_> = world.consumed(0).into_iter().skip(1).step_by(2).collect();
    assert_eq!(sent.iter().map(|stats| stats.encoding).collect::<Vec<_>>(), [Some(0); 2]);
    assert!(sent.iter().all(|stats| stats.packets > 20), "{sent:?}");
}
