//! What a component is, before anyone puts it in force: what it imports and exports, and which decisions it can
//! make. Knows nothing of how it is run.

use crate::config::Source;
use crate::error::LoadError;
use crate::plugin::{self, Loader};
use crate::source::{digest_of, read};
use std::sync::Arc;
use tidegate_types::decision::Decision;

/// What was found in a component.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its size, in bytes.
    pub bytes: usize,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub digest: String,
    /// The interfaces that it wants from the host.
    pub imports: Vec<String>,
    /// The interfaces that it offers.
    pub exports: Vec<String>,
    /// The decisions that it can make.
    pub decisions: Vec<Decision>,
    /// Why a host would refuse it, each thing by itself; empty if all is well.
    pub problems: Vec<String>,
}

impl Loader {
    /// Looks into a component without running it.
    ///
    /// # Errors
    /// When the bytes are no component that this host can compile. What a component lacks is no error but one of
    /// [`Inspection::problems`].
    pub fn inspect(&self, source: &Source) -> Result<Inspection, LoadError> {
        let origin = source.label();
        let bytes: Arc<[u8]> = read(source)?.into();
        let component = self.compile(&origin, &bytes)?;
        let shape = component.component_type();
        let names = |name: &str| name.to_owned();
        let imports: Vec<String> = shape.imports(self.engine()).map(|(name, _)| names(name)).collect();
        let exports: Vec<String> = shape.exports(self.engine()).map(|(name, _)| names(name)).collect();
        let decisions = decisions(&origin, &exports);
        Ok(Inspection {
            bytes: bytes.len(),
            digest: digest_of(&bytes),
            problems: problems(&origin, &imports, &exports, &decisions),
            imports,
            exports,
            decisions,
        })
    }
}

fn decisions(origin: &str, exports: &[String]) -> Vec<Decision> {
    let exports: Vec<&str> = exports.iter().map(String::as_str).collect();
    let fits = |decision: &Decision| plugin::check_exports(origin, *decision, &exports).is_ok();
    Decision::ALL.into_iter().filter(fits).collect()
}

fn problems(origin: &str, imports: &[String], exports: &[String], decisions: &[Decision]) -> Vec<String> {
    let refused = |name: &String| plugin::check_import(origin, name).err().map(|error| error.to_string());
    let mut problems: Vec<String> = imports.iter().filter_map(refused).collect();
    if decisions.is_empty() {
        let exports: Vec<&str> = exports.iter().map(String::as_str).collect();
        let nearest = plugin::check_exports(origin, nearest(&exports), &exports);
        problems.extend(nearest.err().map(|error| error.to_string()));
    }
    // One file made for another version says so in each of its interfaces.
    problems.dedup();
    problems
}

/// The decision that it was most likely meant for: whose own interface it exports.
fn nearest(exports: &[&str]) -> Decision {
    let own = |decision: Decision| plugin::needed(decision).last().copied().unwrap_or_default();
    let exported =
        |decision: &Decision| exports.iter().any(|name| name.contains(&format!("/{}@", own(*decision))));
    Decision::ALL.into_iter().find(exported).unwrap_or(Decision::Authorize)
}
