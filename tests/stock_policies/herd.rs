//! A thousand people at once, through the real directory and the stock policies on their own threads. Knows nothing of
//! media: a shard only counts its transports.

use crate::stock;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidegate_directory::{Directory, DirectoryConfig, Input, Output, ShardSeed};
use tidegate_policy::{PluginConfig, Policies, PolicyConfig};
use tidegate_types::command::{CommandBody, CommandReply, Done};
use tidegate_types::decision::Answer;
use tidegate_types::request::{ClientId, JoinRequest, Request, RequestBody};
use tidegate_types::transport::{Fingerprint, IceCredentials, LocalTransport};
use tidegate_types::{Now, NtpTime, Place, RequestNumber, Secret};

const PEOPLE: u64 = 1_000;
const SHARDS: u16 = 11;
/// Transports beyond which a shard is full: all of them together have room for 1,100.
const WATERMARK: usize = 100;

struct Host {
    now: Now,
    directory: Directory,
    policies: Policies,
    answers: Receiver<Answer>,
    transports: BTreeMap<Place, usize>,
    joined: u64,
}

impl Host {
    fn new() -> Self {
        let pack =
            PluginConfig { configuration: json!({ "transports": WATERMARK }), ..stock("allocate-pack") };
        let mut config = PolicyConfig::new(stock("auth-open"), pack, stock("balance-steady"));
        // What a busy machine takes is not what is asked here.
        let patience = Duration::from_secs(20);
        (config.deadlines.authorize, config.deadlines.allocate) = (patience, patience);
        let (sender, answers) = channel();
        let sender = Mutex::new(sender);
        let sink = Arc::new(move |answer| drop(sender.lock().unwrap().send(answer)));
        let now =
            Now { instant: Instant::now(), wall: NtpTime::from_unix(Duration::from_secs(1_800_000_000)) };
        let seed =
            |shard| ShardSeed { place: Place::local(shard), node_name: "here".into(), region: String::new() };
        let mut host = Self {
            now,
            directory: Directory::new(DirectoryConfig::new((0..SHARDS).map(seed).collect(), 7), now),
            policies: Policies::start(config, Arc::new(|| 0), sink).unwrap(),
            answers,
            transports: BTreeMap::new(),
            joined: 0,
        };
        host.drain();
        host
    }

    fn ask_to_join(&mut self, person: u64) {
        let join = JoinRequest {
            room: format!("room-{}", person % 50),
            name: person.to_string(),
            token: Secret::new(""),
            address: None,
            expected_ingress_kbps: 100,
            attrs: Vec::new(),
            told_by_ceiling: false,
        };
        let (number, client) = (RequestNumber(person), ClientId(person));
        self.handle(Input::Request(Request { number, client, body: RequestBody::Join(join) }));
    }

    fn handle(&mut self, input: Input) {
        self.directory.handle(self.now, input);
        self.drain();
    }

    /// Carries what the directory says; a shard answers at once.
    fn drain(&mut self) {
        while let Some(output) = self.directory.poll() {
            match output {
                Output::Policy(said) => self.policies.send(said),
                Output::Reply(reply) => {
                    assert!(reply.result.is_ok(), "{reply:?}");
                    self.joined += 1;
                }
                Output::Notice(_) => {}
                Output::Command(place, command) => {
                    let result = match command.body {
                        CommandBody::CreateTransport { transport, .. } => {
                            *self.transports.entry(place).or_default() += 1;
                            Ok(Done::Transport(local(transport.0)))
                        }
                        _ => Ok(Done::Done),
                    };
                    let reply = CommandReply { request: command.request, result };
                    self.directory.handle(self.now, Input::CommandReply(place, reply));
                }
            }
        }
    }
}

fn local(number: u64) -> LocalTransport {
    LocalTransport {
        ice: IceCredentials { ufrag: number.to_string(), password: Secret::new("password") },
        candidates: Vec::new(),
        fingerprint: Fingerprint([7; 32]),
    }
}

#[test]
fn a_thousand_joins_at_once_pass_no_watermark_by_more_than_one() {
    let mut host = Host::new();
    (0..PEOPLE).for_each(|person| host.ask_to_join(person));
    while host.joined < PEOPLE {
        let answer = host.answers.recv_timeout(Duration::from_secs(30)).expect("every question is answered");
        host.handle(Input::Answer(answer));
    }
    let metrics = host.directory.metrics();
    assert_eq!(metrics.builtin_placements_total, 0, "the policy placed them");
    assert_eq!(host.transports.values().sum::<usize>() as u64, PEOPLE);
    for (place, transports) in &host.transports {
        assert!(*transports <= WATERMARK + 1, "{place} holds {transports}");
    }
    assert!(host.transports.values().filter(|count| **count >= WATERMARK).count() >= 9, "it concentrates");
}
