//! Follows which status sessions have, for whoever looks back: a wait leaves no record of its own in most
//! transcripts.
//!
//! Looks at most once a second, and only when something has changed: what is shorter is not seen, and what
//! was while no daemon ran neither. Not here: what the status is (the core), and where it is kept
//! ([`crate::store`]).

use std::{collections::HashMap, sync::Arc, time::Duration};

use rrd_proto::{ListQuery, Session, SessionKey};
use tokio_util::sync::CancellationToken;

use crate::{
    hub::{Hub, now},
    store::{Turned, Writer},
};

/// Looks are so far apart.
const APART: Duration = Duration::from_secs(1);

/// Follows until it is stopped.
pub(crate) async fn follow(hub: Arc<Hub>, writer: Arc<Writer>, stop: CancellationToken) {
    let mut here = hub.here();
    let mut known = HashMap::new();
    loop {
        let open = ListQuery { open: true, ..ListQuery::default() };
        let mut rows = hub.list_here(&open).sessions;
        let shown = |key: &SessionKey| rows.iter().any(|row| row.key() == *key);
        if !known.keys().all(shown) {
            // Whoever is not among them any more has ended, or is out of sight.
            rows = hub.list_here(&ListQuery { all: true, ..ListQuery::default() }).sessions;
            rows.retain(|row| {
                known.contains_key(&row.key()) || row.active || row.live == Some(true)
            });
        }
        let turned = changes(&mut known, rows);
        if !turned.is_empty() {
            writer.turned(turned);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = here.changed() => if changed.is_err() { return },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(APART) => {}
        }
    }
}

/// What has changed since the last look; of what is over nothing is remembered.
fn changes(known: &mut HashMap<SessionKey, Turned>, rows: Vec<Session>) -> Vec<Turned> {
    let mut found = HashMap::new();
    let mut changed = Vec::new();
    for row in rows {
        let turned = Turned {
            session: row.key(),
            at: row.status_since.or(row.last_activity_at).unwrap_or_else(now),
            status: row.status,
            waiting_for: row.waiting_for,
            detail: row.waiting_detail,
        };
        let before = known.remove(&turned.session);
        let is_new = before.as_ref().is_none_or(|before| {
            (before.status, before.waiting_for, &before.detail)
                != (turned.status, turned.waiting_for, &turned.detail)
        });
        // It cannot have begun before what was before it.
        let at = match &before {
            Some(before) if is_new && turned.at <= before.at => now(),
            _ => turned.at,
        };
        if is_new {
            changed.push(Turned { at, ..turned.clone() });
        }
        if turned.status != rrd_proto::Status::Ended {
            let at = if is_new { at } else { before.map_or(at, |before| before.at) };
            found.insert(turned.session.clone(), Turned { at, ..turned });
        }
    }
    *known = found;
    changed
}

#[cfg(test)]
mod tests {
    use rrd_proto::{Status, Timestamp, WaitingFor};

    use super::*;

    fn row(id: &str, changes: serde_json::Value) -> Session {
        let mut row = serde_json::json!({
            "ref": "", "host": "", "harness": "codex", "session_id": id, "status": "executing",
            "status_source": "open_record", "active": true, "complete": true, "host_state": "here",
            "issues": [],
        });
        row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn only_changes_are_told() {
        let mut known = HashMap::new();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000).to_string();
        let runs = row("a", serde_json::json!({"status": "executing", "status_since": at(10)}));
        let first = changes(&mut known, vec![runs.clone()]);
        assert_eq!((first.len(), first[0].status), (1, Status::Executing));
        assert!(changes(&mut known, vec![runs.clone()]).is_empty());
        let waits = row(
            "a",
            serde_json::json!({
                "status": "waiting", "status_since": at(20), "waiting_for": "permission",
                "waiting_detail": "Bash: npm publish"
            }),
        );
        let turned = changes(&mut known, vec![waits]);
        assert_eq!(turned[0].waiting_for, Some(WaitingFor::Permission));
        assert_eq!(turned[0].at, Timestamp::from_millis(20_000));
        // Dated before what was before it: then it is seen now.
        let turned = changes(&mut known, vec![runs]);
        assert!(turned[0].at > Timestamp::from_millis(20_000));
        let over = row("a", serde_json::json!({"status": "ended", "status_since": at(30)}));
        assert_eq!(changes(&mut known, vec![over])[0].status, Status::Ended);
        assert!(known.is_empty());
    }
}
