//! OpenClaw's files: which path is what, its locks, and its store of sessions.
//!
//! From 2026.6.11's own rules for the names in a sessions folder. Not here: transcripts.

use crate::{
    fold::TITLE_TEXT,
    harness::{
        FileRole, Titles,
        json::{Field, Key, Shape, Str, Word, first, object},
        names::{after_time, is_uuid},
    },
    line::one_line,
    live::RegistryEntry,
};

/// What the file at `path` is.
pub(super) fn classify(path: &str) -> FileRole {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["agents", _, "agent", "openclaw-agent.sqlite" | "openclaw-agent.sqlite-wal"] => {
            FileRole::Database
        }
        ["state", "openclaw.sqlite" | "openclaw.sqlite-wal"] => FileRole::Asks,
        ["agents", _, "sessions", "sessions.json"] => FileRole::TitleIndex,
        ["agents", _, "sessions", name] => in_sessions(name),
        ["agents", _, "sessions", "cold", name] => match name.strip_suffix(".jsonl.zst") {
            // Named by its hash: the payload of rows in a database, which names the session.
            Some(stem) if !is_hash(stem) => transcript(stem, true, true),
            _ => FileRole::Ignored,
        },
        _ => FileRole::Ignored,
    }
}

fn in_sessions(name: &str) -> FileRole {
    if let Some(stem) = name.strip_suffix(".jsonl.lock") {
        return match session_of(stem) {
            Some(id) => FileRole::WriterLock { session_id: id.to_owned() },
            None => FileRole::Ignored,
        };
    }
    match name.rsplit_once(".jsonl") {
        Some((stem, "")) => transcript(stem, false, false),
        // What a reset, a deletion or a repair set aside; the session's id may live on.
        Some((stem, end))
            if [".reset", ".deleted", ".bak"].iter().any(|why| {
                end.strip_prefix(why).is_some_and(|when| when.is_empty() || when.starts_with('.'))
            }) =>
        {
            transcript(stem, false, true)
        }
        _ => FileRole::Ignored,
    }
}

fn transcript(stem: &str, zstd: bool, archived: bool) -> FileRole {
    match session_of(stem) {
        Some(id) => {
            FileRole::Transcript { session_id: id.to_owned(), parent: None, zstd, archived }
        }
        None => FileRole::Ignored,
    }
}

/// The session in a transcript's name: `<id>`, `<id>-topic-<topic>`, or `<time>_<id>` for a fork.
fn session_of(stem: &str) -> Option<&str> {
    if stem.is_empty() || stem.starts_with('.') || stem.ends_with(".trajectory") {
        return None;
    }
    // A copy from before a compaction: the session itself has all of it.
    if stem.rsplit_once(".checkpoint.").is_some_and(|(_, copy)| is_uuid(copy)) {
        return None;
    }
    match stem.split_once("-topic-") {
        Some((id, _)) if is_uuid(id) => Some(id),
        _ => Some(after_time(stem)),
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

object! {
    struct Lock {
        pid: Field<u64> = "pid",
        start: Field<Word> = "starttime",
    }
}

/// Reads `<session>.jsonl.lock`. On Linux it has the start of its process, as `/proc` spells it.
pub(super) fn lock(bytes: &[u8]) -> Option<RegistryEntry> {
    let mut lock: Lock = first(bytes)?;
    Some(RegistryEntry {
        pid: u32::try_from(*lock.pid.get()?).ok()?,
        session_id: String::new(),
        proc_start: lock.start.take().map(|word| word.0),
        pid_domain: None,
        state: None,
        state_since: None,
        written_at: None,
        started_at: None,
        interactive: None,
        cwd: None,
        wants: None,
        tmux: None,
    })
}

object! {
    struct Entry<'a> {
        id: Str<'a> = "sessionId",
        label: Str<'a> = "label",
        name: Str<'a> = "displayName",
    }
}

/// `sessions.json`: by session key, what OpenClaw knows of the session that has it now.
#[derive(Default)]
struct Store(Titles);

impl<'de> Shape<'de> for Store {
    fn object<A: serde::de::MapAccess<'de>>(mut entries: A) -> Result<Option<Self>, A::Error> {
        let mut store = Self::default();
        while let Some((_, entry)) = entries.next_entry::<Key<'de>, Field<Entry<'de>>>()? {
            let Field::Is(mut entry) = entry else { continue };
            let title = entry.label.some().or_else(|| entry.name.some());
            let title = title.map(|title| one_line(&title, TITLE_TEXT).0);
            if let (Some(id), Some(title)) = (entry.id.some(), title.filter(|t| !t.is_empty())) {
                store.0.push((id.into_owned(), title));
            }
        }
        Ok(Some(store))
    }
}

/// Reads `sessions.json`: the sessions that were given a name, by a person or by where they are held.
pub(super) fn titles(bytes: &[u8]) -> Option<Titles> {
    first::<Store>(bytes).map(|store| store.0)
}
