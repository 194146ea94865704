//! A room of fifty with everything on, sixty virtual seconds a seed: the real directory over real engines, and people
//! with real ICE, DTLS, SRTP and SCTP. They come, go, vanish, pause, change what they want, restart ICE and are moved
//! from shard to shard while the network loses, delays and doubles; some have a narrow way. What must hold:
//!
//! 1. *Nothing is sealed twice*: no sequence of an outgoing stream is sent a second time.
//! 2. *No time runs back*, no sound comes twice, and nobody is sent what it did not ask for.
//! 3. *Everyone sees*: from ten seconds after the last trouble on, whoever watches somebody sees each of its pictures,
//!    each whole and built on what came before, in the best encoding that it wants; whose way is narrow sees everyone
//!    that it watches, each in some encoding.
//! 4. *Everyone hears*: each text arrives once and in the order in which it was said, at everyone who was there from a
//!    second before to three seconds after it, moved or not.
//!    Of the sounds the loudest are forwarded, and everyone hears the same.
//! 5. *Shards agree*: one shard and three serve the same pairs of watcher and watched, as many sounds and the same texts.
//! 6. *Nothing stays*: when all have left, engines and directory hold nothing.
//!
//! `TIDEGATE_SEEDS=n` runs so many (100), `TIDEGATE_SEEDS=m..n` those from m up to n, `TIDEGATE_SEED=n` replays one. All
//! are run, whatever fails. A seed beyond the first hundred that ever failed is in [`FAILED`].

mod client;
mod network;
mod person;
mod publisher;
mod script;
mod track;
mod verdict;
mod world;

use script::LENGTH;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use verdict::Verdict;
use world::World;

/// Seeds beyond the first hundred that found something, and run with every build since it was mended. 105: a text that
/// was said before its sayer's channel stood was held to be owed. 112: a sound that came late began a consumer's sound
/// anew, and was forwarded a second time. 183: what a narrow way had lost was all sent again at once, ten times what fits,
/// for seconds, and nobody's data channel could open meanwhile. 303: a text that was lost four times in the storm came after
/// its hearer had left, and was held to be owed. (3, 8, 17: a picture that once was left out for what it
/// seemed to need stayed away for up to a minute.)
const FAILED: [u64; 4] = [105, 112, 183, 303];
/// Without optimisation a room takes ten times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 4 } else { 100 };
const SHARDS: usize = 3;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// `m..n`, or `n` for the first n.
fn range(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.split_once("..").unwrap_or(("1", text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    Some(if text.contains("..") { first..last } else { first..last + 1 })
}

fn seeds() -> BTreeSet<u64> {
    if let Some(seed) = number("TIDEGATE_SEED") {
        return BTreeSet::from([seed]);
    }
    match std::env::var("TIDEGATE_SEEDS") {
        Ok(text) => range(&text).expect("TIDEGATE_SEEDS is a number, or two with .. between").collect(),
        Err(_) => (1..=SEEDS).chain(FAILED).collect(),
    }
}

/// Names the seed when it fails.
struct Story(u64, usize);

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed: TIDEGATE_SEED={} with {} shards", self.0, self.1);
        }
    }
}

fn run(seed: u64, shards: usize) -> Verdict {
    let _story = Story(seed, shards);
    let mut world = World::new(seed, shards);
    world.run_until(LENGTH);
    let verdict = Verdict::of(&mut world);
    world.close();
    verdict::nothing_stays(&mut world);
    verdict
}

/// One seed both ways; pairs, pictures, texts and moves.
fn compare(seed: u64) -> [u64; 4] {
    let (one, three) = (run(seed, 1), run(seed, SHARDS));
    let _story = Story(seed, SHARDS);
    one.agrees_with(&three);
    three.counted
}

#[test]
fn a_room_of_fifty_with_everything_on_is_served_alike_by_one_shard_and_three() {
    let seeds: Vec<u64> = seeds().into_iter().collect();
    let (next, failed) = (AtomicU64::new(0), Mutex::new(BTreeSet::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(seeds.len());
    let work = || {
        let mut sums = [0; 4];
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            match std::panic::catch_unwind(|| compare(seed)) {
                Ok(counted) => sums = std::array::from_fn(|at| sums[at] + counted[at]),
                Err(_) => _ = failed.lock().expect("nobody panics with it").insert(seed),
            }
        }
        sums
    };
    let sums = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("failures are caught"));
        done.fold([0; 4], |all, one| std::array::from_fn(|at| all[at] + one[at]))
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    let [pairs, pictures, texts, moves] = sums;
    println!("{} seeds: {pairs} pairs, {pictures} pictures, {texts} texts, {moves} moves", seeds.len());
    // A simulation in which nothing happens agrees with itself.
    let each = |sum: u64| sum / seeds.len() as u64;
    let enough = each(pairs) > 40 && each(pictures) > 10_000 && each(texts) > 3_000 && each(moves) > 5;
    assert!(enough, "hardly anything happened");
}
