//! Where a host is, and whose certificate is believed there: what every program shares that speaks to a running host.
//! Knows nothing of what is said over a connection.
//!
//! ```
//! use tidegate_trust::{Target, Trust, client};
//!
//! let target = Target::read("https://127.0.0.1:7000")?;
//! assert!(target.is_secure());
//! assert!(client(&Trust::Anyone).is_ok());
//! # Ok::<(), tidegate_trust::TargetError>(())
//! ```
#![forbid(unsafe_code)]

mod flags;
mod target;
mod tls;

pub use flags::TrustFlags;
pub use rustls;
pub use target::{Target, TargetError};
pub use tls::{TlsError, Trust, client};
