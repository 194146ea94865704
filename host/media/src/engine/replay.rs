//! Replays under way: seats and relays that are sent what was held before they get live packets. Knows nothing of
//! when one begins.

use super::Engine;
use crate::io::Crossing;
use std::time::Instant;
use tidegate_types::Now;
use tidegate_types::report::Report;

/// Which stations have replays, and when the first of them moves on.
#[derive(Debug, Default)]
pub(super) struct Replays {
    /// Each once; one that is gone, or has none any more, leaves at its next turn.
    stations: Vec<usize>,
    pub(super) due: Option<Instant>,
}

impl Replays {
    /// Stations that have some.
    pub(super) fn len(&self) -> usize {
        self.stations.len()
    }
}

impl Engine {
    /// Seats or relays of a station have cursors that are new: their first packets go at once.
    pub(super) fn begin_replays(&mut self, now: Now, station: usize) {
        let goes_on = self.replay_station(now, station);
        if goes_on && !self.replays.stations.contains(&station) {
            self.replays.stations.push(station);
        }
    }

    /// Every replay that is due moves on.
    pub(super) fn replay(&mut self, now: Now) {
        let mut stations = std::mem::take(&mut self.replays.stations);
        self.replays.due = None;
        stations.retain(|station| self.replay_station(now, *station));
        self.replays.stations = stations;
    }

    /// Whether any of its replays goes on.
    fn replay_station(&mut self, now: Now, index: usize) -> bool {
        let due = self.replay_to_seats(now, index).into_iter().chain(self.replay_to_relays(now, index)).min();
        self.replays.due = self.replays.due.into_iter().chain(due).min();
        due.is_some()
    }

    /// When the next seat's replay moves on.
    fn replay_to_seats(&mut self, now: Now, index: usize) -> Option<Instant> {
        let station = self.stations.get(index)?.as_ref()?;
        let clocks = |encoding| station.clock(encoding);
        let (mut due, mut stranded) = (None::<Instant>, 0_u32);
        for seat in &station.seats {
            let Some(transport) = self.transports.get_mut(seat.transport).and_then(Option::as_mut) else {
                continue;
            };
            let Some(Some(consumer)) = transport.consumers.get_mut(seat.consumer) else { continue };
            let Some(cursor) = consumer.replay else { continue };
            if cursor.due > now.instant {
                due = due.into_iter().chain([cursor.due]).min();
                continue;
            }
            let Some(standing) = station.encodings.get(usize::from(cursor.encoding)) else {
                consumer.replay = None;
                continue;
            };
            let before = consumer.current();
            let (range, rest) = cursor.step(&standing.history, now.instant);
            consumer.replay = rest;
            for packet in standing.history.from(range.start).take_while(|held| held.sequence < range.end) {
                let out = &mut self.output.datagrams;
                transport.send(now, seat.consumer, packet, now.instant, clocks, out);
            }
            let Some(Some(consumer)) = transport.consumers.get_mut(seat.consumer) else { continue };
            let current = consumer.current();
            if current != before {
                let (consumer, allowance) = (consumer.id, consumer.stats.allowance);
                let changed = Report::LayersChanged { consumer, encoding: current, allowance };
                self.output.reports.push(changed);
            }
            if current == Some(cursor.encoding) {
                due = due.into_iter().chain(consumer.replay.map(|rest| rest.due)).min();
            } else {
                // It did not take the chain's beginning, or went elsewhere meanwhile.
                consumer.replay = None;
                stranded |= consumer.awaits_keyframe().map_or(0, |encoding| 1 << encoding);
            }
        }
        if stranded != 0 {
            self.want_keyframes(now, index, stranded);
        }
        due
    }

    /// When the next relay's replay moves on.
    fn replay_to_relays(&mut self, now: Now, index: usize) -> Option<Instant> {
        let station = self.stations.get_mut(index)?.as_mut()?;
        let crossings = &mut self.output.crossings;
        let due = station.relays.iter_mut().filter_map(|relay| {
            relay.replay(&station.encodings, now.instant, |to, message| {
                crossings.push((to, Crossing::Relay(message)));
            })
        });
        due.min()
    }

    fn want_keyframes(&mut self, now: Now, index: usize, encodings: u32) {
        if let Some(station) = self.stations.get_mut(index).and_then(Option::as_mut) {
            for encoding in (0..32_u8).filter(|encoding| encodings >> encoding & 1 == 1) {
                station.want_keyframe(encoding, now.instant);
            }
        }
        self.ask_keyframes(now, index);
        self.housekeep_by(now);
    }
}
