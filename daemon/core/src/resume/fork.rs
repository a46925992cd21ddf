//! The records of a session under another id, as its harness would copy them into a fork.
//!
//! Only where a record names its own session the name is another one; texts, links between records and every
//! other byte stay. Not here: who makes the new id, and files' names.

use std::{borrow::Cow, fmt};

use memchr::memmem;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Layout;

/// One line, without its newline, of the session `old` as a line of the session `new`.
///
/// Claude Code: `sessionId` of every record, subagents' too; that is what its own `--fork-session` writes
/// anew (seen in 2.1.329). Its `session_id` is not the session's in all records and stays. Codex: `id` and
/// `session_id` of `session_meta`, `thread_id` and `session_id` of what tells of the thread; these are all
/// places in which a thread's id was seen but for messages between threads. Its own forks point into the
/// parent's file and look different; whether Codex takes this copy for one was not tried.
#[must_use]
pub fn with_id<'a>(layout: Layout, line: &'a [u8], old: &str, new: &str) -> Cow<'a, [u8]> {
    // Most lines of a rollout do not name it.
    if memmem::find(line, old.as_bytes()).is_none() {
        return Cow::Borrowed(line);
    }
    let Some(places) = std::str::from_utf8(line).ok().and_then(|text| places(layout, text, old))
    else {
        return Cow::Borrowed(line);
    };
    let mut changed = Vec::with_capacity(line.len() + new.len());
    let mut from = 0;
    for (start, end) in places {
        changed.extend_from_slice(&line[from..start]);
        changed.extend_from_slice(format!("\"{new}\"").as_bytes());
        from = end;
    }
    changed.extend_from_slice(&line[from..]);
    Cow::Owned(changed)
}

/// Where the session's own id stands in quotes, in order.
fn places(layout: Layout, text: &str, id: &str) -> Option<Vec<(usize, usize)>> {
    let quoted = format!("\"{id}\"");
    let record = members(text)?;
    let of = |members: &Members<'_>, keys: &[&str]| -> Vec<(usize, usize)> {
        let named = members.iter().filter(|(key, _)| keys.contains(&&**key));
        let same = named.filter(|(_, value)| value.get() == quoted);
        same.map(|(_, value)| {
            let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
            (start, start + quoted.len())
        })
        .collect()
    };
    match layout {
        Layout::ClaudeCode => Some(of(&record, &["sessionId"])),
        Layout::Codex => {
            let keys: &[&str] = match value(&record, "type")? {
                "\"session_meta\"" => &["id", "session_id"],
                "\"event_msg\"" | "\"token_usage_record\"" => &["thread_id", "session_id"],
                _ => return None,
            };
            Some(of(&members(value(&record, "payload")?)?, keys))
        }
    }
}

/// Keys and values of an object, in the order in which they stand.
pub(super) type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// The last value that a key has, as it is written.
pub(super) fn value<'a>(members: &Members<'a>, key: &str) -> Option<&'a str> {
    members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.get())
}

/// The members of a text that is one object.
pub(super) fn members(text: &str) -> Option<Members<'_>> {
    struct Object;
    impl<'de> Visitor<'de> for Object {
        type Value = Members<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(Key(key)) = map.next_key()? {
                members.push((key, map.next_value::<&'de RawValue>()?));
            }
            Ok(members)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let members = json.deserialize_map(Object).ok()?;
    json.end().ok()?;
    Some(members)
}

/// A key that is borrowed where it can be.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sessions_own_id_is_another_one() {
        let (claude, codex) = (Layout::ClaudeCode, Layout::Codex);
        for (layout, line, changed) in [
            (
                claude,
                r#"{"type":"user","sessionId":"OLD","uuid":"u"}"#,
                Some(r#"{"type":"user","sessionId":"NEW","uuid":"u"}"#),
            ),
            // Twice in one record; blanks, numbers and escapes stay.
            (
                claude,
                r#"{ "n":1.50, "sessionId" : "OLD","x":"\u00e9","sessionId":"OLD"}"#,
                Some(r#"{ "n":1.50, "sessionId" : "NEW","x":"\u00e9","sessionId":"NEW"}"#),
            ),
            (claude, r#"{"sessionId":"OTHER","requestSessionId":"OLD"}"#, None),
            (
                claude,
                r#"{"session_id":"OLD","message":{"sessionId":"OLD","content":"\"sessionId\":\"OLD\""}}"#,
                None,
            ),
            (claude, r#"{"type":"file-history-snapshot","messageId":"OLD"}"#, None),
            (claude, r#"{"sessionId":"OLD","torn"#, None),
            (claude, "OLD", None),
            (
                codex,
                r#"{"type":"session_meta","payload":{"session_id":"OLD","id":"OLD","cwd":"/OLD"}}"#,
                Some(
                    r#"{"type":"session_meta","payload":{"session_id":"NEW","id":"NEW","cwd":"/OLD"}}"#,
                ),
            ),
            (
                codex,
                r#"{"type":"session_meta","payload":{"session_id":"PARENT","id":"OLD","forked_from_id":"OLD"}}"#,
                Some(
                    r#"{"type":"session_meta","payload":{"session_id":"PARENT","id":"NEW","forked_from_id":"OLD"}}"#,
                ),
            ),
            (
                codex,
                r#"{"type":"event_msg","payload":{"type":"item_completed","thread_id":"OLD","item":{"sender_thread_id":"OLD","id":"OLD"}}}"#,
                Some(
                    r#"{"type":"event_msg","payload":{"type":"item_completed","thread_id":"NEW","item":{"sender_thread_id":"OLD","id":"OLD"}}}"#,
                ),
            ),
            (
                codex,
                r#"{"type":"token_usage_record","payload":{"thread_id":"OLD","session_id":"OLD"}}"#,
                Some(
                    r#"{"type":"token_usage_record","payload":{"thread_id":"NEW","session_id":"NEW"}}"#,
                ),
            ),
            (codex, r#"{"type":"response_item","payload":{"id":"OLD","thread_id":"OLD"}}"#, None),
            (codex, r#"{"type":"session_meta","payload":"OLD"}"#, None),
        ] {
            let got = with_id(layout, line.as_bytes(), "OLD", "NEW");
            assert_eq!(std::str::from_utf8(&got).unwrap(), changed.unwrap_or(line));
        }
        assert_eq!(&*with_id(claude, b"\xff OLD", "OLD", "NEW"), b"\xff OLD");
    }
}
