//! Words that every decision uses: refusal, attr, bit rate. Knows nothing of the decisions.

use crate::bindings::host::tidegate::policy::types as wire;

/// A name and a value that this version gives no meaning to: room for what comes later. Ignore unknown ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Name, lower case with hyphens.
    pub name: String,
    /// Value; its form depends on the name.
    pub value: String,
}

/// No, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Short, stable, lower case with hyphens; for programs.
    pub code: String,
    /// One sentence for the person who is refused.
    pub message: String,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
}

impl Refusal {
    /// A refusal with a code (`room-closed`) and a sentence for the person.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), attrs: Vec::new() }
    }

    /// There is no room for more: code `full`.
    #[must_use]
    pub fn full(message: impl Into<String>) -> Self {
        Self::new("full", message)
    }
}

/// A bit rate in kilobits (1,000 bits) per second, as the host counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    /// From kilobits per second.
    #[must_use]
    pub const fn from_kbps(kilobits: u64) -> Self {
        Self(kilobits)
    }

    /// In kilobits per second.
    #[must_use]
    pub const fn kbps(self) -> u64 {
        self.0
    }

    /// Both together; ends at the largest number.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

pub(crate) fn attrs_in(attrs: Vec<wire::Attr>) -> Vec<Attr> {
    attrs.into_iter().map(|attr| Attr { name: attr.name, value: attr.value }).collect()
}

pub(crate) fn attrs_out(attrs: Vec<Attr>) -> Vec<wire::Attr> {
    attrs.into_iter().map(|attr| wire::Attr { name: attr.name, value: attr.value }).collect()
}

impl From<Refusal> for wire::Refusal {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, message: refusal.message, attrs: attrs_out(refusal.attrs) }
    }
}
