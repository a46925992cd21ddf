//! The records of a session under another id, as its harness would copy them into a fork.
//!
//! Only where a record names its own session the name is another one; texts, links between records and every
//! other byte stay. Not here: who makes the new id, and files' names.

use std::{borrow::Cow, fmt};

use memchr::memmem;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Layout;

/// A session that goes on under another id: what is called otherwise in it.
///
/// Delegates are known by their id alone, so each has one of its own in the fork, too.
#[derive(Debug, Clone)]
pub struct Fork {
    layout: Layout,
    old: String,
    new: String,
    /// Its delegates, as they were called and as they are.
    agents: Vec<(String, String)>,
}

impl Fork {
    /// Of the session `old` as `new`; `names` are those of its files, as [`Layout::placed`] takes them.
    #[must_use]
    pub fn new<'a>(
        layout: Layout,
        (old, new): (&str, &str),
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let agents = names.into_iter().filter_map(|name| {
            let (_, file) = name.rsplit_once('/')?;
            let id = file.strip_prefix("agent-")?.strip_suffix(".jsonl")?;
            Some((id.to_owned(), agent_of(new, id)))
        });
        let agents = if layout == Layout::ClaudeCode { agents.collect() } else { Vec::new() };
        Self { layout, old: old.to_owned(), new: new.to_owned(), agents }
    }

    /// One line of it, without its newline.
    ///
    /// Claude Code: `sessionId` of every record, subagents' too; that is what its own `--fork-session` writes
    /// anew (seen in 2.1.329). Its `session_id` is not the session's in all records and stays. `agentId` of a
    /// delegate's records and of what its delegation gave, and the two texts in which Claude Code itself names a
    /// delegate: to whoever may write to it, and where it reports back. Codex: `id` and `session_id` of
    /// `session_meta`, `thread_id` and `session_id` of what tells of the thread; these are all places in which a
    /// thread's id was seen but for messages between threads. Its own forks point into the parent's file and look
    /// different; whether Codex takes this copy for one was not tried.
    #[must_use]
    pub fn line<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let names = |id: &str| memmem::find(line, id.as_bytes()).is_some();
        // Most lines of a rollout do not name it, and few of a transcript a delegate.
        let may = !self.agents.is_empty() && (names("agentId") || names("<task-id>"));
        let agents: Vec<_> = self.agents.iter().filter(|(old, _)| may && names(old)).collect();
        if agents.is_empty() && !names(&self.old) {
            return Cow::Borrowed(line);
        }
        let places = std::str::from_utf8(line).ok().and_then(|text| self.places(text));
        let Some(places) = places else { return Cow::Borrowed(line) };
        let mut line = put(line, places);
        for (old, new) in agents {
            for text in TEXTS {
                let (from, to) = (text.replace('@', old), text.replace('@', new));
                while let Some(at) = memmem::find(&line, from.as_bytes()) {
                    line.splice(at..at + from.len(), to.bytes());
                }
            }
        }
        Cow::Owned(line)
    }

    /// What lies beside a delegate's transcript: one object, over any lines.
    #[must_use]
    pub fn sidecar<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let places = std::str::from_utf8(bytes).ok().and_then(|text| {
            Some(self.of(text, &members(text)?, &["parentAgentId", "agentId"], &self.agents()))
        });
        places.map_or(Cow::Borrowed(bytes), |places| Cow::Owned(put(bytes, places)))
    }

    fn agents(&self) -> Vec<(&str, &str)> {
        self.agents.iter().map(|(old, new)| (&**old, &**new)).collect()
    }

    /// Where ids stand in quotes, and what is to stand there, in order.
    fn places<'a>(&'a self, text: &str) -> Option<Vec<Place<'a>>> {
        let record = members(text)?;
        let session = [(&*self.old, &*self.new)];
        match self.layout {
            Layout::ClaudeCode => {
                let mut places = self.of(text, &record, &["sessionId"], &session);
                if !self.agents.is_empty() {
                    let agents = self.agents();
                    places.extend(self.of(text, &record, &["agentId"], &agents));
                    let result = value(&record, "toolUseResult").and_then(members);
                    let result = result.unwrap_or_default();
                    places.extend(self.of(text, &result, &["agentId"], &agents));
                    places.sort_unstable();
                }
                Some(places)
            }
            Layout::Codex => {
                let keys: &[&str] = match value(&record, "type")? {
                    "\"session_meta\"" => &["id", "session_id"],
                    "\"event_msg\"" | "\"token_usage_record\"" => &["thread_id", "session_id"],
                    _ => return None,
                };
                Some(self.of(text, &members(value(&record, "payload")?)?, keys, &session))
            }
        }
    }

    fn of<'a>(
        &self,
        text: &str,
        members: &Members<'_>,
        keys: &[&str],
        ids: &[(&str, &'a str)],
    ) -> Vec<Place<'a>> {
        let named = members.iter().filter(|(key, _)| keys.contains(&&**key));
        named
            .filter_map(|(_, value)| {
                let is = |(old, _): &&(&str, &str)| value.get() == format!("\"{old}\"");
                let (_, new) = ids.iter().find(is)?;
                let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
                Some((start, start + value.get().len(), *new))
            })
            .collect()
    }
}

/// How Claude Code's own texts name a delegate: `@` stands for its id.
const TEXTS: [&str; 2] = ["<task-id>@</task-id>", "agentId: @ (use SendMessage with to: '@'"];

/// From where to where, and the id that is to stand there in quotes.
type Place<'a> = (usize, usize, &'a str);

fn put(line: &[u8], places: Vec<Place<'_>>) -> Vec<u8> {
    let mut changed = Vec::with_capacity(line.len() + 64);
    let mut from = 0;
    for (start, end, id) in places {
        changed.extend_from_slice(&line[from..start]);
        changed.extend_from_slice(format!("\"{id}\"").as_bytes());
        from = end;
    }
    changed.extend_from_slice(&line[from..]);
    changed
}

/// What the delegate `id` is called in the fork `new`: always the same, of the harness's own shape (`a` and 16
/// hexadecimal digits; what else an id begins with says what kind of delegate it is).
pub(super) fn agent_of(new: &str, id: &str) -> String {
    let kind = id.trim_end_matches(|c: char| c.is_ascii_hexdigit()).trim_end_matches('-');
    let digest = Sha256::digest(format!("{new}/{id}"));
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    match kind {
        "" => format!("a{digits}"),
        kind => format!("{kind}-{digits}"),
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
            let fork = Fork::new(layout, ("OLD", "NEW"), ["OLD.jsonl"]);
            let got = fork.line(line.as_bytes());
            assert_eq!(std::str::from_utf8(&got).unwrap(), changed.unwrap_or(line));
        }
        let fork = Fork::new(claude, ("OLD", "NEW"), []);
        assert_eq!(&*fork.line(b"\xff OLD"), b"\xff OLD");
    }

    #[test]
    fn a_delegate_of_a_fork_has_an_id_of_its_own_wherever_it_is_named() {
        let old = "a937ff163c830dc11";
        let names = ["OLD.jsonl".to_owned(), format!("OLD/subagents/agent-{old}.jsonl")];
        let fork = Fork::new(Layout::ClaudeCode, ("OLD", "NEW"), names.iter().map(String::as_str));
        let new = agent_of("NEW", old);
        assert!(new.len() == 17 && new.starts_with('a') && new != old, "{new}");
        assert_ne!(agent_of("OTHER", old), new);
        assert_eq!(agent_of(&new, "acompact-1a2b3c4d")[..9], *"acompact-");
        for line in [
            r#"{"isSidechain":true,"agentId":"@","sessionId":"OLD"}"#,
            r#"{"toolUseResult":{"status":"completed","agentId":"@","prompt":"agentId"},"sessionId":"OLD"}"#,
            r#"{"message":{"content":"agentId: @ (use SendMessage with to: '@', x)"}}"#,
            r#"{"message":{"content":"<task-notification>\n<task-id>@</task-id>"}}"#,
        ] {
            let got = fork.line(line.replace('@', old).as_bytes()).into_owned();
            let changed = line.replace('@', &new).replace("OLD", "NEW");
            assert_eq!(String::from_utf8(got).unwrap(), changed);
        }
        // What somebody says of it, another's, and what is torn stay.
        for line in [
            r#"{"message":{"agentId":"@","content":"look at @"}}"#,
            r#"{"agentId":"@0","toolUseResult":"@"}"#,
            r#"{"agentId":"@","torn"#,
        ] {
            let line = line.replace('@', old);
            assert_eq!(&*fork.line(line.as_bytes()), line.as_bytes());
        }
        let beside = format!("{{\n \"parentAgentId\": \"{old}\",\n \"toolUseId\": \"t\"}}");
        let got = fork.sidecar(beside.as_bytes()).into_owned();
        assert_eq!(String::from_utf8(got).unwrap(), beside.replace(old, &new));
        assert_eq!(&*fork.sidecar(b"{\"torn"), b"{\"torn");
    }
}
