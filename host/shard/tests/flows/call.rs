//! A publisher of three encodings and a subscriber are both moved ten times in ten seconds, under the load of others on
//! the same ports and beside two pairs that stay where they are: what the machine does to everyone is not the move's.

use crate::host::{Host, PATIENCE, association, home, now, other};
use crate::people::{self, Link, connect, voice};
use crate::person::{Person, Plan};
use std::time::{Duration, Instant};
use tidegate_media::association::AssociationConfig;
use tidegate_shard::ShardsConfig;
use tidegate_types::command::CommandBody;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::{MediaKind, Place, ProducerId, RelayId, TransportId};

const SUBSCRIBER: usize = 0;
const PUBLISHER: usize = 3;
/// Each with its publisher at the same shard, one pair a shard.
const WITNESSES: [(usize, usize); 2] = [(1, 5), (2, 4)];
const GUESTS: usize = 6;
/// Who only speak, as load: they are counted, too.
const VOICES: std::ops::Range<u64> = 100..140;
/// How often each of them speaks.
const WORD: Duration = Duration::from_millis(5);
const MOVES: u64 = 10;
/// What one read of a socket brings at most.
const BATCH: u64 = 32;
/// The longest that a move may hold up any track.
const GAP: Duration = Duration::from_millis(50);
/// Where the machine held everyone up: how much longer than a witness's the gap may be.
const BESIDE: Duration = Duration::from_millis(20);

/// Someone of the simulation, on a socket.
struct Guest {
    person: Person,
    link: Link,
    place: Place,
}

impl Guest {
    fn new(host: &mut Host, identity: &AssociationConfig, number: usize) -> Self {
        let plan = Plan {
            frame_interval: Duration::from_micros(33_333),
            packets: vec![1, 2, 5],
            payload: 1_000,
            audio_interval: Duration::from_millis(20),
            layers: false,
            until: Duration::from_secs(600),
            listeners: 3,
            late: false,
            first_kbps: None,
            ceiling_kbps: None,
            told_by_ceiling: false,
            names: &[7],
        };
        let mut person = Person::new(number, identity, &plan, now());
        let local = host.admit(number as u64, person.peer.remote());
        let address = local.candidates[0].address;
        person.peer.meet(&local, address, now());
        let mut guest = Self { person, link: Link::udp(address), place: home(number as u64) };
        guest.turn();
        guest
    }

    fn turn(&mut self) {
        let now = now();
        if self.person.next_moment() <= now.instant {
            self.person.run(now);
        }
        while let Some(mut bytes) = self.link.receive() {
            self.person.receive(crate::host::now(), &mut bytes);
        }
        let out = self.person.peer.output();
        out.heads().iter().for_each(|head| self.link.send(out.bytes(head)));
        out.clear();
    }

    /// Frames of its one video track that it could show.
    fn shown(&self) -> usize {
        self.person.decodable().values().map(std::collections::BTreeSet::len).sum()
    }
}

/// Everyone, and the host they come to.
struct Call {
    host: Host,
    guests: Vec<Guest>,
    voices: Vec<people::Person>,
    next_word: Instant,
    stand_ins: u64,
}

impl Call {
    fn new() -> Self {
        let identity = association();
        let mut host = Host::start(&identity, ShardsConfig::loopback());
        let voices = connect(&mut host, &identity, VOICES, Link::udp);
        for person in VOICES {
            let parameters = ProducerParameters { kind: MediaKind::Audio, rtp: voice() };
            host.produce(person, ProducerId(10_000 + person), parameters);
        }
        let guests = (0..GUESTS).map(|number| Guest::new(&mut host, &identity, number)).collect();
        let mut call = Self { host, guests, voices, next_word: Instant::now(), stand_ins: 0 };
        call.run_until("everyone's handshake", |call| {
            call.guests.iter().all(|guest| guest.person.peer.is_connected())
        });
        for publisher in 3..GUESTS {
            for (producer, parameters) in call.guests[publisher].person.producers() {
                call.host.produce(publisher as u64, producer, parameters.clone());
                if publisher == PUBLISHER {
                    call.host.relay(publisher as u64, producer, parameters);
                }
            }
        }
        for (subscriber, publisher) in WITNESSES.into_iter().chain([(SUBSCRIBER, PUBLISHER)]) {
            call.subscribe(subscriber, publisher);
        }
        call
    }

    fn subscribe(&mut self, subscriber: usize, publisher: usize) {
        for (producer, parameters) in self.guests[publisher].person.producers() {
            let (consumer, parameters) = self.guests[subscriber].person.consume(producer, &parameters);
            let transport = TransportId(subscriber as u64);
            let consume = CommandBody::CreateConsumer { consumer, transport, producer, parameters };
            self.host.command(home(subscriber as u64), consume);
        }
    }

    fn turn(&mut self) {
        self.guests.iter_mut().for_each(Guest::turn);
        if self.next_word <= Instant::now() {
            self.next_word += WORD;
            self.voices.iter_mut().for_each(people::Person::speak);
            self.voices.iter_mut().for_each(people::Person::turn);
        }
        // Nothing depends on its length: it leaves the machine to the shards.
        std::thread::park_timeout(Duration::from_micros(200));
    }

    fn run_until(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < end, "{what} did not happen");
            self.turn();
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn();
        }
    }

    /// Both go to the other shard at once; a second passes.
    fn move_both(&mut self) {
        let moves = [PUBLISHER, SUBSCRIBER].map(|number| {
            let place = self.guests[number].place;
            let producers = self.guests[number].person.producers();
            let stand_ins = producers.into_iter().map(|(producer, _)| {
                self.stand_ins += 1;
                (producer, RelayId(1_000 + self.stand_ins))
            });
            let stand_ins = stand_ins.collect();
            self.guests[number].place = other(place);
            self.host.give_away(number as u64, place, stand_ins)
        });
        self.run_for(Duration::from_secs(1));
        for request in moves {
            assert!(self.host.answer(request).is_some(), "a second is enough for a move");
        }
    }

    /// The longest that any track of somebody was without a packet, since this was last asked.
    fn gap(&mut self, number: usize) -> Duration {
        self.guests[number].person.take_longest_gap()
    }

    fn encoding(&mut self) -> Option<u8> {
        let place = self.guests[SUBSCRIBER].place;
        let stats = self.host.stats(SUBSCRIBER as u64, place);
        stats.consumers.iter().map(|(_, stats)| stats.encoding).max().flatten()
    }

    /// How often a keyframe was asked for or made.
    fn keyframes(&self) -> u64 {
        self.guests.iter().map(|guest| guest.person.keyframes_sent() + guest.person.keyframes_asked()).sum()
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_publisher_of_three_encodings_and_a_subscriber_both_move_ten_times_in_ten_seconds() {
    let mut call = Call::new();
    call.run_until("sixty pictures", |call| [0, 1, 2].iter().all(|one| call.guests[*one].shown() >= 60));
    call.run_until("the best picture", |call| call.encoding() == Some(2));
    call.run_for(Duration::from_secs(1));
    let (keyframes, states) = (call.keyframes(), call.host.states.len());
    (0..GUESTS).for_each(|number| _ = call.gap(number));

    let mut gaps = Vec::new();
    for _ in 0..MOVES {
        call.move_both();
        let witnessed = WITNESSES.map(|(witness, _)| call.gap(witness)).into_iter().max().unwrap();
        gaps.push((call.gap(SUBSCRIBER), witnessed));
    }
    println!("longest gaps around each move, of the moved and of witnesses: {gaps:?}");
    for (gap, witnessed) in &gaps {
        assert!(*gap <= GAP.max(*witnessed + BESIDE), "a gap of {gap:?}, witnesses' {witnessed:?}: {gaps:?}");
    }
    assert_eq!(call.keyframes(), keyframes, "a move caused a keyframe");
    assert_eq!(call.host.states.len(), states, "{:?}", &call.host.states[states..]);
    call.assert_nothing_was_lost();
    assert_eq!(call.host.shards.stop(Duration::from_secs(1)), []);
}

impl Call {
    fn assert_nothing_was_lost(&mut self) {
        // What is on its way arrives.
        self.run_for(Duration::from_millis(200));
        for (producer, _) in self.guests[PUBLISHER].person.producers() {
            let sequences = self.guests[SUBSCRIBER].person.sequences(producer);
            let span = sequences.last().unwrap() - sequences[0] + 1;
            assert_eq!(sequences.len() as u64, span, "{producer} has gaps");
        }
        let published = self.host.stats(PUBLISHER as u64, self.guests[PUBLISHER].place);
        let encodings = published.producers.iter().flat_map(|(_, stats)| &stats.encodings);
        let (mut lost, mut repaired) = (0, 0);
        encodings.for_each(|stats| (lost, repaired) = (lost + stats.lost, repaired + stats.repaired));
        let sent = self.host.stats(SUBSCRIBER as u64, self.guests[SUBSCRIBER].place);
        let again: u64 = sent.consumers.iter().map(|(_, stats)| stats.retransmitted).sum();
        let handed_over = self.host.total(|of| of.handed_over);
        println!("{lost} lost, {repaired} and {again} sent again, {handed_over} handed over");
        assert!(lost == 0 && repaired <= BATCH && again <= BATCH, "{lost} {repaired} {again}");
        // The detour ends with each move.
        assert!(handed_over <= 2 * MOVES * BATCH, "{handed_over} datagrams took a detour");
        for (person, number) in self.voices.iter().zip(VOICES) {
            let stats = self.host.stats(number, home(number));
            assert_eq!(stats.producers[0].1.encodings[0].packets, person.spoken, "voice {number}");
        }
    }
}
