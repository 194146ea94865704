//! Says which flow each transport here is reached by, so that whoever owns the sockets can have its datagrams come
//! straight to this shard. Knows nothing of whose socket a flow arrives at, or what is done about it.

use super::Engine;
use crate::io::FlowChange;
use crate::transport::Transport;

impl Engine {
    /// A transport's selected flow may have changed: whoever listens hears of it.
    pub(super) fn note_flow(&mut self, slot: usize) {
        let Some(transport) = self.transports.get_mut(slot).and_then(Option::as_mut) else { return };
        let selected = transport.association.selected();
        if selected == transport.told_flow {
            return;
        }
        let before = std::mem::replace(&mut transport.told_flow, selected);
        self.output.flows.extend(before.map(FlowChange::Left));
        self.output.flows.extend(selected.map(FlowChange::Here));
    }

    /// A transport leaves or ends: its flow is no longer wanted here.
    pub(super) fn drop_flow(&mut self, transport: &mut Transport) {
        self.output.flows.extend(transport.told_flow.take().map(FlowChange::Left));
    }
}
