//! Joins policies with the lookups that they need. Knows nothing of how either works.

use std::sync::Arc;
use std::time::Instant;
use tidegate_lookup::{ConfigError, LookupConfig, Lookups};
use tidegate_policy::Reply;

/// The configured lookups as policies ask for them.
#[derive(Clone, Debug)]
pub(crate) struct Asked(pub(crate) Arc<Lookups>);

impl Asked {
    /// Makes them ready; `None` where there are none. Needs a running tokio runtime.
    pub(crate) fn start(configs: &[LookupConfig]) -> Result<Option<Self>, ConfigError> {
        if configs.is_empty() {
            return Ok(None);
        }
        Lookups::start(configs.to_vec()).map(|lookups| Some(Self(Arc::new(lookups))))
    }
}

impl tidegate_policy::Lookups for Asked {
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn look_up(&self, lookup: &str, key: &str, until: Instant, reply: Reply) {
        self.0.ask(lookup, key, until, |found| reply.give(found));
    }

    fn is_secret(&self, lookup: &str) -> bool {
        self.0.is_secret(lookup)
    }
}
