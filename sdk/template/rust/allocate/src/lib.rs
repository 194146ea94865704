//! {{name}}: the shard with the shortest forwarding delay, in the region that was asked for if it can be.

use tidegate_sdk::allocate::*;

struct Policy;

/// Relays of one producer that may leave from one place before another becomes their parent.
const FAN_OUT: u32 = 8;

impl Allocate for Policy {
    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        setup.expect_nothing()?;
        setup.require(&[Column::ForwardDelayP99])
    }

    fn place(&self, request: &PlaceRequest, cluster: &Cluster) -> Result<Placement, Refusal> {
        let chosen = match request.kind {
            PlaceKind::Relay => request.nearest_parent(cluster, FAN_OUT),
            _ => nearest(request.region_hint.as_deref(), cluster),
        };
        chosen.map(Placement::on).ok_or(Refusal::full("No shard is alive."))
    }
}

fn nearest<'a>(region: Option<&str>, cluster: &'a Cluster) -> Option<Shard<'a>> {
    let elsewhere = |shard: &Shard<'_>| region.is_some_and(|region| region != shard.region());
    cluster.shards().min_by_key(|shard| (elsewhere(shard), shard.forward_delay_p99()))
}

tidegate_sdk::register!(allocate: Policy);

#[cfg(test)]
mod tests {
    use super::Policy;

    #[test]
    fn the_cases_decide_as_written() {
        tidegate_sdk::cases::allocate::<Policy>("cases");
    }
}
