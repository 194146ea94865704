//! How many connectivity checks of unknown flows one address may send: answering one costs an HMAC, and nobody
//! has proved anything yet. Knows nothing of what a check says.

use super::Map;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Checks a second from one address on flows that no check has validated yet. An office behind one address can
/// still join at once.
const PER_SECOND: u32 = 500;
/// Addresses remembered at most; beyond it unknown ones wait for the next second.
const ADDRESSES: usize = 8_192;
const SECOND: Duration = Duration::from_secs(1);

/// Counts of the current second.
#[derive(Debug)]
pub(super) struct Checks {
    since: Option<Instant>,
    counts: Map<IpAddr, u32>,
}

impl Checks {
    pub(super) fn new(hasher: foldhash::fast::FixedState) -> Self {
        Self { since: None, counts: Map::with_hasher(hasher) }
    }

    /// Whether one more check of this address may be looked at.
    pub(super) fn admit(&mut self, now: Instant, address: IpAddr) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= SECOND) {
            self.since = Some(now);
            self.counts.clear();
        }
        if self.counts.len() >= ADDRESSES && !self.counts.contains_key(&address) {
            return false;
        }
        let count = self.counts.entry(address).or_default();
        *count += 1;
        *count <= PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_checks_is_cut_for_its_own_address_and_second_only() {
        let start = Instant::now();
        let mut checks = Checks::new(foldhash::fast::FixedState::with_seed(1));
        let [flooder, other] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let admitted = (0..10_000).filter(|_| checks.admit(start, flooder)).count();
        assert_eq!(admitted, PER_SECOND as usize);
        assert!(checks.admit(start, other));
        assert!(checks.admit(start + SECOND, flooder));
        let many =
            (0..100_000_u32).filter(|n| checks.admit(start + SECOND, IpAddr::from(n.to_be_bytes()))).count();
        assert!(many < ADDRESSES);
    }
}
