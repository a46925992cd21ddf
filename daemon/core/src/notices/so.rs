//! What is so: of rows, hosts and circles, those that somebody may want to be told of.

use std::collections::{BTreeMap, HashSet};

use rrd_proto::{
    EdgeKind, EndReason, HostState, Notice, NoticeKind, Session, Status, Timestamp, TurnResult,
    WaitingFor,
};

use super::{HostSeen, Key, Seen, So};

/// Who crashed is told of for so long, in milliseconds.
const CRASHED: i64 = 60 * 60_000;

/// Who finished.
const FINISHED: i64 = 10 * 60_000;

/// Everything that is so. `cycles` are circles of refs, as the graph has them.
#[must_use]
pub fn so(
    now: Timestamp,
    rows: &[Seen],
    hosts: &[HostSeen],
    cycles: &[Vec<String>],
) -> BTreeMap<Key, So> {
    let asking: HashSet<_> =
        rows.iter().map(|seen| &seen.row).filter(|row| asks(row)).map(name).collect();
    let mut all = BTreeMap::new();
    for seen in rows {
        let row = &seen.row;
        let parent = row.parent_session_id.as_deref();
        // What a delegate asks its parent asks, too.
        let is_asked_above = row.is_subagent()
            && parent.is_some_and(|parent| {
                asking.contains(&(row.node_id.as_deref(), row.harness.as_str(), parent))
            });
        if asks(row) && !is_asked_above {
            all.extend([of_session(NoticeKind::NeedsYou, seen, true)]);
        }
        let is_news = |within: i64| {
            let since = row.status_since.or(row.last_activity_at);
            since.is_some_and(|since| now.since(since.plus(seen.shift_ms)) < within)
        };
        if row.is_subagent() {
            continue;
        }
        if row.status == Status::Ended && row.end_reason == Some(EndReason::Crashed) {
            all.extend([of_session(NoticeKind::Crashed, seen, is_news(CRASHED))]);
        } else if is_finished(row) {
            all.extend([of_session(NoticeKind::Finished, seen, is_news(FINISHED))]);
        }
    }
    for host in hosts {
        all.extend(away(host, rows));
        all.extend(failing(host));
    }
    all.extend(cycles.iter().filter_map(|cycle| circle(cycle, rows)));
    all
}

fn name(row: &Session) -> (Option<&str>, &str, &str) {
    (row.node_id.as_deref(), row.harness.as_str(), row.session_id.as_str())
}

fn asks(row: &Session) -> bool {
    let of_a_person = matches!(row.waiting_for, Some(WaitingFor::Permission | WaitingFor::Input));
    row.status == Status::Waiting && of_a_person
}

fn is_finished(row: &Session) -> bool {
    match row.status {
        Status::Idle => {
            matches!(
                row.turn_result,
                Some(TurnResult::Completed | TurnResult::Error | TurnResult::RateLimited)
            )
        }
        Status::Ended => row.end_reason == Some(EndReason::Exit),
        Status::Waiting | Status::Executing => false,
    }
}

fn of_session(kind: NoticeKind, seen: &Seen, may_begin: bool) -> (Key, So) {
    let Seen { row, shift_ms } = seen;
    let node = row.node_id.as_deref().unwrap_or_default();
    let key = Key { kind, subject: format!("{node}/{}/{}", row.harness, row.session_id) };
    let notice = Notice {
        host: Some(row.host.clone()),
        reference: Some(row.reference.clone()),
        harness: Some(row.harness.clone()),
        session_id: Some(row.session_id.clone()),
        repo: row.repo.clone(),
        title: row.title.clone(),
        waiting_for: row.waiting_for.filter(|_| kind == NoticeKind::NeedsYou),
        detail: row.waiting_detail.clone().filter(|_| kind == NoticeKind::NeedsYou),
        ..nothing(kind)
    };
    let since = row.status_since.or(row.last_activity_at);
    let may_begin = may_begin && row.host_state != HostState::Away;
    (key, So { since, shift_ms: *shift_ms, may_begin, notice })
}

/// A host that is away, and in how many of its sessions a turn was open when it was heard last.
fn away(host: &HostSeen, rows: &[Seen]) -> Option<(Key, So)> {
    let at_work = |row: &&Session| {
        row.node_id.as_deref() == Some(&*host.node)
            && row.active
            && !row.is_subagent()
            && matches!(row.status, Status::Executing | Status::Waiting)
    };
    let sessions = rows.iter().map(|seen| &seen.row).filter(at_work).count() as u64;
    if !host.is_away || sessions == 0 {
        return None;
    }
    let kind = NoticeKind::HostAwayWithWork;
    let notice = Notice { host: Some(host.label.clone()), sessions, ..nothing(kind) };
    let key = Key { kind, subject: host.node.clone() };
    // By its own clock: those of the hosts that miss it may differ, and it is one thing that they tell.
    let since = host.away_since.map(|at| at.plus(-host.shift_ms));
    Some((key, So { since, shift_ms: host.shift_ms, may_begin: true, notice }))
}

fn failing(host: &HostSeen) -> Option<(Key, So)> {
    let alarm = host.alarm.as_ref()?;
    let kind = NoticeKind::MirrorFailing;
    let detail = match &alarm.error {
        Some(error) => format!("{}: {error}", alarm.url),
        None => alarm.url.clone(),
    };
    let notice = Notice {
        host: Some(host.label.clone()),
        detail: Some(detail),
        sessions: 0,
        ..nothing(kind)
    };
    let key = Key { kind, subject: host.node.clone() };
    // Its last word is no news.
    let may_begin = !host.is_away;
    Some((key, So { since: alarm.since, shift_ms: host.shift_ms, may_begin, notice }))
}

fn circle(cycle: &[String], rows: &[Seen]) -> Option<(Key, So)> {
    let first = cycle.first()?;
    let kind = NoticeKind::Deadlock;
    let of = |reference: &String| rows.iter().find(|seen| seen.row.reference == *reference);
    let members: Vec<&Seen> = cycle.iter().filter_map(of).collect();
    let links = members.iter().flat_map(|seen| &seen.row.links);
    let in_it = links
        .filter(|link| link.kind == EdgeKind::Wait && !link.incoming && cycle.contains(&link.to));
    // It closed with the last of them.
    let since = in_it.filter_map(|link| link.since).max();
    let mut subject: Vec<&str> = cycle.iter().map(String::as_str).collect();
    let way = cycle.iter().chain([first]).map(String::as_str).collect::<Vec<_>>().join(" → ");
    subject.sort_unstable();
    let shift_ms = members.first().map_or(0, |seen| seen.shift_ms);
    let mut labels: Vec<&str> = members.iter().map(|seen| seen.row.host.as_str()).collect();
    labels.dedup();
    let notice = Notice {
        host: (labels.len() == 1).then(|| labels[0].to_owned()),
        detail: Some(way),
        sessions: cycle.len() as u64,
        ..nothing(kind)
    };
    let key = Key { kind, subject: subject.join(" ") };
    Some((key, So { since, shift_ms, may_begin: true, notice }))
}

fn nothing(kind: NoticeKind) -> Notice {
    Notice {
        id: String::new(),
        kind,
        since: None,
        over: false,
        host: None,
        reference: None,
        harness: None,
        session_id: None,
        repo: None,
        title: None,
        waiting_for: None,
        detail: None,
        sessions: 1,
    }
}
