//! What one root's sessions are made of: what was found, beside what, in which repository; and the rows
//! that follow from it. Shared by the daemon's tail and the one-shot scan. Not here: when to look.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rrd_core::{
    fact::{Fact, Parsed},
    fold::Fold,
    harness::{FileRole, Format, format_of},
    live::{Evidence, Liveness},
    roster::{Absence, Entry, RootLive},
};
use rrd_proto::{Harness, RootState, SessionKey, Timestamp};

use super::{
    absent,
    discover::{Found, Walk, role_of, walk_root},
    live::Live,
    locks::unopened,
    report::report_unreadable,
    rows::Databases,
    source::Source,
    survey::{SMALL, Task, settle, tasks},
    take::Ledger,
};
use crate::{
    config::HarnessRoot,
    hub::{Hub, Input, now, shown},
    process::ProcessTable,
    repo::Repos,
    store::{Earlier, Stored},
};

/// For so long sessions in databases are read whole at the first look.
const AT_ONCE: Duration = Duration::from_millis(150);

/// What one root's sessions are made of, for the daemon and the one-shot scan alike.
pub(crate) struct Scene {
    pub(super) index: usize,
    pub(super) root: PathBuf,
    pub(super) is_store: bool,
    pub(super) harness: Harness,
    pub(super) format: &'static Format,
    pub(super) hub: Arc<Hub>,
    processes: ProcessTable,
    repos: Mutex<Repos>,
    /// Facts beside the transcripts, by session id.
    sidecars: HashMap<String, Vec<Fact<'static>>>,
    /// Titles from the harness's own lists, by session id.
    titles: HashMap<PathBuf, HashMap<String, String>>,
    /// Live sessions shown without a transcript.
    unwritten: HashSet<SessionKey>,
}

impl Scene {
    /// `None` for a harness this release does not read.
    pub(crate) fn new(
        index: usize,
        root: &HarnessRoot,
        hub: &Arc<Hub>,
        processes: &ProcessTable,
    ) -> Option<Self> {
        Some(Self {
            index,
            root: root.path.clone(),
            is_store: root.is_store,
            harness: root.harness.clone(),
            format: format_of(&root.harness)?,
            hub: Arc::clone(hub),
            processes: processes.clone(),
            repos: Mutex::default(),
            sidecars: HashMap::new(),
            titles: HashMap::new(),
            unwritten: HashSet::new(),
        })
    }

    /// Looks at the processes behind this root's sessions; has not looked yet.
    pub(crate) fn live(&self) -> Live {
        Live::new(&self.root, self.harness.clone(), self.format, self.processes.clone())
    }

    /// Looks at everything once: rows for all, whole where small. Gives the tasks that are left.
    pub(crate) fn survey(
        &mut self,
        mut stored: Stored,
        ledger: &(dyn Ledger + Sync),
        at_once: u64,
        live: &mut Live,
        databases: &mut Databases,
    ) -> (Vec<Task>, Walk) {
        let mut walk = walk_root(&self.root, self.format);
        // Folder order is not the same everywhere; which of two names of one file counts should be.
        walk.files.sort_by(|a, b| a.path.cmp(&b.path));
        for found in &walk.files {
            self.beside(found);
            self.place(found);
        }
        for found in walk.files.iter().filter(|found| found.role == FileRole::Database) {
            databases.touch(&found.path);
        }
        databases.adopt(&mut stored);
        databases.survey(self, ledger, AT_ONCE);
        let mut look = live.look(now());
        look.unopened = unopened(databases.in_wal_mode());
        look.asks = databases.asks(self, look.checked_at);
        self.hub.apply(Input::Live(self.index, look.clone()));
        // What a harness kept in files before it had a database is a leftover there.
        let leftover = |id: &str| databases.has(id);
        walk.files.retain(|found| {
            !matches!(&found.role, FileRole::Transcript { session_id, .. } if leftover(session_id))
        });
        stored.files.retain(|file| !leftover(&file.session.session_id));
        let earlier = std::mem::take(&mut stored.earlier);
        let (tasks, gone) =
            tasks(&self.harness, self.format, std::mem::take(&mut walk.files), stored);
        let sessions = tasks.len() + databases.sessions().0;
        let unreadable = [databases.troubles(self.format), walk.unreadable.clone()].concat();
        report_unreadable(self, &unreadable);
        let state = root_state(&self.root, sessions, &unreadable);
        self.hub.apply(Input::Root(self.index, state));
        for gone in gone {
            if self.hub.claim(&gone.key, self.index) {
                self.publish(&gone.key, &gone.fold, &gone.path, true);
                if let Some(why) = absent::why(&self.root, Path::new(&gone.path), gone.id) {
                    self.absent(gone.key, why);
                }
            }
        }
        let read: HashSet<SessionKey> = tasks.iter().map(|task| task.key.clone()).collect();
        for Earlier { key, fold, path, id } in earlier {
            // Nothing has it any more but the index.
            if !read.contains(&key)
                && let Some(why) = absent::why(&self.root, Path::new(&path), id)
                && self.hub.claim(&key, self.index)
            {
                self.publish(&key, &fold, &path, true);
                self.absent(key, why);
            }
        }
        let mut tasks: Vec<Task> =
            tasks.into_iter().filter(|task| self.hub.claim(&task.key, self.index)).collect();
        for task in &mut tasks {
            // What is read below is committed with it; what is not must be by itself.
            if self.fold_beside(&task.key, &mut task.fold) && task.unread == 0 {
                task.restate(ledger);
            }
        }
        let both = Mutex::new((Vec::with_capacity(tasks.len()), Vec::new()));
        settle(tasks, at_once, ledger, &|settled| {
            let fold = settled.glance.as_ref().unwrap_or(&settled.task.fold);
            self.show(&settled.task, fold, settled.glance.is_none());
            let mut both = both.lock().unwrap_or_else(PoisonError::into_inner);
            both.0.push(settled.task);
            both.1.extend(settled.strays);
        });
        let (mut left, strays) = both.into_inner().unwrap_or_else(PoisonError::into_inner);
        for mut stray in strays {
            if databases.has(&stray.key.session_id) {
                continue;
            }
            let waits = left.iter().any(|task| task.key == stray.key && task.unread > 0);
            if !waits && self.hub.claim(&stray.key, self.index) {
                stray.go_on_from(self.hub.fold(&stray.key));
                if stray.unread > SMALL {
                    if let Ok((glance, _)) = stray.glance() {
                        self.show(&stray, &Arc::new(glance), false);
                    }
                } else if stray.take(ledger).is_ok() {
                    self.show(&stray, &stray.fold, true);
                }
            }
            left.push(stray);
        }
        self.show_unwritten(&look);
        (left, walk)
    }

    /// A session is there as soon as its process is: a row for each that has written nothing yet.
    pub(super) fn show_unwritten(&mut self, look: &RootLive) {
        let alive = |evidence: &Evidence| evidence.liveness == Liveness::Alive;
        for (key, evidence) in look.found.iter().filter(|(_, evidence)| alive(evidence)) {
            if self.hub.entry(key).is_some() || !self.hub.claim(key, self.index) {
                continue;
            }
            let mut fold = Fold::default();
            fold.cwd.clone_from(&evidence.cwd);
            let facts = evidence.started_at.map(Fact::Started).into_iter().collect();
            fold.apply(Parsed { facts, ..Parsed::default() }, 0, &mut Vec::new());
            // Not complete: whatever it writes begins a fold of its own.
            self.publish(key, &Arc::new(fold), "", false);
            self.unwritten.insert(key.clone());
        }
        let hub = &self.hub;
        self.unwritten.retain(|key| {
            let stays = look.found.get(key).is_some_and(alive);
            if !stays {
                hub.apply(Input::Unwritten(key.clone()));
            }
            stays
        });
    }

    pub(super) fn show(&self, task: &Task, fold: &Arc<Fold>, complete: bool) {
        match task.files.last() {
            Some(work) => self.publish(&task.key, fold, &work.file.path, complete),
            // Its transcripts turned out to be another's.
            None => self.hub.apply(Input::Unwritten(task.key.clone())),
        }
    }

    /// Notes where a transcript lies, whichever root's it is: several of one session are copies, but
    /// for a rollout and its compressed twin, for what the harness itself has set aside, and for what a program
    /// stores here on purpose.
    pub(super) fn place(&self, found: &Found) {
        let Some(key) = self.named_after(&found.role) else { return };
        if self.is_store {
            self.hub.stored_at(&key, &found.path);
            return;
        }
        for other in self.hub.places(&key) {
            // Moved: which of the two is told first is a matter of chance.
            if other != found.path && !other.exists() {
                self.hub.gone_from(&key, &other);
            }
        }
        self.hub.found_at(&key, &found.path, found.id);
    }

    /// A file is gone.
    pub(super) fn gone(&self, path: &Path) {
        if let Some(key) = self.named_after(&role_of(&self.root, path, self.format)) {
            self.hub.gone_from(&key, path);
        }
    }

    /// What a session was read from is not where it was. Where another root has a copy of what was
    /// deleted, that is the session from here on.
    pub(super) fn absent(&self, key: SessionKey, why: Absence) {
        self.hub.apply(Input::Absent(key, self.index, Some(why)));
    }

    /// It is there again.
    pub(super) fn present(&self, key: SessionKey) {
        self.hub.apply(Input::Absent(key, self.index, None));
    }

    /// Looks whether copies beneath this root are still there.
    pub(super) fn look_at_copies(&self) {
        for (key, path) in self.hub.copies() {
            if path.starts_with(&self.root) && !path.exists() {
                self.hub.gone_from(&key, &path);
            }
        }
    }

    fn named_after(&self, role: &FileRole) -> Option<SessionKey> {
        match role {
            FileRole::Transcript { session_id, zstd: false, archived: false, .. } => {
                Some(SessionKey { harness: self.harness.clone(), session_id: session_id.clone() })
            }
            _ => None,
        }
    }

    /// Takes what stands beside the transcripts; true when rows change by it.
    pub(super) fn beside(&mut self, found: &Found) -> bool {
        match &found.role {
            FileRole::Sidecar { session_id } => {
                let facts = read_whole(&found.path).and_then(|bytes| (self.format.sidecar)(&bytes));
                let Some(facts) = facts else { return false };
                self.sidecars.insert(session_id.clone(), facts.clone()) != Some(facts)
            }
            FileRole::TitleIndex => {
                let titles = read_whole(&found.path).and_then(|bytes| (self.format.titles)(&bytes));
                let Some(titles) = titles else { return false };
                let titles: HashMap<_, _> = titles.into_iter().collect();
                let known = self.titles.entry(found.path.clone()).or_default();
                std::mem::replace(known, titles) != *known
            }
            _ => false,
        }
    }

    /// Folds what stands beside a session's transcripts into it; true when that was news.
    pub(super) fn fold_beside(&self, key: &SessionKey, fold: &mut Arc<Fold>) -> bool {
        let Some(facts) = self.sidecars.get(&key.session_id) else { return false };
        let before = Arc::clone(fold);
        let parsed = Parsed { facts: facts.clone(), ..Parsed::default() };
        Arc::make_mut(fold).apply(parsed, 0, &mut Vec::new());
        before != *fold
    }

    pub(super) fn publish(&self, key: &SessionKey, fold: &Arc<Fold>, path: &str, complete: bool) {
        let mut fold = Arc::clone(fold);
        let now = now();
        if fold.latest().is_some_and(|at| at > now) {
            // Nobody's clock but this one's, as of the last writing: so it stays what it is.
            let written = last_written(path).map_or(now, |at| at.min(now));
            Arc::make_mut(&mut fold).no_later_than(written);
        }
        let new = self.hub.new_places(key, &fold);
        let seen = self.repos.lock().unwrap_or_else(PoisonError::into_inner).of(&fold, path, &new);
        let repo = self.hub.learn_repo(key, seen);
        let is_archived = |path: &Path| {
            let role = role_of(&self.root, path, self.format);
            matches!(role, FileRole::Transcript { archived: true, .. })
        };
        let mut archived = is_archived(Path::new(path));
        let mut path = path.to_owned();
        if archived && let Some(at) = self.hub.places(key).into_iter().find(|at| at.exists()) {
            // Begun anew under its name, whichever of the two was read last.
            (path, archived) = (shown(&at), false);
        }
        let entry = Entry {
            fold,
            root: self.index,
            repo,
            index_title: self.titles.values().find_map(|list| list.get(&key.session_id)).cloned(),
            complete,
            archived,
            // What is gone is deleted no more.
            changed: (self.harness == Harness::ClaudeCode).then(|| written(&path)).flatten(),
            path: path.into(),
        };
        self.hub.apply(Input::Session(key.clone(), entry));
    }
}

/// When a transcript, or a database and its log, was last written to.
fn last_written(path: &str) -> Option<Timestamp> {
    written(path).max(written(&format!("{path}-wal")))
}

fn written(path: &str) -> Option<Timestamp> {
    let changed = fs::metadata(path).ok()?.modified().ok()?;
    let since = changed.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(i64::try_from(since.as_millis()).ok()?))
}

/// Files beside transcripts are small; a larger one is not what it claims to be.
fn read_whole(path: &Path) -> Option<Vec<u8>> {
    const MAX: u64 = 8 << 20;
    let source = Source::open(path).ok()?;
    let mut bytes = vec![0; usize::try_from(source.size.min(MAX)).ok()?];
    let got = source.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(got);
    Some(bytes)
}

pub(super) fn root_state(
    root: &Path,
    transcripts: usize,
    unreadable: &[(PathBuf, String)],
) -> RootState {
    if !root.exists() {
        return RootState::Missing;
    }
    match unreadable.iter().find(|(path, _)| transcripts == 0 || path == root) {
        Some((_, why)) => RootState::Unreadable(why.clone()),
        None => RootState::Found { transcripts: transcripts as u64 },
    }
}
