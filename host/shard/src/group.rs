//! Groups datagrams by destination and forms runs that one UDP_SEGMENT message can carry. Knows nothing of
//! sockets or system calls; after warm-up it allocates nothing.

use crate::waiting::LATER_DATAGRAMS;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use tidegate_media::io::{Class, Tuple};

/// The most datagrams of one run. The kernel's limit was 64 before it became 128.
pub(crate) const RUN_DATAGRAMS: usize = 64;

/// The most bytes of one run: an IP packet's 65,535 less its headers, rounded down.
pub(crate) const RUN_BYTES: usize = 65_000;

const _: () = assert!(RUN_BYTES + 40 + 8 < 65_535);

/// Datagrams to be sent, wherever their bytes lie. An index must be one that its owner gave out.
pub(crate) trait Batch {
    /// Which way.
    fn tuple(&self, index: u32) -> Tuple;
    /// What goes first.
    fn class(&self, index: u32) -> Class;
    /// Since when it is due: forwarding delay counts from here.
    fn due(&self, index: u32) -> Instant;
    /// Its bytes.
    fn bytes(&self, index: u32) -> &[u8];
}

/// One message to the kernel: a single datagram, or a run of them to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Which way.
    pub(crate) tuple: Tuple,
    /// Position of its first datagram in [`Plan::order`].
    pub(crate) first: u32,
    /// How many datagrams.
    pub(crate) count: u16,
    /// Bytes of each but the last, which may be shorter.
    pub(crate) segment: u16,
}

/// What goes out in which order: socket by socket, destinations with control or sound first, each destination's
/// datagrams in the order of their creation.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Indices of the batch, in sending order.
    pub(crate) order: Vec<u32>,
    /// Consecutive slices of `order`.
    pub(crate) messages: Vec<Message>,
    groups: Vec<Group>,
    /// For the n-th chosen datagram: its index, and which chosen one follows it in its group.
    links: Vec<Link>,
    /// Sorted to find the order of groups: socket, class, creation.
    ranks: Vec<(u16, Class, u32)>,
    table: Table,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    tuple: Tuple,
    class: Class,
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    index: u32,
    next: u32,
}

const NONE: u32 = u32::MAX;

impl Plan {
    /// An empty plan, with room for all that may wait for its time and then go at once.
    pub(crate) fn new() -> Self {
        Self {
            order: Vec::with_capacity(LATER_DATAGRAMS),
            messages: Vec::with_capacity(LATER_DATAGRAMS),
            groups: Vec::with_capacity(LATER_DATAGRAMS),
            links: Vec::with_capacity(LATER_DATAGRAMS),
            ranks: Vec::with_capacity(LATER_DATAGRAMS),
            table: Table::new(),
        }
    }

    /// Plans the `chosen` datagrams of `batch`; `may_segment` says whether a socket takes runs.
    pub(crate) fn make(&mut self, batch: &impl Batch, chosen: &[u32], may_segment: impl Fn(u16) -> bool) {
        self.order.clear();
        self.messages.clear();
        self.group(batch, chosen);
        self.rank();
        for rank in 0..self.ranks.len() {
            let group = self.groups[self.ranks[rank].2 as usize];
            let first = self.order.len();
            self.append(group);
            self.form_runs(batch, group.tuple, first, may_segment(group.tuple.socket));
        }
    }

    fn group(&mut self, batch: &impl Batch, chosen: &[u32]) {
        self.groups.clear();
        self.links.clear();
        self.table.begin(chosen.len());
        for (position, &index) in (0..).zip(chosen) {
            self.links.push(Link { index, next: NONE });
            let (tuple, class) = (batch.tuple(index), batch.class(index));
            let group = self.table.find(&tuple, &mut self.groups, || Group {
                tuple,
                class,
                first: position,
                last: position,
            });
            if group.last != position {
                self.links[group.last as usize].next = position;
                group.last = position;
                group.class = group.class.min(class);
            }
        }
    }

    fn rank(&mut self) {
        self.ranks.clear();
        let groups = (0..).zip(&self.groups);
        self.ranks.extend(groups.map(|(number, group)| (group.tuple.socket, group.class, number)));
        self.ranks.sort_unstable();
    }

    fn append(&mut self, group: Group) {
        let mut position = group.first;
        while position != NONE {
            let link = self.links[position as usize];
            self.order.push(link.index);
            position = link.next;
        }
    }

    fn form_runs(&mut self, batch: &impl Batch, tuple: Tuple, mut first: usize, may_segment: bool) {
        while first < self.order.len() {
            let rest = &self.order[first..];
            let count = if may_segment { run_length(batch, rest) } else { 1 };
            let segment = batch.bytes(rest[0]).len();
            self.messages.push(message(tuple, first, count, segment));
            first += count;
        }
    }
}

#[expect(clippy::cast_possible_truncation)]
fn message(tuple: Tuple, first: usize, count: usize, segment: usize) -> Message {
    Message { tuple, first: first as u32, count: count as u16, segment: segment as u16 }
}

/// How many of `order`, from its start, one run carries: equal sizes, only the last may be shorter.
fn run_length(batch: &impl Batch, order: &[u32]) -> usize {
    let size = |&index: &u32| batch.bytes(index).len();
    let segment = size(&order[0]);
    let mut bytes = segment;
    let mut count = 1;
    for length in order[1..].iter().map(size).take(RUN_DATAGRAMS - 1) {
        bytes += length;
        if length > segment || length == 0 || bytes > RUN_BYTES {
            break;
        }
        count += 1;
        if length < segment {
            break;
        }
    }
    count
}

/// Finds a tuple's group: open addressing, emptied by moving to the next stamp. Keyed, since peers choose their
/// addresses.
#[derive(Debug)]
struct Table {
    slots: Vec<Slot>,
    stamp: u32,
    keys: [u64; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    stamp: u32,
    group: u32,
}

impl Table {
    fn new() -> Self {
        let random = RandomState::new();
        let slots = Vec::with_capacity(LATER_DATAGRAMS * 2);
        Self { slots, stamp: 0, keys: [random.hash_one(1) | 1, random.hash_one(2) | 1] }
    }

    /// Forgets everything and makes room for `count` tuples at half load.
    fn begin(&mut self, count: usize) {
        self.stamp = self.stamp.wrapping_add(1);
        let wanted = (count * 2).next_power_of_two().max(64);
        if self.slots.len() < wanted || self.stamp == 0 {
            let length = self.slots.len().max(wanted);
            self.slots.clear();
            self.slots.resize(length, Slot::default());
            self.stamp = 1;
        }
    }

    #[expect(clippy::cast_possible_truncation)]
    fn find<'a>(
        &mut self,
        tuple: &Tuple,
        groups: &'a mut Vec<Group>,
        new: impl FnOnce() -> Group,
    ) -> &'a mut Group {
        let mask = self.slots.len() - 1;
        let mut at = self.hash(tuple) as usize & mask;
        while self.slots[at].stamp == self.stamp {
            let group = self.slots[at].group as usize;
            if groups[group].tuple == *tuple {
                return &mut groups[group];
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = Slot { stamp: self.stamp, group: groups.len() as u32 };
        groups.push(new());
        groups.last_mut().expect("one was just pushed")
    }

    #[expect(clippy::cast_possible_truncation)]
    fn hash(&self, tuple: &Tuple) -> u64 {
        let port = u64::from(tuple.remote.port()) << 16 | u64::from(tuple.socket);
        let (high, low) = match tuple.remote.ip() {
            IpAddr::V4(address) => (0, u64::from(address.to_bits())),
            IpAddr::V6(address) => ((address.to_bits() >> 64) as u64, address.to_bits() as u64),
        };
        self.fold(self.fold(self.fold(port) ^ low) ^ high)
    }

    #[expect(clippy::cast_possible_truncation)]
    fn fold(&self, word: u64) -> u64 {
        let wide = u128::from(word ^ self.keys[0]) * u128::from(self.keys[1]);
        wide as u64 ^ (wide >> 64) as u64
    }
}

/// Whether an address can be answered at all.
pub(crate) fn answerable(remote: &SocketAddr) -> bool {
    remote.port() != 0 && !remote.ip().is_unspecified() && !remote.ip().is_multicast()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{
        Batch, Class, Instant, Message, Plan, RUN_BYTES, RUN_DATAGRAMS, SocketAddr, Tuple, run_length,
    };
    use std::collections::BTreeMap;
    use std::net::Ipv6Addr;

    /// A repeatable sequence of numbers.
    pub(crate) struct Dice(pub(crate) u64);

    impl Dice {
        pub(crate) fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 33) as usize) % limit
        }
    }

    /// Datagrams that carry their own number.
    pub(crate) struct Numbered(pub(crate) Vec<(Tuple, Class, Vec<u8>)>);

    impl Batch for Numbered {
        fn tuple(&self, index: u32) -> Tuple {
            self.0[index as usize].0
        }
        fn class(&self, index: u32) -> Class {
            self.0[index as usize].1
        }
        fn due(&self, _index: u32) -> Instant {
            Instant::now()
        }
        fn bytes(&self, index: u32) -> &[u8] {
            &self.0[index as usize].2
        }
    }

    fn tuple(socket: usize, peer: usize) -> Tuple {
        let port = 10_000 + peer as u16;
        let ip =
            if peer.is_multiple_of(3) { Ipv6Addr::LOCALHOST.into() } else { [192, 0, 2, peer as u8].into() };
        Tuple { socket: socket as u16, remote: SocketAddr::new(ip, port) }
    }

    fn random(seed: u64) -> Numbered {
        let mut dice = Dice(seed);
        let (count, peers, sizes) = (dice.below(400) + 1, dice.below(20) + 1, dice.below(4) + 1);
        let classes = [Class::Control, Class::Audio, Class::Video, Class::Video, Class::Video];
        let datagram = |_| {
            let size = [1_200, 1_200, 90, 1_199, 1][dice.below(sizes + 1)];
            let class = classes[dice.below(classes.len())];
            (tuple(dice.below(2), dice.below(peers)), class, vec![7; size])
        };
        Numbered((0..count).map(datagram).collect())
    }

    fn planned(batch: &Numbered, may_segment: impl Fn(u16) -> bool) -> Plan {
        let mut plan = Plan::new();
        let chosen: Vec<u32> = (0..batch.0.len() as u32).collect();
        plan.make(batch, &chosen, may_segment);
        plan
    }

    /// What grouping must amount to, said the slow way: each destination's datagrams in order of creation.
    fn naive(batch: &Numbered) -> BTreeMap<Tuple, Vec<u32>> {
        let mut groups: BTreeMap<Tuple, Vec<u32>> = BTreeMap::new();
        for (index, (tuple, ..)) in (0..).zip(&batch.0) {
            groups.entry(*tuple).or_default().push(index);
        }
        groups
    }

    fn regrouped(plan: &Plan) -> BTreeMap<Tuple, Vec<u32>> {
        let mut groups: BTreeMap<Tuple, Vec<u32>> = BTreeMap::new();
        for message in &plan.messages {
            groups.entry(message.tuple).or_default().extend(slice(plan, message));
        }
        groups
    }

    fn slice<'a>(plan: &'a Plan, message: &Message) -> &'a [u32] {
        &plan.order[message.first as usize..][..usize::from(message.count)]
    }

    fn assert_run(batch: &Numbered, plan: &Plan, message: &Message) {
        let sizes: Vec<usize> = slice(plan, message).iter().map(|&index| batch.bytes(index).len()).collect();
        let (last, full) = sizes.split_last().expect("a message holds a datagram");
        assert!(full.iter().all(|&size| size == usize::from(message.segment)), "{sizes:?}");
        assert!(*last <= usize::from(message.segment), "{sizes:?}");
        assert!(sizes.len() <= RUN_DATAGRAMS && sizes.iter().sum::<usize>() <= RUN_BYTES);
    }

    #[test]
    fn any_batch_keeps_each_destinations_order_and_every_run_is_legal() {
        for seed in 0..500 {
            let batch = random(seed);
            let plan = planned(&batch, |socket| socket == 0 || seed % 2 == 0);
            assert_eq!(regrouped(&plan), naive(&batch), "seed {seed}");
            for message in &plan.messages {
                assert_run(&batch, &plan, message);
                assert!(message.count == 1 || message.tuple.socket == 0 || seed % 2 == 0, "seed {seed}");
            }
        }
    }

    #[test]
    fn destinations_with_sound_or_control_go_before_those_with_pictures_only() {
        for seed in 0..100 {
            let batch = random(seed);
            let plan = planned(&batch, |_| true);
            let groups = naive(&batch);
            let urgency = |message: &Message| {
                let class = groups[&message.tuple].iter().map(|&index| batch.class(index)).min();
                (message.tuple.socket, class)
            };
            assert!(plan.messages.is_sorted_by_key(urgency), "seed {seed}");
        }
    }

    #[test]
    fn a_shorter_datagram_ends_a_run_and_a_longer_one_begins_the_next() {
        let batch = |sizes: &[usize]| {
            Numbered(sizes.iter().map(|&size| (tuple(0, 1), Class::Video, vec![0; size])).collect())
        };
        let cases: [(&[usize], &[u16]); 6] = [
            (&[1_200, 1_200, 1_200], &[3]),
            (&[1_200, 1_200, 500, 500], &[3, 1]),
            (&[500, 1_200, 1_200], &[1, 2]),
            (&[1_200, 500, 1_200, 500], &[2, 2]),
            (&[1_200; 60], &[54, 6]),
            (&[100; 65], &[64, 1]),
        ];
        for (sizes, runs) in cases {
            let batch = batch(sizes);
            let counts: Vec<u16> = planned(&batch, |_| true).messages.iter().map(|each| each.count).collect();
            assert_eq!(counts, runs, "{sizes:?}");
        }
    }

    #[test]
    fn a_plan_is_reused_without_growing() {
        let batch = random(3);
        let chosen: Vec<u32> = (0..batch.0.len() as u32).collect();
        let mut plan = planned(&batch, |_| true);
        let room =
            (plan.order.capacity(), plan.messages.capacity(), plan.groups.capacity(), plan.table.slots.len());
        for _ in 0..50 {
            plan.make(&batch, &chosen, |_| true);
        }
        let after =
            (plan.order.capacity(), plan.messages.capacity(), plan.groups.capacity(), plan.table.slots.len());
        assert_eq!(room, after);
    }

    #[test]
    fn an_empty_datagram_never_joins_a_run() {
        let batch =
            Numbered(vec![(tuple(0, 1), Class::Video, vec![0; 10]), (tuple(0, 1), Class::Video, Vec::new())]);
        assert_eq!(run_length(&batch, &[0, 1]), 1);
        assert_eq!(run_length(&batch, &[1, 0]), 1);
    }
}
