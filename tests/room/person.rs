//! Someone in the room, from their own side: a real ICE, DTLS, SRTP and SCTP peer with what it publishes and receives,
//! on its own deadlines. Knows nothing of the directory or of engines.

use crate::publisher::{PICTURES_EVERY, Publisher, SEQUENCE_ID, SOUND_EVERY, parameters};
use crate::script::Script;
use crate::track::Track;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_media::arrivals::Arrivals;
use tidegate_media::association::{AssociationConfig, Received};
use tidegate_media::data::peer::{ChannelPlan, DataPeer};
use tidegate_media::peer::Peer;
use tidegate_media::peer::host::FIRST_PORT;
use tidegate_media::rtcp::{Packet, Reader, Writer};
use tidegate_media::rtp::{ExtensionMap, Header, read_extensions};
use tidegate_types::consumer::{ConsumerParameters, LayerPreference};
use tidegate_types::data::MESSAGE_BYTES;
use tidegate_types::request::TrackView;
use tidegate_types::rtp::{EncodingParameters, ExtensionKind};
use tidegate_types::transport::{IceCredentials, LocalTransport};
use tidegate_types::{MediaKind, Now, ProducerId, Secret, TransportId};

const CHECKS: Duration = Duration::from_secs(5);
const REPORTS: Duration = Duration::from_millis(500);
/// What a text is: whose, and its number.
const TEXT_BYTES: usize = 40;

/// Since when something holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    picture: Instant,
    sound: Instant,
    check: Instant,
    report: Instant,
}

/// One person.
pub(crate) struct Person {
    pub(crate) number: usize,
    pub(crate) peer: Peer,
    pub(crate) data: DataPeer,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) tracks: Vec<Track>,
    /// Tracks that ended, as they were.
    pub(crate) ended: Vec<Track>,
    pub(crate) transport: Option<TransportId>,
    /// The host's side, until the host knows this one.
    pub(crate) local: Option<LocalTransport>,
    /// What it publishes, as the directory calls it.
    pub(crate) published: Vec<ProducerId>,
    /// The shard whose address it sends to.
    pub(crate) entry: usize,
    pub(crate) channel_open: Option<Instant>,
    /// Numbers of its texts, with when it said them.
    pub(crate) said: BTreeMap<u32, Instant>,
    pub(crate) preferred: LayerPreference,
    pub(crate) receives: bool,
    script: Script,
    start: Instant,
    arrivals: Arrivals,
    extensions: ExtensionMap,
    timers: Timers,
    next_consumer: u32,
}

impl Person {
    pub(crate) fn new(
        number: usize,
        config: &AssociationConfig,
        script: &Script,
        start: Instant,
        now: Now,
    ) -> Self {
        // As SDP allows them.
        let credentials = IceCredentials {
            ufrag: format!("peer{number}"),
            password: Secret::new(format!("{number}/and/a/password/of/some/length")),
        };
        let mut extensions = ExtensionMap::default();
        extensions.insert(SEQUENCE_ID, ExtensionKind::TransportSequence);
        // People are out of step.
        let first = now.instant + Duration::from_millis(200 + number as u64 * 7 % 190);
        Self {
            number,
            peer: Peer::with_credentials(config, credentials, now),
            data: DataPeer::connect(now.instant, MESSAGE_BYTES),
            publisher: Script::speaks(number).then(|| Publisher::new(number)),
            tracks: Vec::new(),
            ended: Vec::new(),
            transport: None,
            local: None,
            published: Vec::new(),
            entry: 0,
            channel_open: None,
            said: BTreeMap::new(),
            preferred: LayerPreference::HIGHEST,
            receives: true,
            script: Script { seed: script.seed, deeds: Vec::new() },
            start,
            arrivals: Arrivals::new(start),
            extensions,
            timers: Timers { picture: first, sound: first, check: now.instant + CHECKS, report: first },
            next_consumer: 0,
        }
    }

    /// The host answered with its side, at first or after an ICE restart.
    pub(crate) fn meet(&mut self, local: &LocalTransport, now: Now) {
        let address = local.candidates[0].address;
        self.entry = usize::from(address.port() - FIRST_PORT);
        self.peer.meet(local, address, now);
    }

    /// What it asks for in order to receive a track.
    pub(crate) fn consume(&mut self, track: &TrackView, from: usize, now: Instant) -> ConsumerParameters {
        self.next_consumer += 1;
        let kind = track.parameters.kind;
        let ssrc = 500_000 + self.next_consumer * 2;
        self.tracks.push(Track::new(track.producer, from, kind, ssrc, now));
        let rtx_ssrc = (kind == MediaKind::Video).then_some(ssrc + 1);
        let encodings = vec![EncodingParameters { ssrc: Some(ssrc), rtx_ssrc, rid: None }];
        let rtp = parameters(kind, &self.next_consumer.to_string(), encodings);
        ConsumerParameters { kind, rtp, paused: !self.receives, preferred: self.preferred }
    }

    /// Tracks that are there no more.
    pub(crate) fn end_track(&mut self, ends: impl FnMut(&mut Track) -> bool) {
        self.ended.extend(self.tracks.extract_if(.., ends));
    }

    /// Says something to everyone, if it has a channel.
    pub(crate) fn say(&mut self, now: Now, number: u32) {
        if self.channel_open.is_none() {
            return;
        }
        let mut text = [0; TEXT_BYTES];
        text[..4].copy_from_slice(&(self.number as u32).to_be_bytes());
        text[4..8].copy_from_slice(&number.to_be_bytes());
        assert!(self.data.send(now.instant, 0, &text), "person {} cannot send", self.number);
        self.said.insert(number, now.instant);
        self.flush_data(now);
    }

    /// Whose texts it heard, and their numbers, in order.
    pub(crate) fn heard(&self) -> BTreeMap<usize, Vec<u32>> {
        let mut heard: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (_, text) in &self.data.received {
            let word = |at: usize| u32::from_be_bytes(text[at..at + 4].try_into().expect("a word"));
            heard.entry(word(0) as usize).or_default().push(word(4));
        }
        heard
    }

    fn shows(&self) -> bool {
        Script::publishes(self.number)
    }

    pub(crate) fn next_moment(&self) -> Instant {
        let publishing = self.publisher.is_some();
        let media = [(self.timers.picture, self.shows()), (self.timers.sound, publishing)];
        [self.timers.check, self.timers.report]
            .into_iter()
            .chain(media.into_iter().filter_map(|(at, wanted)| wanted.then_some(at)))
            .chain(self.peer.next_timeout())
            .chain(self.data.next_timeout().filter(|_| self.peer.is_connected()))
            .chain(self.arrivals.due())
            .chain(self.tracks.iter().filter_map(Track::due))
            .min()
            .unwrap_or(self.timers.check)
    }

    pub(crate) fn run(&mut self, now: Now) {
        let since = now.instant.duration_since(self.start);
        self.peer.timeout(now);
        if self.timers.check <= now.instant {
            self.timers.check = now.instant + CHECKS;
            self.peer.check(now);
        }
        let connected = self.peer.is_connected();
        if self.timers.sound <= now.instant {
            self.timers.sound += SOUND_EVERY;
            let level = self.script.level(self.number, since);
            if let Some(publisher) = self.publisher.as_mut().filter(|one| connected && !one.paused) {
                publisher.send_sound(now, &mut self.peer, since, level);
            }
        }
        if self.timers.picture <= now.instant {
            self.timers.picture += PICTURES_EVERY;
            let shows = self.shows();
            if let Some(publisher) = self.publisher.as_mut().filter(|one| shows && connected && !one.paused) {
                publisher.send_pictures(now, &mut self.peer, since);
            }
        }
        if self.timers.report <= now.instant {
            self.timers.report = now.instant + REPORTS;
            let shows = self.shows();
            if let Some(publisher) = self.publisher.as_mut().filter(|_| connected) {
                publisher.report(now, &mut self.peer, since, shows);
            }
        }
        if connected {
            self.feed_back(now);
            self.ask(now);
            self.data.timeout(now.instant);
            self.flush_data(now);
        }
    }

    /// Tells when packets arrived.
    fn feed_back(&mut self, now: Now) {
        if self.arrivals.due().is_none_or(|due| due > now.instant) {
            return;
        }
        let mut information = [0; 1_000];
        while let Some(length) = self.arrivals.feedback(now.instant, &mut information) {
            let mut space = [0; 1_200];
            let mut writer = Writer::new(&mut space);
            writer.transport_feedback(1, 1, &information[..length]);
            let length = writer.len();
            self.peer.send_rtcp(now, &space[..length]);
            if self.arrivals.due().is_none_or(|due| due > now.instant) {
                break;
            }
        }
    }

    /// Asks for what is missing.
    fn ask(&mut self, now: Now) {
        for track in self.tracks.iter_mut().filter(|track| track.kind == MediaKind::Video) {
            let due = track.missing.due().is_some_and(|due| due <= now.instant);
            let mut wanted = Vec::new();
            let given_up =
                if due { track.missing.ask(now.instant, |sequence| wanted.push(sequence as u16)) } else { 0 };
            let stuck = track.wants_keyframe(now.instant);
            if wanted.is_empty() && given_up == 0 && !stuck {
                continue;
            }
            let mut space = [0; 1_200];
            let mut writer = Writer::new(&mut space);
            if !wanted.is_empty() {
                writer.nack(1, track.ssrc, &wanted);
            }
            if given_up > 0 || stuck {
                writer.pli(1, track.ssrc);
            }
            let length = writer.len();
            self.peer.send_rtcp(now, &space[..length]);
        }
    }

    pub(crate) fn receive(&mut self, now: Now, bytes: &mut [u8]) {
        match self.peer.receive(now, bytes) {
            Received::Rtp(length) => self.receive_media(now, &bytes[..length]),
            Received::Rtcp(length) => self.receive_feedback(now, &bytes[..length]),
            Received::Handled => {
                let mut came = false;
                while let Some(packet) = self.peer.association.poll_data() {
                    self.data.receive(now.instant, &packet);
                    came = true;
                }
                if came || (self.peer.is_connected() && !self.data.is_connected) {
                    self.go_on_with_data(now);
                }
            }
            Received::Dropped(_) => {}
        }
    }

    fn go_on_with_data(&mut self, now: Now) {
        if self.data.is_connected && self.channel_open.is_none() {
            if self.data.acknowledged.contains(&0) {
                self.channel_open = Some(now.instant);
            } else {
                // Fails where it was opened before and waits for the host's word.
                self.data.open(now.instant, 0, &ChannelPlan::reliable("texts", ""));
            }
        }
        self.flush_data(now);
    }

    fn flush_data(&mut self, now: Now) {
        let mut out = std::mem::take(self.peer.output());
        while let Some(packets) = self.data.poll_packets(now.instant) {
            for packet in packets {
                self.peer.association.send_data(now, &packet, &mut out);
            }
        }
        *self.peer.output() = out;
    }

    fn receive_media(&mut self, now: Now, packet: &[u8]) {
        let header = Header::parse(packet).expect("the host sends well-formed packets");
        let (hop, _) = read_extensions(&header, packet, &self.extensions);
        if let Some(sequence) = hop.transport_sequence {
            self.arrivals.note(sequence, now.instant);
        }
        let of = |track: &Track| track.ssrc == header.ssrc || track.ssrc + 1 == header.ssrc;
        if let Some(track) = self.tracks.iter_mut().find(|track| of(track)) {
            track.receive(now.instant, &header, packet);
        } else {
            assert!(self.ended.iter().any(of), "nobody asked for {}", header.ssrc);
        }
    }

    fn receive_feedback(&mut self, now: Now, compound: &[u8]) {
        let Some(publisher) = &mut self.publisher else { return };
        for packet in Reader::new(compound) {
            match packet {
                Packet::Nack { media, pairs } => publisher.nacked(now, &mut self.peer, media, pairs),
                Packet::Pli { media } => publisher.make_keyframe(media),
                _ => {}
            }
        }
    }
}
