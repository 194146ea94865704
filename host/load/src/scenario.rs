//! Who the bots are: their rooms, names and streams, all from one seed. Knows nothing of sessions and sockets.

use crate::options::{Media, Options};
use crate::source::{Content, SourcePlan};
use tidegate_types::Secret;
use tidegate_types::transport::IceCredentials;

/// The encodings of a camera, lowest first: rid, percent of the largest one's rate, pixels. Rates go with the pixels as
/// encoders of browsers are set.
const ENCODINGS: [(&str, u32, (u16, u16)); 3] =
    [("q", 10, (320, 180)), ("h", 30, (640, 360)), ("f", 100, (1_280, 720))];

/// Characters that ICE allows (RFC 8839, section 5.4).
const ICE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Numbers from a seed (SplitMix64): for what repeats a run, never for secrets of worth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// One series; equal arguments give equal series.
    pub(crate) const fn new(seed: u64, series: u64) -> Self {
        Self(seed ^ series.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// The next number.
    pub(crate) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn letters(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(ICE[(self.draw() % 64) as usize])).collect()
    }
}

/// One bot before it joins.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) room: String,
    pub(crate) credentials: IceCredentials,
    pub(crate) sources: Vec<SourcePlan>,
}

/// The `number`-th person in a run; `seat` says for whom it stands where people replace each other.
pub(crate) fn person(options: &Options, number: u32, seat: u32) -> Person {
    let (room, nth) = (seat % options.rooms, seat / options.rooms);
    let mut chance = Chance::new(options.seed, u64::from(number));
    let credentials = IceCredentials { ufrag: chance.letters(8), password: Secret::new(chance.letters(24)) };
    let sources = if nth < options.publishers() { sources(options, nth, &mut chance) } else { Vec::new() };
    Person {
        number,
        name: format!("bot {number}"),
        room: format!("{}-{room}", options.room),
        credentials,
        sources,
    }
}

fn sources(options: &Options, nth: u32, chance: &mut Chance) -> Vec<SourcePlan> {
    let sends = options.sends();
    let mut sources = Vec::new();
    let mut ssrc = || ((chance.draw() as u32) & 0x7fff_ffff).max(2);
    if sends != Media::Video {
        let content = Content::Audio { nth, of: options.publishers() };
        let mid = "s0".to_owned();
        sources.push(SourcePlan { mid, ssrc: ssrc(), repair_ssrc: None, rid: None, content });
    }
    if sends != Media::Audio {
        let encodings = usize::from(options.encodings()).min(ENCODINGS.len());
        for (rid, percent, pixels) in &ENCODINGS[ENCODINGS.len() - encodings..] {
            let content =
                Content::video(options.rate * percent / 100, options.fps, options.packet_bytes, *pixels);
            let (mid, rid) = ("s1".to_owned(), (encodings > 1).then_some(*rid));
            sources.push(SourcePlan { mid, ssrc: ssrc(), repair_ssrc: Some(ssrc()), rid, content });
        }
    }
    sources
}

/// Media packets per second that all bots together receive once everyone is inside; of several encodings each gets the
/// largest.
pub(crate) fn packets_per_s(options: &Options) -> u64 {
    let publishers = u64::from(options.publishers());
    let audio = if options.sends() == Media::Video { 0 } else { 50 };
    let video = match Content::video(options.rate, options.fps, options.packet_bytes, (1_280, 720)) {
        Content::Video { packets, .. } if options.sends() != Media::Audio => {
            u64::from(packets) * u64::from(options.fps)
        }
        _ => 0,
    };
    let ways = |room: u32| publishers * u64::from(options.people_of(room).saturating_sub(1));
    (0..options.rooms).map(ways).sum::<u64>() * (audio + video)
}

#[cfg(test)]
mod tests {
    use super::{Chance, Options, packets_per_s, person};
    use std::collections::BTreeSet;

    fn read(line: &str) -> Options {
        Options::read(line.split(' ').map(Into::into)).expect("sound flags")
    }

    #[test]
    fn a_seed_repeats_everyone_and_another_seed_nobody() {
        let (options, again, other) = (read("load --seed 7"), read("load --seed 7"), read("load --seed 8"));
        let everyone = |options: &Options| {
            let people = (0..50).map(|number| format!("{:?}", person(options, number, number / 2)));
            let mut leaving = Chance::new(options.seed, u64::MAX);
            (people.collect::<Vec<_>>(), (0..50).map(|_| leaving.draw()).collect::<Vec<_>>())
        };
        assert_eq!(everyone(&options), everyone(&again));
        assert_ne!(everyone(&options), everyone(&other));
        let ufrag = |options: &Options, number| person(options, number, number).credentials.ufrag;
        assert_eq!(ufrag(&options, 3), ufrag(&again, 3));
        assert_ne!(ufrag(&options, 3), ufrag(&other, 3));
        let all: BTreeSet<_> = (0..500).map(|number| ufrag(&options, number)).collect();
        assert_eq!(all.len(), 500);
    }

    #[test]
    fn scenarios_differ_in_who_sends() {
        let sending = |line: &str| {
            let options = read(line);
            let people = (0..options.people).map(|number| person(&options, number, number));
            people.map(|person| person.sources.len()).collect::<Vec<_>>()
        };
        assert_eq!(sending("load --people 3"), [4, 4, 4]);
        assert_eq!(sending("load --people 3 --encodings 1"), [2, 2, 2]);
        assert_eq!(sending("load --scenario broadcast --people 3"), [4, 0, 0]);
        assert_eq!(sending("load --scenario audio --people 3"), [1, 1, 1]);
        assert_eq!(
            sending("load --scenario broadcast --people 4 --rooms 2 --media video --rate 300"),
            [1, 1, 0, 0]
        );
    }

    #[test]
    fn the_load_is_known_beforehand() {
        let options = read("load --scenario broadcast --people 201 --media video --rate 4800 --fps 100");
        assert_eq!(packets_per_s(&options), 200 * 500);
        assert_eq!(packets_per_s(&read("load --scenario audio --people 5")), 5 * 4 * 50);
    }
}
