//! The host of a simulation: engines with secrets that are none, at addresses that tell their shards, and how a datagram
//! or a command reaches one. Knows nothing of who calls, nor of what time it is. Not in the server.

use super::video::Numbers;
use crate::association::{AssociationConfig, Identity};
use crate::io::{Incoming, Tuple};
use crate::{Engine, EngineConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::command::{Command, CommandBody, CommandError, Done};
use tidegate_types::transport::{Candidate, SrtpProfile};
use tidegate_types::{Now, NtpTime, Place, RequestNumber};

/// The wall clock when a simulation begins, in seconds since 1970.
const BEGINNING_S: u64 = 1_700_000_000;
/// Where the first shard listens; the others behind it.
pub const FIRST_PORT: u16 = 7_000;
/// Transports that each engine takes.
const TRANSPORTS: usize = 1_000;

/// Virtual time begins.
#[must_use]
pub fn begin(instant: Instant) -> Now {
    Now { instant, wall: NtpTime::from_unix(Duration::from_secs(BEGINNING_S)) }
}

/// A certificate of its own, and AES-256-GCM.
///
/// # Panics
/// Where the crypto library makes no certificate.
#[must_use]
pub fn association() -> AssociationConfig {
    let identity = Arc::new(Identity::generate().expect("a certificate"));
    AssociationConfig { identity, profiles: vec![SrtpProfile::AeadAes256Gcm] }
}

/// Where a shard listens.
#[must_use]
pub fn address(shard: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], FIRST_PORT + shard as u16))
}

/// One of so many engines. Whatever it draws comes from the seed and its shard.
#[must_use]
pub fn engine(shard: usize, shards: usize, seed: u64, association: &AssociationConfig) -> Engine {
    let config = EngineConfig {
        place: Place::local(shard as u16),
        shards: shards as u16,
        candidates: vec![Candidate { address: address(shard), tcp: false }],
        association: association.clone(),
        max_transports: TRANSPORTS,
    };
    Engine::new(config, Box::new(Numbers(seed ^ shard as u64)))
}

/// Gives an engine a command, the so-manieth; what came of it.
///
/// # Errors
/// What the engine answers.
///
/// # Panics
/// Where the engine does not answer it: a bug.
pub fn command(engine: &mut Engine, now: Now, number: u64, body: CommandBody) -> Result<Done, CommandError> {
    let request = RequestNumber(number);
    engine.command(now, Command { request, body });
    let reply = engine.output().replies.pop().expect("every command is answered");
    assert_eq!(reply.request, request);
    reply.result
}

/// Hands an engine one datagram.
///
/// # Panics
/// Where the engine's pool hands out a buffer that somebody holds: a bug.
pub fn deliver(engine: &mut Engine, now: Now, remote: SocketAddr, bytes: &[u8]) {
    let mut buffer = engine.pool().take();
    Arc::get_mut(&mut buffer).expect("a fresh buffer is unshared").fill(bytes);
    let tuple = Tuple { socket: 0, remote };
    engine.receive(now, &mut vec![Incoming { tuple, at: now.instant, buffer }]);
}
