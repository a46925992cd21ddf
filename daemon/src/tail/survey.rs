//! The first look at a root: which transcripts there are, and a row for each as fast as it can be had.
//!
//! What the index has and nobody touched is taken as it is; what is small is read whole; of what is
//! large head and tail are read now and the rest later. Newest first, on two threads. Used by the
//! daemon's start and, without a store, by the one-shot scan. Not here: what happens afterwards
//! ([`super::Tail`]).

use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use rrd_core::{
    cursor::{self, Cursor, FileId, Next},
    fact::{Fact, Parsed, issue},
    fold::Fold,
    harness::{FileRole, Format, ParserState},
};
use rrd_proto::{Harness, ParentKind, SessionKey};

use super::{
    discover::Found,
    source::Source,
    take::{Glanced, Ledger, Taken, Work, glance, take},
};
use crate::{
    hub::shown,
    store::{Commit, FileState, Stored},
};

/// A session with no more than this left to read is read at once.
pub(crate) const SMALL: u64 = 1 << 20;

/// All transcripts of one session, with what is known of it so far.
#[derive(Debug)]
pub(crate) struct Task {
    /// The session.
    pub(crate) key: SessionKey,
    /// Where it came from, where the path tells.
    pub(crate) parent: Option<(String, ParentKind)>,
    /// What is known.
    pub(crate) fold: Arc<Fold>,
    /// Its transcripts, oldest first.
    pub(crate) files: Vec<Work>,
    /// Bytes beyond the cursors; 0 when nothing has changed since they were stored.
    pub(crate) unread: u64,
    /// Latest modification, nanoseconds since the epoch.
    pub(crate) newest: i64,
}

/// What became of a task.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The task, its files as far as they have been taken.
    pub(crate) task: Task,
    /// A row's worth, when the transcripts have not been read to their end.
    pub(crate) glance: Option<Arc<Fold>>,
    /// Transcripts among its files that are other sessions'.
    pub(crate) strays: Vec<Task>,
}

/// A session whose transcripts are gone; what was read of them stands.
#[derive(Debug)]
pub(crate) struct Gone {
    /// The session.
    pub(crate) key: SessionKey,
    /// What is known.
    pub(crate) fold: Arc<Fold>,
    /// Where its transcript was …
    pub(crate) path: String,
    /// … and which file it was.
    pub(crate) id: FileId,
}

/// Makes tasks of what was found and what is stored, newest first; and names what is stored only.
pub(crate) fn tasks(
    harness: &Harness,
    format: &'static Format,
    mut found: Vec<Found>,
    stored: Stored,
) -> (Vec<Task>, Vec<Gone>) {
    // Of a session's transcripts the last one tells how it stands.
    let archived = |role: &FileRole| matches!(role, FileRole::Transcript { archived: true, .. });
    // A rollout and its compressed twin hold the same; where they do not, the plain one is written to.
    let plain = |role: &FileRole| matches!(role, FileRole::Transcript { zstd: false, .. });
    found.sort_by_key(|found| (!archived(&found.role), plain(&found.role), found.mtime));
    let mut folds: HashMap<SessionKey, Arc<Fold>> = stored.sessions.into_iter().collect();
    let with_fold: HashSet<SessionKey> = folds.keys().cloned().collect();
    let mut states: HashMap<String, FileState> =
        stored.files.into_iter().map(|file| (file.path.clone(), file)).collect();
    let mut transcripts: HashMap<SessionKey, usize> = HashMap::new();
    for state in states.values() {
        *transcripts.entry(state.session.clone()).or_default() += 1;
    }
    let mut once = HashSet::<FileId>::new();
    let mut tasks: HashMap<SessionKey, Task> = HashMap::new();
    let here: HashSet<_> = found.iter().map(|found| found.path.to_string_lossy()).collect();
    let gone: HashSet<String> =
        states.keys().filter(|path| !here.contains(path.as_str())).cloned().collect();
    drop(here);
    for found in found {
        let FileRole::Transcript { session_id, parent, zstd, archived: _ } = found.role else {
            continue;
        };
        // Two names of one file are one transcript.
        if !once.insert(found.id) {
            continue;
        }
        let path = shown(&found.path);
        let named = SessionKey { harness: harness.clone(), session_id };
        // A cursor counts only with the fold that goes with it.
        let state = states.remove(&path).filter(|s| with_fold.contains(&s.session));
        let known = state.as_ref().map_or(&named, |state| &state.session).clone();
        let unchanged = state
            .as_ref()
            .is_some_and(|s| (s.cursor.id, s.size, s.mtime) == (found.id, found.size, found.mtime));
        let mut work = Work::new(format, found.path, zstd, named, found.id);
        if let Some(state) = state {
            work.file = state;
        } else if let Some(old) = moved_from(&work, &mut states, &gone) {
            work.adopt(old);
        }
        work.may_repeat = transcripts.get(&known).is_some_and(|count| *count > 1);
        let read_to = if zstd { 0 } else { work.file.cursor.offset };
        let unread = if unchanged { 0 } else { found.size.saturating_sub(read_to).max(1) };
        let task = tasks.entry(known.clone()).or_insert_with(|| Task {
            fold: folds.remove(&known).unwrap_or_default(),
            key: known,
            parent,
            // Almost always one; room for more, times thousands of sessions, would be felt.
            files: Vec::with_capacity(1),
            unread: 0,
            newest: i64::MIN,
        });
        task.unread += unread;
        task.newest = task.newest.max(found.mtime);
        task.files.push(work);
    }
    let mut tasks: Vec<Task> = tasks.into_values().collect();
    for task in &mut tasks {
        task.files.sort_by_key(|work| (!work.zstd, work.file.mtime == 0, work.file.mtime));
        // A reader before this one left something that this one does not go on from.
        let fresh = !task.fold.has_taken_any();
        for work in task.files.iter_mut().take(1) {
            work.reset = fresh;
        }
    }
    tasks.sort_by(|a, b| b.newest.cmp(&a.newest).then_with(|| a.key.cmp(&b.key)));
    let of_gone = |state: FileState| {
        let fold = folds.remove(&state.session)?;
        Some(Gone { key: state.session, fold, path: state.path, id: state.cursor.id })
    };
    let gone = states.into_values().filter_map(of_gone).collect();
    (tasks, gone)
}

/// The stored state of the transcript this one was before it was moved: its path is gone, and our
/// bytes go on where it stood.
fn moved_from(
    work: &Work,
    states: &mut HashMap<String, FileState>,
    gone: &HashSet<String>,
) -> Option<FileState> {
    if work.zstd {
        return None;
    }
    let session = &work.file.session;
    let old = gone.iter().find(|path| states.get(*path).is_some_and(|s| s.session == *session))?;
    states.remove(old)
}

impl Work {
    /// A transcript nothing is known of.
    pub(crate) fn new(
        format: &'static Format,
        path: PathBuf,
        zstd: bool,
        session: SessionKey,
        id: FileId,
    ) -> Self {
        let file = FileState {
            path: shown(&path),
            session,
            cursor: Cursor::start(id),
            parser: ParserState::default(),
            size: 0,
            mtime: 0,
        };
        Self {
            format,
            path,
            zstd,
            file,
            seen: None,
            torn: None,
            moved_from: None,
            may_repeat: false,
            reset: false,
            left: None,
        }
    }

    /// Goes on where a moved transcript stood, if it really is that one.
    pub(crate) fn adopt(&mut self, old: FileState) {
        let same = Source::open(&self.path)
            .and_then(|source| source.look(&old.cursor))
            .is_ok_and(|look| cursor::next(&old.cursor, &look) != Next::Restart);
        if same {
            self.moved_from = Some(old.path.clone());
            self.file = FileState { path: self.file.path.clone(), ..old };
        }
    }
}

impl Task {
    /// Reads everything there is beyond the cursors. Gives the transcripts that turn out to be of
    /// other sessions than their names say: nothing of them has been taken.
    pub(crate) fn take(&mut self, ledger: &dyn Ledger) -> io::Result<Vec<Self>> {
        self.name_parent();
        let remembering = Remembering { ledger, given: Mutex::default() };
        // What one transcript gave another may hold once more.
        let ledger = if self.files.len() > 1 { &remembering } else { ledger };
        let mut strays = Vec::new();
        let left = Vec::with_capacity(self.files.len());
        let mut files = std::mem::replace(&mut self.files, left).into_iter();
        while let Some(mut work) = files.next() {
            // Lines before the one that tells must not stay.
            let before = (work.file.cursor.offset == 0).then(|| Arc::clone(&self.fold));
            let taken = take(&mut work, &mut self.fold, ledger);
            match (taken, before) {
                (Ok(Taken::OtherSession(id)), before) => {
                    self.fold = before.unwrap_or_default();
                    strays.push(self.stray(work, id));
                }
                (Ok(Taken::UpToDate), _) => self.files.push(work),
                (Err(error), _) => {
                    self.files.push(work);
                    self.files.extend(files);
                    return Err(error);
                }
            }
        }
        self.unread = 0;
        Ok(strays)
    }

    /// The record knows better than the file's name whose it is.
    fn stray(&self, mut work: Work, id: String) -> Self {
        work.file.session.session_id = id;
        work.file.cursor = Cursor::start(work.file.cursor.id);
        let key = work.file.session.clone();
        let (parent, fold, files) = (None, Arc::default(), vec![work]);
        Self { key, parent, fold, files, unread: self.unread.max(1), newest: self.newest }
    }

    /// Goes on from what is known of the session by now.
    pub(crate) fn go_on_from(&mut self, known: Option<Arc<Fold>>) {
        if let Some(fold) = known {
            self.fold = fold;
        }
        if self.fold.has_taken_any() {
            self.files.iter_mut().for_each(|work| work.reset = false);
        }
    }

    /// Commits what is known without having read anything.
    pub(crate) fn restate(&mut self, ledger: &dyn Ledger) {
        if let Some(work) = self.files.last_mut() {
            ledger.commit(work.restate(&self.fold));
        }
    }

    /// Reads enough for a row. Gives the transcripts of other sessions, too.
    pub(crate) fn glance(&mut self) -> io::Result<(Fold, Vec<Self>)> {
        self.name_parent();
        let mut fold = Fold::clone(&self.fold);
        let mut strays = Vec::new();
        let left = Vec::with_capacity(self.files.len());
        let mut files = std::mem::replace(&mut self.files, left).into_iter();
        while let Some(work) = files.next() {
            match glance(&work, &fold) {
                Ok(Glanced::Known(known)) => {
                    fold = *known;
                    self.files.push(work);
                }
                Ok(Glanced::OtherSession(id)) => strays.push(self.stray(work, id)),
                Err(error) => {
                    self.files.push(work);
                    self.files.extend(files);
                    return Err(error);
                }
            }
        }
        if self.files.is_empty() {
            self.unread = 0;
        }
        Ok((fold, strays))
    }

    fn name_parent(&mut self) {
        if let Some((id, kind)) = self.parent.take() {
            let facts = vec![Fact::Parent { id: id.into(), kind }];
            Arc::make_mut(&mut self.fold).apply(
                Parsed { facts, ..Parsed::default() },
                0,
                &mut Vec::new(),
            );
        }
    }
}

/// A ledger that knows what went through it, whether or not anything is kept of it.
struct Remembering<'a> {
    ledger: &'a dyn Ledger,
    given: Mutex<HashSet<u64>>,
}

impl Ledger for Remembering<'_> {
    fn commit(&self, commit: Commit) {
        let keys =
            commit.events.iter().map(|stored| stored.key).chain(commit.marks.iter().copied());
        self.given.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
        self.ledger.commit(commit);
    }

    fn keys(&self, session: &SessionKey) -> io::Result<HashSet<u64>> {
        let mut keys = self.ledger.keys(session)?;
        keys.extend(self.given.lock().unwrap_or_else(PoisonError::into_inner).iter());
        Ok(keys)
    }

    fn is_over(&self) -> bool {
        self.ledger.is_over()
    }
}

/// Settles every task, reading no more than `at_once` bytes of small transcripts whole (of what is
/// beyond it, head and tail): each result is handed to `done` as soon as it is there.
pub(crate) fn settle(
    tasks: Vec<Task>,
    at_once: u64,
    ledger: &(dyn Ledger + Sync),
    done: &(dyn Fn(Settled) + Sync),
) {
    let queue: Vec<Mutex<Option<Task>>> =
        tasks.into_iter().map(|task| Mutex::new(Some(task))).collect();
    let (next, budget) = (AtomicUsize::new(0), AtomicU64::new(at_once));
    let work = || {
        while let Some(slot) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(task) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                done(settle_one(task, ledger, &budget));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(2));
    if threads == 1 || queue.len() < 8 {
        return work();
    }
    // This one is one of them: what each has allocated by itself is hard to give back.
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}

fn settle_one(mut task: Task, ledger: &dyn Ledger, budget: &AtomicU64) -> Settled {
    if task.unread == 0 {
        return Settled { task, glance: None, strays: Vec::new() };
    }
    let unread = task.unread;
    let affordable = unread <= SMALL
        && budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(unread))
            .is_ok();
    let result = if affordable {
        task.take(ledger).map(|strays| (None, strays))
    } else {
        task.glance().map(|(glance, strays)| (Some(Arc::new(glance)), strays))
    };
    match result {
        Ok((glance, strays)) => Settled { task, glance, strays },
        Err(error) => {
            let mut seen = Fold::clone(&task.fold);
            if error.kind() != io::ErrorKind::NotFound {
                seen.note(issue::UNREADABLE, None);
            }
            Settled { task, glance: Some(Arc::new(seen)), strays: Vec::new() }
        }
    }
}
