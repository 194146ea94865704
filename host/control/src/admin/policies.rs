//! The admin API's way to change who decides while calls go on. Knows nothing of how a component is loaded.

use super::views::{PolicyChangedView, PolicySwap};
use crate::door::Door;
use crate::operations::{PolicyAct, PolicyChange};
use crate::problem::Problem;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_types::decision::Decision;

type Answer = Result<Json<PolicyChangedView>, Problem>;
type Parameters = Query<BTreeMap<String, String>>;

/// Puts another component in a policy's place, or in its shadow; answers once it decides there.
#[utoipa::path(post, path = "/api/v1/policies/{decision}/swap", params(("decision" = String, Path, description = "`authorize`, `allocate`, `balance` or `share`.")), request_body = PolicySwap, responses((status = 200, body = PolicyChangedView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn swap(
    State(door): State<Arc<Door>>,
    Path(decision): Path<String>,
    wish: Result<Json<PolicySwap>, JsonRejection>,
) -> Answer {
    let Json(wish) = wish.map_err(|wrong| Problem::schema("body", wrong.body_text()))?;
    let PolicySwap { component, configuration, shadow, position } = wish;
    let position = position.map_or(Ok(1), usize::try_from).unwrap_or(usize::MAX);
    change(door, &decision, position, PolicyAct::Swap { component, configuration, shadow }).await
}

/// Puts the generation before in force again; for `share` that may be the host's own rule.
#[utoipa::path(post, path = "/api/v1/policies/{decision}/back", params(("decision" = String, Path, description = "`authorize`, `allocate`, `balance` or `share`."), ("position" = Option<u32>, Query, description = "Which of a chain, from 1; 1 where nothing is said.")), responses((status = 200, body = PolicyChangedView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn back(
    State(door): State<Arc<Door>>,
    Path(decision): Path<String>,
    Query(parameters): Parameters,
) -> Answer {
    change(door, &decision, position(&parameters)?, PolicyAct::Back).await
}

/// Puts the generation in the shadow in force.
#[utoipa::path(post, path = "/api/v1/policies/{decision}/enforce", params(("decision" = String, Path, description = "`authorize`, `allocate`, `balance` or `share`."), ("position" = Option<u32>, Query, description = "Which of a chain, from 1; 1 where nothing is said.")), responses((status = 200, body = PolicyChangedView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn enforce(
    State(door): State<Arc<Door>>,
    Path(decision): Path<String>,
    Query(parameters): Parameters,
) -> Answer {
    change(door, &decision, position(&parameters)?, PolicyAct::Enforce).await
}

/// Ends the trial of the generation in the shadow.
#[utoipa::path(post, path = "/api/v1/policies/{decision}/dismiss", params(("decision" = String, Path, description = "`authorize`, `allocate`, `balance` or `share`."), ("position" = Option<u32>, Query, description = "Which of a chain, from 1; 1 where nothing is said.")), responses((status = 200, body = PolicyChangedView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn dismiss(
    State(door): State<Arc<Door>>,
    Path(decision): Path<String>,
    Query(parameters): Parameters,
) -> Answer {
    change(door, &decision, position(&parameters)?, PolicyAct::Dismiss).await
}

async fn change(door: Arc<Door>, decision: &str, position: usize, act: PolicyAct) -> Answer {
    let change = PolicyChange { decision: named(decision)?, position, act };
    // A component compiles for a while; no other request may wait for that.
    let changed = tokio::task::spawn_blocking(move || door.operations.change_policy(change)).await;
    let failed = |_| Problem::unavailable("host-failed", "the change ended without an answer: see the log");
    match changed.map_err(failed)? {
        Ok(changed) => Ok(Json(changed.into())),
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::CONFLICT);
            Err(Problem::new(status, refusal.code, refusal.detail))
        }
    }
}

fn named(decision: &str) -> Result<Decision, Problem> {
    let known = Decision::ALL.into_iter().find(|known| known.name() == decision);
    known.ok_or_else(|| {
        let known = Decision::ALL.map(Decision::name).join(", ");
        Problem::gone("no-such-decision", format!("there is no decision {decision}; known: {known}"))
    })
}

fn position(parameters: &BTreeMap<String, String>) -> Result<usize, Problem> {
    let Some(text) = parameters.get("position") else { return Ok(1) };
    text.parse().map_err(|_| Problem::schema("position", "position is a whole number from 1"))
}
