//! The cluster as a policy holds it: told whole once, then by what changed. Knows nothing of what is decided.
//!
//! Columns stand one after the other, so that a scan of a thousand shards reads one dense list of numbers.

use crate::bindings::cluster_feed::exports::tidegate::policy::cluster_feed as wire;
use crate::bindings::host::tidegate::policy::types as wire_types;
use crate::lifecycle::Setup;
use crate::moment::Random;
use crate::words::Bitrate;
use std::cell::RefCell;
use std::time::Duration;

/// A number column of this version of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// Median forwarding delay, in microseconds.
    ForwardDelayP50,
    /// 99th percentile of forwarding delay, in microseconds.
    ForwardDelayP99,
    /// Age of the oldest waiting packet, in microseconds.
    QueueAge,
    /// Datagrams in per second.
    PacketsIn,
    /// Datagrams out per second.
    PacketsOut,
    /// Rate in, in kbit/s.
    Ingress,
    /// Rate out, in kbit/s.
    Egress,
    /// Thousandths of a core.
    Cpu,
    /// Transports that stand there.
    Transports,
    /// Consumers that stand there.
    Consumers,
    /// Ingress promised to placements that no report shows yet, in kbit/s.
    ReservedIngress,
    /// Egress promised likewise.
    ReservedEgress,
    /// Transports promised likewise.
    ReservedTransports,
    /// 1: takes nothing new.
    Draining,
    /// How much it sheds because it cannot keep up; 0: nothing.
    Shedding,
    /// The node's id: rows with the same one stand on one server.
    Node,
    /// The shard's number within its node.
    Shard,
}

impl Column {
    /// Every column.
    pub const ALL: [Self; 17] = [
        Self::ForwardDelayP50,
        Self::ForwardDelayP99,
        Self::QueueAge,
        Self::PacketsIn,
        Self::PacketsOut,
        Self::Ingress,
        Self::Egress,
        Self::Cpu,
        Self::Transports,
        Self::Consumers,
        Self::ReservedIngress,
        Self::ReservedEgress,
        Self::ReservedTransports,
        Self::Draining,
        Self::Shedding,
        Self::Node,
        Self::Shard,
    ];

    /// The name in the feed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForwardDelayP50 => "forward-delay-p50",
            Self::ForwardDelayP99 => "forward-delay-p99",
            Self::QueueAge => "queue-age",
            Self::PacketsIn => "packets-in",
            Self::PacketsOut => "packets-out",
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::Cpu => "cpu",
            Self::Transports => "transports",
            Self::Consumers => "consumers",
            Self::ReservedIngress => "reserved-ingress",
            Self::ReservedEgress => "reserved-egress",
            Self::ReservedTransports => "reserved-transports",
            Self::Draining => "draining",
            Self::Shedding => "shedding",
            Self::Node => "node",
            Self::Shard => "shard",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name() == name)
    }
}

/// A column that this SDK has no word for.
#[derive(Clone, Debug, Default)]
struct Other {
    name: String,
    values: Vec<u64>,
}

/// Texts, each told once, and one position in them a row.
#[derive(Clone, Debug, Default)]
struct Labels {
    texts: Vec<String>,
    positions: Vec<u32>,
}

impl Labels {
    fn set(&mut self, row: u32, text: &str) {
        let known = self.texts.iter().position(|known| known == text);
        let position = known.unwrap_or_else(|| {
            self.texts.push(text.to_owned());
            self.texts.len() - 1
        });
        let rows = self.positions.len().max(row as usize + 1);
        self.positions.resize(rows, u32::MAX);
        self.positions[row as usize] = u32::try_from(position).unwrap_or(u32::MAX);
    }

    fn text(&self, row: u32) -> &str {
        let position = self.positions.get(row as usize).copied().unwrap_or(u32::MAX);
        self.texts.get(position as usize).map_or("", String::as_str)
    }
}

/// Where a column handle of the last reset leads.
#[derive(Clone, Copy, Debug)]
enum Handle {
    Known(Column),
    Other(usize),
}

/// Every shard of every node, as last reported, with what was promised since.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    generation: u64,
    rows: usize,
    /// By [`Column`]; each as long as there are rows, zeros where the feed carries no such column.
    known: [Vec<u64>; Column::ALL.len()],
    carried: [bool; Column::ALL.len()],
    others: Vec<Other>,
    handles: Vec<Handle>,
    node_names: Labels,
    regions: Labels,
    removed: Vec<bool>,
    /// Rows that are there and not draining, in order: what [`Cluster::shards`] walks.
    open: Vec<u32>,
    /// Egress, reported and promised, a row: kept beside its parts, since it is what most scans read.
    expected_egress: Vec<u64>,
}

impl Cluster {
    /// `shards` idle shards of node 0, for tests and simulations; change them by [`Cluster::set`].
    #[must_use]
    pub fn with_shards(shards: u32) -> Self {
        let mut cluster = Self { rows: shards as usize, ..Self::default() };
        for column in Column::ALL {
            cluster.known[column as usize] = vec![0; cluster.rows];
            cluster.carried[column as usize] = true;
        }
        cluster.known[Column::Shard as usize] = (0..u64::from(shards)).collect();
        cluster.removed = vec![false; cluster.rows];
        cluster.list_open();
        cluster.sum_egress();
        cluster
    }

    /// Writes one value, for tests and simulations; a row that isn't there is ignored.
    pub fn set(&mut self, row: u32, column: Column, value: u64) {
        if let Some(cell) = self.known[column as usize].get_mut(row as usize) {
            *cell = value;
        }
        self.list_open();
        self.sum_egress_of(row as usize);
    }

    /// Names a shard's node and region, for tests and simulations; a row that isn't there is ignored.
    pub fn set_labels(&mut self, row: u32, node_name: &str, region: &str) {
        if (row as usize) < self.rows {
            self.node_names.set(row, node_name);
            self.regions.set(row, region);
        }
    }

    /// Shards that may take new work: there, and not draining.
    pub fn shards(&self) -> impl Iterator<Item = Shard<'_>> + Clone {
        self.open.iter().map(|&row| Shard { cluster: self, row })
    }

    /// Every shard that is there, draining ones too.
    pub fn all_shards(&self) -> impl Iterator<Item = Shard<'_>> + Clone {
        (0..)
            .zip(&self.removed)
            .filter(|(_, removed)| !**removed)
            .map(|(row, _)| Shard { cluster: self, row })
    }

    /// The shard with this row handle, if it is there.
    #[must_use]
    pub fn shard(&self, row: u32) -> Option<Shard<'_>> {
        let removed = *self.removed.get(row as usize)?;
        (!removed).then_some(Shard { cluster: self, row })
    }

    /// One of the shards that may take new work, each as likely. Two of them and the better of both is nearly
    /// as good as the best of all, and costs the same in a large cluster as in a small one.
    #[must_use]
    pub fn any_shard(&self, random: &mut Random) -> Option<Shard<'_>> {
        let index = random.below(self.open.len() as u64);
        self.open.get(usize::try_from(index).ok()?).map(|&row| Shard { cluster: self, row })
    }

    /// Of the shards that may take new work and that `fits` admits, the one with the least egress, reported and
    /// promised; then with the fewest transports; then the first. `fits` is asked only of those that would win, so a
    /// large cluster costs little more than a walk over one list of numbers.
    #[must_use]
    pub fn least_busy(&self, fits: impl FnMut(Shard<'_>) -> bool) -> Option<Shard<'_>> {
        self.foremost(|one, other| one < other, fits)
    }

    /// The same with the most egress, then the most transports, then the first.
    #[must_use]
    pub fn busiest(&self, fits: impl FnMut(Shard<'_>) -> bool) -> Option<Shard<'_>> {
        self.foremost(|one, other| one > other, fits)
    }

    /// The open shard that no other is before, by egress and then by transports.
    #[inline]
    fn foremost(
        &self,
        before: impl Fn(u64, u64) -> bool,
        mut fits: impl FnMut(Shard<'_>) -> bool,
    ) -> Option<Shard<'_>> {
        let mut best: Option<Shard<'_>> = None;
        let mut least = if before(0, 1) { u64::MAX } else { 0 };
        for (row, &egress) in (0..).zip(&self.expected_egress) {
            if before(least, egress) {
                continue;
            }
            let shard = Shard { cluster: self, row };
            let wins = best.is_none_or(|best| {
                before(egress, least) || before(shard.expected_transports(), best.expected_transports())
            });
            if wins && shard.is_open() && fits(shard) {
                (best, least) = (Some(shard), egress);
            }
        }
        best
    }

    /// Does the feed carry this column? Otherwise its values read as 0.
    #[must_use]
    pub const fn carries(&self, column: Column) -> bool {
        self.carried[column as usize]
    }

    fn sum_egress(&mut self) {
        let parts =
            self.known[Column::Egress as usize].iter().zip(&self.known[Column::ReservedEgress as usize]);
        self.expected_egress.clear();
        self.expected_egress.extend(parts.map(|(reported, promised)| reported.saturating_add(*promised)));
    }

    fn sum_egress_of(&mut self, row: usize) {
        let part = |column: Column| self.known[column as usize].get(row).copied().unwrap_or(0);
        let sum = part(Column::Egress).saturating_add(part(Column::ReservedEgress));
        if let Some(cell) = self.expected_egress.get_mut(row) {
            *cell = sum;
        }
    }

    fn list_open(&mut self) {
        let draining = &self.known[Column::Draining as usize];
        self.open.clear();
        self.open.extend(
            (0..)
                .zip(self.removed.iter().zip(draining))
                .filter(|(_, (removed, draining))| !**removed && **draining == 0)
                .map(|(row, _): (u32, _)| row),
        );
    }

    fn reset(
        &mut self,
        generation: u64,
        rows: u32,
        columns: Vec<wire_types::Column>,
        labels: Vec<wire_types::LabelColumn>,
    ) {
        let rows = rows as usize;
        *self = Self { generation, rows, removed: vec![false; rows], ..Self::default() };
        for mut column in columns {
            column.values.resize(rows, 0);
            self.take_column(column);
        }
        for values in &mut self.known {
            values.resize(rows, 0);
        }
        for column in labels {
            let labels = Labels { texts: column.texts, positions: column.values };
            match column.name.as_str() {
                "node-name" => self.node_names = labels,
                "region" => self.regions = labels,
                _ => {}
            }
        }
        self.list_open();
        self.sum_egress();
    }

    fn take_column(&mut self, column: wire_types::Column) {
        if let Some(known) = Column::named(&column.name) {
            self.handles.push(Handle::Known(known));
            self.carried[known as usize] = true;
            self.known[known as usize] = column.values;
        } else {
            self.handles.push(Handle::Other(self.others.len()));
            self.others.push(Other { name: column.name, values: column.values });
        }
    }

    /// Applies what changed; false if the guest does not know this generation.
    fn delta(
        &mut self,
        generation: u64,
        columns: &[u32],
        rows: &[u32],
        values: &[u64],
        removed: &[u32],
    ) -> bool {
        if generation != self.generation {
            return false;
        }
        let mut reopened = !removed.is_empty();
        for ((&column, &row), &value) in columns.iter().zip(rows).zip(values) {
            let handle = self.handles.get(column as usize).copied();
            reopened |= matches!(handle, Some(Handle::Known(Column::Draining)));
            let cells = match handle {
                Some(Handle::Known(column)) => Some(&mut self.known[column as usize]),
                Some(Handle::Other(index)) => self.others.get_mut(index).map(|other| &mut other.values),
                None => None,
            };
            if let Some(cell) = cells.and_then(|cells| cells.get_mut(row as usize)) {
                *cell = value;
            }
            if matches!(handle, Some(Handle::Known(Column::Egress | Column::ReservedEgress))) {
                self.sum_egress_of(row as usize);
            }
        }
        for &row in removed {
            if let Some(gone) = self.removed.get_mut(row as usize) {
                *gone = true;
            }
        }
        if reopened {
            self.list_open();
        }
        true
    }
}

/// One shard: a core of a node, as last reported, with what was promised since.
#[derive(Clone, Copy, Debug)]
pub struct Shard<'a> {
    cluster: &'a Cluster,
    row: u32,
}

impl PartialEq for Shard<'_> {
    /// The same row of the same cluster.
    fn eq(&self, other: &Self) -> bool {
        self.row == other.row
    }
}

impl Eq for Shard<'_> {}

impl<'a> Shard<'a> {
    /// Its row handle; holds until the feed's next reset.
    #[must_use]
    pub const fn row(self) -> u32 {
        self.row
    }

    /// A column's value in the column's own unit; 0 if the feed doesn't carry it.
    #[must_use]
    pub fn value(self, column: Column) -> u64 {
        self.cluster.known[column as usize].get(self.row as usize).copied().unwrap_or(0)
    }

    /// The value of a column that this SDK has no word for.
    #[must_use]
    pub fn named(self, column: &str) -> Option<u64> {
        if let Some(known) = Column::named(column) {
            return self.cluster.carries(known).then(|| self.value(known));
        }
        let other = self.cluster.others.iter().find(|other| other.name == column)?;
        other.values.get(self.row as usize).copied()
    }

    /// Its node's id: shards with the same one stand on one server.
    #[must_use]
    pub fn node(self) -> u64 {
        self.value(Column::Node)
    }

    /// Its number within its node.
    #[must_use]
    pub fn index(self) -> u64 {
        self.value(Column::Shard)
    }

    /// Its node's name; empty if unknown.
    #[must_use]
    pub fn node_name(self) -> &'a str {
        self.cluster.node_names.text(self.row)
    }

    /// Its node's region; empty if none was given.
    #[must_use]
    pub fn region(self) -> &'a str {
        self.cluster.regions.text(self.row)
    }

    /// Median time from a packet's arrival to its departure.
    #[must_use]
    pub fn forward_delay_p50(self) -> Duration {
        Duration::from_micros(self.value(Column::ForwardDelayP50))
    }

    /// 99th percentile of the same. Overload shows here first.
    #[must_use]
    pub fn forward_delay_p99(self) -> Duration {
        Duration::from_micros(self.value(Column::ForwardDelayP99))
    }

    /// Age of the oldest packet that waits.
    #[must_use]
    pub fn queue_age(self) -> Duration {
        Duration::from_micros(self.value(Column::QueueAge))
    }

    /// Datagrams in per second.
    #[must_use]
    pub fn packets_in(self) -> u64 {
        self.value(Column::PacketsIn)
    }

    /// Datagrams out per second.
    #[must_use]
    pub fn packets_out(self) -> u64 {
        self.value(Column::PacketsOut)
    }

    /// Rate in, as reported.
    #[must_use]
    pub fn ingress(self) -> Bitrate {
        Bitrate::from_kbps(self.value(Column::Ingress))
    }

    /// Rate out, as reported.
    #[must_use]
    pub fn egress(self) -> Bitrate {
        Bitrate::from_kbps(self.value(Column::Egress))
    }

    /// Thousandths of a core, as reported.
    #[must_use]
    pub fn cpu_permille(self) -> u64 {
        self.value(Column::Cpu)
    }

    /// Transports that stand there, as reported.
    #[must_use]
    pub fn transports(self) -> u64 {
        self.value(Column::Transports)
    }

    /// Consumers that stand there, as reported.
    #[must_use]
    pub fn consumers(self) -> u64 {
        self.value(Column::Consumers)
    }

    /// Rate in that was promised to placements which no report shows yet.
    #[must_use]
    pub fn reserved_ingress(self) -> Bitrate {
        Bitrate::from_kbps(self.value(Column::ReservedIngress))
    }

    /// Rate out, promised likewise.
    #[must_use]
    pub fn reserved_egress(self) -> Bitrate {
        Bitrate::from_kbps(self.value(Column::ReservedEgress))
    }

    /// Transports, promised likewise.
    #[must_use]
    pub fn reserved_transports(self) -> u64 {
        self.value(Column::ReservedTransports)
    }

    /// Rate in, reported and promised.
    #[must_use]
    pub fn expected_ingress(self) -> Bitrate {
        self.ingress().plus(self.reserved_ingress())
    }

    /// Rate out, reported and promised. Decide by this: a burst of joins would herd onto what reports show.
    #[must_use]
    pub fn expected_egress(self) -> Bitrate {
        self.egress().plus(self.reserved_egress())
    }

    /// Transports, reported and promised.
    #[must_use]
    pub fn expected_transports(self) -> u64 {
        self.transports().saturating_add(self.reserved_transports())
    }

    /// How much it sheds because it cannot keep up: 0 is nothing, 6 all pictures. Its delay may look well meanwhile:
    /// that is what shedding is for.
    #[must_use]
    pub fn shed_level(self) -> u64 {
        self.value(Column::Shedding)
    }

    /// Takes nothing new.
    #[must_use]
    pub fn is_draining(self) -> bool {
        self.value(Column::Draining) != 0
    }

    fn is_open(self) -> bool {
        !self.is_draining() && self.cluster.removed.get(self.row as usize) == Some(&false)
    }
}

thread_local! {
    static HELD: RefCell<Cluster> = RefCell::default();
}

/// Rows that an instance has memory for before it is told of any.
const ROOM_ROWS: usize = 1_024;
/// Lists of a number a row that are kept beside the columns: what scans read, and which rows are open.
const LISTS_BESIDE: usize = 5;

/// Asks for the memory of a usual cluster at once, where a feed will come: a reset that finds too little asks for it piece
/// by piece, and each piece costs the host a system call. What is given back here stays with the instance.
pub(crate) fn make_room(setup: &Setup) {
    let lists = if setup.columns.is_empty() { 0 } else { setup.columns.len().min(64) + LISTS_BESIDE };
    drop(std::hint::black_box(Vec::<u64>::with_capacity(lists * ROOM_ROWS)));
}

/// Lends what this instance holds of the cluster.
pub(crate) fn with<R>(read: impl FnOnce(&Cluster) -> R) -> R {
    HELD.with_borrow(read)
}

/// The feed's receiving end.
#[doc(hidden)]
#[derive(Debug)]
pub struct Feed;

impl wire::Guest for Feed {
    fn reset(
        generation: u64,
        rows: u32,
        columns: Vec<wire_types::Column>,
        labels: Vec<wire_types::LabelColumn>,
    ) {
        HELD.with_borrow_mut(|cluster| cluster.reset(generation, rows, columns, labels));
    }

    fn delta(
        generation: u64,
        columns: Vec<u32>,
        rows: Vec<u32>,
        values: Vec<u64>,
        removed: Vec<u32>,
    ) -> Result<(), String> {
        let known =
            HELD.with_borrow_mut(|cluster| cluster.delta(generation, &columns, &rows, &values, &removed));
        if known { Ok(()) } else { Err("resync".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cluster, Column, Shard, wire_types};
    use crate::moment::Moment;
    use std::time::Duration;

    fn column(name: &str, values: &[u64]) -> wire_types::Column {
        wire_types::Column { name: name.into(), unit: String::new(), values: values.to_vec() }
    }

    fn fed() -> Cluster {
        let mut cluster = Cluster::default();
        let columns = vec![
            column("tide-height", &[3, 4, 5]),
            column("forward-delay-p99", &[700, 300]),
            column("draining", &[0, 0, 0]),
        ];
        let regions = wire_types::LabelColumn {
            name: "region".into(),
            texts: vec!["north".into(), "south".into()],
            values: vec![0, 1, 7],
        };
        cluster.reset(4, 3, columns, vec![regions]);
        cluster
    }

    #[test]
    fn a_reset_is_read_by_name_and_short_or_missing_columns_read_as_nothing() {
        let cluster = fed();
        let rows: Vec<_> = cluster.shards().map(|shard| shard.forward_delay_p99().as_micros()).collect();
        assert_eq!(rows, [700, 300, 0]);
        assert!(!cluster.carries(Column::Cpu));
        let last = cluster.shard(2).unwrap();
        assert_eq!((last.cpu_permille(), last.region(), last.node_name()), (0, "", ""));
        assert_eq!((last.named("tide-height"), last.named("moon"), last.named("cpu")), (Some(5), None, None));
        assert_eq!(cluster.shard(1).unwrap().region(), "south");
        assert!(cluster.shard(3).is_none());
    }

    #[test]
    fn a_delta_changes_cells_and_ignores_handles_it_does_not_know() {
        let mut cluster = fed();
        assert!(cluster.delta(4, &[1, 0, 9, 1], &[0, 2, 0, 9], &[250, 8, 1, 1], &[]));
        assert_eq!(cluster.shard(0).unwrap().forward_delay_p99(), Duration::from_micros(250));
        assert_eq!(cluster.shard(2).unwrap().named("tide-height"), Some(8));
    }

    /// Walking one list and asking only winners must answer as sorting every open shard by all it is judged by does.
    #[test]
    fn the_least_busy_and_the_busiest_are_those_that_a_sort_finds() {
        let mut random = Moment { seed: 11, ..Moment::default() }.random();
        for _ in 0..500 {
            let mut cluster = Cluster::with_shards(8);
            for row in 0..8 {
                for column in [Column::Egress, Column::ReservedEgress, Column::Transports, Column::Draining] {
                    let bound = if column == Column::Draining { 2 } else { 3 };
                    cluster.set(row, column, random.below(bound));
                }
            }
            let admitted = |shard: Shard<'_>| shard.row() % 3 != 1;
            let load = |shard: &Shard<'_>| (shard.expected_egress(), shard.expected_transports());
            let least = cluster.shards().filter(|&shard| admitted(shard)).min_by_key(load);
            assert_eq!(cluster.least_busy(admitted).map(Shard::row), least.map(Shard::row));
            let most = cluster.shards().filter(|&shard| admitted(shard));
            let most = most.max_by_key(|shard| (load(shard), std::cmp::Reverse(shard.row())));
            assert_eq!(cluster.busiest(admitted).map(Shard::row), most.map(Shard::row));
        }
    }

    #[test]
    fn a_delta_moves_what_scans_read() {
        let mut cluster = Cluster::default();
        cluster.reset(1, 2, vec![column("egress", &[5, 9]), column("reserved-egress", &[0, 0])], Vec::new());
        assert_eq!(cluster.least_busy(|_| true).map(Shard::row), Some(0));
        assert!(cluster.delta(1, &[1], &[0], &[7], &[]));
        assert_eq!(cluster.least_busy(|_| true).map(Shard::row), Some(1));
        assert!(cluster.delta(1, &[], &[], &[], &[1]));
        assert_eq!(cluster.least_busy(|_| true).map(Shard::row), Some(0));
        assert_eq!(cluster.busiest(|shard| shard.row() == 9), None);
    }

    #[test]
    fn a_missed_generation_is_answered_with_resync() {
        let mut cluster = fed();
        assert!(!cluster.delta(5, &[1], &[0], &[1], &[]));
        assert_eq!(cluster.shard(0).unwrap().forward_delay_p99(), Duration::from_micros(700));
    }

    #[test]
    fn draining_and_removed_shards_take_nothing_new() {
        let mut cluster = fed();
        assert!(cluster.delta(4, &[2], &[0], &[1], &[1]));
        assert_eq!(cluster.shards().map(Shard::row).collect::<Vec<_>>(), [2]);
        assert_eq!(cluster.all_shards().map(Shard::row).collect::<Vec<_>>(), [0, 2]);
        assert!(cluster.shard(1).is_none());
        assert!(cluster.delta(4, &[2], &[0], &[0], &[]));
        assert_eq!(cluster.shards().count(), 2);
    }

    #[test]
    fn a_feed_that_tells_of_no_draining_drains_nothing() {
        let mut cluster = fed();
        cluster.reset(5, 2, vec![column("cpu", &[1, 2])], Vec::new());
        assert_eq!(cluster.shards().map(Shard::cpu_permille).collect::<Vec<_>>(), [1, 2]);
        assert!(cluster.shard(2).is_none());
    }
}
