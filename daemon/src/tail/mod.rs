//! Follows everything beneath one root: one thread per root, so that a slow disk holds up nobody else.
//!
//! Truth comes from looking: notifications only say where to look first, changed files are stat'ed
//! every tick while they are hot, and a sweep walks the whole root now and then. A large backlog is
//! read by one more thread at a time; everything else happens here, one thing after another.
//!
//! Not here: what lines mean (rrd-core) and what becomes of sessions ([`crate::hub`]).

mod absent;
mod backlog;
mod branches;
mod discover;
mod follow;
mod handle;
mod linger;
mod live;
mod locks;
mod report;
mod rows;
mod scene;
mod source;
mod survey;
mod take;
mod twice;
mod watch;
mod whole;

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

use crate::{
    config::{HarnessRoot, WatchMode},
    hub::{Input, now, shown},
    process,
    store::Stored,
};
pub(crate) use discover::{Found, is_behind_link, look_at, walk_subtree};
use discover::{folders, walk_root};
use handle::Message;
pub(crate) use handle::{Door, StoreLedger, TailHandle};
use linger::Linger;
use live::Live;
pub(crate) use rows::{Databases, database_has, database_looks, each_row};
pub(crate) use scene::Scene;
use scene::root_state;
pub(crate) use source::{MAX_ZSTD_WINDOW_LOG, Source, hash_of_first_line, mtime};
use survey::Task;
pub(crate) use take::Ledger;
use take::{Work, take};
use watch::Watch;
pub(crate) use whole::whole;

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

/// One root, followed.
pub(crate) struct Tail {
    scene: Scene,
    ledger: Arc<StoreLedger>,
    mode: WatchMode,
    watch: Watch,
    live: Live,
    /// A process is behind a session, or has a database open.
    someone: bool,
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
    /// Followed files that are not where they were, and since when; `None` once that is told.
    missing: HashMap<PathBuf, Option<Instant>>,
    /// Files that changed meanwhile.
    dirty: HashSet<PathBuf>,
    places: Vec<(PathBuf, Option<Place>)>,
    unreadable: Vec<(PathBuf, String)>,
    /// Sessions with more than one transcript (a rollout and its compressed twin, a copied folder), and
    /// which of them gave the last records.
    shared: HashMap<SessionKey, PathBuf>,
    /// Copies that had nothing that the one that is read has not, by what they looked like then.
    lesser: HashMap<PathBuf, (u64, i64)>,
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
                someone: false,
                lives,
                outbox,
                files: HashMap::new(),
                hot: HashMap::new(),
                databases: Databases::default(),
                waiting: Vec::new(),
                in_work: None,
                backlog: None,
                partial: HashMap::new(),
                missing: HashMap::new(),
                dirty: HashSet::new(),
                places: Vec::new(),
                unreadable: Vec::new(),
                shared: HashMap::new(),
                lesser: HashMap::new(),
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
        // Who has databases open was looked at, but for this; the first tick finds out.
        self.someone = self.live.busy || self.databases.in_wal_mode().next().is_some();
        self.lives.store(self.someone && process::IS_CHEAP, Ordering::Relaxed);
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
                Ok(Message::Sweep(done)) => {
                    // A root or a folder that was not there a moment ago is to be followed from now on, too.
                    tail.check_places();
                    tail.sweep();
                    tail.databases.check();
                    last_sweep = Instant::now();
                    asked = Some(done);
                }
                Ok(Message::Done(settled)) => tail.done(*settled),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if tail.databases.asks_are_due() {
                tail.look_at_processes();
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
                if tail.check_places() || slept || tail.misses() || last_sweep.elapsed() >= every {
                    tail.sweep();
                    last_sweep = Instant::now();
                } else {
                    tail.look_at_hot_files();
                }
                tail.databases.check();
                tail.databases.check_copies(&tail.scene);
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
        let misses = self.missing.values().any(Option::is_some);
        !self.someone && !self.polls() && self.hot.is_empty() && !misses
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
                // A directory, too.
                Ok(None) => self.missed(&path),
                // Gone: a registry entry or a lock that was removed says something, too.
                Err(_) => {
                    self.scene.gone(&path);
                    self.missed(&path);
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
        self.lesser.retain(|path, _| here.contains(path));
        self.unreadable = walk.unreadable;
        self.scene.look_at_copies();
        for found in walk.files {
            self.changed(found);
        }
        self.settle_missing(gone);
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
        look.unopened = locks::unopened(self.databases.in_wal_mode());
        let opened = self.databases.in_wal_mode().count() > look.unopened.len();
        self.someone = self.live.busy || opened;
        self.lives.store(self.someone && process::IS_CHEAP, Ordering::Relaxed);
        look.asks = self.databases.asks(&self.scene, look.checked_at);
        self.scene.show_unwritten(&look);
        self.scene.hub.apply(Input::Live(self.scene.index, look));
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
    work.look_ahead(sink)?;
    take(&mut work, &mut Arc::default(), sink).map(|_| ())
}

#[cfg(test)]
mod tests;
