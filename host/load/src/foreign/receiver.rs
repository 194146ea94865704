//! One arriving track of such a bot: every packet goes to a sink, and what the sink misses for good is asked for as a
//! keyframe. What can be repeated the crate asks for by itself. Knows nothing of sessions.

use super::Ledger;
use crate::sink::{Arrived, Sink};
use rtc::rtcp::Packet;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::MediaKind;
use tokio::time::{MissedTickBehavior, interval};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

/// How often it is looked whether something is to be asked for.
const LOOK: Duration = Duration::from_millis(100);
/// Streams of one track; packets of more are not accounted for.
const STREAMS: usize = 16;
/// What RTP's header with its extensions and the cipher's tag add to a payload, about: the crate tells the payload only.
const AROUND_PAYLOAD_BYTES: usize = 40;

/// Until the track ends.
pub(super) async fn receive(track: Arc<dyn TrackRemote>, ledger: Arc<Ledger>) {
    let video = track.kind().await == RtpCodecKind::Video;
    let kind = if video { MediaKind::Video } else { MediaKind::Audio };
    let mut sinks = BTreeMap::new();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = track.poll() => match event {
                Some(TrackRemoteEvent::OnRtpPacket(packet)) => take(&packet, kind, &mut sinks, &ledger),
                Some(_) => {}
                None => return,
            },
            _ = look.tick() => {
                let wanted = wanted(&mut sinks, &ledger);
                if !wanted.is_empty() && track.write_rtcp(wanted).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn take(packet: &rtc::rtp::Packet, kind: MediaKind, sinks: &mut BTreeMap<u32, Sink>, ledger: &Ledger) {
    let (now, header) = (Instant::now(), &packet.header);
    // The crate does not tell when the system had it.
    let arrived = Arrived {
        came: now,
        sequence: header.sequence_number,
        timestamp: header.timestamp,
        marker: header.marker,
        payload: &packet.payload,
    };
    ledger.count(|tally| {
        tally.received_packets += 1;
        tally.received_bytes += (packet.payload.len() + AROUND_PAYLOAD_BYTES) as u64;
        if sinks.len() >= STREAMS && !sinks.contains_key(&header.ssrc) {
            tally.rejected += 1;
            return;
        }
        let sink = sinks.entry(header.ssrc).or_insert_with(|| Sink::new(kind, header.ssrc));
        sink.take(now, &arrived, ledger.stamps, tally);
    });
}

/// A request for a keyframe of each stream that needs one.
fn wanted(sinks: &mut BTreeMap<u32, Sink>, ledger: &Ledger) -> Vec<Box<dyn Packet>> {
    let (now, mut missing) = (Instant::now(), Vec::new());
    let mut wanted: Vec<Box<dyn Packet>> = Vec::new();
    for (media_ssrc, sink) in sinks {
        if sink.ask(now, &mut missing) {
            wanted.push(Box::new(PictureLossIndication { sender_ssrc: 1, media_ssrc: *media_ssrc }));
        }
    }
    ledger.count(|tally| tally.keyframes_asked += wanted.len() as u64);
    wanted
}
