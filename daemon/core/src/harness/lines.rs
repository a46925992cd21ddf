//! From a line's bytes to whole records: most lines are one, some are damaged.
//!
//! Writers die, disks fill up, two processes append at once. What such a line still holds whole is
//! recovered, nothing is invented: a piece counts only if it is complete and looks like a record of
//! the harness, not like something nested in one. The work is bounded by a multiple of the line's
//! length. Not here: what records mean.

use std::borrow::Cow;

use memchr::memmem;
use serde::de::IgnoredAny;

use super::head::hex4;
use crate::fact::{Fact, Parsed, Subagent, Text, issue};

/// A harness's way to read one record.
pub(super) trait Records {
    /// Understands `json`; false, with nothing done, if it is not JSON.
    fn record<'t>(&mut self, json: &'t str, into: &mut Parsed<'t>) -> bool;

    /// Whether `json` begins as this harness's records do.
    fn begins(json: &str) -> bool;

    /// Whether the object `json` is a record of this harness.
    fn is_record(json: &str) -> bool;
}

/// Understands one line as far as it can.
pub(super) fn read<'a>(records: &mut impl Records, line: &'a [u8]) -> Parsed<'a> {
    let mut parsed = Parsed::default();
    let line = line.trim_ascii();
    if line.is_empty() {
        return parsed;
    }
    // The usual case: checked once as a whole, then not again string by string.
    if let Ok(json) = std::str::from_utf8(line)
        && records.record(json, &mut parsed)
    {
        return parsed;
    }
    repair(records, line)
}

fn repair(records: &mut impl Records, line: &[u8]) -> Parsed<'static> {
    let text = clean(line);
    let mut parsed = Parsed::default();
    let mut whole = Parsed::default();
    let mut found = 0;
    if !text.is_empty() && records.record(&text, &mut whole) {
        found = 1;
        whole.key = whole.key.or_else(|| Some(crate::hash(text.as_bytes())));
        merge(&mut parsed, whole);
    } else {
        for piece in pieces(records, &text) {
            let mut part = Parsed::default();
            if records.record(piece, &mut part) {
                found += 1;
                // As if it stood alone: it may come again, undamaged.
                part.key = part.key.or_else(|| Some(crate::hash(piece.as_bytes())));
                merge(&mut parsed, part);
            }
        }
    }
    if found != 1 {
        parsed.key = None;
    }
    parsed.issues.push(if found == 0 { issue::DAMAGED } else { issue::REPAIRED });
    parsed
}

/// The whole records in a text that is not one.
fn pieces<'t, R: Records>(_: &R, text: &'t str) -> Vec<&'t str> {
    let mut budget = Budget(8 * text.len() + (1 << 16));
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = next(text, from, R::begins)
        && budget.0 > 0
    {
        let tail = &text[at..];
        from = match budget.value(tail) {
            // What a comma or bracket follows is nested in something that was cut.
            Some(end)
                if !tail[end..].trim_start().starts_with([',', '}', ']'])
                    && R::is_record(&tail[..end]) =>
            {
                found.push(&tail[..end]);
                at + end
            }
            _ => at + 1,
        };
    }
    // Records that begin otherwise: only one that ends with the line.
    let mut from = 0;
    while found.is_empty()
        && let Some(at) = next(text, from, |_| true)
        && budget.0 > 0
    {
        let tail = &text[at..];
        if budget.value(tail) == Some(tail.len()) && R::is_record(tail) {
            found.push(tail);
        }
        from = at + 1;
    }
    found
}

/// The next place at or after `from` where an object with keys begins.
fn next(text: &str, from: usize, begins: impl Fn(&str) -> bool) -> Option<usize> {
    let tail = text.get(from..)?;
    memmem::find_iter(tail.as_bytes(), b"{\"").map(|at| from + at).find(|at| begins(&text[*at..]))
}

/// How many more bytes may be looked at: hostile lines fail late, at every one of many beginnings.
struct Budget(usize);

impl Budget {
    /// The length of the value that `text` begins with, if it is complete.
    fn value(&mut self, text: &str) -> Option<usize> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
        let (end, cost) = match values.next() {
            Some(Ok(_)) => (Some(values.byte_offset()), values.byte_offset()),
            // Without line breaks, the column is the distance.
            Some(Err(error)) => (None, error.column()),
            None => (None, 0),
        };
        self.0 = self.0.saturating_sub(cost + 256);
        end
    }
}

/// `line` as text that JSON allows: lossy, without byte order marks, NULs and bare control characters.
/// One copy and no growing: lines may be megabytes long, and a broken byte becomes three.
fn clean(line: &[u8]) -> String {
    let room =
        |chunk: std::str::Utf8Chunk<'_>| chunk.valid().len() + 3 * chunk.invalid().len().min(1);
    let mut text = String::new();
    text.reserve_exact(line.utf8_chunks().map(room).sum());
    for chunk in line.utf8_chunks() {
        if chunk.valid().bytes().any(|byte| byte < 0x20) {
            let kept = chunk.valid().chars().filter(|c| *c != '\0');
            text.extend(kept.map(|c| if c < ' ' { ' ' } else { c }));
        } else {
            text.push_str(chunk.valid());
        }
        // A run of broken bytes is one loss.
        if !chunk.invalid().is_empty() && !text.ends_with('\u{fffd}') {
            text.push('\u{fffd}');
        }
    }
    let around = |c: char| c == '\u{feff}' || c.is_whitespace();
    text.truncate(text.trim_end_matches(around).len());
    text.drain(..text.len() - text.trim_start_matches(around).len());
    whole_characters(text)
}

/// Replaces escapes of half a character (`\ud83d` alone), which JSON allows and Unicode does not.
fn whole_characters(text: String) -> String {
    let escape = memmem::Finder::new(b"\\");
    let mut bytes = text.into_bytes();
    let mut from = 0;
    while let Some(at) = bytes.get(from..).and_then(|rest| escape.find(rest)).map(|at| from + at) {
        let unit = |at: usize| {
            let escape = std::str::from_utf8(bytes.get(at..at + 6)?).ok()?;
            hex4(escape.strip_prefix("\\u")?)
        };
        from = match unit(at) {
            Some(0xd800..0xdc00) if matches!(unit(at + 6), Some(0xdc00..0xe000)) => at + 12,
            Some(0xd800..0xe000) => {
                bytes[at..at + 6].copy_from_slice(b"\\ufffd");
                at + 6
            }
            Some(_) => at + 6,
            // The escaped character may itself be a backslash; it is one byte in valid JSON.
            None => at + 2,
        };
    }
    // Only ASCII took the place of ASCII.
    String::from_utf8(bytes).unwrap_or_default()
}

fn merge(into: &mut Parsed<'static>, part: Parsed<'_>) {
    into.at = part.at.or(into.at);
    into.key = part.key;
    into.origin = part.origin;
    into.facts.extend(part.facts.into_iter().map(owned));
    into.issues.extend(part.issues);
}

/// The same fact, borrowing nothing.
pub(super) fn owned(fact: Fact<'_>) -> Fact<'static> {
    fn text(text: Text<'_>) -> Text<'static> {
        Cow::Owned(text.into_owned())
    }
    fn whole(who: Subagent<'_>) -> Subagent<'static> {
        Subagent { id: text(who.id), call: who.call.map(text), ..who }
    }
    match fact {
        Fact::SessionId(id) => Fact::SessionId(text(id)),
        Fact::Cwd(path) => Fact::Cwd(text(path)),
        Fact::Branch(name) => Fact::Branch(text(name)),
        Fact::Remote(url) => Fact::Remote(text(url)),
        Fact::MovedTo(path) => Fact::MovedTo(text(path)),
        Fact::OriginalCwd(path) => Fact::OriginalCwd(text(path)),
        Fact::Model(name) => Fact::Model(text(name)),
        Fact::Version(version) => Fact::Version(text(version)),
        Fact::Interactive(it_is) => Fact::Interactive(it_is),
        Fact::LeavesTrace => Fact::LeavesTrace,
        Fact::Parent { id, kind } => Fact::Parent { id: text(id), kind },
        Fact::Delegator(id) => Fact::Delegator(text(id)),
        Fact::Started(at) => Fact::Started(at),
        Fact::Title { rank, text: title } => Fact::Title { rank, text: text(title) },
        Fact::TurnStart => Fact::TurnStart,
        Fact::Prompt { text: prompt } => Fact::Prompt { text: prompt.into_owned() },
        Fact::Injected => Fact::Injected,
        Fact::PeerMessage { id, text: message } => {
            Fact::PeerMessage { id: id.map(text), text: message.into_owned() }
        }
        Fact::Sent { call, id } => Fact::Sent { call: text(call), id: text(id) },
        Fact::SentOff { id, summary } => Fact::SentOff { id: text(id), summary: text(summary) },
        Fact::Returned { id } => Fact::Returned { id: text(id) },
        Fact::AtWork(count) => Fact::AtWork(count),
        Fact::SubagentStart { who, at, text } => {
            Fact::SubagentStart { who: whole(who), at, text: text.into_owned() }
        }
        Fact::SubagentStop { who, failed, text: how } => {
            Fact::SubagentStop { who: whole(who), failed, text: text(how) }
        }
        Fact::Message { id, text: message } => {
            Fact::Message { id: id.map(text), text: message.into_owned() }
        }
        Fact::MessageTokens { id, tokens } => Fact::MessageTokens { id: text(id), tokens },
        Fact::TotalTokens(tokens) => Fact::TotalTokens(tokens),
        Fact::MoreTokens(tokens) => Fact::MoreTokens(tokens),
        Fact::ToolCall { id, name, summary, input, asks } => {
            let input = input.into_owned();
            Fact::ToolCall { id: text(id), name: text(name), summary, input, asks }
        }
        Fact::ToolResult { id, is_error, text: result } => {
            Fact::ToolResult { id: text(id), is_error, text: result.into_owned() }
        }
        Fact::ToolFailed { id } => Fact::ToolFailed { id: text(id) },
        Fact::Error { text: error, rate_limited } => {
            Fact::Error { text: error.into_owned(), rate_limited }
        }
        Fact::FailedTry { text: error } => Fact::FailedTry { text: error.into_owned() },
        Fact::TurnEnd(result) => Fact::TurnEnd(result),
        Fact::Delegate => Fact::Delegate,
        Fact::Run(run) => Fact::Run(run),
        Fact::Compaction => Fact::Compaction,
        Fact::Finished => Fact::Finished,
        Fact::MayWait { id } => Fact::MayWait { id: text(id) },
        Fact::PutAway(yes) => Fact::PutAway(yes),
        Fact::Ended(ended) => Fact::Ended(ended),
    }
}
