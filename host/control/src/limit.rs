//! Bounds per client address: joins as token buckets, sockets as counts. Knows nothing of HTTP; time is an
//! argument.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The most addresses that are remembered. At the bound whoever has its whole burst again is forgotten; if that
/// frees nothing, new addresses are refused until it does.
const ADDRESSES: usize = 65_536;

/// A burst that fills up again at a steady rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    burst: f64,
    per_s: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(burst: u32, per_s: u32, now: Instant) -> Self {
        Self { burst: f64::from(burst), per_s: f64::from(per_s), tokens: f64::from(burst), at: now }
    }

    /// Takes one token; `false` if there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * self.per_s).min(self.burst);
        self.at = now;
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens >= self.burst
    }
}

/// One bucket an address.
#[derive(Debug)]
pub(crate) struct Buckets {
    burst: u32,
    per_s: u32,
    by_address: Mutex<BTreeMap<IpAddr, Bucket>>,
}

impl Buckets {
    pub(crate) fn new(burst: u32, per_s: u32) -> Self {
        Self { burst, per_s, by_address: Mutex::default() }
    }

    /// Takes one token of an address; `false` if it has none.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> bool {
        let mut buckets = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES {
            buckets.retain(|_, bucket| !bucket.is_full(now));
            if buckets.len() >= ADDRESSES {
                return false;
            }
        }
        let fresh = || Bucket::new(self.burst, self.per_s, now);
        buckets.entry(network(address)).or_insert_with(fresh).take(now)
    }

    /// The bound in words.
    pub(crate) fn bound(&self) -> String {
        format!("{} at once and {} a second from one address", self.burst, self.per_s)
    }
}

/// How many of something are open, for each address and in all.
#[derive(Debug)]
pub(crate) struct Counts {
    per_address: u32,
    in_all: u32,
    open: Mutex<(u32, BTreeMap<IpAddr, u32>)>,
}

impl Counts {
    pub(crate) fn new(per_address: u32, in_all: u32) -> Arc<Self> {
        Arc::new(Self { per_address, in_all, open: Mutex::default() })
    }

    /// Counts one more until the returned place is dropped; `None` at a bound.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let address = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.0 >= self.in_all {
            return None;
        }
        let here = open.1.entry(address).or_insert(0);
        if *here >= self.per_address {
            return None;
        }
        *here += 1;
        open.0 += 1;
        Some(Counted { counts: Arc::clone(self), address })
    }

    /// How many are open in all.
    pub(crate) fn open(&self) -> u32 {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn leave(&self, address: IpAddr) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.0 = open.0.saturating_sub(1);
        if let Some(here) = open.1.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                open.1.remove(&address);
            }
        }
    }
}

/// A place in [`Counts`].
#[derive(Debug)]
pub(crate) struct Counted {
    counts: Arc<Counts>,
    address: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.leave(self.address);
    }
}

/// Who is bounded together: an IPv4 address, or the /64 that one IPv6 subscriber has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Counts};
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_burst_is_refused_at_its_end_and_comes_back_with_time() {
        let (buckets, start) = (Buckets::new(3, 2), Instant::now());
        let one = address("192.0.2.1");
        assert_eq!((0..5).map(|_| buckets.take(one, start)).filter(|taken| *taken).count(), 3);
        assert!(buckets.take(address("192.0.2.2"), start), "another address has its own");
        assert!(!buckets.take(one, start + Duration::from_millis(400)));
        assert!(buckets.take(one, start + Duration::from_millis(600)));
    }

    #[test]
    fn one_subscriber_cannot_multiply_itself_by_ipv6_addresses() {
        let (buckets, start) = (Buckets::new(1, 1), Instant::now());
        assert!(buckets.take(address("2001:db8::1"), start));
        assert!(!buckets.take(address("2001:db8::2"), start));
        assert!(buckets.take(address("2001:db8:0:1::2"), start));
    }

    #[test]
    fn what_is_closed_makes_room_again() {
        let counts = Counts::new(2, 3);
        let one = address("192.0.2.1");
        let first = counts.enter(one);
        let _second = counts.enter(one);
        assert!(counts.enter(one).is_none(), "two from one address");
        drop(first);
        let _third = counts.enter(one).expect("room again");
        let _other = counts.enter(address("192.0.2.9")).expect("three in all");
        assert!(counts.enter(address("192.0.2.10")).is_none(), "three in all");
        assert_eq!(counts.open(), 3);
    }
}
