//! Short bursts of padding at a higher rate, to learn whether the path carries more than is used: two at the start,
//! more for as long as they succeed, and one every few seconds while more is wanted than the estimate allows. Knows
//! nothing of how padding is written.

use super::sent::Arrived;

/// How long a burst lasts. Its rate above the path's capacity stands as queue for at most this long.
const LENGTH_US: f64 = 15_000.0;
/// A burst is at least so many packets, however low its rate.
const LEAST_BYTES: f64 = 1_400.0;
/// ... and at most so many bytes, however high.
const MOST_BYTES: f64 = 64_000.0;
/// Padding is written so far ahead of its time; media written meanwhile overtakes it.
const AHEAD_US: i64 = 5_000;
/// The first bursts, as multiples of the first estimate.
const FIRST: [f64; 2] = [3.0, 6.0];
/// A later burst, as a multiple of the estimate.
const LATER: f64 = 2.0;
/// What is wanted is probed for with this much to spare.
const SPARE: f64 = 1.15;
/// Time between bursts that found nothing.
const INTERVAL_US: i64 = 4_000_000;
/// A burst of which this share arrived at its rate was carried: the next may follow at once.
const CARRIED: f64 = 0.7;
/// A burst that has not been heard of by then is forgotten.
const FORGOTTEN_US: i64 = 2_000_000;
/// This share of a burst's bytes makes a result.
const ENOUGH: f64 = 0.8;
/// Where less arrives than was sent the path is full; so much of that is taken.
const FULL: f64 = 0.95;
/// Results that may be awaited at once.
const AWAITED: usize = 4;

/// A burst that is being sent.
#[derive(Clone, Copy, Debug)]
struct Burst {
    rate: f64,
    next_us: f64,
    left: f64,
}

/// What is known of a burst's arrival: of all that left while it did, media included.
#[derive(Clone, Copy, Debug, Default)]
struct Cluster {
    rate: f64,
    planned: f64,
    begun_us: i64,
    ended_us: i64,
    packets: u32,
    bytes: f64,
    first_bytes: f64,
    last_bytes: f64,
    sent_us: (i64, i64),
    arrival_us: (i64, i64),
    judged: bool,
}

/// All bursts of one path.
#[derive(Debug, Default)]
pub(super) struct Probes {
    planned: [Option<f64>; 2],
    burst: Option<Burst>,
    /// The newest first.
    awaited: [Cluster; AWAITED],
    newest_sent_us: i64,
    next_us: i64,
    /// Padding bytes sent so far.
    pub(super) sent_bytes: u64,
}

impl Probes {
    /// The first bursts, around the first estimate; where the opening showed more than they could, one above that.
    pub(super) fn begin(&mut self, now_us: i64, start: f64, known: f64) {
        self.planned = FIRST.map(|factor| Some(factor * start).filter(|rate| *rate > known));
        if self.planned == [None, None] {
            self.planned[0] = Some(LATER * known);
        }
        self.next_us = now_us + INTERVAL_US;
    }

    /// What leaves before the peer has told anything is a burst, too: from the first packet on, at `now_us` ...
    pub(super) fn open(&mut self, now_us: i64) {
        self.awaited[0] = Cluster {
            rate: f64::INFINITY,
            planned: LEAST_BYTES,
            begun_us: now_us,
            ended_us: i64::MAX,
            ..Cluster::default()
        };
    }

    /// ... up to the newest packet that the first feedback tells of. What that shows of the path, if anything.
    pub(super) fn close(&mut self) -> Option<f64> {
        let opening =
            self.awaited.iter_mut().find(|cluster| cluster.ended_us == i64::MAX && !cluster.judged)?;
        opening.judged = true;
        opening.ended_us = self.newest_sent_us;
        opening.found()
    }

    /// Plans a burst if one is worth it: more is wanted than `estimate`, and the last was a while ago.
    pub(super) fn plan(&mut self, now_us: i64, estimate: f64, wanted: f64) {
        let idle = self.burst.is_none() && self.planned == [None, None];
        if idle && now_us >= self.next_us && wanted > estimate * 1.05 {
            self.planned[0] = Some((estimate * LATER).min(wanted * SPARE));
            self.next_us = now_us + INTERVAL_US;
        }
    }

    /// Nothing can be padded, or nothing should be: forgets what was planned.
    pub(super) fn stop(&mut self) {
        self.planned = [None, None];
        self.burst = None;
        self.awaited[0].judged = true;
    }

    /// When [`Probes::padding`] has something to send: at once if a burst is planned.
    #[must_use]
    pub(super) fn due_us(&self, now_us: i64) -> Option<i64> {
        match self.burst {
            Some(burst) => Some(burst.next_us as i64),
            None => self.planned.iter().any(Option::is_some).then_some(now_us),
        }
    }

    /// When the next packet of padding is to leave, if it is to be written now.
    pub(super) fn padding(&mut self, now_us: i64) -> Option<i64> {
        if self.burst.is_none() {
            self.start(now_us)?;
        }
        let burst = self.burst.as_mut()?;
        burst.next_us = burst.next_us.max(now_us as f64);
        let at_us = burst.next_us as i64;
        (at_us < now_us + AHEAD_US).then_some(at_us)
    }

    fn start(&mut self, now_us: i64) -> Option<()> {
        let [first, second] = self.planned;
        let rate = first.or(second)?;
        self.planned = if first.is_some() { [second, None] } else { [None, None] };
        let planned = (rate * LENGTH_US / 8e6).clamp(LEAST_BYTES, MOST_BYTES);
        // The one before may still be leaving.
        let begun_us = now_us.max(self.awaited[0].ended_us.saturating_add(1).min(now_us + AHEAD_US));
        self.burst = Some(Burst { rate, next_us: begun_us as f64, left: planned });
        self.awaited.rotate_right(1);
        self.awaited[0] = Cluster { rate, planned, begun_us, ended_us: i64::MAX, ..Cluster::default() };
        Some(())
    }

    /// So much padding leaves at `at_us`.
    pub(super) fn padded(&mut self, at_us: i64, bytes: usize) {
        let Some(burst) = &mut self.burst else { return };
        self.sent_bytes += bytes as u64;
        burst.left -= bytes as f64;
        burst.next_us += bytes as f64 * 8e6 / burst.rate;
        if burst.left <= 0.0 {
            self.burst = None;
            self.awaited[0].ended_us = at_us;
        }
    }

    /// Notes a packet's arrival, in order of sending.
    pub(super) fn note(&mut self, arrived: &Arrived) {
        self.newest_sent_us = self.newest_sent_us.max(arrived.sent_us);
        let found = |cluster: &&mut Cluster| {
            (cluster.begun_us..=cluster.ended_us).contains(&arrived.sent_us) && cluster.planned > 0.0
        };
        let Some(cluster) = self.awaited.iter_mut().find(found) else { return };
        let bytes = f64::from(arrived.bytes);
        if cluster.packets == 0 {
            cluster.first_bytes = bytes;
            cluster.sent_us = (arrived.sent_us, arrived.sent_us);
            cluster.arrival_us = (arrived.arrival_us, arrived.arrival_us);
        }
        cluster.packets += 1;
        cluster.bytes += bytes;
        cluster.last_bytes = bytes;
        cluster.sent_us.1 = cluster.sent_us.1.max(arrived.sent_us);
        cluster.arrival_us.0 = cluster.arrival_us.0.min(arrived.arrival_us);
        cluster.arrival_us.1 = cluster.arrival_us.1.max(arrived.arrival_us);
    }

    /// What the bursts found that have arrived by now. A burst that was carried plans the next, up to `wanted`.
    pub(super) fn judge(&mut self, now_us: i64, wanted: f64) -> Option<f64> {
        let mut best: Option<f64> = None;
        for at in 0..AWAITED {
            let cluster = self.awaited[at];
            let forgotten = now_us - cluster.begun_us > FORGOTTEN_US;
            if cluster.judged || forgotten || self.newest_sent_us < cluster.ended_us {
                continue;
            }
            let Some(found) = cluster.found() else { continue };
            self.awaited[at].judged = true;
            best = Some(best.map_or(found, |best| best.max(found)));
            if found >= CARRIED * cluster.rate && found < wanted && self.planned == [None, None] {
                self.planned[0] = Some((found * LATER).min(wanted * SPARE));
            }
        }
        best
    }
}

impl Cluster {
    fn found(&self) -> Option<f64> {
        if self.packets < 5 || self.bytes < ENOUGH * self.planned {
            return None;
        }
        let sending = (self.sent_us.1 - self.sent_us.0) as f64;
        let arriving = (self.arrival_us.1 - self.arrival_us.0) as f64;
        if sending <= 0.0 || arriving <= 0.0 {
            return None;
        }
        let sent = (self.bytes - self.last_bytes) * 8e6 / sending;
        let arrived = (self.bytes - self.first_bytes) * 8e6 / arriving;
        // Much faster at the receiver than at the sender: the path held it up and let it go at once.
        if arrived > 2.0 * sent {
            return None;
        }
        Some(if arrived < 0.9 * sent { arrived * FULL } else { sent.min(arrived) })
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrived, Probes};

    /// Sends what is due and lets it arrive through a pipe of `capacity` bit/s.
    fn run(probes: &mut Probes, from_us: i64, capacity: f64, wanted: f64) -> Option<f64> {
        let mut free_us = 0.0_f64;
        let mut now_us = from_us;
        let mut arrivals = Vec::new();
        while let Some(due_us) = probes.due_us(now_us) {
            now_us = now_us.max(due_us);
            while let Some(sent_us) = probes.padding(now_us) {
                free_us = free_us.max(sent_us as f64) + 250.0 * 8e6 / capacity;
                arrivals.push(Arrived { sent_us, arrival_us: free_us as i64, bytes: 250 });
                probes.padded(sent_us, 250);
            }
            now_us += 1_000;
        }
        arrivals.iter().for_each(|arrived| probes.note(arrived));
        probes.judge(now_us + 50_000, wanted)
    }

    #[test]
    fn bursts_find_the_capacity_and_go_on_while_they_are_carried() {
        let mut probes = Probes::default();
        probes.begin(0, 600e3, 600e3);
        let found = run(&mut probes, 0, 10e6, 20e6).unwrap();
        assert!((3.0e6..3.7e6).contains(&found), "all of six times the start: {found}");
        let found = run(&mut probes, 300_000, 10e6, 20e6).unwrap();
        assert!((6.0e6..7.3e6).contains(&found), "twice that: {found}");
        let found = run(&mut probes, 600_000, 10e6, 20e6).unwrap();
        assert!((9.0e6..10.0e6).contains(&found), "the path's end: {found}");
        assert_eq!(probes.due_us(900_000), None, "it was not carried");
        probes.plan(1_000_000, 9.5e6, 20e6);
        assert_eq!(probes.due_us(1_000_000), None, "not so soon");
        probes.plan(9_000_000, 9.5e6, 9.6e6);
        assert_eq!(probes.due_us(9_000_000), None, "not wanted");
        probes.plan(9_000_000, 9.5e6, 20e6);
        assert_eq!(probes.due_us(9_000_000), Some(9_000_000));
    }

    #[test]
    fn what_leaves_before_anything_is_told_shows_the_path_as_a_burst_does() {
        let through = |packets: i64, capacity: f64| {
            let (mut probes, mut free_us) = (Probes::default(), 0.0_f64);
            probes.open(0);
            // 1,200 bytes each millisecond are 9.6 Mbit/s.
            for sent_us in (0..packets).map(|packet| packet * 1_000) {
                free_us = free_us.max(sent_us as f64) + 1_200.0 * 8e6 / capacity;
                probes.note(&Arrived { sent_us, arrival_us: free_us as i64, bytes: 1_200 });
            }
            let found = probes.close();
            assert_eq!(probes.close(), None, "only once");
            found
        };
        assert!((9.0e6..9.7e6).contains(&through(50, 50e6).unwrap()), "all that was sent");
        assert!((2.7e6..3.0e6).contains(&through(50, 3e6).unwrap()), "the path's end");
        assert_eq!(through(4, 50e6), None, "too few");
    }

    #[test]
    fn the_first_bursts_go_beyond_what_the_opening_showed() {
        let planned = |known| {
            let mut probes = Probes::default();
            probes.begin(0, 600e3, known);
            probes.planned
        };
        assert_eq!(planned(600e3), [Some(1.8e6), Some(3.6e6)]);
        assert_eq!(planned(2e6), [None, Some(3.6e6)]);
        assert_eq!(planned(5e6), [Some(10e6), None]);
    }
}
