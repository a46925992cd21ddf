//! All sessions of this host, and the answers to what clients ask about them.
//!
//! Holds what is known; status is worked out when asked, from `now`, so nothing here ticks. Not here:
//! reading transcripts and looking at processes (the driver does, and hands the findings in).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use rrd_proto::{
    Activity, HostState, IndexProgress, ListQuery, ListReply, Lookup, ParentKind, Root, Session,
    SessionKey, Status, Timestamp, Totals, session_ref,
};

use crate::{
    fold::Fold,
    hook::Trail,
    live::{Evidence, Liveness, LivenessBy, RegistryState},
    repo::Repo,
    status::{Verdict, decide, is_active},
};

/// A transcript may be written this long before the look at the processes that found no trace of its
/// writer; only then does that mean that the writer is gone.
const TRACE_SETTLES_MS: i64 = 2_000;

/// A record this far ahead of the clock was stamped by another one: its age tells nothing.
const FROM_THE_FUTURE_MS: i64 = 60_000;

/// Most candidates an ambiguous lookup names.
const MAX_CANDIDATES: usize = 20;

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
}

/// All sessions of this host.
#[derive(Debug)]
pub struct Roster {
    place: Place,
    entries: BTreeMap<SessionKey, Entry>,
    live: Vec<RootLive>,
    hooks: HashMap<SessionKey, Trail>,
    version: u64,
}

impl Roster {
    /// An empty roster.
    #[must_use]
    pub fn new(place: Place) -> Self {
        let (entries, hooks) = (BTreeMap::new(), HashMap::new());
        Self { place, entries, live: Vec::new(), hooks, version: 1 }
    }

    /// Changes whenever what is known does.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Takes what is known of one session now.
    pub fn set(&mut self, key: SessionKey, entry: Entry) {
        self.version += 1;
        self.entries.insert(key, entry);
    }

    /// Forgets a session that never wrote a transcript.
    pub fn forget_unwritten(&mut self, key: &SessionKey) {
        if self.entries.get(key).is_some_and(|entry| entry.path.is_empty()) {
            self.entries.remove(key);
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
        if before.found != look.found || before.traces != look.traces {
            self.version += 1;
        }
        self.live[root] = look;
    }

    /// Answers `rrd sessions list`.
    #[must_use]
    pub fn list(
        &self,
        query: &ListQuery,
        now: Timestamp,
        progress: Option<IndexProgress>,
        roots: Vec<Root>,
    ) -> ListReply {
        let mut totals = Totals::default();
        let mut rows = Vec::new();
        let mut last_ended: Option<(Option<Timestamp>, &SessionKey, Judged<'_>)> = None;
        for (key, entry) in &self.entries {
            let judged = self.judge(entry, key, now);
            if !judged.is_subagent() {
                totals.sessions += 1;
                totals.active += u64::from(judged.active);
                totals.waiting += u64::from(judged.verdict.status == Status::Waiting);
                totals.open += u64::from(judged.is_open());
            }
            if matches(query, key, entry, &judged, &self.place.host) {
                rows.push(self.row(key, entry, &judged));
            } else if judged.verdict.status == Status::Ended && !judged.is_subagent() {
                let ended = entry.fold.last_activity;
                if last_ended.as_ref().is_none_or(|(at, ..)| *at < ended) {
                    last_ended = Some((ended, key, judged));
                }
            }
        }
        let last_ended = match last_ended {
            Some((_, key, judged)) if rows.is_empty() => {
                Some(Box::new(self.row(key, judged.entry, &judged)))
            }
            _ => None,
        };
        let sessions = in_order(rows);
        ListReply {
            sessions,
            as_of: now,
            cursor: self.version,
            totals,
            last_ended,
            progress,
            roots,
        }
    }

    /// Finds one session by ref, unique prefix of its id, or host/harness/session_id.
    #[must_use]
    pub fn lookup(&self, id: &str, now: Timestamp) -> Lookup {
        let row = |key, entry| self.row(key, entry, &self.judge(entry, key, now));
        let mut found = Vec::new();
        for (key, entry) in &self.entries {
            let full = format!("{}/{key}", self.place.host);
            if key.session_id == id || full == id || key.to_string() == id {
                return Lookup::Found(Box::new(row(key, entry)));
            }
            if key.session_id.starts_with(id) || session_ref(self.node(), key) == id {
                found.push((key, entry));
            }
        }
        match found.as_slice() {
            _ if id.is_empty() => Lookup::NotFound,
            [] => Lookup::NotFound,
            [(key, entry)] => Lookup::Found(Box::new(row(key, entry))),
            many => Lookup::Ambiguous(
                many.iter().take(MAX_CANDIDATES).map(|(k, e)| row(k, e)).collect(),
            ),
        }
    }

    fn node(&self) -> &str {
        self.place.node_id.as_deref().unwrap_or_default()
    }

    fn judge<'a>(&self, entry: &'a Entry, key: &SessionKey, now: Timestamp) -> Judged<'a> {
        let evidence = self.evidence(entry, key, now);
        let verdict = decide(&entry.fold, &evidence, now, self.place.idle_timeout);
        let active = is_active(
            &verdict,
            is_subagent(&entry.fold),
            entry.fold.last_activity,
            now,
            self.place.idle_timeout,
        );
        Judged { entry, evidence, verdict, active }
    }

    /// What is known of a session from outside its transcript.
    fn evidence(&self, entry: &Entry, key: &SessionKey, now: Timestamp) -> Evidence {
        if self.hooks.is_empty() {
            return self.process(entry, key, None, now);
        }
        let trail = self.trail(key, now);
        let mut evidence = self.process(entry, key, trail, now);
        match trail {
            Some(trail) => {
                evidence.attach = evidence.attach.or_else(|| trail.attach.clone());
                evidence.hook = Some(self.hooked(trail, key));
            }
            None => evidence.hook = self.left_with_its_parent(entry, key, now),
        }
        evidence
    }

    /// What is known of a session's process.
    fn process(
        &self,
        entry: &Entry,
        key: &SessionKey,
        trail: Option<&Trail>,
        now: Timestamp,
    ) -> Evidence {
        let seen = trail.map(Trail::seen).unwrap_or_default();
        let Some(root) = self.live.get(entry.root) else { return seen };
        if let Some(own) = root.found.get(key) {
            return own.clone();
        }
        if root.by == LivenessBy::Registry && is_subagent(&entry.fold) {
            return self.inherited(root, entry, key, now);
        }
        // A trace that was there and has gone settles it at once, unless somebody has written since.
        let last = entry.fold.last_activity.max(trail.map(|trail| trail.hooked.last));
        let left = |at| root.left.get(key).is_some_and(|left| left.since(at) >= 0);
        let settled = last.is_none_or(|at| {
            root.checked_at.since(at) >= TRACE_SETTLES_MS
                || at.since(now) > FROM_THE_FUTURE_MS
                || left(at)
        });
        // One release keeps no registry of `-p`: the process itself says more than a missing trace.
        let present = seen.liveness == Liveness::Alive && !last.is_some_and(left);
        if root.traces && entry.fold.leaves_trace && settled && !present {
            return Evidence { liveness: Liveness::Dead, by: root.by, ..Evidence::default() };
        }
        seen
    }

    /// A subagent runs inside its parent's process and has no trace of its own.
    fn inherited(
        &self,
        root: &RootLive,
        entry: &Entry,
        key: &SessionKey,
        now: Timestamp,
    ) -> Evidence {
        let Some((parent, _)) = &entry.fold.parent else { return Evidence::default() };
        let parent_key = SessionKey { harness: key.harness.clone(), session_id: parent.clone() };
        let of_parent = match (root.found.get(&parent_key), self.entries.get(&parent_key)) {
            (Some(found), _) => found.clone(),
            (None, Some(parent)) if !is_subagent(&parent.fold) => {
                self.evidence(parent, &parent_key, now)
            }
            _ => return Evidence::default(),
        };
        // A parent at its prompt has no delegate at work: it would say busy.
        let registry = of_parent.registry.filter(|state| *state == RegistryState::Idle);
        Evidence { liveness: of_parent.liveness, by: of_parent.by, registry, ..Evidence::default() }
    }

    fn row(&self, key: &SessionKey, entry: &Entry, judged: &Judged<'_>) -> Session {
        let fold = &entry.fold;
        let verdict = judged.verdict.clone();
        let alive = judged.evidence.liveness == Liveness::Alive;
        let parent = fold.parent.clone();
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
            title: entry.index_title.clone().or_else(|| fold.title().map(str::to_owned)),
            model: fold.model.clone(),
            status: verdict.status,
            status_since: verdict.since,
            status_source: verdict.source,
            waiting_for: verdict.waiting_for,
            waiting_detail: verdict.waiting_detail,
            waiting_on: None,
            activity: (verdict.status == Status::Executing)
                .then(|| activity(fold, judged))
                .flatten(),
            turn_result: verdict.turn_result,
            end_reason: verdict.end_reason,
            active: judged.active,
            live: match judged.evidence.liveness {
                Liveness::Alive => Some(true),
                Liveness::Dead => Some(false),
                Liveness::Unknown => None,
            },
            interactive: judged.evidence.interactive.or(fold.interactive),
            pid: judged.evidence.pid.filter(|_| alive),
            parent_session_id: parent.as_ref().map(|(id, _)| id.clone()),
            parent_kind: parent.map(|(_, kind)| kind),
            counts: entry.complete.then_some(fold.counts),
            tokens: fold.tokens.filter(|_| entry.complete),
            complete: entry.complete,
            host_state: HostState::Here,
            host_seen_at: None,
            attach: judged.evidence.attach.clone().filter(|_| alive),
            issues: fold.issues(),
        }
    }
}

/// An entry with its status.
struct Judged<'a> {
    entry: &'a Entry,
    evidence: Evidence,
    verdict: Verdict,
    active: bool,
}

impl Judged<'_> {
    fn is_subagent(&self) -> bool {
        is_subagent(&self.entry.fold)
    }

    fn is_open(&self) -> bool {
        self.evidence.liveness == Liveness::Alive && !self.active && !self.is_subagent()
    }
}

/// A hook may know of a call before the transcript does.
fn activity(fold: &Fold, judged: &Judged<'_>) -> Option<Activity> {
    let hook = judged.evidence.hook.as_ref();
    hook.and_then(|hook| hook.activity(fold)).or_else(|| fold.activity())
}

fn is_subagent(fold: &Fold) -> bool {
    matches!(fold.parent, Some((_, ParentKind::Subagent)))
}

fn matches(
    query: &ListQuery,
    key: &SessionKey,
    entry: &Entry,
    judged: &Judged<'_>,
    host: &str,
) -> bool {
    // Asking for a status by name asks for all that have it.
    let shown =
        query.all || query.status.is_some() || judged.active || (query.open && judged.is_open());
    shown
        && query.status.is_none_or(|status| status == judged.verdict.status)
        && query.harness.as_ref().is_none_or(|harness| *harness == key.harness)
        && query.host.as_ref().is_none_or(|wanted| wanted == host)
        && query.repo.as_ref().is_none_or(|repo| entry.repo.name.as_ref() == Some(repo))
        && query.since.is_none_or(|since| entry.fold.last_activity.is_some_and(|at| at >= since))
}

/// Waiting (longest first), executing, idle, ended (latest first); a subagent right after its parent.
fn in_order(mut rows: Vec<Session>) -> Vec<Session> {
    rows.sort_by_cached_key(|row| {
        let at = match row.status {
            Status::Waiting => (row.status_since, Reverse(None)),
            _ => (None, Reverse(row.last_activity_at)),
        };
        (row.status, at, row.session_id.clone())
    });
    let listed: HashMap<String, ()> =
        rows.iter().filter(|r| !r.is_subagent()).map(|r| (r.session_id.clone(), ())).collect();
    let mut children: HashMap<String, Vec<Session>> = HashMap::new();
    let mut top = Vec::with_capacity(rows.len());
    for row in rows {
        match &row.parent_session_id {
            Some(parent) if row.is_subagent() && listed.contains_key(parent) => {
                children.entry(parent.clone()).or_default().push(row);
            }
            _ => top.push(row),
        }
    }
    let mut ordered = Vec::with_capacity(top.len());
    for row in top {
        let own = children.remove(&row.session_id);
        ordered.push(row);
        ordered.extend(own.into_iter().flatten());
    }
    ordered
}

mod hooked;
#[cfg(test)]
mod tests;
