//! What each function of WASI is answered. Knows nothing of stores and linkers: an answer follows from the question,
//! its parameters and the moment.

use tidegate_types::decision::Moment;
use wasmtime::component::{Type, Val};

/// The most chance that one call gives, in bytes: a host function cannot be interrupted.
const RANDOM_BYTES: u64 = 64 << 10;
/// What standard error takes at once, in bytes; the log cuts a line far below that.
const WRITABLE_BYTES: u64 = 4_096;
const NANOSECONDS: u64 = 1_000_000;

/// The resources of WASI. None of them holds anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    Error,
    Input,
    Output,
    Pollable,
    /// Files, folders and terminals, of which there are none.
    Missing,
}

impl Kind {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "error" => Self::Error,
            "input-stream" => Self::Input,
            "output-stream" => Self::Output,
            "pollable" => Self::Pollable,
            _ => Self::Missing,
        }
    }
}

/// One function: its interface without the version, and its name.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    interface: String,
    function: String,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}#{}", self.interface, self.function)
    }
}

/// What comes back.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Value(Val),
    /// A new resource.
    Own(Kind),
    /// The same as a value, and text for the log, which may be a part of a line.
    Said(String, Val),
    /// Nothing: the call ends the guest.
    Refused,
}

impl Asked {
    pub(super) fn new(import: &str, function: &str) -> Self {
        let interface = import.split_once('@').map_or(import, |(interface, _)| interface);
        Self { interface: interface.into(), function: function.into() }
    }

    pub(super) fn answer(&self, moment: Moment, parameters: &[Val], result: Option<Type>) -> Reply {
        match self.interface.as_str() {
            "wasi:clocks/monotonic-clock" => self.monotonic_clock(moment),
            "wasi:clocks/wall-clock" => self.wall_clock(moment),
            "wasi:random/random" | "wasi:random/insecure" => self.random(moment, parameters),
            "wasi:random/insecure-seed" => {
                let mut chance = Chance(moment.seed);
                Reply::Value(Val::Tuple(vec![Val::U64(chance.next()), Val::U64(chance.next())]))
            }
            "wasi:cli/environment" => self.environment(),
            "wasi:cli/stdin" => Reply::Own(Kind::Input),
            "wasi:cli/stdout" | "wasi:cli/stderr" => Reply::Own(Kind::Output),
            "wasi:cli/terminal-stdin" | "wasi:cli/terminal-stdout" | "wasi:cli/terminal-stderr" => nothing(),
            "wasi:io/streams" => self.streams(parameters, result),
            "wasi:io/poll" => self.poll(parameters),
            "wasi:filesystem/preopens" => Reply::Value(Val::List(Vec::new())),
            "wasi:filesystem/types" if self.function == "filesystem-error-code" => nothing(),
            // Files are refused as such; what cannot be refused by an answer (`exit`) ends the guest.
            _ => refusal(result),
        }
    }

    /// It stands still while a question is decided. What waits for it is ready at once.
    fn monotonic_clock(&self, moment: Moment) -> Reply {
        match self.function.as_str() {
            // Go's runtime does not start at zero.
            "now" => Reply::Value(Val::U64(moment.unix_ms.saturating_mul(NANOSECONDS).max(1))),
            "resolution" => Reply::Value(Val::U64(NANOSECONDS)),
            _ => Reply::Own(Kind::Pollable),
        }
    }

    fn wall_clock(&self, moment: Moment) -> Reply {
        let milliseconds = if self.function == "now" { moment.unix_ms } else { 1 };
        let nanoseconds = u32::try_from(milliseconds % 1_000 * NANOSECONDS).unwrap_or(0);
        Reply::Value(Val::Record(vec![
            ("seconds".into(), Val::U64(milliseconds / 1_000)),
            ("nanoseconds".into(), Val::U32(nanoseconds)),
        ]))
    }

    fn random(&self, moment: Moment, parameters: &[Val]) -> Reply {
        let mut chance = Chance(moment.seed);
        match parameters {
            [Val::U64(length)] if *length <= RANDOM_BYTES => {
                Reply::Value(Val::List((0..*length).map(|_| Val::U8(chance.byte())).collect()))
            }
            [] => Reply::Value(Val::U64(chance.next())),
            _ => Reply::Refused,
        }
    }

    fn environment(&self) -> Reply {
        match self.function.as_str() {
            "initial-cwd" => nothing(),
            _ => Reply::Value(Val::List(Vec::new())),
        }
    }

    /// What is written goes to the log, whichever stream it is written to; reading finds the end at once.
    fn streams(&self, parameters: &[Val], result: Option<Type>) -> Reply {
        let done = || Val::Result(Ok(None));
        match self.function.as_str() {
            "[method]output-stream.check-write" => {
                Reply::Value(Val::Result(Ok(Some(Box::new(Val::U64(WRITABLE_BYTES))))))
            }
            "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
                match written(parameters) {
                    Some(text) => Reply::Said(text, done()),
                    None => Reply::Refused,
                }
            }
            "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => Reply::Value(done()),
            "[method]output-stream.subscribe" | "[method]input-stream.subscribe" => {
                Reply::Own(Kind::Pollable)
            }
            _ => refusal(result),
        }
    }

    /// Nothing is ever waited for.
    fn poll(&self, parameters: &[Val]) -> Reply {
        match (self.function.as_str(), parameters) {
            ("poll", [Val::List(pollables)]) => {
                let all = (0..).take(pollables.len()).map(Val::U32);
                Reply::Value(Val::List(all.collect()))
            }
            ("[method]pollable.ready", _) => Reply::Value(Val::Bool(true)),
            // There is no value to give; the caller takes none.
            ("[method]pollable.block", _) => Reply::Value(Val::Bool(true)),
            _ => Reply::Refused,
        }
    }
}

fn nothing() -> Reply {
    Reply::Value(Val::Option(None))
}

/// The bytes of a write, as text.
fn written(parameters: &[Val]) -> Option<String> {
    let [_, Val::List(bytes)] = parameters else { return None };
    let byte = |value: &Val| if let Val::U8(byte) = value { Some(*byte) } else { None };
    let bytes: Option<Vec<u8>> = bytes.iter().map(byte).collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
}

/// The error of a function that can fail: a stream is at its end, a file is not permitted.
fn refusal(result: Option<Type>) -> Reply {
    let Some(Type::Result(result)) = result else { return Reply::Refused };
    let error = match result.err() {
        None => None,
        Some(Type::Enum(codes)) if codes.names().any(|name| name == "not-permitted") => {
            Some(Box::new(Val::Enum("not-permitted".into())))
        }
        Some(Type::Variant(codes)) if codes.cases().any(|case| case.name == "closed") => {
            Some(Box::new(Val::Variant("closed".into(), None)))
        }
        Some(_) => return Reply::Refused,
    };
    Reply::Value(Val::Result(Err(error)))
}

/// Numbers that follow from a seed (SplitMix64, Steele and others, 2014). Not for secrets.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
