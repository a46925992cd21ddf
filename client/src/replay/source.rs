//! The threads behind the screen: one answers what it asks for, one follows what happens.
//!
//! Each has a connection of its own, so that no long poll holds up a page. Questions are answered newest
//! first, for whoever scrubs wants the page he is at, and old ones are dropped. Without a daemon one
//! look at the transcripts answers everything, and nothing is followed. Not here: the search
//! ([`super::search`]).

use std::{
    collections::HashMap,
    sync::mpsc::{Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use rrd_proto::{
    EventQuery, HostState, ListQuery, Lookup, LookupQuery, MAX_MARKS, OutlineQuery, ParentKind,
    Session,
};

use super::ask::{Ask, Of, Told};
use crate::{
    ask::Answerer,
    connect::{self, Connection},
    error::CliError,
    local::Config,
};

/// Events that come at once.
const FOLLOWED: u32 = 1_000;
/// How long one look for events lasts: after it the row is looked at, too.
const WAIT_MS: u32 = 1_500;
/// The same for a session that is over, or on another host.
const LONG_WAIT_MS: u32 = 10_000;
const AGAIN: Duration = Duration::from_millis(250);
/// Questions that wait at the same time; the oldest beyond that are dropped.
const WAITING: usize = 6;

/// Subagents of a session, at most; of one with more the later ones are not shown.
const MOST_LANES: usize = 4_096;

/// Takes what the screen is told; false when nobody does any more.
pub(crate) type Tell<'a> = &'a dyn Fn(Told) -> bool;

/// Answers questions until nobody asks any more.
pub(crate) fn answer(
    mut answerer: Answerer,
    config: &Config,
    raw: bool,
    asks: &Receiver<Ask>,
    tell: Tell<'_>,
) {
    let mut waiting: Vec<Ask> = Vec::new();
    loop {
        if waiting.is_empty() {
            match asks.recv() {
                Ok(ask) => waiting.push(ask),
                Err(_) => return,
            }
        }
        waiting.extend(asks.try_iter());
        while waiting.len() > WAITING {
            let skipped = waiting.remove(0).id();
            if !tell(Told::Skipped(skipped)) {
                return;
            }
        }
        let Some(ask) = waiting.pop() else { continue };
        let id = ask.id();
        let told = match one(&answerer, &ask, raw) {
            Ok(told) => told,
            Err(error) => {
                if let Answerer::Daemon(connection) = &mut answerer
                    && let Ok(new) = connect::dial(&config.dirs.socket)
                {
                    *connection = new;
                }
                one(&answerer, &ask, raw)
                    .unwrap_or_else(|_| Told::Failed(id, error.message().to_owned()))
            }
        };
        if !tell(told) {
            return;
        }
    }
}

/// Answers one question.
fn one(answerer: &Answerer, ask: &Ask, raw: bool) -> Result<Told, CliError> {
    match ask {
        Ask::Outline { of, after } => {
            let query = OutlineQuery {
                key: of.key.clone(),
                node: of.node,
                after: *after,
                limit: MAX_MARKS,
            };
            let outline = answerer.outline(&query)?;
            Ok(Told::Outline { lane: of.lane, outline })
        }
        Ask::Stretches { of } => {
            // They come with marks from the beginning; one is the least that can be asked for.
            let (key, node) = (of.key.clone(), of.node);
            let outline = answerer.outline(&OutlineQuery { key, node, after: None, limit: 1 })?;
            Ok(Told::Stretches { lane: of.lane, stretches: outline.stretches })
        }
        Ask::Page { of, page, before, count } => {
            let query = EventQuery { before: Some(*before), ..events(of, *count, raw) };
            let events = answerer.events(&query)?.events;
            Ok(Told::Page { lane: of.lane, page: *page, events })
        }
        Ask::Body { of, seq } => {
            let query = EventQuery { before: Some(seq + 1), bodies: true, ..events(of, 1, raw) };
            let event = answerer.events(&query)?.events.into_iter().find(|event| event.seq == *seq);
            Ok(Told::Body { lane: of.lane, seq: *seq, event })
        }
        Ask::Lanes { of, host } => {
            let query = ListQuery {
                all: true,
                host: Some(host.clone()),
                harness: Some(of.key.harness.clone()),
                raw,
                ..ListQuery::default()
            };
            Ok(Told::Lanes(beneath(&of.key.session_id, answerer.list(&query)?.sessions)))
        }
    }
}

/// The subagents of a session, and theirs, each with how far beneath it they are; each followed by its own,
/// by when they began. One list answers for all of them, however many there are.
fn beneath(id: &str, sessions: Vec<Session>) -> Vec<(usize, Session)> {
    let mut of: HashMap<String, Vec<Session>> = HashMap::new();
    for session in sessions {
        if let (Some(parent), Some(ParentKind::Subagent)) =
            (session.parent_session_id.clone(), session.parent_kind)
        {
            of.entry(parent).or_default().push(session);
        }
    }
    let mut lanes = Vec::new();
    // The next one is the last: each is taken out once, so that no circle goes on for ever.
    let mut waiting = Vec::new();
    let mut next = Some((0, id.to_owned()));
    while let Some((depth, id)) = next {
        let mut children = of.remove(&id).unwrap_or_default();
        children.sort_by(|a, b| (b.started_at, &b.session_id).cmp(&(a.started_at, &a.session_id)));
        waiting.extend(children.into_iter().map(|child| (depth + 1, child)));
        next = None;
        if let Some((depth, lane)) = waiting.pop().filter(|_| lanes.len() < MOST_LANES) {
            next = Some((depth, lane.session_id.clone()));
            lanes.push((depth, lane));
        }
    }
    lanes
}

/// Asks for the newest events of a lane.
pub(crate) fn events(of: &Of, limit: u32, raw: bool) -> EventQuery {
    EventQuery {
        key: of.key.clone(),
        node: of.node,
        after: None,
        before: None,
        limit,
        wait_ms: 0,
        bodies: false,
        raw,
    }
}

/// Tells what happens in a session, and what becomes of its row, until nobody listens.
pub(crate) fn follow(
    config: &Config,
    session: &Session,
    of: &Of,
    raw: bool,
    mut last: Option<u64>,
    tell: Tell<'_>,
) {
    let id = format!("{}/{}/{}", session.host, session.harness, session.session_id);
    let mut row = session.clone();
    let mut troubled = false;
    loop {
        let Ok(connection) = connect::dial(&config.dirs.socket) else {
            troubled = true;
            if !tell(Told::Trouble(Some("the daemon is gone: waiting for it".to_owned()))) {
                return;
            }
            thread::sleep(AGAIN);
            continue;
        };
        if std::mem::take(&mut troubled) && !tell(Told::Trouble(None)) {
            return;
        }
        let ask = events(of, FOLLOWED, raw);
        match follow_on(&connection, &ask, &id, &mut row, &mut last, tell) {
            Ended::Unheard => return,
            Ended::Gone => {}
            Ended::Refused(why) => {
                troubled = true;
                if !tell(Told::Trouble(Some(why))) {
                    return;
                }
                drop(connection);
                thread::sleep(AGAIN * 8);
            }
        }
    }
}

/// Why one connection does not go on.
enum Ended {
    /// Nobody listens.
    Unheard,
    /// The daemon is gone.
    Gone,
    /// The host that has the session does not tell.
    Refused(String),
}

fn follow_on(
    connection: &Connection,
    ask: &EventQuery,
    id: &str,
    row: &mut Session,
    last: &mut Option<u64>,
    tell: Tell<'_>,
) -> Ended {
    loop {
        let quiet = !row.active || row.host_state != HostState::Here;
        let query = EventQuery {
            after: *last,
            wait_ms: if quiet { LONG_WAIT_MS } else { WAIT_MS },
            ..ask.clone()
        };
        let page = match connection.events(&query) {
            Ok(Ok(page)) => page,
            Ok(Err(refusal)) => return Ended::Refused(refusal.message),
            Err(_) => return Ended::Gone,
        };
        let came = !page.events.is_empty();
        if came {
            *last = page.events.last().map(|event| event.seq).or(*last);
            if !tell(Told::Happened(page.events)) {
                return Ended::Unheard;
            }
        }
        let lookup = LookupQuery { id: id.to_owned(), raw: ask.raw };
        match connection.show(&lookup) {
            Ok(Lookup::Found(now)) if *now != *row => {
                row.clone_from(&now);
                if !tell(Told::Row(now)) {
                    return Ended::Unheard;
                }
            }
            Ok(_) => {}
            Err(_) => return Ended::Gone,
        }
    }
}

/// Waits for something, but not for ever; `None` when it will never come.
pub(crate) fn next<T>(inputs: &Receiver<T>, within: Duration) -> Option<Option<T>> {
    match inputs.recv_timeout(within) {
        Ok(input) => Some(Some(input)),
        Err(RecvTimeoutError::Timeout) => Some(None),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

#[cfg(test)]
mod tests {
    use rrd_proto::Timestamp;

    use super::*;
    use crate::table::tests::session;

    fn child(id: &str, of: &str, began: i64) -> Session {
        let mut child = session(id);
        child.parent_session_id = Some(of.to_owned());
        child.parent_kind = Some(ParentKind::Subagent);
        child.started_at = Some(Timestamp::from_millis(began));
        child
    }

    #[test]
    fn subagents_of_subagents_are_beneath_them() {
        let mut fork = child("f", "main", 1);
        fork.parent_kind = Some(ParentKind::Fork);
        let sessions = vec![
            child("b", "main", 5),
            child("a2", "a", 9),
            child("a", "main", 3),
            child("a1", "a", 4),
            child("deep", "a1", 6),
            child("other", "elsewhere", 2),
            session("main"),
            fork,
        ];
        let lanes = beneath("main", sessions);
        let shown: Vec<_> =
            lanes.iter().map(|(depth, lane)| (*depth, lane.session_id.as_str())).collect();
        assert_eq!(shown, [(1, "a"), (2, "a1"), (3, "deep"), (2, "a2"), (1, "b")]);
    }

    #[test]
    fn thousands_are_no_trouble_and_circles_end() {
        let of =
            |at: i64| if at % 10 == 0 { "main".to_owned() } else { format!("a{}", at / 10 * 10) };
        let all = (0..20_000).map(|at| child(&format!("a{at}"), &of(at), at)).collect();
        let lanes = beneath("main", all);
        assert_eq!(lanes.len(), MOST_LANES);
        assert!(
            lanes
                .iter()
                .take(20)
                .map(|(depth, _)| *depth)
                .eq([1, 2, 2, 2, 2, 2, 2, 2, 2, 2].into_iter().cycle().take(20))
        );
        let chain = (0..10_000).map(|at| child(&format!("c{}", at + 1), &format!("c{at}"), at));
        assert_eq!(beneath("c0", chain.collect()).len(), MOST_LANES);
        let circle = vec![child("a", "b", 1), child("b", "a", 2), child("b", "b", 3)];
        assert!(beneath("a", circle).len() <= 3);
    }
}
