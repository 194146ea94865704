//! One encoding that such a bot sends: the same synthetic pictures and sounds as the other bots', in the crate's
//! packets. What was lost the crate sends again by itself. Knows nothing of sessions.

use super::Ledger;
use super::keyframes::Keyframes;
use crate::sdp::{AUDIO_PAYLOAD_TYPE, VIDEO_PAYLOAD_TYPE};
use crate::source::{AUDIO_BYTES, Content, KEYFRAME_PACKETS, OPUS, SourcePlan, level, write_vp8};
use crate::stamp::STAMP_BYTES;
use rtc::rtp::Packet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_media::clock;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

/// What a header takes of a packet's bytes.
const HEADER_BYTES: usize = 28;
/// A payload holds at least a descriptor, a frame header and a stamp.
const PAYLOAD_LEAST: usize = 16 + STAMP_BYTES;

/// The header extensions' numbers that a section's answer takes. The crate drops a packet that bears another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids {
    mid: Option<u8>,
    rid: Option<u8>,
    level: Option<u8>,
}

impl Ids {
    /// Reads an answer's section.
    pub(super) fn read(answer: &str, mid: &str) -> Self {
        let is_own = |section: &&str| {
            section.lines().any(|line| line.strip_prefix("a=mid:").is_some_and(|tag| tag.trim() == mid))
        };
        let section = answer.split("\nm=").find(is_own).unwrap_or_default();
        let id = |name: &str| {
            let line = section.lines().find(|line| {
                line.starts_with("a=extmap:") && line.split(' ').any(|word| word.trim().ends_with(name))
            })?;
            line.strip_prefix("a=extmap:")?.split([' ', '/']).next()?.parse().ok()
        };
        Self { mid: id("sdes:mid"), rid: id("sdes:rtp-stream-id"), level: id("ssrc-audio-level") }
    }
}

/// One encoding.
pub(super) struct Sender {
    plan: SourcePlan,
    mid: String,
    ids: Ids,
    ledger: Arc<Ledger>,
    keyframes: Arc<Keyframes>,
    sequence: u16,
    picture: u16,
    keyframe_due: bool,
}

impl Sender {
    pub(super) fn new(
        plan: SourcePlan,
        mid: &str,
        ids: Ids,
        ledger: &Arc<Ledger>,
        keyframes: &Arc<Keyframes>,
    ) -> Self {
        Self {
            mid: mid.to_owned(),
            ids,
            ledger: Arc::clone(ledger),
            keyframes: Arc::clone(keyframes),
            sequence: (plan.ssrc & 0x0fff) as u16,
            picture: (plan.ssrc & 0x7fff) as u16,
            keyframe_due: true,
            plan,
        }
    }

    /// Sends from the moment of connecting until the connection ends.
    pub(super) async fn run(
        mut self,
        track: Arc<TrackLocalStaticRTP>,
        mut connected: watch::Receiver<bool>,
        mut watched: watch::Receiver<bool>,
    ) {
        if connected.wait_for(|connected| *connected).await.is_err() {
            return;
        }
        let began = Instant::now();
        let mut pace = interval(self.plan.content.interval());
        // Whoever is late leaves pictures out rather than send them in one burst.
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            pace.tick().await;
            if !*watched.borrow() {
                if watched.wait_for(|watched| *watched).await.is_err() {
                    return;
                }
                self.keyframe_due = true;
            }
            for packet in self.packets(began.elapsed()) {
                if track.write_rtp(packet).await.is_err() {
                    return;
                }
                self.ledger.count(|tally| tally.sent_packets += 1);
            }
        }
    }

    /// One picture, or one frame of sound.
    fn packets(&mut self, since: Duration) -> Vec<Packet> {
        let timestamp = clock::units(since, self.plan.content.clock_hz()).wrapping_add(self.plan.ssrc);
        match self.plan.content {
            Content::Audio { nth, of } => {
                let mut payload = vec![0x55; AUDIO_BYTES];
                payload[0] = OPUS;
                let level = level(since, (nth, of));
                vec![self.packet(AUDIO_PAYLOAD_TYPE, timestamp, false, payload, Some(level))]
            }
            Content::Video { packets, bytes, pixels, .. } => {
                self.pictures(timestamp, packets, usize::from(bytes), pixels)
            }
        }
    }

    fn pictures(&mut self, timestamp: u32, packets: u16, bytes: usize, pixels: (u16, u16)) -> Vec<Packet> {
        let wanted = self.keyframes.take_count();
        self.ledger.count(|tally| tally.keyframes_wanted += wanted);
        let asked = self.keyframes.take(self.plan.ssrc);
        let keyframe = (std::mem::take(&mut self.keyframe_due) || asked).then_some(pixels);
        let packets = if keyframe.is_some() { packets * KEYFRAME_PACKETS } else { packets };
        self.picture = (self.picture + 1) & 0x7fff;
        let length = bytes.saturating_sub(HEADER_BYTES).max(PAYLOAD_LEAST);
        (0..packets)
            .map(|nth| {
                let mut payload = vec![0x55; length];
                write_vp8(&mut payload, self.picture, nth == 0, keyframe);
                self.packet(VIDEO_PAYLOAD_TYPE, timestamp, nth + 1 == packets, payload, None)
            })
            .collect()
    }

    fn packet(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        mut payload: Vec<u8>,
        level: Option<u8>,
    ) -> Packet {
        self.ledger.stamps.write(&mut payload, Instant::now());
        let mut packet = Packet::default();
        packet.header.version = 2;
        packet.header.payload_type = payload_type;
        packet.header.ssrc = self.plan.ssrc;
        packet.header.sequence_number = self.sequence;
        packet.header.timestamp = timestamp;
        packet.header.marker = marker;
        packet.payload = payload.into();
        self.sequence = self.sequence.wrapping_add(1);
        let rid = self.plan.rid.map(|rid| rid.as_bytes().to_vec());
        let elements = [
            (self.ids.mid, Some(self.mid.as_bytes().to_vec())),
            (self.ids.rid, rid),
            (self.ids.level, level.map(|level| vec![level])),
        ];
        for (id, value) in elements {
            if let (Some(id), Some(value)) = (id, value) {
                // An id that does not fit its form cannot be negotiated.
                let _ = packet.header.set_extension(id, value.into());
            }
        }
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn extension_numbers_are_those_of_a_sections_answer() {
        let answer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
            a=extmap:1/recvonly urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
            a=extmap:6 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n\
            a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n";
        let ids = Ids::read(answer, "0");
        assert_eq!((ids.mid, ids.rid, ids.level), (None, None, Some(1)));
        let ids = Ids::read(answer, "1");
        assert_eq!((ids.mid, ids.rid, ids.level), (Some(4), Some(5), None));
        assert_eq!(Ids::read(answer, "2").mid, None);
    }
}
