//! The admin API's paths and its OpenAPI document. Knows nothing of who may use it.

use super::views::{
    Decisions, Destination, People, PersonView, Places, Policies, Relays, Rooms, TrackRow, Tracks, Wishes,
};
use super::{persons, policies};
use crate::door::Door;
use crate::problem::Problem;
use crate::whip;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_types::request::{Dump, ReplyBody, RequestBody};
use tidegate_types::{ShardIndex, TransportId};
use utoipa::OpenApi;

/// How many decisions are told where nobody says.
const DECISIONS: usize = 50;
/// How many at most.
const DECISIONS_MOST: usize = 1_000;

/// Generated from the handlers below and the views; compared with the checked-in `openapi.json` by a test.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate HTTP API",
        description = "WHIP and WHEP, for whom the authorize policy lets in; and the admin API below /api: what \
                       exists in a Tidegate host and what decided it, answered on loopback, or to whoever bears \
                       the admin token."
    ),
    paths(
        rooms,
        people,
        tracks,
        places,
        relays,
        in_force,
        policies::swap,
        policies::back,
        policies::enforce,
        policies::dismiss,
        decisions,
        wishes,
        move_transport,
        persons::reauthorize,
        persons::end,
        whip::routes::publish,
        whip::routes::watch,
        whip::routes::watch_chosen,
        whip::routes::patch,
        whip::routes::end
    ),
    components(schemas(Problem))
)]
struct Document;

/// The OpenAPI document of the admin API, as pretty JSON with a newline at its end.
#[must_use]
pub fn openapi() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// All paths.
pub(crate) fn routes() -> Router<Arc<Door>> {
    Router::new()
        .route("/api/v1/rooms", get(rooms))
        .route("/api/v1/people", get(people))
        .route("/api/v1/tracks", get(tracks))
        .route("/api/v1/places", get(places))
        .route("/api/v1/relays", get(relays))
        .route("/api/v1/policies", get(in_force))
        .route("/api/v1/policies/{decision}/swap", post(policies::swap))
        .route("/api/v1/policies/{decision}/back", post(policies::back))
        .route("/api/v1/policies/{decision}/enforce", post(policies::enforce))
        .route("/api/v1/policies/{decision}/dismiss", post(policies::dismiss))
        .route("/api/v1/decisions", get(decisions))
        .route("/api/v1/wishes", get(wishes))
        .route("/api/v1/transports/{transport}/move", post(move_transport))
        .route("/api/v1/people/{person}", delete(persons::end))
        .route("/api/v1/people/{person}/reauthorize", post(persons::reauthorize))
        .route("/api/v1/openapi.json", get(document))
}

type Answer<T> = Result<Json<T>, Problem>;

async fn dump(door: &Door) -> Result<Box<Dump>, Problem> {
    match door.inquiries.ask(RequestBody::Dump).await? {
        ReplyBody::Dump(dump) => Ok(dump),
        _ => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "host-failed",
            "the directory answered something else",
        )),
    }
}

/// Rooms.
#[utoipa::path(get, path = "/api/v1/rooms", responses((status = 200, body = Rooms), (status = "default", body = Problem, content_type = "application/problem+json")))]
async fn rooms(State(door): State<Arc<Door>>) -> Answer<Rooms> {
    let dump = dump(&door).await?;
    Ok(Json(Rooms { rooms: dump.rooms.iter().map(Into::into).collect() }))
}

/// People, with the place where each one's transport stands.
#[utoipa::path(get, path = "/api/v1/people", responses((status = 200, body = People), (status = "default", body = Problem, content_type = "application/problem+json")))]
async fn people(State(door): State<Arc<Door>>) -> Answer<People> {
    let dump = dump(&door).await?;
    let seen = |room| move |person| PersonView::new(room, person);
    let people = dump.rooms.iter().flat_map(|room| room.people.iter().map(seen(room))).collect();
    Ok(Json(People { people }))
}

/// Tracks.
#[utoipa::path(get, path = "/api/v1/tracks", responses((status = 200, body = Tracks), (status = "default", body = Problem, content_type = "application/problem+json")))]
async fn tracks(State(door): State<Arc<Door>>) -> Answer<Tracks> {
    let dump = dump(&door).await?;
    let people = dump.rooms.iter().flat_map(|room| room.people.iter().map(move |person| (room, person)));
    let tracks = people
        .flat_map(|(room, person)| person.tracks.iter().map(move |track| TrackRow::new(room, person, track)))
        .collect();
    Ok(Json(Tracks { tracks }))
}

/// Shards with their load, as policies see them.
#[utoipa::path(get, path = "/api/v1/places", responses((status = 200, body = Places), (status = "default", body = Problem, content_type = "application/problem+json")))]
async fn places(State(door): State<Arc<Door>>) -> Answer<Places> {
    let dump = dump(&door).await?;
    Ok(Json(Places { places: dump.shards.iter().map(Into::into).collect() }))
}

/// Relays.
#[utoipa::path(get, path = "/api/v1/relays", responses((status = 200, body = Relays), (status = "default", body = Problem, content_type = "application/problem+json")))]
async fn relays(State(door): State<Arc<Door>>) -> Answer<Relays> {
    let dump = dump(&door).await?;
    Ok(Json(Relays { relays: dump.relays.iter().map(Into::into).collect() }))
}

/// The policies in force, with the digest and generation of each, what stood there before and what stands in its shadow.
#[utoipa::path(get, path = "/api/v1/policies", responses((status = 200, body = Policies), (status = "default", body = Problem, content_type = "application/problem+json")))]
async fn in_force(State(door): State<Arc<Door>>) -> Json<Policies> {
    Json(Policies { policies: door.operations.policies().into_iter().map(Into::into).collect() })
}

/// The last decisions with their inputs and latency, newest first.
#[utoipa::path(get, path = "/api/v1/decisions", params(("limit" = Option<usize>, Query, description = "How many at most, 1 to 1000; 50 where nothing is said.", minimum = 1, maximum = 1000)), responses((status = 200, body = Decisions), (status = "default", body = Problem, content_type = "application/problem+json")))]
async fn decisions(
    State(door): State<Arc<Door>>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Answer<Decisions> {
    let limit = match parameters.get("limit") {
        None => DECISIONS,
        Some(text) => {
            text.parse().ok().filter(|limit| (1..=DECISIONS_MOST).contains(limit)).ok_or_else(|| {
                Problem::schema("limit", format!("limit is a whole number from 1 to {DECISIONS_MOST}"))
            })?
        }
    };
    Ok(Json(Decisions { decisions: door.operations.decisions(limit).into_iter().map(Into::into).collect() }))
}

/// What the balance policy wished for lately, newest last.
#[utoipa::path(get, path = "/api/v1/wishes", responses((status = 200, body = Wishes), (status = "default", body = Problem, content_type = "application/problem+json")))]
async fn wishes(State(door): State<Arc<Door>>) -> Answer<Wishes> {
    let dump = dump(&door).await?;
    Ok(Json(Wishes { wishes: dump.wishes.iter().map(Into::into).collect() }))
}

/// Gives a transport to another shard of its server while its call goes on; answers once it stands there.
#[utoipa::path(post, path = "/api/v1/transports/{transport}/move", params(("transport" = u64, Path, description = "The transport's number, as people have it.")), request_body = Destination, responses((status = 204, description = "It stands there."), (status = "default", body = Problem, content_type = "application/problem+json")))]
async fn move_transport(
    State(door): State<Arc<Door>>,
    Path(transport): Path<u64>,
    destination: Result<Json<Destination>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(destination) = destination.map_err(|wrong| Problem::schema("body", wrong.body_text()))?;
    let (transport, to) = (TransportId(transport), ShardIndex(destination.shard));
    door.inquiries.ask(RequestBody::Move { transport, to }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn document() -> ([(axum::http::HeaderName, &'static str); 1], String) {
    ([(axum::http::header::CONTENT_TYPE, "application/json")], openapi())
}

#[cfg(test)]
mod tests {
    use super::openapi;

    #[test]
    fn the_checked_in_document_is_the_generated_one() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(file, openapi()).expect("openapi.json can be written");
        }
        let kept = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            kept == openapi(),
            "openapi.json is out of date; run this test with UPDATE=1 and commit the file"
        );
    }
}
