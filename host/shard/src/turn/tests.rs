//! Stories of the whole loop around a real engine, on real loopback sockets.

use super::{Flow, ShardLoop};
use crate::shards::{FromShard, QueueError, ShardSetup, Sink, prepare, start};
use crate::{ShardCounters, Shards, ShardsConfig};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};
use tidegate_media::association::{AssociationConfig, Identity};
use tidegate_media::io::Secrets;
use tidegate_media::peer::Peer;
use tidegate_media::shed::TICK;
use tidegate_media::{Engine, EngineConfig};
use tidegate_types::command::{Command, CommandBody, Done, TransportLimits};
use tidegate_types::report::{LoadReport, Report};
use tidegate_types::transport::SrtpProfile;
use tidegate_types::{Now, NtpTime, Place, RequestNumber, RouterId, TransportId};

/// Long enough for a condition that soon holds on any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

fn sink() -> (Sink, Receiver<(Place, FromShard)>) {
    let (say, said) = channel();
    (Arc::new(move |place, what| drop(say.send((place, what)))), said)
}

/// Bytes that no peer has to guess in these stories.
struct Count(u8);

impl Secrets for Count {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| {
            self.0 = self.0.wrapping_add(1);
            self.0
        });
    }
}

fn engine(setup: ShardSetup) -> Engine {
    let identity = Arc::new(Identity::generate().expect("a certificate"));
    let config = EngineConfig {
        place: setup.place,
        shards: 3,
        candidates: setup.candidates,
        association: AssociationConfig { identity, profiles: vec![SrtpProfile::AeadAes128Gcm] },
        max_transports: 16,
    };
    Engine::new(config, Box::new(Count(0)))
}

/// A loop on the test's own thread.
fn by_hand(config: &ShardsConfig) -> (Shards, Vec<ShardLoop>, Receiver<(Place, FromShard)>) {
    let (sink, said) = sink();
    let (shards, seats) = prepare(config, sink).expect("loopback");
    let sit = |seat: crate::Seat| {
        let engine = engine(seat.setup().clone());
        ShardLoop::new(seat, engine).expect("watched")
    };
    (shards, seats.into_iter().map(sit).collect(), said)
}

fn close(number: u64) -> Command {
    Command {
        request: RequestNumber(number),
        body: CommandBody::CloseTransport { transport: TransportId(number) },
    }
}

/// Turns a loop until the shard's counters satisfy `done`.
fn turn_until(shards: &Shards, shard: &mut ShardLoop, done: impl Fn(&ShardCounters) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done(&shards.counters()[0]) {
        assert!(Instant::now() < until, "{:?}", shards.counters());
        assert_eq!(shard.turn(None), Flow::Goes);
    }
}

#[test]
fn datagrams_at_a_candidate_are_received_and_one_that_means_nothing_harms_nothing() {
    let (shards, mut loops, _said) = by_hand(&ShardsConfig::loopback());
    let address = shards.candidates(Place::local(0))[0].address;
    let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    for length in [1, 20, 1_200, 2_049] {
        peer.send_to(&vec![0xff; length], address).expect("sent");
    }
    turn_until(&shards, &mut loops[0], |counters| counters.received_datagrams == 4);
    assert!(shards.counters()[0].dropped.contains(&("oversize", 1)));
    // The loop has read all there was: the next arrival must be noticed.
    peer.send_to(&[0xff], address).expect("sent");
    turn_until(&shards, &mut loops[0], |counters| counters.received_datagrams == 5);
}

/// A command's answer, by turns of the loop.
fn done(
    shards: &Shards,
    shard: &mut ShardLoop,
    said: &Receiver<(Place, FromShard)>,
    body: CommandBody,
) -> Done {
    shards.command(Place::local(0), Command { request: RequestNumber(1), body }).expect("queued");
    loop {
        assert_eq!(shard.turn(Some(Duration::ZERO)), Flow::Goes);
        if let Some((_, FromShard::Reply(reply))) = said.try_iter().find(|(_, what)| answer(what).is_some()) {
            return reply.result.expect("possible");
        }
    }
}

#[test]
fn what_several_reads_bring_is_answered_in_one_call() {
    // More than one read takes, and few enough for one turn.
    const CHECKS: u64 = 40;
    let (shards, mut loops, said) = by_hand(&ShardsConfig::loopback());
    let shard = &mut loops[0];
    let (transport, router, limits) = (TransportId(1), RouterId(1), TransportLimits::default());
    let create = CommandBody::CreateTransport { transport, router, limits };
    let Done::Transport(local) = done(&shards, shard, &said, create) else { panic!("no transport") };
    let identity = Arc::new(Identity::generate().expect("a certificate"));
    let config = AssociationConfig { identity, profiles: vec![SrtpProfile::AeadAes128Gcm] };
    let now = || Now { instant: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) };
    let mut peer = Peer::new(&config, "peer", now());
    done(&shards, shard, &said, CommandBody::ConnectTransport { transport, remote: peer.remote() });
    let address = shards.candidates(Place::local(0))[0].address;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    peer.meet(&local, address, now());
    // A turn in which a retransmission is due makes a call more.
    for _ in 0..10 {
        (0..CHECKS).for_each(|_| peer.check(now()));
        let out = peer.output();
        for head in out.heads() {
            socket.send_to(out.bytes(head), address).expect("loopback takes it");
        }
        out.clear();
        let before = shards.counters()[0].clone();
        turn_until(&shards, shard, |counters| {
            counters.received_datagrams >= before.received_datagrams + CHECKS
        });
        let after = &shards.counters()[0];
        let one_turn = after.turns == before.turns + 1 && after.receive_calls > before.receive_calls + 1;
        let answered = after.sent_datagrams - before.sent_datagrams;
        if one_turn && answered >= CHECKS && after.send_calls == before.send_calls + 1 {
            return;
        }
    }
    panic!("several calls each time: {:?}", shards.counters());
}

#[test]
fn a_load_report_comes_by_itself() {
    let (shards, mut loops, said) = by_hand(&ShardsConfig::loopback());
    let mut reports = 0;
    let begun = Instant::now();
    let until = begun + PATIENCE;
    while reports < 2 {
        assert!(Instant::now() < until);
        loops[0].turn(None);
        let loads = said.try_iter().filter(|(_, what)| matches!(what, FromShard::Report(Report::Load(_))));
        reports += loads.count();
    }
    assert!(begun.elapsed() > Duration::from_millis(1_500), "reports a second apart");
    let turns = shards.counters()[0].turns;
    assert!(turns < 20, "an idle loop turned {turns} times in two seconds");
}

/// The last load report that came.
fn last_load(said: &Receiver<(Place, FromShard)>) -> LoadReport {
    let loads = said.try_iter().filter_map(|(_, what)| match what {
        FromShard::Report(Report::Load(load)) => Some(load),
        _ => None,
    });
    loads.last().expect("a load report")
}

#[test]
fn a_loop_whose_packets_wait_sheds_and_says_so_until_they_no_longer_do() {
    let (shards, mut loops, said) = by_hand(&ShardsConfig::loopback());
    let shard = &mut loops[0];
    let mut now = super::now();
    let mut tick = |shard: &mut ShardLoop, delay: Option<Duration>| {
        now = now.after(TICK);
        delay.into_iter().for_each(|delay| shard.load.delays.record(delay));
        shard.time_passed(now);
    };
    (0..50).for_each(|_| tick(shard, Some(Duration::from_millis(30))));
    assert_eq!(last_load(&said).shed_level, 0);
    (0..31).for_each(|_| tick(shard, Some(Duration::from_millis(80))));
    assert_eq!(last_load(&said).shed_level, 3);
    assert_eq!(shards.counters()[0].load.shed_level, 3);
    assert!(shard.time_to_sleep(None).is_some_and(|sleep| sleep <= TICK), "it looks again by itself");
    // Nothing is forwarded any more.
    (0..320).for_each(|_| tick(shard, None));
    assert_eq!(last_load(&said).shed_level, 0);
}

#[test]
fn a_receive_queue_that_is_never_found_empty_is_a_delay() {
    let (shards, mut loops, said) = by_hand(&ShardsConfig::loopback());
    let shard = &mut loops[0];
    assert_eq!(shard.turn(Some(Duration::ZERO)), Flow::Goes);
    let mut now = super::now();
    let mut tick = |shard: &mut ShardLoop| {
        now = now.after(TICK);
        shard.load.delays.record(Duration::from_micros(50));
        shard.time_passed(now);
    };
    (0..20).for_each(|_| tick(shard));
    let load = last_load(&said);
    assert_eq!((load.shed_level, load.queue_age_us), (0, 0), "all was read");
    shard.sockets.leave_unread(0, super::now().instant);
    (0..20).for_each(|_| tick(shard));
    assert_eq!(last_load(&said).shed_level, 0, "nothing waits");
    let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    for _ in 0..10 {
        peer.send_to(&[0xff; 1_000], shards.candidates(Place::local(0))[0].address).expect("sent");
    }
    (0..20).for_each(|_| tick(shard));
    let load = last_load(&said);
    assert!(load.shed_level > 0 && load.queue_age_us >= 900_000, "{load:?}");
}

#[test]
fn commands_are_bounded_and_wait_for_the_loop() {
    let config = ShardsConfig { command_slots: 3, ..ShardsConfig::loopback() };
    let (shards, mut loops, said) = by_hand(&config);
    let place = Place::local(0);
    for number in 0..3 {
        assert_eq!(shards.command(place, close(number)), Ok(()));
    }
    assert_eq!(shards.command(place, close(3)), Err(QueueError::Full(place)));
    assert_eq!(shards.command(Place::local(5), close(4)), Err(QueueError::Unknown(Place::local(5))));
    loops[0].turn(Some(Duration::ZERO));
    assert_eq!(answered(&said), [0, 1, 2]);
    assert_eq!(shards.command(place, close(5)), Ok(()));
    drop(loops);
    assert_eq!(shards.command(place, close(6)), Err(QueueError::Stopped(place)));
}

#[test]
fn a_command_that_came_just_before_the_sleep_does_not_wait_for_its_end() {
    let (shards, mut loops, said) = by_hand(&ShardsConfig::loopback());
    loops[0].turn(Some(Duration::ZERO));
    shards.command(Place::local(0), close(1)).expect("queued");
    loops[0].turn(None);
    let said: Vec<_> = said.try_iter().map(|(_, what)| answer(&what)).collect();
    assert_eq!(said, [Some(1)], "with a sleep in between, a load report would have come too");
    assert_eq!(shards.counters()[0].wakes, 0);
}

#[test]
fn a_sleeping_shard_wakes_for_a_command() {
    let (sink, said) = sink();
    let shards =
        start(&ShardsConfig { shards: 2, ..ShardsConfig::loopback() }, engine, sink).expect("loopback");
    let begun = Instant::now();
    for number in 0..50 {
        let place = Place::local((number % 2) as u16);
        shards.command(place, close(number)).expect("queued");
        assert_eq!(next_answer(&said), (place, number));
    }
    // By its own load reports a shard would be awake once a second: that many answers in so short a time were
    // woken for.
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(shards.stop(PATIENCE), []);
}

#[test]
fn stopping_finishes_queued_commands_closes_the_sockets_and_takes_less_than_a_second() {
    let (sink, said) = sink();
    let config = ShardsConfig { shards: 3, ..ShardsConfig::loopback() };
    let shards = start(&config, engine, sink).expect("loopback");
    let addresses: Vec<_> = shards.places().map(|place| shards.candidates(place)[0].address).collect();
    for number in 0..300 {
        shards.command(Place::local((number % 3) as u16), close(number)).expect("queued");
    }
    let begun = Instant::now();
    assert_eq!(shards.stop(PATIENCE), []);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let mut answered = answered(&said);
    answered.sort_unstable();
    assert_eq!(answered, (0..300).collect::<Vec<_>>());
    for address in addresses {
        UdpSocket::bind(address).expect("free again");
    }
}

#[test]
fn a_shard_that_panics_is_seen_and_does_not_hold_up_the_others() {
    let (sink, said) = sink();
    let panics: Sink = Arc::new(move |place, what| {
        assert!(place != Place::local(1) || answer(&what).is_none(), "a bug of our own");
        sink(place, what);
    });
    let config = ShardsConfig { shards: 2, ..ShardsConfig::loopback() };
    let shards = start(&config, engine, panics).expect("loopback");
    shards.command(Place::local(1), close(1)).expect("queued");
    let until = Instant::now() + PATIENCE;
    while shards.counters()[1].running {
        assert!(Instant::now() < until, "{:?}", shards.counters());
        std::thread::yield_now();
    }
    assert!(shards.counters()[0].running);
    shards.command(Place::local(0), close(2)).expect("queued");
    assert_eq!(next_answer(&said), (Place::local(0), 2));
    assert_eq!(shards.stop(PATIENCE), []);
}

fn answered(said: &Receiver<(Place, FromShard)>) -> Vec<u64> {
    said.try_iter().filter_map(|(_, what)| answer(&what)).collect()
}

fn answer(what: &FromShard) -> Option<u64> {
    match what {
        FromShard::Reply(reply) => Some(reply.request.0),
        FromShard::Report(_) => None,
    }
}

fn next_answer(said: &Receiver<(Place, FromShard)>) -> (Place, u64) {
    loop {
        let (place, what) = said.recv_timeout(PATIENCE).expect("an answer");
        if let Some(number) = answer(&what) {
            return (place, number);
        }
    }
}
