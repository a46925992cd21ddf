//! An entry's place in the tree, of a record or of a line alone.
//!
//! As OpenClaw's `parseSessionTranscriptTreeEntry` has it: an entry has an id, and says what it hangs on,
//! null for nothing; one that says no word of it, as former releases wrote them, goes on from the last
//! one. Not here: what follows from places ([`crate::tree`]).

use super::{Dialect, Pi, record::Record};
use crate::{
    fact::{Parsed, Text},
    harness::{
        head::Raw,
        json::{Field, Str, object},
        lines::{self, Records},
    },
    tree::{Entry, Kind, On},
};

/// The record's key: short ids are unique in one file only, and a session may have several.
pub(super) fn key(id: &str, timestamp: &str) -> u64 {
    crate::hash(&[id.as_bytes(), b" ", timestamp.as_bytes()].concat())
}

/// An id, as [`Entry`] has it.
pub(super) fn id(text: &str) -> u64 {
    crate::hash(text.as_bytes())
}

/// A record's place, if it is in the tree at all.
pub(super) fn of(record: &Record<'_>, dialect: &Dialect) -> Option<Entry> {
    let kind = record.kind.text();
    let own = record.id.get().filter(|own| !own.trim().is_empty())?;
    if kind == "session" {
        return None;
    }
    let side = match record.append_mode.json() {
        "" => Some(false),
        r#""side""# => Some(true),
        _ => None,
    };
    let is_beside = (dialect.is_beside)(kind);
    let on = match record.parent.json() {
        // Controls are no entries without it, nor are those that take nothing further.
        "" if is_beside || kind == "leaf" => return None,
        "" => None,
        _ => Some(on_of(record.parent)?),
    };
    let kind = match kind {
        "leaf" => {
            let (to, _) = (on_of(record.target)?, side?);
            let next = match record.append_to.json() {
                "" => to,
                _ => on_of(record.append_to)?,
            };
            Kind::Leaf { to, next }
        }
        _ if is_beside || side == Some(true) => Kind::Beside,
        "reset" => Kind::Reset,
        _ => Kind::GoesOn,
    };
    Some(Entry { id: id(own), on, kind })
}

/// What an id or null stands for; nothing for anything else.
fn on_of(raw: Raw<'_>) -> Option<On> {
    if raw.json() == "null" {
        return Some(On::Root);
    }
    let text: Str<'_> = serde_json::from_str(raw.json()).ok()?;
    let text: &Text<'_> = text.get().filter(|text| !text.trim().is_empty())?;
    Some(On::Entry(id(text)))
}

object! {
    /// As little of a record as that takes: most of a transcript is in its messages.
    struct Outline<'a> {
        kind: Str<'a> = "type",
        id: Str<'a> = "id",
        parent: Raw<'a> = "parentId",
        timestamp: Str<'a> = "timestamp",
        target: Raw<'a> = "targetId",
        append_to: Raw<'a> = "appendParentId",
        append_mode: Raw<'a> = "appendMode",
    }
}

/// Tells the entries in a line; gives the key of its record, as [`Pi`] does.
pub(in crate::harness) fn entries(
    line: &[u8],
    dialect: &Dialect,
    tell: &mut dyn FnMut(Entry),
) -> u64 {
    let parsed = lines::read(&mut Entries { dialect, tell }, line);
    parsed.key.unwrap_or_else(|| crate::hash(line))
}

struct Entries<'e> {
    dialect: &'e Dialect,
    tell: &'e mut dyn FnMut(Entry),
}

impl Records for Entries<'_> {
    fn record<'t>(&mut self, json: &'t str, into: &mut Parsed<'t>) -> bool {
        let Ok(outline) = serde_json::from_str::<Field<Outline<'t>>>(json) else { return false };
        let Field::Is(Outline { kind, id, parent, timestamp, target, append_to, append_mode }) =
            outline
        else {
            return true;
        };
        into.key = id.get().map(|id| key(id, timestamp.text()));
        let placed =
            Record { kind, id, parent, target, append_to, append_mode, ..Record::default() };
        of(&placed, self.dialect).into_iter().for_each(&mut *self.tell);
        true
    }

    fn begins(json: &str) -> bool {
        Pi::begins(json)
    }

    fn is_record(json: &str) -> bool {
        Pi::is_record(json)
    }
}
