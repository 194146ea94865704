//! A running call: one peer sends a packet each 20 ms through the host, another one receives them and measures. Knows
//! nothing of plugins.

use crate::peer::{PAYLOAD_TYPE, Peer};
use crate::session::Session;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

const SSRC: u32 = 0x5eed_0001;
/// As Opus is sent.
const PACE: Duration = Duration::from_millis(20);
const TICKS_A_PACKET: u32 = 960;
const PAYLOAD_BYTES: usize = 120;

/// What the subscriber saw since it was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub packets: u64,
    /// The longest wait for a packet, less what the publisher itself was late with that packet.
    pub gap: Duration,
}

#[derive(Default)]
struct Record {
    seen: Seen,
    /// When the last packet came, and when it had been sent.
    last: Option<(Instant, Duration)>,
}

/// Two people in a call. Dropping it ends it.
pub struct Call {
    record: Arc<Mutex<Record>>,
    /// Peers and sessions live as long as the call.
    _people: [(Session, Peer); 2],
}

impl Call {
    /// Joins both, publishes, subscribes, and waits for the first packet.
    pub async fn start(address: SocketAddr, room: &str) -> Self {
        let epoch = Instant::now();
        let (publisher, track) = publish(address, room).await;
        tokio::spawn(send(track, epoch));
        let (subscriber, track) = subscribe(address, room).await;
        let record = Arc::new(Mutex::new(Record::default()));
        tokio::spawn(receive(track, epoch, record.clone()));
        let call = Self { record, _people: [publisher, subscriber] };
        while call.seen().packets == 0 {
            tokio::time::sleep(PACE).await;
        }
        call
    }

    /// What was seen since the last time that this was asked; a wait under way counts.
    pub fn seen(&self) -> Seen {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = record.last.map_or(Duration::ZERO, |(last, _)| last.elapsed());
        let mut seen = std::mem::take(&mut record.seen);
        // Less than two paces says nothing: the publisher may be a little late.
        if waiting > PACE * 2 {
            seen.gap = seen.gap.max(waiting);
        }
        seen
    }
}

async fn publish(address: SocketAddr, room: &str) -> ((Session, Peer), Arc<TrackLocalStaticRTP>) {
    let (mut session, joined) = Session::join(address, room, "Ada").await;
    joined.expect("an honest name is let in");
    let mut peer = Peer::new().await;
    let track = peer.sends(SSRC).await;
    let sdp = peer.offer().await;
    let mid = sdp.lines().find_map(|line| line.strip_prefix("a=mid:")).expect("a section").trim().to_owned();
    let tracks = json!([{ "mid": mid, "source": "microphone" }]);
    let answer =
        session.ask(json!({ "type": "offer", "sdp": sdp, "tracks": tracks })).await.expect("an answer");
    assert_eq!(answer["published"].as_array().map(Vec::len), Some(1), "{answer}");
    peer.accept(answer["sdp"].as_str().expect("an answer")).await;
    ((session, peer), track)
}

async fn subscribe(address: SocketAddr, room: &str) -> ((Session, Peer), Arc<dyn TrackRemote>) {
    let (mut session, joined) = Session::join(address, room, "Grace").await;
    joined.expect("an honest name is let in");
    session.told("negotiate").await;
    let mut peer = Peer::new().await;
    peer.receives().await;
    let sdp = peer.offer().await;
    let answer = session.ask(json!({ "type": "offer", "sdp": sdp, "tracks": [] })).await.expect("an answer");
    assert_eq!(answer["receiving"].as_array().map(Vec::len), Some(1), "{answer}");
    peer.accept(answer["sdp"].as_str().expect("an answer")).await;
    let track = peer.track().await;
    ((session, peer), track)
}

/// Sends for ever; each packet says when it was sent.
async fn send(track: Arc<TrackLocalStaticRTP>, epoch: Instant) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u32.. {
        pace.tick().await;
        let mut payload = vec![0; PAYLOAD_BYTES];
        let sent = u64::try_from(epoch.elapsed().as_micros()).expect("a short test");
        payload[..8].copy_from_slice(&sent.to_be_bytes());
        let mut packet = rtc::rtp::Packet::default();
        packet.header.version = 2;
        packet.header.payload_type = PAYLOAD_TYPE;
        packet.header.ssrc = SSRC;
        packet.header.sequence_number = number as u16;
        packet.header.timestamp = number.wrapping_mul(TICKS_A_PACKET);
        packet.payload = payload.into();
        if track.write_rtp(packet).await.is_err() {
            return;
        }
    }
}

async fn receive(track: Arc<dyn TrackRemote>, epoch: Instant, record: Arc<Mutex<Record>>) {
    while let Some(event) = track.poll().await {
        let TrackRemoteEvent::OnRtpPacket(packet) = event else { continue };
        let now = Instant::now();
        let bytes = packet.payload.first_chunk::<8>().expect("the publisher's payload");
        let sent = Duration::from_micros(u64::from_be_bytes(*bytes));
        assert!(epoch + sent <= now, "no packet comes before it was sent");
        record.lock().unwrap_or_else(PoisonError::into_inner).take(now, sent);
    }
}

impl Record {
    fn take(&mut self, now: Instant, sent: Duration) {
        self.seen.packets += 1;
        if let Some((last, last_sent)) = self.last {
            let late = sent.saturating_sub(last_sent).saturating_sub(PACE);
            let gap = now.saturating_duration_since(last).saturating_sub(late);
            self.seen.gap = self.seen.gap.max(gap);
        }
        self.last = Some((now, sent));
    }
}
