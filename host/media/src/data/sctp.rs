//! SCTP of one transport behind rtc-sctp: the handshake that the peer begins, its channels, messages both ways.
//! Knows nothing of DTLS, of rooms, or of who else gets a message.

use super::Allowance;
use super::channel::{Channel, Message};
use super::dcep::{self, ACKNOWLEDGEMENT, Dcep, Open, Reliability};
use super::frame::Kind;
use super::pieces::Pieces;
use bytes::{Bytes, BytesMut};
use rtc_sctp::{
    Association, AssociationError, AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, EndpointEvent,
    Event, Payload, PayloadProtocolIdentifier, ReliabilityType, ServerConfig, StreamEvent, TransportConfig,
    max_payload_size_for_mtu,
};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tidegate_types::data::{
    CHANNELS, DataParameters, DataRefusal, DataStats, MESSAGE_BYTES, MESSAGES_PER_S, NAME_BYTES,
};

/// Bytes of an SCTP packet with data: with the DTLS record around it no longer than other records.
const PACKET_BYTES: u32 = 1_150;
/// Streams that a peer may use. One beyond ends its association: it was told so in the handshake.
const STREAMS: u16 = 256;
/// Bytes that may wait to reach this peer. Beyond it an unreliable channel drops the message; a reliable one, which
/// may leave nothing out, is closed. Larger rides out longer stalls, smaller bounds what a dead peer holds.
const SEND_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that a peer may have sent before the messages that they belong to are whole.
const RECEIVE_BYTES: u32 = 1024 * 1024;
const _: () = assert!(RECEIVE_BYTES > 2 * MESSAGE_BYTES && SEND_BYTES > 4 * MESSAGE_BYTES as usize);
/// Handshakes that may be under way: a peer repeats its first packet, and any of the answers may be the one that it
/// takes. Beyond it the oldest is given up.
const HANDSHAKES: usize = 4;
/// Messages of one peer that are forwarded at once, beyond the steady rate.
const MESSAGES_BURST: u32 = 2 * MESSAGES_PER_S;
/// Where SCTP believes its peer to be: under DTLS there are no addresses.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 5_000);

/// What comes of a peer's packets.
#[derive(Debug)]
pub enum DataEvent {
    /// A whole message.
    Message(Message),
    /// A message or channel was refused.
    Refused {
        /// The channel's label.
        label: Arc<str>,
        /// Why.
        refusal: DataRefusal,
        /// The peer is to be told; it isn't each time.
        told: bool,
    },
}

/// What became of a message for this peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Queued,
    /// The peer has no such channel.
    NoChannel,
    /// The bound is reached, or the peer takes nothing so long.
    Dropped,
}

/// Data channels of one transport. One `Send` value.
pub struct Sctp {
    parameters: DataParameters,
    endpoint: Endpoint,
    /// Those whose handshake is under way; only the one that completes it, from then on.
    associations: Vec<(AssociationHandle, Association)>,
    is_established: bool,
    channels: Vec<Channel>,
    pieces: Pieces,
    /// The peer asked for more than it may have.
    is_refused: bool,
    /// Bounded by what one packet can cause: its owner takes all before the next.
    events: VecDeque<DataEvent>,
    allowance: Allowance,
    stats: DataStats,
}

impl fmt::Debug for Sctp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sctp").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

impl Sctp {
    /// One that awaits its peer's first packet.
    #[must_use]
    pub fn new(parameters: DataParameters) -> Self {
        let server = ServerConfig::new(transport_config());
        let endpoint =
            Endpoint::new(NOWHERE, Default::default(), Arc::new(endpoint_config()), Some(Arc::new(server)));
        Self {
            parameters,
            endpoint,
            associations: Vec::new(),
            is_established: false,
            channels: Vec::new(),
            pieces: Pieces::default(),
            is_refused: false,
            events: VecDeque::new(),
            allowance: Allowance::new(MESSAGES_BURST, MESSAGES_PER_S),
            stats: DataStats::default(),
        }
    }

    /// Takes what is negotiated anew.
    pub fn set_parameters(&mut self, parameters: DataParameters) {
        self.parameters = parameters;
    }

    /// Whose it is, and what it may.
    #[must_use]
    pub const fn parameters(&self) -> &DataParameters {
        &self.parameters
    }

    /// Takes one packet.
    pub fn receive(&mut self, now: Instant, packet: &[u8]) {
        if let Err(refusal) = self.pieces.came(packet) {
            return self.refuse_peer(refusal);
        }
        let packet = Bytes::copy_from_slice(packet);
        match self.endpoint.handle(now, NOWHERE, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(association))) => self.begin(handle, association),
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                let known = self.associations.iter_mut().find(|(known, _)| *known == handle);
                if let Some((_, association)) = known {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Instant) {
        for (_, association) in &mut self.associations {
            if association.poll_timeout().is_some_and(|due| due <= now) {
                association.handle_timeout(now);
            }
        }
        self.settle(now);
    }

    /// When [`Sctp::timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.associations.iter().filter_map(|(_, association)| association.poll_timeout()).min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DataEvent> {
        self.events.pop_front()
    }

    /// The next packets to send.
    pub fn poll_packets(&mut self, now: Instant) -> Option<Vec<Bytes>> {
        let packets = self.associations.iter_mut().find_map(|(_, association)| {
            match association.poll_transmit(now)?.message {
                Payload::RawEncode(packets) => Some(packets),
                _ => None,
            }
        });
        let Some(packets) = packets else {
            if self.is_refused {
                // The last word is out; what was held of the peer goes as well.
                self.associations.clear();
            }
            return None;
        };
        packets.iter().for_each(|packet| self.pieces.goes(packet, RECEIVE_BYTES));
        Some(packets)
    }

    /// Gives a message to the peer's channel of the same label and protocol.
    pub fn send(&mut self, now: Instant, message: &Message) -> Sent {
        let Some(index) = self.channels.iter().position(|channel| channel.takes(message)) else {
            return Sent::NoChannel;
        };
        let length = message.bytes.len();
        if length > self.parameters.max_message_bytes as usize {
            self.stats.dropped_messages += 1;
            return Sent::Dropped;
        }
        if self.waiting_bytes() + length > SEND_BYTES {
            self.stats.dropped_messages += 1;
            if self.channels[index].is_reliable() {
                self.close_channel(now, index, DataRefusal::TooSlow);
            }
            return Sent::Dropped;
        }
        let stream = self.channels[index].stream;
        if !self.write(now, stream, identifier(message.kind, length), &message.bytes) {
            self.stats.dropped_messages += 1;
            return Sent::Dropped;
        }
        self.stats.sent_messages += 1;
        self.stats.sent_bytes += length as u64;
        Sent::Queued
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> DataStats {
        DataStats { channels: self.channels.len() as u64, ..self.stats }
    }

    /// Bytes that wait to reach the peer, those on their way included.
    fn waiting_bytes(&mut self) -> usize {
        let Some((_, association)) = self.associations.first_mut() else { return 0 };
        let waiting = |channel: &Channel| association.stream(channel.stream).ok()?.buffered_amount().ok();
        self.channels.iter().filter_map(waiting).sum()
    }

    fn begin(&mut self, handle: AssociationHandle, association: Association) {
        if self.associations.len() == HANDSHAKES {
            let (oldest, _) = self.associations.remove(0);
            self.endpoint.handle_event(oldest, EndpointEvent::drained());
        }
        self.associations.push((handle, association));
    }

    /// Takes what the associations have to say.
    fn settle(&mut self, now: Instant) {
        while let Some((index, event)) = self.next_association_event() {
            match event {
                Event::Connected => self.establish(index),
                Event::AssociationLost { reason: AssociationError::Reset, id } => {
                    self.channels.retain(|channel| channel.stream != id);
                }
                Event::Stream(StreamEvent::Opened { id }) if id >= STREAMS => self.abort(index),
                Event::Stream(StreamEvent::Readable { id }) => self.read(now, index, id),
                _ => {}
            }
        }
        if self.is_established && self.associations.iter().all(|(_, association)| association.is_closed()) {
            self.channels.clear();
        }
    }

    fn next_association_event(&mut self) -> Option<(usize, Event)> {
        let each = self.associations.iter_mut().enumerate();
        each.into_iter().find_map(|(index, (_, association))| Some((index, association.poll()?)))
    }

    /// Whoever completes the handshake stays alone.
    fn establish(&mut self, index: usize) {
        self.is_established = true;
        self.endpoint.reject_new_associations();
        self.associations.swap(0, index);
        for (handle, _) in self.associations.drain(1..) {
            self.endpoint.handle_event(handle, EndpointEvent::drained());
        }
    }

    /// The peer asks for more than it may have: its channels end, once and for all.
    fn refuse_peer(&mut self, refusal: DataRefusal) {
        self.stats.refused += 1;
        let told = !std::mem::replace(&mut self.is_refused, true);
        self.endpoint.reject_new_associations();
        (0..self.associations.len()).for_each(|index| self.abort(index));
        let label = Arc::from("");
        self.events.push_back(DataEvent::Refused { label, refusal, told });
    }

    fn abort(&mut self, index: usize) {
        if let Some((_, association)) = self.associations.get_mut(index) {
            // Fails only where it is closed already.
            let _ = association.abort();
        }
        self.channels.clear();
    }

    fn read(&mut self, now: Instant, index: usize, stream: u16) {
        loop {
            let association = self.associations.get_mut(index).map(|(_, association)| association);
            let Some(Ok(mut reader)) = association.map(|association| association.stream(stream)) else {
                return;
            };
            let Ok(Some(chunks)) = reader.read() else { return };
            self.pieces.read(chunks.chunks.len());
            let read = chunks.to_payload(MESSAGE_BYTES as usize).ok();
            match chunks.ppi {
                PayloadProtocolIdentifier::Dcep => self.take_dcep(now, stream, read),
                PayloadProtocolIdentifier::String => self.take_message(now, stream, Kind::Text, read),
                PayloadProtocolIdentifier::Binary => self.take_message(now, stream, Kind::Binary, read),
                // One zero byte stands for an empty message (RFC 8831, section 6.6).
                PayloadProtocolIdentifier::StringEmpty => {
                    self.take_message(now, stream, Kind::Text, Some(BytesMut::new()));
                }
                PayloadProtocolIdentifier::BinaryEmpty => {
                    self.take_message(now, stream, Kind::Binary, Some(BytesMut::new()));
                }
                _ => {}
            }
        }
    }

    fn take_dcep(&mut self, now: Instant, stream: u16, read: Option<BytesMut>) {
        let Some(Dcep::Open(open)) = read.and_then(|bytes| dcep::read(&bytes)) else { return };
        let known = self.channels.iter().any(|channel| channel.stream == stream);
        let fits = open.label.len() <= NAME_BYTES && open.protocol.len() <= NAME_BYTES;
        if !known && (!fits || self.channels.len() >= CHANNELS) {
            let label = open.label.chars().take(NAME_BYTES).collect::<String>().into();
            self.stats.refused += 1;
            self.events.push_back(DataEvent::Refused {
                label,
                refusal: DataRefusal::ChannelUnfit,
                told: true,
            });
            return self.reset(now, stream);
        }
        if !known {
            self.channels.push(Channel::new(stream, &open));
        }
        self.set_reliability(stream, &open);
        self.write(now, stream, PayloadProtocolIdentifier::Dcep, &Bytes::from_static(&ACKNOWLEDGEMENT));
    }

    /// The channel's type holds both ways (RFC 8832, section 5.1).
    fn set_reliability(&mut self, stream: u16, open: &Open) {
        let (kind, value) = match open.reliability {
            Reliability::Reliable => (ReliabilityType::Reliable, 0),
            Reliability::Retransmits(most) => (ReliabilityType::Rexmit, most),
            Reliability::LifetimeMs(lifetime) => (ReliabilityType::Timed, lifetime),
        };
        if let Some(Ok(mut stream)) =
            self.associations.first_mut().map(|(_, association)| association.stream(stream))
        {
            // Fails only where the stream is gone.
            let _ = stream.set_reliability_params(open.unordered, kind, value);
        }
    }

    fn take_message(&mut self, now: Instant, stream: u16, kind: Kind, read: Option<BytesMut>) {
        let Some(index) = self.channels.iter().position(|channel| channel.stream == stream) else { return };
        self.stats.received_messages += 1;
        let message = match read {
            _ if !self.parameters.may_send => Err(DataRefusal::NotGranted),
            _ if !self.allowance.take(now) => Err(DataRefusal::TooMany),
            Some(bytes) => {
                self.stats.received_bytes += bytes.len() as u64;
                Ok(self.channels[index].message(self.parameters.person, kind, bytes))
            }
            None => Err(DataRefusal::TooLong),
        };
        match message {
            Ok(Some(message)) => self.events.push_back(DataEvent::Message(message)),
            Ok(None) => self.stats.refused += 1,
            Err(refusal) => {
                self.stats.refused += 1;
                let channel = &mut self.channels[index];
                let (label, told) = (Arc::clone(&channel.label), channel.tells(now));
                self.events.push_back(DataEvent::Refused { label, refusal, told });
            }
        }
    }

    /// Something can never be sent on the channels that may leave nothing out.
    pub fn close_reliable(&mut self, now: Instant) {
        while let Some(index) = self.channels.iter().position(Channel::is_reliable) {
            self.close_channel(now, index, DataRefusal::TooSlow);
        }
    }

    fn close_channel(&mut self, now: Instant, index: usize, refusal: DataRefusal) {
        let channel = self.channels.remove(index);
        self.reset(now, channel.stream);
        self.events.push_back(DataEvent::Refused { label: channel.label, refusal, told: true });
    }

    /// Closes a stream (RFC 8831, section 6.7).
    fn reset(&mut self, now: Instant, stream: u16) {
        if let Some(Ok(mut stream)) =
            self.associations.first_mut().map(|(_, association)| association.stream(stream))
        {
            // Fails only where there is nothing left to close.
            let _ = stream.close(now);
        }
    }

    fn write(
        &mut self,
        now: Instant,
        stream: u16,
        identifier: PayloadProtocolIdentifier,
        bytes: &Bytes,
    ) -> bool {
        let stand_in = Bytes::from_static(&[0]);
        let bytes = if bytes.is_empty() { &stand_in } else { bytes };
        let association = self.associations.first_mut().map(|(_, association)| association);
        let stream = association.and_then(|association| association.stream(stream).ok());
        stream.is_some_and(|mut stream| stream.write_chunk_with_ppi(now, bytes, identifier).is_ok())
    }
}

/// How a message is marked (RFC 8831, section 8).
const fn identifier(kind: Kind, length: usize) -> PayloadProtocolIdentifier {
    match (kind, length) {
        (Kind::Text, 0) => PayloadProtocolIdentifier::StringEmpty,
        (Kind::Text, _) => PayloadProtocolIdentifier::String,
        (Kind::Binary, 0) => PayloadProtocolIdentifier::BinaryEmpty,
        (Kind::Binary, _) => PayloadProtocolIdentifier::Binary,
    }
}

/// Bounds, the same at both ends of a test.
pub(super) fn transport_config() -> TransportConfig {
    TransportConfig::default()
        .with_max_message_size(MESSAGE_BYTES)
        .with_max_receive_buffer_size(RECEIVE_BYTES)
        .with_max_num_inbound_streams(STREAMS)
        .with_max_num_outbound_streams(STREAMS)
}

/// Packets that fit one DTLS record.
pub(super) fn endpoint_config() -> EndpointConfig {
    let mut config = EndpointConfig::new();
    config.max_payload_size(max_payload_size_for_mtu(PACKET_BYTES));
    config
}
