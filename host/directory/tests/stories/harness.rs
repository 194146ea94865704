//! A directory with places and policies played around it, on virtual time. The places keep books of what stands
//! where, so that a command which contradicts them, or something left over at the end, fails the story.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use tidegate_directory::{
    Directory, DirectoryConfig, DirectoryMetrics, Input, Output, ShardSeed, Watermarks,
    concentrate_then_spill,
};
use tidegate_types::cluster::{Feed, ShardRow};
use tidegate_types::command::{Command, CommandBody, CommandError, CommandReply, Done};
use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
use tidegate_types::decision::{
    Answer, AnswerBody, AuthorizeAnswer, AuthorizeRequest, BalanceAnswer, Failure, Grant, PlaceAnswer,
    PlaceKind, PlaceRequest, Placement, Question, QuestionBody, ToPolicy,
};
use tidegate_types::producer::ProducerParameters;
use tidegate_types::relay::RelayStats;
use tidegate_types::report::{LoadReport, Report};
use tidegate_types::request::{
    ClientId, Dump, JoinRequest, Joined, Notice, NoticeBody, ReplyBody, Request, RequestBody, RequestError,
};
use tidegate_types::rtp::{ExtensionKind, ExtensionParameters, RtpParameters};
use tidegate_types::sharing::{ReceiverRates, RouterRates, ShareAnswer, ShareRequest};
use tidegate_types::transport::{Fingerprint, IceCredentials, LocalTransport};
use tidegate_types::{
    ConsumerId, MediaKind, Now, NtpTime, Place, ProducerId, RelayId, RequestNumber, RouterId, Secret,
    ShardIndex, TransportId,
};

pub(crate) type Outcome = Result<ReplyBody, RequestError>;
type Authorize = Box<dyn FnMut(&AuthorizeRequest) -> Result<AuthorizeAnswer, Failure>>;
type Allocate = Box<dyn FnMut(&PlaceRequest, &[ShardRow]) -> Result<PlaceAnswer, Failure>>;
type Balance = Box<dyn FnMut() -> Result<BalanceAnswer, Failure>>;
pub(crate) type Share = Box<dyn FnMut(&ShareRequest) -> Result<ShareAnswer, Failure>>;
type Sabotage = Box<dyn FnMut(Place, &CommandBody) -> Option<CommandError>>;

/// What one place holds.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) routers: BTreeSet<RouterId>,
    pub(crate) transports: BTreeMap<TransportId, RouterId>,
    /// Real ones by their transport, stand-ins by their relay.
    pub(crate) producers: BTreeMap<ProducerId, Result<TransportId, RelayId>>,
    pub(crate) consumers: BTreeMap<ConsumerId, (TransportId, ProducerId)>,
    pub(crate) sources: BTreeMap<RelayId, ProducerId>,
    /// Where messages of each router are copied to.
    pub(crate) messages: BTreeMap<RouterId, Vec<Place>>,
}

impl Books {
    pub(crate) fn is_empty(&self) -> bool {
        self.routers.is_empty()
            && self.transports.is_empty()
            && self.producers.is_empty()
            && self.consumers.is_empty()
            && self.sources.is_empty()
            && self.messages.is_empty()
    }

    pub(crate) fn end_producer(&mut self, producer: ProducerId) {
        self.producers.remove(&producer);
        self.consumers.retain(|_, (_, of)| *of != producer);
        self.sources.retain(|_, of| *of != producer);
    }

    pub(crate) fn end_transport(&mut self, transport: TransportId) {
        self.transports.remove(&transport);
        let gone: Vec<ProducerId> = self
            .producers
            .iter()
            .filter(|(_, origin)| **origin == Ok(transport))
            .map(|(producer, _)| *producer)
            .collect();
        gone.into_iter().for_each(|producer| self.end_producer(producer));
        self.consumers.retain(|_, (to, _)| *to != transport);
    }

    fn close_relay(&mut self, relay: RelayId) -> Result<Done, CommandError> {
        let stand_in = self.producers.iter().find(|(_, origin)| **origin == Err(relay)).map(|(id, _)| *id);
        if let Some(producer) = stand_in {
            self.end_producer(producer);
        } else if self.sources.remove(&relay).is_none() {
            return Err(CommandError::NoRelay(relay));
        }
        Ok(Done::Done)
    }

    fn need_transport(&self, transport: TransportId) -> Result<(), CommandError> {
        self.transports.get(&transport).map(|_| ()).ok_or(CommandError::NoTransport(transport))
    }

    fn need_producer(&self, producer: ProducerId) -> Result<(), CommandError> {
        self.producers.get(&producer).map(|_| ()).ok_or(CommandError::NoProducer(producer))
    }

    fn need_consumer(&self, consumer: ConsumerId) -> Result<(), CommandError> {
        self.consumers.get(&consumer).map(|_| ()).ok_or(CommandError::NoConsumer(consumer))
    }

    /// Each way carries 1,000 kbit/s, each track brings in 500.
    fn rates(&self, router: RouterId) -> RouterRates {
        let rates = ReceiverRates { egress_kbps: 1_000, given_kbps: 400, wanted_kbps: 1_500 };
        let here = self.transports.iter().filter(|(_, of)| **of == router);
        let own = self.producers.iter().filter(|(_, origin)| {
            origin.as_ref().is_ok_and(|transport| self.transports.get(transport) == Some(&router))
        });
        RouterRates {
            transports: here.map(|(transport, _)| (*transport, rates)).collect(),
            tracks: own.map(|(producer, _)| (*producer, 500)).collect(),
        }
    }

    fn obey(&mut self, body: &CommandBody) -> Result<Done, CommandError> {
        match *body {
            CommandBody::CreateTransport { transport, router, .. } => {
                self.routers.insert(router);
                self.transports.insert(transport, router);
                return Ok(Done::Transport(local(transport.0)));
            }
            CommandBody::ConnectTransport { transport, .. }
            | CommandBody::LimitTransport { transport, .. } => self.need_transport(transport)?,
            CommandBody::RestartIce { transport } => {
                self.need_transport(transport)?;
                return Ok(Done::Transport(local(transport.0 + 1_000_000)));
            }
            CommandBody::CloseTransport { transport } => self.end_transport(transport),
            CommandBody::CreateProducer { producer, transport, .. } => {
                self.need_transport(transport)?;
                self.producers.insert(producer, Ok(transport));
            }
            CommandBody::PauseProducer { producer, .. } | CommandBody::HushProducer { producer, .. } => {
                self.need_producer(producer)?;
            }
            CommandBody::ReadRates { router } => {
                assert!(self.routers.contains(&router), "{router} does not stand here");
                return Ok(Done::Rates(Box::new(self.rates(router))));
            }
            CommandBody::SetSpeaker { router, .. } | CommandBody::SetShares { router, .. } => {
                assert!(self.routers.contains(&router), "{router} does not stand here");
            }
            CommandBody::CloseProducer { producer } => self.end_producer(producer),
            CommandBody::CreateConsumer { consumer, transport, producer, .. } => {
                self.need_transport(transport)?;
                self.need_producer(producer)?;
                self.consumers.insert(consumer, (transport, producer));
            }
            CommandBody::PauseConsumer { consumer, .. }
            | CommandBody::SetPreferredLayers { consumer, .. } => self.need_consumer(consumer)?,
            CommandBody::CloseConsumer { consumer } => {
                self.consumers.remove(&consumer);
            }
            CommandBody::OpenRelay { relay, producer, .. } => {
                self.need_producer(producer)?;
                self.sources.insert(relay, producer);
            }
            CommandBody::AcceptRelay { relay, router, producer, .. } => {
                assert!(
                    self.producers.get(&producer).is_none_or(|origin| *origin == Err(relay)),
                    "{producer} stands here already"
                );
                self.routers.insert(router);
                self.producers.insert(producer, Err(relay));
            }
            CommandBody::CloseRelay { relay } => return self.close_relay(relay),
            CommandBody::CloseRouter { router } => {
                if self.transports.values().any(|of| *of == router) {
                    return Err(CommandError::Unfit(format!("{router} is not empty")));
                }
                self.routers.remove(&router);
                self.messages.remove(&router);
            }
            CommandBody::OpenData { transport, .. } | CommandBody::SendMessage { transport, .. } => {
                self.need_transport(transport)?;
            }
            CommandBody::RelayData { router, ref to } => {
                self.messages.insert(router, to.clone());
            }
            CommandBody::ReadStats { transport } => {
                self.need_transport(transport)?;
                return Ok(Done::Stats(Box::default()));
            }
            CommandBody::ReadRelays => return Ok(Done::Relays(self.relay_counters())),
            CommandBody::MoveTransport { transport, .. } => self.need_transport(transport)?,
        }
        Ok(Done::Done)
    }

    fn relay_counters(&self) -> Vec<(RelayId, bool, RelayStats)> {
        let stats = |packets| RelayStats { packets, ..RelayStats::default() };
        let sources = self.sources.keys().map(|relay| (*relay, true, stats(7)));
        let sinks = self.producers.values().filter_map(|origin| origin.err());
        sources.chain(sinks.map(|relay| (relay, false, stats(5)))).collect()
    }
}

fn local(number: u64) -> LocalTransport {
    LocalTransport {
        ice: IceCredentials { ufrag: format!("u{number}"), password: Secret::new("p") },
        candidates: Vec::new(),
        fingerprint: Fingerprint([7; 32]),
    }
}

/// Everything in one story.
pub(crate) struct World {
    pub(crate) directory: Directory,
    pub(crate) now: Now,
    pub(crate) places: BTreeMap<Place, Books>,
    /// Inputs on their way to the directory.
    pub(crate) inbox: VecDeque<Input>,
    pub(crate) commands: Vec<(Place, CommandBody)>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) policy_log: Vec<ToPolicy>,
    /// The cluster as the feeds tell it.
    pub(crate) rows: Vec<ShardRow>,
    pub(crate) generation: u64,
    pub(crate) authorize: Authorize,
    pub(crate) allocate: Allocate,
    pub(crate) balance: Balance,
    pub(crate) share: Share,
    /// Makes commands fail.
    pub(crate) sabotage: Sabotage,
    /// Places obey, but say nothing.
    pub(crate) mute: bool,
    replies: BTreeMap<RequestNumber, Vec<Outcome>>,
    last_number: u64,
}

pub(crate) fn seeds(shards: u16) -> Vec<ShardSeed> {
    (0..shards)
        .map(|shard| ShardSeed {
            place: Place::local(shard),
            node_name: "here".into(),
            region: String::new(),
        })
        .collect()
}

pub(crate) fn config(shards: u16) -> DirectoryConfig {
    DirectoryConfig::new(seeds(shards), 1)
}

impl World {
    pub(crate) fn new(shards: u16) -> Self {
        Self::with(config(shards))
    }

    pub(crate) fn with(config: DirectoryConfig) -> Self {
        // The only reading of a clock: stories count from it.
        #[expect(clippy::disallowed_methods)]
        let instant = Instant::now();
        let now = Now { instant, wall: NtpTime::from_unix(Duration::from_secs(1_800_000_000)) };
        let watermarks = config.watermarks;
        let places = config.shards.iter().map(|seed| (seed.place, Books::default())).collect();
        let mut world = Self {
            directory: Directory::new(config, now),
            now,
            places,
            inbox: VecDeque::new(),
            commands: Vec::new(),
            notices: Vec::new(),
            policy_log: Vec::new(),
            rows: Vec::new(),
            generation: 0,
            authorize: Box::new(|_| Ok(AuthorizeAnswer::Grant(Grant::open()))),
            allocate: Box::new(move |request, rows| pack(request, rows, &watermarks)),
            balance: Box::new(|| Ok(BalanceAnswer::default())),
            share: Box::new(|_| Err(Failure::Unavailable)),
            sabotage: Box::new(|_, _| None),
            mute: false,
            replies: BTreeMap::new(),
            last_number: 0,
        };
        world.collect();
        world
    }

    /// One input, and what comes of it at once: the inbox fills, nothing of it is delivered.
    pub(crate) fn send(&mut self, input: Input) {
        self.directory.handle(self.now, input);
        self.collect();
    }

    /// Delivers everything that is on its way, in order.
    pub(crate) fn settle(&mut self) {
        while let Some(input) = self.inbox.pop_front() {
            self.send(input);
        }
    }

    /// Lets time pass; every timer fires at its moment.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        while let Some(due) = self.directory.next_timeout().filter(|due| *due <= end.instant) {
            self.now = self.now.after(due.saturating_duration_since(self.now.instant));
            self.send(Input::Tick);
            self.settle();
            assert!(self.directory.next_timeout() != Some(due), "a tick leaves nothing due");
        }
        self.now = end;
    }

    pub(crate) fn request(&mut self, client: u64, body: RequestBody) -> RequestNumber {
        self.last_number += 1;
        let number = RequestNumber(self.last_number);
        self.send(Input::Request(Request { number, client: ClientId(client), body }));
        number
    }

    /// Asks and settles.
    pub(crate) fn ask(&mut self, client: u64, body: RequestBody) -> Outcome {
        let number = self.request(client, body);
        self.settle();
        self.reply(number)
    }

    /// The only reply to a request.
    #[track_caller]
    pub(crate) fn reply(&mut self, number: RequestNumber) -> Outcome {
        let mut replies = self.replies.remove(&number).unwrap_or_default();
        assert_eq!(replies.len(), 1, "{number} has one reply: {replies:?}");
        replies.remove(0)
    }

    pub(crate) fn is_answered(&self, number: RequestNumber) -> bool {
        self.replies.contains_key(&number)
    }

    #[track_caller]
    pub(crate) fn join(&mut self, client: u64, room: &str) -> Joined {
        match self.ask(client, join(room)) {
            Ok(ReplyBody::Joined(joined)) => *joined,
            other => panic!("{client} is not let into {room}: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn produce(&mut self, client: u64, transport: TransportId, kind: MediaKind) -> ProducerId {
        match self.ask(client, produce(transport, kind)) {
            Ok(ReplyBody::Producer(producer)) => producer,
            other => panic!("no producer: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn consume(
        &mut self,
        client: u64,
        transport: TransportId,
        producer: ProducerId,
    ) -> ConsumerId {
        match self.ask(client, consume(transport, producer)) {
            Ok(ReplyBody::Consumer(consumer, _)) => consumer,
            other => panic!("no consumer: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn dump(&mut self) -> Dump {
        match self.ask(u64::MAX, RequestBody::Dump) {
            Ok(ReplyBody::Dump(dump)) => *dump,
            other => panic!("no dump: {other:?}"),
        }
    }

    /// The dump as of now, while answers are still on their way.
    pub(crate) fn look(&mut self) -> Dump {
        let number = self.request(u64::MAX, RequestBody::Dump);
        match self.reply(number) {
            Ok(ReplyBody::Dump(dump)) => *dump,
            other => panic!("no dump: {other:?}"),
        }
    }

    pub(crate) fn report(&mut self, shard: u16, report: Report) {
        self.send(Input::Report(Place::local(shard), report));
        self.settle();
    }

    pub(crate) fn load(&mut self, shard: u16, load: LoadReport) {
        self.report(shard, Report::Load(load));
    }

    /// What a client was told since the last look.
    pub(crate) fn told(&mut self, client: u64) -> Vec<NoticeBody> {
        let (its, others) =
            self.notices.drain(..).partition(|notice: &Notice| notice.client == ClientId(client));
        self.notices = others;
        let its: Vec<Notice> = its;
        its.into_iter().map(|notice| notice.body).collect()
    }

    /// The commands since the last look.
    pub(crate) fn commanded(&mut self) -> Vec<(Place, CommandBody)> {
        std::mem::take(&mut self.commands)
    }

    pub(crate) fn metrics(&self) -> DirectoryMetrics {
        self.directory.metrics()
    }

    /// Nothing is left: not in the directory, not at any place, however long one waits.
    #[track_caller]
    pub(crate) fn assert_empty(&mut self) {
        self.settle();
        self.pass(Duration::from_secs(20));
        let left = self.metrics();
        let counts = [
            left.rooms,
            left.people,
            left.joining,
            left.transports,
            left.producers,
            left.consumers,
            left.relays,
            left.pending_requests,
            left.pending_placements,
            left.pending_questions,
            left.pending_commands,
            left.reservations,
        ];
        assert!(counts.iter().all(|count| *count == 0), "left in the directory: {left:?}");
        assert!(left.timers <= 1, "only balance may be due: {left:?}");
        for (place, books) in &self.places {
            assert!(books.is_empty(), "left at {place}: {books:?}");
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.directory.poll() {
            match output {
                Output::Reply(reply) => self.replies.entry(reply.number).or_default().push(reply.result),
                Output::Notice(notice) => self.notices.push(notice),
                Output::Command(place, command) => self.obey(place, &command),
                Output::Policy(message) => {
                    self.policy_log.push(message.clone());
                    match message {
                        ToPolicy::Feed(feed) => self.take_feed(feed),
                        ToPolicy::Ask(question) => self.decide(&question),
                    }
                }
            }
        }
    }

    fn obey(&mut self, place: Place, command: &Command) {
        self.commands.push((place, command.body.clone()));
        let books = self.places.get_mut(&place).expect("commands go to places that exist");
        let result = match (self.sabotage)(place, &command.body) {
            Some(error) => Err(error),
            None => books.obey(&command.body),
        };
        if let (Ok(_), CommandBody::MoveTransport { transport, to, stand_ins }) = (&result, &command.body) {
            let to = Place { shard: *to, ..place };
            self.take_along(*transport, place, to, stand_ins);
            let report = Report::Moved { transport: *transport, to: to.shard };
            self.inbox.push_back(Input::Report(to, report));
        }
        if !self.mute {
            let reply = CommandReply { request: command.request, result };
            self.inbox.push_back(Input::CommandReply(place, reply));
        }
    }

    /// What engines do with a move: tracks leave stand-ins behind and take the relays that begin with them along.
    fn take_along(
        &mut self,
        transport: TransportId,
        from: Place,
        to: Place,
        stand_ins: &[(ProducerId, RelayId)],
    ) {
        let mut old = std::mem::take(self.places.get_mut(&from).expect("exists"));
        let new = self.places.get_mut(&to).expect("exists");
        if let Some(router) = old.transports.remove(&transport) {
            new.transports.insert(transport, router);
            new.routers.insert(router);
        }
        let own = old.producers.iter().filter(|(_, origin)| **origin == Ok(transport));
        let own: Vec<ProducerId> = own.map(|(id, _)| *id).collect();
        for producer in own {
            let stood_in = new.producers.insert(producer, Ok(transport)).and_then(Result::err);
            let along =
                old.sources.iter().filter(|(relay, of)| **of == producer && Some(**relay) != stood_in);
            new.sources.extend(along.map(|(relay, of)| (*relay, *of)).collect::<Vec<_>>());
            old.sources.retain(|_, of| *of != producer);
            let stand_in = stand_ins.iter().find(|(of, _)| *of == producer).expect("each has one").1;
            old.producers.insert(producer, Err(stand_in));
            new.sources.insert(stand_in, producer);
        }
        let sent = old.consumers.iter().filter(|(_, (owner, _))| *owner == transport);
        new.consumers.extend(sent.map(|(id, of)| (*id, *of)).collect::<Vec<_>>());
        old.consumers.retain(|_, (owner, _)| *owner != transport);
        self.places.insert(from, old);
    }

    fn take_feed(&mut self, feed: Feed) {
        match feed {
            Feed::Reset { generation, rows } => {
                assert_eq!(generation, self.generation + 1);
                (self.generation, self.rows) = (generation, rows);
            }
            Feed::Delta { generation, changes } => {
                assert_eq!(generation, self.generation);
                assert!(!changes.is_empty());
                for change in changes {
                    let cell = &mut self.rows[change.row as usize].values[change.column.index()];
                    assert_ne!(*cell, change.value, "only changes are told");
                    *cell = change.value;
                }
            }
        }
    }

    fn decide(&mut self, question: &Question) {
        let result = match &question.body {
            QuestionBody::Authorize(request) => (self.authorize)(request).map(AnswerBody::Authorize),
            QuestionBody::Place(request) => (self.allocate)(request, &self.rows).map(AnswerBody::Place),
            QuestionBody::Balance(_) => (self.balance)().map(AnswerBody::Balance),
            QuestionBody::Share(request) => (self.share)(request).map(AnswerBody::Share),
        };
        self.inbox.push_back(Input::Answer(Answer { number: question.number, result }));
    }
}

/// Concentrates, then spills; a relay copies from the producer's own place.
pub(crate) fn pack(
    request: &PlaceRequest,
    rows: &[ShardRow],
    watermarks: &Watermarks,
) -> Result<PlaceAnswer, Failure> {
    let place = match request.kind {
        PlaceKind::Relay => request.parents.first().map(|parent| parent.place),
        _ => concentrate_then_spill(rows, watermarks),
    };
    place.map_or(Err(Failure::Nonsense), there)
}

pub(crate) fn there(place: Place) -> Result<PlaceAnswer, Failure> {
    Ok(PlaceAnswer::Place(Placement { place, attrs: Vec::new() }))
}

/// Transports go round the shards; relays copy from the producer's own place.
pub(crate) fn round_robin(shards: u16) -> Allocate {
    let mut next = 0;
    Box::new(move |request, _| match request.kind {
        PlaceKind::Relay => there(request.parents[0].place),
        _ => {
            next = (next + 1) % shards;
            there(Place::local((next + shards - 1) % shards))
        }
    })
}

pub(crate) fn grant(grant: Grant) -> Authorize {
    Box::new(move |_| Ok(AuthorizeAnswer::Grant(grant.clone())))
}

pub(crate) fn join(room: &str) -> RequestBody {
    RequestBody::Join(JoinRequest {
        room: room.into(),
        name: "someone".into(),
        token: Secret::new("token"),
        address: None,
        expected_ingress_kbps: 100,
        attrs: Vec::new(),
        told_by_ceiling: false,
    })
}

pub(crate) fn produce(transport: TransportId, kind: MediaKind) -> RequestBody {
    let source = if kind == MediaKind::Audio { "microphone" } else { "camera" };
    produce_from(transport, kind, source)
}

pub(crate) fn produce_from(transport: TransportId, kind: MediaKind, source: &str) -> RequestBody {
    let parameters = ProducerParameters { kind, rtp: rtp() };
    RequestBody::Produce { transport, parameters, source: source.into(), paused: false }
}

/// A microphone whose sender tells its level.
#[track_caller]
pub(crate) fn produce_audible(world: &mut World, client: u64, transport: TransportId) -> ProducerId {
    let extension = ExtensionParameters { id: 1, kind: ExtensionKind::AudioLevel };
    let parameters = ProducerParameters {
        kind: MediaKind::Audio,
        rtp: RtpParameters { extensions: vec![extension], ..rtp() },
    };
    let source = "microphone".into();
    match world.ask(client, RequestBody::Produce { transport, parameters, source, paused: false }) {
        Ok(ReplyBody::Producer(producer)) => producer,
        other => panic!("no producer: {other:?}"),
    }
}

pub(crate) fn consume(transport: TransportId, producer: ProducerId) -> RequestBody {
    consume_kind(transport, producer, MediaKind::Audio)
}

pub(crate) fn consume_kind(transport: TransportId, producer: ProducerId, kind: MediaKind) -> RequestBody {
    let parameters =
        ConsumerParameters { kind, rtp: rtp(), paused: false, preferred: LayerPreference::HIGHEST };
    RequestBody::Consume { transport, producer, parameters }
}

fn rtp() -> RtpParameters {
    RtpParameters {
        mid: None,
        codecs: Vec::new(),
        extensions: Vec::new(),
        encodings: Vec::new(),
        cname: "c".into(),
        reduced_size_rtcp: true,
    }
}

#[track_caller]
pub(crate) fn code(outcome: Outcome) -> String {
    match outcome {
        Err(error) => {
            assert!(!error.message.is_empty(), "a sentence: {}", error.message);
            error.code
        }
        Ok(body) => panic!("done, though it should not be: {body:?}"),
    }
}

/// The engine takes a transport along to another shard; gives the report that the directory hears of it by.
pub(crate) fn move_transport(
    world: &mut World,
    (transport, router): (TransportId, RouterId),
    from: u16,
    to: u16,
) -> Input {
    let old = world.places.get_mut(&Place::local(from)).expect("exists");
    let own = old.producers.iter().filter(|(_, origin)| **origin == Ok(transport));
    let producers: Vec<ProducerId> = own.map(|(id, _)| *id).collect();
    let sent = old.consumers.iter().filter(|(_, (owner, _))| *owner == transport);
    let consumers: Vec<_> = sent.map(|(id, of)| (*id, *of)).collect();
    old.end_transport(transport);
    let new = world.places.get_mut(&Place::local(to)).expect("exists");
    new.transports.insert(transport, router);
    new.routers.insert(router);
    new.producers.extend(producers.into_iter().map(|producer| (producer, Ok(transport))));
    new.consumers.extend(consumers);
    Input::Report(Place::local(from), Report::Moved { transport, to: ShardIndex(to) })
}
