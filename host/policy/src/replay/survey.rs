//! What is in a record: who decided in it, when and how often, before anything is decided again. Knows nothing of
//! components but their digests.

use super::ReplayError;
use super::lines::Lines;
use super::theatre::recorded;
use crate::config::PluginConfig;
use crate::recorder::{Decided, Event, Start, What, configuration_hash};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::BufRead;
use tidegate_types::decision::Decision;

/// What a record says of itself.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The host's version.
    pub program: String,
    /// What ran its components.
    pub engine: String,
    /// The same for the files of one run of a host.
    pub run: String,
    /// Which file of the run the first one is, from 1. Where it is not 1, earlier ones are gone.
    pub file: u64,
    /// Tokens and configurations stand in it as they were.
    pub secrets: bool,
    /// How many decisions.
    pub decisions: u64,
    /// When the first and the last were made, in milliseconds since the Unix epoch.
    pub unix_ms: (u64, u64),
    /// Who decided, in the order of decision, position and generation.
    pub seats: Vec<Seated>,
    /// Where it is cut.
    pub warnings: Vec<String>,
}

/// One generation in its place.
#[derive(Clone, Debug)]
pub struct Seated {
    /// Of which decision.
    pub decision: Decision,
    /// Where in its chain, from 1; 0 for one that never counted.
    pub position: usize,
    /// Its number.
    pub generation: u64,
    /// What it calls itself.
    pub name: String,
    /// Its component's digest.
    pub digest: String,
    /// Where it came from; empty where its beginning is not in the record.
    pub origin: String,
    /// How many decisions it was asked about.
    pub asked: u64,
    start: Option<Box<Start>>,
}

/// Which run of a host a file is of: the same text for all files of one.
///
/// # Errors
/// Where it is no record.
pub fn run_of(file: impl BufRead) -> Result<String, ReplayError> {
    Lines::open([file]).map(|(_, header)| header.salt)
}

/// Looks through a record: the files of one run of a host, the oldest first.
///
/// # Errors
/// Where not even its beginning can be used.
pub fn survey<R: BufRead>(files: impl IntoIterator<Item = R>) -> Result<Survey, ReplayError> {
    let (mut lines, header) = Lines::open(files)?;
    let mut seats: BTreeMap<u64, Seated> = BTreeMap::new();
    let mut survey = Survey {
        program: header.program,
        engine: header.engine,
        run: header.salt,
        file: header.file,
        secrets: header.secrets,
        ..Survey::default()
    };
    while let Some(event) = lines.next()? {
        match event {
            Event::Instance { what: What::Start(start), .. } => begun(&mut seats, start),
            Event::Decision(decided) => survey.count(&mut seats, &decided),
            Event::Header(_) | Event::Instance { .. } => {}
        }
    }
    survey.seats = seats.into_values().collect();
    survey.seats.sort_by_key(|seat| (seat.decision, seat.position, seat.generation));
    survey.warnings = lines.warnings;
    Ok(survey)
}

fn begun(seats: &mut BTreeMap<u64, Seated>, start: Box<Start>) {
    let seat = seats.entry(start.generation).or_insert_with(|| Seated {
        decision: start.decision,
        position: 0,
        generation: start.generation,
        name: String::new(),
        digest: start.digest.clone(),
        origin: String::new(),
        asked: 0,
        start: None,
    });
    seat.origin.clone_from(&start.origin);
    seat.start = Some(start);
}

impl Survey {
    fn count(&mut self, seats: &mut BTreeMap<u64, Seated>, decided: &Decided) {
        if self.decisions == 0 {
            self.unix_ms.0 = decided.unix_ms;
        }
        self.decisions += 1;
        self.unix_ms.1 = decided.unix_ms;
        for (index, by) in decided.by.iter().enumerate() {
            let seat = seats.entry(by.generation).or_insert_with(|| Seated {
                decision: decided.decision,
                position: 0,
                generation: by.generation,
                name: String::new(),
                digest: by.digest.clone(),
                origin: String::new(),
                asked: 0,
                start: None,
            });
            seat.position = index + 1;
            seat.name.clone_from(&by.name);
            seat.asked += u64::from(by.asked);
        }
    }

    /// Is this the component, and the configuration, that decided there?
    #[must_use]
    pub fn is(&self, seat: &Seated, given: &PluginConfig) -> bool {
        seat.start.as_deref().is_some_and(|start| recorded(given, start, &self.run).is_some())
    }

    /// Had it no configuration?
    #[must_use]
    pub fn is_unconfigured(&self, seat: &Seated) -> bool {
        let none = configuration_hash(&self.run, &Value::Null.to_string());
        seat.start.as_deref().is_none_or(|start| start.configuration_hash == none)
    }
}
