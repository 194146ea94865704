//! What every request handler may use. Knows nothing of what they do with it.

use crate::admin::Inquiries;
use crate::config::{ControlConfig, Limits};
use crate::count::Counters;
use crate::http::{Names, Pages};
use crate::limit::{Buckets, Counts};
use crate::operations::{Operations, ToDirectory};
use crate::session::{Numbers, Sessions};
use crate::whip::Resources;
use std::sync::Arc;
use tidegate_types::Secret;
use tokio::sync::{mpsc, watch};

/// The front door from inside.
pub(crate) struct Door {
    pub(crate) limits: Limits,
    pub(crate) admin_token: Option<Secret>,
    pub(crate) names: Names,
    pub(crate) pages: Pages,
    pub(crate) counters: Arc<Counters>,
    pub(crate) joins: Arc<Buckets>,
    pub(crate) sockets: Arc<Counts>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) resources: Arc<Resources>,
    pub(crate) inquiries: Inquiries,
    pub(crate) operations: Arc<dyn Operations>,
}

impl Door {
    pub(crate) fn new(
        config: ControlConfig,
        to_directory: mpsc::Sender<ToDirectory>,
        operations: Arc<dyn Operations>,
        stop: watch::Receiver<Option<String>>,
    ) -> Arc<Self> {
        let limits = config.limits;
        let counters = Arc::new(Counters::default());
        let joins = Arc::new(Buckets::new(limits.joins_burst, limits.joins_per_s));
        let numbers = Numbers::default();
        let inquiries = Inquiries::new(to_directory.clone(), numbers.clone());
        let sessions =
            Sessions::new(limits, Arc::clone(&joins), Arc::clone(&counters), to_directory, stop, numbers);
        Arc::new(Self {
            limits,
            admin_token: config.admin_token,
            names: Names::new(config.public_hosts, config.allowed_origins, config.tls.is_some()),
            pages: Pages::new(config.assets),
            counters,
            joins,
            sockets: Counts::new(limits.sockets_per_address, u32::MAX),
            sessions,
            resources: Resources::new(&limits),
            inquiries,
            operations,
        })
    }
}
