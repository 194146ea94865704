//! A router: the routing domain that producers and consumers meet in.

use crate::{ProducerId, RouterId};
use serde::{Deserialize, Serialize};

/// How loud a producer was over the last interval, as its own extension tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioLevel {
    /// Whose.
    pub producer: ProducerId,
    /// Mean level in -dBov: 0 loudest, 127 silent.
    pub level: u8,
    /// How many packets carried the voice flag, in 1/255 of all.
    pub voice: u8,
}

/// The levels of one router's local audio producers over one interval of 100 ms; silent ones are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioLevels {
    /// Which router.
    pub router: RouterId,
    /// Who made any sound.
    pub levels: Vec<AudioLevel>,
}
