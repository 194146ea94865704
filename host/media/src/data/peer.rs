//! The browser's side of data channels, for simulations: opens channels, sends and receives messages over an
//! rtc-sctp client of its own. Not in the server.

use super::dcep::{self, Open, Reliability};
use super::sctp::{endpoint_config, transport_config};
use bytes::Bytes;
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, Event, Payload,
    PayloadProtocolIdentifier, ReliabilityType, StreamEvent, TransportConfig,
};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// How a channel is to be opened: label, protocol, whether unordered, and how often or how long it is tried.
#[derive(Clone, Debug)]
pub struct ChannelPlan {
    /// Its label.
    pub label: String,
    /// Its subprotocol.
    pub protocol: String,
    /// Messages may overtake each other.
    pub unordered: bool,
    /// Retransmissions of a message at most; `None` is reliable.
    pub retransmits: Option<u32>,
}

impl ChannelPlan {
    /// Reliable and ordered.
    #[must_use]
    pub fn reliable(label: &str, protocol: &str) -> Self {
        Self { label: label.to_owned(), protocol: protocol.to_owned(), unordered: false, retransmits: None }
    }
}

/// A client.
pub struct DataPeer {
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: Association,
    /// The handshake is complete.
    pub is_connected: bool,
    /// Whole messages by stream, in order of arrival; acknowledgements of channels are left out.
    pub received: Vec<(u16, Vec<u8>)>,
    /// Streams whose channel the host acknowledged.
    pub acknowledged: Vec<u16>,
    /// Streams that the host closed.
    pub closed: Vec<u16>,
}

impl fmt::Debug for DataPeer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DataPeer").field("is_connected", &self.is_connected).finish_non_exhaustive()
    }
}

impl DataPeer {
    /// One that begins the handshake, and would send messages of up to `message_bytes`.
    ///
    /// # Panics
    /// Never: its address is one that can be connected to.
    #[must_use]
    pub fn connect(now: Instant, message_bytes: u32) -> Self {
        Self::connect_in_pieces(now, message_bytes, None)
    }

    /// One that cuts its messages into pieces of so many bytes.
    ///
    /// # Panics
    /// Never: its address is one that can be connected to.
    #[must_use]
    pub fn connect_in_pieces(now: Instant, message_bytes: u32, piece_bytes: Option<u32>) -> Self {
        let far = SocketAddr::from(([0, 0, 0, 0], 5_000));
        let mut config = endpoint_config();
        if let Some(bytes) = piece_bytes {
            config.max_payload_size(bytes);
        }
        let mut endpoint = Endpoint::new(far, Default::default(), Arc::new(config), None);
        let transport: TransportConfig = transport_config().with_max_message_size(message_bytes);
        let connected = endpoint.connect(now, ClientConfig::new(transport), far);
        let (handle, association) = connected.expect("an address that can be connected to");
        let (received, acknowledged, closed) = Default::default();
        Self { endpoint, handle, association, is_connected: false, received, acknowledged, closed }
    }

    /// Opens a channel; `false` before the handshake is complete.
    pub fn open(&mut self, now: Instant, stream: u16, plan: &ChannelPlan) -> bool {
        let Ok(mut opened) = self.association.open_stream(stream, PayloadProtocolIdentifier::Binary) else {
            return false;
        };
        let (kind, value) = match plan.retransmits {
            Some(most) => (ReliabilityType::Rexmit, most),
            None => (ReliabilityType::Reliable, 0),
        };
        let open = Open {
            unordered: plan.unordered,
            reliability: plan.retransmits.map_or(Reliability::Reliable, Reliability::Retransmits),
            label: plan.label.clone(),
            protocol: plan.protocol.clone(),
        };
        let request = Bytes::from(dcep::write_open(&open));
        let written = opened.write_chunk_with_ppi(now, &request, PayloadProtocolIdentifier::Dcep).is_ok();
        opened.set_reliability_params(plan.unordered, kind, value).is_ok() && written
    }

    /// Sends a binary message; `false` if it cannot be sent.
    pub fn send(&mut self, now: Instant, stream: u16, bytes: &[u8]) -> bool {
        self.write(now, stream, bytes, PayloadProtocolIdentifier::Binary)
    }

    /// Sends a text; `false` if it cannot be sent.
    pub fn send_text(&mut self, now: Instant, stream: u16, text: &str) -> bool {
        self.write(now, stream, text.as_bytes(), PayloadProtocolIdentifier::String)
    }

    fn write(
        &mut self,
        now: Instant,
        stream: u16,
        bytes: &[u8],
        identifier: PayloadProtocolIdentifier,
    ) -> bool {
        let opened = self.association.stream(stream);
        opened.is_ok_and(|mut opened| opened.write_with_ppi(now, bytes, identifier).is_ok())
    }

    /// Closes a channel.
    pub fn close(&mut self, now: Instant, stream: u16) {
        if let Ok(mut opened) = self.association.stream(stream) {
            let _ = opened.close(now);
        }
    }

    /// Takes one packet of the host.
    pub fn receive(&mut self, now: Instant, packet: &[u8]) {
        let far = SocketAddr::from(([0, 0, 0, 0], 5_000));
        let packet = Bytes::copy_from_slice(packet);
        if let Some((handle, DatagramEvent::AssociationEvent(event))) =
            self.endpoint.handle(now, far, None, packet)
            && handle == self.handle
        {
            self.association.handle_event(event);
        }
        self.settle();
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|due| due <= now) {
            self.association.handle_timeout(now);
        }
        self.settle();
    }

    /// When [`DataPeer::timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.association.poll_timeout()
    }

    /// The next packets for the host.
    pub fn poll_packets(&mut self, now: Instant) -> Option<Vec<Bytes>> {
        match self.association.poll_transmit(now)?.message {
            Payload::RawEncode(packets) => Some(packets),
            _ => None,
        }
    }

    fn settle(&mut self) {
        while let Some(event) = self.association.poll() {
            match event {
                Event::Connected => self.is_connected = true,
                Event::AssociationLost { id, .. } => self.closed.push(id),
                Event::Stream(StreamEvent::Readable { id }) => self.read(id),
                _ => {}
            }
        }
    }

    fn read(&mut self, id: u16) {
        while let Ok(mut stream) = self.association.stream(id)
            && let Ok(Some(chunks)) = stream.read()
        {
            let bytes = chunks.to_payload(usize::MAX).map(|bytes| bytes.to_vec()).unwrap_or_default();
            match chunks.ppi {
                PayloadProtocolIdentifier::Dcep => self.acknowledged.push(id),
                _ => self.received.push((id, bytes)),
            }
        }
    }
}
