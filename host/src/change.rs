//! An operator's wish to change who decides, held against what this host allows, then carried out. Knows nothing of
//! HTTP but its statuses.

use crate::components::{self, ComponentError};
use crate::config::{OPEN, PolicyChoice};
use tidegate_control::{PolicyAct, PolicyChange, PolicyChanged, PolicyRefusal};
use tidegate_policy::{PluginConfig, Policies, SwapError, SwapOrder, Swapped};
use tidegate_types::decision::Decision;

/// What stands for the host's own rule where a component is named.
const BUILT_IN: &str = "built-in";

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const UNFIT: u16 = 422;
const UNAVAILABLE: u16 = 503;

/// What was settled when the host started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    /// `auth-open` may decide here.
    pub(crate) open_allowed: bool,
    /// The most memory of share's instance, in MiB, where nobody was chosen for it.
    pub(crate) share_memory_mib: Option<u16>,
}

/// Does it.
pub(crate) fn change(
    policies: &Policies,
    change: PolicyChange,
    settled: Settled,
) -> Result<PolicyChanged, PolicyRefusal> {
    let PolicyChange { decision, position, act } = change;
    let swapped = match act {
        PolicyAct::Back => policies.back(decision, position).map_err(|error| refused(&error))?,
        PolicyAct::Enforce => policies.enforce(decision, position).map_err(|error| refused(&error))?,
        PolicyAct::Dismiss => {
            let generation = policies.dismiss(decision, position).map_err(|error| refused(&error))?;
            let none = std::time::Duration::ZERO;
            let generation = Some(generation);
            return Ok(PolicyChanged { generation, before: None, prepared_in: none, took: none });
        }
        PolicyAct::Swap { component, shadow: true, .. } if component == BUILT_IN => {
            return Err(not_beside());
        }
        PolicyAct::Swap { component, .. } if component == BUILT_IN => {
            policies.leave(decision, position).map_err(|error| refused(&error))?
        }
        PolicyAct::Swap { component, configuration, shadow } => {
            if !settled.open_allowed && component == OPEN && would_open(policies, decision, position) {
                return Err(still_closed());
            }
            let kept = kept(policies, decision, position)?;
            let mut choice = PolicyChoice::unconfigured(component);
            choice.memory_mib = settled.share_memory_mib;
            choice.configuration = configuration
                .or_else(|| kept.as_ref().map(|kept| kept.configuration.clone()))
                .unwrap_or_default();
            let mut plugin = components::plugin(decision, choice).map_err(|error| unknown(&error))?;
            if let Some(kept) = kept {
                plugin.memory_bytes = kept.memory_bytes;
            }
            let order = SwapOrder { decision, position, plugin, shadow };
            policies.swap(order).map_err(|error| refused(&error))?
        }
    };
    let Swapped { generation, before, prepared_in, took, .. } = swapped;
    Ok(PolicyChanged { generation, before, prepared_in, took })
}

/// With what the one in force was loaded; `None` where the host's own rule decides.
fn kept(
    policies: &Policies,
    decision: Decision,
    position: usize,
) -> Result<Option<PluginConfig>, PolicyRefusal> {
    match policies.plugin_config(decision, position) {
        Ok(kept) => Ok(Some(kept)),
        Err(SwapError::NotChosen(_)) => Ok(None),
        Err(error) => Err(refused(&error)),
    }
}

/// What is said once the policies are gone.
pub(crate) fn stopping() -> PolicyRefusal {
    PolicyRefusal { status: UNAVAILABLE, code: "host-stopping", detail: "the host stops".to_owned() }
}

/// Does everyone else in the chain let everybody in as well?
fn would_open(policies: &Policies, decision: Decision, position: usize) -> bool {
    let chain = policies.info().into_iter().filter(|info| info.decision == decision);
    decision == Decision::Authorize
        && chain
            .filter(|info| info.position != position)
            .all(|info| info.origin == "stock" && info.name == OPEN)
}

fn still_closed() -> PolicyRefusal {
    let detail = format!(
        "{OPEN} admits everyone, and this host can be reached from other machines: start it with --allow-open if that \
         is meant"
    );
    PolicyRefusal { status: CONFLICT, code: "not-open", detail }
}

fn not_beside() -> PolicyRefusal {
    let detail = "the host's own rule cannot stand in a shadow: --shadow takes a component".to_owned();
    PolicyRefusal { status: CONFLICT, code: "nothing-beside", detail }
}

fn unknown(error: &ComponentError) -> PolicyRefusal {
    PolicyRefusal { status: UNFIT, code: "no-such-component", detail: error.to_string() }
}

fn refused(error: &SwapError) -> PolicyRefusal {
    let (status, code) = match error {
        SwapError::Load(_) => (UNFIT, "component-refused"),
        SwapError::NotReady { .. } => (UNFIT, "component-not-ready"),
        SwapError::Unchanged { .. } => (CONFLICT, "policy-unchanged"),
        SwapError::NoPosition { .. } => (NOT_FOUND, "no-such-position"),
        SwapError::NotChosen(_) => (CONFLICT, "not-chosen"),
        SwapError::NothingBeside(_) => (CONFLICT, "nothing-beside"),
        SwapError::Needed(_) => (CONFLICT, "policy-needed"),
        SwapError::Busy => (CONFLICT, "swap-under-way"),
        SwapError::NothingBefore(_) => (CONFLICT, "nothing-before"),
        SwapError::NoShadow(_) => (CONFLICT, "no-shadow"),
    };
    PolicyRefusal { status, code, detail: error.to_string() }
}
