//! What each place has heard of the others' messages, so that whoever crosses to another shard misses none and gets
//! none twice: places number what they hand out, a transport takes along how far it was told, and an engine keeps the
//! latest messages for those who are on their way. Knows nothing of channels.

use super::Engine;
use crate::data::Message;
use crate::transport::Transport;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tidegate_types::{Now, Place, RouterId};

/// Messages kept at most for those who arrive, of all routers together, and their bytes. What was dropped for a
/// newer one is missed by who then arrives: counted, and its reliable channels are closed.
const KEPT: usize = 1_024;
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// For how long one is kept: crossing takes some milliseconds. Older ones go with the next message.
const KEPT_FOR: Duration = Duration::from_secs(2);

/// How a router's messages go between places.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Other places that have some of its transports.
    pub(super) to: Vec<Place>,
    /// The last message of each place, this one included.
    last: BTreeMap<Place, u64>,
}

#[derive(Clone, Debug)]
struct Kept {
    router: RouterId,
    origin: Place,
    number: u64,
    at: Instant,
    message: Message,
}

/// The links of all routers, and the latest messages.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) links: BTreeMap<RouterId, Link>,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

impl Heard {
    pub(super) fn relay_to(&mut self, router: RouterId, to: Vec<Place>) {
        if to.is_empty() {
            self.links.remove(&router);
            self.kept.retain(|kept| kept.router != router);
            self.kept_bytes = self.kept.iter().map(|kept| kept.message.bytes.len()).sum();
        } else {
            self.links.entry(router).or_default().to = to;
        }
    }

    /// Notes a message and keeps it; whether others of that place were lost before it.
    fn note(
        &mut self,
        now: Instant,
        router: RouterId,
        (origin, number): (Place, u64),
        message: &Message,
    ) -> bool {
        let Some(link) = self.links.get_mut(&router) else { return false };
        let gap = link.last.insert(origin, number).is_some_and(|last| number != last + 1);
        self.kept_bytes += message.bytes.len();
        self.kept.push_back(Kept { router, origin, number, at: now, message: message.clone() });
        while self.kept.len() > KEPT
            || self.kept_bytes > KEPT_BYTES
            || self.kept.front().is_some_and(|kept| now.saturating_duration_since(kept.at) > KEPT_FOR)
        {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.message.bytes.len();
        }
        gap
    }

    /// Links, and messages kept.
    pub(super) fn len(&self) -> usize {
        self.links.len() + self.kept.len()
    }
}

impl Engine {
    /// Numbers a message of someone who stands here; the number of one that goes nowhere else does not matter.
    pub(super) fn number_message(&mut self, now: Now, router: RouterId, message: &Message) -> u64 {
        let own = self.config.place;
        let last = self.data.heard.links.get(&router).and_then(|link| link.last.get(&own)).copied();
        let number = last.unwrap_or(0) + 1;
        self.data.heard.note(now.instant, router, (own, number), message);
        number
    }

    /// A message from another place.
    pub(super) fn hear_message(&mut self, now: Now, router: RouterId, from: (Place, u64), message: &Message) {
        if self.data.heard.note(now.instant, router, from, message) {
            for slot in self.data.slots_of(router) {
                self.miss_messages(now, slot);
            }
        }
        self.deliver_message(now, router, None, from, message);
    }

    /// A transport leaves: it takes along what it was told here, and what it had been told before that.
    pub(super) fn note_heard(&self, transport: &mut Transport) {
        let Some(link) = self.data.heard.links.get(&transport.router) else { return };
        for (origin, last) in &link.last {
            match transport.heard.iter_mut().find(|(known, _)| known == origin) {
                Some((_, told)) => *told = (*told).max(*last),
                None => transport.heard.push((*origin, *last)),
            }
        }
    }

    /// A transport has arrived: it gets what was said here while it was on its way. Where it was told more than was
    /// heard here, that is left out when it comes.
    pub(super) fn catch_up(&mut self, now: Now, slot: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        let router = transport.router;
        let Some(link) = self.data.heard.links.get(&router) else { return };
        let told = std::mem::take(&mut transport.heard);
        let told_of = |origin: Place| told.iter().find(|(known, _)| *known == origin).map(|(_, last)| *last);
        let ahead = |(origin, told): &(Place, u64)| link.last.get(origin).is_none_or(|last| last < told);
        transport.heard.extend(told.iter().copied().filter(ahead));
        let lacking: Vec<Kept> = (self.data.heard.kept.iter())
            .filter(|kept| kept.router == router && kept.number > told_of(kept.origin).unwrap_or(0))
            .cloned()
            .collect();
        let missed = told.iter().any(|(origin, told)| {
            let oldest = lacking.iter().find(|kept| kept.origin == *origin).map(|kept| kept.number);
            link.last.get(origin).is_some_and(|last| last > told) && oldest != Some(told + 1)
        });
        if missed {
            self.miss_messages(now, slot);
        }
        for kept in lacking {
            self.deliver_to(now, slot, &kept.message);
        }
    }

    /// Whether a transport lacks this message. One that came from elsewhere may have been told it there.
    pub(super) fn lacks(&mut self, now: Now, slot: usize, (origin, number): (Place, u64)) -> bool {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return false };
        let Some(at) = transport.heard.iter().position(|(known, _)| *known == origin) else { return true };
        let (_, told) = transport.heard[at];
        if number <= told {
            return false;
        }
        transport.heard.swap_remove(at);
        if number > told + 1 {
            self.miss_messages(now, slot);
        }
        true
    }

    /// Something that was said will never reach this transport.
    fn miss_messages(&mut self, now: Now, slot: usize) {
        *self.dropped.entry("data-lost-between-shards").or_default() += 1;
        let transport = self.transports.get_mut(slot).and_then(Option::as_mut);
        if let Some(data) = transport.and_then(|transport| transport.data.as_mut()) {
            data.close_reliable(now.instant);
            self.drain_data(now, slot);
        }
    }
}
