//! HTTP: which path is answered by what, and what stands before all of them. Knows nothing of sessions' inner
//! life.

mod assets;
mod listener;
mod names;
mod session;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use assets::Pages;
pub(crate) use listener::{Gate, Peer};
pub(crate) use names::Names;
pub(crate) use tls::acceptor;

use crate::admin;
use crate::count::write_metric;
use crate::door::Door;
use crate::problem::Problem;
use crate::whip;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

/// On every response. Scripts, connections and media come from this host alone; nobody frames its pages.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
         media-src 'self' blob: mediastream:; object-src 'none'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), fullscreen=(self)",
    ),
];

/// Everything that this host answers.
pub(crate) fn routes(door: Arc<Door>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .merge(admin::routes())
        .route_layer(middleware::from_fn_with_state(Arc::clone(&door), admin::guard));
    Router::new()
        .route("/session", get(session::upgrade))
        .route("/healthz", get(health))
        .merge(whip::routes(&door))
        .merge(guarded)
        .fallback(get(assets::serve))
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&door), before))
        .with_state(door)
}

/// Refuses names that aren't this host's, and dresses every response.
async fn before(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let mut response = match door.names.check_host(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            door.counters.foreign_hosts.add();
            problem.into_response()
        }
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this path knows no such method")
}

async fn health(State(door): State<Arc<Door>>) -> Response {
    match door.operations.health() {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => Problem::unavailable("unhealthy", reason).into_response(),
    }
}

async fn metrics(State(door): State<Arc<Door>>) -> Response {
    let mut text = door.operations.metrics();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let sessions = door.sessions.len() as u64;
    write_metric(&mut text, "gauge", "tidegate_sessions", "Sessions alive.", sessions);
    let resources = door.resources.len() as u64;
    write_metric(&mut text, "gauge", "tidegate_whip_resources", "WHIP and WHEP resources alive.", resources);
    let sockets = u64::from(door.sockets.open());
    write_metric(&mut text, "gauge", "tidegate_sockets", "WebSockets open.", sockets);
    door.counters.write(&mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
