//! Lines in the host's log. Knows nothing of levels that are switched off: the host filters.
//!
//! A line is cut at 1,024 bytes; a policy that writes too many loses some, and the log says how many.

use std::fmt::Arguments;

/// Writes a line at a level (`error`, `warn`, `info`, `debug`, `trace`).
#[cfg(target_arch = "wasm32")]
pub fn write(level: &str, message: Arguments<'_>) {
    crate::bindings::host::tidegate::policy::host_log::log(level, &message.to_string());
}

/// Writes a line at a level (`error`, `warn`, `info`, `debug`, `trace`) to standard error.
#[cfg(not(target_arch = "wasm32"))]
pub fn write(level: &str, message: Arguments<'_>) {
    eprintln!("{level}: {message}");
}

/// Something failed.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log::write("error", ::std::format_args!($($message)+)) };
}

/// Something may fail soon.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log::write("warn", ::std::format_args!($($message)+)) };
}

/// Something an operator wants to know.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log::write("info", ::std::format_args!($($message)+)) };
}

/// Something the author of the policy wants to know.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log::write("debug", ::std::format_args!($($message)+)) };
}
