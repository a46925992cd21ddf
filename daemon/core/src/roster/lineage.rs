//! What sessions are to each other: parts of one conversation that was summed up, forks that do not name
//! their parents, subagents and theirs.
//!
//! A conversation and its forks begin with the same record. The parent is who was writing when the last
//! record was copied; where several were, nobody is named. Not here: what is a copy (the parsers say).

use std::collections::{BTreeSet, HashMap, HashSet};

use rrd_proto::{
    EdgeKind, EdgeState, EndReason, Harness, Link, MAX_SUBAGENTS, ParentKind, Session, SessionKey,
    Status, Subagent, Timestamp, TurnResult, session_ref,
};

use super::{Entry, MAX_CHAIN, Roster};
use crate::{fold::Turn, status::Verdict};

/// Delegates of one session that are told of.
const MAX_LINKS: usize = 64;

/// Whether a tool only waits for a delegate. Claude Code, Codex (the last two from its public source),
/// Hermes.
pub(super) fn delegates(tool: &str) -> bool {
    matches!(tool, "Agent" | "Task" | "delegate_task" | "spawn_agent" | "wait" | "wait_agent")
}

/// Most sessions that are told of which one may have something: each is of the one before.
const MAX_ANCESTORS: usize = 64;

/// Forks and their parents, by key.
pub(super) type Origins<'a> = HashMap<&'a SessionKey, &'a SessionKey>;

impl Entry {
    /// It begins with another session's records, and does not say whose.
    pub(super) fn is_stray_fork(&self) -> bool {
        self.fold.copied_to.is_some() && self.fold.parent.is_none() && !self.fold.is_subagent()
    }

    /// It was writing when the last record was that a fork of its conversation copied.
    fn wrote_what_has(&self, fork: &Self) -> bool {
        let (began, copied_to) = (self.fold.started_at(), fork.fold.copied_to);
        began.is_some() && began <= copied_to && copied_to <= self.fold.last_activity
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

    /// The subagents of a session and theirs, the oldest first, and how many older ones there are beyond
    /// [`MAX_SUBAGENTS`]. Looks at every session once, however deep they are.
    #[must_use]
    pub fn subagents(&self, key: &SessionKey, now: Timestamp) -> (Vec<Subagent>, u64) {
        let mut of: HashMap<&str, Vec<(&SessionKey, &Entry)>> = HashMap::new();
        for (own, entry) in self.entries.iter().filter(|(own, _)| own.harness == key.harness) {
            if let Some((parent, ParentKind::Subagent)) = &entry.fold.parent {
                of.entry(parent).or_default().push((own, entry));
            }
        }
        // Taken out as they are found, so that a circle ends.
        let mut found: Vec<(&str, &SessionKey, &Entry)> = Vec::new();
        let mut left = vec![key.session_id.as_str()];
        while let Some(parent) = left.pop() {
            for (own, entry) in
                of.remove(parent).into_iter().flatten().filter(|(own, _)| *own != key)
            {
                left.push(&own.session_id);
                found.push((parent, own, entry));
            }
        }
        let from = |entry: &Entry| entry.fold.started_at().or(entry.fold.last_activity);
        found.sort_by_key(|(_, own, entry)| (from(entry), &own.session_id));
        let more = found.len().saturating_sub(MAX_SUBAGENTS);
        let span = |(parent, own, entry): &(&str, &SessionKey, &Entry)| {
            let verdict = self.verdict(entry, own, now).1;
            let over = matches!(verdict.status, Status::Idle | Status::Ended);
            let badly =
                matches!(verdict.turn_result, Some(TurnResult::Error | TurnResult::RateLimited));
            Subagent {
                session_id: own.session_id.clone(),
                parent_session_id: (*parent).to_owned(),
                title: entry.index_title.clone().or_else(|| self.title(entry, own)),
                status: verdict.status,
                from: from(entry),
                to: entry.fold.last_activity.filter(|_| over),
                failed: entry.fold.counts.errors > 0
                    || badly
                    || verdict.end_reason == Some(EndReason::Crashed),
            }
        };
        (found[more..].iter().map(span).collect(), more as u64)
    }

    /// Sessions by their refs, whatever has become of them; one ref may be that of several.
    #[must_use]
    pub fn called(&self, refs: &BTreeSet<&str>, now: Timestamp) -> Vec<Session> {
        let is_it = |key: &&SessionKey| refs.contains(session_ref(self.node(), key).as_str());
        let keys: Vec<&SessionKey> = self.entries.keys().filter(is_it).collect();
        self.rows_of(keys.into_iter(), now).into_values().collect()
    }

    /// Takes for whom sessions said that they wait: all that do.
    pub fn set_declared(&mut self, declared: HashMap<SessionKey, Vec<Link>>) {
        self.version += u64::from(self.declared != declared);
        self.declared = declared;
    }

    /// Takes what ties sessions to those they sent messages: all that did.
    pub fn set_messages(&mut self, messages: HashMap<SessionKey, Vec<Link>>) {
        self.version += u64::from(self.messages != messages);
        self.messages = messages;
    }

    /// Sessions of which a message is on its way or unread, whatever has become of them.
    #[must_use]
    pub fn senders(&self, now: Timestamp) -> Vec<Session> {
        let is_sender = |links: &Vec<Link>| links.iter().any(Link::is_message_not_read);
        let keys = self.messages.iter().filter(|(_, links)| is_sender(links)).map(|(key, _)| key);
        self.rows_of(keys, now).into_values().collect()
    }

    /// Whom a session waits for, and then whom it sent messages.
    pub(super) fn links(&self, key: &SessionKey, entry: &Entry, verdict: &Verdict) -> Vec<Link> {
        let mut links = self.waits(key, entry, verdict);
        links.extend(self.messages.get(key).into_iter().flatten().cloned());
        links.extend(entry.fold.messages());
        links
    }

    /// For whom a session said that it waits; else the delegates, where it is in its turn and has nothing open but
    /// delegating.
    fn waits(&self, key: &SessionKey, entry: &Entry, verdict: &Verdict) -> Vec<Link> {
        if let Some(declared) = self.declared.get(key) {
            return declared.clone();
        }
        let open = &entry.fold.open_tools;
        if verdict.status != Status::Executing
            || open.is_empty()
            || !open.iter().all(|tool| delegates(&tool.name))
        {
            return Vec::new();
        }
        let is_its = |of: &SessionKey, child: &Entry| {
            let parent = child.fold.parent.as_ref();
            let is_its = parent.is_some_and(|(id, kind)| {
                *kind == ParentKind::Subagent && *id == key.session_id && of.harness == key.harness
            });
            is_its && !child.fold.finished && matches!(child.fold.turn(), Turn::Open { .. })
        };
        let link = |of: &SessionKey| Link {
            kind: EdgeKind::Wait,
            state: EdgeState::Inferred,
            to: session_ref(self.node(), of),
            incoming: false,
            any: false,
            group: 0,
            since: open.first().and_then(|tool| tool.since),
            evidence: "nothing of it is open but delegating".to_owned(),
        };
        let children = self.entries.iter().filter(|(of, child)| is_its(of, child));
        children.take(MAX_LINKS).map(|(of, _)| link(of)).collect()
    }

    /// These, and of each who sent it, what it is a fork of and what was summed up into it, and so on; whether that is
    /// all of them. Where a fork may be of several, all of those. Beyond who is `known` nobody is looked for.
    #[must_use]
    pub fn ancestry(
        &self,
        mut keys: Vec<SessionKey>,
        known: impl Fn(&SessionKey) -> bool,
    ) -> (Vec<SessionKey>, bool) {
        let (mut at, mut is_all) = (0, true);
        while let Some(key) = keys.get(at).cloned() {
            at += 1;
            let Some(entry) = self.entries.get(&key).filter(|_| !known(&key)) else { continue };
            let parents: Vec<SessionKey> = match &entry.fold.parent {
                Some((id, _)) => {
                    vec![SessionKey { harness: key.harness.clone(), session_id: id.clone() }]
                }
                None if entry.is_stray_fork() => self.may_be_forked_from(&key, entry),
                None if entry.fold.is_subagent() => Vec::new(),
                None => continue,
            };
            is_all &= !parents.is_empty();
            for parent in parents {
                if !keys.contains(&parent) {
                    keys.push(parent);
                }
            }
            if keys.len() > MAX_ANCESTORS {
                return (keys, false);
            }
        }
        (keys, is_all)
    }

    fn may_be_forked_from(&self, key: &SessionKey, fork: &Entry) -> Vec<SessionKey> {
        let is_kin = |other: &SessionKey, of: &Entry| {
            other.harness == key.harness
                && of.fold.beginning == fork.fold.beginning
                && other != key
                && of.wrote_what_has(fork)
        };
        let all = self.entries.iter().filter(|_| fork.fold.beginning != 0);
        all.filter(|(other, of)| is_kin(other, of)).map(|(other, _)| other.clone()).collect()
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
            let kin = kin.get(&of(key, entry))?.iter();
            let mut wrote = kin.filter(|(other, of)| *other != key && of.wrote_what_has(entry));
            let first = wrote.next()?.0;
            wrote.next().is_none().then_some((key, first))
        };
        stray().filter_map(parent).collect()
    }
}
