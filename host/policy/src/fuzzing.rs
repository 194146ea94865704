//! The body of the fuzz target at the border where answers come in: an ordinary function, which a stable test calls over
//! the checked-in corpus, too. Nothing of the runtime calls it.
//!
//! The guests in `fixtures` copy what they are told into their memory and answer with it as it is, so that each byte of
//! an input is a byte of an answer in the canonical ABI.

use crate::bounds;
use crate::config::{PluginConfig, PolicyConfig, Source};
use crate::feed::Cluster;
use crate::meet::meet;
use crate::plugin::{Decider, Loader, Plugin};
use serde_json::Value;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidegate_types::cluster::{Column, ShardRow};
use tidegate_types::decision::{
    Action, AnswerBody, Attr, AuthorizeAnswer, AuthorizeRequest, BalanceCause, BalanceRequest, Decision,
    Failure, Grant, Moment, Parent, PlaceAnswer, PlaceKind, PlaceRequest, QuestionBody,
};
use tidegate_types::sharing::{PERIODS, SHORTEST_PERIOD_MS, ShareRequest, ShareTrack};
use tidegate_types::{MediaKind, Place, ProducerId, Secret};

/// What an input may fill of a guest's memory, in bytes.
const IMAGE_BYTES: usize = 65_536;
/// The longest text and list of an answer that passes, as the interface tells authors; whatever field they stand in.
const TEXT_BYTES: usize = 1_024;
const LIST_ENTRIES: usize = 64;
/// ... of two grants that met: what one names and what the other names.
const MET_ENTRIES: usize = 2 * LIST_ENTRIES;
const SHARDS: u16 = 3;
/// Where a relay may be copied from.
const PARENT: Place = Place::local(1);

const ECHOES: [(Decision, &[u8]); Decision::ALL.len()] = [
    (Decision::Authorize, include_bytes!("../fixtures/echo-authorize.wasm")),
    (Decision::Allocate, include_bytes!("../fixtures/echo-allocate.wasm")),
    (Decision::Balance, include_bytes!("../fixtures/echo-balance.wasm")),
    (Decision::Share, include_bytes!("../fixtures/echo-share.wasm")),
];

thread_local! {
    /// One instance a decision; after a trap it is made anew.
    static DECIDERS: RefCell<[Option<Decider>; Decision::ALL.len()]> = RefCell::default();
}

/// The first byte chooses the decision; with its highest bit a placement is a relay's. Four bytes say where in the rest
/// the answer begins, counted from its ninth byte; texts and lists are named by address: the rest begins at 1,048,576.
///
/// # Panics
/// If an answer passes that is beyond its bounds, or contradicts its question; or if the fixtures are not those of this
/// version.
pub fn fuzz_answers(bytes: &[u8]) {
    let Some((&first, image)) = bytes.split_first() else { return };
    let which = usize::from(first & 0x7f) % ECHOES.len();
    let image = nibbles(&image[..image.len().min(IMAGE_BYTES)]);
    let question = question(ECHOES[which].0, image, first & 0x80 != 0);
    let answer = DECIDERS.with_borrow_mut(|deciders| {
        let mut decider = deciders[which].take().unwrap_or_else(|| instance(which));
        let answer = ask(&mut decider, &question);
        if matches!(answer, Ok(_) | Err(Failure::Stale)) {
            deciders[which] = Some(decider);
        }
        answer
    });
    if let Ok(answer) = answer
        && bounds::check(&question, &answer).is_ok()
    {
        sound(&question, &answer);
    }
}

/// What holds of an answer that passed, told otherwise than by the code that let it pass.
fn sound(question: &QuestionBody, answer: &AnswerBody) {
    within(&json(answer), LIST_ENTRIES);
    match (question, answer) {
        (QuestionBody::Place(request), AnswerBody::Place(PlaceAnswer::Place(placement))) => {
            let place = placement.place;
            match request.kind {
                PlaceKind::Relay => assert_eq!(place, PARENT, "{placement:?}"),
                _ => assert!((0..SHARDS).any(|shard| place == Place::local(shard)), "{placement:?}"),
            }
        }
        (QuestionBody::Share(_), AnswerBody::Share(answer)) => {
            assert_eq!(answer.portions.len(), usize::from(SHARDS), "one a track");
            assert!(answer.valid_ms <= PERIODS * SHORTEST_PERIOD_MS, "{answer:?}");
        }
        (_, AnswerBody::Authorize(AuthorizeAnswer::Grant(grant))) => {
            // What another policy of the chain allowed, and what this one would have.
            for other in [Grant::open(), grant.clone()] {
                if let Ok((met, _)) = meet(other, grant.clone()) {
                    within(&json(&met), MET_ENTRIES);
                }
            }
        }
        _ => {}
    }
}

fn json(answer: &impl serde::Serialize) -> Value {
    serde_json::to_value(answer).expect("an answer has a form in JSON")
}

fn within(value: &Value, entries: usize) {
    match value {
        Value::String(text) => assert!(text.len() <= TEXT_BYTES, "a text of {} bytes", text.len()),
        Value::Array(list) => {
            assert!(list.len() <= entries, "a list of {} entries", list.len());
            list.iter().for_each(|value| within(value, entries));
        }
        Value::Object(fields) => fields.values().for_each(|value| within(value, entries)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// As text, which is all that a question carries: four bits a letter.
fn nibbles(bytes: &[u8]) -> String {
    let letter = |nibble: u8| char::from(b'@' | nibble);
    bytes.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]).collect()
}

fn question(decision: Decision, image: String, relay: bool) -> QuestionBody {
    match decision {
        Decision::Authorize => QuestionBody::Authorize(Box::new(AuthorizeRequest {
            action: Action::Join,
            room: None,
            room_people: 0,
            room_since_unix_ms: None,
            name: String::new(),
            identity: None,
            token: Secret::new(image),
            address: None,
            kind: None,
            source: None,
            moment: Moment::default(),
            lookups: Vec::new(),
            attrs: Vec::new(),
        })),
        Decision::Allocate => QuestionBody::Place(Box::new(PlaceRequest {
            kind: if relay { PlaceKind::Relay } else { PlaceKind::Transport },
            room: Some(image),
            router_at: Vec::new(),
            expected_ingress_kbps: 0,
            expected_egress_kbps: 0,
            region_hint: None,
            parents: if relay { vec![Parent { place: PARENT, depth: 0, fan_out: 0 }] } else { Vec::new() },
            moment: Moment::default(),
            attrs: Vec::new(),
        })),
        Decision::Balance => QuestionBody::Balance(Box::new(BalanceRequest {
            cause: BalanceCause::Tick,
            place: None,
            moment: Moment::default(),
            attrs: vec![Attr { name: "image".into(), value: image }],
        })),
        Decision::Share => QuestionBody::Share(Box::new(ShareRequest {
            room: image,
            tracks: (0..SHARDS).map(|person| track(person.into())).collect(),
            period_ms: SHORTEST_PERIOD_MS,
            ..ShareRequest::default()
        })),
    }
}

fn track(person: u32) -> ShareTrack {
    ShareTrack {
        producer: ProducerId(person.into()),
        person,
        kind: MediaKind::Video,
        source: String::new(),
        ingress_kbps: 0,
        encodings: 1,
        receivers: 0,
        reduced: 0,
        wanted_layer: 0,
        paused: false,
    }
}

fn instance(which: usize) -> Decider {
    static PLUGINS: OnceLock<Vec<Plugin>> = OnceLock::new();
    let plugins = PLUGINS.get_or_init(|| {
        let plugin = |(_, bytes): (Decision, &'static [u8])| {
            PluginConfig::new(Source::Embedded { name: "echo", bytes: bytes.into() })
        };
        let [authorize, allocate, balance, share] = ECHOES.map(plugin);
        let mut config = PolicyConfig::new(authorize, allocate, balance);
        config.share = Some(share.clone());
        // Tests run on many threads, and each has instances of its own.
        config.threads = 64;
        let loader = Loader::new(&config, Arc::new(|| 0)).expect("an engine");
        let load = |(decision, _)| {
            let config = match decision {
                Decision::Authorize => &config.authorize,
                Decision::Allocate => &config.allocate,
                Decision::Balance => &config.balance,
                Decision::Share => &share,
            };
            loader.load(decision, config).unwrap_or_else(|error| panic!("{error}"))
        };
        ECHOES.into_iter().map(load).collect()
    });
    let mut decider = plugins[which].decider().expect("an instance");
    match &mut decider {
        Decider::Authorize(_) | Decider::Share(_) => {}
        Decider::Allocate(decider) => decider.reset(&cluster()).expect("an echo takes any feed"),
        Decider::Balance(decider) => decider.reset(&cluster()).expect("an echo takes any feed"),
    }
    decider
}

fn cluster() -> Cluster {
    let row = |shard| ShardRow {
        place: Place::local(shard),
        region: String::new(),
        node_name: String::new(),
        values: [0; Column::ALL.len()],
    };
    Cluster::new(1, &(0..SHARDS).map(row).collect::<Vec<_>>())
}

fn ask(decider: &mut Decider, question: &QuestionBody) -> Result<AnswerBody, Failure> {
    const AMPLE: Duration = Duration::from_secs(60);
    match (decider, question) {
        (Decider::Authorize(decider), QuestionBody::Authorize(request)) => {
            decider.allow(AMPLE);
            decider.authorize(request).map(AnswerBody::Authorize)
        }
        (Decider::Allocate(decider), QuestionBody::Place(request)) => {
            decider.allow(AMPLE);
            decider.place(request).map(AnswerBody::Place)
        }
        (Decider::Balance(decider), QuestionBody::Balance(request)) => {
            decider.allow(AMPLE);
            decider.balance(request).map(AnswerBody::Balance)
        }
        (Decider::Share(decider), QuestionBody::Share(request)) => {
            decider.allow(AMPLE);
            decider.share(request).map(AnswerBody::Share)
        }
        _ => unreachable!("each decision is asked its own question"),
    }
}
