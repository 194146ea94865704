//! The directory's task: everything said to it goes in one at a time, everything it says goes where it belongs.
//! Knows nothing of what is said.
//!
//! ```text
//!  control ── requests ──┐                              ┌─> replies, notices ─> control
//!   shards ── replies ───┤ letters                      ├─> commands ─────────> shards
//! policies ── answers ───┴────────> Directory (one) ────┴─> feed, questions ──> policies
//! ```

use crate::clock::now;
use crate::mailbox::Letter;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_control::{Control, FromDirectory, ToDirectory};
use tidegate_directory::{Directory, DirectoryMetrics, Input, Output};
use tidegate_policy::Policies;
use tidegate_shard::{FromShard, Shards};
use tidegate_types::Place;
use tidegate_types::command::{Command, CommandError, CommandReply};
use tidegate_types::decision::Decision;
use tidegate_types::request::HOST_STOPPING;
use tokio::sync::{mpsc, oneshot};

/// How often the directory's counts are shown; shorter costs a lock for each input.
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// The directory's counts, and when they were true.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) metrics: DirectoryMetrics,
    pub(crate) at: Instant,
}

/// Where the counts are shown to whoever serves metrics.
#[derive(Clone)]
pub(crate) struct Board(Arc<Mutex<Shown>>);

impl Board {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Shown { metrics: DirectoryMetrics::default(), at: Instant::now() })))
    }

    pub(crate) fn read(&self) -> Shown {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shown: Shown) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

/// The directory, and whom it talks with.
pub(crate) struct Office {
    pub(crate) directory: Directory,
    pub(crate) requests: mpsc::Receiver<ToDirectory>,
    pub(crate) letters: mpsc::Receiver<Letter>,
    pub(crate) shards: Arc<Shards>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) control: Arc<Control>,
    pub(crate) board: Board,
}

impl Office {
    /// Serves until `stop` comes (or its sender is gone), then tells everyone inside.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<String>) {
        self.drain();
        let message = loop {
            let due = self.directory.next_timeout();
            tokio::select! {
                message = &mut stop => break message.unwrap_or_else(|_| "the host stops".to_owned()),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    self.handle(Input::Tick);
                }
                Some(letter) = self.letters.recv() => self.open(letter),
                Some(request) = self.requests.recv() => self.ask(request),
            }
        };
        self.handle(Input::Stop { code: HOST_STOPPING.to_owned(), message });
    }

    fn open(&mut self, letter: Letter) {
        self.handle(match letter {
            Letter::Shard(place, FromShard::Reply(reply)) => Input::CommandReply(place, reply),
            Letter::Shard(place, FromShard::Report(report)) => Input::Report(place, report),
            Letter::Answer(answer) => Input::Answer(answer),
            Letter::PoliciesChanged => Input::Share(self.policies.decides(Decision::Share)),
        });
    }

    fn ask(&mut self, request: ToDirectory) {
        self.handle(match request {
            ToDirectory::Request(request) => Input::Request(request),
            ToDirectory::ClientGone(client) => Input::ClientGone(client),
        });
    }

    /// One input, with all that follows from it.
    fn handle(&mut self, input: Input) {
        self.directory.handle(now(), input);
        self.drain();
        if self.board.read().at.elapsed() >= SHOWN_EVERY {
            self.board.write(Shown { metrics: self.directory.metrics(), at: Instant::now() });
        }
    }

    /// Carries every output to where it belongs. A command that a shard has no room for is answered at once, and
    /// what follows from that is carried too.
    fn drain(&mut self) {
        let mut refused = VecDeque::new();
        loop {
            while let Some(output) = self.directory.poll() {
                match output {
                    Output::Reply(reply) => self.control.deliver(FromDirectory::Reply(reply)),
                    Output::Notice(notice) => self.control.deliver(FromDirectory::Notice(notice)),
                    Output::Policy(said) => self.policies.send(said),
                    Output::Command(place, command) => refused.extend(self.command(place, command)),
                }
            }
            let Some((place, reply)) = refused.pop_front() else { return };
            self.directory.handle(now(), Input::CommandReply(place, reply));
        }
    }

    /// Gives a shard its command; the answer where it cannot be given.
    fn command(&self, place: Place, command: Command) -> Option<(Place, CommandReply)> {
        let request = command.request;
        let error = self.shards.command(place, command).err()?;
        tracing::warn!(%place, %request, %error, "a command did not reach its shard");
        Some((place, CommandReply { request, result: Err(CommandError::Full(error.to_string())) }))
    }
}
