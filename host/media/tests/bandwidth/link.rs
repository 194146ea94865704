//! A model of the narrowest place on a way: capacity that changes over time, a queue of so many bytes, propagation,
//! random loss, jitter. Fluid: a packet's departure follows from what stands before it. Knows nothing of who sends.

use super::chance::Chance;

/// What the way is like.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// From when (seconds) it carries how many kbit/s; the first from 0.
    pub(crate) capacity: Vec<(f64, f64)>,
    /// How long the queue is at the first capacity, in seconds.
    pub(crate) queue: f64,
    /// One way, in seconds.
    pub(crate) delay: f64,
    /// Share of packets lost at random.
    pub(crate) lost: f64,
    /// Share of packets that take up to `late` seconds longer and are overtaken.
    pub(crate) reordered: f64,
    /// ... and how much longer at most.
    pub(crate) late: f64,
}

impl Way {
    pub(crate) fn steady(kbps: f64) -> Self {
        Self { capacity: vec![(0.0, kbps)], queue: 0.3, delay: 0.03, lost: 0.0, reordered: 0.0, late: 0.0 }
    }

    /// Bits per second at a time.
    pub(crate) fn carries(&self, at: f64) -> f64 {
        let standing = self.capacity.iter().rev().find(|(from, _)| *from <= at);
        standing.map_or(0.0, |(_, kbps)| kbps * 1e3)
    }

    /// When the capacity changes next.
    fn changes(&self, at: f64) -> f64 {
        self.capacity.iter().map(|(from, _)| *from).find(|from| *from > at).unwrap_or(f64::INFINITY)
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It arrives at a time, after so long in the queue.
    Arrives { at: f64, queued: f64 },
    /// The queue was full, or chance took it.
    Lost,
}

/// The queue in front of the way.
pub(crate) struct Link {
    pub(crate) way: Way,
    free_at: f64,
    queue_bits: f64,
    chance: Chance,
}

impl Link {
    pub(crate) fn new(way: Way, seed: u64) -> Self {
        let queue_bits = way.queue * way.carries(0.0);
        Self { way, free_at: 0.0, queue_bits, chance: Chance::new(seed) }
    }

    /// A packet reaches the queue; calls come in order of time.
    pub(crate) fn enter(&mut self, at: f64, bytes: usize) -> Fate {
        let begins = self.free_at.max(at);
        if self.bits_between(at, begins) > self.queue_bits {
            return Fate::Lost;
        }
        self.free_at = self.served(begins, bytes as f64 * 8.0);
        if self.chance.share() < self.way.lost {
            return Fate::Lost;
        }
        let late =
            if self.chance.share() < self.way.reordered { self.chance.share() * self.way.late } else { 0.0 };
        Fate::Arrives { at: self.free_at + self.way.delay + late, queued: self.free_at - at }
    }

    /// How many bits the way carries between two times.
    fn bits_between(&self, mut from: f64, to: f64) -> f64 {
        let mut bits = 0.0;
        while from < to {
            let until = self.way.changes(from).min(to);
            bits += (until - from) * self.way.carries(from);
            from = until;
        }
        bits
    }

    /// When so many bits have been carried.
    fn served(&self, mut from: f64, mut bits: f64) -> f64 {
        loop {
            let until = self.way.changes(from);
            let carried = (until - from) * self.way.carries(from);
            if carried >= bits {
                return from + bits / self.way.carries(from);
            }
            bits -= carried;
            from = until;
        }
    }
}
