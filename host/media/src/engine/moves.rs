//! Moving a transport to another engine with all that it owns. What it publishes moves with its station: the
//! history, the clocks and every relay that began here, under its own numbers. A stand-in stays behind for those who
//! consume it here, fed from the new place. What consumers were still owed follows from the histories; sealing
//! refuses what a peer already got.
//!
//! ```text
//! before:  publisher ─▶ old: station ─┬─ seats            after:  publisher ─▶ new: station ─┬─ seats
//!                                     ├─ relay ─▶ new                                        ├─ relay ─▶ old
//!                                     └─ relay ─▶ third                                      └─ relay ─▶ third
//! ```

use super::Engine;
use crate::io::{Crossing, Departure, Tuple};
use crate::station::{Seat, Source, Station};
use crate::transport::Transport;
use tidegate_types::command::CommandError;
use tidegate_types::relay::RelayMessage;
use tidegate_types::report::Report;
use tidegate_types::{Now, Place, ProducerId, RelayId, ShardIndex, TransportId};

/// How many packets of history an arriving consumer is offered; those that its peer has are refused by sealing.
const OWED: u64 = 256;

impl Engine {
    /// Sends a transport away. For each track that is consumed here, `stand_ins` names the relay that will bring it
    /// back.
    pub(super) fn depart(
        &mut self,
        id: TransportId,
        to: ShardIndex,
        stand_ins: &[(ProducerId, RelayId)],
    ) -> Result<(), CommandError> {
        let slot = *self.transport_ids.get(&id).ok_or(CommandError::NoTransport(id))?;
        if to == self.config.place.shard {
            return Ok(());
        }
        if to.0 >= self.config.shards {
            return Err(CommandError::Unfit(format!("{to} does not exist")));
        }
        let published = self.published(slot);
        self.check_stand_ins(&published, stand_ins)?;
        let Some(mut transport) = self.detach(slot) else { return Err(CommandError::NoTransport(id)) };
        self.routes.leave(&transport.ufrags, &transport.association.validated().collect::<Vec<_>>(), to);
        transport.armed = None;
        let place = Place { shard: to, ..self.config.place };
        transport.trail.retain(|left| *left != place);
        transport.trail.push(self.config.place);
        self.note_heard(&mut transport);
        let relay_of = |producer| stand_ins.iter().find(|(of, _)| *of == producer).map(|(_, relay)| *relay);
        let stations = published
            .into_iter()
            .filter_map(|(producer, station)| self.uproot(station, place, relay_of(producer)))
            .collect();
        self.output.crossings.push((place, Crossing::Transport(Box::new(Departure { transport, stations }))));
        Ok(())
    }

    /// The tracks of a transport with their stations.
    fn published(&self, slot: usize) -> Vec<(ProducerId, usize)> {
        let transport = self.transports.get(slot).and_then(Option::as_ref);
        let producers = transport.into_iter().flat_map(|transport| transport.producers.iter().flatten());
        producers.map(|producer| (producer.id, producer.station)).collect()
    }

    fn check_stand_ins(
        &self,
        published: &[(ProducerId, usize)],
        stand_ins: &[(ProducerId, RelayId)],
    ) -> Result<(), CommandError> {
        for (_, relay) in stand_ins {
            if self.relay_sinks.contains_key(relay) || self.relay_sources.contains_key(relay) {
                return Err(CommandError::Taken(relay.to_string()));
            }
        }
        for (producer, station) in published {
            let seats = self.stations.get(*station).and_then(Option::as_ref).map_or(0, |at| at.seats.len());
            if seats > 0 && !stand_ins.iter().any(|(of, _)| of == producer) {
                return Err(CommandError::Unfit(format!("{producer} is consumed here and needs a stand-in")));
            }
        }
        Ok(())
    }

    /// Takes a station out for its way to another place; with `relay`, its stand-in stays with the seats.
    fn uproot(&mut self, index: usize, to: Place, relay: Option<RelayId>) -> Option<Station> {
        let mut station = self.stations.get_mut(index)?.take()?;
        for relay in &station.relays {
            self.relay_sources.remove(&relay.id);
        }
        let Some(relay) = relay else {
            self.station_ids.remove(&station.producer);
            return Some(station);
        };
        let wanted = station.seats.iter().fold(0, |bits, seat| {
            let transport = self.transports.get(seat.transport).and_then(Option::as_ref);
            let consumer = transport.and_then(|transport| transport.consumers.get(seat.consumer)?.as_ref());
            bits | consumer.map_or(0, |consumer| consumer.demand(station.encodings.len()))
        });
        self.stations[index] = Some(station.part(relay, self.config.place, to, wanted));
        self.relay_sinks.insert(relay, index);
        Some(station)
    }

    /// Takes a transport out of every table here.
    pub(super) fn detach(&mut self, slot: usize) -> Option<Box<Transport>> {
        let mut transport = self.transports.get_mut(slot)?.take()?;
        self.transport_ids.remove(&transport.id);
        self.data.leave(transport.router, slot);
        self.drop_flow(&mut transport);
        let flows = transport.association.validated().collect::<Vec<_>>();
        self.routes.end(slot, &transport.ufrags, &flows);
        for consumer in transport.consumers.iter_mut().flatten() {
            if let Some(station) = consumer.station.take().and_then(|at| self.stations.get_mut(at)?.as_mut())
            {
                station.seats.retain(|seat| seat.transport != slot);
            }
        }
        Some(transport)
    }

    /// The places that a transport left hear what leads from there to it no more.
    pub(super) fn tell_trail(&mut self, slot: usize, ufrags: &[String], flows: &[Tuple]) {
        let Some(transport) = self.transports.get(slot).and_then(Option::as_ref) else { return };
        for place in &transport.trail {
            let forget = Crossing::Forget { ufrags: ufrags.to_vec(), flows: flows.to_vec() };
            self.output.crossings.push((*place, forget));
        }
    }

    /// Takes in a transport that another engine sent.
    pub(super) fn arrive(&mut self, now: Now, departure: Departure) {
        let Departure { transport, stations } = departure;
        let id = transport.id;
        let slot = self.place_transport(transport);
        self.note_flow(slot);
        for station in stations {
            self.settle(now, slot, station);
        }
        let count = self.transports[slot].as_ref().map_or(0, |transport| transport.consumers.len());
        for consumer in 0..count {
            self.reseat(now, slot, consumer);
        }
        self.catch_up(now, slot);
        self.arm(slot);
        self.output.reports.push(Report::Moved { transport: id, to: self.config.place.shard });
    }

    /// Puts the station of an arrived track where its stand-in stood, if there was one: whoever sat there stays.
    fn settle(&mut self, now: Now, slot: usize, mut station: Station) {
        let producer = station.producer;
        let known = self.transports[slot].as_ref().and_then(|transport| transport.producer_index(producer));
        let Some(at) = known else { return };
        station.arrive(Source::Local { transport: slot, producer: at }, self.config.place);
        let stand_in = self.station_ids.get(&producer).copied();
        let stand_in = stand_in.and_then(|index| Some((index, self.stations.get_mut(index)?.take()?)));
        let index = match stand_in {
            None => self.place_station(station),
            Some((index, mut stand_in)) => {
                if let Source::Relay(sink) = &stand_in.source {
                    self.relay_sinks.remove(&sink.id);
                }
                self.fill_in(now, &station, &mut stand_in);
                station.adopt(stand_in);
                self.stations[index] = Some(station);
                index
            }
        };
        if let Some(Some(producer)) =
            self.transports[slot].as_mut().and_then(|transport| transport.producers.get_mut(usize::from(at)))
        {
            producer.station = index;
        }
        self.greet_relays(now, index);
        self.choose_layers(now, index);
    }

    /// What a stand-in never got of what its source held goes to those who sit there, and on to its own relays.
    fn fill_in(&mut self, now: Now, station: &Station, stand_in: &mut Station) {
        for (standing, had) in station.encodings.iter().zip(&stand_in.encodings) {
            let (Some(highest), Some(oldest)) = (standing.history.highest(), had.history.oldest()) else {
                continue;
            };
            let first = oldest.max(highest.saturating_sub(OWED));
            let lacking =
                standing.history.from(first).filter(|packet| had.history.get(packet.sequence).is_none());
            for packet in lacking {
                for seat in &stand_in.seats {
                    if let Some(transport) = self.transports.get_mut(seat.transport).and_then(Option::as_mut)
                    {
                        let out = &mut self.output.datagrams;
                        transport.send(now, seat.consumer, packet, now.instant, |_| None, out);
                    }
                }
                for relay in &mut stand_in.relays {
                    if let Some(carried) = relay.carry(packet) {
                        let message = Crossing::Relay(RelayMessage::Media(carried));
                        self.output.crossings.push((relay.to, message));
                    }
                }
            }
        }
    }

    /// Relays that came with a station begin here from now on; their far ends hear from where.
    fn greet_relays(&mut self, now: Now, index: usize) {
        let Some(station) = self.stations.get_mut(index).and_then(Option::as_mut) else { return };
        for relay in &station.relays {
            self.relay_sources.insert(relay.id, index);
        }
        station.tell_relays(now.instant, |to, message| {
            self.output.crossings.push((to, Crossing::Relay(message)));
        });
    }

    /// Gives a consumer its seat at its producer's station, if that stands here, and what it is owed.
    pub(super) fn reseat(&mut self, now: Now, slot: usize, index: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        let Some(Some(consumer)) = transport.consumers.get_mut(index) else { return };
        let Some(&station_index) = self.station_ids.get(&consumer.producer) else { return };
        let Some(station) = self.stations.get_mut(station_index).and_then(Option::as_mut) else { return };
        consumer.station = Some(station_index);
        let (owed, replays) = (consumer.source_start(), consumer.replay.is_some());
        let next = consumer.source_next().filter(|_| consumer.demand(station.encodings.len()) != 0);
        station.seats.push(Seat { transport: slot, consumer: index });
        if let Some((encoding, sequence)) = next
            && let Source::Relay(sink) = &mut station.source
            && let Some(message) = sink.resume(encoding, sequence)
        {
            self.output.crossings.push((sink.from, Crossing::Relay(message)));
        }
        if let Some((encoding, start)) = owed
            && let Some(standing) = station.encodings.get(usize::from(encoding))
        {
            let first =
                standing.history.highest().map_or(start, |highest| start.max(highest.saturating_sub(OWED)));
            for packet in standing.history.from(first) {
                transport.send(now, index, packet, now.instant, |_| None, &mut self.output.datagrams);
            }
        }
        if replays {
            self.begin_replays(now, station_index);
        }
        self.share_one(now, slot);
        self.choose_layers(now, station_index);
    }

    /// Finds a slot for a transport and enters it into the tables.
    pub(super) fn place_transport(&mut self, transport: Box<Transport>) -> usize {
        let slot = self.transports.iter().position(Option::is_none).unwrap_or_else(|| {
            self.transports.push(None);
            self.transports.len() - 1
        });
        self.transport_ids.insert(transport.id, slot);
        self.data.enter(transport.router, slot);
        for ufrag in &transport.ufrags {
            self.routes.ufrag_here(ufrag.clone(), slot);
        }
        for tuple in transport.association.validated() {
            self.routes.flow_here(tuple, slot);
        }
        self.transports[slot] = Some(transport);
        slot
    }
}
