//! All shards of a node: made, started, spoken to, counted and stopped together. Knows nothing of what commands
//! mean.

use crate::bell::Bell;
use crate::bind::{Bound, bind};
use crate::config::{ShardsConfig, StartError};
use crate::counters::{Counters, ShardCounters};
use crate::ring::{Rings, mesh};
use crate::socket::{MAY_JOIN, Port};
use crate::turn::{Flow, ShardLoop};
use mio::Poll;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tidegate_media::Engine;
use tidegate_types::command::{Command, CommandReply};
use tidegate_types::report::Report;
use tidegate_types::transport::Candidate;
use tidegate_types::{Place, ShardIndex};

/// What a shard says to the node.
#[derive(Debug)]
pub enum FromShard {
    /// The answer to a command.
    Reply(CommandReply),
    /// Something unasked.
    Report(Report),
}

/// Where shards say it. Called on a shard's own thread, so it must return at once: it may queue, never wait.
pub type Sink = Arc<dyn Fn(Place, FromShard) + Send + Sync>;

/// What an engine is made from.
#[derive(Clone, Debug)]
pub struct ShardSetup {
    /// The place that it serves.
    pub place: Place,
    /// What its transports announce.
    pub candidates: Vec<Candidate>,
}

/// Everything that one shard's loop is made of but its engine; bound, and ready to go to its thread.
pub struct Seat {
    pub(crate) setup: ShardSetup,
    /// The whole node's, and which of them are this shard's own.
    pub(crate) sockets: Arc<[Port]>,
    pub(crate) own_sockets: Range<usize>,
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) poll: Poll,
    pub(crate) bell: Arc<Bell>,
    pub(crate) rings: Rings,
    pub(crate) commands: Receiver<Command>,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) sink: Sink,
}

impl Seat {
    /// What its engine is made from.
    #[must_use]
    pub fn setup(&self) -> &ShardSetup {
        &self.setup
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Seat").field("setup", &self.setup).finish_non_exhaustive()
    }
}

/// The node's hold on its shards. Dropping it tells them to stop and does not wait.
pub struct Shards {
    desks: Vec<Desk>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Each thread says its place here when it has ended, however it ended. (Locked only so that `Shards` can be
    /// shared among threads.)
    ended: Option<Mutex<Receiver<Place>>>,
}

/// One shard, as the node sees it.
struct Desk {
    setup: ShardSetup,
    commands: SyncSender<Command>,
    bell: Arc<Bell>,
    counters: Arc<Counters>,
}

/// Why a command did not reach its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// As many wait as may wait.
    #[error("{0} has too many commands waiting")]
    Full(Place),
    /// No such shard.
    #[error("{0} is not a place of this node")]
    Unknown(Place),
    /// Its loop has ended.
    #[error("{0} has stopped")]
    Stopped(Place),
}

/// Binds everything and joins the rings, starts no thread: for a test or a bench that drives [`ShardLoop`]s itself.
/// `Shards` works the same, but [`Shards::stop`] has nothing to wait for.
///
/// # Errors
/// Whatever [`StartError`] names; nothing stays bound then.
#[expect(clippy::needless_pass_by_value, reason = "a handle is given away, as to `start`")]
pub fn prepare(config: &ShardsConfig, sink: Sink) -> Result<(Shards, Vec<Seat>), StartError> {
    let bound = bind(config)?;
    let polls: Vec<Poll> =
        bound.iter().map(|_| Poll::new()).collect::<Result<_, _>>().map_err(StartError::Thread)?;
    let bells: Vec<Arc<Bell>> = polls
        .iter()
        .map(|poll| Bell::new(poll).map(Arc::new))
        .collect::<Result<_, _>>()
        .map_err(StartError::Thread)?;
    let rings = mesh(config.node, &bells, config.ring_slots);
    let stopping = Arc::new(AtomicBool::new(false));
    let mut desks = Vec::new();
    let mut seats = Vec::new();
    let (sockets, bound) = pool(bound, config);
    for ((((shard, bound), poll), bell), rings) in (0..).zip(bound).zip(polls).zip(bells).zip(rings) {
        let ((own_sockets, listeners, candidates), sockets) = (bound, Arc::clone(&sockets));
        let setup = ShardSetup { place: Place { node: config.node, shard: ShardIndex(shard) }, candidates };
        let (sender, commands) = sync_channel(config.command_slots.max(1));
        let counters = Arc::new(Counters::default());
        desks.push(Desk {
            setup: setup.clone(),
            commands: sender,
            bell: Arc::clone(&bell),
            counters: Arc::clone(&counters),
        });
        let (stopping, sink) = (Arc::clone(&stopping), Arc::clone(&sink));
        seats.push(Seat {
            setup,
            sockets,
            own_sockets,
            listeners,
            poll,
            bell,
            rings,
            commands,
            stopping,
            counters,
            sink,
        });
    }
    Ok((Shards { desks, stopping, threads: Vec::new(), ended: None }, seats))
}

/// What one shard has to itself: which of the node's sockets, its listeners, and what its transports announce.
type Own = (Range<usize>, Vec<TcpListener>, Vec<Candidate>);

/// All sockets of the node, shard by shard, and for each shard which are its own and what it announces.
fn pool(bound: Vec<Bound>, config: &ShardsConfig) -> (Arc<[Port]>, Vec<Own>) {
    // Behind one port the kernel spreads flows over all of its sockets: none of them may take what it likes.
    let most = if MAY_JOIN && !config.single_port { config.connected_sockets } else { 0 };
    let mut sockets = Vec::new();
    let shards = bound.into_iter().map(|bound| {
        let first = sockets.len();
        sockets.extend(bound.sockets.into_iter().map(|socket| Port::new(socket, most)));
        (first..sockets.len(), bound.listeners, bound.candidates)
    });
    let shards = shards.collect();
    (sockets.into(), shards)
}

/// Starts all shards, each on a thread of its own; `make_engine` is called once on each. All of them are running when
/// it returns.
///
/// # Errors
/// Whatever [`StartError`] names; nothing runs or stays bound then.
pub fn start(
    config: &ShardsConfig,
    make_engine: impl Fn(ShardSetup) -> Engine + Send + Sync + 'static,
    sink: Sink,
) -> Result<Shards, StartError> {
    let (mut shards, seats) = prepare(config, sink)?;
    let (say_ended, ended) = channel();
    shards.ended = Some(Mutex::new(ended));
    let (say_seated, seated) = channel();
    let count = seats.len();
    let make_engine = Arc::new(make_engine);
    let pin = config.pin && enough_cores(count);
    for (core, seat) in seats.into_iter().enumerate() {
        let ending = Ending {
            place: seat.setup.place,
            counters: Arc::clone(&seat.counters),
            say_ended: say_ended.clone(),
        };
        let (make_engine, say_seated) = (Arc::clone(&make_engine), say_seated.clone());
        let thread = Builder::new().name(format!("shard-{core}")).spawn(move || {
            let _ending = ending;
            if pin {
                pin_this_thread(core);
            }
            let engine = make_engine(seat.setup.clone());
            run(seat, engine, say_seated);
        });
        // On an error the drop of `shards` stops those that already run.
        shards.threads.push(thread.map_err(StartError::Thread)?);
    }
    drop(say_seated);
    for _ in 0..count {
        // A thread that ends without a word has panicked, and said so on its own.
        let word = seated
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("a shard's thread ended while it started")));
        word.map_err(StartError::Thread)?;
    }
    Ok(shards)
}

/// Says that a thread has ended, also if it panicked.
struct Ending {
    place: Place,
    counters: Arc<Counters>,
    say_ended: Sender<Place>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.counters.running.store(false, Ordering::Relaxed);
        // Nobody listens once the node no longer waits.
        let _ = self.say_ended.send(self.place);
    }
}

/// Threads that forward packets come before everything else, where the system permits that to the host.
#[cfg(target_os = "linux")]
const NICE: i32 = -10;

/// The turns of one shard, once it has said that it has its seat or why not.
fn run(seat: Seat, engine: Engine, say_seated: Sender<io::Result<()>>) {
    let place = seat.setup.place;
    #[cfg(target_os = "linux")]
    if rustix::process::setpriority_process(None, NICE).is_err() {
        tracing::debug!(%place, "not permitted to run before other programs");
    }
    let (shard, word) = match ShardLoop::new(seat, engine) {
        Ok(shard) => (Some(shard), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Nobody listens where an earlier shard did not start; this one is told to stop then.
    let _ = say_seated.send(word);
    drop(say_seated);
    let Some(mut shard) = shard else { return };
    while shard.turn(None) == Flow::Goes {}
}

fn enough_cores(threads: usize) -> bool {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores < threads {
        tracing::warn!(cores, threads, "fewer cores than shards: not binding threads to cores");
    }
    cores >= threads
}

fn pin_this_thread(core: usize) {
    if let Err(error) = crate::socket::pin_to_core(core) {
        tracing::warn!(core, %error, "a shard's thread stays unbound");
    }
}

impl Shards {
    /// All places, in order.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.desks.iter().map(|desk| desk.setup.place)
    }

    /// Where peers reach a place; empty for a place of another node.
    #[must_use]
    pub fn candidates(&self, place: Place) -> &[Candidate] {
        self.desk(place).map_or(&[], |desk| &desk.setup.candidates)
    }

    /// Queues a command and wakes the shard if it sleeps. Commands of one caller to one place apply in order.
    ///
    /// # Errors
    /// [`QueueError`]; the command is gone then, and may be made again.
    pub fn command(&self, place: Place, command: Command) -> Result<(), QueueError> {
        let desk = self.desk(place).ok_or(QueueError::Unknown(place))?;
        desk.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => QueueError::Full(place),
            TrySendError::Disconnected(_) => QueueError::Stopped(place),
        })?;
        desk.bell.ring();
        Ok(())
    }

    /// Each shard's counters, now.
    #[must_use]
    pub fn counters(&self) -> Vec<ShardCounters> {
        self.desks
            .iter()
            .map(|desk| desk.counters.snapshot(desk.setup.place, desk.bell.wakes.get()))
            .collect()
    }

    /// Has every shard finish its queued commands, send what is due and end, and waits up to `deadline` for that.
    /// Says who did not; what is still open there closes with the process. Transports' peers are told only by
    /// commands queued before this.
    #[must_use]
    pub fn stop(mut self, deadline: Duration) -> Vec<Place> {
        self.tell_to_stop();
        let Some(ended) = self.ended.take().and_then(|ended| ended.into_inner().ok()) else {
            return Vec::new();
        };
        let until = Instant::now() + deadline;
        let mut running: Vec<Place> = self.places().collect();
        while !running.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(place) = ended.recv_timeout(left) else { return running };
            running.retain(|&other| other != place);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard's thread had panicked");
            }
        }
        running
    }

    fn tell_to_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.desks.iter().for_each(|desk| desk.bell.ring());
    }

    fn desk(&self, place: Place) -> Option<&Desk> {
        self.desks.get(usize::from(place.shard.0)).filter(|desk| desk.setup.place == place)
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.places()).finish()
    }
}
