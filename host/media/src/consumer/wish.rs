//! What a consumer may be sent: the least of what its peer wants, what its share of the bit rate allows and what its
//! shard has not shed. Knows nothing of packets.

use super::Consumer;
use tidegate_types::consumer::{Allowance, LayerPreference};
use tidegate_types::{MediaKind, MediaPacket};

impl Consumer {
    /// Which encodings it can use now, as bits: the one being sent, the one awaited, and the one that it would
    /// have if that were sent.
    #[must_use]
    pub fn demand(&self, encodings: usize) -> u32 {
        if self.is_stopped() {
            return 0;
        }
        1 << self.target | 1 << self.wanted(encodings) | self.current.map_or(0, |current| 1 << current)
    }

    /// Nothing is to be sent: its peer paused it, there is no room for it, or its shard has shed it.
    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.paused || self.allowed.is_none() || self.left.is_none()
    }

    /// The highest layers that are wanted and allowed, and left by its shard.
    fn bound(&self) -> LayerPreference {
        let lowest = LayerPreference { spatial: 0, temporal: 0 };
        lower(self.unshed_bound(), self.left.unwrap_or(lowest))
    }

    /// The same if nothing were shed.
    fn unshed_bound(&self) -> LayerPreference {
        let lowest = LayerPreference { spatial: 0, temporal: 0 };
        lower(self.preferred, self.allowed.unwrap_or(lowest))
    }

    /// The highest encoding that is wanted, allowed and left.
    fn wanted(&self, encodings: usize) -> u8 {
        self.bound().spatial.min(encodings.saturating_sub(1) as u8)
    }

    /// What its peer wants at most, of what is left; `None` while that is nothing.
    #[must_use]
    pub fn wish(&self) -> Option<LayerPreference> {
        self.left.filter(|_| !self.paused).map(|left| lower(self.preferred, left))
    }

    /// The encoding whose keyframe it waits for: to begin with it, or to change to another picture size inside it.
    #[must_use]
    pub fn awaits_keyframe(&self) -> Option<u8> {
        let elsewhere = self.current != Some(self.target) || self.selection.needs_keyframe();
        let waits = self.kind == MediaKind::Video && !self.is_stopped() && elsewhere;
        waits.then_some(self.target)
    }

    /// Chooses the target among the encodings that send (bits in `alive`): the highest wanted, else the lowest.
    /// Returns whether it changed.
    pub fn choose(&mut self, encodings: usize, alive: u32) -> bool {
        let bound = self.bound();
        // Where there are several encodings, they are the spatial layers.
        let spatial = if encodings > 1 { u8::MAX } else { bound.spatial };
        self.selection.want(LayerPreference { spatial, temporal: bound.temporal });
        let highest = encodings.saturating_sub(1) as u8;
        let target = sending(bound.spatial.min(highest), alive);
        self.unshed = sending(self.unshed_bound().spatial.min(highest), alive);
        let changed = target != self.target;
        self.target = target;
        changed
    }

    /// Says what is wanted at most; [`Consumer::choose`] heeds it.
    pub fn prefer(&mut self, preferred: LayerPreference) {
        self.preferred = preferred;
    }

    /// Says what its share of the transport's bit rate allows at most, `None` being nothing, and whether that is all
    /// that it wants. Returns whether either changed. What begins again does so at the next keyframe.
    pub fn limit(&mut self, allowed: Option<LayerPreference>, full: bool) -> bool {
        if self.allowed.is_some() != allowed.is_some() {
            self.resync();
        }
        let changed = self.allowed != allowed;
        (self.allowed, self.full) = (allowed, full);
        self.settle_allowance() || changed
    }

    /// Says what its shard's shedding leaves of it at most, `None` being nothing. Returns whether that changed anything.
    /// What begins again does so at the next keyframe.
    pub fn leave(&mut self, left: Option<LayerPreference>) -> bool {
        if self.left.is_some() != left.is_some() {
            self.resync();
        }
        let changed = self.left != left;
        self.left = left;
        self.settle_allowance() || changed
    }

    /// Returns whether it changed.
    fn settle_allowance(&mut self) -> bool {
        let reduced = self.wish().is_some_and(|wish| wish != self.preferred);
        let allowance = match self.allowed.and(self.left) {
            None => Allowance::Nothing,
            Some(_) if self.full && !reduced => Allowance::Full,
            Some(_) => Allowance::Reduced,
        };
        std::mem::replace(&mut self.stats.allowance, allowance) != allowance
    }

    /// Whether a packet that it is not sent would be sent, had its shard not shed it.
    #[must_use]
    pub fn is_shed(&self, packet: &MediaPacket) -> bool {
        let whole = self.left == Some(LayerPreference::HIGHEST);
        !whole && !self.paused && self.allowed.is_some() && packet.encoding == self.unshed
    }
}

/// What both bounds leave.
fn lower(one: LayerPreference, other: LayerPreference) -> LayerPreference {
    LayerPreference { spatial: one.spatial.min(other.spatial), temporal: one.temporal.min(other.temporal) }
}

/// The highest encoding up to `wanted` among those that send (bits in `alive`), else the lowest of them.
fn sending(wanted: u8, alive: u32) -> u8 {
    if alive == 0 {
        return wanted;
    }
    (0..=wanted).rev().find(|encoding| alive >> encoding & 1 == 1).unwrap_or(alive.trailing_zeros() as u8)
}
