//! What the page is made of besides HTML: one file each, embedded in the binary.
//!
//! Those that a page names with `?v=` carry a hash of their bytes there, so they may be kept for good.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// What everything looks like.
pub(super) const BASE: &str = include_str!("base.css");
/// What a session does.
pub(super) const SESSION: &str = include_str!("session.css");
/// All of it, and what else there is on a page.
const STYLE: &str =
    concat!(include_str!("base.css"), include_str!("session.css"), include_str!("style.css"));

/// A file as it is served.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Where, with the slash.
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: &'static [u8],
    /// A hash of the bytes in quotes, as the header wants it.
    pub(crate) etag: String,
}

/// All of them.
pub(crate) static ASSETS: LazyLock<[Asset; 6]> = LazyLock::new(|| {
    [
        asset("/style.css", "text/css; charset=utf-8", STYLE.as_bytes()),
        asset("/graph.css", "text/css; charset=utf-8", include_bytes!("graph.css")),
        asset("/app.js", "text/javascript; charset=utf-8", include_bytes!("app.js")),
        asset("/icon.svg", "image/svg+xml", include_bytes!("icon.svg")),
        asset("/icon-180.png", "image/png", include_bytes!("icon-180.png")),
        asset(
            "/manifest.webmanifest",
            "application/manifest+json",
            include_bytes!("manifest.webmanifest"),
        ),
    ]
});

fn asset(path: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Asset { path, content_type, bytes, etag: format!("\"{hex}\"") }
}

/// `/NAME?v=HASH`, where `name` is one of [`ASSETS`].
pub(super) fn url(name: &str) -> String {
    let found = ASSETS.iter().find(|asset| &asset.path[1..] == name);
    let hash = found.map(|asset| asset.etag.trim_matches('"')).unwrap_or_default();
    format!("/{name}?v={hash}")
}
