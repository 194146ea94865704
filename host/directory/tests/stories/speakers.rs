//! Who speaks, as people are told.

use crate::harness::World;
use std::time::Duration;
use tidegate_types::report::Report;
use tidegate_types::request::NoticeBody;
use tidegate_types::router::{AudioLevel, AudioLevels};
use tidegate_types::{MediaKind, ProducerId, RouterId};

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
