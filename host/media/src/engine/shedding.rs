//! Sheds layers where the shard cannot keep up: what its owner measured goes to the [`Shedder`], and what that leaves is
//! a bound on what each consumer may have. Knows nothing of how the delay is measured.

use super::Engine;
use crate::shed::{Level, Shedder};
use std::time::Duration;
use tidegate_types::report::Report;
use tidegate_types::{MediaKind, Now};

impl Engine {
    /// Sheds above this delay; `None`: never. Without this, above [`crate::shed::WATERMARK`].
    #[must_use]
    pub fn shedding_above(self, watermark: Option<Duration>) -> Self {
        Self { shedder: Shedder::new(watermark), ..self }
    }

    /// Takes how long packets waited of late, every [`crate::shed::TICK`] while there are any or something is shed.
    /// Returns how much is shed where that changed.
    pub fn note_delay(&mut self, now: Now, delay: Duration) -> Option<Level> {
        let level = self.shedder.note(now.instant, delay)?;
        for slot in 0..self.transports.len() {
            self.share_one(now, slot);
        }
        Some(level)
    }

    /// How much is shed.
    #[must_use]
    pub fn shed_level(&self) -> Level {
        self.shedder.level()
    }

    /// Bounds what one transport's consumers may have by what is left of their pictures. Stations whose consumers have
    /// to choose anew are noted.
    pub(super) fn shed(&mut self, slot: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        for consumer in transport.consumers.iter_mut().flatten() {
            let station = consumer.station.and_then(|at| self.stations.get(at)?.as_ref());
            let Some(station) = station.filter(|_| consumer.kind == MediaKind::Video) else { continue };
            let left = self.shedder.level().leaves(station.speaks, station.highest_layer());
            let before = consumer.stats.allowance;
            if consumer.leave(left) {
                self.sharing.changed.extend(consumer.station);
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
