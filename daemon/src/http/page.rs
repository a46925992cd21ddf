//! The phone page: HTML made from rows. Pure functions: no clock, no file, no socket.
//!
//! Nothing of a session is trusted: [`html::Html`] is the only way to write, and all it takes besides
//! markup from this program's own source is text, which it escapes. What `app.js` makes of a row that
//! has changed is the same, element by element, as what [`list()`] makes of it; the browser test compares
//! them. Not here: who may look, routes, the stream of changes.

mod asset;
mod drawing;
mod event;
mod export;
mod found;
mod graph;
mod html;
mod list;
mod session;
mod strip;
#[cfg(test)]
mod tests;
mod within;
mod words;

pub(crate) use asset::ASSETS;
pub use export::{About, Export};
pub(crate) use found::{FoundView, found};
pub(crate) use graph::{GraphView, Tally, graph};
pub(crate) use list::{ListView, Rows, list};
use rrd_proto::Timestamp;
pub(crate) use session::{Events, SessionView, session};

use self::html::Html;

/// How often a page without JavaScript asks again, in seconds.
const REFRESH: u64 = 10;

/// What stands on every page around its content.
struct Shell<'a> {
    title: &'a str,
    /// The last change that the page knows of, so that the stream goes on from there; empty to be told
    /// everything.
    event_id: &'a str,
    as_of: Timestamp,
    /// What is on it goes out of date.
    live: bool,
    /// A further style, by its name.
    style: Option<&'static str>,
}

fn open(shell: &Shell<'_>) -> Html {
    let mut page = Html::new();
    page.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    page.text(shell.title);
    page.raw(concat!(
        "</title><meta name=\"viewport\" content=\"width=device-width,initial-scale=1,viewport-fit=cover\">",
        "<meta name=\"color-scheme\" content=\"dark light\">",
        "<meta name=\"theme-color\" media=\"(prefers-color-scheme:dark)\" content=\"#101112\">",
        "<meta name=\"theme-color\" media=\"(prefers-color-scheme:light)\" content=\"#f7f7f5\">",
        "<meta name=\"apple-mobile-web-app-title\" content=\"rrd\">",
    ));
    page.raw("<link rel=\"stylesheet\"").attr("href", &asset::url("style.css")).raw(">");
    if let Some(style) = shell.style {
        page.raw("<link rel=\"stylesheet\"").attr("href", &asset::url(style)).raw(">");
    }
    page.raw(concat!(
        "<link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">",
        "<link rel=\"apple-touch-icon\" href=\"/icon-180.png\">",
        "<link rel=\"manifest\" href=\"/manifest.webmanifest\">",
    ));
    if shell.live {
        page.raw("<script defer").attr("src", &asset::url("app.js")).raw("></script>");
        page.raw("<noscript><meta http-equiv=\"refresh\" content=\"").number(REFRESH);
        page.raw("\"></noscript>");
    }
    page.raw("</head><body").attr("data-event", shell.event_id);
    page.attr("data-as-of", &shell.as_of.to_string()).raw(">");
    page
}

fn close(mut page: Html) -> String {
    page.raw("</body></html>");
    page.into_string()
}

/// A page that only says something: what is so, and what to do about it.
fn says(title: &str, write: impl FnOnce(&mut Html)) -> String {
    let as_of = Timestamp::default();
    let mut page = open(&Shell { title, event_id: "", as_of, live: false, style: None });
    page.raw("<main class=\"says\"><h1>").text(title).raw("</h1>");
    write(&mut page);
    page.raw("</main>");
    close(page)
}

/// What somebody sees who may not look: `reason` is one sentence.
pub(crate) fn refused(reason: &str) -> String {
    says("This browser is not paired", |page| {
        page.raw("<p>").text(reason).raw("</p>");
        page.raw(concat!(
            "<p>On a host that runs rrd, type</p><p class=\"command\"><code>rrd pair</code></p>",
            "<p>and scan the code it shows with this device. It counts once, and for this device only.</p>",
            "<p>At the host itself <code>rrd open</code> does the same for its browser; ",
            "for scripts there is <code>rrd token</code>.</p>",
        ));
    })
}

/// Anything else that somebody sees in place of what they asked for: sentences, but for the hint, which names
/// commands and so has no capital.
pub(crate) fn problem(title: &str, detail: &str, hint: Option<&str>) -> String {
    says(title, |page| {
        page.raw("<p>").text(detail).raw("</p>");
        if let Some(hint) = hint {
            page.raw("<p>hint: ").text(hint).raw("</p>");
        }
    })
}

/// Where nothing is: a session that no host has, an address that was mistyped.
pub(crate) fn not_found() -> String {
    says("Nothing here", |page| {
        page.raw(concat!(
            "<p>No session is known by this address. It may have been deleted, or its host has left ",
            "the fleet.</p><p><a class=\"button\" href=\"/\">All sessions</a></p>",
        ));
    })
}
