//! `rrd sessions forget`: a session goes from this host, and does not come back.
//!
//! First it is written down that it was forgotten, durably; then everything that is kept of it goes, and
//! what would be read of it again is not taken. A crash in between is made up for at the next start. Its
//! harness's own files stay as they are. Not here: how rows are taken out ([`crate::store`]).

use std::{path::Path, sync::mpsc::RecvTimeoutError, time::Duration};

use rrd_proto::{Forgotten, HostState, Lookup, Refusal, Session, SessionKey};

use crate::{
    fleet::{Keep, KeepError},
    hub::{Hub, now},
    search::Search,
    store::{self, Writer},
};

/// How long it is waited for that it is out of the index.
const WRITTEN: Duration = Duration::from_secs(30);

/// How long it is waited for that nothing is left of it for searching.
const SCRUBBED: Duration = Duration::from_secs(20);

/// What was forgotten on this host; none of it where that cannot be read, which is said.
pub(crate) fn known(state_dir: &Path) -> Vec<SessionKey> {
    // No database for the sake of looking into it.
    if !state_dir.join("keep.db").exists() {
        return Vec::new();
    }
    Keep::open(state_dir).and_then(|keep| keep.forgotten_sessions()).unwrap_or_else(|error| {
        tracing::error!(%error, "sessions that were forgotten may be shown again");
        Vec::new()
    })
}

/// Forgets what `found` is, with all that it delegated.
pub(crate) fn forget(
    found: Lookup,
    hub: &Hub,
    writer: &Writer,
    search: &Search,
    state_dir: &Path,
) -> Result<Forgotten, Refusal> {
    let session = match found {
        Lookup::Found(session) => *session,
        Lookup::Ambiguous(rows) => {
            let hint = match rrd_proto::is_one_id(&rows) {
                true => "type its five letters, or host/harness/session_id",
                false => "type more of its id",
            };
            return Err(refusal("that is more than one session", hint));
        }
        Lookup::NotFound => {
            return Err(refusal(
                "there is no such session",
                "rrd sessions list --all shows every id",
            ));
        }
    };
    if session.host_state != HostState::Here {
        let why = format!("that is a session of {}: only there it can be forgotten", session.host);
        return Err(refusal(&why, "run rrd sessions forget on that host"));
    }
    let keys = family(&session, hub);
    let kept: Result<(), KeepError> =
        Keep::open(state_dir).and_then(|mut keep| keep.forget_sessions(&keys, now()));
    if let Err(error) = kept {
        let why = format!("nothing was forgotten: it cannot be written down ({error})");
        return Err(refusal(&why, &error.remedy()));
    }
    hub.forget(&keys);
    writer.forget(keys.clone());
    // A full disk keeps the writer; what is queued there it writes as soon as it can, or at the next start.
    let is_written = writer
        .hurry()
        .is_none_or(|done| !matches!(done.recv_timeout(WRITTEN), Err(RecvTimeoutError::Timeout)));
    store::drop_aside(state_dir);
    if !search.forget(&keys, SCRUBBED) {
        tracing::warn!("what was forgotten is not out of search.db yet; it is going");
    }
    if !is_written {
        let why = writer.state().failing.unwrap_or_else(|| "it is busy".to_owned());
        let said = format!(
            "it is shown no more, but what is kept of it is still on the disk: it goes when the index can be \
             written ({why})"
        );
        return Err(refusal(&said, &format!("df -h {}", state_dir.display())));
    }
    Ok(Forgotten { sessions: keys.len() as u64 })
}

/// The session, and whoever works for it.
fn family(session: &Session, hub: &Hub) -> Vec<SessionKey> {
    let all = rrd_proto::ListQuery { all: true, ..rrd_proto::ListQuery::default() };
    let rows = hub.list_here(&all).sessions;
    let mut keys = vec![session.key()];
    let mut at = 0;
    while let Some(parent) = keys.get(at).cloned() {
        at += 1;
        let is_child = |row: &&Session| {
            row.harness == parent.harness
                && row.parent_session_id.as_ref() == Some(&parent.session_id)
                && row.parent_kind == Some(rrd_proto::ParentKind::Subagent)
        };
        let children: Vec<SessionKey> = rows
            .iter()
            .filter(is_child)
            .map(Session::key)
            .filter(|key| !keys.contains(key))
            .collect();
        keys.extend(children);
    }
    keys
}

fn refusal(message: &str, hint: &str) -> Refusal {
    Refusal { message: message.to_owned(), facts: Vec::new(), hint: Some(hint.to_owned()) }
}
