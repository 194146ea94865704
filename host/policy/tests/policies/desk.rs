//! Where stories ask their questions and wait for the answers.

use crate::guest::Guest;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tidegate_policy::{Deadlines, LoadError, PluginConfig, Policies, PolicyConfig, Source, SwapOrder};
use tidegate_types::cluster::{CellChange, Column, Feed, ShardRow};
use tidegate_types::decision::{
    Action, Answer, AnswerBody, AuthorizeAnswer, AuthorizeRequest, BalanceCause, BalanceRequest, Decision,
    Failure, Grant, Moment, PlaceAnswer, PlaceKind, PlaceRequest, Question, QuestionBody, Refusal, ToPolicy,
};
use tidegate_types::sharing::{SHORTEST_PERIOD_MS, ShareRequest, ShareTrack};
use tidegate_types::{MediaKind, Place, ProducerId, RequestNumber, Secret};

pub type Outcome = Result<AnswerBody, Failure>;

pub struct Desk {
    pub policies: Policies,
    pub answers: Receiver<Answer>,
    asked: AtomicU64,
}

/// A component under its name.
pub fn plugin(name: &'static str, component: Vec<u8>) -> PluginConfig {
    PluginConfig::new(Source::Embedded { name, bytes: component.into() })
}

/// Long enough that a busy machine does not make a good guest late.
pub const PATIENCE: Duration = Duration::from_millis(400);

/// Good guests for all four decisions, and time for them.
pub fn config() -> PolicyConfig {
    let good = |decision: Decision| plugin(decision.name(), Guest::new(decision).build());
    let mut config =
        PolicyConfig::new(good(Decision::Authorize), good(Decision::Allocate), good(Decision::Balance));
    config.share = Some(good(Decision::Share));
    config.deadlines =
        Deadlines { authorize: PATIENCE, allocate: PATIENCE, balance: PATIENCE, share: PATIENCE };
    config
}

/// The same, with another authorize or allocate.
pub fn config_with(decision: Decision, guest: Guest) -> PolicyConfig {
    let mut config = config();
    let plugin = plugin("guest", guest.build());
    match decision {
        Decision::Authorize => config.authorize = plugin,
        Decision::Allocate => config.allocate = plugin,
        Decision::Balance => config.balance = plugin,
        Decision::Share => config.share = Some(plugin),
    }
    config
}

pub fn start(config: PolicyConfig) -> Result<Desk, LoadError> {
    let (sender, answers) = channel();
    let sink = move |answer| drop(sender.send(answer));
    let policies = Policies::start(config, Arc::new(|| 1_000), Arc::new(sink))?;
    Ok(Desk { policies, answers, asked: AtomicU64::new(0) })
}

pub fn open(config: PolicyConfig) -> Desk {
    start(config).unwrap_or_else(|error| panic!("{error}"))
}

impl Desk {
    pub fn send(&self, body: QuestionBody) -> RequestNumber {
        let number = RequestNumber(self.asked.fetch_add(1, Ordering::Relaxed));
        self.policies.send(ToPolicy::Ask(Question { number, body }));
        number
    }

    pub fn receive(&self) -> Answer {
        self.answers.recv_timeout(Duration::from_secs(10)).expect("every question is answered")
    }

    pub fn ask(&self, body: QuestionBody) -> Outcome {
        let number = self.send(body);
        let answer = self.receive();
        assert_eq!(answer.number, number);
        answer.result
    }

    pub fn reset(&self, generation: u64, shards: u16) {
        let row = |shard| ShardRow {
            place: Place::local(shard),
            region: "north".into(),
            node_name: "a".into(),
            values: [0; Column::ALL.len()],
        };
        let rows = (0..shards).map(row).collect();
        self.policies.send(ToPolicy::Feed(Feed::Reset { generation, rows }));
    }

    pub fn cpu(&self, generation: u64, value: u64) {
        let changes = vec![CellChange { row: 0, column: Column::Cpu, value }];
        self.policies.send(ToPolicy::Feed(Feed::Delta { generation, changes }));
    }
}

/// Asks to enter a room; guests that misbehave do so if there are people in it.
pub fn join(people: u32) -> QuestionBody {
    QuestionBody::Authorize(Box::new(AuthorizeRequest {
        action: Action::Join,
        room: Some("hello".into()),
        room_people: people,
        room_since_unix_ms: Some(1),
        name: "Ada".into(),
        identity: None,
        token: Secret::new("t".repeat(500)),
        address: None,
        kind: None,
        source: None,
        moment: Moment { unix_ms: 1_000, seed: 1 },
        lookups: vec![],
        attrs: vec![],
    }))
}

pub fn refused() -> Outcome {
    Ok(AnswerBody::Authorize(AuthorizeAnswer::Refuse(Refusal::new("no", "go away"))))
}

pub fn granted(identity: Option<&str>) -> Outcome {
    let grant = Grant { identity: identity.map(Into::into), ..Grant::open() };
    Ok(AnswerBody::Authorize(AuthorizeAnswer::Grant(grant)))
}

/// Another component for a decision.
pub fn order(decision: Decision, guest: Guest) -> SwapOrder {
    SwapOrder { decision, position: 1, plugin: plugin("next", guest.build()), shadow: false }
}

pub fn place() -> QuestionBody {
    QuestionBody::Place(Box::new(PlaceRequest {
        kind: PlaceKind::Transport,
        room: None,
        router_at: vec![],
        expected_ingress_kbps: 1,
        expected_egress_kbps: 1,
        region_hint: None,
        parents: vec![],
        moment: Moment::default(),
        attrs: vec![],
    }))
}

/// The shard that an answer names.
pub fn shard(outcome: Outcome) -> Result<u16, Failure> {
    match outcome? {
        AnswerBody::Place(PlaceAnswer::Place(placement)) => Ok(placement.place.shard.0),
        other => panic!("not a placement: {other:?}"),
    }
}

pub fn balance() -> QuestionBody {
    QuestionBody::Balance(Box::new(BalanceRequest {
        cause: BalanceCause::Tick,
        place: None,
        moment: Moment::default(),
        attrs: vec![],
    }))
}

/// A room of one track.
pub fn share() -> QuestionBody {
    let track = ShareTrack {
        producer: ProducerId(1),
        person: 0,
        kind: MediaKind::Video,
        source: "camera".into(),
        ingress_kbps: 500,
        encodings: 3,
        receivers: 1,
        reduced: 0,
        wanted_layer: 2,
        paused: false,
    };
    QuestionBody::Share(Box::new(ShareRequest {
        room: "hello".into(),
        tracks: vec![track],
        period_ms: SHORTEST_PERIOD_MS,
        ..ShareRequest::default()
    }))
}
