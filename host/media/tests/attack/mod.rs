//! One engine with two calls: an attacker who publishes and watches, a bystander who watches the attacker, and two
//! people of another room whose call nothing may touch. Everything is handed over at once; time is virtual.

mod chance;
mod matter;

pub(crate) use chance::Chance;

use chance::{flip, mutate};
use matter::{Matter, Track};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_media::association::{AssociationConfig, Identity, Kind, Received, classify};
use tidegate_media::io::{Incoming, Secrets, Tuple};
use tidegate_media::peer::Peer;
use tidegate_media::rtcp::{Packet, Reader};
use tidegate_media::rtp::{ExtensionMap, Header, read_extensions};
use tidegate_media::{Engine, EngineConfig, vp8};
use tidegate_types::command::{Command, CommandBody, Done, TransportLimits};
use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
use tidegate_types::transport::{Candidate, SrtpProfile, TransportState};
use tidegate_types::{ConsumerId, Now, NtpTime, Place};
use tidegate_types::{RequestNumber, RouterId, TransportId};

/// The bystander, the undisturbed publisher and watcher, whoever is just entering; attackers come behind.
const BYSTANDER: u64 = 1;
const PUBLISHER: u64 = 2;
const WATCHER: u64 = 3;
const NEWCOMER: u64 = 4;
const FIRST_ATTACKER: u64 = 10;
/// How often everyone shows consent.
const CHECKS: Duration = Duration::from_secs(2);
/// How often the undisturbed publisher sends.
const SOUND: Duration = Duration::from_millis(20);
/// The longest packet that is sealed.
const LONGEST: usize = 1_300;

struct Nothing(u64);

impl Secrets for Nothing {
    fn fill(&mut self, bytes: &mut [u8]) {
        let mut chance = Chance(self.0);
        bytes.iter_mut().for_each(|byte| *byte = chance.byte());
        self.0 = chance.0;
    }
}

struct Person {
    transport: TransportId,
    address: SocketAddr,
    peer: Peer,
}

pub(crate) struct Attack {
    engine: Engine,
    association: AssociationConfig,
    chance: Chance,
    now: Now,
    requests: u64,
    people: Vec<Person>,
    attacker: Person,
    attackers: u64,
    matter: Matter,
    /// Addresses that passed a check.
    validated: BTreeSet<SocketAddr>,
    next_check: Instant,
    next_sound: Instant,
    sounds_sent: u64,
    sounds_heard: u64,
    counts: BTreeMap<String, u64>,
}

fn engine_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7_000))
}

impl Attack {
    pub(crate) fn new(chance: Chance) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a beginning; from here on time is virtual")]
        let instant = Instant::now();
        let now = Now { instant, wall: NtpTime::from_unix(Duration::from_secs(1_700_000_000)) };
        let identity = Arc::new(Identity::generate().expect("a certificate"));
        let association = AssociationConfig { identity, profiles: vec![SrtpProfile::AeadAes256Gcm] };
        let config = EngineConfig {
            place: Place::local(0),
            shards: 2,
            candidates: vec![Candidate { address: engine_address(), tcp: false }],
            association: association.clone(),
            max_transports: 16,
        };
        let engine = Engine::new(config, Box::new(Nothing(chance.0)));
        let attacker = person(&association, FIRST_ATTACKER, now);
        let mut attack = Self {
            engine,
            chance,
            now,
            requests: 0,
            people: Vec::new(),
            attacker,
            attackers: 0,
            matter: Matter::default(),
            validated: BTreeSet::new(),
            next_check: instant,
            next_sound: instant,
            sounds_sent: 0,
            sounds_heard: 0,
            counts: BTreeMap::new(),
            association,
        };
        attack.begin_undisturbed_call();
        attack
    }

    /// Someone enters and is connected.
    fn enter(&mut self, number: u64, router: u64) -> Person {
        let mut person = person(&self.association, number, self.now);
        let transport = person.transport;
        let limits = TransportLimits::default();
        let made = self.command(CommandBody::CreateTransport { transport, router: RouterId(router), limits });
        let Done::Transport(local) = made else { panic!("{made:?}") };
        self.command(CommandBody::ConnectTransport { transport, remote: person.peer.remote() });
        person.peer.meet(&local, engine_address(), self.now);
        for _ in 0..100 {
            self.exchange(&mut person);
            if person.peer.is_connected() {
                return person;
            }
            self.step(Duration::from_millis(20));
            person.peer.timeout(self.now);
        }
        panic!("{transport} does not connect");
    }

    fn begin_undisturbed_call(&mut self) {
        let publisher = self.enter(PUBLISHER, 2);
        let watcher = self.enter(WATCHER, 2);
        let bystander = self.enter(BYSTANDER, 1);
        self.people = vec![bystander, publisher, watcher];
        let track = &matter::tracks(PUBLISHER)[0];
        self.publish(PUBLISHER, track);
        self.consume(WATCHER, track, 900_000);
    }

    fn publish(&mut self, number: u64, track: &Track) {
        self.command(CommandBody::CreateProducer {
            producer: track.producer,
            transport: TransportId(number),
            parameters: track.parameters.clone(),
            paused: false,
        });
    }

    fn consume(&mut self, number: u64, track: &Track, ssrc: u32) {
        let parameters = ConsumerParameters {
            kind: track.parameters.kind,
            rtp: matter::as_sent(&track.parameters.rtp, ssrc),
            paused: false,
            preferred: LayerPreference::HIGHEST,
        };
        let consumer = ConsumerId(number << 32 | track.producer.0);
        let (transport, producer) = (TransportId(number), track.producer);
        self.command(CommandBody::CreateConsumer { consumer, transport, producer, parameters });
    }

    /// The attacker leaves and another comes: with keys, streams and windows anew.
    pub(crate) fn renew_attacker(&mut self) {
        if self.attackers > 0 {
            self.read_attacker();
            self.command(CommandBody::CloseTransport { transport: self.attacker.transport });
            self.validated.remove(&self.attacker.address);
        }
        self.attackers += 1;
        let number = FIRST_ATTACKER + self.attackers;
        self.attacker = self.enter(number, 1);
        let tracks = matter::tracks(number);
        for (index, track) in tracks.iter().enumerate() {
            self.publish(number, track);
            self.consume(BYSTANDER, track, (number as u32) * 1_000 + index as u32 * 10);
            // Its own tracks come back to it, so that its feedback has something to be about.
            self.consume(number, track, matter::BACK + index as u32 * 10);
        }
        self.matter.begin(number, &tracks);
    }

    /// Counters of the attacker's transport, before it goes.
    fn read_attacker(&mut self) {
        let transport = self.attacker.transport;
        let Done::Stats(dump) = self.command(CommandBody::ReadStats { transport }) else {
            panic!("no counters")
        };
        assert_eq!(dump.transport.state, TransportState::Connected, "no datagram ends a transport");
        for encoding in dump.producers.iter().flat_map(|(_, stats)| &stats.encodings) {
            self.count("engine: media packets", encoding.packets);
            self.count("engine: repaired packets", encoding.repaired);
            self.count("engine: duplicate packets", encoding.duplicates);
            self.count("engine: keyframes", encoding.keyframes);
            self.count("engine: NACKs to the publisher", encoding.nacks_sent);
            assert!(encoding.packets < 10_000_000);
        }
        for (_, stats) in &dump.consumers {
            self.count("engine: packets sent back", stats.packets);
            self.count("engine: sent again after NACK", stats.retransmitted);
            self.count("engine: NACKed sequences received", stats.nacks_received);
            self.count("engine: keyframe requests received", stats.keyframe_requests);
        }
    }

    /// A real datagram, changed on its way (from the attacker's address or a stranger's).
    pub(crate) fn mutate_in_transit(&mut self) {
        let stranger = self.chance.below(4) == 0;
        let real = self.real_datagram();
        let mut bytes = real.clone();
        if self.chance.below(2) == 0 {
            flip(&mut self.chance, &mut bytes);
        } else {
            mutate(&mut self.chance, &mut bytes, self.matter.other());
        }
        if bytes == real {
            bytes.push(self.chance.byte());
        }
        let from = if stranger { self.chance.stranger() } else { self.attacker.address };
        self.count(&format!("in transit: {}", named(&bytes)), 1);
        self.hand_over(from, &bytes);
        self.settle();
    }

    /// A newcomer whose handshake is changed on its way; whatever comes of it, it leaves.
    pub(crate) fn mutate_a_handshake(&mut self) {
        let mut newcomer = person(&self.association, NEWCOMER, self.now);
        let transport = newcomer.transport;
        let (router, limits) = (RouterId(1), TransportLimits::default());
        let made = self.command(CommandBody::CreateTransport { transport, router, limits });
        let Done::Transport(local) = made else { panic!("{made:?}") };
        self.command(CommandBody::ConnectTransport { transport, remote: newcomer.peer.remote() });
        newcomer.peer.meet(&local, engine_address(), self.now);
        self.validated.insert(newcomer.address);
        for _ in 0..12 {
            let out = std::mem::take(newcomer.peer.output());
            for head in out.heads() {
                let mut bytes = out.bytes(head).to_vec();
                if classify(&bytes) == Kind::Dtls && self.chance.below(3) == 0 {
                    mutate(&mut self.chance, &mut bytes, self.matter.other());
                    self.count("in transit: DTLS of a handshake", 1);
                }
                for mut answer in self.answers(newcomer.address, &bytes) {
                    newcomer.peer.receive(self.now, &mut answer);
                }
            }
            self.step(Duration::from_millis(100));
            newcomer.peer.timeout(self.now);
        }
        self.count("handshakes that went through all the same", newcomer.peer.is_connected().into());
        self.validated.remove(&newcomer.address);
        // It may have ended by itself.
        self.requests += 1;
        let body = CommandBody::CloseTransport { transport };
        self.engine.command(self.now, Command { request: RequestNumber(self.requests), body });
        self.engine.output().replies.clear();
        self.engine.output().datagrams.clear();
    }

    /// One datagram into the engine, and what comes back to its sender; others get theirs.
    fn answers(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut buffer = self.engine.pool().take();
        Arc::get_mut(&mut buffer).expect("a fresh buffer is unshared").fill(bytes);
        let tuple = Tuple { socket: 0, remote: from };
        self.engine.receive(self.now, &mut vec![Incoming { tuple, at: self.now.instant, buffer }]);
        let out = std::mem::take(&mut self.engine.output().datagrams);
        self.engine.output().reports.clear();
        let mut answers = Vec::new();
        for head in out.heads() {
            if head.tuple.remote == from {
                answers.push(out.bytes(head).to_vec());
            } else {
                self.receive(head.tuple.remote, out.bytes(head).to_vec());
            }
        }
        answers
    }

    /// A check, a record of a handshake, or sealed media, as it would be sent now.
    fn real_datagram(&mut self) -> Vec<u8> {
        match self.chance.below(10) {
            0..=2 => self.attacker.peer.check(self.now),
            3 => return self.matter.record(&mut self.chance),
            4..=6 => {
                let packet = self.matter.rtp(&mut self.chance);
                self.attacker.peer.send_any_rtp(self.now, &packet);
            }
            _ => {
                let compound = self.matter.rtcp(&mut self.chance, self.now);
                self.attacker.peer.send_rtcp(self.now, &compound);
            }
        }
        let out = self.attacker.peer.output();
        let bytes = out.heads().first().map(|head| out.bytes(head).to_vec());
        out.clear();
        bytes.unwrap_or_else(|| self.matter.record(&mut self.chance))
    }

    /// Plain RTP or RTCP, changed, then sealed: it opens.
    pub(crate) fn mutate_before_sealing(&mut self) {
        // Now and then one as it should be, so that something flows; it does not count as mutated.
        if self.chance.below(8) == 0 {
            let packet = self.matter.rtp(&mut self.chance);
            self.attacker.peer.send_any_rtp(self.now, &packet);
            self.send_attackers();
        }
        // What cannot be sealed (no whole header, a sequence used before) is not sent: another is tried.
        for _ in 0..100 {
            let is_rtcp = self.chance.below(5) < 2;
            let mut plain = if is_rtcp {
                self.matter.rtcp(&mut self.chance, self.now)
            } else {
                self.matter.rtp(&mut self.chance)
            };
            mutate(&mut self.chance, &mut plain, self.matter.other());
            plain.truncate(LONGEST);
            // Only what still looks like its kind finds its key.
            let kind = classify(&plain);
            let sent = match (is_rtcp, kind) {
                (true, Kind::Rtcp) => {
                    self.attacker.peer.send_rtcp(self.now, &plain);
                    !self.attacker.peer.output().is_empty()
                }
                (false, Kind::Rtp) => self.attacker.peer.send_any_rtp(self.now, &plain),
                _ => false,
            };
            if sent {
                if !is_rtcp {
                    self.matter.note_sealed(&plain);
                }
                let rejected = self.rejected();
                self.send_attackers();
                if self.rejected() == rejected {
                    self.note_opened(is_rtcp, &plain);
                } else {
                    self.count("sealed: not opened", 1);
                }
                return;
            }
        }
        panic!("nothing could be sealed");
    }

    /// Datagrams that did not open, by the engine's own account.
    fn rejected(&self) -> u64 {
        let counters = self.engine.counters();
        counters.dropped.iter().filter(|(kind, _)| kind.starts_with("srtp")).map(|(_, count)| count).sum()
    }

    /// Which parsers a packet reached after it had opened.
    fn note_opened(&mut self, is_rtcp: bool, plain: &[u8]) {
        if is_rtcp {
            self.count("opened: RTCP compounds", 1);
            for packet in Reader::new(plain) {
                self.count(&format!("opened: RTCP {}", rtcp_name(&packet)), 1);
            }
            return;
        }
        self.count("opened: RTP packets", 1);
        let Some(header) = Header::parse(plain) else { return self.count("opened: RTP headers refused", 1) };
        self.count("opened: RTP headers read", 1);
        let mut elements = 0;
        header.each_extension(plain, |_, _| elements += 1);
        self.count("opened: extension elements", elements);
        let mut map = ExtensionMap::default();
        matter::EXTENSIONS.iter().for_each(|(id, kind)| map.insert(*id, *kind));
        let (hop, end) = read_extensions(&header, plain, &map);
        self.count("opened: mid", hop.mid.is_some().into());
        self.count("opened: rid", hop.stream_id.or(hop.repaired_stream_id).is_some().into());
        self.count("opened: transport-wide sequence", hop.transport_sequence.is_some().into());
        self.count("opened: audio level", end.audio_level.is_some().into());
        self.count("opened: orientation", end.orientation.is_some().into());
        self.count("opened: capture time", end.absolute_capture.is_some().into());
        self.count("opened: playout delay", end.playout_delay.is_some().into());
        if header.payload_type == 96 {
            let read = vp8::parse(&plain[header.payload_start..header.payload_end]);
            let name = if read.is_some() {
                "opened: VP8 descriptors read"
            } else {
                "opened: VP8 descriptors refused"
            };
            self.count(name, 1);
        }
    }

    fn send_attackers(&mut self) {
        let out = std::mem::take(self.attacker.peer.output());
        let address = self.attacker.address;
        for head in out.heads() {
            self.hand_over(address, out.bytes(head));
        }
        *self.attacker.peer.output() = out;
        self.attacker.peer.output().clear();
        self.settle();
    }

    fn command(&mut self, body: CommandBody) -> Done {
        self.requests += 1;
        self.engine.command(self.now, Command { request: RequestNumber(self.requests), body });
        let reply = self.engine.output().replies.pop().expect("every command is answered");
        let done = reply.result.expect("a command that fits");
        self.deliver(None);
        done
    }

    /// One datagram into the engine. Nobody who passed no check gets more than it sent, and nobody gets anything
    /// who sent nothing.
    fn hand_over(&mut self, from: SocketAddr, bytes: &[u8]) {
        let mut buffer = self.engine.pool().take();
        Arc::get_mut(&mut buffer).expect("a fresh buffer is unshared").fill(bytes);
        let tuple = Tuple { socket: 0, remote: from };
        self.engine.receive(self.now, &mut vec![Incoming { tuple, at: self.now.instant, buffer }]);
        self.deliver(Some((from, bytes.len())));
    }

    /// Empties the engine's output into the people it is for.
    fn deliver(&mut self, cause: Option<(SocketAddr, usize)>) {
        let output = self.engine.output();
        let out = std::mem::take(&mut output.datagrams);
        let crossings = output.crossings.len() as u64;
        output.crossings.clear();
        output.reports.clear();
        self.count("handed to the other shard", crossings);
        let mut unasked = 0;
        for head in out.heads() {
            let (to, bytes) = (head.tuple.remote, out.bytes(head));
            if !self.validated.contains(&to) {
                let (from, length) = cause.expect("a stranger is sent nothing unasked");
                assert_eq!(to, from, "a stranger's datagram is answered to it alone");
                unasked += bytes.len();
                assert!(unasked <= length, "{unasked} bytes to a stranger who sent {length}");
                if bytes.starts_with(&[1, 1]) {
                    self.validated.insert(to);
                }
            }
            self.receive(to, bytes.to_vec());
        }
        let output = self.engine.output();
        output.datagrams = out;
        output.datagrams.clear();
    }

    fn receive(&mut self, to: SocketAddr, mut bytes: Vec<u8>) {
        if to == self.attacker.address {
            let received = self.attacker.peer.receive(self.now, &mut bytes);
            return self.count(&format!("attacker: {}", received_name(received)), 1);
        }
        let Some(person) = self.people.iter_mut().find(|person| person.address == to) else { return };
        let received = person.peer.receive(self.now, &mut bytes);
        match person.transport {
            TransportId(WATCHER) => {
                let opened = matches!(received, Received::Rtp(_) | Received::Rtcp(_) | Received::Handled);
                assert!(opened, "the undisturbed call gets what it can't open: {received:?}");
                self.sounds_heard += u64::from(matches!(received, Received::Rtp(_)));
            }
            TransportId(BYSTANDER) => self.count(&format!("bystander: {}", received_name(received)), 1),
            _ => {}
        }
    }

    /// What everyone has to say goes to the engine.
    fn settle(&mut self) {
        for index in 0..self.people.len() {
            let out = std::mem::take(self.people[index].peer.output());
            let address = self.people[index].address;
            for head in out.heads() {
                self.hand_over(address, out.bytes(head));
            }
        }
    }

    fn exchange(&mut self, person: &mut Person) {
        let out = std::mem::take(person.peer.output());
        self.validated.insert(person.address);
        for head in out.heads() {
            self.matter.note_record(out.bytes(head));
            for mut answer in self.answers(person.address, out.bytes(head)) {
                self.matter.note_record(&answer);
                person.peer.receive(self.now, &mut answer);
            }
        }
    }

    /// Time passes: consent is shown, the undisturbed publisher speaks, the engine does what is due.
    pub(crate) fn pass(&mut self, by: Duration) {
        self.step(by);
        if self.now.instant >= self.next_check {
            self.next_check = self.now.instant + CHECKS;
            self.attacker.peer.check(self.now);
            self.send_attackers();
            for person in &mut self.people {
                person.peer.check(self.now);
            }
            self.settle();
        }
        if self.now.instant >= self.next_sound {
            self.next_sound = self.now.instant + SOUND;
            let packet = matter::sound(PUBLISHER, self.sounds_sent as u16);
            let publisher = &mut self.people[PUBLISHER as usize - 1].peer;
            assert!(publisher.send_any_rtp(self.now, &packet));
            self.sounds_sent += 1;
            self.settle();
            assert_eq!(self.sounds_heard, self.sounds_sent, "the undisturbed call lost a packet");
        }
    }

    fn step(&mut self, by: Duration) {
        self.now = self.now.after(by);
        if self.engine.next_timeout().is_some_and(|due| due <= self.now.instant) {
            self.engine.timeout(self.now);
            assert!(self.engine.next_timeout().is_none_or(|due| due > self.now.instant), "due for ever");
            self.deliver(None);
        }
    }

    pub(crate) fn finish(&mut self) {
        self.read_attacker();
        for (kind, count) in self.engine.counters().dropped {
            self.count(&format!("dropped: {kind}"), count);
        }
        let allocated = self.engine.pool().allocated();
        self.count("buffers ever allocated", allocated);
        self.count("undisturbed packets heard", self.sounds_heard);
    }

    fn count(&mut self, what: &str, by: u64) {
        match self.counts.get_mut(what) {
            Some(count) => *count += by,
            None => drop(self.counts.insert(what.to_owned(), by)),
        }
    }

    pub(crate) fn account(&self) -> String {
        let mut text = String::new();
        for (what, count) in &self.counts {
            writeln!(text, "{count:>10} {what}").expect("a string takes all");
        }
        text
    }

    /// A share of all mutations that each parser must have seen, in a hundred thousandth.
    pub(crate) fn assert_everything_was_reached(&self, total: usize) {
        let wanted = [
            ("in transit: STUN", 5_000),
            ("in transit: DTLS", 1_000),
            ("in transit: DTLS of a handshake", 30),
            ("handshakes that went through all the same", 1),
            ("in transit: RTP", 5_000),
            ("in transit: RTCP", 5_000),
            ("dropped: stun_malformed", 2_000),
            ("dropped: stun_unauthenticated", 2_000),
            ("dropped: srtp_forged", 5_000),
            ("dropped: unknown-stream", 100),
            ("dropped: malformed-rtp", 50),
            ("opened: RTP headers read", 15_000),
            ("opened: extension elements", 15_000),
            ("opened: mid", 1_000),
            ("opened: rid", 1_000),
            ("opened: transport-wide sequence", 1_000),
            ("opened: audio level", 1_000),
            ("opened: orientation", 1_000),
            ("opened: capture time", 500),
            ("opened: playout delay", 500),
            ("opened: VP8 descriptors read", 5_000),
            ("opened: VP8 descriptors refused", 10),
            ("opened: RTCP sender report", 1_000),
            ("opened: RTCP receiver report", 1_000),
            ("opened: RTCP NACK", 1_000),
            ("opened: RTCP PLI", 1_000),
            ("opened: RTCP FIR", 500),
            ("opened: RTCP transport feedback", 500),
            ("opened: RTCP BYE", 500),
            ("opened: RTCP other", 1_000),
            ("engine: media packets", 5_000),
            ("engine: NACKed sequences received", 1_000),
            ("engine: sent again after NACK", 10),
            ("bystander: RTP", 5_000),
        ];
        for (what, share) in wanted {
            let count = self.counts.get(what).copied().unwrap_or_default();
            assert!(count as usize * 100_000 >= total * share, "only {count} {what}");
        }
    }
}

fn person(association: &AssociationConfig, number: u64, now: Now) -> Person {
    let [.., high, low] = number.to_be_bytes();
    Person {
        transport: TransportId(number),
        address: SocketAddr::from(([10, 1, high, low], 5_000)),
        peer: Peer::new(association, &number.to_string(), now),
    }
}

fn named(bytes: &[u8]) -> &'static str {
    match classify(bytes) {
        Kind::Stun => "STUN",
        Kind::Dtls => "DTLS",
        Kind::Rtp => "RTP",
        Kind::Rtcp => "RTCP",
        Kind::Other => "nothing known",
    }
}

fn received_name(received: Received) -> &'static str {
    match received {
        Received::Rtp(_) => "RTP",
        Received::Rtcp(_) => "RTCP",
        Received::Handled => "answers and records",
        Received::Dropped(_) => "dropped",
    }
}

fn rtcp_name(packet: &Packet<'_>) -> &'static str {
    match packet {
        Packet::SenderReport { .. } => "sender report",
        Packet::ReceiverReport(_) => "receiver report",
        Packet::Nack { .. } => "NACK",
        Packet::Pli { .. } => "PLI",
        Packet::Fir(_) => "FIR",
        Packet::TransportFeedback(_) => "transport feedback",
        Packet::Bye(_) => "BYE",
        Packet::Remb(_) => "remb",
        Packet::Other => "other",
    }
}
