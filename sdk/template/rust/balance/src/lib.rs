//! {{name}}: one transport a tick, from the fullest shard to the emptiest.

use tidegate_sdk::balance::*;

struct Policy;

impl Balance for Policy {
    fn balance(&mut self, _request: &BalanceRequest, cluster: &Cluster) -> Vec<Wish> {
        let fullest = cluster.all_shards().max_by_key(|shard| shard.transports());
        let emptiest = cluster.shards().min_by_key(|shard| shard.expected_transports());
        match (fullest, emptiest) {
            (Some(from), Some(to)) if from.transports() > to.expected_transports() + 1 => {
                vec![Wish::move_transports(from, to, 1, "to level the shards")]
            }
            _ => Vec::new(),
        }
    }
}

tidegate_sdk::register!(balance: Policy);

#[cfg(test)]
mod tests {
    use super::Policy;

    #[test]
    fn the_cases_decide_as_written() {
        tidegate_sdk::cases::balance::<Policy>("cases");
    }
}
