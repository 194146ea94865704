//! The shards as policies are told of them: rows, what changed since the last feed, and promises that no load
//! report shows yet. Knows nothing of rooms, questions or timers.
//!
//! A promise is kept for each column apart. It lapses once a report reaches the level that the place would show
//! with this promise and every earlier one fulfilled.

use crate::config::ShardSeed;
use std::collections::BTreeMap;
use tidegate_types::cluster::{CellChange, Column, Feed, ShardRow};
use tidegate_types::report::LoadReport;
use tidegate_types::{Place, RelayId, TransportId};

/// Whom a promise was made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Transport(TransportId),
    Relay(RelayId),
}

/// What a placement is expected to bring to its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) transports: u64,
    pub(crate) ingress_kbps: u64,
    pub(crate) egress_kbps: u64,
}

/// The promised columns, each with the one that a report will show it in.
const PROMISED: [(Column, Column); 3] = [
    (Column::ReservedTransports, Column::Transports),
    (Column::ReservedIngress, Column::Ingress),
    (Column::ReservedEgress, Column::Egress),
];

/// One column's share of a promise.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    amount: u64,
    /// What the reported column shows once this promise and all before it are kept.
    level: u64,
}

#[derive(Clone, Debug)]
struct Reservation {
    place: Place,
    parts: [Part; PROMISED.len()],
}

/// All shards.
#[derive(Debug)]
pub(crate) struct Cluster {
    rows: Vec<ShardRow>,
    index: BTreeMap<Place, u32>,
    generation: u64,
    changes: BTreeMap<(u32, Column), u64>,
    reservations: BTreeMap<Holder, Reservation>,
}

impl Cluster {
    pub(crate) fn new(seeds: Vec<ShardSeed>) -> Self {
        let mut cluster = Self {
            rows: Vec::new(),
            index: BTreeMap::new(),
            generation: 0,
            changes: BTreeMap::new(),
            reservations: BTreeMap::new(),
        };
        cluster.replace(seeds);
        cluster
    }

    pub(crate) fn rows(&self) -> &[ShardRow] {
        &self.rows
    }

    pub(crate) fn has(&self, place: Place) -> bool {
        self.index.contains_key(&place)
    }

    /// Exists and doesn't drain.
    pub(crate) fn takes(&self, place: Place) -> bool {
        self.row(place).is_some_and(|row| row.value(Column::Draining) == 0)
    }

    /// Exactly these shards from now on; what is known of those that stay is kept.
    pub(crate) fn replace(&mut self, seeds: Vec<ShardSeed>) {
        let mut rows: Vec<ShardRow> = Vec::with_capacity(seeds.len());
        let mut index = BTreeMap::new();
        for seed in seeds {
            let values = self.row(seed.place).map_or([0; Column::ALL.len()], |row| row.values);
            let Ok(handle) = u32::try_from(rows.len()) else { break };
            if index.insert(seed.place, handle).is_none() {
                rows.push(ShardRow {
                    place: seed.place,
                    region: seed.region,
                    node_name: seed.node_name,
                    values,
                });
            }
        }
        (self.rows, self.index) = (rows, index);
        self.changes.clear();
        let index = &self.index;
        self.reservations.retain(|_, reservation| index.contains_key(&reservation.place));
    }

    /// The whole cluster under a new generation.
    pub(crate) fn reset(&mut self) -> Feed {
        self.generation += 1;
        self.changes.clear();
        Feed::Reset { generation: self.generation, rows: self.rows.clone() }
    }

    /// What changed since the last feed, if anything did.
    pub(crate) fn delta(&mut self) -> Option<Feed> {
        if self.changes.is_empty() {
            return None;
        }
        let changes = std::mem::take(&mut self.changes)
            .into_iter()
            .map(|((row, column), value)| CellChange { row, column, value })
            .collect();
        Some(Feed::Delta { generation: self.generation, changes })
    }

    /// Takes a load report; promises that it shows are kept and lapse.
    pub(crate) fn report(&mut self, place: Place, load: &LoadReport) -> Vec<Holder> {
        for (column, value) in ShardRow::reported(load) {
            self.set(place, column, value);
        }
        let mut kept = Vec::new();
        let mut shown = [0; PROMISED.len()];
        for (holder, reservation) in &mut self.reservations {
            if reservation.place == place && keep(reservation, &self.rows, &self.index, &mut shown) {
                kept.push(*holder);
            }
        }
        for ((promised, _), amount) in PROMISED.into_iter().zip(shown) {
            self.subtract(place, promised, amount);
        }
        for holder in &kept {
            self.reservations.remove(holder);
        }
        kept
    }

    pub(crate) fn set_draining(&mut self, place: Place, draining: bool) {
        self.set(place, Column::Draining, u64::from(draining));
    }

    /// Adds a promise; an earlier one of the same holder is released.
    pub(crate) fn reserve(&mut self, holder: Holder, place: Place, promise: Promise) {
        self.release(holder);
        let amounts = [promise.transports, promise.ingress_kbps, promise.egress_kbps];
        let mut parts = [Part::default(); PROMISED.len()];
        for ((part, (promised, reported)), amount) in parts.iter_mut().zip(PROMISED).zip(amounts) {
            let Some(row) = self.row(place) else { return };
            let outstanding = row.value(promised).saturating_add(amount);
            *part = Part { amount, level: row.value(reported).saturating_add(outstanding) };
            self.set(place, promised, outstanding);
        }
        self.reservations.insert(holder, Reservation { place, parts });
    }

    /// Takes back what is left of a promise: it lapsed, or what it was for is gone.
    pub(crate) fn release(&mut self, holder: Holder) {
        let Some(gone) = self.reservations.remove(&holder) else { return };
        for (column, part) in gone.parts.into_iter().enumerate() {
            self.subtract(gone.place, PROMISED[column].0, part.amount);
            for later in self.reservations.values_mut().filter(|later| later.place == gone.place) {
                let later = &mut later.parts[column];
                if later.level > part.level {
                    later.level = later.level.saturating_sub(part.amount);
                }
            }
        }
    }

    /// Egress still promised to a holder.
    pub(crate) fn reserved_egress(&self, holder: Holder) -> u64 {
        self.reservations.get(&holder).map_or(0, |reservation| reservation.parts[2].amount)
    }

    pub(crate) fn reservations(&self) -> usize {
        self.reservations.len()
    }

    fn row(&self, place: Place) -> Option<&ShardRow> {
        self.rows.get(*self.index.get(&place)? as usize)
    }

    fn subtract(&mut self, place: Place, column: Column, amount: u64) {
        if let Some(value) = self.row(place).map(|row| row.value(column)) {
            self.set(place, column, value.saturating_sub(amount));
        }
    }

    /// Only a changed cell is told.
    fn set(&mut self, place: Place, column: Column, value: u64) {
        let Some(&handle) = self.index.get(&place) else { return };
        let Some(row) = self.rows.get_mut(handle as usize) else { return };
        let cell = &mut row.values[column.index()];
        if *cell != value {
            *cell = value;
            self.changes.insert((handle, column), value);
        }
    }
}

/// Adds what the place now shows of one reservation to `shown`; true if nothing of it is left.
fn keep(
    reservation: &mut Reservation,
    rows: &[ShardRow],
    index: &BTreeMap<Place, u32>,
    shown: &mut [u64; PROMISED.len()],
) -> bool {
    let Some(row) = index.get(&reservation.place).and_then(|&handle| rows.get(handle as usize)) else {
        return true;
    };
    for (column, part) in reservation.parts.iter_mut().enumerate() {
        if row.value(PROMISED[column].1) >= part.level {
            shown[column] += part.amount;
            part.amount = 0;
        }
    }
    reservation.parts.iter().all(|part| part.amount == 0)
}

#[cfg(test)]
mod tests {
    use super::{Cluster, Holder, Promise};
    use crate::ShardSeed;
    use tidegate_types::cluster::{Column, Feed};
    use tidegate_types::report::LoadReport;
    use tidegate_types::{Place, TransportId};

    const HERE: Place = Place::local(0);

    fn one_shard() -> Cluster {
        Cluster::new(vec![ShardSeed { place: HERE, node_name: "a".into(), region: String::new() }])
    }

    fn reserved(cluster: &Cluster) -> (u64, u64) {
        let row = &cluster.rows()[0];
        (row.value(Column::ReservedTransports), row.value(Column::ReservedIngress))
    }

    fn promise(number: u64) -> (Holder, Promise) {
        let promise = Promise { transports: 1, ingress_kbps: 100, egress_kbps: 0 };
        (Holder::Transport(TransportId(number)), promise)
    }

    #[test]
    fn promises_lapse_one_by_one_as_reports_show_them() {
        let mut cluster = one_shard();
        for number in 0..3 {
            let (holder, promise) = promise(number);
            cluster.reserve(holder, HERE, promise);
        }
        assert_eq!(reserved(&cluster), (3, 300));
        let kept =
            cluster.report(HERE, &LoadReport { transports: 2, ingress_kbps: 150, ..LoadReport::default() });
        assert_eq!(kept, [promise(0).0]);
        assert_eq!(reserved(&cluster), (1, 200));
        cluster.report(HERE, &LoadReport { transports: 3, ingress_kbps: 300, ..LoadReport::default() });
        assert_eq!((reserved(&cluster), cluster.reservations()), ((0, 0), 0));
    }

    #[test]
    fn a_promise_taken_back_lets_the_later_ones_lapse_earlier() {
        let mut cluster = one_shard();
        for number in 0..2 {
            let (holder, promise) = promise(number);
            cluster.reserve(holder, HERE, promise);
        }
        cluster.release(promise(0).0);
        assert_eq!(reserved(&cluster), (1, 100));
        cluster.report(HERE, &LoadReport { transports: 1, ingress_kbps: 100, ..LoadReport::default() });
        assert_eq!(cluster.reservations(), 0);
    }

    #[test]
    fn only_changed_cells_are_told() {
        let mut cluster = one_shard();
        cluster.reset();
        let load = LoadReport { cpu_permille: 5, ..LoadReport::default() };
        cluster.report(HERE, &load);
        let Some(Feed::Delta { changes, .. }) = cluster.delta() else { panic!("a change is told") };
        assert_eq!((changes.len(), changes[0].column), (1, Column::Cpu));
        cluster.report(HERE, &load);
        assert_eq!(cluster.delta(), None);
    }
}
