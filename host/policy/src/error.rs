//! Why a policy cannot be put in force: which file, what was wanted, what was found, what to do. Knows nothing of
//! decisions that fail later; those are `types::decision::Failure`.

use tidegate_types::decision::Decision;

/// Why [`crate::Policies::start`] did not.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{origin}: cannot be read ({reason}); give the path of a component file")]
    Unreadable {
        /// Which component.
        origin: String,
        /// What the system said.
        reason: String,
    },
    /// The bytes are something else.
    #[error(
        "{origin}: not a WebAssembly component but {found}; build the plugin for wasm32-unknown-unknown and \
         wrap it with wit-component"
    )]
    NotAComponent {
        /// Which component.
        origin: String,
        /// What it looks like.
        found: String,
    },
    /// It begins like a component, but is none that this host can compile.
    #[error("{origin}: the component is not valid here ({reason}); build it again with the current SDK")]
    Invalid {
        /// Which component.
        origin: String,
        /// What the compiler said.
        reason: String,
    },
    /// Compiling it took longer than anyone waits.
    #[error(
        "{origin}: was not compiled within {seconds} s and was given up; leave out of it what the policy does not \
         need, or try again when the machine is less busy"
    )]
    CompileTime {
        /// Which component.
        origin: String,
        /// How long that was waited for.
        seconds: u64,
    },
    /// One that was given up is still being compiled.
    #[error(
        "{origin}: not compiled, because another component that took too long is still being compiled; try again later"
    )]
    CompilerBusy {
        /// Which component.
        origin: String,
    },
    /// It exports something else than the decision needs.
    #[error(
        "{origin}: given for {}, which needs the export {missing}, but the component exports {exports}; {fix}",
        decision.name()
    )]
    WrongWorld {
        /// Which component.
        origin: String,
        /// What it was given for.
        decision: Decision,
        /// The first interface that it lacks.
        missing: String,
        /// What it exports instead.
        exports: String,
        /// What to do.
        fix: String,
    },
    /// It wants something that policies are not given.
    #[error(
        "{origin}: imports {import}, which is not granted; a policy reaches tidegate:policy's host-log, \
         host-counters, host-store and host-crypto only. Of WASI 0.2 there are stand-ins for cli, clocks, filesystem, \
         io and random, which reach nothing, and none for sockets and http; Rust needs none of it when built for \
         wasm32-unknown-unknown"
    )]
    ImportNotGranted {
        /// Which component.
        origin: String,
        /// The import's name.
        import: String,
    },
    /// It was built against another version of the interface.
    #[error(
        "{origin}: built for tidegate:policy@{found}, but this host offers {offered}; {}",
        "update the older of the two: the host, or the SDK that the plugin is built with"
    )]
    OtherVersion {
        /// Which component.
        origin: String,
        /// The version it names.
        found: String,
        /// The version this host offers.
        offered: &'static str,
    },
    /// It is larger than its instances may be.
    #[error(
        "{origin}: begins with {needed_mib} MiB of memory, and may have {allowed_mib}; allow it more, as \
         `--policy-memory {}={}` (in MiB): each instance can then take as much",
        decision.name(), (needed_mib + needed_mib.div_ceil(2)).next_power_of_two()
    )]
    Memory {
        /// Which component.
        origin: String,
        /// What it was given for.
        decision: Decision,
        /// What it begins with, in MiB.
        needed_mib: u64,
        /// What it may have, in MiB.
        allowed_mib: u64,
    },
    /// It did not survive its first steps.
    #[error("{origin}: failed while it was started ({reason}); its log lines above may say why")]
    Start {
        /// Which component.
        origin: String,
        /// What went wrong.
        reason: String,
    },
    /// The schema that it gives of its configuration is none that this host can hold it to.
    #[error("{origin}: its configuration's schema cannot be used: {}", told(pointer, reason))]
    Schema {
        /// Which component.
        origin: String,
        /// Where in the schema, as a JSON pointer; empty for the whole.
        pointer: String,
        /// What is wrong there, and what to do.
        reason: String,
    },
    /// It does not accept its configuration, or its schema does not.
    #[error("{origin}: does not accept its configuration: {}", list(problems))]
    Configuration {
        /// Which component.
        origin: String,
        /// What is wrong.
        problems: Vec<Problem>,
    },
    /// More policies in one chain than are asked.
    #[error("authorize has {length} policies in a row, at most {most} are asked; they share one deadline")]
    ChainTooLong {
        /// How many it has.
        length: usize,
        /// How many it may have.
        most: usize,
    },
    /// The record cannot be kept.
    #[error(
        "{path}: the record of decisions cannot be written ({reason}); check the folder and its permissions"
    )]
    Record {
        /// Its file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The runtime itself could not be set up.
    #[error("the WebAssembly runtime cannot start ({reason}); it needs address space: lift `ulimit -v`")]
    Runtime {
        /// What it said.
        reason: String,
    },
}

/// One thing that is wrong with a plugin's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a JSON pointer; empty for the whole.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

fn list(problems: &[Problem]) -> String {
    let line = |problem: &Problem| told(&problem.pointer, &problem.message);
    problems.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn told(pointer: &str, message: &str) -> String {
    if pointer.is_empty() { message.to_owned() } else { format!("{pointer}: {message}") }
}
