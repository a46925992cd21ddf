//! All sessions of this host, and the answers to what clients ask about them.
//!
//! Holds what is known; status is worked out when asked, from `now`, so nothing here ticks. Not here:
//! reading transcripts and looking at processes (the driver does, and hands the findings in).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use rrd_proto::{
    Activity, Harness, HostState, Issue, Link, ParentKind, Session, SessionKey, Status, Timestamp,
    WaitingFor, session_ref,
};

use crate::{
    fold::Fold,
    hook::Trail,
    live::{Ask, Evidence, Liveness, LivenessBy},
    repo::Repo,
    roster::{covered::Covered, judge::Judged, lineage::Origins},
};

/// Most candidates an ambiguous lookup names.
const MAX_CANDIDATES: usize = 20;

/// Delegates of delegates of delegates: deeper than any harness lets them go.
const MAX_DEPTH: usize = 16;

/// How often one conversation is summed up and goes on in another session, as far as it is followed back.
const MAX_CHAIN: usize = 64;

/// Who answers, and by which rules.
#[derive(Debug, Clone)]
pub struct Place {
    /// This host's label.
    pub host: String,
    /// Its identity, once it has one.
    pub node_id: Option<String>,
    /// See [`crate::status`].
    pub idle_timeout: Duration,
}

/// One session, as far as it is known.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What its transcript says.
    pub fold: Arc<Fold>,
    /// The transcript; empty while a live session has not written one.
    pub path: Arc<str>,
    /// Which root it lies beneath (an index into the roots handed to [`Roster::set_live`]).
    pub root: usize,
    /// The repository it works in.
    pub repo: Arc<Repo>,
    /// A title from outside the transcript.
    pub index_title: Option<String>,
    /// The transcript has been read to its end.
    pub complete: bool,
    /// The harness has put the transcript away: reset, deleted, archived.
    pub archived: bool,
    /// When the transcript was changed last; where no harness deletes by that, nothing.
    pub changed: Option<Timestamp>,
}

/// What a look at the processes behind one root's sessions found.
#[derive(Debug, Clone, Default)]
pub struct RootLive {
    /// Live sessions leave traces here, so that a session without one has no process.
    pub traces: bool,
    /// What the traces are.
    pub by: LivenessBy,
    /// When the look was taken.
    pub checked_at: Timestamp,
    /// What was found.
    pub found: HashMap<SessionKey, Evidence>,
    /// Whose trace an earlier look found and a later one did not, and when that look was taken.
    pub left: HashMap<SessionKey, Timestamp>,
    /// Databases that no process has open: nobody is at work in any session of theirs.
    pub unopened: HashSet<Arc<str>>,
    /// What sessions ask a person, where the harness writes that down.
    pub asks: HashMap<SessionKey, Ask>,
}

/// Why a session's transcript, or its rows in a database, are not where they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// Deleted: what they were in is there and can be read.
    Gone,
    /// Nobody can tell: what they were in is not there, or cannot be read.
    OutOfSight,
}

/// All sessions of this host.
#[derive(Debug, Clone)]
pub struct Roster {
    place: Place,
    entries: BTreeMap<SessionKey, Entry>,
    live: Vec<RootLive>,
    /// Other places in which transcripts of a session lie, where there are any.
    copies: HashMap<SessionKey, Vec<String>>,
    /// Sessions whose transcripts are not where they were.
    absent: HashMap<SessionKey, Absence>,
    /// Roots that cannot be looked at.
    unseen: BTreeSet<usize>,
    hooks: HashMap<SessionKey, Trail>,
    /// Whose trail has changed since it was last handed out to be stored.
    unsaved: BTreeSet<SessionKey>,
    covered: Covered,
    /// Sessions that said for whom they wait.
    declared: HashMap<SessionKey, Vec<Link>>,
    messages: HashMap<SessionKey, Vec<Link>>,
    version: u64,
}

impl Roster {
    /// An empty roster.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self {
            place,
            entries: BTreeMap::new(),
            live: Vec::new(),
            copies: HashMap::new(),
            absent: HashMap::new(),
            unseen: BTreeSet::new(),
            hooks: HashMap::new(),
            unsaved: BTreeSet::new(),
            covered: Covered::default(),
            declared: HashMap::new(),
            messages: HashMap::new(),
            version: 1,
        }
    }

    /// Changes whenever what is known does.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// This host's label.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.place.host
    }

    /// What is known of the other hosts has changed: whoever waits for changes should ask again.
    pub fn others_changed(&mut self) {
        self.version += 1;
    }

    /// One session by its key.
    #[must_use]
    pub fn row_of(&self, key: &SessionKey, now: Timestamp) -> Option<Session> {
        let entry = self.entries.get(key)?;
        Some(self.row(key, entry, &self.judge(entry, key, now), &self.origins()))
    }

    /// The rows of these sessions, as far as they are known.
    #[must_use]
    pub fn rows_of<'k>(
        &self,
        keys: impl Iterator<Item = &'k SessionKey>,
        now: Timestamp,
    ) -> HashMap<SessionKey, Session> {
        let origins = self.origins();
        let known = keys.filter_map(|key| self.entries.get_key_value(key));
        let row = |(key, entry): (&SessionKey, &Entry)| {
            (key.clone(), self.row(key, entry, &self.judge(entry, key, now), &origins))
        };
        known.map(row).collect()
    }

    /// Sessions of this harness, or any, in the repository of this name, or any.
    pub fn keys(
        &self,
        harness: Option<&Harness>,
        repo: Option<&str>,
    ) -> impl Iterator<Item = &SessionKey> {
        let entries = self.entries.iter().filter(move |(key, entry)| {
            harness.is_none_or(|harness| key.harness == *harness)
                && repo.is_none_or(|repo| entry.repo.name.as_deref() == Some(repo))
        });
        entries.map(|(key, _)| key)
    }

    /// Takes this node's name: `ref`s follow from it.
    pub fn set_node(&mut self, node_id: Option<String>) {
        self.version += u64::from(self.place.node_id != node_id);
        self.place.node_id = node_id;
    }

    /// Takes what is known of one session now.
    pub fn set(&mut self, key: SessionKey, entry: Entry) {
        self.version += 1;
        // Whatever tells of it is there.
        self.absent.remove(&key);
        self.entries.insert(key, entry);
    }

    /// Takes in which repository a session works.
    pub fn set_repo(&mut self, key: &SessionKey, repo: &Arc<Repo>) {
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.repo != *repo) {
            entry.repo = Arc::clone(repo);
            self.version += 1;
        }
    }

    /// Takes why a session's transcript is not where it was; `None` when it is there again.
    pub fn set_absent(&mut self, key: &SessionKey, absence: Option<Absence>) {
        let before = match absence {
            Some(absence) if self.entries.contains_key(key) => {
                self.absent.insert(key.clone(), absence)
            }
            _ => self.absent.remove(key),
        };
        if before.as_ref() != self.absent.get(key) {
            self.version += 1;
        }
    }

    /// Takes whether root number `root` can be looked at.
    pub fn set_seen(&mut self, root: usize, seen: bool) {
        let changed = if seen { self.unseen.remove(&root) } else { self.unseen.insert(root) };
        self.version += u64::from(changed);
    }

    /// Forgets a session that never wrote a transcript, or of which nothing has been read.
    pub fn forget_unwritten(&mut self, key: &SessionKey) {
        let unwritten = |entry: &Entry| entry.path.is_empty() || !entry.fold.has_taken_any();
        if self.entries.get(key).is_some_and(unwritten) {
            self.entries.remove(key);
            self.version += 1;
        }
    }

    /// Forgets a session, whatever is known of it.
    pub fn forget(&mut self, key: &SessionKey) {
        let was_known = self.entries.remove(key).is_some();
        self.absent.remove(key);
        self.copies.remove(key);
        self.covered.forget(key);
        self.version += u64::from(was_known);
    }

    /// Takes every path at which a transcript of this session lies. Copies have the same name; another
    /// one is of another part of the session, as of a rollout that was compacted.
    pub fn set_places(&mut self, key: &SessionKey, places: Vec<String>) {
        let name = |path: &str| path.rsplit(['/', '\\']).next().map(str::to_owned);
        let names: Vec<_> = places.iter().map(|place| name(place)).collect();
        let twice = |of: &String| names.iter().filter(|other| **other == name(of)).count() > 1;
        let places: Vec<String> = places.iter().filter(|place| twice(place)).cloned().collect();
        let before = match places.len() {
            0 | 1 => self.copies.remove(key),
            _ => self.copies.insert(key.clone(), places),
        };
        if before.as_ref() != self.copies.get(key) {
            self.version += 1;
        }
    }

    /// What is known of one session.
    #[must_use]
    pub fn get(&self, key: &SessionKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Takes a look at the processes behind root number `root`.
    pub fn set_live(&mut self, root: usize, look: RootLive) {
        if self.live.len() <= root {
            self.live.resize_with(root + 1, RootLive::default);
        }
        let before = &self.live[root];
        let same = before.found == look.found
            && before.traces == look.traces
            && before.unopened == look.unopened
            && before.asks == look.asks;
        if !same {
            self.version += 1;
        }
        self.live[root] = look;
    }

    fn node(&self) -> &str {
        self.place.node_id.as_deref().unwrap_or_default()
    }

    /// What is odd about a session as a whole, then about its transcript.
    fn issues(&self, key: &SessionKey, entry: &Entry) -> Vec<Issue> {
        let mut issues = Vec::new();
        let mut issue = |kind: &str, which: Vec<String>, count: usize| {
            let (kind, detail) = (kind.to_owned(), Some(which.join(", ")));
            issues.push(Issue { kind, count: count as u64, offset: None, detail });
        };
        // The same process may show in two homes that are one.
        let pids: BTreeSet<u32> =
            self.alive(key).flat_map(|e| e.pid.iter().chain(&e.also)).copied().collect();
        if pids.len() > 1 {
            let which = pids.iter().map(u32::to_string).collect();
            issue(Issue::ALIVE_TWICE, which, pids.len());
        }
        if let Some(places) = self.copies.get(key) {
            let others = || places.iter().filter(|place| ***place != *entry.path);
            let named = others().take(MAX_CANDIDATES).cloned().collect();
            issue(Issue::COPIED, named, others().count());
        }
        match self.absence(key, entry) {
            Some(Absence::Gone) => issue(Issue::SOURCE_GONE, vec![entry.path.to_string()], 1),
            Some(Absence::OutOfSight) => {
                issue(Issue::OUT_OF_SIGHT, vec![entry.path.to_string()], 1);
            }
            None => {}
        }
        issues.extend(entry.fold.issues());
        issues
    }

    fn row(
        &self,
        key: &SessionKey,
        entry: &Entry,
        judged: &Judged<'_>,
        origins: &Origins<'_>,
    ) -> Session {
        let fold = &entry.fold;
        let verdict = judged.verdict.clone();
        let alive = judged.is_alive();
        let parent = fold.parent.clone();
        let origin = origins.get(key).map(|origin| origin.session_id.clone());
        let kind = match parent {
            Some((_, kind)) => Some(kind),
            None if fold.is_subagent() => Some(ParentKind::Subagent),
            None => entry.is_stray_fork().then_some(ParentKind::Fork),
        };
        Session {
            reference: session_ref(self.node(), key),
            host: self.place.host.clone(),
            node_id: self.place.node_id.clone(),
            harness: key.harness.clone(),
            session_id: key.session_id.clone(),
            repo: entry.repo.name.clone(),
            repo_root: entry.repo.root.clone(),
            repo_remote: entry.repo.remote.clone(),
            branch: fold.branch.clone(),
            cwd: fold.cwd.clone(),
            started_at: fold.started_at(),
            last_activity_at: fold.last_activity,
            transcript_path: Some(entry.path.to_string()).filter(|path| !path.is_empty()),
            title: entry.index_title.clone().or_else(|| self.title(entry, key)),
            model: fold.model.clone(),
            status: verdict.status,
            status_since: verdict.since,
            status_source: verdict.source,
            waiting_for: verdict.waiting_for,
            waiting_detail: verdict.waiting_detail,
            waiting_on: (verdict.waiting_for == Some(WaitingFor::Session))
                .then(|| Some(self.declared.get(key)?.first()?.to.clone()))
                .flatten(),
            activity: (verdict.status == Status::Executing)
                .then(|| activity(fold, judged))
                .flatten(),
            turn_result: verdict.turn_result,
            end_reason: verdict.end_reason,
            active: judged.active,
            live: match judged.evidence.liveness {
                Liveness::Alive => Some(alive),
                Liveness::Dead => Some(false),
                Liveness::Unknown => None,
            },
            interactive: judged.evidence.interactive.or(fold.interactive),
            pid: judged.evidence.pid.filter(|_| alive),
            parent_session_id: parent.map(|(id, _)| id).or(origin),
            parent_kind: kind,
            counts: entry.complete.then_some(fold.counts),
            tokens: fold.tokens.filter(|_| entry.complete),
            complete: entry.complete,
            host_state: HostState::Here,
            host_seen_at: None,
            attach: judged.evidence.attach.clone().filter(|_| alive),
            issues: self.issues(key, entry),
            coverage: self.covered.of(key, entry),
            deletion: self
                .covered
                .deletion(entry)
                .filter(|_| self.absence(key, entry) != Some(Absence::Gone)),
            links: self.links(key, entry, &judged.verdict),
            chain: None,
            workplaces: None,
        }
    }
}

/// A hook may know of a call before the transcript does.
fn activity(fold: &Fold, judged: &Judged<'_>) -> Option<Activity> {
    let hook = judged.evidence.hook.as_ref();
    hook.and_then(|hook| hook.activity(fold)).or_else(|| fold.activity())
}

mod covered;
mod hooked;
mod judge;
mod lineage;
mod list;
#[cfg(test)]
mod tests;
