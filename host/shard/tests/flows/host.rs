//! A host of two shards on threads of their own, and the orders that a directory would give it. Knows nothing of who
//! comes to it.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tidegate_media::association::{AssociationConfig, Identity};
use tidegate_media::io::Secrets;
use tidegate_media::{Engine, EngineConfig};
use tidegate_shard::{FromShard, ShardCounters, ShardSetup, Shards, ShardsConfig, start};
use tidegate_types::command::{Command, CommandBody, CommandReply, Done, TransportDump, TransportLimits};
use tidegate_types::producer::ProducerParameters;
use tidegate_types::report::Report;
use tidegate_types::transport::{LocalTransport, RemoteTransport, SrtpProfile};
use tidegate_types::{
    Now, NtpTime, Place, ProducerId, RelayId, RequestNumber, RouterId, ShardIndex, TransportId,
};

pub(crate) const SHARDS: u16 = 2;
/// Only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

struct System;

impl Secrets for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let mut state = seed ^ bytes.as_ptr() as u64;
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 33) as u8;
        }
    }
}

pub(crate) fn now() -> Now {
    Now { instant: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

pub(crate) fn association() -> AssociationConfig {
    AssociationConfig {
        identity: Arc::new(Identity::generate().unwrap()),
        profiles: vec![SrtpProfile::AeadAes256Gcm],
    }
}

/// Where a person's transport stands first.
pub(crate) fn home(person: u64) -> Place {
    Place::local((person % u64::from(SHARDS)) as u16)
}

pub(crate) fn other(place: Place) -> Place {
    Place::local(1 - place.shard.0)
}

pub(crate) struct Host {
    pub(crate) shards: Shards,
    said: Receiver<FromShard>,
    requests: u64,
    replies: BTreeMap<RequestNumber, CommandReply>,
    /// What transports became, in order.
    pub(crate) states: Vec<Report>,
}

impl Host {
    pub(crate) fn start(identity: &AssociationConfig, config: ShardsConfig) -> Self {
        let (sender, said) = channel();
        let sender = Mutex::new(sender);
        let sink = Arc::new(move |_place: Place, from: FromShard| drop(sender.lock().unwrap().send(from)));
        let association = identity.clone();
        let engine = move |setup: ShardSetup| {
            let config = EngineConfig {
                place: setup.place,
                shards: SHARDS,
                candidates: setup.candidates,
                association: association.clone(),
                max_transports: 1_000,
            };
            Engine::new(config, Box::new(System))
        };
        let config = ShardsConfig { shards: SHARDS, ..config };
        let shards = start(&config, engine, sink).unwrap();
        Self { shards, said, requests: 0, replies: BTreeMap::new(), states: Vec::new() }
    }

    /// Gives an order and does not wait for its answer.
    pub(crate) fn ask(&mut self, place: Place, body: CommandBody) -> RequestNumber {
        self.requests += 1;
        let request = RequestNumber(self.requests);
        self.shards.command(place, Command { request, body }).unwrap();
        request
    }

    /// The answer to an order, if it has come.
    pub(crate) fn answer(&mut self, request: RequestNumber) -> Option<Done> {
        while let Ok(said) = self.said.try_recv() {
            self.note(said);
        }
        self.replies.remove(&request).map(|reply| reply.result.unwrap())
    }

    /// Gives an order that is carried out when this returns.
    pub(crate) fn command(&mut self, place: Place, body: CommandBody) -> Done {
        let request = self.ask(place, body);
        loop {
            if let Some(done) = self.answer(request) {
                return done;
            }
            let said = self.said.recv_timeout(PATIENCE).expect("every command is answered");
            self.note(said);
        }
    }

    fn note(&mut self, said: FromShard) {
        match said {
            FromShard::Reply(reply) => drop(self.replies.insert(reply.request, reply)),
            FromShard::Report(report @ Report::Transport { .. }) => self.states.push(report),
            FromShard::Report(_) => {}
        }
    }

    /// A transport for a person, who hears what the host is like.
    pub(crate) fn admit(&mut self, person: u64, remote: RemoteTransport) -> LocalTransport {
        let (transport, limits) = (TransportId(person), TransportLimits::default());
        let create = CommandBody::CreateTransport { transport, router: RouterId(1), limits };
        let Done::Transport(local) = self.command(home(person), create) else { panic!("no transport") };
        self.command(home(person), CommandBody::ConnectTransport { transport, remote });
        local
    }

    /// A track of a person.
    pub(crate) fn produce(&mut self, person: u64, producer: ProducerId, parameters: ProducerParameters) {
        let transport = TransportId(person);
        let produce = CommandBody::CreateProducer { producer, transport, parameters, paused: false };
        self.command(home(person), produce);
    }

    /// A track goes from where its person is first to the other place, too.
    pub(crate) fn relay(&mut self, person: u64, producer: ProducerId, parameters: ProducerParameters) {
        let (from, to, relay) = (home(person), other(home(person)), RelayId(producer.0));
        let router = RouterId(1);
        let accept = CommandBody::AcceptRelay { relay, router, producer, parameters, paused: false, from };
        self.command(to, accept);
        self.command(from, CommandBody::OpenRelay { relay, producer, to });
    }

    /// Orders a transport to the other shard.
    pub(crate) fn give_away(
        &mut self,
        person: u64,
        from: Place,
        stand_ins: Vec<(ProducerId, RelayId)>,
    ) -> RequestNumber {
        let (transport, to): (_, ShardIndex) = (TransportId(person), other(from).shard);
        self.ask(from, CommandBody::MoveTransport { transport, to, stand_ins })
    }

    pub(crate) fn stats(&mut self, person: u64, place: Place) -> TransportDump {
        match self.command(place, CommandBody::ReadStats { transport: TransportId(person) }) {
            Done::Stats(dump) => *dump,
            other => panic!("{other:?}"),
        }
    }

    /// A number of both shards together.
    pub(crate) fn total(&self, of: fn(&ShardCounters) -> u64) -> u64 {
        self.shards.counters().iter().map(of).sum()
    }
}
