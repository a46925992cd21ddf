//! What sessions are to each other: parts of one conversation that was summed up, forks that do not name
//! their parents.
//!
//! A conversation and its forks begin with the same record. The parent is who was writing when the last
//! record was copied; where several were, nobody is named. Not here: what is a copy (the parsers say).

use std::collections::{HashMap, HashSet};

use rrd_proto::{Harness, ParentKind, SessionKey};

use super::{Entry, MAX_CHAIN, Roster};

/// Forks and their parents, by key.
pub(super) type Origins<'a> = HashMap<&'a SessionKey, &'a SessionKey>;

impl Entry {
    /// It begins with another session's records, and does not say whose.
    pub(super) fn is_stray_fork(&self) -> bool {
        self.fold.copied_to.is_some() && self.fold.parent.is_none() && !self.fold.is_subagent()
    }
}

impl Roster {
    /// What was summed up to go on in another session: one conversation, listed as its latest part.
    pub(super) fn superseded(&self) -> HashSet<(&Harness, &str)> {
        self.entries
            .iter()
            .filter_map(|(key, entry)| match &entry.fold.parent {
                Some((id, ParentKind::Compression)) => Some((&key.harness, id.as_str())),
                _ => None,
            })
            .collect()
    }

    /// A title that was given to the conversation, lately; else what it began with.
    pub(super) fn title(&self, entry: &Entry, key: &SessionKey) -> Option<String> {
        let mut part = entry;
        for _ in 0..MAX_CHAIN {
            let (None, Some((id, ParentKind::Compression))) =
                (part.fold.given_title(), &part.fold.parent)
            else {
                break;
            };
            let before = SessionKey { harness: key.harness.clone(), session_id: id.clone() };
            let Some(before) = self.entries.get(&before) else { break };
            part = before;
        }
        part.fold.title().or_else(|| entry.fold.title()).map(str::to_owned)
    }

    /// The parents of all forks that do not name theirs.
    pub(super) fn origins(&self) -> Origins<'_> {
        let of = |key: &'_ SessionKey, entry: &Entry| (key.harness.clone(), entry.fold.beginning);
        let stray =
            || self.entries.iter().filter(|(_, e)| e.is_stray_fork() && e.fold.beginning != 0);
        let mut kin: HashMap<_, Vec<_>> =
            stray().map(|(key, entry)| (of(key, entry), Vec::new())).collect();
        if kin.is_empty() {
            return Origins::new();
        }
        for (key, entry) in &self.entries {
            if let Some(kin) = kin.get_mut(&of(key, entry)) {
                kin.push((key, entry));
            }
        }
        let parent = |(key, entry): (_, &Entry)| {
            let mut wrote = kin.get(&of(key, entry))?.iter().filter(|(other, of)| {
                let fold = &of.fold;
                *other != key
                    && fold.started_at().is_some()
                    && fold.started_at() <= entry.fold.copied_to
                    && entry.fold.copied_to <= fold.last_activity
            });
            let first = wrote.next()?.0;
            wrote.next().is_none().then_some((key, first))
        };
        stray().filter_map(parent).collect()
    }
}
