//! RTCP that a peer sent: publishers' clocks, receivers' losses, requests for keyframes and retransmissions.

use super::{Engine, FOLDED, REPAIR_FLOOD};
use crate::io::Crossing;
use crate::rtcp::{self, Packet, Reader};
use crate::transport::Transport;
use tidegate_types::relay::{RelayClock, RelayMessage, SourceClock};
use tidegate_types::{Now, NtpTime};

impl Engine {
    /// One decrypted compound packet.
    pub(super) fn receive_feedback(&mut self, now: Now, slot: usize, compound: &[u8]) {
        for packet in Reader::new(compound) {
            match packet {
                Packet::SenderReport { ssrc, ntp, rtp, blocks } => {
                    self.note_clock(now, slot, ssrc, ntp, rtp);
                    self.note_blocks(now, slot, blocks);
                }
                Packet::ReceiverReport(blocks) => self.note_blocks(now, slot, blocks),
                Packet::Nack { media, pairs } => self.resend(now, slot, media, pairs),
                Packet::Pli { media } => self.keyframe_wanted(now, slot, media),
                Packet::Fir(entries) => {
                    for media in rtcp::fir_sources(entries) {
                        self.keyframe_wanted(now, slot, media);
                    }
                }
                Packet::TransportFeedback(information) => {
                    if let Some(transport) = self.transport_at(slot) {
                        transport.bandwidth.feedback(now.instant, information);
                    }
                }
                Packet::Remb(rate) => {
                    if let Some(transport) = self.transport_at(slot) {
                        transport.bandwidth.remb(rate);
                    }
                }
                Packet::Bye(_) | Packet::Other => {}
            }
        }
    }

    fn transport_at(&mut self, slot: usize) -> Option<&mut Transport> {
        self.transports.get_mut(slot)?.as_deref_mut()
    }

    fn note_blocks(&mut self, now: Now, slot: usize, blocks: rtcp::Blocks<'_>) {
        if let Some(transport) = self.transport_at(slot) {
            for block in blocks.iter() {
                transport.note_report(now, &block);
            }
        }
    }

    /// A publisher told its clocks: kept with its station, and carried over every relay.
    fn note_clock(&mut self, now: Now, slot: usize, ssrc: u32, ntp: NtpTime, rtp: u32) {
        let Some(transport) = self.transport_at(slot) else { return };
        let clock = SourceClock { ntp, rtp, received: now.instant };
        let found = transport.producers.iter_mut().flatten().find_map(|producer| {
            let station = producer.station;
            let mut encodings = producer.encodings.iter_mut().enumerate();
            let (index, encoding) = encodings.find(|(_, encoding)| encoding.ssrc == Some(ssrc))?;
            encoding.clock = Some(clock);
            Some((station, index))
        });
        let Some((station, encoding)) = found else { return };
        let Some(station) = self.stations.get_mut(station).and_then(Option::as_mut) else { return };
        if let Some(standing) = station.encodings.get_mut(encoding) {
            standing.clock = Some(clock);
        }
        for relay in &station.relays {
            let message = RelayClock { relay: relay.id, encoding: encoding as u8, clock };
            self.output.crossings.push((relay.to, Crossing::Relay(RelayMessage::Clock(message))));
        }
    }

    fn keyframe_wanted(&mut self, now: Now, slot: usize, media: u32) {
        let Some(transport) = self.transport_at(slot) else { return };
        let Some(index) = transport.consumer_of_source(media) else { return };
        let Some(Some(consumer)) = transport.consumers.get_mut(index) else { return };
        consumer.stats.keyframe_requests += 1;
        if consumer.replay.is_some() {
            // The keyframe that it lacks is on its way.
            return;
        }
        let encoding = consumer.current().or(consumer.awaits_keyframe());
        let Some((station, encoding)) = consumer.station.zip(encoding) else { return };
        if let Some(station) = self.stations.get_mut(station).and_then(Option::as_mut) {
            if station.is_asking(encoding, now.instant) {
                *self.dropped.entry(FOLDED).or_default() += 1;
            }
            station.want_keyframe(encoding, now.instant);
        }
        self.ask_keyframes(now, station);
        self.housekeep_by(now);
    }

    fn resend(&mut self, now: Now, slot: usize, media: u32, pairs: &[u8]) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        let Some(index) = transport.consumer_of_source(media) else { return };
        for sequence in rtcp::nacked(pairs) {
            let Some(Some(consumer)) = transport.consumers.get_mut(index) else { return };
            let station = consumer.station.and_then(|at| self.stations.get(at)?.as_ref());
            let refused = consumer.stats.refused_repairs;
            let repaired = consumer.repair(sequence, now.instant).and_then(|(encoding, source, out)| {
                let packet = station?.encodings.get(usize::from(encoding))?.history.get(source)?;
                Some((packet, consumer.ticket_again(packet, out)?))
            });
            let sent = repaired.is_some_and(|(packet, ticket)| {
                transport.resend(now, index, packet, &ticket, &mut self.output.datagrams)
            });
            if !sent && let Some(Some(consumer)) = transport.consumers.get_mut(index) {
                consumer.stats.unavailable += 1;
                *self.dropped.entry(REPAIR_FLOOD).or_default() += consumer.stats.refused_repairs - refused;
            }
        }
    }
}
