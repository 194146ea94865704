//! Tells publishers that hear no messages how much they need bring in. Knows nothing of how that is counted.

use super::Engine;
use tidegate_types::{Bitrate, MediaKind, Now};

impl Engine {
    /// Bounds what one publisher brings in by what is watched of it, if it is told so at all.
    pub(super) fn bound_upload(&mut self, now: Now, slot: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        // What sound takes is nothing to save.
        let mut producers = transport.producers.iter().flatten();
        let pictures = producers.any(|producer| producer.parameters.kind == MediaKind::Video);
        if !transport.limits.told_by_ceiling || !pictures {
            return;
        }
        let stations = transport.producers.iter().flatten().map(|producer| producer.station);
        let mut needed = stations.filter_map(|station| self.stations.get(station)?.as_ref());
        let most = needed.try_fold(0, |sum, station| Some(sum + station.needed_kbps(now.instant)?));
        transport.need(now, most.map(Bitrate::from_kbps), &mut self.output.datagrams);
    }
}
