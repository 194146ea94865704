//! The directory's mailbox: what shards and policies tell it, from any thread, without waiting. Knows nothing
//! of what the directory does with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_shard::FromShard;
use tidegate_types::Place;
use tidegate_types::decision::Answer;
use tidegate_types::report::Report;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// How much mail may wait. Replies and answers are bounded by what the directory itself has asked (16,384
/// requests at most), so that this bound is met only where the directory stands still.
const LETTERS: usize = 65_536;

/// Room that is kept for what must not be lost: below it, load and sound levels (the next ones replace them) are
/// dropped.
const KEPT_FREE: usize = LETTERS / 2;

/// One letter.
pub(crate) enum Letter {
    /// A shard answered or told.
    Shard(Place, FromShard),
    /// A policy answered.
    Answer(Answer),
    /// Who decides has changed.
    PoliciesChanged,
}

/// Where letters are put; cheap to share.
#[derive(Clone)]
pub(crate) struct Mailbox {
    sender: mpsc::Sender<Letter>,
    dropped: Arc<AtomicU64>,
}

impl Mailbox {
    /// A box, and where its letters come out.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Letter>) {
        let (sender, receiver) = mpsc::channel(LETTERS);
        (Self { sender, dropped: Arc::default() }, receiver)
    }

    /// Never waits. A full box drops the letter and counts it; a closed one (the node stops) just drops.
    pub(crate) fn put(&self, letter: Letter) {
        if replaceable(&letter) && self.sender.capacity() < KEPT_FREE {
            self.count();
            return;
        }
        if let Err(TrySendError::Full(_)) = self.sender.try_send(letter) {
            self.count();
        }
    }

    /// How many letters were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn count(&self) {
        if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!("the directory does not keep up: its mailbox is full and mail is being dropped");
        }
    }
}

/// The next one says all that this one does.
fn replaceable(letter: &Letter) -> bool {
    matches!(letter, Letter::Shard(_, FromShard::Report(Report::Load(_) | Report::AudioLevels(_))))
}

#[cfg(test)]
mod tests {
    use super::{FromShard, KEPT_FREE, LETTERS, Letter, Mailbox};
    use tidegate_types::command::{CommandReply, Done};
    use tidegate_types::report::{LoadReport, Report};
    use tidegate_types::{Place, RequestNumber};

    fn load() -> Letter {
        Letter::Shard(Place::default(), FromShard::Report(Report::Load(LoadReport::default())))
    }

    fn reply(number: u64) -> Letter {
        let reply = CommandReply { request: RequestNumber(number), result: Ok(Done::Done) };
        Letter::Shard(Place::default(), FromShard::Reply(reply))
    }

    #[test]
    fn replies_still_fit_where_load_reports_are_dropped() {
        let (mailbox, mut letters) = Mailbox::new();
        (0..LETTERS).for_each(|_| mailbox.put(load()));
        assert_eq!(mailbox.dropped() as usize, KEPT_FREE - 1);
        (0..KEPT_FREE - 1).for_each(|number| mailbox.put(reply(number as u64)));
        assert_eq!(mailbox.dropped() as usize, KEPT_FREE - 1, "no reply is lost");
        mailbox.put(reply(0));
        assert_eq!(mailbox.dropped() as usize, KEPT_FREE, "the bound holds");
        assert!(letters.try_recv().is_ok());
    }
}
