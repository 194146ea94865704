//! Places everything on the first shard, except in rooms whose name announces a misdeed. Knows nothing of how it is
//! contained.
#![forbid(unsafe_code)]

use tidegate_sdk::allocate::*;

struct Hostile;

impl Allocate for Hostile {
    fn place(&self, request: &PlaceRequest, cluster: &Cluster) -> Result<Placement, Refusal> {
        if let Some(huge) = request.room.as_deref().and_then(misdeeds::commit) {
            return Err(Refusal::new("huge", huge));
        }
        cluster.shards().next().map(Placement::on).ok_or(Refusal::full("no shard is alive"))
    }
}

tidegate_sdk::register!(allocate: Hostile);
