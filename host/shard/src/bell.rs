//! Wakes a sleeping shard, and only a sleeping one: a wake costs 10 µs on each side, a packet less than 1. Knows
//! nothing of what lies in the inboxes.
//!
//! Why no wake is lost. The ringer puts its message into an inbox, *then* fences, *then* looks at `sleeping`. The
//! sleeper sets `sleeping`, *then* fences, *then* looks into its inboxes a last time, and sleeps only if all are
//! empty. Both fences are sequentially consistent, so one comes first. If it is the ringer's, the sleeper's last
//! look finds the message. If it is the sleeper's, the ringer sees `sleeping` and wakes. A wake between the last
//! look and the sleep is kept by the poll itself, which then returns at once.

use crate::counters::Counter;
use mio::{Poll, Token, Waker};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The token that a rung bell shows in the poll.
pub(crate) const BELL: Token = Token(usize::MAX);

/// One shard's bell.
#[derive(Debug)]
pub(crate) struct Bell {
    sleeping: AtomicBool,
    waker: Waker,
    /// How often it really woke.
    pub(crate) wakes: Counter,
}

impl Bell {
    /// A bell that ends the sleep of `poll`.
    pub(crate) fn new(poll: &Poll) -> io::Result<Self> {
        let waker = Waker::new(poll.registry(), BELL)?;
        Ok(Self { sleeping: AtomicBool::new(false), waker, wakes: Counter::default() })
    }

    /// After a message, or a batch of them, has been put into an inbox: wakes the shard if it sleeps.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        // The swap lets one of several ringers do the system call.
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed) {
            self.wakes.add_shared(1);
            if let Err(error) = self.waker.wake() {
                tracing::error!(%error, "a shard could not be woken");
            }
        }
    }

    /// The sleeper's first step; it must look into its inboxes after this and before it sleeps.
    pub(crate) fn announce_sleep(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The sleeper is awake.
    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }
}
