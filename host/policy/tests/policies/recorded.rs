//! A host's day on record: swaps, traps and late answers in it. Knows nothing of how it is decided again.

use crate::desk::{Desk, Outcome, config_with, join, open, order, place, plugin};
use crate::guest::{APPLIED, Guest, PLACEMENT, REFUSAL};
use crate::misdeeds::LOOP;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidegate_policy::{Instead, PluginConfig, RecordTo, Replay, Replayed, Survey, replay, survey};
use tidegate_types::RequestNumber;
use tidegate_types::decision::Decision;

/// Somebody who makes a guest trap, and somebody who makes it loop.
const TRAPS: u32 = 100;
const LOOPS: u32 = 101;

/// A record that goes with the test.
pub struct Record(pub PathBuf);

impl Record {
    pub fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("tidegate-record-{}-{name}", std::process::id())))
    }

    pub fn to(&self, bytes: u64) -> Option<RecordTo> {
        Some(RecordTo { path: self.0.clone(), bytes, secrets: false })
    }

    pub fn older(&self) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(".1");
        path.into()
    }

    pub fn survey(&self) -> Survey {
        survey([self.open(&self.0)]).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn replay(&self, components: &[PluginConfig], instead: Option<Instead>) -> Replayed {
        self.replay_files(std::slice::from_ref(&self.0), components, instead)
    }

    pub fn replay_files(
        &self,
        files: &[PathBuf],
        components: &[PluginConfig],
        instead: Option<Instead>,
    ) -> Replayed {
        let with = Replay { components: components.to_vec(), instead };
        let files: Vec<_> = files.iter().map(|path| self.open(path)).collect();
        replay(files, with).unwrap_or_else(|error| panic!("{error}"))
    }

    fn open(&self, path: &Path) -> BufReader<File> {
        BufReader::new(File::open(path).expect("the record"))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let _ = (std::fs::remove_file(&self.0), std::fs::remove_file(self.older()));
    }
}

/// Answers every third room size in its own way; traps and loops for those who make it.
pub fn authorize(special: u32) -> Guest {
    let people = "(i32.load offset=20 (local.get $request))";
    Guest::new(Decision::Authorize).decide(format!(
        "(if (i32.eq {people} (i32.const {TRAPS})) (then (unreachable))) \
         (if (i32.eq {people} (i32.const {LOOPS})) (then {LOOP})) \
         (if (i32.eqz (i32.rem_u {people} (i32.const 3))) (then (return (i32.const {special})))) \
         (i32.const {REFUSAL})"
    ))
}

/// Places on the next row each time, plus whatever the last change said: what it answers depends on all that it met.
pub fn allocate() -> Guest {
    let (answer, last) = (PLACEMENT + 4, 1_900);
    Guest::new(Decision::Allocate)
        .functions("(global $rows (mut i32) (i32.const 1)) (global $met (mut i32) (i32.const 0))")
        .reset("(global.set $rows (local.get $rows))")
        .delta(format!(
            "(i32.store (i32.const {last}) (i32.load (local.get $values))) (i32.const {})",
            APPLIED
        ))
        .decide(format!(
            "(global.set $met (i32.add (global.get $met) (i32.const 1))) \
             (i32.store (i32.const {answer}) (i32.rem_u (i32.add (global.get $met) (i32.load (i32.const {last}))) \
             (global.get $rows))) (i32.const {PLACEMENT})"
        ))
}

/// Ten thousand decisions with everything in them; who got what.
pub fn live(record: &Record, first: &Make, second: &Make) -> BTreeMap<RequestNumber, (u32, Outcome)> {
    const DECISIONS: u32 = 10_000;
    let mut config = config_with(Decision::Authorize, first());
    config.allocate = plugin("allocate", allocate().build());
    config.deadlines.authorize = Duration::from_millis(60);
    config.recycle_calls = 700;
    config.record = record.to(1 << 30);
    let desk = open(config);
    desk.reset(1, 11);
    let mut asked = BTreeMap::new();
    let mut outcomes = BTreeMap::new();
    let mut next = [second, first].into_iter().cycle();
    for turn in 0..DECISIONS {
        let people = match turn % 1_000 {
            500 => LOOPS,
            at if at % 100 == 50 => TRAPS,
            at => (at % 5) * 3 + at % 2,
        };
        if turn % 7 == 0 {
            desk.cpu(1, u64::from(turn));
        }
        let body = if turn % 4 == 3 { place() } else { join(people) };
        let kind = if turn % 4 == 3 { u32::MAX } else { people };
        asked.insert(desk.send(body), kind);
        if turn % 1_250 == 600 {
            let guest = next.next().expect("it goes on for ever")();
            desk.policies.swap(order(Decision::Authorize, guest)).expect("it fits");
        }
        if asked.len() - outcomes.len() >= 20 {
            take(&desk, &asked, &mut outcomes);
        }
    }
    while outcomes.len() < asked.len() {
        take(&desk, &asked, &mut outcomes);
    }
    assert_eq!(desk.policies.record_left_out(), 0);
    desk.policies.stop();
    outcomes
}

pub type Make = dyn Fn() -> Guest;

fn take(
    desk: &Desk,
    asked: &BTreeMap<RequestNumber, u32>,
    outcomes: &mut BTreeMap<RequestNumber, (u32, Outcome)>,
) {
    let answer = desk.receive();
    outcomes.insert(answer.number, (asked[&answer.number], answer.result));
}
