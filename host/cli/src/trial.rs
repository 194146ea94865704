//! `tidegate plugin test`: cases in the sandbox, each in a fresh instance with an empty store. Knows nothing of how
//! they are written.

use crate::Stock;
use crate::asking::{plugin_of, workshop};
use crate::error::CommandError;
use crate::options::Test;
use crate::run::ask;
use crate::subject::{Expected, Subject};
use serde_json::Value;
use std::path::Path;
use tidegate_policy::LoadError;
use tidegate_policy::sandbox::{Metering, Sandbox, Workshop};
use tidegate_sdk::cases::differences;
use tidegate_types::decision::{Decision, Failure};

/// An answer that comes too late is asked for again so often: a busy machine is no fault of the policy, and one that
/// hangs hangs each time.
const ATTEMPTS: u32 = 3;

/// Prints which cases are answered as expected; true if all are.
pub(crate) fn test(options: &Test, stock: Stock) -> Result<bool, CommandError> {
    let subject = Subject::of(&options.of, stock)?;
    let workshop = workshop(stock, &options.bounds.or_memory(subject.memory_mib), Metering::Off)?;
    let mut source = Fresh { workshop, decision: subject.decision, file: &subject.file, first: None };
    let (mut passed, mut all) = (0_usize, 0_usize);
    for (file, cases) in &subject.cases {
        println!("{}", file.display());
        for case in cases {
            let wrong = judge(&mut source, case)?;
            println!("  {}  {}", if wrong.is_empty() { "ok  " } else { "FAIL" }, case.name);
            for line in &wrong {
                println!("          {line}");
            }
            all += 1;
            passed += usize::from(wrong.is_empty());
        }
    }
    println!("{passed} of {all} as expected, by {}", subject.file.display());
    Ok(passed == all)
}

/// What is wrong with the answer to a case.
fn judge(source: &mut Fresh<'_>, case: &Expected) -> Result<Vec<String>, CommandError> {
    let mut last = Failure::Deadline;
    for _ in 0..ATTEMPTS {
        let mut sandbox = match source.sandbox(&case.asked.config, &case.asked.lookups) {
            Ok(sandbox) => sandbox,
            Err(error @ LoadError::Configuration { .. }) => return Ok(vec![error.to_string()]),
            Err(error) => return Err(error.into()),
        };
        match ask(&mut sandbox, &case.asked).result {
            Ok(body) => {
                let found = case.asked.told(body);
                return Ok(differences(&case.expect, &found).iter().map(ToString::to_string).collect());
            }
            Err(Failure::Deadline) => last = Failure::Deadline,
            Err(failure) => {
                last = failure;
                break;
            }
        }
    }
    Ok(vec![format!("no answer: {}", explained(last))])
}

const fn explained(failure: Failure) -> &'static str {
    match failure {
        Failure::Deadline => "deadline (not in time; --deadline-ms gives it longer)",
        Failure::Trap => "trap (a panic, or memory or stack used up; the log above says more)",
        Failure::Nonsense => "nonsense (the answer is too large or contradicts the request)",
        Failure::Stale => "stale (it names a row that is not in the cluster)",
        Failure::QueueFull | Failure::Lookup | Failure::Unavailable | Failure::BreakerOpen => failure.name(),
    }
}

/// Gives a fresh sandbox for each case; the component is compiled once.
pub(crate) struct Fresh<'a> {
    pub(crate) workshop: Workshop,
    pub(crate) decision: Decision,
    pub(crate) file: &'a Path,
    pub(crate) first: Option<Sandbox>,
}

impl Fresh<'_> {
    pub(crate) fn sandbox(
        &mut self,
        configuration: &Value,
        lookups: &[String],
    ) -> Result<Sandbox, LoadError> {
        if let Some(first) = &self.first {
            return first.anew(configuration, lookups);
        }
        let plugin = plugin_of(self.file, configuration.clone());
        let first = self.workshop.open(self.decision, &plugin, lookups)?;
        let fresh = first.anew(configuration, lookups);
        self.first = Some(first);
        fresh
    }
}
