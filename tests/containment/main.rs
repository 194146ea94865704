//! A plugin cannot hurt a call: hostile components in a running host, beside a call of two real WebRTC peers, and the
//! example plugin as its README builds it. Knows nothing of the host but its command and its session protocol.
//!
//! `TIDEGATE_CONTAINMENT_S` is how many seconds each misdeed is kept up (default 3).
#![forbid(unsafe_code)]
#![allow(missing_docs, unreachable_pub)]
#![cfg(target_os = "linux")]

mod call;
mod crowd;
mod example;
mod host;
mod misfits;
mod peer;
mod plugins;
mod session;
mod spared;
