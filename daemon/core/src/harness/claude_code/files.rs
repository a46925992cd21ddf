//! Claude Code's files: which path is what, and the small JSON objects beside the transcripts.
//!
//! Directory names are a lossy encoding of a path and are never decoded. Not here: transcripts.

use rrd_proto::{ParentKind, Timestamp};

use crate::{
    fact::{Fact, TitleRank},
    harness::{
        FileRole,
        json::{Field, Str, Word, first, object},
    },
    live::{RegistryEntry, RegistryState},
    mirror::name::unsegment,
};

/// What the file at `path` is. The keys beside registry entries are secrets: never to be read.
pub(super) fn classify(path: &str) -> FileRole {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["projects", _, name] => match name.strip_suffix(".jsonl") {
            // Before 2.1, a subagent's file lay beside its parent's, which only its records name.
            Some(stem) => transcript(stem.strip_prefix("agent-").unwrap_or(stem), None),
            None => FileRole::Ignored,
        },
        ["projects", _, session, "subagents", .., name] => {
            let Some(name) = name.strip_prefix("agent-") else { return FileRole::Ignored };
            match (name.strip_suffix(".jsonl"), name.strip_suffix(".meta.json")) {
                (Some(id), _) => transcript(id, Some(session)),
                (_, Some(id)) if !id.is_empty() => FileRole::Sidecar { session_id: real(id) },
                _ => FileRole::Ignored,
            }
        }
        ["sessions", name] => {
            let pid = name.strip_prefix("pid-").unwrap_or(name).strip_suffix(".json");
            match pid {
                Some(pid) if !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()) => {
                    FileRole::LiveEntry
                }
                _ => FileRole::Ignored,
            }
        }
        _ => FileRole::Ignored,
    }
}

fn transcript(id: &str, parent: Option<&str>) -> FileRole {
    if id.is_empty() || id.starts_with('.') {
        return FileRole::Ignored;
    }
    FileRole::Transcript {
        session_id: real(id),
        parent: parent.map(|id| (real(id), ParentKind::Subagent)),
        zstd: false,
        archived: false,
    }
}

/// The id that a name stands for. The harness's own names are ids; the session store writes what is no plain
/// small letter so that every disk tells it apart ([`crate::sdk`]).
fn real(name: &str) -> String {
    unsegment(name).filter(|id| !id.is_empty()).unwrap_or_else(|| name.to_owned())
}

object! {
    struct Meta<'a> {
        description: Str<'a> = "description",
        parent: Str<'a> = "parentAgentId",
        finished: Field<bool> = "finished",
    }
}

/// Reads a subagent's `.meta.json`.
pub(super) fn sidecar(bytes: &[u8]) -> Option<Vec<Fact<'static>>> {
    let mut meta: Meta<'_> = first(bytes)?;
    let title = meta
        .description
        .some()
        .map(|text| Fact::Title { rank: TitleRank::Generated, text: text.into_owned().into() });
    // Its file lies beneath the session's, whoever within that delegated it.
    let parent = meta.parent.some().map(|id| Fact::Delegator(id.into_owned().into()));
    let finished = meta.finished.is_true().then_some(Fact::Finished);
    Some(title.into_iter().chain(parent).chain(finished).collect())
}

object! {
    struct Live<'a> {
        pid: Field<u64> = "pid",
        session_id: Str<'a> = "sessionId",
        old_session_id: Str<'a> = "session_id",
        cwd: Str<'a> = "cwd",
        started_at: Field<u64> = "startedAt",
        proc_start: Field<Word> = "procStart",
        entrypoint: Str<'a> = "entrypoint",
        kind: Str<'a> = "kind",
        tmux: Str<'a> = "tmux",
        pid_domain: Str<'a> = "pidDomain",
        status: Str<'a> = "status",
        waiting_for: Str<'a> = "waitingFor",
        updated_at: Field<u64> = "updatedAt",
        status_updated_at: Field<u64> = "statusUpdatedAt",
    }
}

/// Reads `sessions/<pid>.json`. It is rewritten in place and cut afterwards, so an older, longer text
/// may hang on behind the object.
pub(super) fn live_entry(bytes: &[u8]) -> Option<RegistryEntry> {
    let mut live: Live<'_> = first(bytes)?;
    let owned = |text: Option<std::borrow::Cow<'_, str>>| text.map(std::borrow::Cow::into_owned);
    let at = |field: &Field<u64>| {
        field.get().and_then(|ms| i64::try_from(*ms).ok()).map(Timestamp::from_millis)
    };
    Some(RegistryEntry {
        pid: u32::try_from(*live.pid.get()?).ok()?,
        session_id: owned(live.session_id.some().or_else(|| live.old_session_id.some()))?,
        proc_start: live.proc_start.take().map(|word| word.0),
        pid_domain: owned(live.pid_domain.some()),
        state: match live.status.text() {
            "" => None,
            "busy" => Some(RegistryState::Busy),
            // A background shell lives on; the session itself is at its prompt.
            "idle" | "shell" => Some(RegistryState::Idle),
            // As 2.1.329 itself sorts them when it tells its other sessions.
            "waiting"
                if matches!(
                    live.waiting_for.text(),
                    "permission prompt" | "sandbox request" | "worker request" | "goal proposal"
                ) || live.waiting_for.text().contains("permission") =>
            {
                Some(RegistryState::WaitingPermission)
            }
            "waiting" => Some(RegistryState::WaitingInput),
            other => Some(RegistryState::Unknown(other.to_owned())),
        },
        wants: owned(live.waiting_for.some())
            .filter(|words| !matches!(words.as_str(), "permission prompt" | "input needed")),
        state_since: at(&live.status_updated_at).or_else(|| at(&live.updated_at)),
        written_at: at(&live.status_updated_at).max(at(&live.updated_at)),
        started_at: at(&live.started_at),
        // `kind` says "interactive" even of `-p` runs, but "bg" of `--bg` runs, whose entrypoint is "cli".
        interactive: match (live.kind.text(), live.entrypoint.text()) {
            ("bg", _) => Some(false),
            (_, "") => None,
            (_, entrypoint) => Some(!entrypoint.starts_with("sdk-")),
        },
        cwd: owned(live.cwd.some()),
        tmux: tmux(live.tmux.text()),
    })
}

/// `t7:@0.%0`: session, window, pane. Whatever comes after a session's name in another shape is left out.
fn tmux(place: &str) -> Option<String> {
    let (session, within) = place.rsplit_once(':')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let whole = within
        .strip_prefix('@')
        .and_then(|ids| ids.split_once(".%"))
        .is_some_and(|(window, pane)| number(window) && number(pane));
    Some(if whole { place } else { session }).filter(|_| !session.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_what_files_are() {
        let session = |id: &str, parent: Option<&str>| FileRole::Transcript {
            session_id: id.to_owned(),
            parent: parent.map(|id| (id.to_owned(), ParentKind::Subagent)),
            zstd: false,
            archived: false,
        };
        for (path, role) in [
            ("projects/-w/0dd9.jsonl", session("0dd9", None)),
            ("projects/-w/agent-ab12.jsonl", session("ab12", None)),
            ("projects/-w/0dd9/subagents/agent-a9.jsonl", session("a9", Some("0dd9"))),
            ("projects/-w/0dd9/subagents/workflows/r/agent-a9.jsonl", session("a9", Some("0dd9"))),
            (
                "projects/-w/0dd9/subagents/agent-a9.meta.json",
                FileRole::Sidecar { session_id: "a9".to_owned() },
            ),
            ("projects/-w/0DD9.jsonl", session("0DD9", None)),
            ("projects/-w/0=44=449.jsonl", session("0DD9", None)),
            ("projects/-w/0=44D9/subagents/agent-=419.jsonl", session("A9", Some("0DD9"))),
            ("projects/-w/0=zz.jsonl", session("0=zz", None)),
            ("projects/-w/=.jsonl", session("=", None)),
            ("sessions/1852.json", FileRole::LiveEntry),
            ("sessions/pid-1852.json", FileRole::LiveEntry),
            ("sessions/1852.792cd9.key", FileRole::Ignored),
            ("sessions/1852.792cd9.key.tmp.0454a1d5", FileRole::Ignored),
            ("sessions/1852.key.json", FileRole::Ignored),
            ("projects/-w/0dd9/custom-title.json", FileRole::Ignored),
            ("projects/-w/.jsonl", FileRole::Ignored),
            ("projects/x.jsonl", FileRole::Ignored),
            ("history.jsonl", FileRole::Ignored),
            ("", FileRole::Ignored),
        ] {
            assert_eq!(classify(path), role, "{path}");
        }
    }

    #[test]
    fn registry_entries() {
        let full = br#"{"pid":31504,"sessionId":"0dd9","cwd":"/w","startedAt":1795170781296,"procStart":"72155",
            "version":"2.1.329","kind":"interactive","entrypoint":"cli","tmux":"t7:@0.%0","pidDomain":"linux:1:pid:[4]",
            "status":"waiting","waitingFor":"permission prompt","updatedAt":5,"statusUpdatedAt":4}ing","x":1}"#;
        let entry = live_entry(full).unwrap();
        assert_eq!((entry.pid, &*entry.session_id, entry.interactive), (31504, "0dd9", Some(true)));
        assert_eq!(entry.state, Some(RegistryState::WaitingPermission));
        let times = [4, 5].map(|ms| Some(Timestamp::from_millis(ms)));
        assert_eq!([entry.state_since, entry.written_at], times);
        assert_eq!(
            (entry.proc_start.as_deref(), entry.tmux.as_deref()),
            (Some("72155"), Some("t7:@0.%0"))
        );
        for (place, target) in [
            ("a:b:@12.%3", Some("a:b:@12.%3")),
            ("t7:0.0", Some("t7")),
            ("t7", None),
            (":@0.%0", None),
        ] {
            assert_eq!(tmux(place).as_deref(), target, "{place}");
        }
        let sits = |more: &str| {
            let json = format!(r#"{{"pid":1,"sessionId":"s"{more}}}"#);
            live_entry(json.as_bytes()).unwrap().interactive
        };
        assert_eq!(sits(r#","kind":"bg","entrypoint":"cli""#), Some(false));
        assert_eq!(sits(r#","kind":"interactive","entrypoint":"sdk-cli""#), Some(false));
        assert_eq!(sits(r#","kind":"interactive""#), None);
        let state = |status: &str| {
            let json =
                format!(r#"{{"pid":1,"sessionId":"s","entrypoint":"sdk-cli","status":{status}}}"#);
            live_entry(json.as_bytes()).unwrap().state
        };
        assert_eq!(state(r#""shell""#), Some(RegistryState::Idle));
        assert_eq!(
            state(r#""waiting","waitingFor":"input needed""#),
            Some(RegistryState::WaitingInput)
        );
        assert_eq!(
            state(r#""waiting","waitingFor":"sandbox request""#),
            Some(RegistryState::WaitingPermission)
        );
        assert_eq!(
            state(r#""waiting","waitingFor":"dialog open""#),
            Some(RegistryState::WaitingInput)
        );
        let wants = |waits: &str| {
            let json =
                format!(r#"{{"pid":1,"sessionId":"s","status":"waiting","waitingFor":"{waits}"}}"#);
            live_entry(json.as_bytes()).unwrap().wants
        };
        assert_eq!(wants("dialog open").as_deref(), Some("dialog open"));
        assert_eq!(wants("permission prompt"), None);
        assert_eq!(state(r#""new""#), Some(RegistryState::Unknown("new".to_owned())));
        assert_eq!(state("null"), None);
        for cut in 0..full.len() - 15 {
            assert_eq!(live_entry(&full[..cut]), None);
        }
        assert_eq!(live_entry(br#"{"sessionId":"s"}"#), None);
    }

    #[test]
    fn sidecars() {
        let facts = sidecar(br#"{"agentType":"x","description":"Audit","finished":true}"#).unwrap();
        assert_eq!(
            facts,
            [Fact::Title { rank: TitleRank::Generated, text: "Audit".into() }, Fact::Finished]
        );
        assert_eq!(
            sidecar(br#"{"parentAgentId":"a9","spawnDepth":2}"#),
            Some(vec![Fact::Delegator("a9".into())])
        );
        assert_eq!(sidecar(b"{}"), Some(Vec::new()));
        assert_eq!(sidecar(br#"{"description":"Au"#), None);
    }
}
