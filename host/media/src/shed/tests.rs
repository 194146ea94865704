//! When levels change, on virtual time, and what each leaves.

use super::*;

const OVER: Duration = Duration::from_millis(80);
const BETWEEN: Duration = Duration::from_millis(40);
const CALM: Duration = Duration::from_millis(1);

struct Watched {
    shedder: Shedder,
    start: Instant,
    ms: u64,
}

impl Watched {
    fn new() -> Self {
        Self { shedder: Shedder::default(), start: Instant::now(), ms: 0 }
    }

    /// The delay stays so for a while: the levels that are reached, and when, in milliseconds.
    fn stays(&mut self, delay: Duration, ms: u64) -> Vec<(u64, u8)> {
        let until = self.ms + ms;
        let mut changes = Vec::new();
        while self.ms < until {
            self.ms += TICK.as_millis() as u64;
            let change = self.shedder.note(self.start + Duration::from_millis(self.ms), delay);
            changes.extend(change.map(|level| (self.ms, level.number())));
        }
        changes
    }
}

#[test]
fn a_delay_that_stays_takes_one_level_after_the_other_and_a_burst_takes_none() {
    let mut watched = Watched::new();
    for _ in 0..20 {
        assert_eq!(watched.stays(OVER, 400), []);
        assert_eq!(watched.stays(BETWEEN, 100), []);
    }
    let begun = watched.ms;
    let levels = watched.stays(OVER, 10_000);
    let after: Vec<(u64, u8)> = levels.into_iter().map(|(ms, level)| (ms - begun, level)).collect();
    assert_eq!(after, [(600, 1), (1_600, 2), (2_600, 3), (3_600, 4), (4_600, 5), (5_600, 6)]);
}

#[test]
fn levels_are_given_back_one_at_a_time_after_a_rest() {
    let mut watched = Watched::new();
    assert_eq!(watched.stays(OVER, 1_600).len(), 2);
    assert_eq!(watched.stays(BETWEEN, 60_000), [], "neither over nor calm");
    let begun = watched.ms;
    let levels = watched.stays(CALM, 60_000);
    let after: Vec<(u64, u8)> = levels.into_iter().map(|(ms, level)| (ms - begun, level)).collect();
    assert_eq!(after, [(10_100, 1), (20_100, 0)]);
}

#[test]
fn attempts_that_fail_are_made_less_and_less_often_and_one_that_holds_makes_them_usual_again() {
    let mut watched = Watched::new();
    watched.stays(OVER, 600);
    let mut rests = Vec::new();
    for _ in 0..7 {
        let from = watched.ms;
        while watched.shedder.level() == Level::OthersHighest {
            watched.stays(CALM, 100);
        }
        rests.push((watched.ms - from) / 1_000);
        // Without it there is too much again.
        while watched.shedder.level() == Level::Nothing {
            watched.stays(OVER, 100);
        }
    }
    assert_eq!(rests, [10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(watched.stays(CALM, 301_000).len(), 1);
    watched.stays(CALM, 60_000);
    // Much later, for another reason.
    assert_eq!(watched.stays(OVER, 1_600).len(), 2);
    assert_eq!(watched.stays(CALM, 10_200).len(), 1);
}

#[test]
fn without_a_watermark_nothing_is_ever_shed() {
    let mut watched = Watched { shedder: Shedder::new(None), ..Watched::new() };
    assert_eq!(watched.stays(Duration::from_secs(5), 60_000), []);
}

#[test]
fn each_level_leaves_no_more_than_the_one_before_and_the_floor_no_less_than_others() {
    let spatial = |left: Option<LayerPreference>| left.map(|left| left.spatial.min(2));
    let others: Vec<_> = Level::ALL.iter().map(|level| spatial(level.leaves(false, 2))).collect();
    let floor: Vec<_> = Level::ALL.iter().map(|level| spatial(level.leaves(true, 2))).collect();
    assert_eq!(others, [Some(2), Some(1), Some(0), Some(0), Some(0), None, None]);
    assert_eq!(floor, [Some(2), Some(2), Some(2), Some(0), Some(0), Some(0), None]);
    let temporal = |left: Option<LayerPreference>| left.map(|left| left.temporal);
    for (level, below) in Level::ALL.iter().zip(&Level::ALL[1..]) {
        for floor in [false, true] {
            assert!(temporal(level.leaves(floor, 2)) >= temporal(below.leaves(floor, 2)), "{below:?}");
        }
    }
    // A picture of one layer is all there is.
    assert_eq!(Level::Upper.leaves(true, 0), Some(LayerPreference::HIGHEST));
}
