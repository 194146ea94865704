//! The threads that carry the bots' media, seen from the sessions: orders in, counts out. Knows nothing of what a bot
//! does.

use crate::bot::Meeting;
use crate::stamp::Stamps;
use crate::tally::Tally;
use crate::worker::Worker;
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tidegate_media::association::AssociationConfig;

/// Orders that may wait for one worker; whoever gives one more waits.
const ORDERS: usize = 4_096;

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// A bot begins.
    Enter(u32, Box<Meeting>),
    /// A bot's newest answer.
    Expect(u32, BTreeMap<u32, Option<u32>>),
    /// Which encodings of one of a bot's tracks (by mid) are watched, lowest first.
    Watch(u32, String, Vec<bool>),
    /// A bot ends.
    Leave(u32),
    /// All end.
    Stop,
}

struct Member {
    orders: SyncSender<Order>,
    waker: mio::Waker,
    tally: Arc<Mutex<Tally>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// All workers.
#[derive(Clone)]
pub(crate) struct Crew(Arc<[Member]>);

impl Crew {
    /// Starts that many threads.
    pub(crate) fn start(threads: usize, config: &AssociationConfig, stamps: Stamps) -> io::Result<Self> {
        let members: io::Result<Vec<Member>> =
            (0..threads.max(1)).map(|_| Member::start(config.clone(), stamps)).collect();
        Ok(Self(members?.into()))
    }

    /// A bot begins.
    pub(crate) fn enter(&self, number: u32, meeting: Meeting) {
        self.order(number, Order::Enter(number, Box::new(meeting)));
    }

    /// What a bot's newest answer names.
    pub(crate) fn expect(&self, number: u32, streams: BTreeMap<u32, Option<u32>>) {
        self.order(number, Order::Expect(number, streams));
    }

    /// Which encodings of one of a bot's tracks are watched.
    pub(crate) fn watch(&self, number: u32, mid: String, watched: Vec<bool>) {
        self.order(number, Order::Watch(number, mid, watched));
    }

    /// A bot ends.
    pub(crate) fn leave(&self, number: u32) {
        self.order(number, Order::Leave(number));
    }

    /// What all bots counted so far; a quarter of a second old at most.
    pub(crate) fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for member in self.0.iter() {
            sum.add(&member.tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
        sum
    }

    /// Ends all threads.
    pub(crate) fn stop(&self) {
        for member in self.0.iter() {
            member.order(Order::Stop);
        }
        for member in self.0.iter() {
            let thread = member.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        }
    }

    fn order(&self, number: u32, order: Order) {
        if let Some(member) = self.0.get(number as usize % self.0.len()) {
            member.order(order);
        }
    }
}

impl Member {
    fn start(config: AssociationConfig, stamps: Stamps) -> io::Result<Self> {
        let (orders, given) = sync_channel(ORDERS);
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (worker, waker) = Worker::new(given, Arc::clone(&tally), config, stamps)?;
        let thread = std::thread::Builder::new().name("bots".to_owned()).spawn(move || worker.run())?;
        Ok(Self { orders, waker, tally, thread: Mutex::new(Some(thread)) })
    }

    /// A worker that is gone takes no orders; its silence shows in the counts.
    fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            let _ = self.waker.wake();
        }
    }
}
