//! Divides the bit rate that one transport may send among the pictures on it. Pure: claims and a budget in, a
//! layer for each claim out. Knows nothing of packets, stations or where the budget comes from.
//!
//! Sound was taken off the budget before. Then, in this order: everyone's lowest layer; then all its frames; then the
//! higher ranks' next layers before the lower ranks', and within a rank whoever stands lowest first. Who stands higher
//! gives way where that lifts someone of a higher rank, or someone of its own rank who stands lower still; a picture
//! loses frames before it gets smaller.
//!
//! Stepping down is done at once; stepping up needs room to spare, and after a step down time to pass
//! ([`REST`], doubling up to [`LONGEST_REST`] where the last attempt failed), unless there is clearly more capacity
//! than there was: so a layer does not flicker.
//!
//! Where a policy says what a picture is worth ([`Claim::under`]), its floor comes after everyone's smallest picture, its
//! priority before every rank, its weight decides among equals, and layers above its ceiling are as if they did not exist.

use std::cmp::Ordering;
use std::time::{Duration, Instant};
use tidegate_types::consumer::LayerPreference;
use tidegate_types::relay::FRAME_RATES;
use tidegate_types::sharing::Portion;

/// Layers that one claim can be given at most: four frame rates of the smallest picture, two of each of seven more.
pub const RUNGS: usize = 18;
/// How much higher than the one below each larger picture stands; one with fewer frames stands lower by one for each
/// step. So ladders of different shapes compare by the size of the picture first.
const SIZE: i8 = 4;
/// Where the smallest picture with all its frames stands.
const SMALLEST: i8 = 0;
const _: () = assert!(FRAME_RATES as i8 <= SIZE);
/// How long who had to step down stays there.
pub const REST: Duration = Duration::from_secs(10);
/// The same after several attempts that failed.
pub const LONGEST_REST: Duration = Duration::from_secs(60);
/// Stepping up needs so many hundredths of what would then be sent: encoders do not keep their rate.
const SPARE: u64 = 110;
/// What stands may take so many hundredths of the budget before someone steps down.
const TOLERATED: u64 = 105;
/// So many hundredths of what did not fit when someone stepped down are another capacity: an estimate may rise to half as
/// much again as is sent without that being so.
const OTHER_CAPACITY: u64 = 200;
/// Who was left with nothing comes back at once where everyone's lowest layer takes no more than so many hundredths of
/// what there is: what it took was not measured yet then, or the estimate had fallen for a moment.
const COMFORTABLE: u64 = 66;
/// The weight of whoever nobody said anything of, in percent.
const USUAL_WEIGHT: u64 = 100;
/// Ranks that a caller may tell apart without a policy: those of a higher priority stand above them all.
pub const OWN_RANKS: u8 = 2;
const _: () = assert!(OWN_RANKS as u16 * (Portion::MOST_PRIORITY as u16 + 1) <= u8::MAX as u16);

/// One layer that a claim may be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rung {
    /// The highest layers that are then sent.
    pub layer: LayerPreference,
    /// What that takes, all in all.
    pub kbps: u64,
}

/// The layers that a claim may be given, lowest first, up to what its peer wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    rungs: [Rung; RUNGS],
    heights: [i8; RUNGS],
    count: usize,
}

impl Ladder {
    /// Adds the next higher layer; what exceeds [`RUNGS`] is left out.
    pub fn push(&mut self, rung: Rung) {
        let at = self.count;
        let Some(space) = self.rungs.get_mut(at) else { return };
        *space = rung;
        self.count += 1;
        let Some(below) = at.checked_sub(1) else { return };
        if self.rungs[below].layer.spatial == rung.layer.spatial {
            self.heights[at] = self.heights[below];
            let same =
                self.rungs[..at].iter().rev().take_while(|one| one.layer.spatial == rung.layer.spatial);
            let first = at - same.count();
            self.heights[first..at].iter_mut().for_each(|height| *height -= 1);
        } else {
            self.heights[at] = self.heights[below] + SIZE;
        }
    }

    /// The layers, lowest first.
    #[must_use]
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs[..self.count]
    }

    /// Leaves out what takes more than `kbps`; the lowest stays, and the one at `standing` while it takes little more:
    /// encoders do not keep their rate.
    fn cut(&mut self, kbps: u64, standing: Option<usize>) {
        let fits = |at: &usize| {
            let tolerated = if standing == Some(*at) { TOLERATED } else { 100 };
            self.rungs[*at].kbps * 100 <= kbps * tolerated
        };
        let kept = 1 + (1..self.count).take_while(fits).count();
        self.count = self.count.min(kept);
    }

    /// The highest rung within `layer`. Of its size the lowest always is: the others may just have gone.
    fn within(&self, layer: LayerPreference) -> Option<usize> {
        let size = |at: usize| self.rungs[at].layer.spatial;
        (0..self.count).rev().find(|&at| {
            let lowest = at == 0 || size(at - 1) != size(at);
            let enough = lowest || self.rungs[at].layer.temporal <= layer.temporal;
            size(at) < layer.spatial || size(at) == layer.spatial && enough
        })
    }

    /// The lowest rung that stands at least so high.
    fn from(&self, height: i8) -> Option<usize> {
        self.heights[..self.count].iter().position(|at| *at >= height)
    }
}

/// What a claim was given last time, kept between divisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The highest layers it may have; `None`: nothing.
    pub layer: Option<LayerPreference>,
    lowered: Option<Lowered>,
    raised: Option<Instant>,
}

/// The last time that it had to step down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lowered {
    at: Instant,
    /// What there was to divide then, or what was sent and did not fit, if that was more: an estimate that overshoots
    /// falls below what the way carries, and its coming back shows nothing new.
    room_kbps: u64,
    rest: Duration,
}

/// One picture on the transport.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Whose, in the caller's numbering.
    pub consumer: usize,
    /// Higher ranks come first.
    pub rank: u8,
    /// What it may be given; not empty.
    pub ladder: Ladder,
    /// What it has, and after [`divide`] what it gets.
    pub share: Share,
    /// The rung it stands on while dividing.
    at: Option<usize>,
    terms: Terms,
}

/// What a policy said of a claim, held against its layers.
#[derive(Clone, Copy, Debug)]
struct Terms {
    weight_percent: u64,
    /// How much lower than it does it counts as standing among equals: as many steps as its weight is worth.
    lift: i8,
    /// The rung that it gets before higher ranks get more, and does not give away for them.
    floor: Option<usize>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { weight_percent: USUAL_WEIGHT, lift: 0, floor: None }
    }
}

/// Weights, in percent, from which on one more step is closer: half-way, in steps of the square root of two.
const STEPS_PERCENT: [u64; 7] = [119, 168, 238, 336, 476, 673, 951];

/// How many steps a weight is worth. A picture twice as wide takes about four times the bits, and stands [`SIZE`] steps
/// higher: so twice the weight is half of that.
fn lift(weight_percent: u64) -> i8 {
    let steps = |percent: u64| STEPS_PERCENT.iter().filter(|from| percent >= **from).count() as i8;
    let weight = weight_percent.max(1);
    if weight < USUAL_WEIGHT { -steps(USUAL_WEIGHT * USUAL_WEIGHT / weight) } else { steps(weight) }
}

impl Claim {
    /// A claim with what it had before.
    #[must_use]
    pub fn new(consumer: usize, rank: u8, ladder: Ladder, share: Share) -> Self {
        let at = share.layer.and_then(|layer| ladder.within(layer));
        Self { consumer, rank, ladder, share, at, terms: Terms::default() }
    }

    /// The same with what a policy says it is worth; 0 in any field changes nothing.
    #[must_use]
    pub fn under(mut self, told: Portion) -> Self {
        self.rank = self.rank.saturating_add(told.priority.min(Portion::MOST_PRIORITY) * OWN_RANKS);
        if told.weight_percent > 0 {
            self.terms.weight_percent = told.weight_percent.into();
            self.terms.lift = lift(told.weight_percent.into());
        }
        if told.ceiling_kbps > 0 {
            self.ladder.cut(told.ceiling_kbps.into(), self.at);
            self.at = self.share.layer.and_then(|layer| self.ladder.within(layer));
        }
        if told.floor_kbps > 0 {
            let enough = |rung: &Rung| rung.kbps >= u64::from(told.floor_kbps);
            let highest = self.ladder.count.checked_sub(1);
            self.terms.floor = self.ladder.rungs().iter().position(enough).or(highest);
        }
        self
    }

    /// Whether it gets all that it wants and may have: above a policy's ceiling there is nothing to want, and its peer's
    /// way is not to blame.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.at.is_some_and(|at| at + 1 == self.ladder.count)
    }

    fn kbps_at(&self, at: Option<usize>) -> u64 {
        at.and_then(|at| self.ladder.rungs().get(at)).map_or(0, |rung| rung.kbps)
    }

    fn kbps(&self) -> u64 {
        self.kbps_at(self.at)
    }

    /// How high a rung stands; nothing is below all.
    fn height(&self, at: Option<usize>) -> Option<i8> {
        at.and_then(|at| self.ladder.heights.get(at)).copied()
    }

    /// Whether it would still stand at least so high one rung lower.
    fn can_fall_to(&self, height: i8) -> bool {
        let below = self.at.and_then(|at| at.checked_sub(1));
        self.height(below) >= Some(height)
    }

    /// How high it counts as standing among equals.
    fn standing(&self) -> Option<i8> {
        self.height(self.at).map(|height| height.saturating_sub(self.terms.lift))
    }

    /// It would still be within its floor one rung higher.
    fn is_below_floor(&self) -> bool {
        self.next().is_some_and(|next| self.terms.floor.is_some_and(|floor| next <= floor))
    }

    /// It has more than its floor.
    fn is_above_floor(&self) -> bool {
        self.terms.floor.is_none_or(|floor| self.at > Some(floor))
    }

    fn next(&self) -> Option<usize> {
        let next = self.at.map_or(0, |at| at + 1);
        (next < self.ladder.count).then_some(next)
    }

    /// Whether it need not rest any longer; `lowest` is what everyone's lowest layer takes.
    fn may_rise(&self, now: Instant, room: u64, lowest: u64) -> bool {
        self.share.lowered.is_none_or(|lowered| {
            let rested = now.saturating_duration_since(lowered.at);
            match self.at {
                None => rested >= REST || lowest * 100 <= room * COMFORTABLE,
                Some(_) => rested >= lowered.rest || room * 100 >= lowered.room_kbps * OTHER_CAPACITY,
            }
        })
    }

    fn lower(&mut self, now: Instant, room_kbps: u64) {
        self.at = self.at.and_then(|at| at.checked_sub(1));
        let attempt = self.share.raised.filter(|at| now.saturating_duration_since(*at) < REST);
        let rest = match self.share.lowered.zip(attempt) {
            Some((before, raised)) if before.at < raised => (before.rest * 2).min(LONGEST_REST),
            // The same fall goes on.
            Some((before, _)) => before.rest,
            None => REST,
        };
        self.share.lowered = Some(Lowered { at: now, room_kbps, rest });
    }
}

/// What came of a division.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Division {
    /// What the pictures now take.
    pub given_kbps: u64,
    /// What they would take if everyone had what it wants.
    pub wanted_kbps: u64,
}

/// Divides `room_kbps` among the claims.
pub fn divide(now: Instant, room_kbps: u64, claims: &mut [Claim]) -> Division {
    step_down(now, room_kbps, claims);
    spread(now, room_kbps, claims);
    while rise(now, room_kbps, claims, Claim::is_below_floor) {}
    let mut rank = claims.iter().map(|claim| claim.rank).max();
    while let Some(this) = rank {
        while rise(now, room_kbps, claims, |claim| claim.rank == this) {}
        rank = claims.iter().map(|claim| claim.rank).filter(|rank| *rank < this).max();
    }
    for claim in claims.iter_mut() {
        claim.share.layer = claim.at.and_then(|at| claim.ladder.rungs().get(at)).map(|rung| rung.layer);
    }
    let wanted = |claim: &Claim| claim.kbps_at(claim.ladder.count.checked_sub(1));
    Division { given_kbps: total(claims), wanted_kbps: claims.iter().map(wanted).sum() }
}

fn total(claims: &[Claim]) -> u64 {
    claims.iter().map(Claim::kbps).sum()
}

/// Brings what stands within the budget: higher layers go first, of the lowest rank and there the dearest; then frames
/// of the lowest layers; then those. The first claim of the highest rank keeps its lowest layer whatever there is: with
/// no picture at all nothing would ever show that there is room again.
fn step_down(now: Instant, room: u64, claims: &mut [Claim]) {
    let kept = first(claims);
    let tried = total(claims).max(room);
    while total(claims) * 100 > room * TOLERATED {
        let is_large = |claim: &Claim| claim.height(claim.at) > Some(SMALLEST);
        let victim = sacrifice(claims, |_, claim| is_large(claim) && claim.is_above_floor())
            .or_else(|| sacrifice(claims, |_, claim| is_large(claim)))
            .or_else(|| sacrifice(claims, |_, claim| claim.at > Some(0)))
            .or_else(|| sacrifice(claims, |index, claim| claim.at.is_some() && Some(index) != kept));
        let Some(victim) = victim else { return };
        claims[victim].lower(now, tried);
    }
}

/// Who gives way first among those that `may`.
fn sacrifice(claims: &[Claim], may: impl Fn(usize, &Claim) -> bool) -> Option<usize> {
    let candidates = claims.iter().enumerate().filter(|(index, claim)| may(*index, claim));
    candidates
        .min_by_key(|(index, claim)| {
            let dear = claim.kbps() * USUAL_WEIGHT / claim.terms.weight_percent;
            (claim.rank, std::cmp::Reverse(dear), std::cmp::Reverse(*index))
        })
        .map(|(index, _)| index)
}

/// The claim that comes before all others.
fn first(claims: &[Claim]) -> Option<usize> {
    (0..claims.len()).min_by_key(|index| (std::cmp::Reverse(claims[*index].rank), *index))
}

/// Gives whoever has nothing its lowest layer, then everyone all its frames. Who has come to be first since the last
/// division gets it whatever there is, and others give way.
fn spread(now: Instant, room: u64, claims: &mut [Claim]) {
    if let Some(first) = first(claims).filter(|first| claims[*first].at.is_none()) {
        claims[first].at = Some(0);
        claims[first].share.raised = Some(now);
        step_down(now, room, claims);
    }
    while rise(now, room, claims, |claim| claim.height(claim.next()) <= Some(SMALLEST)) {}
}

/// Lifts one of those that `may` by one rung: the lowest standing first, of equals the highest rank. Returns whether
/// there was one.
fn rise(now: Instant, room: u64, claims: &mut [Claim], may: impl Fn(&Claim) -> bool) -> bool {
    let lowest = claims.iter().map(|claim| claim.kbps_at(Some(0))).sum();
    let mut tried = None;
    loop {
        let key = |index: usize| {
            let claim = &claims[index];
            (claim.standing(), std::cmp::Reverse(claim.rank), index)
        };
        let candidates = (0..claims.len()).filter(|index| {
            let claim = &claims[*index];
            may(claim) && claim.next().is_some() && claim.may_rise(now, room, lowest)
        });
        let next = candidates.map(key).filter(|key| tried.is_none_or(|tried| *key > tried)).min();
        let Some(key) = next else { return false };
        if make_room(now, room, claims, key.2) {
            let claim = &mut claims[key.2];
            claim.at = claim.next();
            claim.share.raised = Some(now);
            return true;
        }
        tried = Some(key);
    }
}

/// Sees to it that one more rung of `riser` fits, if others give way as they must. Returns whether it does; if not,
/// nobody gave way.
fn make_room(now: Instant, room: u64, claims: &mut [Claim], riser: usize) -> bool {
    let Claim { rank, terms, .. } = claims[riser];
    let (next, to_floor) = (claims[riser].next(), claims[riser].is_below_floor());
    let goal = claims[riser].height(next).unwrap_or(SMALLEST);
    let fits = |kbps: u64| kbps * SPARE <= room * 100;
    // How far down others give way: nobody for someone who then stands higher than themselves, but for its rank.
    let floor = |claim: &Claim| {
        let height = match claim.rank.cmp(&rank) {
            _ if goal <= SMALLEST => return Some(goal),
            _ if to_floor => SMALLEST,
            Ordering::Less => SMALLEST,
            Ordering::Equal => SMALLEST.max(goal - terms.lift + claim.terms.lift),
            Ordering::Greater => return None,
        };
        Some(height.max(claim.height(claim.terms.floor).unwrap_or(height)))
    };
    let gives_way = |claim: &Claim| floor(claim).is_some_and(|floor| claim.can_fall_to(floor));
    let most: u64 = claims
        .iter()
        .filter(|claim| gives_way(claim))
        .map(|claim| {
            let lowest = floor(claim).and_then(|floor| claim.ladder.from(floor));
            claim.kbps().saturating_sub(claim.kbps_at(lowest))
        })
        .sum();
    let needed = |claims: &[Claim]| total(claims) - claims[riser].kbps() + claims[riser].kbps_at(next);
    if !fits(needed(claims).saturating_sub(most)) {
        return false;
    }
    loop {
        if fits(needed(claims)) {
            return true;
        }
        let Some(victim) = sacrifice(claims, |_, claim| gives_way(claim)) else { return false };
        claims[victim].lower(now, room);
    }
}

#[cfg(test)]
mod tests;
