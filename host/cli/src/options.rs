//! The command line: every command and flag declared once, with its help, default and unit. Knows nothing of what a
//! command does.

use crate::decision::{decision, decisions};
use crate::explain::ExplainOf;
use crate::name::name;
use clap::builder::TypedValueParser as _;
use clap::{Args, Parser, Subcommand, value_parser};
use std::path::PathBuf;
use std::time::Duration;
use tidegate_types::decision::Decision;

/// Write, check and measure policies, in the engine and under the bounds that a host has for them.
#[derive(Clone, Debug, Parser)]
#[command(name = "tidegate plugin", bin_name = "tidegate plugin", max_term_width = 100)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a project: a folder with a small policy, its cases, and the SDK that this program carries
    New(New),
    /// Build a project into a component, and check it
    Build(Build),
    /// Ask a component what its cases ask, in the sandbox, and compare the answers
    Test(Test),
    /// Measure what the answers to the cases cost, beside the stock policy
    Bench(Bench),
    /// Say what a component is: its decisions, imports, size and digest, and what a host would refuse it for
    Check(Check),
    /// Ask a component one thing: a request as JSON in, the answer as JSON out
    Run(Run),
    /// Decide what a host recorded once more, by the same components or by a changed one: what would have come out
    /// otherwise, and at what cost
    #[command(after_help = REPLAY_CODES)]
    Replay(Replay),
    /// The last decisions of a running host: what was asked, what was answered and who did
    Explain(ExplainOf),
}

/// What the end of a replay means.
const REPLAY_CODES: &str = "A host writes a record with --record FILE. Exit codes: 0 everything comes out as in the \
    record, 3 something comes out otherwise, 1 the record or a component cannot be used, 2 the command line is wrong.";

/// `new`.
#[derive(Clone, Debug, Args)]
pub(crate) struct New {
    /// The policy's name, and the folder's: lower-case letters, digits and hyphens
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: String,

    /// What it decides
    #[arg(long, value_name = "DECISION", value_parser = decisions())]
    pub(crate) policy: Decision,

    /// The language that it is written in: rust, c, go, js or python
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    pub(crate) lang: String,
}

/// `build`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Build {
    /// The project's folder
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub(crate) folder: PathBuf,
}

/// `check`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Check {
    /// The components
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// The decision that they are to serve [default: any]
    #[arg(long, value_name = "DECISION", value_parser = decisions())]
    pub(crate) policy: Option<Decision>,

    #[command(flatten)]
    pub(crate) bounds: Bounds,
}

/// `run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    /// The component
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// The decision that it is asked for [default: the only one that it serves]
    #[arg(long, value_name = "DECISION", value_parser = decisions())]
    pub(crate) policy: Option<Decision>,

    /// The request as JSON, or a case with its `config`, `cluster` and `request`; - is standard input [default: an
    /// empty request]
    #[arg(long, value_name = "FILE|-")]
    pub(crate) request: Option<PathBuf>,

    /// The policy's configuration as JSON; outweighs a case's own
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) bounds: Bounds,
}

/// `replay`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Replay {
    /// The record; the older file beside it (RECORD.1) is read first if it is of the same run of the host
    #[arg(value_name = "RECORD")]
    pub(crate) record: PathBuf,

    /// A component that decides in the place of the recorded one [default: those of the record, as far as they are
    /// stock or still lie where the host had them]
    #[arg(value_name = "FILE")]
    pub(crate) component: Option<PathBuf>,

    /// The decision that FILE makes [default: the only one that it serves]
    #[arg(long, value_name = "DECISION", value_parser = decisions())]
    pub(crate) policy: Option<Decision>,

    /// In whose place of a chain, counted from 1 [default: the only one]
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(1..).map(usize::from))]
    pub(crate) position: Option<usize>,

    /// A component of the record that lies elsewhere now; found by its digest, may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Vec<PathBuf>,

    /// A configuration as JSON that the record keeps a hash of, found by that; may be repeated, FILE gets the first
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,

    /// How much memory an instance of FILE may have, in MiB, 1 to 1024 [default: as much as the one in whose place it
    /// decides had]
    #[arg(long, value_name = "MIB", value_parser = memory)]
    pub(crate) policy_memory: Option<u16>,

    /// Count, too, what the answers compute, in fuel: about one unit an instruction, the same on every machine; that of
    /// FILE beside the recorded component's, where that is at hand. Decides everything again once or twice more
    #[arg(long)]
    pub(crate) fuel: bool,

    /// How many of the decisions that come out otherwise are listed
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,

    /// Print what was found as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A component and its cases.
#[derive(Clone, Debug, Args)]
pub(crate) struct OfCases {
    /// The component [default: that of the project in this folder]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// The decision that it is asked for [default: the project's, or the only one that it serves]
    #[arg(long, value_name = "DECISION", value_parser = decisions())]
    pub(crate) policy: Option<Decision>,

    /// The cases: a folder of JSON files, or one of them
    #[arg(long, value_name = "PATH", default_value = "cases")]
    pub(crate) cases: PathBuf,
}

/// `test`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Test {
    #[command(flatten)]
    pub(crate) of: OfCases,

    #[command(flatten)]
    pub(crate) bounds: Bounds,
}

/// `bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) of: OfCases,

    /// How often each case is asked
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) calls: u32,

    #[command(flatten)]
    pub(crate) bounds: Bounds,
}

/// What a plugin may cost.
#[derive(Clone, Debug, Args)]
pub(crate) struct Bounds {
    /// How long an answer may take, in ms; more suits a machine that is slower than the host's [default: as in a
    /// host, 20 for authorize and share, 5 for allocate, 50 for balance]
    #[arg(long, value_name = "MS", value_parser = value_parser!(u64).range(1..=60_000))]
    pub(crate) deadline_ms: Option<u64>,

    /// How much memory an instance may have, in MiB, 1 to 1024; as for a host, `authorize=64` is understood, too
    /// [default: what the project says as `memory-mib`, else 16 as in a host]
    #[arg(long, value_name = "MIB", value_parser = memory)]
    pub(crate) policy_memory: Option<u16>,
}

impl Bounds {
    /// As in a host.
    pub(crate) const fn usual() -> Self {
        Self { deadline_ms: None, policy_memory: None }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline_ms.map(Duration::from_millis)
    }

    pub(crate) fn memory_bytes(&self) -> Option<usize> {
        self.policy_memory.map(|mib| usize::from(mib) << 20)
    }

    /// With the memory that a project asks for, where the command line says nothing else.
    pub(crate) fn or_memory(&self, mib: Option<u16>) -> Self {
        Self { policy_memory: self.policy_memory.or(mib), ..self.clone() }
    }
}

/// `64`, or as a host takes it: `authorize=64`.
fn memory(text: &str) -> Result<u16, String> {
    let number = match text.split_once('=') {
        Some((name, number)) if decision(name).is_ok() => number,
        _ => text,
    };
    let mib = number.parse().ok().filter(|mib| (1..=1_024).contains(mib));
    mib.ok_or_else(|| "it is a number of MiB, 1 to 1024".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Options, memory};
    use clap::CommandFactory as _;

    /// What holds for every command line of this crate.
    pub(crate) fn every_flag_has_help(command: &clap::Command) {
        command.clone().debug_assert();
        for below in command.get_subcommands() {
            assert!(below.get_about().is_some(), "{} has no help", below.get_name());
            for flag in below.get_arguments() {
                assert!(flag.get_help().is_some(), "{} {} has no help", below.get_name(), flag.get_id());
            }
        }
    }

    #[test]
    fn memory_is_a_number_of_mib_with_or_without_a_decision() {
        assert_eq!(memory("64"), Ok(64));
        assert_eq!(memory("authorize=64"), Ok(64));
        for wrong in ["", "0", "1025", "64m", "elsewhere=64", "authorize=", "-1"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn declarations_are_sound_and_every_flag_has_help() {
        every_flag_has_help(&Options::command());
    }
}
