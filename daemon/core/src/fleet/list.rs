//! One list of this host's sessions and the others'.
//!
//! Not here: which sessions of this host are asked for ([`crate::roster`]).

use std::{cmp::Reverse, collections::HashSet};

use rrd_proto::{ListQuery, ListReply, Lookup, Session, SessionKey, Status, Timestamp};

/// Most candidates an ambiguous lookup names.
const MAX_CANDIDATES: usize = 20;

/// Adds the other hosts' rows to the answer of this one. In the same order: waiting (longest first),
/// executing, idle, ended (latest first); a subagent right below what it works for.
#[must_use]
pub fn join(mut reply: ListReply, others: Vec<Session>, query: &ListQuery) -> ListReply {
    let mut blocks = blocks(std::mem::take(&mut reply.sessions), false);
    let mut asked_for = Vec::new();
    for row in others {
        if !row.is_subagent() {
            reply.totals.sessions += 1;
            reply.totals.active += u64::from(row.active);
            reply.totals.waiting += u64::from(row.status == Status::Waiting);
            reply.totals.open += u64::from(row.live == Some(true) && !row.active);
        }
        if is_asked_for(query, &row) {
            asked_for.push(row);
        }
    }
    if !asked_for.is_empty() {
        reply.last_ended = None;
    }
    asked_for.sort_by(|a, b| place(a).cmp(&place(b)));
    blocks.extend(self::blocks(asked_for, true));
    blocks.sort_by(|a, b| a.first().map(place).cmp(&b.first().map(place)));
    reply.sessions = blocks.into_iter().flatten().collect();
    reply
}

/// Adds the other hosts' sessions to what a person may have meant: by ref, unique prefix of the session's
/// id, or host/harness/session_id. Of several copies of one session it is the one that a list shows.
#[must_use]
pub fn look_up(here: Lookup, others: Vec<Session>, id: &str) -> Lookup {
    if id.is_empty() {
        return here;
    }
    let whole = |row: &Session| {
        row.session_id == id
            || id.strip_prefix(&row.host).is_some_and(|rest| rest == format!("/{}", row.key()))
    };
    let begins = |row: &Session| row.session_id.starts_with(id) || row.reference == id;
    let mut candidates = match here {
        Lookup::Found(row) if id.contains('/') => return Lookup::Found(row),
        Lookup::Found(row) => vec![*row],
        Lookup::Ambiguous(rows) => rows,
        Lookup::NotFound => Vec::new(),
    };
    let (exact, others): (Vec<_>, Vec<_>) = others.into_iter().partition(whole);
    let is_here = candidates.iter().any(|row| row.session_id == id);
    if exact.is_empty() && !is_here {
        candidates.extend(others.into_iter().filter(begins));
    } else {
        candidates.retain(|row| row.session_id == id);
        // Typed in full it is the one that is here; another one has its host before it.
        let is_listed =
            candidates.iter().any(|row| row.active) || !exact.iter().any(|row| row.active);
        if !is_here || !is_listed {
            candidates.extend(exact);
        }
    }
    let listed: HashSet<SessionKey> =
        candidates.iter().filter(|row| row.active).map(Session::key).collect();
    candidates.retain(|row| row.active || !listed.contains(&row.key()));
    candidates.truncate(MAX_CANDIDATES);
    match candidates.len() {
        0 => Lookup::NotFound,
        1 => candidates.pop().map_or(Lookup::NotFound, |row| Lookup::Found(Box::new(row))),
        _ => Lookup::Ambiguous(candidates),
    }
}

/// Where a row stands.
fn place(
    row: &Session,
) -> (Status, Option<Timestamp>, Reverse<Option<Timestamp>>, &str, Option<&str>) {
    let (waiting, active) = match row.status {
        Status::Waiting => (row.status_since, None),
        _ => (None, row.last_activity_at),
    };
    (row.status, waiting, Reverse(active), &row.session_id, row.node_id.as_deref())
}

/// Sessions, each with the subagents below it; `search` for those, where they do not follow already.
fn blocks(rows: Vec<Session>, search: bool) -> Vec<Vec<Session>> {
    let (below, above): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| search && row.is_subagent());
    let mut blocks: Vec<Vec<Session>> = Vec::new();
    for row in above {
        match blocks.last_mut() {
            Some(last) if !search && row.is_subagent() => last.push(row),
            _ => blocks.push(vec![row]),
        }
    }
    for row in below {
        let works_for = |other: &Session| {
            other.node_id == row.node_id
                && other.harness == row.harness
                && Some(&other.session_id) == row.parent_session_id.as_ref()
        };
        match blocks.iter_mut().find(|block| block.iter().any(works_for)) {
            Some(block) => block.push(row),
            None => blocks.push(vec![row]),
        }
    }
    blocks
}

/// Whether a row of another host is asked for; the same rules as for one of this host.
fn is_asked_for(query: &ListQuery, row: &Session) -> bool {
    let ListQuery { all, open, host, harness, repo, status, since, raw: _ } = query;
    let is_open = row.live == Some(true) && !row.active;
    (*all || status.is_some() || row.active || (*open && is_open))
        && status.is_none_or(|status| status == row.status)
        && host.as_ref().is_none_or(|host| *host == row.host)
        && harness.as_ref().is_none_or(|harness| *harness == row.harness)
        && repo.as_ref().is_none_or(|repo| Some(repo) == row.repo.as_ref())
        && since.is_none_or(|since| row.last_activity_at.is_some_and(|at| at >= since))
}

#[cfg(test)]
mod tests {
    use rrd_proto::{ParentKind, Totals};
    use serde_json::json;

    use super::*;

    fn row(host: &str, id: &str, status: &str, age: i64, parent: Option<&str>) -> Session {
        let at = Timestamp::from_millis(1_800_000_000_000 - age * 1000);
        let mut row: Session = serde_json::from_value(json!({
            "ref": "", "host": host, "node_id": host, "harness": "codex", "session_id": id,
            "status": status, "status_since": at, "status_source": "open_record", "active": status != "ended",
            "complete": true, "host_state": "live", "issues": [], "last_activity_at": at,
        }))
        .unwrap();
        if let Some(parent) = parent {
            (row.parent_session_id, row.parent_kind) =
                (Some(parent.into()), Some(ParentKind::Subagent));
        }
        row
    }

    fn reply(sessions: Vec<Session>) -> ListReply {
        ListReply {
            sessions,
            as_of: Timestamp::default(),
            cursor: 1,
            totals: Totals::default(),
            last_ended: None,
            progress: None,
            roots: Vec::new(),
            unheard: Vec::new(),
            alone: false,
            duplicated: Vec::new(),
        }
    }

    #[test]
    fn hosts_share_one_order() {
        let here = vec![
            row("here", "w", "waiting", 30, None),
            row("here", "e", "executing", 5, None),
            row("here", "e-sub", "executing", 1, Some("e")),
        ];
        let there = vec![
            row("there", "f-sub", "executing", 1, Some("f")),
            row("there", "x", "ended", 900, None),
            row("there", "f", "executing", 3, None),
            row("there", "v", "waiting", 60, None),
            row("there", "i", "idle", 60, None),
        ];
        let joined = join(reply(here), there, &ListQuery::default());
        let ids: Vec<_> = joined.sessions.iter().map(|row| row.session_id.as_str()).collect();
        assert_eq!(ids, ["v", "w", "f", "f-sub", "e", "e-sub", "i"]);
        assert_eq!(
            (joined.totals.sessions, joined.totals.active, joined.totals.waiting),
            (4, 3, 1)
        );
    }

    #[test]
    fn other_hosts_rows_are_filtered_like_ones_own() {
        let there = || vec![row("a", "x", "ended", 9, None), row("b", "y", "executing", 9, None)];
        let ids = |query: &ListQuery| {
            let rows = join(reply(Vec::new()), there(), query).sessions;
            rows.into_iter().map(|row| row.session_id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&ListQuery { all: true, ..ListQuery::default() }), ["y", "x"]);
        assert_eq!(ids(&ListQuery { status: Some(Status::Ended), ..ListQuery::default() }), ["x"]);
        assert_eq!(
            ids(&ListQuery { all: true, host: Some("a".into()), ..ListQuery::default() }),
            ["x"]
        );
        let harness = Some(rrd_proto::Harness::ClaudeCode);
        assert!(ids(&ListQuery { all: true, harness, ..ListQuery::default() }).is_empty());
    }

    #[test]
    fn a_session_is_found_wherever_it_is() {
        let there =
            || vec![row("a", "7f2c-1", "idle", 9, None), row("b", "7f2c-2", "idle", 9, None)];
        let here = || Lookup::Found(Box::new(row("here", "7f2c-3", "idle", 9, None)));
        let of = |lookup: Lookup| match lookup {
            Lookup::Found(row) => row.host,
            Lookup::Ambiguous(rows) => format!("{} candidates", rows.len()),
            Lookup::NotFound => "none".to_owned(),
        };
        assert_eq!(of(look_up(Lookup::NotFound, there(), "7f2c-1")), "a");
        assert_eq!(of(look_up(Lookup::NotFound, there(), "b/codex/7f2c-2")), "b");
        assert_eq!(of(look_up(Lookup::NotFound, there(), "c/codex/7f2c-2")), "none");
        assert_eq!(of(look_up(here(), there(), "7f2c-3")), "here");
        assert_eq!(of(look_up(here(), there(), "7f2c")), "3 candidates");
        assert_eq!(of(look_up(Lookup::NotFound, there(), "")), "none");
        // Of copies the one that the list shows; of two that it shows, in full, the one that is here.
        let own = |status| Lookup::Found(Box::new(row("here", "7f2c-1", status, 9, None)));
        for (status, id, is) in [
            ("ended", "7f2c-1", "a"),
            ("idle", "7f2c-1", "here"),
            ("ended", "here/codex/7f2c-1", "here"),
        ] {
            assert_eq!(of(look_up(own(status), there(), id)), is, "{status} {id}");
        }
        let copies =
            || vec![row("a", "7f2c-1", "idle", 9, None), row("b", "7f2c-1", "ended", 9, None)];
        assert_eq!(of(look_up(own("ended"), copies(), "7f2")), "a");
        assert_eq!(of(look_up(own("idle"), copies(), "7f2")), "2 candidates");
        let over = || vec![row("b", "7f2c-1", "ended", 9, None)];
        assert_eq!(of(look_up(own("ended"), over(), "7f2c-1")), "here");
        assert_eq!(of(look_up(own("ended"), over(), "7f2")), "2 candidates");
        assert_eq!(of(look_up(Lookup::NotFound, copies(), "7f2c-1")), "a");
    }
}
