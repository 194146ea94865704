//! Sandboxes as a host would have them, for a command. Knows nothing of what is asked.

use crate::Stock;
use crate::error::CommandError;
use crate::options::Bounds;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_policy::sandbox::{Metering, Sandbox, Workshop};
use tidegate_policy::{LoadError, PluginConfig, PolicyConfig, Source};
use tidegate_types::decision::Decision;

/// The stock policy that decides where nobody chose another; for share the one that others are compared with.
pub(crate) const fn usual(decision: Decision) -> &'static str {
    match decision {
        Decision::Authorize => "auth-open",
        Decision::Allocate => "allocate-pack",
        Decision::Balance => "balance-steady",
        Decision::Share => "share-speaker",
    }
}

/// A stock policy as a plugin; one that is not there is empty, and refused when it is loaded.
pub(crate) fn stock_plugin(stock: Stock, name: &'static str) -> PluginConfig {
    let bytes = stock.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, bytes)| *bytes);
    PluginConfig::new(Source::Embedded { name, bytes: bytes.into() })
}

/// A place to open sandboxes in, with a host's bounds but for the deadline.
pub(crate) fn workshop(stock: Stock, bounds: &Bounds, metering: Metering) -> Result<Workshop, LoadError> {
    let plugin = |decision| stock_plugin(stock, usual(decision));
    let mut config =
        PolicyConfig::new(plugin(Decision::Authorize), plugin(Decision::Allocate), plugin(Decision::Balance));
    if let Some(deadline) = bounds.deadline() {
        config.deadlines.authorize = deadline;
        config.deadlines.allocate = deadline;
        config.deadlines.balance = deadline;
        config.deadlines.share = deadline;
    }
    if let Some(bytes) = bounds.memory_bytes() {
        config.memory_bytes = bytes;
    }
    Workshop::new(&config, metering, Arc::new(unix_ms))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A component file as a plugin.
pub(crate) fn plugin_of(file: &Path, configuration: Value) -> PluginConfig {
    PluginConfig { configuration, ..PluginConfig::new(Source::Path(file.into())) }
}

/// The decision that a component is asked for: the one that was named, or the only one that it serves.
pub(crate) fn decision(
    workshop: &Workshop,
    file: &Path,
    named: Option<Decision>,
) -> Result<Decision, CommandError> {
    if let Some(named) = named {
        return Ok(named);
    }
    let found = workshop.inspect(&Source::Path(file.into()))?;
    let file = file.display().to_string();
    match found.decisions.as_slice() {
        [] => Err(CommandError::Unfit { file, problems: found.problems }),
        [only] => Ok(*only),
        _ => Err(CommandError::Ambiguous { file, decisions: found.decisions }),
    }
}

/// The same plugin twice: as a host runs it, and where its work is counted.
pub(crate) struct Pair {
    pub(crate) plain: Sandbox,
    pub(crate) metered: Sandbox,
}

impl Pair {
    pub(crate) fn open(
        stock: Stock,
        bounds: &Bounds,
        decision: Decision,
        plugin: &PluginConfig,
        lookups: &[String],
    ) -> Result<Self, CommandError> {
        let open = |metering| workshop(stock, bounds, metering)?.open(decision, plugin, lookups);
        Ok(Self { plain: open(Metering::Off)?, metered: open(Metering::Fuel)? })
    }
}
