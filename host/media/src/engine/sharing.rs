//! Has each transport's bit rate divided among its consumers, and lets those choose anew. Knows nothing of how it is
//! divided or estimated, or who says what a track is worth.

use super::Engine;
use crate::consumer::Consumer;
use crate::share::{Claim, OWN_RANKS, Share, divide};
use crate::station::Source;
use std::time::{Duration, Instant};
use tidegate_types::consumer::LayerPreference;
use tidegate_types::report::Report;
use tidegate_types::sharing::{Portion, RouterRates};
use tidegate_types::{MediaKind, Now, ProducerId, RouterId};

/// How often: a step down waits for the next keyframe anyhow, and rates are averages over more.
const INTERVAL: Duration = Duration::from_millis(200);
/// What is divided where nothing but a policy's word bounds a transport: more than any takes.
const UNBOUNDED_KBPS: u64 = 100_000_000;
const _: () = assert!(OWN_RANKS == 2, "who speaks, and who does not");
/// What sharing keeps between two rounds; all of it reused.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    due: Option<Instant>,
    claims: Vec<Claim>,
    /// Until when anything that a policy told holds here.
    told_until: Option<Instant>,
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

    /// A policy says what a router's tracks are worth; the next division heeds it.
    pub(super) fn set_shares(
        &mut self,
        now: Now,
        router: RouterId,
        portions: &[(ProducerId, Portion)],
        valid_ms: u32,
    ) {
        for station in self.stations.iter_mut().flatten().filter(|station| station.router == router) {
            station.told = None;
        }
        let until = now.instant + Duration::from_millis(valid_ms.into());
        for (producer, portion) in portions {
            let index = self.station_ids.get(producer).copied();
            let station = index.and_then(|index| self.stations.get_mut(index)?.as_mut());
            if let Some(station) = station.filter(|station| station.router == router) {
                station.told = Some((*portion, until));
                self.sharing.told_until = self.sharing.told_until.max(Some(until));
            }
        }
    }

    /// What a router's tracks bring in here, and what the ways of its transports here carry.
    pub(super) fn rates(&self, router: RouterId) -> RouterRates {
        let transports = self.transports.iter().flatten().filter(|transport| transport.router == router);
        let local = |station: &&crate::station::Station| {
            station.router == router && matches!(station.source, Source::Local { .. })
        };
        RouterRates {
            transports: transports.map(|transport| (transport.id, transport.receiver_rates())).collect(),
            tracks: self
                .stations
                .iter()
                .flatten()
                .filter(local)
                .map(|station| (station.producer, station.ingress_kbps()))
                .collect(),
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
        let (budget, now_told) =
            (transport.budget(), self.sharing.told_until.is_some_and(|until| now.instant < until));
        if budget.is_none() && !now_told && !transport.is_told {
            return;
        }
        let mut is_told = false;
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
                        let claim = Claim::new(index, u8::from(station.speaks), ladder, consumer.share);
                        let portion = station.portion(now.instant);
                        is_told |= portion.is_some();
                        claims.push(portion.map_or(claim, |portion| claim.under(portion)));
                    }
                }
            }
        }
        let was_told = std::mem::replace(&mut transport.is_told, is_told);
        let reports = &mut self.output.reports;
        match budget {
            // What bounded it holds no longer, and nothing else does.
            None if !is_told => {
                let pictures = transport.consumers.iter_mut().flatten();
                for consumer in pictures.filter(|one| was_told && one.kind == MediaKind::Video) {
                    consumer.share = Share::default();
                    settle(consumer, Some(LayerPreference::HIGHEST), true, changed, reports);
                }
                return;
            }
            None => {
                divide(now.instant, UNBOUNDED_KBPS, claims);
            }
            Some(budget) => {
                let division = divide(now.instant, budget.kbps().saturating_sub(sound_kbps), claims);
                transport.note_division(sound_kbps, division);
            }
        }
        for claim in claims {
            let Some(Some(consumer)) = transport.consumers.get_mut(claim.consumer) else { continue };
            consumer.share = claim.share;
            settle(consumer, claim.share.layer, claim.is_full(), changed, reports);
        }
    }
}

/// Lets a consumer have so much, and notes what that changes.
fn settle(
    consumer: &mut Consumer,
    layer: Option<LayerPreference>,
    full: bool,
    changed: &mut Vec<usize>,
    reports: &mut Vec<Report>,
) {
    let before = consumer.stats.allowance;
    if consumer.limit(layer, full) {
        changed.extend(consumer.station);
    }
    if consumer.stats.allowance != before {
        reports.push(Report::LayersChanged {
            consumer: consumer.id,
            encoding: consumer.current(),
            allowance: consumer.stats.allowance,
        });
    }
}
