//! What benches compare a host with: a component that is no policy, and a seat without the queue before it. Knows nothing
//! of what is measured; not in the server.

mod bare;
mod sitting;

pub use bare::Bare;
pub use sitting::Sitting;
