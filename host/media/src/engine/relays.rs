//! Relays: what other places' engines send here. A relayed packet enters at the router, where a local one
//! already stands.

use super::Engine;
use crate::io::Crossing;
use crate::station::Source;
use tidegate_types::relay::{MissingSet, RelayMessage, RelayPacket};
use tidegate_types::{Now, Place, RelayId};

impl Engine {
    /// One message of a relay that begins or ends here. Of a relay that is unknown (closed, or not yet open) it
    /// is counted and dropped: what matters is told again.
    pub(super) fn receive_relay(&mut self, now: Now, from: Place, message: RelayMessage) {
        let relay = message.relay();
        let known = match &message {
            RelayMessage::Media(_)
            | RelayMessage::Clock(_)
            | RelayMessage::Highest { .. }
            | RelayMessage::Rates { .. }
            | RelayMessage::Alive { .. } => self.relay_sinks.get(&relay),
            RelayMessage::Nack { .. }
            | RelayMessage::KeyframeRequest { .. }
            | RelayMessage::Resume { .. }
            | RelayMessage::Demand { .. } => self.relay_sources.get(&relay),
        };
        let Some(&station) = known else {
            *self.dropped.entry("unknown-relay").or_default() += 1;
            return;
        };
        if let Some(Source::Relay(sink)) = self.source_of(station)
            && sink.id == relay
        {
            // Its source may have moved.
            sink.from = from;
        }
        match message {
            RelayMessage::Media(carried) => self.enter(now, station, carried),
            RelayMessage::Clock(told) => {
                let standing = self.stations.get_mut(station).and_then(Option::as_mut);
                let standing = standing.and_then(|at| at.encodings.get_mut(usize::from(told.encoding)));
                if let Some(standing) = standing {
                    standing.clock = Some(told.clock);
                }
                self.pass_on(station, &RelayMessage::Clock(told));
            }
            RelayMessage::Highest { sequence, .. } => {
                if let Some(Source::Relay(sink)) = self.source_of(station) {
                    sink.missing.note_sent(now.instant, sequence);
                }
                self.watch_gaps(station);
            }
            RelayMessage::Alive { encodings, .. } => {
                if let Some(Source::Relay(sink)) = self.source_of(station) {
                    sink.set_alive(encodings);
                }
                self.choose_layers(now, station);
                // The source that says so may be new, and not know what is wanted.
                if let Some(Source::Relay(sink)) = self.source_of(station) {
                    let again = sink.demand_again();
                    self.output.crossings.push((from, Crossing::Relay(again)));
                }
            }
            RelayMessage::Rates { rates, .. } => {
                if let Some(standing) = self.stations.get_mut(station).and_then(Option::as_mut) {
                    standing.rates = rates;
                }
            }
            RelayMessage::Nack { missing, .. } => self.repair_relay(from, station, relay, missing),
            RelayMessage::KeyframeRequest { encoding, .. } => {
                if let Some(station) = self.stations.get_mut(station).and_then(Option::as_mut) {
                    let source = station.relays.iter().find(|source| source.id == relay);
                    if source.is_some_and(|source| source.is_replaying(encoding, now.instant)) {
                        return;
                    }
                    station.want_keyframe(encoding, now.instant);
                }
                self.ask_keyframes(now, station);
                self.housekeep_by(now);
            }
            RelayMessage::Resume { encoding, sequence, .. } => {
                let relays = self.stations.get_mut(station).and_then(Option::as_mut).map(|at| &mut at.relays);
                if let Some(source) = relays.and_then(|all| all.iter_mut().find(|source| source.id == relay))
                {
                    source.resume(encoding, sequence, now.instant);
                }
                self.begin_replays(now, station);
                self.choose_layers(now, station);
            }
            RelayMessage::Demand { encodings, .. } => {
                if self.want(now, station, relay, encodings) {
                    self.begin_replays(now, station);
                }
                self.choose_layers(now, station);
            }
        }
    }

    /// A relay's far end told what it wants; whether something is to be replayed.
    fn want(&mut self, now: Now, station: usize, relay: RelayId, encodings: u32) -> bool {
        let Some(station) = self.stations.get_mut(station).and_then(Option::as_mut) else { return false };
        let mut relays = std::mem::take(&mut station.relays);
        let source = relays.iter_mut().find(|source| source.id == relay);
        let begins = source.is_some_and(|source| {
            source.want(encodings, now.instant, |encoding| station.chain(encoding, now.instant))
        });
        station.relays = relays;
        begins
    }

    fn source_of(&mut self, station: usize) -> Option<&mut Source> {
        self.stations.get_mut(station)?.as_mut().map(|station| &mut station.source)
    }

    fn enter(&mut self, now: Now, station: usize, carried: RelayPacket) {
        let Some(Source::Relay(sink)) = self.source_of(station) else { return };
        if let Some(packet) = sink.accept(now.instant, carried) {
            self.route(now, station, packet);
        }
        self.watch_gaps(station);
    }

    /// Sees to it that a relay's gap is asked for in time.
    fn watch_gaps(&mut self, station: usize) {
        if let Some(Source::Relay(sink)) = self.source_of(station)
            && let Some(due) = sink.missing.due()
        {
            self.housekeep_at(due);
        }
    }

    fn pass_on(&mut self, station: usize, message: &RelayMessage) {
        let Some(station) = self.stations.get_mut(station).and_then(Option::as_mut) else { return };
        if let RelayMessage::Clock(told) = message {
            for relay in &station.relays {
                let told = tidegate_types::relay::RelayClock { relay: relay.id, ..*told };
                self.output.crossings.push((relay.to, Crossing::Relay(RelayMessage::Clock(told))));
            }
        }
    }

    fn repair_relay(&mut self, to: Place, station: usize, relay: RelayId, missing: MissingSet) {
        let Some(station) = self.stations.get_mut(station).and_then(Option::as_mut) else { return };
        let Some(source) = station.relays.iter_mut().find(|source| source.id == relay) else { return };
        for sequence in missing.iter() {
            source.stats.nacked += 1;
            let packet = source.original(sequence).and_then(|(original, encoding)| {
                station.encodings.get(usize::from(encoding))?.history.get(original).cloned()
            });
            let Some(packet) = packet else {
                source.stats.lost += 1;
                continue;
            };
            source.stats.repaired += 1;
            let carried = RelayPacket { relay, sequence, repair: true, packet };
            self.output.crossings.push((to, Crossing::Relay(RelayMessage::Media(carried))));
        }
    }
}
