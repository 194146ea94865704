//! What goes into an engine and what comes out: datagrams, crossings to other places, replies and reports.
//! Knows nothing of who carries them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tidegate_types::command::CommandReply;
use tidegate_types::relay::RelayMessage;
use tidegate_types::report::Report;
use tidegate_types::{Buffer, Place, RouterId};

/// One of the shard's own sockets, and the far address: what a flow is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Index of the shard's socket.
    pub socket: u16,
    /// The far side.
    pub remote: SocketAddr,
}

/// One received datagram, in a buffer that nobody shares yet.
#[derive(Debug)]
pub struct Incoming {
    /// Which way it came.
    pub tuple: Tuple,
    /// When the socket's reader got it.
    pub at: Instant,
    /// Its bytes.
    pub buffer: Arc<Buffer>,
}

/// What goes from one shard's engine to another's.
#[derive(Debug)]
pub enum Crossing {
    /// A datagram whose transport stands there.
    Datagram(Incoming),
    /// A relay's traffic.
    Relay(RelayMessage),
    /// A message on a router's data channels.
    Message {
        /// Whose people it is for.
        router: RouterId,
        /// It is that many-th of the sending place in that router.
        number: u64,
        /// The message.
        message: crate::data::Message,
    },
    /// A transport with all it owns.
    Transport(Box<Departure>),
    /// Nothing that comes by these is to be handed over any more: their transport is gone.
    Forget {
        /// Local user name fragments.
        ufrags: Vec<String>,
        /// Flows.
        flows: Vec<Tuple>,
    },
}

/// Which flow a transport is reached by: one at a time, and the one before is left first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowChange {
    /// A transport that stands here is reached by it.
    Here(Tuple),
    /// It is so no more.
    Left(Tuple),
}

/// A transport on its way to another shard.
#[derive(Debug)]
pub struct Departure {
    /// With its producers' receiving and its consumers' sending side.
    pub transport: Box<crate::transport::Transport>,
    /// Where its producers stood: with histories, clocks and relays, without seats.
    pub stations: Vec<crate::station::Station>,
}

/// Which datagrams go first when not all can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Checks, handshakes and RTCP.
    Control,
    /// Sound.
    Audio,
    /// Pictures: the oldest are dropped first.
    Video,
}

/// The head of one outgoing datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Which way it goes.
    pub tuple: Tuple,
    /// Not to be sent earlier.
    pub not_before: Instant,
    /// When the datagram that caused it came in; equals `not_before` where none did.
    pub caused: Instant,
    /// What goes first.
    pub class: Class,
    start: u32,
    length: u32,
}

impl Datagram {
    /// Its bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length as usize
    }
}

/// Outgoing datagrams of one turn, their bytes in one arena that is reused: after warm-up nothing is allocated.
#[derive(Debug, Default)]
pub struct Datagrams {
    heads: Vec<Datagram>,
    bytes: Vec<u8>,
    /// Bytes in use; `bytes` itself only grows, so that nothing is zeroed twice.
    used: usize,
}

/// The most bytes one outgoing datagram holds.
pub const DATAGRAM_BYTES: usize = 1_500;

/// By how many of these the arena grows.
const GROWTH_DATAGRAMS: usize = 64;

impl Datagrams {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Heads in order of creation; [`Datagrams::bytes`] gives each one's bytes.
    #[must_use]
    pub fn heads(&self) -> &[Datagram] {
        &self.heads
    }

    /// The bytes of one.
    #[must_use]
    pub fn bytes(&self, datagram: &Datagram) -> &[u8] {
        &self.bytes[datagram.start as usize..(datagram.start + datagram.length) as usize]
    }

    /// The newest, to say when it may leave.
    pub fn last_mut(&mut self) -> Option<&mut Datagram> {
        self.heads.last_mut()
    }

    /// Forgets all, keeps the memory.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.used = 0;
    }

    /// Appends one that is written in place: `write` gets [`DATAGRAM_BYTES`] bytes of unspecified content and
    /// says how many it used; `None` appends nothing.
    #[expect(clippy::cast_possible_truncation)]
    pub fn write(
        &mut self,
        tuple: Tuple,
        caused: Instant,
        class: Class,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let start = self.used;
        if self.bytes.len() < start + DATAGRAM_BYTES {
            // In steps, since all of it is resident from then on.
            self.bytes.resize(start + GROWTH_DATAGRAMS * DATAGRAM_BYTES, 0);
        }
        let written =
            write(&mut self.bytes[start..start + DATAGRAM_BYTES]).map(|length| length.min(DATAGRAM_BYTES));
        self.used = start + written.unwrap_or(0);
        let Some(length) = written else { return false };
        self.heads.push(Datagram {
            tuple,
            not_before: caused,
            caused,
            class,
            start: start as u32,
            length: length as u32,
        });
        true
    }

    /// Appends a copy.
    pub fn push(&mut self, tuple: Tuple, caused: Instant, class: Class, bytes: &[u8]) {
        self.write(tuple, caused, class, |space| {
            space.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(bytes.len())
        });
    }
}

/// All that an engine wants done. Drained by its owner after every input.
#[derive(Debug, Default)]
pub struct Output {
    /// To peers.
    pub datagrams: Datagrams,
    /// To whoever owns the sockets, to be heard before the crossings: where the same transport goes next, its flow is
    /// free again.
    pub flows: Vec<FlowChange>,
    /// To other places; today always of this node.
    pub crossings: Vec<(Place, Crossing)>,
    /// To the directory, in answer.
    pub replies: Vec<CommandReply>,
    /// To the directory, unasked.
    pub reports: Vec<Report>,
}

/// Where secrets come from. Only a test may replace the system's source.
pub trait Secrets: Send {
    /// Fills with unpredictable bytes.
    fn fill(&mut self, bytes: &mut [u8]);
}
