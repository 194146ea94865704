//! Concentrate, then spill: the placement that stands in for an allocate policy that failed. Knows nothing of
//! questions, answers or rooms.
//!
//! The fullest shard that is still below every watermark takes the next transport; where none is, the emptiest
//! one does, since a crowded call is better than none.

use tidegate_types::Place;
use tidegate_types::cluster::{Column, ShardRow};

/// Where a shard counts as full. Promises count as if they were reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// Transports (200).
    pub transports: u64,
    /// Rate in (200,000).
    pub ingress_kbps: u64,
    /// Rate out (600,000).
    pub egress_kbps: u64,
    /// Thousandths of a core (700). Raising it trades delay under bursts for fewer shards in use.
    pub cpu_permille: u64,
    /// 99th percentile of forwarding delay (5,000): overload is delay, whatever the CPU says.
    pub forward_delay_p99_us: u64,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self {
            transports: 200,
            ingress_kbps: 200_000,
            egress_kbps: 600_000,
            cpu_permille: 700,
            forward_delay_p99_us: 5_000,
        }
    }
}

/// Chooses a shard; `None` if all drain or there is none. Of equals the first row wins.
#[must_use]
pub fn concentrate_then_spill(rows: &[ShardRow], watermarks: &Watermarks) -> Option<Place> {
    let mut fullest_below: Option<(u64, Place)> = None;
    let mut emptiest: Option<(u64, Place)> = None;
    for row in rows.iter().filter(|row| row.value(Column::Draining) == 0) {
        let fill = fill_permille(row, watermarks);
        if fill < 1_000 && fullest_below.is_none_or(|(best, _)| fill > best) {
            fullest_below = Some((fill, row.place));
        }
        if emptiest.is_none_or(|(best, _)| fill < best) {
            emptiest = Some((fill, row.place));
        }
    }
    fullest_below.or(emptiest).map(|(_, place)| place)
}

/// How far a shard is towards the watermark that it is closest to; 1,000 is at it.
fn fill_permille(row: &ShardRow, watermarks: &Watermarks) -> u64 {
    let transports = row.value(Column::Transports).saturating_add(row.value(Column::ReservedTransports));
    let ingress = row.value(Column::Ingress).saturating_add(row.value(Column::ReservedIngress));
    let egress = row.value(Column::Egress).saturating_add(row.value(Column::ReservedEgress));
    [
        permille(transports, watermarks.transports),
        permille(ingress, watermarks.ingress_kbps),
        permille(egress, watermarks.egress_kbps),
        permille(row.value(Column::Cpu), watermarks.cpu_permille),
        permille(row.value(Column::ForwardDelayP99), watermarks.forward_delay_p99_us),
        // Its delay looks well again because it sheds.
        row.value(Column::Shedding).saturating_mul(1_000),
    ]
    .into_iter()
    .max()
    .unwrap_or(0)
}

fn permille(value: u64, watermark: u64) -> u64 {
    value.saturating_mul(1_000).checked_div(watermark).unwrap_or(1_000)
}
