//! A join without sockets, SDP, queues and threads: the request, its decisions, the transport, and an ICE check and DTLS
//! handshake until media may flow, by the real directory, real engines and a real peer in one thread. Two hosts that differ
//! in their policies alone, native and components, are joined in turn. Knows nothing of what it leaves out; `doors.rs` does.
//!
//! ```text
//! join ─▶ authorize ─▶ place ─▶ transport ─▶ connect ─▶ ICE, DTLS flights ─▶ connected      (timed, in turn)
//! leave, and time passes                                                                    (not timed)
//! ```

use crate::decisions::{spread, steady};
use crate::native::{LeastLoaded, Steady, Token};
use crate::pairs::{tell, turns};
use crate::plugins::{allocator, authorizer, balancer, load, stock_plugin};
use crate::table::{Bench, median, spent, time};
use crate::tokens::{Signed, signed};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_directory::{Directory, DirectoryConfig, Input, Output, ShardSeed};
use tidegate_media::Engine;
use tidegate_media::association::AssociationConfig;
use tidegate_media::peer::Peer;
use tidegate_media::peer::host;
use tidegate_policy::feed::Cluster;
use tidegate_policy::host::{Allocate, Authorize, Balance, Fed};
use tidegate_types::cluster::{CellChange, Feed};
use tidegate_types::decision::{Answer, AnswerBody, Decision, Question, QuestionBody, ToPolicy};
use tidegate_types::request::{ClientId, JoinRequest, Joined, Reply, ReplyBody, Request, RequestBody};
use tidegate_types::{Now, Place, RequestNumber, Secret};

const SHARDS: usize = 2;
const PAIRS: usize = 2_000;
/// Joins that are not counted: memory is made, code is read.
const WARM_UP: usize = 50;
/// Virtual time from flight to flight, and until who left is forgotten.
const FLIGHT: Duration = Duration::from_millis(1);
const FORGOTTEN: Duration = Duration::from_secs(3);
/// No handshake has more flights.
const FLIGHTS: usize = 100;

pub fn measure(bench: &mut Bench) {
    let name = "a join without sockets, SDP and threads (CPU)";
    if !bench.wants(name) {
        return;
    }
    let Signed { algorithm, token, key, configuration } = signed("HS256");
    let of = |decision, plugin| load(&bench.loader, decision, plugin);
    let components = Policies {
        authorize: authorizer(&of(Decision::Authorize, &stock_plugin("auth-token", configuration))),
        allocate: allocator(&of(Decision::Allocate, &spread())),
        balance: balancer(&of(Decision::Balance, &steady())),
        generation: 0,
        news: Default::default(),
        took_ns: Default::default(),
    };
    let native = Policies {
        authorize: Box::new(Token { algorithm, key: &key }),
        allocate: Box::<LeastLoaded>::default(),
        balance: Box::<Steady>::default(),
        generation: 0,
        news: Default::default(),
        took_ns: Default::default(),
    };
    // One certificate each for hosts and peers: making one costs more than all else about a join.
    let (ours, theirs) = (host::association(), host::association());
    let mut hosts = [Host::new(native, &ours), Host::new(components, &ours)];
    let mut took = [Vec::new(), Vec::new()];
    let pairs = if bench.measures { WARM_UP + PAIRS } else { 1 };
    for pair in 0..pairs {
        for turn in turns(pair) {
            let span = hosts[turn].join(pair, &theirs, &token);
            hosts[turn].leave(pair);
            if pair >= WARM_UP {
                took[turn].push(span.as_nanos() as f64);
            }
        }
    }
    if bench.measures {
        tell(bench, name, &took, None);
        tell_questions(&hosts);
    }
}

/// What the difference is made of: each question of a join, with what was told before it, where it is asked.
fn tell_questions([native, wasm]: &[Host<'_>; 2]) {
    for decision in [Decision::Authorize, Decision::Allocate] {
        let of = |host: &Host<'_>| time(median(host.policies.took_ns[decision as usize].clone()));
        let asked = wasm.policies.took_ns[decision as usize].len() as f64 / (WARM_UP + PAIRS) as f64;
        println!("  {}: {} and {}, {asked:.2} questions a join", decision.name(), of(native), of(wasm));
    }
}

/// Who decides. As the runtime does, each is told of the cluster when it is asked next, at once of all that changed.
struct Policies<'a> {
    authorize: Box<dyn Authorize + 'a>,
    allocate: Box<dyn Allocate + 'a>,
    balance: Box<dyn Balance + 'a>,
    generation: u64,
    /// What allocate has not heard yet, and what balance has not.
    news: [Vec<CellChange>; 2],
    /// What each question took, in nanoseconds, by decision.
    took_ns: [Vec<f64>; Decision::ALL.len()],
}

/// Tells one what it has not heard.
fn catch_up<D: Fed + ?Sized>(decider: &mut D, generation: u64, news: &mut Vec<CellChange>) {
    if !news.is_empty() {
        assert!(decider.delta(generation, news).expect("told"));
        news.clear();
    }
}

impl Policies<'_> {
    fn learn(&mut self, feed: Feed) {
        match feed {
            Feed::Reset { generation, rows } => {
                let cluster = Cluster::new(generation, &rows);
                self.allocate.reset(&cluster).expect("told");
                self.balance.reset(&cluster).expect("told");
                self.generation = generation;
                self.news.iter_mut().for_each(Vec::clear);
            }
            Feed::Delta { changes, .. } => {
                self.news.iter_mut().for_each(|news| news.extend(&changes));
            }
        }
    }

    fn decide(&mut self, question: &Question) -> Answer {
        let began = Instant::now();
        let before = spent(began);
        let [for_allocate, for_balance] = &mut self.news;
        let result = match &question.body {
            QuestionBody::Authorize(request) => self.authorize.authorize(request).map(AnswerBody::Authorize),
            QuestionBody::Place(request) => {
                catch_up(self.allocate.as_mut(), self.generation, for_allocate);
                self.allocate.place(request).map(AnswerBody::Place)
            }
            QuestionBody::Balance(request) => {
                catch_up(self.balance.as_mut(), self.generation, for_balance);
                self.balance.balance(request).map(AnswerBody::Balance)
            }
            QuestionBody::Share(_) => unreachable!("nobody is asked how bit rates divide"),
        };
        self.took_ns[question.body.decision() as usize].push((spent(began) - before).as_nanos() as f64);
        Answer { number: question.number, result }
    }
}

/// A host without sockets and threads.
struct Host<'a> {
    began: Instant,
    now: Now,
    directory: Directory,
    engines: Vec<Engine>,
    policies: Policies<'a>,
    requests: u64,
    replies: Vec<Reply>,
}

impl<'a> Host<'a> {
    fn new(policies: Policies<'a>, association: &AssociationConfig) -> Self {
        let began = Instant::now();
        let now = host::begin(began);
        let seed = |shard: usize| ShardSeed {
            place: Place::local(shard as u16),
            node_name: "here".into(),
            region: String::new(),
        };
        let mut host = Self {
            began,
            now,
            directory: Directory::new(DirectoryConfig::new((0..SHARDS).map(seed).collect(), 7), now),
            engines: (0..SHARDS).map(|shard| host::engine(shard, SHARDS, 7, association)).collect(),
            policies,
            requests: 0,
            replies: Vec::new(),
        };
        host.drain();
        host
    }

    /// Someone enters and waits until media may flow; what the host and the peer spent on it.
    fn join(&mut self, person: usize, association: &AssociationConfig, token: &str) -> Duration {
        let mut peer = Peer::new(association, &person.to_string(), self.now);
        let before = spent(self.began);
        let request = JoinRequest {
            room: "hello".into(),
            name: "Ada Lovelace".into(),
            token: Secret::new(token),
            address: Some([192, 0, 2, 1].into()),
            expected_ingress_kbps: 2_000,
            attrs: Vec::new(),
            told_by_ceiling: false,
        };
        let ReplyBody::Joined(joined) = self.ask(person, RequestBody::Join(request)) else {
            panic!("not joined")
        };
        let Joined { transport, local, .. } = *joined;
        self.ask(person, RequestBody::Connect { transport, remote: peer.remote() });
        peer.meet(&local, local.candidates[0].address, self.now);
        let mut flights = 0;
        while !peer.is_connected() {
            self.exchange(&mut peer);
            flights += 1;
            assert!(flights < FLIGHTS, "no handshake takes that long");
        }
        // Its last flight, by which the host knows it, too.
        self.exchange(&mut peer);
        spent(self.began) - before
    }

    fn ask(&mut self, person: usize, body: RequestBody) -> ReplyBody {
        self.requests += 1;
        let number = RequestNumber(self.requests);
        let client = ClientId(person as u64);
        self.directory.handle(self.now, Input::Request(Request { number, client, body }));
        self.drain();
        let reply = self.replies.pop().filter(|reply| reply.number == number).expect("an answer");
        reply.result.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the directory wants done, with all that follows from it.
    fn drain(&mut self) {
        let mut inputs = VecDeque::new();
        loop {
            while let Some(output) = self.directory.poll() {
                match output {
                    Output::Reply(reply) => self.replies.push(reply),
                    Output::Notice(_) => {}
                    Output::Policy(ToPolicy::Feed(feed)) => self.policies.learn(feed),
                    Output::Policy(ToPolicy::Ask(question)) => {
                        inputs.push_back(Input::Answer(self.policies.decide(&question)));
                    }
                    Output::Command(place, command) => {
                        let engine = &mut self.engines[usize::from(place.shard.0)];
                        engine.command(self.now, command);
                    }
                }
            }
            for (shard, engine) in self.engines.iter_mut().enumerate() {
                let (place, output) = (Place::local(shard as u16), engine.output());
                output.flows.clear();
                inputs.extend(output.replies.drain(..).map(|reply| Input::CommandReply(place, reply)));
                inputs.extend(output.reports.drain(..).map(|report| Input::Report(place, report)));
            }
            let Some(input) = inputs.pop_front() else { return };
            self.directory.handle(self.now, input);
        }
    }

    /// One flight each way.
    fn exchange(&mut self, peer: &mut Peer) {
        self.now = self.now.after(FLIGHT);
        peer.timeout(self.now);
        let theirs = std::mem::take(peer.output());
        for head in theirs.heads() {
            let shard = usize::from(head.tuple.remote.port() - host::FIRST_PORT);
            host::deliver(&mut self.engines[shard], self.now, ADDRESS.into(), theirs.bytes(head));
        }
        for engine in &mut self.engines {
            engine.timeout(self.now);
            let mut ours = std::mem::take(&mut engine.output().datagrams);
            for head in ours.heads() {
                peer.receive(self.now, &mut ours.bytes(head).to_vec());
            }
            ours.clear();
            engine.output().datagrams = ours;
        }
        self.drain();
    }

    /// Someone goes, and time passes until nothing of it is left.
    fn leave(&mut self, person: usize) {
        self.directory.handle(self.now, Input::ClientGone(ClientId(person as u64)));
        self.drain();
        let until = self.now.instant + FORGOTTEN;
        while self.now.instant < until {
            self.now = self.now.after(FORGOTTEN / 10);
            self.directory.handle(self.now, Input::Tick);
            for engine in &mut self.engines {
                engine.timeout(self.now);
                engine.output().datagrams.clear();
            }
            self.drain();
        }
    }
}

/// Where the peer's datagrams come from.
const ADDRESS: ([u8; 4], u16) = ([10, 1, 0, 1], 5_000);
