//! How it is with a place, and with each transcript there, for `rrd mirror status` and `list`.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
    time::Instant,
};

use rrd_core::repo::{Learnt, is_called};
use rrd_proto::{
    CoverageState, MirrorFailing, MirrorStatus, MirrorTarget, MirrorTrouble, Mirrored, SessionKey,
    Timestamp,
};

use super::{Aim, OutboxError, Stream, TOLD, address, at, chosen::Where};
use crate::{hub::now, mirror::twins::TROUBLE};

impl Aim {
    /// How it is with this place.
    pub(in crate::mirror) fn status(&self) -> Result<MirrorStatus, OutboxError> {
        let backlog = self.on_its_way()?;
        let list = self.list()?;
        let count = |state| list.iter().filter(|one| one.state == state).count() as u64;
        let (stopped, diverged) = (count(CoverageState::Stopped), count(CoverageState::Diverged));
        let held_back = self.held();
        let held_for = self.held_for(&held_back);
        let troubled: Vec<SessionKey> = self.known().troubles.keys().cloned().collect();
        let left_out: HashSet<SessionKey> =
            troubled.into_iter().filter(|key| !self.is_wanted(key)).collect();
        let listed = || list.iter().filter(|one| is_to_be_there(one.state));
        let is_unknown = |one: &&Mirrored| {
            one.bytes_behind.is_none()
                && matches!(one.state, CoverageState::Behind | CoverageState::Failing)
        };
        let bytes: u64 = listed().filter_map(|one| one.bytes_behind).sum();
        let known = self.known();
        // Of those that were not tried yet all is missing; what a database has of one nobody knows.
        let untried = || known.dirty.keys().filter(|key| !known.streams.contains_key(*key));
        let behind = count(CoverageState::Behind) + count(CoverageState::Failing);
        let behind = behind + untried().count() as u64;
        let untried = untried().map(|key| {
            let source = at(key, &self.hub.entry(key)?);
            let (size, _) = source.looks().filter(|_| !source.is_whole())?;
            Some(size)
        });
        let untried: Vec<Option<u64>> = untried.collect();
        let behind_unknown = untried.iter().filter(|size| size.is_none()).count() as u64
            + listed().filter(is_unknown).count() as u64;
        let untried: u64 = untried.into_iter().flatten().sum();
        let failing = known.failing.as_ref().map(|failing| MirrorFailing {
            since: failing.since,
            failures: failing.failures,
            error: failing.error.clone(),
            again_at: Timestamp::from_millis(
                now().as_millis()
                    + i64::try_from((failing.again - Instant::now()).as_millis()).unwrap_or(0),
            ),
        });
        let closed = self.standstill().map(|(since, error)| MirrorFailing {
            since,
            failures: 1,
            error,
            again_at: now(),
        });
        // Where nothing goes, each of them says the same.
        let is_told = |key: &SessionKey| closed.is_none() && !left_out.contains(key);
        let troubles = known.troubles.iter().filter(|(key, _)| is_told(key));
        let mut troubles: Vec<MirrorTrouble> = troubles
            .map(|(key, (error, _))| MirrorTrouble {
                stream: known.streams.get(key).map_or_else(
                    || format!("{}/{}", key.harness, key.session_id),
                    |stream| stream.name.directory(),
                ),
                error: error.clone(),
            })
            .map(|trouble| MirrorTrouble { stream: self.told(&trouble.stream), ..trouble })
            .collect();
        for stream in known.streams.values().filter(|stream| is_told(&stream.key)) {
            let beside = stream.state.beside.iter().filter(|one| one.has_more);
            troubles.extend(beside.map(|one| MirrorTrouble {
                stream: self.told(&stream.name.directory()),
                error: self.told(&one.wrong()),
            }));
        }
        let claimed = self.carrier.as_ref().map(|it| it.twins.claimed(now())).unwrap_or_default();
        troubles.extend(
            claimed.iter().map(|stream| MirrorTrouble {
                stream: self.told(stream),
                error: TROUBLE.to_owned(),
            }),
        );
        troubles.sort_by(|a, b| a.stream.cmp(&b.stream));
        troubles.truncate(TOLD);
        Ok(MirrorStatus {
            url: self.settings.url.clone(),
            project: self.settings.project.clone(),
            since: self.since,
            redacted: !self.settings.raw,
            raw_transcripts: list.iter().filter(|one| one.raw).count() as u64,
            checking: !self.has_looked.load(Ordering::Relaxed) && closed.is_none(),
            transcripts: list.iter().filter(|one| one.parts > 0).count() as u64,
            behind,
            bytes_behind: bytes + untried,
            behind_unknown,
            pending_parts: backlog.iter().map(|(_, parts, _)| parts).sum(),
            pending_bytes: backlog.iter().map(|(_, _, bytes)| bytes).sum(),
            elsewhere: list.iter().filter(|one| one.by.is_some()).count() as u64 - diverged,
            diverged,
            stopped,
            held: held_back.len() as u64,
            held_for,
            keep_days: self.settings.keep_days,
            harness: self.settings.harness.clone(),
            repo: self.settings.repo.clone(),
            exclude_harness: self.settings.exclude_harness.clone(),
            exclude_repo: self.settings.exclude_repo.clone(),
            unknown_repos: self.unknown_repos(),
            last_uploaded_at: list.iter().filter_map(|one| one.last_uploaded_at).max(),
            stands_still: closed.is_some(),
            failing: closed.or(failing),
            troubles,
        })
    }

    /// Some of what is held back, and why.
    fn held_for(&self, held: &[(SessionKey, Where)]) -> Vec<MirrorTrouble> {
        let trouble = |(key, why): &(SessionKey, Where)| MirrorTrouble {
            stream: self.told(&self.name(key).directory()),
            error: self.told(&why.to_string()),
        };
        let mut told: Vec<MirrorTrouble> = held.iter().map(trouble).collect();
        told.sort_by(|a, b| a.stream.cmp(&b.stream));
        told.truncate(TOLD);
        told
    }

    /// Why nothing goes there, whatever is tried; and since when.
    pub(super) fn standstill(&self) -> Option<(Timestamp, String)> {
        let carrier = match &self.carrier {
            Ok(carrier) => carrier,
            Err(error) => return Some((self.since, error.clone())),
        };
        let why = self.stuck.get().cloned().or_else(|| carrier.forbidden())?;
        Some((self.begun, why))
    }

    /// Why a session can have no name there: ids are in names, which are not redacted.
    pub(super) fn unnamable(&self, key: &SessionKey) -> Option<String> {
        let carrier = self.carrier.as_ref().ok().filter(|carrier| carrier.redacts)?;
        let name = self.name(key);
        let is_secret = |id: &str| carrier.edges.kept(id) != id;
        let is_any = is_secret(&name.session_id) || name.agent.as_deref().is_some_and(is_secret);
        is_any.then(|| {
            "its id looks like a secret, and would be in names there: not mirrored. If it is none, \
             [allow] it in redact.toml; else rrd mirror stop leaves it out"
                .to_owned()
        })
    }

    /// Repositories of the user's choice in which no session was, as far as sessions are known yet.
    fn unknown_repos(&self) -> Vec<String> {
        let MirrorTarget { repo, exclude_repo, .. } = &self.settings;
        if (repo.is_empty() && exclude_repo.is_empty()) || !self.hub.is_surveyed() {
            return Vec::new();
        }
        let keys = self.hub.keys(None, None);
        let entries = keys.iter().filter_map(|key| self.hub.entry(key));
        let shown: HashSet<String> = entries.filter_map(|entry| entry.repo.name.clone()).collect();
        let known: Vec<Learnt> = keys.iter().filter_map(|key| self.hub.repo_of(key)).collect();
        let is_known = |name: &String| {
            shown.iter().any(|of| is_called(of, name))
                || known.iter().any(|it| it.is_or_was_in(name))
        };
        repo.iter().chain(exclude_repo).filter(|name| !is_known(name)).cloned().collect()
    }

    /// A title, as it may be told.
    pub(in crate::mirror) fn told(&self, title: &str) -> String {
        match &self.carrier {
            Ok(carrier) => carrier.edges.mirrored(title).into_inner(),
            Err(_) => String::new(),
        }
    }

    /// What is there, as this host knows it.
    pub(in crate::mirror) fn list(&self) -> Result<Vec<Mirrored>, OutboxError> {
        let streams: Vec<Stream> = self.known().streams.values().cloned().collect();
        let (totals, unsent) = {
            let outbox = self.outbox();
            (outbox.totals(self.id)?, outbox.unsent(self.id)?)
        };
        let mut list: Vec<Mirrored> = streams
            .into_iter()
            .map(|stream| {
                let total = totals.get(&stream.id).cloned().unwrap_or_default();
                let entry = self.entry(&stream.key);
                let size = entry
                    .as_ref()
                    .and_then(|entry| at(&stream.key, entry).looks())
                    .map_or(0, |(size, _)| size);
                let read = stream.state.cursor.map_or(size, |at| at.offset);
                let coverage =
                    entry.as_ref().map(|entry| self.coverage(&stream.key, entry, &unsent));
                let state = coverage.as_ref().map_or(CoverageState::Unknown, |it| it.state);
                let is_in_database =
                    entry.as_ref().is_some_and(|entry| at(&stream.key, entry).is_in_database());
                let is_told = matches!(
                    state,
                    CoverageState::Mirrored | CoverageState::Behind | CoverageState::Failing
                );
                let is_new = stream.state.cursor.is_none() && total.parts == 0;
                Mirrored {
                    url: address(&self.settings),
                    directory: stream.name.directory(),
                    harness: stream.key.harness.clone(),
                    session_id: stream.name.own_id().to_owned(),
                    title: entry.and_then(|entry| entry.fold.title().map(|title| self.told(title))),
                    parent_session_id: stream.name.agent.as_ref().map(|_| {
                        let parent = self.lineage(&stream.key).into_iter().nth(1);
                        parent.map_or_else(|| stream.name.session_id.clone(), |key| key.session_id)
                    }),
                    agent: stream.name.agent.clone(),
                    parts: total.parts,
                    uploaded_bytes: total.bytes,
                    records: total.records,
                    bytes_behind: match (&stream.state.theirs, is_new) {
                        (Some(_), _) => None,
                        // Nothing of it is missed there.
                        _ if !is_to_be_there(state) => None,
                        // Of a database only what is read of it tells.
                        _ if is_told || is_in_database => coverage.and_then(|it| it.bytes_behind),
                        (None, true) => Some(size + stream.state.missing()),
                        // What was read and is still here is not there, either.
                        (None, false) => {
                            let unsent = unsent.get(&stream.id).copied().unwrap_or_default();
                            Some(size.saturating_sub(read) + unsent + stream.state.missing())
                        }
                    },
                    last_uploaded_at: total.last,
                    redactions: total.redactions,
                    raw: total.is_raw,
                    by: stream.state.theirs,
                    state,
                }
            })
            .collect();
        sort(&mut list);
        Ok(list)
    }
}

/// Sessions of which the place took something last come first, each with its delegates beneath it.
fn sort(list: &mut [Mirrored]) {
    let mut last: HashMap<String, Option<Timestamp>> = HashMap::new();
    for one in &*list {
        let last = last.entry(session_of(one).to_owned()).or_default();
        *last = one.last_uploaded_at.max(*last);
    }
    list.sort_by(|a, b| {
        let [of_a, of_b] = [a, b].map(session_of);
        (last[of_b].cmp(&last[of_a]).then(of_a.cmp(of_b)))
            .then(a.agent.is_some().cmp(&b.agent.is_some()))
            .then(b.last_uploaded_at.cmp(&a.last_uploaded_at))
            .then(a.directory.cmp(&b.directory))
    });
}

/// The directory of the session that it is, or is a delegate's of.
fn session_of(one: &Mirrored) -> &str {
    match one.directory.split_once("/subagents/") {
        Some((session, _)) if one.agent.is_some() => session,
        _ => one.directory.trim_end_matches('/'),
    }
}

/// Whether what is missing of it there is still to come.
fn is_to_be_there(state: CoverageState) -> bool {
    use CoverageState::{Excluded, Expired, Held, Stopped};
    !matches!(state, Stopped | Excluded | Held | Expired)
}
