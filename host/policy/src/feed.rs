//! The cluster as instances must know it, and what each of them has missed. Knows nothing of queues or of
//! WebAssembly memory.
//!
//! ```text
//! directory ── Feed ──▶ Mirror (columns, log of changes) ── News since a position ──▶ each instance
//! ```
//!
//! An instance that fell behind further than the log reaches gets the whole, so the log can be short.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tidegate_types::Place;
use tidegate_types::cluster::{CellChange, Column, Feed, ShardRow};

/// The most changes that the log keeps. More makes resets rarer and each catch-up longer.
const LOGGED_CHANGES: usize = 65_536;

/// Number columns beyond [`Column::ALL`] that say where a row stands: node and shard.
const WHERE_COLUMNS: usize = 2;

/// All columns that are told to policies, with their units, in the order of their handles.
pub(crate) fn columns() -> impl Iterator<Item = (&'static str, &'static str)> {
    Column::ALL.iter().map(|column| (column.name(), column.unit())).chain([("node", "id"), ("shard", "id")])
}

/// Which place a row handle means, under one generation. The only home of that translation.
#[derive(Debug, Default)]
pub(crate) struct Places {
    by_row: Vec<Place>,
    rows: HashMap<Place, u32>,
}

impl Places {
    fn new(rows: &[ShardRow]) -> Self {
        let by_row: Vec<Place> = rows.iter().map(|row| row.place).collect();
        let rows = (0..).zip(&by_row).map(|(handle, place)| (*place, handle)).collect();
        Self { by_row, rows }
    }

    /// The place of a row; `None` if the feed has no such row.
    pub(crate) fn place(&self, row: u32) -> Option<Place> {
        self.by_row.get(usize::try_from(row).ok()?).copied()
    }

    /// The row of a place; `None` if the feed does not know it.
    pub(crate) fn row(&self, place: Place) -> Option<u32> {
        self.rows.get(&place).copied()
    }
}

/// A column of texts: each told once, and its position a row.
#[derive(Debug)]
pub(crate) struct Labels {
    pub(crate) name: &'static str,
    pub(crate) texts: Vec<String>,
    pub(crate) values: Vec<u32>,
}

/// The whole cluster at one moment, in columns.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    generation: u64,
    places: Arc<Places>,
    labels: Arc<Vec<Labels>>,
    /// Shared with those who are being told of it: a reset copies nothing while the mirror is locked.
    numbers: Arc<Vec<Vec<u64>>>,
}

impl Cluster {
    /// From the rows of a reset.
    #[must_use]
    pub fn new(generation: u64, rows: &[ShardRow]) -> Self {
        let mut numbers: Vec<Vec<u64>> =
            Column::ALL.iter().map(|column| rows.iter().map(|row| row.value(*column)).collect()).collect();
        numbers.push(rows.iter().map(|row| row.place.node.0).collect());
        numbers.push(rows.iter().map(|row| u64::from(row.place.shard.0)).collect());
        let labels = vec![
            label("node-name", rows.iter().map(|row| row.node_name.as_str())),
            label("region", rows.iter().map(|row| row.region.as_str())),
        ];
        let (places, numbers) = (Arc::new(Places::new(rows)), Arc::new(numbers));
        Self { generation, places, labels: Arc::new(labels), numbers }
    }

    /// Which reset this is.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.places.by_row.len()
    }

    /// The place of a row.
    #[must_use]
    pub fn place(&self, row: u32) -> Option<Place> {
        self.places.place(row)
    }

    /// One column, a value a row; empty before the first reset.
    #[must_use]
    pub fn column(&self, column: Column) -> &[u64] {
        self.numbers.get(column.index()).map_or(&[], Vec::as_slice)
    }

    pub(crate) const fn places(&self) -> &Arc<Places> {
        &self.places
    }

    pub(crate) fn labels(&self) -> &[Labels] {
        &self.labels
    }

    /// All number columns, in the order of [`columns`].
    pub(crate) fn numbers(&self) -> &[Vec<u64>] {
        &self.numbers
    }

    /// The rows that this could be made from.
    pub(crate) fn to_rows(&self) -> Vec<ShardRow> {
        let label = |index: usize, row: usize| {
            let text =
                self.labels.get(index).and_then(|label| label.texts.get(*label.values.get(row)? as usize));
            text.cloned().unwrap_or_default()
        };
        let row = |(row, place): (usize, &Place)| ShardRow {
            place: *place,
            node_name: label(0, row),
            region: label(1, row),
            values: Column::ALL.map(|column| self.column(column).get(row).copied().unwrap_or(0)),
        };
        self.places.by_row.iter().enumerate().map(row).collect()
    }

    pub(crate) fn apply(&mut self, change: &CellChange) {
        let cell = Arc::make_mut(&mut self.numbers)
            .get_mut(change.column.index())
            .and_then(|column| column.get_mut(usize::try_from(change.row).ok()?));
        if let Some(cell) = cell {
            *cell = change.value;
        }
    }
}

const _: () = assert!(Column::ALL.len() + WHERE_COLUMNS < 64, "handles stay small");

/// Tells each distinct text once: nodes and regions are shared by many rows.
fn label<'a>(name: &'static str, texts: impl Iterator<Item = &'a str>) -> Labels {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut column = Labels { name, texts: Vec::new(), values: Vec::new() };
    for text in texts {
        let next = u32::try_from(column.texts.len()).unwrap_or(u32::MAX);
        let handle = *known.entry(text).or_insert_with(|| {
            column.texts.push(text.into());
            next
        });
        column.values.push(handle);
    }
    column
}

/// How much of the feed an instance has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position(u64);

/// What an instance has missed.
#[derive(Debug)]
pub(crate) enum News {
    /// Nothing.
    None,
    /// So much that it must be told everything.
    Reset(Cluster, Position),
    /// These changes.
    Delta(u64, Vec<CellChange>, Position),
}

/// The newest cluster, and the changes that led to it.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    cluster: Option<Cluster>,
    /// Events so far; a position is a value of this.
    told: u64,
    /// The changes of the events `told - log.len() + 1 ..= told`, all after the last reset.
    log: VecDeque<Vec<CellChange>>,
    logged: usize,
}

impl Mirror {
    /// Takes in what the directory told. False for a delta of another generation, which cannot be applied.
    pub(crate) fn apply(&mut self, feed: Feed) -> bool {
        match feed {
            Feed::Reset { generation, rows } => {
                self.cluster = Some(Cluster::new(generation, &rows));
                self.log.clear();
                self.logged = 0;
            }
            Feed::Delta { generation, changes } => {
                let known = self.cluster.as_mut().filter(|cluster| cluster.generation == generation);
                let Some(cluster) = known else { return false };
                changes.iter().for_each(|change| cluster.apply(change));
                self.remember(changes);
            }
        }
        self.told += 1;
        true
    }

    fn remember(&mut self, changes: Vec<CellChange>) {
        self.logged += changes.len();
        self.log.push_back(changes);
        while self.logged > LOGGED_CHANGES {
            let Some(oldest) = self.log.pop_front() else { break };
            self.logged -= oldest.len();
        }
    }

    /// What an instance that knows `position` has missed.
    #[cfg(test)]
    pub(crate) fn since(&self, position: Position) -> News {
        self.between(position, None)
    }

    /// What an instance that knows `position` has missed of what was told up to `until`. A reset tells what is now:
    /// what was then is not kept.
    pub(crate) fn between(&self, position: Position, until: Option<Position>) -> News {
        let Some(cluster) = &self.cluster else { return News::None };
        let until = until.map_or(self.told, |until| until.0.min(self.told));
        let (missed, later) = (until.saturating_sub(position.0), self.told - until);
        let missed = usize::try_from(missed).unwrap_or(usize::MAX);
        let later = usize::try_from(later).unwrap_or(usize::MAX);
        if missed == 0 {
            return News::None;
        }
        if missed.saturating_add(later) > self.log.len() {
            return News::Reset(cluster.clone(), Position(self.told));
        }
        let events = self.log.iter().skip(self.log.len() - missed - later).take(missed);
        News::Delta(cluster.generation, events.flatten().copied().collect(), Position(until))
    }
}

#[cfg(test)]
mod tests {
    use super::{Cluster, LOGGED_CHANGES, Mirror, News, Position};
    use tidegate_types::Place;
    use tidegate_types::cluster::{CellChange, Column, Feed, ShardRow};

    fn rows(count: u16) -> Vec<ShardRow> {
        let row = |shard| ShardRow {
            place: Place::local(shard),
            region: "north".into(),
            node_name: "a".into(),
            values: [0; Column::ALL.len()],
        };
        (0..count).map(row).collect()
    }

    fn cpu(row: u32, value: u64) -> CellChange {
        CellChange { row, column: Column::Cpu, value }
    }

    fn mirror(count: u16) -> Mirror {
        let mut mirror = Mirror::default();
        assert!(mirror.apply(Feed::Reset { generation: 1, rows: rows(count) }));
        mirror
    }

    #[test]
    fn an_instance_is_told_what_it_missed_and_no_more() {
        let mut mirror = mirror(2);
        let News::Reset(cluster, position) = mirror.since(Position::default()) else { panic!("no reset") };
        assert_eq!((cluster.rows(), cluster.place(1)), (2, Some(Place::local(1))));
        assert!(matches!(mirror.since(position), News::None));
        for value in [1, 2] {
            assert!(mirror.apply(Feed::Delta { generation: 1, changes: vec![cpu(0, value)] }));
        }
        let News::Delta(1, changes, position) = mirror.since(position) else { panic!("no delta") };
        assert_eq!(changes, [cpu(0, 1), cpu(0, 2)]);
        assert!(matches!(mirror.since(position), News::None));
    }

    #[test]
    fn one_that_fell_behind_the_log_gets_the_whole_with_every_change_in_it() {
        let mut mirror = mirror(2);
        let News::Reset(_, position) = mirror.since(Position::default()) else { panic!("no reset") };
        for value in 0..=LOGGED_CHANGES as u64 {
            mirror.apply(Feed::Delta { generation: 1, changes: vec![cpu(1, value)] });
        }
        let News::Reset(cluster, _) = mirror.since(position) else { panic!("no reset") };
        assert_eq!(cluster.column(Column::Cpu), [0, LOGGED_CHANGES as u64]);
    }

    #[test]
    fn a_delta_of_another_generation_changes_nothing() {
        let mut mirror = mirror(1);
        assert!(!mirror.apply(Feed::Delta { generation: 2, changes: vec![cpu(0, 9)] }));
        let News::Reset(cluster, _) = mirror.since(Position::default()) else { panic!("no reset") };
        assert_eq!(cluster.column(Column::Cpu), [0]);
    }

    #[test]
    fn a_label_is_told_once_however_many_rows_share_it() {
        let cluster = Cluster::new(1, &rows(3));
        let region = cluster.labels().iter().find(|label| label.name == "region").expect("a region");
        assert_eq!((region.texts.len(), region.values.as_slice()), (1, [0, 0, 0].as_slice()));
    }
}
