//! What a person is to be told of, and when: made of rows and hosts as a node knows them.
//!
//! Every node that has the same rows comes to the same notices with the same ids. Something is a notice when it
//! has been so for a while ([`Watch`]); each sink then tells it at its time ([`queue::Queue`]), unless a mark
//! says that somebody told it ([`mark::Marks`]). Not here: how it is told, and to whom.

pub mod mark;
pub mod queue;
pub mod quiet;
mod so;
pub mod teller;
pub mod words;

use std::collections::BTreeMap;

use rrd_proto::{MirrorAlarm, NodeId, Notice, NoticeKind, Session, Timestamp};

pub use so::so;

/// Something for each kind of notice, by its number.
pub type PerKind<T> = [T; 6];

/// What is so: of one kind, at most once of each subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// What it is.
    pub kind: NoticeKind,
    /// Of which session, circle or host; the same on every node.
    pub subject: String,
}

/// A row with its times as its owner has them.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The row.
    pub row: Session,
    /// What to add to a time in it to have it by this node's clock, in milliseconds.
    pub shift_ms: i64,
}

/// A host as this node knows it.
#[derive(Debug, Clone, Default)]
pub struct HostSeen {
    /// Its name.
    pub node: String,
    /// Its label.
    pub label: String,
    /// It is not there.
    pub is_away: bool,
    /// Since when, by this node's clock.
    pub away_since: Option<Timestamp>,
    /// What its mirror fails at, with times as its owner has them.
    pub alarm: Option<MirrorAlarm>,
    /// As a row's.
    pub shift_ms: i64,
}

/// Something that is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct So {
    /// Since when, by its owner's clock: the same on every node, but for moments of hosts that are away.
    pub since: Option<Timestamp>,
    /// As a row's.
    pub shift_ms: i64,
    /// It may be news. What only goes on (a row of a host that is away, what is long over) is told if it was
    /// seen to begin, and not else.
    pub may_begin: bool,
    /// As it would be told; without an id.
    pub notice: Notice,
}

/// What is to be told now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What it is.
    pub key: Key,
    /// Since when, by its owner's clock.
    pub since: Option<Timestamp>,
    /// With its id. Nobody has redacted it.
    pub notice: Notice,
}

/// What one look came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// Has been so for long enough since.
    pub due: Vec<Due>,
    /// Is so no more.
    pub over: Vec<Key>,
    /// When there may be more, if nothing changes.
    pub wake: Option<Timestamp>,
}

/// What has been so since when, as far as this node has seen it.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    known: BTreeMap<Key, Episode>,
}

#[derive(Debug, Clone)]
struct Episode {
    first_seen: Timestamp,
    is_due: bool,
    /// As it was when it was due.
    since: Option<Timestamp>,
}

impl Watch {
    /// Takes what is so now; `lasts` says how many milliseconds something must have been so to be told.
    pub fn look(
        &mut self,
        now: Timestamp,
        so: &BTreeMap<Key, So>,
        lasts: impl Fn(NoticeKind) -> i64,
    ) -> Looked {
        let mut looked = Looked::default();
        self.known.retain(|key, episode| {
            let stays = so.contains_key(key);
            if !stays && episode.is_due {
                looked.over.push(key.clone());
            }
            stays
        });
        for (key, so) in so {
            if !so.may_begin && !self.known.contains_key(key) {
                continue;
            }
            let episode = self.known.entry(key.clone());
            let episode =
                episode.or_insert(Episode { first_seen: now, is_due: false, since: None });
            // A clock that was set back makes nobody wait for hours.
            episode.first_seen = episode.first_seen.min(now);
            if episode.is_due {
                continue;
            }
            let due_at = begun(key.kind, so, episode.first_seen).plus(lasts(key.kind));
            if now < due_at {
                looked.wake = earliest(looked.wake, Some(due_at));
                continue;
            }
            (episode.is_due, episode.since) = (true, so.since);
            let (id, since) = (id(key, so.since), so.since.map(|at| at.plus(so.shift_ms)));
            let notice = Notice { id, since, ..so.notice.clone() };
            looked.due.push(Due { key: key.clone(), since: so.since, notice });
        }
        looked
    }

    /// What was due and is still so, each with when it began.
    pub fn due(&self) -> impl Iterator<Item = (&Key, Option<Timestamp>)> {
        let due = self.known.iter().filter(|(_, episode)| episode.is_due);
        due.map(|(key, episode)| (key, episode.since))
    }
}

/// From when on it counts, by this node's clock. Whether a host is there can be told only by who was there
/// itself: a daemon that begins has heard of nobody.
fn begun(kind: NoticeKind, so: &So, first_seen: Timestamp) -> Timestamp {
    let since = so.since.map(|at| at.plus(so.shift_ms));
    match kind {
        NoticeKind::HostAwayWithWork => first_seen,
        _ => since.map_or(first_seen, |since| since.min(first_seen)),
    }
}

/// The same on every node that has the same rows.
fn id(key: &Key, since: Option<Timestamp>) -> String {
    let since = since.map_or(0, Timestamp::as_millis);
    let since = match key.kind {
        // When a host was heard last differs by moments.
        NoticeKind::HostAwayWithWork => since / (10 * 60_000),
        _ => since,
    };
    let text = format!("{}\0{}\0{since}", key.kind, key.subject);
    format!("{:016x}", crate::hash(text.as_bytes()))
}

/// Who tells a sink's notices, of those who have it: the first that can. Always the same of the same hosts, and
/// for other sinks others. Whoever fails at it comes after all who do not.
#[must_use]
pub fn tellers(sink: &str, mut who: Vec<(NodeId, bool)>) -> Vec<NodeId> {
    let weight = |node: &NodeId| crate::hash(&[sink.as_bytes(), b"\0", &node.to_bytes()].concat());
    who.sort_by_cached_key(|(node, fails)| (*fails, std::cmp::Reverse(weight(node)), *node));
    who.into_iter().map(|(node, _)| node).collect()
}

pub(crate) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;
