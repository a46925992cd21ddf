//! File notifications: the only file that names `notify`.
//!
//! Notifications are hints that something may have changed, never truth: whatever is lost here the
//! next sweep finds. A file that has merely changed is offered to whoever can read it on at once, in
//! the thread that was told: waking another one costs more than reading a line does. Everything else
//! is noted in a bounded set, and the tail is woken. inotify reports a new directory but not what was written into it before its watch stood, so
//! a created directory asks for its subtree to be listed, once its watch stands.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use notify::{
    Config, Event, EventKind, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher,
    event::{CreateKind, ModifyKind},
};

use super::linger::Linger;

/// Beyond so many noted paths a sweep is cheaper than looking at each.
const MAX_NOTED: usize = 8_192;

/// What may have changed since the last look.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    /// Files.
    pub(crate) files: HashSet<PathBuf>,
    /// Directories whose subtree must be listed.
    pub(crate) dirs: HashSet<PathBuf>,
    /// Anything.
    pub(crate) rescan: bool,
}

/// Why notifications are not (fully) used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shortfall {
    /// The system's limit of watches is reached; the rest is polled.
    WatchLimit,
    /// The root is on a file system that does not notify.
    NetworkFileSystem(String),
    /// Notifications cannot be had; the text says why.
    Unavailable(String),
}

/// Watches one root.
pub(crate) struct Watch {
    linger: Arc<Linger>,
    watcher: Option<RecommendedWatcher>,
    hints: Arc<Mutex<Hints>>,
    armed: HashSet<PathBuf>,
    /// Why there is less than there should be.
    pub(crate) shortfall: Option<Shortfall>,
}

impl Watch {
    /// Watches nothing yet. `take` is offered a file that has changed, and says whether that was all;
    /// else `wake` is called, since there are hints. Both are called often, from another thread.
    pub(crate) fn new(
        linger: Arc<Linger>,
        take: impl Fn(&Path) -> bool + Send + 'static,
        wake: impl Fn() + Send + 'static,
    ) -> Self {
        let hints = Arc::new(Mutex::new(Hints::default()));
        let (noted, stays) = (Arc::clone(&hints), Arc::clone(&linger));
        let handler = move |event: notify::Result<Event>| {
            if changed_file(&event).is_some_and(&take) {
                return stays.stay();
            }
            note(&noted, event);
            wake();
        };
        // Without the mask our own reads would make events.
        // Links beneath a root are not followed, least of all to watch what they lead to.
        let config =
            Config::default().with_event_kinds(EventKindMask::CORE).with_follow_symlinks(false);
        let (watcher, shortfall) = match RecommendedWatcher::new(handler, config) {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(Shortfall::Unavailable(error.to_string()))),
        };
        Self { linger, watcher, hints, armed: HashSet::new(), shortfall }
    }

    /// Watches nothing, ever: sweeps do all the work.
    pub(crate) fn off(linger: Arc<Linger>) -> Self {
        let (hints, armed) = (Arc::default(), HashSet::new());
        Self { linger, watcher: None, hints, armed, shortfall: None }
    }

    /// Watches these directories, the root alone and the others with everything beneath them where they
    /// say so; those already watched stay so, unless `afresh` (the root was replaced).
    pub(crate) fn arm(&mut self, root: &Path, folders: &[(PathBuf, bool)], afresh: bool) {
        if let Some(file_system) = network_file_system(root) {
            self.shortfall = Some(Shortfall::NetworkFileSystem(file_system));
            return;
        }
        let Some(watcher) = &mut self.watcher else { return };
        self.linger.suspend();
        if afresh {
            for path in self.armed.drain() {
                // Its directory is gone, so the watch may be too.
                let _ = watcher.unwatch(&path);
            }
            self.shortfall = None;
        }
        let folders = folders.iter().map(|(folder, deep)| (folder.as_path(), *deep));
        for (path, deep) in std::iter::once((root, false)).chain(folders) {
            let mode = if deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            if self.armed.contains(path) || !path.is_dir() {
                continue;
            }
            match watcher.watch(path, mode) {
                Ok(()) => {}
                Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                    self.shortfall = Some(Shortfall::WatchLimit);
                }
                Err(error) => self.shortfall = Some(Shortfall::Unavailable(error.to_string())),
            }
            self.armed.insert(path.to_owned());
        }
        self.linger.resume();
    }

    /// Returns when what was reported before has been noted or taken, and directories among it are
    /// watched: a listing made afterwards and later reports together miss nothing.
    pub(crate) fn catch_up(&mut self) {
        // inotify watches each directory by itself, and a new one is reported before it is watched;
        // what was created within until then is never reported. The watcher answers a request,
        // even one for nothing, after it has done so.
        if cfg!(target_os = "linux")
            && let Some(watcher) = &mut self.watcher
        {
            self.linger.suspend();
            let _ = watcher.unwatch(Path::new("/nothing/that/is/watched"));
            self.linger.resume();
        }
    }

    /// Takes what was noted since the last call.
    pub(crate) fn hints(&self) -> Hints {
        std::mem::take(&mut *self.hints.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The file, where the event tells of one that has other bytes or another time than before.
///
/// On Linux only: there each event that waits costs the kernel a few bytes. Elsewhere the system's
/// buffer must be emptied quickly, and the callback may be the system's own thread.
fn changed_file(event: &notify::Result<Event>) -> Option<&Path> {
    let event = event.as_ref().ok().filter(|_| cfg!(target_os = "linux"))?;
    match (event.kind, event.paths.as_slice()) {
        (EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)), [path])
            if !event.need_rescan() =>
        {
            Some(path)
        }
        _ => None,
    }
}

fn note(hints: &Mutex<Hints>, event: notify::Result<Event>) {
    let mut hints = hints.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(event) = event else {
        hints.rescan = true;
        return;
    };
    if event.need_rescan() || hints.files.len() + hints.dirs.len() + event.paths.len() > MAX_NOTED {
        hints.rescan = true;
        return;
    }
    let may_be_dir = match event.kind {
        EventKind::Access(_) => return,
        EventKind::Create(CreateKind::File) => false,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => false,
        EventKind::Create(_) | EventKind::Modify(_) => true,
        EventKind::Remove(_) | EventKind::Any | EventKind::Other => false,
    };
    for path in event.paths {
        // A directory moved in tells nothing of what it brought along.
        if may_be_dir && path.is_dir() {
            hints.dirs.insert(path);
        } else {
            hints.files.insert(path);
        }
    }
}

/// The type of the file system `path` is on, where it is one that changes without notifying.
fn network_file_system(path: &Path) -> Option<String> {
    const NETWORK: &[&str] =
        &["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "drvfs", "ceph", "afs", "lustre"];
    let path = fs::canonicalize(path).ok()?;
    // Linux only; elsewhere there is no such file and notifications are taken at their word.
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mount = before.split(' ').nth(4)?;
            path.starts_with(mount)
                .then(|| (mount.len(), after.split(' ').next().unwrap_or_default()))
        })
        .max_by_key(|(len, _)| *len)?
        .1;
    (NETWORK.contains(&kind) || kind.starts_with("fuse.")).then(|| kind.to_owned())
}
