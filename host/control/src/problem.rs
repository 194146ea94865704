//! One shape for every refusal: a problem document (RFC 9457) over HTTP, the same members in a session's
//! `error`. Knows nothing of what was asked.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidegate_types::request::{ErrorKind, RequestError};

/// Why something was not done, for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// The HTTP status that says whose side failed.
    pub status: u16,
    /// Short, stable, lower case with hyphens.
    pub code: String,
    /// The status in words.
    pub title: String,
    /// One sentence: what, and what would do.
    pub detail: String,
    /// Which part of what was sent, as a JSON pointer or a parameter's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: impl Into<String>, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("").to_owned();
        Self { status: status.as_u16(), code: code.into(), title, detail: detail.into(), field: None }
    }

    /// 400: a part of what was sent is not as the schema says.
    pub(crate) fn schema(field: impl Into<String>, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "not-the-schema", detail);
        Self { field: Some(field.into()), ..problem }
    }

    /// 404.
    pub(crate) fn gone(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 409.
    pub(crate) fn out_of_order(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 429; the detail says the bound.
    pub(crate) fn too_many(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
    }

    /// 503.
    pub(crate) fn unavailable(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }
}

/// The only place that maps the directory's failures to status codes.
const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Refused => StatusCode::FORBIDDEN,
        ErrorKind::Missing => StatusCode::NOT_FOUND,
        ErrorKind::Unfit => StatusCode::CONFLICT,
        ErrorKind::Full | ErrorKind::Failed => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        Self::new(status(error.kind), error.code, error.message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
