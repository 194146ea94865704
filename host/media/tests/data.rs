//! Data channels through whole engines: real DTLS and SCTP peers on virtual time, over a network that delays and
//! loses by seed.
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "virtual time has to start somewhere")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tidegate_media::association::{AssociationConfig, Received};
use tidegate_media::data::peer::{ChannelPlan, DataPeer};
use tidegate_media::data::{FRAME_BYTES, Kind, ROOM_PROTOCOL, frame, unframe};
use tidegate_media::io::Crossing;
use tidegate_media::peer::video::Numbers;
use tidegate_media::peer::{Peer, host};
use tidegate_media::{Engine, Held};
use tidegate_types::command::{CommandBody, CommandError, Done, TransportLimits};
use tidegate_types::data::{DataParameters, DataRefusal, MESSAGE_BYTES, MESSAGES_PER_S, PIECES};
use tidegate_types::report::Report;
use tidegate_types::{Now, PersonId, Place, RouterId, ShardIndex, TransportId};

const ROUTER: RouterId = RouterId(1);
const DELAY: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_millis(1);
/// First byte of a DTLS record with application data: only those are lost, so that everyone connects.
const APPLICATION_DATA: u8 = 23;

struct Person {
    peer: Peer,
    data: DataPeer,
    home: usize,
}

enum Event {
    ToEngine(usize, Vec<u8>),
    ToPerson(usize, Vec<u8>),
    Cross(usize, Place, Crossing),
}

struct World {
    engines: Vec<Engine>,
    people: Vec<Person>,
    config: AssociationConfig,
    now: Now,
    queue: VecDeque<(Instant, Event)>,
    chance: Numbers,
    /// In thousandths.
    lost: u64,
    reports: Vec<Report>,
    requests: u64,
    /// Bytes of messages that the peers' own stacks take to send.
    message_bytes: u32,
    /// Bytes of the pieces into which the peers cut their messages.
    piece_bytes: Option<u32>,
}

fn person_address(person: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, 0, person as u8], 5_000))
}

impl World {
    fn new(shards: usize, lost: u64) -> Self {
        let config = host::association();
        let mut world = Self {
            engines: (0..shards).map(|shard| host::engine(shard, shards, 0, &config)).collect(),
            people: Vec::new(),
            config,
            now: host::begin(Instant::now()),
            queue: VecDeque::new(),
            chance: Numbers(7),
            lost,
            reports: Vec::new(),
            requests: 0,
            message_bytes: MESSAGE_BYTES,
            piece_bytes: None,
        };
        for shard in 0..shards {
            let others = (0..shards).filter(|other| *other != shard);
            let to = others.map(|other| Place::local(other as u16)).collect();
            world.command(shard, CommandBody::RelayData { router: ROUTER, to }).expect("relays");
        }
        world
    }

    fn command(&mut self, shard: usize, body: CommandBody) -> Result<Done, CommandError> {
        self.requests += 1;
        let done = host::command(&mut self.engines[shard], self.now, self.requests, body);
        self.drain_engine(shard);
        done
    }

    /// A person whose transport stands at `home`, without data channels.
    fn enter(&mut self, home: usize) -> usize {
        let person = self.people.len();
        let transport = TransportId(person as u64);
        let limits = TransportLimits::default();
        let made = self.command(home, CommandBody::CreateTransport { transport, router: ROUTER, limits });
        let Ok(Done::Transport(local)) = made else { panic!("{made:?}") };
        let mut peer = Peer::new(&self.config, &person.to_string(), self.now);
        let remote = peer.remote();
        self.command(home, CommandBody::ConnectTransport { transport, remote }).expect("connects");
        peer.meet(&local, host::address(home), self.now);
        let data = DataPeer::connect_in_pieces(self.now.instant, self.message_bytes, self.piece_bytes);
        self.people.push(Person { peer, data, home });
        person
    }

    fn open_data(&mut self, person: usize, may_send: bool) {
        let parameters =
            DataParameters { person: PersonId(person as u64), may_send, max_message_bytes: MESSAGE_BYTES };
        let transport = TransportId(person as u64);
        let home = self.people[person].home;
        self.command(home, CommandBody::OpenData { transport, parameters }).expect("opens");
    }

    /// People with an open channel on stream 0, one a shard in turn.
    fn gathered(shards: usize, people: usize, lost: u64, plan: &ChannelPlan) -> Self {
        let mut world = Self::new(shards, lost);
        for number in 0..people {
            let person = world.enter(number % shards);
            world.open_data(person, true);
        }
        world.open_channels(plan);
        world
    }

    fn open_channels(&mut self, plan: &ChannelPlan) {
        self.run_until("everyone is connected", |world| {
            world.people.iter().all(|person| person.data.is_connected)
        });
        let now = self.now.instant;
        for person in &mut self.people {
            assert!(person.data.open(now, 0, plan));
        }
        self.run_until("every channel is open", |world| {
            world.people.iter().all(|person| person.data.acknowledged.contains(&0))
        });
    }

    fn send(&mut self, person: usize, bytes: &[u8]) {
        let now = self.now.instant;
        assert!(self.people[person].data.send(now, 0, bytes), "person {person} cannot send");
    }

    fn received(&self, person: usize) -> Vec<&[u8]> {
        self.people[person].data.received.iter().map(|(_, bytes)| &bytes[..]).collect()
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.instant + span;
        while self.now.instant < end {
            self.step();
        }
    }

    fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..120_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("two minutes passed before {what}");
    }

    fn step(&mut self) {
        self.now = self.now.after(TICK);
        let now = self.now;
        while self.queue.front().is_some_and(|(due, _)| *due <= now.instant) {
            let Some((_, event)) = self.queue.pop_front() else { break };
            self.handle(event);
        }
        for shard in 0..self.engines.len() {
            if self.engines[shard].next_timeout().is_some_and(|due| due <= now.instant) {
                self.engines[shard].timeout(now);
            }
            self.drain_engine(shard);
        }
        for person in 0..self.people.len() {
            let Person { peer, data, .. } = &mut self.people[person];
            if self.chance.draw().is_multiple_of(2_000) {
                peer.check(now);
            }
            peer.timeout(now);
            if peer.is_connected() {
                data.timeout(now.instant);
            }
            self.drain_person(person);
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::ToEngine(person, bytes) => {
                let engine = &mut self.engines[self.people[person].home];
                host::deliver(engine, now, person_address(person), &bytes);
            }
            Event::ToPerson(person, mut bytes) => {
                let Person { peer, data, .. } = &mut self.people[person];
                if peer.receive(now, &mut bytes) == Received::Handled {
                    while let Some(packet) = peer.association.poll_data() {
                        data.receive(now.instant, &packet);
                    }
                }
            }
            Event::Cross(to, from, crossing) => self.engines[to].cross(now, from, crossing),
        }
    }

    fn push(&mut self, bytes: &[u8], event: Event) {
        let is_data = bytes.first() == Some(&APPLICATION_DATA);
        if !is_data || self.chance.draw() % 1_000 >= self.lost {
            self.queue.push_back((self.now.instant + DELAY, event));
        }
    }

    fn drain_engine(&mut self, shard: usize) {
        let output = self.engines[shard].output();
        let datagrams = std::mem::take(&mut output.datagrams);
        let crossings = std::mem::take(&mut output.crossings);
        self.reports.append(&mut output.reports);
        for head in datagrams.heads() {
            let SocketAddr::V4(to) = head.tuple.remote else { panic!("only IPv4 here") };
            let bytes = datagrams.bytes(head).to_vec();
            self.push(&bytes.clone(), Event::ToPerson(usize::from(to.ip().octets()[3]), bytes));
        }
        for (to, crossing) in crossings {
            let from = Place::local(shard as u16);
            self.push(&[], Event::Cross(usize::from(to.shard.0), from, crossing));
        }
    }

    fn drain_person(&mut self, person: usize) {
        let now = self.now;
        let Person { peer, data, .. } = &mut self.people[person];
        if peer.is_connected() {
            let mut out = std::mem::take(peer.output());
            while let Some(packets) = data.poll_packets(now.instant) {
                for packet in packets {
                    peer.association.send_data(now, &packet, &mut out);
                }
            }
            *peer.output() = out;
        }
        let out = std::mem::take(self.people[person].peer.output());
        for head in out.heads() {
            let bytes = out.bytes(head).to_vec();
            self.push(&bytes.clone(), Event::ToEngine(person, bytes));
        }
    }

    fn move_person(&mut self, person: usize, to: usize) {
        let (transport, to_shard) = (TransportId(person as u64), ShardIndex(to as u16));
        let body = CommandBody::MoveTransport { transport, to: to_shard, stand_ins: Vec::new() };
        self.command(self.people[person].home, body).expect("moves");
        self.people[person].home = to;
    }

    fn refusals(&self) -> Vec<(TransportId, &str, DataRefusal)> {
        let refusal = |report| match report {
            &Report::DataRefused { transport, ref label, refusal } => {
                Some((transport, label.as_str(), refusal))
            }
            _ => None,
        };
        self.reports.iter().filter_map(refusal).collect()
    }

    fn dropped(&self, shard: usize, kind: &str) -> u64 {
        let counters = self.engines[shard].counters();
        counters.dropped.iter().find(|(known, _)| *known == kind).map_or(0, |(_, count)| *count)
    }
}

fn plain() -> ChannelPlan {
    ChannelPlan::reliable("files", "")
}

fn room() -> ChannelPlan {
    ChannelPlan::reliable("room", ROOM_PROTOCOL)
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

#[test]
fn a_large_message_arrives_whole_at_everyone_else_over_two_shards_and_losses() {
    let mut world = World::gathered(2, 4, 50, &plain());
    let message = pattern(200_000, 1);
    world.send(0, &message);
    world.run_until("all three have it", |world| (1..4).all(|person| !world.received(person).is_empty()));
    for person in 1..4 {
        assert!(world.received(person) == [&message[..]], "person {person} got something else");
    }
    assert!(world.received(0).is_empty(), "nobody hears itself");
}

#[test]
fn a_reliable_channel_keeps_every_message_in_order_over_losses() {
    let mut world = World::gathered(2, 2, 100, &plain());
    let sent: Vec<Vec<u8>> = (0..300_u32).map(|number| number.to_be_bytes().repeat(50)).collect();
    for message in &sent {
        world.send(0, message);
        world.run(Duration::from_millis(10));
    }
    world.run_until("all are there", |world| world.received(1).len() >= sent.len());
    assert!(world.received(1) == sent, "something is missing or out of order");
}

#[test]
fn an_unreliable_channel_loses_what_the_network_loses_and_waits_for_nothing() {
    let plan = ChannelPlan { unordered: true, retransmits: Some(0), ..plain() };
    let mut world = World::gathered(1, 2, 0, &plan);
    world.lost = 200;
    for number in 0..500_u32 {
        world.send(0, &number.to_be_bytes());
        world.run(Duration::from_millis(10));
    }
    world.run(Duration::from_secs(1));
    let received = world.received(1).len();
    // Two hops that each lose a fifth leave 320 of 500.
    assert!((200..450).contains(&received), "{received} of 500 arrived");
}

#[test]
fn nobody_speaks_in_anothers_name() {
    let mut world = World::gathered(2, 3, 0, &room());
    world.send(1, &frame(Kind::Text, PersonId(0), b"hello"));
    world.run(Duration::from_millis(100));
    world.send(2, &frame(Kind::Binary, PersonId(99), &[1, 2, 3]));
    world.run(Duration::from_millis(200));
    let heard: Vec<_> = world.received(0).into_iter().filter_map(unframe).collect();
    assert_eq!(
        heard,
        [(Kind::Text, PersonId(1), &b"hello"[..]), (Kind::Binary, PersonId(2), &[1, 2, 3][..])]
    );
}

#[test]
fn a_text_reaches_who_has_no_channel_by_report_and_who_has_one_by_that() {
    let mut world = World::gathered(2, 2, 0, &room());
    let silent = world.enter(1);
    world.run(Duration::from_millis(100));
    world.send(0, &frame(Kind::Text, PersonId(0), b"tea?"));
    world.send(0, &frame(Kind::Binary, PersonId(0), b"not a text"));
    world.run(Duration::from_millis(200));
    let told = |world: &World| -> Vec<Report> {
        world.reports.iter().filter(|report| matches!(report, Report::RoomMessage { .. })).cloned().collect()
    };
    let (transport, from) = (TransportId(silent as u64), PersonId(0));
    assert_eq!(told(&world), [Report::RoomMessage { transport, from, text: "tea?".to_owned() }]);
    let (transport, person) = (TransportId(silent as u64), PersonId(silent as u64));
    world
        .command(1, CommandBody::SendMessage { transport, person, text: "yes".to_owned() })
        .expect("it is sent");
    world.run(Duration::from_millis(200));
    for other in 0..2 {
        let heard = world.received(other).last().copied().and_then(unframe);
        assert_eq!(heard, Some((Kind::Text, person, &b"yes"[..])));
    }
    assert_eq!(told(&world).len(), 1, "whoever spoke is not told of it");
}

#[test]
fn the_right_to_send_can_be_taken_and_given_while_channels_stand() {
    let mut world = World::gathered(1, 2, 0, &plain());
    let may_send = |world: &mut World, may_send| {
        let (transport, ingress_kbps, egress_kbps) = (TransportId(1), None, Some(500));
        let may_send = Some(may_send);
        let body = CommandBody::LimitTransport { transport, ingress_kbps, egress_kbps, may_send };
        world.command(0, body).expect("is limited");
    };
    may_send(&mut world, false);
    world.send(1, b"no");
    world.run(Duration::from_millis(200));
    assert!(world.received(0).is_empty());
    assert_eq!(world.refusals(), [(TransportId(1), "files", DataRefusal::NotGranted)]);
    may_send(&mut world, true);
    world.send(1, b"yes");
    world.run(Duration::from_millis(200));
    assert_eq!(world.received(0), [b"yes"]);
    let nobody = TransportId(99);
    let body = CommandBody::LimitTransport {
        transport: nobody,
        ingress_kbps: None,
        egress_kbps: None,
        may_send: None,
    };
    assert_eq!(world.command(0, body), Err(CommandError::NoTransport(nobody)));
}

#[test]
fn a_message_without_a_grant_is_refused_and_told_once_a_second() {
    let mut world = World::new(1, 0);
    for may_send in [true, false] {
        let person = world.enter(0);
        world.open_data(person, may_send);
    }
    world.open_channels(&plain());
    for _ in 0..5 {
        world.send(1, b"no");
    }
    world.run(Duration::from_millis(200));
    assert!(world.received(0).is_empty());
    assert_eq!(world.refusals(), [(TransportId(1), "files", DataRefusal::NotGranted)]);
    assert_eq!(world.dropped(0, "data-not-granted"), 5);
    world.send(0, b"but hear");
    world.run(Duration::from_millis(200));
    assert_eq!(world.received(1), [b"but hear"], "whoever may not send may receive");
}

#[test]
fn a_message_over_the_limit_is_refused_and_the_channel_goes_on() {
    let mut world = World::new(1, 0);
    world.message_bytes = 2 * MESSAGE_BYTES;
    for _ in 0..2 {
        let person = world.enter(0);
        world.open_data(person, true);
    }
    world.open_channels(&plain());
    world.send(0, &pattern(MESSAGE_BYTES as usize + 1, 3));
    world.run_until("it is refused", |world| !world.refusals().is_empty());
    assert_eq!(world.refusals(), [(TransportId(0), "files", DataRefusal::TooLong)]);
    let longest = pattern(MESSAGE_BYTES as usize, 4);
    world.send(0, &longest);
    world.run_until("the longest arrives", |world| !world.received(1).is_empty());
    assert!(world.received(1) == [&longest[..]]);
}

#[test]
fn a_flood_is_bounded() {
    let mut world = World::gathered(1, 2, 0, &plain());
    for _ in 0..20 * MESSAGES_PER_S {
        world.send(0, b"x");
    }
    world.run(Duration::from_secs(2));
    let received = world.received(1).len();
    assert!(received <= 5 * MESSAGES_PER_S as usize, "{received} were forwarded");
    assert_eq!(world.dropped(0, "data-too-many") + received as u64, u64::from(20 * MESSAGES_PER_S));
    assert!(world.refusals().iter().all(|(_, _, refusal)| *refusal == DataRefusal::TooMany));
}

#[test]
fn a_peer_that_takes_nothing_loses_its_reliable_channel_and_nobody_else_does() {
    let mut world = World::gathered(1, 3, 0, &plain());
    // From now on what is for person 2 does not arrive.
    let message = pattern(200_000, 5);
    for _ in 0..25 {
        let before = world.received(1).len();
        world.send(0, &message);
        while world.received(1).len() == before {
            world.queue.retain(|(_, event)| !matches!(event, Event::ToPerson(2, bytes) if bytes[0] == 23));
            world.step();
        }
    }
    assert_eq!(world.refusals(), [(TransportId(2), "files", DataRefusal::TooSlow)]);
    assert_eq!(world.received(1).len(), 25);
}

#[test]
fn channels_move_with_their_transport() {
    let mut world = World::gathered(2, 3, 20, &plain());
    for round in 0..6_u8 {
        let to = usize::from(round % 2 == 0);
        // In the midst of one from it; what is for it has reached its place, and is on its way from there.
        world.send(1, &pattern(50_000, round));
        world.run(Duration::from_millis(300));
        world.send(0, &pattern(40_000, round));
        world.run(Duration::from_millis(25));
        world.move_person(0, to);
        world.run(Duration::from_secs(3));
    }
    let lengths: Vec<usize> = world.received(0).iter().map(|bytes| bytes.len()).collect();
    assert_eq!(lengths, [50_000; 6]);
    let from_mover = world.received(2).iter().filter(|bytes| bytes.len() == 40_000).count();
    assert_eq!(from_mover, 6);
}

#[test]
fn what_is_said_while_its_hearer_crosses_arrives_once_and_in_order() {
    let mut world = World::gathered(3, 4, 20, &plain());
    // Crossing takes as long as ten messages.
    for number in 0..400_u32 {
        for sender in 1..4_u8 {
            if number % 4 == 0 || u32::from(sender) == number % 4 {
                world.send(sender.into(), &[&[sender][..], &number.to_be_bytes()].concat());
            }
        }
        world.run(Duration::from_millis(7));
        if number % 13 == 5 {
            // Now and then on before it has settled.
            let to = (world.people[0].home + 1 + number as usize / 13 % 2) % 3;
            world.run(DELAY * 2);
            world.move_person(0, to);
        }
    }
    world.run(Duration::from_secs(5));
    for (hearer, sender) in (0..4).flat_map(|hearer| (1..4_u8).map(move |sender| (hearer, sender))) {
        let heard: Vec<u32> = (world.received(hearer).into_iter())
            .filter(|bytes| bytes[0] == sender)
            .map(|bytes| u32::from_be_bytes(bytes[1..].try_into().unwrap()))
            .collect();
        let said: Vec<u32> =
            (0..400).filter(|number| number % 4 == 0 || u32::from(sender) == number % 4).collect();
        let expected = if hearer == usize::from(sender) { Vec::new() } else { said };
        assert!(heard == expected, "{hearer} heard {} of {sender}: {heard:?}", heard.len());
    }
    assert!((0..3).all(|shard| world.dropped(shard, "data-lost-between-shards") == 0));
}

#[test]
fn routes_end_with_the_transport_they_lead_to() {
    let mut world = World::gathered(3, 2, 0, &plain());
    for to in [1, 2, 0, 1, 1, 2] {
        world.move_person(0, to);
        world.run(Duration::from_millis(50));
        let transport = TransportId(0);
        world.command(to, CommandBody::RestartIce { transport }).expect("restarts");
    }
    for person in 0..2 {
        let transport = TransportId(person as u64);
        world.command(world.people[person].home, CommandBody::CloseTransport { transport }).expect("closes");
    }
    for shard in 0..3 {
        world.command(shard, CommandBody::CloseRouter { router: ROUTER }).expect("is empty");
    }
    // Their peers go on asking for a while.
    world.run(Duration::from_secs(5));
    for engine in &world.engines {
        assert_eq!(engine.held(), Held::default(), "{engine:?}");
    }
}

#[test]
fn a_peer_that_cuts_messages_to_crumbs_loses_its_channels_alone() {
    let mut world = World::new(1, 0);
    for piece_bytes in [None, Some(1), None] {
        world.piece_bytes = piece_bytes;
        let person = world.enter(0);
        world.open_data(person, true);
    }
    world.open_channels(&plain());
    world.send(1, &pattern(2 * PIECES, 1));
    world.run_until("it is refused", |world| !world.refusals().is_empty());
    assert_eq!(world.refusals(), [(TransportId(1), "", DataRefusal::TooFragmented)]);
    world.run(Duration::from_secs(2));
    assert_eq!(world.refusals().len(), 1, "it is told once");
    world.send(0, b"and on");
    world.run(Duration::from_millis(200));
    assert_eq!((world.received(1).len(), world.received(2)), (0, vec![&b"and on"[..]]));
}

#[test]
fn the_longest_room_message_fits_both_ways() {
    let mut world = World::gathered(2, 2, 0, &room());
    let message = pattern(MESSAGE_BYTES as usize - FRAME_BYTES, 9);
    world.send(0, &frame(Kind::Binary, PersonId(0), &message));
    world.run_until("it arrives", |world| !world.received(1).is_empty());
    assert!(unframe(world.received(1)[0]) == Some((Kind::Binary, PersonId(0), &message[..])));
}

#[test]
fn garbage_inside_dtls_is_digested() {
    let mut world = World::gathered(1, 2, 0, &plain());
    let mut chance = Numbers(11);
    for length in 0..400_usize {
        let packet: Vec<u8> = (0..length).map(|_| chance.draw() as u8).collect();
        let now = world.now;
        let peer = &mut world.people[1].peer;
        let mut out = std::mem::take(peer.output());
        peer.association.send_data(now, &packet, &mut out);
        *peer.output() = out;
        world.step();
    }
    world.send(0, b"still here");
    world.run(Duration::from_millis(500));
    assert_eq!(world.received(1), [b"still here"]);
}
