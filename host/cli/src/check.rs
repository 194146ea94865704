//! `tidegate plugin check`: what a component is, and what a host would refuse it for. Knows nothing of how it
//! decides.

use crate::Stock;
use crate::asking::{plugin_of, workshop};
use crate::error::CommandError;
use crate::options::Check;
use serde_json::Value;
use std::path::Path;
use tidegate_policy::inspect::Inspection;
use tidegate_policy::sandbox::{Metering, Workshop};
use tidegate_policy::{LoadError, Source};
use tidegate_types::decision::Decision;

/// The start of every interface of ours.
const OURS: &str = "tidegate:policy/";

/// Prints what is known of each file; true if a host would take all of them.
pub(crate) fn check(options: &Check, stock: Stock) -> Result<bool, CommandError> {
    let workshop = workshop(stock, &options.bounds, Metering::Off)?;
    let wanted = options.policy;
    let mut sound = true;
    for file in &options.files {
        sound &= check_file(&workshop, file, wanted);
    }
    Ok(sound)
}

/// Prints what is known of one file; true if a host would take it.
pub(crate) fn check_file(workshop: &Workshop, file: &Path, wanted: Option<Decision>) -> bool {
    println!("{}", file.display());
    let mut problems = match workshop.inspect(&Source::Path(file.into())) {
        Ok(found) => {
            print_shape(&found);
            let mut problems = found.problems.clone();
            problems.extend(tried(workshop, file, &found, wanted));
            problems
        }
        Err(error) => vec![error.to_string()],
    };
    problems.dedup();
    // Each problem names the file, which stands above already.
    let prefix = format!("{}: ", file.display());
    for problem in &problems {
        println!("  problem    {}", problem.strip_prefix(&prefix).unwrap_or(problem));
    }
    println!("  {}", if problems.is_empty() { "a host would take it" } else { "a host would refuse it" });
    problems.is_empty()
}

fn print_shape(found: &Inspection) {
    let or_nothing = |text: String| if text.is_empty() { "nothing".to_owned() } else { text };
    let decisions = found.decisions.iter().map(|decision| decision.name()).collect::<Vec<_>>().join(", ");
    println!("  decides    {}", or_nothing(decisions));
    println!("  exports    {}", or_nothing(short(&found.exports)));
    println!("  imports    {}", or_nothing(short(&found.imports)));
    println!("  size       {} bytes", found.bytes);
    println!("  digest     {}", found.digest);
}

/// Our own interfaces without what they share.
fn short(interfaces: &[String]) -> String {
    let name = |name: &String| name.strip_prefix(OURS).unwrap_or(name).to_owned();
    interfaces.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Starts it as a host would, for each decision that it serves or for the one that is wanted.
fn tried(workshop: &Workshop, file: &Path, found: &Inspection, wanted: Option<Decision>) -> Vec<String> {
    if wanted.is_none() && !found.problems.is_empty() {
        return Vec::new();
    }
    let decisions = wanted.map_or_else(|| found.decisions.clone(), |wanted| vec![wanted]);
    let mut problems = Vec::new();
    for decision in decisions {
        match workshop.open(decision, &plugin_of(file, Value::Null), &[]) {
            Ok(sandbox) => {
                println!("  is         {} {}", sandbox.plugin().name(), sandbox.plugin().version());
            }
            // That it wants to be told more is no fault of the component.
            Err(error @ LoadError::Configuration { .. }) => {
                println!("  configure  {} wants more than nothing: {error}", decision.name());
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    problems
}
