//! The pages. Knows nothing of what they show.

use super::Peer;
use crate::admin;
use crate::chance;
use crate::config::{Asset, Assets};
use crate::door::Door;
use crate::problem::Problem;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Embedded files by path, each with its entity tag.
#[derive(Debug)]
pub(crate) struct Pages(BTreeMap<&'static str, (Asset, HeaderValue)>);

impl Pages {
    pub(crate) fn new(assets: &'static Assets) -> Self {
        let tagged = |asset: &Asset| {
            let tag = format!("\"{}\"", chance::hexadecimal(&chance::hash(asset.bytes)[..16]));
            let tag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
            (asset.path, (*asset, tag))
        };
        Self(assets.iter().map(tagged).collect())
    }

    fn find(&self, path: &str) -> Option<&(Asset, HeaderValue)> {
        let path = path.trim_end_matches('/');
        let found = |path: String| self.0.get(path.as_str());
        self.0
            .get(path)
            .or_else(|| found(format!("{path}.html")))
            .or_else(|| found(format!("{path}/index.html")))
    }
}

/// Answers any path that nothing else does.
pub(super) async fn serve(
    State(door): State<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some((asset, tag)) = door.pages.find(uri.path()) else {
        return Problem::gone("no-such-page", "nothing is served at that path").into_response();
    };
    if asset.path.starts_with("/console")
        && let Err(problem) = admin::may_see_console(&door, peer, &headers)
    {
        return problem.into_response();
    }
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or("");
    let current =
        tag.to_str().is_ok_and(|tag| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
    // The tag is asked about each time: a new host's pages are seen at once.
    let head = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if current {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, [(header::CONTENT_TYPE, HeaderValue::from_static(asset.mime))], asset.bytes).into_response()
}
