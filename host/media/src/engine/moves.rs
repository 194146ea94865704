//! Moving a transport to another engine with all that it owns. What its consumers were still owed follows from
//! the history of the stations at the new place; sealing refuses what the peer already got.

use super::{Engine, Route};
use crate::io::Crossing;
use crate::station::Seat;
use crate::transport::Transport;
use tidegate_types::command::CommandError;
use tidegate_types::report::Report;
use tidegate_types::{Now, Place, ShardIndex, TransportId};

/// How many packets of history an arriving consumer is offered; those that its peer has are refused by sealing.
const OWED: u64 = 256;

impl Engine {
    /// Sends a transport away. One that publishes cannot go yet while others here depend on it.
    pub(super) fn depart(&mut self, id: TransportId, to: ShardIndex) -> Result<(), CommandError> {
        let slot = *self.transport_ids.get(&id).ok_or(CommandError::NoTransport(id))?;
        if to == self.config.place.shard {
            return Ok(());
        }
        if to.0 >= self.config.shards {
            return Err(CommandError::Unfit(format!("{to} does not exist")));
        }
        let publishes = self.transports[slot]
            .as_ref()
            .is_some_and(|transport| transport.producers.iter().any(Option::is_some));
        if publishes {
            return Err(CommandError::Unfit("a transport that publishes cannot move yet".to_owned()));
        }
        let Some(mut transport) = self.detach(slot) else { return Err(CommandError::NoTransport(id)) };
        for ufrag in &transport.ufrags {
            self.ufrags.insert(ufrag.clone(), Route::Shard(to));
        }
        for tuple in transport.association.validated().collect::<Vec<_>>() {
            self.flows.insert(tuple, Route::Shard(to));
            self.foreign.push_back(tuple);
        }
        transport.armed = None;
        self.output.reports.push(Report::Moved { transport: id, to });
        let place = Place { shard: to, ..self.config.place };
        self.output.crossings.push((place, Crossing::Transport(transport)));
        Ok(())
    }

    /// Takes a transport out of every table here.
    pub(super) fn detach(&mut self, slot: usize) -> Option<Box<Transport>> {
        let mut transport = self.transports.get_mut(slot)?.take()?;
        self.transport_ids.remove(&transport.id);
        for ufrag in &transport.ufrags {
            self.ufrags.remove(ufrag);
        }
        for tuple in transport.association.validated().collect::<Vec<_>>() {
            self.flows.remove(&tuple);
        }
        for consumer in transport.consumers.iter_mut().flatten() {
            if let Some(station) = consumer.station.take().and_then(|at| self.stations.get_mut(at)?.as_mut())
            {
                station.seats.retain(|seat| seat.transport != slot);
            }
        }
        Some(transport)
    }

    /// Takes in a transport that another engine sent.
    pub(super) fn arrive(&mut self, now: Now, transport: Box<Transport>) {
        let slot = self.place_transport(transport);
        let count = self.transports[slot].as_ref().map_or(0, |transport| transport.consumers.len());
        for consumer in 0..count {
            self.reseat(now, slot, consumer);
        }
        self.arm(slot);
    }

    /// Gives a consumer its seat at its producer's station, if that stands here, and what it is owed.
    pub(super) fn reseat(&mut self, now: Now, slot: usize, index: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        let Some(Some(consumer)) = transport.consumers.get_mut(index) else { return };
        let Some(&station_index) = self.station_ids.get(&consumer.producer) else { return };
        let Some(station) = self.stations.get_mut(station_index).and_then(Option::as_mut) else { return };
        consumer.station = Some(station_index);
        let owed = consumer.source_start();
        station.seats.push(Seat { transport: slot, consumer: index });
        if let Some((encoding, start)) = owed
            && let Some(standing) = station.encodings.get(usize::from(encoding))
        {
            let first =
                standing.history.highest().map_or(start, |highest| start.max(highest.saturating_sub(OWED)));
            for packet in standing.history.from(first) {
                transport.send(now, index, packet, now.instant, |_| None, &mut self.output.datagrams);
            }
        }
        self.choose_layers(now, station_index);
    }

    /// Finds a slot for a transport and enters it into the tables.
    pub(super) fn place_transport(&mut self, transport: Box<Transport>) -> usize {
        let slot = self.transports.iter().position(Option::is_none).unwrap_or_else(|| {
            self.transports.push(None);
            self.transports.len() - 1
        });
        self.transport_ids.insert(transport.id, slot);
        for ufrag in &transport.ufrags {
            self.ufrags.insert(ufrag.clone(), Route::Here(slot));
        }
        for tuple in transport.association.validated() {
            self.flows.insert(tuple, Route::Here(slot));
        }
        self.transports[slot] = Some(transport);
        slot
    }
}
