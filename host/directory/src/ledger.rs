//! Which requests wait for their reply, and the last replies given, for clients that repeat a request. Knows
//! nothing of what requests mean.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidegate_types::RequestNumber;
use tidegate_types::request::{ClientId, ReplyBody, RequestError};

/// Who asked, and under which number.
pub(crate) type Asker = (ClientId, RequestNumber);

/// How a request went.
pub(crate) type Outcome = Result<ReplyBody, RequestError>;

/// Open and answered requests.
#[derive(Debug)]
pub(crate) struct Ledger {
    open: BTreeSet<Asker>,
    answered: BTreeMap<Asker, Outcome>,
    /// Answered requests, oldest first; may name some that were forgotten since.
    order: VecDeque<Asker>,
    remembered: usize,
}

impl Ledger {
    pub(crate) fn new(remembered: usize) -> Self {
        Self { open: BTreeSet::new(), answered: BTreeMap::new(), order: VecDeque::new(), remembered }
    }

    pub(crate) fn is_open(&self, asker: Asker) -> bool {
        self.open.contains(&asker)
    }

    pub(crate) fn answered(&self, asker: Asker) -> Option<&Outcome> {
        self.answered.get(&asker)
    }

    pub(crate) fn open(&mut self, asker: Asker) {
        self.open.insert(asker);
    }

    pub(crate) fn pending(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn pending_of(&self, client: ClientId) -> usize {
        self.open.range((client, RequestNumber(0))..=(client, RequestNumber(u64::MAX))).count()
    }

    /// Marks a request as answered; false if nobody waits for that (any more).
    pub(crate) fn close(&mut self, asker: Asker) -> bool {
        self.open.remove(&asker)
    }

    /// Keeps a reply. What is large and can be told anew is not kept.
    pub(crate) fn remember(&mut self, asker: Asker, outcome: &Outcome) {
        if matches!(outcome, Ok(ReplyBody::Joined(_) | ReplyBody::Dump(_) | ReplyBody::Stats(_))) {
            return;
        }
        self.answered.insert(asker, outcome.clone());
        self.order.push_back(asker);
        while self.order.len() > self.remembered {
            if let Some(oldest) = self.order.pop_front() {
                self.answered.remove(&oldest);
            }
        }
    }

    /// Nobody waits for this client's replies any more.
    pub(crate) fn forget(&mut self, client: ClientId) {
        let all = (client, RequestNumber(0))..=(client, RequestNumber(u64::MAX));
        let open: Vec<Asker> = self.open.range(all.clone()).copied().collect();
        for asker in open {
            self.open.remove(&asker);
        }
        let answered: Vec<Asker> = self.answered.range(all).map(|(asker, _)| *asker).collect();
        for asker in answered {
            self.answered.remove(&asker);
        }
    }
}
