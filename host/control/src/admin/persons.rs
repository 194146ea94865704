//! The admin API's way to ask authorize again about someone inside, and to end a presence. Knows nothing of what a
//! grant takes away.

use super::views::Reauthorization;
use crate::door::Door;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_types::PersonId;
use tidegate_types::request::{ReplyBody, RequestBody};

/// What a person is told where the operator says nothing.
const MESSAGE: &str = "The host's operator ended your session.";
/// The longest sentence, in bytes.
const MESSAGE_BYTES: usize = 256;

/// Has the authorize policy asked now whether a person may stay, and puts its grant in force: what is less ends at once,
/// a refusal ends the session. Without an answer the grant stays as it is.
#[utoipa::path(post, path = "/api/v1/people/{person}/reauthorize", params(("person" = u64, Path, description = "The person's number, as `people` tells it.")), responses((status = 200, body = Reauthorization), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn reauthorize(
    State(door): State<Arc<Door>>,
    Path(person): Path<u64>,
) -> Result<Json<Reauthorization>, Problem> {
    match door.inquiries.ask(RequestBody::Reauthorize { person: PersonId(person) }).await? {
        ReplyBody::Reauthorized(done) => Ok(Json(done.into())),
        _ => {
            let detail = "the directory answered something else";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "host-failed", detail))
        }
    }
}

/// Ends a person's session; it is told the reason, with the code `ended-by-operator`, and does not come back by itself.
#[utoipa::path(delete, path = "/api/v1/people/{person}", params(("person" = u64, Path, description = "The person's number, as `people` tells it."), ("reason" = Option<String>, Query, description = "One sentence for the person, of at most 256 bytes.", max_length = 256)), responses((status = 204, description = "It is out."), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn end(
    State(door): State<Arc<Door>>,
    Path(person): Path<u64>,
    Query(mut parameters): Query<BTreeMap<String, String>>,
) -> Result<StatusCode, Problem> {
    let message = parameters.remove("reason").unwrap_or_else(|| MESSAGE.to_owned());
    if message.is_empty() || message.len() > MESSAGE_BYTES || message.chars().any(char::is_control) {
        let detail = format!("reason is one sentence of 1 to {MESSAGE_BYTES} bytes");
        return Err(Problem::schema("reason", detail));
    }
    door.inquiries.ask(RequestBody::EndPerson { person: PersonId(person), message }).await?;
    Ok(StatusCode::NO_CONTENT)
}
