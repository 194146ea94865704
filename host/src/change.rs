//! An operator's wish to change who decides, held against what this host allows, then carried out. Knows nothing of
//! HTTP but its statuses.

use crate::components::{self, ComponentError};
use crate::config::{OPEN, PolicyChoice};
use tidegate_control::{PolicyAct, PolicyChange, PolicyChanged, PolicyRefusal};
use tidegate_policy::{Policies, SwapError, SwapOrder, Swapped};
use tidegate_types::decision::Decision;

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const UNFIT: u16 = 422;
const UNAVAILABLE: u16 = 503;

/// Does it.
pub(crate) fn change(
    policies: &Policies,
    change: PolicyChange,
    open_allowed: bool,
) -> Result<PolicyChanged, PolicyRefusal> {
    let PolicyChange { decision, position, act } = change;
    let swapped = match act {
        PolicyAct::Back => policies.back(decision, position).map_err(|error| refused(&error))?,
        PolicyAct::Enforce => policies.enforce(decision, position).map_err(|error| refused(&error))?,
        PolicyAct::Dismiss => {
            let generation = policies.dismiss(decision, position).map_err(|error| refused(&error))?;
            let none = std::time::Duration::ZERO;
            return Ok(PolicyChanged { generation, before: None, prepared_in: none, took: none });
        }
        PolicyAct::Swap { component, configuration, shadow } => {
            if !open_allowed && component == OPEN && would_open(policies, decision, position) {
                return Err(still_closed());
            }
            let kept = policies.plugin_config(decision, position).map_err(|error| refused(&error))?;
            let configuration = configuration.unwrap_or(kept.configuration);
            let choice = PolicyChoice { configuration, ..PolicyChoice::unconfigured(component) };
            let mut plugin = components::plugin(decision, choice).map_err(|error| unknown(&error))?;
            plugin.memory_bytes = kept.memory_bytes;
            let order = SwapOrder { decision, position, plugin, shadow };
            policies.swap(order).map_err(|error| refused(&error))?
        }
    };
    let Swapped { generation, before, prepared_in, took, .. } = swapped;
    Ok(PolicyChanged { generation, before: Some(before), prepared_in, took })
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
        SwapError::Busy => (CONFLICT, "swap-under-way"),
        SwapError::NothingBefore(_) => (CONFLICT, "nothing-before"),
        SwapError::NoShadow(_) => (CONFLICT, "no-shadow"),
    };
    PolicyRefusal { status, code, detail: error.to_string() }
}
