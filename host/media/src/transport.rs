//! A transport with all that it owns: the association, its producers' receiving side and its consumers' sending
//! side. One `Send` value, so that it can move to another engine. Knows nothing of stations or of other
//! transports.

use crate::arrivals::Arrivals;
use crate::association::{Association, AssociationConfig};
use crate::bandwidth::{Bandwidth, Lane};
use crate::ceiling::Ceiling;
use crate::clock;
use crate::consumer::{Consumer, Ticket};
use crate::data::{Allowance, Sctp};
use crate::io::{Class, DATAGRAM_BYTES, Datagrams, Tuple};
use crate::producer::{Producer, StreamKey};
use crate::rtcp::{ReportBlock, Writer};
use crate::rtp::{self, ExtensionMap, Header, HopExtensions, HopValues};
use crate::share::Division;
use crate::upload::Upload;
use crate::vp8;
use std::time::{Duration, Instant};
use tidegate_types::command::{TransportDump, TransportLimits};
use tidegate_types::packet::{Extensions, PayloadInfo};
use tidegate_types::relay::SourceClock;
use tidegate_types::sharing::ReceiverRates;
use tidegate_types::transport::{IceCredentials, TransportStats};
use tidegate_types::{
    Bitrate, ConsumerId, MediaKind, MediaPacket, Now, Place, ProducerId, RouterId, TransportId,
};

/// How often sender and receiver reports go out.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// Reports are due on a grid of the wall clock, so that those of many transports cost one wake and one call. Coarser
/// makes larger bursts of them.
const REPORT_GRID: Duration = Duration::from_millis(50);
/// So that pictures that wait leave together, too, whoever they are for: a multiple of the pacer's step.
const PACE_GRID: Duration = Duration::from_millis(5);
const _: () = assert!(1_000 % REPORT_GRID.as_millis() == 0 && 1_000 % PACE_GRID.as_millis() == 0);
/// SSRCs known on one transport at most; more are not learnt.
const STREAMS: usize = 256;
/// Streams that one message about a ceiling names at most; it holds for all together anyhow.
const CEILING_SOURCES: usize = 32;
/// Messages that reach one person over its session, at once and in a second: each is work for the directory.
const TOLD_BURST: u32 = 40;
const TOLD_PER_S: u32 = 10;
/// The largest tag that sealing appends.
const TAG_BYTES: usize = 16;
/// What a packet takes beside its payload, roughly.
const HEADER_BYTES: usize = 40;
/// The most that a packet's padding can say of itself (RFC 3550, section 5.1).
const PADDING_BYTES: u8 = 255;
/// The most that a sender report and the canonical name behind it take (RFC 3550, sections 6.4.1 and 6.5). What is left
/// to them is the writer's to say: it keeps to what every path carries.
const SENDER_REPORT_BYTES: usize = 28 + 4 + 264;
/// Who speaks in feedback where the transport sends no media itself (RFC 3550 wants any SSRC).
const FEEDBACK_SSRC: u32 = 1;

/// One peer.
#[derive(Debug)]
pub struct Transport {
    /// Its id.
    pub id: TransportId,
    /// Its router.
    pub router: RouterId,
    /// What it may bring in.
    pub limits: TransportLimits,
    /// ICE, DTLS and SRTP.
    pub association: Association,
    /// Its tracks as they arrive; ended ones leave a hole, so that indices stay.
    pub producers: Vec<Option<Producer>>,
    /// Its tracks as they are sent; ended ones leave a hole.
    pub consumers: Vec<Option<Consumer>>,
    /// Its data channels, once they were negotiated.
    pub data: Option<Box<Sctp>>,
    /// How many messages may go over its person's session while it has no data channel.
    pub told: Allowance,
    /// The deadline that its engine has noted for it.
    pub armed: Option<Instant>,
    /// The flow that its shard was told it is reached by.
    pub told_flow: Option<Tuple>,
    /// Local user name fragments under which it can be found.
    pub ufrags: Vec<String>,
    /// Places of its node that it left, each once: what comes for it there is handed on until it ends.
    pub trail: Vec<Place>,
    /// Until its engine has heard as much: the last message of each place that it was given where it stood before.
    pub heard: Vec<(Place, u64)>,
    /// What the way to its peer carries.
    pub bandwidth: Bandwidth,
    extensions: ExtensionMap,
    streams: Vec<(u32, StreamKey)>,
    sources: Vec<(u32, usize)>,
    arrivals: Option<Arrivals>,
    next_transport_sequence: u16,
    report_due: Instant,
    ceiling: Option<Ceiling>,
    upload: Upload,
    /// Something a policy told bounds one of its pictures.
    pub is_told: bool,
    counters: TransportStats,
}

impl Transport {
    /// A transport that waits for its peer.
    #[must_use]
    pub fn new(
        id: TransportId,
        router: RouterId,
        limits: TransportLimits,
        config: &AssociationConfig,
        local: IceCredentials,
        now: Now,
    ) -> Self {
        let ufrags = vec![local.ufrag.clone()];
        Self {
            id,
            router,
            limits,
            association: Association::new(config, local, now),
            producers: Vec::new(),
            consumers: Vec::new(),
            data: None,
            told: Allowance::new(TOLD_BURST, TOLD_PER_S),
            armed: None,
            told_flow: None,
            ufrags,
            trail: Vec::new(),
            heard: Vec::new(),
            bandwidth: Bandwidth::new(now.instant - past(now, PACE_GRID)),
            extensions: ExtensionMap::default(),
            streams: Vec::new(),
            sources: Vec::new(),
            arrivals: None,
            next_transport_sequence: 0,
            report_due: next_report(now),
            ceiling: limits
                .ingress_kbps
                .map(|kbps| Ceiling::new(Bitrate::from_kbps(kbps.into()), now.instant)),
            upload: Upload::default(),
            is_told: false,
            counters: TransportStats::default(),
        }
    }

    /// Adds a track that its peer will send; returns its index.
    pub fn add_producer(&mut self, producer: Producer, now: Instant) -> u16 {
        for extension in &producer.parameters.rtp.extensions {
            self.extensions.insert(extension.id, extension.kind);
        }
        if producer.parameters.rtp.codecs.iter().any(|codec| codec.transport_cc) && self.arrivals.is_none() {
            self.arrivals = Some(Arrivals::new(now));
        }
        let index = vacant(&mut self.producers);
        for (encoding, parameters) in producer.parameters.rtp.encodings.iter().enumerate() {
            let key = StreamKey { producer: index as u16, encoding: encoding as u8, repair: false };
            self.learn(parameters.ssrc, key);
            self.learn(parameters.rtx_ssrc, StreamKey { repair: true, ..key });
        }
        self.producers[index] = Some(producer);
        index as u16
    }

    /// Ends a track that its peer sends.
    pub fn remove_producer(&mut self, index: u16) {
        self.streams.retain(|(_, key)| key.producer != index);
        if let Some(hole) = self.producers.get_mut(usize::from(index)) {
            *hole = None;
        }
    }

    /// Adds a track to be sent; returns its index. `None` if its SSRC is taken: outgoing SSRCs are unique.
    pub fn add_consumer(&mut self, consumer: Consumer) -> Option<usize> {
        let ssrcs = [Some(consumer.ssrc), consumer.rtx.map(|(ssrc, _)| ssrc)];
        let taken = |ssrc| self.sources.iter().any(|(known, _)| *known == ssrc);
        if ssrcs.into_iter().flatten().any(taken) {
            return None;
        }
        let index = vacant(&mut self.consumers);
        self.sources.extend(ssrcs.into_iter().flatten().map(|ssrc| (ssrc, index)));
        self.consumers[index] = Some(consumer);
        Some(index)
    }

    /// Ends a track that is sent.
    pub fn remove_consumer(&mut self, index: usize) -> Option<Consumer> {
        self.sources.retain(|(_, owner)| *owner != index);
        self.consumers.get_mut(index)?.take()
    }

    /// The index of a consumer.
    #[must_use]
    pub fn consumer_index(&self, id: ConsumerId) -> Option<usize> {
        self.consumers.iter().position(|consumer| consumer.as_ref().is_some_and(|consumer| consumer.id == id))
    }

    /// The index of a producer.
    #[must_use]
    pub fn producer_index(&self, id: ProducerId) -> Option<u16> {
        let found = |producer: &Option<Producer>| producer.as_ref().is_some_and(|producer| producer.id == id);
        self.producers.iter().position(found).map(|index| index as u16)
    }

    /// The consumer that sends with this SSRC (retransmissions included).
    #[must_use]
    pub fn consumer_of_source(&self, ssrc: u32) -> Option<usize> {
        self.sources.iter().find(|(known, _)| *known == ssrc).map(|(_, index)| *index)
    }

    fn learn(&mut self, ssrc: Option<u32>, key: StreamKey) {
        if let Some(ssrc) = ssrc.filter(|_| self.streams.len() < STREAMS) {
            self.streams.retain(|(known, _)| *known != ssrc);
            self.streams.push((ssrc, key));
        }
    }

    /// Reads a decrypted packet's extensions and finds its stream: by SSRC, else by what the extensions name
    /// (RFC 8843 section 9.2, RFC 8852), else by its payload type where only one stream can be meant.
    pub fn identify(&mut self, now: Now, header: &Header, packet: &[u8]) -> (Option<StreamKey>, Extensions) {
        let (hop, end) = rtp::read_extensions(header, packet, &self.extensions);
        if let (Some(arrivals), Some(sequence)) = (&mut self.arrivals, hop.transport_sequence) {
            arrivals.note(sequence, now.instant);
        }
        let known = self.streams.iter().find(|(ssrc, _)| *ssrc == header.ssrc).map(|(_, key)| *key);
        let key = known.or_else(|| self.identify_new(header, &hop));
        (key, end)
    }

    fn identify_new(&mut self, header: &Header, hop: &HopExtensions<'_>) -> Option<StreamKey> {
        let text =
            |bytes: Option<&[u8]>| bytes.and_then(|bytes| std::str::from_utf8(bytes).ok().map(str::to_owned));
        if self.streams.len() >= STREAMS {
            self.counters.refused_streams += 1;
            return None;
        }
        let (mid, rid) = (text(hop.mid), text(hop.repaired_stream_id.or(hop.stream_id)));
        let mut candidates = self.producers.iter().enumerate().filter_map(|(index, producer)| {
            let producer = producer.as_ref()?;
            let fits = mid.is_none() || producer.parameters.rtp.mid == mid;
            let (_, repair) = producer.payload_type(header.payload_type).filter(|_| fits)?;
            Some((index, producer, repair))
        });
        let (index, producer, repair) = candidates.next()?;
        if mid.is_none() && candidates.next().is_some() {
            return None;
        }
        let encodings = &producer.parameters.rtp.encodings;
        let encoding = match &rid {
            Some(rid) => encodings.iter().position(|encoding| encoding.rid.as_ref() == Some(rid))?,
            None if encodings.len() == 1 => 0,
            None => return None,
        };
        let key = StreamKey { producer: index as u16, encoding: encoding as u8, repair };
        self.learn(Some(header.ssrc), key);
        let stream = self.producers[index].as_mut()?.encodings.get_mut(encoding)?;
        if repair {
            stream.rtx_ssrc = Some(header.ssrc);
        } else {
            stream.ssrc = Some(header.ssrc);
            stream.stats.ssrc = Some(header.ssrc);
        }
        Some(key)
    }

    /// Sends one packet to one of its consumers, if that wants it. Returns how it was numbered. `caused` is when
    /// what made it go out came in: the packet itself, or what made an older one due.
    pub fn send(
        &mut self,
        now: Now,
        index: usize,
        packet: &MediaPacket,
        caused: Instant,
        clocks: impl Fn(u8) -> Option<SourceClock>,
        out: &mut Datagrams,
    ) -> Option<Ticket> {
        let tuple = self.association.selected()?;
        self.association.profile()?;
        let consumer = self.consumers.get_mut(index)?.as_mut()?;
        let ticket = consumer.select(packet, clocks)?;
        let class = if consumer.kind == MediaKind::Audio { Class::Audio } else { Class::Video };
        let header = consumer.header(&ticket);
        let association = &mut self.association;
        let hop = hop_values(&mut self.next_transport_sequence, consumer, now);
        let sent = out.write(tuple, caused, class, |space| {
            let length = write_packet(space, packet, &header, consumer, &hop, &ticket, None)?;
            association.seal_rtp(&mut consumer.stream, ticket.sequence, space, length)
        });
        if sent {
            let lane = if consumer.kind == MediaKind::Audio { Lane::Audio } else { Lane::Video };
            pace(&mut self.bandwidth, now, numbered(consumer, &hop), lane, out);
            consumer.stats.packets += 1;
            consumer.stats.bytes += packet.payload().len() as u64;
            self.counters.sent_packets += 1;
        }
        Some(ticket)
    }

    /// Whether one of its consumers would be sent this packet, had its shard not shed it.
    #[must_use]
    pub fn is_shed(&self, index: usize, packet: &MediaPacket) -> bool {
        let consumer = self.consumers.get(index).and_then(Option::as_ref);
        consumer.is_some_and(|consumer| consumer.is_shed(packet)) && self.association.selected().is_some()
    }

    /// Sends again what a peer asked for, by its retransmission stream, as far as the way to it has room for that.
    /// Returns whether it went out.
    pub fn resend(
        &mut self,
        now: Now,
        index: usize,
        packet: &MediaPacket,
        ticket: &Ticket,
        out: &mut Datagrams,
    ) -> bool {
        let Some(tuple) = self.association.selected() else { return false };
        let Some(consumer) = self.consumers.get_mut(index).and_then(Option::as_mut) else { return false };
        if !self.bandwidth.admits_repair(now.instant, HEADER_BYTES + ticket.payload(packet).len()) {
            consumer.stats.refused_repairs += 1;
            return false;
        }
        let Some((header, sequence)) = consumer.rtx_header(ticket) else { return false };
        let association = &mut self.association;
        let hop = hop_values(&mut self.next_transport_sequence, consumer, now);
        let class = if consumer.kind == MediaKind::Audio { Class::Audio } else { Class::Video };
        let original = Some(ticket.sequence as u16);
        let sent = out.write(tuple, now.instant, class, |space| {
            let length = write_packet(space, packet, &header, consumer, &hop, ticket, original)?;
            association.seal_rtp(&mut consumer.rtx_stream, sequence, space, length)
        });
        if sent {
            pace(&mut self.bandwidth, now, numbered(consumer, &hop), Lane::Repair, out);
            consumer.stats.retransmitted += 1;
        }
        sent
    }

    /// Sends the padding that a probe wants now, on a consumer's retransmission stream.
    fn send_padding(&mut self, now: Now, out: &mut Datagrams) {
        while let Some(at) = self.bandwidth.padding(now.instant) {
            if self.send_one_padding(now, at, out).is_none() {
                self.bandwidth.stop_padding();
            }
        }
    }

    fn send_one_padding(&mut self, now: Now, at: Instant, out: &mut Datagrams) -> Option<()> {
        let tuple = self.association.selected()?;
        let consumer = self.consumers.iter_mut().flatten().find(|consumer| consumer.pads())?;
        let (header, sequence) = consumer.padding_header()?;
        let association = &mut self.association;
        let hop = hop_values(&mut self.next_transport_sequence, consumer, now);
        let sent = out.write(tuple, now.instant, Class::Video, |space| {
            let start = rtp::write_header(space, &header, &consumer.ids, &hop, &Extensions::default());
            let end = start + usize::from(PADDING_BYTES);
            space[0] |= 0x20;
            space[start..end].fill(0);
            space[end - 1] = PADDING_BYTES;
            association.seal_rtp(&mut consumer.rtx_stream, sequence, space, end)
        });
        let datagram = out.last_mut().filter(|_| sent)?;
        datagram.not_before = at;
        self.bandwidth.padded(at, hop.transport_sequence, datagram.length());
        Some(())
    }

    /// Writes and seals one RTCP datagram.
    fn send_rtcp(&mut self, now: Now, out: &mut Datagrams, write: impl FnOnce(&mut Writer<'_>)) {
        let (Some(tuple), Some(_)) = (self.association.selected(), self.association.profile()) else {
            return;
        };
        let association = &mut self.association;
        out.write(tuple, now.instant, Class::Control, |space| {
            let mut writer = Writer::new(space);
            write(&mut writer);
            let length = writer.len();
            (length > 0).then(|| association.seal_rtcp(space, length)).flatten()
        });
    }

    /// Asks its peer for a keyframe of one of its streams. Returns whether that stream is known.
    pub fn request_keyframe(&mut self, now: Now, producer: u16, encoding: u8, out: &mut Datagrams) -> bool {
        let stream = self.producers.get_mut(usize::from(producer)).and_then(Option::as_mut);
        let Some(stream) = stream.and_then(|producer| producer.encodings.get_mut(usize::from(encoding)))
        else {
            return false;
        };
        let Some(ssrc) = stream.ssrc else { return false };
        stream.stats.keyframe_requests += 1;
        self.send_rtcp(now, out, |writer| {
            writer.receiver_report(FEEDBACK_SSRC, &[]);
            writer.pli(FEEDBACK_SSRC, ssrc);
        });
        true
    }

    /// All that is due by time, but sender reports: those need the stations' clocks. Returns whether reports
    /// are due.
    pub fn timeout(&mut self, now: Now, out: &mut Datagrams) -> bool {
        self.association.timeout(now, out);
        self.ask_missing(now, out);
        self.tell_arrivals(now, out);
        self.send_padding(now, out);
        let due = now.instant >= self.report_due;
        if due {
            self.report_due = next_report(now);
            self.bandwidth.look(now.instant);
            self.receiver_reports(now, out);
            self.tell_ceiling(now, out);
        }
        due
    }

    /// When it wants [`Transport::timeout`] to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let media = self.association.profile().is_some();
        let missing = self
            .producers
            .iter()
            .flatten()
            .filter(|producer| producer.nacks())
            .flat_map(|producer| producer.encodings.iter().filter_map(|encoding| encoding.missing.due()))
            .min();
        let arrivals = self.arrivals.as_ref().and_then(Arrivals::due);
        let report = media.then_some(self.report_due);
        let padding = self.bandwidth.next_timeout();
        let of_media = [missing, arrivals, padding].map(|due| due.filter(|_| media));
        let data = self.data.as_ref().and_then(|data| data.next_timeout());
        [data, self.association.next_timeout(), report].into_iter().chain(of_media).flatten().min()
    }

    fn ask_missing(&mut self, now: Now, out: &mut Datagrams) {
        let mut wanted = [0_u16; crate::missing::MOST];
        for producer in 0..self.producers.len() {
            let count = self.producers[producer].as_ref().map_or(0, |producer| producer.encodings.len());
            for encoding in 0..count {
                let Some(owner) = self.producers[producer].as_mut().filter(|owner| owner.nacks()) else {
                    continue;
                };
                let stream = &mut owner.encodings[encoding];
                let mut length = 0;
                stream.missing.ask(now.instant, |sequence| {
                    wanted[length] = sequence as u16;
                    length += 1;
                });
                stream.stats.nacks_sent += length as u64;
                let Some(ssrc) = stream.ssrc.filter(|_| length > 0) else { continue };
                self.send_rtcp(now, out, |writer| {
                    writer.receiver_report(FEEDBACK_SSRC, &[]);
                    writer.nack(FEEDBACK_SSRC, ssrc, &wanted[..length]);
                });
            }
        }
    }

    fn tell_arrivals(&mut self, now: Now, out: &mut Datagrams) {
        let mut space = [0; 1_000];
        while self.arrivals.as_ref().and_then(Arrivals::due).is_some_and(|due| due <= now.instant) {
            let Some(length) =
                self.arrivals.as_mut().and_then(|arrivals| arrivals.feedback(now.instant, &mut space))
            else {
                return;
            };
            let media = self.streams.first().map_or(0, |(ssrc, _)| *ssrc);
            self.send_rtcp(now, out, |writer| {
                writer.transport_feedback(FEEDBACK_SSRC, media, &space[..length]);
            });
        }
    }

    fn receiver_reports(&mut self, now: Now, out: &mut Datagrams) {
        let mut blocks = [ReportBlock::default(); 31];
        let mut length = 0;
        let streams = self.producers.iter_mut().flatten().flat_map(|producer| producer.encodings.iter_mut());
        for block in streams.filter_map(|encoding| encoding.report(now.instant)).take(31) {
            blocks[length] = block;
            length += 1;
        }
        if length > 0 {
            self.send_rtcp(now, out, |writer| writer.receiver_report(FEEDBACK_SSRC, &blocks[..length]));
        }
    }

    /// Notes how much its peer need bring in at most, `None` being all that it has. More is told at once, less with the
    /// next report.
    pub fn need(&mut self, now: Now, most: Option<Bitrate>, out: &mut Datagrams) {
        if self.upload.note(most) {
            self.tell_ceiling(now, out);
        }
    }

    /// Puts other ceilings in force: what comes in is held to the new one from now on, what goes out with the next
    /// division, and the peer is told.
    pub fn limit(
        &mut self,
        now: Now,
        ingress_kbps: Option<u32>,
        egress_kbps: Option<u32>,
        out: &mut Datagrams,
    ) {
        if ingress_kbps.is_none() && self.limits.ingress_kbps.is_some() {
            self.upload.lift();
        }
        if ingress_kbps != self.limits.ingress_kbps {
            self.ceiling =
                ingress_kbps.map(|kbps| Ceiling::new(Bitrate::from_kbps(kbps.into()), now.instant));
        }
        (self.limits.ingress_kbps, self.limits.egress_kbps) = (ingress_kbps, egress_kbps);
        self.tell_ceiling(now, out);
    }

    /// Tells a peer that may not bring in as much as it likes, or need not, how much it may: it sends less by itself,
    /// before anything has to be dropped.
    fn tell_ceiling(&mut self, now: Now, out: &mut Datagrams) {
        let granted = self.limits.ingress_kbps.map(|kbps| Bitrate::from_kbps(kbps.into()));
        let Some(ceiling) = granted.into_iter().chain(self.upload.ceiling()).min() else { return };
        let mut sources = [0; CEILING_SOURCES];
        let known = self.producers.iter().flatten().flat_map(|producer| &producer.encodings);
        let mut length = 0;
        for ssrc in known.filter_map(|encoding| encoding.ssrc).take(CEILING_SOURCES) {
            sources[length] = ssrc;
            length += 1;
        }
        if length > 0 {
            self.send_rtcp(now, out, |writer| {
                writer.receiver_report(FEEDBACK_SSRC, &[]);
                writer.ceiling(FEEDBACK_SSRC, ceiling, &sources[..length]);
            });
        }
    }

    /// Tells the peer the publishers' clocks, for as many of its consumers as fit into each datagram. `clock_of` knows
    /// the clock of a station's encoding.
    pub fn sender_reports(
        &mut self,
        now: Now,
        clock_of: impl Fn(usize, u8) -> Option<SourceClock>,
        out: &mut Datagrams,
    ) {
        if self.association.selected().is_none() || self.association.profile().is_none() {
            return;
        }
        let mut consumers = std::mem::take(&mut self.consumers);
        let mut left = consumers.iter_mut().flatten().peekable();
        while left.peek().is_some() {
            self.send_rtcp(now, out, |writer| {
                while writer.room() >= SENDER_REPORT_BYTES
                    && let Some(consumer) = left.next()
                {
                    write_sender_report(writer, now, consumer, &clock_of);
                }
            });
        }
        drop(left);
        self.consumers = consumers;
    }

    /// Sends what its data channels want sent.
    pub fn send_data(&mut self, now: Now, out: &mut Datagrams) {
        let Some(data) = &mut self.data else { return };
        while let Some(packets) = data.poll_packets(now.instant) {
            for packet in packets {
                self.association.send_data(now, &packet, out);
            }
        }
    }

    /// Notes one report block about what it is sent.
    pub fn note_report(&mut self, now: Now, block: &ReportBlock) {
        let Some(index) = self.consumer_of_source(block.ssrc) else { return };
        let Some(consumer) = self.consumers.get_mut(index).and_then(Option::as_mut) else { return };
        if consumer.ssrc == block.ssrc {
            consumer.stats.fraction_lost = block.fraction_lost;
            self.bandwidth.report(now.instant, block.fraction_lost);
        }
        if let Some(round_trip) = consumer.round_trip(block.last_report, block.delay, now.instant) {
            self.counters.round_trip_us = round_trip.as_micros() as u64;
        }
    }

    /// What it may send: its grant's ceiling, and what the way to its peer carries, as far as these are known.
    #[must_use]
    pub fn budget(&self) -> Option<Bitrate> {
        self.ceiling_out().into_iter().chain(self.bandwidth.estimate()).min()
    }

    fn ceiling_out(&self) -> Option<Bitrate> {
        self.limits.egress_kbps.map(|kbps| Bitrate::from_kbps(kbps.into()))
    }

    /// What its way is believed to carry, and what is made of it.
    #[must_use]
    pub fn receiver_rates(&self) -> ReceiverRates {
        ReceiverRates {
            egress_kbps: self.budget().map_or(0, Bitrate::kbps),
            given_kbps: self.counters.given_kbps,
            wanted_kbps: self.counters.wanted_kbps,
        }
    }

    /// Notes what came of dividing its bit rate among its pictures, beside what its sound takes. What is wanted beyond
    /// the estimate is probed for, up to its ceiling.
    pub fn note_division(&mut self, sound_kbps: u64, division: Division) {
        self.counters.given_kbps = sound_kbps + division.given_kbps;
        self.counters.wanted_kbps = sound_kbps + division.wanted_kbps;
        let wanted = Bitrate::from_kbps(self.counters.wanted_kbps);
        self.bandwidth.want(self.ceiling_out().into_iter().chain([wanted]).min());
    }

    /// Whether a packet of one of its producers stays below its ceiling; one that does not is counted.
    pub fn admit(&mut self, now: Instant, kind: MediaKind, bytes: usize) -> bool {
        let admitted = self.ceiling.as_mut().is_none_or(|ceiling| ceiling.admit(now, kind, bytes));
        if !admitted {
            match kind {
                MediaKind::Audio => self.counters.refused_audio_packets += 1,
                MediaKind::Video => self.counters.refused_video_packets += 1,
            }
        }
        admitted
    }

    /// Counts one received datagram.
    pub fn count_received(&mut self, bytes: usize) {
        self.counters.received_packets += 1;
        self.counters.received_bytes += bytes as u64;
    }

    /// Counts one datagram that failed authentication or was replayed.
    pub fn count_rejected(&mut self) {
        self.counters.rejected_packets += 1;
    }

    /// Counters of everything on it.
    #[must_use]
    pub fn dump(&self) -> TransportDump {
        let consumers = self.consumers.iter().flatten();
        TransportDump {
            transport: TransportStats {
                state: self.association.state(),
                selected: self.association.selected().map(|tuple| tuple.remote),
                validated_tuples: self.association.validated().count() as u64,
                srtp_profile: self.association.profile(),
                sent_bytes: self.consumers.iter().flatten().map(|consumer| consumer.stats.bytes).sum(),
                estimate_kbps: self.bandwidth.estimate().map(Bitrate::kbps),
                queue_us: self.bandwidth.queue().as_micros() as u64,
                padding_bytes: self.bandwidth.padding_bytes(),
                delayed_packets: self.bandwidth.waited(),
                ..self.counters.clone()
            },
            producers: self
                .producers
                .iter()
                .flatten()
                .map(|producer| (producer.id, producer.stats()))
                .collect(),
            consumers: consumers.map(|consumer| (consumer.id, consumer.stats.clone())).collect(),
            data: self.data.as_ref().map(|data| data.stats()).unwrap_or_default(),
        }
    }
}

fn write_sender_report(
    writer: &mut Writer<'_>,
    now: Now,
    consumer: &mut Consumer,
    clock_of: impl Fn(usize, u8) -> Option<SourceClock>,
) -> Option<()> {
    let (encoding, _) = consumer.source_start()?;
    let source = clock_of(consumer.station?, encoding).filter(|_| consumer.stats.packets > 0)?;
    let rtp = clock::rtp_at(&source, consumer.codec.clock_hz(), now.instant);
    let rtp = consumer.outgoing_timestamp(rtp)?;
    let ntp = clock::ntp_at(&source, now.instant);
    consumer.note_report(ntp.middle(), now.instant);
    let (packets, octets) = (consumer.stats.packets as u32, consumer.stats.bytes as u32);
    writer.sender_report(consumer.ssrc, ntp, rtp, packets, octets);
    writer.source_description(consumer.ssrc, &consumer.cname);
    Some(())
}

fn next_report(now: Now) -> Instant {
    now.instant + REPORT_INTERVAL - past(now, REPORT_GRID)
}

/// How long ago the last point of a grid was that divides the wall clock's seconds, the same for all transports.
fn past(now: Now, grid: Duration) -> Duration {
    let in_second_ns = ((now.wall.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
    Duration::from_nanos(in_second_ns % grid.as_nanos() as u64)
}

/// Room is made for one more at a time at first: most have one or two, and each takes near a KiB.
fn vacant<T>(holes: &mut Vec<Option<T>>) -> usize {
    holes.iter().position(Option::is_none).unwrap_or_else(|| {
        if holes.len() == holes.capacity() {
            holes.reserve_exact(holes.len() / 2 + 1);
        }
        holes.push(None);
        holes.len() - 1
    })
}

fn hop_values(next: &mut u16, consumer: &Consumer, now: Now) -> HopValues {
    let transport_sequence = *next;
    if consumer.ids.transport_sequence.is_some() {
        *next = next.wrapping_add(1);
    }
    HopValues { transport_sequence, absolute_send_time: clock::absolute_send_time(now.wall) }
}

/// The transport-wide sequence of what a consumer just sent, if it carries one.
fn numbered(consumer: &Consumer, hop: &HopValues) -> Option<u16> {
    consumer.ids.transport_sequence.map(|_| hop.transport_sequence)
}

/// Notes the datagram that was just written and sets when it may leave.
#[inline]
fn pace(bandwidth: &mut Bandwidth, now: Now, sequence: Option<u16>, lane: Lane, out: &mut Datagrams) {
    if let Some(datagram) = out.last_mut() {
        let leaves = bandwidth.sent(now.instant, sequence, datagram.length(), lane);
        datagram.not_before = datagram.not_before.max(leaves);
    }
}

/// Writes header and payload in the peer's numbering; for a retransmission the original sequence stands between.
fn write_packet(
    space: &mut [u8],
    packet: &MediaPacket,
    header: &rtp::Outgoing,
    consumer: &Consumer,
    hop: &HopValues,
    ticket: &Ticket,
    original: Option<u16>,
) -> Option<usize> {
    let payload = ticket.payload(packet);
    let descriptor = ticket.descriptor(packet);
    let mut at = rtp::write_full_header(space, header, &consumer.ids, hop, &packet.extensions, descriptor);
    if at + 2 + payload.len() + TAG_BYTES > DATAGRAM_BYTES {
        return None;
    }
    if let Some(sequence) = original {
        space[at..at + 2].copy_from_slice(&sequence.to_be_bytes());
        at += 2;
    }
    let end = at + payload.len();
    space[at..end].copy_from_slice(payload);
    if let (PayloadInfo::Vp8(descriptor), false) = (&packet.payload_info, payload.is_empty()) {
        vp8::rewrite(&mut space[at..end], descriptor, ticket.shift);
    }
    Some(end)
}

#[cfg(test)]
mod tests;
