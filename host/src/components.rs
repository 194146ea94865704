//! From a policy's name to its component: stock ones by name, any other by path. Knows nothing of what a
//! component holds.

use crate::config::{Config, PolicyChoice};
use crate::stock;
use std::path::PathBuf;
use std::sync::Arc;
use tidegate_policy::{LoadError, Lookups, PluginConfig, PolicyConfig, Source};
use tidegate_types::decision::Decision;

/// Why a policy cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// Neither a stock component nor a path.
    #[error(
        "--policy {decision}={name}: there is no stock component of that name (there are {}), and no such file: \
         give a path that ends in .wasm for one of your own", .known.join(", ")
    )]
    Unknown {
        /// For which decision.
        decision: &'static str,
        /// What was asked for.
        name: String,
        /// The stock components.
        known: Vec<&'static str>,
    },
    /// It does not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Every decision's component and configuration.
pub(crate) fn policies(
    config: &Config,
    lookups: Option<Arc<dyn Lookups>>,
) -> Result<PolicyConfig, ComponentError> {
    let plugin = |decision| {
        if let Some(native) = config.native.iter().find(|native| native.decision() == decision) {
            return Ok(PluginConfig::new(Source::Native(native.clone())));
        }
        let choice = config.policies.get(&decision).cloned();
        plugin(decision, choice.unwrap_or_else(|| PolicyChoice::unconfigured(String::new())))
    };
    let next = config.authorize_next.iter().cloned();
    let share = config.policies.get(&Decision::Share).cloned();
    Ok(PolicyConfig {
        authorize_next: next
            .map(|choice| self::plugin(Decision::Authorize, choice))
            .collect::<Result<_, _>>()?,
        share: share.map(|choice| self::plugin(Decision::Share, choice)).transpose()?,
        on_failure: config.on_failure,
        lookups,
        record: config.record.clone(),
        ..PolicyConfig::new(
            plugin(Decision::Authorize)?,
            plugin(Decision::Allocate)?,
            plugin(Decision::Balance)?,
        )
    })
}

/// One component and its configuration.
pub(crate) fn plugin(decision: Decision, choice: PolicyChoice) -> Result<PluginConfig, ComponentError> {
    let source = source(decision, choice.component)?;
    let memory_bytes = choice.memory_mib.map(|mib| usize::from(mib) << 20);
    Ok(PluginConfig { source, configuration: choice.configuration, memory_bytes })
}

/// A stock component if one has that name, else a file if it exists or looks like one (then loading says what is
/// wrong with it).
fn source(decision: Decision, component: String) -> Result<Source, ComponentError> {
    if let Some((name, bytes)) = stock::STOCK.iter().find(|(name, _)| *name == component) {
        return Ok(Source::Embedded { name, bytes: (*bytes).into() });
    }
    let path = PathBuf::from(&component);
    if path.exists() || path.components().count() > 1 || path.extension().is_some() {
        return Ok(Source::Path(path));
    }
    let known = stock::STOCK.iter().map(|(name, _)| *name).collect();
    Err(ComponentError::Unknown { decision: decision.name(), name: component, known })
}
