//! A policy that only chooses among shards: configuration, relays and the refusal are done here. Knows nothing of
//! what makes a shard the right one.

use crate::allocate::{Allocate, PlaceKind, PlaceRequest, Placement};
use crate::cluster::{Cluster, Column, Shard};
use crate::lifecycle::{Description, Package, Problem, Setup};
use crate::words::Refusal;
use serde::de::DeserializeOwned;

/// An [`Allocate`] that is its own configuration and differs from others in one function.
///
/// ```
/// use serde::Deserialize;
/// use tidegate_sdk::allocate::*;
///
/// /// The shard with the fewest consumers.
/// #[derive(Deserialize)]
/// #[serde(deny_unknown_fields, default)]
/// struct Fewest {
///     relay_fan_out: u32,
/// }
///
/// impl Default for Fewest {
///     fn default() -> Self {
///         Self { relay_fan_out: 8 }
///     }
/// }
///
/// impl Choose for Fewest {
///     const SCHEMA: &'static str = r#"{ "type": "object", "additionalProperties": false, "properties": {
///         "relay_fan_out": { "type": "integer", "minimum": 1, "default": 8 } } }"#;
///     const COLUMNS: &'static [Column] = &[Column::Consumers];
///
///     fn relay_fan_out(&self) -> u32 {
///         self.relay_fan_out
///     }
///
///     fn choose<'a>(&self, _request: &PlaceRequest, cluster: &'a Cluster) -> Option<Shard<'a>> {
///         cluster.shards().min_by_key(|shard| shard.consumers())
///     }
/// }
///
/// tidegate_sdk::register!(allocate: Fewest = Fewest::default());
/// ```
pub trait Choose: DeserializeOwned {
    /// The JSON Schema of its configuration, which the host checks first.
    const SCHEMA: &'static str;
    /// The columns that it cannot do without.
    const COLUMNS: &'static [Column];

    /// Relays of one producer from one shard, beyond which the next ones hang on another parent.
    fn relay_fan_out(&self) -> u32;

    /// The shard for a transport or a router's home; `None` refuses.
    fn choose<'a>(&self, request: &PlaceRequest, cluster: &'a Cluster) -> Option<Shard<'a>>;
}

impl<T: Choose> Allocate for T {
    fn describe(&self, package: Package) -> Description {
        Description::of(package).with_schema(T::SCHEMA)
    }

    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        setup.require(T::COLUMNS)?;
        *self = setup.parse()?;
        Ok(())
    }

    fn place(&self, request: &PlaceRequest, cluster: &Cluster) -> Result<Placement, Refusal> {
        let shard = match request.kind {
            PlaceKind::Relay => request.nearest_parent(cluster, self.relay_fan_out()),
            _ => self.choose(request, cluster),
        };
        shard.map(Placement::on).ok_or_else(|| Refusal::full("All servers are full. Try again in a while."))
    }
}

#[cfg(test)]
mod tests {
    use super::{Allocate, Choose, Cluster, Column, PlaceKind, PlaceRequest, Setup, Shard};
    use crate::allocate::Parent;
    use serde::Deserialize;
    use serde_json::json;

    /// The last shard.
    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Last {
        relay_fan_out: u32,
    }

    impl Choose for Last {
        const SCHEMA: &'static str = r#"{ "properties": { "relay_fan_out": {} } }"#;
        const COLUMNS: &'static [Column] = &[Column::Egress];

        fn relay_fan_out(&self) -> u32 {
            self.relay_fan_out
        }

        fn choose<'a>(&self, _request: &PlaceRequest, cluster: &'a Cluster) -> Option<Shard<'a>> {
            cluster.shards().last()
        }
    }

    #[test]
    fn only_what_is_no_relay_is_chosen() {
        let mut policy = Last::default();
        assert_eq!(policy.configure(&Setup::with_configuration(&json!({ "relay_fan_out": 1 }))), Ok(()));
        let cluster = Cluster::with_shards(3);
        let placed = |request: &PlaceRequest| policy.place(request, &cluster).map(|placement| placement.row);
        assert_eq!(placed(&PlaceRequest::default()), Ok(2));
        let parents = vec![Parent { row: 0, depth: 0, fan_out: 1 }, Parent { row: 1, depth: 1, fan_out: 0 }];
        let relay = PlaceRequest { kind: PlaceKind::Relay, parents, ..PlaceRequest::default() };
        assert_eq!(placed(&relay), Ok(1));
        let nowhere = policy.place(&PlaceRequest::default(), &Cluster::with_shards(0));
        assert_eq!(nowhere.map_err(|refusal| refusal.code), Err("full".into()));
    }

    #[test]
    fn a_column_that_is_missing_and_a_setting_that_does_not_fit_are_told() {
        let wrong = Setup::with_configuration(&json!({ "fan_out": 1 }));
        let problems = Last::default().configure(&wrong).unwrap_err();
        assert_eq!(problems[0].pointer, "/fan_out");
        let problems = Last::default().configure(&Setup::default()).unwrap_err();
        assert!(problems[0].message.contains("egress"), "{problems:?}");
    }
}
