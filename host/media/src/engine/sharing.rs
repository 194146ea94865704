//! Has each transport's bit rate divided among its consumers, and lets those choose anew. Knows nothing of how it is
//! divided or estimated.

use super::Engine;
use crate::share::{Claim, divide};
use std::time::{Duration, Instant};
use tidegate_types::report::Report;
use tidegate_types::{MediaKind, Now, ProducerId, RouterId};

/// How often: a step down waits for the next keyframe anyhow, and rates are averages over more.
const INTERVAL: Duration = Duration::from_millis(200);
/// What sharing keeps between two rounds; all of it reused.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    due: Option<Instant>,
    claims: Vec<Claim>,
    /// Stations whose consumers have to choose anew.
    pub(super) changed: Vec<usize>,
}

impl Engine {
    /// Measures every station and divides every transport's bit rate, if it is time.
    pub(super) fn share_all(&mut self, now: Now) {
        if self.sharing.due.is_some_and(|due| now.instant < due) {
            return;
        }
        self.sharing.due = Some(now.instant + INTERVAL);
        for station in self.stations.iter_mut().flatten() {
            station.measure(now.instant);
        }
        for slot in 0..self.transports.len() {
            self.share_one(now, slot);
            self.bound_upload(now, slot);
        }
    }

    /// Whoever speaks in a router comes first in every division. A stand-in that is made later learns of it with the
    /// next change.
    pub(super) fn set_speaker(&mut self, router: RouterId, pictures: &[ProducerId]) {
        for station in self.stations.iter_mut().flatten().filter(|station| station.router == router) {
            station.speaks = pictures.contains(&station.producer);
        }
    }

    /// Bounds what a transport's consumers may have, by what is shed and by its bit rate.
    pub(super) fn share_one(&mut self, now: Now, slot: usize) {
        self.shed(slot);
        self.divide_one(now, slot);
        while let Some(station) = self.sharing.changed.pop() {
            self.choose_layers(now, station);
        }
    }

    /// Divides one transport's bit rate among its consumers. Stations whose consumers have to choose anew are noted.
    fn divide_one(&mut self, now: Now, slot: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        let Some(budget) = transport.budget() else { return };
        let (claims, changed) = (&mut self.sharing.claims, &mut self.sharing.changed);
        claims.clear();
        let mut sound_kbps = 0;
        for (index, consumer) in transport.consumers.iter().enumerate() {
            let Some(consumer) = consumer else { continue };
            let station = consumer.station.and_then(|at| self.stations.get(at)?.as_ref());
            let Some((station, wish)) = station.filter(|station| !station.paused).zip(consumer.wish()) else {
                continue;
            };
            match consumer.kind {
                MediaKind::Audio => sound_kbps += u64::from(station.rates.kbps[0]),
                MediaKind::Video => {
                    let ladder = station.ladder(wish);
                    if !ladder.rungs().is_empty() {
                        claims.push(Claim::new(index, u8::from(station.speaks), ladder, consumer.share));
                    }
                }
            }
        }
        let division = divide(now.instant, budget.kbps().saturating_sub(sound_kbps), claims);
        transport.note_division(sound_kbps, division);
        for claim in claims {
            let Some(Some(consumer)) = transport.consumers.get_mut(claim.consumer) else { continue };
            consumer.share = claim.share;
            let before = consumer.stats.allowance;
            if consumer.limit(claim.share.layer, claim.is_full()) {
                changed.extend(consumer.station);
            }
            if consumer.stats.allowance != before {
                self.output.reports.push(Report::LayersChanged {
                    consumer: consumer.id,
                    encoding: consumer.current(),
                    allowance: consumer.stats.allowance,
                });
            }
        }
    }
}
