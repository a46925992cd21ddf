//! What a session is written into: a page of this server, or a file that stands by itself.
//!
//! That decides where links lead, how times are told, and how much of an event there is room for. All else
//! is the same in both. Not here: what is written ([`super::event`], [`super::strip`]).

use rrd_proto::{Session, Subagent, Timestamp};

use super::{html::Html, list};

/// Where it is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Within<'a> {
    /// A page, as of a moment, with so many bytes of one event at most: the rest is on a page of its own.
    Page { session: &'a Session, now: Timestamp, most: usize },
    /// A file with all events, whole, to be read at any time and anywhere.
    File,
}

impl Within<'_> {
    pub(super) const fn is_file(self) -> bool {
        matches!(self, Self::File)
    }

    /// Bytes of one event.
    pub(super) const fn most(self) -> usize {
        match self {
            Self::Page { most, .. } => most,
            Self::File => usize::MAX,
        }
    }

    /// When something happened.
    pub(super) fn clock(self, html: &mut Html, at: Timestamp) {
        if let Self::Page { now, .. } = self {
            return list::clock(html, at, now);
        }
        let text = at.to_string();
        html.raw("<time class=\"clock\"").attr("datetime", &text).raw(">");
        match (text.get(..10), text.get(11..19), text.len()) {
            // Whoever reads it knows neither when nor where that was.
            (Some(day), Some(time), 24) => html.text(day).raw(" ").text(time).raw(" UTC"),
            _ => html.text(&text),
        };
        html.raw("</time>");
    }

    /// How long ago that is, where that stays true.
    pub(super) fn age(self, html: &mut Html, since: Timestamp) {
        if let Self::Page { now, .. } = self {
            list::age(html, since, now);
        }
    }

    /// ` href="…"` to an event; on a page with those around it.
    pub(super) fn href(self, html: &mut Html, seq: u64) {
        match self {
            Self::Page { session, .. } => {
                html.href(session, "?around=").number(seq).raw("#e");
            }
            Self::File => {
                html.raw(" href=\"#e");
            }
        }
        html.number(seq).raw("\"");
    }

    /// ` href="…"` to a subagent: to its own page, or in a file to what its session did meanwhile.
    pub(super) fn href_of(self, html: &mut Html, subagent: &Subagent, meanwhile: u64) {
        match self {
            Self::Page { session, .. } => {
                let harness = session.harness.as_str();
                html.raw(" href=\"").address(&session.host, harness, &subagent.session_id);
                if let Some(from) = subagent.from {
                    html.raw("#t=").percent(&from.to_string());
                }
            }
            Self::File => {
                html.raw(" href=\"#e").number(meanwhile);
            }
        }
        html.raw("\"");
    }
}
