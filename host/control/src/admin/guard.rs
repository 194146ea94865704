//! Who may use the admin API, metrics and console. Knows nothing of what they show.

use crate::chance;
use crate::door::Door;
use crate::http::Peer;
use crate::problem::Problem;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Instant;
use tidegate_types::Secret;
use tidegate_types::request::RequestBody;

/// Lets operators through.
pub(crate) async fn guard(
    State(door): State<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    match admit(&door, peer, request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            door.counters.admin_refused.add();
            problem.into_response()
        }
    }
}

/// The console's files hold no secrets: where a token is set they are shown to all, and what they then ask for
/// needs the token.
pub(crate) fn may_see_console(door: &Door, peer: Peer, headers: &HeaderMap) -> Result<(), Problem> {
    if door.admin_token.is_some() || is_local(peer, headers) { Ok(()) } else { Err(local_only()) }
}

async fn admit(door: &Door, peer: Peer, headers: &HeaderMap) -> Result<(), Problem> {
    // Another site's page gets no admin data even where the browser stands on this machine.
    door.names.check_origin(headers)?;
    if door.admin_token.is_none() && is_local(peer, headers) {
        return Ok(());
    }
    let Some(token) = bearer(headers) else {
        return Err(if door.admin_token.is_some() { unauthorized() } else { local_only() });
    };
    if door.admin_token.as_ref().is_some_and(|kept| chance::same_secret(token, kept.expose())) {
        return Ok(());
    }
    ask_policy(door, peer, token).await
}

/// Guessing tokens costs what joining costs.
async fn ask_policy(door: &Door, peer: Peer, token: &str) -> Result<(), Problem> {
    let address = peer.address.ip();
    if !door.joins.take(address, Instant::now()) {
        let detail = format!("attempts are bounded to {}", door.joins.bound());
        return Err(Problem::too_many("too-many-attempts", detail));
    }
    let body = RequestBody::AuthorizeAdmin { token: Secret::new(token), address: Some(address) };
    door.inquiries.ask(body).await.map(|_| ())
}

/// The bearer token of a request (RFC 6750, section 2.1), if it is not empty.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// From this machine, and not on behalf of another: a proxy says for whom it asks.
fn is_local(peer: Peer, headers: &HeaderMap) -> bool {
    let proxied = headers.contains_key(header::FORWARDED) || headers.contains_key("x-forwarded-for");
    peer.address.ip().is_loopback() && !proxied
}

fn local_only() -> Problem {
    let detail = "this is answered on loopback only; set an admin token to open it to its bearer";
    Problem::new(StatusCode::FORBIDDEN, "loopback-only", detail)
}

fn unauthorized() -> Problem {
    let detail = "the admin token is needed: Authorization: Bearer …";
    Problem::new(StatusCode::UNAUTHORIZED, "token-missing", detail)
}
