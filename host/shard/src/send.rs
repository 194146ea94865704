//! Sends a turn's output: what is due goes in as few system calls as the kernel allows, what is early waits for
//! its time, what a full socket refuses waits its turn. Knows nothing of the system calls themselves.

use crate::counters::{Counters, Dropped};
use crate::group::{Batch, Message, Plan};
use crate::load::Delays;
use crate::stream::FIRST;
use crate::waiting::{Backlog, Entry, LATER_DATAGRAMS, Later, Shelf, Shelved};
use std::io;
use std::time::{Duration, Instant};
use tidegate_media::io::{Class, Datagrams, Tuple};

/// The most messages of one system call (the kernel's own limit).
pub(crate) const CALL_MESSAGES: usize = 1_024;

/// After a refused destination the next calls carry this many messages only, since every call prepares its
/// messages anew: a list of dead destinations costs no more than it must.
const CALL_MESSAGES_AFTER_REFUSAL: usize = 32;

/// How long a socket goes without UDP_SEGMENT after the kernel refused a run whose pieces it took. A refusal can
/// come from one route or one old driver; a retry costs one system call.
const SEGMENT_REST: Duration = Duration::from_secs(60);

/// The kernel, as far as sending needs it.
pub(crate) trait Outlet {
    /// Sends messages (all of one socket) in order and says how many went. An error is the first one's.
    fn send<B: Batch>(&mut self, batch: &B, order: &[u32], messages: &[Message]) -> io::Result<usize>;

    /// Whether the system knows runs at all.
    fn may_segment(&self) -> bool;

    /// Whether an error of a run may come from its being a run, not from its destination.
    fn blames_segments(&self, error: &io::Error) -> Blame;
}

/// What an error of a run may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The destination: its pieces would fail as well.
    Destination,
    /// This run: its pieces may pass.
    Run,
    /// Any run of this socket: if its pieces pass, send no more runs for a while.
    Socket,
}

/// Where sending leaves its marks.
pub(crate) struct Meter<'a> {
    pub(crate) counters: &'a Counters,
    pub(crate) delays: &'a mut Delays,
}

/// Sends over all sockets of a shard.
#[derive(Debug)]
pub(crate) struct Sender {
    core: Core,
    shelf: Shelf,
    backlogs: Vec<Backlog>,
    later: Later,
    /// Of the datagrams at hand, those to be sent now.
    chosen: Vec<u32>,
    /// Shelved datagrams being sent.
    entries: Vec<Entry>,
}

/// A turn's fresh output.
struct Fresh<'a>(&'a Datagrams);

impl Batch for Fresh<'_> {
    fn tuple(&self, index: u32) -> Tuple {
        self.0.heads()[index as usize].tuple
    }
    fn class(&self, index: u32) -> Class {
        self.0.heads()[index as usize].class
    }
    fn due(&self, index: u32) -> Instant {
        let head = &self.0.heads()[index as usize];
        head.caused.max(head.not_before)
    }
    fn bytes(&self, index: u32) -> &[u8] {
        self.0.bytes(&self.0.heads()[index as usize])
    }
}

impl Sender {
    /// For that many sockets, and any number of streams.
    pub(crate) fn new(sockets: usize) -> Self {
        let lanes = sockets + 1;
        Self {
            core: Core::new(lanes),
            shelf: Shelf::default(),
            backlogs: (0..lanes).map(|_| Backlog::default()).collect(),
            later: Later::default(),
            chosen: Vec::with_capacity(LATER_DATAGRAMS),
            entries: Vec::with_capacity(LATER_DATAGRAMS),
        }
    }

    /// Sends what is due of `datagrams`, and keeps what is not. The caller clears them.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        datagrams: &Datagrams,
        outlet: &mut impl Outlet,
        meter: &mut Meter<'_>,
    ) {
        let fresh = Fresh(datagrams);
        self.choose(now, &fresh, meter.counters);
        self.core.send(now, &fresh, &self.chosen, outlet, meter);
        for &index in &self.core.unsent {
            let entry =
                self.shelf.keep(fresh.tuple(index), fresh.class(index), fresh.due(index), fresh.bytes(index));
            queue(&mut self.backlogs, &mut self.shelf, entry, meter.counters);
        }
        if !self.entries.is_empty() {
            self.send_entries(now, outlet, meter);
        }
    }

    /// Sends what waited for its time.
    pub(crate) fn release(&mut self, now: Instant, outlet: &mut impl Outlet, meter: &mut Meter<'_>) {
        if self.next_release().is_none_or(|at| at > now) {
            return;
        }
        self.later.release_into(now, &mut self.entries);
        self.send_entries(now, outlet, meter);
    }

    /// A socket can take more again: sends what waited for that.
    pub(crate) fn writable(
        &mut self,
        socket: usize,
        now: Instant,
        outlet: &mut impl Outlet,
        meter: &mut Meter<'_>,
    ) {
        self.core.gates[socket].full = false;
        self.backlogs[socket].drain_into(&mut self.entries);
        self.send_entries(now, outlet, meter);
    }

    /// Whether a socket waits to become writable.
    pub(crate) fn is_full(&self, socket: usize) -> bool {
        self.core.gates[socket].full
    }

    /// When [`Sender::release`] has something to do.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.later.next()
    }

    /// For how long the oldest datagram has been due that a full socket holds up.
    pub(crate) fn queue_age(&self, now: Instant) -> Duration {
        self.backlogs.iter().map(|backlog| backlog.age(now)).max().unwrap_or_default()
    }

    /// Puts what is early, and what would overtake a full socket's backlog, onto the shelf; chooses the rest. What has to
    /// leave the shelf for that is in `entries` afterwards.
    fn choose(&mut self, now: Instant, fresh: &Fresh<'_>, counters: &Counters) {
        self.chosen.clear();
        for (index, head) in (0..).zip(fresh.0.heads()) {
            let Some(gate) = self.core.gates.get(lane(head.tuple.socket, self.core.gates.len())) else {
                counters.drop_one(Dropped::Astray);
                continue;
            };
            let early = head.not_before > now;
            if !early && !gate.full {
                self.chosen.push(index);
                continue;
            }
            let entry = self.shelf.keep(head.tuple, head.class, fresh.due(index), fresh.bytes(index));
            if early {
                self.entries.extend(self.later.push(entry));
            } else {
                queue(&mut self.backlogs, &mut self.shelf, entry, counters);
            }
        }
    }

    fn send_entries(&mut self, now: Instant, outlet: &mut impl Outlet, meter: &mut Meter<'_>) {
        self.choose_entries(meter.counters);
        let batch = Shelved { shelf: &self.shelf, entries: &self.entries };
        self.core.send(now, &batch, &self.chosen, outlet, meter);
        // What was not sent goes back; the rest of the chosen is done with.
        self.core.unsent.sort_unstable();
        for &index in &self.chosen {
            let entry = self.entries[index as usize];
            if self.core.unsent.binary_search(&index).is_ok() {
                queue(&mut self.backlogs, &mut self.shelf, entry, meter.counters);
            } else {
                self.shelf.free(entry);
            }
        }
        self.entries.clear();
    }

    fn choose_entries(&mut self, counters: &Counters) {
        self.chosen.clear();
        for (index, &entry) in (0..).zip(&self.entries) {
            if self.core.gates[lane(entry.tuple.socket, self.core.gates.len())].full {
                queue(&mut self.backlogs, &mut self.shelf, entry, counters);
            } else {
                self.chosen.push(index);
            }
        }
    }
}

fn queue(backlogs: &mut [Backlog], shelf: &mut Shelf, entry: Entry, counters: &Counters) {
    let lane = lane(entry.tuple.socket, backlogs.len());
    if let Some(dropped) = backlogs[lane].push(entry) {
        shelf.free(dropped);
        counters.drop_one(Dropped::BacklogFull);
    }
}

/// The part that talks to the kernel; holds no datagram's bytes.
#[derive(Debug)]
struct Core {
    plan: Plan,
    gates: Vec<Gate>,
    /// What a full socket refused, in sending order.
    unsent: Vec<u32>,
    /// A refused run in single pieces.
    pieces: Vec<Message>,
}

#[derive(Clone, Debug, Default)]
struct Gate {
    /// Waits to become writable.
    full: bool,
    /// No runs until then.
    segments_rest_until: Option<Instant>,
}

/// Which gate and backlog a tuple's socket has. Streams share the last one, which never fills: each has a queue of
/// its own. A socket that does not exist has none.
fn lane(socket: u16, lanes: usize) -> usize {
    let streams = lanes - 1;
    match usize::from(socket) {
        _ if socket >= FIRST => streams,
        socket if socket < streams => socket,
        _ => usize::MAX,
    }
}

/// How a step of sending ended.
enum Step {
    /// All done, so many messages.
    Went(usize),
    /// The socket is full.
    Full,
}

impl Core {
    fn new(sockets: usize) -> Self {
        Self {
            plan: Plan::new(),
            gates: vec![Gate::default(); sockets],
            unsent: Vec::new(),
            pieces: Vec::new(),
        }
    }

    fn gate(&mut self, tuple: Tuple) -> &mut Gate {
        let lane = lane(tuple.socket, self.gates.len());
        &mut self.gates[lane]
    }

    /// Sends the chosen datagrams; afterwards `unsent` says which a full socket refused.
    fn send<B: Batch>(
        &mut self,
        now: Instant,
        batch: &B,
        chosen: &[u32],
        outlet: &mut impl Outlet,
        meter: &mut Meter<'_>,
    ) {
        self.unsent.clear();
        let (gates, known) = (&self.gates, outlet.may_segment());
        self.plan.make(batch, chosen, |socket| known && gates[lane(socket, gates.len())].may_segment(now));
        let messages = std::mem::take(&mut self.plan.messages);
        for of_socket in messages.chunk_by(|one, next| one.tuple.socket == next.tuple.socket) {
            self.send_messages(now, batch, of_socket, outlet, meter);
        }
        self.plan.messages = messages;
    }

    fn send_messages<B: Batch>(
        &mut self,
        now: Instant,
        batch: &B,
        mut messages: &[Message],
        outlet: &mut impl Outlet,
        meter: &mut Meter<'_>,
    ) {
        let mut most = CALL_MESSAGES;
        while let Some(first) = messages.first() {
            let call = &messages[..messages.len().min(most)];
            let went = match self.call(batch, call, outlet, meter) {
                Ok(Step::Went(count)) => count,
                Ok(Step::Full) => {
                    self.hold(messages);
                    return;
                }
                Err(error) => {
                    most = CALL_MESSAGES_AFTER_REFUSAL;
                    self.refused(now, batch, *first, &error, outlet, meter);
                    if self.gate(first.tuple).full {
                        // Its pieces filled the socket: what follows must not overtake them.
                        self.hold(&messages[1..]);
                        return;
                    }
                    1
                }
            };
            messages = &messages[went..];
        }
    }

    /// One system call. An error is the first message's own.
    fn call<B: Batch>(
        &mut self,
        batch: &B,
        messages: &[Message],
        outlet: &mut impl Outlet,
        meter: &mut Meter<'_>,
    ) -> io::Result<Step> {
        meter.counters.send_calls.add(1);
        match outlet.send(batch, &self.plan.order, messages) {
            Ok(0) => Ok(Step::Full),
            Ok(count) => {
                self.went(batch, &messages[..count], meter);
                Ok(Step::Went(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Full),
            Err(error) => Err(error),
        }
    }

    fn went<B: Batch>(&self, batch: &B, messages: &[Message], meter: &mut Meter<'_>) {
        let handed_over = Instant::now();
        for message in messages {
            let datagrams = &self.plan.order[range(message)];
            let bytes = datagrams.iter().map(|&index| batch.bytes(index).len() as u64).sum();
            meter.counters.sent_datagrams.add(u64::from(message.count));
            meter.counters.sent_bytes.add(bytes);
            if message.count > 1 {
                meter.counters.segmented_datagrams.add(u64::from(message.count));
            }
            for &index in datagrams.iter().filter(|&&index| batch.class(index) != Class::Control) {
                meter.delays.record(handed_over.saturating_duration_since(batch.due(index)));
            }
        }
    }

    /// A message was refused: a run is tried once more in pieces if its being a run may be why; anything else costs
    /// just itself.
    fn refused<B: Batch>(
        &mut self,
        now: Instant,
        batch: &B,
        message: Message,
        error: &io::Error,
        outlet: &mut impl Outlet,
        meter: &mut Meter<'_>,
    ) {
        let blame = outlet.blames_segments(error);
        if message.count == 1 || blame == Blame::Destination {
            tracing::trace!(%error, remote = %message.tuple.remote, "datagrams refused");
            (0..message.count).for_each(|_| meter.counters.drop_one(Dropped::Refused));
            return;
        }
        let passed = self.send_pieces(batch, message, outlet, meter);
        if passed && blame == Blame::Socket {
            tracing::debug!(%error, socket = message.tuple.socket, "UDP_SEGMENT refused, resting it");
            self.gate(message.tuple).segments_rest_until = Some(now + SEGMENT_REST);
        }
    }

    /// Sends a run in pieces; says whether any passed.
    fn send_pieces<B: Batch>(
        &mut self,
        batch: &B,
        run: Message,
        outlet: &mut impl Outlet,
        meter: &mut Meter<'_>,
    ) -> bool {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.clear();
        pieces.extend((0..u32::from(run.count)).map(|nth| Message {
            first: run.first + nth,
            count: 1,
            ..run
        }));
        let mut rest = pieces.as_slice();
        let mut passed = false;
        while !rest.is_empty() {
            let went = match self.call(batch, rest, outlet, meter) {
                Ok(Step::Went(count)) => count,
                Ok(Step::Full) => {
                    self.hold(rest);
                    break;
                }
                Err(_) => {
                    meter.counters.drop_one(Dropped::Refused);
                    rest = &rest[1..];
                    continue;
                }
            };
            passed = true;
            rest = &rest[went..];
        }
        self.pieces = pieces;
        passed
    }

    /// The socket is full: these wait.
    fn hold(&mut self, messages: &[Message]) {
        for message in messages {
            self.gate(message.tuple).full = true;
            self.unsent.extend_from_slice(&self.plan.order[range(message)]);
        }
    }
}

impl Gate {
    fn may_segment(&self, now: Instant) -> bool {
        self.segments_rest_until.is_none_or(|until| until <= now)
    }
}

/// A message's part of [`Plan::order`].
pub(crate) fn range(message: &Message) -> std::ops::Range<usize> {
    let first = message.first as usize;
    first..first + usize::from(message.count)
}

#[cfg(test)]
mod tests;
