//! Several transcripts of one id: which of them is brought where.
//!
//! A row is of an id, and a directory in a place of one session's transcript. A delegate's id may be in several
//! sessions, by a copy that somebody made, or by a program that names its delegates: each is brought beneath the
//! session beneath which it lies, by a key of its own, and the row tells of all of them. Of several that would lie
//! in one directory one is brought; the others are compared with it ([`super::super::short`]).

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use rrd_core::{mirror::StreamName, roster::Entry, sdk};
use rrd_proto::{Coverage, CoverageState, Harness, SessionKey};

use super::{Aim, Known, Stream};
use crate::hub::shown;

/// What is known of transcripts that are not the only ones of their id.
#[derive(Default)]
pub(super) struct Copies {
    /// By its key, one whose row is read from elsewhere: the row's key, and where it lies. Of a row itself, if not
    /// where the row says.
    at: HashMap<SessionKey, (SessionKey, Arc<str>)>,
    /// Of a row, the keys of those of its id that lie beneath other sessions.
    of: HashMap<SessionKey, Vec<SessionKey>>,
    /// The session beneath which a row's own is, also while nothing of it is begun.
    own: HashMap<SessionKey, String>,
    /// Others that would lie in the same directory.
    beside: HashMap<SessionKey, Vec<PathBuf>>,
}

impl Copies {
    fn add(&mut self, row: &SessionKey, key: SessionKey, path: Arc<str>) {
        let of = self.of.entry(row.clone()).or_default();
        if !of.contains(&key) {
            of.push(key.clone());
        }
        self.at.insert(key, (row.clone(), path));
    }
}

/// The key of a row's delegate beneath another session than the row's own.
fn key_beneath(row: &SessionKey, session: &str) -> SessionKey {
    let session_id = format!("{} beneath {session}", row.session_id);
    SessionKey { harness: row.harness.clone(), session_id }
}

/// The row of a stream with such a key.
fn row_of(stream: &Stream) -> Option<SessionKey> {
    let agent = stream.name.agent.as_ref()?;
    let row = SessionKey { harness: stream.key.harness.clone(), session_id: agent.clone() };
    (key_beneath(&row, &stream.name.session_id) == stream.key).then_some(row)
}

/// The session beneath which a transcript lies that its path alone tells to be a delegate's.
fn beneath(key: &SessionKey, path: &str) -> Option<String> {
    sdk::beneath(path).filter(|_| key.harness == Harness::ClaudeCode)
}

impl Aim {
    /// Takes up the streams that were begun before the start.
    pub(super) fn know(&self, streams: Vec<Stream>) {
        let mut known = self.known();
        for stream in streams {
            if let Some(row) = row_of(&stream) {
                let path = stream.state.path.as_str().into();
                known.copies.add(&row, stream.key.clone(), path);
            }
            known.streams.insert(stream.key.clone(), stream);
        }
    }

    /// What is known of it, with the path that is brought.
    pub(super) fn entry(&self, key: &SessionKey) -> Option<Entry> {
        let at = self.known().copies.at.get(key).cloned();
        match at {
            Some((row, path)) => Some(Entry { path, ..self.hub.entry(&row)? }),
            None => self.hub.entry(key),
        }
    }

    /// The row that tells of it.
    pub(in crate::mirror) fn row(&self, key: &SessionKey) -> SessionKey {
        self.known().copies.at.get(key).map_or_else(|| key.clone(), |(row, _)| row.clone())
    }

    /// Whether nobody wants to see it again, or the session beneath which it lies.
    pub(super) fn is_forgotten(&self, key: &SessionKey) -> bool {
        let row = self.row(key);
        let is_beneath = || {
            let session_id = self.beneath(key).filter(|_| row != *key)?;
            Some(SessionKey { harness: key.harness.clone(), session_id })
        };
        self.hub.is_forgotten(&row) || is_beneath().is_some_and(|of| self.hub.is_forgotten(&of))
    }

    /// Everything that a row tells of.
    pub(super) fn all_of(&self, row: &SessionKey) -> Vec<SessionKey> {
        let known = self.known();
        let others = known.copies.of.get(row).into_iter().flatten();
        std::iter::once(row).chain(others).cloned().collect()
    }

    /// Everything that this place is to have.
    pub(super) fn keys(&self) -> Vec<SessionKey> {
        let mut keys: Vec<SessionKey> = self.hub.keys(None, None).into_iter().collect();
        let known = self.known();
        let rows: Vec<&Vec<SessionKey>> =
            keys.iter().filter_map(|row| known.copies.of.get(row)).collect();
        let others: Vec<SessionKey> = rows.into_iter().flatten().cloned().collect();
        keys.extend(others);
        keys
    }

    /// Other transcripts here that would lie where this one does there.
    pub(super) fn beside(&self, key: &SessionKey) -> Vec<PathBuf> {
        self.known().copies.beside.get(key).cloned().unwrap_or_default()
    }

    /// How many transcripts that belong to it lie here, and not all of them there.
    pub(super) fn only_here(&self, key: &SessionKey) -> u64 {
        let known = self.known();
        let named = |key: &SessionKey| known.streams.get(key);
        let Some(stream) = named(key) else { return 0 };
        let is_own = |of: &&Stream| {
            of.key == *key
                || (stream.name.agent.is_none() && of.name.session_id == stream.name.session_id)
        };
        let beside = known.copies.beside.keys().filter_map(named).filter(is_own);
        beside.map(|stream| stream.state.only_here()).sum()
    }

    /// Finds out where the transcripts of a row lie, and which of them is brought where.
    pub(super) fn sort_out(&self, row: &SessionKey) {
        let Some(entry) = self.hub.entry(row).filter(|entry| !entry.path.is_empty()) else {
            return;
        };
        let mut places = self.hub.transcripts(row);
        let of_row = beneath(row, &entry.path);
        {
            let known = self.known();
            let bound = known.streams.get(row);
            let is_elsewhere = of_row.is_some()
                && bound.is_some_and(|stream| !is_bound(stream, of_row.as_deref()));
            if places.len() < 2 && !is_elsewhere && !known.copies.is_any(row) {
                return;
            }
        }
        if !places.iter().any(|(at, _)| shown(at) == *entry.path) {
            places.push((PathBuf::from(&*entry.path), false));
        }
        places.retain(|(at, _)| at.is_file());
        let is_stored = |path: &str| places.iter().any(|(at, is)| *is && shown(at) == path);
        let mut known = self.known();
        let bound = known.streams.get(row);
        let own = match (bound.filter(|stream| stream.name.agent.is_some()), &of_row) {
            (Some(stream), Some(_)) => Some(stream.name.session_id.clone()),
            _ => known.copies.own.get(row).cloned().or_else(|| of_row.clone()),
        };
        let is_begun = |session: &String| known.streams.contains_key(&key_beneath(row, session));
        // Whatever the row is read from now, that one is brought by a key of its own.
        let own = own.filter(|own| bound.is_some() || !is_begun(own));
        let is_none = of_row.is_some() && own.is_none();
        let mut groups: BTreeMap<Option<String>, Vec<&(PathBuf, bool)>> = BTreeMap::new();
        for place in &places {
            let session = beneath(row, &shown(&place.0));
            // Before 2.1 a delegate lay beside its session.
            let session = session.or_else(|| own.clone());
            groups.entry(session).or_default().push(place);
        }
        let bound_at = bound.map(|stream| stream.state.path.clone());
        if !groups.contains_key(&own) && (is_none || bound_at.is_some()) {
            // It went, and another one of its id is there.
            let path = bound_at.unwrap_or_default().into();
            known.copies.at.insert(row.clone(), (row.clone(), path));
            known.copies.beside.remove(row);
        }
        if let Some(own) = &own {
            known.copies.own.insert(row.clone(), own.clone());
        }
        for (session, group) in groups {
            let key = match &session {
                Some(session) if Some(session) != own.as_ref() => key_beneath(row, session),
                _ => row.clone(),
            };
            let begun = known.streams.get(&key).map(|stream| stream.state.path.clone());
            let is_in = |path: &str| group.iter().any(|(at, _)| shown(at) == path);
            let begun = begun.filter(|path| is_in(path));
            let told = Some(entry.path.to_string()).filter(|path| is_in(path));
            // Whoever reads two of a delegate by turns mixes them; what a program stores and what its harness writes
            // is one, though, and the row knows which of both has more.
            let stays = begun.clone().filter(|begun| {
                let is_same = told.as_ref().is_none_or(|to| is_stored(to) == is_stored(begun));
                session.is_some() && is_same
            });
            let first = || group.iter().map(|(at, _)| shown(at)).min();
            let Some(path) = stays.or(told).or(begun).or_else(first) else { continue };
            let beside = group.iter().filter(|(at, is)| {
                let name = |path: &Path| path.file_name().map(ToOwned::to_owned);
                shown(at) != path && *is == is_stored(&path) && name(at) == name(Path::new(&path))
            });
            let beside: Vec<PathBuf> = beside.map(|(at, _)| at.clone()).collect();
            let is_lined = |at: &PathBuf| at.extension().is_some_and(|of| of == "jsonl");
            match beside.is_empty() || !beside.iter().all(is_lined) {
                true => known.copies.beside.remove(&key),
                false => known.copies.beside.insert(key.clone(), beside),
            };
            if key != *row {
                known.copies.add(row, key, path.into());
            } else if path == *entry.path {
                known.copies.at.remove(&key);
            } else {
                known.copies.at.insert(key, (row.clone(), path.into()));
            }
        }
    }

    /// Where a stream of it begins that there is none of yet.
    pub(super) fn name_beneath(&self, key: &SessionKey) -> Option<StreamName> {
        let (harness, session_id) = (key.harness.clone(), self.beneath(key)?);
        Some(StreamName { harness, session_id, agent: Some(self.row(key).session_id) })
    }

    /// The session beneath which it lies, where its path tells.
    pub(super) fn beneath(&self, key: &SessionKey) -> Option<String> {
        beneath(key, &self.entry(key)?.path).filter(|session| *session != key.session_id)
    }
}

impl Copies {
    fn is_any(&self, row: &SessionKey) -> bool {
        self.at.contains_key(row) || self.of.contains_key(row) || self.beside.contains_key(row)
    }
}

impl Known {
    /// What a row tells of all that is of it: the worst.
    pub(super) fn told_of(&self, row: &SessionKey) -> Option<Coverage> {
        let others = self.copies.of.get(row).into_iter().flatten();
        let all = std::iter::once(row).chain(others);
        let all: Vec<&Coverage> = all.filter_map(|key| self.told.get(key)).collect();
        let gravity = |one: &&&Coverage| match one.state {
            CoverageState::Failing => 0,
            CoverageState::Behind => 1,
            CoverageState::Diverged => 2,
            CoverageState::Mirrored => 4,
            _ => 3,
        };
        let worst = all.iter().min_by_key(gravity)?;
        let bytes = all.iter().filter(|one| one.state == worst.state).map(|one| one.bytes_behind);
        let only_here = all.iter().map(|one| one.only_here).sum();
        Some(Coverage { bytes_behind: bytes.sum(), only_here, ..(*worst).clone() })
    }
}

/// Whether a delegate's stream is the one beneath this session.
fn is_bound(stream: &Stream, session: Option<&str>) -> bool {
    stream.name.agent.is_none() || Some(&*stream.name.session_id) == session
}
