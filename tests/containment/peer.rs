//! A WebRTC peer over real UDP sockets: an implementation that shares nothing with the host's engine. Knows nothing of
//! sessions.

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

pub const PAYLOAD_TYPE: u8 = 111;
const PATIENCE: Duration = Duration::from_secs(20);

/// One side of a call.
pub struct Peer {
    pub connection: Arc<dyn PeerConnection>,
    gathered: mpsc::Receiver<()>,
    connected: mpsc::Receiver<()>,
    tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
}

struct Events {
    gathered: mpsc::Sender<()>,
    connected: mpsc::Sender<()>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.try_send(());
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            let _ = self.connected.try_send(());
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let _ = self.tracks.try_send(track);
    }
}

impl Peer {
    pub async fn new() -> Self {
        let (gathered_here, gathered) = mpsc::channel(1);
        let (connected_here, connected) = mpsc::channel(1);
        let (tracks_here, tracks) = mpsc::channel(4);
        let events = Events { gathered: gathered_here, connected: connected_here, tracks: tracks_here };
        let mut media = MediaEngine::default();
        let parameters = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: PAYLOAD_TYPE };
        media.register_codec(parameters, RtpCodecKind::Audio).expect("a codec");
        let interceptors = register_default_interceptors(Registry::new(), &mut media).expect("interceptors");
        let settings = SettingEngineBuilder::new().with_include_loopback_candidate(true).build();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(media)
            .with_interceptor_registry(interceptors)
            .with_setting_engine(settings)
            .with_handler(Arc::new(events))
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .build()
            .await
            .expect("a peer connection");
        Self { connection: Arc::new(connection), gathered, connected, tracks }
    }

    /// Will send this track.
    pub async fn sends(&self, ssrc: u32) -> Arc<TrackLocalStaticRTP> {
        let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() };
        let encoding =
            RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec: opus(), ..Default::default() };
        let track = MediaStreamTrack::new(
            "stream".into(),
            "track".into(),
            "microphone".into(),
            RtpCodecKind::Audio,
            vec![encoding],
        );
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let local: Arc<dyn TrackLocal> = track.clone();
        self.connection.add_track(local).await.expect("a sending section");
        track
    }

    /// Will receive one audio track.
    pub async fn receives(&self) {
        let direction = RTCRtpTransceiverDirection::Recvonly;
        let init = RTCRtpTransceiverInit { direction, ..Default::default() };
        self.connection
            .add_transceiver_from_kind(RtpCodecKind::Audio, Some(init))
            .await
            .expect("a receiving section");
    }

    /// Its offer, with every candidate in it.
    pub async fn offer(&mut self) -> String {
        let offer = self.connection.create_offer(None).await.expect("an offer");
        self.connection.set_local_description(offer).await.expect("a fitting offer");
        soon(self.gathered.recv()).await.expect("candidates");
        self.connection.local_description().await.expect("an offer").sdp
    }

    /// Takes the host's answer and waits until media can flow.
    pub async fn accept(&mut self, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).expect("an answer");
        self.connection.set_remote_description(answer).await.expect("a fitting answer");
        soon(self.connected.recv()).await.expect("a connection");
    }

    /// The track that it is sent.
    pub async fn track(&mut self) -> Arc<dyn TrackRemote> {
        soon(self.tracks.recv()).await.expect("a track")
    }
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it comes in time")
}
