//! The world on virtual time: one queue of events, and whose turn it is. The real directory, real engines, people with
//! real peers, and the network between them. Knows nothing of what should come of it.

use crate::network::Network;
use crate::person::Person;
use crate::script::{Deed, LENGTH, Script, draw};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tidegate_directory::{Directory, DirectoryConfig, Input, Output, ShardSeed};
use tidegate_media::Engine;
use tidegate_media::association::AssociationConfig;
use tidegate_media::io::Crossing;
use tidegate_media::peer::host::{self, FIRST_PORT};
use tidegate_types::command::{Command, CommandBody, Done, TransportDump};
use tidegate_types::decision::{
    Answer, AnswerBody, AuthorizeAnswer, BalanceAnswer, Grant, PlaceAnswer, PlaceKind, Placement, Question,
    QuestionBody, ToPolicy,
};
use tidegate_types::relay::RelayMessage;
use tidegate_types::request::{ClientId, Notice, Reply, Request, RequestBody};
use tidegate_types::{Now, Place, RequestNumber, TransportId};

/// Who moves transports.
pub(crate) const OPERATOR: usize = 1_000_000;
/// From shard to shard; between a shard and the directory; between the directory and its clients; a decision.
const RING: Duration = Duration::from_micros(50);
const MAILBOX: Duration = Duration::from_micros(100);
const SIGNALLING: Duration = Duration::from_millis(20);
const DECISION: Duration = Duration::from_millis(1);

enum Event {
    Deed(usize),
    ToEngine { shard: usize, person: usize, bytes: Vec<u8> },
    ToPerson { person: usize, bytes: Vec<u8> },
    Cross { to: usize, from: Place, crossing: Crossing },
    Command(Place, Command),
    ToDirectory(Input),
    Reply(Reply),
    Notice(Notice),
    WakePerson(usize),
    WakeEngine(usize),
    WakeDirectory,
}

/// An event in its place in the queue: by time, then in order of creation.
struct Due(Instant, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// What a client waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    Join,
    Connect,
    Restart,
    /// With which SSRC.
    Consume(u32),
    Dump,
    Other,
}

pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) engines: Vec<Engine>,
    /// Those who are there.
    pub(crate) people: BTreeMap<usize, Person>,
    /// Those who went, with when.
    pub(crate) gone: Vec<(Person, Instant)>,
    pub(crate) now: Now,
    pub(crate) start: Instant,
    pub(crate) asked: BTreeMap<RequestNumber, (usize, Asked)>,
    /// Requests that failed, by code.
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) directory: Directory,
    pub(crate) dump: Option<tidegate_types::request::Dump>,
    network: Network,
    queue: BinaryHeap<Reverse<Due>>,
    count: u64,
    requests: u64,
    placed: u64,
    /// For which time each one's wake is in the queue.
    wakes: BTreeMap<usize, Instant>,
    engine_wakes: Vec<Option<Instant>>,
    directory_wake: Option<Instant>,
    standing_still: u32,
}

/// A certificate for everybody: making one costs more than all else about a join.
fn association() -> AssociationConfig {
    static SHARED: OnceLock<AssociationConfig> = OnceLock::new();
    SHARED.get_or_init(host::association).clone()
}

fn directory(seed: u64, shards: usize, now: Now) -> Directory {
    let seeds = (0..shards).map(|shard| ShardSeed {
        place: Place::local(shard as u16),
        node_name: "here".into(),
        region: String::new(),
    });
    Directory::new(DirectoryConfig::new(seeds.collect(), seed), now)
}

impl World {
    pub(crate) fn new(seed: u64, shards: usize) -> Self {
        let start = Instant::now();
        let now = host::begin(start);
        let mut world = Self {
            script: Script::new(seed),
            engines: (0..shards).map(|shard| host::engine(shard, shards, seed, &association())).collect(),
            people: BTreeMap::new(),
            gone: Vec::new(),
            now,
            start,
            asked: BTreeMap::new(),
            refused: BTreeMap::new(),
            directory: directory(seed, shards, now),
            dump: None,
            network: Network::new(seed),
            queue: BinaryHeap::new(),
            count: 0,
            requests: 0,
            placed: 0,
            wakes: BTreeMap::new(),
            engine_wakes: vec![None; shards],
            directory_wake: None,
            standing_still: 0,
        };
        for number in 0..world.script.deeds.len() {
            let (at, ..) = world.script.deeds[number];
            world.push(at, Event::Deed(number));
        }
        world.drain_directory();
        world
    }

    pub(crate) fn since(&self) -> Duration {
        self.now.instant.duration_since(self.start)
    }

    fn push(&mut self, after: Duration, event: Event) {
        self.push_at(self.now.instant + after, event);
    }

    fn push_at(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.queue.push(Reverse(Due(at, self.count, event)));
    }

    /// Runs until so much time has passed since the start.
    pub(crate) fn run_until(&mut self, until: Duration) {
        let end = self.start + until;
        while self.queue.peek().is_some_and(|Reverse(due)| due.0 <= end) {
            let Some(Reverse(Due(at, _, event))) = self.queue.pop() else { break };
            self.standing_still = if at > self.now.instant { 0 } else { self.standing_still + 1 };
            assert!(self.standing_still < 100_000, "something is due for ever");
            self.now = self.now.after(at.saturating_duration_since(self.now.instant));
            self.handle(at, event);
        }
        self.now = self.now.after(end.saturating_duration_since(self.now.instant));
    }

    fn handle(&mut self, at: Instant, event: Event) {
        match event {
            Event::Deed(number) => {
                let (_, person, deed) = self.script.deeds[number];
                self.act(person, deed);
            }
            Event::ToEngine { shard, person, bytes } => {
                host::deliver(&mut self.engines[shard], self.now, address(person), &bytes);
                self.drain_engine(shard);
            }
            Event::ToPerson { person, mut bytes } => {
                if let Some(one) = self.people.get_mut(&person) {
                    one.receive(self.now, &mut bytes);
                    self.drain_person(person);
                }
            }
            Event::Cross { to, from, crossing } => {
                self.engines[to].cross(self.now, from, crossing);
                self.drain_engine(to);
            }
            Event::Command(place, command) => {
                let shard = usize::from(place.shard.0);
                self.engines[shard].command(self.now, command);
                self.drain_engine(shard);
            }
            Event::ToDirectory(input) => {
                self.directory.handle(self.now, input);
                self.drain_directory();
            }
            Event::Reply(reply) => self.hear_reply(reply),
            Event::Notice(notice) => self.hear_notice(notice),
            Event::WakePerson(person) if self.wakes.get(&person) == Some(&at) => {
                self.wakes.remove(&person);
                if let Some(one) = self.people.get_mut(&person) {
                    one.run(self.now);
                    self.drain_person(person);
                }
            }
            Event::WakeEngine(shard) if self.engine_wakes[shard] == Some(at) => {
                self.engine_wakes[shard] = None;
                self.engines[shard].timeout(self.now);
                self.drain_engine(shard);
            }
            Event::WakeDirectory if self.directory_wake == Some(at) => {
                self.directory_wake = None;
                self.directory.handle(self.now, Input::Tick);
                self.drain_directory();
            }
            Event::WakePerson(_) | Event::WakeEngine(_) | Event::WakeDirectory => {}
        }
    }

    /// Someone asks the directory.
    pub(crate) fn request(&mut self, client: usize, body: RequestBody, asked: Asked) {
        self.requests += 1;
        let number = RequestNumber(self.requests);
        self.asked.insert(number, (client, asked));
        let request = Request { number, client: ClientId(client as u64), body };
        self.push(SIGNALLING, Event::ToDirectory(Input::Request(request)));
    }

    /// Someone is there no more.
    pub(crate) fn leave(&mut self, person: usize, with_a_word: bool) {
        if with_a_word {
            self.push(SIGNALLING, Event::ToDirectory(Input::ClientGone(ClientId(person as u64))));
        }
        if let Some(gone) = self.people.remove(&person) {
            self.gone.push((gone, self.now.instant));
        }
    }

    /// Someone comes in.
    pub(crate) fn enter(&mut self, person: usize) {
        let one = Person::new(person, &association(), &self.script, self.start, self.now);
        self.people.insert(person, one);
        self.drain_person(person);
    }

    pub(crate) fn drain_person(&mut self, person: usize) {
        let since = self.since();
        let Some(one) = self.people.get_mut(&person) else { return };
        let shard = one.entry;
        let next = one.next_moment().max(self.now.instant);
        let out = std::mem::take(one.peer.output());
        for head in out.heads() {
            let bytes = out.bytes(head);
            for delay in self.network.up(since, person, bytes).into_iter().flatten() {
                self.push(delay, Event::ToEngine { shard, person, bytes: bytes.to_vec() });
            }
        }
        if let Some(one) = self.people.get_mut(&person) {
            *one.peer.output() = out;
            one.peer.output().clear();
        }
        if self.wakes.get(&person).is_none_or(|at| next < *at) {
            self.wakes.insert(person, next);
            self.push_at(next, Event::WakePerson(person));
        }
    }

    fn drain_engine(&mut self, shard: usize) {
        let (since, now) = (self.since(), self.now.instant);
        let from = Place::local(shard as u16);
        let output = self.engines[shard].output();
        let mut datagrams = std::mem::take(&mut output.datagrams);
        let crossings = std::mem::take(&mut output.crossings);
        let replies = std::mem::take(&mut output.replies);
        let reports = std::mem::take(&mut output.reports);
        // There are no sockets here to connect.
        output.flows.clear();
        for head in datagrams.heads() {
            let person = usize::from(head.tuple.remote.port() - FIRST_PORT);
            let bytes = datagrams.bytes(head);
            let waits = head.not_before.saturating_duration_since(now);
            for delay in self.network.down(since, now + waits, person, bytes).into_iter().flatten() {
                self.push(waits + delay, Event::ToPerson { person, bytes: bytes.to_vec() });
            }
        }
        datagrams.clear();
        self.engines[shard].output().datagrams = datagrams;
        for (to, crossing) in crossings {
            if let Crossing::Relay(RelayMessage::Media(carried)) = &crossing
                && self.network.loses_relayed(since, carried.relay.0, carried.sequence)
            {
                continue;
            }
            self.push(RING, Event::Cross { to: usize::from(to.shard.0), from, crossing });
        }
        for reply in replies {
            self.push(MAILBOX, Event::ToDirectory(Input::CommandReply(from, reply)));
        }
        for report in reports {
            self.push(MAILBOX, Event::ToDirectory(Input::Report(from, report)));
        }
        if let Some(next) = self.engines[shard].next_timeout()
            && self.engine_wakes[shard].is_none_or(|at| next < at)
        {
            let next = next.max(now);
            self.engine_wakes[shard] = Some(next);
            self.push_at(next, Event::WakeEngine(shard));
        }
    }

    fn drain_directory(&mut self) {
        while let Some(output) = self.directory.poll() {
            match output {
                Output::Reply(reply) => self.push(SIGNALLING, Event::Reply(reply)),
                Output::Notice(notice) => self.push(SIGNALLING, Event::Notice(notice)),
                Output::Policy(ToPolicy::Ask(question)) => {
                    let answer = self.decide(&question);
                    self.push(DECISION, Event::ToDirectory(Input::Answer(answer)));
                }
                Output::Policy(ToPolicy::Feed(_)) => {}
                Output::Command(place, command) => self.push(MAILBOX, Event::Command(place, command)),
            }
        }
        if let Some(next) = self.directory.next_timeout()
            && self.directory_wake.is_none_or(|at| next < at)
        {
            let next = next.max(self.now.instant);
            self.directory_wake = Some(next);
            self.push_at(next, Event::WakeDirectory);
        }
    }

    /// Everyone may do everything, anywhere; relays copy from any place that has it.
    fn decide(&mut self, question: &Question) -> Answer {
        let number = question.number;
        let body = match &question.body {
            QuestionBody::Authorize(_) => AnswerBody::Authorize(AuthorizeAnswer::Grant(Grant::open())),
            QuestionBody::Balance(_) => AnswerBody::Balance(BalanceAnswer::default()),
            QuestionBody::Share(_) => unreachable!("nobody is asked how bit rates divide"),
            QuestionBody::Place(request) => {
                self.placed += 1;
                let chance = draw((self.script.seed, self.placed, "placed"), 1 << 30) as usize;
                let place = match request.kind {
                    PlaceKind::Relay => request.parents[chance % request.parents.len()].place,
                    _ => Place::local((chance % self.engines.len()) as u16),
                };
                AnswerBody::Place(PlaceAnswer::Place(Placement { place, attrs: Vec::new() }))
            }
        };
        Answer { number, result: Ok(body) }
    }

    /// What the engines count of each transport.
    pub(crate) fn read_stats(&mut self) -> BTreeMap<TransportId, TransportDump> {
        let mut all = BTreeMap::new();
        for transport in self.people.values().filter_map(|one| one.transport) {
            for engine in &mut self.engines {
                let body = CommandBody::ReadStats { transport };
                if let Ok(Done::Stats(dump)) = host::command(engine, self.now, u64::MAX, body) {
                    all.insert(transport, *dump);
                }
            }
        }
        all
    }

    /// Everybody leaves; what then remains is forgotten by and by.
    pub(crate) fn close(&mut self) {
        for person in 0..crate::script::PEOPLE {
            self.leave(person, true);
        }
        self.run_until(LENGTH + Duration::from_secs(6));
    }

    fn act(&mut self, person: usize, deed: Deed) {
        crate::client::act(self, person, deed);
    }

    fn hear_reply(&mut self, reply: Reply) {
        crate::client::hear_reply(self, reply);
    }

    fn hear_notice(&mut self, notice: Notice) {
        crate::client::hear_notice(self, notice);
    }
}

/// Where a person's datagrams come from.
fn address(person: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 1], FIRST_PORT + person as u16))
}
