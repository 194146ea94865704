//! From bytes to machine code, beside everything else that the host does and not for ever. Knows nothing of what the
//! component is for.

use crate::error::LoadError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;
use wasmtime::Engine;
use wasmtime::component::Component;

/// How far compiling gives way to those who forward packets and decide.
const COMPILER_NICE: i32 = 10;

/// Compiles one component at a time.
pub(crate) struct Compiler {
    engine: Engine,
    /// How long whoever wants a component waits for it.
    patience: Duration,
    /// Nothing ends a compiler that has begun: one that was given up compiles to its end, and until then no other begins.
    busy: Arc<AtomicBool>,
}

impl Compiler {
    pub(crate) fn new(engine: Engine, patience: Duration) -> Self {
        Self { engine, patience, busy: Arc::default() }
    }

    /// Compiles, on a thread that gives way to everyone: a component may come while calls go on. The compiler's own
    /// threads are started by the first that compiles, and take over its priority.
    ///
    /// # Errors
    /// What the bytes are instead; that it takes too long, or that another one does.
    pub(crate) fn compile(&self, origin: &str, bytes: &Arc<[u8]>) -> Result<Component, LoadError> {
        if let Some(found) = not_a_component(bytes) {
            return Err(LoadError::NotAComponent { origin: origin.into(), found });
        }
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(LoadError::CompilerBusy { origin: origin.into() });
        }
        let (engine, bytes, busy) = (self.engine.clone(), bytes.clone(), Busy(self.busy.clone()));
        let (done, compiled) = sync_channel(1);
        let body = move || {
            // Without the right to it, it compiles at the host's own priority.
            let _ = rustix::process::setpriority_process(None, COMPILER_NICE);
            let component = Component::from_binary(&engine, &bytes);
            drop(busy);
            // Nobody waits any more where it took too long.
            let _ = done.send(component);
        };
        let spawned = std::thread::Builder::new().name("policy-compile".into()).spawn(body);
        spawned.map_err(|error| LoadError::Runtime { reason: error.to_string() })?;
        let origin = || origin.to_owned();
        match wait(&compiled, self.patience) {
            Ok(Ok(component)) => Ok(component),
            Ok(Err(error)) => Err(LoadError::Invalid { origin: origin(), reason: one_line(&error) }),
            Err(RecvTimeoutError::Timeout) => {
                Err(LoadError::CompileTime { origin: origin(), seconds: self.patience.as_secs() })
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(LoadError::Invalid { origin: origin(), reason: "the compiler failed".into() })
            }
        }
    }
}

/// Second by second: one in which the whole process was stopped does not count as more than one.
fn wait<T>(compiled: &Receiver<T>, patience: Duration) -> Result<T, RecvTimeoutError> {
    let mut left = patience;
    while !left.is_zero() {
        let turn = left.min(Duration::from_secs(1));
        match compiled.recv_timeout(turn) {
            Err(RecvTimeoutError::Timeout) => left -= turn,
            came => return came,
        }
    }
    Err(RecvTimeoutError::Timeout)
}

/// Ends with the compiler's work, also where it panics.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What wasmtime has to say, without line breaks.
pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the bytes are, if they are no component: the first eight tell.
fn not_a_component(bytes: &[u8]) -> Option<String> {
    match bytes {
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => None,
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            Some("a core WebAssembly module (the step that wraps it is missing)".into())
        }
        [b'\0', b'a', b's', b'm', ..] => Some("WebAssembly of a version that is not known here".into()),
        [] => Some("an empty file".into()),
        _ => Some(format!(
            "a file that begins with {:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(8)])
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::Compiler;
    use crate::error::LoadError;
    use std::fmt::Write as _;
    use std::sync::Arc;
    use std::time::Duration;
    use wasmtime::Engine;

    /// A component that takes some time to compile.
    fn long() -> Arc<[u8]> {
        let mut text = String::from("(component (core module ");
        for _ in 0..200 {
            text += "(func (param i64) (result i64) (local.get 0) ";
            (0..500_u32).for_each(|number| {
                write!(text, "(i64.const {number}) (i64.mul) (local.get 0) (i64.xor) ").expect("text");
            });
            text += ")";
        }
        wat::parse_str(text + "))").expect("a component").into()
    }

    #[test]
    fn one_that_takes_too_long_is_given_up_and_no_other_begins_before_its_end() {
        let (engine, long) = (Engine::default(), long());
        let hasty = Compiler::new(engine, Duration::ZERO);
        assert!(matches!(hasty.compile("long", &long), Err(LoadError::CompileTime { .. })));
        let patient = Compiler { patience: Duration::from_secs(600), ..hasty };
        while let Err(error) = patient.compile("long", &long) {
            assert!(matches!(error, LoadError::CompilerBusy { .. }), "{error}");
            std::thread::yield_now();
        }
    }
}
