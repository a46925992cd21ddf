//! Which sessions a bucket is to have, which of them gained something, and what carries each.
//!
//! Not here: when it is brought there ([`super`]), and what came of that ([`super::came`]).

use std::{
    collections::HashSet,
    fmt,
    path::PathBuf,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rrd_core::{
    fold::Turn,
    mirror::{StreamName, due},
    repo::{Learnt, Repo, is_called},
    roster::Entry,
};
use rrd_proto::{MirrorTarget, SessionKey};

use super::{
    super::{
        gather::At,
        outbox::{Beside, State, Stream, StreamId},
        stream::{About, Ask},
    },
    Aim, COMPACT, Dirty, Known, at,
};
use crate::{
    hub::{Unknown, now, shown},
    repo::Repos,
};

/// Whether a session is one of those that the user chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    In,
    Out,
    /// It depends on its repository, and of this nobody knows which that is.
    Held(Where),
}

/// What nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Where {
    /// In which repository its own directory is, if it names one.
    Own(Option<String>),
    /// Where they were who sent it, or of whom it has something.
    Kin,
    /// In which repository something is where it, or they, were.
    At(Unknown),
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(Some(at)) | Self::At(Unknown::Place(at)) => {
                write!(
                    f,
                    "nobody knows in which repository {at} was, where it worked: that counts once it is there again, whole"
                )
            }
            Self::Own(None) => write!(f, "no record of it names a directory"),
            Self::Kin => write!(f, "nobody knows where that was of which it is a fork or delegate"),
            Self::At(Unknown::More) => write!(f, "it was in more directories than are remembered"),
            Self::At(Unknown::Before) => {
                write!(f, "the host that it came from did not tell of all places where it was")
            }
        }
    }
}

impl Aim {
    /// What went on here and on another host: there it may be as it is here meanwhile.
    pub(super) fn look_at_diverged(&self) {
        let mut known = self.known();
        let diverged = |stream: &&Stream| stream.state.diverged.is_some();
        let ids: HashSet<StreamId> =
            known.streams.values().filter(diverged).map(|stream| stream.id).collect();
        known.looked_at.retain(|id| !ids.contains(id));
    }

    /// The same after a start: whoever judged it may have been an earlier release. What this host knows of the bucket
    /// is compared, and the bucket is read only where that tells otherwise.
    pub(super) fn judge_diverged_anew(&self) {
        let Known { streams, looked_at, .. } = &mut *self.known();
        for stream in streams.values_mut().filter(|stream| stream.state.diverged.is_some()) {
            stream.state.settled = None;
            looked_at.insert(stream.id);
        }
    }

    /// What the bucket took a while ago: another host may have claimed it without having seen that.
    pub(super) fn look_at_brought(&self) {
        let Known { streams, taken_at, dirty, .. } = &mut *self.known();
        for (key, stream) in streams.iter().filter(|(_, stream)| stream.state.theirs.is_none()) {
            let ago = taken_at.get(&stream.id).map(|taken| now().since(*taken));
            let ago = ago.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
            if ago.is_some_and(|ago| due::is_asked_about(ago, COMPACT)) {
                dirty.entry(key.clone()).or_insert_with(|| Dirty::to_look_at(Some(stream)));
            }
        }
    }

    /// Every session whose source is not as it was when there was nothing more in it.
    pub(super) fn look_at_all(&self) {
        // Not deleted yet: whoever has just said how long sessions are kept may look first.
        self.find_over();
        self.has_looked.store(true, Ordering::Relaxed);
        let rows = self.hub.keys(None, None);
        rows.iter().for_each(|row| self.sort_out(row));
        self.ask_where_held(&rows);
        for key in self.keys() {
            let Some(entry) = self.entry(&key).filter(|entry| self.wants(&key, entry)) else {
                continue;
            };
            let looks = at(&key, &entry).looks();
            let beside = self.beside(&key);
            let known = self.known();
            let stream = known.streams.get(&key).map(|stream| &stream.state);
            let is_settled = stream.is_some_and(|state| {
                !state.meta_is_due
                    && state.theirs.is_none()
                    && *entry.path == *state.path
                    && (looks.is_none() || state.settled == looks)
                    && is_as_compared(&state.beside, &beside)
            });
            drop(known);
            if !is_settled && looks.is_some() {
                self.mark_one(&key);
            }
        }
        let backlog = self.on_its_way().unwrap_or_default();
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
        for key in keys {
            if self.entry(&key).is_some_and(|entry| self.wants(&key, &entry)) {
                let mut known = self.known();
                let dirty = Dirty::to_look_at(known.streams.get(&key));
                known.dirty.entry(key).or_insert(dirty);
            }
        }
        self.tell(rows);
    }

    /// It has gained records; which of several transcripts of its id nobody tells.
    pub(super) fn mark(&self, row: &SessionKey) {
        self.sort_out(row);
        for key in self.all_of(row) {
            let is_settled = || {
                let looks = self.source(&key).and_then(|source| source.looks());
                let known = self.known();
                let stream = known.streams.get(&key);
                looks.is_none() || stream.is_some_and(|stream| stream.state.settled == looks)
            };
            if key == *row || !is_settled() {
                self.mark_one(&key);
            }
        }
    }

    fn mark_one(&self, key: &SessionKey) {
        let Some(entry) = self.entry(key).filter(|entry| self.wants(key, entry)) else {
            return;
        };
        let now = Instant::now();
        let looks = at(key, &entry).looks();
        let mut known = self.known();
        let stream = known.streams.get(key).and_then(|stream| stream.state.cursor);
        let bytes = looks.map(|(size, _)| size.saturating_sub(stream.map_or(0, |at| at.offset)));
        let dirty = known.dirty.entry(key.clone());
        let dirty = dirty.or_insert(Dirty { since: now, last: now, bytes: 0, looks });
        // Where it has gone, what was new in it is known of the look before.
        (dirty.last, dirty.bytes) = (now, bytes.unwrap_or(dirty.bytes));
        dirty.looks = looks.or(dirty.looks);
    }

    /// Whether the user wants it here, and has not stopped it, and it is not over for too long.
    pub(super) fn wants(&self, key: &SessionKey, entry: &Entry) -> bool {
        self.chooses(key, entry)
            && self.stopped_at(key).is_none()
            && self.kept_until(key, entry).is_none()
    }

    /// The same of one that may not be listed any more: what is not known to be left out is wanted.
    pub(super) fn is_wanted(&self, key: &SessionKey) -> bool {
        self.stopped_at(key).is_none()
            && self.entry(key).is_none_or(|entry| self.wants(key, &entry))
    }

    /// Whether it is one of those that the user chose for this place.
    pub(super) fn chooses(&self, key: &SessionKey, entry: &Entry) -> bool {
        self.choice(key, entry) == Choice::In
    }

    /// The same, and whether that is known: what went out by mistake cannot be taken back.
    pub(super) fn choice(&self, key: &SessionKey, entry: &Entry) -> Choice {
        let MirrorTarget { harness, repo, exclude_harness, exclude_repo, .. } = &self.settings;
        let is = |name: &String| name == key.harness.as_str();
        let is_of_harness = harness.is_empty() || harness.iter().any(is);
        if entry.path.is_empty() || !is_of_harness || exclude_harness.iter().any(is) {
            return Choice::Out;
        }
        if repo.is_empty() && exclude_repo.is_empty() {
            return Choice::In;
        }
        let lineage = self.lineage(key);
        // It has something of all of these.
        let (kin, is_all) = match exclude_repo.is_empty() {
            true => (lineage.clone(), true),
            false => self.hub.ancestry(lineage.clone()),
        };
        let kin: Vec<SessionKey> = kin.iter().map(|key| self.row(key)).collect();
        let known: Vec<Option<Learnt>> = kin.iter().map(|key| self.hub.repo_of(key)).collect();
        let was_in = |name: &String| known.iter().flatten().any(|of| of.is_or_was_in(name));
        if exclude_repo.iter().any(was_in) {
            return Choice::Out;
        }
        let known: Vec<Option<Repo>> = known.into_iter().map(|it| it?.repo).collect();
        // A delegate is where they are that sent it if nothing is known of its own directory.
        let senders = &known[..lineage.len()];
        match senders.iter().flatten().next() {
            Some(of) if senders.last().is_some_and(Option::is_some) => {
                let is_it = |of: &String| repo.iter().any(|name| is_called(name, of));
                if !repo.is_empty() && !of.name.as_ref().is_some_and(is_it) {
                    return Choice::Out;
                }
            }
            _ => return Choice::Held(Where::Own(entry.fold.cwd.clone())),
        }
        if exclude_repo.is_empty() {
            return Choice::In;
        }
        if let Some(unknown) = self.hub.unknown_of(&kin) {
            return Choice::Held(Where::At(unknown));
        }
        match is_all && known.iter().all(Option::is_some) {
            true => Choice::In,
            false => Choice::Held(Where::Kin),
        }
    }

    /// Looks once more for the repositories of what is held back: a volume may be mounted since.
    fn ask_where_held(&self, rows: &HashSet<SessionKey>) {
        let mut repos = Repos::default();
        for row in rows {
            if let Some(entry) = self.hub.entry(row)
                && matches!(self.choice(row, &entry), Choice::Held(_))
            {
                let seen = repos.of(&entry.fold, &entry.path, &[]);
                self.hub.relearn_repo(row, seen);
            }
        }
    }

    /// What is held back, and why.
    pub(super) fn held(&self) -> Vec<(SessionKey, Where)> {
        if self.settings.repo.is_empty() && self.settings.exclude_repo.is_empty() {
            return Vec::new();
        }
        let why = |key: SessionKey| match self.choice(&key, &self.entry(&key)?) {
            Choice::Held(why) => Some((key, why)),
            Choice::In | Choice::Out => None,
        };
        self.keys().into_iter().filter_map(why).collect()
    }

    pub(super) fn turn_is_open(&self, key: &SessionKey) -> bool {
        self.hub.entry(key).is_some_and(|entry| matches!(entry.fold.turn(), Turn::Open { .. }))
    }

    /// What carries this session; a new one the first time.
    pub(super) fn stream_of(&self, key: &SessionKey) -> Option<(Stream, At, About, Ask)> {
        let entry = self.entry(key)?;
        let source = at(key, &entry);
        let row = self.row(key);
        let tasks = self.fleet.as_ref().map(|fleet| fleet.tasks().of(fleet, &row));
        let task = tasks.unwrap_or_default().into_iter().next();
        let about = About {
            cwd: entry.fold.cwd.clone(),
            title: entry.fold.title().map(str::to_owned),
            repo: entry.repo.remote.clone().or_else(|| entry.repo.name.clone()),
            past: self.hub.past_of(&row),
            ended_at: entry.fold.ended,
            task,
        };
        let known = self.known().streams.get(key).cloned();
        let stream = match known {
            Some(mut stream) => {
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
    pub(in crate::mirror) fn name(&self, key: &SessionKey) -> StreamName {
        if let Some(name) = self.name_beneath(key) {
            return name;
        }
        let root = self.lineage(key).pop().unwrap_or_else(|| key.clone());
        let agent = (root != *key).then(|| key.session_id.clone());
        StreamName { harness: key.harness.clone(), session_id: root.session_id, agent }
    }

    /// It, who sent it, and so on up to the session that all began with.
    pub(super) fn lineage(&self, key: &SessionKey) -> Vec<SessionKey> {
        let mut lineage = vec![key.clone()];
        while let Some(last) = lineage.last()
            && let Some(parent) = self.entry(last).and_then(|entry| entry.fold.delegated_by(last))
            && !lineage.contains(&parent)
        {
            lineage.push(parent);
        }
        if let Some(session_id) = self.beneath(key) {
            // Another delegate of its id may be of another session, and what is known of both is one.
            let session = SessionKey { harness: key.harness.clone(), session_id };
            if !lineage.contains(&session) {
                lineage = vec![key.clone(), session];
            }
        }
        lineage
    }
}

/// Whether all that lies beside a transcript is what was compared with it.
fn is_as_compared(compared: &[Beside], beside: &[PathBuf]) -> bool {
    let is = |(one, path): (&Beside, &PathBuf)| {
        one.path == shown(path) && one.looks == At::File(path.clone()).looks()
    };
    compared.len() == beside.len() && compared.iter().zip(beside).all(is)
}
