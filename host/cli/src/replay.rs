//! `tidegate plugin replay`: what a host recorded, decided again by its own components or by a changed one. Knows
//! nothing of how a record is played.

use crate::Stock;
use crate::asking::{decision, stock_plugin, workshop};
use crate::error::CommandError;
use crate::options::{Bounds, Replay};
use crate::replayed::{json, text};
use crate::run::configuration;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read as _, Take};
use std::path::{Path, PathBuf};
use tidegate_policy::sandbox::Metering;
use tidegate_policy::{
    Fuel, Instead, PluginConfig, Seated, Source, Survey, fuel, replay as play, run_of, survey,
};
use tidegate_types::decision::Decision;

/// What was replayed, and by whom.
pub(crate) struct Played {
    pub(crate) files: Vec<Part>,
    pub(crate) survey: Survey,
    /// Another component, and in whose place.
    pub(crate) instead: Option<(PathBuf, Vec<Seated>)>,
    /// What is good to know before what was found.
    pub(crate) notes: Vec<String>,
    pub(crate) found: tidegate_policy::Replayed,
    /// What the answers computed, where that was asked for.
    pub(crate) fuel: Option<Counted>,
}

/// What answers computed, by decision.
pub(crate) struct Counted {
    pub(crate) now: Fuels,
    /// The recorded components' on the same questions, where another decides now.
    pub(crate) recorded: Option<Fuels>,
}

type Fuels = BTreeMap<Decision, Fuel>;

impl Played {
    /// Does everything come out as it is in the record?
    pub(crate) fn is_same(&self) -> bool {
        self.found.affected.is_empty()
    }
}

/// Prints what comes out otherwise; true if nothing does.
pub(crate) fn replay(options: &Replay, stock: Stock) -> Result<bool, CommandError> {
    let mut notes = Vec::new();
    let files = set(&options.record, &mut notes)?;
    let survey = survey(open(&files)?).map_err(|error| CommandError::record(&options.record, error))?;
    let configurations =
        options.config.iter().map(|path| configuration(path)).collect::<Result<Vec<_>, _>>()?;
    let seats = match &options.component {
        Some(component) => places(options, stock, component, &survey, &configurations)?,
        None => Vec::new(),
    };
    let instead = options.component.as_ref().filter(|_| !seats.is_empty()).map(|component| {
        notes.extend(unconfigured(&survey, &seats, &configurations));
        let first = configurations.first().cloned().unwrap_or_default();
        Instead {
            decision: seats[0].decision,
            generations: seats.iter().map(|seat| seat.generation).collect::<BTreeSet<u64>>(),
            plugin: PluginConfig {
                memory_bytes: options.policy_memory.map(|mib| usize::from(mib) << 20),
                ..plugin(Source::Path(component.clone()), &first)
            },
        }
    });
    let with =
        tidegate_policy::Replay { components: given(options, stock, &survey, &configurations), instead };
    let unusable = |error| CommandError::record(&options.record, error);
    let found = play(open(&files)?, with.clone()).map_err(unusable)?;
    let fuel = options.fuel.then(|| counted(&files, with, &options.record)).transpose()?;
    let instead = options.component.clone().filter(|_| !seats.is_empty()).map(|component| (component, seats));
    let played = Played { files, survey, instead, notes, found, fuel };
    if options.json {
        println!("{:#}", json(&played, options.limit));
    } else {
        print!("{}", text(&played, options.limit));
    }
    Ok(played.is_same())
}

/// What is computed for it, by whoever decides now, and by the recorded ones whose place that takes.
fn counted(files: &[Part], with: tidegate_policy::Replay, record: &Path) -> Result<Counted, CommandError> {
    let count = |with, generations| {
        fuel(open(files)?, with, generations).map_err(|error| CommandError::record(record, error))
    };
    let generations = with.instead.as_ref().map(|instead| instead.generations.clone());
    let same = tidegate_policy::Replay { instead: None, ..with.clone() };
    let recorded = generations.map(|generations| count(same, Some(generations))).transpose()?;
    Ok(Counted { now: count(with, None)?, recorded })
}

/// The file, and the older one beside it if it is of the same run of the host.
fn set(record: &Path, notes: &mut Vec<String>) -> Result<Vec<Part>, CommandError> {
    let mut older = record.to_owned().into_os_string();
    older.push(".1");
    let older = PathBuf::from(older);
    let record = Part::of(record.to_owned())?;
    if !older.is_file() {
        return Ok(vec![record]);
    }
    let older = Part::of(older)?;
    let run = |part: &Part| run_of(part.open()?).map_err(|error| CommandError::record(&part.path, error));
    if run(&record)? == run(&older)? {
        return Ok(vec![older, record]);
    }
    notes.push(format!(
        "{} is of an earlier run of the host: replay it by its own name",
        older.path.display()
    ));
    Ok(vec![record])
}

/// A file of the record, up to where it went when the command began: a host may still write it, and whoever looks at it
/// twice must see the same.
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    bytes: u64,
}

impl Part {
    fn of(path: PathBuf) -> Result<Self, CommandError> {
        let found = std::fs::metadata(&path).map_err(|error| CommandError::file(&path, &error))?;
        Ok(Self { path, bytes: found.len() })
    }

    fn open(&self) -> Result<BufReader<Take<File>>, CommandError> {
        let file = File::open(&self.path).map_err(|error| CommandError::file(&self.path, &error))?;
        Ok(BufReader::new(file.take(self.bytes)))
    }
}

fn open(files: &[Part]) -> Result<Vec<BufReader<Take<File>>>, CommandError> {
    files.iter().map(Part::open).collect()
}

fn plugin(source: Source, configuration: &Value) -> PluginConfig {
    PluginConfig { configuration: configuration.clone(), ..PluginConfig::new(source) }
}

/// Whose place the component takes: of all that decided there, those that it is not itself.
fn places(
    options: &Replay,
    stock: Stock,
    component: &Path,
    survey: &Survey,
    configurations: &[Value],
) -> Result<Vec<Seated>, CommandError> {
    let workshop = workshop(stock, &Bounds::usual(), Metering::Off)?;
    let decision = decision(&workshop, component, options.policy)?;
    let seats: Vec<&Seated> =
        survey.seats.iter().filter(|seat| seat.decision == decision && seat.position > 0).collect();
    let position = position(decision, &seats, options.position, &options.record)?;
    let own =
        configured(configurations).map(|configuration| plugin(Source::Path(component.into()), configuration));
    let own: Vec<PluginConfig> = own.collect();
    let others = seats
        .into_iter()
        .filter(|seat| seat.position == position && !own.iter().any(|own| survey.is(seat, own)));
    Ok(others.cloned().collect())
}

/// Which of a chain.
fn position(
    decision: Decision,
    seats: &[&Seated],
    told: Option<usize>,
    record: &Path,
) -> Result<usize, CommandError> {
    let positions: BTreeSet<usize> = seats.iter().map(|seat| seat.position).collect();
    match told {
        Some(told) if positions.contains(&told) => Ok(told),
        None if positions.len() == 1 => Ok(positions.first().copied().unwrap_or(1)),
        _ => Err(CommandError::Position {
            record: record.display().to_string(),
            decision,
            positions: positions.into_iter().collect(),
        }),
    }
}

/// A component may have been in force with each of these.
fn configured(configurations: &[Value]) -> impl Iterator<Item = &Value> {
    std::iter::once(&Value::Null).chain(configurations)
}

/// Every component that is at hand: those that were named, the stock ones, and what still lies where the host had it.
fn given(options: &Replay, stock: Stock, survey: &Survey, configurations: &[Value]) -> Vec<PluginConfig> {
    let named = options.component.iter().chain(&options.with).cloned();
    let origins = survey.seats.iter().map(|seat| PathBuf::from(&seat.origin)).filter(|path| path.is_file());
    let files: BTreeSet<PathBuf> = named.chain(origins).collect();
    let files = files.into_iter().map(Source::Path);
    let stock = stock.iter().map(|(name, _)| stock_plugin(stock, name).source);
    let sources: Vec<Source> = files.chain(stock).collect();
    let with = |source: &Source| -> Vec<PluginConfig> {
        configured(configurations).map(|configuration| plugin(source.clone(), configuration)).collect()
    };
    sources.iter().flat_map(with).collect()
}

/// What is to be said of a component that is configured otherwise than the one in whose place it decides.
fn unconfigured(survey: &Survey, seats: &[Seated], configurations: &[Value]) -> Option<String> {
    let hidden = !survey.secrets && seats.iter().any(|seat| !survey.is_unconfigured(seat));
    (hidden && configurations.is_empty()).then(|| {
        "the recorded component had a configuration, of which the record keeps a hash only: --config FILE gives it to the one that decides now".to_owned()
    })
}
