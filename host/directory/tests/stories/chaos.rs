//! Random steps drawn from a seed, with answers and replies delivered in any order, lost or turned into failures:
//! whatever happens, every request has one reply and nothing stays behind.

use crate::harness::{World, config, consume, produce, round_robin, there};
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate_directory::Input;
use tidegate_types::command::{CommandBody, CommandError};
use tidegate_types::decision::{AuthorizeAnswer, Failure, Grant, PlaceKind};
use tidegate_types::report::Report;
use tidegate_types::request::{ClientId, JoinRequest, PersonDump, RequestBody};
use tidegate_types::transport::{TransportEnd, TransportState};
use tidegate_types::{MediaKind, Place, RequestNumber, Secret, ShardIndex};

const CLIENTS: u64 = 12;
const SHARDS: u16 = 3;
const OPERATOR: u64 = 1_000;
const STEPS: u64 = 1_000;

/// xorshift64*: small, and not the directory's own.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.throw(all.len() as u64) as usize].clone()) }
    }
}

/// Names the seed when a story fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the failing seed is {}", self.0);
        }
    }
}

struct Chaos {
    world: World,
    dice: Dice,
    /// Requests that are owed a reply.
    owed: BTreeMap<RequestNumber, u64>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut world = World::with(config(SHARDS));
        let mut transports = round_robin(SHARDS);
        let mut dice = Dice::new(seed ^ 0xff);
        world.allocate = Box::new(move |request, rows| match (request.kind, dice.throw(20)) {
            (_, 0) => Err(Failure::Trap),
            (_, 1) => there(Place::local(9)),
            (PlaceKind::Relay, _) => {
                there(dice.pick(&request.parents).map_or(Place::local(0), |parent| parent.place))
            }
            _ => transports(request, rows),
        });
        let mut dice = Dice::new(seed ^ 0xff00);
        world.authorize = Box::new(move |_| match dice.throw(20) {
            0 => Err(Failure::Deadline),
            1 => Ok(AuthorizeAnswer::Grant(Grant { consult: vec!["publish".into()], ..Grant::open() })),
            2 => Ok(AuthorizeAnswer::Grant(Grant { consult: vec!["subscribe".into()], ..Grant::open() })),
            _ => Ok(AuthorizeAnswer::Grant(Grant::open())),
        });
        Self { world, dice: Dice::new(seed), owed: BTreeMap::new() }
    }

    fn step(&mut self) {
        match self.dice.throw(100) {
            0..=69 => self.ask(),
            70..=73 => self.go(),
            74..=76 => self.lose_transport(),
            77..=82 => self.order_a_move(),
            83 => self.world.pass(Duration::from_millis(self.dice.throw(3_000))),
            84..=86 => self.sabotage_once(),
            87 => self.fall_silent_once(),
            _ => {}
        }
        for _ in 0..self.dice.throw(4) {
            self.deliver_any();
        }
    }

    fn ask(&mut self) {
        let client = self.dice.throw(CLIENTS);
        let body = self.wish(client);
        let number = self.world.request(client, body);
        self.owed.insert(number, client);
    }

    fn people(&mut self) -> Vec<PersonDump> {
        self.world.look().rooms.into_iter().flat_map(|room| room.people).collect()
    }

    fn wish(&mut self, client: u64) -> RequestBody {
        let people = self.people();
        let Some(own) = people.iter().find(|person| person.view.name == client.to_string()) else {
            return enter(client, self.dice.throw(3));
        };
        let tracks: Vec<_> =
            people.iter().flat_map(|person| &person.tracks).map(|track| track.producer).collect();
        let track = self.dice.pick(&tracks);
        let consumer = self.dice.pick(&own.consumers).map(|dump| dump.consumer);
        let paused = self.dice.throw(2) == 0;
        match (self.dice.throw(12), track, consumer) {
            (0, ..) => RequestBody::Leave { person: own.view.person },
            (1, ..) => RequestBody::RestartIce { transport: own.transport },
            (2, Some(producer), _) => RequestBody::CloseProducer { producer },
            (3, Some(producer), _) => RequestBody::PauseProducer { producer, paused },
            (4, _, Some(consumer)) => RequestBody::CloseConsumer { consumer },
            (5, _, Some(consumer)) => RequestBody::PauseConsumer { consumer, paused },
            (6..=9, Some(producer), _) => consume(own.transport, producer),
            _ => produce(own.transport, MediaKind::Audio),
        }
    }

    /// Inputs of different senders have no order.
    fn deliver_any(&mut self) {
        if !self.world.inbox.is_empty() {
            let any = self.dice.throw(self.world.inbox.len() as u64) as usize;
            if let Some(input) = self.world.inbox.remove(any) {
                self.world.send(input);
            }
        }
    }

    fn go(&mut self) {
        let client = self.dice.throw(CLIENTS);
        self.world.send(Input::ClientGone(ClientId(client)));
        self.owed.retain(|_, owner| *owner != client);
    }

    fn lose_transport(&mut self) {
        let people = self.people();
        let Some(person) = self.dice.pick(&people) else { return };
        // It may have moved without anybody knowing yet.
        let stands =
            self.world.places.iter().find(|(_, books)| books.transports.contains_key(&person.transport));
        let Some((&place, _)) = stands else { return };
        self.world.places.get_mut(&place).expect("exists").end_transport(person.transport);
        let end = Some(TransportEnd::ConsentLost);
        let report = Report::Transport { transport: person.transport, state: TransportState::Closed, end };
        self.world.send(Input::Report(place, report));
    }

    fn order_a_move(&mut self) {
        let people = self.people();
        let Some(person) = self.dice.pick(&people) else { return };
        let to = ShardIndex(self.dice.throw(u64::from(SHARDS)) as u16);
        let number = self.world.request(OPERATOR, RequestBody::Move { transport: person.transport, to });
        self.owed.insert(number, OPERATOR);
    }

    fn sabotage_once(&mut self) {
        let mut armed = true;
        self.world.sabotage = Box::new(move |_, body| {
            let fails = matches!(
                body,
                CommandBody::CreateTransport { .. }
                    | CommandBody::CreateProducer { .. }
                    | CommandBody::CreateConsumer { .. }
                    | CommandBody::AcceptRelay { .. }
                    | CommandBody::OpenRelay { .. }
                    | CommandBody::MoveTransport { .. }
            );
            (fails && std::mem::take(&mut armed)).then(|| CommandError::Full("all".into()))
        });
    }

    fn fall_silent_once(&mut self) {
        self.world.mute = true;
        self.ask();
        self.deliver_any();
        self.world.mute = false;
    }
}

fn enter(client: u64, room: u64) -> RequestBody {
    RequestBody::Join(JoinRequest {
        room: format!("r{room}"),
        name: client.to_string(),
        token: Secret::default(),
        address: None,
        expected_ingress_kbps: 100,
        attrs: Vec::new(),
        told_by_ceiling: false,
    })
}

fn live_through(seed: u64) -> Chaos {
    let _named = Seed(seed);
    let mut chaos = Chaos::new(seed);
    for _ in 0..STEPS {
        chaos.step();
    }
    // Everything that is under way ends by itself, if only by patience.
    chaos.world.settle();
    chaos.world.pass(Duration::from_secs(40));
    for number in std::mem::take(&mut chaos.owed).into_keys() {
        let _ = chaos.world.reply(number);
    }
    for client in 0..CLIENTS {
        chaos.world.send(Input::ClientGone(ClientId(client)));
    }
    chaos.world.assert_empty();
    chaos
}

#[test]
fn nothing_stays_behind_after_a_thousand_random_steps() {
    for seed in 1..=40 {
        let chaos = live_through(seed);
        let lived = chaos.world.metrics();
        let often = [lived.joins_total, lived.relays_total, lived.moves_total];
        assert!(often.iter().all(|count| *count > 10), "seed {seed} lived too little: {lived:?}");
    }
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let (first, second) = (live_through(7), live_through(7));
    assert_eq!(first.world.commands, second.world.commands);
    assert_eq!(first.world.notices, second.world.notices);
    assert_eq!(first.world.policy_log, second.world.policy_log);
}
