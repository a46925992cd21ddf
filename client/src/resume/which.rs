//! Which session is meant, and every copy of it that is known: the same one may lie on several hosts.

use std::cmp::Reverse;

use rrd_proto::{HostState, ListQuery, Lookup, LookupQuery, Session};

use crate::{ask::Answerer, error::CliError};

/// The session that `id` means, and all rows with its harness and id, its own among them. Where several hosts
/// have it, the one with the newest activity is meant, unless its host was named.
pub(crate) fn which(answerer: &Answerer, id: &str) -> Result<(Session, Vec<Session>), CliError> {
    let id = id.trim();
    let all = ListQuery { all: true, ..ListQuery::default() };
    let found = match answerer.lookup(&LookupQuery { id: id.to_owned(), raw: false })? {
        Lookup::Found(found) => Some(*found),
        Lookup::Ambiguous(rows) if one_session(&rows) => newest(rows),
        Lookup::Ambiguous(_) => None,
        // Of a host that is away what it told last is listed, and nobody can be asked for more.
        Lookup::NotFound => {
            let mut rows = answerer.list(&all)?.sessions;
            rows.retain(|row| is_called(row, id));
            newest(rows.clone()).filter(|_| one_session(&rows))
        }
    };
    let found = match found {
        Some(found) => found,
        // Says what to type next.
        None => answerer.find(id, false)?,
    };
    let harness = Some(found.harness.clone());
    let mut copies = answerer.list(&ListQuery { harness, ..all })?.sessions;
    copies.retain(|row| row.key() == found.key());
    if copies.iter().all(|row| row.node_id != found.node_id) {
        copies.push(found.clone());
    }
    let chosen = match id.contains('/') {
        true => None,
        false => newest(copies.clone()),
    };
    Ok((chosen.unwrap_or(found), copies))
}

fn is_called(row: &Session, id: &str) -> bool {
    let whole = || format!("{}/{}/{}", row.host, row.harness, row.session_id);
    !id.is_empty() && (row.session_id.starts_with(id) || row.reference == id || whole() == id)
}

fn one_session(rows: &[Session]) -> bool {
    rows.windows(2).all(|two| two[0].key() == two[1].key())
}

/// The one with the newest activity; of equal ones the one that is here, then one that can be asked.
fn newest(mut rows: Vec<Session>) -> Option<Session> {
    rows.sort_by_key(|row| {
        let near = match row.host_state {
            HostState::Here => 2,
            HostState::Live => 1,
            _ => 0,
        };
        Reverse((row.last_activity_at, near))
    });
    rows.into_iter().next()
}

#[cfg(test)]
mod tests {
    use rrd_proto::Timestamp;

    use super::*;
    use crate::table::tests::session;

    #[test]
    fn of_several_copies_the_newest_is_meant() {
        let row = |host: &str, state, at| {
            let mut row = session("7f2c");
            (row.host, row.host_state) = (host.to_owned(), state);
            row.last_activity_at = Some(Timestamp::from_millis(at));
            row
        };
        let (here, live) = (row("a", HostState::Here, 5), row("b", HostState::Live, 5));
        let (newer, away) = (row("c", HostState::Live, 6), row("d", HostState::Away, 5));
        let of = |rows: &[&Session]| newest(rows.iter().map(|row| (*row).clone()).collect());
        assert_eq!(of(&[&away, &live, &here]).unwrap().host, "a");
        assert_eq!(of(&[&away, &live]).unwrap().host, "b");
        assert_eq!(of(&[&here, &newer]).unwrap().host, "c");
        assert!(of(&[]).is_none() && one_session(&[here, newer]));
        assert!(!one_session(&[session("a"), session("b")]));
    }
}
