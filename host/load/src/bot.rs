//! One bot's media, sans-IO: datagrams and time in, datagrams and counts out. A real peer (ICE, DTLS, SRTP) with what
//! a browser does beside it: reports, transport-wide feedback, requests for what is missing. Knows nothing of sockets
//! and sessions.

use crate::sdp::{AUDIO_PAYLOAD_TYPE, REPAIR_PAYLOAD_TYPE, SEQUENCE_ID};
use crate::sink::{Arrived, Sink};
use crate::source::{Source, SourcePlan, Wire};
use crate::stamp::Stamps;
use crate::tally::Tally;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tidegate_media::arrivals::Arrivals;
use tidegate_media::association::{AssociationConfig, Received};
use tidegate_media::io::Datagrams;
use tidegate_media::peer::Peer;
use tidegate_media::rtcp::{Packet, Reader, Writer, fir_sources, nacked};
use tidegate_media::rtp::Header;
use tidegate_types::transport::{IceCredentials, LocalTransport};
use tidegate_types::{MediaKind, Now};

/// Between two checks until one led to a connection, and afterwards (as browsers do).
const CHECK_AT_FIRST: Duration = Duration::from_millis(250);
const CHECK: Duration = Duration::from_millis(2_500);
/// Between two reports.
const REPORT: Duration = Duration::from_secs(1);
/// Bits of one feedback, and the part of what arrives that it may cost: the rarer the less arrives, within these bounds,
/// as browsers do.
const FEEDBACK_BITS: u64 = 68 * 8;
const FEEDBACK_PART: u64 = 20;
const FEEDBACK_LEAST: Duration = Duration::from_millis(50);
const FEEDBACK_MOST: Duration = Duration::from_millis(250);
/// Streams that one bot accounts for at most; packets of more are rejected.
const SINKS: usize = 2_048;
/// Blocks of one receiver report (RFC 3550, section 6.4.2).
const BLOCKS: usize = 31;
/// The SSRC that feedback comes from.
const FEEDBACK_SSRC: u32 = 1;

/// What a bot needs to meet the host.
#[derive(Clone, Debug)]
pub(crate) struct Meeting {
    pub(crate) credentials: IceCredentials,
    pub(crate) local: LocalTransport,
    /// The host's address for media.
    pub(crate) engine: SocketAddr,
    pub(crate) sources: Vec<SourcePlan>,
    /// When the session was opened: setup counts from here.
    pub(crate) began: Instant,
}

/// One bot.
#[derive(Debug)]
pub(crate) struct Bot {
    peer: Peer,
    stamps: Stamps,
    began: Instant,
    connected: bool,
    sources: Vec<Source>,
    sinks: BTreeMap<u32, Sink>,
    /// SSRC of repetitions to the one of the media.
    repairs: BTreeMap<u32, u32>,
    arrivals: Arrivals,
    /// No feedback before this.
    feedback_at: Instant,
    /// Of media, since the last report.
    received_bytes: u64,
    feedback_interval: Duration,
    sequence: u16,
    check_at: Instant,
    report_at: Instant,
    /// Reused.
    wanted: Vec<u16>,
}

impl Bot {
    /// One that has sent its first check.
    pub(crate) fn new(config: &AssociationConfig, meeting: Meeting, stamps: Stamps, now: Now) -> Self {
        let mut peer = Peer::with_credentials(config, meeting.credentials, now);
        peer.meet(&meeting.local, meeting.engine, now);
        Self {
            peer,
            stamps,
            began: meeting.began,
            connected: false,
            sources: meeting.sources.into_iter().map(|plan| Source::new(plan, now.instant)).collect(),
            sinks: BTreeMap::new(),
            repairs: BTreeMap::new(),
            arrivals: Arrivals::new(now.instant),
            feedback_at: now.instant,
            received_bytes: 0,
            feedback_interval: FEEDBACK_LEAST,
            sequence: 0,
            check_at: now.instant + CHECK_AT_FIRST,
            report_at: now.instant + REPORT,
            wanted: Vec::new(),
        }
    }

    /// The streams that the newest answer names, each with the SSRC of its repetitions.
    pub(crate) fn expect(&mut self, streams: &BTreeMap<u32, Option<u32>>) {
        self.sinks.retain(|ssrc, _| streams.contains_key(ssrc));
        self.repairs = streams.iter().filter_map(|(media, repair)| Some(((*repair)?, *media))).collect();
    }

    /// Which encodings of a track somebody watches, lowest first; the others are not sent.
    pub(crate) fn watch(&mut self, mid: &str, watched: &[bool], now: Instant) {
        let encodings = self.sources.iter_mut().filter(|source| source.mid() == mid);
        encodings.zip(watched).for_each(|(source, watched)| source.watch(*watched, now));
    }

    /// What it wants sent; drained by its owner after every other call.
    pub(crate) fn output(&mut self) -> &mut Datagrams {
        self.peer.output()
    }

    /// One datagram of the host, opened in place; it `came` when the system had it.
    pub(crate) fn receive(&mut self, now: Now, came: Instant, bytes: &mut [u8], tally: &mut Tally) {
        tally.received_bytes += bytes.len() as u64;
        match self.peer.receive(now, bytes) {
            Received::Rtp(length) => self.take_media(now, came, &bytes[..length], tally),
            Received::Rtcp(length) => self.take_feedback(now, &bytes[..length], tally),
            Received::Handled => self.note_connected(now, tally),
            Received::Dropped(_) => tally.rejected += 1,
        }
    }

    fn note_connected(&mut self, now: Now, tally: &mut Tally) {
        if self.connected || !self.peer.is_connected() {
            return;
        }
        self.connected = true;
        tally.connected += 1;
        tally.setup.record(now.instant.saturating_duration_since(self.began));
        self.sources.iter_mut().for_each(|source| source.begin(now.instant));
    }

    fn take_media(&mut self, now: Now, came: Instant, packet: &[u8], tally: &mut Tally) {
        tally.received_packets += 1;
        self.received_bytes += packet.len() as u64;
        let Some(header) = Header::parse(packet) else {
            tally.rejected += 1;
            return;
        };
        header.each_extension(packet, |id, value| {
            if let (SEQUENCE_ID, Some(sequence)) = (id, value.first_chunk::<2>()) {
                self.arrivals.note(u16::from_be_bytes(*sequence), came);
            }
        });
        if header.payload_type == REPAIR_PAYLOAD_TYPE {
            let media = self.repairs.get(&header.ssrc).and_then(|media| self.sinks.get_mut(media));
            // Padding under a stream that has sent nothing yet repeats nothing.
            if let Some(sink) = media {
                sink.take_repair(now.instant, &Arrived::of(&header, packet, came), tally);
            }
            return;
        }
        if self.sinks.len() >= SINKS && !self.sinks.contains_key(&header.ssrc) {
            tally.rejected += 1;
            return;
        }
        let audio = header.payload_type == AUDIO_PAYLOAD_TYPE;
        let kind = if audio { MediaKind::Audio } else { MediaKind::Video };
        let sink = self.sinks.entry(header.ssrc).or_insert_with(|| Sink::new(kind, header.ssrc));
        sink.take(now.instant, &Arrived::of(&header, packet, came), self.stamps, tally);
    }

    fn take_feedback(&mut self, now: Now, compound: &[u8], tally: &mut Tally) {
        for packet in Reader::new(compound) {
            match packet {
                Packet::SenderReport { ssrc, ntp, .. } => {
                    if let Some(sink) = self.sinks.get_mut(&ssrc) {
                        sink.note_report(ntp, now.instant);
                    }
                }
                Packet::Nack { media, pairs } => self.resend(now, media, pairs, tally),
                Packet::Pli { media } => self.want_keyframe(media, tally),
                Packet::Fir(entries) => {
                    fir_sources(entries).for_each(|media| self.want_keyframe(media, tally));
                }
                _ => {}
            }
        }
    }

    fn resend(&mut self, now: Now, media: u32, pairs: &[u8], tally: &mut Tally) {
        let Some(source) = self.sources.iter_mut().find(|source| source.ssrc() == media) else { return };
        let mut wire =
            Wire { peer: &mut self.peer, sequence: &mut self.sequence, stamps: self.stamps, tally };
        for sequence in nacked(pairs) {
            source.resend(now, sequence, &mut wire);
        }
    }

    fn want_keyframe(&mut self, media: u32, tally: &mut Tally) {
        tally.keyframes_wanted += 1;
        if let Some(source) = self.sources.iter_mut().find(|source| source.ssrc() == media) {
            source.want_keyframe();
        }
    }

    /// Does what is due.
    pub(crate) fn timeout(&mut self, now: Now, tally: &mut Tally) {
        self.peer.timeout(now);
        while self.peer.association.poll_event().is_some() {}
        if self.check_at <= now.instant {
            self.peer.check(now);
            self.check_at = now.instant + if self.connected { CHECK } else { CHECK_AT_FIRST };
        }
        if !self.connected {
            return;
        }
        self.send_media(now, tally);
        self.tell_arrivals(now);
        self.ask(now, tally);
        if self.report_at <= now.instant {
            self.report_at = now.instant + REPORT;
            self.report(now);
            let bits_per_s = std::mem::take(&mut self.received_bytes) * 8 / REPORT.as_secs();
            let interval = Duration::from_millis(FEEDBACK_BITS * FEEDBACK_PART * 1_000 / bits_per_s.max(1));
            self.feedback_interval = interval.clamp(FEEDBACK_LEAST, FEEDBACK_MOST);
        }
    }

    /// When [`Bot::timeout`] wants to be called.
    pub(crate) fn next_timeout(&self) -> Instant {
        let mut next = self.peer.next_timeout().map_or(self.check_at, |at| at.min(self.check_at));
        if self.connected {
            let sources = self.sources.iter().filter_map(Source::due);
            let sinks = self.sinks.values().filter_map(Sink::due);
            next =
                sources.chain(sinks).chain(self.feedback_due()).fold(next.min(self.report_at), Instant::min);
        }
        next
    }

    fn send_media(&mut self, now: Now, tally: &mut Tally) {
        let mut wire =
            Wire { peer: &mut self.peer, sequence: &mut self.sequence, stamps: self.stamps, tally };
        for source in &mut self.sources {
            while source.due().is_some_and(|due| due <= now.instant) {
                source.send(now, &mut wire);
            }
        }
    }

    fn feedback_due(&self) -> Option<Instant> {
        self.arrivals.due().map(|due| due.max(self.feedback_at))
    }

    fn tell_arrivals(&mut self, now: Now) {
        let mut information = [0; 1_000];
        if self.feedback_due().is_none_or(|due| due > now.instant) {
            return;
        }
        self.feedback_at = now.instant + self.feedback_interval;
        while self.arrivals.due().is_some_and(|due| due <= now.instant) {
            let Some(length) = self.arrivals.feedback(now.instant, &mut information) else { return };
            let media = self.sinks.keys().next().copied().unwrap_or(0);
            self.send_rtcp(now, |writer| {
                writer.transport_feedback(FEEDBACK_SSRC, media, &information[..length]);
            });
        }
    }

    fn ask(&mut self, now: Now, tally: &mut Tally) {
        let mut wanted = std::mem::take(&mut self.wanted);
        let due: Vec<u32> = self
            .sinks
            .iter()
            .filter(|(_, sink)| sink.due().is_some_and(|due| due <= now.instant))
            .map(|(ssrc, _)| *ssrc)
            .collect();
        for ssrc in due {
            let keyframe = self.sinks.get_mut(&ssrc).is_some_and(|sink| sink.ask(now.instant, &mut wanted));
            tally.keyframes_asked += u64::from(keyframe);
            if keyframe || !wanted.is_empty() {
                self.send_rtcp(now, |writer| {
                    writer.receiver_report(FEEDBACK_SSRC, &[]);
                    writer.nack(FEEDBACK_SSRC, ssrc, &wanted);
                    if keyframe {
                        writer.pli(FEEDBACK_SSRC, ssrc);
                    }
                });
            }
        }
        self.wanted = wanted;
    }

    fn report(&mut self, now: Now) {
        let sources = std::mem::take(&mut self.sources);
        if !sources.is_empty() {
            self.send_rtcp(now, |writer| sources.iter().for_each(|source| source.report(now, writer)));
        }
        self.sources = sources;
        let blocks: Vec<_> = self.sinks.values_mut().filter_map(|sink| sink.report(now.instant)).collect();
        for blocks in blocks.chunks(BLOCKS) {
            self.send_rtcp(now, |writer| writer.receiver_report(FEEDBACK_SSRC, blocks));
        }
    }

    fn send_rtcp(&mut self, now: Now, write: impl FnOnce(&mut Writer<'_>)) {
        let mut space = [0; 1_300];
        let mut writer = Writer::new(&mut space);
        write(&mut writer);
        let length = writer.len();
        if length > 0 {
            self.peer.send_rtcp(now, &space[..length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AssociationConfig, Bot, IceCredentials, Instant, Meeting, Now, SourcePlan, Stamps, Tally};
    use crate::source::Content;
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;
    use tidegate_media::association::Identity;
    use tidegate_media::io::{Incoming, Tuple};
    use tidegate_media::peer::video::{Numbers, parameters};
    use tidegate_media::{Engine, EngineConfig};
    use tidegate_types::command::{Command, CommandBody, Done, TransportLimits};
    use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
    use tidegate_types::producer::ProducerParameters;
    use tidegate_types::transport::{Candidate, DtlsRole, RemoteTransport, SrtpProfile};
    use tidegate_types::{
        ConsumerId, MediaKind, NtpTime, Place, ProducerId, RequestNumber, RouterId, Secret, TransportId,
    };

    const ENGINE: ([u8; 4], u16) = ([10, 0, 0, 1], 7_000);
    const PUBLISHED: u32 = 0x1000;
    const CONSUMED: u32 = 0x5000;

    /// One publisher, one viewer, an engine between them, and a line that loses every n-th datagram to the viewer.
    struct Room {
        engine: Engine,
        bots: Vec<Bot>,
        tallies: [Tally; 2],
        now: Now,
        requests: u64,
        to_viewer: u64,
        loses_each: u64,
    }

    fn address(bot: usize) -> SocketAddr {
        SocketAddr::from(([10, 1, 0, bot as u8], 5_000))
    }

    fn association() -> AssociationConfig {
        let identity = Arc::new(Identity::generate().expect("a certificate"));
        AssociationConfig { identity, profiles: vec![SrtpProfile::AeadAes256Gcm] }
    }

    impl Room {
        fn new(loses_each: u64) -> Self {
            let instant = Instant::now();
            let now = Now { instant, wall: NtpTime::from_unix(Duration::from_secs(1_700_000_000)) };
            let config = EngineConfig {
                place: Place::local(0),
                shards: 1,
                candidates: vec![Candidate { address: ENGINE.into(), tcp: false }],
                association: association(),
                max_transports: 2,
            };
            let engine = Engine::new(config, Box::new(Numbers(7)));
            let tallies = Default::default();
            let mut room =
                Self { engine, bots: Vec::new(), tallies, now, requests: 0, to_viewer: 0, loses_each };
            let theirs = association();
            (0..2).for_each(|bot| room.enter(&theirs, bot));
            room.publish_and_consume();
            room
        }

        fn command(&mut self, body: CommandBody) -> Done {
            self.requests += 1;
            self.engine.command(self.now, Command { request: RequestNumber(self.requests), body });
            let reply = self.engine.output().replies.pop().expect("every command is answered");
            reply.result.expect("every command is possible")
        }

        fn enter(&mut self, config: &AssociationConfig, bot: u64) {
            let (transport, router, limits) = (TransportId(bot), RouterId(1), TransportLimits::default());
            let Done::Transport(local) =
                self.command(CommandBody::CreateTransport { transport, router, limits })
            else {
                panic!("no transport");
            };
            let password = Secret::new("abcdefghijklmnopqrstuvwx");
            let credentials = IceCredentials { ufrag: format!("bot{bot}"), password };
            let (fingerprint, role) = (config.identity.fingerprint(), DtlsRole::Passive);
            let remote = RemoteTransport { ice: credentials.clone(), fingerprint, role };
            self.command(CommandBody::ConnectTransport { transport, remote });
            let content = Content::video(480, 25, 1_200, (640, 360));
            let (mid, repair_ssrc) = ("0".into(), Some(PUBLISHED + 1));
            let source = SourcePlan { mid, ssrc: PUBLISHED, repair_ssrc, rid: None, content };
            let sources = if bot == 0 { vec![source] } else { Vec::new() };
            let (engine, began) = (ENGINE.into(), self.now.instant);
            let meeting = Meeting { credentials, local, engine, sources, began };
            let mut bot = Bot::new(config, meeting, Stamps::new(1, self.now.instant), self.now);
            bot.expect(&BTreeMap::from([(CONSUMED, Some(CONSUMED + 1))]));
            self.bots.push(bot);
        }

        fn publish_and_consume(&mut self) {
            let producer = ProducerId(1);
            let published = ProducerParameters { kind: MediaKind::Video, rtp: parameters("0", PUBLISHED) };
            let (transport, paused) = (TransportId(0), false);
            self.command(CommandBody::CreateProducer { producer, transport, parameters: published, paused });
            let parameters = ConsumerParameters {
                kind: MediaKind::Video,
                rtp: parameters("v0", CONSUMED),
                paused: false,
                preferred: LayerPreference::HIGHEST,
            };
            let (consumer, transport) = (ConsumerId(1), TransportId(1));
            self.command(CommandBody::CreateConsumer { consumer, transport, producer, parameters });
        }

        /// A millisecond, which every datagram spends on its way.
        fn pass(&mut self) {
            let mut arrivals = Vec::new();
            for (number, bot) in self.bots.iter_mut().enumerate() {
                let out = bot.output();
                for head in out.heads() {
                    let mut buffer = self.engine.pool().take();
                    Arc::get_mut(&mut buffer).expect("a fresh buffer is unshared").fill(out.bytes(head));
                    let tuple = Tuple { socket: 0, remote: address(number) };
                    arrivals.push(Incoming { tuple, at: self.now.instant, buffer });
                }
                out.clear();
            }
            let datagrams = std::mem::take(&mut self.engine.output().datagrams);
            self.now = self.now.after(Duration::from_millis(1));
            self.engine.timeout(self.now);
            self.engine.receive(self.now, &mut arrivals);
            for head in datagrams.heads() {
                let bot = usize::from(head.tuple.remote == address(1));
                self.to_viewer += bot as u64;
                let media = datagrams.bytes(head)[0] >= 128;
                if bot == 1 && media && self.to_viewer.is_multiple_of(self.loses_each) {
                    continue;
                }
                let mut bytes = datagrams.bytes(head).to_vec();
                self.bots[bot].receive(self.now, self.now.instant, &mut bytes, &mut self.tallies[bot]);
            }
            for (bot, tally) in self.bots.iter_mut().zip(&mut self.tallies) {
                if bot.next_timeout() <= self.now.instant {
                    bot.timeout(self.now, tally);
                }
            }
        }
    }

    #[test]
    fn what_one_bot_publishes_another_sees_whole_and_in_time() {
        let mut room = Room::new(u64::MAX);
        (0..4_000).for_each(|_| room.pass());
        let [publisher, viewer] = &room.tallies;
        assert_eq!((publisher.connected, viewer.connected), (1, 1));
        assert!((90..=100).contains(&viewer.pictures), "{viewer:?}");
        assert_eq!((viewer.expected - viewer.came, viewer.freezes, viewer.rejected), (0, 0, 0), "{viewer:?}");
        assert!(viewer.latency.quantile(990) <= Duration::from_millis(5), "{viewer:?}");
        assert!(viewer.setup.quantile(500) < Duration::from_millis(100), "{viewer:?}");
    }

    #[test]
    fn what_a_line_loses_is_asked_for_and_comes_again() {
        let mut room = Room::new(20);
        (0..6_000).for_each(|_| room.pass());
        let viewer = &room.tallies[1];
        assert!(viewer.repeated > 5, "{viewer:?}");
        assert!(viewer.expected - viewer.came <= 3, "{viewer:?}");
        assert!(viewer.pictures > 100, "{viewer:?}");
    }

    #[test]
    fn what_nobody_watches_is_not_sent_and_comes_back_with_a_keyframe() {
        let mut room = Room::new(u64::MAX);
        (0..1_000).for_each(|_| room.pass());
        let now = room.now.instant;
        room.bots[0].watch("0", &[false], now);
        (0..100).for_each(|_| room.pass());
        let pictures = room.tallies[1].pictures;
        (0..1_000).for_each(|_| room.pass());
        assert_eq!(room.tallies[1].pictures, pictures);
        let sent = room.tallies[0].sent_packets;
        let now = room.now.instant;
        room.bots[0].watch("0", &[true], now);
        (0..20).for_each(|_| room.pass());
        // A picture has two packets here, a keyframe six.
        assert_eq!(room.tallies[0].sent_packets - sent, 6);
        assert!(room.tallies[1].pictures > pictures);
    }
}
