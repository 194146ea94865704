//! What people are told when a request isn't done: codes and sentences. Knows nothing of how it came to that.

use tidegate_types::command::CommandError;
use tidegate_types::decision::{Failure, Refusal};
use tidegate_types::request::{ErrorKind, RequestError};

/// Why a command wasn't done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandFailure {
    /// The place said no.
    #[error(transparent)]
    Said(#[from] CommandError),
    /// The place said nothing in time, or is gone.
    #[error("the place did not answer")]
    Silent,
    /// The place answered something else than was asked.
    #[error("the place answered something else")]
    Mistaken,
}

impl From<CommandFailure> for RequestError {
    fn from(failure: CommandFailure) -> Self {
        let message = format!("The host could not do this: {failure}.");
        match failure {
            CommandFailure::Said(
                CommandError::NoTransport(_)
                | CommandError::NoProducer(_)
                | CommandError::NoConsumer(_)
                | CommandError::NoRelay(_),
            ) => Self::new(ErrorKind::Missing, "gone", message),
            CommandFailure::Said(CommandError::Taken(_)) => Self::new(ErrorKind::Unfit, "taken", message),
            CommandFailure::Said(CommandError::Unfit(_)) => {
                Self::new(ErrorKind::Unfit, "unfit-parameters", message)
            }
            CommandFailure::Said(CommandError::Full(_)) => Self::new(ErrorKind::Full, "place-full", message),
            CommandFailure::Silent => Self::new(ErrorKind::Failed, "place-silent", message),
            CommandFailure::Mistaken => Self::new(ErrorKind::Failed, "place-mistaken", message),
        }
    }
}

pub(crate) fn refused(code: &str, message: &str) -> RequestError {
    RequestError::new(ErrorKind::Refused, code, message)
}

/// A policy's own no.
pub(crate) fn by_policy(kind: ErrorKind, refusal: Refusal) -> RequestError {
    RequestError::new(kind, refusal.code, refusal.message)
}

pub(crate) fn missing(code: &str, message: &str) -> RequestError {
    RequestError::new(ErrorKind::Missing, code, message)
}

pub(crate) fn unfit(code: &str, message: impl Into<String>) -> RequestError {
    RequestError::new(ErrorKind::Unfit, code, message)
}

/// A bound is reached; `what` names it.
pub(crate) fn full(what: &str, bound: usize) -> RequestError {
    let code = format!("full-{}", what.replace(' ', "-"));
    let message = format!("There is no room for more {what}: the bound is {bound}.");
    RequestError::new(ErrorKind::Full, code, message)
}

/// Authorize gave no answer, and then nobody is let in.
pub(crate) fn undecided(failure: Failure) -> RequestError {
    let code = format!("authorize-{}", failure.name());
    let message = "Whether you may do this could not be decided just now; please try again.";
    RequestError::new(ErrorKind::Failed, code, message)
}

pub(crate) fn no_transport() -> RequestError {
    missing("no-transport", "This connection does not exist (any more).")
}

pub(crate) fn no_track() -> RequestError {
    missing("no-track", "This track does not exist (any more).")
}

pub(crate) fn no_consumer() -> RequestError {
    missing("no-consumer", "This track is not being received (any more).")
}

pub(crate) fn no_person() -> RequestError {
    missing("no-person", "You are not in a room (any more).")
}
