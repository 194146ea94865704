//! What an engine does because time passed: transports' timers, sender reports, keyframes still awaited, levels,
//! relays' gaps. Deadlines only: an engine without media sleeps.

use super::Engine;
use crate::io::Crossing;
use crate::station::Source;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_types::report::Report;
use tidegate_types::router::AudioLevels;
use tidegate_types::{Now, RouterId};

/// Stations are looked after this often while media flows; it bounds how late a keyframe is asked for again.
const INTERVAL: Duration = Duration::from_millis(100);
/// Every so many rounds what may have been lost is told again (demand, aliveness).
const AGAIN: u64 = 10;

impl Engine {
    /// Time passed.
    pub fn timeout(&mut self, now: Now) {
        while let Some(Reverse((at, slot))) = self.deadlines.peek().copied() {
            if at > now.instant {
                break;
            }
            self.deadlines.pop();
            self.transport_timeout(now, at, slot);
        }
        if self.replays.due.is_some_and(|due| due <= now.instant) {
            self.replay(now);
        }
        if self.housekeeping.is_some_and(|at| at <= now.instant) {
            self.housekeeping = None;
            self.housekeep(now);
        }
    }

    fn transport_timeout(&mut self, now: Now, at: Instant, slot: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        if transport.armed != Some(at) {
            return;
        }
        transport.armed = None;
        if transport.timeout(now, &mut self.output.datagrams) {
            let clock_of = |station: usize, encoding| self.stations.get(station)?.as_ref()?.clock(encoding);
            transport.sender_reports(now, clock_of, &mut self.output.datagrams);
        }
        self.drain_association(now, slot);
        self.data_timeout(now, slot);
        self.arm(slot);
    }

    /// Stations want to be looked after soon.
    pub(super) fn housekeep_by(&mut self, now: Now) {
        self.housekeeping.get_or_insert(now.instant + INTERVAL);
    }

    /// A relay's gap is to be asked for at `due`.
    pub(super) fn housekeep_at(&mut self, due: Instant) {
        self.housekeeping = Some(self.housekeeping.map_or(due, |at| at.min(due)));
    }

    fn housekeep(&mut self, now: Now) {
        let again = self.housekept.is_multiple_of(AGAIN);
        self.housekept += 1;
        let mut flowing = false;
        for index in 0..self.stations.len() {
            flowing |= self.housekeep_station(now, index, again);
        }
        self.report_levels();
        self.share_all(now);
        if flowing {
            self.housekeep_by(now);
        }
    }

    fn housekeep_station(&mut self, now: Now, index: usize, again: bool) -> bool {
        if again {
            self.choose_layers(now, index);
        }
        self.ask_keyframes(now, index);
        let Some(station) = self.stations.get_mut(index).and_then(Option::as_mut) else { return false };
        let crossings = &mut self.output.crossings;
        station.tell_relays(now.instant, |to, message| crossings.push((to, Crossing::Relay(message))));
        if again {
            station.tell_rates(|to, message| crossings.push((to, Crossing::Relay(message))));
        }
        if let Some(silent) = station.silence_changed(now.instant) {
            self.output.reports.push(Report::ProducerSilent { producer: station.producer, silent });
        }
        let flowing = station.alive(now.instant) != 0 || !station.seats.is_empty();
        if let Source::Relay(sink) = &mut station.source {
            let from = sink.from;
            sink.ask(now.instant, |message| crossings.push((from, Crossing::Relay(message))));
            if again {
                crossings.push((from, Crossing::Relay(sink.demand_again())));
            }
            if let Some(due) = sink.missing.due() {
                self.housekeep_at(due);
            }
        }
        flowing
    }

    fn report_levels(&mut self) {
        let mut routers: BTreeMap<RouterId, AudioLevels> = BTreeMap::new();
        for station in self.stations.iter_mut().flatten() {
            let local = matches!(station.source, Source::Local { .. });
            if let Some(level) = station.take_level().filter(|_| local) {
                let router = station.router;
                routers
                    .entry(router)
                    .or_insert_with(|| AudioLevels { router, levels: Vec::new() })
                    .levels
                    .push(level);
            }
        }
        self.output.reports.extend(routers.into_values().map(Report::AudioLevels));
    }
}
