//! One bot on the `webrtc` crate: a peer that shares nothing with the host's engine. It makes offers, takes answers,
//! sends tracks and accounts for what arrives. Knows nothing of sessions.
//!
//! ```text
//! sections ─ transceivers ─ offer        answer ─ connection ─┬─ sender: one task an encoding ◀─ keyframes (an interceptor)
//!                                                             └─ receiver: one task a track ─ sink ─ tally
//! ```

mod keyframes;
mod receiver;
mod sender;

use crate::scenario::Person;
use crate::sdp::{AUDIO_PAYLOAD_TYPE, REPAIR_PAYLOAD_TYPE, Section, VIDEO_PAYLOAD_TYPE};
use crate::source::SourcePlan;
use crate::stamp::Stamps;
use crate::tally::Tally;
use keyframes::{Keyframes, Listening};
use rtc::interceptor::Slot;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8, MediaEngine,
};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use sender::{Ids, Sender};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_types::MediaKind;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use webrtc::error::Error;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidateInit, RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry,
    SettingEngineBuilder,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

/// Addresses of this machine take no longer to find.
const GATHERING: Duration = Duration::from_secs(5);
/// Where the interceptor that hears of keyframes stands: behind all of the crate's own.
const LISTENING: usize = 14_000;
const LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// What all such bots of a run share.
#[derive(Debug)]
pub(crate) struct Ledger {
    stamps: Stamps,
    tally: Mutex<Tally>,
}

impl Ledger {
    pub(crate) fn new(stamps: Stamps) -> Self {
        Self { stamps, tally: Mutex::default() }
    }

    /// What all bots counted so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// One bot. It ends with [`Foreign::close`].
pub(crate) struct Foreign {
    connection: Arc<dyn PeerConnection>,
    ledger: Arc<Ledger>,
    keyframes: Arc<Keyframes>,
    gathered: mpsc::Receiver<()>,
    is_gathered: bool,
    connected: watch::Receiver<bool>,
    sources: Vec<SourcePlan>,
    /// How many of the person's sections stand in the connection.
    placed: usize,
    tracks: Vec<Track>,
}

/// What is sent in one section.
struct Track {
    /// Which section, and the tag that it has in the offer.
    section: usize,
    mid: String,
    local: Arc<TrackLocalStaticRTP>,
    /// Its encodings, lowest first; they begin with the first answer.
    waiting: Vec<SourcePlan>,
    /// Whether somebody watches each.
    watched: Vec<watch::Sender<bool>>,
}

/// What the connection says by itself.
struct Events {
    ledger: Arc<Ledger>,
    began: Instant,
    gathered: mpsc::Sender<()>,
    connected: watch::Sender<bool>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.try_send(());
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected && !self.connected.send_replace(true) {
            let took = self.began.elapsed();
            self.ledger.count(|tally| {
                tally.connected += 1;
                tally.setup.record(took);
            });
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        tokio::spawn(receiver::receive(track, Arc::clone(&self.ledger)));
    }
}

impl Foreign {
    /// One that has a socket; `host` is where the session goes. Setup counts from `began`.
    pub(crate) async fn new(
        person: &Person,
        ledger: &Arc<Ledger>,
        host: IpAddr,
        began: Instant,
    ) -> Result<Self, Error> {
        let (gathered_here, gathered) = mpsc::channel(1);
        let (connected_here, connected) = watch::channel(false);
        let events =
            Events { ledger: Arc::clone(ledger), began, gathered: gathered_here, connected: connected_here };
        let keyframes = Arc::new(Keyframes::default());
        let mut media = media_engine()?;
        let interceptors = register_default_interceptors(Registry::new(), &mut media)?
            .with(Slot::from(LISTENING), Listening::new(Arc::clone(&keyframes)));
        let settings = SettingEngineBuilder::new().with_include_loopback_candidate(true).build();
        let local = match host {
            IpAddr::V4(ip) if ip.is_loopback() => "127.0.0.1:0",
            IpAddr::V4(_) => "0.0.0.0:0",
            IpAddr::V6(ip) if ip.is_loopback() => "[::1]:0",
            IpAddr::V6(_) => "[::]:0",
        };
        let connection = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(media)
            .with_interceptor_registry(interceptors)
            .with_setting_engine(settings)
            .with_handler(Arc::new(events))
            .with_udp_addrs(vec![local])
            .build()
            .await?;
        Ok(Self {
            connection: Arc::new(connection),
            ledger: Arc::clone(ledger),
            keyframes,
            gathered,
            is_gathered: false,
            connected,
            sources: person.sources.clone(),
            placed: 0,
            tracks: Vec::new(),
        })
    }

    /// An offer of these sections, with every candidate in it; each section gets the mid that it has there.
    pub(crate) async fn offer(&mut self, sections: &mut [Section]) -> Result<String, Error> {
        for (number, section) in sections.iter().enumerate().skip(self.placed) {
            self.place(number, section).await?;
        }
        self.placed = sections.len();
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer).await?;
        if !self.is_gathered {
            let gathered = timeout(GATHERING, self.gathered.recv()).await;
            self.is_gathered = gathered.is_ok_and(|gathered| gathered.is_some());
        }
        let offer = self.connection.local_description().await.map(|offer| offer.sdp).unwrap_or_default();
        let mids = offer.lines().filter_map(|line| line.strip_prefix("a=mid:"));
        for (section, mid) in sections.iter_mut().zip(mids) {
            mid.trim().clone_into(&mut section.mid);
        }
        for track in &mut self.tracks {
            sections[track.section].mid.clone_into(&mut track.mid);
        }
        Ok(offer)
    }

    async fn place(&mut self, number: usize, section: &Section) -> Result<(), Error> {
        let kind = kind(section.kind);
        let init = |direction| Some(RTCRtpTransceiverInit { direction, ..Default::default() });
        if section.sends.is_none() {
            let init = init(RTCRtpTransceiverDirection::Recvonly);
            self.connection.add_transceiver_from_kind(kind, init).await?;
            return Ok(());
        }
        let plans = || self.sources.iter().filter(|source| source.mid == section.mid);
        let [stream, track, label] = [&section.mid; 3].map(String::clone);
        let track = MediaStreamTrack::new(stream, track, label, kind, plans().map(encoding).collect());
        let local = Arc::new(TrackLocalStaticRTP::new(track));
        let sent: Arc<dyn TrackLocal> = local.clone();
        let waiting = plans().cloned().collect();
        let init = init(RTCRtpTransceiverDirection::Sendonly);
        self.connection.add_transceiver_from_track(sent, init).await?;
        let mid = section.mid.clone();
        self.tracks.push(Track { section: number, mid, local, waiting, watched: Vec::new() });
        Ok(())
    }

    /// Takes the host's answer to an offer; sending begins once media can flow.
    pub(crate) async fn accept(&mut self, answer: &str) -> Result<(), Error> {
        self.connection.set_remote_description(RTCSessionDescription::answer(answer.to_owned())?).await?;
        for candidate in idle_candidates(answer) {
            let candidate = RTCIceCandidateInit { candidate: candidate.to_owned(), ..Default::default() };
            self.connection.add_ice_candidate(candidate).await?;
        }
        for track in &mut self.tracks {
            let ids = Ids::read(answer, &track.mid);
            for plan in track.waiting.drain(..) {
                let (watch, watched) = watch::channel(true);
                track.watched.push(watch);
                let sender = Sender::new(plan, &track.mid, ids, &self.ledger, &self.keyframes);
                tokio::spawn(sender.run(Arc::clone(&track.local), self.connected.clone(), watched));
            }
        }
        Ok(())
    }

    /// Which encodings of a track somebody watches, lowest first; the others are not sent.
    pub(crate) fn watch(&self, mid: &str, watched: &[bool]) {
        let tracks = self.tracks.iter().filter(|track| track.mid == mid);
        for (sender, watched) in tracks.flat_map(|track| &track.watched).zip(watched) {
            sender.send_replace(*watched);
        }
    }

    /// Ends it, best effort; its tasks end with the connection.
    pub(crate) async fn close(self) {
        let _ = self.connection.close().await;
    }
}

/// The UDP candidates of sections in which nothing flows. The crate passes over them, though they hold for the whole
/// bundle and may be the only ones: those of the first section, when nobody sends sound.
fn idle_candidates(answer: &str) -> impl Iterator<Item = &str> {
    let sections = answer.split("\nm=").skip(1);
    let idle = sections.filter(|section| section.lines().any(|line| line.trim() == "a=inactive"));
    idle.flat_map(str::lines)
        .filter_map(|line| line.trim().strip_prefix("a="))
        .filter(|line| line.starts_with("candidate:") && line.to_ascii_lowercase().contains(" udp "))
}

/// What bots speak: VP8 with repetitions and Opus, under the numbers that all bots use.
fn media_engine() -> Result<MediaEngine, Error> {
    let mut media = MediaEngine::default();
    let parameters = |rtp_codec, payload_type| RTCRtpCodecParameters { rtp_codec, payload_type };
    media.register_codec(parameters(opus(), AUDIO_PAYLOAD_TYPE), RtpCodecKind::Audio)?;
    media.register_codec(parameters(vp8(), VIDEO_PAYLOAD_TYPE), RtpCodecKind::Video)?;
    let apt = format!("apt={VIDEO_PAYLOAD_TYPE}");
    let repair = codec(MIME_TYPE_RTX, 90_000, 0, &apt);
    media.register_codec(parameters(repair, REPAIR_PAYLOAD_TYPE), RtpCodecKind::Video)?;
    // By itself the crate asks for mid in video alone.
    for uri in [LEVEL_URI, MID_URI] {
        let extension = RTCRtpHeaderExtensionCapability { uri: uri.to_owned() };
        media.register_header_extension(extension, RtpCodecKind::Audio, None)?;
    }
    Ok(media)
}

fn codec(mime_type: &str, clock_rate: u32, channels: u16, format: &str) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: mime_type.to_owned(),
        clock_rate,
        channels,
        sdp_fmtp_line: format.to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

fn opus() -> RTCRtpCodec {
    codec(MIME_TYPE_OPUS, 48_000, 2, "minptime=10;useinbandfec=1")
}

fn vp8() -> RTCRtpCodec {
    codec(MIME_TYPE_VP8, 90_000, 0, "")
}

const fn kind(kind: MediaKind) -> RtpCodecKind {
    match kind {
        MediaKind::Audio => RtpCodecKind::Audio,
        MediaKind::Video => RtpCodecKind::Video,
    }
}

fn encoding(plan: &SourcePlan) -> RTCRtpEncodingParameters {
    let rid = plan.rid.unwrap_or_default().to_owned();
    RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { rid, ssrc: Some(plan.ssrc), ..Default::default() },
        codec: if plan.content.kind() == MediaKind::Audio { opus() } else { vp8() },
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::idle_candidates;

    #[test]
    fn candidates_of_a_section_in_which_nothing_flows_hold_for_all() {
        let candidate = "candidate:1 1 udp 1 10.0.0.1 7000 typ host";
        let tcp = "a=candidate:2 1 tcp 1 10.0.0.1 7000 typ host tcptype passive";
        let first = format!("v=0\r\nm=audio 9 X 111\r\na={candidate}\r\n{tcp}\r\n");
        let second = "m=video 9 X 96\r\na=sendonly\r\n";
        let idle = format!("{first}a=inactive\r\n{second}");
        assert!(idle_candidates(&idle).eq([candidate]));
        let flowing = format!("{first}a=sendonly\r\n{second}");
        assert_eq!(idle_candidates(&flowing).count(), 0, "the crate reads these itself");
    }
}
