//! WHIP and WHEP as HTTP: methods, headers and status codes. Knows nothing of what a resource does.

use super::choice::{self, Wanted};
use super::fragment::{FRAGMENT_BYTES, Fragment, FragmentError};
use super::guest::Guest;
use super::resources::{Made, Patched};
use crate::door::Door;
use crate::http::Peer;
use crate::problem::Problem;
use crate::sdp::{OFFER_BYTES, Offer, OfferError, parse_offer};
use crate::session::{Answered, ClientMessage, Entered, Join, OfferMessage, OkBody};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_types::Secret;
use tidegate_types::decision::Attr;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// When a player that found nothing to play should look again.
const LOOK_AGAIN_S: &str = "2";

type Body = Result<Bytes, BytesRejection>;
/// What every POST brings besides its path.
type Post = (State<Arc<Door>>, ConnectInfo<Peer>, Query<BTreeMap<String, String>>, HeaderMap, Body);

/// All paths.
pub(crate) fn routes(door: &Arc<Door>) -> Router<Arc<Door>> {
    let endpoint =
        || async { preflight(&[(ACCEPT_POST, SDP), (header::ACCESS_CONTROL_ALLOW_METHODS, "POST")]) };
    let resource = || async {
        preflight(&[(ACCEPT_PATCH, FRAGMENT), (header::ACCESS_CONTROL_ALLOW_METHODS, "PATCH, DELETE")])
    };
    Router::new()
        .route("/whip/{room}", post(publish).get(nothing_to_show).options(endpoint))
        .route("/whep/{room}", post(watch).get(nothing_to_show).options(endpoint))
        .route("/whep/{room}/{wanted}", post(watch_chosen).get(nothing_to_show).options(endpoint))
        .route("/resource/{name}", axum::routing::patch(patch).delete(end).get(stands).options(resource))
        .layer(DefaultBodyLimit::max(OFFER_BYTES))
        .route_layer(middleware::from_fn(naming_media_type))
        .route_layer(middleware::from_fn_with_state(Arc::clone(door), across_origins))
}

/// Pages of allowed origins may use these paths and read what they answer (Fetch, section 3.2).
async fn across_origins(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if let Err(problem) = door.names.check_origin(request.headers()) {
        door.counters.foreign_origins.add();
        return problem.into_response();
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = next.run(request).await;
    if let Some(origin) = origin {
        let exposed =
            HeaderValue::from_static("Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After");
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        headers.insert(header::VARY, HeaderValue::from_name(header::ORIGIN));
    }
    response
}

/// Whoever sends a body of another type is told which one would do (RFC 5789, section 2.2).
async fn naming_media_type(request: Request, next: Next) -> Response {
    let (name, kind) =
        if request.method() == Method::PATCH { (ACCEPT_PATCH, FRAGMENT) } else { (ACCEPT_POST, SDP) };
    let mut response = next.run(request).await;
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        response.headers_mut().insert(name, HeaderValue::from_static(kind));
    }
    response
}

/// These paths have no representation of their own (RFC 9725, section 4).
async fn nothing_to_show() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Nor has a resource, but there is one or there is none.
async fn stands(
    State(door): State<Arc<Door>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    door.resources.find(&name.map_err(|_| unreadable_path())?.0)?;
    Ok(StatusCode::NO_CONTENT)
}

fn preflight(headers: &[(HeaderName, &'static str)]) -> Response {
    let allowed = (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match");
    let age = (header::ACCESS_CONTROL_MAX_AGE, "600");
    let mut response = StatusCode::OK.into_response();
    for (name, value) in headers.iter().chain(&[allowed, age]) {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// WHIP (RFC 9725): publishes what the offer sends. The bearer token is what the authorize policy sees. Whoever
/// enters so is a person in the room like any other.
#[utoipa::path(post, path = "/whip/{room}",
    params(("room" = String, Path, description = "The room; made if nobody is in it."),
        ("name" = Option<String>, Query, description = "What others see the publisher called; `WHIP` where nothing is said.")),
    request_body(content = String, content_type = "application/sdp", description = "The offer, its sections `sendonly` and bundled."),
    responses((status = 201, body = String, content_type = "application/sdp", description = "The answer; `Location` names the resource, `ETag` its ICE session."),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn publish(
    room: Result<Path<String>, PathRejection>,
    (State(door), ConnectInfo(peer), Query(parameters), headers, body): Post,
) -> Result<Response, Problem> {
    let room = room.map_err(|_| unreadable_path())?.0;
    let (offer, sdp) = read_offer(&headers, body)?;
    let visit = Visit { door: &door, peer, token: bearer(&headers), door_name: "whip" };
    let tracks = choice::sources(&offer)?;
    let place = door.resources.admit(peer.address.ip())?;
    let (mut guest, entered) = visit.enter(&room, &parameters).await?;
    if !entered.grant.publish {
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-granted", "this person may not publish"));
    }
    let message = OfferMessage { sdp, tracks };
    let answer = negotiate(&mut guest, &message).await?;
    if let Some(refused) = answer.refused.first() {
        let status =
            if refused.code == "codec-missing" { StatusCode::NOT_ACCEPTABLE } else { StatusCode::FORBIDDEN };
        let detail = format!("section {}: {}", refused.mid, refused.message);
        return Err(choice::unfit(status, &refused.code, detail));
    }
    let made = door.resources.keep(guest, message, ufrag(&offer), &visit.token, place);
    Ok(created(&made, answer))
}

/// WHEP (draft-ietf-wish-whep-03): plays what the room shows now, to as many sections as the offer has: whoever
/// shows video for the longest, with the same person's sound.
#[utoipa::path(post, path = "/whep/{room}",
    params(("room" = String, Path, description = "The room."),
        ("name" = Option<String>, Query, description = "What others see the player called; `WHEP` where nothing is said.")),
    request_body(content = String, content_type = "application/sdp", description = "The offer, its sections `recvonly` and bundled."),
    responses((status = 201, body = String, content_type = "application/sdp", description = "The answer; `Location` names the resource, `ETag` its ICE session."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Nothing to play yet; `Retry-After` says when to look again."),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn watch(
    room: Result<Path<String>, PathRejection>,
    post: Post,
) -> Result<Response, Problem> {
    let room = room.map_err(|_| unreadable_path())?.0;
    play(&room, &Wanted::Any, post).await
}

/// WHEP of one track (`producer-7`), or of one person by id (`person-3`), name or identity.
#[utoipa::path(post, path = "/whep/{room}/{wanted}",
    params(("room" = String, Path, description = "The room."),
        ("wanted" = String, Path, description = "`producer-7`, `person-3`, or a person's name or identity."),
        ("name" = Option<String>, Query, description = "What others see the player called; `WHEP` where nothing is said.")),
    request_body(content = String, content_type = "application/sdp", description = "The offer, its sections `recvonly` and bundled."),
    responses((status = 201, body = String, content_type = "application/sdp", description = "The answer; `Location` names the resource, `ETag` its ICE session."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Nothing to play yet; `Retry-After` says when to look again."),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn watch_chosen(
    path: Result<Path<(String, String)>, PathRejection>,
    post: Post,
) -> Result<Response, Problem> {
    let (room, wanted) = path.map_err(|_| unreadable_path())?.0;
    play(&room, &Wanted::read(&wanted), post).await
}

/// Trickles candidates (`If-Match` with the ICE session's tag), or restarts ICE (`If-Match: *` and new credentials).
#[utoipa::path(patch, path = "/resource/{name}",
    params(("name" = String, Path, description = "As `Location` said."),
        ("If-Match" = String, Header, description = "The ICE session's `ETag`, or `*` for a restart.")),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses((status = 204, description = "Candidates noted."),
        (status = 200, body = String, content_type = "application/trickle-ice-sdpfrag", description = "ICE restarted; `ETag` names the new ICE session."),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn patch(
    State(door): State<Arc<Door>>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = name.map_err(|_| unreadable_path())?.0;
    let token = bearer(&headers);
    // What would be refused without a precondition is refused for its own reason (RFC 9110, section 13.2.1).
    door.resources.check(&name, &token)?;
    let text = read_body(&headers, body, FRAGMENT, FRAGMENT_BYTES)?;
    let fragment = Fragment::read(&text).map_err(|error| unfit_fragment(&error))?;
    let Some(if_match) = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok()) else {
        let detail = "say If-Match: the ICE session's ETag to trickle, * to restart";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "if-match-missing", detail));
    };
    let patched = door.resources.patch(&name, &token, if_match.trim().to_owned(), fragment).await?;
    Ok(match patched {
        Patched::Noted => StatusCode::NO_CONTENT.into_response(),
        Patched::Restarted { fragment, tag } => {
            ([(header::CONTENT_TYPE, FRAGMENT.to_owned()), (header::ETAG, tag)], fragment).into_response()
        }
    })
}

/// Ends a resource, and with it the presence in the room.
#[utoipa::path(delete, path = "/resource/{name}",
    params(("name" = String, Path, description = "As `Location` said.")),
    responses((status = 200, description = "Ended."),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn end(
    State(door): State<Arc<Door>>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let name = name.map_err(|_| unreadable_path())?.0;
    door.resources.end(&name, &bearer(&headers)).await?;
    Ok(StatusCode::OK)
}

/// Someone at one of these doors.
struct Visit<'a> {
    door: &'a Arc<Door>,
    peer: Peer,
    token: Secret,
    /// Policies see it as the attribute `door`.
    door_name: &'static str,
}

impl Visit<'_> {
    async fn enter(
        &self,
        room: &str,
        parameters: &BTreeMap<String, String>,
    ) -> Result<(Guest, Box<Entered>), Problem> {
        let default = self.door_name.to_ascii_uppercase();
        let name = parameters.get("name").unwrap_or(&default);
        let mut join = Join::outside(room, name, self.token.clone())?;
        join.attrs.push(Attr { name: "door".into(), value: self.door_name.into() });
        join.told_by_ceiling = self.door_name == "whip";
        let mut guest = Guest::new(&self.door.sessions, self.peer.address.ip())?;
        match guest.ask(ClientMessage::Join(join)).await {
            Ok(OkBody::Entered(entered)) => Ok((guest, entered)),
            Ok(_) => Err(mistaken()),
            // Refused for want of a token is refused until one is shown.
            Err(problem) if problem.status == 403 && self.token.expose().is_empty() => {
                Err(Problem::new(StatusCode::UNAUTHORIZED, problem.code, problem.detail))
            }
            Err(problem) => Err(problem),
        }
    }
}

/// Both forms of WHEP.
async fn play(
    room: &str,
    wanted: &Wanted,
    (State(door), ConnectInfo(peer), Query(parameters), headers, body): Post,
) -> Result<Response, Problem> {
    let (offer, sdp) = read_offer(&headers, body)?;
    let visit = Visit { door: &door, peer, token: bearer(&headers), door_name: "whep" };
    if !choice::receives(&offer) {
        let detail = "no section of the offer receives audio or video: one needs a=recvonly";
        return Err(choice::unfit(StatusCode::UNPROCESSABLE_ENTITY, "nothing-received", detail));
    }
    let resources = &visit.door.resources;
    let place = resources.admit(visit.peer.address.ip())?;
    let (mut guest, entered) = visit.enter(room, &parameters).await?;
    if !entered.grant.subscribe {
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-granted", "this person may not receive tracks"));
    }
    let chosen = choice::choose(wanted, &entered, &offer);
    if chosen.is_empty() {
        return Ok(nothing_yet());
    }
    for producer in chosen {
        guest.ask(ClientMessage::Subscribe(producer)).await?;
    }
    let message = OfferMessage { sdp, tracks: Vec::new() };
    let answer = negotiate(&mut guest, &message).await?;
    if answer.receiving.is_empty() {
        let detail = "no section of the offer can carry the room's tracks: offer their codecs";
        return Err(choice::unfit(StatusCode::NOT_ACCEPTABLE, "codec-missing", detail));
    }
    let made = resources.keep(guest, message, ufrag(&offer), &visit.token, place);
    Ok(created(&made, answer))
}

async fn negotiate(guest: &mut Guest, offer: &OfferMessage) -> Result<Answered, Problem> {
    match guest.ask(ClientMessage::Offer(offer.clone())).await? {
        OkBody::Answer(answer) => Ok(answer),
        _ => Err(mistaken()),
    }
}

fn created(made: &Made, answer: Answered) -> Response {
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, format!("/resource/{}", made.name)),
        (header::ETAG, made.tag.clone()),
        (ACCEPT_PATCH, FRAGMENT.to_owned()),
    ];
    (StatusCode::CREATED, headers, answer.sdp).into_response()
}

fn nothing_yet() -> Response {
    let problem =
        Problem::out_of_order("nothing-to-play", "the room shows nothing of that yet; look again soon");
    let mut response = problem.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(LOOK_AGAIN_S));
    response
}

fn read_offer(headers: &HeaderMap, body: Body) -> Result<(Offer, String), Problem> {
    let sdp = read_body(headers, body, SDP, OFFER_BYTES)?;
    let offer = parse_offer(&sdp).map_err(|error| {
        let status = match error {
            OfferError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            OfferError::Grammar(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        choice::unfit(status, "sdp-unfit", error.to_string())
    })?;
    Ok((offer, sdp))
}

fn read_body(headers: &HeaderMap, body: Body, kind: &str, most: usize) -> Result<String, Problem> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !said.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case(kind) {
        let detail = format!("the body must be {kind}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong-media-type", detail));
    }
    let body = body.map_err(|rejection| {
        let detail = format!("the body cannot be read; at most {most} bytes are");
        Problem::new(rejection.into_response().status(), "body-unreadable", detail)
    })?;
    String::from_utf8(body.into()).map_err(|_| Problem::schema("", "the body is not UTF-8"))
}

fn unfit_fragment(error: &FragmentError) -> Problem {
    let status = match error {
        FragmentError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
        FragmentError::Missing(_) | FragmentError::Unfit { .. } => StatusCode::BAD_REQUEST,
    };
    Problem::new(status, "fragment-unfit", error.to_string())
}

fn ufrag(offer: &Offer) -> String {
    offer.transport.as_ref().map(|transport| transport.ice.ufrag.clone()).unwrap_or_default()
}

fn bearer(headers: &HeaderMap) -> Secret {
    Secret::new(crate::admin::bearer(headers).unwrap_or_default())
}

fn unreadable_path() -> Problem {
    Problem::schema("", "the path is not UTF-8")
}

fn mistaken() -> Problem {
    Problem::unavailable("host-failed", "the host answered something else")
}
