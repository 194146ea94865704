//! Where datagrams arrive, and that none is lost by it: at another shard than their transport's, and at a moving
//! transport's. Real sockets on loopback, real handshakes, real media.
#![forbid(unsafe_code)]

mod call;
mod host;
mod moves;
mod people;
mod wrong_shard;

/// The people of the simulation, over sockets.
#[path = "../../../media/tests/world/person.rs"]
#[allow(dead_code, reason = "the simulation asks them for more")]
mod person;
