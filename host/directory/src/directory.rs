//! The directory itself: its tables, which input goes to which part, and how outputs are numbered. Knows nothing
//! of how any part decides.

use crate::cluster::Cluster;
use crate::config::{DirectoryConfig, ShardSeed};
use crate::join::Joining;
use crate::ledger::{Asker, Ledger, Outcome};
use crate::metrics::DirectoryMetrics;
use crate::moment::Chance;
use crate::moves::Moves;
use crate::objects::{Consumer, Person, Producer, Relay, Router, Transport};
use crate::placement::Placing;
use crate::questions::Asked;
use crate::refusal::{CommandFailure, full};
use crate::renew::Renewals;
use crate::share::Sharing;
use crate::timers::{Timer, Timers};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;
use tidegate_types::cluster::Feed;
use tidegate_types::command::{Command, CommandBody, CommandReply, Done};
use tidegate_types::decision::{Answer, BalanceCause, Failure, ToPolicy, Wish};
use tidegate_types::report::Report;
use tidegate_types::request::{
    ClientId, ErrorKind, Notice, NoticeBody, Reply, ReplyBody, Request, RequestBody,
};
use tidegate_types::{
    ConsumerId, Now, PersonId, Place, ProducerId, RelayId, RequestNumber, RouterId, TransportId,
};

/// What goes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// A front door asks.
    Request(Request),
    /// A client is gone for good: its presence ends, its open requests are forgotten.
    ClientGone(ClientId),
    /// A policy answered, or failed.
    Answer(Answer),
    /// A place tells.
    Report(Place, Report),
    /// A place answered a command.
    CommandReply(Place, CommandReply),
    /// The time of [`Directory::next_timeout`] has come.
    Tick,
    /// A place takes nothing new (true), or takes again.
    Drain {
        /// Which.
        place: Place,
        /// Nothing new.
        draining: bool,
    },
    /// From now on rooms are asked about while bit rates are divided (true), or no more. What places were told ends with
    /// the rooms' next turns.
    Share(bool),
    /// The shards that exist from now on. What stood at places that are gone ends.
    Shards(Vec<ShardSeed>),
    /// The host stops: everyone's presence ends with this code and sentence, and nobody enters any more.
    Stop {
        /// Short, stable, lower case with hyphens.
        code: String,
        /// One sentence for people.
        message: String,
    },
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To a front door, in answer. Every request gets exactly one, unless its client is gone.
    Reply(Reply),
    /// To a front door, unasked.
    Notice(Notice),
    /// To the policies, in this order.
    Policy(ToPolicy),
    /// To a place.
    Command(Place, Command),
}

/// What a place's reply is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    CreateTransport(PersonId),
    /// Whoever asked gets the reply as it is.
    Answer(Asker),
    RestartIce(Asker, TransportId),
    CreateProducer(ProducerId),
    CreateConsumer(ConsumerId),
    AcceptRelay(RelayId),
    OpenRelay(RelayId),
    MoveTransport(TransportId),
    /// Whom a place hands a router's messages to; a move waits until all know.
    RelayMessages(RouterId),
    ReadRelays,
    /// What a place measures of a router, for a question to share.
    ReadRates(RouterId),
}

/// What exists and where.
#[derive(Debug)]
pub struct Directory {
    pub(crate) config: DirectoryConfig,
    pub(crate) now: Now,
    pub(crate) chance: Chance,
    pub(crate) cluster: Cluster,
    pub(crate) timers: Timers,
    pub(crate) ledger: Ledger,
    pub(crate) rooms: BTreeMap<String, RouterId>,
    pub(crate) routers: BTreeMap<RouterId, Router>,
    pub(crate) joining: BTreeMap<PersonId, Joining>,
    pub(crate) people: BTreeMap<PersonId, Person>,
    /// Who each client is, inside or entering: one person a client.
    pub(crate) clients: BTreeMap<ClientId, PersonId>,
    pub(crate) transports: BTreeMap<TransportId, Transport>,
    pub(crate) producers: BTreeMap<ProducerId, Producer>,
    pub(crate) consumers: BTreeMap<ConsumerId, Consumer>,
    pub(crate) relays: BTreeMap<RelayId, Relay>,
    pub(crate) placing: Placing,
    pub(crate) moves: Moves,
    pub(crate) renewals: Renewals,
    pub(crate) sharing: Sharing,
    pub(crate) questions: BTreeMap<RequestNumber, Asked>,
    pub(crate) commands: BTreeMap<RequestNumber, (Place, Awaited)>,
    pub(crate) wishes: VecDeque<(u64, Wish)>,
    /// A load report came, so balance has something to judge.
    pub(crate) load_known: bool,
    pub(crate) stopping: bool,
    pub(crate) totals: DirectoryMetrics,
    /// Ids and numbers of every kind are drawn from one counter: what is unique is easy to follow in a log.
    last_id: u64,
    /// Bounded by what one input can cause: its owner takes all before the next.
    outputs: VecDeque<Output>,
}

impl Directory {
    /// An empty directory over the configured shards. Its first output is the policies' first feed.
    #[must_use]
    pub fn new(mut config: DirectoryConfig, now: Now) -> Self {
        let shards = std::mem::take(&mut config.shards);
        let mut directory = Self {
            now,
            chance: Chance::new(config.seed),
            cluster: Cluster::new(shards),
            timers: Timers::default(),
            ledger: Ledger::new(config.bounds.remembered_replies),
            rooms: BTreeMap::new(),
            routers: BTreeMap::new(),
            joining: BTreeMap::new(),
            people: BTreeMap::new(),
            clients: BTreeMap::new(),
            transports: BTreeMap::new(),
            producers: BTreeMap::new(),
            consumers: BTreeMap::new(),
            relays: BTreeMap::new(),
            placing: Placing::default(),
            moves: Moves::default(),
            renewals: Renewals::default(),
            sharing: Sharing::default(),
            questions: BTreeMap::new(),
            commands: BTreeMap::new(),
            wishes: VecDeque::new(),
            load_known: false,
            stopping: false,
            totals: DirectoryMetrics::default(),
            last_id: 0,
            outputs: VecDeque::new(),
            config,
        };
        let feed = directory.cluster.reset();
        directory.feed(feed);
        directory
    }

    /// Takes one input. Every output is to be taken with [`Directory::poll`] before the next.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Request(request) => self.request(request),
            Input::ClientGone(client) => self.client_gone(client),
            Input::Answer(answer) => self.answered(answer),
            Input::Report(place, report) => self.reported(place, report),
            Input::CommandReply(place, reply) => self.command_replied(place, reply),
            Input::Tick => self.tick(),
            Input::Drain { place, draining } => self.drain(place, draining),
            Input::Share(chosen) => self.choose_share(chosen),
            Input::Shards(shards) => self.replace_shards(shards),
            Input::Stop { code, message } => self.stop(&code, &message),
        }
        self.go_on_with_moves();
        self.tell_changes();
    }

    /// The next output; `None` when all are taken.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due, if nothing comes before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Counts.
    #[must_use]
    pub fn metrics(&self) -> DirectoryMetrics {
        let count = |length: usize| length as u64;
        DirectoryMetrics {
            rooms: count(self.routers.len()),
            people: count(self.people.len()),
            joining: count(self.joining.len()),
            transports: count(self.transports.len()),
            producers: count(self.producers.len()),
            consumers: count(self.consumers.len()),
            relays: count(self.relays.len()),
            pending_requests: count(self.ledger.pending()),
            pending_placements: count(self.placing.waiting()),
            pending_questions: count(self.questions.len()),
            pending_commands: count(self.commands.len()),
            reservations: count(self.cluster.reservations()),
            timers: count(self.timers.len()),
            ..self.totals
        }
    }

    fn request(&mut self, request: Request) {
        let asker = (request.client, request.number);
        if self.is_repeated(asker) {
            return;
        }
        let bounds = self.config.bounds;
        let pending = self.ledger.pending();
        let pending_of_client = self.ledger.pending_of(request.client);
        self.ledger.open(asker);
        if pending >= bounds.pending_requests {
            return self.reply(asker, Err(full("pending requests", bounds.pending_requests)));
        }
        if pending_of_client >= bounds.pending_per_client {
            return self.reply(asker, Err(full("pending requests of yours", bounds.pending_per_client)));
        }
        self.begin(asker, request.body);
    }

    /// A repeated request gets the same reply again, or is already on its way to one.
    fn is_repeated(&mut self, asker: Asker) -> bool {
        if self.ledger.is_open(asker) {
            return true;
        }
        let outcome = self.ledger.answered(asker).cloned().or_else(|| self.joined_again(asker));
        let Some(result) = outcome else { return false };
        self.outputs.push_back(Output::Reply(Reply { number: asker.1, client: asker.0, result }));
        true
    }

    pub(crate) fn begin(&mut self, asker: Asker, body: RequestBody) {
        let Some(body) = self.hold_while_moving(asker, body) else { return };
        match body {
            RequestBody::Join(join) => self.join(asker, join),
            RequestBody::Leave { person } => self.leave(asker, person),
            RequestBody::Connect { transport, remote } => {
                self.pass_on(asker, transport, CommandBody::ConnectTransport { transport, remote });
            }
            RequestBody::RestartIce { transport } => self.restart_ice(asker, transport),
            RequestBody::Produce { transport, parameters, source, paused } => {
                self.produce(asker, crate::produce::Wanted { transport, parameters, source, paused }, false);
            }
            RequestBody::PauseProducer { producer, paused } => self.pause_producer(asker, producer, paused),
            RequestBody::CloseProducer { producer } => self.close_producer(asker, producer),
            RequestBody::Consume { transport, producer, parameters } => {
                self.consume(asker, crate::consume::Wanted { transport, producer, parameters }, false);
            }
            RequestBody::PauseConsumer { consumer, paused } => self.pause_consumer(asker, consumer, paused),
            RequestBody::SetPreferredLayers { consumer, preferred } => {
                self.prefer_layers(asker, consumer, preferred);
            }
            RequestBody::CloseConsumer { consumer } => self.close_consumer(asker, consumer),
            RequestBody::OpenData { transport, max_message_bytes } => {
                self.open_data(asker, crate::data::Wanted { transport, max_message_bytes }, None);
            }
            RequestBody::SendMessage { transport, text } => self.send_message(asker, transport, text),
            RequestBody::AuthorizeAdmin { token, address } => self.authorize_admin(asker, token, address),
            RequestBody::Dump => {
                let dump = self.dump();
                self.reply(asker, Ok(ReplyBody::Dump(Box::new(dump))));
            }
            RequestBody::Reauthorize { person } => self.reauthorize(asker, person),
            RequestBody::EndPerson { person, message } => self.end_by_operator(asker, person, &message),
            RequestBody::ReadStats { transport } => self.read_stats(asker, transport),
            RequestBody::Move { transport, to } => self.request_move(asker, transport, to),
        }
    }

    fn command_replied(&mut self, place: Place, reply: CommandReply) {
        match self.commands.get(&reply.request) {
            Some((asked, _)) if *asked == place => {
                self.command_done(reply.request, reply.result.map_err(CommandFailure::from));
            }
            // Commands that end something await no reply.
            _ => tracing::trace!(%place, request = %reply.request, "nobody awaits this reply"),
        }
    }

    pub(crate) fn command_done(&mut self, number: RequestNumber, result: Result<Done, CommandFailure>) {
        let Some((place, awaited)) = self.commands.remove(&number) else { return };
        self.timers.cancel(Timer::Command(number));
        match awaited {
            Awaited::CreateTransport(person) => self.transport_made(person, result),
            Awaited::Answer(asker) => self.reply(asker, passed_back(result)),
            Awaited::RestartIce(asker, transport) => self.ice_restarted(asker, transport, result),
            Awaited::CreateProducer(producer) => self.producer_made(producer, result),
            Awaited::CreateConsumer(consumer) => self.consumer_made(consumer, number, result),
            Awaited::AcceptRelay(relay) => self.relay_accepted(relay, result),
            Awaited::OpenRelay(relay) => self.relay_opened(relay, result),
            Awaited::MoveTransport(transport) => self.move_answered(transport, result),
            Awaited::RelayMessages(_) => {}
            Awaited::ReadRelays => self.relays_read(place, result),
            Awaited::ReadRates(router) => self.rates_read(router, result),
        }
    }

    fn tick(&mut self) {
        // Each timer that fires may set others, but only later ones: the loop ends.
        while let Some(timer) = self.timers.pop(self.now.instant) {
            match timer {
                Timer::Question(number) => self.answered(Answer { number, result: Err(Failure::Deadline) }),
                Timer::Command(number) => self.command_done(number, Err(CommandFailure::Silent)),
                Timer::Reservation(holder) => self.cluster.release(holder),
                Timer::GrantEnds(person) => self.check_grant(person),
                Timer::AskAgain(person) => self.ask_again(person),
                Timer::RelayIdle(relay) => self.close_idle_relay(relay),
                Timer::Speakers(router) => self.settle_speakers(router),
                Timer::Move(transport) => self.move_took_too_long(transport),
                Timer::Balance => self.ask_balance(BalanceCause::Tick, None),
                Timer::ReadRelays => self.read_relays(),
                Timer::Share => self.share_round(),
            }
        }
    }

    /// Ids are handed out here alone.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Answers a request, if someone still waits for that.
    pub(crate) fn reply(&mut self, asker: Asker, result: Outcome) {
        if !self.ledger.close(asker) {
            self.totals.late_total += 1;
            return;
        }
        if let Err(error) = &result {
            match error.kind {
                ErrorKind::Refused => self.totals.refused_total += 1,
                ErrorKind::Full => self.totals.full_total += 1,
                ErrorKind::Failed => self.totals.failed_total += 1,
                ErrorKind::Missing | ErrorKind::Unfit => {}
            }
        }
        self.ledger.remember(asker, &result);
        self.outputs.push_back(Output::Reply(Reply { number: asker.1, client: asker.0, result }));
    }

    pub(crate) fn notice(&mut self, client: ClientId, body: NoticeBody) {
        self.outputs.push_back(Output::Notice(Notice { client, body }));
    }

    /// Tells a place, and awaits its reply.
    pub(crate) fn command(&mut self, place: Place, body: CommandBody, awaited: Awaited) -> RequestNumber {
        let request = RequestNumber(self.next_id());
        self.commands.insert(request, (place, awaited));
        self.timers.set(Timer::Command(request), self.now.instant + self.config.patience.command);
        self.outputs.push_back(Output::Command(place, Command { request, body }));
        request
    }

    /// Tells a place something that cannot fail in a way that matters: mostly, to end something.
    pub(crate) fn command_quietly(&mut self, place: Place, body: CommandBody) {
        if self.cluster.has(place) {
            let request = RequestNumber(self.next_id());
            self.outputs.push_back(Output::Command(place, Command { request, body }));
        }
    }

    pub(crate) fn tell_policy(&mut self, message: ToPolicy) {
        self.outputs.push_back(Output::Policy(message));
    }

    pub(crate) fn feed(&mut self, feed: Feed) {
        self.tell_policy(ToPolicy::Feed(feed));
    }

    /// What changed in the cluster must be known before the next decision.
    pub(crate) fn tell_changes(&mut self) {
        if let Some(delta) = self.cluster.delta() {
            self.feed(delta);
        }
    }
}

fn passed_back(result: Result<Done, CommandFailure>) -> Outcome {
    Ok(match result? {
        Done::Done => ReplyBody::Done,
        Done::Transport(local) => ReplyBody::Transport(local),
        Done::Stats(stats) => ReplyBody::Stats(stats),
        Done::Relays(_) | Done::Rates(_) => return Err(CommandFailure::Mistaken.into()),
    })
}
