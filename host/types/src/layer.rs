//! Where a packet stands among its stream's layers, in words that fit every codec: those of the dependency descriptor
//! (AV1 RTP specification, appendix A). Knows nothing of how a codec says it.

/// Spatial layers of one stream at most.
pub const SPATIAL_LAYERS: u8 = 4;
/// Temporal layers of one stream at most.
pub const TEMPORAL_LAYERS: u8 = 8;

const _: () = assert!(SPATIAL_LAYERS as u32 * TEMPORAL_LAYERS as u32 == u32::BITS, "a target is a bit");

/// What a receiver may want to decode: everything up to a spatial and a temporal layer. Ordered by picture size first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Highest spatial layer, 0 is the lowest.
    pub spatial: u8,
    /// Highest temporal layer.
    pub temporal: u8,
}

/// A set of decode targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Targets(u32);

impl Targets {
    /// None.
    pub const NONE: Self = Self(0);
    /// All that can be named.
    pub const ALL: Self = Self(u32::MAX);

    /// One; nothing where a layer is out of range.
    #[must_use]
    pub const fn of(target: Target) -> Self {
        if target.spatial < SPATIAL_LAYERS && target.temporal < TEMPORAL_LAYERS {
            Self(1 << (target.spatial * TEMPORAL_LAYERS + target.temporal))
        } else {
            Self::NONE
        }
    }

    /// Those of one spatial layer from a temporal layer on.
    #[must_use]
    pub const fn from(target: Target) -> Self {
        if target.spatial < SPATIAL_LAYERS && target.temporal < TEMPORAL_LAYERS {
            Self((0xff << target.temporal & 0xff) << (target.spatial * TEMPORAL_LAYERS))
        } else {
            Self::NONE
        }
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These but not those.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn common(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn contains(self, target: Target) -> bool {
        self.0 & Self::of(target).0 != 0
    }

    /// Nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn row(self, spatial: u8) -> u8 {
        (self.0 >> (spatial * TEMPORAL_LAYERS)) as u8
    }

    /// The highest with neither layer above `most`.
    #[must_use]
    pub fn highest_within(self, most: Target) -> Option<Target> {
        let mask = 0xff >> (TEMPORAL_LAYERS - 1 - most.temporal.min(TEMPORAL_LAYERS - 1));
        (0..=most.spatial.min(SPATIAL_LAYERS - 1)).rev().find_map(|spatial| {
            let temporal = (self.row(spatial) & mask).checked_ilog2()?;
            Some(Target { spatial, temporal: temporal as u8 })
        })
    }

    /// The best for someone who wants `most` at most: the highest spatial layer counts first, and one temporal layer
    /// too many is better than a smaller picture. `None` only where there is nothing.
    #[must_use]
    pub fn best(self, most: Target) -> Option<Target> {
        let lowest = |spatial: u8| {
            let row = self.row(spatial);
            (row != 0).then(|| Target { spatial, temporal: row.trailing_zeros() as u8 })
        };
        let wanted = (0..=most.spatial.min(SPATIAL_LAYERS - 1)).rev().find_map(lowest);
        let base = wanted.or_else(|| (0..SPATIAL_LAYERS).find_map(lowest))?;
        let row = Self(self.0 & 0xff << (base.spatial * TEMPORAL_LAYERS));
        Some(row.highest_within(Target { spatial: base.spatial, temporal: most.temporal }).unwrap_or(base))
    }
}

/// What a frame needs in order to be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependence {
    /// Nothing: a key picture, or a layer of its own.
    Nothing,
    /// These frames: bit n stands for the frame n + 1 before.
    Frames(u64),
    /// Not said, but whoever decodes one of these targets without a gap can decode it.
    Any(Targets),
}

/// One packet's frame among its stream's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerView {
    /// Running number of the frame. A spatial layer of a picture is a frame of its own.
    pub frame: u16,
    /// Its layers.
    pub layer: Target,
    /// First packet of the frame.
    pub starts_frame: bool,
    /// Last packet of the frame.
    pub ends_frame: bool,
    /// What it needs.
    pub depends: Dependence,
    /// For which targets it is needed, or at least of use.
    pub present: Targets,
    /// Whoever can decode it can decode these from here on.
    pub switch: Targets,
    /// The targets for which nothing depends on it.
    pub discardable: Targets,
    /// Which targets the stream has at present.
    pub exist: Targets,
}

#[cfg(test)]
mod tests {
    use super::{Target, Targets};

    const fn at(spatial: u8, temporal: u8) -> Target {
        Target { spatial, temporal }
    }

    #[test]
    fn the_best_target_keeps_the_picture_large_before_it_keeps_it_smooth() {
        let exist = [at(0, 0), at(0, 2), at(1, 1), at(2, 0)]
            .into_iter()
            .fold(Targets::NONE, |all, one| all.with(Targets::of(one)));
        assert_eq!(exist.best(at(9, 9)), Some(at(2, 0)));
        assert_eq!(exist.best(at(1, 9)), Some(at(1, 1)));
        assert_eq!(exist.best(at(1, 0)), Some(at(1, 1)), "too smooth rather than too small");
        assert_eq!(exist.best(at(0, 1)), Some(at(0, 0)));
        assert_eq!(Targets::of(at(2, 3)).best(at(0, 0)), Some(at(2, 3)), "else the lowest");
        assert_eq!(Targets::NONE.best(at(0, 0)), None);
    }

    #[test]
    fn within_means_both_layers() {
        let some = Targets::of(at(0, 2)).with(Targets::of(at(1, 3)));
        assert_eq!(some.highest_within(at(3, 2)), Some(at(0, 2)));
        assert_eq!(some.highest_within(at(1, 3)), Some(at(1, 3)));
        assert_eq!(some.highest_within(at(3, 1)), None);
        assert!(Targets::from(at(1, 1)).contains(at(1, 7)) && !Targets::from(at(1, 1)).contains(at(1, 0)));
    }
}
