//! The pages and the browser's module, embedded: path, media type, bytes. Knows nothing of who serves them.

use tidegate_control::Asset;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";
const TYPES: &str = "text/plain; charset=utf-8";

macro_rules! asset {
    ($path:literal, $mime:expr, $file:literal) => {
        Asset { path: $path, mime: $mime, bytes: include_bytes!(concat!("../../sdk/js/", $file)) }
    };
}

/// Everything that the host serves by itself.
pub(crate) static ASSETS: &[Asset] = &[
    asset!("/index.html", HTML, "page/index.html"),
    asset!("/room.js", SCRIPT, "page/room.js"),
    asset!("/stage.js", SCRIPT, "page/stage.js"),
    asset!("/room.css", CSS, "page/room.css"),
    asset!("/icon.svg", ICON, "page/icon.svg"),
    asset!("/console/index.html", HTML, "console/index.html"),
    asset!("/console.js", SCRIPT, "console/console.js"),
    asset!("/console.css", CSS, "console/console.css"),
    asset!("/sdk/tidegate.js", SCRIPT, "tidegate.js"),
    asset!("/sdk/tidegate.d.ts", TYPES, "tidegate.d.ts"),
];
