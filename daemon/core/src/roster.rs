//! All sessions of this host, and the answers to what clients ask about them.
//!
//! Holds what is known; status is worked out when asked, from `now`, so nothing here ticks. Not here:
//! reading transcripts and looking at processes (the driver does, and hands the findings in).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use rrd_proto::{
    Activity, Harness, HostState, IndexProgress, Issue, Link, ListQuery, ListReply, Lookup,
    ParentKind, Root, Session, SessionKey, Status, StatusSource, Timestamp, Totals, WaitingFor,
    session_ref,
};

use crate::{
    fold::{Fold, OpenTool, Turn},
    hook::Trail,
    live::{Ask, Evidence, Liveness, LivenessBy, RegistryState},
    repo::Repo,
    roster::{
        covered::Covered,
        lineage::{Origins, delegates},
    },
    status::{Verdict, decide, describe, is_active},
};

/// Claude Code's `/clear` writes into the new session's transcript a moment before it names it in its
/// registry entry: that long, a process may be about to own up to a session without a trace.
const TRACE_SETTLES_MS: i64 = 2_000;

/// A record this far ahead of the clock was stamped by another one: its age tells nothing.
const FROM_THE_FUTURE_MS: i64 = 60_000;

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
        let mut matching = Vec::new();
        let mut last_ended: Option<(Option<Timestamp>, &SessionKey, Judged<'_>)> = None;
        let superseded = self.superseded();
        let origins = self.origins();
        for (key, entry) in &self.entries {
            if superseded.contains(&(&key.harness, key.session_id.as_str())) {
                continue;
            }
            let judged = self.judge(entry, key, now);
            // A delegate whose session is not known stands for itself.
            if !judged.is_subagent()
                || self.session_of(entry, key).is_none_or(|top| !self.entries.contains_key(&top))
            {
                totals.sessions += 1;
                totals.active += u64::from(judged.active);
                totals.waiting += u64::from(judged.verdict.status == Status::Waiting);
                totals.open += u64::from(judged.is_open());
            }
            if matches(query, key, entry, &judged, &self.place.host) {
                matching.push((key, judged));
            } else if judged.verdict.status == Status::Ended && !judged.is_subagent() {
                let ended = entry.fold.last_activity;
                if last_ended.as_ref().is_none_or(|(at, ..)| *at < ended) {
                    last_ended = Some((ended, key, judged));
                }
            }
        }
        let last_ended = match last_ended {
            Some((_, key, judged)) if matching.is_empty() => {
                Some(Box::new(self.row(key, judged.entry, &judged, &origins)))
            }
            _ => None,
        };
        // Rows are large: they are made last, each in its place.
        let row =
            |at: usize| self.row(matching[at].0, matching[at].1.entry, &matching[at].1, &origins);
        let sessions = self.in_order(&matching).into_iter().map(row).collect();
        ListReply {
            sessions,
            as_of: now,
            cursor: self.version,
            totals,
            last_ended,
            progress,
            roots,
            unheard: Vec::new(),
            alone: false,
            duplicated: Vec::new(),
        }
    }

    /// Finds one session by ref, unique prefix of its id, or host/harness/session_id.
    #[must_use]
    pub fn lookup(&self, id: &str, now: Timestamp) -> Lookup {
        let origins = self.origins();
        let row = |key, entry| self.row(key, entry, &self.judge(entry, key, now), &origins);
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

    /// Waiting (longest first), executing, idle, ended (latest first); a subagent right below the
    /// nearest that is listed of those it works for.
    fn in_order(&self, rows: &[(&SessionKey, Judged<'_>)]) -> Vec<usize> {
        let id = |at: usize| rows[at].0.session_id.as_str();
        let mut places: Vec<usize> = (0..rows.len()).collect();
        places.sort_by_cached_key(|at| {
            let judged = &rows[*at].1;
            let status = judged.verdict.status;
            let when = match status {
                Status::Waiting => (judged.verdict.since, Reverse(None)),
                _ => (None, Reverse(judged.entry.fold.last_activity)),
            };
            (status, when, id(*at))
        });
        let listed: HashSet<&str> = (0..rows.len()).map(id).collect();
        let above = |(key, judged): &(&SessionKey, Judged<'_>)| {
            let mut id = &judged.entry.fold.parent.as_ref().filter(|_| judged.is_subagent())?.0;
            for _ in 0..MAX_DEPTH {
                if let Some(id) = listed.get(id.as_str()) {
                    return Some(*id);
                }
                let key = SessionKey { harness: key.harness.clone(), session_id: id.clone() };
                id = &self.entries.get(&key)?.fold.parent.as_ref()?.0;
            }
            None
        };
        let mut below: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut left = Vec::with_capacity(rows.len());
        for at in places {
            match above(&rows[at]) {
                Some(id) => below.entry(id).or_default().push(at),
                None => left.push(at),
            }
        }
        left.reverse();
        let mut ordered = Vec::with_capacity(rows.len());
        while let Some(at) = left.pop() {
            left.extend(below.remove(id(at)).into_iter().flatten().rev());
            ordered.push(at);
        }
        // Delegates that name each other in a circle are below nobody.
        let mut circles: Vec<usize> = below.into_values().flatten().collect();
        circles.sort_by_key(|at| id(*at));
        ordered.extend(circles);
        ordered
    }

    fn node(&self) -> &str {
        self.place.node_id.as_deref().unwrap_or_default()
    }

    /// Its status and on what evidence, and whether what it was read from is gone.
    fn verdict(
        &self,
        entry: &Entry,
        key: &SessionKey,
        now: Timestamp,
    ) -> (Evidence, Verdict, bool) {
        let evidence = self.evidence(entry, key, now);
        let verdict = decide(&entry.fold, &evidence, now, self.place.idle_timeout);
        let gone =
            self.absence(key, entry) == Some(Absence::Gone) && evidence.liveness != Liveness::Alive;
        let verdict = if gone { verdict.of_gone() } else { verdict };
        (evidence, verdict, gone)
    }

    fn judge<'a>(&self, entry: &'a Entry, key: &SessionKey, now: Timestamp) -> Judged<'a> {
        let (evidence, mut verdict, gone) = self.verdict(entry, key, now);
        if verdict.waiting_for == Some(WaitingFor::Permission)
            && evidence.wants.is_none()
            && evidence.ask.is_none()
        {
            verdict.waiting_detail = self.asking(entry, key).or(verdict.waiting_detail);
        }
        if let Some(waits) = self.declared.get(key)
            && let Some(first) = waits.first()
            // Whoever asks a person waits for that before all.
            && matches!(verdict.status, Status::Executing | Status::Idle)
        {
            verdict = Verdict {
                waiting_for: Some(WaitingFor::Session),
                waiting_detail: Some(first.evidence.clone()),
                ..Verdict::new(Status::Waiting, first.since, StatusSource::Declared)
            };
        }
        // Whoever put it away has seen how it went.
        let put_away = evidence.archived && verdict.status == Status::Ended;
        let active = !put_away
            && !gone
            && is_active(
                &verdict,
                entry.fold.is_subagent(),
                entry.fold.last_activity,
                now,
                self.place.idle_timeout,
            );
        Judged { entry, evidence, verdict, active }
    }

    /// A person has put it away, and nobody is at work in it.
    fn is_put_away(&self, entry: &Entry, now: Timestamp) -> bool {
        let at_work = || {
            let silent = entry.fold.last_activity.map_or(i64::MAX, |at| now.since(at));
            let timeout = self.place.idle_timeout.as_millis();
            matches!(entry.fold.turn(), Turn::Open { .. }) && i128::from(silent) <= timeout as i128
        };
        entry.fold.put_away && !at_work()
    }

    /// Why its transcript is not there, if it is not. While its root cannot be looked at nothing is known
    /// to be deleted.
    fn absence(&self, key: &SessionKey, entry: &Entry) -> Option<Absence> {
        if entry.path.is_empty() {
            return None;
        }
        let unseen = self.unseen.contains(&entry.root).then_some(Absence::OutOfSight);
        unseen.or_else(|| self.absent.get(key).copied())
    }

    /// What is known of a session from outside its transcript.
    fn evidence(&self, entry: &Entry, key: &SessionKey, now: Timestamp) -> Evidence {
        let ask = self.live.get(entry.root).and_then(|root| root.asks.get(key)).cloned();
        let archived = entry.archived || self.is_put_away(entry, now);
        if self.hooks.is_empty() {
            return Evidence { ask, archived, ..self.process(entry, key, None, now) };
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
        Evidence { ask, archived, ..evidence }
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
        // One home may be a copy of another: the process that lives speaks for both.
        let own = root.found.get(key).filter(|own| own.liveness == Liveness::Alive);
        let found = own.or_else(|| self.alive(key).next()).or_else(|| root.found.get(key));
        if let Some(found) = found {
            // A run that was over when its holder died has no more to say.
            let over = found.by == LivenessBy::RunLock
                && found.liveness == Liveness::Dead
                && !matches!(entry.fold.turn(), Turn::Open { .. });
            return if over { seen } else { found.clone() };
        }
        if root.by == LivenessBy::Registry && entry.fold.is_subagent() {
            return self.inherited(root, entry, key, now);
        }
        // Whoever writes a transcript has left its trace before. So what was written before the look
        // that found none had a writer that is gone by now …
        let hooked = trail.map(|trail| trail.hooked.last);
        let last = entry.fold.last_activity.max(hooked);
        let left = |at| root.left.get(key).is_some_and(|left| left.since(at) >= 0);
        let settled = last.is_none_or(|at| {
            let silent = root.checked_at.since(at);
            // … or one whose trace still names another session; not so if this one's has been seen to go.
            let claimed = |other: &Evidence| {
                let fits = |a: Option<bool>, b: Option<bool>| a.is_none() || b.is_none() || a == b;
                other.liveness == Liveness::Alive
                    && (other.cwd.is_none() || other.cwd == entry.fold.cwd)
                    && fits(other.interactive, entry.fold.interactive)
            };
            // A hook is called in the first second of a process, before it has a registry entry.
            let before_hook = |at| root.checked_at.since(at) < TRACE_SETTLES_MS;
            let for_certain = (root.by == LivenessBy::Lock || !root.found.values().any(claimed))
                && !hooked.is_some_and(before_hook);
            silent >= if for_certain { 0 } else { TRACE_SETTLES_MS }
                || at.since(now) > FROM_THE_FUTURE_MS
                || left(at)
        });
        // Whoever wrote had it open: none has who wrote before that was looked at.
        let written_before = |at: Timestamp| root.checked_at.since(at) >= 0;
        if root.unopened.contains(&entry.path) && (settled || last.is_none_or(written_before)) {
            let by = LivenessBy::Lock;
            return Evidence { liveness: Liveness::Dead, by, ..Evidence::default() };
        }
        // One release keeps no registry of `-p`: the process itself says more than a missing trace.
        let present = seen.liveness == Liveness::Alive && !last.is_some_and(left);
        if root.traces && entry.fold.leaves_trace && settled && !present {
            return Evidence { liveness: Liveness::Dead, by: root.by, ..Evidence::default() };
        }
        seen
    }

    /// Live processes that name the session, in every root.
    fn alive(&self, key: &SessionKey) -> impl Iterator<Item = &Evidence> {
        let found = self.live.iter().filter_map(|root| root.found.get(key));
        found.filter(|evidence| evidence.liveness == Liveness::Alive)
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

    /// What a delegate wants to do, where its session waits for a permission and nothing of its own is
    /// open but delegating. Of several that may want something nobody can tell.
    fn asking(&self, entry: &Entry, key: &SessionKey) -> Option<String> {
        let delegates = |tool: &OpenTool| delegates(&tool.name);
        if !entry.fold.open_tools.iter().all(delegates) {
            return None;
        }
        let mut found = None;
        for (of, delegate) in &self.entries {
            let fold = &delegate.fold;
            let wants = fold.open_tools.first().filter(|tool| !delegates(tool));
            let Some(tool) = wants.filter(|_| of.harness == key.harness && fold.is_subagent())
            else {
                continue;
            };
            if self.session_of(delegate, of).as_ref() == Some(key) && found.replace(tool).is_some()
            {
                return None;
            }
        }
        found.map(describe)
    }

    /// The session that a delegate, or a delegate's delegate, works for.
    fn session_of(&self, entry: &Entry, key: &SessionKey) -> Option<SessionKey> {
        let mut fold = &entry.fold;
        for _ in 0..MAX_DEPTH {
            let (id, _) = fold.parent.as_ref()?;
            let parent = SessionKey { harness: key.harness.clone(), session_id: id.clone() };
            match self.entries.get(&parent) {
                Some(between) if between.fold.is_subagent() => fold = &between.fold,
                _ => return Some(parent),
            }
        }
        None
    }

    /// A subagent runs inside its parent's process and has no trace of its own.
    fn inherited(
        &self,
        root: &RootLive,
        entry: &Entry,
        key: &SessionKey,
        now: Timestamp,
    ) -> Evidence {
        let Some(top) = self.session_of(entry, key) else { return Evidence::default() };
        let of_parent = match self.entries.get(&top) {
            Some(parent) => self.evidence(parent, &top, now),
            None => root.found.get(&top).cloned().unwrap_or_default(),
        };
        // A parent at its prompt has no delegate at work: it would say busy.
        let registry = of_parent.registry.filter(|state| *state == RegistryState::Idle);
        Evidence {
            liveness: of_parent.liveness,
            by: of_parent.by,
            registry,
            registry_since: of_parent.registry_since,
            ..Evidence::default()
        }
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
        self.entry.fold.is_subagent()
    }

    /// A process that has left the session, and may be in another one by now, is not its own; nor is
    /// a delegate's that has handed back.
    fn is_alive(&self) -> bool {
        self.evidence.liveness == Liveness::Alive && self.verdict.status != Status::Ended
    }

    fn is_open(&self) -> bool {
        self.is_alive() && !self.active && !self.is_subagent()
    }
}

/// A hook may know of a call before the transcript does.
fn activity(fold: &Fold, judged: &Judged<'_>) -> Option<Activity> {
    let hook = judged.evidence.hook.as_ref();
    hook.and_then(|hook| hook.activity(fold)).or_else(|| fold.activity())
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

mod covered;
mod hooked;
mod lineage;
#[cfg(test)]
mod tests;
