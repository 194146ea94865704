//! Components under their names and configurations, and instances of them as the runtime holds them. Knows nothing of
//! what is measured.

use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tidegate::stock::stock;
use tidegate_policy::host::{Allocate, Authorize, Balance};
use tidegate_policy::plugin::{Decider, Loader, Plugin};
use tidegate_policy::{PluginConfig, PolicyConfig, Source};
use tidegate_types::decision::Decision;

/// The moment of every question.
pub const UNIX_MS: u64 = 1_700_000_000_000;
/// Nothing here is interrupted.
pub const AMPLE: Duration = Duration::from_secs(3_600);

/// A component of a name, with its configuration.
pub fn component(name: &'static str, bytes: Cow<'static, [u8]>, configuration: Value) -> PluginConfig {
    PluginConfig { configuration, ..PluginConfig::new(Source::Embedded { name, bytes }) }
}

pub fn stock_plugin(name: &'static str, configuration: Value) -> PluginConfig {
    let bytes = stock(name).unwrap_or_else(|| panic!("no stock policy {name}"));
    component(name, bytes.into(), configuration)
}

/// A host's policies; those of a bench are loaded beside them.
pub fn config() -> PolicyConfig {
    let open = || stock_plugin("auth-open", Value::Null);
    PolicyConfig::new(open(), open(), open())
}

pub fn loader() -> Loader {
    Loader::new(&config(), Arc::new(|| UNIX_MS)).expect("an engine")
}

pub fn load(loader: &Loader, decision: Decision, config: &PluginConfig) -> Plugin {
    loader.load(decision, config).unwrap_or_else(|error| panic!("{error}"))
}

/// A new instance that may take its time.
pub fn authorizer(plugin: &Plugin) -> Box<dyn Authorize> {
    let Ok(Decider::Authorize(mut decider)) = plugin.decider() else { panic!("no instance") };
    decider.allow(AMPLE);
    decider
}

pub fn allocator(plugin: &Plugin) -> Box<dyn Allocate> {
    let Ok(Decider::Allocate(mut decider)) = plugin.decider() else { panic!("no instance") };
    decider.allow(AMPLE);
    decider
}

pub fn balancer(plugin: &Plugin) -> Box<dyn Balance> {
    let Ok(Decider::Balance(mut decider)) = plugin.decider() else { panic!("no instance") };
    decider.allow(AMPLE);
    decider
}
