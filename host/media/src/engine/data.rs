//! Messages: from one peer's data channel to everyone else's of the same label and protocol in its router, here and
//! at other places; and as reports to those without one. Knows nothing of SCTP.
//!
//! ```text
//! peer ─ receive_data ─ publish ─┬─ deliver: each transport of the router here ─┬─ its channel
//!                                │                                              └─ a report, for its session
//!                                └─ crossings, one a place ─ deliver there
//! ```

use super::Engine;
use super::heard::Heard;
use crate::data::{DataEvent, Message, Sctp, Sent};
use crate::io::Crossing;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_types::command::{CommandError, Done};
use tidegate_types::data::{DataParameters, DataRefusal, TEXT_BYTES};
use tidegate_types::report::Report;
use tidegate_types::{Now, PersonId, Place, RouterId, TransportId};

/// Where the messages of each router go.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    /// Transports that stand here.
    slots: BTreeMap<RouterId, BTreeSet<usize>>,
    /// What goes to other places and comes from there.
    pub(super) heard: Heard,
}

impl Rooms {
    pub(super) fn enter(&mut self, router: RouterId, slot: usize) {
        self.slots.entry(router).or_default().insert(slot);
    }

    pub(super) fn leave(&mut self, router: RouterId, slot: usize) {
        if let Some(slots) = self.slots.get_mut(&router) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.slots.remove(&router);
            }
        }
    }

    pub(super) fn relay_to(&mut self, router: RouterId, to: Vec<Place>) {
        self.heard.relay_to(router, to);
    }

    /// All transports of a router.
    pub(super) fn slots_of(&self, router: RouterId) -> Vec<usize> {
        self.slots.get(&router).into_iter().flatten().copied().collect()
    }

    /// Routers with transports here, links to other places, and messages kept for those who arrive.
    pub(super) fn len(&self) -> usize {
        self.slots.len() + self.heard.len()
    }

    /// The first transport of a router behind `after`.
    fn next(&self, router: RouterId, after: Option<usize>) -> Option<usize> {
        let first = after.map_or(0, |after| after + 1);
        self.slots.get(&router)?.range(first..).next().copied()
    }
}

impl Engine {
    pub(super) fn open_data(
        &mut self,
        id: TransportId,
        parameters: DataParameters,
    ) -> Result<Done, CommandError> {
        let slot = self.slot(id)?;
        let transport = self.transport_mut(slot, id)?;
        match &mut transport.data {
            Some(data) => data.set_parameters(parameters),
            None => transport.data = Some(Box::new(Sctp::new(parameters))),
        }
        Ok(Done::Done)
    }

    pub(super) fn send_message(
        &mut self,
        now: Now,
        id: TransportId,
        person: PersonId,
        text: &str,
    ) -> Result<Done, CommandError> {
        let slot = self.slot(id)?;
        let router = self.transport_mut(slot, id)?.router;
        if text.len() > TEXT_BYTES {
            return Err(CommandError::Unfit(format!("a text holds at most {TEXT_BYTES} bytes")));
        }
        self.publish_message(now, router, slot, &Message::room_text(person, text));
        Ok(Done::Done)
    }

    /// Takes what came inside DTLS.
    pub(super) fn receive_data(&mut self, now: Now, slot: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        let mut came = false;
        while let Some(packet) = transport.association.poll_data() {
            match &mut transport.data {
                Some(data) => data.receive(now.instant, &packet),
                None => *self.dropped.entry("data-unexpected").or_default() += 1,
            }
            came = true;
        }
        if came {
            self.drain_data(now, slot);
        }
    }

    pub(super) fn data_timeout(&mut self, now: Now, slot: usize) {
        let transport = self.transports.get_mut(slot).and_then(Option::as_mut);
        if let Some(data) = transport.and_then(|transport| transport.data.as_mut()) {
            data.timeout(now.instant);
            self.drain_data(now, slot);
        }
    }

    /// Carries out what a transport's data channels say after an input, and sends what they want sent.
    pub(super) fn drain_data(&mut self, now: Now, slot: usize) {
        while let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) {
            let (id, router) = (transport.id, transport.router);
            match transport.data.as_mut().and_then(|data| data.poll_event()) {
                None => break,
                Some(DataEvent::Message(message)) => self.publish_message(now, router, slot, &message),
                Some(DataEvent::Refused { label, refusal, told }) => {
                    self.note_refusal(id, &label, refusal, told);
                }
            }
        }
        self.flush_data(now, slot);
    }

    fn note_refusal(&mut self, transport: TransportId, label: &str, refusal: DataRefusal, told: bool) {
        *self.dropped.entry(counter(refusal)).or_default() += 1;
        if told {
            let label = label.to_owned();
            self.output.reports.push(Report::DataRefused { transport, label, refusal });
        }
    }

    fn flush_data(&mut self, now: Now, slot: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        transport.send_data(now, &mut self.output.datagrams);
        // A record that could not be written ends the association.
        self.drain_association(now, slot);
        self.arm(slot);
    }

    /// To everyone else in the router, wherever it is.
    fn publish_message(&mut self, now: Now, router: RouterId, from: usize, message: &Message) {
        let number = self.number_message(now, router, message);
        for place in self.data.heard.links.get(&router).into_iter().flat_map(|link| &link.to) {
            let message = message.clone();
            self.output.crossings.push((*place, Crossing::Message { router, number, message }));
        }
        self.deliver_message(now, router, Some(from), (self.config.place, number), message);
    }

    /// To everyone in the router who stands here and lacks it, but for one slot.
    pub(super) fn deliver_message(
        &mut self,
        now: Now,
        router: RouterId,
        but: Option<usize>,
        from: (Place, u64),
        message: &Message,
    ) {
        let mut next = self.data.next(router, None);
        while let Some(slot) = next {
            if Some(slot) != but && self.lacks(now, slot, from) {
                self.deliver_to(now, slot, message);
            }
            next = self.data.next(router, Some(slot));
        }
    }

    pub(super) fn deliver_to(&mut self, now: Now, slot: usize, message: &Message) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        let sent = transport.data.as_mut().map_or(Sent::NoChannel, |data| data.send(now.instant, message));
        match sent {
            Sent::Queued => self.flush_data(now, slot),
            Sent::Dropped => {
                *self.dropped.entry("data-backlog-full").or_default() += 1;
                // It may have been the end of its channel. Sending brings refusals only, and no messages.
                self.drain_data(now, slot);
            }
            Sent::NoChannel => self.tell_message(now, slot, message),
        }
    }

    /// A person without a data channel is told by its session.
    fn tell_message(&mut self, now: Now, slot: usize, message: &Message) {
        let Some((from, text)) = message.text() else { return };
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        if transport.told.take(now.instant) {
            let (transport, text) = (transport.id, text.to_owned());
            self.output.reports.push(Report::RoomMessage { transport, from, text });
        } else {
            *self.dropped.entry("data-session-full").or_default() += 1;
        }
    }
}

/// Under which name a refusal is counted.
const fn counter(refusal: DataRefusal) -> &'static str {
    match refusal {
        DataRefusal::NotGranted => "data-not-granted",
        DataRefusal::TooLong => "data-too-long",
        DataRefusal::TooMany => "data-too-many",
        DataRefusal::ChannelUnfit => "data-channel-unfit",
        DataRefusal::TooSlow => "data-channel-too-slow",
        DataRefusal::TooFragmented => "data-too-fragmented",
        DataRefusal::Malformed => "data-malformed",
    }
}
