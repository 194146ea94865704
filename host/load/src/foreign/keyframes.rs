//! Hears which streams of a connection are asked for a keyframe. Knows nothing of who makes one.

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Streams that may be asked for at a time; more than anyone sends.
const STREAMS: usize = 64;

/// The SSRCs that a keyframe is wanted of, and how often one was.
#[derive(Debug, Default)]
pub(super) struct Keyframes(Mutex<(BTreeSet<u32>, u64)>);

impl Keyframes {
    fn want(&self, ssrc: u32) {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.1 += 1;
        if wanted.0.len() < STREAMS {
            wanted.0.insert(ssrc);
        }
    }

    /// Whether one is wanted of a stream; it is taken for made.
    pub(super) fn take(&self, ssrc: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&ssrc)
    }

    /// How many were asked for since this was last asked.
    pub(super) fn take_count(&self) -> u64 {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).1)
    }
}

/// Stands in a connection's chain and lets everything pass.
pub(super) struct Listening {
    keyframes: Arc<Keyframes>,
    /// What goes through, drained by the chain after every packet.
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Listening {
    pub(super) fn new(keyframes: Arc<Keyframes>) -> Self {
        Self { keyframes, inbound: VecDeque::new(), outbound: VecDeque::new() }
    }

    fn hear(&self, packets: &[Box<dyn rtc::rtcp::Packet>]) {
        for packet in packets {
            if let Some(pli) = packet.as_any().downcast_ref::<PictureLossIndication>() {
                self.keyframes.want(pli.media_ssrc);
            } else if let Some(fir) = packet.as_any().downcast_ref::<FullIntraRequest>() {
                fir.fir.iter().for_each(|entry| self.keyframes.want(entry.ssrc));
            }
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Listening {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            self.hear(packets);
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }
}

impl Interceptor for Listening {
    fn bind_local_stream(&mut self, _stream: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _stream: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _stream: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _stream: &StreamInfo) {}
}
