//! The table: written rows, and as many drawn from a seed. A bound is what a person in the call would notice.

use super::chance::Chance;
use super::flow::{Call, Constant, Download, Flow, Source};
use super::link::Way;

/// Who else uses the link.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rival {
    /// Another call under the same estimator.
    Call { begins: f64 },
    /// So many kbit/s, whatever happens, between two times.
    Constant { kbps: f64, begins: f64, ends: f64 },
    /// A download that fills queues.
    Download { begins: f64 },
}

impl Rival {
    pub(crate) fn start(self, row: &Row) -> Box<dyn Flow> {
        match self {
            Self::Call { begins } => {
                Box::new(Call::new(Source::Elastic(50_000.0), row.way.delay, begins, row.seed ^ 2))
            }
            Self::Constant { kbps, begins, ends } => Box::new(Constant::new(kbps, begins, ends)),
            Self::Download { begins } => Box::new(Download::new(begins, row.way.delay)),
        }
    }
}

/// What must hold. Times in seconds, shares of the capacity at the time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// The estimate's median; a tenth of the time it may lie 15% of the capacity below and 10% above.
    Steady { from: f64, least: f64, most: f64 },
    /// The estimate's median.
    AtLeast { from: f64, least: f64 },
    /// After a step up, that share of the capacity is believed in time.
    Used { step: f64, within: f64, share: f64 },
    /// No packet stands longer in the queue.
    Delay { from: f64, to: f64, most: f64 },
    /// The same from two seconds after the longest queue since `step` could have drained.
    DelayAfterDrain { step: f64, to: f64, most: f64 },
    /// What is delivered, as a share of what would be fair.
    FairShare { from: f64, least: f64 },
    /// ... and in the worst three seconds.
    NeverStarved { from: f64, least: f64 },
    /// What the rivals get.
    RivalsLive { from: f64, least: f64 },
    /// What is delivered.
    Delivered { from: f64, least_kbps: f64 },
    /// Of one person's pictures the best that fits: what they take most of the time is no less than what fits into 85%
    /// of the way beside the sound and a tenth to spare, and no more than what fits into all of it.
    BestSet { from: f64 },
    /// No layer goes down and up again within ten seconds.
    NoFlapping { from: f64 },
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) way: Way,
    pub(crate) source: Source,
    pub(crate) rivals: Vec<Rival>,
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
    pub(crate) bounds: Vec<Bound>,
}

const ELASTIC: Source = Source::Elastic(50_000.0);

fn row(name: impl Into<String>, way: Way, seconds: f64, bounds: Vec<Bound>) -> Row {
    Row { name: name.into(), way, source: ELASTIC, rivals: Vec::new(), seconds, seed: 11, bounds }
}

fn steady(kbps: f64, delay: f64, queue: f64) -> Row {
    let way = Way { delay, queue, ..Way::steady(kbps) };
    let bounds = vec![
        Bound::Steady { from: 15.0, least: 0.85, most: 1.05 },
        Bound::Delay { from: 10.0, to: 60.0, most: 0.2 },
    ];
    row(
        format!("steady {kbps:.0} kbit/s, {:.0} ms, queue {:.0} ms", delay * 1e3, queue * 1e3),
        way,
        60.0,
        bounds,
    )
}

fn up(from: f64, to: f64, delay: f64) -> Row {
    let way = Way { capacity: vec![(0.0, from), (20.0, to)], delay, ..Way::steady(from) };
    let bounds = vec![
        Bound::Used { step: 20.0, within: 10.0, share: 0.85 },
        Bound::Delay { from: 10.0, to: 50.0, most: 0.2 },
    ];
    row(format!("up {from:.0} to {to:.0}, {:.0} ms", delay * 1e3), way, 50.0, bounds)
}

fn down(from: f64, ratio: f64, delay: f64) -> Row {
    let way =
        Way { capacity: vec![(0.0, from), (25.0, from / ratio)], queue: 0.6, delay, ..Way::steady(from) };
    let mut bounds = vec![Bound::Steady { from: 40.0, least: 0.80, most: 1.08 }];
    if ratio <= 2.5 {
        bounds.push(Bound::Delay { from: 27.0, to: 60.0, most: 0.2 });
    } else {
        bounds.push(Bound::DelayAfterDrain { step: 25.0, to: 60.0, most: 0.2 });
    }
    row(format!("down {ratio:.1}:1 from {from:.0}, {:.0} ms", delay * 1e3), way, 60.0, bounds)
}

fn lossy(kbps: f64, lost: f64, delay: f64) -> Row {
    let way = Way { lost, delay, ..Way::steady(kbps) };
    let least = if lost < 0.055 { 0.75 } else { 0.5 };
    let bounds =
        vec![Bound::AtLeast { from: 25.0, least }, Bound::Delay { from: 10.0, to: 60.0, most: 0.25 }];
    row(format!("{:.0}% lost of {kbps:.0}, {:.0} ms", lost * 1e2, delay * 1e3), way, 60.0, bounds)
}

fn reordered(kbps: f64, share: f64, late: f64) -> Row {
    let way = Way { reordered: share, late, ..Way::steady(kbps) };
    let bounds = vec![
        Bound::Steady { from: 20.0, least: 0.75, most: 1.05 },
        Bound::Delay { from: 10.0, to: 60.0, most: 0.2 },
    ];
    row(format!("{:.0}% up to {:.0} ms late, {kbps:.0}", share * 1e2, late * 1e3), way, 60.0, bounds)
}

fn shared(name: &str, kbps: f64, queue: f64, rivals: Vec<Rival>) -> Row {
    let way = Way { queue, ..Way::steady(kbps) };
    let from = 15.0;
    let bounds = vec![
        Bound::FairShare { from, least: 0.3 },
        Bound::NeverStarved { from, least: 0.1 },
        // Who comes later needs longer.
        Bound::RivalsLive { from: 40.0, least: 0.1 },
    ];
    Row { rivals, ..row(format!("{name} on {kbps:.0}, queue {:.0} ms", queue * 1e3), way, 75.0, bounds) }
}

fn layered(kbps: f64, people: usize, layers: &[f64], least_kbps: f64) -> Row {
    let way = Way { queue: 0.4, ..Way::steady(kbps) };
    let bounds = vec![
        Bound::Delivered { from: 15.0, least_kbps },
        Bound::Delay { from: 5.0, to: 60.0, most: 0.2 },
        Bound::NoFlapping { from: 15.0 },
    ];
    let source = Source::Layers { people, layers: layers.to_vec(), frames: Vec::new() };
    Row { source, ..row(format!("{people} people in layers on {kbps:.0}"), way, 60.0, bounds) }
}

/// Pictures that can lose half of their frames, and the smallest another half.
fn in_time(people: usize, way: Way, least_kbps: f64) -> Row {
    let layers = vec![150.0, 500.0, 1_700.0];
    let name = format!("{people} in layers and frames on {:.0}", way.capacity[0].1);
    let mut bounds = vec![
        Bound::Delivered { from: 15.0, least_kbps },
        // What is missing is often a small step, which is probed for nearer to what the way carries.
        Bound::Delay { from: 5.0, to: 60.0, most: 0.25 },
        Bound::NoFlapping { from: 15.0 },
    ];
    if people == 1 {
        bounds.push(Bound::BestSet { from: 20.0 });
    }
    let source = Source::Layers { people, layers, frames: vec![0.5, 0.67] };
    Row { source, ..row(name, way, 60.0, bounds) }
}

/// Rows that stand for what was thought of.
pub(crate) fn written() -> Vec<Row> {
    let mut rows = vec![
        steady(300.0, 0.02, 0.3),
        steady(600.0, 0.03, 0.3),
        steady(1_000.0, 0.05, 0.3),
        steady(2_000.0, 0.03, 0.2),
        steady(2_000.0, 0.15, 0.4),
        steady(5_000.0, 0.01, 0.15),
        steady(10_000.0, 0.04, 0.3),
        up(500.0, 1_000.0, 0.03),
        up(500.0, 3_000.0, 0.05),
        up(1_000.0, 8_000.0, 0.02),
        down(2_000.0, 1.5, 0.03),
        down(2_000.0, 2.0, 0.05),
        down(3_000.0, 2.5, 0.03),
        down(1_500.0, 2.5, 0.08),
        down(4_000.0, 4.0, 0.03),
        down(5_000.0, 8.0, 0.05),
        lossy(1_500.0, 0.01, 0.03),
        lossy(1_500.0, 0.03, 0.05),
        lossy(2_000.0, 0.05, 0.03),
        lossy(2_000.0, 0.10, 0.04),
        reordered(1_500.0, 0.02, 0.01),
        reordered(3_000.0, 0.05, 0.02),
        shared("another call", 2_000.0, 0.3, vec![Rival::Call { begins: 5.0 }]),
        shared("a download", 3_000.0, 0.2, vec![Rival::Download { begins: 5.0 }]),
        shared("a download", 5_000.0, 0.1, vec![Rival::Download { begins: 10.0 }]),
        layered(2_000.0, 5, &[100.0, 350.0, 1_200.0], 1_300.0),
        layered(2_500.0, 1, &[150.0, 500.0, 1_700.0], 1_600.0),
        layered(1_000.0, 1, &[150.0, 500.0, 1_700.0], 500.0),
        layered(6_000.0, 3, &[150.0, 500.0, 1_700.0], 4_500.0),
    ];
    // What fits is the largest picture at half its frames, the middle one whole, then halved, then the smallest.
    for (kbps, least_kbps) in [(1_600.0, 1_000.0), (900.0, 480.0), (520.0, 330.0), (300.0, 150.0)] {
        rows.push(in_time(1, Way { queue: 0.4, ..Way::steady(kbps) }, least_kbps));
    }
    rows.push(in_time(5, Way { queue: 0.4, ..Way::steady(2_000.0) }, 1_300.0));
    let crossing = Rival::Constant { kbps: 1_000.0, begins: 15.0, ends: 35.0 };
    let mut crossed = row(
        "a crossing 1000 kbit/s for 20 s on 2000",
        Way::steady(2_000.0),
        60.0,
        vec![
            Bound::Delay { from: 17.5, to: 60.0, most: 0.25 },
            Bound::Used { step: 35.0, within: 10.0, share: 0.85 },
        ],
    );
    crossed.rivals = vec![crossing];
    rows.push(crossed);
    // Not good enough: on a narrow way with a short queue a download takes nearly all of it.
    let mut crowded = shared("a download", 1_500.0, 0.12, vec![Rival::Download { begins: 5.0 }]);
    crowded.bounds =
        vec![Bound::FairShare { from: 15.0, least: 0.1 }, Bound::NeverStarved { from: 15.0, least: 0.05 }];
    rows.push(crowded);
    rows
}

/// As many from a seed.
pub(crate) fn drawn(seed: u64) -> Vec<Row> {
    let mut chance = Chance::new(seed);
    let mut rows = Vec::new();
    for number in 0..30_u64 {
        let kbps = chance.spread(400.0, 8_000.0);
        let delay = chance.spread(0.005, 0.12);
        let mut row = match number % 10 {
            0 | 1 => steady(kbps, delay, chance.between(0.15, 0.5)),
            2 | 3 => up(kbps, kbps * chance.spread(1.5, 6.0), delay),
            4 | 5 => down(kbps.max(800.0), chance.between(1.3, 2.5), delay),
            6 => down(kbps.max(1_500.0), chance.between(2.5, 6.0), delay),
            7 => lossy(kbps.max(600.0), chance.between(0.01, 0.10), delay),
            8 => reordered(kbps.max(600.0), chance.between(0.01, 0.05), chance.between(0.005, 0.02)),
            _ if number % 20 < 10 => shared(
                "another call",
                kbps.max(1_500.0),
                chance.between(0.1, 0.3),
                vec![Rival::Call { begins: 5.0 }],
            ),
            _ => {
                let rival = Rival::Download { begins: 5.0 };
                shared("a download", kbps.max(3_000.0), chance.between(0.1, 0.3), vec![rival])
            }
        };
        row.name = format!("drawn {number}: {}", row.name);
        row.seed = chance.draw();
        rows.push(row);
    }
    rows
}
