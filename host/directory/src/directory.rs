//! The directory itself: its tables, and which input goes to which part. Knows nothing of how any part decides.

use crate::config::{DirectoryConfig, ShardSeed};
use crate::metrics::DirectoryMetrics;
use std::collections::VecDeque;
use std::time::Instant;
use tidegate_types::command::{Command, CommandReply};
use tidegate_types::decision::{Answer, ToPolicy};
use tidegate_types::report::Report;
use tidegate_types::request::{ClientId, Notice, Reply, Request};
use tidegate_types::{Now, Place};

/// What goes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// A front door asks.
    Request(Request),
    /// A client is gone for good: its presence ends, open requests are forgotten.
    ClientGone(ClientId),
    /// A policy answered, or failed.
    Answer(Answer),
    /// A place tells.
    Report(Place, Report),
    /// A place answered a command.
    CommandReply(Place, CommandReply),
    /// The time of [`Directory::next_timeout`] has come.
    Tick,
    /// A place takes nothing new (true), or takes again.
    Drain {
        /// Which.
        place: Place,
        /// Nothing new.
        draining: bool,
    },
    /// The shards that exist from now on. What stood at places that are gone ends.
    Shards(Vec<ShardSeed>),
    /// The host stops: everyone's presence ends with this code and sentence, and nobody enters any more.
    Stop {
        /// Short, stable, lower case with hyphens.
        code: String,
        /// One sentence for people.
        message: String,
    },
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To a front door, in answer.
    Reply(Reply),
    /// To a front door, unasked.
    Notice(Notice),
    /// To the policies, in this order.
    Policy(ToPolicy),
    /// To a place.
    Command(Place, Command),
}

/// What exists and where.
#[derive(Debug)]
pub struct Directory {
    config: DirectoryConfig,
    outputs: VecDeque<Output>,
    now: Now,
}

impl Directory {
    /// An empty directory over the configured shards. Its first output is the policies' first feed.
    #[must_use]
    pub fn new(config: DirectoryConfig, now: Now) -> Self {
        Self { config, outputs: VecDeque::new(), now }
    }

    /// Takes one input. Every output is to be taken with [`Directory::poll`] before the next.
    pub fn handle(&mut self, now: Now, _input: Input) {
        self.now = now;
        let _ = &self.config;
    }

    /// The next output; `None` when all are taken.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due, if nothing comes before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Counts.
    #[must_use]
    pub fn metrics(&self) -> DirectoryMetrics {
        DirectoryMetrics::default()
    }
}
