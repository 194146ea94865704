//! Stand-ins for WASI 0.2, for components whose tool chain insists on it. They reach nothing: time is that of the
//! question and stands still, chance follows from the question's seed, standard error goes to the policy's log, there
//! is nothing to read, no file and no way to wait. Sockets and HTTP have no stand-in: what imports them is refused.
//!
//! Linked only for components that ask, by what each of them asks for. Knows nothing of decisions.

mod answers;
mod console;
#[cfg(test)]
mod tests;

use crate::imports::HostState;
use answers::{Asked, Kind, Reply};
pub(crate) use console::Console;
use std::time::Instant;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, ResourceDynamic, ResourceType, Val};
use wasmtime::{AsContextMut, StoreContextMut};

/// The packages of WASI that have stand-ins, and the version that they are of.
const PACKAGES: [&str; 5] = ["cli", "clocks", "filesystem", "io", "random"];
const VERSION: &str = "0.2.";

/// Is this import's name one that has a stand-in? `None` if it is none of WASI's.
pub(crate) fn stands_in(import: &str) -> Option<bool> {
    let name = import.strip_prefix("wasi:")?;
    let known = |(package, rest): (&str, &str)| {
        let version = rest.split_once('@').map(|(_, version)| version);
        PACKAGES.contains(&package) && version.is_some_and(|version| version.starts_with(VERSION))
    };
    Some(name.split_once('/').is_some_and(known))
}

/// Gives the component a stand-in for each function of WASI that it imports.
pub(crate) fn link(linker: &mut Linker<HostState>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let shape = component.component_type();
    for (import, item) in shape.imports(&engine) {
        let ComponentItem::ComponentInstance(interface) = item.ty else { continue };
        if stands_in(import) != Some(true) {
            continue;
        }
        let mut instance = linker.instance(import)?;
        for (name, item) in interface.exports(&engine) {
            match item.ty {
                ComponentItem::Resource(_) => {
                    let kind = Kind::named(name);
                    instance.resource(name, ResourceType::host_dynamic(kind as u32), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => {
                    let asked = Asked::new(import, name);
                    instance.func_new(name, move |store, function, parameters, results| {
                        answer(store, &asked, &function, parameters, results)
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn answer(
    mut store: StoreContextMut<'_, HostState>,
    asked: &Asked,
    function: &ComponentFunc,
    parameters: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let state = store.data_mut();
    let reply = asked.answer(state.moment(), parameters, function.results().next());
    let value = match reply {
        Reply::Value(value) => value,
        Reply::Own(kind) => {
            let resource = ResourceDynamic::new_own(0, kind as u32);
            Val::Resource(resource.try_into_resource_any(&mut store)?)
        }
        Reply::Said(text, value) => {
            let lines = state.console.take(&text);
            tell(state, lines);
            value
        }
        Reply::Refused => {
            let last = state.console.rest();
            tell(state, last);
            return Err(wasmtime::format_err!("{asked} reaches nothing here"));
        }
    };
    if let [result] = results {
        *result = value;
    }
    give_back(store, parameters)
}

fn tell(state: &HostState, lines: impl IntoIterator<Item = String>) {
    for line in lines {
        state.shared.journal().line("warn", &line, Instant::now());
    }
}

/// What was lent for the call must be let go of before it ends.
fn give_back(mut store: StoreContextMut<'_, HostState>, parameters: &[Val]) -> wasmtime::Result<()> {
    for parameter in parameters {
        match parameter {
            Val::Resource(resource) => resource.resource_drop(&mut store)?,
            Val::List(values) if matches!(values.first(), Some(Val::Resource(_))) => {
                give_back(store.as_context_mut(), values)?;
            }
            _ => {}
        }
    }
    Ok(())
}
