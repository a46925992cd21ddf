//! Codex's files: which path is what, and its list of titles. Not here: rollouts.

use crate::{
    fold::TITLE_TEXT,
    harness::{
        FileRole, Titles,
        json::{Str, first, object},
        names::is_uuid,
    },
    line::one_line,
};

/// What the file at `path` is. A name's time is local and only its id matters.
pub(super) fn classify(path: &str) -> FileRole {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match folder.split('/').next() {
        Some("sessions") => rollout(name, false),
        Some("archived_sessions") => rollout(name, true),
        Some("thread-writer-locks") => match name.strip_suffix(".lock").filter(|id| is_uuid(id)) {
            Some(id) => FileRole::WriterLock { session_id: id.to_owned() },
            None => FileRole::Ignored,
        },
        Some("") if name == "session_index.jsonl" => FileRole::TitleIndex,
        _ => FileRole::Ignored,
    }
}

fn rollout(name: &str, archived: bool) -> FileRole {
    let id = || {
        let stem = name.strip_prefix("rollout-")?;
        let (stem, zstd) = match stem.strip_suffix(".zst") {
            Some(stem) => (stem, true),
            None => (stem, false),
        };
        let stem = stem.strip_suffix(".jsonl")?;
        // A compacted thread may go on in a file `…_<window>`.
        let stem = stem.rsplit_once('_').map_or(stem, |(stem, _)| stem);
        let id = stem.get(stem.len().checked_sub(36)?..)?;
        is_uuid(id).then(|| (id.to_owned(), zstd))
    };
    match id() {
        Some((session_id, zstd)) => {
            FileRole::Transcript { session_id, parent: None, zstd, archived }
        }
        None => FileRole::Ignored,
    }
}

object! {
    struct Title<'a> {
        id: Str<'a> = "id",
        name: Str<'a> = "thread_name",
    }
}

/// Reads `session_index.jsonl`.
pub(super) fn titles(bytes: &[u8]) -> Option<Titles> {
    Some(bytes.split(|byte| *byte == b'\n').filter_map(title).collect())
}

fn title(line: &[u8]) -> Option<(String, String)> {
    let mut title: Title<'_> = first(line)?;
    let name = one_line(&title.name.some()?, TITLE_TEXT).0;
    Some((title.id.some()?.into_owned(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_what_files_are() {
        const ID: &str = "01a1f88d-5e35-7ca1-835f-bf472c0191ac";
        let rollout = |zstd, archived| FileRole::Transcript {
            session_id: ID.to_owned(),
            parent: None,
            zstd,
            archived,
        };
        let name = format!("rollout-2026-11-20T10-42-56-{ID}");
        for (path, role) in [
            (format!("sessions/2026/11/20/{name}.jsonl"), rollout(false, false)),
            (format!("sessions/2026/11/20/{name}.jsonl.zst"), rollout(true, false)),
            (format!("archived_sessions/{name}.jsonl"), rollout(false, true)),
            (format!("sessions/2026/11/20/{name}_2.jsonl"), rollout(false, false)),
            (format!("sessions/2026/11/20/{name}.jsonl.tmp"), FileRole::Ignored),
            (format!("sessions/2026/11/20/{ID}.jsonl"), FileRole::Ignored),
            ("sessions/rollout-é.jsonl".to_owned(), FileRole::Ignored),
            (
                format!("thread-writer-locks/{ID}.lock"),
                FileRole::WriterLock { session_id: ID.to_owned() },
            ),
            ("thread-writer-locks/.coordination.lock".to_owned(), FileRole::Ignored),
            ("session_index.jsonl".to_owned(), FileRole::TitleIndex),
            ("auth.json".to_owned(), FileRole::Ignored),
            ("state_5.sqlite".to_owned(), FileRole::Ignored),
        ] {
            assert_eq!(classify(&path), role, "{path}");
        }
    }

    #[test]
    fn the_index_names_some_threads() {
        let lines = br#"{"id":"a","thread_name":"Fix it","updated_at":"x"}
{"id":"b","thread_name":null}
{"id":"c","thr"#;
        assert_eq!(titles(lines), Some(vec![("a".to_owned(), "Fix it".to_owned())]));
    }
}
