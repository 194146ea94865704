//! The door to sessions: who may upgrade to a WebSocket. Knows nothing of what is said over it.

use super::Peer;
use crate::door::Door;
use crate::problem::Problem;
use crate::session::{self, MESSAGE_BYTES};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// What a socket reads and writes at once: it keeps a buffer of this size as long as it is open. A longer message grows
/// it for as long as that is read. Twice as much costs a KiB more for each person, half of it twice the calls for an offer.
const BUFFER_BYTES: usize = 1_024;

/// `GET /session`.
pub(super) async fn upgrade(
    State(door): State<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Err(problem) = door.names.check_origin(&headers) {
        door.counters.foreign_origins.add();
        return problem.into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            let status = rejection.into_response().status();
            let status = if status.is_client_error() { status } else { StatusCode::BAD_REQUEST };
            let detail = "this path is for WebSockets, subprotocol tidegate.v1";
            return Problem::new(status, "not-a-websocket", detail).into_response();
        }
    };
    let address = peer.address.ip();
    let Some(place) = door.sockets.enter(address) else {
        door.counters.sockets_bounded.add();
        let most = door.limits.sockets_per_address;
        let detail = format!("at most {most} sockets may be open from one address");
        return Problem::too_many("too-many-sockets", detail).into_response();
    };
    let sessions = Arc::clone(&door.sessions);
    upgrade
        .protocols(["tidegate.v1"])
        .max_message_size(MESSAGE_BYTES)
        .max_frame_size(MESSAGE_BYTES)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .on_upgrade(move |socket| session::serve(sessions, address, socket, place))
}
