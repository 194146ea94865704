//! A consumer: chooses which encoding and which of its layers its peer is sent, and renumbers those packets into one
//! continuous stream. Knows nothing of sockets, keys, rooms or policies.
//!
//! Its wishes and bounds are in `wish`, what it is sent and how that is numbered in `selection`, what it is sent again in
//! `repair`, and the form in which a payload goes out in `format`.

mod format;
mod repair;
mod selection;
mod wish;

pub use format::Ticket;

use crate::association::SealStream;
use crate::layers::Selection;
use crate::replay::{Chain, Cursor};
use crate::rtp::{Mid, OutgoingExtensions};
use crate::share::Share;
use format::{Carried, Format};
use selection::{SEGMENTS, Segment};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_types::consumer::{ConsumerParameters, ConsumerStats, LayerPreference};
use tidegate_types::layer::Target;
use tidegate_types::rtp::{Codec, ExtensionKind};
use tidegate_types::{ConsumerId, MediaKind, ProducerId};

/// Sent sender reports remembered for round-trip times.
const REPORTS: usize = 4;

/// A track as sent to one peer.
#[derive(Debug)]
pub struct Consumer {
    /// Its id.
    pub id: ConsumerId,
    /// Of what.
    pub producer: ProducerId,
    /// The producer's station in this engine, once it stands there.
    pub station: Option<usize>,
    /// Audio or video.
    pub kind: MediaKind,
    /// What its peer decodes.
    pub codec: Codec,
    /// Outgoing SSRC.
    pub ssrc: u32,
    /// SSRC and payload type of retransmissions.
    pub rtx: Option<(u32, u8)>,
    /// Sealing state of the media.
    pub stream: SealStream,
    /// Sealing state of the retransmissions.
    pub rtx_stream: SealStream,
    /// Wire ids.
    pub ids: OutgoingExtensions,
    /// RTCP's canonical name.
    pub cname: Box<str>,
    /// Counters.
    pub stats: ConsumerStats,
    /// What it is sent from the history before it gets live packets.
    pub replay: Option<Cursor>,
    /// What the division of its transport's bit rate gave it last.
    pub share: Share,
    /// What the peer takes, the first preferred.
    formats: Box<[Format]>,
    /// How the codec that came last is sent.
    carriage: (Codec, Format, Carried),
    paused: bool,
    preferred: LayerPreference,
    /// What its share of the bit rate allows; `None`: nothing.
    allowed: Option<LayerPreference>,
    /// That is all that it wants.
    full: bool,
    /// What its shard has not shed; `None`: nothing is left.
    left: Option<LayerPreference>,
    target: u8,
    /// What would be the target if nothing were shed.
    unshed: u8,
    current: Option<u8>,
    selection: Selection,
    segments: VecDeque<Segment>,
    /// The next fresh outgoing sequence; extended, so that it tells the rollover counter.
    next_sequence: u64,
    next_rtx_sequence: u64,
    last_timestamp: Option<(u32, Instant)>,
    last_picture: u16,
    last_tl0: u8,
    /// The newest frame's number in the dependency descriptors sent.
    last_frame: Option<u16>,
    repairs: (Instant, u32),
    reports: [(u32, Option<Instant>); REPORTS],
    report_count: usize,
}

impl Consumer {
    /// A consumer that has sent nothing. `seed` makes its first sequence numbers unpredictable.
    /// `None` if the parameters lack a codec or an SSRC.
    #[must_use]
    pub fn new(
        id: ConsumerId,
        producer: ProducerId,
        parameters: &ConsumerParameters,
        seed: u32,
        now: Instant,
    ) -> Option<Self> {
        let formats: Box<[Format]> = parameters.rtp.codecs.iter().map(Format::of).collect();
        let codec = *formats.first()?;
        let encoding = parameters.rtp.encodings.first()?;
        let ssrc = encoding.ssrc?;
        let rtx = encoding.rtx_ssrc.zip(codec.rtx_payload_type);
        let extension = |kind| parameters.rtp.extension_id(kind);
        let mid = parameters.rtp.mid.as_deref().and_then(Mid::new);
        Some(Self {
            id,
            producer,
            station: None,
            kind: parameters.kind,
            codec: codec.codec,
            ssrc,
            rtx,
            stream: SealStream::new(ssrc),
            rtx_stream: SealStream::new(rtx.map_or(0, |(ssrc, _)| ssrc)),
            ids: OutgoingExtensions {
                mid: extension(ExtensionKind::Mid).zip(mid),
                transport_sequence: extension(ExtensionKind::TransportSequence),
                absolute_send_time: extension(ExtensionKind::AbsoluteSendTime),
                audio_level: extension(ExtensionKind::AudioLevel),
                orientation: extension(ExtensionKind::Orientation),
                absolute_capture: extension(ExtensionKind::AbsoluteCapture),
                playout_delay: extension(ExtensionKind::PlayoutDelay),
                dependency_descriptor: extension(ExtensionKind::DependencyDescriptor),
            },
            cname: parameters.rtp.cname.as_str().into(),
            stats: ConsumerStats::default(),
            replay: None,
            share: Share::default(),
            formats,
            carriage: (codec.codec, codec, Carried::Whole),
            paused: parameters.paused,
            preferred: parameters.preferred,
            allowed: Some(LayerPreference::HIGHEST),
            full: true,
            left: Some(LayerPreference::HIGHEST),
            target: 0,
            unshed: 0,
            current: None,
            selection: Selection::new(),
            segments: VecDeque::with_capacity(SEGMENTS),
            // Below 2^15, so that a receiver that joins late can't mistake the first wrap (RFC 3711, 3.3.1).
            next_sequence: u64::from(seed & 0x3fff) + 1,
            next_rtx_sequence: u64::from(seed >> 16 & 0x3fff) + 1,
            last_timestamp: None,
            last_picture: 0,
            last_tl0: 0,
            last_frame: None,
            repairs: (now, 0),
            reports: [(0, None); REPORTS],
            report_count: 0,
        })
    }

    /// Which encoding is being sent.
    #[must_use]
    pub fn current(&self) -> Option<u8> {
        self.current
    }

    /// Which layers of the current encoding are being sent, where that has any.
    #[must_use]
    pub fn current_layers(&self) -> Option<Target> {
        self.current.and_then(|_| self.selection.current())
    }

    /// Stops or resumes; returns whether anything changed. Resuming starts at the next keyframe.
    pub fn pause(&mut self, paused: bool) -> bool {
        let changed = self.paused != paused;
        self.paused = paused;
        if changed {
            self.resync();
        }
        changed
    }

    /// Forgets where it was: the source's numbering jumped (pause, move of the source).
    pub fn resync(&mut self) {
        self.current = None;
        self.replay = None;
    }

    /// Begins to replay a chain of the awaited encoding, unless what was sent before is newer: its timestamps would
    /// run backwards. Returns whether it did.
    pub fn join(&mut self, encoding: u8, chain: &Chain, now: Instant) -> bool {
        let newer = self.last_timestamp.is_some_and(|(_, sent)| sent > chain.began);
        if !newer {
            self.replay = Some(Cursor::new(encoding, chain, now));
            self.stats.replays += 1;
        }
        !newer
    }

    /// Remembers a sent report by the middle of its NTP time.
    pub fn note_report(&mut self, middle: u32, now: Instant) {
        self.reports[self.report_count % REPORTS] = (middle, Some(now));
        self.report_count += 1;
    }

    /// The round trip that a report block tells (RFC 3550, section 6.4.1).
    #[must_use]
    pub fn round_trip(&self, last_report: u32, delay: u32, now: Instant) -> Option<Duration> {
        let sent = self.reports.iter().find(|(middle, _)| *middle == last_report && last_report != 0)?.1?;
        let held = Duration::from_nanos(u64::from(delay) * 1_000_000_000 / 65_536);
        now.saturating_duration_since(sent).checked_sub(held)
    }
}

#[cfg(test)]
mod tests;
