//! A record decided again: by the same components, to see that it comes out the same to the last bit, or with another
//! in one's place, to see what that would change. Knows nothing of queues or of a running host.
//!
//! Late answers stay late, and interrupted calls stay as they were: how fast a machine is, is no part of a policy. Another
//! component is asked what one was interrupted at, and its answer told with that doubt. A record that is cut is replayed
//! up to the cut.

mod lines;
mod live;
mod survey;
mod theatre;

pub use survey::{Seated, Survey, run_of, survey};

use crate::config::{PluginConfig, PolicyConfig};
use crate::error::LoadError;
use crate::plugin::Loader;
use crate::recorder::FORMAT;
use crate::sandbox::Metering;
use crate::tick::while_time_passes;
use lines::Lines;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::sync::Arc;
use theatre::Theatre;
use tidegate_types::RequestNumber;
use tidegate_types::decision::Decision;

/// What a record is decided by.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Components, found by their digest, with their configurations; those that the record does not need are left.
    pub components: Vec<PluginConfig>,
    /// Another in the place of one that is in the record. Then only its decisions are made again.
    pub instead: Option<Instead>,
}

/// Another component in one's place.
#[derive(Clone, Debug)]
pub struct Instead {
    /// Of which decision.
    pub decision: Decision,
    /// In the place of which generations of the record; [`survey`] lists them.
    pub generations: BTreeSet<u64>,
    /// What decides instead; where it has no configuration, with the recorded one if that is in the record.
    pub plugin: PluginConfig,
}

/// What a replay found. Each decision is counted once: same, affected, not again, or untouched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Decisions in the record.
    pub decisions: u64,
    /// Those that come out the same.
    pub same: u64,
    /// Those that come out otherwise, in the record's order.
    pub affected: Vec<Affected>,
    /// More of them than are listed.
    pub more_affected: u64,
    /// Those that could not be decided again, by the reason.
    pub not_again: BTreeMap<String, u64>,
    /// Those that nobody was asked about, or only components that no other takes the place of.
    pub untouched: u64,
    /// Calls that were made again.
    pub calls: u64,
    /// Calls that had been interrupted at their deadline, and are taken as such.
    pub interrupted: u64,
    /// What the calls cost, by decision.
    pub costs: BTreeMap<Decision, Cost>,
    /// What the calls that were answered computed, by decision; empty where that was not counted.
    pub fuel: BTreeMap<Decision, Fuel>,
    /// What else is to be known: a cut, gaps, components that were not given.
    pub warnings: Vec<String>,
}

/// What an answer costs, in nanoseconds inside the guest, in the host that made the record and here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Calls that were answered then and now.
    pub calls: u64,
    /// Half of them took no longer then.
    pub then_p50_ns: u64,
    /// Ninety-nine of a hundred took no longer then.
    pub then_p99_ns: u64,
    /// Half of them took no longer now.
    pub now_p50_ns: u64,
    /// Ninety-nine of a hundred took no longer now.
    pub now_p99_ns: u64,
}

/// What answers compute, in wasmtime's fuel: about one unit an instruction, the same on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fuel {
    /// Calls that were answered.
    pub calls: u64,
    /// Half of them took no more.
    pub p50: u64,
    /// Ninety-nine of a hundred took no more.
    pub p99: u64,
    /// All of them together.
    pub total: u64,
}

/// A decision that comes out otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affected {
    /// The question's number.
    pub number: RequestNumber,
    /// When it was decided, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Which decision.
    pub decision: Decision,
    /// Which of its chain answers otherwise, from 1.
    pub position: usize,
    /// What was asked, as JSON; a token as a hash.
    pub question: String,
    /// The answer in the record, as JSON, or the failure's name.
    pub before: String,
    /// The answer now.
    pub after: String,
    /// Why the answer now may not be the one that a host would have given.
    pub doubt: Option<String>,
}

/// Why a record was not replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("the record cannot be read ({0})")]
    Unreadable(#[from] std::io::Error),
    /// The first line is no header of a record.
    #[error(
        "this is no record of decisions: its first line does not say so; a host writes one with --record FILE"
    )]
    NotARecord,
    /// Made by another version.
    #[error(
        "the record has format {found}, this program reads {FORMAT}: replay it with the version that made it"
    )]
    OtherFormat {
        /// The record's format.
        found: u32,
    },
    /// A component does not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Decides a record again: the files of one run of a host, the oldest first.
///
/// # Errors
/// Where not even its beginning can be used, or a given component does not load.
pub fn replay<R: BufRead>(files: impl IntoIterator<Item = R>, with: Replay) -> Result<Replayed, ReplayError> {
    play(files, with, Metering::Off, None)
}

/// Decides a record again as [`replay`] does, more slowly, and counts what that computes; of all components, or of these
/// generations of the record alone.
///
/// # Errors
/// As [`replay`].
pub fn fuel<R: BufRead>(
    files: impl IntoIterator<Item = R>,
    with: Replay,
    generations: Option<BTreeSet<u64>>,
) -> Result<BTreeMap<Decision, Fuel>, ReplayError> {
    Ok(play(files, with, Metering::Fuel, generations)?.fuel)
}

fn play<R: BufRead>(
    files: impl IntoIterator<Item = R>,
    with: Replay,
    metering: Metering,
    only: Option<BTreeSet<u64>>,
) -> Result<Replayed, ReplayError> {
    let (mut lines, header) = Lines::open(files)?;
    let any = with.components.first().or(with.instead.as_ref().map(|instead| &instead.plugin));
    let Some(any) = any.cloned() else {
        let warnings = vec!["no component was given: nothing could be decided again".to_owned()];
        return Ok(Replayed { warnings, ..Replayed::default() });
    };
    let mut config = PolicyConfig::new(any.clone(), any.clone(), any);
    config.threads = 16;
    let loader = match metering {
        Metering::Off => Loader::new(&config, Arc::new(|| 0))?,
        Metering::Fuel => Loader::metered(&config, Arc::new(|| 0))?,
    };
    let loader = loader.with_lookups(&header.lookups);
    while_time_passes(loader.engine(), || {
        let mut theatre = Theatre::new(&loader, header, with, only);
        while let Some(event) = lines.next()? {
            theatre.play(event)?;
        }
        Ok(theatre.end(lines.warnings))
    })
}
