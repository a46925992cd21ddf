//! Which of a host's sessions the others are told of, where there are more than slots for records.
//!
//! A wait, a question or a message must be known on every host, or circles stay open there and permissions go
//! unseen: such a session comes before one that merely executes. Whoever has a slot keeps it unless somebody has
//! none who needs it more, so that equals do not take turns. And nothing that was told stays untrue for long: a
//! session that lost its slot has need of one again when it is not any more as it was told. Not here: where the
//! records lie, and how many there are.

use std::{cmp::Reverse, collections::HashSet};

use rrd_proto::{EdgeKind, EdgeState, Link, Session, Status};

/// How much a session needs a slot, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Need {
    /// It has a slot, and is not any more as its record says.
    Correct,
    /// It asks a person, or lies in a circle.
    Asks,
    /// It waits, is waited for, a message of its own or to it is not read, or a binding ties it.
    Tied,
    /// It has none, and is not any more as it was told.
    Untrue,
    Active,
    Rest,
}

/// A session that could be told of.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// As it is now.
    pub row: &'a Session,
    /// It has a slot.
    pub has_slot: bool,
    /// As it was told of last, if it ever was.
    pub told: Option<&'a Session>,
}

/// Whom these sessions wait for, and to whom they have written what is not read yet, as refs: only the row of whoever
/// waits or writes says so.
pub fn tied_to<'a>(rows: impl IntoIterator<Item = &'a Session>) -> HashSet<&'a str> {
    let of = |row: &'a Session| {
        let open = row.links.iter().filter(|link| is_open(link) && !link.incoming);
        open.map(|link| link.to.as_str()).chain(row.waiting_on.as_deref())
    };
    rows.into_iter().flat_map(of).collect()
}

/// For each of these whether it gets one of so many slots; `tied`: refs of those whom somebody is [`tied_to`], or
/// is bound to.
#[must_use]
pub fn choose(wishes: &[Wish<'_>], slots: usize, tied: &HashSet<&str>) -> Vec<bool> {
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by_cached_key(|at| {
        let Wish { row, has_slot, .. } = wishes[*at];
        (need(&wishes[*at], tied), !has_slot, Reverse(row.last_activity_at), row.key())
    });
    let mut chosen = vec![false; wishes.len()];
    order.into_iter().take(slots).for_each(|at| chosen[at] = true);
    chosen
}

fn need(Wish { row, has_slot, told }: &Wish<'_>, tied: &HashSet<&str>) -> Need {
    let is_untrue = told.is_some_and(|told| state(told) != state(row));
    if is_untrue && *has_slot {
        Need::Correct
    } else if row.needs_person() {
        Need::Asks
    } else if row.status == Status::Waiting
        || row.links.iter().any(is_open)
        || tied.contains(row.reference.as_str())
    {
        Need::Tied
    } else if is_untrue {
        Need::Untrue
    } else if row.active {
        Need::Active
    } else {
        Need::Rest
    }
}

/// What must not be told wrongly of a session for long.
fn state(row: &Session) -> impl PartialEq {
    let ties = row.links.iter().filter(|link| is_open(link));
    let ties: HashSet<_> = ties.map(|link| (link.kind, link.incoming, &link.to)).collect();
    (row.status, row.waiting_for, row.is_active_or_open(), ties)
}

fn is_open(link: &Link) -> bool {
    match link.kind {
        EdgeKind::Wait => true,
        EdgeKind::Message => matches!(link.state, EdgeState::Queued | EdgeState::Unread),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rrd_proto::{Harness, SessionKey, Timestamp, WaitingFor};

    use super::*;

    /// `executing`, `idle`, `over`, `asks`, `waits`, `for:REF`, `to:REF`, `sent`, `got`, `read`; then when it was active last.
    fn row(id: &str, what: &str, at: i64) -> Session {
        let key = SessionKey { harness: Harness::Codex, session_id: id.to_owned() };
        let mut row = Session { reference: id.to_owned(), ..Session::unknown(key) };
        row.last_activity_at = Some(Timestamp::from_millis(at));
        (row.active, row.live, row.status) = (true, Some(true), Status::Executing);
        let link = |kind, state, to: &str, incoming| Link {
            kind,
            state,
            to: to.to_owned(),
            incoming,
            any: false,
            group: 0,
            since: None,
            evidence: String::new(),
        };
        match what {
            "executing" => {}
            "idle" => (row.active, row.status) = (false, Status::Idle),
            "over" => (row.active, row.live, row.status) = (false, Some(false), Status::Ended),
            "asks" => {
                (row.status, row.waiting_for) = (Status::Waiting, Some(WaitingFor::Permission));
            }
            "waits" => {
                (row.status, row.waiting_for) = (Status::Waiting, Some(WaitingFor::Session));
            }
            "sent" => row.links = vec![link(EdgeKind::Message, EdgeState::Queued, "x", false)],
            "got" => row.links = vec![link(EdgeKind::Message, EdgeState::Unread, "x", true)],
            "read" => row.links = vec![link(EdgeKind::Message, EdgeState::Read, "x", false)],
            other => {
                let (kind, state, to) = match other.split_once(':').unwrap() {
                    ("to", to) => (EdgeKind::Message, EdgeState::Unread, to),
                    (_, to) => (EdgeKind::Wait, EdgeState::Declared, to),
                };
                row.links = vec![link(kind, state, to, false)];
            }
        }
        row
    }

    /// Of `(id, what it does, what it was told to do, has a slot, when)` those that are told of.
    fn told_of(
        rows: &[(&str, &str, &str, bool, i64)],
        slots: usize,
        elsewhere: &[Session],
    ) -> String {
        let now: Vec<Session> =
            rows.iter().map(|(id, what, _, _, at)| row(id, what, *at)).collect();
        let before: Vec<Option<Session>> = rows
            .iter()
            .map(|(id, _, told, _, at)| (!told.is_empty()).then(|| row(id, told, *at)))
            .collect();
        let wish =
            |at: usize| Wish { row: &now[at], has_slot: rows[at].3, told: before[at].as_ref() };
        let wishes: Vec<Wish<'_>> = (0..rows.len()).map(wish).collect();
        let chosen = choose(&wishes, slots, &tied_to(now.iter().chain(elsewhere)));
        let ids = rows.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(row, _)| row.0);
        ids.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn who_needs_a_slot_most_has_it() {
        let held = |id, what| (id, what, what, true, 9);
        let new = |id, what, at| (id, what, "", false, at);
        for (rows, slots, expected) in [
            // Room for all, and for none.
            (vec![new("a", "executing", 1), new("b", "idle", 1)], 2, "a b"),
            (vec![new("a", "asks", 1)], 0, ""),
            // Equals keep what they have; of those who have none the latest come first.
            (vec![new("a", "executing", 99), held("b", "executing")], 1, "b"),
            (vec![new("a", "executing", 1), new("b", "executing", 2)], 1, "b"),
            (vec![new("a", "executing", 2), held("b", "idle")], 1, "a"),
            (vec![new("a", "idle", 99), held("b", "executing")], 1, "b"),
            // Whoever asks, waits, is waited for or whose message is not read.
            (vec![new("a", "asks", 1), held("b", "executing")], 1, "a"),
            (vec![new("a", "asks", 1), held("b", "waits")], 1, "a"),
            (vec![new("a", "waits", 1), held("b", "executing")], 1, "a"),
            (vec![new("a", "for:z", 1), held("b", "executing")], 1, "a"),
            (vec![new("a", "executing", 1), held("b", "executing"), held("c", "for:a")], 2, "a c"),
            (vec![new("a", "idle", 1), held("b", "executing")], 1, "b"),
            (vec![new("away", "idle", 1), held("b", "executing")], 1, "away"),
            (vec![new("asked", "idle", 1), held("b", "executing")], 1, "asked"),
            (vec![new("a", "idle", 1), held("b", "executing"), held("c", "to:a")], 2, "a c"),
            (vec![new("a", "sent", 1), held("b", "executing")], 1, "a"),
            (vec![new("a", "got", 1), held("b", "executing")], 1, "a"),
            (vec![new("a", "read", 99), held("b", "executing")], 1, "b"),
            (vec![new("a", "waits", 99), held("b", "sent")], 1, "b"),
            // What was told is put right before the slot goes to somebody else …
            (vec![new("a", "asks", 1), ("b", "executing", "asks", true, 1)], 1, "b"),
            (vec![new("a", "asks", 1), ("b", "over", "executing", true, 1)], 1, "b"),
            (vec![new("a", "asks", 1), ("b", "over", "over", true, 1)], 1, "a"),
            (vec![new("a", "asks", 1), ("b", "executing", "for:z", true, 1)], 1, "b"),
            (vec![new("a", "asks", 1), ("b", "read", "sent", true, 1)], 1, "b"),
            // … and where the slot has gone, before those that need none more.
            (vec![("a", "idle", "executing", false, 1), held("b", "executing")], 1, "a"),
            (vec![("a", "over", "executing", false, 1), held("b", "executing")], 1, "a"),
            (vec![("a", "over", "executing", false, 1), held("b", "waits")], 1, "b"),
            (vec![("a", "executing", "executing", false, 99), held("b", "executing")], 1, "b"),
        ] {
            let elsewhere = [row("far", "for:away", 1), row("farther", "to:asked", 1)];
            assert_eq!(told_of(&rows, slots, &elsewhere), expected, "{rows:?}");
        }
    }
}
