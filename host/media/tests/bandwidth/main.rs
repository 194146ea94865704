//! How the estimator behaves over a model link, on virtual time: a table of rows, each with its own stated bounds,
//! half of them drawn from a seed, so that nobody tunes to them. The seed is printed: `TIDEGATE_SEED=n` repeats it.
//! `TIDEGATE_PLOT=dir` writes a picture of each row, `TIDEGATE_ROW=text` runs those whose name holds the text.

#![allow(clippy::disallowed_methods, reason = "virtual time has to start somewhere")]

mod chance;
mod flow;
mod link;
mod plot;
mod rows;

use flow::{Call, Flow};
use link::Link;
use rows::{Bound, Row};

/// What was seen while a row ran.
pub(crate) struct Seen {
    /// Time, estimate and capacity in bit/s, each 50 ms.
    pub(crate) estimates: Vec<(f64, f64, f64)>,
    /// What the pictures took, each 50 ms.
    pub(crate) targets: Vec<(f64, f64)>,
    /// Arrival of each packet, and how long it stood in the queue.
    pub(crate) queued: Vec<(f64, f64)>,
    delivered: Vec<(f64, usize)>,
    rivals: Vec<(f64, usize)>,
    layer_changes: Vec<(f64, usize, bool)>,
}

impl Seen {
    /// Estimates as shares of the capacity between two times, ascending.
    fn shares(&self, from: f64, to: f64) -> Vec<f64> {
        let inside = self.estimates.iter().filter(|(at, ..)| (from..to).contains(at));
        let mut shares: Vec<f64> = inside.map(|(_, estimate, capacity)| estimate / capacity).collect();
        shares.sort_by(f64::total_cmp);
        assert!(!shares.is_empty(), "nothing was seen from {from} to {to}");
        shares
    }

    fn longest_queue(&self, from: f64, to: f64) -> f64 {
        let inside = self.queued.iter().filter(|(at, _)| (from..to).contains(at));
        inside.map(|(_, queued)| *queued).fold(0.0, f64::max)
    }

    /// Bits per second delivered to the call between two times.
    fn rate(&self, from: f64, to: f64) -> f64 {
        rate(&self.delivered, from, to)
    }
}

fn rate(delivered: &[(f64, usize)], from: f64, to: f64) -> f64 {
    let inside = delivered.iter().filter(|(at, _)| (from..to).contains(at));
    inside.map(|(_, bytes)| *bytes as f64 * 8.0).sum::<f64>() / (to - from)
}

fn quantile(ascending: &[f64], share: f64) -> f64 {
    ascending[((ascending.len() - 1) as f64 * share) as usize]
}

fn watch(row: &Row) -> Seen {
    let mut link = Link::new(row.way.clone(), row.seed);
    let mut call = Call::new(row.source.clone(), row.way.delay, 0.0, row.seed ^ 1);
    let mut rivals: Vec<Box<dyn Flow>> = row.rivals.iter().map(|rival| rival.start(row)).collect();
    let (mut estimates, mut targets) = (Vec::new(), Vec::new());
    let way = row.way.clone();
    flow::run(&mut link, &mut call, &mut rivals, row.seconds, |now, call| {
        estimates.push((now, call.estimate(), way.carries(now)));
        targets.push((now, call.target()));
    });
    Seen {
        estimates,
        targets,
        delivered: call.delivered().to_vec(),
        rivals: rivals.iter().flat_map(|rival| rival.delivered().to_vec()).collect(),
        layer_changes: call.layer_changes().to_vec(),
        queued: call.queued,
    }
}

/// What was measured, and whether the bound holds.
fn judge(row: &Row, seen: &Seen, bound: &Bound) -> (String, bool) {
    match *bound {
        Bound::Steady { from, least, most } => {
            let shares = seen.shares(from, row.seconds);
            let (low, median, high) =
                (quantile(&shares, 0.1), quantile(&shares, 0.5), quantile(&shares, 0.9));
            let holds = (least..=most).contains(&median) && low >= least - 0.15 && high <= most + 0.10;
            (
                format!(
                    "estimate {:.0}/{:.0}/{:.0}% ({:.0}..{:.0})",
                    low * 1e2,
                    median * 1e2,
                    high * 1e2,
                    least * 1e2,
                    most * 1e2
                ),
                holds,
            )
        }
        Bound::AtLeast { from, least } => {
            let median = quantile(&seen.shares(from, row.seconds), 0.5);
            (format!("estimate {:.0}% (at least {:.0})", median * 1e2, least * 1e2), median >= least)
        }
        Bound::Used { step, within, share } => {
            let reached = seen
                .estimates
                .iter()
                .find(|(at, estimate, capacity)| *at > step && *estimate >= share * capacity);
            let took = reached.map_or(f64::INFINITY, |(at, ..)| at - step);
            (format!("used after {took:.1} s (within {within})"), took <= within)
        }
        Bound::Delay { from, to, most } => {
            let longest = seen.longest_queue(from, to);
            (format!("queue {:.0} ms (under {:.0})", longest * 1e3, most * 1e3), longest < most)
        }
        Bound::DelayAfterDrain { step, to, most } => {
            let drain = seen.longest_queue(step, to);
            let longest = seen.longest_queue(step + drain + 2.0, to);
            (
                format!(
                    "queue {:.0} ms after a drain of {:.0} and 2 s (under {:.0})",
                    longest * 1e3,
                    drain * 1e3,
                    most * 1e3
                ),
                longest < most,
            )
        }
        Bound::FairShare { from, least } => {
            let flows = 1.0 + row.rivals.len() as f64;
            let fair = row.way.carries(from) / flows;
            let share = seen.rate(from, row.seconds) / fair;
            (format!("{:.0}% of the fair share (at least {:.0})", share * 1e2, least * 1e2), share >= least)
        }
        Bound::NeverStarved { from, least } => {
            let fair = row.way.carries(from) / (1.0 + row.rivals.len() as f64);
            let windows =
                (0..((row.seconds - from - 3.0) * 2.0) as u32).map(|half| from + f64::from(half) / 2.0);
            let worst = windows.map(|at| seen.rate(at, at + 3.0) / fair).fold(f64::INFINITY, f64::min);
            (format!("worst 3 s {:.0}% of it (at least {:.0})", worst * 1e2, least * 1e2), worst >= least)
        }
        Bound::RivalsLive { from, least } => {
            let rest = rate(&seen.rivals, from, row.seconds) / row.way.carries(from);
            (format!("rivals get {:.0}% (at least {:.0})", rest * 1e2, least * 1e2), rest >= least)
        }
        Bound::Delivered { from, least_kbps } => {
            let rate = seen.rate(from, row.seconds) / 1e3;
            (format!("delivered {rate:.0} kbit/s (at least {least_kbps:.0})"), rate >= least_kbps)
        }
        Bound::BestSet { from } => {
            let rungs = row.source.rungs();
            let room = |share: f64| row.way.carries(from) / 1e3 * share - flow::SOUND_BPS / 1e3;
            let best =
                |room: f64| rungs.iter().copied().filter(|kbps| *kbps <= room).fold(rungs[0], f64::max);
            let (least, most) = (best(room(0.85) / 1.1), best(room(1.0)));
            let mut taken: Vec<f64> =
                seen.targets.iter().filter(|(at, _)| *at >= from).map(|(_, bps)| bps / 1e3).collect();
            taken.sort_by(f64::total_cmp);
            let usual = quantile(&taken, 0.5);
            let estimate = quantile(&seen.shares(from, row.seconds), 0.5) * 1e2;
            let told = format!(
                "pictures take {usual:.0} kbit/s ({least:.0}..{most:.0}) at an estimate of {estimate:.0}%"
            );
            (told, (least..=most).contains(&usual))
        }
        Bound::NoFlapping { from } => {
            let late: Vec<_> = seen.layer_changes.iter().filter(|(at, ..)| *at >= from).collect();
            let flaps = late.iter().filter(|(at, whose, up)| {
                let again = |later: &f64| (0.0..10.0).contains(&(later - at));
                !up && late.iter().any(|(later, other, up)| *up && other == whose && again(later))
            });
            let flaps = flaps.count();
            (format!("{flaps} layers went down and up (0)"), flaps == 0)
        }
    }
}

/// Runs one row and prints what was seen.
fn keeps_its_bounds(row: &Row, plots: Option<&str>) -> bool {
    let seen = watch(row);
    if let Some(folder) = plots {
        plot::write(folder, row, &seen);
    }
    let judged: Vec<(String, bool)> = row.bounds.iter().map(|bound| judge(row, &seen, bound)).collect();
    let told: Vec<String> = judged
        .iter()
        .map(|(told, holds)| if *holds { told.clone() } else { format!("BROKEN: {told}") })
        .collect();
    println!("{:<58} {}", row.name, told.join("; "));
    judged.iter().all(|(_, holds)| *holds)
}

#[test]
fn every_row_keeps_its_bounds() {
    let given = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or_else(fresh_seed);
    println!("TIDEGATE_SEED={seed}");
    let wanted = std::env::var("TIDEGATE_ROW").unwrap_or_default();
    let plots = std::env::var("TIDEGATE_PLOT").ok();
    let mut broken = Vec::new();
    let rows: Vec<Row> = rows::written().into_iter().chain(rows::drawn(seed)).collect();
    assert!(rows.len() >= 50, "{} rows", rows.len());
    for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.name.contains(&wanted)) {
        if keeps_its_bounds(row, plots.as_deref()) {
            continue;
        }
        // One drawn row in two thousand lies beyond its bounds, most of them steep steps down. So it is drawn twice more
        // from other seeds, unless a seed was given to look at it: what is wrong breaks those, too.
        let drawn = index.checked_sub(rows::written().len()).filter(|_| given.is_none());
        let again = |drawn: usize| {
            let others = [seed + 1, seed + 2].map(|seed| rows::drawn(seed).swap_remove(drawn));
            others.iter().all(|row| keeps_its_bounds(row, plots.as_deref()))
        };
        if !drawn.is_some_and(again) {
            broken.push(row.name.clone());
        }
    }
    assert!(broken.is_empty(), "TIDEGATE_SEED={seed}: {broken:#?}");
}

/// Another one each day at least; a failure prints it.
fn fresh_seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_secs())
}
