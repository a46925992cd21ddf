//! What a transcript that lies in a bucket is called by its harness, which looks for it under that name only.
//!
//! The bucket has one directory a transcript and says where it was on its host, redacted, or not at all where
//! another tool put it there. Not here: reading it.

use serde_json::Value;

use super::names::{Layout, Rollout};
use crate::mirror::StreamName;

/// The name that [`Layout::placed`] takes; `None` where the harness gives no such name.
///
/// `source_path` is what `meta.json` says, and `first_line` is the transcript's own.
#[must_use]
pub fn called(
    layout: Layout,
    stream: &StreamName,
    source_path: Option<&str>,
    first_line: &[u8],
) -> Option<String> {
    let id = &stream.session_id;
    let path = source_path.map(|path| path.replace('\\', "/"));
    let is_fit = |name: &String| layout.placed(id, name, id, "x").is_some();
    let name = match (layout, &stream.agent) {
        (Layout::ClaudeCode, None) => format!("{id}.jsonl"),
        (Layout::ClaudeCode, Some(agent)) => {
            let within =
                path.as_deref().and_then(|path| path.split_once(&format!("/{id}/subagents/")));
            let was = within.map(|(_, rest)| format!("{id}/subagents/{rest}")).filter(is_fit);
            was.unwrap_or_else(|| {
                let agent = agent.strip_prefix("agent-").unwrap_or(agent);
                format!("{id}/subagents/agent-{agent}.jsonl")
            })
        }
        (Layout::Codex, None) => {
            let file = path.as_deref().and_then(|path| path.rsplit('/').next());
            let file = file.map(|file| file.strip_suffix(".zst").unwrap_or(file));
            let is_its = |file: &&str| Rollout::of(file).is_some_and(|rollout| rollout.id == id);
            match file.filter(is_its) {
                Some(file) => file.to_owned(),
                // By UTC, where Codex itself would have taken the clock on the wall.
                None => format!("rollout-{}-{id}.jsonl", begun(first_line)?),
            }
        }
        // A thread of its own, which is resumed by itself.
        (Layout::Codex, Some(_)) => return None,
    };
    Some(name).filter(is_fit)
}

/// `2026-11-20T10-28-08`, as a rollout's first line has it.
fn begun(line: &[u8]) -> Option<String> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let at = line["payload"]["timestamp"].as_str().or_else(|| line["timestamp"].as_str())?;
    Some(at.get(..19)?.replace(':', "-"))
}

#[cfg(test)]
mod tests {
    use rrd_proto::Harness;

    use super::*;

    const ID: &str = "01a1f88d-5e35-7ca1-835f-bf472c0191ac";

    fn stream(agent: Option<&str>) -> StreamName {
        let agent = agent.map(str::to_owned);
        StreamName { harness: Harness::from("x"), session_id: ID.into(), agent }
    }

    #[test]
    fn a_claude_code_session_is_called_by_its_id() {
        let name = |agent, path| called(Layout::ClaudeCode, &stream(agent), path, b"");
        assert_eq!(name(None, None).unwrap(), format!("{ID}.jsonl"));
        let deep = format!("/h/.claude/projects/-x/{ID}/subagents/workflows/w1/agent-a9.jsonl");
        let windows = deep.replace('/', "\\");
        for path in [&deep, &windows] {
            let expected = format!("{ID}/subagents/workflows/w1/agent-a9.jsonl");
            assert_eq!(name(Some("a9"), Some(path)).unwrap(), expected);
        }
        let odd = format!("/h/{ID}/subagents/../../../.bashrc");
        let plain = format!("{ID}/subagents/agent-a9.jsonl");
        for path in [None, Some(odd.as_str()), Some("elsewhere")] {
            assert_eq!(name(Some("a9"), path), Some(plain.clone()));
        }
        assert_eq!(name(Some("../a9"), None), None);
    }

    #[test]
    fn a_rollout_is_called_as_it_was_or_by_its_first_line() {
        let line = br#"{"timestamp":"2026-11-20T09:28:09.1Z","payload":{"timestamp":"2026-11-20T09:28:08Z"}}"#;
        let name = |path| called(Layout::Codex, &stream(None), path, line).unwrap();
        let was = format!("rollout-2026-11-20T10-28-08-{ID}.jsonl");
        let packed = format!("/h/.codex/sessions/2026/11/20/{was}.zst");
        assert_eq!(name(Some(&packed)), was);
        let by_line = format!("rollout-2026-11-20T09-28-08-{ID}.jsonl");
        assert_eq!(name(None), by_line);
        assert_eq!(name(Some("rollout-2026-11-20T10-28-08-other.jsonl")), by_line);
        assert_eq!(called(Layout::Codex, &stream(None), None, b"torn"), None);
        assert_eq!(called(Layout::Codex, &stream(Some("t")), None, line), None);
    }
}
