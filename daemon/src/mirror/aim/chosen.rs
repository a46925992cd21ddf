//! Which sessions a bucket is to have, which of them gained something, and what carries each.
//!
//! Not here: when it is brought there ([`super`]), and what came of that ([`super::came`]).

use std::{collections::HashSet, sync::atomic::Ordering, time::Instant};

use rrd_core::{fold::Turn, mirror::StreamName, roster::Entry};
use rrd_proto::{MirrorTarget, SessionKey};

use super::{
    super::{
        gather::At,
        outbox::{State, Stream, StreamId},
        stream::{About, Ask},
    },
    Aim, Dirty, at,
};

impl Aim {
    /// What went on here and on another host: there it may be as it is here meanwhile.
    pub(super) fn look_at_diverged(&self) {
        let mut known = self.known();
        let diverged = |stream: &&Stream| stream.state.diverged.is_some();
        let ids: HashSet<StreamId> =
            known.streams.values().filter(diverged).map(|stream| stream.id).collect();
        known.looked_at.retain(|id| !ids.contains(id));
    }

    /// Every session whose source is not as it was when there was nothing more in it.
    pub(super) fn look_at_all(&self) {
        // Not deleted yet: whoever has just said how long sessions are kept may look first.
        self.find_over();
        self.has_looked.store(true, Ordering::Relaxed);
        let all = self.hub.keys(None, None);
        for key in all.clone() {
            let Some(entry) = self.hub.entry(&key).filter(|entry| self.wants(&key, entry)) else {
                continue;
            };
            let looks = at(&key, &entry).looks();
            let known = self.known();
            let stream = known.streams.get(&key).map(|stream| &stream.state);
            let is_settled = stream.is_some_and(|state| {
                !state.meta_is_due
                    && state.theirs.is_none()
                    && *entry.path == *state.path
                    && (looks.is_none() || state.settled == looks)
            });
            drop(known);
            if !is_settled && looks.is_some() {
                self.mark(&key);
            }
        }
        let backlog = self.outbox().backlog(self.id).unwrap_or_default();
        let parts = backlog.iter().map(|(_, parts, _)| parts).sum();
        let pending: HashSet<StreamId> = backlog.into_iter().map(|(stream, ..)| stream).collect();
        let mut known = self.known();
        known.pending = parts;
        let keys: Vec<SessionKey> = known
            .streams
            .values()
            .filter(|stream| pending.contains(&stream.id))
            .map(|stream| stream.key.clone())
            .collect();
        drop(known);
        let now = Instant::now();
        for key in keys {
            if self.hub.entry(&key).is_some_and(|entry| self.wants(&key, &entry)) {
                let dirty = Dirty { since: now, last: now, bytes: 0 };
                self.known().dirty.entry(key).or_insert(dirty);
            }
        }
        self.tell(all);
    }

    /// It has gained records.
    pub(super) fn mark(&self, key: &SessionKey) {
        let Some(entry) = self.hub.entry(key).filter(|entry| self.wants(key, entry)) else {
            return;
        };
        let now = Instant::now();
        let size = at(key, &entry).looks().map(|(size, _)| size);
        let mut known = self.known();
        let stream = known.streams.get(key).and_then(|stream| stream.state.cursor);
        let bytes = size.map(|size| size.saturating_sub(stream.map_or(0, |at| at.offset)));
        let dirty = known.dirty.entry(key.clone());
        let dirty = dirty.or_insert(Dirty { since: now, last: now, bytes: 0 });
        // Where it has gone, what was new in it is known of the look before.
        (dirty.last, dirty.bytes) = (now, bytes.unwrap_or(dirty.bytes));
    }

    /// Whether the user wants it here, and has not stopped it, and it is not over for too long.
    pub(super) fn wants(&self, key: &SessionKey, entry: &Entry) -> bool {
        self.chooses(key, entry)
            && self.stopped_at(key).is_none()
            && self.kept_until(key, entry).is_none()
    }

    /// Whether it is one of those that the user chose for this place.
    pub(super) fn chooses(&self, key: &SessionKey, entry: &Entry) -> bool {
        let MirrorTarget { harness, repo, exclude_harness, exclude_repo, .. } = &self.settings;
        let is = |name: &String| name == key.harness.as_str();
        let in_repo = |name: &String| entry.repo.name.as_ref() == Some(name);
        !entry.path.is_empty()
            && (harness.is_empty() || harness.iter().any(is))
            && (repo.is_empty() || repo.iter().any(in_repo))
            && !exclude_harness.iter().any(is)
            && !exclude_repo.iter().any(in_repo)
    }

    pub(super) fn turn_is_open(&self, key: &SessionKey) -> bool {
        self.hub.entry(key).is_some_and(|entry| matches!(entry.fold.turn(), Turn::Open { .. }))
    }

    /// What carries this session; a new one the first time.
    pub(super) fn stream_of(&self, key: &SessionKey) -> Option<(Stream, At, About, Ask)> {
        let entry = self.hub.entry(key)?;
        let source = at(key, &entry);
        let tasks = self.fleet.as_ref().map(|fleet| fleet.tasks().of(fleet, key));
        let task = tasks.unwrap_or_default().into_iter().next();
        let about = About {
            cwd: entry.fold.cwd.clone(),
            title: entry.fold.title().map(str::to_owned),
            repo: entry.repo.remote.clone().or_else(|| entry.repo.name.clone()),
            ended_at: entry.fold.ended,
            task,
        };
        let known = self.known().streams.get(key).cloned();
        let stream = match known {
            Some(mut stream) => {
                let of = self.name(key).session_id;
                if stream.name.agent.is_some() && stream.name.session_id != of {
                    // Two sessions have a delegate of that id, by a copy that somebody made: one of both is told.
                    let other = stream.name.session_id;
                    self.trouble(key, format!("session {other} has a subagent of that id, too"));
                    return None;
                }
                stream.state.path = entry.path.to_string();
                stream
            }
            None => {
                let state = State { path: entry.path.to_string(), ..State::default() };
                let added = self.outbox().add_stream(self.id, &self.name(key), key, state);
                match added {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::error!(%error, "the mirror cannot note down a session");
                        self.trouble(key, error.to_string());
                        return None;
                    }
                }
            }
        };
        let mut known = self.known();
        let ask = match (known.looked_at.insert(stream.id), known.to_mend.contains(key)) {
            (_, true) => Ask::Parts,
            (true, false) => Ask::Names,
            (false, false) => Ask::Claims,
        };
        known.streams.insert(key.clone(), stream.clone());
        Some((stream, source, about, ask))
    }

    /// Whoever took it out only to do something else leaves that to who brings the next records.
    pub(super) fn is_still_to_be_looked_at(&self, stream: &Stream, ask: Ask) {
        if ask != Ask::Claims {
            self.known().looked_at.remove(&stream.id);
        }
    }

    /// Where in the bucket it is: a delegate is beneath the session that all began with.
    pub(super) fn name(&self, key: &SessionKey) -> StreamName {
        let root = self.lineage(key).pop().unwrap_or_else(|| key.clone());
        let agent = (root != *key).then(|| key.session_id.clone());
        StreamName { harness: key.harness.clone(), session_id: root.session_id, agent }
    }

    /// It, who sent it, and so on up to the session that all began with.
    pub(super) fn lineage(&self, key: &SessionKey) -> Vec<SessionKey> {
        let mut lineage = vec![key.clone()];
        while let Some(last) = lineage.last()
            && let Some(parent) =
                self.hub.entry(last).and_then(|entry| entry.fold.delegated_by(last))
            && !lineage.contains(&parent)
        {
            lineage.push(parent);
        }
        lineage
    }
}
