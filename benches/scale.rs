//! What one room costs when several engines share it, each on a thread of its own: the publisher at the first, those who
//! watch divided evenly among all, relays between them through the shards' own rings. Only the work is counted, as CPU
//! time of each thread; the peers' side and waiting are not. Knows nothing of sockets or policies.
//!
//! ```text
//! publisher ─▶ engine 0 ─┬─▶ 240 / n who watch
//!                        └─ ring ─▶ engine 1 … n-1 ─▶ 240 / n who watch, each
//! ```
//!
//! `cargo bench --bench scale` measures 1 to as many threads as there are cores, at most 8; `-- --threads N` asks for
//! other numbers, `-- --blocks N` for a longer run. The program stands alone: `cargo bench --bench scale --no-run` names
//! it, and it runs with `--bench` on any machine of the same kind.
#![forbid(unsafe_code)]

mod crowd;

use crowd::{BLOCK_PACKETS, Moment, Room, spent, start};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tidegate_media::io::Crossing;
use tidegate_shard::bare_rings::{BareRings, bare_rings};
use tidegate_types::relay::RelayMessage;
use tidegate_types::{Place, RelayId};

/// Those who watch, in all: divides evenly by 1 to 6 and 8.
const CONSUMERS: usize = 240;
const MOST_THREADS: usize = 8;
/// As a shard's.
const RING_SLOTS: usize = 1_024;
/// Blocks of half a second that are measured of each number of threads, in turn, and those before them.
const BLOCKS: usize = 24;
const WARM_UP: usize = 6;
/// Moments that a thread does in one go: reading its CPU time costs something, too.
const STEP: u32 = 5;
/// How many moments the first engine may be ahead of the others.
const LEAD: u32 = 20;
const _: () = assert!(BLOCK_PACKETS.is_multiple_of(STEP) && LEAD >= STEP && (LEAD as usize) < RING_SLOTS);
/// What the aim allows.
const AIM: f64 = 1.15;

/// One place: its room and its ends of the rings.
struct Seat {
    room: Room,
    rings: BareRings,
}

/// How far each engine has come in a block.
struct Progress(Vec<AtomicU32>);

impl Progress {
    /// Until engine `of` has done `moments`.
    fn wait(&self, of: usize, moments: u32) {
        while self.0[of].load(Ordering::Acquire) < moments {
            std::thread::yield_now();
        }
    }

    fn note(&self, of: usize, moments: u32) {
        self.0[of].store(moments, Ordering::Release);
    }
}

fn place(seat: usize) -> Place {
    Place::local(seat as u16)
}

/// The whole room at so many places.
fn seats(places: usize, consumers: usize) -> Vec<Seat> {
    let now = start();
    let rings = bare_rings(places, RING_SLOTS).expect("the system gives bells");
    let mut seats: Vec<Seat> = (0..)
        .zip(rings)
        .map(|(seat, rings)| {
            let own = consumers / places + usize::from(seat < consumers % places);
            let mut room = Room::empty(now, place(seat), places as u16, own, seat == 0);
            room.connect();
            Seat { room, rings }
        })
        .collect();
    let latest = seats.iter().map(|seat| seat.room.now().instant).max().expect("at least one place");
    for seat in &mut seats {
        let behind = latest - seat.room.now().instant;
        seat.room.pass(behind);
    }
    seats[0].room.publish();
    for seat in 1..places {
        let relay = RelayId(seat as u64);
        seats[seat].room.accept_relay(relay, place(0));
        seats[0].room.open_relay(relay, place(seat));
    }
    seats.iter_mut().for_each(|seat| seat.room.consume());
    // What relays say to each other before anything is published.
    for _ in 0..10 {
        seats.iter_mut().for_each(Seat::settle);
    }
    seats
}

impl Seat {
    /// A millisecond without media.
    fn settle(&mut self) {
        while let Some((from, crossing)) = self.rings.next_crossing() {
            self.room.cross(self.room.now(), from, crossing);
        }
        self.room.pass(Duration::from_millis(1));
        self.rings.send(self.room.crossings());
    }

    /// One moment: what crossed, at most one packet of the video; then what arrived.
    fn take(&mut self, nth: u32, moment: &mut Moment) {
        while let Some((from, crossing)) = self.rings.next_crossing() {
            let media = matches!(crossing, Crossing::Relay(RelayMessage::Media(_)));
            self.room.cross(moment.now, from, crossing);
            if media {
                break;
            }
        }
        self.room.take(nth, moment);
        self.rings.send(self.room.crossings());
    }

    /// A whole block, in step with the others; the CPU time that it took.
    fn run(&mut self, number: usize, block: &mut [Moment], progress: &Progress) -> Duration {
        let (began, mut took) = (Instant::now(), Duration::ZERO);
        for (step, moments) in (0..).zip(block.chunks_mut(STEP as usize)) {
            let first = step * STEP;
            if number == 0 {
                (1..progress.0.len()).for_each(|other| progress.wait(other, first.saturating_sub(LEAD)));
            } else {
                progress.wait(0, first + STEP);
            }
            let before = spent(began);
            for (nth, moment) in (first..).zip(moments) {
                self.take(nth, moment);
            }
            took += spent(began) - before;
            progress.note(number, first + STEP);
        }
        took
    }
}

/// One block at all places: the CPU time of all threads together, and how many packets were forwarded for it.
fn run_block(seats: &mut [Seat]) -> (Duration, u64) {
    let before: u64 = seats.iter().map(|seat| seat.room.forwarded).sum();
    let progress = Progress(seats.iter().map(|_| AtomicU32::new(0)).collect());
    let mut blocks: Vec<Vec<Moment>> = seats.iter_mut().map(|seat| seat.room.prepare()).collect();
    let took = std::thread::scope(|scope| {
        let progress = &progress;
        let threads: Vec<_> = (0..)
            .zip(seats.iter_mut().zip(&mut blocks))
            .map(|(number, (seat, block))| scope.spawn(move || seat.run(number, block, progress)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that only forwards")).sum()
    });
    let after: u64 = seats.iter().map(|seat| seat.room.forwarded).sum();
    (took, after - before)
}

/// What was measured with so many threads.
struct Measured {
    threads: usize,
    seats: Vec<Seat>,
    /// Nanoseconds for one packet to one who watches, a block each.
    costs: Vec<f64>,
    forwarded: u64,
    expected: u64,
}

impl Measured {
    fn new(threads: usize, consumers: usize) -> Self {
        Self { threads, seats: seats(threads, consumers), costs: Vec::new(), forwarded: 0, expected: 0 }
    }

    fn run(&mut self, consumers: usize, counts: bool) {
        let (took, forwarded) = run_block(&mut self.seats);
        if counts {
            self.costs.push(took.as_secs_f64() * 1e9 / forwarded.max(1) as f64);
            self.forwarded += forwarded;
            self.expected += consumers as u64 * u64::from(BLOCK_PACKETS);
        }
    }

    fn median(&self) -> f64 {
        let mut costs = self.costs.clone();
        costs.sort_unstable_by(f64::total_cmp);
        costs.get(costs.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn dropped(&self) -> u64 {
        self.seats.iter().map(|seat| seat.rings.dropped()).sum()
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1)?.parse().ok();
    // `cargo test --benches` only asks whether it runs.
    let measures = arguments.iter().any(|argument| argument == "--bench");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = after("--threads").unwrap_or(cores.min(MOST_THREADS)).max(1);
    let (consumers, blocks) =
        if measures { (CONSUMERS, after("--blocks").unwrap_or(BLOCKS)) } else { (8, 1) };
    let mut all: Vec<Measured> = (1..=most).map(|threads| Measured::new(threads, consumers)).collect();
    for block in 0..WARM_UP + blocks {
        // In turn, so that whatever else the machine does falls on all.
        all.iter_mut().for_each(|measured| measured.run(consumers, block >= WARM_UP));
    }
    println!(
        "One room of {consumers} who watch on 1 to {most} engine threads; this machine has {cores} core(s){}.",
        if most > cores { ", so threads share them and their caches" } else { "" }
    );
    let one = all[0].median();
    for measured in &mut all {
        assert_eq!(measured.forwarded, measured.expected, "every packet goes to everyone");
        let ratio = measured.median() / one;
        println!(
            "  {} thread(s)  {:5.0} ns of CPU a packet in all  ratio {ratio:.2}  ({} blocks, {} dropped by rings)",
            measured.threads,
            measured.median(),
            measured.costs.len(),
            measured.dropped()
        );
        if measures {
            measured.seats.iter_mut().for_each(|seat| seat.room.check_estimates());
        }
    }
    println!("  aim: at most {AIM} of one thread's");
}
