//! The loop of one shard, a turn at a time: sleep until something is there, then drain everything that is. Knows
//! nothing of threads, or of what goes through it.

use crate::bell::Bell;
use crate::counters::Counters;
use crate::load::LoadMeter;
use crate::ring::{Passed, Rings};
use crate::send::{Meter, Sender};
use crate::shards::{FromShard, Seat, Sink};
use crate::socket::{Sockets, cpu_time};
use crate::stream::Streams;
use mio::{Events, Poll};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};
use tidegate_media::io::{Crossing, Incoming};
use tidegate_media::shed::{Level, TICK};
use tidegate_media::{Engine, EngineCounters};
use tidegate_types::command::Command;
use tidegate_types::report::{LoadReport, Report};
use tidegate_types::{Now, NtpTime, Place};

/// Commands handled in one turn; the others wait for the next, so that media does not wait for them.
const TURN_COMMANDS: usize = 64;
/// Crossings taken from one ring in one turn.
const TURN_CROSSINGS: usize = 256;
/// Batches read from one socket in one turn.
const TURN_RECEIVES: usize = 8;
/// Datagrams that one read brings, unless some of them were merged.
const BATCH_DATAGRAMS: usize = 32;
/// Output beyond this is sent before the next input. Turning it up makes longer runs, a larger arena and longer delays
/// for the first of them.
const OUTPUT_DATAGRAMS: usize = 2_048;
/// How often a load report is made.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How soon a full ring is tried again.
const RING_RETRY: Duration = Duration::from_millis(1);
/// What a datagram takes of the kernel's memory besides its bytes, about.
const DATAGRAM_MEMORY: u64 = 768;
/// Readiness events of one poll; the others come with the next.
const POLL_EVENTS: usize = 64;

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Another turn, please.
    Goes,
    /// Told to stop; everything queued before has been done.
    Ends,
}

/// One shard's loop.
pub struct ShardLoop {
    place: Place,
    engine: Engine,
    sockets: Sockets,
    sender: Sender,
    rings: Rings,
    commands: Receiver<Command>,
    /// Found when the loop looked a last time before it slept.
    next_command: Option<Command>,
    poll: Poll,
    events: Events,
    bell: Arc<Bell>,
    stopping: Arc<AtomicBool>,
    sink: Sink,
    counters: Arc<Counters>,
    load: LoadMeter,
    engine_counters: EngineCounters,
    next_report: Instant,
    /// When it is looked next whether the shard keeps up.
    next_look: Instant,
    /// When that was done last, and what had been received until then.
    looked: (Instant, u64),
    /// The longest that something will have waited unread, since the last report.
    unread: Duration,
    /// What one read brought, and the one of it that goes to the engine next.
    arrived: Vec<Incoming>,
    batch: Vec<Incoming>,
}

impl fmt::Debug for ShardLoop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ShardLoop").field("place", &self.place).finish_non_exhaustive()
    }
}

impl ShardLoop {
    /// Takes a seat. Call it on the thread that will run the turns: CPU time is that thread's.
    ///
    /// # Errors
    /// If the sockets cannot be watched.
    pub fn new(seat: Seat, engine: Engine) -> io::Result<Self> {
        let registry = seat.poll.registry();
        let shard = seat.setup.place.shard;
        let streams = Streams::new(shard, seat.listeners, Arc::clone(&seat.counters), registry)?;
        let sockets = Sockets::new(seat.sockets, seat.own_sockets, registry)?.with(streams);
        let now = Instant::now();
        seat.counters.running.store(true, Ordering::Relaxed);
        Ok(Self {
            place: seat.setup.place,
            engine,
            sender: Sender::new(sockets.len()),
            sockets,
            rings: seat.rings,
            commands: seat.commands,
            next_command: None,
            poll: seat.poll,
            events: Events::with_capacity(POLL_EVENTS),
            bell: seat.bell,
            stopping: seat.stopping,
            sink: seat.sink,
            counters: seat.counters,
            load: LoadMeter::new(now, cpu_time()),
            engine_counters: EngineCounters::default(),
            next_report: now + REPORT_INTERVAL,
            next_look: now + TICK,
            looked: (now, 0),
            unread: Duration::ZERO,
            arrived: Vec::with_capacity(BATCH_DATAGRAMS),
            batch: Vec::with_capacity(1),
        })
    }

    /// The engine, for a test that looks into it between turns.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// One turn: waits for work, at most `wait` (`None`: as long as there is nothing to do), then does all of it.
    pub fn turn(&mut self, wait: Option<Duration>) -> Flow {
        self.sleep(wait);
        self.counters.turns.add(1);
        // Read before the commands, so that those queued before the word to stop are done.
        let stopping = self.stopping.load(Ordering::Acquire);
        self.run_commands(if stopping { usize::MAX } else { TURN_COMMANDS });
        self.take_crossings();
        self.receive();
        self.send_what_waited();
        self.time_passed(now());
        self.watch_full_sockets();
        if stopping { Flow::Ends } else { Flow::Goes }
    }

    fn sleep(&mut self, wait: Option<Duration>) {
        let mut timeout = self.time_to_sleep(wait);
        if timeout != Some(Duration::ZERO) {
            self.bell.announce_sleep();
            if self.has_arrivals() {
                timeout = Some(Duration::ZERO);
            }
        }
        let polled = self.poll.poll(&mut self.events, timeout);
        self.bell.awake();
        match polled {
            Ok(()) => self.events.iter().for_each(|event| self.sockets.note(event)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => tracing::error!(%error, place = %self.place, "poll failed"),
        }
    }

    /// Until the first deadline; the poll rounds it up to its own precision (1 ms).
    fn time_to_sleep(&self, wait: Option<Duration>) -> Option<Duration> {
        if self.sockets.any_readable() || self.next_command.is_some() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let retry = self.rings.holds_back().then(|| now + RING_RETRY);
        let look = self.may_be_late().then_some(self.next_look);
        let deadlines =
            [Some(self.next_report), self.engine.next_timeout(), self.sender.next_release(), retry, look];
        let next = deadlines.into_iter().flatten().min().map(|at| at.saturating_duration_since(now));
        next.into_iter().chain(wait).min()
    }

    /// The sleeper's last look (see [`Bell`]).
    fn has_arrivals(&mut self) -> bool {
        self.next_command = self.next_command.take().or_else(|| self.commands.try_recv().ok());
        self.next_command.is_some() || self.rings.has_arrivals() || self.stopping.load(Ordering::Acquire)
    }

    fn run_commands(&mut self, most: usize) {
        let now = now();
        for _ in 0..most {
            let next = self.next_command.take().or_else(|| self.commands.try_recv().ok());
            let Some(command) = next else { break };
            self.engine.command(now, command);
            self.drain(now);
        }
        self.send(now);
    }

    fn take_crossings(&mut self) {
        let now = now();
        for ring in 0..self.rings.inbound() {
            for _ in 0..TURN_CROSSINGS {
                let Some((from, passed)) = self.rings.next(ring) else { break };
                self.counters.crossings_in.add(1);
                match passed {
                    Passed::Crossing(crossing) => {
                        self.engine.cross(now, from, crossing);
                        self.drain(now);
                    }
                    Passed::Parcel(parcel) => {
                        self.sockets.streams().send(parcel.tuple, parcel.class, &parcel.bytes);
                        self.sockets.streams().flush_to(parcel.tuple.socket);
                    }
                }
            }
        }
        self.send(now);
    }

    /// Reads until there is nothing more, and hands it to the engine; what comes of it goes out together. A picture's
    /// packets arrive one by one: those that come while the first is worked on leave in the same runs as it does.
    fn receive(&mut self) {
        for socket in 0..self.sockets.readers() {
            for _ in 0..TURN_RECEIVES {
                if !self.sockets.is_readable(socket) {
                    break;
                }
                self.sockets.receive(socket, self.engine.pool(), &mut self.arrived, &self.counters);
                if self.deliver() {
                    self.sockets.look_again(socket);
                }
            }
        }
        let registry = self.poll.registry();
        self.sockets.streams().receive(registry, self.engine.pool(), &mut self.arrived);
        self.deliver();
        self.send(now());
    }

    /// What has been read goes to the engine. More output than [`OUTPUT_DATAGRAMS`] does not wait for what is read
    /// next. Returns whether there was any, and something to be sent came of it: that took its time.
    fn deliver(&mut self) -> bool {
        let is_any = !self.arrived.is_empty();
        let mut arrived = std::mem::take(&mut self.arrived);
        for incoming in arrived.drain(..) {
            let now = now();
            self.batch.push(incoming);
            self.engine.receive(now, &mut self.batch);
            self.drain(now);
        }
        self.arrived = arrived;
        // Other shards have their part to do meanwhile.
        self.rings.wake();
        is_any && !self.engine.output().datagrams.is_empty()
    }

    fn send_what_waited(&mut self) {
        let now = Instant::now();
        let mut meter = Meter { counters: &self.counters, delays: &mut self.load.delays };
        for socket in 0..self.sockets.len() {
            if self.sockets.take_writable(socket) {
                self.sender.writable(socket, now, &mut self.sockets, &mut meter);
            }
        }
        self.sender.release(now, &mut self.sockets, &mut meter);
        self.pass_on();
        self.rings.retry(&self.counters);
        self.rings.wake();
    }

    fn time_passed(&mut self, now: Now) {
        if self.engine.next_timeout().is_some_and(|at| at <= now.instant) {
            self.engine.timeout(now);
            self.drain(now);
            self.send(now);
        }
        if now.instant >= self.next_look && self.may_be_late() {
            self.look(now);
        }
        if now.instant >= self.next_report {
            self.next_report = now.instant + REPORT_INTERVAL;
            let load = self.measure_load(now.instant);
            (self.sink)(self.place, FromShard::Report(Report::Load(load)));
            self.sockets.sweep(now.instant, &self.counters);
        }
    }

    /// Something was forwarded, or something is shed: an idle shard sleeps.
    fn may_be_late(&self) -> bool {
        self.load.has_news() || self.engine.shed_level() > Level::Nothing
    }

    /// Tells the engine how long packets wait, behind this loop and before it, and the log what is shed from now on.
    fn look(&mut self, now: Now) {
        self.next_look = now.instant + TICK;
        let (forwarding, receiving) = (self.load.look(), self.receive_delay(now.instant));
        self.unread = self.unread.max(receiving);
        let before = self.engine.shed_level();
        let Some(level) = self.engine.note_delay(now, forwarding.max(receiving)) else { return };
        let (place, number, sheds) = (self.place, level.number(), level.sentence());
        if level > before {
            tracing::warn!(
                %place, level = number, ?forwarding, ?receiving,
                "the shard cannot keep up and now sheds {sheds}; sound is not touched. Give it less: move transports \
                 away, drain it, or add shards or nodes"
            );
        } else {
            tracing::info!(%place, level = number, "the shard keeps up again and now sheds {sheds}");
        }
        self.drain(now);
        self.send(now);
    }

    /// How long what the kernel holds will have waited.
    fn receive_delay(&mut self, now: Instant) -> Duration {
        let datagrams = self.counters.received_datagrams.get() * DATAGRAM_MEMORY;
        let received = self.counters.received_bytes.get() + datagrams;
        let (before, had) = std::mem::replace(&mut self.looked, (now, received));
        self.sockets.receive_delay(now, received - had, now.saturating_duration_since(before))
    }

    fn measure_load(&mut self, now: Instant) -> LoadReport {
        self.engine.count_into(&mut self.engine_counters);
        let queue_age = self.sender.queue_age(now).max(std::mem::take(&mut self.unread));
        let load = self.load.report(now, cpu_time(), queue_age, &self.counters, &self.engine_counters);
        self.counters.publish(load, &self.engine_counters.dropped);
        load
    }

    /// After each input: everything that the engine wants done, but datagrams, which gather for a while.
    fn drain(&mut self, now: Now) {
        let output = self.engine.output();
        for change in output.flows.drain(..) {
            self.sockets.follow(change, self.poll.registry(), &self.counters);
        }
        for (to, crossing) in output.crossings.drain(..) {
            if matches!(crossing, Crossing::Datagram(_)) {
                self.counters.handed_over.add(1);
            }
            self.rings.send(to, crossing, &self.counters);
        }
        for reply in output.replies.drain(..) {
            (self.sink)(self.place, FromShard::Reply(reply));
        }
        for report in output.reports.drain(..) {
            (self.sink)(self.place, FromShard::Report(report));
        }
        if output.datagrams.len() >= OUTPUT_DATAGRAMS {
            self.send(now);
        }
    }

    /// After each batch of inputs: datagrams to the kernel, wakes to the shards that got something.
    fn send(&mut self, now: Now) {
        let datagrams = &mut self.engine.output().datagrams;
        if !datagrams.is_empty() {
            let mut meter = Meter { counters: &self.counters, delays: &mut self.load.delays };
            self.sender.send(now.instant, datagrams, &mut self.sockets, &mut meter);
            datagrams.clear();
            self.pass_on();
        }
        self.rings.wake();
    }

    /// Datagrams for streams that other shards accepted.
    fn pass_on(&mut self) {
        for (shard, parcel) in self.sockets.streams().take_crossing() {
            let to = Place { shard, ..self.place };
            self.rings.send(to, Passed::Parcel(parcel), &self.counters);
        }
    }

    fn watch_full_sockets(&mut self) {
        for socket in 0..self.sockets.len() {
            let watched =
                self.sockets.watch_writable(socket, self.sender.is_full(socket), self.poll.registry());
            if let Err(error) = watched {
                tracing::error!(%error, place = %self.place, "a full socket cannot be watched");
            }
        }
    }
}

/// Both clocks, read once for each batch of inputs.
fn now() -> Now {
    Now { instant: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

#[cfg(test)]
mod tests;
