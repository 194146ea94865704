//! One thread of bots: their sockets, the clock, and when whose turn it is. Knows nothing of what they send.

use crate::arrive::Arrivals;
use crate::bot::{Bot, Meeting};
use crate::crew::Order;
use crate::stamp::Stamps;
use crate::tally::Tally;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tidegate_media::association::AssociationConfig;
use tidegate_types::{Now, NtpTime};

const WAKER: Token = Token(usize::MAX);
const EVENTS: usize = 1_024;
/// How old published counts may be.
const PUBLISH: Duration = Duration::from_millis(200);
/// No bot's turn comes sooner again.
const LEAST_WAIT: Duration = Duration::from_micros(200);
/// Wanted size of a bot's receive queue; the system may grant less.
const QUEUE_BYTES: usize = 1 << 20;

struct Standing {
    bot: Bot,
    socket: UdpSocket,
    /// The one timer of it that counts.
    armed: Instant,
}

/// One thread's bots.
pub(crate) struct Worker {
    poll: Poll,
    orders: Receiver<Order>,
    published: Arc<Mutex<Tally>>,
    published_at: Instant,
    config: AssociationConfig,
    stamps: Stamps,
    bots: BTreeMap<u32, Standing>,
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    tally: Tally,
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

impl Worker {
    /// One without bots, and what wakes it.
    pub(crate) fn new(
        orders: Receiver<Order>,
        published: Arc<Mutex<Tally>>,
        config: AssociationConfig,
        stamps: Stamps,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let worker = Self {
            poll,
            orders,
            published,
            published_at: Instant::now(),
            config,
            stamps,
            bots: BTreeMap::new(),
            timers: BinaryHeap::new(),
            tally: Tally::default(),
        };
        Ok((worker, waker))
    }

    /// Until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut arrivals = Arrivals::new();
        loop {
            let wait = self.wait();
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                break;
            }
            let readable = events.iter().map(mio::event::Event::token).filter(|token| *token != WAKER);
            for Token(number) in readable {
                self.read(number as u32, &mut arrivals);
            }
            if !self.take_orders() {
                break;
            }
            self.take_turns();
            self.publish(false);
        }
        self.publish(true);
    }

    fn wait(&self) -> Duration {
        let next = self.timers.peek().map(|Reverse((at, _))| *at);
        next.map_or(PUBLISH, |at| at.saturating_duration_since(Instant::now())).min(PUBLISH)
    }

    fn publish(&mut self, last: bool) {
        let at = Instant::now();
        if last || at.saturating_duration_since(self.published_at) >= PUBLISH {
            self.published_at = at;
            self.published.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.tally);
        }
    }

    /// `false` when all is over.
    fn take_orders(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Enter(number, meeting) => self.enter(number, *meeting),
                Order::Expect(number, streams) => {
                    if let Some(standing) = self.bots.get_mut(&number) {
                        standing.bot.expect(&streams);
                    }
                }
                Order::Watch(number, mid, watched) => {
                    if let Some(standing) = self.bots.get_mut(&number) {
                        standing.bot.watch(&mid, &watched, Instant::now());
                        // The bot may have something to send sooner than it had.
                        standing.armed = Instant::now();
                        self.timers.push(Reverse((standing.armed, number)));
                    }
                }
                Order::Leave(number) => {
                    if let Some(mut standing) = self.bots.remove(&number) {
                        // A socket that is closed is watched no longer, whatever this says.
                        let _ = self.poll.registry().deregister(&mut standing.socket);
                    }
                }
                Order::Stop => return false,
            }
        }
        true
    }

    /// A bot whose socket cannot be had never connects, which shows.
    fn enter(&mut self, number: u32, meeting: Meeting) {
        let Ok(mut socket) = open(meeting.engine) else { return };
        let registered =
            self.poll.registry().register(&mut socket, Token(number as usize), Interest::READABLE);
        if registered.is_err() {
            return;
        }
        let now = now();
        let bot = Bot::new(&self.config, meeting, self.stamps, now);
        let mut standing = Standing { bot, socket, armed: now.instant };
        standing.flush(&mut self.tally);
        self.bots.insert(number, standing);
        self.timers.push(Reverse((now.instant, number)));
    }

    /// All that waits in a bot's socket.
    fn read(&mut self, number: u32, arrivals: &mut Arrivals) {
        let Some(standing) = self.bots.get_mut(&number) else { return };
        let (bot, tally) = (&mut standing.bot, &mut self.tally);
        arrivals.read(&standing.socket, |came, bytes| bot.receive(now(), came, bytes, tally));
        standing.flush(&mut self.tally);
        let next = standing.bot.next_timeout();
        if next < standing.armed {
            standing.armed = next;
            self.timers.push(Reverse((standing.armed, number)));
        }
    }

    /// Every bot whose time has come.
    fn take_turns(&mut self) {
        let begun = Instant::now();
        while let Some(&Reverse((at, number))) = self.timers.peek() {
            if at > begun {
                break;
            }
            self.timers.pop();
            let Some(standing) = self.bots.get_mut(&number).filter(|standing| standing.armed == at) else {
                continue;
            };
            let now = now();
            standing.bot.timeout(now, &mut self.tally);
            standing.flush(&mut self.tally);
            standing.armed = standing.bot.next_timeout().max(now.instant + LEAST_WAIT);
            self.timers.push(Reverse((standing.armed, number)));
        }
    }
}

impl Standing {
    fn flush(&mut self, tally: &mut Tally) {
        let out = self.bot.output();
        for head in out.heads() {
            if self.socket.send(out.bytes(head)).is_err() {
                tally.unsent += 1;
            }
        }
        out.clear();
    }
}

/// A socket that speaks with the host's address alone.
fn open(engine: SocketAddr) -> io::Result<UdpSocket> {
    let local = match engine.ip() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((local, 0))?;
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, QUEUE_BYTES).is_err() {
        // Without the privilege the system's own limit applies.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, QUEUE_BYTES);
    }
    socket.set_nonblocking(true)?;
    socket.connect(engine)?;
    let socket = UdpSocket::from_std(socket);
    Arrivals::prepare(&socket)?;
    Ok(socket)
}
