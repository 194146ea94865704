//! The packet buffer, its pool, and a packet as it stands at a router. Knows nothing of codecs' rules or peers.
//!
//! A received datagram is read into a pooled [`Buffer`], decrypted in place, and from then on shared: the
//! producer's history, every consumer's map and every relay to another shard hold the same bytes.

use crate::layer::LayerView;
use crate::rtp::Codec;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// The most bytes one datagram may hold; longer ones are cut by the socket and dropped.
pub const BUFFER_BYTES: usize = 2_048;

/// One datagram's bytes. Written only while unshared.
pub struct Buffer {
    bytes: [u8; BUFFER_BYTES],
    length: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes: [0; BUFFER_BYTES], length: 0 }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Buffer({} bytes)", self.length)
    }
}

impl Buffer {
    /// The bytes in use.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The bytes in use, for decryption in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }

    /// All [`BUFFER_BYTES`], for a socket to read into; say with [`Buffer::set_length`] how many it read.
    pub fn space(&mut self) -> &mut [u8; BUFFER_BYTES] {
        &mut self.bytes
    }

    /// How many bytes are in use; more than [`BUFFER_BYTES`] counts as all of them.
    pub fn set_length(&mut self, length: usize) {
        self.length = length.min(BUFFER_BYTES);
    }

    /// Replaces the content; what exceeds [`BUFFER_BYTES`] is cut.
    pub fn fill(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(BUFFER_BYTES);
        self.bytes[..length].copy_from_slice(&bytes[..length]);
        self.length = length;
    }
}

/// Buffers for reuse. One that is handed back while another shard still reads it waits until that shard lets go
/// (`Arc::get_mut` tells), so reuse needs no message between shards.
pub struct Pool {
    /// Unshared; the last one in is the first one out, since it is still in the cache.
    free: Vec<Arc<Buffer>>,
    /// Shared when they came, oldest first.
    waiting: VecDeque<Arc<Buffer>>,
    /// How many buffers are kept at most; beyond it they are freed.
    limit: usize,
    allocated: u64,
}

impl Pool {
    /// How many waiting buffers `take` looks at. As many as may come back meanwhile, and more, so that none waits
    /// for long; turning it up costs time on a packet's path.
    const LOOK: usize = 4;

    /// An empty pool that keeps at most `limit` buffers.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (free, waiting) = (Vec::with_capacity(limit), VecDeque::with_capacity(limit));
        Self { free, waiting, limit, allocated: 0 }
    }

    /// An unshared buffer with length 0, reused if one is free.
    pub fn take(&mut self) -> Arc<Buffer> {
        self.reclaim();
        while let Some(mut buffer) = self.free.pop() {
            if let Some(unshared) = Arc::get_mut(&mut buffer) {
                unshared.set_length(0);
                return buffer;
            }
        }
        self.allocated += 1;
        Arc::default()
    }

    /// Moves what others have let go of meanwhile to the free ones.
    fn reclaim(&mut self) {
        for _ in 0..Self::LOOK.min(self.waiting.len()) {
            let Some(buffer) = self.waiting.pop_front() else { break };
            self.keep(buffer);
        }
    }

    fn keep(&mut self, mut buffer: Arc<Buffer>) {
        if Arc::get_mut(&mut buffer).is_some() {
            self.free.push(buffer);
        } else {
            self.waiting.push_back(buffer);
        }
    }

    /// Hands a buffer back, shared or not. Only the pool that allocated it should get it back; others just drop
    /// their reference.
    pub fn put(&mut self, buffer: Arc<Buffer>) {
        if self.free.len() + self.waiting.len() < self.limit {
            self.keep(buffer);
        }
    }

    /// How many buffers were ever allocated.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.allocated
    }
}

/// VP8's payload descriptor as far as forwarding needs it (RFC 7741, section 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp8Descriptor {
    /// Picture id, and whether it is written in 15 bits (else 7).
    pub picture_id: Option<(u16, bool)>,
    /// Running number of temporal-layer-zero pictures.
    pub tl0_picture_index: Option<u8>,
    /// Temporal layer.
    pub temporal: Option<u8>,
    /// This picture depends on layer zero only.
    pub layer_sync: bool,
    /// Start of a partition zero: the packet begins a picture.
    pub starts_picture: bool,
    /// Bytes of the descriptor.
    pub length: u8,
}

/// What a codec's payload says about one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadInfo {
    /// Nothing that forwarding needs.
    #[default]
    Opaque,
    /// VP8.
    Vp8(Vp8Descriptor),
    /// Redundant audio: where in the payload the newest block starts (RFC 2198).
    Red {
        /// Bytes before it.
        primary: u16,
    },
}

/// Where in a packet's buffer something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u16,
    /// How many.
    pub length: u16,
}

impl Span {
    /// As a range of the buffer.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        let start = usize::from(self.start);
        start..start + usize::from(self.length)
    }
}

/// Header extensions that travel end to end, by meaning rather than by any peer's id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Level in -dBov (0 loudest, 127 silent) and the voice flag (RFC 6464).
    pub audio_level: Option<(u8, bool)>,
    /// Camera, flip and rotation bits (3GPP TS 26.114, CVO).
    pub orientation: Option<u8>,
    /// When the frame was captured, in the capturer's NTP clock (abs-capture-time).
    pub absolute_capture: Option<u64>,
    /// Minimum and maximum playout delay, 12 bits each, in 10 ms steps.
    pub playout_delay: Option<u32>,
    /// The dependency descriptor's bytes.
    pub dependency_descriptor: Option<Span>,
}

/// A packet as it stands at a router: decrypted, parsed once, in its producer's own numbering. A relayed packet
/// enters another shard's router in this same form.
#[derive(Clone, Debug)]
pub struct MediaPacket {
    /// Which of the producer's encodings (simulcast streams), counted from 0.
    pub encoding: u8,
    /// The producer's RTP sequence, extended over wraps.
    pub sequence: u64,
    /// The producer's RTP timestamp.
    pub timestamp: u32,
    /// The RTP marker bit.
    pub marker: bool,
    /// First packet of a keyframe.
    pub keyframe: bool,
    /// When it entered the first shard.
    pub ingress: Instant,
    /// What it is encoded with.
    pub codec: Codec,
    /// What the payload says.
    pub payload_info: PayloadInfo,
    /// Where it stands among its encoding's layers, where that has any.
    pub layers: Option<LayerView>,
    /// What the header says, end to end.
    pub extensions: Extensions,
    /// Where in the buffer the payload stands (padding excluded).
    pub payload: Range<u16>,
    /// The decrypted datagram.
    pub buffer: Arc<Buffer>,
}

impl MediaPacket {
    /// The payload's bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.buffer
            .bytes()
            .get(usize::from(self.payload.start)..usize::from(self.payload.end))
            .unwrap_or_default()
    }

    /// The dependency descriptor's bytes; empty where there is none.
    #[must_use]
    pub fn dependency_descriptor(&self) -> &[u8] {
        let Some(span) = self.extensions.dependency_descriptor else { return &[] };
        self.buffer.bytes().get(span.range()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Pool};

    #[test]
    fn a_buffer_still_read_elsewhere_is_not_handed_out_again() {
        let mut pool = Pool::new(8);
        let first = pool.take();
        let elsewhere = Arc::clone(&first);
        pool.put(first);
        let second = pool.take();
        assert!(!Arc::ptr_eq(&second, &elsewhere));
        drop(elsewhere);
        pool.put(second);
        pool.take();
        pool.take();
        assert_eq!(pool.allocated(), 2);
    }

    #[test]
    fn buffers_that_are_read_elsewhere_do_not_stand_in_the_way_of_free_ones() {
        let mut pool = Pool::new(64);
        let taken: Vec<_> = (0..40).map(|_| pool.take()).collect();
        let _elsewhere: Vec<_> = taken[..20].iter().map(Arc::clone).collect();
        taken.into_iter().for_each(|buffer| pool.put(buffer));
        for _ in 0..100 {
            let buffer = pool.take();
            pool.put(buffer);
        }
        assert_eq!(pool.allocated(), 40);
    }
}
