//! What an operator chooses about policies. Knows nothing of how a component runs.

use crate::lookups::Lookups;
use crate::native::Native;
use serde_json::Value;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_types::decision::{Decision, OnFailure};

/// The most memory that any instance can be given, in bytes. The address space is reserved anyhow; a lower bound
/// would only keep large plugins out.
pub const LARGEST_MEMORY_BYTES: usize = 1 << 30;

/// The policies of one host, and what they may cost.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// Who may.
    pub authorize: PluginConfig,
    /// Asked after it, in this order, as long as nobody refuses; at most 7. Each sees the same question, and what
    /// all of them allow is allowed.
    pub authorize_next: Vec<PluginConfig>,
    /// Where.
    pub allocate: PluginConfig,
    /// What to change.
    pub balance: PluginConfig,
    /// How a room's pictures divide what its people can receive; `None`: the host's own rule, and nobody is asked.
    pub share: Option<PluginConfig>,
    /// Threads that policies run on. One decision never holds the last free one, so with two a looping plugin
    /// cannot stop the others; with one it can, until its deadline.
    pub threads: usize,
    /// The most questions that wait for one decision; one more is answered `queue-full`.
    pub queue: usize,
    /// How long a caller waits at most, queue included.
    pub deadlines: Deadlines,
    /// What becomes of a question that its policy does not answer.
    pub on_failure: OnFailures,
    /// Who performs what `need` asks for; `None`: there are no lookups.
    pub lookups: Option<Arc<dyn Lookups>>,
    /// The most memory that one instance may have, in bytes, where its [`PluginConfig`] says nothing else. Raising it
    /// raises what a runaway plugin costs: this much for each instance, at most `threads` instances a decision.
    pub memory_bytes: usize,
    /// How long a component may take to compile, until it is given up. The largest guests (those that carry a JavaScript
    /// engine) take most of a minute on a busy machine with two cores.
    pub compile_time: Duration,
    /// An instance is made anew after so many decisions, which bounds slow leaks in plugins.
    pub recycle_calls: u64,
    /// How many of the last decisions are remembered.
    pub records: usize,
    /// Where everything that instances meet is written, so that it can be decided again; `None`: nowhere.
    pub record: Option<RecordTo>,
}

/// Where a record is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordTo {
    /// The file. When it is full it becomes `….1`, in the place of the one before.
    pub path: PathBuf,
    /// What both may hold together, in bytes.
    pub bytes: u64,
    /// Keep tokens and configurations as they are. Without, signatures of tokens, and whole tokens that are not signed,
    /// are replaced, and of configurations only a hash is kept.
    pub secrets: bool,
}

impl PolicyConfig {
    /// The usual bounds around three plugins.
    #[must_use]
    pub const fn new(authorize: PluginConfig, allocate: PluginConfig, balance: PluginConfig) -> Self {
        Self {
            authorize,
            authorize_next: Vec::new(),
            allocate,
            balance,
            share: None,
            threads: 2,
            queue: 1_024,
            deadlines: Deadlines::usual(),
            on_failure: OnFailures::usual(),
            lookups: None,
            memory_bytes: 16 << 20,
            compile_time: Duration::from_secs(600),
            recycle_calls: 1_000_000,
            records: 256,
            record: None,
        }
    }
}

/// How long a caller waits for each decision. Longer ones suit a machine that is slower than its load; the caller
/// waits that much longer for a plugin that hangs.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For authorize.
    pub authorize: Duration,
    /// For allocate.
    pub allocate: Duration,
    /// For balance.
    pub balance: Duration,
    /// For share.
    pub share: Duration,
}

impl Deadlines {
    /// Those of [`Decision::deadline_ms`].
    #[must_use]
    pub const fn usual() -> Self {
        Self {
            authorize: Duration::from_millis(Decision::Authorize.deadline_ms()),
            allocate: Duration::from_millis(Decision::Allocate.deadline_ms()),
            balance: Duration::from_millis(Decision::Balance.deadline_ms()),
            share: Duration::from_millis(Decision::Share.deadline_ms()),
        }
    }

    pub(crate) const fn of(self, decision: Decision) -> Duration {
        match decision {
            Decision::Authorize => self.authorize,
            Decision::Allocate => self.allocate,
            Decision::Balance => self.balance,
            Decision::Share => self.share,
        }
    }
}

/// What becomes of a question that its policy does not answer; only what [`OnFailure::allowed`] lists has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnFailures {
    /// For authorize.
    pub authorize: OnFailure,
    /// For allocate.
    pub allocate: OnFailure,
    /// For balance.
    pub balance: OnFailure,
    /// For share.
    pub share: OnFailure,
}

impl OnFailures {
    /// Authorize refuses, the others leave it to the host's own rule.
    #[must_use]
    pub const fn usual() -> Self {
        Self {
            authorize: OnFailure::Refuse,
            allocate: OnFailure::BuiltIn,
            balance: OnFailure::BuiltIn,
            share: OnFailure::BuiltIn,
        }
    }

    pub(crate) const fn of(self, decision: Decision) -> OnFailure {
        match decision {
            Decision::Authorize => self.authorize,
            Decision::Allocate => self.allocate,
            Decision::Balance => self.balance,
            Decision::Share => self.share,
        }
    }
}

/// One plugin and its configuration.
#[derive(Clone, Debug)]
pub struct PluginConfig {
    /// Where its component comes from.
    pub source: Source,
    /// Handed to its `configure`; `null` where there is none.
    pub configuration: Value,
    /// The most memory that one of its instances may have, in bytes; otherwise that of [`PolicyConfig`]. Plugins that
    /// carry an interpreter need more than others. At most [`LARGEST_MEMORY_BYTES`].
    pub memory_bytes: Option<usize>,
}

impl PluginConfig {
    /// A plugin that takes no configuration.
    #[must_use]
    pub const fn new(source: Source) -> Self {
        Self { source, configuration: Value::Null, memory_bytes: None }
    }
}

/// Where a component comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Built into the host.
    Embedded {
        /// The stock policy's name.
        name: &'static str,
        /// The component.
        bytes: Cow<'static, [u8]>,
    },
    /// A file.
    Path(PathBuf),
    /// No component: native code, which takes no configuration.
    Native(Native),
}

impl Source {
    /// `stock`, the path or `native`, as operators are told.
    #[must_use]
    pub fn origin(&self) -> String {
        match self {
            Self::Embedded { .. } => "stock".into(),
            Self::Path(path) => path.display().to_string(),
            Self::Native(_) => "native".into(),
        }
    }

    /// What logs and errors call the plugin: the stock or native name, or the path.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Embedded { name, .. } => (*name).into(),
            Self::Path(path) => path.display().to_string(),
            Self::Native(native) => native.name().into(),
        }
    }
}
