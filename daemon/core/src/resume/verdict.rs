//! Whether a session may be resumed, by what is known of it on every host.
//!
//! Two agents that write one session under one name are the harm to avoid: their transcripts part, and no
//! merge mends that. Not here: whether a copy can be had.

use rrd_proto::{HostState, Session, Status};

use super::No;

/// What whoever asks allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Another session with the same past is to begin.
    pub fork: bool,
    /// Its host is away and may still have it open; that is taken into account.
    pub take_over: bool,
}

/// Whether `session` may be resumed; `copies` are all rows with its harness and id, its own among them.
///
/// # Errors
/// [`No`], with what would allow it.
pub fn may(session: &Session, copies: &[Session], wish: Wish) -> Result<(), No> {
    let id = &session.session_id;
    if session.is_subagent() {
        let parent = session.parent_session_id.as_deref().unwrap_or("the one it belongs to");
        return Err(No::new(
            "it is a subagent: it goes on only with the session that delegated to it",
            format!("rrd resume {parent}"),
        ));
    }
    if wish.fork {
        return Ok(());
    }
    if let Some(alive) = copies.iter().find(|copy| is_alive(copy)) {
        let process = match (alive.live, alive.pid) {
            (Some(true), Some(pid)) => format!(" (process {pid})"),
            _ => String::new(),
        };
        return Err(No::new(
            format!(
                "it is {} on {}{process}: two would write one session",
                alive.status, alive.host
            ),
            format!("end it there, or rrd resume {id} --fork begins another one with its past"),
        ));
    }
    let away = copies.iter().find(|copy| copy.host_state == HostState::Away);
    if let Some(away) = away.filter(|_| !wish.take_over) {
        return Err(No::new(
            format!("{} is away, and nobody knows whether it goes on there", away.host),
            format!("rrd resume {id} --take-over resumes it all the same"),
        ));
    }
    Ok(())
}

/// Known to be at work or open; of a host that is away its last word is no knowledge.
fn is_alive(session: &Session) -> bool {
    let is_open = matches!(session.status, Status::Executing | Status::Waiting);
    match session.live {
        _ if session.host_state == HostState::Away => false,
        Some(live) => live,
        // No harness tells, and its log says that a turn is open.
        None => is_open,
    }
}

#[cfg(test)]
mod tests {
    use rrd_proto::ParentKind;
    use serde_json::json;

    use super::*;

    fn row(host: &str, status: &str, live: Option<bool>, state: &str) -> Session {
        let nulls = [
            "node_id",
            "repo",
            "repo_root",
            "repo_remote",
            "branch",
            "cwd",
            "started_at",
            "last_activity_at",
            "transcript_path",
            "title",
            "model",
            "status_since",
            "waiting_for",
            "waiting_detail",
            "waiting_on",
            "activity",
            "turn_result",
            "end_reason",
            "interactive",
            "pid",
            "parent_session_id",
            "parent_kind",
            "counts",
            "tokens",
            "host_seen_at",
            "attach",
        ];
        let mut row = json!({
            "ref": "abcde", "host": host, "harness": "claude-code", "session_id": "7f2c",
            "status": status, "status_source": "stop_reason", "active": true, "live": live, "complete": true,
            "host_state": state, "issues": [],
        });
        for key in nulls {
            row[key] = json!(null);
        }
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn nobody_resumes_what_is_alive_somewhere() {
        let (fork, over) =
            (Wish { fork: true, ..Wish::default() }, Wish { take_over: true, ..Wish::default() });
        for (row, plain, taken) in [
            (row("a", "ended", Some(false), "live"), true, true),
            (row("a", "idle", None, "live"), true, true),
            (row("a", "idle", Some(true), "live"), false, false),
            (row("a", "executing", None, "here"), false, false),
            (row("a", "waiting", None, "live"), false, false),
            (row("a", "executing", Some(true), "away"), false, true),
            (row("a", "ended", Some(false), "away"), false, true),
        ] {
            let rows = [row.clone()];
            assert_eq!(may(&row, &rows, Wish::default()).is_ok(), plain, "{row:?}");
            assert_eq!(may(&row, &rows, over).is_ok(), taken, "{row:?}");
            assert_eq!(may(&row, &rows, fork), Ok(()));
        }
        // A copy of it that was resumed on a third host counts as well.
        let rows = [row("a", "ended", Some(false), "here"), row("b", "idle", Some(true), "live")];
        let no = may(&rows[0], &rows, over).unwrap_err();
        assert!(no.why.contains("idle on b") && no.next.contains("--fork"), "{no:?}");
    }

    #[test]
    fn a_subagent_goes_on_with_its_parent() {
        let mut row = row("a", "ended", Some(false), "live");
        row.parent_kind = Some(ParentKind::Subagent);
        row.parent_session_id = Some("0dd9".to_owned());
        let no = may(&row, &[], Wish { fork: true, take_over: true }).unwrap_err();
        assert_eq!(no.next, "rrd resume 0dd9");
    }
}
