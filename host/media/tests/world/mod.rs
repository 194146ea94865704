//! A world on virtual time: engines, real peers (ICE, DTLS, SRTP) and a network between them that loses, delays
//! and doubles packets by hash(seed, path, stream, sequence, attempt), so that what happens to a packet does not
//! depend on how many shards there are.

pub(crate) mod person;

use person::{Person, Plan};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tidegate_media::Engine;
use tidegate_media::io::{Crossing, FlowChange, Tuple};
use tidegate_media::peer::host;
use tidegate_media::shed::Level;
use tidegate_types::command::{CommandBody, CommandError, Done, TransportDump, TransportLimits};
use tidegate_types::consumer::{ConsumerStats, LayerPreference};
use tidegate_types::relay::RelayMessage;
use tidegate_types::report::Report;
use tidegate_types::sharing::{Portion, RouterRates};
use tidegate_types::transport::LocalTransport;
use tidegate_types::{
    Bitrate, ConsumerId, Now, Place, ProducerId, RelayId, RouterId, ShardIndex, TransportId,
};

/// What the network does to media, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u64,
    pub(crate) late: u64,
    pub(crate) doubled: u64,
    pub(crate) relay_lost: u64,
}

enum Event {
    ToEngine { shard: usize, from: SocketAddr, bytes: Vec<u8> },
    ToPerson { person: usize, bytes: Vec<u8> },
    Cross { to: usize, from: Place, crossing: Crossing },
}

pub(crate) struct World {
    pub(crate) engines: Vec<Engine>,
    pub(crate) people: Vec<Person>,
    pub(crate) homes: Vec<usize>,
    now: Now,
    start: Instant,
    seed: u64,
    weather: Weather,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    count: u64,
    attempts: BTreeMap<(usize, bool, u32, u16), u64>,
    /// Which flows each engine says that its transports are reached by.
    flows: Vec<BTreeSet<Tuple>>,
    /// How often each relay packet was carried.
    carried: BTreeMap<(RelayId, u64), u64>,
    requests: u64,
    pub(crate) moved: usize,
    /// Publishers stop sending what they are told that nobody watches.
    pub(crate) thrifty: bool,
    /// Datagrams that left the engines.
    pub(crate) sent: u64,
    /// The longest of them that held RTCP.
    pub(crate) longest_report: usize,
    /// Relays that bring a moved track back to where it stood, so far.
    stand_ins: u64,
}

fn person_address(person: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, (person / 200) as u8, (person % 200) as u8], 5_000))
}

impl World {
    pub(crate) fn new(seed: u64, shards: usize, people: usize, weather: Weather, plan: &Plan) -> Self {
        let start = Instant::now();
        let now = host::begin(start);
        let engine = |shard| host::engine(shard, shards, seed, &host::association());
        let shared = host::association();
        let mut world = Self {
            engines: (0..shards).map(engine).collect(),
            people: (0..people).map(|number| Person::new(number, &shared, plan, now)).collect(),
            homes: (0..people).map(|number| number % shards).collect(),
            now,
            start,
            seed,
            weather,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            count: 0,
            attempts: BTreeMap::new(),
            flows: vec![BTreeSet::new(); shards],
            carried: BTreeMap::new(),
            requests: 0,
            moved: 0,
            thrifty: false,
            sent: 0,
            longest_report: 0,
            stand_ins: 0,
        };
        for person in 0..people {
            world.enter(person);
        }
        world.connect_everyone();
        world
    }

    pub(crate) fn command(&mut self, shard: usize, body: CommandBody) -> Result<Done, CommandError> {
        self.requests += 1;
        let done = host::command(&mut self.engines[shard], self.now, self.requests, body);
        self.drain_engine(shard);
        done
    }

    fn enter(&mut self, person: usize) {
        let shard = self.homes[person];
        let transport = TransportId(person as u64);
        let egress_kbps = self.people[person].plan.first_kbps.filter(|_| person == 0);
        let ingress_kbps = self.people[person].plan.ceiling_kbps;
        let told_by_ceiling = self.people[person].plan.told_by_ceiling;
        let limits = TransportLimits { ingress_kbps, egress_kbps, told_by_ceiling };
        let made =
            self.command(shard, CommandBody::CreateTransport { transport, router: RouterId(1), limits });
        let Ok(Done::Transport(local)) = made else { panic!("{made:?}") };
        let local: LocalTransport = local;
        let remote = self.people[person].peer.remote();
        self.command(shard, CommandBody::ConnectTransport { transport, remote }).expect("connects");
        self.people[person].peer.meet(&local, host::address(shard), self.now);
        self.drain_person(person);
    }

    /// Every person's tracks, relayed to every other shard and consumed by everyone else.
    fn connect_everyone(&mut self) {
        let shards = self.engines.len();
        for person in 0..self.people.len() {
            let home = self.homes[person];
            for (producer, parameters) in self.people[person].producers() {
                let transport = TransportId(person as u64);
                let body = CommandBody::CreateProducer {
                    producer,
                    transport,
                    parameters: parameters.clone(),
                    paused: false,
                };
                self.command(home, body).expect("produces");
                for shard in (0..shards).filter(|shard| *shard != home) {
                    let relay = RelayId(producer.0 * 100 + shard as u64);
                    let accept = CommandBody::AcceptRelay {
                        relay,
                        router: RouterId(1),
                        producer,
                        parameters: parameters.clone(),
                        paused: false,
                        from: Place::local(home as u16),
                    };
                    self.command(shard, accept).expect("accepts");
                    let open = CommandBody::OpenRelay { relay, producer, to: Place::local(shard as u16) };
                    self.command(home, open).expect("opens");
                }
            }
        }
        for person in 0..self.people.len() {
            if !self.people[person].comes_late() {
                self.subscribe(person);
            }
        }
    }

    /// Someone consumes everyone else's tracks from now on.
    pub(crate) fn subscribe(&mut self, person: usize) {
        for other in (0..self.people.len()).filter(|other| *other != person) {
            for (producer, parameters) in self.people[other].producers() {
                let (consumer, parameters) = self.people[person].consume(producer, &parameters);
                let transport = TransportId(person as u64);
                let body = CommandBody::CreateConsumer { consumer, transport, producer, parameters };
                self.command(self.homes[person], body).expect("consumes");
            }
        }
    }

    /// Counters of what a person is sent.
    pub(crate) fn consumed(&mut self, person: usize) -> Vec<ConsumerStats> {
        self.consumers(person).into_iter().map(|(_, stats)| stats).collect()
    }

    /// Each consumer of a person, as counted at its shard.
    pub(crate) fn consumers(&mut self, person: usize) -> Vec<(ConsumerId, ConsumerStats)> {
        self.stats(person).consumers
    }

    /// Everything of a person, as counted at its shard.
    pub(crate) fn stats(&mut self, person: usize) -> TransportDump {
        let transport = TransportId(person as u64);
        match self.command(self.homes[person], CommandBody::ReadStats { transport }) {
            Ok(Done::Stats(dump)) => *dump,
            other => panic!("{other:?}"),
        }
    }

    /// Holds a sound back, or lets it through, wherever it stands.
    pub(crate) fn hush(&mut self, producer: ProducerId, hushed: bool) {
        for shard in 0..self.engines.len() {
            self.command(shard, CommandBody::HushProducer { producer, hushed }).expect("stands here");
        }
    }

    /// A policy says at every shard what tracks are worth.
    pub(crate) fn say_shares(&mut self, portions: &[(ProducerId, Portion)], valid_ms: u32) {
        for shard in 0..self.engines.len() {
            let portions = portions.to_vec();
            self.command(shard, CommandBody::SetShares { router: RouterId(1), portions, valid_ms })
                .expect("heard");
        }
    }

    /// What a shard measures.
    pub(crate) fn rates(&mut self, shard: usize) -> RouterRates {
        match self.command(shard, CommandBody::ReadRates { router: RouterId(1) }) {
            Ok(Done::Rates(rates)) => *rates,
            other => panic!("{other:?}"),
        }
    }

    /// A person wants everything up to this encoding.
    pub(crate) fn prefer(&mut self, person: usize, spatial: u8) {
        for (consumer, _) in self.consumers(person) {
            let preferred = LayerPreference { spatial, temporal: u8::MAX };
            let body = CommandBody::SetPreferredLayers { consumer, preferred };
            self.command(self.homes[person], body).expect("prefers");
        }
    }

    /// A person asks for far too much.
    pub(crate) fn flood(&mut self, person: usize) {
        self.people[person].flood(self.now);
        self.drain_person(person);
    }

    /// A person tells what its way carries.
    pub(crate) fn tell_rate(&mut self, person: usize, rate: Bitrate) {
        self.people[person].tell_rate(self.now, rate);
        self.drain_person(person);
    }

    /// A shard's packets waited so long of late. Returns how much it sheds where that changed.
    pub(crate) fn strain(&mut self, shard: usize, delay: Duration) -> Option<Level> {
        let level = self.engines[shard].note_delay(self.now, delay);
        self.drain_engine(shard);
        level
    }

    /// Moves a person's transport to another shard, mid-stream.
    pub(crate) fn move_person(&mut self, person: usize, to: usize) -> Result<(), CommandError> {
        let from = self.homes[person];
        let to_shard = ShardIndex(to as u16);
        let producers = self.people[person].producers();
        let stand_ins = producers.into_iter().map(|(producer, _)| {
            self.stand_ins += 1;
            (producer, RelayId(1_000_000 + self.stand_ins))
        });
        let stand_ins = stand_ins.collect();
        let transport = TransportId(person as u64);
        self.command(from, CommandBody::MoveTransport { transport, to: to_shard, stand_ins })?;
        self.homes[person] = to;
        self.moved += 1;
        Ok(())
    }

    /// Every person's flow is said to be where its transport stands, and nowhere else.
    pub(crate) fn assert_flows_are_at_home(&self) {
        for (shard, flows) in self.flows.iter().enumerate() {
            let people = (0..self.people.len()).filter(|person| self.homes[*person] == shard);
            let wanted = people.map(|person| Tuple { socket: 0, remote: person_address(person) }).collect();
            assert_eq!(*flows, wanted, "seed {}: shard {shard}", self.seed);
        }
    }

    /// A person's transport ends.
    pub(crate) fn close_person(&mut self, person: usize) {
        let transport = TransportId(person as u64);
        self.command(self.homes[person], CommandBody::CloseTransport { transport }).expect("closes");
        self.homes[person] = usize::MAX;
    }

    fn push(&mut self, after: Duration, event: Event) {
        self.count += 1;
        self.queue.push(Reverse((self.now.instant + after, self.count)));
        self.events.insert(self.count, event);
    }

    /// What the network does to one datagram between a person and the host: delays of what arrives.
    fn fate(&mut self, person: usize, up: bool, bytes: &[u8]) -> Vec<Duration> {
        let base = Duration::from_millis(20);
        let is_media = bytes.first().is_some_and(|first| first >> 6 == 2) && !matches!(bytes[1], 192..=223);
        if !is_media {
            return vec![base];
        }
        let ssrc = u32::from_be_bytes(bytes[8..12].try_into().expect("a header"));
        let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
        let attempt = self.attempts.entry((person, up, ssrc, sequence)).or_default();
        *attempt += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, person, up, ssrc, sequence, *attempt).hash(&mut hasher);
        let draw = hasher.finish();
        if draw % 1_000 < self.weather.lost {
            return Vec::new();
        }
        let late = if draw / 1_000 % 1_000 < self.weather.late { 15 } else { 0 };
        let first = base + Duration::from_millis(late);
        if draw / 1_000_000 % 1_000 < self.weather.doubled { vec![first, first] } else { vec![first] }
    }

    fn drain_person(&mut self, person: usize) {
        let out = self.people[person].peer.output();
        let sent: Vec<Vec<u8>> = out.heads().iter().map(|head| out.bytes(head).to_vec()).collect();
        out.clear();
        for bytes in sent {
            let shard = self.homes[person];
            for delay in self.fate(person, true, &bytes) {
                let event = Event::ToEngine { shard, from: person_address(person), bytes: bytes.clone() };
                self.push(delay, event);
            }
        }
    }

    fn drain_engine(&mut self, shard: usize) {
        let output = self.engines[shard].output();
        for change in std::mem::take(&mut output.flows) {
            let is_new = match change {
                FlowChange::Here(tuple) => self.flows[shard].insert(tuple),
                FlowChange::Left(tuple) => self.flows[shard].remove(&tuple),
            };
            assert!(is_new, "seed {}: {change:?} is told twice", self.seed);
        }
        let datagrams = std::mem::take(&mut output.datagrams);
        let crossings = std::mem::take(&mut output.crossings);
        for report in std::mem::take(&mut output.reports) {
            if let (true, Report::EncodingsWatched { producer, encodings }) = (self.thrifty, report) {
                self.people[(producer.0 / 10) as usize].watch(encodings);
            }
        }
        self.sent += datagrams.len() as u64;
        for head in datagrams.heads() {
            let SocketAddr::V4(to) = head.tuple.remote else { panic!("only IPv4 here") };
            let [_, _, high, low] = to.ip().octets();
            let person = usize::from(high) * 200 + usize::from(low);
            let bytes = datagrams.bytes(head);
            if bytes[0] >> 6 == 2 && matches!(bytes[1], 192..=223) {
                self.longest_report = self.longest_report.max(bytes.len());
            }
            let waits = head.not_before.saturating_duration_since(self.now.instant);
            for delay in self.fate(person, false, bytes) {
                self.push(waits + delay, Event::ToPerson { person, bytes: bytes.to_vec() });
            }
        }
        for (to, crossing) in crossings {
            if let Crossing::Relay(RelayMessage::Media(carried)) = &crossing {
                let mut hasher = DefaultHasher::new();
                let attempt = self.carried.entry((carried.relay, carried.sequence)).or_default();
                *attempt += 1;
                (self.seed, carried.relay, carried.sequence, *attempt).hash(&mut hasher);
                if hasher.finish() % 1_000 < self.weather.relay_lost {
                    continue;
                }
            }
            let event =
                Event::Cross { to: usize::from(to.shard.0), from: Place::local(shard as u16), crossing };
            self.push(Duration::from_micros(50), event);
        }
    }

    fn next_moment(&self) -> Instant {
        let engines = self.engines.iter().filter_map(Engine::next_timeout);
        let people = self.people.iter().map(Person::next_moment);
        let queued = self.queue.peek().map(|Reverse((at, _))| *at);
        engines.chain(people).chain(queued).min().expect("people always want something")
    }

    /// Runs until `until` of virtual time has passed since the start.
    pub(crate) fn run_until(&mut self, until: Duration) {
        let end = self.start + until;
        let mut standing_still = 0;
        while self.next_moment() <= end {
            standing_still = if self.next_moment() > self.now.instant { 0 } else { standing_still + 1 };
            assert!(standing_still < 10_000, "seed {}: something is due for ever", self.seed);
            let at = self.next_moment().max(self.now.instant);
            self.now = self.now.after(at - self.now.instant);
            while let Some(Reverse((due, number))) = self.queue.peek().copied() {
                if due > self.now.instant {
                    break;
                }
                self.queue.pop();
                let event = self.events.remove(&number).expect("queued once");
                self.handle(event);
            }
            for shard in 0..self.engines.len() {
                if self.engines[shard].next_timeout().is_some_and(|at| at <= self.now.instant) {
                    self.engines[shard].timeout(self.now);
                    self.drain_engine(shard);
                }
            }
            for person in 0..self.people.len() {
                if self.people[person].next_moment() <= self.now.instant {
                    self.people[person].run(self.now);
                    self.drain_person(person);
                }
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::ToEngine { shard, from, bytes } => {
                host::deliver(&mut self.engines[shard], self.now, from, &bytes);
                self.drain_engine(shard);
            }
            Event::ToPerson { person, mut bytes } => {
                self.people[person].receive(self.now, &mut bytes);
                self.drain_person(person);
            }
            Event::Cross { to, from, crossing } => {
                self.engines[to].cross(self.now, from, crossing);
                self.drain_engine(to);
            }
        }
    }
}
