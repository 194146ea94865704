//! Stories of sending over a kernel that is told how to fail.

use super::{Batch, Blame, Counters, Delays, Dropped, Message, Meter, Outlet, SEGMENT_REST, Sender};
use crate::group::tests::Dice;
use crate::waiting::{BACKLOG_DATAGRAMS, LATER_DATAGRAMS};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tidegate_media::io::{Class, Datagrams, Tuple};

const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const EINVAL: i32 = 22;
const ENETUNREACH: i32 = 101;

/// A kernel of the test's own.
#[derive(Default)]
struct Kernel {
    /// What arrived: where, and its bytes.
    sent: Vec<(Tuple, Vec<u8>)>,
    /// Datagrams in each message that went.
    runs: Vec<u16>,
    /// What a run gets.
    run_error: Option<i32>,
    /// A port that nothing reaches, and what it gets.
    dead: Option<(u16, i32)>,
    /// Messages that still fit each socket; `None`: any number.
    room: Option<usize>,
    /// As soon as a socket has been full, it no longer is.
    drains: bool,
    calls: usize,
}

impl Kernel {
    fn verdict(&self, message: &Message) -> Result<(), i32> {
        if let Some((_, errno)) = self.dead.filter(|(port, _)| *port == message.tuple.remote.port()) {
            return Err(errno);
        }
        if let Some(errno) = self.run_error.filter(|_| message.count > 1) {
            return Err(errno);
        }
        if self.room == Some(0) { Err(EAGAIN) } else { Ok(()) }
    }
}

impl Outlet for Kernel {
    fn send<B: Batch>(&mut self, batch: &B, order: &[u32], messages: &[Message]) -> io::Result<usize> {
        self.calls += 1;
        for (went, message) in messages.iter().enumerate() {
            match self.verdict(message) {
                Ok(()) => {}
                Err(errno) if went == 0 => {
                    self.room = self.room.filter(|_| errno != EAGAIN || !self.drains);
                    return Err(io::Error::from_raw_os_error(errno));
                }
                Err(_) => return Ok(went),
            }
            self.room = self.room.map(|room| room - 1);
            self.runs.push(message.count);
            for &index in &order[super::range(message)] {
                self.sent.push((message.tuple, batch.bytes(index).to_vec()));
            }
        }
        Ok(messages.len())
    }

    fn may_segment(&self) -> bool {
        true
    }

    fn blames_segments(&self, error: &io::Error) -> Blame {
        match error.raw_os_error() {
            Some(EIO | EINVAL) => Blame::Socket,
            _ => Blame::Destination,
        }
    }
}

struct Story {
    sender: Sender,
    kernel: Kernel,
    counters: Counters,
    delays: Delays,
    datagrams: Datagrams,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        Self {
            sender: Sender::new(2),
            kernel: Kernel::default(),
            counters: Counters::default(),
            delays: Delays::default(),
            datagrams: Datagrams::default(),
            now: Instant::now(),
        }
    }

    /// Adds a datagram that carries its number, padded to 100 bytes.
    fn add(&mut self, port: u16, class: Class, number: u32) {
        self.add_at(port, class, number, self.now);
    }

    fn add_at(&mut self, port: u16, class: Class, number: u32, at: Instant) {
        let mut bytes = [0; 100];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        self.datagrams.push(tuple(port), at, class, &bytes);
    }

    fn send(&mut self) {
        let mut meter = Meter { counters: &self.counters, delays: &mut self.delays };
        self.sender.send(self.now, &self.datagrams, &mut self.kernel, &mut meter);
        self.datagrams.clear();
    }

    fn writable(&mut self) {
        let mut meter = Meter { counters: &self.counters, delays: &mut self.delays };
        self.sender.writable(0, self.now, &mut self.kernel, &mut meter);
    }

    fn release(&mut self) {
        let mut meter = Meter { counters: &self.counters, delays: &mut self.delays };
        self.sender.release(self.now, &mut self.kernel, &mut meter);
    }

    /// Numbers that arrived at a port, in order of arrival.
    fn arrived(&self, port: u16) -> Vec<u32> {
        let there = self.kernel.sent.iter().filter(|(tuple, _)| tuple.remote.port() == port);
        there.map(|(_, bytes)| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()
    }
}

fn tuple(port: u16) -> Tuple {
    Tuple { socket: 0, remote: SocketAddr::from(([192, 0, 2, 1], port)) }
}

#[test]
fn a_turn_goes_in_one_call_with_a_run_for_each_destination() {
    let mut story = Story::new();
    for number in 0..30 {
        story.add(1_000 + (number % 3) as u16, Class::Video, number);
    }
    story.send();
    assert_eq!((story.kernel.calls, &story.kernel.runs[..]), (1, &[10, 10, 10][..]));
    assert_eq!(story.arrived(1_001), (0..30).filter(|number| number % 3 == 1).collect::<Vec<_>>());
    assert_eq!(story.counters.segmented_datagrams.get(), 30);
}

#[test]
fn a_dead_destination_costs_only_its_own_messages() {
    let mut story = Story::new();
    story.kernel.dead = Some((1_001, ENETUNREACH));
    for number in 0..30 {
        story.add(1_000 + (number % 3) as u16, Class::Video, number);
    }
    story.send();
    assert_eq!(story.arrived(1_000).len() + story.arrived(1_002).len(), 20);
    assert_eq!(story.counters.dropped(Dropped::Refused), 10);
    assert_eq!(story.counters.sent_datagrams.get(), 20);
    assert!(!story.sender.is_full(0));
}

#[test]
fn a_refused_run_goes_again_in_pieces_and_runs_rest_for_a_while() {
    let mut story = Story::new();
    story.kernel.run_error = Some(EIO);
    (0..8).for_each(|number| story.add(1_000, Class::Video, number));
    story.send();
    assert_eq!(story.arrived(1_000), (0..8).collect::<Vec<_>>(), "that batch, again");
    let calls = story.kernel.calls;
    (8..16).for_each(|number| story.add(1_000, Class::Video, number));
    story.send();
    assert_eq!(story.kernel.calls, calls + 1, "no run was tried");
    assert_eq!(story.arrived(1_000), (0..16).collect::<Vec<_>>());
    story.kernel.run_error = None;
    story.kernel.runs.clear();
    story.now += SEGMENT_REST;
    (16..20).for_each(|number| story.add(1_000, Class::Video, number));
    story.send();
    assert_eq!(story.kernel.runs, [4], "tried again");
    assert_eq!(story.counters.dropped_total(), 0);
}

#[test]
fn a_bad_destination_does_not_take_the_runs_from_the_others() {
    let mut story = Story::new();
    story.kernel.dead = Some((1_000, EINVAL));
    for number in 0..8 {
        story.add(1_000, Class::Video, number);
        story.add(1_001, Class::Video, number);
    }
    story.send();
    assert_eq!(story.kernel.runs, [8]);
    assert_eq!(story.counters.dropped(Dropped::Refused), 8);
    (8..12).for_each(|number| story.add(1_001, Class::Video, number));
    story.send();
    assert_eq!(story.kernel.runs, [8, 4]);
}

#[test]
fn a_full_socket_keeps_control_and_sound_and_drops_the_oldest_pictures() {
    let mut story = Story::new();
    story.kernel.room = Some(0);
    story.add(1_000, Class::Audio, 1);
    story.add(1_000, Class::Control, 2);
    let pictures = 100..100 + BACKLOG_DATAGRAMS as u32 + 5;
    for number in pictures.clone() {
        story.add(1_001, Class::Video, number);
        story.send();
    }
    assert_eq!(story.kernel.calls, 1, "a full socket is not asked again");
    assert_eq!(story.counters.dropped(Dropped::BacklogFull), 7);
    assert!(story.sender.is_full(0));
    story.now += Duration::from_millis(250);
    assert!(story.sender.queue_age(story.now) >= Duration::from_millis(250));
    story.kernel.room = None;
    story.writable();
    assert_eq!(story.arrived(1_000), [2, 1], "control, then sound");
    assert_eq!(story.kernel.sent[1].0.remote.port(), 1_000, "and both before pictures");
    assert_eq!(story.arrived(1_001), pictures.skip(7).collect::<Vec<_>>());
    assert!(!story.sender.is_full(0));
    assert_eq!(story.sender.queue_age(story.now), Duration::ZERO);
}

#[test]
fn a_socket_that_fills_up_within_a_refused_run_keeps_the_order() {
    let mut story = Story::new();
    story.kernel.run_error = Some(EIO);
    story.kernel.room = Some(3);
    (0..8).for_each(|number| story.add(1_000, Class::Video, number));
    story.send();
    assert_eq!(story.arrived(1_000), [0, 1, 2]);
    story.kernel.room = None;
    (8..12).for_each(|number| story.add(1_000, Class::Video, number));
    story.send();
    story.writable();
    assert_eq!(story.arrived(1_000), (0..12).collect::<Vec<_>>());
}

#[test]
fn what_follows_a_refused_run_does_not_overtake_its_pieces() {
    let mut story = Story::new();
    story.kernel.run_error = Some(EIO);
    story.kernel.room = Some(3);
    story.kernel.drains = true;
    (0..70).for_each(|number| story.add(1_000, Class::Video, number));
    story.send();
    story.writable();
    assert_eq!(story.arrived(1_000), (0..70).collect::<Vec<_>>());
}

#[test]
fn what_is_early_waits_for_its_time_and_the_rest_does_not_wait_for_it() {
    let mut story = Story::new();
    let soon = story.now + Duration::from_millis(5);
    story.add_at(1_000, Class::Video, 2, soon);
    story.add(1_000, Class::Video, 1);
    story.send();
    assert_eq!(story.arrived(1_000), [1]);
    assert_eq!(story.sender.next_release(), Some(soon));
    story.release();
    assert_eq!(story.arrived(1_000), [1], "not yet");
    story.now = soon;
    story.release();
    assert_eq!(story.arrived(1_000), [1, 2]);
    assert_eq!(story.sender.next_release(), None);
}

#[test]
fn when_too_many_wait_those_leave_early_that_are_due_first() {
    let mut story = Story::new();
    let all = LATER_DATAGRAMS as u32 + 10;
    let due = |number: u32| Duration::from_micros(u64::from(number));
    for number in 0..all {
        story.add_at(1_000, Class::Video, number, story.now + due(number + 1));
    }
    story.send();
    assert_eq!(story.arrived(1_000), (0..10).collect::<Vec<_>>());
    story.now += due(all);
    story.release();
    assert_eq!(story.arrived(1_000), (0..all).collect::<Vec<_>>(), "none overtook another");
}

#[test]
fn a_socket_that_does_not_exist_costs_that_datagram() {
    let mut story = Story::new();
    let nowhere = Tuple { socket: 9, ..tuple(1_000) };
    story.datagrams.push(nowhere, story.now, Class::Video, b"lost");
    story.add(1_000, Class::Video, 1);
    story.send();
    assert_eq!(story.arrived(1_000), [1]);
    assert_eq!(story.counters.dropped(Dropped::Astray), 1);
}

/// Whatever the kernel does, every datagram to a living destination arrives once, in order within its class.
#[test]
fn nothing_is_lost_doubled_or_reordered_by_a_moody_kernel() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut story = Story::new();
        story.kernel.dead = Some((1_003, ENETUNREACH));
        let mut expected = [0; 3];
        for number in 0..600_u32 {
            let class = [Class::Audio, Class::Video, Class::Video][dice.below(3)];
            let port = 1_000 + dice.below(4) as u16;
            if let Some(count) = expected.get_mut(usize::from(port - 1_000)) {
                *count += 1;
            }
            let early = Duration::from_millis(dice.below(4) as u64 / 3);
            story.add_at(port, class, number * 2 + u32::from(class == Class::Audio), story.now + early);
            if dice.below(20) == 0 {
                story.kernel.run_error = [None, Some(EIO)][dice.below(2)];
                story.kernel.room = [None, Some(dice.below(6))][dice.below(2)];
                story.send();
                story.now += Duration::from_millis(1);
                story.release();
                if dice.below(2) == 0 {
                    story.writable();
                }
            }
        }
        story.kernel.room = None;
        story.send();
        story.now += Duration::from_secs(1);
        story.release();
        story.writable();
        for (port, count) in (1_000..).zip(expected) {
            let arrived = story.arrived(port);
            assert_eq!(arrived.len(), count, "seed {seed}, port {port}");
            let mut once = arrived.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), count, "seed {seed}, port {port}: doubled");
        }
        assert_eq!(story.counters.dropped(Dropped::BacklogFull), 0, "seed {seed}");
    }
}

#[test]
fn delay_is_measured_from_arrival_and_only_for_media() {
    let mut story = Story::new();
    let arrived = story.now.checked_sub(Duration::from_millis(20)).expect("the clock has run for 20 ms");
    story.add_at(1_000, Class::Control, 1, arrived);
    story.send();
    assert_eq!(story.delays.quantile_us(500), 0);
    story.add_at(1_000, Class::Video, 2, arrived);
    story.send();
    assert!(story.delays.quantile_us(500) >= 20_000);
}
