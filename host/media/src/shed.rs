//! Decides when a shard that cannot keep up sheds, how much, and what that leaves of a picture. Pure: delays and time
//! in, a level out. Knows nothing of who measured the delay and of what is forwarded.
//!
//! Sound is never shed. A level more is taken soon, since what waits in the kernel is lost once its buffer is full; a
//! level less is tried after a rest, which doubles with each attempt that failed: so pictures do not come and go.

use std::time::{Duration, Instant};
use tidegate_types::consumer::LayerPreference;

/// The delay that a shard may stay above for a moment only. Lower sheds at bursts that would pass by themselves;
/// higher lets sound wait longer before pictures make room for it.
pub const WATERMARK: Duration = Duration::from_millis(50);
/// How often the delay wants to be told while anything is forwarded.
pub const TICK: Duration = Duration::from_millis(100);
/// How long the delay must have been above the watermark throughout.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a level is given to show before the next one is taken: most pictures get smaller at a keyframe only.
const SETTLES: Duration = Duration::from_secs(1);
/// How long the delay must have been below half of the watermark before a level less is tried.
pub const REST: Duration = Duration::from_secs(10);
/// The same after several attempts that failed.
pub const LONGEST_REST: Duration = Duration::from_secs(300);
/// Overload that comes so soon after a level less was tried is taken to come of it.
pub const RELAPSE: Duration = Duration::from_secs(30);

/// How much is shed; each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    Nothing,
    /// The highest encoding or spatial layer of whoever does not hold the floor.
    OthersHighest,
    /// All of theirs but the lowest.
    OthersUpper,
    /// All but the lowest of the floor's, too.
    Upper,
    /// Of what is left, all but the lowest frame rate.
    FrameRate,
    /// The pictures of whoever does not hold the floor.
    Others,
    /// All pictures.
    Pictures,
}

impl Level {
    /// Every level, lowest first.
    pub const ALL: [Self; 7] = [
        Self::Nothing,
        Self::OthersHighest,
        Self::OthersUpper,
        Self::Upper,
        Self::FrameRate,
        Self::Others,
        Self::Pictures,
    ];

    /// As it is told in metrics and to policies: 0 is nothing.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What is shed, in words.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::OthersHighest => "the highest layer of whoever does not hold the floor",
            Self::OthersUpper => "all but the lowest layer of whoever does not hold the floor",
            Self::Upper => "all but the lowest layer of every picture",
            Self::FrameRate => "all but the lowest layer and frame rate of every picture",
            Self::Others => "the pictures of whoever does not hold the floor",
            Self::Pictures => "all pictures",
        }
    }

    /// What is left of a picture whose highest spatial layer is `highest`; `None`: nothing.
    #[must_use]
    pub fn leaves(self, holds_floor: bool, highest: u8) -> Option<LayerPreference> {
        let up_to = |spatial, temporal| {
            // Where there is one layer alone, all of it is the lowest.
            let spatial = if highest == 0 { u8::MAX } else { spatial };
            Some(LayerPreference { spatial, temporal })
        };
        match self {
            Self::Nothing => Some(LayerPreference::HIGHEST),
            Self::OthersHighest | Self::OthersUpper if holds_floor => Some(LayerPreference::HIGHEST),
            Self::OthersHighest => up_to(highest.saturating_sub(1), u8::MAX),
            Self::OthersUpper | Self::Upper => up_to(0, u8::MAX),
            Self::FrameRate => up_to(0, 0),
            Self::Others if holds_floor => up_to(0, 0),
            Self::Others | Self::Pictures => None,
        }
    }

    fn step(self, up: bool) -> Option<Self> {
        let number = if up { self as usize + 1 } else { (self as usize).checked_sub(1)? };
        Self::ALL.get(number).copied()
    }
}

/// Watches one shard's delay.
#[derive(Clone, Copy, Debug)]
pub struct Shedder {
    /// `None`: never sheds.
    watermark: Option<Duration>,
    level: Level,
    changed: Option<Instant>,
    over_since: Option<Instant>,
    /// When it was last judged whether the delay falls by itself, and what it was.
    judged: Option<(Instant, Duration)>,
    calm_since: Option<Instant>,
    /// When a level less was last tried, unless it has failed since.
    lowered: Option<Instant>,
    rest: Duration,
}

impl Shedder {
    /// One that sheds nothing yet, with this watermark; `None` never sheds.
    #[must_use]
    pub const fn new(watermark: Option<Duration>) -> Self {
        Self {
            watermark,
            level: Level::Nothing,
            changed: None,
            over_since: None,
            judged: None,
            calm_since: None,
            lowered: None,
            rest: REST,
        }
    }

    /// How much is shed.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Takes the delay of the last [`TICK`]. Returns the level where that changed.
    pub fn note(&mut self, now: Instant, delay: Duration) -> Option<Level> {
        let watermark = self.watermark?;
        if delay >= watermark {
            self.calm_since = None;
            self.over_since.get_or_insert(now);
        } else {
            (self.over_since, self.judged) = (None, None);
            self.calm_since = (delay * 2 < watermark).then(|| self.calm_since.unwrap_or(now));
        }
        let lasts = |since: Option<Instant>, span| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= span)
        };
        let changed = self.changed;
        let settled = |span| changed.is_none() || lasts(changed, span);
        if lasts(self.over_since, PATIENCE) && settled(SETTLES) && !self.falls(now, delay)? {
            self.change(now, true)
        } else if lasts(self.calm_since, self.rest) && settled(self.rest) {
            self.change(now, false)
        } else {
            None
        }
    }

    /// Whether the delay falls by itself: what piled up before is being worked off. `None` while it cannot be said yet.
    fn falls(&mut self, now: Instant, delay: Duration) -> Option<bool> {
        let before = self.judged;
        if before.is_some_and(|(at, _)| now.saturating_duration_since(at) < SETTLES) {
            return None;
        }
        self.judged = Some((now, delay));
        Some(before.is_some_and(|(_, before)| delay * 8 <= before * 7))
    }

    fn change(&mut self, now: Instant, up: bool) -> Option<Level> {
        let level = self.level.step(up)?;
        let before = self.lowered.take();
        if up {
            self.rest = match before {
                Some(at) if now.saturating_duration_since(at) < RELAPSE => (self.rest * 2).min(LONGEST_REST),
                Some(_) => REST,
                None => self.rest,
            };
        } else {
            // The attempt before this one has held.
            self.rest = if before.is_some() { REST } else { self.rest };
            self.lowered = Some(now);
        }
        self.level = level;
        self.changed = Some(now);
        Some(level)
    }
}

impl Default for Shedder {
    fn default() -> Self {
        Self::new(Some(WATERMARK))
    }
}

#[cfg(test)]
mod tests;
