//! Who speaks, as people are told.

use crate::harness::World;
use std::time::Duration;
use tidegate_types::report::Report;
use tidegate_types::request::NoticeBody;
use tidegate_types::router::{AudioLevel, AudioLevels};
use tidegate_types::{MediaKind, ProducerId, RouterId};

use crate::harness::produce_audible;
use tidegate_types::Place;
use tidegate_types::command::CommandBody;

struct Talk {
    world: World,
    router: RouterId,
    tracks: Vec<ProducerId>,
    orders: Vec<Vec<usize>>,
}

impl Talk {
    fn new(people: u64) -> Self {
        let mut world = World::new(1);
        let joined: Vec<_> = (1..=people).map(|client| world.join(client, "tea")).collect();
        let tracks = (1..=people)
            .zip(&joined)
            .map(|(client, joined)| world.produce(client, joined.transport, MediaKind::Audio))
            .collect();
        world.notices.clear();
        Self { world, router: joined[0].router, tracks, orders: Vec::new() }
    }

    /// A while in which these make sound: (person, level, voice).
    fn hear(&mut self, span_ms: u64, sounds: &[(usize, u8, u8)]) {
        for _ in 0..span_ms / 100 {
            self.world.pass(Duration::from_millis(100));
            let levels = sounds
                .iter()
                .map(|&(person, level, voice)| AudioLevel { producer: self.tracks[person], level, voice })
                .collect();
            self.world.report(0, Report::AudioLevels(AudioLevels { router: self.router, levels }));
            self.note();
        }
    }

    fn silence(&mut self, span_ms: u64) {
        self.world.pass(Duration::from_millis(span_ms));
        self.note();
    }

    fn note(&mut self) {
        for notice in self.world.told(1) {
            let NoticeBody::ActiveSpeakers(speakers) = notice else { panic!("only speakers: {notice:?}") };
            let position = |producer| self.tracks.iter().position(|track| *track == producer);
            self.orders.push(speakers.iter().filter_map(|speaker| position(speaker.producer)).collect());
        }
    }

    fn orders(&mut self) -> Vec<Vec<usize>> {
        std::mem::take(&mut self.orders)
    }
}

#[test]
fn a_voice_enters_and_leaves_after_a_second_of_silence() {
    let mut talk = Talk::new(2);
    talk.hear(1_000, &[(0, 30, 255)]);
    assert_eq!(talk.orders(), [vec![0]]);
    let speakers = &talk.world.dump().rooms[0].speakers;
    assert_eq!((speakers.len(), speakers[0].level), (1, 30));
    talk.silence(900);
    assert_eq!(talk.orders(), [] as [Vec<usize>; 0]);
    talk.silence(200);
    assert_eq!(talk.orders(), [vec![]]);
}

#[test]
fn noise_without_voice_and_a_cough_are_nobody() {
    let mut talk = Talk::new(2);
    talk.hear(5_000, &[(0, 60, 0)]);
    talk.hear(100, &[(1, 30, 255)]);
    talk.silence(3_000);
    assert_eq!(talk.orders(), [] as [Vec<usize>; 0]);
}

#[test]
fn the_louder_one_takes_the_floor_only_by_a_margin_and_after_a_while() {
    let mut talk = Talk::new(2);
    talk.hear(2_000, &[(0, 40, 255)]);
    talk.hear(2_000, &[(0, 40, 255), (1, 36, 255)]);
    assert_eq!(talk.orders(), [vec![0], vec![0, 1]], "a little louder is not dominant");
    talk.hear(2_000, &[(0, 40, 255), (1, 20, 255)]);
    assert_eq!(talk.orders(), [vec![1, 0]]);
    // One loud moment of the other changes nothing.
    talk.hear(200, &[(0, 5, 255), (1, 20, 255)]);
    talk.hear(1_000, &[(0, 40, 255), (1, 20, 255)]);
    assert_eq!(talk.orders(), [] as [Vec<usize>; 0]);
}

#[test]
fn a_shout_too_short_changes_nothing() {
    let mut talk = Talk::new(2);
    talk.hear(2_000, &[(0, 40, 255), (1, 60, 255)]);
    let settled = talk.orders();
    assert_eq!(settled.last(), Some(&vec![0, 1]));
    talk.hear(400, &[(0, 40, 255), (1, 0, 255)]);
    talk.hear(1_000, &[(0, 40, 255), (1, 60, 255)]);
    assert_eq!(talk.orders(), [] as [Vec<usize>; 0]);
}

#[test]
fn many_who_begin_at_once_are_told_of_together() {
    let mut talk = Talk::new(8);
    for speaking in 1..=8 {
        let sounds: Vec<_> = (0..speaking).map(|person| (person, 30, 255)).collect();
        talk.hear(100, &sounds);
    }
    talk.hear(1_000, &(0..8).map(|person| (person, 30, 255)).collect::<Vec<_>>());
    let orders = talk.orders();
    assert!(orders.len() <= 4, "{orders:?}");
    assert_eq!(orders.last().map(Vec::len), Some(8));
}

#[test]
fn a_quarrel_is_told_at_most_twice_a_second() {
    let mut talk = Talk::new(2);
    for round in 0..40 {
        let (loud, soft) = (round % 2, 1 - round % 2);
        talk.hear(700, &[(loud, 5, 255), (soft, 70, 255)]);
    }
    let told = talk.orders().len();
    assert!((10..=56).contains(&told), "{told} in 28 s");
}

#[test]
fn a_track_that_ends_speaks_no_more() {
    let mut talk = Talk::new(2);
    talk.hear(1_000, &[(0, 30, 255), (1, 30, 255)]);
    talk.world.send(tidegate_directory::Input::ClientGone(tidegate_types::request::ClientId(2)));
    let told = talk.world.told(1);
    assert!(
        told.iter()
            .any(|notice| matches!(notice, NoticeBody::ActiveSpeakers(speakers) if speakers.len() == 1)),
        "{told:?}"
    );
    talk.world.send(tidegate_directory::Input::ClientGone(tidegate_types::request::ClientId(1)));
    talk.world.assert_empty();
}

#[test]
fn of_many_microphones_the_loudest_are_forwarded_wherever_they_stand() {
    let mut world = World::new(2);
    world.allocate = crate::harness::round_robin(2);
    let joined: Vec<_> = (1..=7).map(|client| world.join(client, "tea")).collect();
    let mut tracks = Vec::new();
    for (client, one) in (1..=6).zip(&joined) {
        tracks.push(produce_audible(&mut world, client, one.transport));
    }
    // Person 2, on the other shard, hears person 1.
    world.consume(2, joined[1].transport, tracks[0]);
    let hushes = |world: &mut World| -> Vec<(Place, ProducerId, bool)> {
        let told = world.commanded().into_iter();
        told.filter_map(|(place, body)| match body {
            CommandBody::HushProducer { producer, hushed } => Some((place, producer, hushed)),
            _ => None,
        })
        .collect()
    };
    assert_eq!(hushes(&mut world), [], "six are few");
    tracks.push(produce_audible(&mut world, 7, joined[6].transport));
    let told = hushes(&mut world);
    assert!(told.iter().all(|(_, _, hushed)| *hushed) && told.len() == 4, "{told:?}");
    let level = |index: usize| AudioLevel { producer: tracks[index], level: 30, voice: 255 };
    for _ in 0..2 {
        world.pass(Duration::from_millis(100));
        let levels = [3, 4, 5].map(level).to_vec();
        world.report(0, Report::AudioLevels(AudioLevels { router: joined[0].router, levels }));
    }
    let told = hushes(&mut world);
    let of_the_first: Vec<_> = told.iter().filter(|(_, producer, _)| *producer == tracks[0]).collect();
    assert_eq!(of_the_first.len(), 2, "at its home and where it is relayed to: {told:?}");
    let heard: Vec<_> =
        told.iter().filter(|(.., hushed)| !hushed).map(|(_, producer, _)| *producer).collect();
    assert_eq!(heard, tracks[3..6]);
}

#[test]
fn the_pictures_of_who_holds_the_floor_come_first_everywhere() {
    let mut talk = Talk::new(2);
    let transport = talk.world.dump().rooms[0].people[0].transport;
    let picture = talk.world.produce(1, transport, MediaKind::Video);
    talk.world.commanded();
    talk.world.pass(Duration::from_millis(100));
    talk.hear(1_000, &[(0, 30, 255)]);
    let told: Vec<_> = talk.world.commanded().into_iter().map(|(_, body)| body).collect();
    assert_eq!(told, [CommandBody::SetSpeaker { router: talk.router, pictures: vec![picture] }]);
}
