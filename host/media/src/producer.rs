//! A producer: a track as it arrives on its transport. Orders its streams' numbers, notices losses, unwraps
//! retransmissions and reads what the codec says. Knows nothing of who consumes it.

use crate::missing::{Missing, Noted, Pace};
use crate::payload::{Arrived, StreamReader};
use crate::rtcp::ReportBlock;
use crate::rtp::{Extender, Header};
use std::sync::Arc;
use std::time::Instant;
use tidegate_types::packet::Extensions;
use tidegate_types::producer::{EncodingStats, ProducerParameters, ProducerStats};
use tidegate_types::relay::SourceClock;
use tidegate_types::rtp::{Codec, ExtensionKind};
use tidegate_types::{Buffer, MediaPacket, ProducerId};

/// One stream of a track.
#[derive(Debug)]
pub struct Encoding {
    /// Its SSRC once known.
    pub ssrc: Option<u32>,
    /// The SSRC of its retransmissions once known.
    pub rtx_ssrc: Option<u32>,
    /// The publisher's clock.
    pub clock: Option<SourceClock>,
    /// Counters.
    pub stats: EncodingStats,
    /// What is lacking.
    pub missing: Missing,
    extender: Extender,
    reader: StreamReader,
    transit: Option<i64>,
    jitter: u64,
    report: Reported,
    first: Option<u64>,
}

/// What the last receiver report told, to tell differences.
#[derive(Debug, Default)]
struct Reported {
    expected: u64,
    received: u64,
}

impl Encoding {
    fn new(ssrc: Option<u32>, rtx_ssrc: Option<u32>, describes: bool) -> Self {
        Self {
            ssrc,
            rtx_ssrc,
            clock: None,
            stats: EncodingStats { ssrc, ..EncodingStats::default() },
            missing: Missing::new(Pace::PUBLISHER),
            extender: Extender::default(),
            reader: StreamReader::new(describes),
            transit: None,
            jitter: 0,
            report: Reported::default(),
            first: None,
        }
    }

    fn note_jitter(&mut self, timestamp: u32, at: Instant, origin: Instant, hz: u32) {
        let arrival = i64::from(crate::clock::units(at.saturating_duration_since(origin), hz));
        let transit = arrival.wrapping_sub(i64::from(timestamp));
        if let Some(previous) = self.transit.replace(transit) {
            let difference = u64::from((transit.wrapping_sub(previous) as i32).unsigned_abs());
            // RFC 3550, appendix A.8, in sixteenths.
            self.jitter = (self.jitter + difference).saturating_sub((self.jitter + 8) >> 4);
            self.stats.jitter = u32::try_from(self.jitter >> 4).unwrap_or(u32::MAX);
        }
    }

    /// A report block about this stream; `None` before its first packet.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let (ssrc, first, highest) = (self.ssrc?, self.first?, self.missing.highest()?);
        let expected = highest + 1 - first;
        let received = self.stats.packets;
        let (expected_step, received_step) =
            (expected - self.report.expected.min(expected), received - self.report.received.min(received));
        self.report = Reported { expected, received };
        let lost_step = expected_step.saturating_sub(received_step);
        let (last_report, delay) = self.clock.map_or((0, 0), |clock| {
            let held = now.saturating_duration_since(clock.received);
            (clock.ntp.middle(), u32::try_from(held.as_nanos() * 65_536 / 1_000_000_000).unwrap_or(u32::MAX))
        });
        Some(ReportBlock {
            ssrc,
            fraction_lost: (lost_step * 256).checked_div(expected_step).unwrap_or(0).min(255) as u8,
            cumulative_lost: expected.saturating_sub(received).min(0x7f_ffff) as u32,
            highest: highest as u32,
            jitter: self.stats.jitter,
            last_report,
            delay,
        })
    }
}

/// A track as it arrives.
#[derive(Debug)]
pub struct Producer {
    /// Its id.
    pub id: ProducerId,
    /// Its station in this engine.
    pub station: usize,
    /// What was negotiated.
    pub parameters: ProducerParameters,
    /// Its streams, lowest first.
    pub encodings: Vec<Encoding>,
    origin: Instant,
}

/// Which of a producer's streams a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey {
    /// Index of the producer in its transport.
    pub producer: u16,
    /// Index of its encoding.
    pub encoding: u8,
    /// A retransmission of that encoding.
    pub repair: bool,
}

/// What became of an arrived packet.
#[derive(Debug)]
pub enum Accepted {
    /// Forward it.
    Packet(MediaPacket),
    /// Not new, or not media: the buffer comes back.
    Dropped(Arc<Buffer>),
}

impl Producer {
    /// A track of which nothing has arrived.
    #[must_use]
    pub fn new(id: ProducerId, station: usize, parameters: ProducerParameters, now: Instant) -> Self {
        let describes = parameters.rtp.extension_id(ExtensionKind::DependencyDescriptor).is_some();
        let encodings = parameters
            .rtp
            .encodings
            .iter()
            .map(|encoding| Encoding::new(encoding.ssrc, encoding.rtx_ssrc, describes))
            .collect();
        Self { id, station, parameters, encodings, origin: now }
    }

    /// Whether this payload type is one of its media's or (true) its retransmissions'.
    #[must_use]
    pub fn payload_type(&self, payload_type: u8) -> Option<(Codec, bool)> {
        self.parameters.rtp.codecs.iter().find_map(|codec| {
            if codec.payload_type == payload_type {
                Some((codec.codec, false))
            } else {
                (codec.rtx_payload_type == Some(payload_type)).then_some((codec.codec, true))
            }
        })
    }

    /// Whether losses are asked for.
    #[must_use]
    pub fn nacks(&self) -> bool {
        self.parameters.rtp.codecs.first().is_some_and(|codec| codec.nack)
    }

    /// Takes one decrypted packet of one of its streams.
    pub fn accept(
        &mut self,
        at: Instant,
        key: StreamKey,
        header: &Header,
        extensions: Extensions,
        buffer: Arc<Buffer>,
    ) -> Accepted {
        let codec = self.payload_type(header.payload_type);
        let origin = self.origin;
        let Some(encoding) = self.encodings.get_mut(usize::from(key.encoding)) else {
            return Accepted::Dropped(buffer);
        };
        let (mut start, mut sequence) = (header.payload_start, header.sequence);
        if key.repair {
            // RFC 4588, section 4: the original sequence stands before the payload. Empty ones are probes.
            let bytes = buffer.bytes();
            let Some(original) = bytes.get(start..start + 2).filter(|_| start + 2 <= header.payload_end)
            else {
                return Accepted::Dropped(buffer);
            };
            sequence = u16::from_be_bytes([original[0], original[1]]);
            start += 2;
        }
        let Some((codec, _)) = codec.filter(|(_, repair)| *repair == key.repair) else {
            return Accepted::Dropped(buffer);
        };
        let extended =
            if key.repair { encoding.extender.peek(sequence) } else { encoding.extender.extend(sequence) };
        let noted = encoding.missing.note(at, extended);
        let fresh = match noted {
            Noted::Duplicate => {
                encoding.stats.duplicates += 1;
                return Accepted::Dropped(buffer);
            }
            Noted::Filled => {
                encoding.stats.repaired += u64::from(key.repair);
                false
            }
            Noted::Next | Noted::AfterGap(_) => true,
        };
        encoding.first.get_or_insert(extended);
        encoding.stats.packets += 1;
        encoding.stats.bytes += (header.payload_end - start) as u64;
        encoding.stats.lost = encoding.missing.given_up();
        if fresh && !key.repair {
            encoding.note_jitter(header.timestamp, at, origin, codec.clock_hz());
        }
        let reading = encoding.reader.read(&Arrived {
            codec,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: &buffer.bytes()[start..header.payload_end],
            descriptor: extensions
                .dependency_descriptor
                .and_then(|span| buffer.bytes().get(span.range()))
                .unwrap_or_default(),
        });
        encoding.stats.keyframes += u64::from(reading.keyframe);
        Accepted::Packet(MediaPacket {
            encoding: key.encoding,
            sequence: extended,
            timestamp: header.timestamp,
            marker: header.marker,
            keyframe: reading.keyframe,
            ingress: at,
            codec,
            payload_info: reading.info,
            layers: reading.layers,
            extensions,
            payload: start as u16..header.payload_end as u16,
            buffer,
        })
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        ProducerStats { encodings: self.encodings.iter().map(|encoding| encoding.stats.clone()).collect() }
    }
}
