//! (placeholder)
/// A transport.
#[derive(Debug)]
pub struct Transport;
