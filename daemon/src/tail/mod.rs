//! Follows everything beneath one root: one thread per root, so that a slow disk holds up nobody else.
//!
//! Truth comes from looking: notifications only say where to look first, changed files are stat'ed
//! every tick while they are hot, and a sweep walks the whole root now and then. A large backlog is
//! read by one more thread at a time; everything else happens here, one thing after another.
//!
//! Not here: what lines mean (rrd-core) and what becomes of sessions ([`crate::hub`]).

mod backlog;
mod discover;
mod linger;
mod live;
mod locks;
mod report;
mod rows;
mod scene;
mod source;
mod survey;
mod take;
mod watch;

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use rrd_core::{
    cursor::FileId,
    fold::Fold,
    harness::{FileRole, format_of},
};
use rrd_proto::{IndexProgress, SessionKey};
use tokio::sync::oneshot;

use crate::{
    config::{HarnessRoot, WatchMode},
    hub::{Input, now, shown},
    process,
    store::{Commit, DatabaseState, Reader, Stored, Writer},
};
use discover::{Found, folders, is_behind_link, look_at, walk_root, walk_subtree};
use linger::Linger;
use live::Live;
pub(crate) use rows::Databases;
pub(crate) use scene::Scene;
use scene::root_state;
use survey::{SMALL, Settled, Task};
pub(crate) use take::Ledger;
use take::{Work, take};
use watch::Watch;

/// How often hot files, processes and roots are looked at while something is going on …
const TICK: Duration = Duration::from_secs(2);
/// … and while nothing is.
const QUIET_TICK: Duration = Duration::from_secs(5);
/// A file is hot for so long after its last change: FSEvents and Windows may say nothing while its
/// writer keeps it open.
const HOT: Duration = Duration::from_secs(600);
/// How often the whole root is walked where notifications work …
const SWEEP: Duration = Duration::from_secs(60);
/// … and where they do not.
const POLL: Duration = Duration::from_secs(2);
/// The wall clock running ahead of ours by so much means that the machine was asleep.
const ASLEEP: Duration = Duration::from_secs(30);

/// Small transcripts read before the first answer: about what two threads take in a second. Whatever
/// is read twice, for a row now and whole later, costs more in the end.
const AT_ONCE: u64 = 1 << 30;

/// What wakes a tail.
enum Message {
    /// There are hints.
    Hints,
    /// Somebody asks, and is told when everything reported until now has been looked at.
    CatchUp(oneshot::Sender<()>),
    /// A backlog task is done.
    Done(Box<Settled>),
    /// Stop.
    Stop,
}

/// The handle of one root's thread.
#[derive(Debug)]
pub(crate) struct TailHandle {
    door: Door,
    thread: JoinHandle<()>,
}

/// Where a tail is asked for what it has not looked at yet.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    inbox: SyncSender<Message>,
    linger: Arc<Linger>,
    /// Processes were there at the last look; one that is killed says nothing when it goes.
    lives: Arc<AtomicBool>,
}

impl Door {
    /// Has what was collected looked at, and whether processes are still there; the answer comes when
    /// that is done. `None` when nothing is being collected and nobody lives: then changes are looked
    /// at as they come.
    pub(crate) fn catch_up(&self) -> Option<oneshot::Receiver<()>> {
        if !self.linger.is_on() && !self.lives.load(Ordering::Relaxed) {
            return None;
        }
        let (done, caught_up) = oneshot::channel();
        self.inbox.try_send(Message::CatchUp(done)).ok()?;
        Some(caught_up)
    }
}

impl TailHandle {
    /// Asks the thread to stop and waits until it has; a backlog ends where its ledger is over.
    pub(crate) fn stop(self) {
        let _ = self.door.inbox.send(Message::Stop);
        let _ = self.thread.join();
    }

    /// Where to ask it.
    pub(crate) fn door(&self) -> Door {
        self.door.clone()
    }

    /// True when the thread has ended by itself, which it never should.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// The store as stretches see it: a queue in, keys out.
pub(crate) struct StoreLedger {
    pub(crate) writer: Arc<Writer>,
    pub(crate) state_dir: PathBuf,
    /// Set when the daemon stops: a backlog must not go on writing beside the next one.
    pub(crate) over: AtomicBool,
}

impl Ledger for StoreLedger {
    fn commit(&self, commit: Commit) {
        self.writer.commit(commit);
    }

    fn database(&self, state: DatabaseState) {
        self.writer.database(state);
    }

    fn keys(&self, session: &SessionKey) -> io::Result<HashSet<u64>> {
        self.writer.barrier();
        let reader = Reader::open(&self.state_dir);
        let reader = reader.ok_or_else(|| io::Error::other("the index cannot be read"))?;
        reader.keys(session).map_err(io::Error::other)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// One root, followed.
pub(crate) struct Tail {
    scene: Scene,
    ledger: Arc<StoreLedger>,
    mode: WatchMode,
    watch: Watch,
    live: Live,
    lives: Arc<AtomicBool>,
    outbox: SyncSender<Message>,
    files: HashMap<PathBuf, Work>,
    /// Those that have changed lately, and until when they are looked at whatever notifications say.
    hot: HashMap<PathBuf, Instant>,
    databases: Databases,
    /// Sessions with tasks waiting or in work, whose files are not to be touched meanwhile.
    waiting: Vec<Task>,
    in_work: Option<(SessionKey, u64)>,
    backlog: Option<JoinHandle<()>>,
    /// What is known of sessions of which something could not be read: their rows show less.
    partial: HashMap<SessionKey, Arc<Fold>>,
    /// Files that changed meanwhile.
    dirty: HashSet<PathBuf>,
    places: Vec<(PathBuf, Option<Place>)>,
    unreadable: Vec<(PathBuf, String)>,
    /// Sessions with more than one transcript (a rollout and its compressed twin, a copied folder), and
    /// which of them gave the last records.
    shared: HashMap<SessionKey, PathBuf>,
    progress: IndexProgress,
}

/// One root's tail while it follows: whoever holds the lock reads on. That is the tail's own thread or,
/// when it sleeps, the one that has been told of a change.
type Shared = Mutex<Option<Tail>>;

/// Which directory it is. One made where another was removed often has its inode, too.
type Place = (FileId, Option<SystemTime>);

impl Tail {
    /// Starts following one root; `stored` is what the index has of it.
    pub(crate) fn spawn(
        scene: Scene,
        ledger: Arc<StoreLedger>,
        mode: WatchMode,
        stored: Stored,
        surveyed: impl FnOnce() + Send + 'static,
    ) -> io::Result<TailHandle> {
        // One wake-up waiting is enough: whoever finds the queue full knows that it will be seen.
        let (outbox, inbox) = sync_channel(8);
        let linger = Arc::new(Linger::new(Arc::clone(&scene.hub.audience)));
        let lives = Arc::<AtomicBool>::default();
        let (inbox_of, linger_of) = (outbox.clone(), Arc::clone(&linger));
        let door = Door { inbox: inbox_of, linger: linger_of, lives: Arc::clone(&lives) };
        let name = format!("rrd-tail-{}", scene.harness);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let shared = Arc::<Shared>::default();
            let (told, wake) = (Arc::clone(&shared), outbox.clone());
            let watch = match mode {
                WatchMode::Auto => Watch::new(
                    linger,
                    // Whoever is at it now will be told instead.
                    move |path| match told.try_lock() {
                        Ok(mut tail) => tail.as_mut().is_some_and(|tail| tail.take_change(path)),
                        Err(_) => false,
                    },
                    move || {
                        let _ = wake.try_send(Message::Hints);
                    },
                ),
                WatchMode::Poll | WatchMode::Off => Watch::off(linger),
            };
            let live = scene.live();
            let mut tail = Self {
                scene,
                ledger,
                mode,
                watch,
                live,
                lives,
                outbox,
                files: HashMap::new(),
                hot: HashMap::new(),
                databases: Databases::default(),
                waiting: Vec::new(),
                in_work: None,
                backlog: None,
                partial: HashMap::new(),
                dirty: HashSet::new(),
                places: Vec::new(),
                unreadable: Vec::new(),
                shared: HashMap::new(),
                progress: IndexProgress::default(),
            };
            // Armed first: whatever changes during the survey leaves a hint.
            tail.check_places();
            tail.begin(stored);
            surveyed();
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(tail);
            Self::run(&shared, &inbox);
            // From here on notifications find nobody.
            let tail = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(inbox);
            if let Some(tail) = tail {
                tail.end();
            }
        })?;
        Ok(TailHandle { door, thread })
    }

    fn begin(&mut self, stored: Stored) {
        let ledger = Arc::clone(&self.ledger);
        let (live, databases) = (&mut self.live, &mut self.databases);
        let (tasks, walk) = self.scene.survey(stored, ledger.as_ref(), AT_ONCE, live, databases);
        self.lives.store(self.live.busy && process::IS_CHEAP, Ordering::Relaxed);
        self.unreadable = walk.unreadable;
        self.files.reserve(tasks.len());
        for task in tasks {
            self.keep(task);
        }
        // Taken from the end: newest first.
        self.waiting.sort_by_key(|task| task.newest);
        self.next_task();
        self.report();
    }

    fn run(shared: &Shared, inbox: &Receiver<Message>) {
        let mut last_tick = (Instant::now(), SystemTime::now());
        let mut last_sweep = Instant::now();
        let (mut tick, mut wait) = (TICK, Duration::ZERO);
        loop {
            let told = inbox.recv_timeout(wait);
            // Poisoned: the notifications' thread fell over it. This part ends, and that is noticed.
            let Ok(mut tail) = shared.lock() else { return };
            let Some(tail) = tail.as_mut() else { return };
            let mut asked = None;
            match told {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Message::Hints) => {
                    if tail.take_hints() {
                        last_sweep = Instant::now();
                    }
                }
                Ok(Message::CatchUp(done)) => {
                    tail.watch.catch_up();
                    if tail.take_hints() {
                        last_sweep = Instant::now();
                    }
                    if tail.lives.load(Ordering::Relaxed) {
                        tail.look_at_processes();
                    }
                    asked = Some(done);
                }
                Ok(Message::Done(settled)) => tail.done(*settled),
                Err(RecvTimeoutError::Timeout) => {}
            }
            tail.databases.work(&tail.scene, tail.ledger.as_ref());
            if let Some(done) = asked {
                // Whoever asked may have gone.
                let _ = done.send(());
            }
            if last_tick.0.elapsed() >= tick {
                let slept =
                    last_tick.1.elapsed().unwrap_or_default() > last_tick.0.elapsed() + ASLEEP;
                last_tick = (Instant::now(), SystemTime::now());
                let every = if tail.polls() { POLL } else { SWEEP };
                if tail.check_places() || slept || last_sweep.elapsed() >= every {
                    tail.sweep();
                    last_sweep = Instant::now();
                } else {
                    tail.look_at_hot_files();
                }
                tail.databases.check();
                tail.look_at_processes();
                tail.report();
            }
            tick = if tail.is_quiet() { QUIET_TICK } else { TICK };
            wait = tick.saturating_sub(last_tick.0.elapsed());
            if let Some(due) = tail.databases.due() {
                wait = wait.min(due.saturating_duration_since(Instant::now()));
            }
        }
    }

    /// Returns when nothing is read any more: one daemon must not write while the next one does.
    fn end(self) {
        if let Some(backlog) = self.backlog {
            let _ = backlog.join();
        }
    }

    fn is_quiet(&self) -> bool {
        !self.live.busy && !self.polls() && self.hot.is_empty()
    }

    fn polls(&self) -> bool {
        self.mode == WatchMode::Poll || self.watch.shortfall.is_some()
    }

    /// Arms the watches; true when the root or one of its folders is another one than before.
    fn check_places(&mut self) -> bool {
        let id = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((source::file_id(path, &metadata).ok()?, metadata.created().ok()))
        };
        let root = self.scene.root.clone();
        let folders = folders(&root, self.scene.format);
        let paths = std::iter::once(&root).chain(folders.iter().map(|(folder, _)| folder));
        let places: Vec<_> = paths.map(|path| (path.clone(), id(path))).collect();
        if places == self.places {
            return false;
        }
        let replaced = |(path, before): &(PathBuf, Option<Place>)| {
            before.is_some() && places.iter().any(|(p, now)| p == path && now != before)
        };
        let afresh = self.places.iter().any(replaced);
        self.places = places;
        self.watch.arm(&root, &folders, afresh);
        true
    }

    /// Reads on a transcript that has changed, if it is a followed one and still the same file.
    fn take_change(&mut self, path: &Path) -> bool {
        let Some(known) = self.files.get(path).map(|work| work.file.cursor.id) else {
            return false;
        };
        match look_at(&self.scene.root, path, self.scene.format) {
            // No link leads to it: it is the very file that was found where none did.
            Ok(Some(found)) if found.id == known => self.changed(found),
            _ => return false,
        }
        true
    }

    /// True when the hints called for a sweep.
    fn take_hints(&mut self) -> bool {
        let hints = self.watch.hints();
        if hints.rescan {
            self.sweep();
            return true;
        }
        let mut processes = false;
        if !hints.dirs.is_empty() {
            self.check_places();
            self.watch.catch_up();
        }
        for dir in hints.dirs {
            let walk = walk_subtree(&self.scene.root, &dir, self.scene.format);
            processes |= walk.files.iter().any(|found| Live::concerns(&found.role));
            walk.files.into_iter().for_each(|found| self.changed(found));
        }
        for path in hints.files {
            if is_behind_link(&self.scene.root, &path) {
                continue;
            }
            match look_at(&self.scene.root, &path, self.scene.format) {
                Ok(Some(found)) => {
                    processes |= Live::concerns(&found.role);
                    self.changed(found);
                }
                Ok(None) => {}
                // Gone: a registry entry or a lock that was removed says something, too.
                Err(_) => {
                    self.scene.gone(&path);
                    processes |= !self.files.contains_key(&path);
                }
            }
        }
        if processes {
            self.look_at_processes();
        }
        false
    }

    fn sweep(&mut self) {
        let walk = walk_root(&self.scene.root, self.scene.format);
        let here: HashSet<&PathBuf> = walk.files.iter().map(|found| &found.path).collect();
        let transcripts =
            walk.files.iter().filter(|f| matches!(f.role, FileRole::Transcript { .. })).count();
        let transcripts = transcripts + self.databases.sessions().0;
        let unreadable =
            [self.databases.troubles(self.scene.format), walk.unreadable.clone()].concat();
        let state = root_state(&self.scene.root, transcripts, &unreadable);
        // Files that are gone stay known until the new ones have been looked at: they may be the same.
        let gone: Vec<PathBuf> =
            self.files.keys().filter(|path| !here.contains(path)).cloned().collect();
        self.unreadable = walk.unreadable;
        self.scene.look_at_copies();
        for found in walk.files {
            self.changed(found);
        }
        for path in gone {
            if !path.exists() {
                self.files.remove(&path);
                self.hot.remove(&path);
            }
        }
        self.scene.hub.apply(Input::Root(self.scene.index, state));
    }

    fn look_at_hot_files(&mut self) {
        let (now, files) = (Instant::now(), &mut self.files);
        let hot: Vec<PathBuf> = self.hot.keys().cloned().collect();
        self.hot.retain(|path, until| {
            if *until < now
                && let Some(work) = files.get_mut(path)
            {
                // Its remembered keys go with it; they are read again if they are needed.
                work.seen = None;
            }
            *until >= now
        });
        for path in hot {
            if let Ok(Some(found)) = look_at(&self.scene.root, &path, self.scene.format) {
                self.changed(found);
            }
        }
    }

    fn look_at_processes(&mut self) {
        let mut look = self.live.look(now());
        self.lives.store(self.live.busy && process::IS_CHEAP, Ordering::Relaxed);
        look.unopened = locks::unopened(self.databases.in_wal_mode());
        self.scene.show_unwritten(&look);
        self.scene.hub.apply(Input::Live(self.scene.index, look));
    }

    /// A file that may have changed.
    fn changed(&mut self, found: Found) {
        let FileRole::Transcript { session_id, parent, zstd, .. } = &found.role else {
            if found.role == FileRole::Database {
                self.databases.touch(&found.path);
            } else if self.scene.beside(&found) {
                self.republish(&found.role);
            }
            return;
        };
        if self.databases.has(session_id) {
            self.files.remove(&found.path);
            return;
        }
        if let Some(work) = self.files.get(&found.path) {
            let state = &work.file;
            if (state.cursor.id, state.size, state.mtime) == (found.id, found.size, found.mtime) {
                return;
            }
        }
        let work = match self.files.remove(&found.path) {
            Some(work) => work,
            None => {
                self.scene.place(&found);
                let key = SessionKey {
                    harness: self.scene.harness.clone(),
                    session_id: session_id.clone(),
                };
                // By what is there now: a moved file's name may be another one's already.
                let is_other_name = |work: &Work| {
                    work.file.cursor.id == found.id
                        && look_at(&self.scene.root, &work.path, self.scene.format)
                            .is_ok_and(|now| now.is_some_and(|now| now.id == found.id))
                };
                if !self.scene.hub.claim(&key, self.scene.index)
                    || self.files.values().any(is_other_name)
                {
                    return;
                }
                let mut work =
                    Work::new(self.scene.format, found.path.clone(), *zstd, key, found.id);
                self.adopt_moved(&mut work);
                work
            }
        };
        if self.is_in_work(&work.file.session) {
            self.dirty.insert(found.path.clone());
            self.follow(work);
            return;
        }
        self.advance(work, parent.clone(), &found);
    }

    /// A new path may be a known transcript that was moved (archived, or its directory renamed).
    fn adopt_moved(&mut self, work: &mut Work) {
        let moved = |other: &&Work| other.file.session == work.file.session && !other.path.exists();
        if let Some(old) = self.files.values().find(moved).map(|other| other.path.clone())
            && let Some(old) = self.files.remove(&old)
        {
            work.adopt(old.file);
        }
    }

    /// Reads what a changed transcript has gained, now if it is little, else later.
    fn advance(
        &mut self,
        mut work: Work,
        parent: Option<(String, rrd_proto::ParentKind)>,
        found: &Found,
    ) {
        let key = work.file.session.clone();
        let fold = self.known(&key).unwrap_or_default();
        // An earlier release's reader may have stored what this one does not go on from.
        work.reset |= !fold.has_taken_any() && work.file.cursor.offset == 0;
        if fold.has_taken_any() && work.file.cursor.offset == 0 {
            self.shared.entry(key.clone()).or_default();
        }
        if let Some(last) = self.shared.get_mut(&key)
            && *last != work.path
        {
            last.clone_from(&work.path);
            (work.may_repeat, work.seen) = (true, None);
        }
        let read_to = if work.zstd { 0 } else { work.file.cursor.offset };
        let unread = found.size.saturating_sub(read_to).max(1);
        let mut task = Task { key, parent, fold, files: vec![work], unread, newest: found.mtime };
        self.scene.fold_beside(&task.key, &mut task.fold);
        if unread > SMALL {
            let (shown, strays) = match task.glance() {
                Ok((glance, strays)) => (Arc::new(glance), strays),
                Err(_) => (Arc::clone(&task.fold), Vec::new()),
            };
            self.scene.show(&task, &shown, false);
            self.progress.total += unread;
            self.keep_strays(strays);
            self.keep(task);
            self.next_task();
            return;
        }
        match task.take(self.ledger.as_ref()) {
            Ok(strays) => {
                self.unreadable.retain(|(path, _)| *path != found.path);
                self.scene.show(&task, &task.fold, true);
                self.keep_strays(strays);
            }
            Err(error) => self.fail(&mut task, &error),
        }
        self.keep(task);
        self.next_task();
    }

    fn republish(&mut self, role: &FileRole) {
        for work in self.files.values_mut() {
            let key = work.file.session.clone();
            let concerned = match role {
                FileRole::Sidecar { session_id } => *session_id == key.session_id,
                _ => true,
            };
            let Some(mut entry) = self.scene.hub.entry(&key).filter(|_| concerned) else {
                continue;
            };
            if self.scene.fold_beside(&key, &mut entry.fold) && entry.complete {
                self.ledger.commit(work.restate(&entry.fold));
            }
            self.scene.publish(&key, &entry.fold, &entry.path, entry.complete);
        }
    }
}

/// Reads every event of one session from its transcripts, without a store.
pub(crate) fn read_events(
    root: &HarnessRoot,
    session: &SessionKey,
    path: &Path,
    sink: &dyn Ledger,
) -> io::Result<()> {
    let Some(format) = format_of(&root.harness) else { return Ok(()) };
    let Some(found) = look_at(&root.path, path, format)? else { return Ok(()) };
    if found.role == FileRole::Database {
        return rows::read_events(path, format, session, sink);
    }
    let FileRole::Transcript { zstd, .. } = found.role else { return Ok(()) };
    let mut work = Work::new(format, found.path, zstd, session.clone(), found.id);
    debug_assert_eq!(work.file.path, shown(path));
    take(&mut work, &mut Arc::default(), sink).map(|_| ())
}

#[cfg(test)]
mod tests;
