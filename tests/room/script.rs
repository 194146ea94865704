//! What happens in a room, drawn from a seed: who comes and goes when, who publishes and who has a narrow way, who
//! moves. Knows nothing of how it is carried out.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// How many ever come. All but a few are there at once.
pub(crate) const PEOPLE: usize = 50;
/// How long a room lasts.
pub(crate) const LENGTH: Duration = Duration::from_secs(60);
/// Those who publish pictures and sound.
pub(crate) const PUBLISHERS: usize = 6;
/// Those who only speak, behind the publishers.
const SPEAKERS: usize = 2;
/// Every so-manieth has a narrow way from the host.
const NARROW: usize = 12;
/// Everybody's text is so far from the next on average; a few a second in the whole room.
const TALK: Duration = Duration::from_secs(12);

/// One value in `0..sides`, from whatever tells it from all others.
pub(crate) fn draw(what: impl Hash, sides: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish() % sides
}

/// Somebody does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    Join,
    /// With a word to the host.
    Leave,
    /// Without one: the host finds out.
    Vanish,
    /// The so-manieth text.
    Say(u32),
    /// An operator sends its transport to a shard.
    Move(u64),
    RestartIce,
    /// It wants no more than this encoding of everything, and only every other picture of it, or all.
    Prefer {
        spatial: u8,
        temporal: u8,
    },
    /// It stops and resumes what it receives.
    PauseReceiving(bool),
    /// It stops and resumes what it publishes.
    PauseSending(bool),
}

/// One room's story.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    /// In order of time.
    pub(crate) deeds: Vec<(Duration, usize, Deed)>,
}

/// When someone is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        let mut script = Self { seed, deeds: Vec::new() };
        for person in 0..PEOPLE {
            script.live(person);
        }
        script.deeds.sort_unstable();
        script
    }

    fn draw(&self, person: usize, what: &str, sides: u64) -> u64 {
        draw((self.seed, person, what), sides)
    }

    fn between(&self, person: usize, what: &str, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.draw(person, what, to - from))
    }

    pub(crate) fn publishes(person: usize) -> bool {
        person < PUBLISHERS
    }

    pub(crate) fn speaks(person: usize) -> bool {
        person < PUBLISHERS + SPEAKERS
    }

    /// The bit rate of someone's way from the host, where it is narrow: half of what it wants.
    pub(crate) fn narrow_kbps(person: usize) -> Option<u64> {
        (person % NARROW == NARROW - 1).then_some(200)
    }

    /// Whether someone receives somebody's pictures: some three each.
    pub(crate) fn watches(&self, receiver: usize, publisher: usize) -> bool {
        receiver != publisher && draw((self.seed, receiver, publisher, "watches"), 2) == 0
    }

    /// A sound's level at a time: each is the loudest for a while.
    pub(crate) fn level(&self, person: usize, at: Duration) -> u8 {
        20 + draw((self.seed, person, at.as_secs() / 4, "level"), 60) as u8
    }

    /// When someone is there: most from the beginning to the end.
    pub(crate) fn stay(&self, person: usize) -> Stay {
        let from = match person {
            // Publishers and late-comers alternate at the end of the row, so that late ones publish, too.
            5 | 7 | 42.. => self.between(person, "joins late", 5_000, 38_000),
            _ => self.between(person, "joins", 0, 3_000),
        };
        let until = match self.draw(person, "leaves", 6) {
            0 => from + self.between(person, "leaves at", 6_000, 45_000),
            _ => LENGTH,
        };
        Stay { from, until: until.min(LENGTH) }
    }

    fn live(&mut self, person: usize) {
        let Stay { from, until } = self.stay(person);
        self.deeds.push((from, person, Deed::Join));
        if until < LENGTH {
            let deed = if self.draw(person, "vanishes", 3) == 0 { Deed::Vanish } else { Deed::Leave };
            self.deeds.push((until, person, deed));
        }
        let mut at = from + Duration::from_secs(1);
        for number in 0_u32.. {
            at += TALK.mul_f64(0.5 + draw((self.seed, person, number, "says"), 1_000) as f64 / 1_000.0);
            if at >= until.min(LENGTH - Duration::from_secs(3)) {
                break;
            }
            self.deeds.push((at, person, Deed::Say(number)));
        }
        // What follows happens while the network is bad and for a while after it.
        for (what, one_in) in
            [("moves", 3), ("moves again", 4), ("restarts", 8), ("prefers", 3), ("pauses", 8), ("mutes", 3)]
        {
            let at = self.between(person, what, 6_000, 44_000);
            if self.draw(person, &format!("whether it {what}"), one_in) == 0 && from < at && at < until {
                self.act(person, what, at);
            }
        }
    }

    fn act(&mut self, person: usize, what: &str, at: Duration) {
        let pause = Duration::from_secs(3);
        match what {
            "restarts" => self.deeds.push((at, person, Deed::RestartIce)),
            "prefers" => {
                let spatial = self.draw(person, "spatial", 3) as u8;
                let temporal = self.draw(person, "temporal", 2) as u8;
                self.deeds.push((at, person, Deed::Prefer { spatial, temporal }));
            }
            "pauses" => {
                self.deeds.push((at, person, Deed::PauseReceiving(true)));
                self.deeds.push((at + pause, person, Deed::PauseReceiving(false)));
            }
            "mutes" => {
                self.deeds.push((at, person, Deed::PauseSending(true)));
                self.deeds.push((at + pause, person, Deed::PauseSending(false)));
            }
            _ => {
                let to = self.draw(person, "to where", 1 << 20);
                self.deeds.push((at, person, Deed::Move(to)));
            }
        }
    }
}
