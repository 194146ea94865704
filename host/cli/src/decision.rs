//! A decision, as command lines name it. Knows nothing of what is to be done about it.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, value_parser};
use tidegate_types::decision::Decision;

/// A decision's name.
pub(crate) fn decision(name: &str) -> Result<Decision, String> {
    let known = Decision::ALL.into_iter().find(|known| known.name() == name);
    known.ok_or_else(|| format!("there is: {}", Decision::ALL.map(Decision::name).join(", ")))
}

/// The same as a flag's value, with help and suggestions.
pub(crate) fn decisions() -> impl TypedValueParser<Value = Decision> {
    let value = |of: Decision| PossibleValue::new(of.name()).help(help(of));
    PossibleValuesParser::new(Decision::ALL.map(value)).try_map(|name| decision(&name))
}

const fn help(decision: Decision) -> &'static str {
    match decision {
        Decision::Authorize => "Who may enter, send, receive and administer",
        Decision::Allocate => "Where a new transport, relay or router is to be",
        Decision::Balance => "What moves among what runs",
        Decision::Share => "How a room's pictures divide what its people can receive",
    }
}

// One place in a decision's chain. A doc comment would stand in the help of whoever flattens it.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Post {
    /// Whose place
    #[arg(value_name = "DECISION", value_parser = decisions())]
    pub(crate) decision: Decision,

    #[command(flatten)]
    pub(crate) position: Position,
}

// Which of a chain.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Position {
    /// Which of a chain, counted from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    pub(crate) position: u32,
}
